//! Nodes and Raft groups, as far as who takes part in them goes: what is appended is replicated bit by
//! bit, committed by quorums, and lost with a leader where it was not; orders and answers get lost.

use crate::cluster::decide::{Liveness, Load, Wanted};
use crate::cluster::groups::{Extent, Members, ReplicaReport};
use crate::cluster::orders::{MemberChange, Order, What};
use crate::cluster::registry::{About, NodeRecord, PartitionRecord, Registry};
use crate::cluster::worker::Hands;
use futures::future::LocalBoxFuture;
use model::error::{SqlError, SqlState};
use model::id::{LogIndex, NodeId, PartitionId, Term};
use model::placement::Place;
use runtime::random;
use runtime::sync::oneshot;
use runtime::task;
use runtime::time::{self, Instant};
use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(20);
const ELECTION: Duration = Duration::from_millis(800);
/// How long a group has no leader when one was told to take over.
const HANDOVER: Duration = Duration::from_millis(300);
/// How long nobody is sure that a node is dead.
const SUSPECT: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Node {
    /// `None`: it runs.
    died: Option<Instant>,
    replicas: BTreeMap<PartitionId, Replica>,
}

#[derive(Clone, Copy, Default)]
struct Replica {
    term: u64,
    last: u64,
}

struct Group {
    term: u64,
    leader: Option<NodeId>,
    leaderless: Option<Instant>,
    /// Who was told to lead.
    heir: Option<NodeId>,
    last: u64,
    committed: u64,
    /// Who takes part from an entry on; the last that are committed, and those behind them.
    members: BTreeMap<u64, Members>,
}

impl Group {
    fn members(&self) -> &Members {
        self.members.last_key_value().expect("somebody takes part").1
    }

    fn append(&mut self, members: Members) -> u64 {
        self.last += 1;
        self.members.insert(self.last, members);
        self.last
    }

    /// Whether a node has a vote as somebody may see it.
    fn may_vote(&self, node: NodeId) -> bool {
        let votes = |all: &Members| all.voters.contains(&node) || all.outgoing.contains(&node);
        self.members.values().any(votes)
    }
}

/// The cluster.
#[derive(Default)]
pub(super) struct World {
    nodes: RefCell<BTreeMap<NodeId, Node>>,
    groups: RefCell<BTreeMap<PartitionId, Group>>,
    rows: RefCell<Registry>,
    /// How often each replica was begun anew.
    pub(super) begun: RefCell<BTreeMap<(PartitionId, NodeId), u32>>,
    /// How often a leader was handed over.
    pub(super) transfers: Cell<u32>,
    /// Of a hundred messages so many get lost.
    pub(super) loss_percent: u64,
    /// Whether somebody was killed: then a group may lack one voter for a while.
    killed: RefCell<bool>,
}

fn quorum(all: &[NodeId]) -> usize {
    all.len() / 2 + 1
}

fn failure(what: &str) -> SqlError {
    SqlError::new(SqlState::CONNECTION_FAILURE, what.to_owned())
}

async fn pause(most_millis: u64) {
    time::sleep(Duration::from_millis(1 + random::below(most_millis))).await;
}

impl World {
    /// One node, with the system partition and so many others.
    pub(super) fn founded(partitions: u32, loss_percent: u64) -> Rc<World> {
        let world = Rc::new(World { loss_percent, ..World::default() });
        let first = world.join();
        for partition in (0..=partitions).map(PartitionId) {
            let only = Members { voters: vec![first], ..Members::default() };
            let group = Group {
                term: 1,
                leader: Some(first),
                leaderless: None,
                heir: None,
                last: 1,
                committed: 1,
                members: BTreeMap::from([(1, only)]),
            };
            world.groups.borrow_mut().insert(partition, group);
            let mut nodes = world.nodes.borrow_mut();
            let node = nodes.get_mut(&first).expect("it was let in");
            node.replicas.insert(partition, Replica { term: 1, last: 1 });
        }
        let living = world.clone();
        task::spawn("world", async move {
            loop {
                time::sleep(TICK).await;
                living.tick();
            }
        })
        .detach();
        world
    }

    pub(super) fn join(&self) -> NodeId {
        let about = About {
            native: String::new(),
            pg: None,
            cores: vec![String::new(); 2],
            locality: Default::default(),
            software: String::new(),
        };
        let row = self.rows.borrow().admit(about, 0).expect("it is let in");
        let id = row.id;
        self.write_node(row);
        self.nodes.borrow_mut().insert(id, Node::default());
        id
    }

    fn write_node(&self, row: NodeRecord) {
        let mut rows = self.rows.borrow_mut();
        let nodes = rows.nodes().filter(|node| node.id != row.id).cloned().collect::<Vec<_>>();
        let partitions = rows.partitions().cloned().collect::<Vec<_>>();
        *rows = Registry::new(nodes.into_iter().chain([row]), partitions);
    }

    pub(super) fn want(&self, node: NodeId, wanted: Wanted) {
        let row = self.rows.borrow().want(node, wanted).expect("it is a change");
        self.write_node(row);
    }

    pub(super) fn kill(&self, node: NodeId) {
        *self.killed.borrow_mut() = true;
        self.nodes.borrow_mut().get_mut(&node).expect("a node").died = Some(time::now());
    }

    pub(super) fn revive(&self, node: NodeId) {
        self.nodes.borrow_mut().get_mut(&node).expect("a node").died = None;
    }

    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        self.nodes.borrow().get(&node).is_some_and(|node| node.died.is_none())
    }

    /// The members of all groups and who leads each.
    pub(super) fn look(&self) -> Vec<(PartitionId, Option<NodeId>, Members)> {
        let groups = self.groups.borrow();
        groups.iter().map(|(id, one)| (*id, one.leader, one.members().clone())).collect()
    }

    pub(super) fn rows(&self) -> Registry {
        self.rows.borrow().clone()
    }

    /// The partitions of which a node has a replica.
    pub(super) fn held_by(&self, node: NodeId) -> BTreeSet<PartitionId> {
        self.nodes.borrow()[&node].replicas.keys().copied().collect()
    }

    fn replica(&self, node: NodeId, partition: PartitionId) -> Option<Replica> {
        let nodes = self.nodes.borrow();
        let node = nodes.get(&node).filter(|node| node.died.is_none())?;
        node.replicas.get(&partition).copied()
    }

    /// What goes by itself: entries reach replicas, are committed, and leaders are elected.
    fn tick(&self) {
        let mut groups = self.groups.borrow_mut();
        for (partition, group) in groups.iter_mut() {
            if random::below(10) == 0 && group.leader.is_some() {
                group.last += 1;
            }
            self.check_quorum(*partition, group);
            self.elect(*partition, group);
            self.replicate(*partition, group);
            self.commit(*partition, group);
        }
    }

    fn check_quorum(&self, partition: PartitionId, group: &Group) {
        let members = group.members();
        for voters in [&members.voters, &members.outgoing].into_iter().filter(|all| !all.is_empty())
        {
            let living = voters.iter().filter(|node| self.replica(**node, partition).is_some());
            let living = living.count();
            assert!(
                living >= quorum(voters),
                "partition {partition} lacks a quorum: {living} of {voters:?}"
            );
            let all_live = *self.killed.borrow() || living == voters.len();
            assert!(all_live, "partition {partition}: a voter of {voters:?} has no replica");
        }
    }

    fn elect(&self, partition: PartitionId, group: &mut Group) {
        let is_there = |node: NodeId| self.replica(node, partition).is_some();
        if group.leader.is_some_and(is_there) {
            return;
        }
        group.leader = None;
        let since = *group.leaderless.get_or_insert_with(time::now);
        let pause = if group.heir.is_some() { HANDOVER } else { ELECTION };
        if time::now().saturating_since(since) < pause {
            return;
        }
        let members = group.members().clone();
        let able = members.voters.iter().chain(&members.outgoing).copied();
        let able = able.filter_map(|node| Some((self.replica(node, partition)?.last, node)));
        let heir = group.heir.take();
        let heir = able.clone().find(|(_, node)| heir == Some(*node));
        let Some((last, node)) = heir.or(able.max()).filter(|(last, _)| *last >= group.committed)
        else {
            return;
        };
        group.members.retain(|at, _| *at <= last);
        group.term += 1;
        group.last = last + 1;
        (group.leader, group.leaderless) = (Some(node), None);
    }

    fn replicate(&self, partition: PartitionId, group: &Group) {
        let Some(leader) = group.leader else { return };
        let members = group.members();
        let mut nodes = self.nodes.borrow_mut();
        for (id, node) in nodes.iter_mut().filter(|(_, node)| node.died.is_none()) {
            let Some(replica) = node.replicas.get_mut(&partition) else { continue };
            if *id == leader {
                *replica = Replica { term: group.term, last: group.last };
            } else if members.contains(*id) && random::below(3) > 0 {
                let last = (replica.last + 1 + random::below(20)).min(group.last);
                *replica = Replica { term: group.term, last };
            }
        }
    }

    fn commit(&self, partition: PartitionId, group: &mut Group) {
        if group.leader.is_none() {
            return;
        }
        let members = group.members().clone();
        let reached = |voters: &[NodeId]| {
            let at = |node: &NodeId| self.replica(*node, partition).map_or(0, |one| one.last);
            let mut at: Vec<u64> = voters.iter().map(at).collect();
            at.sort_unstable();
            at.len().checked_sub(quorum(voters)).map_or(u64::MAX, |slot| at[slot])
        };
        group.committed =
            group.committed.max(reached(&members.voters).min(reached(&members.outgoing)));
        let committed = group.committed;
        let newest = group.members.keys().copied().filter(|at| *at <= committed).max();
        group.members.retain(|at, _| Some(*at) >= newest);
    }

    pub(super) fn report(&self, node: NodeId, partition: PartitionId) -> Option<ReplicaReport> {
        let replica = self.replica(node, partition)?;
        let groups = self.groups.borrow();
        let group = &groups[&partition];
        let leads = group.leader == Some(node);
        let at = |id: &NodeId| self.replica(*id, partition).map_or(0, |one| one.last);
        let members = group.members().clone();
        let all = || members.voters.iter().chain(&members.outgoing).chain(&members.learners);
        Some(ReplicaReport {
            partition,
            extent: Extent { term: Term(replica.term), last: LogIndex(replica.last) },
            leads,
            leader: group.leader,
            matched: match leads {
                true => all().map(|id| (*id, LogIndex(at(id)))).collect(),
                false => Vec::new(),
            },
            members: if leads { members } else { Members::default() },
        })
    }

    async fn execute(&self, node: NodeId, order: Order) -> Result<(), SqlError> {
        if !self.is_alive(node) {
            return Err(failure("the node is dead"));
        }
        let partition = order.partition;
        order.check(self.report(node, partition).as_ref())?;
        match order.what {
            What::Begin { .. } => {
                let mut nodes = self.nodes.borrow_mut();
                let replicas = &mut nodes.get_mut(&node).expect("a node").replicas;
                if let Entry::Vacant(place) = replicas.entry(partition) {
                    let forgets = self.groups.borrow()[&partition].may_vote(node);
                    assert!(!forgets, "a voter of {partition} on node {node} is begun anew");
                    place.insert(Replica::default());
                    *self.begun.borrow_mut().entry((partition, node)).or_default() += 1;
                }
                Ok(())
            }
            What::Remove { .. } => {
                let votes = self.groups.borrow()[&partition].may_vote(node);
                assert!(!votes, "node {node} has a vote in {partition} and is to forget it");
                self.nodes.borrow_mut().get_mut(&node).expect("a node").replicas.remove(&partition);
                Ok(())
            }
            What::Change { change, .. } => self.change(partition, change).await,
            What::Transfer(to) => {
                let last = self.replica(to, partition).map(|one| one.last);
                let mut groups = self.groups.borrow_mut();
                let group = groups.get_mut(&partition).expect("a group");
                // It declines where it has not caught up.
                if group.members().voters.contains(&to) && last >= Some(group.committed) {
                    group.leader = None;
                    (group.leaderless, group.heir) = (Some(time::now()), Some(to));
                    self.transfers.set(self.transfers.get() + 1);
                }
                Ok(())
            }
        }
    }

    async fn change(&self, partition: PartitionId, change: MemberChange) -> Result<(), SqlError> {
        let (term, entry) = self.append(partition, |members| {
            let mut next = members.clone();
            match change {
                MemberChange::Learn(node) if members.contains(node) => {}
                MemberChange::Learn(node) => next.learners.push(node),
                MemberChange::Leave(node) if members.voters.contains(&node) => {
                    return Err(failure("it votes"));
                }
                MemberChange::Leave(node) => next.learners.retain(|one| *one != node),
                MemberChange::Vote(voters) => {
                    if !voters.iter().all(|node| members.contains(*node)) {
                        return Err(failure("one does not learn"));
                    }
                    next.learners.retain(|node| !voters.contains(node));
                    next.outgoing = match members.outgoing.is_empty() {
                        true => std::mem::replace(&mut next.voters, voters),
                        // The end of what was begun.
                        false => Vec::new(),
                    };
                }
            }
            next.learners.sort_unstable();
            Ok(next)
        })?;
        self.committed(partition, term, entry).await?;
        let half = !self.groups.borrow()[&partition].members().outgoing.is_empty();
        if half {
            let (term, entry) = self.append(partition, |members| {
                Ok(Members { outgoing: Vec::new(), ..members.clone() })
            })?;
            self.committed(partition, term, entry).await?;
        }
        Ok(())
    }

    fn append(
        &self,
        partition: PartitionId,
        next: impl FnOnce(&Members) -> Result<Members, SqlError>,
    ) -> Result<(u64, u64), SqlError> {
        let mut groups = self.groups.borrow_mut();
        let group = groups.get_mut(&partition).expect("a group");
        if group.leader.is_none() || group.members.keys().any(|at| *at > group.committed) {
            return Err(failure("another change is under way, or nobody leads"));
        }
        let leader = group.leader.expect("somebody leads");
        assert!(group.may_vote(leader), "partition {partition}: {leader} changes what it left");
        let next = next(group.members())?;
        Ok((group.term, group.append(next)))
    }

    async fn committed(&self, id: PartitionId, term: u64, entry: u64) -> Result<(), SqlError> {
        loop {
            {
                let groups = self.groups.borrow();
                let group = &groups[&id];
                if group.term != term {
                    return Err(failure("another leads"));
                }
                if group.committed >= entry {
                    return Ok(());
                }
            }
            time::sleep(TICK).await;
        }
    }
}

/// The hands of a worker on a node.
pub(super) struct ModelHands {
    pub(super) world: Rc<World>,
    pub(super) node: NodeId,
}

impl ModelHands {
    fn is_lost(&self) -> bool {
        random::below(100) < self.world.loss_percent
    }
}

impl Hands for ModelHands {
    fn leads(&self) -> bool {
        let leads = |group: &Group| group.leader == Some(self.node);
        self.world.is_alive(self.node)
            && self.world.groups.borrow().get(&PartitionId::SYSTEM).is_some_and(leads)
    }

    fn heard(&self, node: NodeId) -> (Liveness, Load) {
        let nodes = self.world.nodes.borrow();
        let liveness = match nodes[&node].died.map(|died| time::now().saturating_since(died)) {
            None => Liveness::Alive,
            Some(lasting) if lasting < SUSPECT => Liveness::Suspect,
            Some(lasting) => Liveness::Dead { lasting },
        };
        (liveness, Load::default())
    }

    fn registry(&self) -> LocalBoxFuture<'_, Result<Registry, SqlError>> {
        Box::pin(async move {
            pause(5).await;
            Ok(self.world.rows())
        })
    }

    fn record(&self, row: PartitionRecord) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(async move {
            pause(5).await;
            let mut rows = self.world.rows.borrow_mut();
            let known = rows.partitions().find(|one| one.id == row.id);
            if known.is_some_and(|known| known.version >= row.version) || !self.leads() {
                return Err(SqlError::new(SqlState::SERIALIZATION_FAILURE, "a later row is there"));
            }
            rows.note(row);
            Ok(())
        })
    }

    fn replicas(
        &self,
        node: NodeId,
        _cores: u16,
    ) -> LocalBoxFuture<'_, Result<Vec<ReplicaReport>, SqlError>> {
        Box::pin(async move {
            pause(5).await;
            if self.is_lost() || !self.world.is_alive(node) {
                return Err(failure("no answer"));
            }
            let held = self.world.held_by(node).into_iter();
            let reports = held.filter_map(|partition| self.world.report(node, partition)).collect();
            // It takes its time to get here.
            pause(5).await;
            Ok(reports)
        })
    }

    fn order(&self, to: Place, order: Order) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        let (sender, receiver) = oneshot::channel();
        let (world, lost) = (self.world.clone(), (self.is_lost(), self.is_lost()));
        // Whoever gave it may be gone before it arrives.
        task::spawn("order", async move {
            pause(30).await;
            let late = random::below(20) == 0;
            if late {
                pause(5_000).await;
            }
            if lost.0 {
                return;
            }
            let result = world.execute(to.node, order).await;
            if !lost.1 {
                // One that has gone needs no answer.
                let _gone = sender.send(result);
            }
        })
        .detach();
        Box::pin(async move { receiver.await.map_err(|_closed| failure("no answer"))? })
    }
}

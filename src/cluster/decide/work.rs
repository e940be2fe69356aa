//! A decision in the making: the steps so far, and the cluster as it will be after them.

use super::snapshot::{Learner, Liveness, Node, Partition, Policy, Snapshot, Step, Wanted};
use model::id::NodeId;
use model::locality::TIERS_MAX;
use std::collections::BTreeMap;

/// Pairs of replicas that share so many of the widest tiers, from one on: the less, the better, and
/// the widest tier first.
pub(super) type Crowding = [u32; TIERS_MAX];

/// A node and what it will hold.
pub(super) struct Seat<'a> {
    pub(super) node: &'a Node,
    /// Replicas, with those that are on their way and without those that will leave.
    pub(super) replicas: u32,
    /// Partitions that it leads.
    pub(super) leaders: u32,
    /// Replicas that it is filling.
    copies: usize,
}

impl Seat<'_> {
    /// Whether replicas and leaders may come to it.
    pub(super) fn is_eligible(&self) -> bool {
        self.node.liveness == Liveness::Alive && self.node.wanted == Wanted::Active
    }

    /// Whether it may answer: a suspect is not known to be gone.
    fn may_be_alive(&self) -> bool {
        !matches!(self.node.liveness, Liveness::Dead { .. })
    }

    /// How much it takes.
    pub(super) fn weight(&self) -> u64 {
        u64::from(self.node.cores.max(1))
    }
}

/// See the module's head.
pub(super) struct Work<'a> {
    pub(super) policy: &'a Policy,
    pub(super) seats: BTreeMap<NodeId, Seat<'a>>,
    pub(super) partitions: Vec<&'a Partition>,
    /// By partition, in the order of `partitions`: it changes, or has no leader, or has its step.
    pub(super) busy: Vec<bool>,
    steps: Vec<Step>,
    /// How many steps there may be.
    room: usize,
}

/// Whether as many voters as it takes may be alive.
fn has_quorum(seats: &BTreeMap<NodeId, Seat<'_>>, partition: &Partition) -> bool {
    let heard = |id: &&NodeId| seats.get(id).is_some_and(Seat::may_be_alive);
    partition.voters.iter().filter(heard).count() >= quorum(partition.voters.len())
}

impl<'a> Work<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, policy: &'a Policy) -> Work<'a> {
        let seat = |node: &'a Node| (node.id, Seat { node, replicas: 0, leaders: 0, copies: 0 });
        let mut seats: BTreeMap<NodeId, Seat<'a>> = snapshot.nodes.iter().map(seat).collect();
        let mut partitions: Vec<&Partition> = snapshot.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.id);
        for partition in &partitions {
            for id in &partition.voters {
                seats.entry(*id).and_modify(|seat| seat.replicas += 1);
            }
            for learner in &partition.learners {
                let fills = usize::from(!is_near(policy, learner));
                seats.entry(learner.node).and_modify(|seat| {
                    seat.replicas += 1;
                    seat.copies += fills;
                });
            }
            if let Some(leader) = partition.leader {
                seats.entry(leader).and_modify(|seat| seat.leaders += 1);
            }
        }
        let under_way = partitions.iter().filter(|partition| partition.changing).count();
        let heard = |id: &NodeId| seats.get(id).is_some_and(Seat::may_be_alive);
        // Without a leader and a quorum nothing can be changed.
        let busy = |partition: &&Partition| {
            partition.changing
                || !partition.leader.is_some_and(|leader| heard(&leader))
                || !has_quorum(&seats, partition)
        };
        Work {
            busy: partitions.iter().map(busy).collect(),
            room: policy.steps_max.saturating_sub(under_way),
            policy,
            seats,
            partitions,
            steps: Vec::new(),
        }
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// How many more steps there may be.
    pub(super) fn room(&self) -> usize {
        self.room - self.steps.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// Decides on a step for the partition at `at`, and takes it as done.
    pub(super) fn say(&mut self, at: usize, step: Step) {
        assert!(!self.busy[at], "one step a partition: {step:?}");
        if !self.has_room() {
            return;
        }
        let leader = self.partitions[at].leader;
        match &step {
            Step::FinishChange { .. } => {}
            Step::AddLearner { node, .. } => self.change(*node, |seat| {
                seat.replicas += 1;
                seat.copies += 1;
            }),
            Step::RemoveLearner { node, .. } => self.leave(*node),
            Step::ChangeVoters { remove, .. } => remove.iter().for_each(|node| self.leave(*node)),
            Step::TransferLeader { to, .. } => {
                self.change(*to, |seat| seat.leaders += 1);
                if let Some(leader) = leader {
                    self.change(leader, |seat| seat.leaders = seat.leaders.saturating_sub(1));
                }
            }
        }
        self.busy[at] = true;
        self.steps.push(step);
    }

    /// A replica of the node will go.
    pub(super) fn leave(&mut self, node: NodeId) {
        self.change(node, |seat| seat.replicas = seat.replicas.saturating_sub(1));
    }

    fn change(&mut self, node: NodeId, change: impl FnOnce(&mut Seat<'a>)) {
        self.seats.entry(node).and_modify(change);
    }

    /// Whether it has none now and will have one: its voters can agree on it.
    pub(super) fn is_without_leader(&self, partition: &Partition) -> bool {
        partition.leader.is_none() && has_quorum(&self.seats, partition)
    }

    pub(super) fn is_eligible(&self, node: NodeId) -> bool {
        self.seats.get(&node).is_some_and(Seat::is_eligible)
    }

    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        self.seats.get(&node).is_some_and(|seat| seat.node.liveness == Liveness::Alive)
    }

    /// Whether a replica of the node may be of use: it is wanted, and not known to be dead.
    pub(super) fn is_useful(&self, node: NodeId) -> bool {
        let useful = |seat: &Seat<'_>| seat.may_be_alive() && seat.node.wanted == Wanted::Active;
        self.seats.get(&node).is_some_and(useful)
    }

    /// Whether a node is unknown, is to go for good and is gone, or has been dead for too long.
    pub(super) fn is_lost(&self, node: NodeId) -> bool {
        let Some(seat) = self.seats.get(&node) else { return true };
        match seat.node.liveness {
            Liveness::Dead { lasting } => {
                lasting >= self.policy.replace_after || seat.node.wanted != Wanted::Active
            }
            Liveness::Alive | Liveness::Suspect => false,
        }
    }

    pub(super) fn is_leaving(&self, node: NodeId) -> bool {
        self.seats.get(&node).is_some_and(|seat| seat.node.wanted != Wanted::Active)
    }

    /// Whether the learner could vote now.
    pub(super) fn is_ready(&self, learner: &Learner) -> bool {
        self.is_eligible(learner.node) && is_near(self.policy, learner)
    }

    /// Whether a partition rests: as many voters as wanted, all alive and wanted, and none to come.
    pub(super) fn is_at_rest(&self, at: usize) -> bool {
        let partition = self.partitions[at];
        !self.busy[at] && partition.learners.is_empty() && self.is_whole(partition)
    }

    /// Whether it has all its voters, and nothing is wrong with any.
    pub(super) fn is_whole(&self, partition: &Partition) -> bool {
        partition.voters.len() == usize::from(self.policy.replication_factor)
            && partition.voters.iter().all(|voter| self.is_eligible(*voter))
    }

    /// Whether the voters may become `new`: both sides can agree on it, no voter that answers is given
    /// up which policy wants, and as many as before may fail.
    pub(super) fn is_safe(&self, old: &[NodeId], new: &[NodeId]) -> bool {
        let factor = usize::from(self.policy.replication_factor);
        let surely = |set: &[NodeId]| set.iter().filter(|id| self.is_alive(**id)).count();
        // What is uncertain counts for what there is, and not for what is to be.
        let maybe = |id: &&NodeId| self.seats.get(id).is_some_and(Seat::may_be_alive);
        let before = old.iter().filter(maybe).count();
        let after = surely(new);
        let spare = |alive: usize, of: usize| alive.checked_sub(quorum(of));
        let Some(spare_after) = spare(after, new.len()) else { return false };
        let wanted = spare(before, old.len()).unwrap_or(0).min(factor.saturating_sub(1) / 2);
        let odd = new.len() % 2 == 1 || new.len() == old.len();
        surely(old) >= quorum(old.len())
            && odd
            && spare_after >= wanted
            && after >= before.min(factor)
    }

    /// How close together the nodes of a set are.
    pub(super) fn crowding(&self, nodes: &[NodeId]) -> Crowding {
        let mut crowding = [0; TIERS_MAX];
        let known = |id: &NodeId| self.seats.get(id).map(|seat| &seat.node.locality);
        for (at, one) in nodes.iter().enumerate() {
            for another in &nodes[at + 1..] {
                let (Some(one), Some(another)) = (known(one), known(another)) else { continue };
                for pairs in &mut crowding[..one.shared(another)] {
                    *pairs += 1;
                }
            }
        }
        crowding
    }

    /// The node that a replica had best come to, beside those that stay.
    pub(super) fn best_seat(&self, staying: &[NodeId], taken: &[NodeId]) -> Option<NodeId> {
        let mut set = staying.to_vec();
        let free = self.seats.values().filter(|seat| {
            !taken.contains(&seat.node.id) && !staying.contains(&seat.node.id) && self.takes(seat)
        });
        let rated = free.map(|seat| {
            set.push(seat.node.id);
            let crowding = self.crowding(&set);
            set.pop();
            let share = self.share_of_replicas(seat.node.id).and_one();
            (crowding, share, seat.node.load.busy_permille, seat.node.id)
        });
        rated.min().map(|(_, _, _, id)| id)
    }

    /// Whether a replica can come to it now.
    pub(super) fn takes(&self, seat: &Seat<'_>) -> bool {
        seat.is_eligible()
            && seat.copies < self.policy.copies_per_node_max
            && seat.node.load.disk_used_permille <= self.policy.disk_used_permille_max
    }

    pub(super) fn share_of_replicas(&self, node: NodeId) -> Share {
        self.seats.get(&node).map_or(Share { held: 0, weight: 1 }, |seat| Share {
            held: u64::from(seat.replicas),
            weight: seat.weight(),
        })
    }

    /// The voter that had best lead instead of the one that does.
    pub(super) fn best_leader(&self, partition: &Partition, not: &[NodeId]) -> Option<NodeId> {
        let able = partition.voters.iter().filter(|voter| {
            self.is_eligible(**voter) && partition.leader != Some(**voter) && !not.contains(voter)
        });
        let rated = able.filter_map(|voter| {
            let seat = self.seats.get(voter)?;
            Some((Share { held: u64::from(seat.leaders) + 1, weight: seat.weight() }, *voter))
        });
        rated.min().map(|(_, voter)| voter)
    }
}

/// Of so many voters this many must agree.
pub(super) fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

fn is_near(policy: &Policy, learner: &Learner) -> bool {
    learner.behind.is_some_and(|behind| behind <= policy.behind_max)
}

/// What a node holds, in relation to what it can.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) held: u64,
    pub(super) weight: u64,
}

impl Share {
    /// With one more.
    pub(super) fn and_one(self) -> Share {
        Share { held: self.held + 1, ..self }
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Share) -> std::cmp::Ordering {
        (self.held * other.weight).cmp(&(other.held * self.weight))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Share) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Share) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

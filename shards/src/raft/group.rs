//! One partition's Raft group, as its core drives it: it is started, proposed to, asked by the replicas of
//! other nodes, changed, and watched for who leads it.

use super::beats::{self, Beats};
use super::campaign;
use super::core_log::CoreLog;
use super::group_log::GroupLog;
use super::joining::Invitation;
use super::life::Life;
use super::machine::{Applier, Machine};
use super::network::{Files, Network, Nodes, Replica};
use super::types::{Answer, Batch, Partitions, Vote};
use super::wire::{Ask, Beat, Told, decode_ask, decode_beats, encode_told};
use crate::storage::{Chunk, Contents, Receiver, StreamPosition};
use bytes::Bytes;
use futures::FutureExt;
use futures::lock::Mutex;
use model::id::{LogIndex, NodeId, PartitionId, Term};
use openraft::alias::{SnapshotMetaOf, SnapshotOf, WatchReceiverOf};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::metrics::RaftMetrics;
use openraft::raft::{AppendEntriesResponse, ClientWriteResult, VoteResponse};
use openraft::{ChangeMembers, Config, EmptyNode, Raft, ServerState, SnapshotPolicy};
use runtime::task::{self, Task};
use runtime::time::{self, Instant};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long openraft waits for an answer to an append, and what it derives the steps of its clock from: 13
/// of 64 parts, so much later an election may begin. Its own heartbeats are off; see [`Beats`].
const STEP: Duration = Duration::from_millis(300);
/// A replica whose leader was heard within so long has no clock running: it is looked after each beat's
/// [`beats::PERIOD`] whether that still holds, so that its clock runs before an election may begin.
const QUIET: Duration = Duration::from_millis(300);
/// Who has answered an append that was sent within so long needs no heartbeat.
const HEARD: Duration = Duration::from_millis(50);
/// A voter keeps its word to a leader for [`ELECTION_MAX`] after it has last heard it, and where nothing else
/// is known (see [`campaign`]) it stands for election so much later. openraft wants the two to be one.
const ELECTION_MIN: Duration = Duration::from_millis(450);
pub(super) const ELECTION_MAX: Duration = Duration::from_millis(800);
/// Who is told to lead has so long to be elected.
const TAKES_OVER_WITHIN: Duration = Duration::from_millis(1200);

/// Why a replica does not stand for election.
const BEHIND: &str = "this replica has no vote before its log has come as far as it must";

/// So long a replica waits for files in the place of its damaged ones, before it asks again.
const FILES_WITHIN: Duration = Duration::from_secs(600);

/// A leader serves for so long after the last word of a quorum was asked for: less than a voter keeps its word,
/// by any clock.
pub(crate) const LEASE: Duration = Duration::from_millis(500);
/// That long it lasts by any clock.
pub(crate) const LEASE_BY_ANY_CLOCK: Duration = Duration::from_millis(600);
const _: () = assert!(LEASE.as_millis() < LEASE_BY_ANY_CLOCK.as_millis());
const _: () = assert!(LEASE_BY_ANY_CLOCK.as_millis() < ELECTION_MAX.as_millis());

/// A group that runs. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Group {
    inner: Rc<Inner>,
}

pub(super) struct Inner {
    pub(super) partition: PartitionId,
    pub(super) raft: Raft<Partitions, Machine>,
    applier: Rc<dyn Applier>,
    network: Network,
    /// A replica is being sent files because its own are damaged.
    mending: Cell<bool>,
    pub(super) metrics: WatchReceiverOf<Partitions, RaftMetrics<Partitions>>,
    /// Until then it neither votes nor stands for election: it may have told a leader before its start that
    /// it follows, which the leader builds on.
    pub(super) silent_until: Instant,
    /// The term in which this leader has told another one to lead.
    given_away: Cell<Option<u64>>,
    /// Up to this term nobody else can have led.
    own_terms: u64,
    life: Life,
    /// What a leader was last heard to say arrived then.
    pub(super) heard: Cell<Instant>,
    /// openraft's clock runs.
    ticks: Cell<bool>,
    /// The files that a leader sends.
    receiving: Mutex<Option<Receiving>>,
    /// Tells the partition who leads.
    watching: std::cell::RefCell<Option<Task<()>>>,
    /// Stands for election because the link with the leader has broken.
    pub(super) campaign: std::cell::RefCell<Option<Task<()>>>,
    /// That leader, for as long as it does.
    pub(super) stands_against: Cell<Option<u64>>,
}

/// While a replica is being sent files.
struct Mending(Rc<Inner>);

impl Drop for Mending {
    fn drop(&mut self) {
        self.0.mending.set(false);
    }
}

/// A snapshot on its way to this replica.
struct Receiving {
    meta: SnapshotMetaOf<Partitions>,
    receiver: Box<Receiver>,
}

/// Settings of all groups.
pub(crate) fn config() -> Arc<Config> {
    let millis = |duration: Duration| duration.as_millis() as u64;
    Arc::new(Config {
        cluster_name: "phantomdb".to_owned(),
        heartbeat_interval: millis(STEP),
        heartbeat_min_interval: Some(millis(HEARD)),
        enable_heartbeat: false,
        election_timeout_min: millis(ELECTION_MIN),
        election_timeout_max: millis(ELECTION_MAX),
        // Batches; what counts are their bytes, which the log's reads bound.
        max_payload_entries: 64,
        // A group says itself how far its log may be let go. How far a replica is behind matters only
        // where the log does not reach.
        snapshot_policy: SnapshotPolicy::Never,
        replication_lag_threshold: u64::MAX,
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        // A single voter has nobody to listen to; see `Inner::follow`.
        enable_tick: false,
        enable_elect: false,
        enable_pre_vote: Some(true),
        // One that lost power would reuse the places of entries that it had sent and not yet written.
        enable_leader_restore: Some(false),
        ..Config::default()
    })
}

/// How a group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// This node is its only voter, if it is new.
    Founded,
    /// It waits to hear from a leader, if it is new.
    Invited,
}

/// What a group is made of, as this replica knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupReport {
    /// Of which partition.
    pub partition: PartitionId,
    /// The newest term.
    pub term: Term,
    /// Whether this replica leads.
    pub leads: bool,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Who votes; more than one set while a change is under way.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// Who only learns.
    pub learners: BTreeSet<NodeId>,
    /// The last entry here, and the last that was applied here.
    pub last: LogIndex,
    /// See `last`.
    pub applied: LogIndex,
    /// Of a leader: how far each replica has come.
    pub matched: BTreeMap<NodeId, LogIndex>,
}

/// A change of who takes part in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A node begins to receive the log.
    AddLearner(NodeId),
    /// These vote from now on. Those that vote no more leave.
    SetVoters(BTreeSet<NodeId>),
    /// A node that does not vote leaves.
    RemoveLearner(NodeId),
}

/// Ids of nodes have 32 bits.
fn node_id(id: u64) -> NodeId {
    NodeId(id as u32)
}

impl Group {
    /// Starts a partition's group over its part of the core's log. Where this node is the only voter it
    /// returns when all that was decided before is applied, and the node leads.
    ///
    /// # Errors
    /// What cannot be read or written, and what makes no sense.
    pub(crate) async fn start(
        partition: PartitionId,
        node: NodeId,
        (config, beginning): (Arc<Config>, Beginning),
        log: CoreLog,
        applier: Rc<dyn Applier>,
        (nodes, beats): (Rc<dyn Nodes>, Beats),
    ) -> io::Result<Group> {
        let (purged, last) = log.state(partition);
        let is_new = (purged, last) == (None, None);
        let voters = last.and_then(|last| log.voters_at(partition, last.index));
        let id = u64::from(node.0);
        let is_alone = match voters {
            Some((_, voters)) => voters.voter_ids().eq([id]) && log.may_vote(partition),
            None => is_new && beginning == Beginning::Founded,
        };
        // It is elected in the next term at once. One that has become the only voter before its start may
        // follow somebody who does not know that yet.
        let own_terms = match log.vote(partition) {
            None if is_alone => 1,
            Some(vote) if is_alone && vote.leader_id.voted_for == id => vote.leader_id.term + 1,
            _ => 0,
        };
        let life = Life::default();
        let recovering =
            Machine::recover(partition, node, log.clone(), applier.clone(), life.clone());
        let machine = recovering.await?;
        let network = Network {
            nodes,
            beats: beats.clone(),
            applier: applier.clone(),
            log: GroupLog::new(log.clone(), partition),
            partition,
            life: life.clone(),
        };
        let raft = Raft::new(id, config, network.clone(), GroupLog::new(log, partition), machine);
        let raft = raft.await.map_err(io::Error::other)?;
        let silence = if is_new || is_alone { Duration::ZERO } else { ELECTION_MAX };
        let inner = Rc::new(Inner {
            partition,
            metrics: raft.metrics(),
            raft,
            applier,
            network,
            mending: Cell::new(false),
            silent_until: time::now() + silence,
            given_away: Cell::new(None),
            own_terms,
            life,
            heard: Cell::new(time::now()),
            ticks: Cell::new(false),
            receiving: Mutex::new(None),
            watching: std::cell::RefCell::default(),
            campaign: std::cell::RefCell::default(),
            stands_against: Cell::new(None),
        });
        let watching = task::spawn("raft-watch", watch(Rc::downgrade(&inner), node, beats));
        *inner.watching.borrow_mut() = Some(watching);
        let group = Group { inner };
        if is_alone {
            if is_new {
                let founded = group.inner.raft.initialize(BTreeSet::from([id])).await;
                founded.map_err(io::Error::other)?;
            } else {
                group.inner.raft.trigger().elect(false).await.map_err(io::Error::other)?;
            }
            group.lead().await?;
        }
        Ok(group)
    }

    /// Waits until this node leads and has applied all that there is.
    async fn lead(&self) -> io::Result<()> {
        let mut metrics = self.inner.raft.metrics();
        loop {
            {
                let now = metrics.borrow_watched();
                now.running_state.as_ref().map_err(|error| io::Error::other(error.to_string()))?;
                let applied = now.last_applied.map(|applied| applied.index);
                if now.state == ServerState::Leader && applied == now.last_log_index {
                    break;
                }
            }
            metrics.changed().await.map_err(io::Error::other)?;
        }
        // The task that watches may not have had its turn.
        let leading = self.inner.leading(true);
        self.inner.applier.led(self.inner.partition, leading);
        Ok(())
    }

    /// Puts a batch behind those that are there; `answer` hears when it is applied, or that it is not
    /// in the log. Nobody hears anything where the group ends first.
    ///
    /// # Errors
    /// The group has ended.
    pub(crate) async fn propose(
        &self,
        batch: Batch,
        answer: Answer<ClientWriteResult<Partitions>>,
    ) -> Result<(), Fatal<Partitions>> {
        self.inner.raft.client_write_ff(batch, Some(answer)).await
    }

    /// Lets go of what the partition does not need of the log any more.
    ///
    /// # Errors
    /// The group has ended.
    pub(crate) async fn purge(&self) -> Result<(), Fatal<Partitions>> {
        self.inner.raft.trigger().snapshot().await
    }

    /// Until when nobody else can lead, as far as this leader has heard; `None`: it has heard nothing, or
    /// has told another to lead. Who is told so waits for no lease, and may hear it late.
    pub(crate) fn lease_until(&self) -> Option<Instant> {
        let metrics = self.inner.metrics.borrow_watched();
        if self.inner.given_away.get() == Some(metrics.current_term) {
            return None;
        }
        let acked = metrics.last_quorum_acked?;
        Some(acked.into_inner().instant() + LEASE)
    }

    /// Answers a replica of another node.
    pub(super) async fn answer(&self, ask: Ask) -> Told {
        let raft = &self.inner.raft;
        let unable = |error: String| Told::Unable(error);
        match ask {
            Ask::Append(append) => {
                let arrived = time::now();
                match raft.append_entries(append).await {
                    Ok(appended) => {
                        self.inner.note_heard(arrived, &appended);
                        Told::Appended(appended)
                    }
                    Err(error) => unable(error.to_string()),
                }
            }
            Ask::Vote(vote) => match self.silent_answer() {
                Some(silent) => silent,
                None => voted(raft.vote(vote).await.map_err(|error| error.to_string())),
            },
            Ask::PreVote(vote) => match self.silent_answer() {
                Some(silent) => silent,
                None => voted(raft.pre_vote(vote).await.map_err(|error| error.to_string())),
            },
            Ask::Transfer(_) if !self.inner.may_vote() => unable(BEHIND.to_owned()),
            Ask::Transfer(transfer) => match raft.handle_transfer_leader(transfer).await {
                Ok(transferred) => Told::Transferred(transferred),
                Err(error) => unable(error.to_string()),
            },
            Ask::SnapshotBegin { meta, contents } => {
                self.begin_to_receive(meta, contents).await.map_or_else(unable, Told::Received)
            }
            Ask::SnapshotChunk(chunk) => {
                self.receive(&chunk).await.map_or_else(unable, Told::Received)
            }
            Ask::SnapshotEnd(vote) => self.install(vote).await.map_or_else(unable, Told::Installed),
            Ask::FilesWanted(node) => match self.report().leads {
                true => self.send_files(node_id(node)).await,
                false => unable("this replica does not lead".to_owned()),
            },
            Ask::Join => match self.invitation() {
                Some(invitation) => Told::Invited(invitation),
                None => unable("this replica does not lead, or cannot know it".to_owned()),
            },
            Ask::FilesEnd => self.replace().await.map_or_else(unable, |()| Told::Replaced),
        }
    }

    /// Takes a heartbeat of the group's leader; `None`: the group has ended.
    pub(super) async fn beaten(&self, beat: &Beat) -> Option<AppendEntriesResponse<Partitions>> {
        let arrived = time::now();
        let appended = self.inner.raft.append_entries(beat.append()).await.ok()?;
        self.inner.note_heard(arrived, &appended);
        Some(appended)
    }

    async fn begin_to_receive(
        &self,
        meta: SnapshotMetaOf<Partitions>,
        contents: Bytes,
    ) -> Result<StreamPosition, String> {
        let contents = Contents::decode(&contents).map_err(|damage| damage.to_string())?;
        let _working = self.inner.life.work().map_err(|over| over.to_string())?;
        let mut receiving = self.inner.receiving.lock().await;
        // A tree has one receiver at a time.
        *receiving = None;
        let receiver = self.inner.applier.receive(self.inner.partition, contents).await;
        let receiver = Box::new(receiver.map_err(|error| error.to_string())?);
        let position = receiver.position();
        *receiving = Some(Receiving { meta, receiver });
        Ok(position)
    }

    async fn receive(&self, chunk: &Chunk) -> Result<StreamPosition, String> {
        let _working = self.inner.life.work().map_err(|over| over.to_string())?;
        let mut receiving = self.inner.receiving.lock().await;
        let Some(Receiving { receiver, .. }) = &mut *receiving else {
            return Err("no snapshot is being received".to_owned());
        };
        receiver.put(chunk).await.map_err(|error| error.to_string())?;
        Ok(receiver.position())
    }

    async fn install(&self, vote: Vote) -> Result<Vote, String> {
        let Some(Receiving { meta, receiver }) = self.inner.receiving.lock().await.take() else {
            return Err("no snapshot is being received".to_owned());
        };
        let snapshot =
            SnapshotOf::<Partitions, Files> { meta, snapshot: Files::Received(receiver) };
        let installed = self.inner.raft.install_full_snapshot(vote, snapshot).await;
        installed.map(|installed| installed.vote).map_err(|error| error.to_string())
    }

    /// Sends a replica this one's files.
    async fn send_files(&self, node: NodeId) -> Told {
        if self.inner.mending.replace(true) {
            return Told::Unable("files are on their way to a damaged replica".to_owned());
        }
        let _mending = Mending(self.inner.clone());
        let replica = Replica { network: self.inner.network.clone(), node, beats: false };
        match replica.mend().await {
            Ok(()) => Told::Replaced,
            Err(error) => Told::Unable(error.to_string()),
        }
    }

    /// What was received takes the place of this replica's damaged files.
    async fn replace(&self) -> Result<(), String> {
        let Some(Receiving { receiver, .. }) = self.inner.receiving.lock().await.take() else {
            return Err("no files are being received".to_owned());
        };
        // Nothing is applied meanwhile: this has its turn among what is.
        let mending = self
            .inner
            .raft
            .with_state_machine(|machine: &mut Machine| Box::pin(machine.mend(*receiver)));
        let mended = mending.await.map_err(|error| error.to_string())?;
        mended.map_err(|error| error.to_string())
    }

    /// Has the leader send its files, which take the place of this replica's. Meanwhile the log is kept.
    ///
    /// # Errors
    /// Why they have not come.
    pub(crate) async fn fetch_files(&self) -> Result<(), String> {
        let report = self.report();
        let leader = report.leader.filter(|_| !report.leads);
        let leader = leader.ok_or_else(|| "no other replica leads".to_owned())?;
        let _held = self.inner.applier.hold_log(self.inner.partition, LogIndex(0));
        let me = self.inner.metrics.borrow_watched().id;
        let replica = Replica { network: self.inner.network.clone(), node: leader, beats: false };
        match replica.ask(Ask::FilesWanted(me), FILES_WITHIN).await {
            Ok(Told::Replaced) => Ok(()),
            Ok(_) => Err("the leader's answer makes no sense".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What a replica that begins is told by this one, if that leads and nobody else can at this moment.
    fn invitation(&self) -> Option<Invitation> {
        let metrics = self.inner.metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            return None;
        }
        let alone = metrics.membership_config.membership().voter_ids().eq([metrics.id]);
        let (vote, last) = (metrics.vote, metrics.last_log_index.unwrap_or_default());
        drop(metrics);
        let holds = alone || self.lease_until().is_some_and(|until| time::now() < until);
        holds.then_some(Invitation { vote, votes_from: LogIndex(last) })
    }

    /// What a replica answers that does not vote yet: it has just started, or nothing that it has heard
    /// names it as one of the group, or that may be long over. See [`Invitation`].
    fn silent_answer(&self) -> Option<Told> {
        let metrics = self.inner.metrics.borrow_watched();
        let belongs = metrics.membership_config.membership().get_node(&metrics.id).is_some();
        let silent = time::now() < self.inner.silent_until || !belongs || !self.inner.may_vote();
        silent.then(|| Told::Voted(VoteResponse::new(metrics.vote, None, false)))
    }

    /// Changes who takes part. Returns when the change is decided.
    ///
    /// # Errors
    /// This replica does not lead, another change is under way, or the change makes no sense.
    pub(crate) async fn change(&self, change: Change) -> io::Result<()> {
        let raft = &self.inner.raft;
        if !self.votes() {
            // A leader that a change took out of its group leads until that is known to all: openraft
            // has it change nothing else, and would panic.
            return Err(io::Error::other("this replica takes no part in its group any more"));
        }
        let changed = match change {
            Change::AddLearner(node) => {
                raft.add_learner(u64::from(node.0), EmptyNode {}, false).await.map(drop)
            }
            Change::SetVoters(nodes) => {
                let ids: BTreeSet<u64> = nodes.iter().map(|node| u64::from(node.0)).collect();
                raft.change_membership(ChangeMembers::ReplaceAllVoters(ids), false).await.map(drop)
            }
            Change::RemoveLearner(node) => {
                let ids = BTreeSet::from([u64::from(node.0)]);
                raft.change_membership(ChangeMembers::RemoveNodes(ids), false).await.map(drop)
            }
        };
        changed.map_err(io::Error::other)
    }

    /// Has another voter lead. Returns when this replica leads no more, whoever does then.
    ///
    /// # Errors
    /// The other voter has declined, or does not answer. The group has ended.
    pub(crate) async fn transfer(&self, to: NodeId) -> io::Result<()> {
        let mut metrics = self.inner.raft.server_metrics();
        let term = {
            let now = self.inner.metrics.borrow_watched();
            let mut voters = now.membership_config.membership().voter_ids();
            voters.any(|voter| voter == u64::from(to.0)).then_some(now.current_term)
        };
        let Some(term) = term else {
            return Err(io::Error::other(format!("node {to} has no vote")));
        };
        // Before anybody hears of it.
        self.inner.given_away.set(Some(term));
        let asked = self.inner.raft.trigger().transfer_leader(u64::from(to.0)).await;
        asked.map_err(io::Error::other)?;
        let until = time::now() + TAKES_OVER_WITHIN;
        while metrics.borrow_watched().state == ServerState::Leader {
            let left = until.saturating_since(time::now());
            let changed = time::timeout(left, metrics.changed()).await;
            let changed = changed.map_err(|_elapsed| {
                io::Error::new(io::ErrorKind::TimedOut, format!("node {to} does not take over"))
            })?;
            changed.map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// The link with the place of a node's replica has broken.
    pub(crate) fn link_broke(&self, node: NodeId) {
        campaign::begin(&self.inner, u64::from(node.0));
    }

    /// Whether this replica has a vote, as far as it knows.
    fn votes(&self) -> bool {
        let metrics = self.inner.metrics.borrow_watched();
        let sets = metrics.membership_config.membership().get_joint_config();
        sets.iter().any(|voters| voters.contains(&metrics.id))
    }

    /// The newest term that this replica knows.
    pub(crate) fn term(&self) -> Term {
        Term(self.inner.metrics.borrow_watched().current_term)
    }

    /// What the group is made of.
    pub(crate) fn report(&self) -> GroupReport {
        let now = self.inner.metrics.borrow_watched();
        let membership = now.membership_config.membership();
        let ids = |ids: &BTreeSet<u64>| ids.iter().map(|id| node_id(*id)).collect();
        let matched = now.replication.iter().flatten().map(|(id, matched)| {
            (node_id(*id), LogIndex(matched.map_or(0, |matched| matched.index)))
        });
        GroupReport {
            partition: self.inner.partition,
            term: Term(now.current_term),
            leads: now.state == ServerState::Leader,
            leader: now.current_leader.map(node_id),
            voters: membership.get_joint_config().iter().map(ids).collect(),
            learners: membership.learner_ids().map(node_id).collect(),
            last: LogIndex(now.last_log_index.unwrap_or_default()),
            applied: LogIndex(now.last_applied.map_or(0, |applied| applied.index)),
            matched: matched.collect(),
        }
    }

    /// Ends the group; what it has appended is written all the same. Nothing of it works on the partition
    /// when this returns.
    pub(crate) async fn shutdown(&self) {
        self.inner.watching.borrow_mut().take();
        self.inner.campaign.borrow_mut().take();
        // A task of it that has panicked was told of then.
        drop(self.inner.raft.shutdown().await);
        self.inner.life.end().await;
        *self.inner.receiving.lock().await = None;
    }
}

/// Answers a replica of another node; `group` gives the group of a partition of this core.
pub(crate) async fn answer(message: Bytes, group: impl Fn(PartitionId) -> Option<Group>) -> Bytes {
    if let Some(beats) = decode_beats(&message) {
        return beats::answer(beats, group).await;
    }
    let told = match decode_ask(message) {
        None => Told::Unable("a message between replicas makes no sense".to_owned()),
        Some((partition, ask)) => match group(partition) {
            Some(group) => group.answer(ask).await,
            None => Told::Unable(format!("there is no replica of partition {partition} here")),
        },
    };
    encode_told(&told)
}

fn voted(result: Result<VoteResponse<Partitions>, String>) -> Told {
    result.map_or_else(Told::Unable, Told::Voted)
}

/// Who leads a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leading {
    /// This replica does.
    Here {
        /// In this term.
        term: Term,
        /// It is the only voter: nobody else can.
        alone: bool,
        /// Somebody else may have led before, and not know yet that this is over.
        inherits: bool,
    },
    /// Another does, or none is known.
    Elsewhere(Option<NodeId>),
}

impl Inner {
    /// Who leads, as far as is known. `alone`: this replica is the only voter.
    fn leading(&self, alone: bool) -> Leading {
        let now = self.metrics.borrow_watched();
        let term = now.current_term;
        match now.state {
            ServerState::Leader => {
                Leading::Here { term: Term(term), alone, inherits: term > self.own_terms }
            }
            _ => Leading::Elsewhere(now.current_leader.filter(|id| *id != now.id).map(node_id)),
        }
    }

    /// Whether its log has come as far as it must for it to vote; see [`Invitation`].
    pub(super) fn may_vote(&self) -> bool {
        self.network.log.may_vote()
    }

    fn note_heard(&self, arrived: Instant, appended: &AppendEntriesResponse<Partitions>) {
        if !matches!(appended, AppendEntriesResponse::HigherVote(_)) {
            self.heard.set(arrived.max(self.heard.get()));
        }
    }

    /// Has openraft's clock run, or stand still.
    fn set_ticks(&self, runs: bool) {
        if self.ticks.replace(runs) != runs {
            self.raft.runtime_config().tick(runs);
        }
    }
}

/// Has a group that leads say so, and one that follows listen.
pub(super) struct Pulse(std::rc::Weak<Inner>);

impl Pulse {
    /// Has it say so now; false: it has ended. One whose queue is full has other things to say, and says
    /// this with the next beat.
    pub(super) fn beat(&self) -> bool {
        let Some(inner) = self.0.upgrade() else { return false };
        inner.raft.trigger().heartbeat().now_or_never().is_none_or(|told| told.is_ok())
    }

    /// Has the clock of one that follows run where its leader is not heard; false: it has ended.
    pub(super) fn listen(&self) -> bool {
        let Some(inner) = self.0.upgrade() else { return false };
        let follows = {
            let now = inner.metrics.borrow_watched();
            now.current_leader.is_some_and(|leader| leader != now.id)
        };
        inner.set_ticks(!follows || inner.heard.get().elapsed() >= QUIET);
        true
    }
}

/// Tells the partition who leads, and has openraft listen where there is somebody to listen to.
async fn watch(group: std::rc::Weak<Inner>, node: NodeId, beats: Beats) {
    let Some(inner) = group.upgrade() else { return };
    let mut metrics = inner.raft.server_metrics();
    let silent_until = inner.silent_until;
    drop(inner);
    let mut silent = true;
    let mut told = None;
    loop {
        let (alone, listens) = {
            let now = metrics.borrow_watched();
            let membership = now.membership_config.membership();
            let alone = membership.voter_ids().eq([u64::from(node.0)]);
            // A learner must hear, too, how far the group has come.
            (alone, membership.nodes().count() > 1 || !alone)
        };
        let Some(inner) = group.upgrade() else { return };
        let leading = inner.leading(alone);
        if told.replace(leading) != Some(leading) {
            inner.applier.led(inner.partition, leading);
        }
        let leads = matches!(leading, Leading::Here { .. });
        match listens {
            true => beats.join(inner.partition, leads, Pulse(group.clone())),
            false => beats.leave(inner.partition),
        }
        // The clock is for elections: who leads stands for none, and who follows stops it with the next
        // beat. An only voter that follows is to lead: who led before does not vote any more.
        inner.set_ticks(!leads);
        if silent && time::now() >= silent_until && inner.may_vote() {
            silent = false;
            inner.raft.runtime_config().elect(true);
        }
        drop(inner);
        let changed = match silent {
            true => {
                let left = silent_until.saturating_since(time::now());
                let look = if left.is_zero() { ELECTION_MAX } else { left };
                time::timeout(look, metrics.changed()).await.unwrap_or(Ok(()))
            }
            false => metrics.changed().await,
        };
        if changed.is_err() {
            return;
        }
    }
}

//! The replicated log, as a partition's leader sees it: propose a command; be told when it is
//! decided and applied; in the order of its index.
//!
//! # The idea
//!
//! Each partition is a Raft group with a log of its own ([`crate::raft`]), and all partitions of a
//! core share one write-ahead log ([`crate::wal`]), which *is* those logs: nothing is written
//! twice before it is acknowledged.
//!
//! ```text
//!  propose ─► gathering ──────────► group ─► writing ──────► durable ─► decided ─► applied ─► answered
//!             (while a write is     (an      one frame for   here       by a        in index
//!              in flight)           entry)   all partitions             quorum      order
//! ```
//!
//! One task proposes: it takes what has gathered, a batch of each partition and at most
//! [`LogOptions::frame_bytes_max`] of all, makes sure that the disk has room for it, hands each
//! batch to its group as one entry, and takes the next when these are on this core's disk.
//!
//! # What holds
//!
//! - A proposal that was refused is not in the log, now or after a restart. One that was in flight
//!   when the disk failed is in doubt ([`LogError::InDoubt`]). One that another leader's log has
//!   displaced is answered when it is known what became of it; where that cannot be known here, it is in
//!   doubt, too ([`LogError::Undecided`]).
//! - Commands of one partition are applied in the order in which they were proposed.
//! - Bytes that are proposed and not yet applied are bounded ([`LogOptions::queue_bytes_max`]);
//!   proposers wait for room before they choose their timestamps.
//! - A command that was proposed is applied, whether or not anybody still waits for it.
//! - A segment is let go when the partitions say that they do not need it ([`Log::purge`]).

mod codec;
mod doubted;
mod error;
mod proposer;
mod queue;

use crate::raft::{
    self, Applier, Beats, Beginning, CoreLog, CoreLogOptions, Flights, Group, GroupReport,
    Invitation, LogDamage, LogId, Nodes, Watcher,
};
use crate::wal::{WalError, WalOptions};
use bytes::Bytes;
use doubted::Doubted;
use model::command::Command;
use model::id::{LogIndex, NodeId, PartitionId};
use model::placement::Place;
use model::time::HybridClock;
use openraft::Config;
use queue::{Pending, Queues};
use runtime::sync::{Event, Notify, Permit, Semaphore, oneshot};
use runtime::task::{self, Task};
use runtime::time::Instant;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use codec::{decode_all, encoded_bytes};
pub use error::LogError;

/// Settings of a core's log.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) directory: PathBuf,
    pub(crate) generation: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) node: NodeId,
    pub(crate) core: model::id::CoreId,
    /// A frame takes what has gathered up to this, in bytes, but always one command.
    pub(crate) frame_bytes_max: usize,
    /// Entries that are kept in memory, in bytes.
    pub(crate) cached_bytes_max: usize,
    /// Proposals wait while more than this is on its way, in bytes.
    pub(crate) queue_bytes_max: usize,
    /// A log that is idle for so long is sealed.
    pub(crate) seal_after: Duration,
}

impl LogOptions {
    /// The defaults.
    pub(crate) fn new(
        directory: PathBuf,
        generation: u64,
        node: NodeId,
        core: model::id::CoreId,
    ) -> LogOptions {
        LogOptions {
            directory,
            generation,
            segment_bytes: 64 << 20,
            node,
            core,
            frame_bytes_max: 1 << 20,
            queue_bytes_max: 16 << 20,
            cached_bytes_max: 4 << 20,
            seal_after: Duration::from_millis(200),
        }
    }

    pub(crate) fn core_log(&self) -> CoreLogOptions {
        let wal = WalOptions {
            directory: self.directory.clone(),
            generation: self.generation,
            segment_bytes: self.segment_bytes,
            node: self.node,
            core: self.core,
        };
        CoreLogOptions {
            wal,
            frame_bytes_max: self.frame_bytes_max,
            // What is proposed has its bound here: this one is for what comes besides.
            queue_bytes_max: 2 * self.queue_bytes_max,
            cached_bytes_max: self.cached_bytes_max,
            seal_after: self.seal_after,
        }
    }
}

/// The partitions of a core, as their log sees them: what is decided is applied to them, and who has
/// proposed it hears what became of it.
pub(crate) trait Proposers: Applier {
    /// A command will not be applied. Where the error [is in doubt](LogError::is_in_doubt) it may be in
    /// the log all the same; after any other error it is not.
    fn refused(&self, partition: PartitionId, command: Command, error: &LogError);

    /// The log has ended for good.
    fn failed(&self, error: &LogError);
}

/// One core's log. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Log {
    inner: Rc<Inner>,
}

struct Inner {
    options: LogOptions,
    core_log: CoreLog,
    groups: RefCell<BTreeMap<PartitionId, Group>>,
    proposers: OnceCell<Rc<dyn Proposers>>,
    /// The cores of other nodes, and the heartbeats that go there.
    nodes: OnceCell<(Rc<dyn Nodes>, Beats)>,
    config: Arc<Config>,
    queues: RefCell<Queues>,
    doubted: RefCell<Doubted>,
    room: Semaphore,
    /// There is something to propose, or the log is to close.
    work: Notify,
    /// What is proposed and not yet on this core's disk.
    flights: Rc<Flights>,
    /// Commands that are proposed and not answered.
    unanswered: Cell<usize>,
    all_answered: Notify,
    failed: RefCell<Option<LogError>>,
    closing: Cell<bool>,
    closed: Event,
    /// The task that proposes; dropping the log cancels it.
    proposer: RefCell<Option<Task<()>>>,
    stats: Cell<LogStats>,
}

/// What a core's log has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Writes.
    pub frames: u64,
    /// Commands in them.
    pub commands: u64,
    /// Bytes of commands in them.
    pub command_bytes: u64,
    /// Bytes of segments that are kept.
    pub live_bytes: u64,
    /// Proposals refused because the disk is full.
    pub refused_full: u64,
}

/// Room in the log's queue for one command.
pub(crate) struct Reserved {
    permit: Permit,
}

/// A command on its way. Dropping it does not call it back.
pub(crate) type Proposal = oneshot::Receiver<Result<LogIndex, LogError>>;

impl Log {
    /// Opens a log that [`CoreLog::create`] made. Proposals wait until [`Log::start`].
    ///
    /// # Errors
    /// What is damaged or cannot be read.
    pub(crate) async fn open(options: LogOptions, clock: Rc<HybridClock>) -> Result<Log, WalError> {
        let core_log = CoreLog::open(options.core_log(), clock).await?;
        let inner = Inner {
            core_log,
            groups: RefCell::default(),
            proposers: OnceCell::new(),
            nodes: OnceCell::new(),
            config: raft::config(),
            queues: RefCell::new(Queues::new(options.segment_bytes)),
            doubted: RefCell::default(),
            room: Semaphore::new(options.queue_bytes_max),
            work: Notify::new(),
            flights: Rc::default(),
            unanswered: Cell::new(0),
            all_answered: Notify::new(),
            failed: RefCell::default(),
            closing: Cell::new(false),
            closed: Event::new(),
            proposer: RefCell::default(),
            stats: Cell::default(),
            options,
        };
        Ok(Log { inner: Rc::new(inner) })
    }

    /// Starts the groups of the core's partitions, each with what the log holds of it, and takes
    /// proposals. Returns when all that was decided before is applied where this node is the only voter.
    ///
    /// # Errors
    /// What is damaged or cannot be read or written.
    pub(crate) async fn start(
        &self,
        partitions: impl Iterator<Item = PartitionId>,
        proposers: Rc<dyn Proposers>,
        nodes: Rc<dyn Nodes>,
        beginning: Beginning,
    ) -> std::io::Result<()> {
        let log = self.inner.core_log.clone();
        if self.inner.proposers.set(proposers.clone()).is_err() {
            unreachable!("a log is started once");
        }
        log.watch(Rc::new(Watching(Rc::downgrade(&self.inner))));
        let partitions: Vec<PartitionId> = partitions.collect();
        if let Some(foreign) = log.partitions().iter().find(|one| !partitions.contains(one)) {
            let what =
                format!("the log holds entries of partition {foreign}, which is not this core's");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
        }
        let beats = Beats::start(nodes.clone());
        if self.inner.nodes.set((nodes, beats)).is_err() {
            unreachable!("a log is started once");
        }
        let starting = partitions.into_iter().map(|partition| self.add(partition, beginning));
        futures::future::try_join_all(starting).await?;
        let proposer = task::spawn("log-propose", proposer::run(Rc::downgrade(&self.inner)));
        *self.inner.proposer.borrow_mut() = Some(proposer);
        Ok(())
    }

    /// Starts the group of a partition that is on this core from now on.
    ///
    /// # Errors
    /// As for [`Log::start`].
    pub(crate) async fn add(
        &self,
        partition: PartitionId,
        beginning: Beginning,
    ) -> std::io::Result<()> {
        let inner = &self.inner;
        let (Some(proposers), Some(nodes)) = (inner.proposers.get(), inner.nodes.get()) else {
            return Err(std::io::Error::other("the log is not started"));
        };
        let settings = (inner.config.clone(), beginning);
        let (log, applier) = (inner.core_log.clone(), proposers.clone());
        let node = inner.options.node;
        let group = Group::start(partition, node, settings, log, applier, nodes.clone()).await?;
        inner.groups.borrow_mut().insert(partition, group);
        Ok(())
    }

    /// Asks who leads a partition how a replica of it begins here, and notes that; durably, when it returns.
    ///
    /// # Errors
    /// The leader does not say it. Why nothing is written any more.
    pub(crate) async fn join(&self, partition: PartitionId, leader: NodeId) -> std::io::Result<()> {
        let Some((nodes, _)) = self.inner.nodes.get() else {
            return Err(std::io::Error::other("the log is not started"));
        };
        let invitation = Invitation::ask(nodes, partition, leader).await?;
        self.inner.core_log.begin(partition, invitation).await
    }

    /// The partitions of which the log holds anything.
    pub(crate) fn partitions(&self) -> Vec<PartitionId> {
        self.inner.core_log.partitions()
    }

    /// Ends the group of a partition, which nobody reaches from the first moment on. What it has not
    /// answered is in doubt.
    pub(crate) async fn end(&self, partition: PartitionId) {
        let group = self.inner.groups.borrow_mut().remove(&partition);
        if let Some(group) = group {
            group.shutdown().await;
        }
        self.inner.give_up_doubted(partition);
    }

    /// Forgets what the log holds of a partition that has no group; durably, when it returns.
    ///
    /// # Errors
    /// Why nothing is written any more.
    pub(crate) async fn forget(&self, partition: PartitionId) -> std::io::Result<()> {
        match self.inner.core_log.partitions().contains(&partition) {
            true => self.inner.core_log.forget(partition).await,
            false => Ok(()),
        }
    }

    /// Whether other nodes vote on a partition, too, as of the last that its log says of that.
    pub(crate) fn has_others(&self, partition: PartitionId) -> bool {
        self.inner.core_log.has_others(partition, self.inner.options.node)
    }

    /// The group of a partition of this core.
    pub(crate) fn group(&self, partition: PartitionId) -> Option<Group> {
        self.inner.groups.borrow().get(&partition).cloned()
    }

    /// Until when nobody but this replica can lead a partition; see [`Group::lease_until`].
    pub(crate) fn lease_until(&self, partition: PartitionId) -> Option<Instant> {
        self.inner.groups.borrow().get(&partition)?.lease_until()
    }

    /// The link with a place has broken: groups that are led there are soon to be led elsewhere.
    pub(crate) fn link_broke(&self, place: Place) {
        let Some((nodes, _)) = self.inner.nodes.get() else { return };
        for (partition, group) in &*self.inner.groups.borrow() {
            if nodes.place(place.node, *partition) == Some(place) {
                group.link_broke(place.node);
            }
        }
    }

    /// The groups of this core.
    pub(crate) fn reports(&self) -> Vec<GroupReport> {
        self.inner.groups.borrow().values().map(Group::report).collect()
    }

    /// Answers a replica of another node.
    pub(crate) async fn answer_replica(&self, message: Bytes) -> Bytes {
        raft::answer(message, |partition| self.group(partition)).await
    }

    /// Waits until there is room for a command of at most `bytes`.
    ///
    /// # Errors
    /// [`LogError::TooLarge`]; and why nothing can be proposed at all.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Reserved, LogError> {
        self.check()?;
        let bytes_max = self.command_bytes_max();
        if bytes > bytes_max {
            return Err(LogError::TooLarge { bytes, bytes_max });
        }
        let need = bytes.clamp(1, self.inner.options.queue_bytes_max);
        let permit = self.inner.room.acquire(need).await.map_err(|_| LogError::Closed)?;
        self.check()?;
        Ok(Reserved { permit })
    }

    /// The largest command, in encoded bytes.
    pub(crate) fn command_bytes_max(&self) -> usize {
        (self.inner.options.segment_bytes / 2) as usize
    }

    /// Puts a command into its partition's log, after all that were proposed before it. The
    /// answer comes once it is durable, decided and applied.
    pub(crate) fn propose(
        &self,
        room: Reserved,
        partition: PartitionId,
        command: Command,
    ) -> Proposal {
        let (promise, proposal) = oneshot::channel();
        match self.check() {
            Ok(()) => {
                self.inner.queues.borrow_mut().push(partition, command, promise, room.permit);
                self.inner.work.notify_one();
            }
            Err(error) => drop(promise.send(Err(error))),
        }
        proposal
    }

    /// Why the log takes nothing any more, if so.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        match &*self.inner.failed.borrow() {
            Some(error) => Err(error.clone()),
            None if self.inner.closing.get() => Err(LogError::Closed),
            None => Ok(()),
        }
    }

    /// An entry of a partition's log is applied here.
    pub(crate) fn decided(&self, partition: PartitionId, applied: LogId) {
        self.inner.decided(partition, applied);
    }

    /// A partition's files were replaced: what the log had said before will not be looked at.
    pub(crate) fn replaced(&self, partition: PartitionId) {
        self.inner.give_up_doubted(partition);
    }

    /// Lets go of what a partition does not need of its log any more: everything up to `needless`. A
    /// segment that nobody needs is used again with the next write.
    pub(crate) async fn purge(&self, partition: PartitionId, needless: LogIndex) {
        let (purged, _) = self.inner.core_log.state(partition);
        if purged.map_or(0, |purged| purged.index) >= needless.0 {
            return;
        }
        if let Some(group) = self.group(partition) {
            // A group that has ended lets go of nothing more.
            drop(group.purge().await);
        }
    }

    /// The last entry of each partition that holds the oldest segment up, which is not the one being
    /// written. `None`: there is one segment only.
    pub(crate) fn oldest_full_segment(&self) -> Option<BTreeMap<PartitionId, LogIndex>> {
        self.inner.core_log.oldest_full_segment()
    }

    /// See [`CoreLog::scrub`].
    pub(crate) async fn scrub(&self, pace: impl AsyncFn(u64)) -> Result<(), WalError> {
        self.inner.core_log.scrub(pace).await
    }

    /// See [`CoreLog::damaged_to`].
    pub(crate) fn damaged_to(&self) -> Option<u64> {
        self.inner.core_log.damaged_to()
    }

    /// See [`CoreLog::wanted_damaged`].
    pub(crate) fn wanted_damaged(&self) -> BTreeSet<PartitionId> {
        self.inner.core_log.wanted_damaged()
    }

    /// See [`CoreLog::damage`].
    pub(crate) fn damage(&self) -> LogDamage {
        self.inner.core_log.damage()
    }

    /// See [`CoreLog::next_damage`].
    pub(crate) async fn next_damage(&self, seen: u64) -> Option<WalError> {
        self.inner.core_log.next_damage(seen).await
    }

    /// See [`CoreLog::index_bytes`].
    pub(crate) fn index_bytes(&self) -> u64 {
        self.inner.core_log.index_bytes()
    }

    /// The last entry of a partition that was let go, and its last one.
    #[cfg(test)]
    pub(crate) fn state(&self, partition: PartitionId) -> (Option<LogId>, Option<LogId>) {
        self.inner.core_log.state(partition)
    }

    /// What the log has done.
    pub(crate) fn stats(&self) -> LogStats {
        let written = self.inner.core_log.written();
        let LogStats { commands, command_bytes, refused_full, .. } = self.inner.stats.get();
        LogStats {
            frames: written.frames,
            commands,
            command_bytes,
            live_bytes: written.live_bytes,
            refused_full,
        }
    }

    /// Takes nothing more, writes and applies what was proposed, seals the log and closes it.
    pub(crate) async fn close(&self) {
        self.inner.closing.set(true);
        self.inner.work.notify_one();
        self.inner.closed.wait().await;
    }

    /// Waits until nothing can be written any more, and says why.
    pub(crate) async fn failure(&self) -> WalError {
        self.inner.core_log.failure().await
    }

    /// Stops at once, as a crash would.
    pub(crate) fn stop(&self) {
        self.inner.proposer.borrow_mut().take();
        self.inner.core_log.stop();
        self.inner.groups.borrow_mut().clear();
        self.inner.room.close();
    }
}

impl Inner {
    fn answered(&self, commands: usize) {
        let left = self.unanswered.get() - commands;
        self.unanswered.set(left);
        if left == 0 {
            self.all_answered.notify_all();
        }
    }

    fn tell_refused(
        &self,
        partition: PartitionId,
        commands: impl Iterator<Item = Pending>,
        error: &LogError,
    ) {
        for pending in commands {
            if let Some(proposers) = self.proposers.get() {
                proposers.refused(partition, pending.command, error);
            }
            drop(pending.promise.send(Err(error.clone())));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.room.close();
    }
}

/// Hears what becomes of the core's log.
struct Watching(Weak<Inner>);

impl Watcher for Watching {
    fn durable(&self, partition: PartitionId, index: LogIndex) {
        if let Some(inner) = self.0.upgrade()
            && let Some(proposers) = inner.proposers.get()
            && inner.groups.borrow().contains_key(&partition)
        {
            proposers.durable(partition, index.min(proposers.applied(partition)));
        }
    }

    fn failed(&self, error: &WalError) {
        let Some(inner) = self.0.upgrade() else { return };
        let failed = LogError::refused(error.clone()).afterwards();
        *inner.failed.borrow_mut() = Some(failed.clone());
        inner.room.close();
        let waiting = inner.queues.borrow_mut().drain();
        for (partition, pending) in waiting {
            inner.tell_refused(partition, std::iter::once(pending), &failed);
        }
        let doubted = inner.doubted.borrow().partitions();
        doubted.into_iter().for_each(|partition| inner.give_up_doubted(partition));
        if let Some(proposers) = inner.proposers.get() {
            proposers.failed(&failed);
        }
        inner.all_answered.notify_all();
        inner.closed.set();
    }
}

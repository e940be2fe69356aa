//! The replicated log, as a partition's leader sees it: propose a command; be told when it is
//! durable, decided and applied; in the order of its index.
//!
//! # The idea
//!
//! Each partition has a log of its own, numbered from 1 without a gap, and all partitions of a
//! core share one write-ahead log ([`crate::wal`]), which *is* those logs: nothing is written
//! twice before it is acknowledged.
//!
//! ```text
//!  propose ─► gathering ─────────► writing ──────► durable ─► decided ─► applied ─► answered
//!             (while a write is    one frame for   today the same        in index
//!              in flight)          all partitions  moment: one voter     order
//! ```
//!
//! One task writes: it takes all that has gathered, at most [`LogOptions::frame_bytes_max`] of
//! it, as one frame. Another applies. Indexes are given when a frame is made, so a write that was
//! refused (a full disk) leaves no hole. Terms are real: each start is a new term, recorded with
//! the vote of the only voter before anything is proposed in it. Replication slides in between
//! *durable* and *decided*.
//!
//! # What holds
//!
//! - A proposal that was refused is not in the log, now or after a restart. One that was in flight
//!   when the disk failed is in doubt ([`LogError::InDoubt`]).
//! - Commands of one partition are applied in the order in which they were proposed.
//! - Bytes that are proposed and not yet applied are bounded ([`LogOptions::queue_bytes_max`]);
//!   proposers wait for room before they choose their timestamps.
//! - A command that was proposed is applied, whether or not anybody still waits for it.
//! - A segment is let go when whoever applies says so ([`Log::purge`]).

mod codec;
mod error;
mod queue;
mod recover;
mod writer;

use crate::wal::{Wal, WalError, WalOptions};
use model::command::Command;
use model::id::{LogIndex, NodeId, PartitionId, Term};
use model::time::HybridClock;
use queue::{Durable, Queues};
use runtime::sync::{Event, Notify, Permit, Semaphore, oneshot};
use runtime::task::{self, Task};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

pub(crate) use codec::encoded_bytes;
pub use error::LogError;
pub(crate) use recover::Recovery;

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
            seal_after: Duration::from_millis(200),
        }
    }

    fn wal(&self) -> WalOptions {
        WalOptions {
            directory: self.directory.clone(),
            generation: self.generation,
            segment_bytes: self.segment_bytes,
            node: self.node,
            core: self.core,
        }
    }
}

/// Carries decided commands out. Called in the order of their index.
pub(crate) trait Applier {
    /// The log holds everything of a partition up to `index`.
    fn durable(&self, partition: PartitionId, index: LogIndex);

    /// Applies one command. `segment` is the part of the log that holds it.
    async fn apply(&self, partition: PartitionId, index: LogIndex, segment: u64, command: Command);

    /// A command will not be applied. After [`LogError::InDoubt`] it may be in the log all the
    /// same; after any other error it is not.
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
    clock: Rc<HybridClock>,
    queues: RefCell<Queues>,
    room: Semaphore,
    /// There is something to write, or the log is to close.
    work: Notify,
    durable: RefCell<VecDeque<Durable>>,
    /// There is something to apply.
    decided: Notify,
    failed: RefCell<Option<LogError>>,
    closing: Cell<bool>,
    /// Commands were taken to be applied and are not yet.
    applying: Cell<bool>,
    closed: Event,
    /// Tasks that end when the log closes; dropping the log cancels them.
    tasks: RefCell<Vec<Task<()>>>,
    segments: RefCell<Segments>,
    stats: RefCell<LogStats>,
}

/// Which entries lie in which segment, and what was asked to be let go.
#[derive(Debug, Default)]
struct Segments {
    /// The last index of each partition in each segment, oldest first.
    last: BTreeMap<u64, BTreeMap<PartitionId, LogIndex>>,
    /// Segments before this one may go.
    purge_to: u64,
    live_bytes: u64,
    /// Term and vote of each partition, and the segment that says so.
    hard_states: BTreeMap<PartitionId, HardState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HardState {
    term: Term,
    vote: NodeId,
    /// Zero: not yet recorded.
    segment: u64,
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
    /// Makes a new, empty log on disk.
    pub(crate) async fn create(options: &LogOptions) -> Result<(), WalError> {
        Wal::create(options.wal()).await
    }

    /// Removes what earlier generations have left; see [`Wal::remove_earlier`].
    pub(crate) async fn remove_earlier(options: &LogOptions) -> Result<(), WalError> {
        Wal::remove_earlier(&options.wal()).await
    }

    /// Opens a log, hands what it holds to `recovery`, and starts a new term.
    pub(crate) async fn open(
        options: LogOptions,
        clock: Rc<HybridClock>,
        recovery: &mut impl Recovery,
    ) -> Result<OpenedLog, WalError> {
        let mut replay = recover::LogReplay::new(recovery, &clock);
        let wal = Wal::open(options.wal(), &mut replay).await?;
        let (segments, queues) = replay.finish(options.segment_bytes);
        let room = Semaphore::new(options.queue_bytes_max);
        let inner = Inner {
            options,
            clock,
            queues: RefCell::new(queues),
            room,
            work: Notify::new(),
            durable: RefCell::default(),
            decided: Notify::new(),
            failed: RefCell::default(),
            closing: Cell::new(false),
            applying: Cell::new(false),
            closed: Event::new(),
            tasks: RefCell::default(),
            segments: RefCell::new(segments),
            stats: RefCell::default(),
        };
        let log = Log { inner: Rc::new(inner) };
        log.inner.segments.borrow_mut().live_bytes = wal.live_bytes();
        Ok(OpenedLog { log, wal })
    }

    /// Adds a partition whose log begins after `applied`, unless it is known to reach further.
    /// Called for every partition of the core before [`OpenedLog::start`].
    pub(crate) fn add_partition(&self, partition: PartitionId, applied: LogIndex) {
        self.inner.queues.borrow_mut().add(partition, applied);
        let mut segments = self.inner.segments.borrow_mut();
        let vote = self.inner.options.node;
        let state =
            segments.hard_states.entry(partition).or_insert_with(|| HardState::unknown(vote));
        *state = HardState { term: Term(state.term.0 + 1), vote, segment: 0 };
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

    /// Lets go of the oldest segments as far as `needless` says: it is asked for each, oldest
    /// first, with the last index of each partition in it. Happens with the next write.
    pub(crate) fn purge(
        &self,
        mut needless: impl FnMut(u64, &BTreeMap<PartitionId, LogIndex>) -> bool,
    ) {
        let mut segments = self.inner.segments.borrow_mut();
        let newest = segments.last.last_key_value().map_or(0, |(segment, _)| *segment);
        let mut purge_to = segments.purge_to;
        for (&segment, last) in segments.last.iter() {
            if segment >= newest || !needless(segment, last) {
                break;
            }
            purge_to = segment + 1;
        }
        if purge_to > segments.purge_to {
            segments.purge_to = purge_to;
            self.inner.work.notify_one();
        }
    }

    /// The oldest segment that is kept and is not the one being written.
    pub(crate) fn oldest_full_segment(&self) -> Option<(u64, BTreeMap<PartitionId, LogIndex>)> {
        let segments = self.inner.segments.borrow();
        let (oldest, last) = segments.last.first_key_value()?;
        (segments.last.len() > 1).then(|| (*oldest, last.clone()))
    }

    /// What the log has done.
    pub(crate) fn stats(&self) -> LogStats {
        let live_bytes = self.inner.segments.borrow().live_bytes;
        LogStats { live_bytes, ..*self.inner.stats.borrow() }
    }

    /// Takes nothing more, writes and applies what was proposed, seals the log and closes it.
    pub(crate) async fn close(&self) {
        self.inner.closing.set(true);
        self.inner.work.notify_one();
        self.inner.closed.wait().await;
    }

    /// Stops at once, as a crash would.
    pub(crate) fn stop(&self) {
        self.inner.tasks.borrow_mut().clear();
        self.inner.room.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.room.close();
    }
}

/// A log that was read and is not written yet.
pub(crate) struct OpenedLog {
    /// The handle; proposals wait until [`OpenedLog::start`].
    pub(crate) log: Log,
    wal: Wal,
}

impl OpenedLog {
    /// Starts to write and to apply.
    pub(crate) fn start<A: Applier + 'static>(self, applier: Rc<A>) -> Log {
        let OpenedLog { log, wal } = self;
        let writing = writer::write(Rc::downgrade(&log.inner), wal, applier.clone());
        let applying = writer::apply(Rc::downgrade(&log.inner), applier);
        let tasks = vec![task::spawn("log-write", writing), task::spawn("log-apply", applying)];
        *log.inner.tasks.borrow_mut() = tasks;
        log
    }
}

//! What the partitions of a core share: clock, locks, snapshots, the log.

use super::locks::{Acquired, LockMode, LockRange, LockTable, Ticket};
use super::long_waits::Lookout;
use super::naming::name_of;
use super::snapshots::Snapshots;
use crate::exec::memory::MemoryAccount;
use crate::log::Log;
use bytes::Bytes;
use model::error::{SqlError, SqlState};
use model::id::{PartitionId, TxnId};
use model::time::{HybridClock, Timestamp};
use runtime::sync::{Notify, oneshot};
use runtime::time::{Elapsed, Instant};
use runtime::{task, time};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Settings of a core's transactions.
#[derive(Debug, Clone)]
pub(crate) struct TxnOptions {
    /// How long a lock or another transaction's outcome is waited for.
    pub(crate) lock_timeout: Duration,
    /// Versions stay readable for so long after they were replaced.
    pub(crate) retention: Duration,
    /// A snapshot in use keeps the versions that it sees for so long.
    pub(crate) snapshot_age_max: Duration,
    /// Bytes that all transactions of the core may have staged and locked.
    pub(crate) staged_bytes_max: usize,
    /// A transaction that has staged more than this in a partition goes through the log in parts
    /// of about so many bytes.
    pub(crate) part_bytes: usize,
    /// Bytes that one statement may keep while it runs here.
    pub(crate) statement_bytes_max: u64,
}

/// Locks are ended so many at a time, between which other tasks run.
const UNLOCK_KEYS: usize = 256;

/// What a lock costs besides its key, in bytes: counted with what transactions stage.
const LOCK_BYTES: usize = 128;

/// What the partitions of a core share.
pub(crate) struct CoreContext {
    pub(crate) options: TxnOptions,
    /// Bytes of keys and values that all transactions have staged.
    pub(crate) staged_bytes: Rc<Cell<usize>>,
    pub(crate) clock: Rc<HybridClock>,
    /// When the core began to open: whoever knew it before then knew another life of it.
    pub(crate) born: Timestamp,
    pub(crate) snapshots: Rc<Snapshots>,
    /// What all running statements keep.
    pub(crate) memory: MemoryAccount,
    pub(crate) locks: RefCell<LockTable>,
    pub(super) waiting: RefCell<BTreeMap<Ticket, Waiting>>,
    /// Set once while the core opens.
    pub(crate) log: OnceCell<Log>,
    /// Told when somebody begins to wait for a lock.
    pub(super) queued: Notify,
    /// Told when another replica leads one of the partitions.
    pub(crate) led: Notify,
    /// Says when the waits are worth a look.
    pub(super) lookout: Lookout,
    pub(crate) deadlocks: Cell<u64>,
    pub(crate) lock_timeouts: Cell<u64>,
}

/// A request for a lock that waits.
pub(super) struct Waiting {
    pub(super) woken: oneshot::Sender<Woken>,
    pub(super) since: Instant,
}

/// Why a request for a lock stops waiting.
pub(super) enum Woken {
    /// It has the lock.
    Granted,
    /// It fails.
    Failed(SqlError),
}

impl CoreContext {
    pub(crate) fn new(
        options: TxnOptions,
        clock: Rc<HybridClock>,
        memory: MemoryAccount,
    ) -> CoreContext {
        CoreContext {
            options,
            staged_bytes: Rc::default(),
            born: clock.now(time::now().as_nanos()),
            clock,
            snapshots: Rc::default(),
            memory,
            locks: RefCell::default(),
            waiting: RefCell::default(),
            log: OnceCell::new(),
            queued: Notify::new(),
            led: Notify::new(),
            lookout: Lookout::default(),
            deadlocks: Cell::new(0),
            lock_timeouts: Cell::new(0),
        }
    }

    /// Moves on to what may be collected now.
    pub(crate) fn collect_before(&self) -> Timestamp {
        let TxnOptions { retention, snapshot_age_max, .. } = self.options;
        self.snapshots.collect_before(self.now(), retention, snapshot_age_max)
    }

    /// A fresh timestamp.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now(time::now().as_nanos())
    }

    /// Moves the clock past a timestamp of this node: of another core, or of a transaction that a
    /// router of this node runs. All of them go by one clock, so none can be far from another; but what
    /// one of them has given out before counts, however far ahead.
    pub(crate) fn follow(&self, seen: Timestamp) {
        self.clock.recover(seen);
    }

    /// Moves the clock past a timestamp from outside of the node.
    pub(crate) fn observe(&self, seen: Timestamp) -> Result<(), SqlError> {
        self.clock.observe(seen, time::now().as_nanos()).map_err(|offset| {
            SqlError::new(SqlState::INTERNAL_ERROR, "the clocks of two nodes are too far apart")
                .detail(offset.to_string())
                .hint("Synchronise the nodes' clocks.")
        })
    }

    /// The log; it is there before the first request is.
    pub(crate) fn log(&self) -> &Log {
        self.log.get().expect("the log is set before requests are served")
    }

    /// How long something is waited for, of which a session says how long it waits for locks.
    pub(crate) fn patience(&self, lock_timeout: Option<Duration>) -> Duration {
        lock_timeout.unwrap_or(Duration::MAX).min(self.options.lock_timeout)
    }

    /// Locks a key where nobody has to be waited for; says who would have to be.
    pub(crate) fn try_lock(
        &self,
        partition: PartitionId,
        txn: TxnId,
        key: &Bytes,
        mode: LockMode,
    ) -> Result<(), Option<TxnId>> {
        let mut locks = self.locks.borrow_mut();
        let Acquired::Queued(ticket) = locks.acquire(partition, txn, key, mode) else {
            return Ok(());
        };
        let blocker = locks.blocker(ticket);
        let mut granted = Vec::new();
        locks.cancel(ticket, &mut granted);
        drop(locks);
        self.wake(granted);
        Err(blocker)
    }

    /// Locks a key until the transaction ends in the partition. `name` says in an error what was
    /// to be locked.
    pub(crate) async fn lock(
        &self,
        partition: PartitionId,
        txn: TxnId,
        key: &Bytes,
        mode: LockMode,
        lock_timeout: Option<Duration>,
        name: impl Fn() -> String,
    ) -> Result<(), SqlError> {
        let acquired = self.locks.borrow_mut().acquire(partition, txn, key, mode);
        self.wait(acquired, lock_timeout, name).await
    }

    /// As [`CoreContext::lock`], a range of keys.
    pub(crate) async fn lock_range(
        &self,
        partition: PartitionId,
        txn: TxnId,
        range: &LockRange,
        mode: LockMode,
        lock_timeout: Option<Duration>,
        name: impl Fn() -> String,
    ) -> Result<(), SqlError> {
        let acquired = self.locks.borrow_mut().acquire_range(partition, txn, range, mode);
        self.wait(acquired, lock_timeout, name).await
    }

    async fn wait(
        &self,
        acquired: Acquired,
        lock_timeout: Option<Duration>,
        name: impl Fn() -> String,
    ) -> Result<(), SqlError> {
        let Acquired::Queued(ticket) = acquired else { return Ok(()) };
        let since = time::now();
        let (woken, answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(ticket, Waiting { woken, since });
        self.queued.notify_one();
        let _cancel = CancelWait { context: self, ticket };
        match time::timeout(self.patience(lock_timeout), answer).await {
            Ok(Ok(Woken::Granted)) => Ok(()),
            Ok(Ok(Woken::Failed(error))) => Err(error),
            Ok(Err(_closed)) => Err(SqlError::internal("a request for a lock was forgotten")),
            Err(Elapsed) => {
                self.lock_timeouts.set(self.lock_timeouts.get() + 1);
                let blocker = name_of(self.locks.borrow().blocker(ticket));
                let what = format!("{blocker} is in the way of a lock on {}", name());
                Err(timed_out(&what, since.elapsed()))
            }
        }
    }

    /// Ends a transaction's locks in a partition; behind the caller's back where there are many.
    pub(crate) fn unlock(self: &Rc<Self>, partition: PartitionId, txn: TxnId) {
        if self.unlock_some(partition, txn, 0) {
            return;
        }
        let context = self.clone();
        let unlocking = async move {
            while !context.unlock_some(partition, txn, 0) {
                task::yield_now().await;
            }
        };
        task::spawn("unlock", unlocking).detach();
    }

    /// Ends the locks that a transaction took in a partition after the first `kept`.
    pub(crate) async fn unlock_to(&self, partition: PartitionId, txn: TxnId, kept: usize) {
        while !self.unlock_some(partition, txn, kept) {
            task::yield_now().await;
        }
    }

    /// Ends the lock on a key, if the transaction took it after its first `kept` locks in the
    /// partition.
    pub(crate) fn unlock_key(&self, partition: PartitionId, txn: TxnId, key: &Bytes, kept: usize) {
        let mut granted = Vec::new();
        self.locks.borrow_mut().release_key(partition, txn, key, kept, &mut granted);
        self.wake(granted);
    }

    /// Returns whether that was all of them but the first `kept`.
    fn unlock_some(&self, partition: PartitionId, txn: TxnId, kept: usize) -> bool {
        let mut granted = Vec::new();
        let mut locks = self.locks.borrow_mut();
        let all = locks.release(partition, txn, kept, UNLOCK_KEYS, &mut granted);
        drop(locks);
        self.wake(granted);
        all
    }

    /// Bytes that all transactions of the core have staged, with their locks.
    pub(crate) fn staged_and_locked(&self) -> usize {
        self.staged_bytes.get() + self.locks.borrow().held_count() * LOCK_BYTES
    }

    /// What a transaction's locks in a partition count for, in bytes.
    pub(crate) fn locked_bytes(&self, partition: PartitionId, txn: TxnId) -> usize {
        self.locks.borrow().held(partition, txn).len() * LOCK_BYTES
    }

    fn wake(&self, granted: Vec<Ticket>) {
        for ticket in granted {
            let waiting = self.waiting.borrow_mut().remove(&ticket);
            // One that has gone has its lock all the same, until its transaction ends.
            if let Some(waiting) = waiting {
                let _ = waiting.woken.send(Woken::Granted);
            }
        }
    }
}

/// Gives up the place in the queue when the request is dropped.
struct CancelWait<'a> {
    context: &'a CoreContext,
    ticket: Ticket,
}

impl Drop for CancelWait<'_> {
    fn drop(&mut self) {
        self.context.waiting.borrow_mut().remove(&self.ticket);
        let mut granted = Vec::new();
        self.context.locks.borrow_mut().cancel(self.ticket, &mut granted);
        self.context.wake(granted);
    }
}

/// 55P03, saying who was in the way of what (a clause) and for how long.
pub(crate) fn timed_out(what: &str, waited: Duration) -> SqlError {
    let message = "canceling statement due to lock timeout";
    let waited = waited.as_millis();
    SqlError::new(SqlState::LOCK_NOT_AVAILABLE, message)
        .detail(format!("{what}; waited {waited} ms."))
        .hint("Retry the transaction, or raise lock_timeout.")
}

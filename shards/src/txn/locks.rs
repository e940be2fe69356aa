//! The lock table of one core: who holds and who waits for which key. Pure: it decides, and whoever
//! drives it wakes and times out.
//!
//! Locks are granted first come, first served: a request that could be granted waits all the same
//! behind one that conflicts with it and came before. Only a holder of a shared lock that wants it
//! exclusively goes to the front. Transactions that wait for each other in a circle are not looked
//! for here: a table knows the part of a circle that lies on its core, and says who waits for whom.

use bytes::Bytes;
use model::id::{ObjectId, PartitionId, TxnId};
use model::key::object_of;
use model::placement::hash_of;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// A million locks are a few thousand in each.
const LOCK_MAPS: u64 = 256;

/// Locks of a transaction in a partition that a report looks at.
const REPORTED_KEYS_MAX: usize = 1_000;

/// Holders that are named of a lock for one who waits behind others.
const NEAREST_HOLDERS: usize = 4;

/// How a key is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// With others that read.
    Shared,
    /// Alone.
    Exclusive,
}

impl LockMode {
    fn conflicts(self, other: LockMode) -> bool {
        self == LockMode::Exclusive || other == LockMode::Exclusive
    }
}

/// Names a request for a lock that waits, among all there ever were on its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitNumber(pub u64);

/// A transaction that waits on a core, for what and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The request.
    pub number: WaitNumber,
    /// Who waits.
    pub txn: TxnId,
    /// The key.
    pub key: Bytes,
    /// How it is to be locked.
    pub mode: LockMode,
    /// Who stands in its way.
    pub waits_for: Vec<TxnId>,
}

/// What a transaction locks, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockReport {
    /// Which transaction.
    pub txn: TxnId,
    /// The table or index whose keys it locks.
    pub object: ObjectId,
    /// How.
    pub mode: LockMode,
    /// Where it waits for a key; `None` where it has its locks.
    pub wait: Option<ReportedWait>,
}

/// A wait for a key, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedWait {
    /// The key.
    pub key: Bytes,
    /// All who stand in the way.
    pub waits_for: Vec<TxnId>,
    /// For how long it has waited.
    pub waited: Duration,
}

/// A request that waits.
pub(crate) type Ticket = WaitNumber;

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// Held, until the transaction ends.
    Granted,
    /// Waiting; the ticket names the request.
    Queued(Ticket),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LockKey {
    partition: PartitionId,
    key: Bytes,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    ticket: Ticket,
    txn: TxnId,
    mode: LockMode,
}

#[derive(Debug, Default)]
struct Lock {
    holders: Vec<(TxnId, LockMode)>,
    queue: VecDeque<Waiter>,
}

impl Lock {
    fn compatible(&self, txn: TxnId, mode: LockMode) -> bool {
        self.holders.iter().all(|(holder, held)| *holder == txn || !mode.conflicts(*held))
    }

    fn hold(&mut self, txn: TxnId, mode: LockMode) -> bool {
        match self.holders.iter_mut().find(|(holder, _)| *holder == txn) {
            Some((_, held)) => {
                if mode == LockMode::Exclusive {
                    *held = mode;
                }
                false
            }
            None => {
                self.holders.push((txn, mode));
                true
            }
        }
    }

    /// Who stands in the way of a waiter: holders, and those ahead of it in the queue.
    fn blockers(&self, ticket: Ticket, out: &mut Vec<TxnId>) {
        let Some(at) = self.queue.iter().position(|waiter| waiter.ticket == ticket) else { return };
        let waiter = self.queue[at];
        let holders = self.holders.iter().copied();
        let ahead = self.queue.iter().take(at).map(|waiter| (waiter.txn, waiter.mode));
        out.extend(
            holders
                .chain(ahead)
                .filter(|(txn, mode)| *txn != waiter.txn && waiter.mode.conflicts(*mode))
                .map(|(txn, _)| txn),
        );
    }

    /// Appends who waits in the queue and who is in the way, of each those by whom all others are
    /// reached: the ones ahead of it up to the first that waits for all before it, and some of the
    /// holders, or all of them where nobody is ahead. Takes one walk along the queue.
    fn waits(&self, key: &Bytes, out: &mut Vec<Wait>) {
        // Those from the last one that wants the lock alone, up to where the walk has come.
        let mut ahead: Vec<(TxnId, LockMode)> = Vec::new();
        for waiter in &self.queue {
            let &Waiter { ticket, txn, mode } = waiter;
            let is_in_the_way =
                |(other, held): &&(TxnId, LockMode)| *other != txn && mode.conflicts(*held);
            let mut waits_for: Vec<TxnId> =
                ahead.iter().rev().filter(is_in_the_way).map(|(other, _)| *other).collect();
            let holders_max = if waits_for.is_empty() { usize::MAX } else { NEAREST_HOLDERS };
            let holders = self.holders.iter().filter(is_in_the_way).take(holders_max);
            waits_for.extend(holders.map(|(other, _)| *other));
            out.push(Wait { number: ticket, txn, key: key.clone(), mode, waits_for });
            if mode == LockMode::Exclusive {
                ahead.clear();
            }
            ahead.push((txn, mode));
        }
    }
}

/// The keys that are locked. Many small maps, because a map that grows moves all it holds at once.
#[derive(Debug)]
struct Locks(Vec<HashMap<LockKey, Lock>>);

impl Default for Locks {
    fn default() -> Locks {
        Locks((0..LOCK_MAPS).map(|_| HashMap::new()).collect())
    }
}

impl Locks {
    fn place(key: &LockKey) -> usize {
        (hash_of(&key.key) % LOCK_MAPS) as usize
    }

    fn get(&self, key: &LockKey) -> Option<&Lock> {
        self.0[Locks::place(key)].get(key)
    }

    fn get_mut(&mut self, key: &LockKey) -> Option<&mut Lock> {
        self.0[Locks::place(key)].get_mut(key)
    }

    fn get_or_new(&mut self, key: &LockKey) -> &mut Lock {
        self.0[Locks::place(key)].entry(key.clone()).or_default()
    }

    fn remove(&mut self, key: &LockKey) {
        self.0[Locks::place(key)].remove(key);
    }
}

/// All locks of a core.
#[derive(Debug, Default)]
pub(crate) struct LockTable {
    locks: Locks,
    held: HashMap<(PartitionId, TxnId), Vec<Bytes>>,
    waiting: BTreeMap<Ticket, LockKey>,
    last_ticket: u64,
    held_count: usize,
}

impl LockTable {
    /// Asks for a lock.
    pub(crate) fn acquire(
        &mut self,
        partition: PartitionId,
        txn: TxnId,
        key: &Bytes,
        mode: LockMode,
    ) -> Acquired {
        let lock_key = LockKey { partition, key: key.clone() };
        let lock = self.locks.get_or_new(&lock_key);
        let held = lock.holders.iter().find(|(holder, _)| *holder == txn).map(|(_, mode)| *mode);
        let enough = held == Some(LockMode::Exclusive) || held.is_some() && held == Some(mode);
        let upgrade = held.is_some() && !enough;
        if enough {
            return Acquired::Granted;
        }
        if lock.compatible(txn, mode) && (lock.queue.is_empty() || upgrade) {
            if lock.hold(txn, mode) {
                self.held.entry((partition, txn)).or_default().push(key.clone());
                self.held_count += 1;
            }
            return Acquired::Granted;
        }
        self.last_ticket += 1;
        let ticket = WaitNumber(self.last_ticket);
        let waiter = Waiter { ticket, txn, mode };
        match upgrade {
            true => lock.queue.push_front(waiter),
            false => lock.queue.push_back(waiter),
        }
        self.waiting.insert(ticket, lock_key);
        Acquired::Queued(ticket)
    }

    /// The keys that a transaction holds in a partition.
    pub(crate) fn held_keys(&self, partition: PartitionId, txn: TxnId) -> &[Bytes] {
        self.held.get(&(partition, txn)).map_or(&[], Vec::as_slice)
    }

    /// Ends a transaction's locks in a partition that came after the first `kept`, at most so many
    /// at once. Appends the requests that are granted by that. Returns whether all of them are
    /// ended. A lock that became exclusive later stays so.
    pub(crate) fn release(
        &mut self,
        partition: PartitionId,
        txn: TxnId,
        kept: usize,
        keys_max: usize,
        granted: &mut Vec<Ticket>,
    ) -> bool {
        let Some(held) = self.held.get_mut(&(partition, txn)) else { return true };
        let left = held.len().saturating_sub(keys_max).max(kept.min(held.len()));
        let released = held.split_off(left);
        if left == 0 {
            self.held.remove(&(partition, txn));
        }
        self.held_count -= released.len();
        for key in released {
            let lock_key = LockKey { partition, key };
            if let Some(lock) = self.locks.get_mut(&lock_key) {
                lock.holders.retain(|(holder, _)| *holder != txn);
            }
            self.grant(&lock_key, granted);
        }
        left <= kept
    }

    /// Locks that all transactions hold.
    pub(crate) fn held_count(&self) -> usize {
        self.held_count
    }

    /// Takes a request back. Appends the requests that are granted by that.
    pub(crate) fn cancel(&mut self, ticket: Ticket, granted: &mut Vec<Ticket>) {
        let Some(lock_key) = self.waiting.remove(&ticket) else { return };
        if let Some(lock) = self.locks.get_mut(&lock_key) {
            lock.queue.retain(|waiter| waiter.ticket != ticket);
        }
        self.grant(&lock_key, granted);
    }

    /// Someone who stands in the way of a request.
    pub(crate) fn blocker(&self, ticket: Ticket) -> Option<TxnId> {
        let lock_key = self.waiting.get(&ticket)?;
        let mut blockers = Vec::new();
        self.locks.get(lock_key)?.blockers(ticket, &mut blockers);
        blockers.first().copied()
    }

    /// Who holds and who waits for what, a line for each transaction, object and mode, and one for
    /// each request that waits. Of each transaction the first [`REPORTED_KEYS_MAX`] locks in a
    /// partition are looked at. `waited` knows for how long a request has waited.
    pub(crate) fn report(&self, waited: impl Fn(Ticket) -> Duration) -> Vec<LockReport> {
        let mut reports = BTreeSet::new();
        for (&(partition, txn), keys) in &self.held {
            for key in keys.iter().take(REPORTED_KEYS_MAX) {
                let lock = self.locks.get(&LockKey { partition, key: key.clone() });
                let mode = lock.and_then(|lock| {
                    lock.holders.iter().find(|(holder, _)| *holder == txn).map(|(_, mode)| *mode)
                });
                if let (Some(mode), Some(object)) = (mode, object_of(key)) {
                    reports.insert((txn, object, mode));
                }
            }
        }
        let held = reports.into_iter().map(|(txn, object, mode)| LockReport {
            txn,
            object,
            mode,
            wait: None,
        });
        let waiting = self.waiting.iter().filter_map(|(&ticket, lock_key)| {
            let lock = self.locks.get(lock_key)?;
            let waiter = lock.queue.iter().find(|waiter| waiter.ticket == ticket)?;
            let mut waits_for = Vec::new();
            lock.blockers(ticket, &mut waits_for);
            let (txn, object) = (waiter.txn, object_of(&lock_key.key)?);
            let key = lock_key.key.clone();
            let wait = Some(ReportedWait { key, waits_for, waited: waited(ticket) });
            Some(LockReport { txn, object, mode: waiter.mode, wait })
        });
        held.chain(waiting).collect()
    }

    /// Who waits for whom: enough to find every circle of waiting transactions, and no more than a
    /// few for each that waits, however many stand in one queue.
    pub(crate) fn waits(&self) -> Vec<Wait> {
        let mut seen = HashSet::new();
        let queues = self.waiting.values().filter(|lock_key| seen.insert(*lock_key));
        let mut waits = Vec::with_capacity(self.waiting.len());
        for lock_key in queues {
            if let Some(lock) = self.locks.get(lock_key) {
                lock.waits(&lock_key.key, &mut waits);
            }
        }
        waits
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Grants what can be granted at the front of a key's queue.
    fn grant(&mut self, lock_key: &LockKey, granted: &mut Vec<Ticket>) {
        loop {
            let Some(lock) = self.locks.get_mut(lock_key) else { return };
            let Some(&next) = lock.queue.front() else {
                if lock.holders.is_empty() {
                    self.locks.remove(lock_key);
                }
                return;
            };
            if !lock.compatible(next.txn, next.mode) {
                return;
            }
            lock.queue.pop_front();
            if lock.hold(next.txn, next.mode) {
                let held = self.held.entry((lock_key.partition, next.txn)).or_default();
                held.push(lock_key.key.clone());
                self.held_count += 1;
            }
            self.waiting.remove(&next.ticket);
            granted.push(next.ticket);
        }
    }
}

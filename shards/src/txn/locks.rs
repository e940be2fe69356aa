//! The lock table of one core: who holds and who waits for which key or range of keys. Pure: it
//! decides, and whoever drives it wakes and times out.
//!
//! ```text
//!   a range    ├──────────── Shared, of a reader ────────────┤
//!   keys           k1        k2  (written: Exclusive)     k3
//! ```
//!
//! A lock on a range stands in the way of locks on the keys in it, whether there are such keys or
//! not: what a reader has not found does not come into being while it holds the range. Ranges lie in
//! one table or index each.
//!
//! Locks are granted first come, first served: a request that could be granted waits all the same
//! behind one that conflicts with it and came before. Only a transaction that holds a lock there
//! already goes to the front. Transactions that wait for each other in a circle are not looked for
//! here: a table knows the part of a circle that lies on its core, and says who waits for whom.

mod keyspace;
mod report;

use bytes::Bytes;
use keyspace::Keyspace;
use model::id::{PartitionId, TxnId};
pub use report::{LockReport, ReportedWait, Wait};
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// How a key or a range is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
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

    /// Whether a lock in this mode is one in the other, too.
    fn includes(self, other: LockMode) -> bool {
        self == LockMode::Exclusive || self == other
    }
}

/// A range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockRange {
    /// First key.
    pub(crate) start: Bytes,
    /// Past the last key; `None` goes to the end.
    pub(crate) end: Option<Bytes>,
}

impl LockRange {
    fn contains(&self, key: &[u8]) -> bool {
        *key >= self.start[..] && self.end.as_ref().is_none_or(|end| *key < end[..])
    }

    fn covers(&self, other: &LockRange) -> bool {
        let is_past = match (&self.end, &other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(end), Some(other)) => end >= other,
        };
        self.start <= other.start && is_past
    }

    fn overlaps(&self, other: &LockRange) -> bool {
        let begins_before =
            |one: &LockRange, two: &LockRange| two.end.as_ref().is_none_or(|end| one.start < *end);
        begins_before(self, other) && begins_before(other, self)
    }
}

/// What is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Span {
    /// One key.
    Key(Bytes),
    /// All keys of a range, those that are not there, too.
    Range(Box<LockRange>),
}

/// Names a request for a lock that waits, among all there ever were on its core.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct WaitNumber(pub u64);

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

/// A request that waits, and for what.
#[derive(Debug)]
struct Waiting {
    partition: PartitionId,
    txn: TxnId,
    span: Span,
}

/// All locks of a core.
#[derive(Debug, Default)]
pub(crate) struct LockTable {
    spaces: BTreeMap<PartitionId, Keyspace>,
    held: HashMap<(PartitionId, TxnId), Vec<Span>>,
    waiting: BTreeMap<Ticket, Waiting>,
    last_ticket: u64,
    held_count: usize,
}

impl LockTable {
    /// Asks for a lock on a key.
    pub(crate) fn acquire(
        &mut self,
        partition: PartitionId,
        txn: TxnId,
        key: &Bytes,
        mode: LockMode,
    ) -> Acquired {
        let space = self.spaces.entry(partition).or_default();
        match space.ask_key(txn, key, mode) {
            keyspace::Asked::Held => Acquired::Granted,
            keyspace::Asked::Granted => {
                self.note_held(partition, txn, Span::Key(key.clone()));
                Acquired::Granted
            }
            keyspace::Asked::Wait { goes_first } => {
                let ticket = self.next_ticket();
                let space = self.spaces.entry(partition).or_default();
                space.queue_key(key, keyspace::Waiter { ticket, txn, mode, goes_first });
                let span = Span::Key(key.clone());
                self.waiting.insert(ticket, Waiting { partition, txn, span });
                Acquired::Queued(ticket)
            }
        }
    }

    /// Asks for a lock on a range.
    pub(crate) fn acquire_range(
        &mut self,
        partition: PartitionId,
        txn: TxnId,
        range: &LockRange,
        mode: LockMode,
    ) -> Acquired {
        let space = self.spaces.entry(partition).or_default();
        let span = || Span::Range(Box::new(range.clone()));
        match space.ask_range(txn, range, mode) {
            keyspace::Asked::Held => Acquired::Granted,
            keyspace::Asked::Granted => {
                self.note_held(partition, txn, span());
                Acquired::Granted
            }
            keyspace::Asked::Wait { goes_first } => {
                let ticket = self.next_ticket();
                let space = self.spaces.entry(partition).or_default();
                space.queue_range(range, keyspace::Waiter { ticket, txn, mode, goes_first });
                self.waiting.insert(ticket, Waiting { partition, txn, span: span() });
                Acquired::Queued(ticket)
            }
        }
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        WaitNumber(self.last_ticket)
    }

    fn note_held(&mut self, partition: PartitionId, txn: TxnId, span: Span) {
        self.held.entry((partition, txn)).or_default().push(span);
        self.held_count += 1;
    }

    /// What a transaction holds in a partition, in the order in which it came to it.
    pub(crate) fn held(&self, partition: PartitionId, txn: TxnId) -> &[Span] {
        self.held.get(&(partition, txn)).map_or(&[], Vec::as_slice)
    }

    /// The keys that a transaction holds in a partition.
    pub(crate) fn held_keys(
        &self,
        partition: PartitionId,
        txn: TxnId,
    ) -> impl Iterator<Item = &Bytes> {
        self.held(partition, txn).iter().filter_map(|span| match span {
            Span::Key(key) => Some(key),
            Span::Range(_) => None,
        })
    }

    /// Ends a transaction's locks in a partition that came after the first `kept`, at most so many
    /// at once. Appends the requests that are granted by that. Returns whether all of them are
    /// ended. A lock that became exclusive later stays so.
    pub(crate) fn release(
        &mut self,
        partition: PartitionId,
        txn: TxnId,
        kept: usize,
        locks_max: usize,
        granted: &mut Vec<Ticket>,
    ) -> bool {
        let Some(held) = self.held.get_mut(&(partition, txn)) else { return true };
        let left = held.len().saturating_sub(locks_max).max(kept.min(held.len()));
        let released = held.split_off(left);
        if left == 0 {
            self.held.remove(&(partition, txn));
        }
        self.held_count -= released.len();
        let Some(space) = self.spaces.get_mut(&partition) else { return true };
        let mut freed_range = false;
        for span in &released {
            match span {
                Span::Key(key) => space.release_key(txn, key),
                Span::Range(range) => {
                    space.release_range(txn, range);
                    freed_range = true;
                }
            }
        }
        if freed_range || space.ranges_wait() {
            self.grant_all(partition, granted);
        } else {
            for span in &released {
                if let Span::Key(key) = span {
                    self.grant_key(partition, key, granted);
                }
            }
        }
        self.forget_empty(partition);
        left <= kept
    }

    /// Ends a transaction's lock on a key, if it is among those that came after the first `kept`.
    /// Appends the requests that are granted by that.
    pub(crate) fn release_key(
        &mut self,
        partition: PartitionId,
        txn: TxnId,
        key: &Bytes,
        kept: usize,
        granted: &mut Vec<Ticket>,
    ) {
        let Some(held) = self.held.get_mut(&(partition, txn)) else { return };
        let is_it = |span: &Span| matches!(span, Span::Key(held) if held == key);
        let Some(at) = held.iter().skip(kept).position(is_it) else { return };
        held.remove(kept + at);
        if held.is_empty() {
            self.held.remove(&(partition, txn));
        }
        self.held_count -= 1;
        let Some(space) = self.spaces.get_mut(&partition) else { return };
        space.release_key(txn, key);
        match space.ranges_wait() {
            true => self.grant_all(partition, granted),
            false => self.grant_key(partition, key, granted),
        }
        self.forget_empty(partition);
    }

    /// Locks that all transactions hold.
    pub(crate) fn held_count(&self) -> usize {
        self.held_count
    }

    /// Takes a request back. Appends the requests that are granted by that.
    pub(crate) fn cancel(&mut self, ticket: Ticket, granted: &mut Vec<Ticket>) {
        let Some(Waiting { partition, span, .. }) = self.waiting.remove(&ticket) else { return };
        let Some(space) = self.spaces.get_mut(&partition) else { return };
        space.leave(ticket, &span);
        match span {
            Span::Key(key) if !space.ranges_wait() => self.grant_key(partition, &key, granted),
            _ => self.grant_all(partition, granted),
        }
        self.forget_empty(partition);
    }

    /// Someone who stands in the way of a request.
    pub(crate) fn blocker(&self, ticket: Ticket) -> Option<TxnId> {
        self.blockers(ticket).first().copied()
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn forget_empty(&mut self, partition: PartitionId) {
        if self.spaces.get(&partition).is_some_and(Keyspace::is_empty) {
            self.spaces.remove(&partition);
        }
    }

    /// Grants what can be granted at the front of a key's queue, where nobody waits for a range.
    fn grant_key(&mut self, partition: PartitionId, key: &Bytes, granted: &mut Vec<Ticket>) {
        while let Some(space) = self.spaces.get_mut(&partition)
            && let Some(ticket) = space.first_of(key)
            && self.grant(ticket, granted)
        {}
    }

    /// Grants what can be granted in a partition: a range was freed, or somebody waits for one.
    fn grant_all(&mut self, partition: PartitionId, granted: &mut Vec<Ticket>) {
        let here = |(ticket, waiting): (&Ticket, &Waiting)| {
            (waiting.partition == partition).then_some(*ticket)
        };
        let tickets: Vec<Ticket> = self.waiting.iter().filter_map(here).collect();
        for ticket in tickets {
            self.grant(ticket, granted);
        }
    }

    /// Grants one request if it can be; whether it could.
    fn grant(&mut self, ticket: Ticket, granted: &mut Vec<Ticket>) -> bool {
        let Some(Waiting { partition, span, .. }) = self.waiting.get(&ticket) else { return false };
        let partition = *partition;
        let Some(space) = self.spaces.get_mut(&partition) else { return false };
        let Some(is_new) = space.grant(ticket, span) else { return false };
        if let Some(Waiting { txn, span, .. }) = self.waiting.remove(&ticket) {
            if is_new {
                self.note_held(partition, txn, span);
            }
            granted.push(ticket);
        }
        true
    }

    fn blockers(&self, ticket: Ticket) -> Vec<TxnId> {
        let mut blockers = Vec::new();
        if let Some(waiting) = self.waiting.get(&ticket)
            && let Some(space) = self.spaces.get(&waiting.partition)
        {
            space.blockers(ticket, &waiting.span, &mut blockers);
        }
        blockers
    }
}

//! The locks of one partition.

use super::{LockMode, LockRange, Span, Ticket, Wait};
use bytes::Bytes;
use model::id::TxnId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// Holders that are named of a lock for one who waits behind others.
const NEAREST_HOLDERS: usize = 4;

/// One who waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) txn: TxnId,
    pub(super) mode: LockMode,
    /// It holds a lock there already: only holders are in its way.
    pub(super) goes_first: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The transaction holds it already.
    Held,
    /// It holds it from now on.
    Granted,
    /// It must wait.
    Wait {
        /// Only for those who hold locks.
        goes_first: bool,
    },
}

/// A key that is locked or waited for.
#[derive(Debug, Default)]
struct Lock {
    holders: Vec<(TxnId, LockMode)>,
    queue: VecDeque<Waiter>,
}

impl Lock {
    fn mode_of(&self, txn: TxnId) -> Option<LockMode> {
        self.holders.iter().find(|(holder, _)| *holder == txn).map(|(_, mode)| *mode)
    }

    /// Holders that stand in the way.
    fn conflicting(&self, txn: TxnId, mode: LockMode) -> impl Iterator<Item = TxnId> {
        let holders = self.holders.iter();
        let others = holders.filter(move |(holder, held)| *holder != txn && mode.conflicts(*held));
        others.map(|(holder, _)| *holder)
    }

    /// Whether it is new to the transaction.
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
}

#[derive(Debug)]
struct HeldRange {
    txn: TxnId,
    mode: LockMode,
    range: LockRange,
}

#[derive(Debug)]
struct WaitingRange {
    waiter: Waiter,
    range: LockRange,
}

/// The locks of one partition.
#[derive(Debug, Default)]
pub(super) struct Keyspace {
    keys: BTreeMap<Bytes, Lock>,
    /// Those of the keys that somebody waits for.
    awaited: BTreeSet<Bytes>,
    ranges: Vec<HeldRange>,
    /// In the order in which they came.
    waiting_ranges: Vec<WaitingRange>,
    /// Keys that are held: each as often as it has holders.
    held_keys: usize,
    /// The same by transaction.
    held_by: BTreeMap<TxnId, usize>,
}

impl Keyspace {
    /// Nobody holds or waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty() && self.waiting_ranges.is_empty()
    }

    /// Whether somebody waits for a range.
    pub(super) fn ranges_wait(&self) -> bool {
        !self.waiting_ranges.is_empty()
    }

    /// Locks a key for a transaction, where that can be done at once.
    pub(super) fn ask_key(&mut self, txn: TxnId, key: &Bytes, mode: LockMode) -> Asked {
        let lock = self.keys.get(key);
        let held = lock.and_then(|lock| lock.mode_of(txn));
        if held.is_some_and(|held| held.includes(mode)) {
            return Asked::Held;
        }
        let own = self.ranges.iter().filter(|held| held.txn == txn && held.range.contains(key));
        let own = own.map(|held| held.mode).max();
        if own.is_some_and(|own| own.includes(mode)) {
            return Asked::Held;
        }
        let goes_first = held.is_some() || own.is_some();
        let is_behind = || {
            lock.is_some_and(|lock| !lock.queue.is_empty())
                || self.ranges_ahead(key, txn, mode, None).next().is_some()
        };
        let is_held = lock.is_some_and(|lock| lock.conflicting(txn, mode).next().is_some())
            || self.ranges_over(key, txn, mode).next().is_some();
        if is_held || !goes_first && is_behind() {
            return Asked::Wait { goes_first };
        }
        match self.hold_key(txn, key, mode) {
            true => Asked::Granted,
            false => Asked::Held,
        }
    }

    /// Locks a range for a transaction, where that can be done at once.
    pub(super) fn ask_range(&mut self, txn: TxnId, range: &LockRange, mode: LockMode) -> Asked {
        let own = self.ranges.iter().filter(|held| held.txn == txn && held.range.covers(range));
        let own = own.map(|held| held.mode).max();
        if own.is_some_and(|own| own.includes(mode)) {
            return Asked::Held;
        }
        let goes_first = own.is_some();
        let is_held = self.holders_in(range, txn, mode).next().is_some();
        if is_held || !goes_first && self.waiters_in(range, txn, mode, None).next().is_some() {
            return Asked::Wait { goes_first };
        }
        self.ranges.push(HeldRange { txn, mode, range: range.clone() });
        Asked::Granted
    }

    fn hold_key(&mut self, txn: TxnId, key: &Bytes, mode: LockMode) -> bool {
        let is_new = match self.keys.get_mut(key) {
            Some(lock) => lock.hold(txn, mode),
            None => {
                let lock = Lock { holders: vec![(txn, mode)], queue: VecDeque::new() };
                self.keys.insert(key.clone(), lock);
                true
            }
        };
        if is_new {
            self.held_keys += 1;
            *self.held_by.entry(txn).or_default() += 1;
        }
        is_new
    }

    pub(super) fn queue_key(&mut self, key: &Bytes, waiter: Waiter) {
        let lock = self.keys.entry(key.clone()).or_default();
        match waiter.goes_first {
            true => lock.queue.push_front(waiter),
            false => lock.queue.push_back(waiter),
        }
        self.awaited.insert(key.clone());
    }

    pub(super) fn queue_range(&mut self, range: &LockRange, waiter: Waiter) {
        self.waiting_ranges.push(WaitingRange { waiter, range: range.clone() });
    }

    pub(super) fn release_key(&mut self, txn: TxnId, key: &Bytes) {
        let Some(lock) = self.keys.get_mut(key) else { return };
        let before = lock.holders.len();
        lock.holders.retain(|(holder, _)| *holder != txn);
        let released = before - lock.holders.len();
        self.held_keys -= released;
        if let Some(count) = self.held_by.get_mut(&txn) {
            *count -= released;
            if *count == 0 {
                self.held_by.remove(&txn);
            }
        }
        self.forget_unused(key);
    }

    pub(super) fn release_range(&mut self, txn: TxnId, range: &LockRange) {
        let is_it = |held: &HeldRange| held.txn == txn && held.range == *range;
        if let Some(at) = self.ranges.iter().position(is_it) {
            self.ranges.swap_remove(at);
        }
    }

    /// A request does not wait any more.
    pub(super) fn leave(&mut self, ticket: Ticket, span: &Span) {
        match span {
            Span::Key(key) => {
                if let Some(lock) = self.keys.get_mut(key) {
                    lock.queue.retain(|waiter| waiter.ticket != ticket);
                }
                self.forget_unused(key);
            }
            Span::Range(_) => self.waiting_ranges.retain(|one| one.waiter.ticket != ticket),
        }
    }

    fn forget_unused(&mut self, key: &Bytes) {
        let Some(lock) = self.keys.get(key) else { return };
        if lock.queue.is_empty() {
            self.awaited.remove(key);
            if lock.holders.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// The first in a key's queue.
    pub(super) fn first_of(&self, key: &Bytes) -> Option<Ticket> {
        self.keys.get(key)?.queue.front().map(|waiter| waiter.ticket)
    }

    /// Grants a request that waits. `None`: it goes on waiting; otherwise whether the lock is new to
    /// its transaction.
    pub(super) fn grant(&mut self, ticket: Ticket, span: &Span) -> Option<bool> {
        match span {
            Span::Key(key) => {
                let lock = self.keys.get(key)?;
                let waiter = *lock.queue.front().filter(|first| first.ticket == ticket)?;
                let Waiter { txn, mode, .. } = waiter;
                let is_held = lock.conflicting(txn, mode).next().is_some()
                    || self.ranges_over(key, txn, mode).next().is_some();
                let is_behind = !waiter.goes_first
                    && self.ranges_ahead(key, txn, mode, Some(ticket)).next().is_some();
                if is_held || is_behind {
                    return None;
                }
                let is_new = self.hold_key(txn, key, mode);
                self.leave(ticket, span);
                Some(is_new)
            }
            Span::Range(range) => {
                let waiting = self.waiting_ranges.iter();
                let waiter = waiting.map(|one| one.waiter).find(|one| one.ticket == ticket)?;
                let Waiter { txn, mode, .. } = waiter;
                let is_held = self.holders_in(range, txn, mode).next().is_some();
                let is_behind = !waiter.goes_first
                    && self.waiters_in(range, txn, mode, Some(ticket)).next().is_some();
                if is_held || is_behind {
                    return None;
                }
                self.leave(ticket, span);
                self.ranges.push(HeldRange { txn, mode, range: (**range).clone() });
                Some(true)
            }
        }
    }

    /// Everyone who stands in the way of a request: holders, and those who came before.
    pub(super) fn blockers(&self, ticket: Ticket, span: &Span, out: &mut Vec<TxnId>) {
        match span {
            Span::Key(key) => {
                let Some((lock, at, waiter)) = self.waiter_of(key, ticket) else { return };
                let Waiter { txn, mode, .. } = waiter;
                out.extend(lock.conflicting(txn, mode));
                out.extend(self.ranges_over(key, txn, mode));
                let ahead = lock.queue.iter().take(at);
                let ahead = ahead.filter(|ahead| ahead.txn != txn && mode.conflicts(ahead.mode));
                out.extend(ahead.map(|ahead| ahead.txn));
                if !waiter.goes_first {
                    out.extend(self.ranges_ahead(key, txn, mode, Some(ticket)));
                }
            }
            Span::Range(range) => self.range_blockers(ticket, range, out),
        }
    }

    /// Appends who waits and who is in the way, of each those by whom all others are reached: of a
    /// key the ones ahead of it up to the first that waits for all before it, and some of the
    /// holders, or all of them where nobody is ahead. Takes one walk along each queue.
    pub(super) fn waits(&self, out: &mut Vec<Wait>) {
        for key in &self.awaited {
            if let Some(lock) = self.keys.get(key) {
                self.waits_of_key(key, lock, out);
            }
        }
        for one in &self.waiting_ranges {
            let Waiter { ticket: number, txn, mode, .. } = one.waiter;
            let mut waits_for = Vec::new();
            self.range_blockers(number, &one.range, &mut waits_for);
            let key = one.range.start.clone();
            out.push(Wait { number, txn, key, is_range: true, mode, waits_for });
        }
    }

    fn waits_of_key(&self, key: &Bytes, lock: &Lock, out: &mut Vec<Wait>) {
        // Those from the last one that wants the lock alone, up to where the walk has come.
        let mut ahead: Vec<(TxnId, LockMode)> = Vec::new();
        for waiter in &lock.queue {
            let &Waiter { ticket: number, txn, mode, goes_first } = waiter;
            let is_in_the_way =
                |(other, held): &&(TxnId, LockMode)| *other != txn && mode.conflicts(*held);
            let ahead_of_it = ahead.iter().rev().filter(is_in_the_way);
            let mut waits_for: Vec<TxnId> = ahead_of_it.map(|(other, _)| *other).collect();
            let holders_max = if waits_for.is_empty() { usize::MAX } else { NEAREST_HOLDERS };
            waits_for.extend(lock.conflicting(txn, mode).take(holders_max));
            waits_for.extend(self.ranges_over(key, txn, mode));
            if !goes_first {
                waits_for.extend(self.ranges_ahead(key, txn, mode, Some(number)));
            }
            out.push(Wait { number, txn, key: key.clone(), is_range: false, mode, waits_for });
            if mode == LockMode::Exclusive {
                ahead.clear();
            }
            ahead.push((txn, mode));
        }
    }

    /// The lock on a key that a request waits for, its place in the queue, and the request.
    fn waiter_of(&self, key: &Bytes, ticket: Ticket) -> Option<(&Lock, usize, Waiter)> {
        let lock = self.keys.get(key)?;
        let at = lock.queue.iter().position(|waiter| waiter.ticket == ticket)?;
        Some((lock, at, lock.queue[at]))
    }

    /// Each once.
    fn range_blockers(&self, ticket: Ticket, range: &LockRange, out: &mut Vec<TxnId>) {
        let waiting = self.waiting_ranges.iter().map(|one| one.waiter);
        let Some(waiter) = waiting.into_iter().find(|one| one.ticket == ticket) else { return };
        let mut blockers: BTreeSet<TxnId> =
            self.holders_in(range, waiter.txn, waiter.mode).collect();
        if !waiter.goes_first {
            blockers.extend(self.waiters_in(range, waiter.txn, waiter.mode, Some(ticket)));
        }
        out.extend(blockers);
    }

    /// How a transaction holds a span.
    pub(super) fn mode_of(&self, txn: TxnId, span: &Span) -> Option<LockMode> {
        match span {
            Span::Key(key) => self.keys.get(key)?.mode_of(txn),
            Span::Range(range) => {
                let own = |held: &&HeldRange| held.txn == txn && held.range == **range;
                self.ranges.iter().find(own).map(|held| held.mode)
            }
        }
    }

    /// How a request wants to hold a span.
    pub(super) fn wanted(&self, ticket: Ticket, span: &Span) -> Option<LockMode> {
        match span {
            Span::Key(key) => self.waiter_of(key, ticket).map(|(_, _, waiter)| waiter.mode),
            Span::Range(_) => {
                let waiting = self.waiting_ranges.iter().map(|one| one.waiter);
                waiting.into_iter().find(|one| one.ticket == ticket).map(|one| one.mode)
            }
        }
    }

    /// Others who hold a range over a key in a mode that conflicts.
    fn ranges_over(&self, key: &[u8], txn: TxnId, mode: LockMode) -> impl Iterator<Item = TxnId> {
        let over = move |held: &&HeldRange| {
            held.txn != txn && mode.conflicts(held.mode) && held.range.contains(key)
        };
        self.ranges.iter().filter(over).map(|held| held.txn)
    }

    /// Others who wait for a range over a key, and came before the request `until`.
    fn ranges_ahead(
        &self,
        key: &[u8],
        txn: TxnId,
        mode: LockMode,
        until: Option<Ticket>,
    ) -> impl Iterator<Item = TxnId> {
        let ahead = move |one: &&WaitingRange| {
            let waiter = one.waiter;
            until.is_none_or(|until| waiter.ticket < until)
                && waiter.txn != txn
                && mode.conflicts(waiter.mode)
                && one.range.contains(key)
        };
        self.waiting_ranges.iter().filter(ahead).map(|one| one.waiter.txn)
    }

    /// Others who hold a key in a range, or a range that overlaps it, in a mode that conflicts.
    fn holders_in(
        &self,
        range: &LockRange,
        txn: TxnId,
        mode: LockMode,
    ) -> impl Iterator<Item = TxnId> {
        // Often all the locked keys are the transaction's own.
        let own = self.held_by.get(&txn).copied().unwrap_or_default();
        let keys = (self.held_keys > own).then(|| self.keys.range::<[u8], _>(bounds(range)));
        let keys = keys.into_iter().flatten();
        let keys = keys.flat_map(move |(_, lock)| lock.conflicting(txn, mode));
        let overlapping = {
            let range = range.clone();
            move |held: &&HeldRange| {
                held.txn != txn && mode.conflicts(held.mode) && held.range.overlaps(&range)
            }
        };
        keys.chain(self.ranges.iter().filter(overlapping).map(|held| held.txn))
    }

    /// Others who wait for a key in a range, or a range that overlaps it, and came before the request
    /// `until`.
    fn waiters_in(
        &self,
        range: &LockRange,
        txn: TxnId,
        mode: LockMode,
        until: Option<Ticket>,
    ) -> impl Iterator<Item = TxnId> {
        let is_ahead = move |waiter: &Waiter| {
            until.is_none_or(|until| waiter.ticket < until)
                && waiter.txn != txn
                && mode.conflicts(waiter.mode)
        };
        let awaited = self.awaited.range::<[u8], _>(bounds(range));
        let queues = awaited.filter_map(|key| self.keys.get(key)).flat_map(|lock| &lock.queue);
        let keys = queues.copied().filter(is_ahead);
        let overlapping = {
            let range = range.clone();
            move |one: &&WaitingRange| one.range.overlaps(&range)
        };
        let ranges = self.waiting_ranges.iter().filter(overlapping).map(|one| one.waiter);
        keys.chain(ranges.filter(is_ahead)).map(|waiter| waiter.txn)
    }
}

fn bounds(range: &LockRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let end = range.end.as_deref().filter(|end| *end > &range.start[..]);
    let end = match (&range.end, end) {
        (None, _) => Bound::Unbounded,
        // An empty range: nothing lies before its own start.
        (Some(_), None) => Bound::Excluded(&range.start[..]),
        (Some(_), Some(end)) => Bound::Excluded(end),
    };
    (Bound::Included(&range.start[..]), end)
}

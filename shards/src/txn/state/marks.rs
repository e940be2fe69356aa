//! Going back: what a transaction had staged before each of its marks.
//!
//! ```text
//!   mark 1            mark 2            now
//!     ├── a=1, b=2 ─────┼── b=3, c=4 ─────┤     staged: a=1 b=3 c=4
//!     before: a=∅ b=∅     before: b=2 c=∅
//! ```
//!
//! Each mark holds what its first change of a key replaced. Going back to a mark puts that back,
//! from the last mark to it; a reader that stands at a mark sees through the same. A mark begins
//! with the first request that names it: marks that nothing was changed after cost nothing. Marks
//! beyond the one that a request names can not be gone back to any more, and become part of it.
//!
//! None of this is in the log: a transaction goes there when it ends, without its marks.

use super::{Refusal, TxnStates, WriteSet};
use bytes::Bytes;
use model::id::{Mark, TxnId};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What was staged for a key: nothing, a deletion, or a value.
type Staged = Option<Option<Bytes>>;

/// The changes since one mark.
#[derive(Debug)]
pub(crate) struct Marked {
    mark: Mark,
    /// What was staged for the changed keys.
    before: BTreeMap<Bytes, Staged>,
    /// Locks that were held.
    locks: usize,
}

/// How far a rollback to a mark has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// There is more to take back.
    More,
    /// All is taken back; so many locks were held then. `None`: nothing had happened since.
    To(Option<usize>),
}

impl Marked {
    /// Keys it holds something for.
    pub(crate) fn len(&self) -> usize {
        self.before.len()
    }

    /// Drops what is held for some keys.
    pub(crate) fn drop_some(&mut self, keys: usize) {
        for _ in 0..keys {
            if self.before.pop_first().is_none() {
                return;
            }
        }
    }

    /// Adds what a later mark holds: what was before this one's changes stays.
    fn absorb(&mut self, later: Marked) -> usize {
        let (mut kept, other) = match self.before.len() >= later.before.len() {
            true => (std::mem::take(&mut self.before), (later.before, false)),
            false => (later.before, (std::mem::take(&mut self.before), true)),
        };
        let mut dropped = 0;
        for (key, before) in other.0 {
            let bytes = bytes_of(&key, &before);
            match kept.get_mut(&key) {
                None => {
                    kept.insert(key, before);
                }
                Some(known) if other.1 => {
                    dropped += bytes_of(&key, known);
                    *known = before;
                }
                Some(_) => dropped += bytes,
            }
        }
        self.before = kept;
        dropped
    }
}

fn bytes_of(key: &Bytes, before: &Staged) -> usize {
    key.len() + before.as_ref().and_then(Option::as_ref).map_or(0, Bytes::len)
}

impl TxnStates {
    /// From here on changes of the transaction belong to `mark`. `locks` are held now. Gives what
    /// can not be gone back to any more, to be dropped in steps where it is much.
    pub(crate) fn begin_mark(
        &mut self,
        txn: TxnId,
        mark: Option<Mark>,
        locks: usize,
    ) -> Vec<Marked> {
        let Some(mark) = mark else { return self.take_marks(txn) };
        let Some(known) = self.txns.get_mut(&txn) else { return Vec::new() };
        let marks = &mut known.marks;
        while let Some(mut last) = marks.pop_if(|last| last.mark > mark) {
            match marks.last_mut() {
                Some(below) if below.mark >= mark => {
                    let dropped = below.absorb(last);
                    known.marked_bytes -= dropped;
                    self.staged_bytes.set(self.staged_bytes.get() - dropped);
                }
                _ => {
                    last.mark = mark;
                    marks.push(last);
                    break;
                }
            }
        }
        if marks.last().is_none_or(|last| last.mark < mark) {
            marks.push(Marked { mark, before: BTreeMap::new(), locks });
        }
        Vec::new()
    }

    /// Notes what a change replaces.
    pub(super) fn note_before(&mut self, txn: TxnId, key: &Bytes, before: &Staged) {
        let Some(known) = self.txns.get_mut(&txn) else { return };
        let Some(last) = known.marks.last_mut() else { return };
        if !last.before.contains_key(key) {
            let bytes = bytes_of(key, before);
            known.marked_bytes += bytes;
            self.staged_bytes.set(self.staged_bytes.get() + bytes);
            last.before.insert(key.clone(), before.clone());
        }
    }

    /// The transaction will not go back any more. Gives what was held for that.
    pub(crate) fn take_marks(&mut self, txn: TxnId) -> Vec<Marked> {
        let Some(known) = self.txns.get_mut(&txn) else { return Vec::new() };
        self.staged_bytes.set(self.staged_bytes.get() - known.marked_bytes);
        known.marked_bytes = 0;
        std::mem::take(&mut known.marks)
    }

    /// Takes back some of what was staged since `mark`, at most `keys_max` keys at once. `locks`:
    /// of the earliest mark that is gone so far.
    pub(crate) fn return_some(
        &mut self,
        txn: TxnId,
        mark: Mark,
        keys_max: usize,
        locks: &mut Option<usize>,
    ) -> Returned {
        let Some(known) = self.txns.get_mut(&txn) else { return Returned::To(None) };
        let bytes_before = known.staged_bytes + known.marked_bytes;
        let mut keys = 0;
        let returned = loop {
            let Some(last) = known.marks.last_mut().filter(|last| last.mark >= mark) else {
                break Returned::To(locks.filter(|_| !known.keeps_locks));
            };
            if keys == keys_max {
                break Returned::More;
            }
            keys += 1;
            let Some((key, before)) = last.before.pop_first() else {
                *locks = Some(last.locks);
                known.marks.pop();
                continue;
            };
            known.marked_bytes -= bytes_of(&key, &before);
            let bytes = bytes_of(&key, &before);
            let undone = match before {
                Some(before) => {
                    known.staged_bytes += bytes;
                    known.staged.insert(key.clone(), before)
                }
                None => known.staged.remove(&key),
            };
            if let Some(undone) = undone {
                known.staged_bytes -= bytes_of(&key, &Some(undone));
            }
        };
        let bytes = known.staged_bytes + known.marked_bytes;
        self.staged_bytes.set(self.staged_bytes.get() + bytes - bytes_before);
        returned
    }

    /// What was staged for a key at `seen`.
    pub(crate) fn staged_at(&self, txn: TxnId, key: &[u8], seen: Option<Mark>) -> Staged {
        let known = self.txns.get(&txn)?;
        if let Some(seen) = seen {
            let since = known.marks.iter().filter(|marked| marked.mark >= seen);
            for marked in since {
                if let Some(before) = marked.before.get(key) {
                    return before.clone();
                }
            }
        }
        known.staged.get(key).cloned()
    }

    /// What was staged between two keys at `seen`, in order.
    pub(crate) fn staged_range_at(
        &self,
        txn: TxnId,
        start: &[u8],
        end: Option<&[u8]>,
        seen: Option<Mark>,
    ) -> Vec<(Bytes, Option<Bytes>)> {
        let now = self.staged_range(txn, start, end);
        let (Some(seen), Some(known)) = (seen, self.txns.get(&txn)) else { return now };
        let is_since = |last: &super::Txn| last.marks.last().is_some_and(|m| m.mark >= seen);
        if !is_since(known) || end.is_some_and(|end| end <= start) {
            return now;
        }
        let mut then: WriteSet = now.into_iter().collect();
        let range = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        for marked in known.marks.iter().rev().take_while(|marked| marked.mark >= seen) {
            for (key, before) in marked.before.range::<[u8], _>(range) {
                match before {
                    Some(before) => then.insert(key.clone(), before.clone()),
                    None => then.remove(key),
                };
            }
        }
        then.into_iter().collect()
    }

    /// Whether a transaction is active here with no request in progress: it may go back.
    pub(crate) fn is_at_rest(&self, txn: TxnId) -> Result<bool, Refusal> {
        match self.txns.get(&txn) {
            Some(known) if known.phase == super::Phase::Active => Ok(known.busy == 0),
            Some(_) => Err(Refusal::Ending),
            None => Err(self.refusal(txn)),
        }
    }

    /// Whether a transaction has staged nothing here.
    pub(crate) fn has_staged_nothing(&self, txn: TxnId) -> bool {
        self.txns.get(&txn).is_none_or(|known| known.staged.is_empty())
    }
}

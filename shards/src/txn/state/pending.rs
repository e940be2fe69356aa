//! Writes that are in the log or on their way, and are not applied.
//!
//! A transaction that commits here alone hands its keys over as soon as its commit has its place in
//! the log: whoever locks one of them next finds the value here, and comes behind it in the same log.
//! So several writes of a key may be on their way at once, in the order of their times.

use bytes::Bytes;
use model::id::TxnId;
use model::time::Timestamp;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A write of a key.
#[derive(Debug, Clone)]
struct Write {
    /// No version before this time will be written.
    at: Timestamp,
    txn: TxnId,
    /// The value that others may build on; `Some(None)` is a deletion.
    handed: Option<Option<Bytes>>,
}

/// The writes of one key, of which there is one, but where it was handed over.
#[derive(Debug)]
struct Writes {
    first: Write,
    later: Vec<Write>,
}

/// A value that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handed {
    /// Who has written it.
    pub(crate) by: TxnId,
    /// When it will have been.
    pub(crate) at: Timestamp,
    /// What it is; `None` is a deletion.
    pub(crate) value: Option<Bytes>,
}

impl Writes {
    fn iter(&self) -> impl DoubleEndedIterator<Item = &Write> {
        std::iter::once(&self.first).chain(&self.later)
    }
}

/// All of a partition, by key.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<Bytes, Writes>);

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes a write behind those that are there, or its new time.
    pub(super) fn insert(
        &mut self,
        key: &Bytes,
        at: Timestamp,
        txn: TxnId,
        handed: Option<Option<Bytes>>,
    ) {
        let write = Write { at, txn, handed };
        let Some(writes) = self.0.get_mut(key) else {
            self.0.insert(key.clone(), Writes { first: write, later: Vec::new() });
            return;
        };
        let mut known = std::iter::once(&mut writes.first).chain(&mut writes.later);
        match known.find(|known| known.txn == txn) {
            Some(known) => *known = write,
            None => writes.later.push(write),
        }
    }

    /// Forgets a write that is applied, or will not be.
    pub(super) fn remove(&mut self, key: &Bytes, txn: TxnId) {
        let Some(writes) = self.0.get_mut(key) else { return };
        if writes.first.txn != txn {
            writes.later.retain(|write| write.txn != txn);
        } else if writes.later.is_empty() {
            self.0.remove(key);
        } else {
            writes.first = writes.later.remove(0);
        }
    }

    /// A transaction, other than `own`, that writes in the range, not after `at`.
    pub(super) fn writer_in(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        at: Timestamp,
        own: Option<TxnId>,
    ) -> Option<TxnId> {
        let mut writes = self.0.range::<[u8], _>(range).flat_map(|(_, writes)| writes.iter());
        let found = writes.find(|write| write.at <= at && Some(write.txn) != own);
        found.map(|write| write.txn)
    }

    /// A transaction that writes a key, not after `at`.
    pub(super) fn writer_at(&self, key: &[u8], at: Timestamp) -> Option<TxnId> {
        let first = &self.0.get(key)?.first;
        (first.at <= at).then_some(first.txn)
    }

    /// The last value of a key not after `at`, if it was handed over.
    pub(super) fn handed(&self, key: &[u8], at: Timestamp) -> Option<Handed> {
        let last = self.0.get(key)?.iter().rev().find(|write| write.at <= at)?;
        let value = last.handed.clone()?;
        Some(Handed { by: last.txn, at: last.at, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{CoreId, NodeId};

    fn txn(age: u64) -> TxnId {
        TxnId { began: Timestamp(age), node: NodeId(1), core: CoreId(0) }
    }

    fn value(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn several_writes_of_a_key_keep_their_order() {
        let key = Bytes::from_static(b"k");
        let mut pending = Pending::default();
        pending.insert(&key, Timestamp(10), txn(1), Some(value("a")));
        pending.insert(&key, Timestamp(20), txn(2), Some(None));
        pending.insert(&key, Timestamp(30), txn(3), None);
        let handed = |pending: &Pending, at| pending.handed(b"k", Timestamp(at));
        assert_eq!(handed(&pending, 9), None);
        let first = Handed { by: txn(1), at: Timestamp(10), value: value("a") };
        assert_eq!(handed(&pending, 19), Some(first));
        let second = Handed { by: txn(2), at: Timestamp(20), value: None };
        assert_eq!(handed(&pending, 29), Some(second.clone()));
        assert_eq!(handed(&pending, 30), None, "the last one has handed nothing over");
        let all = (Bound::Unbounded, Bound::Unbounded);
        assert_eq!(pending.writer_at(b"k", Timestamp(9)), None);
        assert_eq!(pending.writer_at(b"k", Timestamp(25)), Some(txn(1)));
        assert_eq!(pending.writer_in(all, Timestamp(25), Some(txn(1))), Some(txn(2)));
        pending.remove(&key, txn(1));
        assert_eq!(pending.writer_at(b"k", Timestamp(19)), None);
        assert_eq!(pending.writer_at(b"k", Timestamp(25)), Some(txn(2)));
        pending.remove(&key, txn(3));
        assert_eq!(handed(&pending, 40), Some(second));
        pending.remove(&key, txn(2));
        assert!(pending.is_empty());
    }

    #[test]
    fn a_vote_that_is_noted_again_has_its_place() {
        let key = Bytes::from_static(b"k");
        let mut pending = Pending::default();
        pending.insert(&key, Timestamp(10), txn(1), Some(value("a")));
        pending.insert(&key, Timestamp(20), txn(2), None);
        pending.insert(&key, Timestamp(20), txn(2), None);
        pending.remove(&key, txn(2));
        pending.remove(&key, txn(1));
        assert!(pending.is_empty());
    }
}

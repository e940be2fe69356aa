//! The memtable: records in an arena, key and value side by side, each linked to the next one, and an
//! index over them that finds a place among them. The memory used is known to the byte.
//!
//! One core writes and reads it; records never move or go, so a reader may stand on one while
//! others are inserted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use model::id::LogIndex;
use model::time::Timestamp;

pub(crate) mod arena;
mod index;
mod record;
#[cfg(test)]
mod tests;

use arena::{Address, Chunk};
use index::Index;
use record::Records;

/// A version in a memtable, valid as long as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(Address);

/// A value in the memtable: the chunk, where it begins and how long it is.
pub(crate) struct ValueAt {
    pub(crate) chunk: Rc<Chunk>,
    pub(crate) at: usize,
    pub(crate) len: usize,
}

/// A key in the memtable, in place, with its timestamp.
pub(crate) struct KeyAt {
    chunk: Rc<Chunk>,
    at: usize,
    len: usize,
    pub(crate) ts: Timestamp,
}

impl KeyAt {
    pub(crate) fn key(&self) -> &[u8] {
        self.chunk.bytes(self.at, self.len)
    }
}

struct List {
    records: Records,
    index: Index,
}

/// Versions that are not in a table file yet, ordered by key and, within a key, newest first.
pub(crate) struct Memtable {
    list: RefCell<List>,
    /// The newest log entry applied to it.
    last_index: Cell<LogIndex>,
}

impl Memtable {
    /// `applied` is the log entry after which this memtable begins.
    pub(crate) fn new(applied: LogIndex) -> Self {
        let list = List { records: Records::new(), index: Index::new() };
        Self { list: RefCell::new(list), last_index: Cell::new(applied) }
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        self.last_index.get()
    }

    pub(crate) fn set_last_index(&self, index: LogIndex) {
        self.last_index.set(index);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let list = self.list.borrow();
        list.records.memory_bytes() + list.index.memory_bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.borrow().index.is_empty()
    }

    /// Inserts a version; it takes the place of one with the same key and timestamp. The memory and the
    /// link of that one stay, so that a reader who stands on it finds its way.
    pub(crate) fn insert(&self, key: &[u8], ts: Timestamp, value: Option<&[u8]>) {
        let List { records, index } = &mut *self.list.borrow_mut();
        let record = records.add((key, ts), value);
        let (before, replaced) = index.insert(records, record);
        let next = match (replaced, before) {
            (Some(other), _) | (None, Some(other)) => records.next(other),
            (None, None) => index.second(),
        };
        records.link(record, next);
        if let Some(before) = before {
            records.link(before, Some(record));
        }
    }

    /// The first version at or after `(key, ts)`.
    pub(crate) fn lower_bound(&self, key: &[u8], ts: Timestamp) -> Option<Node> {
        let list = self.list.borrow();
        let slot = list.index.seek(&list.records, (key, ts))?;
        list.index.behind(slot).map(Node)
    }

    /// The last version before `(key, ts)`.
    pub(crate) fn before(&self, key: &[u8], ts: Timestamp) -> Option<Node> {
        let list = self.list.borrow();
        let slot = list.index.seek(&list.records, (key, ts))?;
        list.index.before(slot).map(Node)
    }

    pub(crate) fn last(&self) -> Option<Node> {
        self.list.borrow().index.last().map(Node)
    }

    pub(crate) fn next(&self, node: Node) -> Option<Node> {
        self.list.borrow().records.next(node.0).map(Node)
    }

    /// Key and timestamp of a version, in place.
    pub(crate) fn key_at(&self, node: Node) -> KeyAt {
        let list = self.list.borrow();
        let (chunk, at, len) = list.records.key_at(node.0);
        KeyAt { chunk, at, len, ts: list.records.ts(node.0) }
    }

    /// The newest version of `key` at or before `at`: its timestamp and node.
    pub(crate) fn find(&self, key: &[u8], at: Timestamp) -> Option<(Timestamp, Node)> {
        let list = self.list.borrow();
        let slot = list.index.seek(&list.records, (key, at))?;
        if list.index.is_other(slot, key) {
            return None;
        }
        let node = list.index.behind(slot)?;
        let (found, ts) = list.records.position(node);
        (found == key).then_some((ts, Node(node)))
    }

    /// A version's value in place; `None` for a tombstone.
    pub(crate) fn value(&self, node: Node) -> Option<ValueAt> {
        self.list.borrow().records.value_at(node.0)
    }
}

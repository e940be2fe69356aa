//! The memtable: a skiplist (Pugh, "Skip Lists: A Probabilistic Alternative to Balanced Trees")
//! whose nodes lie in an arena, key, value and links side by side, so that a comparison costs one
//! cache miss and the memory used is known to the byte.
//!
//! One core writes and reads it; nodes never move or go, so a reader may stand on a node while
//! others are inserted. Heights come from a generator with a fixed seed: the same writes give the
//! same list in every run.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use model::id::LogIndex;
use model::time::Timestamp;

use super::table::block::compare;

pub(crate) mod arena;
#[cfg(test)]
mod tests;

use arena::{Address, Arena, Chunk};

/// Levels of the list; with a branching of 4 enough for 4^12 = 16 million versions.
const HEIGHT_MAX: usize = 12;
/// Words before a node's links: timestamp (two), key length, value tag, height.
const HEADER_WORDS: usize = 5;
const TS_LOW: usize = 0;
const TS_HIGH: usize = 1;
const KEY_LEN: usize = 2;
/// 0 for a tombstone, otherwise the value's length plus 1.
const VALUE_TAG: usize = 3;
const HEIGHT: usize = 4;

/// A node of the list, valid as long as its memtable.
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
    arena: Arena,
    /// First node at each level.
    heads: [u32; HEIGHT_MAX],
    height: usize,
    random: u64,
    /// For each level the last node before the last insertion: bulk loads in key order go on there.
    finger: [u32; HEIGHT_MAX],
    entries: usize,
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
        let list = List {
            arena: Arena::new(),
            heads: [Address::NONE.link(); HEIGHT_MAX],
            height: 1,
            random: 0x9e37_79b9_7f4a_7c15,
            finger: [Address::NONE.link(); HEIGHT_MAX],
            entries: 0,
        };
        Self { list: RefCell::new(list), last_index: Cell::new(applied) }
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        self.last_index.get()
    }

    pub(crate) fn set_last_index(&self, index: LogIndex) {
        self.last_index.set(index);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.list.borrow().arena.memory_bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.borrow().entries == 0
    }

    /// Inserts a version; it takes the place of one with the same key and timestamp.
    pub(crate) fn insert(&self, key: &[u8], ts: Timestamp, value: Option<&[u8]>) {
        self.list.borrow_mut().insert(key, ts, value);
    }

    /// The first version at or after `(key, ts)`.
    pub(crate) fn lower_bound(&self, key: &[u8], ts: Timestamp) -> Option<Node> {
        let list = self.list.borrow();
        let before = list.last_before(key, ts, list.height, None);
        Address::from_link(list.next(before, 0)).map(Node)
    }

    /// The last version before `(key, ts)`.
    pub(crate) fn before(&self, key: &[u8], ts: Timestamp) -> Option<Node> {
        let list = self.list.borrow();
        list.last_before(key, ts, list.height, None).map(Node)
    }

    pub(crate) fn last(&self) -> Option<Node> {
        let list = self.list.borrow();
        let mut at = None;
        for level in (0..list.height).rev() {
            while let Some(next) = Address::from_link(list.next(at, level)) {
                at = Some(next);
            }
        }
        at.map(Node)
    }

    pub(crate) fn next(&self, node: Node) -> Option<Node> {
        Address::from_link(self.list.borrow().next(Some(node.0), 0)).map(Node)
    }

    /// Key and timestamp of a node, in place.
    pub(crate) fn key_at(&self, node: Node) -> KeyAt {
        let list = self.list.borrow();
        KeyAt {
            chunk: Rc::clone(list.arena.chunk(node.0)),
            at: Arena::offset(node.0) + list.key_at(node.0),
            len: list.arena.word(node.0, KEY_LEN) as usize,
            ts: list.ts(node.0),
        }
    }

    /// The newest version of `key` at or before `at`: its timestamp and node.
    pub(crate) fn find(&self, key: &[u8], at: Timestamp) -> Option<(Timestamp, Node)> {
        let list = self.list.borrow();
        let before = list.last_before(key, at, list.height, None);
        let node = Address::from_link(list.next(before, 0))?;
        let (found, ts) = list.position(node);
        (found == key).then_some((ts, Node(node)))
    }

    /// A node's value in place; `None` for a tombstone.
    pub(crate) fn value(&self, node: Node) -> Option<ValueAt> {
        let list = self.list.borrow();
        let len = list.arena.word(node.0, VALUE_TAG).checked_sub(1)? as usize;
        let chunk = Rc::clone(list.arena.chunk(node.0));
        let key_len = list.arena.word(node.0, KEY_LEN) as usize;
        let at = Arena::offset(node.0) + list.key_at(node.0) + key_len;
        Some(ValueAt { chunk, at, len })
    }
}

impl List {
    fn ts(&self, node: Address) -> Timestamp {
        let low = u64::from(self.arena.word(node, TS_LOW));
        Timestamp(low | u64::from(self.arena.word(node, TS_HIGH)) << 32)
    }

    /// Bytes from the start of a node to its key.
    fn key_at(&self, node: Address) -> usize {
        4 * (HEADER_WORDS + self.arena.word(node, HEIGHT) as usize)
    }

    #[inline]
    fn position(&self, node: Address) -> (&[u8], Timestamp) {
        let len = self.arena.word(node, KEY_LEN) as usize;
        (self.arena.bytes(node, self.key_at(node), len), self.ts(node))
    }

    /// The link out of a node (or out of the list's head) at a level.
    #[inline]
    fn next(&self, from: Option<Address>, level: usize) -> u32 {
        match from {
            Some(node) => self.arena.word(node, HEADER_WORDS + level),
            None => self.heads[level],
        }
    }

    fn is_before(&self, node: Address, key: &[u8], ts: Timestamp) -> bool {
        compare(self.position(node), (key, ts)).is_lt()
    }

    /// The last node before `(key, ts)`; notes the last one of each level in `path`.
    fn last_before(
        &self,
        key: &[u8],
        ts: Timestamp,
        height: usize,
        mut path: Option<&mut [u32; HEIGHT_MAX]>,
    ) -> Option<Address> {
        let mut at = None;
        // A node that was too far at one level need not be compared again at the next.
        let mut too_far = Address::NONE.link();
        for level in (0..height).rev() {
            loop {
                let link = self.next(at, level);
                match Address::from_link(link) {
                    Some(next) if link != too_far && self.is_before(next, key, ts) => {
                        at = Some(next);
                    }
                    _ => {
                        too_far = link;
                        break;
                    }
                }
            }
            if let Some(path) = path.as_deref_mut() {
                path[level] = at.map_or(Address::NONE.link(), Address::link);
            }
        }
        at
    }

    /// Whether the finger of the last insertion is also the path to `(key, ts)`: the keys come in
    /// order and nothing lies between.
    fn finger_fits(&self, key: &[u8], ts: Timestamp) -> bool {
        let Some(before) = Address::from_link(self.finger[0]) else { return false };
        let after = Address::from_link(self.next(Some(before), 0));
        self.is_before(before, key, ts) && after.is_none_or(|after| !self.is_before(after, key, ts))
    }

    fn random_height(&mut self) -> usize {
        // xorshift64*; two bits a level.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (1 + bits.trailing_zeros() as usize / 2).min(HEIGHT_MAX)
    }

    fn insert(&mut self, key: &[u8], ts: Timestamp, value: Option<&[u8]>) {
        let mut path = [Address::NONE.link(); HEIGHT_MAX];
        if self.finger_fits(key, ts) {
            path = self.finger;
        } else {
            self.last_before(key, ts, self.height, Some(&mut path));
        }
        self.unlink_equal(key, ts, &path);
        let height = self.random_height();
        self.height = self.height.max(height);
        let node = self.new_node(key, ts, value, height);
        for (level, before) in path.iter().copied().enumerate().take(height) {
            let before = Address::from_link(before);
            self.arena.set_word(node, HEADER_WORDS + level, self.next(before, level));
            match before {
                Some(before) => {
                    self.arena.set_word(before, HEADER_WORDS + level, node.link());
                }
                None => self.heads[level] = node.link(),
            }
        }
        self.finger = path;
        self.finger[..height].fill(node.link());
        self.entries += 1;
    }

    /// Takes the version at this position, if there is one, out of the list. Its memory and its
    /// links stay, so that a reader who stands on it finds its way.
    fn unlink_equal(&mut self, key: &[u8], ts: Timestamp, path: &[u32; HEIGHT_MAX]) {
        let first = self.next(Address::from_link(path[0]), 0);
        let Some(equal) =
            Address::from_link(first).filter(|node| self.position(*node) == (key, ts))
        else {
            return;
        };
        let height = self.arena.word(equal, HEIGHT) as usize;
        for (level, before) in path.iter().enumerate().take(height) {
            let after = self.next(Some(equal), level);
            match Address::from_link(*before) {
                Some(before) => self.arena.set_word(before, HEADER_WORDS + level, after),
                None => self.heads[level] = after,
            }
        }
        self.entries -= 1;
    }

    fn new_node(
        &mut self,
        key: &[u8],
        ts: Timestamp,
        value: Option<&[u8]>,
        height: usize,
    ) -> Address {
        let value_bytes = value.unwrap_or_default();
        let key_at = 4 * (HEADER_WORDS + height);
        let node = self.arena.allocate(key_at + key.len() + value_bytes.len());
        let key_len = u32::try_from(key.len()).expect("keys stay below 4 GiB");
        let value_len = u32::try_from(value_bytes.len()).expect("values stay below 4 GiB");
        self.arena.set_word(node, TS_LOW, ts.0 as u32);
        self.arena.set_word(node, TS_HIGH, (ts.0 >> 32) as u32);
        self.arena.set_word(node, KEY_LEN, key_len);
        let tag = value.map_or(0, |_| value_len.checked_add(1).expect("checked above"));
        self.arena.set_word(node, VALUE_TAG, tag);
        self.arena.set_word(node, HEIGHT, height as u32);
        self.arena.write(node, key_at, key);
        self.arena.write(node, key_at + key.len(), value_bytes);
        node
    }
}

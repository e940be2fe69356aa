//! A memtable's versions as they lie in its arena: key and value side by side, each with a link to
//! the next one.
//!
//! ```text
//! timestamp (2 words) │ key length │ value tag │ link │ key │ value
//! ```

use model::time::Timestamp;

use super::ValueAt;
use super::arena::{Address, Arena, Chunk};
use std::rc::Rc;

const TS_LOW: usize = 0;
const TS_HIGH: usize = 1;
const KEY_LEN: usize = 2;
/// 0 for a tombstone, otherwise the value's length plus 1.
const VALUE_TAG: usize = 3;
const LINK: usize = 4;
/// Where the key begins, in bytes.
const KEY_AT: usize = 4 * 5;

/// A key and a timestamp: versions are ordered by key and, within a key, newest first.
pub(super) type Position<'a> = (&'a [u8], Timestamp);

/// The versions of a memtable. None ever moves or goes.
pub(super) struct Records {
    arena: Arena,
}

impl Records {
    pub(super) fn new() -> Self {
        Self { arena: Arena::new() }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.arena.memory_bytes()
    }

    /// Adds a version, with no link.
    pub(super) fn add(&mut self, (key, ts): Position<'_>, value: Option<&[u8]>) -> Address {
        let bytes = value.unwrap_or_default();
        let record = self.arena.allocate(KEY_AT + key.len() + bytes.len());
        let key_len = u32::try_from(key.len()).expect("keys stay below 4 GiB");
        let value_len = u32::try_from(bytes.len()).expect("values stay below 4 GiB");
        self.arena.set_word(record, TS_LOW, ts.0 as u32);
        self.arena.set_word(record, TS_HIGH, (ts.0 >> 32) as u32);
        self.arena.set_word(record, KEY_LEN, key_len);
        let tag = value.map_or(0, |_| value_len.checked_add(1).expect("checked above"));
        self.arena.set_word(record, VALUE_TAG, tag);
        self.arena.set_word(record, LINK, Address::NONE.link());
        self.arena.write(record, KEY_AT, key);
        self.arena.write(record, KEY_AT + key.len(), bytes);
        record
    }

    fn key_len(&self, record: Address) -> usize {
        self.arena.word(record, KEY_LEN) as usize
    }

    pub(super) fn ts(&self, record: Address) -> Timestamp {
        let low = u64::from(self.arena.word(record, TS_LOW));
        Timestamp(low | u64::from(self.arena.word(record, TS_HIGH)) << 32)
    }

    #[inline]
    pub(super) fn key(&self, record: Address) -> &[u8] {
        self.arena.bytes(record, KEY_AT, self.key_len(record))
    }

    #[inline]
    pub(super) fn position(&self, record: Address) -> Position<'_> {
        (self.key(record), self.ts(record))
    }

    /// Where a key lies: its chunk, where it begins and how long it is.
    pub(super) fn key_at(&self, record: Address) -> (Rc<Chunk>, usize, usize) {
        let chunk = Rc::clone(self.arena.chunk(record));
        (chunk, Arena::offset(record) + KEY_AT, self.key_len(record))
    }

    /// A value in place; `None` for a tombstone.
    pub(super) fn value_at(&self, record: Address) -> Option<ValueAt> {
        let len = self.arena.word(record, VALUE_TAG).checked_sub(1)? as usize;
        let at = Arena::offset(record) + KEY_AT + self.key_len(record);
        Some(ValueAt { chunk: Rc::clone(self.arena.chunk(record)), at, len })
    }

    pub(super) fn next(&self, record: Address) -> Option<Address> {
        Address::from_link(self.arena.word(record, LINK))
    }

    pub(super) fn link(&mut self, record: Address, next: Option<Address>) {
        self.arena.set_word(record, LINK, next.unwrap_or(Address::NONE).link());
    }
}

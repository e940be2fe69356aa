//! What goes into a tree and what comes out of it.

use std::fmt;
use std::ops::{Deref, Range};
use std::rc::Rc;

use bytes::Bytes;
use model::time::Timestamp;

use super::memtable::ValueAt;
use super::memtable::arena::Chunk;
use super::table::block::Block;

/// One version of one key to be written. The tree copies the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedWrite {
    /// The key, as [`model::key`] encodes it; any bytes will do.
    pub key: Bytes,
    /// When it holds from. For one key, timestamps must grow with the log index.
    pub ts: Timestamp,
    /// The row, or `None` for a tombstone.
    pub value: Option<Bytes>,
}

#[derive(Clone)]
enum Owner {
    Block(Rc<Block>),
    Memtable(Rc<Chunk>),
}

/// The bytes of a value, in place in a cached block or a memtable, held alive by a reference
/// count. Belongs to one core. A holder keeps up to a whole block (or a 256 KiB memtable chunk)
/// alive: keep it for the length of a request, not longer.
#[derive(Clone)]
pub struct RowRef {
    owner: Owner,
    at: usize,
    len: usize,
}

impl RowRef {
    pub(crate) fn in_block(block: Rc<Block>, range: Range<usize>) -> Self {
        Self { at: range.start, len: range.len(), owner: Owner::Block(block) }
    }

    pub(crate) fn in_memtable(value: ValueAt) -> Self {
        Self { at: value.at, len: value.len, owner: Owner::Memtable(value.chunk) }
    }
}

impl Deref for RowRef {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.owner {
            Owner::Block(block) => &block.bytes()[self.at..self.at + self.len],
            Owner::Memtable(chunk) => chunk.bytes(self.at, self.len),
        }
    }
}

impl fmt::Debug for RowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowRef({} bytes)", self.len)
    }
}

/// A version that was found: a row or the mark of its deletion.
#[derive(Clone, Debug)]
pub struct Version {
    /// When the version began to hold.
    pub ts: Timestamp,
    /// The row; `None` is a tombstone.
    pub value: Option<RowRef>,
}

/// A row as a read sees it.
#[derive(Clone, Debug)]
pub struct Versioned {
    /// When the version began to hold.
    pub ts: Timestamp,
    /// The row.
    pub value: RowRef,
}

impl Version {
    /// The row, unless this is a tombstone.
    pub fn into_row(self) -> Option<Versioned> {
        self.value.map(|value| Versioned { ts: self.ts, value })
    }
}

/// What a read without I/O could find out.
#[derive(Clone, Debug)]
pub enum CacheLookup {
    /// The row.
    Found(Versioned),
    /// There is no such row at that time.
    Absent,
    /// A block that is not in memory is needed: use [`super::Tree::get`].
    NeedsRead,
}

#[derive(Clone, Copy, Debug)]
struct RowAt {
    key_at: usize,
    key_len: usize,
    value_len: usize,
    ts: Timestamp,
}

/// Rows of a scan, copied side by side into one buffer that is reused from batch to batch: a batch
/// pins no block while its consumer thinks.
#[derive(Debug, Default)]
pub struct ScanBatch {
    bytes: Vec<u8>,
    rows: Vec<RowAt>,
}

/// One row of a [`ScanBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRow<'a> {
    /// The key.
    pub key: &'a [u8],
    /// When the version began to hold.
    pub ts: Timestamp,
    /// The row.
    pub value: &'a [u8],
}

impl ScanBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
    }

    /// The row at `index`; panics where there is none.
    pub fn row(&self, index: usize) -> ScanRow<'_> {
        let row = self.rows[index];
        let value_at = row.key_at + row.key_len;
        ScanRow {
            key: &self.bytes[row.key_at..value_at],
            ts: row.ts,
            value: &self.bytes[value_at..value_at + row.value_len],
        }
    }

    /// The rows in scan order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ScanRow<'_>> {
        (0..self.rows.len()).map(|index| self.row(index))
    }

    pub(crate) fn push(&mut self, key: &[u8], ts: Timestamp, value: &[u8]) {
        let key_at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.rows.push(RowAt { key_at, key_len: key.len(), value_len: value.len(), ts });
    }
}

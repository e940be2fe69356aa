//! Immutable table files.
//!
//! A table is a sorted run of versions, cut into data blocks of about `block_bytes`. A run of data
//! blocks makes an *index partition*: one index block (last version of each data block, handle) and
//! one filter over the partition's keys. The *top* block lists the partitions. A point read thus
//! goes top → filter → index → data, and ends at the filter for an absent key. All four kinds of
//! block come through the block cache: a table at rest costs only its [`TableMeta`] in memory.
//!
//! ```text
//! data data ... filter index | data data ... filter index | top | zeros to the page | footer
//! ```
//!
//! Everything here but the file handle is free of I/O: [`builder`] makes bytes, [`iter`] walks
//! blocks that somebody else fetched and says which one it needs next.

use std::cell::RefCell;
use std::path::PathBuf;

use model::id::PartitionId;
use model::time::Timestamp;
use runtime::fs::File;

use super::codec::{Reader, put_bytes, put_varint};

pub(crate) mod block;
pub(crate) mod builder;
pub(crate) mod filter;
pub(crate) mod format;
pub(crate) mod iter;
#[cfg(test)]
mod tests;

use format::{Footer, Handle, TableIdentity};

/// A table's number, unique for ever within its tree; its file is `<number>.table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableNumber(pub(crate) u64);

impl TableNumber {
    pub(crate) fn file_name(self) -> String {
        format!("{:012}.table", self.0)
    }

    /// The number in a file name of ours.
    pub(crate) fn from_file_name(name: &str) -> Option<TableNumber> {
        let digits = name.strip_suffix(".table")?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = TableNumber(digits.parse().ok()?);
        (number.file_name() == name).then_some(number)
    }
}

/// What the manifest knows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableMeta {
    pub(crate) number: TableNumber,
    pub(crate) identity: TableIdentity,
    pub(crate) file_bytes: u64,
    pub(crate) top: Handle,
    /// Versions, tombstones included.
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    pub(crate) oldest: Timestamp,
    pub(crate) newest: Timestamp,
    pub(crate) smallest: Box<[u8]>,
    pub(crate) largest: Box<[u8]>,
}

impl TableMeta {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.number.0);
        out.extend_from_slice(&self.identity.0.to_le_bytes());
        put_varint(out, self.file_bytes);
        self.top.put(out);
        put_varint(out, self.entries);
        put_varint(out, self.tombstones);
        out.extend_from_slice(&self.oldest.0.to_le_bytes());
        out.extend_from_slice(&self.newest.0.to_le_bytes());
        put_bytes(out, &self.smallest);
        put_bytes(out, &self.largest);
    }

    pub(crate) fn read(reader: &mut Reader) -> Option<TableMeta> {
        let meta = TableMeta {
            number: TableNumber(reader.varint()?),
            identity: TableIdentity(reader.u64()?),
            file_bytes: reader.varint()?,
            top: Handle::read(reader)?,
            entries: reader.varint()?,
            tombstones: reader.varint()?,
            oldest: Timestamp(reader.u64()?),
            newest: Timestamp(reader.u64()?),
            smallest: reader.bytes()?.into(),
            largest: reader.bytes()?.into(),
        };
        let top_end = meta.top.offset.checked_add(u64::from(meta.top.len))?;
        (meta.smallest <= meta.largest && top_end <= meta.file_bytes).then_some(meta)
    }

    /// The footer of the file.
    pub(crate) fn footer(&self, partition: PartitionId) -> Footer {
        Footer {
            partition,
            identity: self.identity,
            file_bytes: self.file_bytes,
            top: self.top,
            entries: self.entries,
            tombstones: self.tombstones,
            oldest: self.oldest,
            newest: self.newest,
        }
    }

    /// Whether a key of this table may lie in `[start, end]`, both included.
    pub(crate) fn overlaps(&self, start: &[u8], end: &[u8]) -> bool {
        *self.smallest <= *end && *start <= *self.largest
    }

    /// Bytes this costs in memory while the table is part of the tree.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Table>() + self.smallest.len() + self.largest.len()
    }
}

/// Names a table within its core's block cache; never reused in the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheSlot(pub(crate) u64);

/// One table of a tree, on its core. Held by the versions that contain it and by readers in the
/// middle of it.
pub(crate) struct Table {
    pub(crate) meta: TableMeta,
    pub(crate) slot: CacheSlot,
    pub(crate) path: PathBuf,
    /// Opened at the first read.
    pub(crate) file: RefCell<Option<File>>,
}

impl Table {
    pub(crate) fn new(meta: TableMeta, slot: CacheSlot, path: PathBuf) -> Self {
        Self { meta, slot, path, file: RefCell::new(None) }
    }
}

//! What a checkpoint is made of, and its bytes.

use model::id::{LogIndex, PartitionId};

use super::super::codec::u32_at;
use super::super::manifest::record::{decode_edit, encode_edit};
use super::super::open::replay;
use super::super::table::TableMeta;
use super::super::table::format::{Damage, PAGE_BYTES};
use super::super::version::{Edit, Version};

const MAGIC: u32 = u32::from_le_bytes(*b"PHCP");
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;

/// A place in the stream of a checkpoint's files, one after the other, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamPosition(pub u64);

/// What a checkpoint is made of: the partition, the applied index, every table with its level, its
/// length, its bounds and the identity that is part of all its checksums. Goes to the receiver
/// before the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub(super) partition: PartitionId,
    pub(super) edit: Edit,
}

/// A file of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileAt<'a> {
    /// Counted from the first.
    pub(super) index: usize,
    pub(super) meta: &'a TableMeta,
    /// Where the file begins in the stream.
    pub(super) begins: u64,
}

impl FileAt<'_> {
    pub(super) fn ends(&self) -> u64 {
        self.begins + self.meta.file_bytes
    }
}

impl Contents {
    pub(super) fn new(partition: PartitionId, version: &Version, index: LogIndex) -> Contents {
        let next = version.tables().map(|table| table.meta.number.0 + 1).max().unwrap_or(1);
        let edit = version.snapshot(index, super::super::table::TableNumber(next));
        Contents { partition, edit }
    }

    /// Whose rows they are.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Every entry up to this one is in the files, and of later ones at most parts.
    pub fn applied_index(&self) -> LogIndex {
        self.edit.durable_index
    }

    /// Number of table files.
    pub fn file_count(&self) -> usize {
        self.edit.added.len()
    }

    /// Where the stream ends: the length of all files together.
    pub fn end(&self) -> StreamPosition {
        StreamPosition(self.files().last().map_or(0, |file| file.ends()))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = FileAt<'_>> {
        let files = self.edit.added.iter().enumerate();
        files.scan(0, |end, (index, (_, meta))| {
            let file = FileAt { index, meta, begins: *end };
            *end = file.ends();
            Some(file)
        })
    }

    /// The file that the byte at `position` belongs to; `None` at the end.
    pub(super) fn file_at(&self, position: StreamPosition) -> Option<FileAt<'_>> {
        self.files().find(|file| position.0 < file.ends())
    }

    /// The bytes for the receiver; see `docs/formats/checkpoint.md`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.partition.0.to_le_bytes());
        out.extend_from_slice(&encode_edit(&self.edit));
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads what [`Self::encode`] made, and checks that it makes sense.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Contents, Damage> {
        let word = |at| u32_at(bytes, at).ok_or(Damage::Truncated);
        if word(0)? != MAGIC {
            return Err(Damage::Foreign);
        }
        let body = bytes.get(HEADER_BYTES..).ok_or(Damage::Truncated)?;
        if crc32c::crc32c(&bytes[8..]) != word(4)? {
            return Err(Damage::Checksum);
        }
        if word(8)? != FORMAT_VERSION {
            return Err(Damage::Foreign);
        }
        let partition = PartitionId(word(12)?);
        let edit = decode_edit(body).ok_or(Damage::Structure)?;
        let mut end = 0u64;
        for (_, meta) in &edit.added {
            if meta.file_bytes == 0 || !meta.file_bytes.is_multiple_of(PAGE_BYTES as u64) {
                return Err(Damage::Structure);
            }
            end = end.checked_add(meta.file_bytes).ok_or(Damage::Structure)?;
        }
        let level0 = edit.added.iter().filter(|(level, _)| *level == 0);
        // The receiver's numbers follow the order of the files.
        let newest_first = level0.is_sorted_by(|(_, one), (_, next)| one.number > next.number);
        if !edit.removed.is_empty() || !newest_first {
            return Err(Damage::Structure);
        }
        replay(vec![edit.clone()])?;
        Ok(Contents { partition, edit })
    }
}

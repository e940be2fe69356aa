//! The framing of a table file: block trailers, handles and the footer, as laid down in
//! `docs/formats/table.md`.

use std::fmt;

use model::id::PartitionId;
use model::time::Timestamp;

use super::super::codec::{Reader, put_varint, u32_at, u64_at};
use super::block::BlockKind;

/// Bytes after each stored block: kind, compression, CRC32C.
pub(crate) const TRAILER_BYTES: usize = 6;
/// Files are written in pages of this size and their length is a multiple of it.
pub(crate) const PAGE_BYTES: usize = 4096;
/// The footer's length; it ends the file.
pub(crate) const FOOTER_BYTES: usize = 96;

const FOOTER_MAGIC: [u8; 8] = *b"PHDBTBL\0";
const FORMAT_VERSION: u32 = 1;

const COMPRESSION_NONE: u8 = 0;
const COMPRESSION_LZ4: u8 = 1;
/// The longest payload a compressed block may claim, against decompression bombs.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

/// Where a block lies in its file; the length includes the trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle {
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

impl Handle {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        put_varint(out, self.offset);
        put_varint(out, u64::from(self.len));
    }

    pub(crate) fn read(reader: &mut Reader) -> Option<Handle> {
        Some(Handle { offset: reader.varint()?, len: reader.varint_u32()? })
    }

    /// Decodes a value of an index block.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Handle> {
        let mut reader = Reader::new(bytes);
        let handle = Handle::read(&mut reader)?;
        reader.is_empty().then_some(handle)
    }

    pub(crate) fn end(self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// A value of the top block: one index partition and its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionHandles {
    pub(crate) index: Handle,
    pub(crate) filter: Handle,
}

impl PartitionHandles {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        self.index.put(out);
        self.filter.put(out);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<PartitionHandles> {
        let mut reader = Reader::new(bytes);
        let index = Handle::read(&mut reader)?;
        let filter = Handle::read(&mut reader)?;
        reader.is_empty().then_some(PartitionHandles { index, filter })
    }
}

/// The random name of one table's content, part of every block's checksum: a block of another
/// table, of another place in the same table, or of an older file under the same name fails it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableIdentity(pub(crate) u64);

fn checksum(stored: &[u8], kind: u8, compression: u8, identity: TableIdentity, offset: u64) -> u32 {
    let mut seal = [0; 18];
    seal[0] = kind;
    seal[1] = compression;
    seal[2..10].copy_from_slice(&identity.0.to_le_bytes());
    seal[10..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(stored), &seal)
}

/// How data blocks are stored. Index, filter and top blocks are never compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// As they are: the least processor time.
    #[default]
    None,
    /// LZ4 where it saves at least an eighth: less disk and less to read, for processor time in
    /// flushes, compactions and cache misses.
    Lz4,
}

/// Appends the stored form of a payload (perhaps compressed, with its trailer) to `out`.
/// `offset` is the block's position in the file.
pub(crate) fn seal_block(
    out: &mut Vec<u8>,
    payload: &[u8],
    kind: BlockKind,
    compression: Compression,
    identity: TableIdentity,
    offset: u64,
) {
    let start = out.len();
    let mut flag = COMPRESSION_NONE;
    if compression == Compression::Lz4 && kind == BlockKind::Data {
        let compressed = lz4_flex::block::compress_prepend_size(payload);
        if compressed.len() <= payload.len() - payload.len() / 8 {
            out.extend_from_slice(&compressed);
            flag = COMPRESSION_LZ4;
        }
    }
    if flag == COMPRESSION_NONE {
        out.extend_from_slice(payload);
    }
    let crc = checksum(&out[start..], kind as u8, flag, identity, offset);
    out.push(kind as u8);
    out.push(flag);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// What is wrong with stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file ends before the bytes that should be there.
    Truncated,
    /// The checksum does not fit the bytes, the table's identity and the position.
    Checksum,
    /// The checksum fits, but the content has no valid structure.
    Structure,
    /// A footer or manifest that is not ours, or of an unknown format version.
    Foreign,
    /// A file that the manifest names is not there.
    Missing,
    /// Contents disagree: keys out of order, counts or bounds that differ from the manifest's.
    Inconsistent,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Damage::Truncated => "the file ends too early",
            Damage::Checksum => "checksum mismatch",
            Damage::Structure => "the content has no valid structure",
            Damage::Foreign => "not a file of this tree, or of an unknown format version",
            Damage::Missing => "the file is missing",
            Damage::Inconsistent => "the content contradicts the manifest",
        })
    }
}

/// Checks a stored block (with trailer): that it is what was written, and of this kind. Gives its
/// body, perhaps compressed, and how it is compressed.
fn check_stored(
    stored: &[u8],
    kind: BlockKind,
    identity: TableIdentity,
    offset: u64,
) -> Result<(&[u8], u8), Damage> {
    let end = stored.len().checked_sub(TRAILER_BYTES).ok_or(Damage::Structure)?;
    let (body, trailer) = stored.split_at(end);
    let crc = u32_at(trailer, 2).ok_or(Damage::Structure)?;
    if checksum(body, trailer[0], trailer[1], identity, offset) != crc {
        return Err(Damage::Checksum);
    }
    if trailer[0] != kind as u8 {
        return Err(Damage::Structure);
    }
    Ok((body, trailer[1]))
}

/// Checks a stored block that is passed on as it is.
pub(crate) fn check_block(
    stored: &[u8],
    kind: BlockKind,
    identity: TableIdentity,
    offset: u64,
) -> Result<(), Damage> {
    check_stored(stored, kind, identity, offset).map(|_| ())
}

/// Checks a stored block (with trailer) and gives its payload.
pub(crate) fn open_block(
    stored: &[u8],
    kind: BlockKind,
    identity: TableIdentity,
    offset: u64,
) -> Result<Box<[u8]>, Damage> {
    let (body, compression) = check_stored(stored, kind, identity, offset)?;
    match compression {
        COMPRESSION_NONE => Ok(body.into()),
        COMPRESSION_LZ4 => {
            let len = u32_at(body, 0).ok_or(Damage::Structure)? as usize;
            if len > DECOMPRESSED_BYTES_MAX {
                return Err(Damage::Structure);
            }
            let payload =
                lz4_flex::block::decompress_size_prepended(body).map_err(|_| Damage::Structure)?;
            Ok(payload.into_boxed_slice())
        }
        _ => Err(Damage::Structure),
    }
}

/// The end of a table file. The manifest holds the same facts; the footer makes the file stand on
/// its own, for scrubbing and for shipping it to another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) partition: PartitionId,
    pub(crate) identity: TableIdentity,
    pub(crate) file_bytes: u64,
    pub(crate) top: Handle,
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    pub(crate) oldest: Timestamp,
    pub(crate) newest: Timestamp,
}

impl Footer {
    pub(crate) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        out[0..8].copy_from_slice(&FOOTER_MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.top.len.to_le_bytes());
        let words = [
            u64::from(self.partition.0),
            self.identity.0,
            self.file_bytes,
            self.top.offset,
            self.entries,
            self.tombstones,
            self.oldest.0,
            self.newest.0,
        ];
        for (index, word) in words.into_iter().enumerate() {
            out[16 + 8 * index..24 + 8 * index].copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[..FOOTER_BYTES - 4]);
        out[FOOTER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes the last [`FOOTER_BYTES`] of a file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Footer, Damage> {
        if bytes.len() != FOOTER_BYTES {
            return Err(Damage::Truncated);
        }
        let word = |index: usize| u64_at(bytes, 16 + 8 * index).ok_or(Damage::Structure);
        let crc = u32_at(bytes, FOOTER_BYTES - 4).ok_or(Damage::Structure)?;
        if bytes[..8] != FOOTER_MAGIC {
            return Err(Damage::Foreign);
        }
        if crc32c::crc32c(&bytes[..FOOTER_BYTES - 4]) != crc {
            return Err(Damage::Checksum);
        }
        if u32_at(bytes, 8) != Some(FORMAT_VERSION) {
            return Err(Damage::Foreign);
        }
        Ok(Footer {
            partition: PartitionId(word(0)?.try_into().map_err(|_| Damage::Structure)?),
            identity: TableIdentity(word(1)?),
            file_bytes: word(2)?,
            top: Handle { offset: word(3)?, len: u32_at(bytes, 12).ok_or(Damage::Structure)? },
            entries: word(4)?,
            tombstones: word(5)?,
            oldest: Timestamp(word(6)?),
            newest: Timestamp(word(7)?),
        })
    }
}

//! The manifest's bytes: framing, edits and what can be recovered from a file. No I/O. The layout
//! stands in `docs/formats/manifest.md`.

use model::id::{LogIndex, PartitionId};

use super::super::codec::{Reader, put_varint, u32_at, u64_at};
use super::super::table::format::{Damage, PAGE_BYTES};
use super::super::table::{TableMeta, TableNumber};
use super::super::version::{Edit, LEVELS};

const MAGIC: u32 = u32::from_le_bytes(*b"PHMF");
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 48;
/// Each record is stored so many times, one after the other.
pub(crate) const COPIES: usize = 2;

/// The random name of one manifest file: a record of an older file never counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogIdentity(pub(crate) u64);

/// What every record of one manifest file says about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) partition: PartitionId,
    pub(crate) identity: LogIdentity,
    /// Length of the file, which is laid out in full when it is created.
    pub(crate) file_bytes: u64,
}

pub(crate) fn encode_edit(edit: &Edit) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&edit.durable_index.0.to_le_bytes());
    put_varint(&mut out, edit.next_number.0);
    put_varint(&mut out, edit.added.len() as u64);
    for (level, meta) in &edit.added {
        out.push(*level as u8);
        meta.put(&mut out);
    }
    put_varint(&mut out, edit.removed.len() as u64);
    for number in &edit.removed {
        put_varint(&mut out, number.0);
    }
    out
}

pub(crate) fn decode_edit(bytes: &[u8]) -> Option<Edit> {
    let mut reader = Reader::new(bytes);
    let durable_index = LogIndex(reader.u64()?);
    let next_number = TableNumber(reader.varint()?);
    let count = reader.varint()?;
    let mut added = Vec::new();
    for _ in 0..count {
        let level = usize::from(reader.byte()?);
        if level >= LEVELS {
            return None;
        }
        added.push((level, TableMeta::read(&mut reader)?));
    }
    let count = reader.varint()?;
    let mut removed = Vec::new();
    for _ in 0..count {
        removed.push(TableNumber(reader.varint()?));
    }
    reader.is_empty().then_some(Edit { added, removed, durable_index, next_number })
}

/// Bytes that a record with this payload takes in the file, all copies together.
pub(crate) fn record_bytes(payload_len: usize) -> usize {
    COPIES * (HEADER_BYTES + payload_len).next_multiple_of(PAGE_BYTES)
}

/// Frames a payload, all copies together.
pub(crate) fn encode_record(header: &FileHeader, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let copy_bytes = record_bytes(payload.len()) / COPIES;
    let mut copy = Vec::with_capacity(COPIES * copy_bytes);
    copy.extend_from_slice(&MAGIC.to_le_bytes());
    copy.extend_from_slice(&[0; 4]);
    copy.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    copy.extend_from_slice(&header.partition.0.to_le_bytes());
    copy.extend_from_slice(&header.identity.0.to_le_bytes());
    copy.extend_from_slice(&sequence.to_le_bytes());
    copy.extend_from_slice(&header.file_bytes.to_le_bytes());
    let payload_len = u32::try_from(payload.len()).expect("a manifest record stays below 4 GiB");
    copy.extend_from_slice(&payload_len.to_le_bytes());
    copy.extend_from_slice(&[0; 4]);
    copy.extend_from_slice(payload);
    let crc = crc32c::crc32c(&copy[8..]);
    copy[4..8].copy_from_slice(&crc.to_le_bytes());
    copy.resize(copy_bytes, 0);
    copy.extend_from_within(..);
    copy
}

struct Record<'a> {
    header: FileHeader,
    sequence: u64,
    payload: &'a [u8],
    /// Bytes that one copy takes in the file.
    copy_bytes: usize,
}

/// The valid record that begins at `at`, if there is one.
fn record_at(bytes: &[u8], at: usize) -> Result<Record<'_>, Damage> {
    let bytes = bytes.get(at..).ok_or(Damage::Truncated)?;
    let header = bytes.get(..HEADER_BYTES).ok_or(Damage::Truncated)?;
    let u32 = |at| u32_at(header, at).ok_or(Damage::Truncated);
    let u64 = |at| u64_at(header, at).ok_or(Damage::Truncated);
    if u32(0)? != MAGIC {
        return Err(Damage::Foreign);
    }
    let payload_len = u32(40)? as usize;
    let end = HEADER_BYTES + payload_len;
    let sealed = bytes.get(8..end).ok_or(Damage::Truncated)?;
    if crc32c::crc32c(sealed) != u32(4)? {
        return Err(Damage::Checksum);
    }
    if u32(8)? != FORMAT_VERSION {
        return Err(Damage::Foreign);
    }
    let header = FileHeader {
        partition: PartitionId(u32(12)?),
        identity: LogIdentity(u64(16)?),
        file_bytes: u64(32)?,
    };
    let copy_bytes = end.next_multiple_of(PAGE_BYTES);
    Ok(Record { header, sequence: u64(24)?, payload: &bytes[HEADER_BYTES..end], copy_bytes })
}

/// What a manifest file says.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) header: FileHeader,
    /// The first one is the snapshot with which the file began.
    pub(crate) edits: Vec<Edit>,
    /// Where the next record goes.
    pub(crate) end: u64,
    /// Whether a copy was damaged or a record torn: the file should be written anew.
    pub(crate) is_worn: bool,
}

/// Where and how a manifest is damaged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DamageAt {
    pub(crate) offset: u64,
    pub(crate) damage: Damage,
}

fn damaged(offset: usize, damage: Damage) -> DamageAt {
    DamageAt { offset: offset as u64, damage }
}

/// Reads a whole manifest file.
///
/// Records are written one at a time, each synced before the next: only the last one can be torn,
/// and then it was never acknowledged. A record of which one copy is damaged is taken from the
/// other; one that is damaged in all its copies while a later one stands is corruption.
pub(crate) fn recover(bytes: &[u8], partition: PartitionId) -> Result<Recovered, DamageAt> {
    let first = first_record(bytes)?;
    let header = first.header;
    if header.partition != partition {
        return Err(damaged(0, Damage::Foreign));
    }
    if header.file_bytes != bytes.len() as u64 {
        return Err(damaged(bytes.len(), Damage::Truncated));
    }
    let mut recovered = Recovered { header, edits: Vec::new(), end: 0, is_worn: false };
    let mut at = 0;
    while at < bytes.len() {
        let sequence = recovered.edits.len() as u64;
        let Some(found) = find_record(bytes, at, &header, sequence)? else {
            let tail = &bytes[at..];
            recovered.is_worn |= tail[..tail.len().min(PAGE_BYTES)].iter().any(|byte| *byte != 0);
            break;
        };
        let edit = decode_edit(found.record.payload).ok_or(damaged(at, Damage::Structure))?;
        recovered.edits.push(edit);
        recovered.is_worn |= found.is_worn;
        at += COPIES * found.record.copy_bytes;
    }
    recovered.end = at as u64;
    Ok(recovered)
}

/// The snapshot, from whichever copy is whole. The file was complete before it got its name, so
/// that anything else is corruption.
fn first_record(bytes: &[u8]) -> Result<Record<'_>, DamageAt> {
    let first = record_at(bytes, 0);
    let found = match first {
        Ok(record) => Ok(record),
        Err(damage) => (PAGE_BYTES..bytes.len())
            .step_by(PAGE_BYTES)
            .find_map(|at| record_at(bytes, at).ok())
            .ok_or(damaged(0, damage)),
    }?;
    if found.sequence == 0 { Ok(found) } else { Err(damaged(0, Damage::Checksum)) }
}

struct Found<'a> {
    record: Record<'a>,
    is_worn: bool,
}

/// The record with this sequence number whose first copy should be at `at`; `None` at the end.
fn find_record<'a>(
    bytes: &'a [u8],
    at: usize,
    header: &FileHeader,
    sequence: u64,
) -> Result<Option<Found<'a>>, DamageAt> {
    let belongs = |record: &Record| record.header == *header;
    match record_at(bytes, at) {
        Ok(record) if belongs(&record) && record.sequence == sequence => {
            let second = record_at(bytes, at + record.copy_bytes);
            let is_worn =
                !second.is_ok_and(|copy| belongs(&copy) && copy.payload == record.payload);
            return Ok(Some(Found { record, is_worn }));
        }
        _ => {}
    }
    for later in (at + PAGE_BYTES..bytes.len()).step_by(PAGE_BYTES) {
        let Ok(record) = record_at(bytes, later) else { continue };
        if !belongs(&record) {
            continue;
        }
        if record.sequence == sequence && later == at + record.copy_bytes {
            return Ok(Some(Found { record, is_worn: true }));
        }
        if record.sequence > sequence {
            return Err(damaged(at, Damage::Checksum));
        }
    }
    Ok(None)
}

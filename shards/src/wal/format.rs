//! The bytes of a log segment; `docs/formats/wal.md` is the same in prose. All integers are
//! little-endian. Pure: nothing here reads or writes a file.

use model::id::{CoreId, LogIndex, NodeId, PartitionId, Term};
use model::time::Timestamp;

/// Frames begin and end at multiples of this, in bytes.
pub(crate) const BLOCK: usize = 4096;

/// Bytes of a frame before its first record.
pub(crate) const FRAME_HEADER: usize = 64;

/// Bytes of a record before its body.
pub(crate) const RECORD_HEADER: usize = 8;

/// Bytes of an entry before its commands.
const ENTRY_HEADER: usize = 24;

/// Bytes of a hard state.
const HARD_STATE_BYTES: usize = 40;
/// That of a replica which has no vote at first.
const JOINED_STATE_BYTES: usize = 48;

/// The most that the part of a body of fixed size takes, in bytes.
const FIXED_MAX: usize = JOINED_STATE_BYTES;

const SEGMENT_MAGIC: &[u8; 8] = b"PHNTMWAL";
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"PhWf");
const VERSION: u32 = 1;

/// The first block of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Random; the same in all segments of one log and in no other log.
    pub(crate) log: u64,
    /// Which layout of the node's data the log belongs to.
    pub(crate) generation: u64,
    /// Position of the segment in the log, from 1. A recycled file gets a new one.
    pub(crate) segment: u64,
    /// When this header was written, no segment before this one was needed any more.
    pub(crate) oldest: u64,
    /// Size of the file in bytes.
    pub(crate) bytes: u64,
    pub(crate) node: NodeId,
    pub(crate) core: CoreId,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(SEGMENT_MAGIC);
        block[12..16].copy_from_slice(&VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.log.to_le_bytes());
        block[24..32].copy_from_slice(&self.generation.to_le_bytes());
        block[32..40].copy_from_slice(&self.segment.to_le_bytes());
        block[40..48].copy_from_slice(&self.oldest.to_le_bytes());
        block[48..56].copy_from_slice(&self.bytes.to_le_bytes());
        block[56..60].copy_from_slice(&self.node.0.to_le_bytes());
        block[60..62].copy_from_slice(&self.core.0.to_le_bytes());
        let crc = crc32c::crc32c(&block[12..]);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// The header in `block`, or `None` where there is no intact one.
    pub(crate) fn decode(block: &[u8]) -> Option<SegmentHeader> {
        let block = block.first_chunk::<BLOCK>()?;
        let intact = block.starts_with(SEGMENT_MAGIC)
            && u32_at(block, 8) == crc32c::crc32c(&block[12..])
            && u32_at(block, 12) == VERSION;
        intact.then(|| SegmentHeader {
            log: u64_at(block, 16),
            generation: u64_at(block, 24),
            segment: u64_at(block, 32),
            oldest: u64_at(block, 40),
            bytes: u64_at(block, 48),
            node: NodeId(u32_at(block, 56)),
            core: CoreId(u16::from_le_bytes([block[60], block[61]])),
        })
    }
}

/// What stands before the records of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) log: u64,
    pub(crate) segment: u64,
    /// Counts the frames of the log without a gap, from 1.
    pub(crate) sequence: u64,
    /// The core's clock when the frame was made.
    pub(crate) clock: Timestamp,
    /// [`FrameHeader::checksum`] of the frame before; 0 for the first.
    pub(crate) previous: u32,
    /// CRC32C of everything after the header, padding included.
    pub(crate) body_crc: u32,
    /// Bytes of records, without header and padding.
    pub(crate) body_bytes: u32,
}

impl FrameHeader {
    /// The header's bytes and its checksum, which the next frame carries.
    pub(crate) fn encode(&self) -> ([u8; FRAME_HEADER], u32) {
        let mut bytes = [0; FRAME_HEADER];
        bytes[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.log.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.clock.0.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.previous.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.body_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// The header at the start of `bytes` and its checksum, or `None` where none is intact.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(FrameHeader, u32)> {
        let bytes = bytes.first_chunk::<FRAME_HEADER>()?;
        let crc = crc32c::crc32c(&bytes[8..]);
        let intact = u32_at(bytes, 0) == FRAME_MAGIC && u32_at(bytes, 4) == crc;
        intact.then(|| {
            let header = FrameHeader {
                log: u64_at(bytes, 8),
                segment: u64_at(bytes, 16),
                sequence: u64_at(bytes, 24),
                clock: Timestamp(u64_at(bytes, 32)),
                previous: u32_at(bytes, 40),
                body_crc: u32_at(bytes, 44),
                body_bytes: u32_at(bytes, 48),
            };
            (header, crc)
        })
    }

    /// Bytes of the whole frame on disk.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(self.body_bytes as usize) as u64
    }
}

/// Bytes on disk of a frame with `body_bytes` of records.
pub(crate) fn frame_bytes(body_bytes: usize) -> usize {
    (FRAME_HEADER + body_bytes).next_multiple_of(BLOCK)
}

/// What a log records. Borrowed from the writer's queues or from the frame that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// An entry of a partition's log.
    Entry {
        /// Whose log.
        partition: PartitionId,
        /// The term it was proposed in.
        term: Term,
        /// Its place.
        index: LogIndex,
        /// Number of commands.
        count: u32,
        /// The commands, as [`crate::log`] encodes them.
        commands: &'a [u8],
    },
    /// An entry of a partition's log that says who its voters are.
    Membership {
        /// Whose log.
        partition: PartitionId,
        /// The term it was proposed in.
        term: Term,
        /// Its place.
        index: LogIndex,
        /// Who, as [`crate::raft`] encodes it.
        voters: &'a [u8],
    },
    /// Who takes part in a partition as of the last entry that was let go, and the entry that said so.
    Base {
        /// Whose.
        partition: PartitionId,
        /// The term it was proposed in.
        term: Term,
        /// Its place.
        index: LogIndex,
        /// Who, as [`crate::raft`] encodes it.
        voters: &'a [u8],
    },
    /// A partition's term and vote, and how far its log was let go. Replaces the one before.
    HardState {
        /// Whose.
        partition: PartitionId,
        /// The newest term seen.
        term: Term,
        /// Who was voted for in it.
        vote: Option<NodeId>,
        /// Whether a quorum has voted so, too.
        elected: bool,
        /// The last entry that is not needed any more: its term and place.
        purged: Option<(Term, LogIndex)>,
        /// The replica has no vote before its log has come so far; zero: it may vote at once.
        votes_from: LogIndex,
    },
    /// Entries of a partition after `after` are void.
    Truncated {
        /// Whose.
        partition: PartitionId,
        /// The last entry that stays.
        after: LogIndex,
    },
    /// A partition has no replica here any more: all that stands before this about it is void.
    Forgotten {
        /// Which.
        partition: PartitionId,
    },
    /// Segments before `oldest` are not needed any more.
    Purged {
        /// The oldest segment that is.
        oldest: u64,
    },
    /// Says nothing; that it stands here proves that the frame before it was complete.
    Seal,
}

const KIND_ENTRY: u8 = 1;
const KIND_HARD_STATE: u8 = 2;
const KIND_TRUNCATED: u8 = 3;
const KIND_PURGED: u8 = 4;
const KIND_SEAL: u8 = 5;
const KIND_MEMBERSHIP: u8 = 6;
const KIND_BASE: u8 = 7;
const KIND_FORGOTTEN: u8 = 8;

impl Record<'_> {
    /// Bytes of the record in a frame.
    pub(crate) fn encoded_bytes(&self) -> usize {
        RECORD_HEADER + self.fixed().1 + self.tail().len()
    }

    /// The part of the body of fixed size: its bytes and how many of them count.
    pub(crate) fn fixed(&self) -> ([u8; FIXED_MAX], usize) {
        let mut out = [0; FIXED_MAX];
        let bytes = match self {
            Record::Entry { partition, term, index, count, .. } => {
                out[..4].copy_from_slice(&partition.0.to_le_bytes());
                out[4..8].copy_from_slice(&count.to_le_bytes());
                out[8..16].copy_from_slice(&term.0.to_le_bytes());
                out[16..24].copy_from_slice(&index.0.to_le_bytes());
                ENTRY_HEADER
            }
            Record::Membership { partition, term, index, .. }
            | Record::Base { partition, term, index, .. } => {
                out[..4].copy_from_slice(&partition.0.to_le_bytes());
                out[8..16].copy_from_slice(&term.0.to_le_bytes());
                out[16..24].copy_from_slice(&index.0.to_le_bytes());
                ENTRY_HEADER
            }
            Record::HardState { partition, term, vote, elected, purged, votes_from } => {
                let (purged_term, purged_index) = purged.unwrap_or((Term(0), LogIndex(0)));
                out[..4].copy_from_slice(&partition.0.to_le_bytes());
                out[4..8].copy_from_slice(&vote.map_or(0, |node| node.0).to_le_bytes());
                out[8..16].copy_from_slice(&term.0.to_le_bytes());
                out[16] = u8::from(vote.is_some());
                out[17] = u8::from(*elected);
                out[18] = u8::from(purged.is_some());
                out[24..32].copy_from_slice(&purged_term.0.to_le_bytes());
                out[32..40].copy_from_slice(&purged_index.0.to_le_bytes());
                out[40..48].copy_from_slice(&votes_from.0.to_le_bytes());
                match votes_from.0 {
                    0 => HARD_STATE_BYTES,
                    _ => JOINED_STATE_BYTES,
                }
            }
            Record::Truncated { partition, after } => {
                out[..4].copy_from_slice(&partition.0.to_le_bytes());
                out[8..16].copy_from_slice(&after.0.to_le_bytes());
                16
            }
            Record::Forgotten { partition } => {
                out[..4].copy_from_slice(&partition.0.to_le_bytes());
                8
            }
            Record::Purged { oldest } => {
                out[..8].copy_from_slice(&oldest.to_le_bytes());
                8
            }
            Record::Seal => 0,
        };
        (out, bytes)
    }

    /// The part of the body that is copied as it is.
    pub(crate) fn tail(&self) -> &[u8] {
        match self {
            Record::Entry { commands, .. } => commands,
            Record::Membership { voters, .. } | Record::Base { voters, .. } => voters,
            _ => &[],
        }
    }

    /// The record's header.
    pub(crate) fn header(&self) -> [u8; RECORD_HEADER] {
        let mut out = [0; RECORD_HEADER];
        out[0] = match self {
            Record::Entry { .. } => KIND_ENTRY,
            Record::Membership { .. } => KIND_MEMBERSHIP,
            Record::Base { .. } => KIND_BASE,
            Record::HardState { .. } => KIND_HARD_STATE,
            Record::Truncated { .. } => KIND_TRUNCATED,
            Record::Forgotten { .. } => KIND_FORGOTTEN,
            Record::Purged { .. } => KIND_PURGED,
            Record::Seal => KIND_SEAL,
        };
        let body = self.encoded_bytes() - RECORD_HEADER;
        // A frame is far smaller than 4 GiB: the segment bounds it.
        out[4..8].copy_from_slice(&(body as u32).to_le_bytes());
        out
    }
}

/// The records in a frame's body, in order; `None` in place of one that makes no sense, and
/// nothing after it.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Records<'a> {
        Records { rest: body }
    }

    fn parse(&mut self) -> Option<Record<'a>> {
        let (header, rest) = self.rest.split_first_chunk::<RECORD_HEADER>()?;
        let (body, rest) = rest.split_at_checked(u32_at(header, 4) as usize)?;
        self.rest = rest;
        match header[0] {
            KIND_ENTRY if body.len() >= ENTRY_HEADER => Some(Record::Entry {
                partition: PartitionId(u32_at(body, 0)),
                count: u32_at(body, 4),
                term: Term(u64_at(body, 8)),
                index: LogIndex(u64_at(body, 16)),
                commands: &body[ENTRY_HEADER..],
            }),
            KIND_MEMBERSHIP if body.len() >= ENTRY_HEADER => Some(Record::Membership {
                partition: PartitionId(u32_at(body, 0)),
                term: Term(u64_at(body, 8)),
                index: LogIndex(u64_at(body, 16)),
                voters: &body[ENTRY_HEADER..],
            }),
            KIND_BASE if body.len() >= ENTRY_HEADER => Some(Record::Base {
                partition: PartitionId(u32_at(body, 0)),
                term: Term(u64_at(body, 8)),
                index: LogIndex(u64_at(body, 16)),
                voters: &body[ENTRY_HEADER..],
            }),
            KIND_HARD_STATE if [HARD_STATE_BYTES, JOINED_STATE_BYTES].contains(&body.len()) => {
                Some(Record::HardState {
                    partition: PartitionId(u32_at(body, 0)),
                    term: Term(u64_at(body, 8)),
                    vote: (body[16] != 0).then(|| NodeId(u32_at(body, 4))),
                    elected: body[17] != 0,
                    purged: (body[18] != 0)
                        .then(|| (Term(u64_at(body, 24)), LogIndex(u64_at(body, 32)))),
                    votes_from: LogIndex(match body.len() {
                        JOINED_STATE_BYTES => u64_at(body, 40),
                        _ => 0,
                    }),
                })
            }
            KIND_TRUNCATED if body.len() == 16 => Some(Record::Truncated {
                partition: PartitionId(u32_at(body, 0)),
                after: LogIndex(u64_at(body, 8)),
            }),
            KIND_FORGOTTEN if body.len() == 8 => {
                Some(Record::Forgotten { partition: PartitionId(u32_at(body, 0)) })
            }
            KIND_PURGED if body.len() == 8 => Some(Record::Purged { oldest: u64_at(body, 0) }),
            KIND_SEAL if body.is_empty() => Some(Record::Seal),
            _ => None,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Record<'a>>;

    fn next(&mut self) -> Option<Option<Record<'a>>> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.parse();
        if record.is_none() {
            self.rest = &[];
        }
        Some(record)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

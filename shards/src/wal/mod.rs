//! The write-ahead log of one core.
//!
//! # The idea
//!
//! All partitions of a core share one log, so that one synchronous write makes many of their
//! entries durable. The log is a row of **segments**: files of one size, filled with zeros when
//! they are made and used over and over, because overwriting blocks that exist costs the device's
//! own latency and nothing else. What one write puts down is a **frame**: a header and the
//! **records** that had gathered by then, padded to whole blocks. One write is in flight at a
//! time, and a block that was acknowledged is never written again while it is needed.
//!
//! ```text
//!   segment 7 (file 3)                      segment 8 (file 1, recycled)
//!   ┌────────┬───────┬─────────┬──────┬─────┬────────┬───────┬ ─ ─ ─ ─ ─ ─ ─ ─
//!   │ header │ frame │  frame  │frame │ old │ header │ frame │ older content
//!   │        │  41   │   42    │  43  │     │        │  44   │ of segment 5
//!   └────────┴───────┴─────────┴──────┴─────┴────────┴───────┴ ─ ─ ─ ─ ─ ─ ─ ─
//!               ▲─────────┘ each frame carries the checksum of the one before
//! ```
//!
//! # Where the log ends
//!
//! Frames are numbered without a gap. Frame `n + 1` is only begun once frame `n` is on the device.
//! So when frame `n` cannot be read, there are two cases:
//!
//! - no frame with a greater number exists: `n` was being written when the power went, nobody was
//!   told that it is durable, and the log ends before it (a **torn tail**);
//! - one does: `n` was durable and is not what was written. That is **corruption**, and opening
//!   fails with the file and the offset.
//!
//! The one frame that this cannot tell is the last. A log that has been idle for a moment, or is
//! closed, therefore writes a **seal**: an empty frame, which proves the one before it.
//!
//! Old content in a recycled segment has smaller frame numbers, another segment number or another
//! log's identity, so it is never taken for new. Before a segment is reused, a record that says
//! which segments are still needed is made durable: a segment that is missing or unreadable and
//! not excused by it is corruption, too.
//!
//! # At the limits
//!
//! A segment that cannot be made because the disk is full refuses the write ([`WalError::Full`])
//! and nothing else: reads go on, and writes do once there is space. The end of a segment is kept
//! for what ends transactions ([`Wal::spare_reserve`]), so that nothing stays undecided. An error of a write itself is
//! final ([`WalError::Failed`]): after it nobody knows what the disk holds, and trying again could
//! succeed without meaning anything (the kernel may have dropped what it could not write).
//!
//! # What is not here
//!
//! No replication and no commands: a record's commands are bytes ([`crate::log`] knows them). No
//! compression. No mirrored copies: damage that is found while the log is open ([`check`]) is mended from
//! memory ([`crate::raft::CoreLog`]); a log that is found damaged when it is opened is not mended.

mod error;
mod format;
mod frame;
mod recover;
mod scrub;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub use error::WalError;
pub(crate) use format::{BLOCK, Record};
pub(crate) use frame::FrameReader;
pub(crate) use recover::Replay;
pub(crate) use scrub::{Extent, check};
pub(crate) use segment::Segment;
pub(crate) use writer::{Place, Wal, WalOptions};

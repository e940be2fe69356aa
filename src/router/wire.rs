//! Messages of routers as bytes, for routers of other nodes. Inside a node they are not encoded.
//!
//! As [`shards::core::wire`]: a fixed header, which says what the message is about even where the rest
//! cannot be read, and an archive. The layout stands in `docs/formats/wire.md`.
//!
//! Every call makes sense between nodes; one is told in another form there: a catalog that is published
//! goes as its version ([`Publication`](super::peers::Publication)). The header holds the sender's clock,
//! which the receiver's moves past before it looks at the message: who reads what was published sees
//! what was committed.

#[cfg(test)]
mod statements;
#[cfg(test)]
mod tests;

use super::peers::{Answer, Call, RouterMessage};
use model::archive::{self, ArchiveError};
use model::error::{SqlError, SqlState};
use model::time::Timestamp;
use std::num::NonZeroUsize;

/// The form of calls that this node writes and reads: of their header and of the archive of a [`Call`]
/// with all that it holds.
pub const CALL_VERSION: u8 = 1;
/// The same, of answers: of a result of an [`Answer`] or an error.
pub const ANSWER_VERSION: u8 = 1;

/// References that lead to each other: nothing here is nested in itself.
const DEPTH_MAX: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");

/// Kind, version, number of the call, the sender's clock.
const HEADER_BYTES: usize = 18;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// [`RouterMessage::Call`]
    Call,
    /// [`RouterMessage::Answer`]
    Answer,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// They are fewer than a header.
    #[error("a message between routers is cut off")]
    Short,
    /// No message has this code.
    #[error("there is no message {0} between routers")]
    Kind(u8),
    /// The sender is of another version of the program.
    #[error("a message between routers ({kind:?}) is of version {found}, not {known}")]
    Version {
        /// What it is.
        kind: MessageKind,
        /// The number of the call.
        number: u64,
        /// Its version.
        found: u8,
        /// The version that is known here.
        known: u8,
    },
    /// They are damaged.
    #[error("a message between routers ({kind:?}) is malformed: {why}")]
    Malformed {
        /// What it is.
        kind: MessageKind,
        /// The number of the call.
        number: u64,
        /// What is wrong.
        why: ArchiveError,
    },
}

impl WireError {
    /// What the message is about, where that can be told: who called is to be answered, whoever waits
    /// for an answer waits for nothing.
    pub fn about(&self) -> Option<(MessageKind, u64)> {
        match self {
            WireError::Short | WireError::Kind(_) => None,
            WireError::Version { kind, number, .. } | WireError::Malformed { kind, number, .. } => {
                Some((*kind, *number))
            }
        }
    }
}

/// What a call fails with that cannot be read, or whose answer cannot.
impl From<WireError> for SqlError {
    fn from(error: WireError) -> SqlError {
        SqlError::new(SqlState::PROTOCOL_VIOLATION, error.to_string())
    }
}

/// Appends a message; `sent` is the sender's clock.
///
/// # Errors
/// 54000 where something in it is too long to be sent. Nothing is appended then.
pub fn encode(message: &RouterMessage, sent: Timestamp, out: &mut Vec<u8>) -> Result<(), SqlError> {
    let start = out.len();
    let header = |out: &mut Vec<u8>, code: [u8; 2], number: u64| {
        out.extend_from_slice(&code);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&sent.0.to_le_bytes());
    };
    let written = match message {
        RouterMessage::Call { number, call } => {
            header(out, [1, CALL_VERSION], *number);
            archive::write(call, out)
        }
        RouterMessage::Answer { number, result } => {
            header(out, [2, ANSWER_VERSION], *number);
            archive::write(result, out)
        }
    };
    written.map_err(|why| {
        out.truncate(start);
        SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a message to another node is too long")
            .detail(why.to_string())
    })
}

/// Reads a message and the sender's clock; `bytes` is all of it.
///
/// # Errors
/// Where it is none. A link that brought such bytes is of another version of the program, or broken.
pub fn decode(bytes: &[u8]) -> Result<(RouterMessage, Timestamp), WireError> {
    let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(WireError::Short)?;
    let [code, found, rest @ ..] = *header;
    let [number, sent] = [&rest[..8], &rest[8..]].map(number_of);
    let (kind, known) = match code {
        1 => (MessageKind::Call, CALL_VERSION),
        2 => (MessageKind::Answer, ANSWER_VERSION),
        _ => return Err(WireError::Kind(code)),
    };
    if found != known {
        return Err(WireError::Version { kind, number, found, known });
    }
    let malformed = |why| WireError::Malformed { kind, number, why };
    let message = match kind {
        MessageKind::Call => {
            let call = archive::read::<Call>(body, DEPTH_MAX).map_err(malformed)?;
            RouterMessage::Call { number, call }
        }
        MessageKind::Answer => {
            let result = archive::read::<Result<Answer, SqlError>>(body, DEPTH_MAX);
            let result = result.map_err(malformed)?;
            RouterMessage::Answer { number, result }
        }
    };
    Ok((message, Timestamp(sent)))
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight of the header's bytes"))
}

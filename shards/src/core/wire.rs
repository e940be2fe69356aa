//! Messages of cores as bytes, for cores of other nodes. Inside a node they are not encoded.
//!
//! A message is a fixed header and an archive (see [`model::archive`]); the layout stands in
//! `docs/formats/wire.md`. The header says what the message is about even where the rest cannot be
//! read, so that a request in a form of another version is answered and not left waiting.
//!
//! What comes from elsewhere may be anything: [`decode`] validates all of it, and neither panics nor
//! allocates more than a constant times what it was given.

pub mod fuzzing;

use super::message::{CoreMessage, RequestId};
use model::archive::{self, ArchiveError};
use model::command::{Request, Response};
use model::error::{SqlError, SqlState};
use model::time::Timestamp;
use std::num::NonZeroUsize;

/// The form of requests that this node writes and reads: of their header and of the archive of a
/// [`Request`] with all that it holds.
pub const REQUEST_VERSION: u8 = 2;
/// The same, of responses and [`Response`].
pub const RESPONSE_VERSION: u8 = 2;
/// The same, of credits.
pub const CREDIT_VERSION: u8 = 1;
/// The same, of cancels.
pub const CANCEL_VERSION: u8 = 1;

/// References of a request that lead to each other: the binder nests a statement 1,000 deep, and a
/// level of it takes two at most where many follow each other (an operand and its implicit cast). A
/// plan so deep must still be dropped on the stack of a core.
const REQUEST_DEPTH_MAX: NonZeroUsize = NonZeroUsize::new(2_500).expect("not zero");

/// The same, of a response: rows are nested as deep as an array in a value is.
const RESPONSE_DEPTH_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// Kind, version, number of the request.
const HEADER_BYTES: usize = 10;
/// The sender's clock in a response.
const SENT_BYTES: usize = 8;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// [`CoreMessage::Request`]
    Request,
    /// [`CoreMessage::Response`]
    Response,
    /// [`CoreMessage::Credit`]
    Credit,
    /// [`CoreMessage::Cancel`]
    Cancel,
}

impl MessageKind {
    const ALL: [(MessageKind, u8, u8); 4] = [
        (MessageKind::Request, 1, REQUEST_VERSION),
        (MessageKind::Response, 2, RESPONSE_VERSION),
        (MessageKind::Credit, 3, CREDIT_VERSION),
        (MessageKind::Cancel, 4, CANCEL_VERSION),
    ];

    /// Its code and the version of its form.
    fn code(self) -> [u8; 2] {
        let (_, code, version) = MessageKind::ALL[self as usize];
        [code, version]
    }

    fn of_code(code: u8) -> Option<(MessageKind, u8)> {
        let listed = MessageKind::ALL.into_iter().find(|(_, listed, _)| *listed == code);
        listed.map(|(kind, _, version)| (kind, version))
    }
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// They are fewer than a header.
    #[error("a message between nodes is cut off")]
    Short,
    /// No message has this code.
    #[error("there is no message {0} between nodes")]
    Kind(u8),
    /// The sender is of another version of the program.
    #[error("a message between nodes ({kind:?}) is of version {found}, not {known}")]
    Version {
        /// What it is.
        kind: MessageKind,
        /// Which request it is about.
        id: RequestId,
        /// Its version.
        found: u8,
        /// The version that is known here.
        known: u8,
    },
    /// They are damaged.
    #[error("a message between nodes ({kind:?}) is malformed: {why}")]
    Malformed {
        /// What it is.
        kind: MessageKind,
        /// Which request it is about.
        id: RequestId,
        /// What is wrong.
        why: ArchiveError,
    },
    /// Something follows where nothing should.
    #[error("a message between nodes ({kind:?}) is too long")]
    Long {
        /// What it is.
        kind: MessageKind,
        /// Which request it is about.
        id: RequestId,
    },
}

impl WireError {
    /// What the message is about, where that can be told: who asked is to be answered, whoever waits
    /// for an answer waits for nothing.
    pub fn about(&self) -> Option<(MessageKind, RequestId)> {
        match self {
            WireError::Short | WireError::Kind(_) => None,
            WireError::Version { kind, id, .. }
            | WireError::Malformed { kind, id, .. }
            | WireError::Long { kind, id } => Some((*kind, *id)),
        }
    }
}

/// What a statement fails with whose request or answer cannot be read.
impl From<WireError> for SqlError {
    fn from(error: WireError) -> SqlError {
        SqlError::new(SqlState::PROTOCOL_VIOLATION, error.to_string())
    }
}

/// Appends a message.
///
/// # Errors
/// 54000 where something in it is too long to be sent. Nothing is appended then.
pub fn encode(message: &CoreMessage, out: &mut Vec<u8>) -> Result<(), SqlError> {
    let start = out.len();
    let header = |out: &mut Vec<u8>, kind: MessageKind, id: &RequestId| {
        out.extend_from_slice(&kind.code());
        out.extend_from_slice(&id.0.to_le_bytes());
    };
    let written = match message {
        CoreMessage::Request { id, request } => {
            header(out, MessageKind::Request, id);
            archive::write(request, out)
        }
        CoreMessage::Response { id, sent, response } => {
            header(out, MessageKind::Response, id);
            out.extend_from_slice(&sent.0.to_le_bytes());
            archive::write(response, out)
        }
        CoreMessage::Credit { id } => {
            header(out, MessageKind::Credit, id);
            Ok(())
        }
        CoreMessage::Cancel { id } => {
            header(out, MessageKind::Cancel, id);
            Ok(())
        }
    };
    written.map_err(|why| {
        out.truncate(start);
        SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a message to another node is too long")
            .detail(why.to_string())
    })
}

/// Reads a message; `bytes` is all of it.
///
/// # Errors
/// Where it is none. A link that brought such bytes is of another version of the program, or broken.
pub fn decode(bytes: &[u8]) -> Result<CoreMessage, WireError> {
    let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(WireError::Short)?;
    let [code, found, id @ ..] = *header;
    let id = RequestId(u64::from_le_bytes(id));
    let (kind, known) = MessageKind::of_code(code).ok_or(WireError::Kind(code))?;
    if found != known {
        return Err(WireError::Version { kind, id, found, known });
    }
    let malformed = |why| WireError::Malformed { kind, id, why };
    match kind {
        MessageKind::Request => {
            let request = archive::read::<Request>(body, REQUEST_DEPTH_MAX).map_err(malformed)?;
            Ok(CoreMessage::Request { id, request })
        }
        MessageKind::Response => {
            let (sent, body) = body.split_first_chunk::<SENT_BYTES>().ok_or(WireError::Short)?;
            let sent = Timestamp(u64::from_le_bytes(*sent));
            let response =
                archive::read::<Response>(body, RESPONSE_DEPTH_MAX).map_err(malformed)?;
            Ok(CoreMessage::Response { id, sent, response })
        }
        MessageKind::Credit | MessageKind::Cancel if !body.is_empty() => {
            Err(WireError::Long { kind, id })
        }
        MessageKind::Credit => Ok(CoreMessage::Credit { id }),
        MessageKind::Cancel => Ok(CoreMessage::Cancel { id }),
    }
}

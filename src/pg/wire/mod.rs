//! The messages of the protocol: bytes to messages and back. Pure: no I/O, no session.

pub mod backend;
pub mod frontend;
pub mod startup;

use bytes::Bytes;
use model::error::{SqlError, SqlState};
use std::ops::Deref;

/// Bytes that are no message of the protocol. The connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A length that no message has, or that is over the limit.
    #[error("invalid message length")]
    Length,
    /// A first byte that no message has.
    #[error("invalid frontend message type {0}")]
    Kind(u8),
    /// The parts of a message do not fill it exactly.
    #[error("invalid message format")]
    Format,
    /// Text that is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    Encoding,
    /// A version that is not spoken here.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0")]
    Version {
        /// The client's major version.
        major: u16,
        /// The client's minor version.
        minor: u16,
    },
    /// A start-up packet whose parameters cannot be read.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Startup,
}

impl WireError {
    /// What the client is told before the connection ends.
    pub fn to_error(&self) -> SqlError {
        let state = match self {
            WireError::Encoding => SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            WireError::Version { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            _ => SqlState::PROTOCOL_VIOLATION,
        };
        SqlError::new(state, self.to_string())
    }
}

/// Text of a message, in the buffer that it arrived in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// # Errors
    /// The bytes are not UTF-8.
    pub fn new(bytes: Bytes) -> Result<Text, WireError> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Text(bytes)),
            Err(_) => Err(WireError::Encoding),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was read")
    }
}

/// Takes a message apart, from its front.
pub struct Reader(Bytes);

impl Reader {
    /// Of the bytes behind the length.
    pub fn new(payload: Bytes) -> Reader {
        Reader(payload)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, WireError> {
        if length > self.0.len() {
            return Err(WireError::Format);
        }
        Ok(self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.take(N)?;
        bytes.as_ref().try_into().map_err(|_| WireError::Format)
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    fn int16(&mut self) -> Result<i16, WireError> {
        self.array().map(i16::from_be_bytes)
    }

    fn int32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Text up to a zero.
    fn text(&mut self) -> Result<Text, WireError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(WireError::Format)?;
        let bytes = self.0.split_to(end);
        self.byte()?;
        Text::new(bytes)
    }

    /// A number of things, each read by `read`.
    fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Reader) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        // As an unsigned number: PostgreSQL's clients send up to 65,535 parameters.
        let count = self.int16()? as u16;
        (0..count).map(|_| read(self)).collect()
    }

    /// Whatever is left.
    fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    /// Nothing may be left.
    fn end<T>(self, message: T) -> Result<T, WireError> {
        if self.0.is_empty() { Ok(message) } else { Err(WireError::Format) }
    }
}

//! What a client sends.

use crate::codec::{Malformed, Reader, Wire, decode_all, wire_struct};
use crate::frame::{self, CONNECTION, Frame, FrameError, Kind, StreamId};
use bytes::{Bytes, BytesMut};
use model::types::DataType;
use model::value::Value;

/// `PHDB` on the wire: a stranger that happens to frame well is still noticed.
pub const MAGIC: u32 = u32::from_le_bytes(*b"PHDB");

/// Oldest version this build speaks.
pub const PROTOCOL_VERSION_MIN: u16 = 1;

/// Newest version this build speaks.
pub const PROTOCOL_VERSION_MAX: u16 = 1;

wire_struct! {
    /// The first message of a connection.
    pub struct Hello {
        /// [`MAGIC`].
        pub magic: u32,
        /// Oldest version the client speaks.
        pub version_min: u16,
        /// Newest version the client speaks.
        pub version_max: u16,
        /// Who.
        pub user: String,
        /// Where to.
        pub database: String,
        /// What lists of sessions show.
        pub application: String,
        /// Initial window of every stream, in bytes, 1 or more.
        pub window: u32,
        /// Applied in order before the first request, as `SET` would.
        pub settings: Vec<(String, String)>,
    }
}

wire_struct! {
    /// Parse and plan one statement under a number of the client's choice.
    pub struct Prepare {
        /// The number.
        pub statement: u32,
        /// The statement's text.
        pub text: String,
        /// Types of the first parameters; the server decides the rest and the unknown ones.
        pub parameters: Vec<DataType>,
    }
}

/// Run a prepared statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Execute {
    /// Its number.
    pub statement: u32,
    /// One value a parameter.
    pub parameters: Vec<Value>,
}

impl Wire for Execute {
    fn encode(&self, out: &mut BytesMut) {
        self.statement.encode(out);
        self.parameters.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Execute { statement: u32::decode(input)?, parameters: Vec::decode(input)? })
    }
}

/// What a server may receive.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientMessage {
    /// Who it is; first of all.
    Hello(Hello),
    /// Answer to the server's `Authenticate`.
    Authentication(Bytes),
    /// One or more statements as text.
    Query(String),
    /// Prepare a statement.
    Prepare(Prepare),
    /// Run a prepared statement.
    Execute(Execute),
    /// Forget a prepared statement.
    CloseStatement(u32),
    /// Give up the request on this stream.
    Cancel,
    /// Bytes to add to this stream's window.
    Credit(u32),
    /// To be answered with the same number.
    Ping(u64),
    /// No more requests.
    Goodbye,
}

impl ClientMessage {
    /// The kind of frame that carries it.
    pub fn kind(&self) -> Kind {
        match self {
            ClientMessage::Hello(_) => Kind::Hello,
            ClientMessage::Authentication(_) => Kind::Authentication,
            ClientMessage::Query(_) => Kind::Query,
            ClientMessage::Prepare(_) => Kind::Prepare,
            ClientMessage::Execute(_) => Kind::Execute,
            ClientMessage::CloseStatement(_) => Kind::CloseStatement,
            ClientMessage::Cancel => Kind::Cancel,
            ClientMessage::Credit(_) => Kind::Credit,
            ClientMessage::Ping(_) => Kind::Ping,
            ClientMessage::Goodbye => Kind::Goodbye,
        }
    }

    /// Appends the message as a frame of `stream`.
    pub fn write(&self, out: &mut BytesMut, stream: StreamId) {
        frame::write(out, self.kind(), stream, false, |payload| match self {
            ClientMessage::Hello(message) => message.encode(payload),
            ClientMessage::Authentication(answer) => answer.encode(payload),
            ClientMessage::Query(text) => text.encode(payload),
            ClientMessage::Prepare(message) => message.encode(payload),
            ClientMessage::Execute(message) => message.encode(payload),
            ClientMessage::CloseStatement(statement) => statement.encode(payload),
            ClientMessage::Credit(bytes) => bytes.encode(payload),
            ClientMessage::Ping(number) => number.encode(payload),
            ClientMessage::Cancel | ClientMessage::Goodbye => {}
        });
    }

    /// Reads the message of a frame that a client sent.
    pub fn read(frame: &Frame) -> Result<ClientMessage, FrameError> {
        let malformed = |cause| FrameError::Malformed { kind: frame.kind, cause };
        let message = ClientMessage::read_payload(frame.kind, &frame.payload).map_err(malformed)?;
        if message.is_of_connection() != (frame.stream == CONNECTION) {
            return Err(malformed(Malformed::WrongStream));
        }
        Ok(message)
    }

    fn read_payload(kind: Kind, payload: &[u8]) -> Result<ClientMessage, Malformed> {
        Ok(match kind {
            Kind::Hello => ClientMessage::Hello(decode_all(payload)?),
            Kind::Authentication => ClientMessage::Authentication(decode_all(payload)?),
            Kind::Query => ClientMessage::Query(decode_all(payload)?),
            Kind::Prepare => ClientMessage::Prepare(decode_all(payload)?),
            Kind::Execute => ClientMessage::Execute(decode_all(payload)?),
            Kind::CloseStatement => ClientMessage::CloseStatement(decode_all(payload)?),
            Kind::Credit => ClientMessage::Credit(decode_all(payload)?),
            Kind::Ping => ClientMessage::Ping(decode_all(payload)?),
            Kind::Cancel => {
                Reader::new(payload).finish()?;
                ClientMessage::Cancel
            }
            Kind::Goodbye => {
                Reader::new(payload).finish()?;
                ClientMessage::Goodbye
            }
            _ => return Err(Malformed::WrongDirection),
        })
    }

    fn is_of_connection(&self) -> bool {
        matches!(
            self,
            ClientMessage::Hello(_)
                | ClientMessage::Authentication(_)
                | ClientMessage::Ping(_)
                | ClientMessage::Goodbye
        )
    }
}

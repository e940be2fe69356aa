//! What a server sends.

use super::{Placement, Report, TransactionStatus};
use crate::codec::{Malformed, Wire, decode_all, wire_struct};
use crate::frame::{self, CONNECTION, Frame, FrameError, Kind, StreamId};
use crate::rows::RowBatch;
use bytes::{Bytes, BytesMut};
use model::types::DataType;

wire_struct! {
    /// One step of the exchange in which the client proves who it is.
    pub struct Authenticate {
        /// What the step is: [`Authenticate::SCRAM_SHA_256`] and those that follow it.
        pub step: u8,
        /// What the step carries.
        pub data: Bytes,
    }
}

impl Authenticate {
    /// The client is asked to begin [`crate::scram`]; carries nothing.
    pub const SCRAM_SHA_256: u8 = 1;
    /// Carries the server's first message; the client answers with its last one.
    pub const SCRAM_CONTINUE: u8 = 2;
    /// Carries the server's last message: the client has proved itself. It answers nothing.
    pub const SCRAM_FINAL: u8 = 3;
}

wire_struct! {
    /// The session is there.
    pub struct Welcome {
        /// The version both speak from here on.
        pub version: u16,
        /// The server's own version, for display.
        pub server: String,
        /// The node where the session lives.
        pub node: u32,
        /// The core where the session lives.
        pub core: u16,
        /// Names the session, until the node restarts.
        pub session: u64,
        /// Longest payload the server takes, in bytes.
        pub frame_max: u32,
        /// Most requests in flight.
        pub streams_max: u32,
        /// Most payload of requests in flight, in bytes.
        pub request_bytes_max: u64,
        /// Who leads which partition.
        pub placement: Placement,
    }
}

wire_struct! {
    /// A column of a result.
    pub struct Column {
        /// Its name or alias.
        pub name: String,
        /// Its type.
        pub data_type: DataType,
        /// The table it is read from, where it is no expression.
        pub table: Option<String>,
    }
}

wire_struct! {
    /// A statement is done.
    pub struct Complete {
        /// Where the session stands now.
        pub transaction: TransactionStatus,
        /// Rows returned or changed.
        pub rows: u64,
        /// PostgreSQL's command tag.
        pub tag: String,
    }
}

wire_struct! {
    /// A statement is prepared.
    pub struct Prepared {
        /// Its number.
        pub statement: u32,
        /// Every parameter's type.
        pub parameters: Vec<DataType>,
        /// Columns of its rows; none where it has no rows.
        pub columns: Vec<Column>,
        /// For a point statement the parameters, from 0, that are the partition columns, in order.
        pub routing: Vec<u16>,
    }
}

/// What a client may receive.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerMessage {
    /// Prove who you are.
    Authenticate(Authenticate),
    /// The handshake is done.
    Welcome(Welcome),
    /// Columns of the rows that follow.
    RowDescription(Vec<Column>),
    /// Some rows.
    Rows(RowBatch),
    /// A statement is done.
    Complete(Complete),
    /// A statement or the connection failed.
    Error(Report),
    /// Something worth telling.
    Notice(Report),
    /// A statement is prepared.
    Prepared(Prepared),
    /// The number of the ping.
    Pong(u64),
    /// The server drains.
    Draining(Report),
    /// A newer placement map.
    Placement(Placement),
}

impl ServerMessage {
    /// The kind of frame that carries it.
    pub fn kind(&self) -> Kind {
        match self {
            ServerMessage::Authenticate(_) => Kind::Authenticate,
            ServerMessage::Welcome(_) => Kind::Welcome,
            ServerMessage::RowDescription(_) => Kind::RowDescription,
            ServerMessage::Rows(_) => Kind::Rows,
            ServerMessage::Complete(_) => Kind::Complete,
            ServerMessage::Error(_) => Kind::Error,
            ServerMessage::Notice(_) => Kind::Notice,
            ServerMessage::Prepared(_) => Kind::Prepared,
            ServerMessage::Pong(_) => Kind::Pong,
            ServerMessage::Draining(_) => Kind::Draining,
            ServerMessage::Placement(_) => Kind::Placement,
        }
    }

    /// Appends the message as a frame of `stream`; `end` closes the stream.
    pub fn write(&self, out: &mut BytesMut, stream: StreamId, end: bool) {
        frame::write(out, self.kind(), stream, end, |payload| match self {
            ServerMessage::Authenticate(message) => message.encode(payload),
            ServerMessage::Welcome(message) => message.encode(payload),
            ServerMessage::RowDescription(columns) => columns.encode(payload),
            ServerMessage::Rows(rows) => payload.extend_from_slice(rows.payload()),
            ServerMessage::Complete(message) => message.encode(payload),
            ServerMessage::Error(report)
            | ServerMessage::Notice(report)
            | ServerMessage::Draining(report) => report.encode(payload),
            ServerMessage::Prepared(message) => message.encode(payload),
            ServerMessage::Pong(number) => number.encode(payload),
            ServerMessage::Placement(map) => map.encode(payload),
        });
    }

    /// Reads the message of a frame that a server sent.
    pub fn read(frame: &Frame) -> Result<ServerMessage, FrameError> {
        let malformed = |cause| FrameError::Malformed { kind: frame.kind, cause };
        let message = ServerMessage::read_payload(frame.kind, &frame.payload).map_err(malformed)?;
        let fits = match message {
            ServerMessage::Error(_) | ServerMessage::Notice(_) => true,
            ServerMessage::RowDescription(_)
            | ServerMessage::Rows(_)
            | ServerMessage::Complete(_)
            | ServerMessage::Prepared(_) => frame.stream != CONNECTION,
            _ => frame.stream == CONNECTION,
        };
        if fits { Ok(message) } else { Err(malformed(Malformed::WrongStream)) }
    }

    fn read_payload(kind: Kind, payload: &Bytes) -> Result<ServerMessage, Malformed> {
        Ok(match kind {
            Kind::Authenticate => ServerMessage::Authenticate(decode_all(payload)?),
            Kind::Welcome => ServerMessage::Welcome(decode_all(payload)?),
            Kind::RowDescription => ServerMessage::RowDescription(decode_all(payload)?),
            Kind::Rows => ServerMessage::Rows(RowBatch::new(payload.clone())?),
            Kind::Complete => ServerMessage::Complete(decode_all(payload)?),
            Kind::Error => ServerMessage::Error(decode_all(payload)?),
            Kind::Notice => ServerMessage::Notice(decode_all(payload)?),
            Kind::Prepared => ServerMessage::Prepared(decode_all(payload)?),
            Kind::Pong => ServerMessage::Pong(decode_all(payload)?),
            Kind::Draining => ServerMessage::Draining(decode_all(payload)?),
            Kind::Placement => ServerMessage::Placement(decode_all(payload)?),
            _ => return Err(Malformed::WrongDirection),
        })
    }
}

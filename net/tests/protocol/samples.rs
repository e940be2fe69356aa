//! The messages of the golden vectors, by name.

use bytes::{Bytes, BytesMut};
use model::error::{ErrorFields, SqlError, SqlState};
use model::id::{CoreId, NodeId};
use model::moment::TimeTz;
use model::numeric::Numeric;
use model::placement::Place;
use model::types::{
    DataType, ElementType, IntervalFields, NumericLimits, RegKind, TimeLimits, TimeType,
};
use model::value::{Interval, Value};
use net::frame::StreamId;
use net::message::{
    Authenticate, ClientMessage, Column, Complete, Execute, Hello, MAGIC, NODE_MAGIC,
    NodeChallenge, NodeHello, NodeMessage, NodePong, NodeProof, NodeRefused, NodeRelay,
    NodeWelcome, PROOF_BYTES, PlaceEntry, Placement, Prepare, Prepared, Report, ServerMessage,
    Severity, TransactionStatus, Welcome,
};
use net::rows::RowsWriter;

/// A golden frame: file name, what it is, bytes.
pub struct Sample {
    pub name: &'static str,
    pub about: &'static str,
    pub bytes: Vec<u8>,
}

/// One value of each kind.
pub fn values() -> Vec<Value> {
    vec![
        Value::Null,
        Value::Bool(true),
        Value::Int(-2),
        Value::Float(1.5),
        Value::Numeric("-12.50".parse().unwrap()),
        Value::Numeric(Numeric::NAN),
        Value::Numeric(Numeric::NEGATIVE_INFINITY),
        Value::from("héllo"),
        Value::Bytes(vec![0, 255].into()),
        Value::Date(-1),
        Value::Time(86_399_999_999),
        Value::Timestamp(1),
        Value::Interval(Interval { months: 1, days: -2, micros: 3 }),
        Value::Uuid(*b"0123456789abcdef"),
        Value::array(vec![Value::Int(7), Value::Null]),
        Value::TimeTz(TimeTz { micros: 45_296_000_000, zone: -7_200 }),
    ]
}

/// One type of each kind.
pub fn types() -> Vec<DataType> {
    vec![
        DataType::Unknown,
        DataType::Bool,
        DataType::Int2,
        DataType::Int4,
        DataType::Int8,
        DataType::Float4,
        DataType::Float8,
        DataType::Numeric(None),
        DataType::Numeric(Some(NumericLimits { precision: 10, scale: 2 })),
        DataType::Text,
        DataType::Varchar(20),
        DataType::Char(3),
        DataType::Bytea,
        DataType::Date,
        DataType::Time,
        DataType::TimeTz,
        DataType::Timestamp,
        DataType::TimestampTz,
        DataType::Interval,
        DataType::Limited(TimeLimits::digits(TimeType::Timestamp, 3)),
        DataType::Limited(TimeLimits::fields(IntervalFields::DayToSecond, Some(2))),
        DataType::Uuid,
        DataType::Oid,
        DataType::Name,
        DataType::InternalChar,
        DataType::Reg(RegKind::Class),
        DataType::Json,
        DataType::Jsonb,
        DataType::Void,
        DataType::Int2Vector,
        DataType::OidVector,
        DataType::Array(ElementType::Varchar(20)),
    ]
}

fn placement() -> Placement {
    let place = |core: u16, port: u16| PlaceEntry {
        node: 1,
        core,
        address: if port == 0 { String::new() } else { format!("127.0.0.1:{port}") },
    };
    Placement { version: 3, places: vec![place(0, 7500), place(1, 0)], leaders: vec![0, 1, 0] }
}

fn report(severity: Severity) -> Report {
    let error = SqlError::from_fields(ErrorFields {
        state: SqlState::UNIQUE_VIOLATION,
        message: "duplicate key value violates unique constraint \"item_pkey\"".into(),
        detail: Some("Key (id)=(7) already exists.".to_owned()),
        hint: None,
        position: Some(13),
        schema: Some("public".to_owned()),
        table: Some("item".to_owned()),
        column: None,
        constraint: Some("item_pkey".to_owned()),
        context: None,
        routine: None,
    });
    Report::new(severity, TransactionStatus::Failed, error)
}

fn columns() -> Vec<Column> {
    let column = |name: &str, data_type, table: Option<&str>| Column {
        name: name.to_owned(),
        data_type,
        table: table.map(str::to_owned),
    };
    vec![
        column("id", DataType::Int4, Some("item")),
        column("price", DataType::Numeric(Some(NumericLimits { precision: 10, scale: 2 })), None),
    ]
}

/// Every message of a client.
pub fn client() -> Vec<(&'static str, &'static str, u32, ClientMessage)> {
    vec![
        (
            "hello",
            "Hello: versions 1 to 1, phantom@phantom, window 1 MiB, one setting",
            0,
            ClientMessage::Hello(Hello {
                magic: MAGIC,
                version_min: 1,
                version_max: 1,
                user: "phantom".to_owned(),
                database: "phantom".to_owned(),
                application: "vectors".to_owned(),
                window: 1 << 20,
                settings: vec![("timezone".to_owned(), "UTC".to_owned())],
            }),
        ),
        (
            "authentication",
            "Authentication: the beginning of a proof",
            0,
            ClientMessage::Authentication(Bytes::from_static(b"n,,n=,r=rOprNGfwEbeRWgbNEkqO")),
        ),
        (
            "query",
            "Query on stream 1: two statements",
            1,
            ClientMessage::Query("SELECT 1; SELECT 2".to_owned()),
        ),
        (
            "prepare",
            "Prepare on stream 2: statement 5, every type as a parameter",
            2,
            ClientMessage::Prepare(Prepare {
                statement: 5,
                text: "SELECT $1".to_owned(),
                parameters: types(),
            }),
        ),
        (
            "execute",
            "Execute on stream 3: statement 5, every kind of value as a parameter",
            3,
            ClientMessage::Execute(Execute { statement: 5, parameters: values() }),
        ),
        ("close_statement", "CloseStatement on stream 4", 4, ClientMessage::CloseStatement(5)),
        ("cancel", "Cancel of stream 3", 3, ClientMessage::Cancel),
        ("credit", "Credit of 65,536 bytes for stream 3", 3, ClientMessage::Credit(65_536)),
        ("ping", "Ping", 0, ClientMessage::Ping(0x0102_0304_0506_0708)),
        ("goodbye", "Goodbye", 0, ClientMessage::Goodbye),
    ]
}

/// Every message of a server but `Rows`.
pub fn server() -> Vec<(&'static str, &'static str, u32, bool, ServerMessage)> {
    let status = TransactionStatus::Open;
    vec![
        (
            "authenticate",
            "Authenticate: a proof by SCRAM-SHA-256, please",
            0,
            false,
            ServerMessage::Authenticate(Authenticate {
                step: Authenticate::SCRAM_SHA_256,
                data: Bytes::new(),
            }),
        ),
        (
            "authenticate_continue",
            "Authenticate: salt and rounds",
            0,
            false,
            ServerMessage::Authenticate(Authenticate {
                step: Authenticate::SCRAM_CONTINUE,
                data: Bytes::from_static(
                    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                      s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                ),
            }),
        ),
        (
            "authenticate_final",
            "Authenticate: the server's own proof",
            0,
            false,
            ServerMessage::Authenticate(Authenticate {
                step: Authenticate::SCRAM_FINAL,
                data: Bytes::from_static(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            }),
        ),
        (
            "welcome",
            "Welcome with a placement map of two cores, the second without a door",
            0,
            false,
            ServerMessage::Welcome(Welcome {
                version: 1,
                server: "0.1.0".to_owned(),
                node: 1,
                core: 1,
                session: 42,
                frame_max: 32 << 20,
                streams_max: 4096,
                request_bytes_max: 64 << 20,
                placement: placement(),
            }),
        ),
        (
            "row_description",
            "RowDescription on stream 1: id integer of item, price numeric(10,2)",
            1,
            false,
            ServerMessage::RowDescription(columns()),
        ),
        (
            "complete",
            "Complete on stream 1, END, in a transaction block",
            1,
            true,
            ServerMessage::Complete(Complete {
                transaction: status,
                rows: 1,
                tag: "INSERT 0 1".to_owned(),
            }),
        ),
        (
            "error",
            "Error on stream 1, END: 23505 with most fields",
            1,
            true,
            ServerMessage::Error(report(Severity::Error)),
        ),
        (
            "notice",
            "Notice on stream 1: the same fields as a warning",
            1,
            false,
            ServerMessage::Notice(report(Severity::Warning)),
        ),
        (
            "prepared",
            "Prepared on stream 2, END: routed by its first parameter",
            2,
            true,
            ServerMessage::Prepared(Prepared {
                statement: 5,
                parameters: vec![DataType::Int4],
                columns: columns(),
                routing: vec![0],
            }),
        ),
        ("pong", "Pong", 0, false, ServerMessage::Pong(0x0102_0304_0506_0708)),
        (
            "draining",
            "Draining: 57P01",
            0,
            false,
            ServerMessage::Draining(Report::new(
                Severity::Notice,
                TransactionStatus::Idle,
                SqlError::new(SqlState::ADMIN_SHUTDOWN, "the node drains"),
            )),
        ),
        (
            "placement",
            "Placement: the map of the welcome",
            0,
            false,
            ServerMessage::Placement(placement()),
        ),
    ]
}

/// Two rows of every kind of value, in reverse the second time.
pub fn rows_frame() -> Vec<u8> {
    let mut out = BytesMut::new();
    let values = values();
    let mut rows = RowsWriter::begin(&mut out, StreamId(1), values.len() as u16);
    rows.row(&mut out, values.iter().map(Value::as_ref));
    rows.row(&mut out, values.iter().rev().map(Value::as_ref));
    rows.finish(&mut out);
    out.to_vec()
}

/// All of them, as frames.
pub fn all() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (name, about, stream, message) in client() {
        let mut out = BytesMut::new();
        message.write(&mut out, StreamId(stream));
        samples.push(Sample { name, about, bytes: out.to_vec() });
    }
    for (name, about, stream, end, message) in server() {
        let mut out = BytesMut::new();
        message.write(&mut out, StreamId(stream), end);
        samples.push(Sample { name, about, bytes: out.to_vec() });
    }
    let about = "Rows on stream 1: two rows of every kind of value, the second in reverse";
    samples.push(Sample { name: "rows", about, bytes: rows_frame() });
    samples
}

/// What nodes say to each other: file name, what it is, stream, message.
pub fn nodes() -> Vec<(&'static str, &'static str, u32, NodeMessage)> {
    let place = |node, core| Place { node: NodeId(node), core: CoreId(core) };
    let body = || Bytes::from_static(b"body");
    vec![
        (
            "hello",
            "NodeHello: core 1 of node 2 means core 3 of node 4",
            0,
            NodeMessage::Hello(NodeHello {
                magic: NODE_MAGIC,
                version_min: 1,
                version_max: 2,
                cluster: 0x0102_0304_0506_0708,
                from: place(2, 1),
                incarnation: 5,
                to: place(4, 3),
                link_before: 6,
                build: "0.1.0".to_owned(),
                nonce: [0x11; PROOF_BYTES],
            }),
        ),
        (
            "challenge",
            "NodeChallenge of core 3 of node 4, version 1",
            0,
            NodeMessage::Challenge(NodeChallenge {
                version: 1,
                cluster: 0x0102_0304_0506_0708,
                from: place(4, 3),
                incarnation: 7,
                link: 8,
                build: "0.1.0".to_owned(),
                nonce: [0x22; PROOF_BYTES],
                clock: 1_764_000_000_000_000_000,
            }),
        ),
        (
            "proof",
            "NodeProof",
            0,
            NodeMessage::Proof(NodeProof {
                clock: 1_764_000_000_000_000_000,
                proof: [0x33; PROOF_BYTES],
            }),
        ),
        (
            "welcome",
            "NodeWelcome",
            0,
            NodeMessage::Welcome(NodeWelcome { proof: [0x44; PROOF_BYTES] }),
        ),
        (
            "refused",
            "NodeRefused: superseded by incarnation 9",
            0,
            NodeMessage::Refused(NodeRefused {
                code: 4,
                detail: 9,
                proof: [0x55; PROOF_BYTES],
                text: "superseded".to_owned(),
            }),
        ),
        ("ping", "NodePing", 0, NodeMessage::Ping(0x0102_0304_0506_0708)),
        (
            "pong",
            "NodePong",
            0,
            NodeMessage::Pong(NodePong {
                number: 0x0102_0304_0506_0708,
                clock: 1_764_000_000_000_000_000,
            }),
        ),
        ("post", "NodePost for Raft", 0, NodeMessage::Post { service: 3, body: body() }),
        (
            "call",
            "NodeCall on stream 7 for the engine, with a patience of 1.5 s",
            7,
            NodeMessage::Call { service: 1, patience: 1_500, body: body() },
        ),
        ("answer", "NodeAnswer on stream 7, END", 7, NodeMessage::Answer { body: body() }),
        ("fault", "NodeFault on stream 7, END: not answered", 7, NodeMessage::Fault(3)),
        (
            "relay",
            "NodeRelay of a call on stream 7, the second message of route 5",
            7,
            NodeMessage::Relay(NodeRelay {
                origin: place(2, 1),
                incarnation: 5,
                destination: place(4, 3),
                route: 5,
                sequence: 1,
                message: Box::new(NodeMessage::Call { service: 1, patience: 1_500, body: body() }),
            }),
        ),
    ]
}

/// The same as frames.
pub fn nodes_as_frames() -> Vec<Sample> {
    let frame = |(name, about, stream, message): (_, _, u32, NodeMessage)| {
        let mut out = BytesMut::new();
        message.write(&mut out, StreamId(stream));
        Sample { name, about, bytes: out.to_vec() }
    };
    nodes().into_iter().map(frame).collect()
}

//! Whatever can be said comes back the same.

use bytes::BytesMut;
use model::error::{ErrorFields, SqlError, SqlState};
use model::moment::TimeTz;
use model::numeric::{Numeric, Special};
use model::types::{DataType, ElementType, NumericLimits};
use model::value::{Interval, Value};
use net::frame::{Frame, FrameDecoder, StreamId};
use net::message::{
    Authenticate, ClientMessage, Column, Complete, Execute, Hello, PlaceEntry, Placement, Prepare,
    Prepared, Report, ServerMessage, Severity, TransactionStatus, Welcome,
};
use net::rows::{RowBatch, RowsWriter};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        (any::<i128>(), 0i64..100)
            .prop_map(|(digits, scale)| { Value::Numeric(Numeric::new(digits.into(), scale)) }),
        prop::sample::select(&Special::ALL[..])
            .prop_map(|special| Value::Numeric(Numeric::Special(special))),
        ".{0,40}".prop_map(Value::from),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<i32>().prop_map(Value::Date),
        any::<i64>().prop_map(Value::Time),
        any::<i64>().prop_map(Value::Timestamp),
        (any::<i32>(), any::<i32>())
            .prop_map(|(micros, zone)| Value::TimeTz(TimeTz { micros: micros.into(), zone })),
        (any::<i32>(), any::<i32>(), any::<i64>())
            .prop_map(|(months, days, micros)| Value::Interval(Interval { months, days, micros })),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        vec(option::of(any::<i64>()), 0..5)
            .prop_map(|numbers| Value::array(numbers.into_iter().map(Value::from).collect())),
    ]
}

fn data_type() -> impl Strategy<Value = DataType> {
    let limited = (1u16..=1000)
        .prop_flat_map(|precision| (Just(precision), 0..=precision))
        .prop_map(|(precision, scale)| NumericLimits { precision, scale });
    prop_oneof![
        Just(DataType::Unknown),
        Just(DataType::Bool),
        Just(DataType::Int4),
        Just(DataType::Float8),
        option::of(limited).prop_map(DataType::Numeric),
        Just(DataType::Text),
        (1..u32::MAX).prop_map(DataType::Varchar),
        (1..u32::MAX).prop_map(DataType::Char),
        Just(DataType::TimestampTz),
        Just(DataType::Uuid),
        Just(DataType::Oid),
        (1..u32::MAX).prop_map(|length| DataType::Array(ElementType::Varchar(length))),
    ]
}

/// An empty string is no string on the wire.
fn some_text() -> impl Strategy<Value = Option<String>> {
    option::of(".{1,20}")
}

fn status() -> impl Strategy<Value = TransactionStatus> {
    prop_oneof![
        Just(TransactionStatus::Idle),
        Just(TransactionStatus::Open),
        Just(TransactionStatus::Failed),
    ]
}

fn report() -> impl Strategy<Value = Report> {
    let severity = prop_oneof![Just(Severity::Error), Just(Severity::Fatal), Just(Severity::Info)];
    let fields = ("[0-9A-Z]{5}", ".{0,40}", vec(some_text(), 6), option::of(1..u32::MAX)).prop_map(
        |(state, message, mut texts, position)| {
            SqlError::from_fields(ErrorFields {
                state: SqlState(state.as_bytes().try_into().unwrap()),
                message: message.into(),
                detail: texts.pop().unwrap(),
                hint: texts.pop().unwrap(),
                position,
                schema: texts.pop().unwrap(),
                table: texts.pop().unwrap(),
                column: texts.pop().unwrap(),
                constraint: texts.pop().unwrap(),
                context: None,
                routine: None,
            })
        },
    );
    (severity, any::<bool>(), status(), fields).prop_map(
        |(severity, retryable, transaction, error)| Report {
            severity,
            retryable,
            transaction,
            error,
        },
    )
}

fn column() -> impl Strategy<Value = Column> {
    (".{0,20}", data_type(), some_text()).prop_map(|(name, data_type, table)| Column {
        name,
        data_type,
        table,
    })
}

fn placement() -> impl Strategy<Value = Placement> {
    let place = (any::<u32>(), any::<u16>(), ".{0,20}")
        .prop_map(|(node, core, address)| PlaceEntry { node, core, address });
    (any::<u64>(), vec(place, 1..10)).prop_flat_map(|(version, places)| {
        let indexes = vec(0..places.len() as u16, 0..50);
        indexes.prop_map(move |leaders| Placement { version, places: places.clone(), leaders })
    })
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    let hello = (
        any::<(u32, u16, u16, u32)>(),
        (".{0,20}", ".{0,20}", ".{0,20}"),
        vec((".{0,9}", ".{0,9}"), 0..4),
    )
        .prop_map(|((magic, version_min, version_max, window), names, settings)| Hello {
            magic,
            version_min,
            version_max,
            user: names.0,
            database: names.1,
            application: names.2,
            window,
            settings,
        });
    let prepare = (any::<u32>(), ".{0,60}", vec(data_type(), 0..9))
        .prop_map(|(statement, text, parameters)| Prepare { statement, text, parameters });
    let execute = (any::<u32>(), vec(value(), 0..9))
        .prop_map(|(statement, parameters)| Execute { statement, parameters });
    prop_oneof![
        hello.prop_map(ClientMessage::Hello),
        vec(any::<u8>(), 0..40).prop_map(|answer| ClientMessage::Authentication(answer.into())),
        ".{0,60}".prop_map(ClientMessage::Query),
        prepare.prop_map(ClientMessage::Prepare),
        execute.prop_map(ClientMessage::Execute),
        any::<u32>().prop_map(ClientMessage::CloseStatement),
        Just(ClientMessage::Cancel),
        any::<u32>().prop_map(ClientMessage::Credit),
        any::<u64>().prop_map(ClientMessage::Ping),
        Just(ClientMessage::Goodbye),
    ]
}

fn server_message() -> impl Strategy<Value = ServerMessage> {
    let welcome = (any::<(u16, u32, u16, u64)>(), any::<(u32, u32, u64)>(), ".{0,20}", placement())
        .prop_map(|((version, node, core, session), limits, server, placement)| Welcome {
            version,
            server,
            node,
            core,
            session,
            frame_max: limits.0,
            streams_max: limits.1,
            request_bytes_max: limits.2,
            placement,
        });
    let authenticate = (any::<u8>(), vec(any::<u8>(), 0..9))
        .prop_map(|(step, data)| Authenticate { step, data: data.into() });
    let complete = (status(), any::<u64>(), ".{0,20}")
        .prop_map(|(transaction, rows, tag)| Complete { transaction, rows, tag });
    let prepared =
        (any::<u32>(), vec(data_type(), 0..9), vec(column(), 0..9), vec(any::<u16>(), 0..4))
            .prop_map(|(statement, parameters, columns, routing)| Prepared {
                statement,
                parameters,
                columns,
                routing,
            });
    prop_oneof![
        authenticate.prop_map(ServerMessage::Authenticate),
        welcome.prop_map(ServerMessage::Welcome),
        vec(column(), 0..9).prop_map(ServerMessage::RowDescription),
        rows().prop_map(|rows| ServerMessage::Rows(batch(&rows))),
        complete.prop_map(ServerMessage::Complete),
        report().prop_map(ServerMessage::Error),
        report().prop_map(ServerMessage::Notice),
        prepared.prop_map(ServerMessage::Prepared),
        any::<u64>().prop_map(ServerMessage::Pong),
        report().prop_map(ServerMessage::Draining),
        placement().prop_map(ServerMessage::Placement),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Vec<Value>>> {
    (0usize..6).prop_flat_map(|width| vec(vec(value(), width), 1..9))
}

fn batch(rows: &[Vec<Value>]) -> RowBatch {
    let mut out = BytesMut::new();
    let mut writer = RowsWriter::begin(&mut out, StreamId(1), rows[0].len() as u16);
    for row in rows {
        writer.row(&mut out, row.iter().map(Value::as_ref));
    }
    writer.finish(&mut out);
    RowBatch::new(frame(out).payload).unwrap()
}

fn frame(bytes: BytesMut) -> Frame {
    let mut decoder = FrameDecoder::new(1 << 20);
    decoder.feed(bytes.freeze());
    decoder.next_frame().unwrap().unwrap()
}

/// Text that shows what equality hides: display scales of numerics, NaN.
fn shown(rows: &[Vec<Value>]) -> String {
    format!("{rows:?}")
}

proptest! {
    #[test]
    fn client_messages(message in client_message()) {
        let of_connection = matches!(
            message,
            ClientMessage::Hello(_)
                | ClientMessage::Authentication(_)
                | ClientMessage::Ping(_)
                | ClientMessage::Goodbye
        );
        let mut out = BytesMut::new();
        message.write(&mut out, StreamId(u32::from(!of_connection)));
        prop_assert_eq!(ClientMessage::read(&frame(out)).unwrap(), message);
    }

    #[test]
    fn server_messages(message in server_message(), end in any::<bool>()) {
        let of_stream = matches!(
            message,
            ServerMessage::RowDescription(_)
                | ServerMessage::Rows(_)
                | ServerMessage::Complete(_)
                | ServerMessage::Error(_)
                | ServerMessage::Notice(_)
                | ServerMessage::Prepared(_)
        );
        let mut out = BytesMut::new();
        message.write(&mut out, StreamId(u32::from(of_stream) * 9), end);
        let frame = frame(out);
        prop_assert_eq!(frame.end, end);
        prop_assert_eq!(ServerMessage::read(&frame).unwrap(), message);
    }

    #[test]
    fn rows_of_values(rows in rows()) {
        prop_assert_eq!(shown(&batch(&rows).to_rows().unwrap()), shown(&rows));
    }

    #[test]
    fn frames_cut_anywhere(messages in vec(client_message(), 1..6), size in 1usize..200) {
        let mut out = BytesMut::new();
        for message in &messages {
            message.write(&mut out, StreamId(1));
        }
        let mut decoder = FrameDecoder::new(1 << 20);
        let mut kinds = Vec::new();
        for piece in out.chunks(size) {
            decoder.feed(bytes::Bytes::copy_from_slice(piece));
            while let Some(frame) = decoder.next_frame().unwrap() {
                kinds.push(frame.kind);
            }
        }
        let expected: Vec<_> = messages.iter().map(ClientMessage::kind).collect();
        prop_assert_eq!(kinds, expected);
    }
}

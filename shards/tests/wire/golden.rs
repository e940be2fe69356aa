//! The bytes of a few messages of each kind, as they were when their version was given out.
//!
//! Where one of these fails a layout has changed: nodes of the last release would not understand it.
//! Raise the kind's version in `core/wire.rs`, keep reading the older one if there is a release of it,
//! and write the files anew with `PHANTOM_GOLDEN=write`.

use super::{encoded, read_of, request, values};
use model::batch::{Batch, Column, IntKind};
use model::command::{Effect, KeyConflict, Modified, Outcome, RequestBody, Response, RoutedEffect};
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, Expression};
use model::id::{CoreId, Mark, NodeId, PartitionId, TxnId};
use model::time::Timestamp;
use model::types::DataType;
use model::value::Value;
use shards::core::{CoreMessage, RequestId};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TXN: TxnId =
    TxnId { began: Timestamp(0x0102_0304_0506_0708), node: NodeId(0x0a0b_0c0d), core: CoreId(2) };

fn response(response: Response) -> CoreMessage {
    CoreMessage::Response { id: RequestId(0x1234), sent: Timestamp(77), response }
}

fn batch() -> Batch {
    let ints = Column::from_ints(IntKind::Int, vec![1, -2, 0], vec![false, false, true]);
    let texts = ["one", "", "three and more"].map(Value::from).to_vec();
    let others = vec![Value::Null, Value::Numeric("1.50".parse().expect("a number")), 7.into()];
    let columns = vec![
        ints,
        Column::from_values(DataType::Text, texts),
        Column::from_values(DataType::Numeric(None), others),
    ];
    Batch::new(3, columns)
}

fn error() -> SqlError {
    SqlError::new(SqlState::UNIQUE_VIOLATION, "duplicate key")
        .detail("Key (id)=(1) already exists.")
        .table("public", "t")
        .constraint("t_pkey")
        .routine("ExecConstraints")
}

fn messages() -> Vec<(&'static str, CoreMessage)> {
    let sum = Expression::Binary {
        operator: BinaryOperator::Add,
        left: Box::new(Expression::Parameter { index: 0, data_type: DataType::Int8 }),
        right: Box::new(Expression::literal("a text of some length", DataType::Varchar(30))),
        data_type: DataType::Int8,
    };
    let conflict = Arc::new(KeyConflict { error: error() });
    let claim = Effect::ClaimKey { key: vec![1, 2, 3], value: vec![4], conflict };
    let modified = Modified {
        rows: 3,
        returning: vec![batch()],
        effects: vec![RoutedEffect { hash: 99, effect: claim.clone() }],
        lost: vec![1],
        committed: Some(Timestamp(6)),
    };
    let stage = RequestBody::Stage {
        txn: TXN,
        effects: vec![claim],
        mark: Some(Mark(4)),
        lock_timeout: Some(Duration::from_millis(1_500)),
    };
    let not_after = Timestamp(7);
    let participants = vec![PartitionId(1), PartitionId(2)];
    let decide = RequestBody::Decide { txn: TXN, commit: Timestamp(8), participants };
    vec![
        ("request_read", read_of(values(sum))),
        ("request_stage", request(stage)),
        ("request_decide", request(decide)),
        ("request_commit", request(RequestBody::CommitOnePhase { txn: TXN, not_after })),
        ("request_rollback", request(RequestBody::Rollback { txn: TXN })),
        ("response_rows", response(Response::Rows(batch()))),
        ("response_modified", response(Response::Modified(modified))),
        ("response_aside", response(Response::Aside(Timestamp(9)))),
        ("response_decided", response(Response::Decided(Outcome::Committed(Timestamp(5))))),
        ("response_failed", response(Response::Failed(error()))),
        ("credit", CoreMessage::Credit { id: RequestId(0x0102_0304_0506_0708) }),
        ("cancel", CoreMessage::Cancel { id: RequestId(2) }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        text.push('\n');
    }
    text
}

#[test]
fn messages_have_the_bytes_that_they_had() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire");
    for (name, message) in messages() {
        let path = folder.join(format!("{name}.hex"));
        let found = hex(&encoded(&message));
        if std::env::var_os("PHANTOM_GOLDEN").is_some_and(|how| how == "write") {
            std::fs::write(&path, &found).expect("the folder is there");
        }
        let expected = std::fs::read_to_string(&path).expect("the file is there");
        assert_eq!(found, expected, "the layout of {name} has changed");
    }
}

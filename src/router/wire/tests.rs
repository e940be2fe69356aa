use super::*;
use crate::catalog::{Catalog, Sequence};
use crate::cluster::decide::{Liveness, Wanted};
use crate::cluster::groups::{Extent, Members, ReplicaReport};
use crate::cluster::orders::{MemberChange, Order, What};
use crate::cluster::wants::Wish;
use crate::router::cluster::{ClusterAnswer, ClusterCall};
use crate::router::deadlocks::{RouterWait, Sought, WaitId};
use crate::router::gates::{GateReport, GateWait, Holder, InTheWay};
use crate::router::lease::{LeaseAnswer, LeaseCall};
use crate::router::peers::{CancelKey, Publication};
use crate::router::presence::{Activity, Backend};
use crate::router::sagas::{SagaAnswer, SagaCall, Tried};
use crate::router::sequences::{Run, SequenceAnswer, SequenceQuestion, SequenceRequest};
use crate::router::snapshots::{Exported, SnapshotNumber};
use crate::router::statistics::{Counted, Counts};
use crate::txn::saga::SagaId;
use bytes::Bytes;
use model::command::Isolation;
use model::id::{CatalogVersion, CoreId, LogIndex, NodeId, ObjectId, PartitionId, Term, TxnId};
use model::placement::Place;
use model::types::DataType;
use shards::core::{LockMode, LockReport, ReportedWait, TxnReport, TxnState, WaitNumber};
use shards::exec::backends::Signal;
use shards::exec::sequences::SequenceState;
use std::sync::Arc;
use std::time::Duration;

const TXN: TxnId = TxnId { began: Timestamp(u64::MAX - 1), node: NodeId(70_000), core: CoreId(3) };
const OTHER: TxnId = TxnId { began: Timestamp(1), node: NodeId(1), core: CoreId(0) };

const PLACE: Place = Place { node: NodeId(3), core: CoreId(2) };

fn tables() -> Arc<[ObjectId]> {
    Arc::from([ObjectId(1_000), ObjectId(1_001)])
}

fn sequence() -> Sequence {
    Sequence {
        id: ObjectId(1),
        state: ObjectId(2),
        schema: "public".to_owned(),
        name: "a_sequence_of_a_table".to_owned(),
        data_type: DataType::Int4,
        increment: -1,
        min_value: i64::MIN,
        max_value: -1,
        start: -1,
        first: -5,
        cache: 20,
        cycle: true,
        owned_by: Some((ObjectId(3), 4)),
    }
}

fn error() -> SqlError {
    SqlError::new(SqlState::DEADLOCK_DETECTED, "deadlock detected").detail("Process 1 waits.")
}

/// Every call, and the number of kinds: a new one does not compile here.
fn calls() -> Vec<Call> {
    let change = TXN;
    let count = match Call::Backends {
        Call::BeginChange { .. }
        | Call::EndChange { .. }
        | Call::CloseGates { .. }
        | Call::OpenGates(..)
        | Call::Publish(_)
        | Call::CancelByKey(_)
        | Call::Signal(..)
        | Call::Backends
        | Call::Locks
        | Call::SearchDeadlocks
        | Call::GateWaits
        | Call::Transactions
        | Call::Waits
        | Call::SessionsOf(_)
        | Call::Sacrifice(..)
        | Call::HoldSnapshot(..)
        | Call::ReleaseSnapshot(_)
        | Call::Statistics
        | Call::Exported(_)
        | Call::CountSessions
        | Call::Saga(_)
        | Call::Sequence(_)
        | Call::Lease(_)
        | Call::IsChanging(_)
        | Call::Settle(_)
        | Call::Cluster(_) => 26,
    };
    let snapshot = SnapshotNumber { place: PLACE, count: 1 << 40 };
    let ask = |what| Call::Sequence(SequenceRequest { sequence: Arc::new(sequence()), what });
    let calls = vec![
        Call::BeginChange { change, limit: Some(Duration::from_nanos(1_500_000_001)) },
        Call::EndChange { change, version: CatalogVersion(9), in_doubt: true },
        Call::CloseGates {
            change,
            by: Holder::Session(77),
            tables: tables(),
            limit: Duration::from_secs(1),
        },
        Call::OpenGates(TXN, tables()),
        Call::Publish(Publication::Stored(CatalogVersion(12))),
        Call::CancelByKey(CancelKey { process: 1, secret: u32::MAX }),
        Call::Signal(u32::MAX, Signal::Terminate),
        Call::Backends,
        Call::Locks,
        Call::SearchDeadlocks,
        Call::GateWaits,
        Call::Transactions,
        Call::Waits,
        Call::SessionsOf(Arc::from([TXN, OTHER])),
        Call::Sacrifice(WaitId::Gate(WaitNumber(5)), error()),
        Call::HoldSnapshot(snapshot, Timestamp(8)),
        Call::ReleaseSnapshot(snapshot),
        Call::Statistics,
        Call::Exported(4),
        Call::CountSessions,
        Call::Saga(SagaCall::Compensate(SagaId(-1))),
        ask(SequenceQuestion::Set { value: -7, called: true }),
        Call::Lease(LeaseCall::Renew { node: NodeId(70_000), cores: 64, holds: true }),
        Call::IsChanging(TXN),
        Call::Settle(OTHER),
        order(What::Change { seen: members(), change: MemberChange::Vote(vec![NodeId(4)]) }),
    ];
    assert_eq!(calls.len(), count);
    let more = [
        Call::BeginChange { change, limit: None },
        Call::CloseGates {
            change,
            by: Holder::Transaction(OTHER),
            tables: Arc::from([]),
            limit: Duration::ZERO,
        },
        Call::Signal(0, Signal::Cancel),
        Call::Sacrifice(WaitId::Lock(WaitNumber(5)), error()),
        Call::Saga(SagaCall::Admit),
        Call::Saga(SagaCall::Claims),
        ask(SequenceQuestion::Draw(3)),
        ask(SequenceQuestion::State),
        Call::Lease(LeaseCall::Left),
        Call::Lease(LeaseCall::MayHold(NodeId(3))),
        Call::Lease(LeaseCall::Holders),
        Call::Cluster(ClusterCall::Replicas),
        Call::Cluster(ClusterCall::Busy),
        Call::Cluster(ClusterCall::Heard(vec![NodeId(1), NodeId(9)])),
        Call::Cluster(ClusterCall::Wish(Wish::Node(NodeId(3), Wanted::Draining))),
        Call::Cluster(ClusterCall::Wish(Wish::Leader(PartitionId(8), NodeId(2)))),
        order(What::Begin { leader: NodeId(6) }),
        order(What::Remove { seen: EXTENT }),
        order(What::Transfer(NodeId(6))),
        order(What::Change { seen: members(), change: MemberChange::Learn(NodeId(4)) }),
        order(What::Change { seen: members(), change: MemberChange::Leave(NodeId(4)) }),
    ];
    calls.into_iter().chain(more).collect()
}

const EXTENT: Extent = Extent { term: Term(7), last: LogIndex(1 << 33) };

fn members() -> Members {
    let ids = |ids: [u32; 2]| ids.map(NodeId).to_vec();
    Members { voters: ids([1, 4]), outgoing: ids([1, 2]), learners: ids([5, 6]) }
}

fn order(what: What) -> Call {
    Call::Cluster(ClusterCall::Order(Order { partition: PartitionId(11), what }))
}

fn replica() -> ReplicaReport {
    ReplicaReport {
        partition: PartitionId(11),
        extent: EXTENT,
        leads: true,
        leader: Some(NodeId(1)),
        members: members(),
        matched: vec![(NodeId(1), EXTENT.last), (NodeId(4), LogIndex(0))],
    }
}

fn backend() -> Backend {
    Backend {
        process: 1 << 22,
        role: ObjectId(10),
        user: "phantom".into(),
        database: "a database of a longer name".into(),
        application: "psql".into(),
        client: "[::1]:5432".parse().expect("an address"),
        began_micros: -5,
        activity: Activity::Aborted,
        activity_micros: 7,
        query: "SELECT '🦀'".to_owned(),
        query_micros: Some(i64::MAX),
        transaction: Some((TXN, 3)),
        isolation: Isolation::RepeatableRead,
    }
}

fn counted() -> Counted {
    let counts = Counts {
        commits: 1,
        rollbacks: 2,
        retries: 3,
        serialization_failures: 4,
        deadlocks: 5,
        lock_timeouts: u64::MAX,
        damages: 7,
    };
    Counted { place: PLACE, database: Some(ObjectId(5)), counts }
}

fn lock_report() -> LockReport {
    let wait = ReportedWait {
        key: Bytes::from_static(b"a key\0"),
        is_range: true,
        waits_for: vec![TXN, OTHER],
        waited: Duration::from_micros(3),
    };
    LockReport { txn: TXN, object: ObjectId(1), mode: LockMode::Exclusive, wait: Some(wait) }
}

fn txn_report(state: TxnState) -> TxnReport {
    TxnReport {
        txn: OTHER,
        partition: PartitionId(3),
        state,
        anchor: Some(PartitionId(1)),
        locks: usize::MAX,
        staged_bytes: Some(usize::MAX),
        quiet: Duration::from_secs(4),
    }
}

/// Every answer, and the number of kinds: a new one does not compile here.
fn answers() -> Vec<Answer> {
    let count = match Answer::Done {
        Answer::Done
        | Answer::Count(_)
        | Answer::Turn { .. }
        | Answer::Backends(_)
        | Answer::Locks(_)
        | Answer::GateWaits(_)
        | Answer::Transactions(_)
        | Answer::Waits(_)
        | Answer::Exported(_)
        | Answer::Statistics(_)
        | Answer::Saga(_)
        | Answer::Sequence(_)
        | Answer::Lease(_)
        | Answer::Elsewhere(_)
        | Answer::Cluster(_) => 15,
    };
    let gate = |wait, in_the_way| GateReport {
        number: WaitNumber(1 << 50),
        wait,
        in_the_way,
        waited: Duration::from_millis(1),
    };
    let close = GateWait::Close(TXN, Some(Holder::Session(6)), tables());
    let enter = GateWait::Enter(Holder::Transaction(OTHER), tables());
    let key = Bytes::from_static(b"a longer key of a row");
    let lock = Sought::Lock { key, is_range: false, mode: LockMode::Shared };
    let wait = |id, sought| RouterWait { id, txn: TXN, sought, waits_for: vec![OTHER] };
    let exported = Exported {
        txn: TXN,
        at: Timestamp(4),
        schema: CatalogVersion(3),
        database: "phantom".into(),
        serializable: true,
    };
    let unowned = Backend {
        client: "127.0.0.1:1".parse().expect("an address"),
        query_micros: None,
        transaction: None,
        ..backend()
    };
    let state = SequenceState { last_value: -9, reserved: 31, called: true };
    let answers = vec![
        Answer::Done,
        Answer::Count(u64::MAX),
        Answer::Turn { version: CatalogVersion(7), serving: vec![(NodeId(1), 2), (NodeId(9), 64)] },
        Answer::Backends(vec![backend(), unowned]),
        Answer::Locks(vec![lock_report(), LockReport { wait: None, ..lock_report() }]),
        Answer::GateWaits(vec![
            gate(close, InTheWay::Changes(vec![TXN])),
            gate(enter, InTheWay::Inside(vec![Holder::Session(1)])),
        ]),
        Answer::Transactions(vec![txn_report(TxnState::Active), txn_report(TxnState::InDoubt)]),
        Answer::Waits(vec![
            wait(WaitId::Lock(WaitNumber(1)), lock),
            wait(WaitId::Gate(WaitNumber(2)), Sought::Entry(tables())),
            wait(WaitId::Gate(WaitNumber(3)), Sought::Emptiness(tables())),
        ]),
        Answer::Exported(Some(exported)),
        Answer::Statistics(vec![counted(), Counted { database: None, ..counted() }]),
        Answer::Saga(SagaAnswer::Tried(Tried { undone: 3, failure: Some(error()) })),
        Answer::Sequence(SequenceAnswer::Values(
            vec![Run { first: 1, increment: -2, count: 3 }],
            true,
        )),
        Answer::Lease(LeaseAnswer::Granted {
            good_for: Duration::from_millis(3_999),
            renewed: true,
            version: CatalogVersion(1 << 20),
        }),
        Answer::Elsewhere(Some(PLACE)),
        Answer::Cluster(ClusterAnswer::Replicas(vec![replica()])),
    ];
    assert_eq!(answers.len(), count);
    let more = [
        Answer::Exported(None),
        Answer::Turn { version: CatalogVersion(0), serving: Vec::new() },
        Answer::Lease(LeaseAnswer::MayHold(Duration::from_secs(5))),
        Answer::Lease(LeaseAnswer::Holders(vec![(NodeId(2), 1)])),
        Answer::Elsewhere(None),
        Answer::Saga(SagaAnswer::Admitted),
        Answer::Saga(SagaAnswer::Claims(vec![SagaId(4), SagaId(5)])),
        Answer::Sequence(SequenceAnswer::State(state)),
        Answer::Cluster(ClusterAnswer::Done),
        Answer::Cluster(ClusterAnswer::Busy(1 << 40)),
        Answer::Cluster(ClusterAnswer::Heard(vec![
            Liveness::Alive,
            Liveness::Suspect,
            Liveness::Dead { lasting: Duration::from_secs(90) },
        ])),
    ];
    answers.into_iter().chain(more).collect()
}

fn messages() -> Vec<RouterMessage> {
    let number = 0x0102_0304_0506_0708;
    let calls = calls().into_iter().map(|call| RouterMessage::Call { number, call });
    let failed = std::iter::once(Err(error()));
    let results = answers().into_iter().map(Ok).chain(failed);
    calls.chain(results.map(|result| RouterMessage::Answer { number, result })).collect()
}

const SENT: Timestamp = Timestamp(0x1112_1314_1516_1718);

fn encoded(message: &RouterMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, SENT, &mut bytes).expect("nothing in it is long");
    bytes
}

#[test]
fn every_message_travels() {
    for message in messages() {
        let bytes = encoded(&message);
        let (received, sent) = decode(&bytes).expect("it was just encoded");
        assert_eq!(sent, SENT);
        assert_eq!(format!("{message:?}"), format!("{received:?}"));
        assert_eq!(encoded(&received), bytes, "{message:?}");
    }
}

#[test]
fn a_catalog_goes_as_its_version() {
    let mut catalog = Catalog::bootstrap();
    catalog.version = CatalogVersion(31);
    let call = Call::Publish(Publication::Catalog(Arc::new(catalog)));
    let bytes = encoded(&RouterMessage::Call { number: 1, call });
    assert!(bytes.len() < 100, "{} bytes", bytes.len());
    let (received, _) = decode(&bytes).expect("it was just encoded");
    let RouterMessage::Call { call: Call::Publish(Publication::Stored(version)), .. } = received
    else {
        panic!("not {received:?}");
    };
    assert_eq!(version, CatalogVersion(31));
}

#[test]
fn what_is_damaged_or_cut_off_is_survived() {
    let survive = |bytes: &[u8]| {
        if let Ok((message, _)) = decode(bytes) {
            assert!(!format!("{message:?}").is_empty());
            assert!(decode(&encoded(&message)).is_ok());
        }
    };
    let mut refused = 0;
    for message in messages() {
        let bytes = encoded(&message);
        for place in 0..bytes.len() {
            survive(&bytes[..place]);
            for mask in [0xff, 0x01, 0x80] {
                let mut damaged = bytes.clone();
                damaged[place] ^= mask;
                survive(&damaged);
                refused += usize::from(decode(&damaged).is_err());
            }
        }
    }
    assert!(refused > 1_000, "validation hardly looked: {refused}");
}

#[test]
fn another_version_is_told_from_damage() {
    let mut bytes = encoded(&RouterMessage::Call { number: 5, call: Call::Locks });
    bytes[1] += 1;
    let error = decode(&bytes).expect_err("of a later version");
    assert!(matches!(error, WireError::Version { found: 2, known: 1, .. }), "{error}");
    assert_eq!(error.about(), Some((MessageKind::Call, 5)));
    bytes[0] = 3;
    assert!(matches!(decode(&bytes), Err(WireError::Kind(3))));
}

/// As of `shards/tests/wire/golden.rs`: where this fails a layout has changed, and a version is to be
/// raised. Written anew with `PHANTOM_GOLDEN=write`.
#[test]
fn messages_have_the_bytes_that_they_had() {
    let mut found = String::new();
    for message in messages() {
        let name = format!("{message:?}").escape_debug().take(90).collect::<String>();
        found.push_str(&name);
        for line in encoded(&message).chunks(32) {
            found.push_str("\n  ");
            found.extend(line.iter().map(|byte| format!("{byte:02x}")));
        }
        found.push('\n');
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/router/wire/golden.txt");
    if std::env::var_os("PHANTOM_GOLDEN").is_some_and(|how| how == "write") {
        std::fs::write(path, &found).expect("the folder is there");
    }
    let expected = std::fs::read_to_string(path).expect("the file is there");
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "a layout has changed");
    }
    assert_eq!(found.len(), expected.len());
}

//! What a message between nodes costs: nanoseconds, allocations and bytes to encode it and to decode it.
//!
//! ```text
//! cargo run --release -p phantomdb-shards --example wire
//! ```

use model::batch::{Batch, Column, IntKind};
use model::command::{Fragment, Isolation, Modified, Request, RequestBody, Response};
use model::expression::{BinaryOperator, Expression};
use model::id::{CoreId, NodeId, ObjectId, PartitionId, TxnId};
use model::plan::{Access, Change, KeyBounds, Modify, Plan, Scan};
use model::schema::{Column as TableColumn, Placement, Table};
use model::time::Timestamp;
use model::types::DataType;
use model::value::Value;
use shards::core::wire::{decode, encode};
use shards::core::{CoreMessage, RequestId};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: passes everything to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A table such as `pgbench_accounts`.
fn table() -> Arc<Table> {
    let column = |name: &str, data_type, nullable| TableColumn {
        name: name.to_owned(),
        data_type,
        nullable,
        default: None,
        missing: Value::Null,
        hidden: false,
        identity: None,
    };
    Arc::new(Table {
        id: ObjectId(1_000),
        storage: ObjectId(1_000),
        schema: "public".to_owned(),
        name: "pgbench_accounts".to_owned(),
        columns: vec![
            column("aid", DataType::Int4, false),
            column("bid", DataType::Int4, true),
            column("abalance", DataType::Int4, true),
            column("filler", DataType::Char(84), true),
        ],
        primary_key: vec![0],
        primary_key_name: Some("pgbench_accounts_pkey".to_owned()),
        partition_columns: vec![0],
        placement: Placement::Hashed,
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        referenced_by: Vec::new(),
    })
}

fn point_scan(table: &Arc<Table>, columns: Vec<usize>, lock: bool) -> Plan {
    let key = Expression::Parameter { index: 0, data_type: DataType::Int4 };
    Plan::Scan(Scan {
        table: table.clone(),
        access: Access::PrimaryKey(KeyBounds { equal: vec![vec![key]], lower: None, upper: None }),
        columns,
        filter: None,
        reverse: false,
        lock,
        limit: None,
    })
}

/// `UPDATE pgbench_accounts SET abalance = abalance + $2 WHERE aid = $1`
fn point_update(table: &Arc<Table>) -> Plan {
    let sum = Expression::Binary {
        operator: BinaryOperator::Add,
        left: Box::new(Expression::column(2, DataType::Int4)),
        right: Box::new(Expression::Parameter { index: 1, data_type: DataType::Int4 }),
        data_type: DataType::Int4,
    };
    Plan::Modify(Modify {
        table: table.clone(),
        input: Box::new(point_scan(table, vec![0, 1, 2, 3], true)),
        change: Change::Update { assignments: vec![(2, sum)] },
        returning: None,
    })
}

fn fragment(plan: Plan) -> Fragment {
    let txn = TxnId { began: Timestamp(1 << 60), node: NodeId(1), core: CoreId(1) };
    Fragment {
        plan: Arc::new(plan),
        parameters: Arc::from([Value::Int(4_711), Value::Int(-17)]),
        snapshot: Timestamp(1 << 60),
        txn: Some(txn),
        seen: None,
        isolation: Isolation::Serializable,
        now_micros: 1 << 50,
        lock_timeout: None,
    }
}

fn rows(count: usize) -> Batch {
    let ints = |factor: i64| {
        Column::from_ints(IntKind::Int, (0..count as i64).map(|i| i * factor).collect(), vec![])
    };
    let texts = (0..count).map(|i| Value::text(format!("the filler of account {i}"))).collect();
    let texts = Column::from_values(DataType::Text, texts);
    Batch::new(count, vec![ints(1), ints(7), ints(-3), texts])
}

fn request(body: RequestBody) -> CoreMessage {
    let request = Request { partition: PartitionId(3), sent: Timestamp(1 << 60), body };
    CoreMessage::Request { id: RequestId(1), request }
}

fn response(response: Response) -> CoreMessage {
    CoreMessage::Response { id: RequestId(1), sent: Timestamp(1 << 60), response }
}

/// The fastest of several rounds, in nanoseconds a turn, and allocations a turn.
fn measure(turns: u32, mut work: impl FnMut()) -> (f64, f64) {
    let mut best = f64::MAX;
    let mut allocations = 0.0;
    for _ in 0..10 {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let began = runtime::time::now();
        (0..turns).for_each(|_| work());
        let took = runtime::time::now().saturating_since(began).as_nanos() as f64;
        best = best.min(took / f64::from(turns));
        let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
        allocations = made as f64 / f64::from(turns);
    }
    (best, allocations)
}

fn main() {
    let table = table();
    let write =
        RequestBody::Write { fragment: fragment(point_update(&table)), commit: true, mark: None };
    let modified = Modified { rows: 1, committed: Some(Timestamp(1 << 60)), ..Modified::default() };
    let txn = TxnId { began: Timestamp(1 << 60), node: NodeId(1), core: CoreId(1) };
    let messages = [
        ("point read", request(RequestBody::Read(fragment(point_scan(&table, vec![2], false))))),
        ("point update", request(write)),
        ("prepare", request(RequestBody::Prepare { txn, anchor: PartitionId(1) })),
        ("one row", response(Response::Rows(rows(1)))),
        ("1,000 rows", response(Response::Rows(rows(1_000)))),
        ("modified", response(Response::Modified(modified))),
        ("done", response(Response::Done)),
    ];
    println!("message        bytes   encode ns  allocs   decode ns  allocs");
    for (name, message) in messages {
        let mut bytes = Vec::new();
        encode(&message, &mut bytes).expect("nothing in it is long");
        let turns = 2_000_000 / (bytes.len() as u32 + 100);
        let mut out = Vec::with_capacity(bytes.len());
        let encoded = measure(turns, || {
            out.clear();
            encode(black_box(&message), &mut out).expect("nothing in it is long");
        });
        let decoded = measure(turns, || {
            black_box(decode(black_box(&bytes)).expect("it was just encoded"));
        });
        println!(
            "{name:<13} {:>6}  {:>9.0}  {:>6.1}  {:>9.0}  {:>6.1}",
            bytes.len(),
            encoded.0,
            encoded.1,
            decoded.0,
            decoded.1,
        );
    }
}

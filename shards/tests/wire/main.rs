//! Messages between nodes: whatever one core says another understands, and whatever bytes a peer
//! sends, a core neither panics nor allocates more than they pay for.

mod damage;
mod generate;
mod golden;
mod memory;
mod plans;

use generate::Generator;
use model::command::{Fragment, Isolation, Request, RequestBody, Response};
use model::expression::{BinaryOperator, Expression};
use model::id::PartitionId;
use model::plan::{Filter, Materialize, Plan, Values};
use model::time::Timestamp;
use model::types::DataType;
use proptest::prelude::{ProptestConfig, any, proptest};
use shards::core::wire::{decode, encode};
use shards::core::{CoreMessage, RequestId};
use std::collections::BTreeSet;
use std::sync::Arc;

fn encoded(message: &CoreMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes).expect("nothing in it is long");
    bytes
}

/// What comes back prints alike, so that no field is left out, and has the same bytes.
fn travels(message: &CoreMessage) {
    let bytes = encoded(message);
    let received = decode(&bytes).expect("it was just encoded");
    assert_eq!(format!("{message:?}"), format!("{received:?}"));
    assert_eq!(encoded(&received), bytes, "{message:?}");
}

fn request(body: RequestBody) -> CoreMessage {
    let (partition, sent) = (PartitionId(7), Timestamp(0x1122_3344_5566_7788));
    CoreMessage::Request { id: RequestId(9), request: Request { partition, sent, body } }
}

fn read_of(plan: Plan) -> CoreMessage {
    request(RequestBody::Read(Fragment {
        plan: Arc::new(plan),
        parameters: Arc::from([]),
        snapshot: Timestamp(5),
        txn: None,
        seen: None,
        isolation: Isolation::ReadCommitted,
        now_micros: -1,
        lock_timeout: None,
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_sent_is_received(seed in any::<u64>()) {
        travels(&Generator::new(seed).message());
    }
}

#[test]
fn every_plan_and_every_expression_travels() {
    for seed in 0..40 {
        let mut generator = Generator::new(seed);
        for kind in 0..plans::PLANS {
            generator.depth = 2;
            let plan = generator.plan_of(kind);
            assert_eq!(plans::plan_kind(&plan), kind);
            travels(&read_of(plan));
        }
        for kind in 0..plans::EXPRESSIONS {
            generator.depth = 2;
            let expression = generator.expression_of(kind);
            assert_eq!(plans::expression_kind(&expression), kind);
            travels(&read_of(values(expression)));
        }
    }
}

#[test]
fn every_request_and_every_response_is_generated() {
    let name = |debug: String| {
        let end = debug.find(|c: char| !c.is_alphanumeric()).unwrap_or(debug.len());
        debug[..end].to_owned()
    };
    let mut generator = Generator::new(1);
    let requests: BTreeSet<String> =
        (0..800).map(|_| name(format!("{:?}", generator.request()))).collect();
    let responses: BTreeSet<String> =
        (0..400).map(|_| name(format!("{:?}", generator.response()))).collect();
    assert_eq!(requests.len(), REQUESTS, "{requests:?}");
    assert_eq!(responses.len(), RESPONSES, "{responses:?}");
}

/// How many kinds of request and of response there are.
const REQUESTS: usize = 14;
const RESPONSES: usize = 13;

/// A new kind does not compile here, and is to be counted and generated.
#[test]
fn the_kinds_are_counted() {
    let mut generator = Generator::new(2);
    let count = match generator.request() {
        RequestBody::Read(_)
        | RequestBody::Write { .. }
        | RequestBody::Stage { .. }
        | RequestBody::Lock(_)
        | RequestBody::Probe(_)
        | RequestBody::RollbackTo { .. }
        | RequestBody::CommitOnePhase { .. }
        | RequestBody::StandAside { .. }
        | RequestBody::Prepare { .. }
        | RequestBody::Decide { .. }
        | RequestBody::Finish { .. }
        | RequestBody::Rollback { .. }
        | RequestBody::Resolve { .. }
        | RequestBody::Forget { .. } => 14,
    };
    assert_eq!(count, REQUESTS);
    let count = match generator.response() {
        Response::Rows(_)
        | Response::End
        | Response::Modified(_)
        | Response::Locked(_)
        | Response::Probed(_)
        | Response::Done
        | Response::Returned(_)
        | Response::Committed(_)
        | Response::Prepared(_)
        | Response::Aside(_)
        | Response::Decided(_)
        | Response::Failed(_)
        | Response::Elsewhere(_) => 13,
    };
    assert_eq!(count, RESPONSES);
}

fn values(expression: Expression) -> Plan {
    Plan::Values(Values { rows: vec![vec![expression]], types: vec![DataType::Int8] })
}

/// `1 + 1 + ...`, each sum cast.
fn chain(links: usize) -> Expression {
    let one = || Expression::literal(1_i64, DataType::Int8);
    (0..links).fold(one(), |sum, _| Expression::Binary {
        operator: BinaryOperator::Add,
        left: Box::new(Expression::Cast {
            operand: Box::new(sum),
            data_type: DataType::Int8,
            explicit: false,
        }),
        right: Box::new(one()),
        data_type: DataType::Int8,
    })
}

/// The binder nests a statement 1,000 deep (`sql::binder::NESTING_MAX`).
#[test]
fn the_longest_chains_travel_on_the_stack_of_a_core() {
    let message = read_of(values(chain(1_000)));
    let bytes = encoded(&message);
    let received = decode(&bytes).expect("it was just encoded");
    assert_eq!(encoded(&received), bytes);
}

#[test]
fn deep_plans_travel() {
    let leaf = || values(Expression::literal(true, DataType::Bool));
    let plan = (0..500).fold(leaf(), |plan, _| {
        let input = Box::new(Plan::Materialize(Materialize { input: Box::new(plan) }));
        Plan::Filter(Filter { input, condition: Expression::literal(true, DataType::Bool) })
    });
    let bytes = encoded(&read_of(plan));
    assert_eq!(encoded(&decode(&bytes).expect("it was just encoded")), bytes);
}

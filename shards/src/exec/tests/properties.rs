//! What must hold whatever the rows are.

use super::fixture::{Memory, column, context};
use super::run;
use crate::exec::state_types;
use model::expression::{BinaryOperator, Expression};
use model::plan::*;
use model::types::DataType;
use model::value::Value;
use proptest::prelude::*;
use std::rc::Rc;

type Rows = Vec<(Option<i64>, Option<i64>)>;

fn rows() -> impl Strategy<Value = Rows> {
    let value = || prop_oneof![1 => Just(None), 6 => (-3..4_i64).prop_map(Some)];
    prop::collection::vec((value(), value()), 0..40)
}

fn values(rows: &Rows) -> Plan {
    let literal = |v: Option<i64>| Expression::Literal(Value::from(v), DataType::Int4);
    Plan::Values(Values {
        rows: rows.iter().map(|(a, b)| vec![literal(*a), literal(*b)]).collect(),
        types: vec![DataType::Int4; 2],
    })
}

fn binary(operator: BinaryOperator, left: usize, right: usize) -> Expression {
    Expression::Binary {
        operator,
        left: Box::new(column(left)),
        right: Box::new(column(right)),
        data_type: DataType::Bool,
    }
}

fn answers(plan: &Plan) -> Vec<Vec<Value>> {
    run(plan, &context(&Rc::new(Memory::default()))).unwrap()
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by(|a, b| {
        let orders = a.iter().zip(b).map(|(a, b)| a.sort_order(b));
        orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    rows
}

fn call(function: AggregateFunction, distinct: bool, data_type: DataType) -> AggregateCall {
    AggregateCall { function, arguments: vec![column(1)], distinct, filter: None, data_type }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hash_join_is_a_nested_loop_join(left in rows(), right in rows(), filtered: bool) {
        use JoinKind as K;
        for kind in [K::Inner, K::Left, K::Right, K::Full, K::Semi, K::Anti, K::NullAwareAnti] {
            let condition = filtered.then(|| binary(BinaryOperator::Less, 1, 3));
            let equal = binary(BinaryOperator::Equal, 0, 2);
            let whole = match &condition {
                None => equal,
                Some(condition) => Expression::Binary {
                    operator: BinaryOperator::And,
                    left: Box::new(equal),
                    right: Box::new(condition.clone()),
                    data_type: DataType::Bool,
                },
            };
            let (l, r) = (Box::new(values(&left)), Box::new(values(&right)));
            let hashed = Plan::HashJoin(HashJoin {
                left: l.clone(),
                right: r.clone(),
                kind,
                left_keys: vec![column(0)],
                right_keys: vec![column(0)],
                condition,
            });
            let looped =
                Plan::NestedLoopJoin(NestedLoopJoin { left: l, right: r, kind, condition: Some(whole) });
            prop_assert_eq!(sorted(answers(&hashed)), sorted(answers(&looped)), "{:?}", kind);
        }
    }

    #[test]
    fn two_phases_make_what_one_makes(rows in rows()) {
        use AggregateFunction as A;
        let exact = DataType::Numeric(None);
        let calls = vec![
            call(A::Count, false, DataType::Int8),
            call(A::Sum, false, DataType::Int8),
            call(A::Avg, false, exact),
            call(A::Min, false, DataType::Int4),
            call(A::Max, false, DataType::Int4),
        ];
        let aggregate = |input, groups, aggregates, phase| {
            Plan::Aggregate(Aggregate { input: Box::new(input), groups, aggregates, phase })
        };
        let half = rows.len() / 2;
        let partial = |rows: &[(Option<i64>, Option<i64>)]| {
            aggregate(values(&rows.to_vec()), vec![column(0)], calls.clone(), Phase::Partial)
        };
        let inputs = vec![partial(&rows[..half]), partial(&rows[half..])];
        let mut at = 1;
        let finals = calls.iter().map(|call| {
            let states = state_types(call);
            let arguments = states.iter().enumerate().map(|(i, t)| Expression::column(at + i, *t));
            let arguments = arguments.collect();
            at += states.len();
            AggregateCall { arguments, ..call.clone() }
        }).collect();
        let two = aggregate(Plan::Append(Append { inputs }), vec![column(0)], finals, Phase::Final);
        let one = aggregate(values(&rows), vec![column(0)], calls, Phase::Single);
        prop_assert_eq!(sorted(answers(&two)), sorted(answers(&one)));
    }

    #[test]
    fn sorting_is_std_sorting(rows in rows(), limit in prop::option::of(0..50_i64)) {
        let keys = [(0, true, true), (1, false, false)].map(|(at, descending, nulls_first)| {
            SortKey { expression: column(at), descending, nulls_first }
        });
        let plan = Plan::Sort(Sort {
            input: Box::new(values(&rows)),
            keys: keys.to_vec(),
            limit: limit.map(|limit| Expression::literal(limit, DataType::Int8)),
        });
        let mut expected = rows.clone();
        // Descending with nulls first: `None` is less than `Some` and is reversed too.
        expected.sort_by_key(|(a, b)| {
            (a.is_some(), std::cmp::Reverse(*a), b.is_none(), *b)
        });
        expected.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
        let expected: Vec<Vec<Value>> =
            expected.iter().map(|(a, b)| vec![Value::from(*a), Value::from(*b)]).collect();
        prop_assert_eq!(answers(&plan), expected);
    }
}

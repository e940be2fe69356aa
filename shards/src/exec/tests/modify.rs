//! Changes of rows and their constraints.

use super::fixture::{Memory, column, context, table};
use super::{firsts, int, run, scan, ten_rows};
use crate::exec::modify;
use model::command::{Effect, Modified};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::*;
use model::types::DataType;
use model::value::Value;
use std::rc::Rc;
use std::sync::Arc;

fn change(store: &Rc<Memory>, plan: Modify) -> Result<Modified, SqlError> {
    futures::executor::block_on(modify(&plan, &context(store)))
}

fn insert(rows: &[(i64, Option<i64>, Option<&str>)], on_conflict: OnConflict) -> Modify {
    let row = |(id, kind, name): &(i64, Option<i64>, Option<&str>)| {
        vec![
            int(*id),
            Expression::Literal(Value::from(*kind), DataType::Int4),
            Expression::Literal(Value::from(*name), DataType::Text),
        ]
    };
    Modify {
        table: Arc::new(table()),
        input: Box::new(Plan::Values(Values {
            rows: rows.iter().map(row).collect(),
            types: table().types(),
        })),
        change: Change::Insert { on_conflict },
        returning: Some(vec![column(0)]),
    }
}

fn all_rows(store: &Rc<Memory>) -> Vec<Vec<Value>> {
    let plan = Plan::Scan(scan(Access::PrimaryKey(KeyBounds::default())));
    run(&plan, &context(store)).unwrap()
}

#[test]
fn inserts_write_rows_entries_and_claims() {
    let store = Rc::new(Memory::default());
    let plan = insert(&[(1, Some(5), Some("a")), (2, None, Some("b"))], OnConflict::Fail);
    let modified = change(&store, plan).unwrap();
    assert_eq!((modified.rows, modified.returning[0].rows()), (2, 2));
    assert_eq!(store.keys(), 6, "two rows and two local entries each");
    let claims =
        |routed: &model::command::RoutedEffect| matches!(routed.effect, Effect::ClaimKey { .. });
    assert_eq!(modified.effects.iter().filter(|routed| claims(routed)).count(), 2);
}

#[test]
fn violations_speak_as_postgresql_does() {
    let store = ten_rows();
    for (row, state, message, detail) in [
        (
            (3, Some(1), Some("x")),
            SqlState::UNIQUE_VIOLATION,
            "duplicate key value violates unique constraint \"t_pkey\"",
            "Key (id)=(3) already exists.",
        ),
        (
            (20, Some(1), None),
            SqlState::NOT_NULL_VIOLATION,
            "null value in column \"name\" of relation \"t\" violates not-null constraint",
            "Failing row contains (20, 1, null).",
        ),
        (
            (20, Some(100), Some("x")),
            SqlState::CHECK_VIOLATION,
            "new row for relation \"t\" violates check constraint \"t_kind_check\"",
            "Failing row contains (20, 100, x).",
        ),
    ] {
        let error = change(&store, insert(&[row], OnConflict::Fail)).unwrap_err();
        let fields = error.fields();
        assert_eq!((error.state(), fields.message.as_ref()), (state, message));
        assert_eq!(fields.detail.as_deref(), Some(detail));
        assert_eq!(fields.table.as_deref(), Some("t"));
    }
}

#[test]
fn conflicts_can_be_passed_over_or_updated() {
    let store = ten_rows();
    let rows = [(3, Some(50), Some("x")), (30, Some(51), Some("y"))];
    let modified = change(&store, insert(&rows, OnConflict::DoNothing(None))).unwrap();
    assert_eq!(modified.rows, 1);
    // Column 4 is `excluded.kind`.
    let raise = ConflictUpdate { assignments: vec![(1, column(4))], condition: None };
    let update = OnConflict::DoUpdate(Arbiter::PrimaryKey, raise);
    let modified = change(&store, insert(&[(3, Some(50), Some("x"))], update.clone())).unwrap();
    assert_eq!(modified.rows, 1);
    assert_eq!(all_rows(&store)[3], [Value::Int(3), Value::Int(50)]);
    let twice = [(3, Some(1), Some("x")), (3, Some(2), Some("x"))];
    let error = change(&store, insert(&twice, update)).unwrap_err();
    assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
}

#[test]
fn updates_move_index_entries_and_meet_each_row_once() {
    let store = ten_rows();
    let mut input = scan(Access::Index { index: 0, bounds: KeyBounds::default() });
    input.columns = vec![0, 1, 2];
    input.lock = true;
    let more = Expression::Binary {
        operator: model::expression::BinaryOperator::Add,
        left: Box::new(column(1)),
        right: Box::new(int(1)),
        data_type: DataType::Int4,
    };
    let plan = |change| Modify {
        table: Arc::new(table()),
        input: Box::new(Plan::Scan(input.clone())),
        change,
        returning: None,
    };
    let modified = change(&store, plan(Change::Update { assignments: vec![(1, more)] })).unwrap();
    assert_eq!(modified.rows, 10);
    let kinds: Vec<Value> = all_rows(&store).iter().map(|row| row[1].clone()).collect();
    let expected: Vec<Value> = (0..10).map(|id| Value::Int(id % 3 + 1)).collect();
    assert_eq!(kinds, expected);
    let found = KeyBounds { equal: vec![vec![int(3)]], lower: None, upper: None };
    let by_index = Plan::Scan(scan(Access::Index { index: 0, bounds: found }));
    assert_eq!(firsts(run(&by_index, &context(&store)).unwrap()), [2, 5, 8]);
    let modified = change(&store, plan(Change::Delete)).unwrap();
    assert_eq!((modified.rows, store.keys()), (10, 0), "no entry is left behind");
    let freed =
        |routed: &model::command::RoutedEffect| matches!(routed.effect, Effect::FreeKey { .. });
    assert!(modified.effects.iter().all(freed));
}

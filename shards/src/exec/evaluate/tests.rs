//! Expected answers are PostgreSQL 15's: `!` stands before a SQLSTATE.

use super::*;
use crate::exec::memory::MemoryAccount;
use crate::exec::operators::resolve_binary;
use model::expression::BinaryOperator;
use model::text;
use model::types::{DataType, NumericLimits};
use std::sync::Arc;

fn context() -> ExecContext {
    ExecContext::new(Arc::from([]), 0, MemoryAccount::new(1 << 20))
}

fn type_named(name: &str) -> DataType {
    use DataType as T;
    let known = [
        T::Bool,
        T::Int2,
        T::Int4,
        T::Int8,
        T::Float4,
        T::Float8,
        T::Numeric(None),
        T::Text,
        T::Bytea,
        T::Date,
        T::Interval,
        T::Uuid,
    ];
    match name {
        "char(5)" => T::Char(5),
        "char(3)" => T::Char(3),
        "time" => T::Time,
        "timestamp" => T::Timestamp,
        "timestamptz" => T::TimestampTz,
        "numeric(5,2)" => T::Numeric(Some(NumericLimits { precision: 5, scale: 2 })),
        name => *known.iter().find(|known| known.to_string() == name).expect(name),
    }
}

/// `type:text` as a literal of the type.
pub(in crate::exec) fn literal(text: &str) -> Expression {
    let (name, text) = text.split_once(':').unwrap();
    let data_type = type_named(name);
    let value = match text {
        "NULL" => Value::Null,
        text => cast::cast(&text.into(), DataType::Text, data_type, true, 0).unwrap(),
    };
    Expression::Literal(value, data_type)
}

/// What the expression is for one row, printed; `!` before the SQLSTATE of an error.
pub(in crate::exec) fn answer(expression: &Expression) -> String {
    let one = Batch::new(1, Vec::new());
    match evaluate(expression, &one, &context()) {
        Ok(column) => text::to_text(&column.get(0), expression.data_type())
            .unwrap_or_else(|| "NULL".to_owned()),
        Err(error) => format!("!{}", error.state()),
    }
}

fn symbol(text: &str) -> BinaryOperator {
    use BinaryOperator as B;
    let all = [
        B::Add,
        B::Subtract,
        B::Multiply,
        B::Divide,
        B::Modulo,
        B::Power,
        B::Concatenate,
        B::ShiftLeft,
        B::BitAnd,
        B::BitXor,
        B::Equal,
        B::Less,
        B::Greater,
    ];
    let named = |b: &&B| crate::exec::operators::operator_symbol(**b) == text;
    *all.iter().find(named).expect(text)
}

/// `left operator right`, with both operands cast as the operator wants them. With `columns` the
/// operands are columns of a batch, which takes the paths over whole columns.
fn operation(operator: &str, left: &str, right: &str, columns: bool) -> String {
    let (operator, left, right) = (symbol(operator), literal(left), literal(right));
    let signature = resolve_binary(operator, left.data_type(), right.data_type()).unwrap();
    let one = Batch::new(1, Vec::new());
    let mut inputs = Vec::new();
    let mut prepare = |operand: Expression, data_type| {
        let cast = Expression::Cast { operand: Box::new(operand), data_type, explicit: false };
        let value = evaluate(&cast, &one, &context()).unwrap();
        if !columns {
            return Box::new(Expression::Literal(value.value(0), data_type));
        }
        // A null beside the value: kernels must not fail on what stands behind it.
        let mut column = Column::from_values(data_type, vec![value.value(0), Value::Null]);
        column.push(value.value(0));
        inputs.push(column);
        Box::new(Expression::column(inputs.len() - 1, data_type))
    };
    let expression = Expression::Binary {
        operator,
        left: prepare(left, signature.left),
        right: prepare(right, signature.right),
        data_type: signature.result,
    };
    if !columns {
        return answer(&expression);
    }
    match evaluate(&expression, &Batch::new(3, inputs), &context()) {
        Ok(column) => {
            assert!(column.is_null(1));
            assert_eq!(column.value(0), column.value(2));
            text::to_text(&column.get(0), signature.result).unwrap_or_else(|| "NULL".to_owned())
        }
        Err(error) => format!("!{}", error.state()),
    }
}

#[test]
fn operators_answer_what_postgresql_answers() {
    let mut wrong = Vec::new();
    for (operator, left, right, expected) in OPERATIONS {
        for columns in [false, true] {
            let found = operation(operator, left, right, columns);
            if found != *expected {
                wrong.push(format!("{left} {operator} {right} is {found}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn integers(values: &[Option<i64>]) -> Column {
    Column::from_values(DataType::Int4, values.iter().map(|v| Value::from(*v)).collect())
}

fn binary(operator: BinaryOperator, left: Expression, right: Expression) -> Expression {
    let signature = resolve_binary(operator, left.data_type(), right.data_type()).unwrap();
    Expression::Binary {
        operator,
        left: Box::new(left),
        right: Box::new(right),
        data_type: signature.result,
    }
}

fn int(value: i64) -> Expression {
    Expression::literal(value, DataType::Int4)
}

#[test]
fn what_is_not_needed_does_not_fail() {
    let batch = Batch::new(3, vec![integers(&[Some(0), Some(2), None])]);
    let x = || Expression::column(0, DataType::Int4);
    let quotient = || binary(BinaryOperator::Divide, int(10), x());
    let nonzero = binary(BinaryOperator::NotEqual, x(), int(0));
    let large = binary(BinaryOperator::Greater, quotient(), int(1));
    let both = binary(BinaryOperator::And, nonzero.clone(), large.clone());
    assert_eq!(select(&both, &batch, &context()).unwrap(), [1]);
    assert!(select(&large, &batch, &context()).is_err(), "alone it divides by zero");
    let case = Expression::Case {
        branches: vec![(nonzero, quotient())],
        otherwise: Some(Box::new(int(-1))),
        data_type: DataType::Int4,
    };
    // The null row's condition is unknown, so that it takes the other branch.
    let column = evaluate(&case, &batch, &context()).unwrap();
    assert_eq!(column, integers(&[Some(-1), Some(5), Some(-1)]));
}

#[test]
fn logic_has_three_values() {
    let truths = [Some(true), Some(false), None];
    let column = |values: Vec<Option<bool>>| {
        Column::from_values(DataType::Bool, values.into_iter().map(Value::from).collect())
    };
    let pairs: Vec<_> = truths.iter().flat_map(|a| truths.map(|b| (*a, b))).collect();
    let batch = Batch::new(
        9,
        vec![
            column(pairs.iter().map(|(a, _)| *a).collect()),
            column(pairs.iter().map(|(_, b)| *b).collect()),
        ],
    );
    let side = |index| Expression::column(index, DataType::Bool);
    let run = |operator| evaluate(&binary(operator, side(0), side(1)), &batch, &context()).unwrap();
    let (t, f, n) = (Some(true), Some(false), None);
    assert_eq!(run(BinaryOperator::And), column(vec![t, f, n, f, f, f, n, f, n]));
    assert_eq!(run(BinaryOperator::Or), column(vec![t, t, t, t, f, n, t, n, n]));
}

#[test]
fn lists_and_patterns() {
    let batch = Batch::new(3, vec![integers(&[Some(1), Some(2), None])]);
    let list = |candidates: Vec<Expression>, negated| Expression::InList {
        operand: Box::new(Expression::column(0, DataType::Int4)),
        list: candidates,
        negated,
    };
    let null = Expression::Literal(Value::Null, DataType::Int4);
    let run = |e: &Expression| {
        let column = evaluate(e, &batch, &context()).unwrap();
        (0..3).map(|row| column.value(row)).collect::<Vec<_>>()
    };
    let (t, f) = (Value::Bool(true), Value::Bool(false));
    assert_eq!(run(&list(vec![int(1), int(5)], false)), [t.clone(), f.clone(), Value::Null]);
    assert_eq!(run(&list(vec![int(1), null.clone()], true)), [f, Value::Null, Value::Null]);
    for (text, pattern, matches) in [
        ("abc", "a%", true),
        ("abc", "%b%", true),
        ("abc", "_b_", true),
        ("abc", "b", false),
        ("a%c", "a\\%c", true),
        ("abc", "a\\%c", false),
        ("", "%", true),
        ("äöü", "_ö_", true),
        ("aaab", "%ab", true),
        ("aaa", "a_", false),
        ("mississippi", "%is%ip%", true),
    ] {
        let pattern_matches = Pattern::new(pattern, Some('\\'), false).unwrap().matches(text);
        assert_eq!(pattern_matches, matches, "{text} LIKE {pattern}");
    }
    assert!(Pattern::new("ABC%", None, true).unwrap().matches("abcd"));
    assert!(Pattern::new("a\\", Some('\\'), false).is_err());
}

const OPERATIONS: &[(&str, &str, &str, &str)] = &[
    ("+", "integer:2147483647", "integer:1", "!22003"),
    ("+", "integer:2", "bigint:3", "5"),
    ("-", "smallint:-32768", "smallint:1", "!22003"),
    ("*", "bigint:9223372036854775807", "bigint:2", "!22003"),
    ("/", "integer:-7", "integer:2", "-3"),
    ("/", "integer:1", "integer:0", "!22012"),
    ("/", "bigint:-9223372036854775808", "bigint:-1", "!22003"),
    ("%", "integer:-7", "integer:3", "-1"),
    ("/", "numeric:1", "numeric:3", "0.33333333333333333333"),
    ("*", "numeric:1.10", "numeric:2.0", "2.200"),
    ("+", "numeric:1.10", "integer:2", "3.10"),
    ("/", "double precision:1", "double precision:3", "0.3333333333333333"),
    ("*", "double precision:1e300", "double precision:1e300", "!22003"),
    ("/", "double precision:1", "double precision:0", "!22012"),
    ("+", "real:1.1", "real:2.2", "3.3000002"),
    ("*", "real:1e30", "real:1e30", "!22003"),
    ("+", "real:0.1", "double precision:0.2", "0.30000000149011613"),
    ("^", "integer:2", "integer:10", "1024"),
    ("||", "text:a", "text:b", "ab"),
    ("||", "text:a", "integer:1", "a1"),
    ("<<", "integer:1", "integer:33", "2"),
    ("&", "integer:12", "integer:10", "8"),
    ("#", "integer:12", "integer:10", "6"),
    ("+", "date:2024-01-31", "integer:30", "2024-03-01"),
    ("-", "date:2024-03-01", "date:2024-02-01", "29"),
    ("+", "date:2024-01-31", "interval:1 mon", "2024-02-29 00:00:00"),
    ("+", "timestamp:2024-01-31 10:00", "interval:1 mon -1 day 02:00", "2024-02-28 12:00:00"),
    ("-", "timestamp:2024-03-01 12:00", "timestamp:2024-02-28 18:00", "1 day 18:00:00"),
    ("+", "time:23:00", "interval:2 hours", "01:00:00"),
    ("-", "time:01:00", "time:02:00", "-01:00:00"),
    ("*", "interval:1 mon 15 days", "double precision:1.5", "1 mon 37 days 12:00:00"),
    ("/", "interval:1 mon", "integer:3", "10 days"),
    ("*", "interval:1 day 01:01", "integer:3", "3 days 03:03:00"),
    ("/", "interval:1 day", "integer:0", "!22012"),
    ("-", "interval:1 day", "interval:1 hour", "1 day -01:00:00"),
    ("=", "integer:1", "numeric:1.0", "t"),
    ("<", "double precision:NaN", "double precision:1", "f"),
    (">", "text:b", "text:a", "t"),
    ("=", "numeric:1.50", "numeric:1.5", "t"),
    ("=", "interval:1 mon", "interval:30 days", "t"),
    ("=", "char(5):a", "char(3):a", "t"),
    ("<", "integer:NULL", "integer:1", "NULL"),
    ("+", "integer:NULL", "integer:1", "NULL"),
    ("<", "date:2024-01-01", "timestamp:2024-01-01 00:00:01", "t"),
];

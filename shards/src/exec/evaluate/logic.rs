//! `AND`, `OR`, `NOT`, `CASE`: what decides whether the rest is evaluated.

use super::operand as evaluate_operand;
use super::operand::Operand;
use super::{arithmetic, comparison, evaluate, may_fail};
use crate::exec::context::ExecContext;
use model::batch::{Batch, Column};
use model::error::SqlError;
use model::expression::{BinaryOperator, Expression};
use model::types::DataType;
use model::value::{Value, ValueRef};

pub(super) fn binary<'a>(
    operator: BinaryOperator,
    left: &'a Expression,
    right: &'a Expression,
    data_type: DataType,
    batch: &'a Batch,
    context: &ExecContext,
) -> Result<Operand<'a>, SqlError> {
    if matches!(operator, BinaryOperator::And | BinaryOperator::Or) {
        return connect(operator == BinaryOperator::And, left, right, batch, context);
    }
    let padded = matches!(left.data_type(), DataType::Char(_))
        && matches!(right.data_type(), DataType::Char(_));
    let left = evaluate_operand(left, batch, context)?;
    let right = evaluate_operand(right, batch, context)?;
    if operator.is_comparison() {
        return Ok(comparison::compare(operator, &left, &right, padded, batch.rows()));
    }
    arithmetic::binary(operator, &left, &right, data_type, batch.rows())
}

fn truth(operand: &Operand<'_>, row: usize) -> Option<bool> {
    match operand.get(row) {
        ValueRef::Bool(truth) => Some(truth),
        _ => None,
    }
}

fn join(and: bool, left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(a), Some(b)) => Some(if and { a && b } else { a || b }),
        // Only the deciding value (false of AND, true of OR) settles it beside an unknown.
        (Some(known), None) | (None, Some(known)) => (known != and).then_some(known),
        (None, None) => None,
    }
}

/// The right side is evaluated only where the left has not decided, if that can be noticed.
fn connect<'a>(
    and: bool,
    left: &'a Expression,
    right: &'a Expression,
    batch: &'a Batch,
    context: &ExecContext,
) -> Result<Operand<'a>, SqlError> {
    let left = evaluate_operand(left, batch, context)?;
    if let Operand::Constant(Value::Bool(known)) = left {
        if known != and {
            return Ok(Operand::Constant(Value::Bool(known)));
        }
        return evaluate_operand(right, batch, context);
    }
    if may_fail(right) {
        let undecided: Vec<u32> = (0..batch.rows() as u32)
            .filter(|&row| truth(&left, row as usize) != Some(!and))
            .collect();
        if undecided.len() < batch.rows() {
            return connect_some(and, &left, right, &undecided, batch, context);
        }
    }
    let right = evaluate_operand(right, batch, context)?;
    if let (Operand::Column(a), Operand::Column(b)) = (&left, &right)
        && let (Some(x), Some(y)) = (a.bools(), b.bools())
        && a.nulls().is_empty()
        && b.nulls().is_empty()
    {
        let truths = x.iter().zip(y).map(|(x, y)| if and { x & y } else { x | y }).collect();
        return Ok(Operand::owned(Column::from_bools(truths, Vec::new())));
    }
    let mut out = Column::with_capacity(DataType::Bool, batch.rows());
    for row in 0..batch.rows() {
        out.push(Value::from(join(and, truth(&left, row), truth(&right, row))));
    }
    Ok(Operand::owned(out))
}

fn connect_some<'a>(
    and: bool,
    left: &Operand<'_>,
    right: &Expression,
    undecided: &[u32],
    batch: &Batch,
    context: &ExecContext,
) -> Result<Operand<'a>, SqlError> {
    let right = if undecided.is_empty() {
        Column::with_capacity(DataType::Bool, 0)
    } else {
        evaluate(right, &batch.take(undecided), context)?
    };
    let right = Operand::owned(right);
    let mut out = Column::with_capacity(DataType::Bool, batch.rows());
    let mut next = 0;
    for row in 0..batch.rows() {
        let left = truth(left, row);
        let joined = if undecided.get(next).is_some_and(|&at| at as usize == row) {
            next += 1;
            join(and, left, truth(&right, next - 1))
        } else {
            left
        };
        out.push(Value::from(joined));
    }
    Ok(Operand::owned(out))
}

pub(super) fn not<'a>(operand: &Operand<'a>, rows: usize) -> Result<Operand<'a>, SqlError> {
    if let Operand::Column(column) = operand
        && let Some(truths) = column.bools()
    {
        let truths = truths.iter().map(|truth| !truth).collect();
        return Ok(Operand::owned(Column::from_bools(truths, column.nulls().to_vec())));
    }
    operand.map(DataType::Bool, rows, |value| {
        Ok(match value {
            Value::Bool(truth) => Value::Bool(!truth),
            _ => Value::Null,
        })
    })
}

/// Each branch sees only the rows that no earlier one took.
pub(super) fn case<'a>(
    branches: &[(Expression, Expression)],
    otherwise: Option<&Expression>,
    data_type: DataType,
    batch: &Batch,
    context: &ExecContext,
) -> Result<Operand<'a>, SqlError> {
    let mut values = vec![Value::Null; batch.rows()];
    let mut remaining: Vec<u32> = (0..batch.rows() as u32).collect();
    for (condition, result) in branches {
        if remaining.is_empty() {
            break;
        }
        let rows = batch.take(&remaining);
        let taken = super::select(condition, &rows, context)?;
        if taken.is_empty() {
            continue;
        }
        let results = evaluate(result, &rows.take(&taken), context)?;
        for (at, &row) in taken.iter().enumerate() {
            values[remaining[row as usize] as usize] = results.value(at);
        }
        let mut taken = taken.into_iter().peekable();
        let mut position = 0;
        remaining.retain(|_| {
            let is_taken = taken.next_if_eq(&position).is_some();
            position += 1;
            !is_taken
        });
    }
    if let Some(otherwise) = otherwise.filter(|_| !remaining.is_empty()) {
        let results = evaluate(otherwise, &batch.take(&remaining), context)?;
        for (at, &row) in remaining.iter().enumerate() {
            values[row as usize] = results.value(at);
        }
    }
    Ok(Operand::owned(Column::from_values(data_type, values)))
}

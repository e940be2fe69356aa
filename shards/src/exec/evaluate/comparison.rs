//! Comparisons and `IN` lists.

use super::operand as evaluate_operand;
use super::operand::{Operand, either_null, zip};
use crate::exec::context::ExecContext;
use model::batch::{Batch, Column};
use model::error::SqlError;
use model::expression::{BinaryOperator, Expression};
use model::types::DataType;
use model::value::{Value, ValueRef, float_order};
use std::cmp::Ordering;

/// `left operator right` for each row, three-valued.
pub(super) fn compare<'a>(
    operator: BinaryOperator,
    left: &Operand<'a>,
    right: &Operand<'a>,
    padded: bool,
    rows: usize,
) -> Operand<'a> {
    let distinct =
        matches!(operator, BinaryOperator::IsDistinctFrom | BinaryOperator::IsNotDistinctFrom);
    if !distinct {
        if left.is_constant_null() || right.is_constant_null() {
            return Operand::Constant(Value::Null);
        }
        if let Some(column) = typed(operator, left, right) {
            return column;
        }
    }
    if let (Operand::Constant(a), Operand::Constant(b)) = (left, right) {
        let truth = values(operator, &a.as_ref(), &b.as_ref(), padded);
        return Operand::Constant(Value::from(truth));
    }
    let mut out = Column::with_capacity(DataType::Bool, rows);
    for row in 0..rows {
        out.push(Value::from(values(operator, &left.get(row), &right.get(row), padded)));
    }
    Operand::owned(out)
}

fn typed<'a>(
    operator: BinaryOperator,
    left: &Operand<'a>,
    right: &Operand<'a>,
) -> Option<Operand<'a>> {
    let nulls = || either_null(left.nulls(), right.nulls());
    if matches!((left, right), (Operand::Constant(_), Operand::Constant(_))) {
        return None;
    }
    if let (Some((kind, a)), Some((other, b))) = (left.ints(), right.ints()) {
        (kind == other).then_some(())?;
        let truths = match operator {
            BinaryOperator::Equal => zip(a, b, |a, b| a == b),
            BinaryOperator::NotEqual => zip(a, b, |a, b| a != b),
            BinaryOperator::Less => zip(a, b, |a, b| a < b),
            BinaryOperator::LessOrEqual => zip(a, b, |a, b| a <= b),
            BinaryOperator::Greater => zip(a, b, |a, b| a > b),
            BinaryOperator::GreaterOrEqual => zip(a, b, |a, b| a >= b),
            _ => return None,
        };
        return Some(Operand::owned(Column::from_bools(truths, nulls())));
    }
    let (a, b) = (left.floats()?, right.floats()?);
    let truths = zip(a, b, |a, b| holds(operator, float_order(a, b)));
    Some(Operand::owned(Column::from_bools(truths, nulls())))
}

fn holds(operator: BinaryOperator, order: Ordering) -> bool {
    match operator {
        BinaryOperator::Equal | BinaryOperator::IsNotDistinctFrom => order == Ordering::Equal,
        BinaryOperator::NotEqual | BinaryOperator::IsDistinctFrom => order != Ordering::Equal,
        BinaryOperator::Less => order == Ordering::Less,
        BinaryOperator::LessOrEqual => order != Ordering::Greater,
        BinaryOperator::Greater => order == Ordering::Greater,
        BinaryOperator::GreaterOrEqual => order != Ordering::Less,
        _ => false,
    }
}

/// One comparison; `None` is unknown. `padded` strings (`char(n)`) compare without trailing
/// blanks.
pub(super) fn values(
    operator: BinaryOperator,
    left: &ValueRef<'_>,
    right: &ValueRef<'_>,
    padded: bool,
) -> Option<bool> {
    let order = match (left, right) {
        (ValueRef::Null, ValueRef::Null) => match operator {
            BinaryOperator::IsDistinctFrom => return Some(false),
            BinaryOperator::IsNotDistinctFrom => return Some(true),
            _ => return None,
        },
        (ValueRef::Null, _) | (_, ValueRef::Null) => match operator {
            BinaryOperator::IsDistinctFrom => return Some(true),
            BinaryOperator::IsNotDistinctFrom => return Some(false),
            _ => return None,
        },
        (ValueRef::Text(a), ValueRef::Text(b)) if padded => {
            a.trim_end_matches(' ').cmp(b.trim_end_matches(' '))
        }
        (ValueRef::Text(a), ValueRef::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (ValueRef::Bytes(a), ValueRef::Bytes(b)) => a.cmp(b),
        (a, b) => a.to_value().sort_order(&b.to_value()),
    };
    Some(holds(operator, order))
}

/// `operand [NOT] IN (list)`.
pub(super) fn in_list<'a>(
    operand: &'a Expression,
    list: &'a [Expression],
    negated: bool,
    batch: &'a Batch,
    context: &ExecContext,
) -> Result<Operand<'a>, SqlError> {
    let padded = matches!(operand.data_type(), DataType::Char(_));
    let candidates: Vec<Operand<'_>> = list
        .iter()
        .map(|candidate| evaluate_operand(candidate, batch, context))
        .collect::<Result<_, _>>()?;
    let operand = evaluate_operand(operand, batch, context)?;
    if let Some(column) = integers_in_list(&operand, &candidates, negated) {
        return Ok(column);
    }
    let mut out = Column::with_capacity(DataType::Bool, batch.rows());
    for row in 0..batch.rows() {
        let value = operand.get(row);
        let mut found = Some(false);
        for candidate in &candidates {
            match values(BinaryOperator::Equal, &value, &candidate.get(row), padded) {
                Some(true) => {
                    found = Some(true);
                    break;
                }
                Some(false) => {}
                None => found = None,
            }
        }
        out.push(Value::from(found.map(|found| found != negated)));
    }
    Ok(Operand::owned(out))
}

/// A column of integers and a list of constants: looked up in the sorted list.
fn integers_in_list<'a>(
    operand: &Operand<'a>,
    candidates: &[Operand<'a>],
    negated: bool,
) -> Option<Operand<'a>> {
    let Operand::Column(column) = operand else { return None };
    let (kind, ints) = (column.int_kind()?, column.ints()?);
    let mut sorted = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        match candidate.ints()? {
            (other, super::operand::Source::One(value)) if other == kind => sorted.push(value),
            _ => return None,
        }
    }
    sorted.sort_unstable();
    let truths = ints.iter().map(|value| sorted.binary_search(value).is_ok() != negated).collect();
    Some(Operand::owned(Column::from_bools(truths, column.nulls().to_vec())))
}

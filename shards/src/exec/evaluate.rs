//! Expressions over batches.
//!
//! [`evaluate`] answers a column with one value a row. Operands that are columns of the batch are
//! read in place, constants stay single values, and the loops over integers, floats and truth
//! values run over plain slices. Everything else goes value by value through the same functions
//! that PostgreSQL's semantics are written down in once.
//!
//! Evaluation recurses over the expression, whose depth the binder bounds (54001).

mod arithmetic;
mod comparison;
mod like;
mod logic;
mod lookup;
mod operand;
pub mod temporal;

use super::cast;
use super::context::ExecContext;
use super::functions;
use model::batch::{Batch, Column};
use model::error::SqlError;
use model::expression::{Expression, UnaryOperator};
use model::value::Value;
use operand::Operand;

pub use like::Pattern;

/// One comparison of two values, three-valued.
pub(super) fn compare_values(
    operator: model::expression::BinaryOperator,
    left: &Value,
    right: &Value,
) -> Option<bool> {
    comparison::values(operator, &left.as_ref(), &right.as_ref(), false)
}

/// The value of `expression` for each row of `batch`.
pub fn evaluate(
    expression: &Expression,
    batch: &Batch,
    context: &ExecContext,
) -> Result<Column, SqlError> {
    let operand = operand(expression, batch, context)?;
    Ok(operand.into_column(expression.data_type(), batch.rows()))
}

/// The value of an expression without columns.
pub fn evaluate_constant(
    expression: &Expression,
    context: &ExecContext,
) -> Result<Value, SqlError> {
    match expression {
        Expression::Literal(value, _) => Ok(value.clone()),
        Expression::Parameter { index, .. } => context.parameter(*index),
        Expression::Outer { depth, index, .. } => context.outer_value(*depth, *index),
        _ => Ok(evaluate(expression, &Batch::new(1, Vec::new()), context)?.value(0)),
    }
}

/// The numbers of the rows for which `condition` is true.
pub fn select(
    condition: &Expression,
    batch: &Batch,
    context: &ExecContext,
) -> Result<Vec<u32>, SqlError> {
    let rows = batch.rows() as u32;
    Ok(match operand(condition, batch, context)? {
        Operand::Constant(Value::Bool(true)) => (0..rows).collect(),
        Operand::Constant(_) => Vec::new(),
        Operand::Column(column) => match (column.bools(), column.nulls()) {
            (Some(truths), []) => (0..rows).filter(|&row| truths[row as usize]).collect(),
            (Some(truths), nulls) => {
                (0..rows).filter(|&row| truths[row as usize] && !nulls[row as usize]).collect()
            }
            (None, _) => {
                let is_true = |row: &u32| {
                    matches!(column.get(*row as usize), model::value::ValueRef::Bool(true))
                };
                (0..rows).filter(is_true).collect()
            }
        },
    })
}

/// Keeps the rows of `batch` for which `condition` is true; `None` where none is left.
pub fn filter(
    condition: &Expression,
    batch: Batch,
    context: &ExecContext,
) -> Result<Option<Batch>, SqlError> {
    let rows = select(condition, &batch, context)?;
    Ok(match rows.len() {
        0 => None,
        all if all == batch.rows() => Some(batch),
        _ => Some(batch.take(&rows)),
    })
}

fn operand<'a>(
    expression: &'a Expression,
    batch: &'a Batch,
    context: &ExecContext,
) -> Result<Operand<'a>, SqlError> {
    match expression {
        Expression::Column(column) => batch
            .columns()
            .get(column.index)
            .map(Operand::borrowed)
            .ok_or_else(|| SqlError::internal("an expression names a column its input lacks")),
        Expression::Literal(value, _) => Ok(Operand::Constant(value.clone())),
        Expression::Parameter { index, .. } => context.parameter(*index).map(Operand::Constant),
        Expression::Outer { depth, index, .. } => {
            context.outer_value(*depth, *index).map(Operand::Constant)
        }
        Expression::Unary { operator: UnaryOperator::Not, operand: inner } => {
            logic::not(&operand(inner, batch, context)?, batch.rows())
        }
        Expression::Unary { operator, operand: inner } => {
            let data_type = inner.data_type();
            let inner = operand(inner, batch, context)?;
            let mapped = |value: Value| arithmetic::unary(*operator, &value, data_type);
            inner.map(expression.data_type(), batch.rows(), mapped)
        }
        Expression::Binary { operator, left, right, data_type } => {
            logic::binary(*operator, left, right, *data_type, batch, context)
        }
        Expression::IsNull { operand: inner, negated } => {
            let inner = operand(inner, batch, context)?;
            Ok(inner.null_test(*negated, batch.rows()))
        }
        Expression::Cast { operand: inner, data_type, explicit } => {
            let from = inner.data_type();
            let inner = operand(inner, batch, context)?;
            if inner.keeps_its_form(from, *data_type) {
                return Ok(inner);
            }
            let now = context.now_micros;
            let cast = |value: Value| cast::cast(&value, from, *data_type, *explicit, now);
            inner.map(*data_type, batch.rows(), cast)
        }
        Expression::Case { branches, otherwise, data_type } => {
            logic::case(branches, otherwise.as_deref(), *data_type, batch, context)
        }
        Expression::InList { operand: inner, list, negated } => {
            comparison::in_list(inner, list, *negated, batch, context)
        }
        Expression::Like { operand: inner, pattern, escape, negated, case_insensitive } => {
            let text = operand(inner, batch, context)?;
            let pattern = operand(pattern, batch, context)?;
            like::like(&text, &pattern, *escape, *case_insensitive, *negated, batch.rows())
        }
        Expression::Lookup { table, arguments, data_type } => {
            lookup::lookup(table, arguments, *data_type, batch, context).map(Operand::owned)
        }
        Expression::Function { function, arguments, data_type } => {
            functions::evaluate_call(function, arguments, *data_type, batch, context)
                .map(Operand::owned)
        }
    }
}

/// Whether evaluating `expression` for a row that does not need it can be noticed: it may fail,
/// or it has effects. Comparisons of columns and constants cannot.
fn may_fail(expression: &Expression) -> bool {
    expression.any(&|node| {
        !matches!(
            node,
            Expression::Column(_)
                | Expression::Literal(..)
                | Expression::Parameter { .. }
                | Expression::Outer { .. }
                | Expression::IsNull { .. }
                | Expression::InList { .. }
                | Expression::Unary { operator: UnaryOperator::Not, .. }
        ) && !matches!(node, Expression::Binary { operator, .. } if operator.is_comparison()
            || matches!(operator, model::expression::BinaryOperator::And | model::expression::BinaryOperator::Or))
    })
}

#[cfg(test)]
pub(in crate::exec) mod tests;

//! `OFFSET` and `LIMIT`.

use super::context::{ExecContext, Operator};
use super::evaluate::evaluate_constant;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::Limit;
use model::value::Value;

/// Evaluates the expression of a `LIMIT`: `None` is no limit. 2201W where it is negative.
pub fn row_limit(
    expression: Option<&Expression>,
    context: &ExecContext,
) -> Result<Option<u64>, SqlError> {
    count(
        expression,
        context,
        SqlError::new(SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE, "LIMIT must not be negative"),
    )
}

/// Evaluates the expression of an `OFFSET`: 0 is none. 2201X where it is negative.
pub(super) fn row_offset(
    expression: Option<&Expression>,
    context: &ExecContext,
) -> Result<u64, SqlError> {
    let negative =
        SqlError::new(SqlState::INVALID_ROW_COUNT_IN_OFFSET_CLAUSE, "OFFSET must not be negative");
    Ok(count(expression, context, negative)?.unwrap_or(0))
}

fn count(
    expression: Option<&Expression>,
    context: &ExecContext,
    negative: SqlError,
) -> Result<Option<u64>, SqlError> {
    let Some(expression) = expression else { return Ok(None) };
    match evaluate_constant(expression, context)? {
        Value::Null => Ok(None),
        Value::Int(rows) => u64::try_from(rows).map(Some).map_err(|_| negative),
        _ => Err(SqlError::internal("a row count that is no integer")),
    }
}

/// Which rows pass.
#[derive(Clone, Copy)]
pub(super) struct Passing {
    skip: u64,
    remaining: u64,
}

impl Passing {
    pub(super) fn of(plan: &Limit, context: &ExecContext) -> Result<Passing, SqlError> {
        let skip = row_offset(plan.offset.as_ref(), context)?;
        let remaining = row_limit(plan.limit.as_ref(), context)?.unwrap_or(u64::MAX);
        Ok(Passing { skip, remaining })
    }

    /// Rows that are wanted of the input by one who wants so many.
    pub(super) fn wanted_of(self, wanted: u64) -> u64 {
        self.skip.saturating_add(self.remaining.min(wanted))
    }
}

pub(super) struct LimitOperator {
    input: Box<dyn Operator>,
    skip: u64,
    remaining: u64,
}

impl LimitOperator {
    pub(super) fn new(passing: Passing, input: Box<dyn Operator>) -> LimitOperator {
        let Passing { skip, remaining } = passing;
        LimitOperator { input, skip, remaining }
    }
}

impl Operator for LimitOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            while self.remaining > 0 {
                let Some(batch) = self.input.next().await? else { return Ok(None) };
                let rows = batch.rows() as u64;
                if self.skip >= rows {
                    self.skip -= rows;
                    continue;
                }
                let first = std::mem::take(&mut self.skip);
                let last = rows.min(first.saturating_add(self.remaining));
                self.remaining -= last - first;
                if first == 0 && last == rows {
                    return Ok(Some(batch));
                }
                let kept: Vec<u32> = (first as u32..last as u32).collect();
                return Ok(Some(batch.take(&kept)));
            }
            Ok(None)
        }
        .boxed_local()
    }
}

//! Rows given by expressions.

use super::context::{ExecContext, Operator};
use super::evaluate::evaluate_constant;
use super::functions::calls_sequences;
use super::sequences::evaluate_rows;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{BATCH_ROWS, Batch, Column};
use model::error::SqlError;
use model::plan::Values;
use std::rc::Rc;

pub(super) struct ValuesOperator {
    plan: Values,
    context: Rc<ExecContext>,
    at: usize,
}

impl ValuesOperator {
    pub(super) fn new(plan: &Values, context: &Rc<ExecContext>) -> ValuesOperator {
        ValuesOperator { plan: plan.clone(), context: context.clone(), at: 0 }
    }

    async fn batch(&mut self) -> Result<Option<Batch>, SqlError> {
        let end = self.plan.rows.len().min(self.at + BATCH_ROWS);
        if self.at == end {
            return Ok(None);
        }
        let rows = &self.plan.rows[self.at..end];
        if self.context.sequences.is_some() && rows.iter().flatten().any(calls_sequences) {
            let evaluated = evaluate_rows(&self.context, rows.len(), |row| {
                let row = rows[row].iter();
                row.map(|value| evaluate_constant(value, &self.context)).collect()
            });
            let batch = Batch::from_rows(&self.plan.types, &evaluated.await?);
            self.at = end;
            return Ok(Some(batch));
        }
        let mut columns: Vec<Column> =
            self.plan.types.iter().map(|t| Column::with_capacity(*t, rows.len())).collect();
        for row in rows {
            for (column, expression) in columns.iter_mut().zip(row) {
                column.push(evaluate_constant(expression, &self.context)?);
            }
        }
        let batch = Batch::new(rows.len(), columns);
        self.at = end;
        Ok(Some(batch))
    }
}

impl Operator for ValuesOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            self.context.pause().await?;
            self.batch().await
        }
        .boxed_local()
    }
}

//! Computes columns.

use super::context::{ExecContext, Operator};
use super::evaluate::evaluate;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::Batch;
use model::error::SqlError;
use model::expression::Expression;
use std::rc::Rc;

pub(super) struct ProjectOperator {
    pub(super) input: Box<dyn Operator>,
    pub(super) expressions: Vec<Expression>,
    pub(super) context: Rc<ExecContext>,
}

impl Operator for ProjectOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            let Some(batch) = self.input.next().await? else { return Ok(None) };
            let columns = self
                .expressions
                .iter()
                .map(|expression| evaluate(expression, &batch, &self.context))
                .collect::<Result<_, _>>()?;
            Ok(Some(Batch::new(batch.rows(), columns)))
        }
        .boxed_local()
    }
}

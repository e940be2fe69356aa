//! Keeps the rows for which a condition is true.

use super::context::{ExecContext, Operator};
use super::evaluate::filter;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::Batch;
use model::error::SqlError;
use model::expression::Expression;
use std::rc::Rc;

pub(super) struct FilterOperator {
    pub(super) input: Box<dyn Operator>,
    pub(super) condition: Expression,
    pub(super) context: Rc<ExecContext>,
}

impl Operator for FilterOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            while let Some(batch) = self.input.next().await? {
                if let Some(kept) = filter(&self.condition, batch, &self.context)? {
                    return Ok(Some(kept));
                }
                self.context.pause().await?;
            }
            Ok(None)
        }
        .boxed_local()
    }
}

//! The inputs' rows one after the other.

use super::context::Operator;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::Batch;
use model::error::SqlError;
use std::collections::VecDeque;

pub(super) struct AppendOperator {
    pub(super) inputs: VecDeque<Box<dyn Operator>>,
}

impl Operator for AppendOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            while let Some(input) = self.inputs.front_mut() {
                if let Some(batch) = input.next().await? {
                    return Ok(Some(batch));
                }
                // An input that has ended gives its memory back before the next one runs.
                self.inputs.pop_front();
            }
            Ok(None)
        }
        .boxed_local()
    }
}

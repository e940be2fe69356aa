//! Keeps its input's rows, so that an enclosing `Apply` runs the input once.
//!
//! The plan node is opened again for each outer row; what it keeps lives in the context's store
//! of materialized results, found by the node's place in memory, which does not move while the
//! statement runs.

use super::context::{ExecContext, Operator};
use super::kept::KeptRows;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{BATCH_ROWS, Batch};
use model::error::SqlError;
use model::types::DataType;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Results kept for the statement, by the address of their plan node.
#[derive(Default)]
pub struct Materialized(RefCell<HashMap<usize, Rc<KeptRows>>>);

impl Materialized {
    /// Whether a node's rows are kept.
    pub(super) fn holds(&self, node: usize) -> bool {
        self.0.borrow().contains_key(&node)
    }
}

pub(super) struct MaterializeOperator {
    pub(super) node: usize,
    pub(super) input: Option<Box<dyn Operator>>,
    pub(super) types: Vec<DataType>,
    pub(super) context: Rc<ExecContext>,
    pub(super) at: usize,
}

impl MaterializeOperator {
    async fn rows(&mut self) -> Result<Rc<KeptRows>, SqlError> {
        let known = self.context.materialized.0.borrow().get(&self.node).cloned();
        if let Some(rows) = known {
            return Ok(rows);
        }
        let rows = match &mut self.input {
            Some(input) => KeptRows::collect(input.as_mut(), &self.types, &self.context).await?,
            None => KeptRows::new(&self.types, &self.context),
        };
        let rows = Rc::new(rows);
        self.input = None;
        self.context.materialized.0.borrow_mut().insert(self.node, rows.clone());
        Ok(rows)
    }
}

impl Operator for MaterializeOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            let rows = self.rows().await?;
            if self.at >= rows.rows() {
                return Ok(None);
            }
            let batch = rows.slice(self.at, BATCH_ROWS);
            self.at += batch.rows();
            Ok(Some(batch))
        }
        .boxed_local()
    }
}

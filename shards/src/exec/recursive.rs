//! `WITH RECURSIVE`: the first rows, and then run by run what the step makes of the rows of the
//! run before.
//!
//! A run's rows are kept, in the statement's memory, until the next run has read them. Under
//! `UNION` the distinct rows of all runs are kept too, and a row that has been answered is not
//! answered again: a query whose rows repeat ends. Under `UNION ALL` such a query answers for as
//! long as it is read.

use super::context::{ExecContext, Operator, Working};
use super::grouping::Grouping;
use super::kept::KeptRows;
use super::memory::Reservation;
use super::open;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{BATCH_ROWS, Batch};
use model::error::SqlError;
use model::plan::{Plan, Recursive};
use model::types::DataType;
use std::rc::Rc;
use std::sync::Arc;

pub(super) struct RecursiveOperator {
    id: usize,
    step: Arc<Plan>,
    types: Vec<DataType>,
    /// The run that is read.
    run: Box<dyn Operator>,
    /// What it has answered.
    answered: KeptRows,
    /// All rows that have been answered; `None` where they may come again.
    known: Option<Grouping>,
    memory: Reservation,
    context: Rc<ExecContext>,
}

impl RecursiveOperator {
    pub(super) fn new(
        node: &Recursive,
        first: Box<dyn Operator>,
        types: Vec<DataType>,
        context: &Rc<ExecContext>,
    ) -> RecursiveOperator {
        RecursiveOperator {
            id: node.id,
            step: node.step.clone(),
            run: first,
            answered: KeptRows::new(&types, context),
            known: (!node.all).then(|| Grouping::new(&types)),
            memory: context.memory.reserve(),
            context: context.clone(),
            types,
        }
    }

    /// The rows that have not been answered.
    fn unknown(&mut self, batch: Batch) -> Result<Batch, SqlError> {
        let Some(known) = &mut self.known else { return Ok(batch) };
        let mut kept = Vec::new();
        for row in 0..batch.rows() {
            let before = known.len();
            known.insert(batch.columns(), row, &mut self.memory)?;
            if known.len() > before {
                kept.push(row as u32);
            }
        }
        Ok(if kept.len() == batch.rows() { batch } else { batch.take(&kept) })
    }
}

impl Operator for RecursiveOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            loop {
                self.context.pause().await?;
                if let Some(batch) = self.run.next().await? {
                    let batch = self.unknown(batch)?;
                    if batch.rows() > 0 {
                        self.answered.append(&batch)?;
                        return Ok(Some(batch));
                    }
                    continue;
                }
                if self.answered.rows() == 0 {
                    return Ok(None);
                }
                let empty = KeptRows::new(&self.types, &self.context);
                let answered = std::mem::replace(&mut self.answered, empty);
                let context = Rc::new(self.context.with_working(self.id, answered));
                self.run = open(&self.step, &context)?;
            }
        }
        .boxed_local()
    }
}

/// Reads what the last run has answered.
pub(super) struct WorkingTableOperator {
    pub(super) working: Rc<Working>,
    pub(super) at: usize,
}

impl Operator for WorkingTableOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            let rows = &self.working.rows;
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

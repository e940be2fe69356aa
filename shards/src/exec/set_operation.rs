//! `INTERSECT` and `EXCEPT`, with or without `ALL`.
//!
//! The right input is counted by its distinct rows; each left row then takes one from its count.

use super::context::{ExecContext, Operator};
use super::grouping::Grouping;
use super::memory::Reservation;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::Batch;
use model::error::SqlError;
use model::plan::SetOperationKind;
use model::types::DataType;
use std::rc::Rc;

pub(super) struct SetOperator {
    left: Box<dyn Operator>,
    right: Option<Box<dyn Operator>>,
    kind: SetOperationKind,
    all: bool,
    rows: Grouping,
    /// For each distinct row, how often the right input has it and no left row has used it.
    counts: Vec<u64>,
    memory: Reservation,
    context: Rc<ExecContext>,
}

impl SetOperator {
    pub(super) fn new(
        left: Box<dyn Operator>,
        right: Box<dyn Operator>,
        kind: SetOperationKind,
        all: bool,
        types: &[DataType],
        context: &Rc<ExecContext>,
    ) -> SetOperator {
        SetOperator {
            left,
            right: Some(right),
            kind,
            all,
            rows: Grouping::new(types),
            counts: Vec::new(),
            memory: context.memory.reserve(),
            context: context.clone(),
        }
    }

    async fn count_right(&mut self, mut right: Box<dyn Operator>) -> Result<(), SqlError> {
        while let Some(batch) = right.next().await? {
            for row in 0..batch.rows() {
                let group = self.rows.insert(batch.columns(), row, &mut self.memory)? as usize;
                self.counts.resize(self.counts.len().max(group + 1), 0);
                self.counts[group] += 1;
            }
            self.context.pause().await?;
        }
        Ok(())
    }

    fn keeps(&mut self, batch: &Batch, row: usize) -> Result<bool, SqlError> {
        /// Marks a distinct row that has been answered where duplicates do not count.
        const ANSWERED: u64 = u64::MAX;
        let intersect = self.kind == SetOperationKind::Intersect;
        let known = self.rows.len();
        let group = self.rows.insert(batch.columns(), row, &mut self.memory)? as usize;
        self.counts.resize(self.counts.len().max(group + 1), 0);
        let count = &mut self.counts[group];
        if self.all {
            let matched = *count > 0;
            *count -= u64::from(matched);
            return Ok(matched == intersect);
        }
        let in_right = group < known && *count > 0;
        if *count == ANSWERED || in_right != intersect {
            return Ok(false);
        }
        *count = ANSWERED;
        Ok(true)
    }
}

impl Operator for SetOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            if let Some(right) = self.right.take() {
                self.count_right(right).await?;
            }
            while let Some(batch) = self.left.next().await? {
                let mut kept = Vec::new();
                for row in 0..batch.rows() {
                    if self.keeps(&batch, row)? {
                        kept.push(row as u32);
                    }
                }
                if !kept.is_empty() {
                    return Ok(Some(batch.take(&kept)));
                }
                self.context.pause().await?;
            }
            Ok(None)
        }
        .boxed_local()
    }
}

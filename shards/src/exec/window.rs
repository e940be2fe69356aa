//! Window functions over SQL's default frames.
//!
//! The input is kept and sorted by partition and order columns; each partition is then walked
//! once, peers (rows that order the same) together. The output comes in the sorted order.

use super::aggregate::WindowAccumulator;
use super::context::{ExecContext, Operator};
use super::evaluate::evaluate;
use super::memory::Reservation;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{BATCH_ROWS, Batch, Column};
use model::error::SqlError;
use model::plan::{AggregateCall, Phase, SortKey, Window, WindowCall, WindowFunction};
use model::value::Value;
use std::rc::Rc;

/// Answers rows whose window values are computed, a partition at a time.
pub(super) struct WindowOperator {
    plan: Window,
    /// Sorted by the partition columns, then by the order.
    input: Box<dyn Operator>,
    /// Rows of the partition that is being gathered, with its columns for grouping.
    gathered: Option<Batch>,
    ended: bool,
    ready: std::collections::VecDeque<Batch>,
    memory: Reservation,
    context: Rc<ExecContext>,
}

/// The order that a window's input must have.
pub(super) fn input_order(plan: &Window) -> Vec<SortKey> {
    let partition = plan.partition_by.iter().map(|expression| SortKey {
        expression: expression.clone(),
        descending: false,
        nulls_first: false,
    });
    partition.chain(plan.order_by.iter().cloned()).collect()
}

impl WindowOperator {
    pub(super) fn new(
        plan: &Window,
        input: Box<dyn Operator>,
        context: &Rc<ExecContext>,
    ) -> WindowOperator {
        WindowOperator {
            plan: plan.clone(),
            input,
            gathered: None,
            ended: false,
            ready: std::collections::VecDeque::new(),
            memory: context.memory.reserve(),
            context: context.clone(),
        }
    }

    /// Cuts a sorted batch where the partition changes; what is complete is computed.
    async fn take_in(&mut self, batch: Batch) -> Result<(), SqlError> {
        self.memory.grow(batch.memory_bytes())?;
        let all = match self.gathered.take() {
            Some(mut gathered) => {
                gathered.append(&batch);
                gathered
            }
            None => batch,
        };
        let keys = self.columns(&self.plan.partition_by, &all)?;
        let last = all.rows() - 1;
        let mut start = 0;
        for row in 1..all.rows() {
            if !same(&keys, row - 1, row) {
                self.compute(&all, start, row).await?;
                start = row;
            }
        }
        let rest: Vec<u32> = (start as u32..=last as u32).collect();
        self.gathered = Some(all.take(&rest));
        Ok(())
    }

    fn columns(
        &self,
        expressions: &[model::expression::Expression],
        batch: &Batch,
    ) -> Result<Vec<Column>, SqlError> {
        expressions.iter().map(|expression| evaluate(expression, batch, &self.context)).collect()
    }

    /// Computes the calls over the rows `start..end`, which are a partition.
    async fn compute(&mut self, all: &Batch, start: usize, end: usize) -> Result<(), SqlError> {
        let rows: Vec<u32> = (start as u32..end as u32).collect();
        let partition = all.take(&rows);
        let order: Vec<_> = self.plan.order_by.iter().map(|key| key.expression.clone()).collect();
        let order = self.columns(&order, &partition)?;
        let mut added = Vec::new();
        for call in self.plan.calls.clone() {
            added.push(self.call(&call, &partition, &order)?);
            self.context.pause().await?;
        }
        let count = partition.rows();
        let whole = partition.beside(Batch::new(count, added));
        for start in (0..count).step_by(BATCH_ROWS) {
            let end = count.min(start + BATCH_ROWS);
            let rows: Vec<u32> = (start as u32..end as u32).collect();
            self.ready.push_back(whole.take(&rows));
        }
        Ok(())
    }

    fn call(
        &mut self,
        call: &WindowCall,
        partition: &Batch,
        order: &[Column],
    ) -> Result<Column, SqlError> {
        let rows = partition.rows();
        let mut out = Column::with_capacity(call.data_type, rows);
        let function = match call.function {
            WindowFunction::Aggregate(function) => function,
            ranking => {
                let (mut rank, mut dense) = (1, 1);
                for row in 0..rows {
                    if row > 0 && !same(order, row - 1, row) {
                        rank = row as i64 + 1;
                        dense += 1;
                    }
                    out.push(Value::Int(match ranking {
                        WindowFunction::RowNumber => row as i64 + 1,
                        WindowFunction::Rank => rank,
                        _ => dense,
                    }));
                }
                return Ok(out);
            }
        };
        let call = AggregateCall {
            function,
            arguments: call.arguments.clone(),
            distinct: false,
            filter: None,
            data_type: call.data_type,
        };
        let arguments = self.columns(&call.arguments, partition)?;
        let mut accumulator = WindowAccumulator::new(&call, Phase::Single)?;
        accumulator.resize(1);
        let mut start = 0;
        while start < rows {
            let mut end = start + 1;
            while end < rows && (order.is_empty() || same(order, end - 1, end)) {
                end += 1;
            }
            let peers: Vec<u32> = (start as u32..end as u32).collect();
            let values: Vec<Column> = arguments.iter().map(|column| column.take(&peers)).collect();
            accumulator.update(&vec![0; peers.len()], &values, &mut self.memory)?;
            let value = accumulator.result(0, &call)?;
            peers.iter().for_each(|_| out.push(value.clone()));
            start = end;
        }
        Ok(out)
    }

    async fn next_batch(&mut self) -> Result<Option<Batch>, SqlError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            self.memory.clear();
            if let Some(gathered) = &self.gathered {
                self.memory.grow(gathered.memory_bytes())?;
            }
            if self.ended {
                return Ok(None);
            }
            match self.input.next().await? {
                Some(batch) => self.take_in(batch).await?,
                None => {
                    self.ended = true;
                    if let Some(last) = self.gathered.take() {
                        self.compute(&last, 0, last.rows()).await?;
                    }
                }
            }
        }
    }
}

/// Whether two rows agree on all columns, `NULL` agreeing with `NULL`.
fn same(columns: &[Column], a: usize, b: usize) -> bool {
    columns.iter().all(|column| column.value(a).same(&column.value(b)))
}

impl Operator for WindowOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        self.next_batch().boxed_local()
    }
}

//! Groups and aggregates by hashing.
//!
//! Groups get numbers ([`Grouping`]); each call has an [`Accumulator`] with one state a group. In
//! two phases the first answers states, which are ordinary columns, and the second merges them:
//!
//! | function | state columns |
//! |---|---|
//! | count | count |
//! | sum, min, max, bool_and, bool_or, first | the value so far |
//! | avg | sum (numeric, double precision or interval), count |
//! | string_agg | the string so far, the separator |
//! | variances of numeric | count, sum, sum of squares |
//! | variances of double precision | count, sum, sum of squared differences from the mean |

mod accumulator;
mod variance;

use super::context::{ExecContext, Operator};
use super::evaluate::{evaluate, select};
use super::grouping::Grouping;
use super::memory::Reservation;
use accumulator::Accumulator;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{BATCH_ROWS, Batch, Column};
use model::error::SqlError;
use model::expression::Expression;
use model::plan::{Aggregate, AggregateCall, Phase};
use model::types::DataType;
use std::rc::Rc;

pub(super) use accumulator::Accumulator as WindowAccumulator;
pub use accumulator::state_types;

pub(super) struct AggregateOperator {
    plan: Aggregate,
    input: Option<Box<dyn Operator>>,
    groups: Grouping,
    /// The group columns' values, one row a group.
    keys: Vec<Column>,
    accumulators: Vec<Accumulator>,
    /// For calls with `DISTINCT`: the values met, with their group.
    distinct: Vec<Option<Grouping>>,
    at: usize,
    memory: Reservation,
    context: Rc<ExecContext>,
}

impl AggregateOperator {
    pub(super) fn new(
        plan: &Aggregate,
        input: Box<dyn Operator>,
        context: &Rc<ExecContext>,
    ) -> Result<AggregateOperator, SqlError> {
        let types: Vec<DataType> = plan.groups.iter().map(Expression::data_type).collect();
        let distinct = plan
            .aggregates
            .iter()
            .map(|call| {
                call.distinct.then(|| {
                    let mut types = vec![DataType::Int8];
                    types.extend(call.arguments.iter().map(Expression::data_type));
                    Grouping::new(&types)
                })
            })
            .collect();
        Ok(AggregateOperator {
            plan: plan.clone(),
            input: Some(input),
            groups: Grouping::new(&types),
            keys: types.iter().map(|t| Column::with_capacity(*t, 0)).collect(),
            accumulators: plan
                .aggregates
                .iter()
                .map(|call| Accumulator::new(call, plan.phase))
                .collect::<Result<_, _>>()?,
            distinct,
            at: 0,
            memory: context.memory.reserve(),
            context: context.clone(),
        })
    }

    async fn collect(&mut self, mut input: Box<dyn Operator>) -> Result<(), SqlError> {
        while let Some(batch) = input.next().await? {
            let groups = self.assign(&batch)?;
            for at in 0..self.accumulators.len() {
                self.accumulate(at, &batch, &groups)?;
            }
            self.context.pause().await?;
        }
        if self.plan.groups.is_empty() {
            self.resize(1)?;
        }
        Ok(())
    }

    /// The group of each row; new groups keep their key.
    fn assign(&mut self, batch: &Batch) -> Result<Vec<u32>, SqlError> {
        if self.plan.groups.is_empty() {
            self.resize(1)?;
            return Ok(vec![0; batch.rows()]);
        }
        let keys: Vec<Column> = self
            .plan
            .groups
            .iter()
            .map(|group| evaluate(group, batch, &self.context))
            .collect::<Result<_, _>>()?;
        let mut numbers = Vec::with_capacity(batch.rows());
        for row in 0..batch.rows() {
            let known = self.groups.len();
            let group = self.groups.insert(&keys, row, &mut self.memory)?;
            if group as usize == known {
                for (kept, key) in self.keys.iter_mut().zip(&keys) {
                    kept.push_ref(&key.get(row));
                }
            }
            numbers.push(group);
        }
        self.resize(self.groups.len())?;
        Ok(numbers)
    }

    fn resize(&mut self, groups: usize) -> Result<(), SqlError> {
        /// About what a state takes, besides strings and numerics that grow in it.
        const STATE_BYTES: usize = 48;
        for accumulator in &mut self.accumulators {
            let more = groups.saturating_sub(accumulator.len());
            self.memory.grow(more * STATE_BYTES)?;
            accumulator.resize(groups);
        }
        Ok(())
    }

    fn accumulate(&mut self, at: usize, batch: &Batch, groups: &[u32]) -> Result<(), SqlError> {
        let call = &self.plan.aggregates[at];
        let narrowed = match &call.filter {
            Some(filter) if self.plan.phase != Phase::Final => {
                let rows = select(filter, batch, &self.context)?;
                let groups: Vec<u32> = rows.iter().map(|&row| groups[row as usize]).collect();
                Some((batch.take(&rows), groups))
            }
            _ => None,
        };
        let (batch, groups) =
            narrowed.as_ref().map_or((batch, groups), |(batch, groups)| (batch, groups.as_slice()));
        let mut arguments: Vec<Column> = call
            .arguments
            .iter()
            .map(|argument| evaluate(argument, batch, &self.context))
            .collect::<Result<_, _>>()?;
        if let Some(met) = &mut self.distinct[at] {
            let fresh = first_met(met, &arguments, groups, &mut self.memory)?;
            arguments = arguments.iter().map(|column| column.take(&fresh)).collect();
            let groups: Vec<u32> = fresh.iter().map(|&row| groups[row as usize]).collect();
            return self.accumulators[at].update(&groups, &arguments, &mut self.memory);
        }
        self.accumulators[at].update(groups, &arguments, &mut self.memory)
    }

    /// The next groups' results or states.
    fn emit(&mut self) -> Result<Option<Batch>, SqlError> {
        let groups = if self.plan.groups.is_empty() { 1 } else { self.groups.len() };
        let end = groups.min(self.at + BATCH_ROWS);
        if self.at == end {
            return Ok(None);
        }
        let rows: Vec<u32> = (self.at as u32..end as u32).collect();
        let mut columns: Vec<Column> = self.keys.iter().map(|key| key.take(&rows)).collect();
        for (accumulator, call) in self.accumulators.iter().zip(&self.plan.aggregates) {
            if self.plan.phase == Phase::Partial {
                columns.extend(accumulator.states(call, self.at..end));
            } else {
                let mut column = Column::with_capacity(call.data_type, rows.len());
                for group in self.at..end {
                    column.push(accumulator.result(group, call)?);
                }
                columns.push(column);
            }
        }
        self.at = end;
        Ok(Some(Batch::new(rows.len(), columns)))
    }
}

/// The rows whose arguments their group has not met before. Nulls are never counted.
fn first_met(
    met: &mut Grouping,
    arguments: &[Column],
    groups: &[u32],
    memory: &mut Reservation,
) -> Result<Vec<u32>, SqlError> {
    let numbers = groups.iter().map(|&group| i64::from(group)).collect();
    let mut keys = vec![Column::from_ints(model::batch::IntKind::Int, numbers, Vec::new())];
    keys.extend_from_slice(arguments);
    let mut fresh = Vec::new();
    for row in 0..groups.len() {
        let known = met.len();
        if met.insert(&keys, row, memory)? as usize == known {
            fresh.push(row as u32);
        }
    }
    Ok(fresh)
}

impl Operator for AggregateOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            if let Some(input) = self.input.take() {
                self.collect(input).await?;
            }
            self.context.pause().await?;
            self.emit()
        }
        .boxed_local()
    }
}

/// The types of an aggregate call's arguments, for [`state_types`].
fn argument_type(call: &AggregateCall) -> DataType {
    call.arguments.first().map_or(DataType::Int8, |argument| argument.data_type().base())
}

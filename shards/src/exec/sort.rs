//! Sorting.
//!
//! Every batch that comes in is sorted by itself and kept as a run; the runs are merged while the
//! result is pulled, so that no step is longer than sorting one batch. With a limit, runs are
//! merged and cut as soon as they hold several times the rows that are needed. The sort is stable:
//! of equal rows the one that came first comes first.
//!
//! What does not fit into the statement's memory is refused with 53200.

use super::context::{ExecContext, Operator};
use super::evaluate::evaluate;
use super::limit::row_limit;
use super::memory::Reservation;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{BATCH_ROWS, Batch, Column};
use model::error::SqlError;
use model::plan::{Sort, SortKey};
use model::types::DataType;
use std::cmp::Ordering;
use std::rc::Rc;

/// Sort keys without their expressions.
#[derive(Clone, Copy)]
struct Direction {
    descending: bool,
    nulls_first: bool,
    padded: bool,
}

fn directions(keys: &[SortKey]) -> Vec<Direction> {
    keys.iter()
        .map(|key| Direction {
            descending: key.descending,
            nulls_first: key.nulls_first,
            padded: matches!(key.expression.data_type(), DataType::Char(_)),
        })
        .collect()
}

/// A batch with the columns it is ordered by.
struct Run {
    rows: Batch,
    keys: Vec<Column>,
    order: Vec<u32>,
    at: usize,
}

impl Run {
    fn new(rows: Batch, keys: &[SortKey], context: &ExecContext) -> Result<Run, SqlError> {
        let columns: Vec<Column> = keys
            .iter()
            .map(|key| evaluate(&key.expression, &rows, context))
            .collect::<Result<_, _>>()?;
        let order = (0..rows.rows() as u32).collect();
        Ok(Run { rows, keys: columns, order, at: 0 })
    }

    fn sort(&mut self, directions: &[Direction]) {
        let keys = &self.keys;
        self.order.sort_by(|&a, &b| compare_rows(keys, a as usize, keys, b as usize, directions));
    }

    /// The row that comes next.
    fn head(&self) -> Option<usize> {
        self.order.get(self.at).map(|&row| row as usize)
    }
}

fn compare_rows(
    left: &[Column],
    left_row: usize,
    right: &[Column],
    right_row: usize,
    directions: &[Direction],
) -> Ordering {
    for ((left, right), direction) in left.iter().zip(right).zip(directions) {
        let order = compare_values(left, left_row, right, right_row, *direction);
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn compare_values(
    left: &Column,
    left_row: usize,
    right: &Column,
    right_row: usize,
    direction: Direction,
) -> Ordering {
    use model::value::ValueRef;
    let order = match (left.is_null(left_row), right.is_null(right_row)) {
        (true, true) => return Ordering::Equal,
        (true, false) => {
            return if direction.nulls_first { Ordering::Less } else { Ordering::Greater };
        }
        (false, true) => {
            return if direction.nulls_first { Ordering::Greater } else { Ordering::Less };
        }
        (false, false) => match (left.ints(), right.ints()) {
            (Some(left), Some(right)) => left[left_row].cmp(&right[right_row]),
            _ => match (left.get(left_row), right.get(right_row)) {
                (ValueRef::Text(a), ValueRef::Text(b)) if direction.padded => {
                    a.trim_end_matches(' ').cmp(b.trim_end_matches(' '))
                }
                (ValueRef::Text(a), ValueRef::Text(b)) => a.cmp(b),
                (a, b) => a.to_value().sort_order(&b.to_value()),
            },
        },
    };
    if direction.descending { order.reverse() } else { order }
}

/// A tournament of runs by the rows at their heads: a binary heap whose order needs the runs.
struct Heap {
    /// Numbers of runs; the first one's head comes first.
    heap: Vec<usize>,
}

impl Heap {
    fn new(runs: &[Run], directions: &[Direction]) -> Heap {
        let mut heap =
            Heap { heap: (0..runs.len()).filter(|&r| runs[r].head().is_some()).collect() };
        for at in (0..heap.heap.len() / 2).rev() {
            heap.sift_down(at, runs, directions);
        }
        heap
    }

    fn precedes(a: usize, b: usize, runs: &[Run], directions: &[Direction]) -> bool {
        let (Some(row_a), Some(row_b)) = (runs[a].head(), runs[b].head()) else { return false };
        let order = compare_rows(&runs[a].keys, row_a, &runs[b].keys, row_b, directions);
        // Of equal rows the earlier run's came first.
        order.then(a.cmp(&b)) == Ordering::Less
    }

    fn sift_down(&mut self, mut at: usize, runs: &[Run], directions: &[Direction]) {
        loop {
            let mut first = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len()
                    && Heap::precedes(self.heap[child], self.heap[first], runs, directions)
                {
                    first = child;
                }
            }
            if first == at {
                return;
            }
            self.heap.swap(at, first);
            at = first;
        }
    }

    /// The run and row that come next; the run moves on.
    fn pop(&mut self, runs: &mut [Run], directions: &[Direction]) -> Option<(usize, usize)> {
        let &run = self.heap.first()?;
        let row = runs[run].head()?;
        runs[run].at += 1;
        if runs[run].head().is_none() {
            self.heap.swap_remove(0);
        }
        self.sift_down(0, runs, directions);
        Some((run, row))
    }
}

/// The next rows of merged runs, at most `rows_max`.
fn merged_batch(
    heap: &mut Heap,
    runs: &mut [Run],
    directions: &[Direction],
    types: &[DataType],
    rows_max: usize,
) -> Option<Batch> {
    let mut columns: Vec<Column> =
        types.iter().map(|t| Column::with_capacity(*t, rows_max)).collect();
    let mut rows = 0;
    while rows < rows_max {
        let Some((run, row)) = heap.pop(runs, directions) else { break };
        for (out, column) in columns.iter_mut().zip(runs[run].rows.columns()) {
            out.push_ref(&column.get(row));
        }
        rows += 1;
    }
    (rows > 0).then(|| Batch::new(rows, columns))
}

pub(super) struct SortOperator {
    input: Option<Box<dyn Operator>>,
    plan: Sort,
    types: Vec<DataType>,
    directions: Vec<Direction>,
    runs: Vec<Run>,
    heap: Heap,
    remaining: u64,
    memory: Reservation,
    context: Rc<ExecContext>,
}

impl SortOperator {
    pub(super) fn new(
        plan: &Sort,
        input: Box<dyn Operator>,
        types: Vec<DataType>,
        context: &Rc<ExecContext>,
    ) -> Result<SortOperator, SqlError> {
        Ok(SortOperator {
            input: Some(input),
            plan: plan.clone(),
            types,
            directions: directions(&plan.keys),
            runs: Vec::new(),
            heap: Heap { heap: Vec::new() },
            remaining: row_limit(plan.limit.as_ref(), context)?.unwrap_or(u64::MAX),
            memory: context.memory.reserve(),
            context: context.clone(),
        })
    }

    async fn collect(&mut self, mut input: Box<dyn Operator>) -> Result<(), SqlError> {
        /// Runs are cut to the limit once they hold so many times its rows.
        const SLACK: u64 = 4;
        let mut kept: u64 = 0;
        while let Some(batch) = input.next().await? {
            kept += batch.rows() as u64;
            self.keep(batch)?;
            if kept > self.remaining.saturating_mul(SLACK).max(4 * BATCH_ROWS as u64) {
                self.cut()?;
                kept = self.runs.iter().map(|run| run.order.len() as u64).sum();
            }
            self.context.pause().await?;
        }
        self.heap = Heap::new(&self.runs, &self.directions);
        Ok(())
    }

    fn keep(&mut self, batch: Batch) -> Result<(), SqlError> {
        let mut run = Run::new(batch, &self.plan.keys, &self.context)?;
        let keys: usize = run.keys.iter().map(Column::memory_bytes).sum();
        self.memory.grow(run.rows.memory_bytes() + keys + run.order.len() * 4)?;
        run.sort(&self.directions);
        self.runs.push(run);
        Ok(())
    }

    /// Keeps only the first rows, of which no more than the limit are needed.
    fn cut(&mut self) -> Result<(), SqlError> {
        let mut runs = std::mem::take(&mut self.runs);
        let mut heap = Heap::new(&runs, &self.directions);
        self.memory.clear();
        let mut left = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        while left > 0 {
            let rows = left.min(BATCH_ROWS);
            let merged = merged_batch(&mut heap, &mut runs, &self.directions, &self.types, rows);
            let Some(batch) = merged else { break };
            left -= batch.rows();
            self.keep(batch)?;
        }
        Ok(())
    }
}

impl Operator for SortOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            if let Some(input) = self.input.take()
                && self.remaining > 0
            {
                self.collect(input).await?;
            }
            self.context.pause().await?;
            let rows = self.remaining.min(BATCH_ROWS as u64) as usize;
            let batch =
                merged_batch(&mut self.heap, &mut self.runs, &self.directions, &self.types, rows);
            self.remaining -= batch.as_ref().map_or(0, |batch| batch.rows() as u64);
            Ok(batch)
        }
        .boxed_local()
    }
}

/// Merges sources that are sorted themselves.
pub(super) struct Merge {
    sources: Vec<Box<dyn Operator>>,
    types: Vec<DataType>,
    keys: Vec<SortKey>,
    directions: Vec<Direction>,
    /// The batch each source is at.
    runs: Vec<Run>,
    started: bool,
    context: Rc<ExecContext>,
}

impl Merge {
    pub(super) fn new(
        sources: Vec<Box<dyn Operator>>,
        types: Vec<DataType>,
        keys: &[SortKey],
        context: &Rc<ExecContext>,
    ) -> Merge {
        Merge {
            sources,
            types,
            keys: keys.to_vec(),
            directions: directions(keys),
            runs: Vec::new(),
            started: false,
            context: context.clone(),
        }
    }

    async fn pull(&mut self, source: usize) -> Result<Run, SqlError> {
        match self.sources[source].next().await? {
            Some(batch) => Run::new(batch, &self.keys, &self.context),
            None => Ok(Run { rows: Batch::default(), keys: Vec::new(), order: Vec::new(), at: 0 }),
        }
    }

    /// Rows until a source's batch is used up: only then it is known what comes next.
    async fn next_batch(&mut self) -> Result<Option<Batch>, SqlError> {
        if !self.started {
            self.started = true;
            for source in 0..self.sources.len() {
                let run = self.pull(source).await?;
                self.runs.push(run);
            }
        }
        self.context.pause().await?;
        let mut heap = Heap::new(&self.runs, &self.directions);
        let mut columns: Vec<Column> =
            self.types.iter().map(|t| Column::with_capacity(*t, BATCH_ROWS)).collect();
        let mut rows = 0;
        while rows < BATCH_ROWS {
            let Some((run, row)) = heap.pop(&mut self.runs, &self.directions) else { break };
            for (out, column) in columns.iter_mut().zip(self.runs[run].rows.columns()) {
                out.push_ref(&column.get(row));
            }
            rows += 1;
            if self.runs[run].head().is_none() {
                self.runs[run] = self.pull(run).await?;
                heap = Heap::new(&self.runs, &self.directions);
            }
        }
        Ok((rows > 0).then(|| Batch::new(rows, columns)))
    }
}

impl Operator for Merge {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        self.next_batch().boxed_local()
    }
}

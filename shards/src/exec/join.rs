//! Joins. Both kinds keep the right input and walk the left one: a hash join tries the right rows
//! with the same keys, a nested loop join tries them all. What is made of the pairs that match is
//! the same.
//!
//! Pairs are tried a batch at a time: their rows are put side by side and the condition is
//! evaluated over all of them.

use super::context::{ExecContext, Operator};
use super::evaluate::{evaluate, select};
use super::grouping::Grouping;
use super::kept::KeptRows;
use super::memory::Reservation;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{BATCH_ROWS, Batch, Column, NO_ROW};
use model::error::SqlError;
use model::expression::Expression;
use model::plan::JoinKind;
use model::types::DataType;
use std::collections::VecDeque;
use std::rc::Rc;

/// What a join needs to know of its plan node.
pub(super) struct JoinPlan {
    pub(super) kind: JoinKind,
    /// Empty in a nested loop join.
    pub(super) left_keys: Vec<Expression>,
    pub(super) right_keys: Vec<Expression>,
    pub(super) condition: Option<Expression>,
    pub(super) left_types: Vec<DataType>,
    pub(super) right_types: Vec<DataType>,
}

/// Right rows by key: for each distinct key its first row, for each row the next with its key.
struct HashTable {
    keys: Grouping,
    first: Vec<u32>,
    next: Vec<u32>,
    /// Whether a right key is null, which `NOT IN` must know.
    has_null: bool,
}

pub(super) struct JoinOperator {
    plan: JoinPlan,
    left: Box<dyn Operator>,
    right: Option<Box<dyn Operator>>,
    kept: KeptRows,
    table: Option<HashTable>,
    right_matched: Vec<bool>,
    /// How far unmatched right rows have been answered.
    right_at: usize,
    left_done: bool,
    ready: VecDeque<Batch>,
    memory: Reservation,
    context: Rc<ExecContext>,
}

impl JoinOperator {
    pub(super) fn new(
        plan: JoinPlan,
        left: Box<dyn Operator>,
        right: Box<dyn Operator>,
        context: &Rc<ExecContext>,
    ) -> JoinOperator {
        let kept = KeptRows::new(&plan.right_types, context);
        JoinOperator {
            plan,
            left,
            right: Some(right),
            kept,
            table: None,
            right_matched: Vec::new(),
            right_at: 0,
            left_done: false,
            ready: VecDeque::new(),
            memory: context.memory.reserve(),
            context: context.clone(),
        }
    }

    /// Keeps the right input and hashes its keys.
    async fn build(&mut self, mut right: Box<dyn Operator>) -> Result<(), SqlError> {
        let types: Vec<DataType> = self.plan.right_keys.iter().map(Expression::data_type).collect();
        let mut table = HashTable {
            keys: Grouping::new(&types),
            first: Vec::new(),
            next: Vec::new(),
            has_null: false,
        };
        while let Some(batch) = right.next().await? {
            let keys = self.keys(&self.plan.right_keys, &batch)?;
            let start = self.kept.rows();
            self.kept.append(&batch)?;
            if self.plan.right_keys.is_empty() {
                self.context.pause().await?;
                continue;
            }
            self.memory.grow(batch.rows() * 4)?;
            for row in 0..batch.rows() {
                table.next.push(NO_ROW);
                if keys.iter().any(|key| key.is_null(row)) {
                    table.has_null = true;
                    continue;
                }
                let group = table.keys.insert(&keys, row, &mut self.memory)? as usize;
                let number = (start + row) as u32;
                if group == table.first.len() {
                    table.first.push(number);
                } else {
                    table.next[number as usize] = table.first[group];
                    table.first[group] = number;
                }
            }
            self.context.pause().await?;
        }
        if !self.plan.right_keys.is_empty() {
            self.table = Some(table);
        }
        if matches!(self.plan.kind, JoinKind::Right | JoinKind::Full) {
            self.memory.grow(self.kept.rows())?;
            self.right_matched = vec![false; self.kept.rows()];
        }
        Ok(())
    }

    fn keys(&self, keys: &[Expression], batch: &Batch) -> Result<Vec<Column>, SqlError> {
        keys.iter().map(|key| evaluate(key, batch, &self.context)).collect()
    }

    /// The first right row to try for a left row, [`NO_ROW`] where there is none.
    fn first_candidate(&mut self, keys: &[Column], row: usize) -> u32 {
        match &mut self.table {
            None if self.kept.rows() == 0 => NO_ROW,
            None => 0,
            Some(_) if keys.iter().any(|key| key.is_null(row)) => NO_ROW,
            Some(table) => {
                table.keys.find(keys, row).map_or(NO_ROW, |group| table.first[group as usize])
            }
        }
    }

    fn next_candidate(&self, after: u32) -> u32 {
        match &self.table {
            Some(table) => table.next[after as usize],
            None if (after as usize) + 1 < self.kept.rows() => after + 1,
            None => NO_ROW,
        }
    }

    /// Joins one left batch; the results are queued in `ready`.
    async fn probe(&mut self, batch: Batch) -> Result<(), SqlError> {
        let keys = self.keys(&self.plan.left_keys, &batch)?;
        let mut matched = vec![false; batch.rows()];
        let (mut lefts, mut rights) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let mut candidate = self.first_candidate(&keys, row);
            while candidate != NO_ROW {
                lefts.push(row as u32);
                rights.push(candidate);
                candidate = self.next_candidate(candidate);
                if lefts.len() == BATCH_ROWS {
                    self.try_pairs(&batch, &lefts, &rights, &mut matched)?;
                    lefts.clear();
                    rights.clear();
                    if matched[row] && !self.wants_pairs() {
                        break;
                    }
                    self.context.pause().await?;
                }
            }
        }
        self.try_pairs(&batch, &lefts, &rights, &mut matched)?;
        self.finish_left(&batch, &keys, &matched);
        Ok(())
    }

    fn wants_pairs(&self) -> bool {
        !matches!(self.plan.kind, JoinKind::Semi | JoinKind::Anti | JoinKind::NullAwareAnti)
    }

    /// Evaluates the condition over pairs of rows, notes who has matched, and queues the pairs.
    fn try_pairs(
        &mut self,
        batch: &Batch,
        lefts: &[u32],
        rights: &[u32],
        matched: &mut [bool],
    ) -> Result<(), SqlError> {
        if lefts.is_empty() {
            return Ok(());
        }
        let needs_rows = self.plan.condition.is_some() || self.wants_pairs();
        let pairs = needs_rows.then(|| batch.take(lefts).beside(self.kept.batch().take(rights)));
        let passed = match (&self.plan.condition, &pairs) {
            (Some(condition), Some(pairs)) if self.plan.kind == JoinKind::NullAwareAnti => {
                not_false(condition, pairs, &self.context)?
            }
            (Some(condition), Some(pairs)) => select(condition, pairs, &self.context)?,
            _ => (0..lefts.len() as u32).collect(),
        };
        for &pair in &passed {
            matched[lefts[pair as usize] as usize] = true;
            if let Some(seen) = self.right_matched.get_mut(rights[pair as usize] as usize) {
                *seen = true;
            }
        }
        if let Some(pairs) = pairs.filter(|_| self.wants_pairs() && !passed.is_empty()) {
            let all = passed.len() == pairs.rows();
            self.ready.push_back(if all { pairs } else { pairs.take(&passed) });
        }
        Ok(())
    }

    /// Queues what becomes of left rows once it is known which of them have matched.
    fn finish_left(&mut self, batch: &Batch, keys: &[Column], matched: &[bool]) {
        let rows = |wanted: bool| -> Vec<u32> {
            (0..batch.rows() as u32).filter(|&row| matched[row as usize] == wanted).collect()
        };
        let kept = match self.plan.kind {
            JoinKind::Inner | JoinKind::Right => return,
            JoinKind::Semi => rows(true),
            JoinKind::Left | JoinKind::Full | JoinKind::Anti => rows(false),
            JoinKind::NullAwareAnti => match &self.table {
                None => rows(false),
                Some(_) if self.kept.rows() == 0 => rows(false),
                Some(table) if table.has_null => Vec::new(),
                Some(_) => {
                    let is_null = |row: &u32| keys.iter().any(|key| key.is_null(*row as usize));
                    rows(false).into_iter().filter(|row| !is_null(row)).collect()
                }
            },
        };
        if kept.is_empty() {
            return;
        }
        let left = batch.take(&kept);
        self.ready.push_back(match self.plan.kind {
            JoinKind::Left | JoinKind::Full => {
                let nothing = vec![NO_ROW; kept.len()];
                left.beside(self.kept.batch().take_or_null(&nothing))
            }
            _ => left,
        });
    }

    /// The next right rows that nothing has matched, beside nulls.
    fn unmatched_right(&mut self) -> Option<Batch> {
        let mut rights = Vec::new();
        while self.right_at < self.right_matched.len() && rights.len() < BATCH_ROWS {
            if !self.right_matched[self.right_at] {
                rights.push(self.right_at as u32);
            }
            self.right_at += 1;
        }
        if rights.is_empty() {
            return None;
        }
        let nothing = vec![NO_ROW; rights.len()];
        let left = Batch::empty(&self.plan.left_types).take_or_null(&nothing);
        Some(left.beside(self.kept.batch().take(&rights)))
    }

    async fn next_batch(&mut self) -> Result<Option<Batch>, SqlError> {
        if let Some(right) = self.right.take() {
            self.build(right).await?;
        }
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            self.context.pause().await?;
            if self.left_done {
                return Ok(self.unmatched_right());
            }
            match self.left.next().await? {
                Some(batch) => self.probe(batch).await?,
                None => self.left_done = true,
            }
        }
    }
}

/// The rows for which a condition is true or unknown.
fn not_false(
    condition: &Expression,
    batch: &Batch,
    context: &ExecContext,
) -> Result<Vec<u32>, SqlError> {
    let truths = evaluate(condition, batch, context)?;
    let is_false =
        |row: &u32| matches!(truths.get(*row as usize), model::value::ValueRef::Bool(false));
    Ok((0..batch.rows() as u32).filter(|row| !is_false(row)).collect())
}

impl Operator for JoinOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        self.next_batch().boxed_local()
    }
}

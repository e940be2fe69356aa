//! A query that is read bit by bit: its rows, and where its reader stands.
//!
//! ```text
//!        at start                        on row n                        at end
//!   ─────────●──────── 1 ──── 2 ──── ... ──●── ... ──── last ──────────────●─────
//!     (before the first)        row = n: n rows have been passed     (behind the last)
//! ```
//!
//! A reader that only goes forward holds the rows that were read and not passed. One that goes
//! backward, too, keeps all that were read, in the core's query memory.

use super::Client;
use crate::router::OpenQuery;
use crate::sql::Movement;
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use shards::exec::memory::Reservation;
use std::collections::VecDeque;

/// Most rows given at once.
const ROWS_MAX: u64 = 1024;

/// A query's rows, and the place among them.
pub(super) struct Reading {
    rows: Rows,
    /// Rows up to the one it is on, that one included; at the end, all of them.
    row: u64,
    at_start: bool,
    at_end: bool,
    /// The tag of a change, whose rows are read; a query's counts what each run has returned.
    pub(super) tag: Option<String>,
}

struct Rows {
    /// Where more come from; a change's rows are all here already, and those of a held cursor.
    query: Option<OpenQuery>,
    here: VecDeque<Batch>,
    /// Number of the first row here, from 0.
    first: u64,
    /// Rows stay when they have been passed.
    keeps: bool,
    /// For what is here, where that may be much.
    memory: Reservation,
}

impl Reading {
    /// Reads `query`; `keeps`: backward, too.
    pub(super) fn of_query(query: OpenQuery, keeps: bool, memory: Reservation) -> Reading {
        let rows = Rows { query: Some(query), here: VecDeque::new(), first: 0, keeps, memory };
        Reading { rows, row: 0, at_start: true, at_end: false, tag: None }
    }

    /// Reads what a statement that has run has returned, which `memory` is held for.
    pub(super) fn here(here: VecDeque<Batch>, tag: Option<String>, memory: Reservation) -> Reading {
        let rows = Rows { query: None, here, first: 0, keeps: false, memory };
        Reading { rows, row: 0, at_start: true, at_end: false, tag }
    }

    /// Whether more rows may come from its query.
    pub(super) fn has_query(&self) -> bool {
        self.rows.query.is_some()
    }

    /// Reads what the query still has, so that it is not needed any more.
    pub(super) async fn settle(&mut self) -> Result<(), SqlError> {
        while self.rows.read().await? {}
        Ok(())
    }

    /// Moves, and gives the rows on the way to `client`. Returns how many they were. The steps are
    /// PostgreSQL's: an absolute place is sought from the nearer end, and zero rows forward means
    /// the current row once more.
    pub(super) async fn fetch(
        &mut self,
        movement: Movement,
        client: Option<&mut dyn Client>,
    ) -> Result<u64, SqlError> {
        match movement {
            Movement::Absolute(number @ 1..) => {
                let number = number.unsigned_abs();
                let passed = self.row + u64::from(self.at_end);
                if number - 1 <= self.row / 2 {
                    self.rewind()?;
                    self.forward(Some(number - 1), None).await?;
                } else if number <= passed {
                    self.backward(Some(passed - number + 1), None).await?;
                } else {
                    self.forward(Some(number - passed - 1), None).await?;
                }
                self.forward(Some(1), client).await
            }
            Movement::Absolute(0) => {
                self.rewind()?;
                Ok(0)
            }
            Movement::Absolute(number) => {
                self.forward(None, None).await?;
                self.backward(Some(number.unsigned_abs() - 1), None).await?;
                self.backward(Some(1), client).await
            }
            Movement::Relative(count @ 1..) => {
                self.forward(Some(count.unsigned_abs() - 1), None).await?;
                self.forward(Some(1), client).await
            }
            Movement::Relative(0) | Movement::Forward(Some(0)) | Movement::Backward(Some(0)) => {
                if self.at_start || self.at_end {
                    return Ok(0);
                }
                if client.is_none() {
                    return Ok(1);
                }
                self.backward(Some(1), None).await?;
                self.forward(Some(1), client).await
            }
            Movement::Relative(count) => {
                self.backward(Some(count.unsigned_abs() - 1), None).await?;
                self.backward(Some(1), client).await
            }
            Movement::Forward(Some(count)) if count < 0 => {
                self.backward(Some(count.unsigned_abs()), client).await
            }
            Movement::Backward(Some(count)) if count < 0 => {
                self.forward(Some(count.unsigned_abs()), client).await
            }
            Movement::Forward(count) => self.forward(count.map(i64::unsigned_abs), client).await,
            Movement::Backward(None) if client.is_none() => {
                let passed = self.row.saturating_sub(u64::from(!self.at_end));
                self.rewind()?;
                Ok(passed)
            }
            Movement::Backward(count) => self.backward(count.map(i64::unsigned_abs), client).await,
        }
    }

    /// Goes before the first row.
    fn rewind(&mut self) -> Result<(), SqlError> {
        if self.at_start && !self.at_end {
            return Ok(());
        }
        self.check_goes_back()?;
        (self.row, self.at_start, self.at_end) = (0, true, false);
        Ok(())
    }

    fn check_goes_back(&self) -> Result<(), SqlError> {
        if self.rows.keeps {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "cursor can only scan forward",
        )
        .hint("Declare it with SCROLL option to enable backward scan."))
    }

    /// Over `count` rows, or all there are.
    pub(super) async fn forward(
        &mut self,
        count: Option<u64>,
        mut client: Option<&mut dyn Client>,
    ) -> Result<u64, SqlError> {
        if self.at_end || count == Some(0) {
            return Ok(0);
        }
        let wanted = count.unwrap_or(u64::MAX);
        let mut passed = 0;
        while passed < wanted {
            let room = ROWS_MAX.min(wanted - passed);
            let Some(batch) = self.rows.from(self.row, room).await? else {
                self.at_end = true;
                break;
            };
            let rows = batch.rows() as u64;
            (self.row, self.at_start) = (self.row + rows, false);
            passed += rows;
            if let Some(client) = &mut client {
                client.rows(batch).await?;
            }
            runtime::task::yield_if_due().await;
        }
        Ok(passed)
    }

    /// Back over `count` rows, or all there are.
    async fn backward(
        &mut self,
        count: Option<u64>,
        mut client: Option<&mut dyn Client>,
    ) -> Result<u64, SqlError> {
        self.check_goes_back()?;
        if self.at_start || count == Some(0) {
            return Ok(0);
        }
        // The current row is not given again, and at the end there is none.
        let before = if self.at_end { self.row } else { self.row - 1 };
        let passed = count.unwrap_or(u64::MAX).min(before);
        let mut at = before;
        while at > before - passed {
            let batch = self.rows.before(at, ROWS_MAX.min(at - (before - passed)))?;
            at -= batch.rows() as u64;
            if let Some(client) = &mut client {
                client.rows(batch).await?;
            }
            runtime::task::yield_if_due().await;
        }
        self.at_end &= passed == 0;
        match count {
            Some(count) if passed == count => self.row = before - passed + 1,
            _ => (self.row, self.at_start, self.at_end) = (0, true, false),
        }
        Ok(passed)
    }
}

impl Rows {
    /// Reads one more batch; whether there was one.
    async fn read(&mut self) -> Result<bool, SqlError> {
        let Some(query) = &mut self.query else { return Ok(false) };
        match query.next().await? {
            Some(batch) if batch.rows() == 0 => Ok(true),
            Some(batch) => {
                self.memory.grow(batch.memory_bytes())?;
                self.here.push_back(batch);
                Ok(true)
            }
            None => {
                self.query = None;
                Ok(false)
            }
        }
    }

    /// Up to `most` rows from the one of this number on; `None` behind the last.
    async fn from(&mut self, number: u64, most: u64) -> Result<Option<Batch>, SqlError> {
        loop {
            if let Some((at, start)) = self.find(number) {
                let batch = &self.here[at];
                let skipped = (number - start) as usize;
                let end = batch.rows().min(skipped.saturating_add(most as usize));
                let taken = part(batch, skipped, end);
                if !self.keeps && end == batch.rows() {
                    self.pass();
                }
                return Ok(Some(taken));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Forgets the first batch. What is held for all of them is given back with the last.
    fn pass(&mut self) {
        if let Some(batch) = self.here.pop_front() {
            self.first += batch.rows() as u64;
        }
        if self.here.is_empty() {
            self.memory.clear();
        }
    }

    /// Up to `most` rows that stand before the one of this number, the last first.
    fn before(&self, number: u64, most: u64) -> Result<Batch, SqlError> {
        let Some((at, start)) = self.find(number - 1) else {
            return Err(SqlError::internal("a cursor has not kept a row that it passed"));
        };
        let end = (number - start) as u32;
        let begin = end.saturating_sub(u32::try_from(most).unwrap_or(u32::MAX));
        let numbers: Vec<u32> = (begin..end).rev().collect();
        Ok(self.here[at].take(&numbers))
    }

    /// The batch that holds the row of this number, and the number of its own first row.
    fn find(&self, number: u64) -> Option<(usize, u64)> {
        let mut start = self.first;
        for (at, batch) in self.here.iter().enumerate() {
            let end = start + batch.rows() as u64;
            if number < end {
                return Some((at, start));
            }
            start = end;
        }
        None
    }
}

/// The rows from `start` to `end`.
fn part(batch: &Batch, start: usize, end: usize) -> Batch {
    if start == 0 && end == batch.rows() {
        return batch.clone();
    }
    let numbers: Vec<u32> = (start as u32..end as u32).collect();
    batch.take(&numbers)
}

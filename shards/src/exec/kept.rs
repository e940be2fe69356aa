//! Rows that an operator keeps, counted in the statement's memory.

use super::context::{ExecContext, Operator};
use super::memory::Reservation;
use model::batch::{Batch, NO_ROW};
use model::error::{SqlError, SqlState};
use model::types::DataType;

/// All rows of an input in one batch.
pub(super) struct KeptRows {
    batch: Batch,
    reservation: Reservation,
}

impl KeptRows {
    pub(super) fn new(types: &[DataType], context: &ExecContext) -> KeptRows {
        KeptRows { batch: Batch::empty(types), reservation: context.memory.reserve() }
    }

    /// Reads `input` to its end.
    pub(super) async fn collect(
        input: &mut dyn Operator,
        types: &[DataType],
        context: &ExecContext,
    ) -> Result<KeptRows, SqlError> {
        let mut kept = KeptRows::new(types, context);
        while let Some(batch) = input.next().await? {
            kept.append(&batch)?;
            context.pause().await?;
        }
        Ok(kept)
    }

    /// Keeps a batch's rows too; 53200 where that needs more memory than there is.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), SqlError> {
        if self.batch.rows() + batch.rows() >= NO_ROW as usize {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "an operator cannot keep more than 4294967294 rows",
            ));
        }
        self.reservation.grow(batch.memory_bytes())?;
        self.batch.append(batch);
        Ok(())
    }

    pub(super) fn rows(&self) -> usize {
        self.batch.rows()
    }

    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The rows in `range`, for passing on.
    pub(super) fn slice(&self, start: usize, rows: usize) -> Batch {
        let end = self.batch.rows().min(start + rows);
        let numbers: Vec<u32> = (start as u32..end as u32).collect();
        self.batch.take(&numbers)
    }
}

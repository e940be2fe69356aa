//! The batches of a read, as its caller takes them.

use model::batch::Batch;
use model::error::SqlError;
use std::collections::VecDeque;

/// The batches of a read. Dropping it ends the read, wherever it runs.
#[derive(Debug)]
pub struct BatchStream {
    ready: VecDeque<Result<Batch, SqlError>>,
}

impl BatchStream {
    /// A read that fails before its first batch.
    pub(crate) fn failed(error: SqlError) -> BatchStream {
        BatchStream { ready: VecDeque::from([Err(error)]) }
    }

    /// The next batch; `None` at the end. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<Batch, SqlError>> {
        self.ready.pop_front()
    }
}

//! The batches of a read, as its caller takes them.

use super::engine::InProgress;
use super::remote::CancelRequest;
use crate::txn::FragmentRead;
use model::batch::Batch;
use model::command::Response;
use model::error::{SqlError, SqlState};
use runtime::sync::queue;

/// The batches of a read. Dropping it ends the read, wherever it runs.
pub struct BatchStream {
    source: Source,
}

enum Source {
    Local { read: FragmentRead, _counted: InProgress },
    Remote { batches: queue::Receiver<Response>, request: CancelRequest },
    Failed(SqlError),
    Done,
}

impl BatchStream {
    /// A read that fails before its first batch.
    pub(crate) fn failed(error: SqlError) -> BatchStream {
        BatchStream { source: Source::Failed(error) }
    }

    /// A read of a partition on this core: it runs while it is asked.
    pub(super) fn local(read: FragmentRead, counted: InProgress) -> BatchStream {
        BatchStream { source: Source::Local { read, _counted: counted } }
    }

    pub(super) fn remote(
        batches: queue::Receiver<Response>,
        request: CancelRequest,
    ) -> BatchStream {
        BatchStream { source: Source::Remote { batches, request } }
    }

    /// The next batch; `None` at the end. After an error there is nothing more. Dropping the
    /// future of a read on this core in the middle leaves the stream only to be dropped.
    pub async fn next(&mut self) -> Option<Result<Batch, SqlError>> {
        let next = match &mut self.source {
            Source::Done => return None,
            Source::Failed(error) => Err(error.clone()),
            Source::Local { read, .. } => read.next().await,
            Source::Remote { batches, request } => match batches.recv().await {
                Ok(Response::Rows(batch)) => {
                    request.credit();
                    Ok(Some(batch))
                }
                Ok(Response::End) => Ok(None),
                Ok(Response::Failed(error)) => Err(error),
                Ok(_) => Err(SqlError::internal("a read was answered as something else")),
                Err(_closed) => {
                    Err(SqlError::new(SqlState::ADMIN_SHUTDOWN, "the node is shutting down"))
                }
            },
        };
        if !matches!(next, Ok(Some(_))) {
            self.source = Source::Done;
        }
        next.transpose()
    }
}

//! The batches of a read, as its caller takes them.

use super::engine::{Engine, InProgress, damaged};
use super::leaders::Search;
use super::remote::{CancelRequest, Heard};
use crate::txn::{FragmentRead, Partition};
use model::batch::Batch;
use model::command::{Fragment, Response};
use model::error::{SqlError, SqlState};
use runtime::sync::queue;
use std::rc::Rc;

/// The batches of a read. Dropping it ends the read, wherever it runs.
pub struct BatchStream {
    source: Source,
}

enum Source {
    Local { read: FragmentRead, here: Rc<Partition>, _counted: InProgress },
    Remote { batches: queue::Receiver<Heard>, request: CancelRequest, again: Option<Box<Again>> },
    Failed(SqlError),
    Done,
}

/// How a read begins anew, for as long as nothing of it was told.
pub(super) struct Again {
    pub(super) engine: Engine,
    pub(super) fragment: Fragment,
    pub(super) search: Search,
}

impl BatchStream {
    /// A read that fails before its first batch.
    pub(crate) fn failed(error: SqlError) -> BatchStream {
        BatchStream { source: Source::Failed(error) }
    }

    /// A read of a partition on this core: it runs while it is asked.
    pub(super) fn local(
        read: FragmentRead,
        here: Rc<Partition>,
        counted: InProgress,
    ) -> BatchStream {
        BatchStream { source: Source::Local { read, here, _counted: counted } }
    }

    pub(super) fn remote(
        batches: queue::Receiver<Heard>,
        request: CancelRequest,
        again: Again,
    ) -> BatchStream {
        BatchStream { source: Source::Remote { batches, request, again: Some(Box::new(again)) } }
    }

    /// The next batch; `None` at the end. After an error there is nothing more. Dropping the
    /// future of a read on this core in the middle leaves the stream only to be dropped.
    pub async fn next(&mut self) -> Option<Result<Batch, SqlError>> {
        let next = loop {
            match &mut self.source {
                Source::Done => return None,
                Source::Failed(error) => break Err(error.clone()),
                Source::Local { read, here, .. } => {
                    break read.next().await.map_err(|error| match here.has_whole_others(&error) {
                        true => damaged(here.id),
                        false => error,
                    });
                }
                Source::Remote { batches, request, again } => {
                    let heard = batches.recv().await;
                    match take(heard, request, again) {
                        Taken::Next(next) => break next,
                        Taken::Elsewhere(again, leader) => {
                            self.source = begin_again(again, leader).await;
                        }
                    }
                }
            }
        };
        if !matches!(next, Ok(Some(_))) {
            self.source = Source::Done;
        }
        next.transpose()
    }
}

/// What the next word of a remote read means.
enum Taken {
    Next(Result<Option<Batch>, SqlError>),
    /// Nothing was told yet, and it is to begin elsewhere: at this one, or where somebody is found.
    Elsewhere(Box<Again>, Option<Option<model::id::NodeId>>),
}

fn take(
    heard: Result<Heard, runtime::sync::Closed>,
    request: &CancelRequest,
    again: &mut Option<Box<Again>>,
) -> Taken {
    let lost = || {
        SqlError::new(
            SqlState::SERIALIZATION_FAILURE,
            "the node that served a read was lost in the middle of it",
        )
        .hint("Retry the transaction.")
    };
    Taken::Next(match heard {
        Ok(Heard::Answer(Response::Rows(batch))) => {
            request.credit();
            found(again);
            Ok(Some(batch))
        }
        Ok(Heard::Answer(Response::End)) => {
            found(again);
            Ok(None)
        }
        Ok(Heard::Answer(Response::Failed(error))) => Err(error),
        Ok(Heard::Answer(Response::Elsewhere(leader))) => match again.take() {
            Some(again) => return Taken::Elsewhere(again, Some(leader)),
            None => Err(lost()),
        },
        Ok(Heard::Answer(_)) => Err(SqlError::internal("a read was answered as something else")),
        Ok(Heard::Lost | Heard::NotTaken) => match again.take() {
            // What it has locked is lost with the place, and must not be locked anew behind the back of
            // the transaction.
            Some(again) if again.fragment.txn.is_none() => return Taken::Elsewhere(again, None),
            _ => Err(lost()),
        },
        Err(_closed) => Err(SqlError::new(SqlState::ADMIN_SHUTDOWN, "the node is shutting down")),
    })
}

/// The one that was asked answers: from here on the read does not begin anew.
fn found(again: &mut Option<Box<Again>>) {
    if let Some(again) = again.take() {
        again.search.found();
    }
}

async fn begin_again(again: Box<Again>, leader: Option<Option<model::id::NodeId>>) -> Source {
    let Again { engine, fragment, mut search } = *again;
    let searched = match leader {
        Some(leader) => search.moved(leader).await,
        None => search.unreached().await,
    };
    match searched {
        Ok(()) => engine.read_at(fragment, search).source,
        Err(error) => Source::Failed(error),
    }
}

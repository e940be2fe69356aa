//! What a session is asked.

use super::reader::farewell;
use super::shared::Shared;
use super::{Ended, REQUEST_BATCH_MAX};
use crate::frame::{CONNECTION, StreamId};
use crate::message::{Execute, Prepare, TransactionStatus};
use runtime::task::{self, Task};
use std::collections::VecDeque;
use std::rc::Rc;

/// One request. Its stream stays open until the session sends the last frame of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Where the answer goes.
    pub stream: StreamId,
    /// What is asked.
    pub kind: RequestKind,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestKind {
    /// Run statements given as text, one after the other.
    Query {
        /// The statements.
        text: String,
    },
    /// Prepare a statement under the client's number.
    Prepare(Prepare),
    /// Run a prepared statement.
    Execute(Execute),
    /// Forget a prepared statement; unknown ones are no error.
    CloseStatement {
        /// The client's number.
        statement: u32,
    },
}

/// The requests of one connection, in order. Dropping it ends the connection once everything
/// queued has been sent.
pub struct Requests {
    shared: Rc<Shared>,
    /// Cancelled when the session is done.
    _reader: Task<()>,
}

impl Requests {
    pub(super) fn new(shared: Rc<Shared>, reader: Task<()>) -> Requests {
        Requests { shared, _reader: reader }
    }

    /// Appends the requests that have arrived, in order, at least one and at most
    /// [`REQUEST_BATCH_MAX`]. Waits until there is one, and while more answers are queued than
    /// [`super::Options::outgoing_bytes_high`]. What is queued is flushed before it waits.
    ///
    /// # Errors
    /// Why no more will arrive, when all that arrived have been taken. The answers still queued
    /// are sent when [`Requests`] is dropped.
    pub async fn next_batch(&mut self, batch: &mut Vec<Request>) -> Result<(), Ended> {
        // A client that always has the next request in flight must not keep the core for itself.
        task::yield_if_due().await;
        loop {
            if self.shared.outlet.is_gone() {
                return Err(self.end_reason());
            }
            if self.shared.outlet.is_full() {
                self.shared.outlet.room().await;
                continue;
            }
            if self.take_queued(batch) {
                return Ok(());
            }
            if self.shared.outlet.bytes() > 0 {
                self.shared.outlet.flush();
            }
            if self.shared.ended.borrow().is_some() {
                return Err(self.end_reason());
            }
            self.shared.arrived.notified().await;
        }
    }

    fn take_queued(&self, batch: &mut Vec<Request>) -> bool {
        let mut queued = self.shared.requests.borrow_mut();
        let count = queued.len().min(REQUEST_BATCH_MAX);
        batch.extend(queued.drain(..count));
        if queued.is_empty() {
            // An idle connection holds nothing.
            *queued = VecDeque::new();
        }
        count > 0
    }

    fn end_reason(&self) -> Ended {
        self.shared.ended.borrow().clone().unwrap_or(Ended::ByServer)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // After the answers to what was asked before, the client learns why there are no more.
        if let Some(error) = farewell(&self.end_reason()) {
            self.shared.queue_error(CONNECTION, TransactionStatus::Idle, error);
        }
        self.shared.end(Ended::ByServer);
        self.shared.outlet.close();
    }
}

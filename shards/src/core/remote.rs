//! Requests of this core to others.

use super::dispatch::READ_WINDOW;
use super::engine::Inner;
use super::message::{CoreMessage, RequestId};
use super::stream::BatchStream;
use model::command::{Fragment, Request, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::id::{CoreId, PartitionId};
use model::time::Timestamp;
use runtime::mesh::{Full, Mesh};
use runtime::sync::{Notify, oneshot, queue};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Answers to a read that may wait for their reader: the window, and the end.
const READ_QUEUE: usize = READ_WINDOW + 1;

/// Who waits for answers of other cores.
pub(super) struct Remote {
    pub(super) mesh: Mesh<CoreMessage>,
    waiting: RefCell<HashMap<RequestId, Waiting>>,
    last: Cell<u64>,
    /// Messages of callers that cannot wait: a few for each request in progress.
    pub(super) unsent: RefCell<VecDeque<(u16, CoreMessage)>>,
    pub(super) unsent_more: Notify,
    /// A message was taken from `unsent` and is not yet sent.
    pub(super) posting: Cell<bool>,
}

enum Waiting {
    Call(oneshot::Sender<Response>),
    Read(queue::Sender<Response>),
}

impl Remote {
    pub(super) fn new(mesh: Mesh<CoreMessage>) -> Remote {
        Remote {
            mesh,
            waiting: RefCell::default(),
            last: Cell::new(0),
            unsent: RefCell::default(),
            unsent_more: Notify::new(),
            posting: Cell::new(false),
        }
    }

    fn next_id(&self) -> RequestId {
        self.last.set(self.last.get() + 1);
        RequestId(self.last.get())
    }

    /// Sends without waiting, in order with what was sent this way before.
    pub(super) fn post(&self, to: u16, message: CoreMessage) {
        let message = if self.unsent.borrow().is_empty() && !self.posting.get() {
            match self.mesh.try_send(to, message) {
                Ok(()) => return,
                Err(Full(message)) => message,
            }
        } else {
            message
        };
        self.unsent.borrow_mut().push_back((to, message));
        self.unsent_more.notify_one();
    }

    /// The other cores have gone: nothing will be answered.
    pub(super) fn fail_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for (_, waiting) in waiting {
            let failed = Response::Failed(gone());
            match waiting {
                Waiting::Call(answer) => drop(answer.send(failed)),
                Waiting::Read(answers) => drop(answers.try_send(failed)),
            }
        }
    }
}

/// Forgets a request that nobody waits for any more, and tells the core that serves it.
pub(super) struct CancelRequest {
    inner: Rc<Inner>,
    core: u16,
    id: RequestId,
}

impl CancelRequest {
    /// One more batch may be sent.
    pub(super) fn credit(&self) {
        if self.inner.remote.waiting.borrow().contains_key(&self.id) {
            self.inner.remote.post(self.core, CoreMessage::Credit { id: self.id });
        }
    }
}

impl Drop for CancelRequest {
    fn drop(&mut self) {
        // An answer, or the last of them, has taken it out.
        let unanswered = self.inner.remote.waiting.borrow_mut().remove(&self.id);
        if unanswered.is_some() {
            self.inner.remote.post(self.core, CoreMessage::Cancel { id: self.id });
        }
    }
}

impl Inner {
    /// Asks a partition of another core.
    pub(super) async fn ask(
        self: &Rc<Self>,
        core: CoreId,
        partition: PartitionId,
        body: RequestBody,
    ) -> Result<Response, SqlError> {
        let id = self.remote.next_id();
        let (promise, answer) = oneshot::channel();
        let request = Request { partition, sent: self.parts.context.now(), body };
        let message = CoreMessage::Request { id, request };
        self.remote.mesh.send(core.0, message).await.map_err(|_closed| gone())?;
        self.remote.waiting.borrow_mut().insert(id, Waiting::Call(promise));
        let _cancel = CancelRequest { inner: self.clone(), core: core.0, id };
        answer.await.map_err(|_closed| gone())
    }

    /// Starts a read on another core.
    pub(super) fn ask_read(
        self: Rc<Self>,
        core: CoreId,
        partition: PartitionId,
        fragment: Fragment,
    ) -> BatchStream {
        let id = self.remote.next_id();
        let (answers, batches) = queue::bounded(READ_QUEUE);
        let sent = self.parts.context.now();
        let request = Request { partition, sent, body: RequestBody::Read(fragment) };
        self.remote.waiting.borrow_mut().insert(id, Waiting::Read(answers));
        self.remote.post(core.0, CoreMessage::Request { id, request });
        BatchStream::remote(batches, CancelRequest { inner: self, core: core.0, id })
    }

    /// An answer has come.
    pub(super) fn answered(&self, id: RequestId, sent: Timestamp, response: Response) {
        self.parts.context.follow(sent);
        let mut waiting = self.remote.waiting.borrow_mut();
        let more = matches!(response, Response::Rows(_));
        // One that is not there was cancelled while the answer was on its way.
        let answered = match waiting.get(&id) {
            Some(Waiting::Read(answers)) if more => {
                drop(answers.try_send(response));
                return;
            }
            Some(_) => waiting.remove(&id),
            None => None,
        };
        drop(waiting);
        match answered {
            Some(Waiting::Call(answer)) => drop(answer.send(response)),
            Some(Waiting::Read(answers)) => drop(answers.try_send(response)),
            None => {}
        }
    }
}

fn gone() -> SqlError {
    SqlError::new(SqlState::ADMIN_SHUTDOWN, "the core that serves the partition has stopped")
}

//! Requests of this core to others, of this node and of other nodes.

use super::dispatch::READ_WINDOW;
use super::engine::Inner;
use super::message::{CoreMessage, RequestId};
use super::wire;
use bytes::Bytes;
use model::command::{Fragment, Request, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::id::PartitionId;
use model::placement::Place;
use model::time::Timestamp;
use runtime::mesh::{Full, Mesh};
use runtime::sync::{Notify, oneshot, queue};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

/// Answers to a read that may wait for their reader: the window, and the end.
const READ_QUEUE: usize = READ_WINDOW + 1;

/// Who waits for answers of other cores.
pub(super) struct Remote {
    pub(super) mesh: Mesh<CoreMessage>,
    waiting: RefCell<HashMap<RequestId, (Place, Waiting)>>,
    last: Cell<u64>,
    /// Messages of callers that cannot wait: a few for each request in progress.
    pub(super) unsent: RefCell<VecDeque<(Place, CoreMessage)>>,
    pub(super) unsent_more: Notify,
    /// A message was taken from `unsent` and is not yet sent.
    pub(super) posting: Cell<bool>,
    /// What came from other nodes and was not looked at yet.
    pub(super) arrived: RefCell<VecDeque<Arrived>>,
    pub(super) arrived_more: Notify,
}

/// Something that came from another node.
pub(super) enum Arrived {
    Message(Place, CoreMessage),
    /// The place is lost, with all that was on its way there and from there.
    Lost(Place),
    /// It has ended, and has answered all that it had begun.
    Left(Place),
}

enum Waiting {
    Call(oneshot::Sender<Heard>),
    Read(queue::Sender<Heard>),
}

/// What a request hears.
pub(super) enum Heard {
    Answer(Response),
    /// The place that serves it was lost: whether it was carried out is not known.
    Lost,
    /// The place has ended and had not begun it.
    NotTaken,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It was not sent, or not taken.
    NotSent,
    /// It was sent, and nobody knows what became of it.
    Lost,
    /// It cannot be sent.
    Refused(SqlError),
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
            arrived: RefCell::default(),
            arrived_more: Notify::new(),
        }
    }

    fn next_id(&self) -> RequestId {
        self.last.set(self.last.get() + 1);
        RequestId(self.last.get())
    }

    /// The other cores of this node have gone: nothing will be answered.
    pub(super) fn fail_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        // In an order that is the same in every run of a seed.
        let waiting: BTreeMap<RequestId, (Place, Waiting)> = waiting.into_iter().collect();
        for (_, waiting) in waiting.into_values() {
            waiting.tell(Heard::Answer(Response::Failed(gone())));
        }
    }

    /// A place is lost, or has left: what was asked there is not answered.
    pub(super) fn fail(&self, place: Place, left: bool) {
        let lost: BTreeSet<RequestId> = {
            let waiting = self.waiting.borrow();
            waiting.iter().filter(|(_, (at, _))| *at == place).map(|(id, _)| *id).collect()
        };
        for id in lost {
            let waiting = self.waiting.borrow_mut().remove(&id);
            if let Some((_, waiting)) = waiting {
                waiting.tell(if left { Heard::NotTaken } else { Heard::Lost });
            }
        }
    }
}

impl Waiting {
    /// Who waited may have gone.
    fn tell(self, heard: Heard) {
        match self {
            Waiting::Call(answer) => drop(answer.send(heard)),
            Waiting::Read(answers) => drop(answers.try_send(heard)),
        }
    }
}

/// Forgets a request that nobody waits for any more, and tells the core that serves it.
pub(super) struct CancelRequest {
    inner: Rc<Inner>,
    place: Place,
    id: RequestId,
}

impl CancelRequest {
    /// One more batch may be sent.
    pub(super) fn credit(&self) {
        if self.inner.remote.waiting.borrow().contains_key(&self.id) {
            self.inner.post(self.place, CoreMessage::Credit { id: self.id });
        }
    }
}

impl Drop for CancelRequest {
    fn drop(&mut self) {
        // An answer, or the last of them, has taken it out.
        let unanswered = self.inner.remote.waiting.borrow_mut().remove(&self.id);
        if unanswered.is_some() {
            self.inner.post(self.place, CoreMessage::Cancel { id: self.id });
        }
    }
}

impl Inner {
    /// Sends without waiting, in order with what was sent this way before.
    pub(super) fn post(&self, to: Place, message: CoreMessage) {
        let remote = &self.remote;
        let direct = to.node == self.options.node
            && remote.unsent.borrow().is_empty()
            && !remote.posting.get();
        let message = match direct {
            true => match remote.mesh.try_send(to.core.0, message) {
                Ok(()) => return,
                Err(Full(message)) => message,
            },
            false => message,
        };
        remote.unsent.borrow_mut().push_back((to, message));
        remote.unsent_more.notify_one();
    }

    /// Sends a message; waits for room.
    pub(super) async fn send(&self, to: Place, message: CoreMessage) -> Result<(), Unanswered> {
        if to.node == self.options.node {
            return self
                .remote
                .mesh
                .send(to.core.0, message)
                .await
                .map_err(|_closed| Unanswered::Refused(gone()));
        }
        let mut bytes = Vec::new();
        wire::encode(&message, &mut bytes).map_err(Unanswered::Refused)?;
        self.nodes.send(to, Bytes::from(bytes)).await.map_err(|unreached| {
            match unreached.may_have_arrived {
                true => Unanswered::Lost,
                false => Unanswered::NotSent,
            }
        })
    }

    /// Asks a partition of another core.
    pub(super) async fn ask(
        self: &Rc<Self>,
        place: Place,
        partition: PartitionId,
        body: RequestBody,
    ) -> Result<Response, Unanswered> {
        let id = self.remote.next_id();
        let (promise, answer) = oneshot::channel();
        let request = Request { partition, sent: self.parts.context.now(), body };
        // Before it is sent: the place may be lost meanwhile.
        self.remote.waiting.borrow_mut().insert(id, (place, Waiting::Call(promise)));
        let cancel = CancelRequest { inner: self.clone(), place, id };
        let sent = self.send(place, CoreMessage::Request { id, request }).await;
        if let Err(unsent) = sent {
            self.remote.waiting.borrow_mut().remove(&id);
            return Err(unsent);
        }
        let heard = answer.await;
        drop(cancel);
        match heard {
            Ok(Heard::Answer(response)) => Ok(response),
            Ok(Heard::Lost) => Err(Unanswered::Lost),
            Ok(Heard::NotTaken) => Err(Unanswered::NotSent),
            Err(_closed) => Err(Unanswered::Refused(gone())),
        }
    }

    /// Starts a read on another core.
    pub(super) fn ask_read(
        self: &Rc<Self>,
        place: Place,
        partition: PartitionId,
        fragment: Fragment,
    ) -> (queue::Receiver<Heard>, CancelRequest) {
        let id = self.remote.next_id();
        let (answers, batches) = queue::bounded(READ_QUEUE);
        let sent = self.parts.context.now();
        let request = Request { partition, sent, body: RequestBody::Read(fragment) };
        self.remote.waiting.borrow_mut().insert(id, (place, Waiting::Read(answers)));
        self.post(place, CoreMessage::Request { id, request });
        (batches, CancelRequest { inner: self.clone(), place, id })
    }

    /// A request could not be sent: who waits for the answer is told.
    pub(super) fn unsent(&self, id: RequestId) {
        let waiting = self.remote.waiting.borrow_mut().remove(&id);
        if let Some((_, waiting)) = waiting {
            waiting.tell(Heard::Lost);
        }
    }

    /// An answer has come.
    pub(super) fn answered(&self, from: Place, id: RequestId, sent: Timestamp, response: Response) {
        let response = match self.hear(from, sent) {
            Ok(()) => response,
            Err(error) => Response::Failed(error),
        };
        let mut waiting = self.remote.waiting.borrow_mut();
        let more = matches!(response, Response::Rows(_));
        // One that is not there was cancelled while the answer was on its way.
        let answered = match waiting.get(&id) {
            Some((_, Waiting::Read(answers))) if more => {
                drop(answers.try_send(Heard::Answer(response)));
                return;
            }
            Some(_) => waiting.remove(&id),
            None => None,
        };
        drop(waiting);
        if let Some((_, waiting)) = answered {
            waiting.tell(Heard::Answer(response));
        }
    }

    /// Moves the clock past what another core's clock has said.
    pub(super) fn hear(&self, from: Place, sent: Timestamp) -> Result<(), SqlError> {
        let context = &self.parts.context;
        if from.node == self.options.node {
            context.follow(sent);
            return Ok(());
        }
        context.observe(sent)
    }
}

pub(super) fn gone() -> SqlError {
    SqlError::new(SqlState::ADMIN_SHUTDOWN, "the core that serves the partition has stopped")
}

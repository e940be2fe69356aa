//! Messages of other cores: one task takes them, serves requests and hands answers out.

use super::engine::{Engine, Inner};
use super::message::{CoreMessage, RequestId};
use super::remote::{Arrived, Unanswered};
use crate::txn::{Ballot, Partition};
use futures::future::{AbortHandle, Abortable, Either, LocalBoxFuture, select};
use futures::stream::{FuturesUnordered, StreamExt};
use model::command::{Fragment, Request, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::id::{CoreId, PartitionId, TxnId};
use model::placement::Place;
use model::time::Timestamp;
use runtime::sync::Semaphore;
use runtime::time;
use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::rc::{Rc, Weak};

/// Messages taken at once.
const MESSAGES_MAX: usize = 256;

/// Batches of a read that may be on their way to its reader.
pub(super) const READ_WINDOW: usize = 4;

/// A request of another core that is served.
struct Serving {
    abort: AbortHandle,
    /// Batches that may be sent.
    credits: Semaphore,
}

/// What is served, by who asked.
type Table = Rc<RefCell<HashMap<(Place, RequestId), Serving>>>;

/// Serves the other cores for as long as anybody holds the engine.
pub(super) async fn run(engine: Weak<Inner>) {
    let table: Table = Rc::default();
    let mut serving: FuturesUnordered<LocalBoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut inbox: Vec<(u16, CoreMessage)> = Vec::with_capacity(MESSAGES_MAX);
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let (mesh, more) = (inner.remote.mesh.clone(), inner.remote.arrived_more.clone());
        let node = inner.options.node;
        drop(inner);
        let received = {
            let messages = std::pin::pin!(mesh.recv_many(&mut inbox, MESSAGES_MAX));
            let arrived = pin!(more.notified());
            let messages = select(messages, arrived);
            let received = if serving.is_empty() {
                Some(messages.await)
            } else {
                match select(messages, serving.next()).await {
                    Either::Left((received, _)) => Some(received),
                    Either::Right(_) => None,
                }
            };
            match received {
                Some(Either::Left((received, _))) => Some(received),
                Some(Either::Right(_)) | None => None,
            }
        };
        let Some(inner) = engine.upgrade() else { return };
        for (core, message) in inbox.drain(..) {
            let from = Place { node, core: CoreId(core) };
            take(&inner, from, message, &table, &serving);
        }
        let arrived = std::mem::take(&mut *inner.remote.arrived.borrow_mut());
        for arrived in arrived {
            match arrived {
                Arrived::Message(from, message) => take(&inner, from, message, &table, &serving),
                Arrived::Lost(place) => lose(&inner, place, &table, false),
                Arrived::Left(place) => lose(&inner, place, &table, true),
            }
        }
        if received.is_some_and(|received| received.is_err()) {
            inner.remote.fail_all();
            return;
        }
    }
}

/// Sends what could not be sent at once.
pub(super) async fn post(engine: Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let more = inner.remote.unsent_more.clone();
        let next = inner.remote.unsent.borrow_mut().pop_front();
        let Some((to, message)) = next else {
            drop(inner);
            more.notified().await;
            continue;
        };
        inner.remote.posting.set(true);
        let asked = match &message {
            CoreMessage::Request { id, .. } => Some(*id),
            _ => None,
        };
        // A core that has left needs no message, but who has asked it must hear that.
        if inner.send(to, message).await.is_err()
            && let Some(id) = asked
        {
            inner.unsent(id);
        }
        inner.remote.posting.set(false);
    }
}

/// A place is lost, or has left: what was asked there is not answered, and what it has asked here is for
/// nobody. Nor does anybody end its transactions, if it was its end: housekeeping does.
fn lose(inner: &Inner, place: Place, table: &Table, left: bool) {
    inner.parts.log.link_broke(place);
    inner.remote.fail(place, left);
    inner.lost.borrow_mut().insert(place, time::now());
    let table = table.borrow();
    let mut served: Vec<_> = table.iter().filter(|((from, _), _)| *from == place).collect();
    // In an order that is the same in every run of a seed.
    served.sort_unstable_by_key(|((_, id), _)| *id);
    for (_, serving) in served {
        serving.abort.abort();
    }
}

fn take(
    inner: &Rc<Inner>,
    from: Place,
    message: CoreMessage,
    table: &Table,
    serving: &FuturesUnordered<LocalBoxFuture<'static, ()>>,
) {
    match message {
        CoreMessage::Request { id, request } => {
            let credits = Semaphore::new(READ_WINDOW);
            let (abort, registration) = AbortHandle::new_pair();
            let admitted = admit(inner, from, &request, table.borrow().len());
            let handler = handle(inner.clone(), from, id, request, admitted, credits.clone());
            table.borrow_mut().insert((from, id), Serving { abort, credits });
            let table = table.clone();
            serving.push(Box::pin(async move {
                // Aborted: nobody waits for the answer.
                let _ = Abortable::new(handler, registration).await;
                table.borrow_mut().remove(&(from, id));
            }));
        }
        CoreMessage::Response { id, sent, response } => inner.answered(from, id, sent, response),
        CoreMessage::Credit { id } => {
            if let Some(serving) = table.borrow().get(&(from, id)) {
                serving.credits.add_permits(1);
            }
        }
        CoreMessage::Cancel { id } => {
            if let Some(serving) = table.borrow().get(&(from, id)) {
                serving.abort.abort();
            }
        }
    }
}

/// Whether a request may be served now. What ends a transaction always may.
fn admit(
    inner: &Inner,
    from: Place,
    request: &Request,
    in_progress: usize,
) -> Result<(), SqlError> {
    inner.hear(from, request.sent)?;
    let is_statement = matches!(
        request.body,
        RequestBody::Read(_)
            | RequestBody::Write { .. }
            | RequestBody::Stage { .. }
            | RequestBody::Lock(_)
            | RequestBody::Probe(_)
    );
    if is_statement && in_progress >= inner.options.remote_requests_max {
        inner.counters.refused_busy.set(inner.counters.refused_busy.get() + 1);
        return Err(SqlError::new(
            SqlState::CONFIGURATION_LIMIT_EXCEEDED,
            "too many requests are in progress on this core",
        )
        .detail(format!("core {}: {in_progress}", inner.options.core))
        .hint("Retry the statement."));
    }
    Ok(())
}

async fn handle(
    inner: Rc<Inner>,
    from: Place,
    id: RequestId,
    request: Request,
    admitted: Result<(), SqlError>,
    credits: Semaphore,
) {
    let entered = admitted.and_then(|()| inner.enter());
    // What was not begun here another node's replica may do.
    let leaves = inner.closing.get() && from.node != inner.options.node;
    let engine = Engine::from(inner);
    let response = match (&entered, request.body) {
        (Err(_), _) if leaves => Response::Elsewhere(None),
        (Err(error), _) => Response::Failed(error.clone()),
        (Ok(_), RequestBody::Read(fragment)) => {
            let reading = Reading { engine: &engine, from, id, credits };
            reading.run(request.partition, fragment).await.unwrap_or_else(Response::Failed)
        }
        (Ok(_), body) => {
            engine.serve(request.partition, body).await.unwrap_or_else(Response::Failed)
        }
    };
    engine.reply(from, id, response).await;
    // It is in progress until it is answered: a core that closes waits for that.
    drop(entered);
}

/// The transaction of which a request may be the first in its partition.
pub(super) fn begun_by(body: &RequestBody) -> Option<TxnId> {
    match body {
        RequestBody::Read(fragment) | RequestBody::Write { fragment, .. } => fragment.txn,
        RequestBody::Stage { txn, .. } => Some(*txn),
        RequestBody::Lock(rows) => Some(rows.txn),
        RequestBody::Probe(probe) => Some(probe.txn),
        RequestBody::RollbackTo { .. }
        | RequestBody::CommitOnePhase { .. }
        | RequestBody::StandAside { .. }
        | RequestBody::Prepare { .. }
        | RequestBody::Decide { .. }
        | RequestBody::Finish { .. }
        | RequestBody::Rollback { .. }
        | RequestBody::Resolve { .. }
        | RequestBody::Forget { .. } => None,
    }
}

struct Reading<'a> {
    engine: &'a Engine,
    from: Place,
    id: RequestId,
    credits: Semaphore,
}

impl Reading<'_> {
    async fn run(&self, partition: PartitionId, fragment: Fragment) -> Result<Response, SqlError> {
        let here = match self.engine.inner.serving_soon(partition, fragment.txn).await {
            Ok(here) => here,
            Err(leader) => return Ok(Response::Elsewhere(leader)),
        };
        let mut read = here.open_read(&fragment)?;
        loop {
            let batch = match read.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(Response::End),
                Err(error) if here.has_whole_others(&error) => {
                    return Ok(Response::Elsewhere(None));
                }
                Err(error) => return Err(error),
            };
            if let Ok(credit) = self.credits.acquire(1).await {
                credit.forget();
            }
            self.engine.reply(self.from, self.id, Response::Rows(batch)).await;
            runtime::task::yield_if_due().await;
        }
    }
}

impl Engine {
    async fn reply(&self, to: Place, id: RequestId, response: Response) {
        let sent: Timestamp = self.now();
        let message = CoreMessage::Response { id, sent, response };
        if let Err(Unanswered::Refused(error)) = self.inner.send(to, message).await {
            // Too long to be sent, or the core has left, which needs no answer.
            let message = CoreMessage::Response { id, sent, response: Response::Failed(error) };
            drop(self.inner.send(to, message).await);
        }
    }

    /// Answers a request to a partition of this core. What meets damage here is to be asked of a replica
    /// that is whole, where there are others.
    pub(super) async fn serve(
        &self,
        partition: PartitionId,
        body: RequestBody,
    ) -> Result<Response, SqlError> {
        let here = match self.inner.serving_soon(partition, begun_by(&body)).await {
            Ok(here) => here,
            Err(leader) => return Ok(Response::Elsewhere(leader)),
        };
        match self.carry_out(&here, body).await {
            Err(error) if here.has_whole_others(&error) => Ok(Response::Elsewhere(None)),
            served => served,
        }
    }

    async fn carry_out(
        &self,
        here: &Rc<Partition>,
        body: RequestBody,
    ) -> Result<Response, SqlError> {
        let partition = here.id;
        Ok(match body {
            RequestBody::Read(_) => return Err(SqlError::internal("a read must be streamed")),
            RequestBody::Write { fragment, commit, mark } => {
                Response::Modified(here.write(&fragment, commit, mark).await?)
            }
            RequestBody::Stage { txn, effects, mark, lock_timeout } => {
                here.stage_effects(txn, effects, mark, lock_timeout).await?;
                Response::Done
            }
            RequestBody::Lock(rows) => Response::Locked(here.lock_rows(rows).await?),
            RequestBody::Probe(probe) => Response::Probed(here.probe(probe).await?),
            RequestBody::RollbackTo { txn, mark } => {
                Response::Returned(here.roll_back_to(txn, mark).await?)
            }
            RequestBody::CommitOnePhase { txn, not_after } => {
                Response::Committed(here.commit_one_phase(txn, not_after).await?)
            }
            RequestBody::StandAside { txn } => Response::Aside(here.stand_aside(txn).await?),
            RequestBody::Prepare { txn, anchor } => match here.prepare(txn, anchor).await? {
                Ballot::Yes(at) => Response::Prepared(at),
                Ballot::Aside(not_after) => Response::Aside(not_after),
            },
            RequestBody::Decide { txn, commit, participants } => {
                Response::Decided(here.decide(txn, commit, participants).await?)
            }
            RequestBody::Finish { txn, outcome } => {
                here.finish(txn, outcome).await?;
                Response::Done
            }
            RequestBody::Rollback { txn } => {
                if !here.rollback(txn).await? {
                    self.resolve_and_finish(partition, txn).await?;
                }
                Response::Done
            }
            RequestBody::Resolve { txn } => Response::Decided(here.resolve(txn).await?),
            RequestBody::Forget { txn } => {
                here.forget(txn).await?;
                Response::Done
            }
        })
    }
}

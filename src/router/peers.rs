//! What the routers of a cluster's cores say to each other: schema changes, cancels, questions about
//! sessions, values of sequences. Small; rows never travel here.
//!
//! ```text
//!  call(place) ──┬─ a core of this node ──► mesh ──► handle
//!                └─ of another node ──► bytes (wire.rs) ──► Lines ──► ... ──► take ──► handle
//! ```
//!
//! A call to a core of this node waits for as long as that takes. One to another node ends at its
//! deadline at the latest, or when its place is lost; whoever made it is told whether it may have been
//! carried out. There is no second attempt here: who knows what a call means makes it.

mod elsewhere;
#[cfg(test)]
mod tests;

use super::cluster::{ClusterAnswer, ClusterCall};
use super::deadlocks::{RouterWait, WaitId};
use super::gates::{GateReport, Holder};
use super::lease::{LeaseAnswer, LeaseCall};
use super::presence::Backend;
use super::publication::VersionOnly;
use super::sagas::{SagaAnswer, SagaCall};
use super::sequences::{SequenceAnswer, SequenceRequest};
use super::snapshots::{Exported, SnapshotNumber};
use super::statistics::Counted;
use elsewhere::Elsewhere;
use futures::future::{Either, select};
use model::archive::Unshared;
use model::error::SqlError;
use model::id::{CatalogVersion, CoreId, NodeId, ObjectId, TxnId};
use model::placement::Place;
use model::time::Timestamp;
use rkyv::{Archive, Deserialize, Serialize};
use runtime::mesh::Mesh;
use runtime::sync::{Notify, oneshot};
use shards::core::{Engine, LockReport, TxnReport};
use shards::exec::backends::Signal;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use elsewhere::{CallError, Lines, MESSAGE_BYTES_MAX};

pub use super::identity::{CORE_SESSIONS_MAX, CancelKey, Home, SessionNumber};
pub use super::publication::Publication;

/// Messages taken from the mesh at once.
const RECEIVE_MAX: usize = 64;

/// A message between two routers.
#[derive(Debug)]
pub enum RouterMessage {
    /// Asks; answered by an `Answer` with the same number.
    Call {
        /// Unique on the asking core.
        number: u64,
        /// What is asked.
        call: Call,
    },
    /// Answers.
    Answer {
        /// Of the call.
        number: u64,
        /// The result.
        result: Result<Answer, SqlError>,
    },
}

/// What one router asks of another.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
pub enum Call {
    /// To the keeper: wait for the turn to change the schema. One at a time changes it in a cluster.
    /// Answered by the [`Answer::Turn`].
    BeginChange {
        /// Who wants it.
        change: TxnId,
        /// How long it waits.
        limit: Option<Duration>,
    },
    /// To the keeper: take the turn back, or do not have it wait for it any longer.
    EndChange {
        /// Who has it, or wants it.
        change: TxnId,
        /// The last version of the catalog that it has given out.
        version: CatalogVersion,
        /// What has become of the change is not known, so that there is none until the node has read
        /// its catalog again.
        in_doubt: bool,
    },
    /// Close the gates of these tables for a change and wait until nobody else is inside.
    CloseGates {
        /// Whose change.
        change: TxnId,
        /// The session that makes it.
        by: Holder,
        /// The tables.
        #[rkyv(with = Unshared)]
        tables: Arc<[ObjectId]>,
        /// How long it waits.
        limit: Duration,
    },
    /// Open those that a change has closed, or do not wait for them any longer.
    OpenGates(TxnId, #[rkyv(with = Unshared)] Arc<[ObjectId]>),
    /// Use this catalog from now on, if it is newer.
    Publish(#[rkyv(with = VersionOnly)] Publication),
    /// Stop what the session with this key is doing.
    CancelByKey(CancelKey),
    /// Reach the session of this process.
    Signal(u32, Signal),
    /// Which sessions are there?
    Backends,
    /// Who locks what?
    Locks,
    /// To the keeper: look for transactions that wait for each other.
    SearchDeadlocks,
    /// Who waits at the gates?
    GateWaits,
    /// Which transactions are there?
    Transactions,
    /// Who waits for whom?
    Waits,
    /// Which sessions run these transactions?
    SessionsOf(#[rkyv(with = Unshared)] Arc<[TxnId]>),
    /// Fail this wait, if it is still there. Answered by how many that were.
    Sacrifice(WaitId, SqlError),
    /// Keep this snapshot.
    HoldSnapshot(SnapshotNumber, Timestamp),
    /// Nobody reads it any more.
    ReleaseSnapshot(SnapshotNumber),
    /// What has become of transactions?
    Statistics,
    /// Which snapshot does the session of this process let others read?
    Exported(u32),
    /// How many sessions are there?
    CountSessions,
    /// About sagas.
    Saga(SagaCall),
    /// To the core that counts the sequence.
    Sequence(SequenceRequest),
    /// About the right to serve statements.
    Lease(LeaseCall),
    /// Is this change of the schema still being made at your core? Answered by how many.
    IsChanging(TxnId),
    /// To the keeper: see to it that this change of the schema, whose maker is gone or does not know
    /// what has become of it, can happen no more if it has not. Answered when that is so.
    Settle(TxnId),
    /// About the cluster.
    Cluster(ClusterCall),
}

impl Call {
    /// Whether it is of a change of the schema.
    pub(super) fn is_about_schema(&self) -> bool {
        matches!(
            self,
            Call::BeginChange { .. }
                | Call::EndChange { .. }
                | Call::CloseGates { .. }
                | Call::OpenGates(..)
                | Call::Publish(_)
        )
    }
}

/// What a router answers.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Answer {
    /// Done.
    Done,
    /// A number.
    Count(u64),
    /// The turn to change the schema.
    Turn {
        /// The last version of the catalog that was given out.
        version: CatalogVersion,
        /// The nodes that may serve statements, with the number of their cores. While somebody has the
        /// turn there are no more. None where the node is alone.
        serving: Vec<(NodeId, u16)>,
    },
    /// Sessions, in no order.
    Backends(Vec<Backend>),
    /// Locks.
    Locks(Vec<LockReport>),
    /// Waits at the gates.
    GateWaits(Vec<GateReport>),
    /// Transactions.
    Transactions(Vec<TxnReport>),
    /// Transactions that wait.
    Waits(Vec<RouterWait>),
    /// That one, if there is one.
    Exported(Option<Exported>),
    /// What was counted.
    Statistics(Vec<Counted>),
    /// About sagas.
    Saga(SagaAnswer),
    /// What a sequence answers.
    Sequence(SequenceAnswer),
    /// About the right to serve statements.
    Lease(LeaseAnswer),
    /// What was asked is not kept here, and nothing was done; who keeps it, as far as is known.
    Elsewhere(Option<Place>),
    /// About the cluster.
    Cluster(ClusterAnswer),
}

/// One core's line to the others. One per core; clones share it.
#[derive(Clone)]
pub struct Peers {
    inner: Rc<Inner>,
}

struct Inner {
    me: Place,
    cores: u16,
    mesh: Mesh<RouterMessage>,
    next_number: Cell<u64>,
    /// Calls under way in this node: bounded by the sessions of this core.
    waiting: RefCell<HashMap<u64, oneshot::Sender<Result<Answer, SqlError>>>>,
    /// The other nodes, where this one is not alone.
    elsewhere: Option<Elsewhere>,
    /// Told when a call of another node is to be answered.
    arrived: Notify,
}

impl Peers {
    /// The line of `me`, whose node has so many cores and knows of no other node.
    pub fn new(me: Place, cores: u16, mesh: Mesh<RouterMessage>) -> Peers {
        Peers::with(me, cores, mesh, None)
    }

    /// The line of a core whose node is one of a cluster, with the engine of the core, whose clock
    /// messages carry.
    pub fn joined(
        cores: u16,
        mesh: Mesh<RouterMessage>,
        engine: Engine,
        lines: Rc<dyn Lines>,
    ) -> Peers {
        let me = Place { node: engine.node(), core: engine.core() };
        Peers::with(me, cores, mesh, Some(Elsewhere::new(engine, lines)))
    }

    fn with(
        me: Place,
        cores: u16,
        mesh: Mesh<RouterMessage>,
        elsewhere: Option<Elsewhere>,
    ) -> Peers {
        let (next_number, waiting, arrived) = (Cell::new(0), RefCell::default(), Notify::new());
        let inner = Inner { me, cores, mesh, next_number, waiting, elsewhere, arrived };
        Peers { inner: Rc::new(inner) }
    }

    /// This core.
    pub fn here(&self) -> Place {
        self.inner.me
    }

    /// Whether there are no other nodes, and never will be in this life.
    pub fn is_alone(&self) -> bool {
        self.inner.elsewhere.is_none()
    }

    /// Where a core of this node is in the cluster.
    pub fn place(&self, core: CoreId) -> Place {
        Place { node: self.inner.me.node, core }
    }

    /// Where the session of this process lives, if that may be a core that is there.
    pub fn place_of(&self, process: u32) -> Option<Place> {
        let home = Home::of(process);
        if home.is_on(self.inner.me.node) {
            return (home.core.0 < self.inner.cores).then(|| self.place(home.core));
        }
        let places = self.inner.elsewhere.as_ref()?.places();
        places.into_iter().find(|place| home.is_on(place.node) && home.core == place.core)
    }

    /// All cores of the node, this one among them.
    pub fn cores(&self) -> impl Iterator<Item = CoreId> + use<> {
        (0..self.inner.cores).map(CoreId)
    }

    /// All cores of the node, and those of the other nodes that are known to live.
    pub fn places(&self) -> Vec<Place> {
        let own = self.cores().map(|core| self.place(core));
        let others = self.inner.elsewhere.iter().flat_map(Elsewhere::places);
        own.chain(others.filter(|place| place.node != self.inner.me.node)).collect()
    }

    /// Asks one router, this core's own included.
    ///
    /// # Errors
    /// What it answers instead; 57P01 where a core of this node is stopping; 08006 where another node
    /// cannot be reached, which says whether the call may have been carried out.
    pub async fn call(&self, to: Place, call: Call) -> Result<Answer, SqlError> {
        self.ask(to, call).await.map_err(SqlError::from)
    }

    /// The same, for who does something about a place that cannot be reached.
    ///
    /// # Errors
    /// Which of the two it is.
    pub async fn ask(&self, to: Place, call: Call) -> Result<Answer, CallError> {
        match to.node == self.inner.me.node {
            true => self.call_here(to.core, call).await.map_err(CallError::Refused),
            false => self.call_elsewhere(to, call).await,
        }
    }

    async fn call_here(&self, core: CoreId, call: Call) -> Result<Answer, SqlError> {
        let number = self.next_number();
        let (sender, receiver) = oneshot::channel();
        self.inner.waiting.borrow_mut().insert(number, sender);
        let message = RouterMessage::Call { number, call };
        if self.inner.mesh.send(core.0, message).await.is_err() {
            self.inner.waiting.borrow_mut().remove(&number);
            return Err(stopping(core));
        }
        receiver.await.map_err(|_closed| stopping(core))?
    }

    /// Asks every router of the cluster at once. Those of other nodes that cannot be reached are left
    /// out.
    ///
    /// # Errors
    /// What the first answered instead, once all have.
    pub async fn call_reachable(&self, call: Call) -> Result<Vec<(Place, Answer)>, SqlError> {
        let mut answers = Vec::new();
        for (place, answer) in self.ask_all(self.places(), call).await {
            match answer {
                Ok(answer) => answers.push((place, answer)),
                Err(CallError::Refused(error)) => return Err(error),
                Err(unreached) => log::debug!("{}", SqlError::from(unreached)),
            }
        }
        Ok(answers)
    }

    /// Asks these routers at once.
    pub async fn ask_all(
        &self,
        places: Vec<Place>,
        call: Call,
    ) -> Vec<(Place, Result<Answer, CallError>)> {
        let calls = places.into_iter().map(|place| {
            let asked = self.ask(place, call.clone());
            async move { (place, asked.await) }
        });
        futures::future::join_all(calls).await
    }

    /// Receives until the node stops; `handle` answers the calls of others. It is called in the order
    /// in which another core has sent them, and what it returns is run in any.
    pub async fn run<F>(&self, handle: impl Fn(Call) -> F + 'static)
    where
        F: Future<Output = Result<Answer, SqlError>> + 'static,
    {
        let mut messages = Vec::new();
        loop {
            let received = {
                let arrived = self.inner.arrived.notified();
                let received = pin!(self.inner.mesh.recv_many(&mut messages, RECEIVE_MAX));
                match select(received, arrived).await {
                    Either::Left((received, _)) => received,
                    Either::Right(_) => Ok(()),
                }
            };
            if received.is_err() {
                return;
            }
            for (from, message) in messages.drain(..) {
                match message {
                    RouterMessage::Answer { number, result } => {
                        let waiting = self.inner.waiting.borrow_mut().remove(&number);
                        // One who no longer waits needs no answer.
                        let _gone = waiting.map(|sender| sender.send(result));
                    }
                    RouterMessage::Call { number, call } => {
                        let answer = handle(call);
                        let mesh = self.inner.mesh.clone();
                        // A call may wait for statements to end; the ones behind it must not.
                        runtime::task::spawn("router call", async move {
                            let result = answer.await;
                            // A core that has gone needs no answer.
                            let _gone =
                                mesh.send(from, RouterMessage::Answer { number, result }).await;
                        })
                        .detach();
                    }
                }
            }
            self.answer_arrived(&handle);
        }
    }

    /// This core of its node.
    pub fn me(&self) -> CoreId {
        self.inner.me.core
    }

    fn next_number(&self) -> u64 {
        self.inner.next_number.replace(self.inner.next_number.get() + 1)
    }
}

fn stopping(core: CoreId) -> SqlError {
    SqlError::new(
        model::error::SqlState::ADMIN_SHUTDOWN,
        format!("core {core} of this node is stopping"),
    )
}

//! What the routers of a node's cores say to each other: schema changes, cancels, questions about
//! sessions, values of sequences. Small; rows never travel here.

use super::deadlocks::{RouterWait, WaitId};
use super::gates::{GateReport, Holder};
use super::presence::Backend;
use super::publication::VersionOnly;
use super::sagas::{SagaAnswer, SagaCall};
use super::sequences::{SequenceAnswer, SequenceRequest};
use super::snapshots::{Exported, SnapshotNumber};
use super::statistics::Counted;
use model::archive::Unshared;
use model::error::SqlError;
use model::id::{CatalogVersion, CoreId, ObjectId, TxnId};
use model::placement::Place;
use model::time::Timestamp;
use rkyv::{Archive, Deserialize, Serialize};
use runtime::mesh::Mesh;
use runtime::sync::oneshot;
use shards::core::{LockReport, TxnReport};
use shards::exec::backends::Signal;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

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
    /// To the core that keeps it: wait for the turn to change the schema. One at a time changes it in
    /// a node. Answered by the last version of the catalog that was given out.
    BeginChange {
        /// Who wants it.
        change: TxnId,
        /// How long it waits.
        limit: Option<Duration>,
    },
    /// Give the turn back, or do not wait for it any longer.
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
    /// Use this catalog from now on.
    Publish(#[rkyv(with = VersionOnly)] Publication),
    /// Stop what the session with this key is doing.
    CancelByKey(CancelKey),
    /// Reach the session of this process.
    Signal(u32, Signal),
    /// Which sessions are there?
    Backends,
    /// Who locks what?
    Locks,
    /// To core 0: look for transactions that wait for each other.
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
    /// A version of the catalog.
    Version(CatalogVersion),
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
    /// Calls under way: bounded by the sessions of this core.
    waiting: RefCell<HashMap<u64, oneshot::Sender<Result<Answer, SqlError>>>>,
}

impl Peers {
    /// The line of `me`, whose node has so many cores.
    pub fn new(me: Place, cores: u16, mesh: Mesh<RouterMessage>) -> Peers {
        Peers {
            inner: Rc::new(Inner {
                me,
                cores,
                mesh,
                next_number: Cell::new(0),
                waiting: RefCell::default(),
            }),
        }
    }

    /// This core.
    pub fn here(&self) -> Place {
        self.inner.me
    }

    /// Where a core of this node is in the cluster.
    pub fn place(&self, core: CoreId) -> Place {
        Place { node: self.inner.me.node, core }
    }

    /// The core that the session of this process lives on, if that may be one of this node.
    pub fn core_of(&self, process: u32) -> Option<CoreId> {
        let home = Home::of(process);
        let is_here = home.is_on(self.inner.me.node) && home.core.0 < self.inner.cores;
        is_here.then_some(home.core)
    }

    /// All cores of the node, this one among them.
    pub fn cores(&self) -> impl Iterator<Item = CoreId> + use<> {
        (0..self.inner.cores).map(CoreId)
    }

    /// Asks one router, this core's own included.
    pub async fn call(&self, core: CoreId, call: Call) -> Result<Answer, SqlError> {
        let number = self.inner.next_number.replace(self.inner.next_number.get() + 1);
        let (sender, receiver) = oneshot::channel();
        self.inner.waiting.borrow_mut().insert(number, sender);
        let message = RouterMessage::Call { number, call };
        if self.inner.mesh.send(core.0, message).await.is_err() {
            self.inner.waiting.borrow_mut().remove(&number);
            return Err(stopping(core));
        }
        receiver.await.map_err(|_closed| stopping(core))?
    }

    /// Asks every router at once; the first error, once all have answered.
    pub async fn call_all(&self, call: Call) -> Result<Vec<Answer>, SqlError> {
        let calls = self.cores().map(|core| self.call(core, call.clone()));
        futures::future::join_all(calls).await.into_iter().collect()
    }

    /// Receives until the node stops; `handle` answers the calls of others. It is called in the order
    /// in which another core has sent them, and what it returns is run in any.
    pub async fn run<F>(&self, handle: impl Fn(Call) -> F + 'static)
    where
        F: Future<Output = Result<Answer, SqlError>> + 'static,
    {
        let mut messages = Vec::new();
        while self.inner.mesh.recv_many(&mut messages, RECEIVE_MAX).await.is_ok() {
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
        }
    }

    /// This core of its node.
    pub fn me(&self) -> CoreId {
        self.inner.me.core
    }
}

fn stopping(core: CoreId) -> SqlError {
    SqlError::new(
        model::error::SqlState::ADMIN_SHUTDOWN,
        format!("core {core} of this node is stopping"),
    )
}

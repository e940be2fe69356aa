//! Calls to the routers of other nodes, and theirs to this one.

use super::{Answer, Call, Inner, Peers, RouterMessage};
use crate::router::cluster::ClusterCall;
use crate::router::lease::LeaseCall;
use crate::router::wire::{self, MessageKind};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use model::error::{SqlError, SqlState};
use model::placement::Place;
use runtime::sync::{Semaphore, oneshot};
use runtime::time;
use shards::core::Engine;
use shards::raft::Unreached;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// Longest message between routers, in bytes. [`Lines`] take all that are no longer.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Calls to one place that are under way: those behind them wait.
const CALLS_MAX: usize = 1_024;
/// Calls of one place that are being answered. A place has no more under way, but those that it has
/// given up.
const ANSWERING_MAX: usize = 2 * CALLS_MAX;
/// What a call waits for besides what it is about: the way there and back, and the other's turn.
const GRACE: Duration = Duration::from_secs(2);
/// How long the keeper of leases has to answer: several who are asked one after the other answer within a
/// lease.
const RENEWAL_MAX: Duration = Duration::from_secs(1);
/// How long a call may wait that waits for others as long as they take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The ways to the routers of other nodes. The composition root makes them.
pub trait Lines {
    /// Sends a message to a core of another node, behind those that were sent there before. Ready when
    /// it is on its way, for which it may have to wait; one that is dropped before has sent nothing.
    ///
    /// What was sent and does not arrive is told by [`crate::router::Router::place_lost`].
    fn send(&self, to: Place, message: Bytes) -> LocalBoxFuture<'static, Result<(), Unreached>>;

    /// All cores of the other nodes that are known to live.
    fn places(&self) -> Vec<Place>;
}

/// Why a call has no answer.
#[derive(Debug)]
pub enum CallError {
    /// This was answered instead.
    Refused(SqlError),
    /// The other node cannot be reached, or does not answer in time.
    Unreached {
        /// Who was asked.
        place: Place,
        /// Why, and whether the call may have been carried out.
        why: Unreached,
    },
}

impl From<CallError> for SqlError {
    fn from(error: CallError) -> SqlError {
        match error {
            CallError::Refused(error) => error,
            CallError::Unreached { place: Place { node, core }, why } => SqlError::new(
                SqlState::CONNECTION_FAILURE,
                format!("core {core} of node {node} cannot be reached: {why}"),
            )
            .detail(match why.may_have_arrived {
                true => "It is not known whether what it was asked has been done.",
                false => "What it was to be asked has not been done.",
            }),
        }
    }
}

impl CallError {
    fn unreached(place: Place, why: impl Into<String>, may_have_arrived: bool) -> CallError {
        CallError::Unreached { place, why: Unreached { why: why.into(), may_have_arrived } }
    }
}

/// The other nodes as a core knows them.
pub(super) struct Elsewhere {
    engine: Engine,
    lines: Rc<dyn Lines>,
    /// By number.
    under_way: RefCell<BTreeMap<u64, UnderWay>>,
    routes: RefCell<BTreeMap<Place, Rc<Route>>>,
    /// Calls that nobody has begun to answer, in the order in which they came.
    arrived: RefCell<VecDeque<Arrived>>,
}

/// A call that waits for its answer.
struct UnderWay {
    to: Place,
    answer: oneshot::Sender<Result<Answer, CallError>>,
}

/// What is under way between this core and another.
struct Route {
    /// Calls to it.
    asking: Semaphore,
    /// Calls of it.
    answering: Semaphore,
}

struct Arrived {
    from: Place,
    number: u64,
    call: Call,
    /// Given back when it is answered.
    counted: runtime::sync::Permit,
}

impl Elsewhere {
    pub(super) fn new(engine: Engine, lines: Rc<dyn Lines>) -> Elsewhere {
        Elsewhere {
            engine,
            lines,
            under_way: RefCell::default(),
            routes: RefCell::default(),
            arrived: RefCell::default(),
        }
    }

    pub(super) fn places(&self) -> Vec<Place> {
        self.lines.places()
    }

    fn route(&self, place: Place) -> Rc<Route> {
        let mut routes = self.routes.borrow_mut();
        let route = routes.entry(place).or_insert_with(|| {
            let (asking, answering) = (Semaphore::new(CALLS_MAX), Semaphore::new(ANSWERING_MAX));
            Rc::new(Route { asking, answering })
        });
        Rc::clone(route)
    }

    fn encode(&self, message: &RouterMessage) -> Result<Bytes, SqlError> {
        let mut bytes = Vec::new();
        wire::encode(message, self.engine.now(), &mut bytes)?;
        match bytes.len() <= MESSAGE_BYTES_MAX {
            true => Ok(Bytes::from(bytes)),
            false => Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "a message to another node is too long",
            )
            .detail(format!("At most {MESSAGE_BYTES_MAX} bytes are sent at once."))),
        }
    }

    fn end(&self, number: u64, from: Place, result: Result<Answer, CallError>) {
        let mut under_way = self.under_way.borrow_mut();
        if under_way.get(&number).is_some_and(|call| call.to == from)
            && let Some(call) = under_way.remove(&number)
        {
            // One who no longer waits needs no answer.
            let _gone = call.answer.send(result);
        }
    }

    async fn answer(&self, to: Place, number: u64, result: Result<Answer, SqlError>) {
        let message = RouterMessage::Answer { number, result };
        let bytes = self
            .encode(&message)
            .or_else(|error| self.encode(&RouterMessage::Answer { number, result: Err(error) }));
        let sent = match bytes {
            Ok(bytes) => self.lines.send(to, bytes).await.map_err(|why| why.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = sent {
            // Who has asked hears that this place is lost, or gives up at its deadline.
            log::debug!("a call of node {} cannot be answered: {why}", to.node);
        }
    }
}

/// Takes a call out when nobody waits for it any more.
struct Registered<'a> {
    elsewhere: &'a Elsewhere,
    number: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.elsewhere.under_way.borrow_mut().remove(&self.number);
    }
}

/// How long a call to another node may take.
fn limit_of(call: &Call) -> Duration {
    let waits = match call {
        Call::BeginChange { limit, .. } => limit.unwrap_or(PATIENCE).min(PATIENCE),
        Call::CloseGates { limit, .. } => *limit,
        Call::Saga(_) | Call::Sequence(_) | Call::Publish(_) => 4 * GRACE,
        Call::Cluster(ClusterCall::Order(_) | ClusterCall::Wish(_)) => 4 * GRACE,
        // Another may be the keeper by now, and the lease goes on.
        Call::Lease(LeaseCall::Renew { .. }) => return RENEWAL_MAX,
        _ => Duration::ZERO,
    };
    waits.saturating_add(GRACE)
}

impl Peers {
    pub(super) async fn call_elsewhere(&self, to: Place, call: Call) -> Result<Answer, CallError> {
        let Some(elsewhere) = &self.inner.elsewhere else {
            return Err(CallError::unreached(to, "this node knows of no others", false));
        };
        let (limit, number) = (limit_of(&call), self.next_number());
        let route = elsewhere.route(to);
        let mut sent = false;
        let asked = async {
            let Ok(_counted) = route.asking.acquire(1).await else {
                return Err(CallError::unreached(to, "the way there is closed", false));
            };
            let message = elsewhere.encode(&RouterMessage::Call { number, call });
            let message = message.map_err(CallError::Refused)?;
            let (answer, receiver) = oneshot::channel();
            elsewhere.under_way.borrow_mut().insert(number, UnderWay { to, answer });
            let _registered = Registered { elsewhere, number };
            let unreached = |why| CallError::Unreached { place: to, why };
            elsewhere.lines.send(to, message).await.map_err(unreached)?;
            sent = true;
            let lost = |_closed| CallError::unreached(to, "the call was dropped", true);
            receiver.await.map_err(lost)?
        };
        match time::timeout(limit, asked).await {
            Ok(answered) => answered,
            Err(_late) => {
                Err(CallError::unreached(to, format!("there was no answer in {limit:?}"), sent))
            }
        }
    }

    /// Takes a message of a core of another node. Those of one core in the order in which it has sent
    /// them.
    pub fn take(&self, from: Place, message: &[u8]) {
        let Some(elsewhere) = &self.inner.elsewhere else { return };
        let (message, sent) = match wire::decode(message) {
            Ok(decoded) => decoded,
            Err(error) => {
                let about = error.about();
                log::warn!("node {} has sent what is no message: {error}", from.node);
                match about {
                    Some((MessageKind::Call, number)) => {
                        self.refuse(from, number, SqlError::from(error));
                    }
                    Some((MessageKind::Answer, number)) => {
                        elsewhere.end(number, from, Err(CallError::Refused(error.into())));
                    }
                    None => {}
                }
                return;
            }
        };
        let followed = elsewhere.engine.observe(sent);
        match (message, followed) {
            (RouterMessage::Answer { number, result }, followed) => {
                let result = followed.and(result);
                elsewhere.end(number, from, result.map_err(CallError::Refused));
            }
            (RouterMessage::Call { number, .. }, Err(error)) => self.refuse(from, number, error),
            (RouterMessage::Call { number, call }, Ok(())) => {
                let Some(counted) = elsewhere.route(from).answering.try_acquire(1) else {
                    log::warn!("core {} of node {} asks too much at once", from.core, from.node);
                    return;
                };
                let call = Arrived { from, number, call, counted };
                elsewhere.arrived.borrow_mut().push_back(call);
                self.inner.arrived.notify_one();
            }
        }
    }

    /// What was sent to a core of another node may not arrive, and what was on its way from there
    /// will not.
    pub fn place_lost(&self, place: Place) {
        let Some(elsewhere) = &self.inner.elsewhere else { return };
        let mut under_way = elsewhere.under_way.borrow_mut();
        for (_, call) in under_way.extract_if(.., |_, call| call.to == place) {
            let lost = CallError::unreached(place, "the link with it has broken", true);
            // One who no longer waits need not know.
            let _gone = call.answer.send(Err(lost));
        }
    }

    /// Begins to answer what has arrived from other nodes.
    pub(super) fn answer_arrived<F>(&self, handle: &impl Fn(Call) -> F)
    where
        F: Future<Output = Result<Answer, SqlError>> + 'static,
    {
        let Some(elsewhere) = &self.inner.elsewhere else { return };
        loop {
            let next = elsewhere.arrived.borrow_mut().pop_front();
            let Some(Arrived { from, number, call, counted }) = next else { return };
            let (answer, inner) = (handle(call), Rc::clone(&self.inner));
            runtime::task::spawn("call of another node", async move {
                let result = answer.await;
                reply(&inner, from, number, result).await;
                drop(counted);
            })
            .detach();
        }
    }

    /// Answers a call that is not carried out.
    fn refuse(&self, to: Place, number: u64, error: SqlError) {
        let Some(elsewhere) = &self.inner.elsewhere else { return };
        let Some(counted) = elsewhere.route(to).answering.try_acquire(1) else { return };
        let inner = Rc::clone(&self.inner);
        runtime::task::spawn("refusal of a call", async move {
            reply(&inner, to, number, Err(error)).await;
            drop(counted);
        })
        .detach();
    }
}

async fn reply(inner: &Inner, to: Place, number: u64, result: Result<Answer, SqlError>) {
    if let Some(elsewhere) = &inner.elsewhere {
        elsewhere.answer(to, number, result).await;
    }
}

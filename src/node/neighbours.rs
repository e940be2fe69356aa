//! The cores of other nodes, as one core reaches them and is reached by them: what joins links with
//! engine, router and gossip.
//!
//! ```text
//!   engine ── ask_replica ──► call, raft        call, raft ──► engine.answer_replica
//!          ── send ─────────► post, engine      post, engine ► engine.take_message
//!   router ── send ─────────► post, router      post, router ► peers.take
//!   gossip ── send ─────────► post, gossip      post, gossip ► gossip.take
//!                                               call, gossip ► who wants to be let in ► desk
//!                                               broken ──────► engine.place_lost, peers.place_lost
//! ```

use super::NodeError;
use super::desk::Desk;
use super::roster::Roster;
use super::timekeeping::Timekeeping;
use crate::cluster::book::Book;
use crate::cluster::driver::Gossip;
use crate::cluster::gossip::Peer;
use crate::cluster::join::Reply;
use crate::cluster::registry::Registry;
use crate::router::peers::{Lines, Peers};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use model::id::{CoreId, NodeId, PartitionId};
use model::placement::Place;
use net::link::{
    Answer, Handler, LinkEnd, LinkError, LinkEvent, LinkOptions, Links, LocalPeer, Refusal, Secret,
    Service, Undelivered,
};
use runtime::task;
use runtime::time::Instant;
use shards::core::Engine;
use shards::raft::{Nodes, Unreached};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Messages that wait for the engine to be open. Only who believes that a partition is led here
/// sends any then.
const EARLY_MAX: usize = 1024;

/// How long the other nodes may take to read what is queued for them when the core has ended.
const FINISH_MAX: Duration = Duration::from_secs(1);

/// What a core is told by its links that ends the node.
pub(super) type Ends = flume::Sender<NodeError>;

/// The other nodes, for one core.
pub(super) struct Neighbours {
    me: Place,
    /// Empty where this node has no links.
    links: OnceCell<Links>,
    roster: RefCell<Roster>,
    /// Whom there is a link with.
    reached: RefCell<BTreeSet<Place>>,
    /// What was said of whom since there was a link: attempts are many.
    told: RefCell<BTreeMap<Place, BTreeSet<String>>>,
    /// Nodes that seem not to live.
    dead: RefCell<BTreeSet<NodeId>>,
    users: RefCell<Users>,
    /// What came for the engine or the router before they were there.
    early: RefCell<VecDeque<(Place, Service, Bytes)>>,
    timekeeping: Timekeeping,
    ends: Ends,
}

/// Who is handed what arrives, as far as they are there. They hold the neighbours, too.
#[derive(Default)]
struct Users {
    engine: Option<Engine>,
    peers: Option<Peers>,
    /// On core 0.
    gossip: Option<Gossip>,
    desk: Option<Desk>,
}

/// What is left of a core when it has ended, or is gone: its parts hold each other, and would stay. Nothing
/// of the core may run when it is dropped.
#[derive(Default)]
pub(super) struct Remains(OnceCell<Rc<Neighbours>>);

impl Remains {
    pub(super) fn note(&self, neighbours: &Rc<Neighbours>) {
        if self.0.set(neighbours.clone()).is_err() {
            unreachable!("a core has one set of neighbours");
        }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        let Some(neighbours) = self.0.get() else { return };
        let users = std::mem::take(&mut *neighbours.users.borrow_mut());
        if let Some(engine) = &users.engine {
            engine.take_apart();
        }
    }
}

/// Closes the links when the core ends, in whatever way.
pub(super) struct Closing(Rc<Neighbours>);

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(links) = self.0.links.get() {
            links.close();
        }
    }
}

impl Neighbours {
    /// Those of a core that has no links.
    pub(super) fn none(me: Place, ends: Ends) -> Rc<Neighbours> {
        Rc::new(Neighbours {
            me,
            links: OnceCell::new(),
            roster: RefCell::new(Roster::new(me.node)),
            reached: RefCell::default(),
            told: RefCell::default(),
            dead: RefCell::default(),
            users: RefCell::default(),
            early: RefCell::default(),
            timekeeping: Timekeeping::new(),
            ends,
        })
    }

    /// Those of a core with links, which end with what is returned beside.
    pub(super) fn linked(
        me: LocalPeer,
        secret: Secret,
        options: LinkOptions,
        ends: Ends,
    ) -> (Rc<Neighbours>, Closing) {
        let neighbours = Neighbours::none(me.place, ends);
        let handler: Rc<dyn Handler> = neighbours.clone();
        let links = Links::new(me, secret, options, handler);
        if neighbours.links.set(links).is_err() {
            unreachable!("they are new");
        }
        (neighbours.clone(), Closing(neighbours))
    }

    /// Where this core is.
    pub(super) fn place(&self) -> Place {
        self.me
    }

    /// The core's links, where it has any.
    pub(super) fn links(&self) -> Option<Links> {
        self.links.get().cloned()
    }

    /// What others think of this node's clock.
    pub(super) fn timekeeping(&self) -> &Timekeeping {
        &self.timekeeping
    }

    /// Ends the links with a word that all is answered that was begun here.
    pub(super) async fn finish(&self) {
        if let Some(links) = self.links.get() {
            links.finish(FINISH_MAX).await;
        }
    }

    /// Takes what is known now of where the nodes are: a book, and the registry of which it was made, where
    /// there is one. Who is gone for good is forgotten.
    pub(super) fn learn(&self, book: &Book, registry: Option<&Registry>) {
        let Some(links) = self.links.get() else { return };
        let moves = self.roster.borrow_mut().learn(book, registry);
        for gone in moves.gone {
            links.forget(gone);
        }
        for (place, address) in moves.addresses {
            links.set_address(place, address);
        }
    }

    /// Takes what is heard of which nodes are dead.
    pub(super) fn mourn(&self, dead: BTreeSet<NodeId>) {
        *self.dead.borrow_mut() = dead;
    }

    /// Hands the engine what has arrived for it, and what will.
    pub(super) fn attach(&self, engine: &Engine) {
        if self.users.borrow_mut().engine.replace(engine.clone()).is_some() {
            unreachable!("a core opens one engine");
        }
        self.hand_over(Service::Engine);
    }

    /// The same for the router.
    pub(super) fn attach_router(&self, peers: &Peers) {
        if self.users.borrow_mut().peers.replace(peers.clone()).is_some() {
            unreachable!("a core has one router");
        }
        self.hand_over(Service::Router);
    }

    fn hand_over(&self, to: Service) {
        let early = std::mem::take(&mut *self.early.borrow_mut());
        for (from, service, message) in early {
            match service == to {
                true => self.arrived(from, service, message),
                false => self.early.borrow_mut().push_back((from, service, message)),
            }
        }
    }

    /// Hands the gossip what will arrive for it. On core 0.
    pub(super) fn attach_gossip(&self, gossip: &Gossip) {
        if self.users.borrow_mut().gossip.replace(gossip.clone()).is_some() {
            unreachable!("a node has one gossip");
        }
    }

    /// Sends a datagram to core 0 of a node, if there is room.
    pub(super) fn gossip_to(&self, node: NodeId, datagram: Vec<u8>) {
        if let Some(links) = self.links.get() {
            let to = Place { node, core: CoreId(0) };
            // Datagrams may be lost anywhere.
            let _lost = links.post(to, Service::Gossip, Bytes::from(datagram));
        }
    }

    /// A node lives, and its cores' doors are there.
    pub(super) fn found(&self, peer: &Peer) {
        let Some(links) = self.links.get().filter(|_| peer.node != self.me.node) else { return };
        for (core, port) in (0..).zip(peer.ports.iter()) {
            let place = Place { node: peer.node, core: CoreId(core) };
            links.set_address(place, SocketAddr::new(peer.host, *port));
        }
        self.roster.borrow_mut().hear(peer);
        self.dead.borrow_mut().remove(&peer.node);
    }

    /// From now on questions of nodes that want to be let in are answered.
    pub(super) fn open_desk(&self, desk: Desk) {
        if self.users.borrow_mut().desk.replace(desk).is_some() {
            unreachable!("a core has one desk");
        }
    }

    fn engine(&self) -> Option<Engine> {
        self.users.borrow().engine.clone()
    }

    fn peers(&self) -> Option<Peers> {
        self.users.borrow().peers.clone()
    }

    fn arrived(&self, from: Place, service: Service, message: Bytes) {
        match (service, self.engine(), self.peers()) {
            (Service::Engine, Some(engine), _) => engine.take_message(from, message),
            (Service::Router, _, Some(peers)) => peers.take(from, &message),
            _ if self.early.borrow().len() < EARLY_MAX => {
                // It may be a small part of what was read at once.
                let message = Bytes::copy_from_slice(&message);
                self.early.borrow_mut().push_back((from, service, message));
            }
            // A gap is not allowed: the other side is told that all of it is lost.
            _ => self.cut(from.node),
        }
    }

    /// Ends the links with a node; it is dialled again when it is needed.
    fn cut(&self, node: NodeId) {
        self.early.borrow_mut().retain(|(from, ..)| from.node != node);
        if let Some(links) = self.links.get() {
            links.forget(node);
        }
    }

    /// Sends in order, and waits for room.
    fn post(
        &self,
        to: Place,
        service: Service,
        message: Bytes,
    ) -> LocalBoxFuture<'static, Result<(), Unreached>> {
        let links = self.links();
        Box::pin(async move {
            let links = links.ok_or_else(alone)?;
            let sent = links.send(to, service, message).await;
            sent.map_err(|undelivered| unreached(&undelivered.into()))
        })
    }

    /// Whether something of a place was not said since there was a link with it.
    fn is_news(&self, place: Place, what: &str) -> bool {
        self.told.borrow_mut().entry(place).or_default().insert(what.to_owned())
    }

    /// A link was not made, or has ended.
    fn not_let_in(&self, reason: &LinkEnd) {
        if self.reached.borrow().is_empty() {
            self.timekeeping.alone(reason);
        }
    }

    fn lost(&self, place: Place, reason: &LinkEnd) {
        let was_there = self.reached.borrow_mut().remove(&place);
        self.not_let_in(reason);
        let why = reason.to_string();
        if self.is_news(place, &why) || was_there {
            let (node, core) = (place.node.0, place.core.0);
            log::warn!(node = node, core = core, reason = why; "no link with a core of another node");
        }
        self.early.borrow_mut().retain(|(from, ..)| *from != place);
        if let Some(engine) = self.engine() {
            match reason {
                LinkEnd::Refused(Refusal::Finished) => engine.place_left(place),
                _ => engine.place_lost(place),
            }
        }
        if let Some(peers) = self.peers() {
            peers.place_lost(place);
        }
    }
}

impl Handler for Neighbours {
    fn post(&self, from: Place, service: Service, body: Bytes) {
        match service {
            // Who has no id yet asks to be let in and does nothing else.
            _ if from.node == NodeId(0) => {}
            Service::Engine | Service::Router => self.arrived(from, service, body),
            Service::Gossip => {
                // Datagrams may be lost; those of other cores than the first are nobody's.
                let gossip = self.users.borrow().gossip.clone();
                if let Some(gossip) = gossip {
                    gossip.take(from.node, body.to_vec());
                }
            }
            // Replicas call.
            Service::Raft => {}
        }
    }

    fn call(&self, from: Place, service: Service, body: Bytes, answer: Answer) {
        match service {
            Service::Gossip => {
                let Some(desk) = self.users.borrow().desk.clone() else {
                    let why = "the node is starting".to_owned();
                    return answer.give(Bytes::from(Reply::NotNow { why }.encode()));
                };
                let answering = async move {
                    answer.give(Bytes::from(desk.answer(&body).await.encode()));
                };
                task::spawn("desk", answering).detach();
            }
            Service::Raft if from.node != NodeId(0) => {
                let Some(engine) = self.engine() else { return answer.decline() };
                // Begun at once: appends of a leader follow each other.
                let told = engine.answer_replica(body);
                task::spawn("replica", async move { answer.give(told.await) }).detach();
            }
            Service::Raft | Service::Engine | Service::Router => answer.decline(),
        }
    }

    fn event(&self, event: LinkEvent) {
        match event {
            LinkEvent::Up { place, build, .. } => {
                self.reached.borrow_mut().insert(place);
                self.timekeeping.agreed();
                self.dead.borrow_mut().remove(&place.node);
                self.told.borrow_mut().remove(&place);
                let (node, core) = (place.node.0, place.core.0);
                log::info!(node = node, core = core, build = build; "a link with a core of another node");
            }
            LinkEvent::Broken { place, reason } | LinkEvent::Failed { place, reason } => {
                self.lost(place, &reason);
            }
            LinkEvent::TurnedAway { place, reason } => {
                // Who asks to be let in says nothing of the others.
                if place.node != NodeId(0) {
                    self.not_let_in(&reason);
                }
                let (node, core) = (place.node.0, place.core.0);
                log::warn!(node = node, core = core, reason = reason.to_string(); "a core of another node was not let in");
            }
            LinkEvent::Relayed { place, through } => {
                if !self.is_news(place, "relayed") {
                    return;
                }
                let (node, core, through) = (place.node.0, place.core.0, through.node.0);
                log::warn!(node = node, core = core, through = through; "a core is reached through another node");
            }
            LinkEvent::Superseded { incarnation } => {
                let node = self.me.node;
                // The first reason to end is enough.
                let _full = self.ends.try_send(NodeError::Superseded { node, incarnation });
            }
        }
    }
}

impl Nodes for Neighbours {
    fn place(&self, node: NodeId, partition: PartitionId) -> Option<Place> {
        let cores = u32::from(self.roster.borrow().cores(node)?);
        let core = partition.0.checked_rem(cores)?;
        // A remainder of a number of 16 bits.
        Some(Place { node, core: CoreId(core as u16) })
    }

    fn others(&self) -> Vec<NodeId> {
        let dead = self.dead.borrow();
        let mut nodes: Vec<NodeId> = self.roster.borrow().nodes().map(|(node, _)| node).collect();
        nodes.sort_by_key(|node| (dead.contains(node), !self.is_reached(*node)));
        nodes
    }

    fn is_reached(&self, node: NodeId) -> bool {
        self.reached.borrow().iter().any(|place| place.node == node)
    }

    fn send(&self, to: Place, message: Bytes) -> LocalBoxFuture<'static, Result<(), Unreached>> {
        self.post(to, Service::Engine, message)
    }

    fn ask_replica(
        &self,
        to: Place,
        message: Vec<Bytes>,
        deadline: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, Unreached>> {
        let links = self.links();
        Box::pin(async move {
            let links = links.ok_or_else(alone)?;
            let answered = links.call(to, Service::Raft, message, deadline).await;
            answered.map_err(|error| unreached(&error))
        })
    }
}

impl Lines for Neighbours {
    fn send(&self, to: Place, message: Bytes) -> LocalBoxFuture<'static, Result<(), Unreached>> {
        self.post(to, Service::Router, message)
    }

    fn places(&self) -> Vec<Place> {
        let (roster, dead) = (self.roster.borrow(), self.dead.borrow());
        let living = roster.nodes().filter(|(node, _)| !dead.contains(node));
        let all = |(node, cores)| (0..cores).map(move |core| Place { node, core: CoreId(core) });
        living.flat_map(all).collect()
    }
}

fn alone() -> Unreached {
    unreached(&LinkError::NotDelivered(Undelivered::Closed))
}

fn unreached(error: &LinkError) -> Unreached {
    Unreached { why: error.to_string(), may_have_arrived: !error.is_safe_to_repeat() }
}

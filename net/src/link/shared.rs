//! All links of a core: which way a message takes, and what happens when a link ends.

use super::error::{Doubt, LinkEnd, LinkError, LinkEvent, Refusal, Undelivered};
use super::handshake::{self, Introduced};
use super::message::{Handler, Payload, Service};
use super::options::{LINK_PAYLOAD_MAX, LinkOptions, LocalPeer, MESSAGE_OVERHEAD, Secret};
use super::run;
use super::state::{Link, Peer, Stage, Waiting, add};
use crate::frame::{CONNECTION, StreamId};
use crate::message::NodeMessage;
use bytes::Bytes;
use model::id::NodeId;
use model::placement::Place;
use runtime::sync::{Notify, oneshot};
use runtime::time::{self, Instant};
use runtime::{random, task};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Longest body: a relayed call's frame is no longer than any.
pub(super) const BODY_BYTES_MAX: usize = LINK_PAYLOAD_MAX as usize - MESSAGE_OVERHEAD;

/// How often a dialler that was refused because the other side dials, too, waits for it.
const CROSSINGS_MAX: u32 = 5;

/// What the links of a core have in common.
pub(super) struct Shared {
    pub(super) me: LocalPeer,
    pub(super) secret: Secret,
    pub(super) options: LinkOptions,
    /// `None` once closed.
    handler: RefCell<Option<Rc<dyn Handler>>>,
    pub(super) book: RefCell<BTreeMap<Place, SocketAddr>>,
    pub(super) peers: RefCell<BTreeMap<Place, Rc<Peer>>>,
    /// The newest life of each node that has proved itself.
    pub(super) incarnations: RefCell<BTreeMap<NodeId, u64>>,
    /// By the serial of the link, or the number of the route, and the stream.
    pub(super) calls: RefCell<BTreeMap<(u64, u32), Waiting>>,
    serials: Cell<u64>,
    streams: Cell<u32>,
    /// Bytes that wait for all places or are being written.
    queued: Cell<usize>,
    /// Something was written, or a link has ended.
    pub(super) room: Notify,
}

/// The way that a message takes.
pub(super) enum Way {
    Direct(Rc<Link>),
    /// By the peer's detour.
    Relayed,
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outbound {
    Post,
    Call { stream: StreamId, deadline: Instant },
}

impl Outbound {
    /// The message with no body.
    pub(super) fn message(self, service: Service) -> (NodeMessage, StreamId) {
        let (service, body) = (service as u8, Bytes::new());
        match self {
            Outbound::Post => (NodeMessage::Post { service, body }, CONNECTION),
            Outbound::Call { stream, deadline } => {
                let left = deadline.saturating_since(time::now()).as_millis();
                let patience = u32::try_from(left).unwrap_or(u32::MAX);
                (NodeMessage::Call { service, patience, body }, stream)
            }
        }
    }
}

impl Shared {
    pub(super) fn new(
        me: LocalPeer,
        secret: Secret,
        options: LinkOptions,
        handler: Rc<dyn Handler>,
    ) -> Rc<Shared> {
        options.check();
        Rc::new(Shared {
            me,
            secret,
            options,
            handler: RefCell::new(Some(handler)),
            book: RefCell::default(),
            peers: RefCell::default(),
            incarnations: RefCell::default(),
            calls: RefCell::default(),
            serials: Cell::new(0),
            streams: Cell::new(0),
            queued: Cell::new(0),
            room: Notify::new(),
        })
    }

    /// Who takes what arrives, until the links are closed.
    pub(super) fn handler(&self) -> Option<Rc<dyn Handler>> {
        self.handler.borrow().clone()
    }

    pub(super) fn tell(&self, event: LinkEvent) {
        if let Some(handler) = self.handler() {
            handler.event(event);
        }
    }

    pub(super) fn serial(&self) -> u64 {
        self.serials.set(self.serials.get() + 1);
        self.serials.get()
    }

    /// A stream for a call; 0 is the connection.
    pub(super) fn stream(&self) -> StreamId {
        self.streams.set(self.streams.get().checked_add(1).unwrap_or(1));
        StreamId(self.streams.get())
    }

    /// The place, if anything is known of it.
    pub(super) fn peer(&self, place: Place) -> Result<Rc<Peer>, Undelivered> {
        if self.handler.borrow().is_none() {
            return Err(Undelivered::Closed);
        }
        if place.node == self.me.place.node {
            return Err(Undelivered::OwnNode(place.node));
        }
        if let Some(peer) = self.peers.borrow().get(&place) {
            return Ok(Rc::clone(peer));
        }
        if !self.book.borrow().contains_key(&place) {
            return Err(Undelivered::UnknownPlace(place));
        }
        Ok(self.peer_or_new(place))
    }

    pub(super) fn peer_or_new(&self, place: Place) -> Rc<Peer> {
        Rc::clone(self.peers.borrow_mut().entry(place).or_insert_with(|| Peer::new(place)))
    }

    /// Queues a message, or says why not. A call then waits under the key that is returned.
    pub(super) fn queue(
        self: &Rc<Self>,
        peer: &Rc<Peer>,
        service: Service,
        outbound: Outbound,
        payload: &Payload,
    ) -> Result<(u64, Option<u64>), Undelivered> {
        let bytes = payload.len();
        if bytes > BODY_BYTES_MAX {
            return Err(Undelivered::TooLong { bytes, max: BODY_BYTES_MAX });
        }
        if self.handler.borrow().is_none() {
            return Err(Undelivered::Closed);
        }
        match self.way(peer)? {
            Way::Direct(link) => {
                self.check_room(&link, bytes)?;
                let (message, stream) = outbound.message(service);
                let start = self.append(&link, &message, stream, payload);
                Ok((link.serial, Some(start)))
            }
            Way::Relayed => Ok((self.queue_relayed(peer, service, outbound, payload)?, None)),
        }
    }

    pub(super) fn check_room(&self, link: &Link, bytes: usize) -> Result<(), Undelivered> {
        let bytes = bytes + MESSAGE_OVERHEAD;
        let fits = link.queued() + bytes <= self.options.queue_bytes
            && self.queued.get() + bytes <= self.options.total_queue_bytes;
        if fits { Ok(()) } else { Err(Undelivered::QueueFull) }
    }

    /// Queues what there must be room for; where it begins among the bytes of the link.
    pub(super) fn append(
        &self,
        link: &Link,
        message: &NodeMessage,
        stream: StreamId,
        payload: &Payload,
    ) -> u64 {
        let (start, bytes) = link.append(message, stream, payload);
        self.queued.set(self.queued.get() + bytes);
        start
    }

    /// Queues what answers something that arrived: it has room of its own, and never waits. Whether
    /// it was queued.
    pub(super) fn reply(
        self: &Rc<Self>,
        link: &Rc<Link>,
        message: &NodeMessage,
        stream: StreamId,
        payload: &Payload,
    ) -> bool {
        if link.is_over() {
            return true;
        }
        let (bytes, max) = (payload.len(), self.options.queue_bytes);
        if bytes > 0 {
            let full = link.queued() + bytes > 2 * max
                || self.queued.get() + bytes > 2 * self.options.total_queue_bytes;
            if full || bytes > BODY_BYTES_MAX {
                return false;
            }
        } else if link.queued() > 3 * max {
            self.end(link, LinkEnd::Flooded);
            return true;
        }
        self.append(link, message, stream, payload);
        true
    }

    /// What was taken to be written is.
    pub(super) fn written(&self, link: &Link) {
        self.queued.set(self.queued.get() - link.written());
        self.room.notify_all();
    }

    /// Which way a message takes now. Dials where that is due.
    fn way(self: &Rc<Self>, peer: &Rc<Peer>) -> Result<Way, Undelivered> {
        // A way that has carried something is better than one that is not made yet.
        let reachable = peer.failures.get() == 0 && !peer.has_detour();
        let current = peer.link.borrow().clone();
        let link = match current {
            // What is queued there already must not be overtaken.
            Some(link) if link.is_up() || reachable || !link.is_unused() => {
                return Ok(Way::Direct(link));
            }
            Some(link) => Some(link),
            None if reachable => return Ok(Way::Direct(self.dial(peer)?)),
            // One whose address nobody knows may have come by a detour, and waits for an answer.
            None if time::now() >= peer.rest_until.get() => self.dial(peer).ok(),
            None => None,
        };
        if self.has_route(peer) {
            return Ok(Way::Relayed);
        }
        link.map(Way::Direct).ok_or_else(|| {
            if !self.book.borrow().contains_key(&peer.place) {
                return Undelivered::UnknownPlace(peer.place);
            }
            let reason = peer.last_failure.borrow().clone().unwrap_or(LinkEnd::Closed);
            Undelivered::Unreachable { place: peer.place, reason }
        })
    }

    /// Begins a link with a place that has none.
    pub(super) fn dial(self: &Rc<Self>, peer: &Rc<Peer>) -> Result<Rc<Link>, Undelivered> {
        let book = self.book.borrow();
        let addr = *book.get(&peer.place).ok_or(Undelivered::UnknownPlace(peer.place))?;
        drop(book);
        let link = Link::new(self.serial(), peer.place, Rc::clone(&peer.counters));
        *peer.link.borrow_mut() = Some(Rc::clone(&link));
        let (shared, peer, dialled) = (Rc::clone(self), Rc::clone(peer), Rc::clone(&link));
        task::spawn("link", async move { shared.dial_and_run(peer, dialled, addr).await }).detach();
        Ok(link)
    }

    async fn dial_and_run(self: Rc<Self>, peer: Rc<Peer>, link: Rc<Link>, addr: SocketAddr) {
        time::sleep_until(peer.rest_until.get()).await;
        for crossing in 1..=CROSSINGS_MAX {
            if link.is_over() || link.is_up() {
                return;
            }
            let met = self.open(&peer, &link, addr).await;
            // Meanwhile the other side may have come, or the link was given up: this connection is
            // then one too many, and is closed.
            if link.is_over() || link.is_up() {
                return;
            }
            link.stage.set(Stage::Connecting);
            match met {
                Ok((socket, met)) => {
                    self.establish(&peer, &link, met, true);
                    return run::run(self, link, socket, None).await;
                }
                Err(LinkEnd::Refused(Refusal::Crossed)) if crossing < CROSSINGS_MAX => {
                    time::sleep(self.jittered(self.options.backoff_min * crossing)).await;
                }
                Err(reason) => return self.dial_failed(&peer, &link, reason),
            }
        }
    }

    async fn open(
        self: &Rc<Self>,
        peer: &Peer,
        link: &Link,
        addr: SocketAddr,
    ) -> Result<(handshake::Socket, Introduced), LinkEnd> {
        if let Some(refusal) = self.me.waits() {
            return Err(LinkEnd::Unwanted(refusal));
        }
        let mut socket = handshake::connect(addr, &self.options).await?;
        if link.is_up() {
            return Err(LinkEnd::Replaced);
        }
        link.stage.set(Stage::Greeting);
        let (place, before) = (peer.place, peer.link_before.get());
        let (me, secret, options) = (&self.me, &self.secret, &self.options);
        let met = handshake::dial(me, secret, options, place, before, &mut socket).await?;
        if let Err(refusal) = self.learn_incarnation(place.node, met.incarnation) {
            let message = handshake::farewell(&refusal);
            return Err(socket.refuse(refusal, message).await);
        }
        Ok((socket, met))
    }

    fn dial_failed(self: &Rc<Self>, peer: &Rc<Peer>, link: &Rc<Link>, reason: LinkEnd) {
        add(&peer.counters.failures, 1);
        peer.failures.set(peer.failures.get().saturating_add(1));
        self.rest(peer);
        *peer.last_failure.borrow_mut() = Some(reason.clone());
        let unused = link.is_unused();
        self.end(link, reason.clone());
        // What goes through a third node meanwhile is not touched by an attempt that carried nothing.
        if !(unused && peer.has_detour()) {
            // Who is told lets go of what came that way, too.
            let _also_lost = self.drop_detour(peer, &reason);
            self.tell(LinkEvent::Failed { place: peer.place, reason: reason.clone() });
        }
        self.heed(&reason);
    }

    /// What a refusal means for this process.
    pub(super) fn heed(&self, reason: &LinkEnd) {
        if let LinkEnd::Refused(Refusal::Superseded { newest }) = *reason
            && newest > self.me.incarnation
        {
            self.tell(LinkEvent::Superseded { incarnation: newest });
        }
    }

    /// Sets when to dial next.
    fn rest(&self, peer: &Peer) {
        let attempts = peer.attempts.get();
        peer.attempts.set(attempts.saturating_add(1));
        let pause = self.options.backoff_min.saturating_mul(1 << attempts.min(16));
        let pause = self.jittered(pause.min(self.options.backoff_max));
        peer.rest_until.set(time::now() + pause);
    }

    /// Between half of `pause` and all of it.
    fn jittered(&self, pause: Duration) -> Duration {
        let half = pause / 2;
        half + Duration::from_nanos(random::below(half.as_nanos() as u64 + 1))
    }

    /// Takes note of a life of a node, and ends the links with those before; refused where a later
    /// one is known.
    pub(super) fn learn_incarnation(
        self: &Rc<Self>,
        node: NodeId,
        incarnation: u64,
    ) -> Result<(), Refusal> {
        let newest = *self.incarnations.borrow_mut().entry(node).or_insert(incarnation);
        if incarnation < newest {
            return Err(Refusal::Superseded { newest });
        }
        self.incarnations.borrow_mut().insert(node, incarnation);
        let peers = self.peers.borrow();
        let of_node = peers.values().filter(|peer| peer.place.node == node);
        let links: Vec<_> = of_node.filter_map(|peer| peer.link_up()).collect();
        drop(peers);
        for link in links.iter().filter(|link| link.incarnation.get() < incarnation) {
            self.turn_away(link, Refusal::Superseded { newest: incarnation });
        }
        Ok(())
    }

    /// The link is up.
    pub(super) fn establish(
        self: &Rc<Self>,
        peer: &Rc<Peer>,
        link: &Rc<Link>,
        met: Introduced,
        dialled: bool,
    ) {
        let now = time::now();
        link.stage.set(Stage::Up);
        link.id.set(met.link);
        link.incarnation.set(met.incarnation);
        link.dialled.set(dialled);
        for moment in [&link.up_since, &link.heard, &link.said, &link.measured] {
            moment.set(now);
        }
        peer.link_before.set(met.link);
        peer.failures.set(0);
        *peer.last_failure.borrow_mut() = None;
        add(&peer.counters.links, 1);
        peer.counters.clock.set(met.clock);
        // From here on messages go directly: none of those on their way otherwise may come later.
        self.end_detour(peer, &LinkEnd::Rerouted);
        let Introduced { place, incarnation, build, version, clock, .. } = met;
        self.tell(LinkEvent::Up { place, incarnation, build, version, clock });
    }

    /// Ends a link, once: what was queued is forgotten, its calls fail, the user is told.
    pub(super) fn end(self: &Rc<Self>, link: &Rc<Link>, reason: LinkEnd) {
        let Some(dropped) = link.finish(&reason) else { return };
        self.queued.set(self.queued.get() - dropped);
        let peer = self.peers.borrow().get(&link.place).cloned();
        let is_of = |peer: &Rc<Peer>| {
            peer.link.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, link))
        };
        if let Some(peer) = peer.filter(is_of) {
            *peer.link.borrow_mut() = None;
            if link.is_up() {
                if link.up_since.get().elapsed() >= self.options.backoff_max {
                    peer.attempts.set(0);
                }
                self.rest(&peer);
            }
        }
        self.fail_calls(link.serial, &reason, |start| link.has_left(start));
        if link.is_up() {
            self.end_detours_over(link, &reason);
            if link.place.node != NodeId(0) {
                self.tell(LinkEvent::Broken { place: link.place, reason });
            }
        }
        self.room.notify_all();
    }

    /// Fails the calls that wait for a link or a route.
    pub(super) fn fail_calls(&self, carrier: u64, reason: &LinkEnd, left: impl Fn(u64) -> bool) {
        let failed: Vec<Waiting> = {
            let mut calls = self.calls.borrow_mut();
            let keys: Vec<_> =
                calls.range((carrier, 0)..=(carrier, u32::MAX)).map(|(key, _)| *key).collect();
            keys.iter().filter_map(|key| calls.remove(key)).collect()
        };
        for Waiting { start, answer } in failed {
            let error: LinkError = match start {
                Some(start) if !left(start) => Undelivered::Unsent(reason.clone()).into(),
                _ => Doubt::Broken(reason.clone()).into(),
            };
            // Who has given up meanwhile needs no answer.
            let _gone = answer.send(Err(error));
        }
    }

    /// Hands a call what has come of it.
    pub(super) fn complete(&self, key: (u64, u32), outcome: Result<Bytes, LinkError>) {
        let waiting = self.calls.borrow_mut().remove(&key);
        if let Some(Waiting { answer, .. }) = waiting {
            // Who has given up meanwhile needs no answer.
            let _gone = answer.send(outcome);
        }
    }

    /// Lets a call that was queued wait.
    pub(super) fn wait(
        self: &Rc<Self>,
        carrier: u64,
        start: Option<u64>,
        stream: StreamId,
    ) -> Pending {
        let (answer, outcome) = oneshot::channel();
        self.calls.borrow_mut().insert((carrier, stream.0), Waiting { start, answer });
        Pending { shared: Rc::clone(self), key: (carrier, stream.0), outcome }
    }

    /// Ends all links, with a word to the other side.
    pub(super) fn close(self: &Rc<Self>) {
        let peers: Vec<_> = self.peers.borrow().values().cloned().collect();
        for peer in &peers {
            self.close_peer(peer);
        }
        *self.handler.borrow_mut() = None;
        self.room.notify_all();
    }

    /// Has the links end that are up, each when its queue is written, and waits for that.
    pub(super) async fn finish(self: &Rc<Self>, limit: Duration) {
        let links: Vec<Rc<Link>> =
            self.peers.borrow().values().filter_map(|peer| peer.link_up()).collect();
        for link in &links {
            link.finishing.set(true);
            link.to_write.notify_one();
        }
        let ended = async {
            while !links.iter().all(|link| link.is_over()) {
                self.room.notified().await;
            }
        };
        // One that does not read is told nothing.
        let _late = time::timeout(limit, ended).await;
    }

    /// Ends the link and the ways to and from a place.
    pub(super) fn close_peer(self: &Rc<Self>, peer: &Rc<Peer>) {
        let link = peer.link.borrow().clone();
        if let Some(link) = link {
            self.turn_away(&link, Refusal::Closing);
        }
        self.end_detour(peer, &LinkEnd::Unwanted(Refusal::Closing));
    }

    /// Ends a link that this side does not want any more, and says so.
    pub(super) fn turn_away(self: &Rc<Self>, link: &Rc<Link>, refusal: Refusal) {
        *link.farewell.borrow_mut() = Some(refusal.clone());
        self.end(link, LinkEnd::Unwanted(refusal));
    }
}

/// A call that was queued. Dropping it gives the answer up.
pub(super) struct Pending {
    shared: Rc<Shared>,
    key: (u64, u32),
    outcome: oneshot::Receiver<Result<Bytes, LinkError>>,
}

impl Pending {
    pub(super) async fn outcome(mut self, deadline: Instant) -> Result<Bytes, LinkError> {
        let left = deadline.saturating_since(time::now());
        match time::timeout(left, &mut self.outcome).await {
            Ok(Ok(outcome)) => outcome,
            // Whoever takes a call out of the table answers it.
            Ok(Err(_closed)) => Err(Doubt::NotAnswered.into()),
            // It may still be in the queue, from where nothing is taken back.
            Err(_elapsed) => Err(Doubt::Deadline.into()),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.calls.borrow_mut().remove(&self.key);
    }
}

//! Messages that go through a third node, where no direct connection can be made.
//!
//! ```text
//!   A ──Relay(A to C)──► B ──the same frame──► C      B has links with both
//!   A ◄──the same──── B ◄──Relay(C to A)────── C      the answer
//! ```
//!
//! A route is a way from one place to another through a third: it has a number, greater than that
//! of any before, and counts its messages. The end of a route takes a message only if it is the
//! next one, on the link on which the others came, and while there is no direct link. So what a
//! route delivers is in order and without a gap, and none of it comes after what went directly.
//! Whatever does not fit is answered with a fault that ends the route at its beginning.
//!
//! What is on its way through a third node is in doubt when a direct connection takes over. So there is no
//! route to a node that answers and on which nobody listens: one that is being started again is reached
//! directly as soon as it is reached at all.
//!
//! Nor may the first message of a route come when a direct link has come and gone meanwhile: who has begun one says
//! before anything else on a link which are over.
//!
//! # Both ends hear of an end
//!
//! Who is told that a place is lost lets go of what it asked there and of what it was asked from there. The other
//! end must hear that, or it waits for answers that nobody gives. So the routes there and back are a pair, the
//! *detour*, and end together:
//!
//! * A detour begins with a new route there, for a first message, or because a new route has come. Its way back is the
//!   first new route that comes and no other, and no route is the way back of two detours.
//! * The first message of a route says which route of the other end was the last way back, and that it is over, or
//!   the pair of this one. So does a message when the way back comes, and one twice a second.
//! * A detour ends if its own route is said to be over, if its way back is said to be the pair of another route than its
//!   own, if a newer route comes than its way back, and with a fault that names its route. The newer route is
//!   the way back of the next detour, which begins at once, unless it is said to be the pair of what has ended.
//! * Who ends a detour says so to the beginning of its way back, if it has one, by such a fault.
//!
//! Nobody stays untold. Say that A ends a detour with route a, and that B took messages of a, or A some of B's
//! route b. Then a is the way back of B's detour, or b its route, unless that has ended and B was told. B says
//! something within half a second, and A refuses it, as often as it comes: either it names a as a pair, which is over,
//! or b was a way back at A and is none again. The refusal ends B's detour.
//!
//! Nobody is told for ever. Whatever ends a detour names a route, which is not used again, and none but a route that
//! can be no way back any more; so what ends one end's detour in answer to the other's does not come back. Let no
//! link break, and what was said of routes of before have arrived. Then a detour without a way back is ended by nothing:
//! at the other end its route becomes the way back, of a detour that has none or of a new one, whose route
//! says so and becomes the way back here.
//!
//! Who passes messages on keeps nothing: it looks at both places and queues the frame as it is.

use super::error::{Fault, LinkEnd, LinkEvent, Undelivered};
use super::message::{NOBODY, Payload, Service};
use super::run::deliver;
use super::shared::{Outbound, Shared};
use super::state::{Back, Detour, Link, Peer, RouteId, add};
use crate::codec::{Wire, decode_all};
use crate::frame::{CONNECTION, Frame, StreamId};
use crate::message::{NodeMessage, NodePairing, NodeRelay, NodeRoutesOver};
use bytes::{Bytes, BytesMut};
use model::placement::Place;
use runtime::{random, task, time};
use std::rc::Rc;

/// Who says that a relayed message was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refuser {
    /// Another one, or another time, may do better.
    Passing = 0,
    /// The end of the route, which takes another route in the same way.
    End = 1,
}

impl Shared {
    /// Whether messages to a place that cannot be reached go through another node; looks for one.
    pub(super) fn has_route(self: &Rc<Self>, peer: &Rc<Peer>) -> bool {
        if peer.has_detour() {
            return true;
        }
        if peer.last_failure.borrow().as_ref().is_some_and(LinkEnd::is_nobody_there) {
            return false;
        }
        let now = time::now();
        peer.avoided.borrow_mut().retain(|(_, until)| *until > now);
        let avoided = peer.avoided.borrow();
        let is_avoided = |place: Place| avoided.iter().any(|(other, _)| *other == place);
        let mut through: Vec<Rc<Link>> = self
            .peers
            .borrow()
            .values()
            .filter_map(|other| {
                let elsewhere = other.place.node != peer.place.node && !is_avoided(other.place);
                elsewhere.then(|| other.link_up()).flatten()
            })
            .collect();
        drop(avoided);
        if through.is_empty() {
            self.reach_out(peer);
            return false;
        }
        let link = through.swap_remove(random::below(through.len() as u64) as usize);
        let through = link.place;
        self.begin_detour(peer, link, None);
        self.tell(LinkEvent::Relayed { place: peer.place, through });
        // The user may have ended anything meanwhile.
        peer.has_detour()
    }

    /// Begins ways to a place, by `link`, and back.
    fn begin_detour(self: &Rc<Self>, peer: &Rc<Peer>, link: Rc<Link>, back: Option<Back>) {
        let number = self.serial();
        peer.last_route.set(Some(number));
        let mut detour = Detour { number, link, next: 0, back };
        self.say_pairing(peer, &mut detour);
        *peer.detour.borrow_mut() = Some(detour);
        let (shared, peer) = (Rc::downgrade(self), Rc::downgrade(peer));
        let every = self.options.ping_every;
        let saying = async move {
            loop {
                time::sleep(every).await;
                let (Some(shared), Some(peer)) = (shared.upgrade(), peer.upgrade()) else { return };
                match &mut *peer.detour.borrow_mut() {
                    Some(detour) if detour.number == number => shared.say_pairing(&peer, detour),
                    _ => return,
                }
            }
        };
        task::spawn("detour", saying).detach();
    }

    /// Says what the route there is paired with: it shows that the route is of use, or that it is not.
    fn say_pairing(&self, peer: &Peer, detour: &mut Detour) {
        let (incarnation, route) = peer.newest_route.get();
        let paired = detour.back.is_some();
        let mut body = BytesMut::new();
        NodePairing { incarnation, route, paired }.encode(&mut body);
        let message = NodeMessage::Post { service: NOBODY, body: body.freeze() };
        self.append_relayed(peer.place, detour, (message, CONNECTION), &Payload::default());
    }

    /// Begins a link with some place on a third node, so that there is a way later.
    fn reach_out(self: &Rc<Self>, peer: &Peer) {
        let own = [self.me.place.node, peer.place.node];
        let others: Vec<Place> =
            self.book.borrow().keys().filter(|place| !own.contains(&place.node)).copied().collect();
        if others.is_empty() {
            return;
        }
        let chosen = others[random::below(others.len() as u64) as usize];
        self.reach(&self.peer_or_new(chosen));
    }

    /// Begins a link with a place that has none, where that is due.
    fn reach(self: &Rc<Self>, peer: &Rc<Peer>) {
        let idle = peer.link.borrow().is_none() && time::now() >= peer.rest_until.get();
        if idle {
            // A place that nobody knows the address of is not reached.
            let _unknown = self.dial(peer);
        }
    }

    /// Queues a message for the third node; the number of the route.
    pub(super) fn queue_relayed(
        &self,
        peer: &Peer,
        service: Service,
        outbound: Outbound,
        payload: &Payload,
    ) -> Result<u64, Undelivered> {
        let mut detour = peer.detour.borrow_mut();
        let detour = detour.as_mut().ok_or(Undelivered::NotRelayed)?;
        self.check_room(&detour.link, payload.len())?;
        self.append_relayed(peer.place, detour, outbound.message(service), payload);
        add(&peer.counters.relayed, 1);
        Ok(detour.number)
    }

    fn append_relayed(
        &self,
        destination: Place,
        detour: &mut Detour,
        (message, stream): (NodeMessage, StreamId),
        payload: &Payload,
    ) {
        let relay = NodeMessage::Relay(NodeRelay {
            origin: self.me.place,
            incarnation: self.me.incarnation,
            destination,
            route: detour.number,
            sequence: detour.next,
            message: Box::new(message),
        });
        self.append(&detour.link, &relay, stream, payload);
        detour.next = detour.next.wrapping_add(1);
    }

    /// A relayed message has arrived on `link`.
    pub(super) fn relayed(
        self: &Rc<Self>,
        link: &Rc<Link>,
        frame: &Frame,
        relay: NodeRelay,
    ) -> Result<(), LinkEnd> {
        if relay.destination == self.me.place {
            if relay.origin == link.place || relay.origin.node == self.me.place.node {
                return Err(LinkEnd::OutOfPlace("a message by a detour from who sent it"));
            }
            self.take_relayed(link, relay, frame.stream);
            return Ok(());
        }
        if relay.origin != link.place {
            return Err(LinkEnd::OutOfPlace("a message that was passed on twice"));
        }
        self.pass_on(link, frame, &relay);
        Ok(())
    }

    fn pass_on(self: &Rc<Self>, from: &Rc<Link>, frame: &Frame, relay: &NodeRelay) {
        let peer = self.peers.borrow().get(&relay.destination).cloned();
        let to = peer.as_ref().and_then(|peer| peer.link_up());
        if let Some(to) = to
            && self.check_room(&to, frame.payload.len()).is_ok()
        {
            // The head is written anew, and what follows it is the same bytes.
            let head = NodeMessage::Relay(NodeRelay {
                message: Box::new(without_body(&relay.message)),
                ..relay.clone()
            });
            let body = Payload::from(body_of(&relay.message));
            self.append(&to, &head, frame.stream, &body);
            add(&to.counters.relayed, 1);
            return;
        }
        self.refuse_relayed(from, relay, frame.stream, Refuser::Passing);
        if self.book.borrow().contains_key(&relay.destination) {
            self.reach(&self.peer_or_new(relay.destination));
        }
    }

    /// Tells the origin of a post or call, behind `link`, that it was not delivered.
    fn refuse_relayed(
        self: &Rc<Self>,
        link: &Rc<Link>,
        relay: &NodeRelay,
        stream: StreamId,
        refuser: Refuser,
    ) {
        if relay.message.ends_stream() {
            // An answer that does not come is known by its deadline.
            return;
        }
        let (origin, destination) = (relay.destination, relay.origin);
        self.say_over(link, (origin, destination), relay.route, stream, refuser);
    }

    /// Tells the beginning of a route, in the name of its end, that the route is over.
    fn say_over(
        self: &Rc<Self>,
        link: &Rc<Link>,
        (origin, destination): (Place, Place),
        route: u64,
        stream: StreamId,
        refuser: Refuser,
    ) {
        let fault = NodeMessage::Relay(NodeRelay {
            origin,
            incarnation: self.me.incarnation,
            destination,
            route,
            sequence: refuser as u32,
            message: Box::new(NodeMessage::Fault(Fault::NotRelayed as u8)),
        });
        self.reply(link, &fault, stream, &Payload::default());
    }

    /// A message for this core has come through the node behind `link`.
    fn take_relayed(self: &Rc<Self>, link: &Rc<Link>, relay: NodeRelay, stream: StreamId) {
        let key = (relay.route, stream.0);
        match *relay.message {
            NodeMessage::Answer { body } => self.complete(key, Ok(body)),
            NodeMessage::Fault(code) => {
                self.complete(key, Err(Fault::error_of(code)));
                if code == Fault::NotRelayed as u8 {
                    let by_end = relay.sequence == Refuser::End as u32;
                    self.route_failed(relay.origin, relay.route, by_end);
                }
            }
            ref message => match self.check_next(link, &relay) {
                Err(refuser) => self.refuse_relayed(link, &relay, stream, refuser),
                Ok(()) if is_for_nobody(message) => {}
                Ok(()) => {
                    let Some(handler) = self.handler() else { return };
                    let (from, back) = (relay.origin, Some(relay.route));
                    deliver(self, &*handler, link, from, back, message.clone(), stream);
                }
            },
        }
    }

    /// Whether a message is the one to come next of its origin.
    fn check_next(self: &Rc<Self>, link: &Rc<Link>, relay: &NodeRelay) -> Result<(), Refuser> {
        let known = self.incarnations.borrow().get(&relay.origin.node).copied();
        if known.is_some_and(|newest| relay.incarnation < newest) {
            return Err(Refuser::Passing);
        }
        let peer = self.peer_or_new(relay.origin);
        if peer.link_up().is_some() {
            // Who takes a detour has none: it will have ended here soon.
            return Err(Refuser::Passing);
        }
        let route = (relay.incarnation, relay.route);
        let pairing = pairing_of(&relay.message);
        if peer.way_back() != Some(route) {
            let is_new = relay.sequence == 0 && route > peer.newest_route.get();
            // Who does not say it is of a version that has no pairs.
            let taken = is_new && self.take_route(&peer, link, route, pairing.unwrap_or_default());
            return if taken { Ok(()) } else { Err(Refuser::End) };
        }
        let own = {
            let mut detour = peer.detour.borrow_mut();
            let Some(Detour { number, back: Some(back), .. }) = &mut *detour else {
                return Err(Refuser::End);
            };
            if !Rc::ptr_eq(&back.link, link) || back.next != relay.sequence {
                return Err(Refuser::End);
            }
            back.next = back.next.wrapping_add(1);
            (self.me.incarnation, *number)
        };
        if pairing.is_none_or(|pairing| pairing.is_with(own)) {
            return Ok(());
        }
        self.end_detour(&peer, &LinkEnd::Rerouted);
        Err(Refuser::End)
    }

    /// A new route of a place becomes the way back, if it may; ends the detour that it shows to be over.
    fn take_route(
        self: &Rc<Self>,
        peer: &Rc<Peer>,
        link: &Rc<Link>,
        route: RouteId,
        pairing: NodePairing,
    ) -> bool {
        let own = peer.detour.borrow().as_ref().map(|detour| (self.me.incarnation, detour.number));
        let is_over = peer.way_back().is_some() || own.is_some_and(|own| pairing.is_past(own));
        let ended = peer.detour.borrow_mut().take_if(|_| is_over);
        let may = match own.filter(|_| !is_over) {
            Some(own) => pairing.is_with(own),
            None => !pairing.paired,
        };
        if may {
            peer.newest_route.set(route);
            let back = Back { route, link: Rc::clone(link), next: 1 };
            let mut detour = peer.detour.borrow_mut();
            if let Some(detour) = &mut *detour {
                detour.back = Some(back);
                self.say_pairing(peer, detour);
            } else {
                drop(detour);
                self.begin_detour(peer, Rc::clone(link), Some(back));
            }
        }
        if let Some(ended) = ended {
            self.wind_up(peer, ended, &LinkEnd::Rerouted);
            self.tell(LinkEvent::Broken { place: peer.place, reason: LinkEnd::Rerouted });
        }
        if may {
            self.tell(LinkEvent::Relayed { place: peer.place, through: link.place });
        }
        // The user may have ended anything meanwhile.
        peer.way_back() == Some(route)
    }

    /// What is said on a link before anything else: the routes of before are over. The first message of one
    /// may still be on its way, and must not be taken when the link has ended.
    pub(super) fn word_of_routes(&self, link: &Link) -> Option<Bytes> {
        let route = self.peers.borrow().get(&link.place)?.last_route.get()?;
        let mut body = BytesMut::new();
        NodeRoutesOver { route }.encode(&mut body);
        let mut word = BytesMut::new();
        NodeMessage::Post { service: NOBODY, body: body.freeze() }.write(&mut word, CONNECTION);
        Some(word.freeze())
    }

    /// The other end has said so. What is not understood is of a later version, which says something else.
    pub(super) fn routes_over(&self, link: &Link, body: &[u8]) {
        let peer = self.peers.borrow().get(&link.place).cloned();
        let (Some(peer), Ok(NodeRoutesOver { route })) = (peer, decode_all(body)) else {
            add(&link.counters.dropped, 1);
            return;
        };
        let over = (link.incarnation.get(), route);
        peer.newest_route.set(peer.newest_route.get().max(over));
    }

    /// A third node could not pass a message on, or its end did not take it.
    fn route_failed(self: &Rc<Self>, place: Place, number: u64, by_end: bool) {
        let peer = self.peers.borrow().get(&place).cloned();
        let Some(peer) = peer else { return };
        let through = match &*peer.detour.borrow() {
            Some(detour) if detour.number == number => detour.link.place,
            _ => return,
        };
        if !by_end {
            let until = time::now() + self.options.backoff_max;
            peer.avoided.borrow_mut().push((through, until));
        }
        self.end_detour(&peer, &LinkEnd::Rerouted);
    }

    /// Ends the ways to a place and back through third nodes, if there are any: calls fail, and the other end is
    /// told.
    pub(super) fn end_detour(self: &Rc<Self>, peer: &Peer, reason: &LinkEnd) {
        if self.drop_detour(peer, reason) {
            self.tell(LinkEvent::Broken { place: peer.place, reason: reason.clone() });
        }
    }

    /// The same for who tells the user itself; whether there was one.
    pub(super) fn drop_detour(self: &Rc<Self>, peer: &Peer, reason: &LinkEnd) -> bool {
        let ended = peer.detour.borrow_mut().take();
        ended.map(|ended| self.wind_up(peer, ended, reason)).is_some()
    }

    fn wind_up(self: &Rc<Self>, peer: &Peer, ended: Detour, reason: &LinkEnd) {
        self.fail_calls(ended.number, reason, |_| true);
        if let Some(Back { route: (_, route), link, .. }) = ended.back {
            let ways = (self.me.place, peer.place);
            self.say_over(&link, ways, route, CONNECTION, Refuser::End);
        }
    }

    /// Ends the detours that lead over a link, there or back.
    pub(super) fn end_detours_over(self: &Rc<Self>, link: &Rc<Link>, reason: &LinkEnd) {
        let peers: Vec<Rc<Peer>> = self.peers.borrow().values().cloned().collect();
        for peer in peers {
            let is_over = |detour: &Detour| {
                let back = detour.back.as_ref().map(|back| &back.link);
                std::iter::once(&detour.link).chain(back).any(|used| Rc::ptr_eq(used, link))
            };
            if peer.detour.borrow().as_ref().is_some_and(is_over) {
                self.end_detour(&peer, reason);
            }
        }
    }
}

impl NodePairing {
    fn newest(&self) -> RouteId {
        (self.incarnation, self.route)
    }

    /// Whether a route may be paired with this one of the other end, or is.
    fn is_with(&self, own: RouteId) -> bool {
        if self.paired { self.newest() == own } else { self.newest() < own }
    }

    /// Whether what was paired with this route has ended.
    fn is_past(&self, own: RouteId) -> bool {
        !self.paired && self.newest() >= own
    }
}

fn is_for_nobody(message: &NodeMessage) -> bool {
    matches!(message, NodeMessage::Post { service: NOBODY, .. })
}

/// What a message says of its route, if it is one that does.
fn pairing_of(message: &NodeMessage) -> Option<NodePairing> {
    match message {
        NodeMessage::Post { service: NOBODY, body } => decode_all(body).ok(),
        _ => None,
    }
}

fn body_of(message: &NodeMessage) -> Bytes {
    match message {
        NodeMessage::Post { body, .. }
        | NodeMessage::Call { body, .. }
        | NodeMessage::Answer { body } => body.clone(),
        _ => Bytes::new(),
    }
}

fn without_body(message: &NodeMessage) -> NodeMessage {
    let body = Bytes::new();
    match *message {
        NodeMessage::Post { service, .. } => NodeMessage::Post { service, body },
        NodeMessage::Call { service, patience, .. } => {
            NodeMessage::Call { service, patience, body }
        }
        NodeMessage::Answer { .. } => NodeMessage::Answer { body },
        ref message => message.clone(),
    }
}

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
//! Who passes messages on keeps nothing: it looks at both places and queues the frame as it is.

use super::error::{Fault, LinkEnd, LinkEvent, Undelivered};
use super::message::{Payload, Service};
use super::run::deliver;
use super::shared::{Outbound, Shared};
use super::state::{Arriving, Link, Peer, Route, add};
use crate::frame::{Frame, StreamId};
use crate::message::{NodeMessage, NodeRelay};
use bytes::Bytes;
use model::placement::Place;
use runtime::{random, time};
use std::rc::Rc;

impl Shared {
    /// Whether messages to a place that cannot be reached go through another node; looks for one.
    pub(super) fn has_route(self: &Rc<Self>, peer: &Rc<Peer>) -> bool {
        if peer.route.borrow().is_some() {
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
        *peer.route.borrow_mut() = Some(Route { number: self.serial(), link, next: 0 });
        self.tell(LinkEvent::Relayed { place: peer.place, through });
        // The user may have ended anything meanwhile.
        peer.route.borrow().is_some()
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
        let mut route = peer.route.borrow_mut();
        let route = route.as_mut().ok_or(Undelivered::NotRelayed)?;
        self.check_room(&route.link, payload.len())?;
        let (message, stream) = outbound.message(service);
        let relay = NodeMessage::Relay(NodeRelay {
            origin: self.me.place,
            incarnation: self.me.incarnation,
            destination: peer.place,
            route: route.number,
            sequence: route.next,
            message: Box::new(message),
        });
        self.append(&route.link, &relay, stream, payload);
        route.next = route.next.wrapping_add(1);
        add(&peer.counters.relayed, 1);
        Ok(route.number)
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
        self.refuse_relayed(from, relay, frame.stream);
        if self.book.borrow().contains_key(&relay.destination) {
            self.reach(&self.peer_or_new(relay.destination));
        }
    }

    /// Tells the origin of a post or call, behind `link`, that it was not delivered.
    fn refuse_relayed(self: &Rc<Self>, link: &Rc<Link>, relay: &NodeRelay, stream: StreamId) {
        if relay.message.ends_stream() {
            // An answer that does not come is known by its deadline.
            return;
        }
        let fault = NodeMessage::Relay(NodeRelay {
            origin: relay.destination,
            incarnation: self.me.incarnation,
            destination: relay.origin,
            route: relay.route,
            sequence: 0,
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
                    self.route_failed(relay.origin, relay.route);
                }
            }
            ref message => {
                let is_next = self.is_next(link, &relay);
                match self.handler().filter(|_| is_next) {
                    Some(handler) => {
                        let (from, back) = (relay.origin, Some(relay.route));
                        deliver(self, &*handler, link, from, back, message.clone(), stream);
                    }
                    None => self.refuse_relayed(link, &relay, stream),
                }
            }
        }
    }

    /// Whether a message is the one to come next of its origin.
    fn is_next(self: &Rc<Self>, link: &Rc<Link>, relay: &NodeRelay) -> bool {
        let known = self.incarnations.borrow().get(&relay.origin.node).copied();
        if known.is_some_and(|newest| relay.incarnation < newest) {
            return false;
        }
        let peer = self.peer_or_new(relay.origin);
        if peer.link_up().is_some() {
            return false;
        }
        let life = (relay.incarnation, relay.route);
        if let Some(arriving) = &mut *peer.arriving.borrow_mut()
            && (arriving.incarnation, arriving.number) == life
        {
            let fits = Rc::ptr_eq(&arriving.link, link) && arriving.next == relay.sequence;
            arriving.next = arriving.next.wrapping_add(u32::from(fits));
            return fits;
        }
        if relay.sequence != 0 || life <= peer.newest_route.get() {
            return false;
        }
        self.end_arriving(&peer, &LinkEnd::Rerouted);
        peer.newest_route.set(life);
        let (incarnation, number) = life;
        let link = Rc::clone(link);
        let through = link.place;
        *peer.arriving.borrow_mut() = Some(Arriving { incarnation, number, link, next: 1 });
        self.tell(LinkEvent::Relayed { place: peer.place, through });
        true
    }

    /// A third node could not pass a message on, or its end did not take it.
    fn route_failed(self: &Rc<Self>, place: Place, number: u64) {
        let peer = self.peers.borrow().get(&place).cloned();
        let Some(peer) = peer else { return };
        let through = match &*peer.route.borrow() {
            Some(route) if route.number == number => route.link.place,
            _ => return,
        };
        let until = time::now() + self.options.backoff_max;
        peer.avoided.borrow_mut().push((through, until));
        self.end_route(&peer, &LinkEnd::Rerouted);
    }

    /// Ends the way to a place through a third node, if there is one: its calls fail.
    pub(super) fn end_route(self: &Rc<Self>, peer: &Peer, reason: &LinkEnd) {
        let ended = peer.route.borrow_mut().take();
        if let Some(route) = ended {
            self.fail_calls(route.number, reason, |_| true);
            self.tell(LinkEvent::Broken { place: peer.place, reason: reason.clone() });
        }
    }

    /// Ends the way from a place through a third node, if there is one.
    pub(super) fn end_arriving(self: &Rc<Self>, peer: &Peer, reason: &LinkEnd) {
        let ended = peer.arriving.borrow_mut().take();
        if ended.is_some() {
            self.tell(LinkEvent::Broken { place: peer.place, reason: reason.clone() });
        }
    }

    /// Ends the ways that lead over a link.
    pub(super) fn end_routes_over(self: &Rc<Self>, link: &Rc<Link>, reason: &LinkEnd) {
        let peers: Vec<Rc<Peer>> = self.peers.borrow().values().cloned().collect();
        for peer in peers {
            let over = |used: &Rc<Link>| Rc::ptr_eq(used, link);
            if peer.route.borrow().as_ref().is_some_and(|route| over(&route.link)) {
                self.end_route(&peer, reason);
            }
            if peer.arriving.borrow().as_ref().is_some_and(|arriving| over(&arriving.link)) {
                self.end_arriving(&peer, reason);
            }
        }
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

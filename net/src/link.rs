//! Links: how a core talks to the cores of other nodes.
//!
//! ```text
//!   post, send, call ──► queue of the place ──► one gathered write ──► socket
//!                                                                        │
//!   Handler::post, call ◄── frames, in order ◄── one read ◄──────────────┘
//!   Answer::give ──► queue of the place
//! ```
//!
//! A [`Links`] belongs to one core. It holds at most one *link*, a connection, with each core of
//! another node (a [`Place`]), made when something is first sent there, whoever of the two begins.
//! The connection comes in at the same door as those of clients: [`crate::server`] tells the two
//! apart by the first frame and hands a node's over to [`Links::accept`]. The frames are those of
//! `docs/formats/wire.md`; what the services say to each other is nothing to the link.
//!
//! # What holds
//!
//! - Messages of one place to another arrive in the order in which they were queued, each at most
//!   once, and without a gap, or the link ends and both sides are told ([`LinkEvent::Broken`]).
//!   Nothing of a link that has ended goes over the one that follows.
//! - Every call ends: by its answer, by an error, at its deadline at the latest. The error says
//!   whether anybody may have acted on it ([`LinkError`]).
//! - What waits for one place, and for all together, is bounded in bytes; so are the calls of the
//!   other side that are not answered. Answers have room of their own, so that two cores that wait
//!   for each other's answers never wait for each other's queues.
//! - A peer that says nothing for a while is gone, on the clock that does not jump. Whoever has said
//!   nothing for a shorter while says `Ping`.
//! - Two nodes that have a link go by clocks that are no further apart than a bound, and go as fast: as
//!   far as round trips can tell, now and then.
//! - One node id is one living process: of two, the one with the smaller incarnation is refused, its
//!   links are ended, and it is told.
//!
//! # What is not here
//!
//! No retries: who knows what a message means decides. No clock for transactions: messages carry
//! their own. Links in TLS are accepted where the door encrypts; dialling in TLS is not built.

mod accept;
mod ask;
mod clock;
mod error;
mod handshake;
mod message;
mod options;
mod relay;
mod run;
mod shared;
mod state;

pub use ask::ask;
pub use clock::ClockReading;
pub use error::{Doubt, LinkEnd, LinkError, LinkEvent, Refusal, Undelivered};
pub use message::{Answer, Handler, Payload, Service};
pub use options::{
    LINK_PAYLOAD_MAX, LINK_VERSIONS, LinkOptions, LocalPeer, MESSAGE_OVERHEAD, Secret,
};

use crate::server::Caller;
use bytes::Bytes;
use model::id::NodeId;
use model::placement::Place;
use runtime::sync::Permit;
use runtime::time::{self, Instant};
use shared::{Outbound, Shared};
use state::Peer;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// The links of a core. One per core, cheap to clone.
///
/// The tasks of the links hold on to it, and to the handler, until [`Links::close`].
#[derive(Clone)]
pub struct Links {
    shared: Rc<Shared>,
}

/// What the links with a place have done since the core started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStats {
    /// The place.
    pub place: Place,
    /// Whether there is a link now.
    pub up: bool,
    /// Links that there were.
    pub links: u64,
    /// Attempts to make one that have failed.
    pub failures: u64,
    /// Frames that were queued.
    pub frames_sent: u64,
    /// Frames that arrived.
    pub frames_received: u64,
    /// Bytes that were written.
    pub bytes_sent: u64,
    /// Bytes that were read.
    pub bytes_received: u64,
    /// Messages to it that took a way through a third node, and those of others that were passed on.
    pub relayed: u64,
    /// Messages of it for services that are not known, and answers for which there was no room.
    pub dropped: u64,
    /// Bytes that are queued now.
    pub queue_bytes: usize,
    /// The last round trip, and what it told about the clocks.
    pub clock: ClockReading,
}

impl Links {
    /// The links of this core; `handler` takes what arrives.
    ///
    /// # Panics
    /// When `me` has no cluster or no node id, or the options make no sense.
    pub fn new(
        me: LocalPeer,
        secret: Secret,
        options: LinkOptions,
        handler: Rc<dyn Handler>,
    ) -> Links {
        assert!(me.cluster != 0 && me.place.node != NodeId(0), "a node of a cluster has links");
        Links { shared: Shared::new(me, secret, options, handler) }
    }

    /// This core.
    pub fn place(&self) -> Place {
        self.shared.me.place
    }

    /// Notes where a place's door is. A link that is up stays.
    pub fn set_address(&self, place: Place, addr: SocketAddr) {
        self.shared.book.borrow_mut().insert(place, addr);
    }

    /// Forgets a node that has left, and ends all links with it. It may come back by itself.
    pub fn forget(&self, node: NodeId) {
        self.shared.book.borrow_mut().retain(|place, _| place.node != node);
        let peers: Vec<Rc<Peer>> = {
            let peers = self.shared.peers.borrow();
            peers.values().filter(|peer| peer.place.node == node).cloned().collect()
        };
        for peer in peers {
            self.shared.close_peer(&peer);
            self.shared.peers.borrow_mut().remove(&peer.place);
        }
    }

    /// Queues a message without an answer. Never waits.
    ///
    /// # Errors
    /// Why it was not queued. What was queued is lost if the link ends, which
    /// [`LinkEvent::Broken`] or [`LinkEvent::Failed`] tells.
    pub fn post(
        &self,
        to: Place,
        service: Service,
        payload: impl Into<Payload>,
    ) -> Result<(), Undelivered> {
        let peer = self.shared.peer(to)?;
        // Who waits for room is not overtaken.
        let _turn = peer.turn.try_acquire(1).ok_or(Undelivered::QueueFull)?;
        self.shared.queue(&peer, service, Outbound::Post, &payload.into()).map(drop)
    }

    /// The same, but waits for room in the queue.
    ///
    /// # Errors
    /// As [`Links::post`], but never [`Undelivered::QueueFull`].
    pub async fn send(
        &self,
        to: Place,
        service: Service,
        payload: impl Into<Payload>,
    ) -> Result<(), Undelivered> {
        let (peer, payload) = (self.shared.peer(to)?, payload.into());
        self.queue_in_turn(&peer, service, Outbound::Post, &payload).await.map(drop)
    }

    /// Queues a message, waits for room where that is needed, and waits for the answer.
    ///
    /// # Errors
    /// Why there is none, and whether the message may be sent again.
    pub async fn call(
        &self,
        to: Place,
        service: Service,
        payload: impl Into<Payload>,
        deadline: Instant,
    ) -> Result<Bytes, LinkError> {
        let (peer, payload) = (self.shared.peer(to)?, payload.into());
        let stream = self.shared.stream();
        let outbound = Outbound::Call { stream, deadline };
        let left = deadline.saturating_since(time::now());
        let queued = self.queue_in_turn(&peer, service, outbound, &payload);
        let (carrier, start) =
            time::timeout(left, queued).await.map_err(|_elapsed| Undelivered::Deadline)??;
        drop(payload);
        self.shared.wait(carrier, start, stream).outcome(deadline).await
    }

    async fn queue_in_turn(
        &self,
        peer: &Rc<Peer>,
        service: Service,
        outbound: Outbound,
        payload: &Payload,
    ) -> Result<(u64, Option<u64>), Undelivered> {
        let _turn: Option<Permit> = peer.turn.acquire(1).await.ok();
        loop {
            match self.shared.queue(peer, service, outbound, payload) {
                Err(Undelivered::QueueFull) => self.shared.room.notified().await,
                done => return done,
            }
        }
    }

    /// Serves the connection of another node to its end.
    pub async fn accept(&self, caller: Caller) {
        accept::accept(Rc::clone(&self.shared), caller).await;
    }

    /// Ends all links, with a word to the other sides, and lets go of the handler. Calls fail, and
    /// nothing more is sent or taken.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Ends all links when what is queued for them is written, with a word to the other sides that
    /// everything is answered that was acted on here. Whoever calls this sees to that: no answer may be
    /// queued afterwards, and nothing that arrives be acted on. A link that takes longer than `limit` is
    /// ended as by [`Links::close`].
    pub async fn finish(&self, limit: Duration) {
        self.shared.finish(limit).await;
        self.shared.close();
    }

    /// What every place's links have done, by place.
    pub fn stats(&self) -> Vec<PeerStats> {
        self.shared.peers.borrow().values().map(|peer| stats_of(peer)).collect()
    }
}

fn stats_of(peer: &Peer) -> PeerStats {
    let counters = &peer.counters;
    PeerStats {
        place: peer.place,
        up: peer.link_up().is_some(),
        links: counters.links.get(),
        failures: counters.failures.get(),
        frames_sent: counters.frames_sent.get(),
        frames_received: counters.frames_received.get(),
        bytes_sent: counters.bytes_sent.get(),
        bytes_received: counters.bytes_received.get(),
        relayed: counters.relayed.get(),
        dropped: counters.dropped.get(),
        queue_bytes: peer.link.borrow().as_ref().map_or(0, |link| link.queued()),
        clock: counters.clock.get(),
    }
}

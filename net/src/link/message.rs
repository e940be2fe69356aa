//! What is sent and how it arrives.

use super::error::{Fault, LinkEvent};
use super::shared::Shared;
use super::state::{Link, add};
use crate::frame::StreamId;
use crate::message::{NodeMessage, NodeRelay};
use bytes::Bytes;
use model::placement::Place;
use runtime::time::Instant;
use std::rc::Rc;

/// Whom on the other core a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Service {
    /// Requests to partitions.
    Engine = 1,
    /// Schema, sessions, sequences, deadlocks.
    Router = 2,
    /// Replication.
    Raft = 3,
    /// Liveness and load.
    Gossip = 4,
}

impl Service {
    /// The service with this number.
    pub fn from_number(number: u8) -> Option<Service> {
        match number {
            1 => Some(Service::Engine),
            2 => Some(Service::Router),
            3 => Some(Service::Raft),
            4 => Some(Service::Gossip),
            _ => None,
        }
    }
}

/// The number that stands for no service: what is sent to it through a third node says something of the way.
pub(super) const NOBODY: u8 = 0;

/// What a message says: pieces that are sent one behind the other, without being copied together
/// where they are long.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    first: Bytes,
    rest: Vec<Bytes>,
}

impl Payload {
    /// Bytes in all pieces.
    pub fn len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Bytes> + Clone {
        std::iter::once(&self.first).chain(&self.rest).filter(|piece| !piece.is_empty())
    }
}

impl From<Bytes> for Payload {
    fn from(first: Bytes) -> Payload {
        Payload { first, rest: Vec::new() }
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(rest: Vec<Bytes>) -> Payload {
        Payload { first: Bytes::new(), rest }
    }
}

/// Who takes what arrives. It is called by the task that reads, one message after the other as they
/// arrive, and should only put them where they belong: what it does keeps all messages of the link
/// waiting.
///
/// A body is a slice of what one read brought, up to 64 KiB, and keeps all of that alive: whoever
/// keeps a small one for long copies it.
pub trait Handler {
    /// A message without an answer.
    fn post(&self, from: Place, service: Service, body: Bytes);

    /// A message that wants an answer.
    fn call(&self, from: Place, service: Service, body: Bytes, answer: Answer);

    /// Something happened to a link.
    fn event(&self, event: LinkEvent);
}

/// The way back of a call's answer. Dropped, it tells the caller that there is none.
pub struct Answer {
    shared: Rc<Shared>,
    link: Rc<Link>,
    stream: StreamId,
    deadline: Instant,
    /// Of a call that came through a third node: who called, by which route.
    back: Option<(Place, u64)>,
    given: bool,
}

impl Answer {
    pub(super) fn new(
        shared: &Rc<Shared>,
        link: &Rc<Link>,
        stream: StreamId,
        deadline: Instant,
        back: Option<(Place, u64)>,
    ) -> Answer {
        link.answering.set(link.answering.get() + 1);
        let (shared, link) = (Rc::clone(shared), Rc::clone(link));
        Answer { shared, link, stream, deadline, back, given: false }
    }

    /// When the caller gives up, on this core's clock; how long the call was under way is not known.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Answers. Nothing is sent where the link has ended meanwhile; where the answer is too long or
    /// its queue is full, the caller is told that there is none.
    pub fn give(mut self, payload: impl Into<Payload>) {
        self.given = true;
        let payload = payload.into();
        if !self.say(NodeMessage::Answer { body: Bytes::new() }, &payload) {
            add(&self.link.counters.dropped, 1);
            self.fail(Fault::NotAnswered);
        }
    }

    /// Says that nobody has acted on the call, so that it may be sent again.
    pub fn decline(mut self) {
        self.given = true;
        self.fail(Fault::Declined);
    }

    pub(super) fn fail(&mut self, fault: Fault) {
        self.given = true;
        // Where there is no room for this either, the link ends, and the call with it.
        let _said = self.say(NodeMessage::Fault(fault as u8), &Payload::default());
    }

    fn say(&self, message: NodeMessage, payload: &Payload) -> bool {
        let message = match self.back {
            None => message,
            Some((destination, route)) => NodeMessage::Relay(NodeRelay {
                origin: self.shared.me.place,
                incarnation: self.shared.me.incarnation,
                destination,
                route,
                sequence: 0,
                message: Box::new(message),
            }),
        };
        self.shared.reply(&self.link, &message, self.stream, payload)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.link.answering.set(self.link.answering.get() - 1);
        if !self.given {
            self.fail(Fault::NotAnswered);
        }
    }
}

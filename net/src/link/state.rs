//! What a core keeps of a link and of a place.

use super::clock::ClockReading;
use super::error::{LinkEnd, LinkError, Refusal};
use super::message::Payload;
use crate::frame::{self, StreamId};
use crate::message::NodeMessage;
use crate::server::outgoing::Outgoing;
use bytes::Bytes;
use model::placement::Place;
use runtime::sync::{Notify, Semaphore, oneshot};
use runtime::time::{self, Instant};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A body up to this many bytes is copied to its frame's header: that costs less than a piece more
/// for the kernel to gather.
const COPIED_MAX: usize = 4 << 10;

/// Where a link is on its way to being of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits before it dials, or connects.
    Connecting,
    /// It has said hello.
    Greeting,
    /// Messages pass.
    Up,
}

/// One connection with a place, from the first message that wants it until it ends. What is queued
/// while it is being made leaves when it is up.
pub(super) struct Link {
    /// Unique on this core; what its calls are found by.
    pub(super) serial: u64,
    pub(super) place: Place,
    pub(super) stage: Cell<Stage>,
    /// The name both sides have for it, and who made it.
    pub(super) id: Cell<u64>,
    pub(super) incarnation: Cell<u64>,
    pub(super) dialled: Cell<bool>,
    pub(super) up_since: Cell<Instant>,
    outgoing: RefCell<Outgoing>,
    /// Bytes ever queued and ever taken to be written.
    appended: Cell<u64>,
    taken: Cell<u64>,
    /// Bytes that are being written.
    writing: Cell<usize>,
    /// There is something to write, or the link is over.
    pub(super) to_write: Notify,
    over: RefCell<Option<LinkEnd>>,
    /// What the other side is told at the end.
    pub(super) farewell: RefCell<Option<Refusal>>,
    /// When the other side was last heard, and when this one last said something or began to.
    pub(super) heard: Cell<Instant>,
    pub(super) said: Cell<Instant>,
    /// The ping that is under way, and when the last one was.
    pub(super) ping: Cell<Option<(u64, Instant)>>,
    pub(super) measured: Cell<Instant>,
    /// It ends as soon as all that is queued is written.
    pub(super) finishing: Cell<bool>,
    /// Calls of the other side that are not answered yet.
    pub(super) answering: Cell<u32>,
    pub(super) counters: Rc<Counters>,
}

impl Link {
    pub(super) fn new(serial: u64, place: Place, counters: Rc<Counters>) -> Rc<Link> {
        let now = time::now();
        Rc::new(Link {
            serial,
            place,
            stage: Cell::new(Stage::Connecting),
            id: Cell::new(0),
            incarnation: Cell::new(0),
            dialled: Cell::new(true),
            up_since: Cell::new(now),
            outgoing: RefCell::default(),
            appended: Cell::new(0),
            taken: Cell::new(0),
            writing: Cell::new(0),
            to_write: Notify::new(),
            over: RefCell::new(None),
            farewell: RefCell::new(None),
            heard: Cell::new(now),
            said: Cell::new(now),
            ping: Cell::new(None),
            measured: Cell::new(now),
            finishing: Cell::new(false),
            answering: Cell::new(0),
            counters,
        })
    }

    pub(super) fn is_up(&self) -> bool {
        self.stage.get() == Stage::Up
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.borrow().is_some()
    }

    /// Why it is over.
    pub(super) fn end(&self) -> Option<LinkEnd> {
        self.over.borrow().clone()
    }

    /// Bytes that wait or are being written.
    pub(super) fn queued(&self) -> usize {
        self.outgoing.borrow().bytes() + self.writing.get()
    }

    /// Appends a message whose body goes on in `tail`. Returns the place of its beginning among all
    /// bytes of the link, and how many it has.
    pub(super) fn append(
        &self,
        message: &NodeMessage,
        stream: StreamId,
        tail: &Payload,
    ) -> (u64, usize) {
        let mut outgoing = self.outgoing.borrow_mut();
        let before = outgoing.bytes();
        let out = outgoing.buffer();
        let frame = frame::begin(out, message.kind(), stream);
        message.encode(out);
        if tail.len() <= COPIED_MAX {
            tail.pieces().for_each(|piece| out.extend_from_slice(piece));
            frame.finish(out, message.ends_stream());
        } else {
            frame.finish_with_tail(out, message.ends_stream(), tail.pieces());
            tail.pieces().for_each(|piece| outgoing.append(piece.clone()));
        }
        let bytes = outgoing.bytes() - before;
        let start = self.appended.get();
        self.appended.set(start + bytes as u64);
        add(&self.counters.frames_sent, 1);
        self.to_write.notify_one();
        (start, bytes)
    }

    /// Moves the next bytes to be written to `parts`; how many.
    pub(super) fn take(&self, parts: &mut Vec<Bytes>) -> usize {
        let bytes = self.outgoing.borrow_mut().take(parts);
        self.taken.set(self.taken.get() + bytes as u64);
        self.writing.set(bytes);
        bytes
    }

    /// What was taken is written; how many bytes it was.
    pub(super) fn written(&self) -> usize {
        let bytes = self.writing.replace(0);
        add(&self.counters.bytes_sent, bytes as u64);
        bytes
    }

    /// Whether anything of the message that begins at `start` may have left.
    pub(super) fn has_left(&self, start: u64) -> bool {
        start < self.taken.get()
    }

    /// Whether nothing was ever queued.
    pub(super) fn is_unused(&self) -> bool {
        self.appended.get() == 0
    }

    /// Ends it, once: how many bytes were queued; `None` where it was over.
    pub(super) fn finish(&self, reason: &LinkEnd) -> Option<usize> {
        let mut over = self.over.borrow_mut();
        if over.is_some() {
            return None;
        }
        *over = Some(reason.clone());
        let bytes = self.queued();
        self.outgoing.borrow_mut().clear();
        self.writing.set(0);
        self.to_write.notify_one();
        Some(bytes)
    }
}

/// All that a core knows of a place on another node.
pub(super) struct Peer {
    pub(super) place: Place,
    pub(super) link: RefCell<Option<Rc<Link>>>,
    /// Attempts to connect that have failed since there was a link.
    pub(super) failures: Cell<u32>,
    /// Failures and links that did not live long: how long the next pause is.
    pub(super) attempts: Cell<u32>,
    /// Nobody dials before.
    pub(super) rest_until: Cell<Instant>,
    pub(super) last_failure: RefCell<Option<LinkEnd>>,
    /// The name of the last link that was up.
    pub(super) link_before: Cell<u64>,
    /// Who waits for room in the queue holds it, so that nobody overtakes.
    pub(super) turn: Semaphore,
    /// The ways through a third node, where there is no link.
    pub(super) detour: RefCell<Option<Detour>>,
    /// Places that could not pass anything on, until when they are not asked again.
    pub(super) avoided: RefCell<Vec<(Place, Instant)>>,
    /// The last route to the place.
    pub(super) last_route: Cell<Option<u64>>,
    /// The newest route of the place that was ever the way back of a detour, or is known to be over.
    pub(super) newest_route: Cell<RouteId>,
    pub(super) counters: Rc<Counters>,
}

/// A route among all of a place: the incarnation, and the number. Greater than those of before.
pub(super) type RouteId = (u64, u64);

/// The ways to a place and back through a third node. They end together.
pub(super) struct Detour {
    /// Of the route there: unique on this core, increasing; what its calls are found by.
    pub(super) number: u64,
    /// With the third node.
    pub(super) link: Rc<Link>,
    /// The number of the next post or call.
    pub(super) next: u32,
    /// Once something has come.
    pub(super) back: Option<Back>,
}

/// The route of the other place, at its end.
pub(super) struct Back {
    pub(super) route: RouteId,
    pub(super) link: Rc<Link>,
    pub(super) next: u32,
}

impl Peer {
    pub(super) fn new(place: Place) -> Rc<Peer> {
        Rc::new(Peer {
            place,
            link: RefCell::new(None),
            failures: Cell::new(0),
            attempts: Cell::new(0),
            rest_until: Cell::new(time::now()),
            last_failure: RefCell::new(None),
            link_before: Cell::new(0),
            turn: Semaphore::new(1),
            detour: RefCell::new(None),
            avoided: RefCell::default(),
            last_route: Cell::new(None),
            newest_route: Cell::new((0, 0)),
            counters: Rc::default(),
        })
    }

    /// Whether messages to it and from it go through a third node.
    pub(super) fn has_detour(&self) -> bool {
        self.detour.borrow().is_some()
    }

    /// The route of the place by which its messages come.
    pub(super) fn way_back(&self) -> Option<RouteId> {
        self.detour.borrow().as_ref()?.back.as_ref().map(|back| back.route)
    }

    /// The link, where there is one that messages pass.
    pub(super) fn link_up(&self) -> Option<Rc<Link>> {
        self.link.borrow().as_ref().filter(|link| link.is_up()).map(Rc::clone)
    }
}

/// A call that waits for its answer.
pub(super) struct Waiting {
    /// Where it begins among the bytes of its link; `None` if it went through a third node.
    pub(super) start: Option<u64>,
    pub(super) answer: oneshot::Sender<Result<Bytes, LinkError>>,
}

/// What a place's links have done since the core started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) links: Cell<u64>,
    pub(super) failures: Cell<u64>,
    pub(super) frames_sent: Cell<u64>,
    pub(super) frames_received: Cell<u64>,
    pub(super) bytes_sent: Cell<u64>,
    pub(super) bytes_received: Cell<u64>,
    pub(super) relayed: Cell<u64>,
    pub(super) dropped: Cell<u64>,
    pub(super) clock: Cell<ClockReading>,
}

pub(super) fn add(counter: &Cell<u64>, amount: u64) {
    counter.set(counter.get() + amount);
}

//! A connection: two ends, and what is under way between them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Waker;

use bytes::Bytes;

use super::super::choice::{Traced, nanos};
use super::super::kernel::World;
use super::super::options::Loss;
use super::super::scheduler::Event;
use super::NetworkEvent;

/// One of the two ends of a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sim) enum Side {
    Connected,
    Accepted,
}

impl Side {
    pub fn other(self) -> Side {
        match self {
            Side::Connected => Side::Accepted,
            Side::Accepted => Side::Connected,
        }
    }
}

#[derive(Debug)]
pub(super) enum Payload {
    Data(Bytes),
    End,
    Reset,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// Virtual time before which it does not arrive.
    pub at: u64,
    pub payload: Payload,
}

/// An end, and the pipe that leads away from it.
pub(super) struct End {
    pub node: u32,
    pub address: SocketAddr,
    /// A process has it open.
    pub open: bool,
    /// Halves that are not dropped yet.
    pub halves: u8,
    pub error: Option<i32>,
    /// It has said that it will send no more.
    pub ended: bool,
    pub queue: VecDeque<Segment>,
    pub queued_bytes: usize,
    /// An event that delivers the queue's head is set.
    pub scheduled: bool,
    /// Since when the head cannot be delivered, and how often that was tried.
    pub blocked: Option<(u64, u32)>,
    pub last_at: u64,
    pub writer: Option<Waker>,
    /// What arrived from the other end.
    pub arrived: VecDeque<Bytes>,
    pub arrived_bytes: usize,
    /// The other end's last word has arrived.
    pub end_arrived: bool,
    pub reader: Option<Waker>,
}

impl End {
    pub fn new(node: u32, address: SocketAddr) -> End {
        End {
            node,
            address,
            open: true,
            halves: 2,
            error: None,
            ended: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            scheduled: false,
            blocked: None,
            last_at: 0,
            writer: None,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            end_arrived: false,
            reader: None,
        }
    }

    pub fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    pub fn fail(&mut self, code: i32) {
        self.error.get_or_insert(code);
        self.queue.clear();
        self.queued_bytes = 0;
        self.arrived.clear();
        self.arrived_bytes = 0;
        self.wake();
    }
}

/// A connection, as the network keeps it.
pub(super) struct Connection {
    pub number: u64,
    pub ends: [RefCell<End>; 2],
}

impl Connection {
    pub fn end(&self, side: Side) -> &RefCell<End> {
        &self.ends[side as usize]
    }

    /// Nobody has it open, and nothing is under way that somebody waits for.
    pub fn is_over(&self) -> bool {
        let over = |side: Side| {
            let end = self.end(side).borrow();
            !end.open && (end.queue.is_empty() || !self.end(side.other()).borrow().open)
        };
        over(Side::Connected) && over(Side::Accepted)
    }

    /// Puts something on its way from `side` to the other.
    pub fn send(&self, world: &World, side: Side, payload: Payload) {
        let network = &world.network;
        let to = self.end(side.other()).borrow().node;
        let mut end = self.end(side).borrow_mut();
        let bytes = match &payload {
            Payload::Data(bytes) => bytes.len(),
            Payload::End | Payload::Reset => 0,
        };
        let delay = network.delay(world, end.node, to, bytes);
        let at = end.last_at.max(world.now().saturating_add(nanos(delay)));
        end.last_at = at;
        end.queued_bytes += bytes;
        end.queue.push_back(Segment { at, payload });
        world.trace.record(Traced::NetworkSubmit, self.number, side as u64, bytes as u64);
        if !end.scheduled {
            end.scheduled = true;
            let event = NetworkEvent::Deliver { connection: self.number, from: side };
            world.add_event(at, Event::Network(event));
        }
    }

    /// The process that has `side` open is gone, or has closed it.
    pub fn close(&self, world: &World, side: Side) {
        let (unread, ended, failed) = {
            let mut end = self.end(side).borrow_mut();
            end.open = false;
            let unread = end.arrived_bytes > 0;
            end.arrived.clear();
            end.arrived_bytes = 0;
            (unread, std::mem::replace(&mut end.ended, true), end.error.is_some())
        };
        if failed {
            return;
        }
        if unread {
            self.send(world, side, Payload::Reset);
        } else if !ended {
            self.send(world, side, Payload::End);
        }
    }

    pub fn node_crashed(&self, world: &World, node: u32, loss: Loss) {
        for side in [Side::Connected, Side::Accepted] {
            let mut end = self.end(side).borrow_mut();
            if end.node != node || !end.open {
                continue;
            }
            match loss {
                Loss::Process => {
                    drop(end);
                    self.close(world, side);
                }
                Loss::Power => {
                    end.open = false;
                    end.ended = true;
                    end.fail(libc::ECONNRESET);
                }
            }
        }
        world.network.forget_if_over(self);
    }

    /// Fails both ends at once, as a middle box does that forgets its connections.
    pub fn reset(&self) {
        for side in [Side::Connected, Side::Accepted] {
            self.end(side).borrow_mut().fail(libc::ECONNRESET);
        }
    }

    /// Fails the end at `node`, and tells the other nothing.
    pub fn forget(&self, node: u32) {
        for side in [Side::Connected, Side::Accepted] {
            let mut end = self.end(side).borrow_mut();
            if end.node == node {
                end.fail(libc::ECONNRESET);
            }
        }
    }

    /// Whether it joins these two nodes.
    pub fn joins(&self, one: u32, two: u32) -> bool {
        let nodes = [self.ends[0].borrow().node, self.ends[1].borrow().node];
        nodes == [one, two] || nodes == [two, one]
    }
}

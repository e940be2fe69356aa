//! Segments on their way, and what becomes of those that cannot pass.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::super::choice::nanos;
use super::super::kernel::World;
use super::super::scheduler::Event;
use super::connection::{Connection, Payload, Side};
use super::{Network, NetworkEvent};

/// The longest pause between two attempts to send a segment again.
const RETRANSMIT_MAX: Duration = Duration::from_secs(5);

impl Network {
    fn connection(&self, number: u64) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&number).map(Rc::clone)
    }

    pub(super) fn forget_if_over(&self, connection: &Connection) {
        if connection.is_over() {
            let forgotten = self.connections.borrow_mut().remove(&connection.number);
            drop(forgotten);
        }
    }

    /// Delivers what is due of what `side` sent.
    pub(super) fn deliver(&self, world: &Rc<World>, number: u64, side: Side) {
        let Some(connection) = self.connection(number) else { return };
        let to = connection.end(side.other()).borrow().node;
        let from = connection.end(side).borrow().node;
        connection.end(side).borrow_mut().scheduled = false;
        if self.is_cut(from, to) {
            self.wait_for_link(world, &connection, side);
        } else {
            connection.end(side).borrow_mut().blocked = None;
            self.deliver_due(world, &connection, side);
        }
        self.schedule_next(world, &connection, side);
        self.forget_if_over(&connection);
    }

    /// The head cannot pass: tries again later, or gives the connection up.
    fn wait_for_link(&self, world: &World, connection: &Connection, side: Side) {
        let faults = self.faults.borrow();
        let mut end = connection.end(side).borrow_mut();
        let (since, tries) = end.blocked.unwrap_or((world.now(), 0));
        if world.now() - since >= nanos(faults.give_up) {
            return end.fail(libc::ETIMEDOUT);
        }
        let pause = faults.retransmit.saturating_mul(1 << tries.min(16)).min(RETRANSMIT_MAX);
        end.blocked = Some((since, tries + 1));
        let again = world.now().saturating_add(nanos(pause));
        end.last_at = end.last_at.max(again);
        if let Some(head) = end.queue.front_mut() {
            head.at = again;
        }
    }

    fn deliver_due(&self, world: &World, connection: &Connection, side: Side) {
        loop {
            let mut end = connection.end(side).borrow_mut();
            if end.queue.front().is_none_or(|head| head.at > world.now()) {
                return;
            }
            let Some(segment) = end.queue.pop_front() else { return };
            if let Payload::Data(bytes) = &segment.payload {
                end.queued_bytes -= bytes.len();
            }
            drop(end);
            let mut other = connection.end(side.other()).borrow_mut();
            match segment.payload {
                Payload::Data(_) if !other.open => {
                    let delay =
                        self.delay(world, other.node, connection.end(side).borrow().node, 0);
                    let connection = connection.number;
                    let refused = NetworkEvent::Refused { connection, side, patience_over: false };
                    return self.add_event(world, delay, refused);
                }
                Payload::Data(bytes) => {
                    other.arrived_bytes += bytes.len();
                    let bytes = self.perhaps_corrupt(world, bytes);
                    other.arrived.push_back(bytes);
                    if let Some(reader) = other.reader.take() {
                        reader.wake();
                    }
                }
                Payload::End => {
                    other.end_arrived = true;
                    if let Some(reader) = other.reader.take() {
                        reader.wake();
                    }
                }
                Payload::Reset => other.fail(libc::ECONNRESET),
            }
        }
    }

    fn perhaps_corrupt(&self, world: &World, bytes: Bytes) -> Bytes {
        if bytes.is_empty() || !world.random.happens(self.faults.borrow().corrupt) {
            return bytes;
        }
        let mut changed = bytes.to_vec();
        let position = world.random.index(changed.len());
        changed[position] ^= 1 << world.random.below(8);
        changed.into()
    }

    fn schedule_next(&self, world: &World, connection: &Connection, side: Side) {
        let mut end = connection.end(side).borrow_mut();
        if end.scheduled {
            return;
        }
        if let Some(head) = end.queue.front() {
            let event = NetworkEvent::Deliver { connection: connection.number, from: side };
            world.add_event(head.at, Event::Network(event));
            end.scheduled = true;
        }
    }

    /// `side` learns that the other end is not there any more.
    pub(super) fn refused(&self, world: &World, number: u64, side: Side, patience_over: bool) {
        let Some(connection) = self.connection(number) else { return };
        let (from, to) =
            (connection.end(side.other()).borrow().node, connection.end(side).borrow().node);
        if patience_over {
            connection.end(side).borrow_mut().fail(libc::ETIMEDOUT);
        } else if self.is_cut(from, to) {
            let event = NetworkEvent::Refused { connection: number, side, patience_over: true };
            let give_up = self.faults.borrow().give_up;
            self.add_event(world, give_up, event);
        } else {
            connection.end(side).borrow_mut().fail(libc::ECONNRESET);
        }
        self.forget_if_over(&connection);
    }
}

//! Streams: two pipes between two ends.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::super::choice::{Traced, nanos};
use super::super::completion::{Completer, completion};
use super::super::kernel::{World, current};
use super::super::options::Loss;
use super::super::scheduler::Event;
use super::listener::Listening;
use super::{Network, NetworkEvent, node_at};

/// A segment carries this many bytes at most.
const SEGMENT_BYTES_MAX: usize = 64 * 1024;
/// The longest pause between two attempts to send a segment again.
const RETRANSMIT_MAX: Duration = Duration::from_secs(5);
/// The pause after a first knock that nobody heard; doubled each time.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);

/// One of the two ends of a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sim) enum Side {
    Connected,
    Accepted,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Connected => Side::Accepted,
            Side::Accepted => Side::Connected,
        }
    }
}

#[derive(Debug)]
enum Payload {
    Data(Bytes),
    End,
    Reset,
}

#[derive(Debug)]
struct Segment {
    /// Virtual time before which it does not arrive.
    at: u64,
    payload: Payload,
}

/// An end, and the pipe that leads away from it.
struct End {
    node: u32,
    address: SocketAddr,
    /// A process has it open.
    open: bool,
    /// Halves that are not dropped yet.
    halves: u8,
    error: Option<i32>,
    /// It has said that it will send no more.
    ended: bool,
    queue: VecDeque<Segment>,
    queued_bytes: usize,
    /// An event that delivers the queue's head is set.
    scheduled: bool,
    /// Since when the head cannot be delivered, and how often that was tried.
    blocked: Option<(u64, u32)>,
    last_at: u64,
    writer: Option<Waker>,
    /// What arrived from the other end.
    arrived: VecDeque<Bytes>,
    arrived_bytes: usize,
    /// The other end's last word has arrived.
    end_arrived: bool,
    reader: Option<Waker>,
}

impl End {
    fn new(node: u32, address: SocketAddr) -> End {
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

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    fn fail(&mut self, code: i32) {
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
    number: u64,
    ends: [RefCell<End>; 2],
}

impl Connection {
    fn end(&self, side: Side) -> &RefCell<End> {
        &self.ends[side as usize]
    }

    /// Nobody has it open, and nothing is under way that somebody waits for.
    fn is_over(&self) -> bool {
        let over = |side: Side| {
            let end = self.end(side).borrow();
            !end.open && (end.queue.is_empty() || !self.end(side.other()).borrow().open)
        };
        over(Side::Connected) && over(Side::Accepted)
    }

    /// Puts something on its way from `side` to the other.
    fn send(&self, world: &World, side: Side, payload: Payload) {
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
    fn close(&self, world: &World, side: Side) {
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

    /// Whether it joins these two nodes.
    pub fn joins(&self, one: u32, two: u32) -> bool {
        let nodes = [self.ends[0].borrow().node, self.ends[1].borrow().node];
        nodes == [one, two] || nodes == [two, one]
    }
}

/// An attempt to connect, under way.
pub(super) struct Attempt {
    node: u32,
    target: SocketAddr,
    began: u64,
    knocks: u32,
    completer: Completer<io::Result<Stream>>,
    answer: Option<io::Result<Stream>>,
}

/// One end of a stream; closes with its last half.
pub(crate) struct Stream {
    reading: ReadHalf,
    writing: WriteHalf,
}

/// A half's hold on its end.
struct Hold {
    world: Rc<World>,
    connection: Rc<Connection>,
    side: Side,
}

impl Hold {
    fn new(world: &Rc<World>, connection: &Rc<Connection>, side: Side) -> Hold {
        Hold { world: Rc::clone(world), connection: Rc::clone(connection), side }
    }

    fn end(&self) -> &RefCell<End> {
        self.connection.end(self.side)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut end = self.end().borrow_mut();
        end.halves -= 1;
        let closes = end.halves == 0 && end.open;
        drop(end);
        if closes {
            self.connection.close(&self.world, self.side);
            self.world.network.forget_if_over(&self.connection);
        }
    }
}

/// The reading half of a stream.
pub(crate) struct ReadHalf(Hold);

/// The writing half of a stream.
pub(crate) struct WriteHalf(Hold);

impl Stream {
    fn new(world: &Rc<World>, connection: &Rc<Connection>, side: Side) -> Stream {
        Stream {
            reading: ReadHalf(Hold::new(world, connection, side)),
            writing: WriteHalf(Hold::new(world, connection, side)),
        }
    }

    pub fn peer_addr(&self) -> SocketAddr {
        let hold = &self.reading.0;
        hold.connection.end(hold.side.other()).borrow().address
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.reading.0.end().borrow().address
    }

    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.reading, self.writing)
    }
}

impl ReadHalf {
    /// Bytes that have arrived, at most `max`; none at the end of the stream.
    pub async fn read(&mut self, max: usize) -> io::Result<Vec<u8>> {
        poll_fn(|context| self.poll_read(context, max)).await
    }

    fn poll_read(&mut self, context: &mut Context<'_>, max: usize) -> Poll<io::Result<Vec<u8>>> {
        let Hold { world, connection, side } = &self.0;
        let mut end = connection.end(*side).borrow_mut();
        if let Some(code) = end.error {
            return Poll::Ready(Err(io::Error::from_raw_os_error(code)));
        }
        if end.arrived_bytes == 0 {
            if end.end_arrived {
                return Poll::Ready(Ok(Vec::new()));
            }
            end.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut wanted = end.arrived_bytes.min(max);
        if world.random.happens(world.network.faults.borrow().short_read) {
            wanted = 1 + world.random.index(wanted);
        }
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted
            && let Some(front) = end.arrived.front_mut()
        {
            let part = front.split_to(front.len().min(wanted - bytes.len()));
            bytes.extend_from_slice(&part);
            if front.is_empty() {
                end.arrived.pop_front();
            }
        }
        end.arrived_bytes -= bytes.len();
        drop(end);
        if let Some(writer) = connection.end(side.other()).borrow_mut().writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(bytes))
    }
}

impl WriteHalf {
    /// Hands all of `parts` to the network, in order, and empties them.
    pub async fn write_all(&mut self, parts: &mut Vec<Bytes>) -> io::Result<()> {
        for part in parts.drain(..) {
            let mut rest = part;
            while !rest.is_empty() {
                poll_fn(|context| self.poll_write(context, &mut rest)).await?;
            }
        }
        Ok(())
    }

    fn poll_write(&self, context: &mut Context<'_>, rest: &mut Bytes) -> Poll<io::Result<()>> {
        let Hold { world, connection, side } = &self.0;
        let unread = connection.end(side.other()).borrow().arrived_bytes;
        let mut end = connection.end(*side).borrow_mut();
        if let Some(code) = end.error {
            return Poll::Ready(Err(io::Error::from_raw_os_error(code)));
        }
        if end.ended {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EPIPE)));
        }
        let (window, reset) = {
            let faults = world.network.faults.borrow();
            (faults.window_bytes, faults.reset)
        };
        let room = window.saturating_sub(end.queued_bytes + unread);
        if room == 0 {
            end.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(end);
        if world.random.happens(reset) {
            connection.reset();
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
        }
        let part = rest.split_to(rest.len().min(room).min(SEGMENT_BYTES_MAX));
        connection.send(world, *side, Payload::Data(part));
        Poll::Ready(Ok(()))
    }

    /// Says that no more will be sent; what was written before arrives first.
    pub fn shutdown(&mut self) {
        let mut end = self.0.end().borrow_mut();
        let first = !std::mem::replace(&mut end.ended, true) && end.error.is_none();
        drop(end);
        if first {
            self.0.connection.send(&self.0.world, self.0.side, Payload::End);
        }
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Connects to `target`.
pub(crate) async fn connect(target: SocketAddr) -> io::Result<Stream> {
    let core = current();
    let (world, node) = (&core.world, core.node);
    let network = &world.network;
    let to = node_at(target.ip(), node);
    let to = to.ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))?;
    let number = network.number();
    let (completer, answer) = completion();
    let began = world.now();
    let attempt = Attempt { node, target, began, knocks: 0, completer, answer: None };
    network.attempts.borrow_mut().insert(number, attempt);
    let delay = network.delay(world, node, to, 0);
    network.add_event(world, delay, NetworkEvent::Knock { attempt: number });
    answer.await
}

/// What a knock finds.
enum Found {
    Listening(Rc<Listening>),
    Closed,
    /// A cut link, a machine without power, a full backlog: nobody answers.
    Silent,
}

impl Network {
    fn door(&self, world: &World, from: u32, to: u32, target: SocketAddr) -> Found {
        if self.is_cut(from, to) || self.is_cut(to, from) {
            return Found::Silent;
        }
        let all = self.listening.borrow();
        let hearing: Vec<&Rc<Listening>> = all
            .get(&(to, target.port()))
            .into_iter()
            .flatten()
            .filter(|listening| listening.hears(target))
            .collect();
        if hearing.is_empty() {
            return Found::Closed;
        }
        let chosen = hearing[world.random.index(hearing.len())];
        if chosen.waiting() >= self.faults.borrow().backlog {
            return Found::Silent;
        }
        Found::Listening(Rc::clone(chosen))
    }

    pub(super) fn knock(&self, world: &Rc<World>, number: u64) {
        let Some(mut attempt) = self.attempts.borrow_mut().remove(&number) else { return };
        let (node, target) = (attempt.node, attempt.target);
        let Some(to) = node_at(target.ip(), node) else { return };
        if !attempt.completer.is_awaited() {
            return;
        }
        let back = match self.door(world, node, to, target) {
            Found::Silent => {
                let pause = KNOCK_AGAIN.saturating_mul(1 << attempt.knocks.min(6));
                attempt.knocks += 1;
                let waited = Duration::from_nanos(world.now() - attempt.began);
                let left = self.faults.borrow().connect_give_up.saturating_sub(waited);
                if pause >= left {
                    attempt.answer = Some(Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)));
                    self.attempts.borrow_mut().insert(number, attempt);
                    let event = NetworkEvent::Answered { attempt: number };
                    return self.add_event(world, left, event);
                }
                self.attempts.borrow_mut().insert(number, attempt);
                return self.add_event(world, pause, NetworkEvent::Knock { attempt: number });
            }
            Found::Closed => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            Found::Listening(listening) => Ok(self.establish(world, node, to, target, &listening)),
        };
        attempt.answer = Some(back);
        self.attempts.borrow_mut().insert(number, attempt);
        let delay = self.delay(world, to, node, 0);
        self.add_event(world, delay, NetworkEvent::Answered { attempt: number });
    }

    fn establish(
        &self,
        world: &Rc<World>,
        from: u32,
        to: u32,
        target: SocketAddr,
        listening: &Listening,
    ) -> Stream {
        let origin = self.origin(from, target);
        let connection = Rc::new(Connection {
            number: self.number(),
            ends: [End::new(from, origin).into(), End::new(to, target).into()],
        });
        self.connections.borrow_mut().insert(connection.number, Rc::clone(&connection));
        listening.arrive(Stream::new(world, &connection, Side::Accepted));
        Stream::new(world, &connection, Side::Connected)
    }

    pub(super) fn answered(&self, number: u64) {
        let attempt = self.attempts.borrow_mut().remove(&number);
        if let Some(Attempt { completer, answer: Some(answer), .. }) = attempt {
            completer.complete(answer);
        }
    }

    fn connection(&self, number: u64) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&number).map(Rc::clone)
    }

    fn forget_if_over(&self, connection: &Connection) {
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

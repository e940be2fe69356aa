//! The network between simulated nodes: streams as TCP makes them, over links that fail.
//!
//! Every node is a machine with one address of its own ([`address_of`]) and a loopback. A stream
//! delivers bytes in order or not at all: a lost segment is seen as delay (it is sent again, with
//! growing pauses), a link that stays cut as `ETIMEDOUT` at whoever has sent something, a peer that
//! forgot the connection as `ECONNRESET`, and a peer that went silent as nothing at all. Segments
//! are never duplicated or swapped: the sequence numbers of TCP rule that out.
//!
//! ```text
//!   write_all ─> queue of the pipe ─(delay; cut: again and again)─> arrived ─> read
//!                └──────── together at most `window_bytes` ───────────┘
//! ```
//!
//! A cut of one direction lets data pass the other way. Its acknowledgements are not modelled, so
//! a sender on the open direction does not notice.

mod connect;
mod connection;
mod control;
mod delivery;
mod listener;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

pub use control::{LinkFaults, NetworkControl};

/// What the seam's sockets are made of.
pub(crate) mod socket {
    pub(crate) use super::connect::connect;
    pub(crate) use super::listener::Listener;
    pub(crate) use super::stream::{ReadHalf, Stream, WriteHalf};
}

use self::connect::Attempt;
use self::connection::{Connection, Side};
use self::control::Links;
use self::listener::Listening;
use super::choice::{Traced, nanos};
use super::kernel::{CLIENT, World};
use super::options::{Loss, NetworkFaults};
use super::scheduler::Event;

/// The first port handed out where none was asked for.
const EPHEMERAL_FIRST: u16 = 32_768;
/// The network of the nodes: 10.77.0.0/16, the low half is the node's number.
const NODES_NETWORK: [u8; 2] = [10, 77];
/// Where the clients are.
const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

/// Something that happens on the network at its time.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NetworkEvent {
    /// What one end sent reaches the other.
    Deliver { connection: u64, from: Side },
    /// An attempt to connect reaches the machine it is for.
    Knock { attempt: u64 },
    /// The answer to an attempt to connect is back.
    Answered { attempt: u64 },
    /// An end learns that the other one does not know the connection.
    Refused { connection: u64, side: Side, patience_over: bool },
}

/// The address of a simulated node, on which others reach it. Node numbers beyond 65,535 have
/// none but [`super::CLIENT`].
pub fn address_of(node: u32) -> IpAddr {
    if node == CLIENT {
        return CLIENT_ADDRESS.into();
    }
    let [_, _, high, low] = node.to_be_bytes();
    Ipv4Addr::new(NODES_NETWORK[0], NODES_NETWORK[1], high, low).into()
}

/// The node that `address` leads to from `node`.
fn node_at(address: IpAddr, node: u32) -> Option<u32> {
    if address.is_loopback() || address.is_unspecified() {
        return Some(node);
    }
    let IpAddr::V4(address) = address else { return None };
    match address.octets() {
        [one, two, high, low] if [one, two] == NODES_NETWORK => {
            Some(u32::from(high) << 8 | u32::from(low))
        }
        _ if address == CLIENT_ADDRESS => Some(CLIENT),
        _ => None,
    }
}

/// A port of a node.
type Door = (u32, u16);

/// A machine, as the network sees it.
#[derive(Debug)]
struct Host {
    powered: bool,
    next_port: u16,
}

/// Everything between the nodes.
pub(crate) struct Network {
    faults: RefCell<NetworkFaults>,
    links: RefCell<Links>,
    hosts: RefCell<BTreeMap<u32, Host>>,
    listening: RefCell<BTreeMap<Door, Vec<Rc<Listening>>>>,
    connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    attempts: RefCell<BTreeMap<u64, Attempt>>,
    numbers: Cell<u64>,
}

impl Network {
    pub fn new(faults: NetworkFaults) -> Network {
        Network {
            faults: RefCell::new(faults),
            links: RefCell::default(),
            hosts: RefCell::default(),
            listening: RefCell::default(),
            connections: RefCell::default(),
            attempts: RefCell::default(),
            numbers: Cell::new(0),
        }
    }

    fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    /// Whether nothing that `from` sends reaches `to` now.
    fn is_cut(&self, from: u32, to: u32) -> bool {
        let powered = self.hosts.borrow().get(&to).is_some_and(|host| host.powered);
        !powered || (from != to && self.links.borrow().is_cut(from, to))
    }

    /// How long `bytes` are under way from one node to another, losses and all: what is lost again
    /// and again arrives before its sender would give the connection up, as cutting the link is
    /// what makes it do that.
    fn delay(&self, world: &World, from: u32, to: u32, bytes: usize) -> Duration {
        let faults = self.faults.borrow();
        let random = &world.random;
        if from == to {
            return random.duration(faults.local_delay.start, faults.local_delay.end);
        }
        let links = self.links.borrow();
        let link = links.faults(from, to);
        let transfer = (u128::from(nanos(faults.mebibyte)) * (bytes as u128)) >> 20;
        let mut delay = random.duration(faults.delay.start, faults.delay.end)
            + Duration::from_nanos(transfer as u64)
            + random.duration(link.extra_delay.start, link.extra_delay.end);
        let mut pause = faults.retransmit;
        while random.happens(faults.loss.max(link.loss)) && delay + pause < faults.give_up {
            delay += pause;
            pause *= 2;
        }
        delay
    }

    /// Carries an event out.
    pub(super) fn happen(&self, world: &Rc<World>, event: NetworkEvent) {
        match event {
            NetworkEvent::Deliver { connection, from } => {
                world.trace.record(Traced::NetworkEvent, 1, connection, from as u64);
                self.deliver(world, connection, from);
            }
            NetworkEvent::Knock { attempt } => {
                world.trace.record(Traced::NetworkEvent, 2, attempt, 0);
                self.knock(world, attempt);
            }
            NetworkEvent::Answered { attempt } => {
                world.trace.record(Traced::NetworkEvent, 3, attempt, 0);
                self.answered(attempt);
            }
            NetworkEvent::Refused { connection, side, patience_over } => {
                world.trace.record(Traced::NetworkEvent, 4, connection, side as u64);
                self.refused(world, connection, side, patience_over);
            }
        }
    }

    pub(super) fn node_started(&self, node: u32) {
        let mut hosts = self.hosts.borrow_mut();
        let host = hosts.entry(node).or_insert(Host { powered: true, next_port: EPHEMERAL_FIRST });
        host.powered = true;
    }

    /// Ends what a node had open. After a `Loss::Process` its machine says goodbye for it.
    pub(super) fn node_crashed(&self, world: &Rc<World>, node: u32, loss: Loss) {
        if loss == Loss::Power
            && let Some(host) = self.hosts.borrow_mut().get_mut(&node)
        {
            host.powered = false;
        }
        // Streams that nobody accepted are dropped here, with no borrow held.
        let mut closed = Vec::new();
        self.listening.borrow_mut().retain(|&(owner, _), listening| {
            let kept = owner != node;
            if !kept {
                closed.append(listening);
            }
            kept
        });
        closed.iter().for_each(|listening| listening.close());
        drop(closed);
        let connections: Vec<Rc<Connection>> =
            self.connections.borrow().values().map(Rc::clone).collect();
        for connection in connections {
            connection.node_crashed(world, node, loss);
        }
    }

    /// Forgets everything, when a simulation ends.
    pub(super) fn clear(&self) {
        let listening = std::mem::take(&mut *self.listening.borrow_mut());
        let attempts = std::mem::take(&mut *self.attempts.borrow_mut());
        drop((listening, attempts));
        let connections = std::mem::take(&mut *self.connections.borrow_mut());
        drop(connections);
    }

    /// A free port of `node`.
    fn free_port(&self, node: u32) -> u16 {
        let listening = self.listening.borrow();
        let mut hosts = self.hosts.borrow_mut();
        let host = hosts.entry(node).or_insert(Host { powered: true, next_port: EPHEMERAL_FIRST });
        loop {
            let port = host.next_port;
            host.next_port = port.checked_add(1).unwrap_or(EPHEMERAL_FIRST);
            if !listening.contains_key(&(node, port)) {
                return port;
            }
        }
    }

    /// Where a node seems to come from to a peer it reached at `target`.
    fn origin(&self, node: u32, target: SocketAddr) -> SocketAddr {
        let ip = if target.ip().is_loopback() { target.ip() } else { address_of(node) };
        SocketAddr::new(ip, self.free_port(node))
    }

    fn add_event(&self, world: &World, delay: Duration, event: NetworkEvent) {
        world.add_event_in(delay, Event::Network(event));
    }
}

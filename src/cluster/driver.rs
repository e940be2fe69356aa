//! Runs the gossip of a node: on its core 0, over whatever sends datagrams.
//!
//! ```text
//!  links ──► take ──► queue ──► Membership ──► Network::send ──► links
//!                                 ▲    └─────► Network::found: where a node's cores are
//!              timers, load ──────┘
//! ```
//!
//! A node without others sleeps, until it is told of one or hears from one.

#[cfg(test)]
mod tests;

use super::decide::{Liveness, Load};
use super::gossip::{Membership, Peer, Settings};
use futures::future::LocalBoxFuture;
use futures::{FutureExt, select_biased};
use model::id::NodeId;
use runtime::random::{self, Rng};
use runtime::sync::Notify;
use runtime::time::{self, Instant};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// How often a node tells the others how busy it is.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Datagrams that wait to be read: one of each node of a large cluster. Beyond that they are lost, as
/// they may be anywhere on their way.
const ARRIVED_MAX: usize = 1_024;

/// What carries a node's datagrams, and hears of other nodes.
pub trait Network {
    /// Sends it, if that is possible; waits for nothing.
    fn send(&self, to: NodeId, datagram: Vec<u8>);
    /// A node lives, and its cores are reached there: it is new, or has started anew.
    fn found(&self, peer: &Peer);
    /// How this node is doing.
    fn load(&self) -> LocalBoxFuture<'_, Load>;
}

/// The gossip of a node. Clones share it.
#[derive(Clone)]
pub struct Gossip {
    inner: Rc<Inner>,
}

struct Inner {
    membership: RefCell<Membership>,
    arrived: RefCell<VecDeque<(NodeId, Vec<u8>)>>,
    /// Datagrams for which there was no room.
    lost: Cell<u64>,
    wake: Notify,
}

impl Gossip {
    /// The gossip of `me`, who knows nobody.
    pub fn new(me: Peer, settings: Settings) -> Gossip {
        let rng = Rng::seeded(random::next_u64());
        let inner = Inner {
            membership: RefCell::new(Membership::new(me, settings, rng, time::now())),
            arrived: RefCell::default(),
            lost: Cell::new(0),
            wake: Notify::new(),
        };
        Gossip { inner: Rc::new(inner) }
    }

    /// Takes a datagram of a node, and waits for nothing.
    pub fn take(&self, from: NodeId, datagram: Vec<u8>) {
        let mut arrived = self.inner.arrived.borrow_mut();
        if arrived.len() >= ARRIVED_MAX {
            self.inner.lost.set(self.inner.lost.get() + 1);
            return;
        }
        arrived.push_back((from, datagram));
        self.inner.wake.notify_one();
    }

    /// Says who should be there: see [`Membership::register`].
    pub fn register(&self, peers: impl IntoIterator<Item = Peer>) {
        self.inner.membership.borrow_mut().register(peers);
        self.inner.wake.notify_one();
    }

    /// Whether a node lives, and how it was doing when it last told.
    pub fn heard(&self, node: NodeId) -> (Liveness, Load) {
        let membership = self.inner.membership.borrow();
        (membership.liveness(node, time::now()), membership.load(node).unwrap_or_default())
    }

    /// Datagrams that were lost here.
    pub fn lost(&self) -> u64 {
        self.inner.lost.get()
    }

    /// Tells the others that this node leaves. What that takes is sent at once.
    pub fn leave(&self, network: &impl Network) {
        self.inner.membership.borrow_mut().leave(time::now());
        self.send(network);
    }

    /// Gossips for as long as it is polled.
    pub async fn run(&self, network: &impl Network) {
        let mut told = BTreeMap::new();
        let mut report_at = time::now();
        loop {
            self.read();
            let now = time::now();
            let alone = self.inner.membership.borrow().is_alone();
            if !alone && now >= report_at {
                report_at = now + REPORT_EVERY;
                let load = network.load().await;
                self.inner.membership.borrow_mut().report(load);
            }
            let next = self.tick(alone, now).min(report_at);
            self.send(network);
            self.tell(network, &mut told);
            let wake = self.inner.wake.notified();
            // What came while others were told waits already.
            if !self.inner.arrived.borrow().is_empty() {
                continue;
            }
            match alone {
                true => wake.await,
                false => select_biased! {
                    () = wake.fuse() => {}
                    () = time::sleep_until(next).fuse() => {}
                },
            }
        }
    }

    fn read(&self) {
        let arrived = std::mem::take(&mut *self.inner.arrived.borrow_mut());
        let mut membership = self.inner.membership.borrow_mut();
        for (from, datagram) in arrived {
            if let Err(error) = membership.handle(from, &datagram, time::now()) {
                log::debug!(node = from.0; "a datagram is not heeded: {error}");
            }
        }
    }

    /// Does what is due; when that is next.
    fn tick(&self, alone: bool, now: Instant) -> Instant {
        let mut membership = self.inner.membership.borrow_mut();
        if !alone && membership.next_tick() <= now {
            membership.tick(now);
        }
        membership.next_tick()
    }

    fn send(&self, network: &impl Network) {
        // Whoever sends may look at the membership.
        let next = || self.inner.membership.borrow_mut().next_datagram();
        while let Some(datagram) = next() {
            network.send(datagram.to, datagram.bytes);
        }
    }

    /// Tells of nodes that are new or have moved.
    fn tell(&self, network: &impl Network, told: &mut BTreeMap<NodeId, Peer>) {
        let others: Vec<Peer> = self.inner.membership.borrow().others().cloned().collect();
        for peer in others.into_iter().filter(|peer| !peer.ports.is_empty()) {
            let is_told = told.get(&peer.node).is_some_and(|known| {
                (known.host, &known.ports) == (peer.host, &peer.ports) && *known == peer
            });
            if !is_told {
                network.found(&peer);
                told.insert(peer.node, peer);
            }
        }
    }
}

//! Nodes and a network that loses datagrams, in a time of its own.

use super::super::{Life, Membership, Peer, Settings};
use crate::cluster::decide::Liveness;
use model::id::NodeId;
use runtime::random::Rng;
use runtime::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub(super) struct World {
    pub(super) now: Instant,
    settings: Settings,
    nodes: BTreeMap<NodeId, Membership>,
    starts: BTreeMap<NodeId, u32>,
    on_the_way: BTreeMap<(Instant, u64), (NodeId, NodeId, Vec<u8>)>,
    rng: Rng,
    pub(super) loss_percent: u64,
    /// Nodes on one side of a cut; the others are on the other.
    pub(super) cut_off: BTreeSet<NodeId>,
    pub(super) sent_bytes: u64,
    pub(super) sent: u64,
}

pub(super) fn peer(node: u32, start: u32) -> Peer {
    Peer {
        node: NodeId(node),
        life: Life { start, renewal: 0 },
        host: IpAddr::V4(Ipv4Addr::new(10, 0, 0, node as u8)),
        ports: (7500..7504).collect(),
    }
}

impl World {
    pub(super) fn new(count: u32, settings: Settings, seed: u64) -> World {
        let mut world = World {
            now: Instant::from_nanos(1_000_000_000),
            settings,
            nodes: BTreeMap::new(),
            starts: BTreeMap::new(),
            on_the_way: BTreeMap::new(),
            rng: Rng::seeded(seed),
            loss_percent: 0,
            cut_off: BTreeSet::new(),
            sent_bytes: 0,
            sent: 0,
        };
        (1..=count).for_each(|node| world.starts.extend([(NodeId(node), 0)]));
        (1..=count).for_each(|node| world.start(node));
        world
    }

    pub(super) fn start(&mut self, node: u32) {
        let start = self.starts.get_mut(&NodeId(node)).expect("a node of this world");
        *start += 1;
        let rng = Rng::seeded(self.rng.next_u64());
        let me = peer(node, *start);
        let mut membership = Membership::new(me, self.settings.clone(), rng, self.now);
        membership.register(self.starts.keys().map(|known| peer(known.0, 0)));
        self.nodes.insert(NodeId(node), membership);
    }

    pub(super) fn kill(&mut self, node: u32) {
        self.nodes.remove(&NodeId(node)).expect("it lives");
    }

    pub(super) fn node(&mut self, node: u32) -> &mut Membership {
        self.nodes.get_mut(&NodeId(node)).expect("it lives")
    }

    /// What a node thinks of another.
    pub(super) fn liveness(&self, of: u32, by: u32) -> Liveness {
        self.nodes[&NodeId(by)].liveness(NodeId(of), self.now)
    }

    /// Pairs of nodes of which one takes the other, which lives, for dead.
    pub(super) fn mistaken(&self) -> usize {
        let pairs = self.nodes.keys().flat_map(|by| self.nodes.keys().map(move |of| (by, of)));
        let dead =
            pairs.filter(|(by, of)| matches!(self.liveness(of.0, by.0), Liveness::Dead { .. }));
        dead.count()
    }

    /// How many of those that live take a node for dead.
    pub(super) fn take_for_dead(&self, node: u32) -> usize {
        let by = self.nodes.keys().filter(|by| by.0 != node);
        by.filter(|by| matches!(self.liveness(node, by.0), Liveness::Dead { .. })).count()
    }

    pub(super) fn living(&self) -> usize {
        self.nodes.len()
    }

    fn send(&mut self, from: NodeId) {
        while let Some(datagram) = self.nodes.get_mut(&from).and_then(Membership::next_datagram) {
            self.sent += 1;
            self.sent_bytes += datagram.bytes.len() as u64;
            let cut = self.cut_off.contains(&from) != self.cut_off.contains(&datagram.to);
            if cut || self.rng.below(100) < self.loss_percent {
                continue;
            }
            let delay = Duration::from_micros(200 + self.rng.below(20_000));
            let key = (self.now + delay, self.sent);
            self.on_the_way.insert(key, (from, datagram.to, datagram.bytes));
        }
    }

    /// Lets time pass, and looks on at every step.
    pub(super) fn run(&mut self, time: Duration, mut look: impl FnMut(&World)) {
        let end = self.now + time;
        loop {
            let tick = self.nodes.values().map(Membership::next_tick).min();
            let arrival = self.on_the_way.first_key_value().map(|((at, _), _)| *at);
            let next = tick.into_iter().chain(arrival).min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (from, to, bytes)) = self.on_the_way.pop_first().expect("it is there");
                if let Some(node) = self.nodes.get_mut(&to) {
                    // What was meant for an earlier life may make no sense to this one.
                    let _heeded = node.handle(from, &bytes, self.now);
                    self.send(to);
                }
            } else {
                let due: Vec<NodeId> = self
                    .nodes
                    .iter()
                    .filter(|(_, node)| node.next_tick() <= self.now)
                    .map(|(id, _)| *id)
                    .collect();
                for id in due {
                    self.nodes.get_mut(&id).expect("it lives").tick(self.now);
                    self.send(id);
                }
            }
            look(self);
        }
        self.now = end;
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds), |_| {});
    }

    /// How long it takes until something holds.
    pub(super) fn until(&mut self, most: Duration, holds: impl Fn(&World) -> bool) -> Duration {
        let began = self.now;
        while !holds(self) {
            let waited = self.now.saturating_since(began);
            assert!(waited < most, "it does not come to that within {most:?}");
            self.run(Duration::from_millis(100), |_| {});
        }
        self.now.saturating_since(began)
    }
}

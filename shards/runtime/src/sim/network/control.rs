//! The hand that breaks the network while it is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::super::choice::{Chance, Traced};
use super::super::kernel::World;
use super::super::options::NetworkFaults;
use super::Network;

/// What one direction between two nodes does beyond the network's habits.
#[derive(Clone, Debug)]
pub struct LinkFaults {
    /// Added to each segment's delay.
    pub extra_delay: Range<Duration>,
    /// A segment is lost and sent again.
    pub loss: Chance,
}

impl LinkFaults {
    const NONE: &'static LinkFaults =
        &LinkFaults { extra_delay: Duration::ZERO..Duration::ZERO, loss: Chance::NEVER };
}

/// Which nodes reach which, and how well.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Directions that are cut: from, to.
    cut: BTreeSet<(u32, u32)>,
    /// Nodes that reach only nodes of the same group.
    groups: BTreeMap<u32, usize>,
    isolated: BTreeSet<u32>,
    faults: BTreeMap<(u32, u32), LinkFaults>,
}

impl Links {
    pub fn is_cut(&self, from: u32, to: u32) -> bool {
        let apart = match (self.groups.get(&from), self.groups.get(&to)) {
            (Some(one), Some(two)) => one != two,
            _ => false,
        };
        apart
            || self.isolated.contains(&from)
            || self.isolated.contains(&to)
            || self.cut.contains(&(from, to))
    }

    pub fn faults(&self, from: u32, to: u32) -> &LinkFaults {
        self.faults.get(&(from, to)).unwrap_or(LinkFaults::NONE)
    }
}

/// Breaks and mends the network of a simulation; takes effect at once.
pub struct NetworkControl(Rc<World>);

impl NetworkControl {
    pub(in crate::sim) fn new(world: Rc<World>) -> NetworkControl {
        world.trace.record(Traced::Control, 1, 0, world.now());
        NetworkControl(world)
    }

    fn network(&self) -> &Network {
        &self.0.network
    }

    /// Changes the network's habits from now on.
    pub fn change(&self, change: impl FnOnce(&mut NetworkFaults)) {
        change(&mut self.network().faults.borrow_mut());
    }

    /// Lets nodes of one group reach only each other. Nodes in no group (the clients, too) reach
    /// everyone. Replaces an earlier partition.
    pub fn partition(&self, groups: &[&[u32]]) {
        let mut links = self.network().links.borrow_mut();
        let members = groups.iter().enumerate();
        links.groups = members
            .flat_map(|(group, nodes)| nodes.iter().map(move |&node| (node, group)))
            .collect();
    }

    /// Cuts a node off from everyone, clients included.
    pub fn isolate(&self, node: u32) {
        self.network().links.borrow_mut().isolated.insert(node);
    }

    /// Cuts one direction.
    pub fn cut(&self, from: u32, to: u32) {
        self.network().links.borrow_mut().cut.insert((from, to));
    }

    /// Mends one direction that [`NetworkControl::cut`] cut.
    pub fn mend(&self, from: u32, to: u32) {
        self.network().links.borrow_mut().cut.remove(&(from, to));
    }

    /// Sets what one direction does beyond the network's habits.
    pub fn set_link(&self, from: u32, to: u32, faults: LinkFaults) {
        self.network().links.borrow_mut().faults.insert((from, to), faults);
    }

    /// Mends all links: no partition, nobody isolated, nothing cut, no link worse than the others.
    pub fn heal(&self) {
        *self.network().links.borrow_mut() = Links::default();
    }

    /// Whether nothing that `from` sends reaches `to` now: a cut, or a machine without power.
    pub fn is_cut(&self, from: u32, to: u32) -> bool {
        self.network().is_cut(from, to)
    }

    /// Resets all connections between two nodes; how many.
    pub fn drop_connections(&self, one: u32, two: u32) -> usize {
        let all = self.network().connections.borrow();
        let concerned: Vec<_> =
            all.values().filter(|connection| connection.joins(one, two)).map(Rc::clone).collect();
        drop(all);
        concerned.iter().for_each(|connection| connection.reset());
        concerned.len()
    }

    /// Lets `node` alone lose all its connections with `other`, which believes them to be there until
    /// it sends something; how many.
    pub fn forget_connections(&self, node: u32, other: u32) -> usize {
        let all = self.network().connections.borrow();
        let concerned: Vec<_> = all
            .values()
            .filter(|connection| connection.joins(node, other))
            .map(Rc::clone)
            .collect();
        drop(all);
        concerned.iter().for_each(|connection| connection.forget(node));
        concerned.len()
    }

    /// Takes [`NetworkControl::isolate`] back.
    pub fn rejoin(&self, node: u32) {
        self.network().links.borrow_mut().isolated.remove(&node);
    }

    /// Connections that at least one end has open, or has something under way on.
    pub fn connections(&self) -> usize {
        self.network().connections.borrow().len()
    }
}

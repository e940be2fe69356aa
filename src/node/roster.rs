//! Which other nodes there are, as one core knows them: from the book of the last start, the registry, and
//! hearsay.
//!
//! A registry may be older than what was heard: it was read while the node could not be reached, or waited for
//! a leader. Rows of nodes are not deleted, so a node without one came after it was read; and a node that has
//! started again since is where it said then.

use crate::cluster::book::Book;
use crate::cluster::decide::Wanted;
use crate::cluster::gossip::Peer;
use crate::cluster::registry::Registry;
use model::id::NodeId;
use model::placement::Place;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The other nodes.
pub(super) struct Roster {
    me: NodeId,
    nodes: BTreeMap<NodeId, Known>,
}

/// What is known of a node.
struct Known {
    cores: u16,
    /// Of which of its starts that is; 0 where it is not known.
    start: u32,
}

/// What follows for the links.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    /// Nodes that are gone for good.
    pub(super) gone: Vec<NodeId>,
    /// Where cores are now.
    pub(super) addresses: Vec<(Place, SocketAddr)>,
}

impl Roster {
    /// That of a node which knows of no other.
    pub(super) fn new(me: NodeId) -> Roster {
        Roster { me, nodes: BTreeMap::new() }
    }

    /// Takes a book, and the registry of which it was made, where there is one.
    pub(super) fn learn(&mut self, book: &Book, registry: Option<&Registry>) -> Moves {
        let row = |node: NodeId| registry.and_then(|registry| registry.node(node));
        let gone =
            |node: &NodeId| row(*node).is_some_and(|row| row.wanted == Wanted::Decommissioned);
        let mut moves = Moves::default();
        moves.gone.extend(self.nodes.keys().filter(|node| gone(node)));
        self.nodes.retain(|node, _| !gone(node));
        for (node, cores) in book.nodes().filter(|(node, _)| *node != self.me) {
            let start = row(node).map_or(0, |row| row.starts);
            if self.nodes.get(&node).is_none_or(|known| known.start <= start) {
                self.nodes.insert(node, Known { cores, start });
                moves.addresses.extend(book.addresses().filter(|(place, _)| place.node == node));
            }
        }
        moves
    }

    /// Takes what a node says of itself.
    pub(super) fn hear(&mut self, peer: &Peer) {
        if peer.node == self.me {
            return;
        }
        let cores = peer.ports.len().min(usize::from(u16::MAX)) as u16;
        self.nodes.insert(peer.node, Known { cores, start: peer.life.start });
    }

    /// How many cores a node has, if it is known.
    pub(super) fn cores(&self, node: NodeId) -> Option<u16> {
        self.nodes.get(&node).map(|known| known.cores)
    }

    /// The nodes, and how many cores each has.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeId, u16)> + '_ {
        self.nodes.iter().map(|(node, known)| (*node, known.cores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::gossip::Life;
    use crate::cluster::registry::{About, NodeRecord};

    fn row(node: u32, start: u32, port: u16) -> NodeRecord {
        let about = About {
            native: format!("10.0.0.{node}:7430"),
            pg: None,
            cores: vec![format!("10.0.0.{node}:{port}")],
            locality: Default::default(),
            software: "0.1.0".to_owned(),
        };
        let admitted = Registry::default().admit(about, 5).expect("it is let in");
        NodeRecord { id: NodeId(node), starts: start, ..admitted }
    }

    fn registry<const N: usize>(rows: [NodeRecord; N]) -> (Book, Registry) {
        let registry = Registry::new(rows, []);
        (Book::new(1, 4, 3).with(&registry), registry)
    }

    fn peer(node: u32, start: u32, ports: &[u16]) -> Peer {
        let host = [10, 0, 0, node as u8].into();
        let life = Life { start, renewal: 0 };
        Peer { node: NodeId(node), life, host, ports: ports.iter().copied().collect() }
    }

    fn nodes(roster: &Roster) -> Vec<(u32, u16)> {
        roster.nodes().map(|(node, cores)| (node.0, cores)).collect()
    }

    fn ports(moves: &Moves) -> Vec<(u32, u16)> {
        moves.addresses.iter().map(|(place, address)| (place.node.0, address.port())).collect()
    }

    #[test]
    fn a_registry_that_is_older_than_what_was_heard_takes_nothing_back() {
        let mut roster = Roster::new(NodeId(1));
        let (book, old) = registry([row(1, 1, 70), row(2, 1, 70), row(3, 1, 70)]);
        let moves = roster.learn(&book, Some(&old));
        assert_eq!(ports(&moves), [(2, 70), (3, 70)]);
        // One has joined, and one has been started again, with more cores.
        roster.hear(&peer(4, 1, &[70]));
        roster.hear(&peer(2, 2, &[80, 81]));
        roster.hear(&peer(1, 1, &[70]));
        let moves = roster.learn(&book, Some(&old));
        assert_eq!((ports(&moves), moves.gone), (vec![(3, 70)], vec![]));
        assert_eq!(nodes(&roster), [(2, 2), (3, 1), (4, 1)]);
        // A book alone does not say how old it is.
        let moves = roster.learn(&book, None);
        assert_eq!(ports(&moves), []);
    }

    #[test]
    fn what_the_registry_says_of_the_same_start_or_a_later_one_holds() {
        let mut roster = Roster::new(NodeId(1));
        roster.hear(&peer(2, 2, &[80, 81]));
        roster.hear(&peer(3, 1, &[70]));
        let gone = NodeRecord { wanted: Wanted::Decommissioned, ..row(3, 1, 70) };
        let (book, new) = registry([row(1, 1, 70), row(2, 3, 90), gone]);
        let moves = roster.learn(&book, Some(&new));
        assert_eq!((ports(&moves), moves.gone), (vec![(2, 90)], vec![NodeId(3)]));
        assert_eq!(nodes(&roster), [(2, 1)]);
        assert_eq!((roster.cores(NodeId(2)), roster.cores(NodeId(3))), (Some(1), None));
    }
}

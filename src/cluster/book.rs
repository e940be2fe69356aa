//! Where the nodes of the cluster are, as one of them last knew it: `cluster.json` in its data
//! directory, so that it finds the others when it starts again. See `docs/formats/cluster.md`.

use super::decide::Wanted;
use super::gossip::Peer;
use super::registry::Registry;
use model::id::{CoreId, NodeId};
use model::placement::Place;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

const FORMAT: u32 = 1;
/// What is the same for all nodes of a cluster, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    format: u32,
    /// The cluster's id.
    pub cluster: u64,
    /// Its partitions besides the system partition.
    pub partitions: u32,
    /// Copies of each partition that it wants.
    pub replication_factor: u8,
    nodes: Vec<Entry>,
}

/// A node, and the address of each of its cores' doors, by core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    node: u32,
    cores: Vec<SocketAddr>,
}

/// A text that is no book.
#[derive(Debug, thiserror::Error)]
#[error("it is not a valid book of the cluster's nodes: {0}")]
pub struct NoBook(String);

impl Book {
    /// The book of a cluster of which no node is known yet.
    pub fn new(cluster: u64, partitions: u32, replication_factor: u8) -> Book {
        Book { format: FORMAT, cluster, partitions, replication_factor, nodes: Vec::new() }
    }

    /// The same cluster with the nodes of its registry, those that are gone for good left out.
    pub fn with(&self, registry: &Registry) -> Book {
        let nodes = registry.nodes().filter(|node| node.wanted != Wanted::Decommissioned);
        let entry = |node: &super::registry::NodeRecord| Entry {
            node: node.id.0,
            // One that is no address is of a node that cannot be reached.
            cores: node.about.cores.iter().map_while(|core| core.parse().ok()).collect(),
        };
        Book { nodes: nodes.map(entry).collect(), ..self.clone() }
    }

    /// The nodes and how many cores they have.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, u16)> + '_ {
        // A process cannot have more cores than a port each.
        let cores = |entry: &Entry| entry.cores.len().min(usize::from(u16::MAX)) as u16;
        self.nodes.iter().map(move |entry| (NodeId(entry.node), cores(entry)))
    }

    /// The nodes as they were; of which of their lives that is it does not know.
    pub fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        let peer = |entry: &Entry| Peer::of_doors(NodeId(entry.node), 0, &entry.cores);
        self.nodes.iter().filter_map(peer)
    }

    /// Where each core's door is.
    pub fn addresses(&self) -> impl Iterator<Item = (Place, SocketAddr)> + '_ {
        self.nodes.iter().flat_map(|entry| {
            let place = |core| Place { node: NodeId(entry.node), core: CoreId(core) };
            (0..).map(place).zip(entry.cores.iter().copied())
        })
    }

    /// Its text.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("it has no maps with keys that are no text")
    }

    /// Reads its text.
    ///
    /// # Errors
    /// It is damaged, or of a later version.
    pub fn decode(text: &[u8]) -> Result<Book, NoBook> {
        let book: Book = serde_json::from_slice(text).map_err(|error| NoBook(error.to_string()))?;
        match book.format {
            FORMAT => Ok(book),
            format => {
                Err(NoBook(format!("it has format {format}, this version knows format {FORMAT}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::registry::About;

    fn registry() -> Registry {
        let about = |port: u16| About {
            native: format!("10.0.0.1:{port}"),
            pg: None,
            cores: vec![format!("10.0.0.1:{}", port + 1), format!("10.0.0.1:{}", port + 2)],
            locality: Default::default(),
            software: "0.1.0".to_owned(),
        };
        let first = Registry::default().admit(about(7430), 5).expect("it is let in");
        let second = Registry::new([first.clone()], []).admit(about(7530), 6);
        let second = second.expect("it is let in");
        let both = Registry::new([first.clone(), second.clone()], []);
        let gone = both.admit(about(7630), 7).expect("it is let in");
        let gone = super::super::registry::NodeRecord { wanted: Wanted::Decommissioned, ..gone };
        Registry::new([first, second, gone], [])
    }

    #[test]
    fn a_book_names_who_belongs() {
        let book = Book::new(0xc1, 8, 3).with(&registry());
        let nodes: Vec<_> = book.nodes().collect();
        assert_eq!(nodes, [(NodeId(1), 2), (NodeId(2), 2)]);
        let last = book.addresses().last().expect("four doors");
        let place = Place { node: NodeId(2), core: CoreId(1) };
        assert_eq!(last, (place, "10.0.0.1:7532".parse().expect("an address")));
    }

    #[test]
    fn the_file_is_the_documented_one() {
        let text = include_str!("book/golden.json");
        let book = Book::decode(text.as_bytes()).expect("a book");
        assert_eq!(book, Book::new(193, 8, 3).with(&registry()));
        assert_eq!(String::from_utf8(book.encode()).expect("text"), text.trim_end());
        let later = text.replace("\"format\": 1", "\"format\": 2");
        let refused = Book::decode(later.as_bytes()).expect_err("it is of a later version");
        assert!(refused.to_string().contains("format 2"), "{refused}");
        assert!(Book::decode(&text.as_bytes()[..text.len() / 2]).is_err());
    }
}

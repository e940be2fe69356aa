//! Where the nodes of the cluster are, as one of them last knew it: `cluster.json` in its data
//! directory, so that it finds the others when it starts again. See `docs/formats/cluster.md`.

use super::decide::Wanted;
use super::registry::Registry;
use model::id::{CoreId, NodeId};
use model::placement::Place;
use runtime::fs::{self, Buffer, File, OpenOptions};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

const FILE: &str = "cluster.json";
const FILE_NEW: &str = "cluster.json.new";
const FORMAT: u32 = 1;
/// More than the largest cluster takes, in bytes.
const BYTES_MAX: u64 = 64 << 20;

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

/// Why a book cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file system refuses it.
    #[error("{FILE}: {0}")]
    Io(#[from] io::Error),
    /// The file is damaged, or of a later version.
    #[error("{FILE} is not a valid book of the cluster's nodes: {0}")]
    Invalid(String),
}

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

    /// Where each core's door is.
    pub fn addresses(&self) -> impl Iterator<Item = (Place, SocketAddr)> + '_ {
        self.nodes.iter().flat_map(|entry| {
            let place = |core| Place { node: NodeId(entry.node), core: CoreId(core) };
            (0..).map(place).zip(entry.cores.iter().copied())
        })
    }

    /// Reads the book of a data directory; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(data_dir: &Path) -> Result<Option<Book>, BookError> {
        let path = data_dir.join(FILE);
        if !fs::exists(&path).await? {
            return Ok(None);
        }
        let file = File::open(&path, &OpenOptions::default()).await?;
        let size = file.size().await?;
        if size > BYTES_MAX {
            return Err(BookError::Invalid(format!("it has {size} bytes")));
        }
        let bytes = file.read_at(0, size as usize).await?;
        let book: Book = serde_json::from_slice(&bytes)
            .map_err(|error| BookError::Invalid(error.to_string()))?;
        match book.format {
            FORMAT => Ok(Some(book)),
            format => {
                let what = format!("it has format {format}, this version knows format {FORMAT}");
                Err(BookError::Invalid(what))
            }
        }
    }

    /// Replaces the book of a data directory in one step.
    ///
    /// # Errors
    /// What the file system refuses.
    pub async fn write(&self, data_dir: &Path) -> Result<(), BookError> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        let (new, path) = (data_dir.join(FILE_NEW), data_dir.join(FILE));
        let options =
            OpenOptions { write: true, create: true, truncate: true, ..OpenOptions::default() };
        let file = File::open(&new, &options).await?;
        file.write_at(0, Buffer::from_slice_padded(&text)).await?;
        file.truncate(text.len() as u64).await?;
        file.sync().await?;
        file.close().await?;
        fs::rename(&new, &path).await?;
        fs::sync_dir(data_dir).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::registry::About;
    use runtime::sim::{Options, Sim};
    use std::cell::Cell;
    use std::rc::Rc;

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
    fn a_book_is_found_again_and_names_who_belongs() {
        let sim = Sim::new(Options::new(1));
        let done = Rc::new(Cell::new(false));
        let told = done.clone();
        sim.start_node(1, 1, move |_core| {
            let told = told.clone();
            Box::pin(async move {
                let path = Path::new("/data");
                fs::create_dir_all(path).await.expect("a directory");
                assert_eq!(Book::read(path).await.expect("readable"), None);
                let empty = Book::new(0xc1, 8, 3);
                empty.write(path).await.expect("written");
                let book = empty.with(&registry());
                book.write(path).await.expect("written again");
                assert_eq!(Book::read(path).await.expect("readable"), Some(book.clone()));
                let nodes: Vec<_> = book.nodes().collect();
                assert_eq!(nodes, [(NodeId(1), 2), (NodeId(2), 2)]);
                let last = book.addresses().last().expect("four doors");
                let place = Place { node: NodeId(2), core: CoreId(1) };
                assert_eq!(last, (place, "10.0.0.1:7532".parse().expect("an address")));
                told.set(true);
            })
        });
        sim.run_for(std::time::Duration::from_secs(5)).expect("it ends");
        assert!(sim.panics().is_empty(), "{:?}", sim.panics());
        assert!(done.get());
    }

    #[test]
    fn the_file_is_the_documented_one() {
        let text = include_str!("book/golden.json");
        let book: Book = serde_json::from_str(text).expect("a book");
        assert_eq!(book, Book::new(193, 8, 3).with(&registry()));
        let written = serde_json::to_string_pretty(&book).expect("text");
        assert_eq!(written, text.trim_end());
    }
}

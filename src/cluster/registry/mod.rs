//! The nodes that belong to the cluster and where its replicas are: rows of the system partition,
//! written by its leader alone.
//!
//! ```text
//!  start --join ──► admit ──► a row with an id that nobody had
//!  start        ──► admit_again ──► the row with the new addresses, and one more start
//!  the decider's steps, carried out ──► the partition's row, and a greater version
//! ```
//!
//! A node's row is never deleted: a node that goes for good stays as *decommissioned*, so that its id
//! is not given out again and its data directory is not let in. The version of the placement map is
//! the greatest of all rows; each change of a row takes the next one.

mod locality;
mod rows;
#[cfg(test)]
mod tests;

pub use rows::Unreadable;

use super::decide::{self, Learner, Liveness, Load, Wanted};
use model::id::{NodeId, PartitionId};
use model::locality::Locality;
use model::placement::{self, Place, PlacementError, PlacementMap, Replicas};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Ids of nodes are parts of ids of transactions: the greatest that is given out.
const NODE_ID_MAX: u32 = 65_535;

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its id, which no other node ever had or will have.
    pub id: NodeId,
    /// What it said of itself when it last started.
    pub about: About,
    /// How often it has started.
    pub starts: u32,
    /// What the operator wants of it.
    pub wanted: Wanted,
    /// When it was let in, in microseconds since 1970.
    pub registered_micros: i64,
    /// The version of the placement map that the row is of.
    pub version: u64,
}

impl NodeRecord {
    /// How many cores it has.
    pub fn cores(&self) -> u16 {
        // A process cannot have more cores than a port each.
        self.about.cores.len().min(usize::from(u16::MAX)) as u16
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// `host:port` of its native door.
    pub native: String,
    /// `host:port` of its PostgreSQL door, if that is open.
    pub pg: Option<String>,
    /// `host:port` of each core's own door, by core.
    pub cores: Vec<String>,
    /// Where it stands.
    #[serde(with = "locality")]
    pub locality: Locality,
    /// The version of PhantomDB that it runs.
    pub software: String,
}

/// Where a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Its id.
    pub id: PartitionId,
    /// Its replicas.
    pub replicas: Replicas,
    /// The version of the placement map that the row is of.
    pub version: u64,
}

/// Why a node is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The id was never given out.
    #[error("node {0} does not belong to this cluster")]
    Unknown(NodeId),
    /// It was removed.
    #[error("node {0} was removed from this cluster for good: start on an empty directory")]
    Decommissioned(NodeId),
    /// Somebody else started with that id since, or a copy of the directory did.
    #[error(
        "node {node} starts for the {start}. time, and has started {known} times: its data \
         directory is an old copy, or another process runs with the same id"
    )]
    Twice {
        /// The node.
        node: NodeId,
        /// The start that it says this is.
        start: u32,
        /// Starts that are known of.
        known: u32,
    },
    /// It has no cores.
    #[error("a node has at least one core")]
    NoCores,
    /// All ids are given out.
    #[error("{NODE_ID_MAX} nodes have belonged to this cluster: there is no id left")]
    NoIdLeft,
}

/// All rows, as they were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    nodes: BTreeMap<NodeId, NodeRecord>,
    partitions: BTreeMap<PartitionId, PartitionRecord>,
}

impl Registry {
    /// The registry of these rows.
    pub fn new(
        nodes: impl IntoIterator<Item = NodeRecord>,
        partitions: impl IntoIterator<Item = PartitionRecord>,
    ) -> Registry {
        Registry {
            nodes: nodes.into_iter().map(|node| (node.id, node)).collect(),
            partitions: partitions.into_iter().map(|one| (one.id, one)).collect(),
        }
    }

    /// The nodes by id, those that are gone for good among them.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// A node, if there ever was one of this id.
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&node)
    }

    /// The partitions in order.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionRecord> {
        self.partitions.values()
    }

    /// Where a node's replica of a partition is or would be; `None` for a node that is not known.
    pub fn place(&self, partition: PartitionId, node: NodeId) -> Option<Place> {
        let cores = self.nodes.get(&node)?.cores();
        Some(Place { node, core: placement::core_of(partition, cores) })
    }

    /// Takes a row that was written since.
    pub fn note(&mut self, row: PartitionRecord) {
        self.partitions.insert(row.id, row);
    }

    /// The version of the placement map.
    pub fn version(&self) -> u64 {
        let nodes = self.nodes.values().map(|node| node.version);
        nodes.chain(self.partitions.values().map(|one| one.version)).max().unwrap_or(0)
    }

    /// The row of a node that was never here.
    ///
    /// # Errors
    /// It is not let in.
    pub fn admit(&self, about: About, now_micros: i64) -> Result<NodeRecord, NotAdmitted> {
        if about.cores.is_empty() {
            return Err(NotAdmitted::NoCores);
        }
        let last = self.nodes.keys().next_back().map_or(0, |last| last.0);
        if last >= NODE_ID_MAX {
            return Err(NotAdmitted::NoIdLeft);
        }
        Ok(NodeRecord {
            id: NodeId(last + 1),
            about,
            starts: 1,
            wanted: Wanted::Active,
            registered_micros: now_micros,
            version: self.version() + 1,
        })
    }

    /// The new row of a node that starts for the `start`th time, as its data directory counts.
    ///
    /// # Errors
    /// It is not let in.
    pub fn admit_again(
        &self,
        node: NodeId,
        start: u32,
        about: About,
    ) -> Result<NodeRecord, NotAdmitted> {
        let known = self.nodes.get(&node).ok_or(NotAdmitted::Unknown(node))?;
        if known.wanted == Wanted::Decommissioned {
            return Err(NotAdmitted::Decommissioned(node));
        }
        if about.cores.is_empty() {
            return Err(NotAdmitted::NoCores);
        }
        if start <= known.starts {
            return Err(NotAdmitted::Twice { node, start, known: known.starts });
        }
        Ok(NodeRecord { about, starts: start, version: self.version() + 1, ..known.clone() })
    }

    /// The row of a node of which something else is wanted; `None` where it is not known, wanted
    /// already, or gone for good.
    pub fn want(&self, node: NodeId, wanted: Wanted) -> Option<NodeRecord> {
        let known = self.nodes.get(&node)?;
        let changes = known.wanted != wanted && known.wanted != Wanted::Decommissioned;
        changes.then(|| NodeRecord { wanted, version: self.version() + 1, ..known.clone() })
    }

    /// The row of a partition whose replicas have changed; `None` where they have not.
    pub fn moved(&self, id: PartitionId, replicas: Replicas) -> Option<PartitionRecord> {
        let known = self.partitions.get(&id);
        let changes = known.is_none_or(|known| known.replicas != replicas);
        changes.then(|| PartitionRecord { id, replicas, version: self.version() + 1 })
    }

    /// The map of these rows.
    ///
    /// # Errors
    /// They do not fit together, or a partition is missing.
    pub fn placement(&self) -> Result<PlacementMap, PlacementError> {
        let cores = self.nodes.iter().map(|(id, node)| (*id, node.cores())).collect();
        let mut replicas = Vec::with_capacity(self.partitions.len());
        for (expected, (id, one)) in (0u32..).map(PartitionId).zip(&self.partitions) {
            if *id != expected {
                return Err(PlacementError::NoVoters(expected));
            }
            replicas.push(one.replicas.clone());
        }
        PlacementMap::of_cluster(self.version(), cores, replicas)
    }

    /// What the decider looks at: the rows, with what is heard of the nodes and of the groups.
    pub fn snapshot(
        &self,
        heard: impl Fn(NodeId) -> (Liveness, Load),
        groups: impl Fn(PartitionId) -> GroupView,
    ) -> decide::Snapshot {
        let node = |record: &NodeRecord| {
            let (liveness, load) = heard(record.id);
            decide::Node {
                id: record.id,
                locality: record.about.locality.clone(),
                liveness,
                wanted: record.wanted,
                cores: record.cores(),
                load,
            }
        };
        let partition = |record: &PartitionRecord| {
            let group = groups(record.id);
            let learner =
                |node: &NodeId| Learner { node: *node, behind: group.behind.get(node).copied() };
            decide::Partition {
                id: record.id,
                voters: record.replicas.voters.clone(),
                outgoing: group.outgoing,
                learners: record.replicas.learners.iter().map(learner).collect(),
                leader: group.leader,
                changing: group.changing,
            }
        };
        decide::Snapshot {
            nodes: self.nodes.values().map(node).collect(),
            partitions: self.partitions.values().map(partition).collect(),
        }
    }
}

/// What is known of a partition's Raft group beside its row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupView {
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// Where a joint change is half done, the voters it began with.
    pub outgoing: Vec<NodeId>,
    /// Entries of the log that its learners lack, as far as that is known.
    pub behind: BTreeMap<NodeId, u64>,
    /// Somebody is carrying out a step.
    pub changing: bool,
}

//! Which partition holds a row, and which core holds a partition.

use crate::id::{CoreId, NodeId, PartitionId};
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// The place of a row in the hash space: XXH3-64 (seed 0) of its partition columns as
/// [`crate::key`] encodes them, ascending, without an object id.
pub fn hash_of(encoded_columns: &[u8]) -> u64 {
    xxh3_64(encoded_columns)
}

/// The map of partitions to places: the same on every core, versioned.
///
/// A node's replica of partition `p` is on core `p mod cores` of that node: nodes say where a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementMap {
    /// Increases with every change of nodes or replicas; not with that of a leader.
    pub version: u64,
    /// Where each partition's leader is taken to be; the index is the partition's id. Partition 0 is
    /// the system partition and holds no hashes; partition `i` of `n` others holds the hashes for
    /// which `hash * n >> 64` is `i - 1`.
    pub leaders: Vec<Place>,
    /// Where each partition's replicas are, in the same order.
    replicas: Vec<Replicas>,
    /// How many cores each node has.
    cores: BTreeMap<NodeId, u16>,
}

/// The nodes that hold a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replicas {
    /// Those with a vote.
    pub voters: Vec<NodeId>,
    /// Those without.
    pub learners: Vec<NodeId>,
}

impl Replicas {
    /// All of them, those with a vote first.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters.iter().chain(&self.learners).copied()
    }
}

/// What a map is made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// A partition is on a node that is not known.
    #[error("partition {partition} is on node {node}, which is not known")]
    UnknownNode {
        /// The partition.
        partition: PartitionId,
        /// The node.
        node: NodeId,
    },
    /// Two replicas of a partition are on one node.
    #[error("partition {partition} is on node {node} twice")]
    Twice {
        /// The partition.
        partition: PartitionId,
        /// The node.
        node: NodeId,
    },
    /// Nobody may vote.
    #[error("partition {0} has no voters")]
    NoVoters(PartitionId),
    /// A node without cores.
    #[error("node {0} has no cores")]
    NoCores(NodeId),
}

/// A core of a node.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// The core on it.
    pub core: CoreId,
}

impl PlacementMap {
    /// The map of a single node: the system partition and `partitions` others, dealt to its cores
    /// in turn.
    pub fn single_node(node: NodeId, cores: u16, partitions: u32) -> PlacementMap {
        let only = Replicas { voters: vec![node], learners: Vec::new() };
        let place = |partition: u32| Place { node, core: core_of(PartitionId(partition), cores) };
        PlacementMap {
            version: 1,
            leaders: (0..=partitions).map(place).collect(),
            replicas: (0..=partitions).map(|_| only.clone()).collect(),
            cores: BTreeMap::from([(node, cores)]),
        }
    }

    /// The map of a cluster: the cores of its nodes, and the replicas of its partitions from the
    /// system partition on. Each is taken to be led by its first voter.
    ///
    /// # Errors
    /// They do not fit together.
    pub fn of_cluster(
        version: u64,
        cores: BTreeMap<NodeId, u16>,
        replicas: Vec<Replicas>,
    ) -> Result<PlacementMap, PlacementError> {
        if let Some((node, _)) = cores.iter().find(|(_, cores)| **cores == 0) {
            return Err(PlacementError::NoCores(*node));
        }
        let mut leaders = Vec::with_capacity(replicas.len());
        for (partition, replicas) in (0u32..).map(PartitionId).zip(&replicas) {
            let mut seen = Vec::new();
            for node in replicas.nodes() {
                if !cores.contains_key(&node) {
                    return Err(PlacementError::UnknownNode { partition, node });
                }
                if seen.contains(&node) {
                    return Err(PlacementError::Twice { partition, node });
                }
                seen.push(node);
            }
            let first = replicas.voters.first().ok_or(PlacementError::NoVoters(partition))?;
            leaders.push(Place { node: *first, core: core_of(partition, cores[first]) });
        }
        Ok(PlacementMap { version, leaders, replicas, cores })
    }

    /// How many partitions share the hash space: all but the system partition.
    pub fn partitions(&self) -> u32 {
        self.leaders.len().saturating_sub(1) as u32
    }

    /// The partitions that share the hash space, in order.
    pub fn data_partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (1..=self.partitions()).map(PartitionId)
    }

    /// The partition that holds `hash`.
    pub fn partition_of(&self, hash: u64) -> PartitionId {
        partition_of(hash, self.partitions())
    }

    /// Where a partition's leader is taken to be, or `None` for a partition that does not exist.
    pub fn leader(&self, partition: PartitionId) -> Option<Place> {
        self.leaders.get(partition.0 as usize).copied()
    }

    /// The nodes that hold a partition, or `None` for one that does not exist.
    pub fn replicas(&self, partition: PartitionId) -> Option<&Replicas> {
        self.replicas.get(partition.0 as usize)
    }

    /// Where a node's replica of a partition is or would be; `None` for a node that is not known.
    pub fn place(&self, partition: PartitionId, node: NodeId) -> Option<Place> {
        let cores = self.cores.get(&node)?;
        Some(Place { node, core: core_of(partition, *cores) })
    }

    /// The partitions of which a node holds a replica, in order.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = PartitionId> + '_ {
        let all = (0u32..).map(PartitionId).zip(&self.replicas);
        all.filter(move |(_, replicas)| replicas.nodes().any(|one| one == node))
            .map(|(partition, _)| partition)
    }
}

/// The core of a node of so many, one at least, that holds its replica of a partition.
pub fn core_of(partition: PartitionId, cores: u16) -> CoreId {
    CoreId((partition.0 % u32::from(cores.max(1))) as u16)
}

/// The partition that holds `hash` where `partitions` share the hash space.
pub fn partition_of(hash: u64, partitions: u32) -> PartitionId {
    PartitionId(1 + ((u128::from(hash) * u128::from(partitions)) >> 64) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_space_is_covered_evenly_and_in_order() {
        assert_eq!(partition_of(0, 8), PartitionId(1));
        assert_eq!(partition_of(u64::MAX, 8), PartitionId(8));
        assert_eq!(partition_of(1 << 63, 8), PartitionId(5));
        assert_eq!(partition_of(u64::MAX, 1), PartitionId(1));
    }

    fn nodes<const N: usize>(cores: [(u32, u16); N]) -> BTreeMap<NodeId, u16> {
        cores.into_iter().map(|(node, cores)| (NodeId(node), cores)).collect()
    }

    fn replicas(voters: &[u32], learners: &[u32]) -> Replicas {
        let ids = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect();
        Replicas { voters: ids(voters), learners: ids(learners) }
    }

    #[test]
    fn a_single_node_holds_and_leads_all() {
        let map = PlacementMap::single_node(NodeId(1), 2, 4);
        let made = PlacementMap::of_cluster(1, nodes([(1, 2)]), vec![replicas(&[1], &[]); 5]);
        assert_eq!(made.as_ref(), Ok(&map));
        assert_eq!(map.held_by(NodeId(1)).count(), 5);
        assert_eq!(map.held_by(NodeId(2)).count(), 0);
        assert_eq!(map.leader(PartitionId(3)), Some(Place { node: NodeId(1), core: CoreId(1) }));
    }

    #[test]
    fn a_replica_is_on_the_core_that_its_number_says() {
        let all = vec![replicas(&[1], &[]), replicas(&[2, 1], &[3]), replicas(&[3], &[])];
        let map = PlacementMap::of_cluster(7, nodes([(1, 2), (2, 4), (3, 1)]), all)
            .expect("they fit together");
        let place = |node, core| Some(Place { node: NodeId(node), core: CoreId(core) });
        assert_eq!(map.leader(PartitionId(1)), place(2, 1));
        assert_eq!(map.place(PartitionId(1), NodeId(3)), place(3, 0));
        assert_eq!(map.place(PartitionId(1), NodeId(9)), None);
        assert_eq!(map.held_by(NodeId(3)).collect::<Vec<_>>(), [PartitionId(1), PartitionId(2)]);
        assert_eq!(map.version, 7);
    }

    #[test]
    fn what_does_not_fit_together_is_no_map() {
        let map = |replicas| {
            PlacementMap::of_cluster(1, nodes([(1, 1), (2, 1)]), vec![replicas])
                .expect_err("no map")
                .to_string()
        };
        assert_eq!(map(replicas(&[1, 3], &[])), "partition 0 is on node 3, which is not known");
        assert_eq!(map(replicas(&[1], &[1])), "partition 0 is on node 1 twice");
        assert_eq!(map(replicas(&[], &[1])), "partition 0 has no voters");
        let none = PlacementMap::of_cluster(1, nodes([(4, 0)]), Vec::new());
        assert_eq!(none, Err(PlacementError::NoCores(NodeId(4))));
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        // Clients in other languages compute it too: this value must never change.
        assert_eq!(hash_of(b""), 0x2d06_8005_38d3_94c2);
    }
}

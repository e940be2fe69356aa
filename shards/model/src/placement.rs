//! Which partition holds a row, and which core holds a partition.

use crate::id::{CoreId, NodeId, PartitionId};
use rkyv::{Archive, Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The place of a row in the hash space: XXH3-64 (seed 0) of its partition columns as
/// [`crate::key`] encodes them, ascending, without an object id.
pub fn hash_of(encoded_columns: &[u8]) -> u64 {
    xxh3_64(encoded_columns)
}

/// The map of partitions to places: the same on every core, versioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementMap {
    /// Increases with every change.
    pub version: u64,
    /// Where each partition's leader is; the index is the partition's id. Partition 0 is the system
    /// partition and holds no hashes; partition `i` of `n` others holds the hashes for which
    /// `hash * n >> 64` is `i - 1`.
    pub leaders: Vec<Place>,
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
        let place =
            |partition: u32| Place { node, core: CoreId((partition % u32::from(cores)) as u16) };
        PlacementMap { version: 1, leaders: (0..=partitions).map(place).collect() }
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

    /// Where a partition's leader is, or `None` for a partition that does not exist.
    pub fn leader(&self, partition: PartitionId) -> Option<Place> {
        self.leaders.get(partition.0 as usize).copied()
    }
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

    #[test]
    fn the_hash_is_the_documented_one() {
        // Clients in other languages compute it too: this value must never change.
        assert_eq!(hash_of(b""), 0x2d06_8005_38d3_94c2);
    }
}

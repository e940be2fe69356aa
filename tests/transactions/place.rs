//! Where rows lie.

use model::id::{CoreId, NodeId, PartitionId};
use model::key::push_value;
use model::placement::{PlacementMap, hash_of};
use model::value::Value;

/// Partitions that a server has for each of its cores.
const PARTITIONS_A_CORE: u32 = 4;

/// The partition of the rows whose primary key is this integer, and the core that holds it, on a
/// server with default partitions.
pub fn place_of(key: i64, cores: u16) -> (PartitionId, CoreId) {
    let map = PlacementMap::single_node(NodeId(1), cores, PARTITIONS_A_CORE * u32::from(cores));
    let mut encoded = Vec::new();
    push_value(&mut encoded, &Value::Int(key), false);
    let partition = map.partition_of(hash_of(&encoded));
    (partition, map.leader(partition).expect("the partition is there").core)
}

/// The first key from `from` on whose place is as wanted.
pub fn key_where(from: i64, cores: u16, wanted: impl Fn(PartitionId, CoreId) -> bool) -> i64 {
    let is_wanted = |key: &i64| {
        let (partition, core) = place_of(*key, cores);
        wanted(partition, core)
    };
    (from..).find(is_wanted).expect("some key lies there")
}

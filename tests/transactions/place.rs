//! Where rows lie.

use model::id::{CoreId, NodeId};
use model::key::push_value;
use model::placement::{PlacementMap, hash_of};
use model::value::Value;

/// Partitions that a server has for each of its cores.
const PARTITIONS_A_CORE: u32 = 4;

/// The core that holds the rows whose primary key is this integer, on a server with default
/// partitions.
pub fn core_of(key: i64, cores: u16) -> CoreId {
    let map = PlacementMap::single_node(NodeId(1), cores, PARTITIONS_A_CORE * u32::from(cores));
    let mut encoded = Vec::new();
    push_value(&mut encoded, &Value::Int(key), false);
    let partition = map.partition_of(hash_of(&encoded));
    map.leader(partition).expect("the partition is there").core
}

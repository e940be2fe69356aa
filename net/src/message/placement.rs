//! The placement map, as clients see it: every core with the address of its own door.

use crate::codec::{Malformed, Reader, Wire, wire_struct};
use bytes::{BufMut, BytesMut};
use model::placement::{Place, PlacementMap, partition_of};

wire_struct! {
    /// One core of the cluster.
    pub struct PlaceEntry {
        /// Its node.
        pub node: u32,
        /// Its number on the node.
        pub core: u16,
        /// `host:port` of its own door; empty where it has none.
        pub address: String,
    }
}

/// Which core leads which partition, and where to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Increases with every change.
    pub version: u64,
    /// Every core.
    pub places: Vec<PlaceEntry>,
    /// For each partition, from the system partition on, the index of its leader in `places`.
    pub leaders: Vec<u16>,
}

impl Placement {
    /// The map with an address a core. Cores for which `address` has none are listed without.
    pub fn new(map: &PlacementMap, address: impl Fn(Place) -> Option<String>) -> Placement {
        let mut known: Vec<Place> = Vec::new();
        let mut leaders = Vec::with_capacity(map.leaders.len());
        for leader in &map.leaders {
            let index = known.iter().position(|place| place == leader).unwrap_or_else(|| {
                known.push(*leader);
                known.len() - 1
            });
            leaders.push(u16::try_from(index).expect("a cluster has fewer than 65,536 cores"));
        }
        let entry = |place: &Place| PlaceEntry {
            node: place.node.0,
            core: place.core.0,
            address: address(*place).unwrap_or_default(),
        };
        Placement { version: map.version, places: known.iter().map(entry).collect(), leaders }
    }

    /// The address of the core that leads the partition of `hash`; `None` where it is not known.
    pub fn address_of(&self, hash: u64) -> Option<&str> {
        let sharing = u32::try_from(self.leaders.len()).ok()?.checked_sub(1)?;
        let leader = self.leaders.get(partition_of(hash, sharing).0 as usize)?;
        let place = self.places.get(usize::from(*leader))?;
        (!place.address.is_empty()).then_some(place.address.as_str())
    }
}

impl Wire for Placement {
    fn encode(&self, out: &mut BytesMut) {
        self.version.encode(out);
        self.places.encode(out);
        out.put_u32_le(u32::try_from(self.leaders.len()).expect("partitions have u32 ids"));
        for leader in &self.leaders {
            out.put_u16_le(*leader);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let version = u64::decode(input)?;
        let places = Vec::<PlaceEntry>::decode(input)?;
        let count = u32::decode(input)? as usize;
        let bytes = input.take(count.checked_mul(2).ok_or(Malformed::TooShort)?)?;
        let leaders: Vec<u16> =
            bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        if leaders.iter().any(|leader| usize::from(*leader) >= places.len()) {
            return Err(Malformed::OutOfRange("a partition's leader"));
        }
        Ok(Placement { version, places, leaders })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::NodeId;
    use model::placement::Replicas;

    #[test]
    fn a_hash_leads_to_its_core() {
        let map = PlacementMap::single_node(NodeId(1), 2, 4);
        let placement =
            Placement::new(&map, |place| Some(format!("h:{}", 7500 + u32::from(place.core.0))));
        assert_eq!(placement.address_of(0), Some("h:7501"));
        assert_eq!(placement.address_of(1 << 62), Some("h:7500"));
        assert_eq!(placement.address_of(u64::MAX), Some("h:7500"));
        assert_eq!(Placement::default().address_of(3), None);
        assert_eq!(Placement::new(&map, |_| None).address_of(3), None);
    }

    #[test]
    fn a_hash_leads_to_the_node_that_leads() {
        let on =
            |voters: [u32; 2]| Replicas { voters: voters.map(NodeId).into(), learners: Vec::new() };
        let cores = [(NodeId(1), 2), (NodeId(2), 1)].into();
        let map = PlacementMap::of_cluster(1, cores, vec![on([1, 2]), on([1, 2]), on([2, 1])]);
        let map = map.expect("they fit together");
        let address = |place: Place| Some(format!("h{}:{}", place.node, 7500 + place.core.0));
        let placement = Placement::new(&map, address);
        assert_eq!(placement.address_of(0), Some("h1:7501"));
        assert_eq!(placement.address_of(u64::MAX), Some("h2:7500"));
    }
}

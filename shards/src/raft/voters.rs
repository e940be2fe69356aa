//! The bytes of a membership entry: who votes, and who learns. All integers are little-endian.
//!
//! ```text
//! number of configurations u32, each: number of voters u32, each u64
//! number of nodes u32, each u64
//! ```
//!
//! Two configurations stand side by side while one replaces the other.

use bytes::{Buf, BufMut};
use openraft::{EmptyNode, Membership};
use std::collections::BTreeSet;

/// Who takes part in a group.
pub(super) type Voters = Membership<u64, EmptyNode>;

pub(super) fn encode(voters: &Voters) -> Vec<u8> {
    let mut out = Vec::new();
    let configurations = voters.get_joint_config();
    out.put_u32_le(configurations.len() as u32);
    for configuration in configurations {
        put_ids(&mut out, configuration.len(), configuration.iter());
    }
    put_ids(&mut out, voters.nodes().count(), voters.nodes().map(|(id, _)| id));
    out
}

fn put_ids<'a>(out: &mut Vec<u8>, count: usize, ids: impl Iterator<Item = &'a u64>) {
    out.put_u32_le(count as u32);
    ids.for_each(|id| out.put_u64_le(*id));
}

/// `None` where the bytes make no sense.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Voters> {
    let count = bytes.try_get_u32_le().ok()?;
    let mut configurations: Vec<BTreeSet<u64>> = Vec::new();
    for _ in 0..count {
        configurations.push(take_ids(&mut bytes)?.into_iter().collect());
    }
    let nodes = take_ids(&mut bytes)?;
    let whole = bytes.is_empty();
    whole.then(|| Membership::new_with_defaults(configurations, nodes))
}

fn take_ids(bytes: &mut &[u8]) -> Option<Vec<u64>> {
    let count = bytes.try_get_u32_le().ok()? as usize;
    if bytes.len() / 8 < count {
        return None;
    }
    (0..count).map(|_| bytes.try_get_u64_le().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let old = BTreeSet::from([1, 2, 3]);
        let new = BTreeSet::from([2, 3, 4]);
        for configurations in [vec![], vec![old.clone()], vec![old, new]] {
            let voters = Voters::new_with_defaults(configurations, 1..=5);
            let bytes = encode(&voters);
            assert_eq!(decode(&bytes), Some(voters));
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), None, "{cut}");
            }
        }
        assert_eq!(decode(&[1, 0, 0, 0, 255, 255, 255, 255]), None);
    }
}

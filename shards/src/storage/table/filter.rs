//! The filter of one index partition: a Bloom filter in cache lines (Putze, Sanders and Singler,
//! "Cache-, Hash- and Space-Efficient Bloom Filters"). One key touches one 64-byte line, so that
//! an absent key costs one cache miss and no data block.

use xxhash_rust::xxh3::xxh3_64;

/// Bits a key; with the lines' imbalance about 1 % of absent keys pass.
const BITS_PER_KEY: usize = 10;
/// Bits set a key.
const PROBES: u32 = 6;
const LINE_BYTES: usize = 64;
const LINE_BITS_LOG2: u32 = 9;

/// The hash of a key, part of the table format.
#[inline]
pub(crate) fn hash_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The line and the bits of it that a hash sets.
#[inline]
fn locate(hash: u64, lines: usize) -> (usize, impl Iterator<Item = usize>) {
    let line = ((hash >> 32) * lines as u64) >> 32;
    // The low half steps through the line: nine bits a probe, stirred by an odd multiplier.
    let mut state = (hash as u32).wrapping_mul(0x9e37_79b1) | 1;
    let bits = (0..PROBES).map(move |_| {
        let bit = (state >> (32 - LINE_BITS_LOG2)) as usize;
        state = state.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
        bit
    });
    (line as usize, bits)
}

/// Appends the filter over `hashes` to `out`.
pub(crate) fn build_into(hashes: &[u64], out: &mut Vec<u8>) {
    let lines = (hashes.len() * BITS_PER_KEY).div_ceil(8 * LINE_BYTES).max(1);
    let start = out.len();
    out.resize(start + lines * LINE_BYTES, 0);
    for hash in hashes {
        let (line, bits) = locate(*hash, lines);
        let line = &mut out[start + line * LINE_BYTES..][..LINE_BYTES];
        for bit in bits {
            line[bit / 8] |= 1 << (bit % 8);
        }
    }
}

/// Whether a key with this hash may be in the set. A filter of an impossible size rules out nothing.
#[inline]
pub(crate) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let lines = filter.len() / LINE_BYTES;
    if lines == 0 {
        return true;
    }
    let (line, mut bits) = locate(hash, lines);
    let line = &filter[line * LINE_BYTES..][..LINE_BYTES];
    bits.all(|bit| line[bit / 8] & (1 << (bit % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_no_false_negatives_and_few_false_positives() {
        for count in [1u64, 10, 1_000, 20_000] {
            let hashes: Vec<u64> =
                (0..count).map(|n| hash_key(format!("key-{n}").as_bytes())).collect();
            let mut filter = Vec::new();
            build_into(&hashes, &mut filter);
            assert!(hashes.iter().all(|hash| may_contain(&filter, *hash)));
            let passed = (0..10_000)
                .filter(|n| may_contain(&filter, hash_key(format!("other-{n}").as_bytes())))
                .count();
            assert!(passed < 250, "{passed} of 10,000 absent keys pass with {count} keys");
        }
    }

    #[test]
    fn an_empty_filter_rules_out_nothing() {
        assert!(may_contain(&[], 7));
    }
}

//! The functions of the fuzz targets, over seeded bytes: random ones and damaged golden ones.
//! `PHANTOM_FUZZ_SEED` and `PHANTOM_FUZZ_CASES` replay and lengthen it.

use crate::samples;
use net::fuzzing;

/// Cases for each function in an ordinary run.
const CASES: u64 = 20_000;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 7] = [
    ("frames", fuzzing::frames),
    ("client_message", fuzzing::client_message),
    ("server_message", fuzzing::server_message),
    ("node_message", fuzzing::node_message),
    ("rows", fuzzing::rows),
    ("value", fuzzing::value),
    ("scram", fuzzing::scram),
];

/// Steele, Lea and Flood's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// What each function is given to damage: whole frames behind a chunk size, or bare payloads
/// behind kind and stream.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let kinds = net::frame::Kind::ALL;
    let of = |sample: samples::Sample| {
        let (header, payload) = sample.bytes.split_at(16);
        let index = kinds.iter().position(|kind| *kind as u8 == header[4]).unwrap() as u8;
        match target {
            "frames" => [&[40], &sample.bytes[..]].concat(),
            "client_message" | "server_message" => {
                [&[index, u8::from(header[8] != 0)], payload].concat()
            }
            "node_message" => {
                let bits = u8::from(header[8] != 0) | header[5] << 1;
                [&[index, bits], payload].concat()
            }
            "value" => payload.get(6..).unwrap_or_default().to_vec(),
            _ => payload.to_vec(),
        }
    };
    samples::all().into_iter().chain(samples::nodes_as_frames()).map(of).collect()
}

fn case(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if random.below(4) == 0 {
        return (0..random.below(64)).map(|_| random.next() as u8).collect();
    }
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            3 => bytes.insert(at, random.next() as u8),
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

#[test]
fn nothing_untrusted_panics() {
    let seed = environment("PHANTOM_FUZZ_SEED", 1);
    let cases = environment("PHANTOM_FUZZ_CASES", CASES);
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        for number in 0..cases {
            let bytes = case(&mut Random(seed.wrapping_add(number)), &seeds);
            let outcome = std::panic::catch_unwind(|| target(&bytes));
            assert!(
                outcome.is_ok(),
                "{name} panicked: PHANTOM_FUZZ_SEED={} PHANTOM_FUZZ_CASES=1, bytes {bytes:02x?}",
                seed.wrapping_add(number),
            );
        }
    }
}

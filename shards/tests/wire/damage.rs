//! Bytes that no core has sent, or that were damaged on the way.

use super::generate::Generator;
use super::memory::peak;
use super::{chain, encoded, read_of, request, values};
use model::command::{RequestBody, Response};
use model::id::{CoreId, NodeId, TxnId};
use model::time::Timestamp;
use shards::core::wire::{MessageKind, WireError, decode, fuzzing};
use shards::core::{CoreMessage, RequestId};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most memory that a message may take for each of its bytes: a word that is empty text in an array
/// becomes a value of 24 bytes and an allocation of its own, and vectors grow by doubling.
const MEMORY_FACTOR: usize = 24;
/// And besides: what says where it is wrong.
const MEMORY_MIN: usize = 16 << 10;

/// Decodes anything, and uses what comes of it.
fn survives(bytes: &[u8]) -> bool {
    let (message, held) = peak(|| decode(bytes));
    assert!(held <= MEMORY_MIN + bytes.len() * MEMORY_FACTOR, "{held} for {}", bytes.len());
    if let Err(error) = &message {
        assert!(!error.to_string().is_empty());
    }
    let accepted = fuzzing::message(bytes);
    assert_eq!(accepted, message.is_ok());
    accepted
}

/// Messages that hold everything, none very long.
fn samples() -> impl Iterator<Item = Vec<u8>> {
    let messages = (0..600).map(|seed| encoded(&Generator::new(seed).message()));
    messages.filter(|bytes| bytes.len() < 1_500)
}

#[test]
fn what_is_cut_off_anywhere_is_survived() {
    let mut cut = 0;
    for bytes in samples() {
        for length in 0..bytes.len() {
            survives(&bytes[..length]);
            cut += 1;
        }
    }
    assert!(cut > 20_000, "{cut} were too few");
}

#[test]
fn a_flipped_byte_anywhere_is_survived() {
    let refused = AtomicUsize::new(0);
    let samples: Vec<Vec<u8>> = samples().collect();
    std::thread::scope(|scope| {
        for part in samples.chunks(samples.len().div_ceil(2)) {
            let refused = &refused;
            scope.spawn(move || {
                for bytes in part {
                    for place in 0..bytes.len() {
                        for mask in [0xff, 0x01, 0x80] {
                            let mut damaged = bytes.clone();
                            damaged[place] ^= mask;
                            let accepted = survives(&damaged);
                            refused.fetch_add(usize::from(!accepted), Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    assert!(refused.into_inner() > 10_000, "validation hardly looked");
}

#[test]
fn bytes_at_random_are_survived() {
    let mut generator = Generator::new(77);
    for round in 0..20_000_u64 {
        let mut bytes: Vec<u8> = (0..round % 300).map(|_| generator.number() as u8).collect();
        if let Some(header) = bytes.get_mut(..2) {
            header.copy_from_slice(&[1 + round as u8 % 2, 1]);
        }
        survives(&bytes);
    }
}

/// Deeper than any binder nests, deep enough for any stack.
#[test]
fn nesting_without_end_is_refused() {
    let big_stack = std::thread::Builder::new().stack_size(512 << 20);
    let deep = big_stack
        .spawn(|| [1_300, 5_000, 100_000].map(|links| encoded(&read_of(values(chain(links))))));
    for bytes in deep.expect("a thread").join().expect("it was encoded") {
        let error = decode(&bytes).expect_err("too deep");
        assert!(matches!(error, WireError::Malformed { kind: MessageKind::Request, .. }));
        assert_eq!(error.about(), Some((MessageKind::Request, RequestId(9))));
        assert!(!survives(&bytes));
    }
}

#[test]
fn another_version_is_told_from_damage() {
    let txn = TxnId { began: Timestamp(1), node: NodeId(2), core: CoreId(3) };
    let mut bytes = encoded(&request(RequestBody::Rollback { txn }));
    bytes[1] += 1;
    let error = decode(&bytes).expect_err("of a later version");
    assert!(matches!(error, WireError::Version { found: 3, known: 2, .. }), "{error}");
    assert_eq!(error.about(), Some((MessageKind::Request, RequestId(9))));
    bytes[0] = 99;
    assert!(matches!(decode(&bytes), Err(WireError::Kind(99))));
}

#[test]
fn nothing_may_follow_a_message() {
    let mut bytes = encoded(&CoreMessage::Credit { id: RequestId(3) });
    assert!(survives(&bytes));
    bytes.push(0);
    assert!(matches!(decode(&bytes), Err(WireError::Long { .. })));
}

#[test]
fn a_clock_that_is_cut_off_is_missed() {
    let message =
        CoreMessage::Response { id: RequestId(3), sent: Timestamp(4), response: Response::Done };
    assert!(matches!(decode(&encoded(&message)[..12]), Err(WireError::Short)));
}

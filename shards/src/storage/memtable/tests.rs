//! The memtable against a model.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use model::id::LogIndex;
use model::time::Timestamp;
use runtime::random::Rng;

use super::*;

type Model = BTreeMap<(Vec<u8>, Reverse<u64>), Option<Vec<u8>>>;

fn value(memtable: &Memtable, node: Node) -> Option<Vec<u8>> {
    memtable.value(node).map(|value| value.chunk.bytes(value.at, value.len).to_vec())
}

fn position(memtable: &Memtable, node: Node) -> (Vec<u8>, Reverse<u64>) {
    let key = memtable.key_at(node);
    (key.key().to_vec(), Reverse(key.ts.0))
}

/// Keys of many kinds: short, in order, of several columns, with much in common at their beginnings; and
/// such that have less in common the more there are.
fn key(kind: u64, n: u64, rng: &mut Rng) -> Vec<u8> {
    match kind {
        0 => n.to_be_bytes().to_vec(),
        1 => (u64::MAX - n).to_be_bytes().to_vec(),
        2 => (0..rng.below(5)).map(|_| rng.below(4) as u8).collect(),
        3 => [b"a".repeat(20), rng.below(1 << 40).to_be_bytes().to_vec()].concat(),
        4 => [rng.below(3), rng.below(40), rng.below(500)].map(u64::to_be_bytes).concat(),
        5 => {
            let len = 40_u64.saturating_sub(n / 100);
            [vec![7; len as usize], vec![rng.below(20) as u8; rng.below(12) as usize]].concat()
        }
        _ => rng.next_u64().to_be_bytes()[..1 + rng.below(8) as usize].to_vec(),
    }
}

#[test]
fn agrees_with_the_model() {
    const KINDS: u64 = 7;
    for seed in 0..6 * KINDS {
        let mut rng = Rng::seeded(seed);
        let memtable = Memtable::new(LogIndex(0));
        let mut model = Model::new();
        let kind = seed % KINDS;
        for n in 0..rng.below(12_000) {
            let key = key(kind, n, &mut rng);
            let ts = rng.below(20);
            let len = if rng.below(2_000) == 0 { 400_000 } else { rng.below(20) };
            let bytes = (rng.below(5) > 0).then(|| vec![n as u8; len as usize]);
            memtable.insert(&key, Timestamp(ts), bytes.as_deref());
            model.insert((key, Reverse(ts)), bytes);
        }
        check_order(&memtable, &model);
        for _ in 0..400 {
            // Some that are there, or nearly, and some of another kind.
            let other = rng.below(KINDS);
            let kind = if rng.below(4) == 0 { other } else { kind };
            let n = rng.below(12_000);
            let key = key(kind, n, &mut rng);
            let ts = rng.below(22);
            let found = memtable.lower_bound(&key, Timestamp(ts));
            let expected = model.range((key.clone(), Reverse(ts))..).next();
            assert_eq!(
                found.map(|node| (position(&memtable, node), value(&memtable, node))),
                expected.map(|(position, value)| (position.clone(), value.clone()))
            );
            let before = memtable.before(&key, Timestamp(ts));
            let expected = model.range(..(key.clone(), Reverse(ts))).next_back();
            assert_eq!(
                before.map(|node| position(&memtable, node)),
                expected.map(|(position, _)| position.clone())
            );
            let newest = memtable.find(&key, Timestamp(ts)).map(|(ts, _)| ts.0);
            let expected = model.range((key.clone(), Reverse(ts))..).next();
            let expected = expected.filter(|((found, _), _)| *found == key);
            assert_eq!(newest, expected.map(|((_, ts), _)| ts.0));
        }
    }
}

/// Walks the list both ways.
fn check_order(memtable: &Memtable, model: &Model) {
    let mut node = memtable.lower_bound(&[], Timestamp::MAX);
    let mut walked = Vec::new();
    while let Some(at) = node {
        walked.push((position(memtable, at), value(memtable, at)));
        node = memtable.next(at);
    }
    let mut back = Vec::new();
    let mut node = memtable.last();
    while let Some(at) = node {
        let (key, Reverse(ts)) = position(memtable, at);
        node = memtable.before(&key, Timestamp(ts));
        back.push(((key, Reverse(ts)), value(memtable, at)));
    }
    back.reverse();
    assert_eq!(back, walked);
    let expected: Vec<_> =
        model.iter().map(|(position, value)| (position.clone(), value.clone())).collect();
    assert_eq!(walked, expected);
    assert_eq!(
        memtable.last().map(|node| position(memtable, node)),
        model.last_key_value().map(|(position, _)| position.clone())
    );
}

#[test]
fn values_outlive_the_memtable() {
    let memtable = Memtable::new(LogIndex(0));
    memtable.insert(b"key", Timestamp(1), Some(b"value"));
    let (_, node) = memtable.find(b"key", Timestamp(1)).expect("it was inserted");
    let value = memtable.value(node).expect("no tombstone");
    drop(memtable);
    assert_eq!(value.chunk.bytes(value.at, value.len), b"value");
}

#[test]
fn nodes_stay_while_others_are_inserted() {
    let memtable = Memtable::new(LogIndex(0));
    memtable.insert(b"m", Timestamp(1), Some(b"first"));
    let (_, node) = memtable.find(b"m", Timestamp(1)).expect("it was inserted");
    for n in 0..10_000u32 {
        memtable.insert(&n.to_be_bytes(), Timestamp(2), Some(&[7; 100]));
    }
    assert_eq!(value(&memtable, node), Some(b"first".to_vec()));
    assert_eq!(memtable.next(node), None);
}

#[test]
fn small_memtables_cost_little() {
    let memtable = Memtable::new(LogIndex(0));
    assert_eq!(memtable.memory_bytes(), 0);
    memtable.insert(b"key", Timestamp(1), Some(b"value"));
    assert!(memtable.memory_bytes() <= 4096);
}

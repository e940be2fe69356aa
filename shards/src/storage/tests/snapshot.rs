//! Checkpoints, and trees that are made of them.

use super::super::cache::{CachedBlocks, Loaded, Touch};
use super::super::merge::{MemtableIter, Merge, MergeStop, Settled, Source};
use super::super::table::iter::{Run, RunIter, Stop, Walk};
use super::super::version::LEVELS;
use super::*;

mod copies;
mod crashes;
mod pins;
mod quarantine;

/// Where a second tree of the partition lives.
pub(super) fn other_directory() -> &'static Path {
    Path::new("/other/partitions/4")
}

/// Every version of every key that a tree holds, those that no read can see included.
async fn all_versions(tree: &Tree) -> Rows {
    let walk = Walk::Forward(Box::default());
    let mut sources = Vec::new();
    {
        let state = tree.inner.state.borrow();
        for memtable in std::iter::once(&state.active).chain(state.frozen.iter().rev()) {
            sources.push(Source::Memtable(MemtableIter::new(Rc::clone(memtable), &walk)));
        }
        let mut add = |tables| {
            let run = RunIter::new(Run::Tables(tables), walk.clone(), None);
            sources.push(Source::Run(Box::new(run)));
        };
        for table in &state.version.levels[0] {
            add(vec![Rc::clone(table)]);
        }
        for level in 1..LEVELS {
            add(state.version.levels[level].clone());
        }
    }
    let core = &tree.inner.core;
    let mut merge = Merge::new(sources, false);
    let mut loaded: Vec<Loaded> = Vec::new();
    let mut rows = Rows::new();
    loop {
        let blocks = CachedBlocks { cache: &core.cache, touch: Touch::Scan, loaded: &loaded };
        let need = match merge.settle(&blocks) {
            Ok(Settled::At(source)) => {
                let (key, ts) = merge.position(source);
                let position = (key.to_vec(), Reverse(ts.0));
                let value = merge.with_value(source, |value| value.map(<[u8]>::to_vec));
                rows.entry(position).or_insert(value);
                merge.advance();
                continue;
            }
            Ok(Settled::End) => return rows,
            Err(MergeStop { stop: Stop::Need(need), .. }) => need,
            Err(MergeStop { stop: Stop::Corrupt(corruption), .. }) => panic!("{corruption}"),
        };
        loaded.clear();
        loaded.push(core.load_cached(&need, &[]).await.expect("the disk is well"));
    }
}

/// Compares two sets of versions; tells only the first difference.
fn assert_same_versions(found: &Rows, expected: &Rows, what: &str) {
    for (position, value) in expected {
        assert_eq!(found.get(position), Some(value), "{what}: {position:?}");
    }
    let more = found.keys().find(|position| !expected.contains_key(*position));
    assert_eq!(more, None, "{what}");
}

/// Writes entries and flushes them, so that there are tables in several levels.
pub(super) async fn grow(pair: &Pair, rng: &mut Rng, flushes: u64) {
    for _ in 0..flushes {
        for _ in 0..12 {
            pair.apply(rng);
        }
        pair.tree.set_log_durable(pair.tree.applied_index());
        pair.tree.flush().await.expect("the disk is well");
    }
}

/// The chunks of a checkpoint, cut by chance.
pub(super) async fn all_chunks(checkpoint: &Checkpoint, rng: &mut Rng) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut position = StreamPosition(0);
    loop {
        let len = 4096 * (1 + rng.below(4) as usize);
        let chunk = checkpoint.read(position, len).await.expect("the disk is well");
        let Some(chunk) = chunk else { return chunks };
        assert_eq!(chunk.position, position);
        assert!(chunk.bytes.len() <= len);
        position = StreamPosition(position.0 + chunk.bytes.len() as u64);
        chunks.push(chunk);
    }
}

/// A tree beside the one under test, with content of its own.
async fn open_other(storage: &Storage, seed: u64) -> Pair {
    let storage_of_it = Storage::new(tiny());
    let opened = storage_of_it.open_tree(PARTITION, other_directory()).await;
    let tree = opened.expect("the tree opens");
    let pair = Pair { storage: storage_of_it, tree, model: Rc::default() };
    assert!(storage.memory().budget > 0);
    let mut rng = Rng::seeded(seed ^ 0xabcd);
    grow(&pair, &mut rng, 1 + seed % 5).await;
    for _ in 0..rng.below(20) {
        pair.apply(&mut rng);
    }
    pair
}

//! Tests of whole trees, in the simulated world: a run is a function of its seed.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use model::id::{LogIndex, PartitionId};
use model::key::KeyRange;
use model::time::Timestamp;
use runtime::random::Rng;
use runtime::sim::{Options, Sim};
use runtime::time;

use super::*;

mod crash;
mod disk;
mod faults;
mod memory;
mod random;
mod scrub;
mod snapshot;

/// Compares bytes with a golden file. `PHANTOM_BLESS=1` writes the file anew, which is right only
/// together with a new format version.
pub(super) fn golden(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("PHANTOM_BLESS").is_some() {
        std::fs::write(&path, bytes).expect("the golden file can be written");
    }
    let stored = std::fs::read(&path).expect("the golden file is there");
    assert!(stored == bytes, "{} differs: the format has changed", path.display());
}

const PARTITION: PartitionId = PartitionId(4);
const NODE: u32 = 1;

fn directory() -> &'static Path {
    Path::new("/data/partitions/4")
}

/// Tiny tables and levels, so that few rows make a deep tree.
fn tiny() -> StorageOptions {
    StorageOptions {
        block_bytes: 256,
        table_bytes: 4 << 10,
        level1_bytes: 8 << 10,
        level0_tables: 2,
        ..StorageOptions::with_memory(StorageOptions::MEMORY_BYTES_MIN)
    }
}

/// Runs `main` as the only core of a node until it ends.
fn run_node<F: Future<Output = ()> + 'static>(sim: &Sim, main: impl Fn() -> F + 'static) {
    sim.start_node(NODE, 1, move |_| Box::pin(main()));
    let ended = sim.run_until(async {
        while sim.is_running(NODE) {
            time::sleep(Duration::from_millis(1)).await;
        }
    });
    ended.expect("the node comes to its end");
    assert!(sim.panics().is_empty(), "seed {}: {:?}", sim.seed(), sim.panics());
}

fn in_sim<F: Future<Output = ()> + 'static>(seed: u64, main: impl Fn() -> F + 'static) {
    run_node(&Sim::new(Options::new(seed)), main);
}

/// One entry of the test's log.
type Entry = Vec<VersionedWrite>;
type Rows = BTreeMap<(Vec<u8>, Reverse<u64>), Option<Vec<u8>>>;
/// Key, timestamp and value of what a scan gives.
type Seen = Vec<(Vec<u8>, u64, Vec<u8>)>;

/// The log, and what a tree should hold once entries of it are applied.
#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    rows: Rows,
}

impl Model {
    fn last_index(&self) -> LogIndex {
        LogIndex(self.entries.len() as u64)
    }

    /// Every entry has one timestamp, ten more than the one before.
    fn ts(index: LogIndex) -> u64 {
        index.0 * 10
    }

    fn now(&self) -> u64 {
        Model::ts(self.last_index())
    }

    fn push(&mut self, entry: Entry) {
        for write in &entry {
            let position = (write.key.to_vec(), Reverse(write.ts.0));
            self.rows.insert(position, write.value.as_deref().map(<[u8]>::to_vec));
        }
        self.entries.push(entry);
    }

    fn truncated(&self, index: LogIndex) -> Model {
        let mut model = Model::default();
        for entry in &self.entries[..index.0 as usize] {
            model.push(entry.clone());
        }
        model
    }

    fn get(&self, key: &[u8], at: u64) -> Option<(u64, Vec<u8>)> {
        let ((found, ts), value) = self.rows.range((key.to_vec(), Reverse(at))..).next()?;
        (found == key).then_some(())?;
        value.clone().map(|value| (ts.0, value))
    }

    fn scan(&self, range: &KeyRange, at: u64, reverse: bool) -> Seen {
        let mut rows: Seen = Vec::new();
        let mut last: Option<&[u8]> = None;
        for ((key, ts), value) in &self.rows {
            if !range.contains(key) || ts.0 > at || last == Some(key) {
                continue;
            }
            last = Some(key);
            rows.extend(value.clone().map(|value| (key.clone(), ts.0, value)));
        }
        if reverse {
            rows.reverse();
        }
        rows
    }
}

fn random_key(rng: &mut Rng) -> Vec<u8> {
    let mut key = vec![0, 0, 0, rng.below(3) as u8];
    key.extend((0..rng.below(4)).map(|_| b"abc\0"[rng.below(4) as usize]));
    key
}

fn random_entry(rng: &mut Rng, index: LogIndex) -> Entry {
    (0..rng.below(12))
        .map(|_| VersionedWrite {
            key: random_key(rng).into(),
            ts: Timestamp(Model::ts(index)),
            value: (rng.below(5) > 0).then(|| {
                let len = if rng.below(40) == 0 { 3_000 } else { rng.below(60) };
                Bytes::from(vec![rng.below(256) as u8; len as usize])
            }),
        })
        .collect()
}

/// A tree beside its model.
struct Pair {
    storage: Storage,
    tree: Tree,
    model: Rc<RefCell<Model>>,
}

impl Pair {
    /// Opens the tree and applies what it lacks.
    async fn open(options: StorageOptions, model: &Rc<RefCell<Model>>) -> Pair {
        let storage = Storage::new(options);
        let tree = storage.open_tree(PARTITION, directory()).await.expect("the tree opens");
        let pair = Pair { storage, tree, model: Rc::clone(model) };
        pair.replay();
        pair
    }

    /// Applies what the tree lacks.
    fn replay(&self) {
        let durable = self.tree.durable_index().0;
        let model = self.model.borrow();
        for (at, entry) in model.entries.iter().enumerate().skip(durable as usize) {
            self.tree.apply(LogIndex(at as u64 + 1), entry);
        }
    }

    fn apply(&self, rng: &mut Rng) {
        let index = self.model.borrow().last_index().next();
        let entry = random_entry(rng, index);
        self.tree.apply(index, &entry);
        self.model.borrow_mut().push(entry);
    }

    async fn check_get(&self, key: &[u8], at: u64) {
        let expected = self.model.borrow().get(key, at);
        let cached = match self.tree.get_cached(key, Timestamp(at)) {
            CacheLookup::Found(row) => Some(Some((row.ts.0, row.value.to_vec()))),
            CacheLookup::Absent => Some(None),
            CacheLookup::NeedsRead => None,
        };
        if let Some(cached) = cached {
            assert_eq!(cached, expected, "{key:?} at {at}, cached");
        }
        let found = self.tree.get(key, Timestamp(at)).await.expect("the disk is well");
        assert_eq!(found.map(|row| (row.ts.0, row.value.to_vec())), expected, "{key:?} at {at}");
    }

    /// Looks up every key that there ever was.
    async fn check_gets(&self) {
        let (now, keys) = {
            let model = self.model.borrow();
            let keys = model.rows.keys().map(|(key, _)| key.clone());
            (model.now(), keys.collect::<std::collections::BTreeSet<_>>())
        };
        for key in keys {
            self.check_get(&key, now).await;
        }
    }

    async fn check_scan(&self, range: KeyRange, at: u64, reverse: bool, rows_max: usize) {
        let expected = self.model.borrow().scan(&range, at, reverse);
        let mut scan = self.tree.scan(range.clone(), Timestamp(at), reverse);
        let found = collect(&mut scan, rows_max).await.expect("the disk is well");
        assert_same(&found, &expected, &format!("{range:?} at {at}, reverse: {reverse}"));
    }

    async fn check_all(&self) {
        let now = self.model.borrow().now();
        self.check_scan(everything(), now, false, 100).await;
        self.check_scan(everything(), now, true, 100).await;
    }
}

/// Compares what scans gave; tells only the first difference.
fn assert_same(found: &Seen, expected: &Seen, what: &str) {
    if let Some(at) =
        (0..found.len().max(expected.len())).find(|at| found.get(*at) != expected.get(*at))
    {
        let row = |seen: &Seen| {
            seen.get(at)
                .map(|(key, ts, value)| (key.clone(), *ts, value.len(), value.first().copied()))
        };
        panic!("{what}: row {at} is {:?}, expected {:?}", row(found), row(expected));
    }
}

fn everything() -> KeyRange {
    KeyRange { start: Vec::new(), end: None }
}

async fn collect(scan: &mut Scan, rows_max: usize) -> Result<Seen, StorageError> {
    let mut batch = ScanBatch::new();
    let mut seen = Vec::new();
    loop {
        let more = scan.next_batch(&mut batch, rows_max, 1 << 20).await?;
        assert!(batch.len() <= rows_max);
        seen.extend(batch.iter().map(|row| (row.key.to_vec(), row.ts.0, row.value.to_vec())));
        if !more {
            return Ok(seen);
        }
    }
}

/// Waits until nothing is left to compact.
async fn settle(tree: &Tree) {
    for _ in 0..1_000 {
        time::sleep(Duration::from_millis(1)).await;
        let options = tree.inner.core.options.levels();
        let busy = tree.inner.busy.borrow().clone();
        let choice = compaction::choose::choose(&tree.inner.version(), &busy, &options);
        if choice.is_none() && tree.inner.jobs.get() == 0 {
            return;
        }
    }
    panic!("compaction never comes to rest");
}

//! Scans: the rows of a range as of a timestamp, forward or in reverse, batch by batch.
//!
//! Between two batches a scan holds nothing but its position: no block, no table, no version. It
//! finds its place again by key, which costs one seek a batch, and in return ten thousand open
//! scans cost ten thousand keys. What it reads ahead goes into the block cache, at the cold end,
//! and is thus inside the cache's bound.
//!
//! Versions of a key arrive newest first when going forward: the first one visible counts. In
//! reverse they arrive oldest first: the last one visible counts.

use std::rc::Rc;

use model::key::KeyRange;
use model::time::Timestamp;
use runtime::task::yield_if_due;

use super::cache::{CachedBlocks, Loaded, Touch};
use super::error::StorageError;
use super::merge::{MemtableIter, Merge, MergeStop, Settled, Source};
use super::row::ScanBatch;
use super::table::CacheSlot;
use super::table::block::BlockKind;
use super::table::format::Handle;
use super::table::iter::{Run, RunIter, Stop, Walk};
use super::tree::Tree;
use super::version::LEVELS;

/// Versions looked at between two glances at the clock.
const SLICE_VERSIONS: usize = 64;

/// A scan in progress. Belongs to one core; see [`Tree::scan`].
pub struct Scan {
    tree: Tree,
    /// What is left of the range.
    range: KeyRange,
    at: Timestamp,
    reverse: bool,
    is_done: bool,
    readahead: Readahead,
}

/// How far to read ahead: nothing at first, then twice as far each time what was read ahead has
/// been of use, and less where it was evicted before its time.
struct Readahead {
    bytes: usize,
    bytes_max: usize,
    /// Where the last read went.
    last: Option<(CacheSlot, std::ops::Range<u64>)>,
}

impl Readahead {
    /// The bytes to read for a data block that is needed.
    fn next(&mut self, slot: CacheSlot, needed: Handle) -> u64 {
        let was_evicted = self
            .last
            .as_ref()
            .is_some_and(|(last, range)| *last == slot && range.contains(&needed.offset));
        self.bytes = match (was_evicted, self.bytes) {
            (true, bytes) => bytes / 4,
            (false, 0) => needed.len as usize * 2,
            (false, bytes) => bytes * 2,
        }
        .min(self.bytes_max);
        self.bytes as u64
    }

    fn note(&mut self, slot: CacheSlot, needed: Handle, ahead: &[Handle]) {
        let all = || ahead.iter().chain([&needed]);
        let start = all().map(|handle| handle.offset).min().unwrap_or(needed.offset);
        let end = all().map(|handle| handle.end()).max().unwrap_or(needed.offset);
        self.last = Some((slot, start..end));
    }
}

/// Why a slice of a batch ended.
enum Slice {
    /// Time to look at the clock.
    Due,
    /// The batch is full; the scan goes on.
    Full,
    /// The range is exhausted.
    End,
}

/// When a batch is full; both at least 1.
#[derive(Clone, Copy)]
struct Limits {
    rows: usize,
    bytes: usize,
}

/// The key being decided on.
#[derive(Default)]
struct Pending {
    key: Vec<u8>,
    /// In reverse: the best version so far. Forward: set once the key is decided.
    version: Option<(Timestamp, Option<usize>)>,
    value: Vec<u8>,
    is_set: bool,
}

impl Scan {
    pub(crate) fn new(tree: Tree, range: KeyRange, at: Timestamp, reverse: bool) -> Scan {
        let bytes_max = tree.inner.core.plan.readahead_max;
        let is_done = range.is_empty();
        let readahead = Readahead { bytes: 0, bytes_max, last: None };
        Scan { tree, range, at, reverse, is_done, readahead }
    }

    /// Fills `out` (emptied first) with the next rows: at most `rows_max`, and no more once they
    /// have `bytes_max` bytes together. Gives whether there may be more; a batch can be empty only
    /// at the end. If this future is dropped the scan goes on from the batch before.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] and [`StorageError::Io`].
    pub async fn next_batch(
        &mut self,
        out: &mut ScanBatch,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<bool, StorageError> {
        let more = self.fill(out, rows_max, bytes_max).await;
        self.tree.inner.noted(more)
    }

    async fn fill(
        &mut self,
        out: &mut ScanBatch,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<bool, StorageError> {
        out.clear();
        self.tree.inner.check_whole()?;
        if self.is_done {
            return Ok(false);
        }
        let core = Rc::clone(&self.tree.inner.core);
        let _active = core.scans.acquire(1).await.map_err(|_| StorageError::Closed)?;
        let limits = Limits { rows: rows_max.max(1), bytes: bytes_max.max(1) };
        let mut merge = Merge::new(self.sources(), self.reverse);
        let mut pending = Pending::default();
        // What was loaded for a source stays at hand until that source has taken it.
        let mut loaded: Vec<Loaded> = Vec::new();
        loop {
            let slice = {
                let blocks =
                    CachedBlocks { cache: &core.cache, touch: Touch::Scan, loaded: &loaded };
                self.slice(&mut merge, &blocks, &mut pending, out, limits)
            };
            loaded.clear();
            match slice {
                Ok(Slice::Due) => yield_if_due().await,
                Ok(Slice::Full) => {
                    self.move_past(&pending.key);
                    return Ok(true);
                }
                Ok(Slice::End) => {
                    self.is_done = true;
                    return Ok(false);
                }
                Err(MergeStop { stop: Stop::Corrupt(corruption), .. }) => {
                    return Err(corruption.into());
                }
                Err(MergeStop { source, stop: Stop::Need(need) }) => {
                    let run = merge.run(source).filter(|_| need.kind == BlockKind::Data);
                    let ahead = match run {
                        Some(run) => {
                            let bytes = self.readahead.next(need.table.slot, need.handle);
                            run.ahead(need.handle, bytes)
                        }
                        None => Vec::new(),
                    };
                    if need.kind == BlockKind::Data {
                        self.readahead.note(need.table.slot, need.handle, &ahead);
                    }
                    loaded.push(core.load_cached(&need, &ahead).await?);
                }
            }
        }
    }

    /// All sources that may hold versions of what is left of the range, newest first.
    fn sources(&self) -> Vec<Source> {
        let walk = if self.reverse {
            Walk::Reverse(self.range.end.as_deref().map(Box::from))
        } else {
            Walk::Forward(self.range.start.as_slice().into())
        };
        let limit: Option<Box<[u8]>> = if self.reverse {
            Some(self.range.start.as_slice().into())
        } else {
            self.range.end.as_deref().map(Box::from)
        };
        let state = self.tree.inner.state.borrow();
        let memtables = std::iter::once(&state.active).chain(state.frozen.iter().rev());
        let mut sources: Vec<Source> = memtables
            .filter(|memtable| !memtable.is_empty())
            .map(|memtable| Source::Memtable(MemtableIter::new(Rc::clone(memtable), &walk)))
            .collect();
        let mut add = |run| {
            sources.push(Source::Run(Box::new(RunIter::new(run, walk.clone(), limit.clone()))));
        };
        for table in &state.version.levels[0] {
            add(Run::Tables(vec![Rc::clone(table)]));
        }
        for level in (1..LEVELS).filter(|level| !state.version.levels[*level].is_empty()) {
            add(Run::Level(Rc::clone(&state.version), level));
        }
        sources
    }

    fn is_beyond(&self, key: &[u8]) -> bool {
        if self.reverse {
            key < self.range.start.as_slice()
        } else {
            self.range.end.as_deref().is_some_and(|end| key >= end)
        }
    }

    /// Narrows the range to what comes after `key`.
    fn move_past(&mut self, key: &[u8]) {
        if self.reverse {
            self.range.end = Some(key.to_vec());
        } else {
            self.range.start.clear();
            self.range.start.extend_from_slice(key);
            self.range.start.push(0);
        }
    }

    /// Goes on until something has to be awaited. Can be called again after every stop.
    fn slice(
        &self,
        merge: &mut Merge,
        blocks: &CachedBlocks,
        pending: &mut Pending,
        out: &mut ScanBatch,
        limits: Limits,
    ) -> Result<Slice, MergeStop> {
        let is_full = |out: &ScanBatch| out.len() >= limits.rows || out.bytes() >= limits.bytes;
        for _ in 0..SLICE_VERSIONS {
            let Settled::At(source) = merge.settle(blocks)? else {
                pending.emit_reverse(self.reverse, out);
                return Ok(Slice::End);
            };
            let (key, ts) = merge.position(source);
            if self.is_beyond(key) {
                pending.emit_reverse(self.reverse, out);
                return Ok(Slice::End);
            }
            if !pending.is_set || pending.key != key {
                pending.emit_reverse(self.reverse, out);
                if is_full(out) {
                    return Ok(Slice::Full);
                }
                pending.begin(key);
            }
            if ts <= self.at {
                if self.reverse {
                    merge.with_value(source, |value| pending.replace(ts, value));
                } else if pending.version.is_none() {
                    pending.version = Some((ts, None));
                    merge.with_value(source, |value| {
                        if let Some(value) = value {
                            out.push(&pending.key, ts, value);
                        }
                    });
                }
            }
            merge.advance();
        }
        Ok(Slice::Due)
    }
}

impl Pending {
    fn begin(&mut self, key: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.version = None;
        self.is_set = true;
    }

    /// Takes a newer visible version of the key.
    fn replace(&mut self, ts: Timestamp, value: Option<&[u8]>) {
        self.value.clear();
        self.value.extend_from_slice(value.unwrap_or_default());
        self.version = Some((ts, value.map(<[u8]>::len)));
    }

    /// In reverse a key is decided when the next one comes up.
    fn emit_reverse(&mut self, reverse: bool, out: &mut ScanBatch) {
        if reverse && let Some((ts, Some(_))) = self.version.take() {
            out.push(&self.key, ts, &self.value);
        }
    }
}

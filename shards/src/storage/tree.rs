//! One tree: the rows of one partition, with all their versions.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures::lock::Mutex;
use model::command::KeyWrite;
use model::id::{LogIndex, PartitionId};
use model::key::KeyRange;
use model::time::Timestamp;
use runtime::sync::Semaphore;

use super::cache::{CachedBlocks, Loaded, Touch};
use super::core::Core;
use super::error::{Corruption, StorageError};
use super::manifest::Manifest;
use super::memtable::{Memtable, Node};
use super::row::{CacheLookup, RowRef, Version as RowVersion, Versioned, VersionedWrite};
use super::scan::Scan;
use super::snapshot::CHECKPOINTS_MAX;
use super::table::filter::hash_key;
use super::table::iter::{Stop, find};
use super::table::{Table, TableNumber};
use super::version::Version;

/// The parts of a tree that change together.
pub(crate) struct State {
    pub(crate) active: Rc<Memtable>,
    /// Full memtables on their way to disk, oldest first.
    pub(crate) frozen: VecDeque<Rc<Memtable>>,
    pub(crate) version: Rc<Version>,
}

pub(crate) struct TreeInner {
    pub(crate) core: Rc<Core>,
    pub(crate) partition: PartitionId,
    pub(crate) directory: PathBuf,
    pub(crate) state: RefCell<State>,
    pub(crate) applied: Cell<LogIndex>,
    pub(crate) flushed: Cell<LogIndex>,
    pub(crate) log_durable: Cell<LogIndex>,
    pub(crate) watermark: Cell<Timestamp>,
    pub(crate) next_number: Cell<u64>,
    pub(crate) manifest: Mutex<Manifest>,
    /// Tables in a compaction.
    pub(crate) busy: RefCell<HashSet<TableNumber>>,
    /// Tables that the manifest has dropped, until their last reader has gone.
    pub(crate) obsolete: RefCell<Vec<Rc<Table>>>,
    /// Files of failed jobs, to be removed after the next edit that succeeds.
    pub(crate) leftovers: RefCell<Vec<PathBuf>>,
    /// The last edit of the manifest has failed and may or may not be in the file.
    pub(crate) is_edit_uncertain: Cell<bool>,
    /// Background work on the tree has been ended.
    pub(crate) is_closed: Cell<bool>,
    /// Flushes and compactions of this tree that are running.
    pub(crate) jobs: Cell<usize>,
    /// How the last flush and the last compaction ended, if badly.
    pub(crate) flush_failure: RefCell<Option<StorageError>>,
    pub(crate) compaction_failure: RefCell<Option<StorageError>>,
    /// Flushes that were tried.
    pub(crate) flush_attempts: Cell<u64>,
    /// How often the content was replaced by that of a checkpoint.
    pub(crate) generation: Cell<u64>,
    /// Checkpoints that may still be made.
    pub(crate) checkpoints: Semaphore,
    /// The first number of the receipt that was installed last: its files are the tree's.
    pub(crate) installed: Cell<Option<TableNumber>>,
    /// Set while the tree's own files are of no use.
    pub(crate) quarantine: RefCell<Option<Quarantine>>,
    /// There is a receiver.
    pub(crate) is_receiving: Cell<bool>,
}

/// Why a tree serves nothing until it is replaced.
pub(crate) struct Quarantine {
    pub(crate) corruption: Corruption,
    /// The table files that were there.
    pub(crate) files: Vec<PathBuf>,
}

/// A handle on a tree; cloning is cheap. Belongs to one core.
#[derive(Clone)]
pub struct Tree {
    pub(crate) inner: Rc<TreeInner>,
}

/// What is known of a tree when it is opened.
pub(crate) struct Opening {
    pub(crate) partition: PartitionId,
    pub(crate) directory: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) version: Version,
    pub(crate) flushed: LogIndex,
    pub(crate) next_number: TableNumber,
}

impl Drop for TreeInner {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let bytes: usize =
            state.frozen.iter().chain([&state.active]).map(|m| m.memory_bytes()).sum();
        self.core.memtables_bytes.set(self.core.memtables_bytes.get() - bytes);
    }
}

impl Tree {
    pub(crate) fn new(core: Rc<Core>, opening: Opening) -> Tree {
        let state = State {
            active: Rc::new(Memtable::new(opening.flushed)),
            frozen: VecDeque::new(),
            version: Rc::new(opening.version),
        };
        let inner = TreeInner {
            core,
            partition: opening.partition,
            directory: opening.directory,
            state: RefCell::new(state),
            applied: Cell::new(opening.flushed),
            flushed: Cell::new(opening.flushed),
            log_durable: Cell::new(opening.flushed),
            watermark: Cell::new(Timestamp::ZERO),
            next_number: Cell::new(opening.next_number.0),
            manifest: Mutex::new(opening.manifest),
            busy: RefCell::default(),
            obsolete: RefCell::default(),
            leftovers: RefCell::default(),
            is_edit_uncertain: Cell::new(false),
            is_closed: Cell::new(false),
            jobs: Cell::new(0),
            flush_failure: RefCell::default(),
            compaction_failure: RefCell::default(),
            flush_attempts: Cell::new(0),
            generation: Cell::new(0),
            checkpoints: Semaphore::new(CHECKPOINTS_MAX),
            installed: Cell::new(None),
            quarantine: RefCell::new(None),
            is_receiving: Cell::new(false),
        };
        Tree { inner: Rc::new(inner) }
    }

    /// The partition whose rows these are.
    pub fn partition(&self) -> PartitionId {
        self.inner.partition
    }

    /// The directory of the tree's files.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Whether the tree is in quarantine (see [`super::Storage::open_quarantined`]), and why.
    pub fn quarantined(&self) -> Option<Corruption> {
        self.inner.quarantine.borrow().as_ref().map(|quarantine| quarantine.corruption.clone())
    }

    /// Applies a log entry: all its writes in one call. Memory only, no waiting. An entry that is
    /// in the tree already (see [`Self::applied_index`]) is skipped, so that recovery may replay
    /// from further back; so is everything while the tree is in quarantine.
    ///
    /// Entries must come in order of their index, and for one key in order of their timestamps.
    /// Of two writes of one entry to the same key and timestamp the later one counts. Callers
    /// await [`Self::make_room`] between entries: it is what bounds the memory.
    pub fn apply(&self, index: LogIndex, writes: &[VersionedWrite]) {
        self.apply_each(
            index,
            writes.iter().map(|write| (&write.key[..], write.ts, write.value.as_deref())),
        );
    }

    /// Applies a log entry that writes everything at one timestamp; see [`Self::apply`].
    pub fn apply_at(&self, index: LogIndex, ts: Timestamp, writes: &[KeyWrite]) {
        self.apply_each(
            index,
            writes.iter().map(|write| (&write.key[..], ts, write.value.as_deref())),
        );
    }

    /// Applies a part of an entry that is too long for one step; the entry's last part comes by
    /// [`Self::apply_at`] and nothing else comes before it. Until then the entry counts as not
    /// applied, although parts of it may be in table files, and a replay writes all of it again.
    pub fn apply_part(&self, index: LogIndex, ts: Timestamp, writes: &[KeyWrite]) {
        let writes = writes.iter().map(|write| (&write.key[..], ts, write.value.as_deref()));
        self.insert_each(index, false, writes);
    }

    fn apply_each<'a>(
        &self,
        index: LogIndex,
        writes: impl Iterator<Item = (&'a [u8], Timestamp, Option<&'a [u8]>)>,
    ) {
        self.insert_each(index, true, writes);
    }

    /// `whole`: the entry counts as applied with this.
    fn insert_each<'a>(
        &self,
        index: LogIndex,
        whole: bool,
        writes: impl Iterator<Item = (&'a [u8], Timestamp, Option<&'a [u8]>)>,
    ) {
        let tree = &*self.inner;
        if index <= tree.applied.get() || tree.check_whole().is_err() {
            return;
        }
        if whole {
            tree.applied.set(index);
        }
        let is_full = {
            let state = tree.state.borrow();
            let before = state.active.memory_bytes();
            for (key, ts, value) in writes {
                state.active.insert(key, ts, value);
            }
            if whole {
                state.active.set_last_index(index);
            }
            let after = state.active.memory_bytes();
            let total = &tree.core.memtables_bytes;
            total.set(total.get() + after - before);
            after >= tree.core.plan.memtable_max
        };
        if is_full {
            tree.freeze();
        }
        if is_full || tree.core.memtables_bytes.get() >= tree.core.plan.memtables_soft {
            tree.core.flush_work.notify_one();
        }
    }

    /// The newest log entry that was applied.
    pub fn applied_index(&self) -> LogIndex {
        self.inner.applied.get()
    }

    /// Every log entry up to this one is in table files and in the manifest: the log may forget it,
    /// and replay begins after it.
    pub fn durable_index(&self) -> LogIndex {
        self.inner.flushed.get()
    }

    /// Tells the tree that the log is durable up to an entry. A memtable with newer ones is not
    /// flushed: the manifest never runs ahead of the log. Without this call nothing is flushed.
    pub fn set_log_durable(&self, index: LogIndex) {
        let tree = &*self.inner;
        if index <= tree.log_durable.get() {
            return;
        }
        tree.log_durable.set(index);
        if tree.has_flushable() {
            tree.core.flush_work.notify_one();
        }
    }

    /// Tells the tree that no snapshot older than `ts` is read any more: of the versions at or
    /// before it, flushes and compactions keep only the newest one of each key.
    pub fn set_collect_before(&self, ts: Timestamp) {
        self.inner.watermark.set(self.inner.watermark.get().max(ts));
    }

    /// The row of `key` as of `at`, if that can be told without I/O. Allocates nothing. Damage
    /// counts as "needs a read": [`Self::get`] will report it.
    pub fn get_cached(&self, key: &[u8], at: Timestamp) -> CacheLookup {
        match self.inner.lookup(key, at, &[]) {
            _ if self.inner.check_whole().is_err() => CacheLookup::NeedsRead,
            Ok(found) => match found.and_then(RowVersion::into_row) {
                Some(row) => CacheLookup::Found(row),
                None => CacheLookup::Absent,
            },
            Err(Stop::Need(_) | Stop::Corrupt(_)) => CacheLookup::NeedsRead,
        }
    }

    /// The row of `key` as of `at`.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] and [`StorageError::Io`].
    pub async fn get(&self, key: &[u8], at: Timestamp) -> Result<Option<Versioned>, StorageError> {
        Ok(self.version_at(key, at).await?.and_then(RowVersion::into_row))
    }

    /// The newest version of `key`, a tombstone included.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn newest(&self, key: &[u8]) -> Result<Option<RowVersion>, StorageError> {
        self.version_at(key, Timestamp::MAX).await
    }

    async fn version_at(
        &self,
        key: &[u8],
        at: Timestamp,
    ) -> Result<Option<RowVersion>, StorageError> {
        let found = self.find(key, at).await;
        self.inner.noted(found)
    }

    async fn find(&self, key: &[u8], at: Timestamp) -> Result<Option<RowVersion>, StorageError> {
        self.inner.check_whole()?;
        // What this read has loaded stays at hand, so that it ends however small the cache is.
        let mut loaded: Vec<Loaded> = Vec::new();
        loop {
            match self.inner.lookup(key, at, &loaded) {
                Ok(found) => return Ok(found),
                Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
                Err(Stop::Need(need)) => {
                    loaded.push(self.inner.core.load_cached(&need, &[]).await?);
                }
            }
        }
    }

    /// The rows with keys in `range` as of `at`, in order of their keys or against it. `at` must
    /// not be older than what was given to [`Self::set_collect_before`] while the scan lives.
    pub fn scan(&self, range: KeyRange, at: Timestamp, reverse: bool) -> Scan {
        Scan::new(self.clone(), range, at, reverse)
    }

    /// Waits until there is room for more writes: memory for memtables, and no more tables in
    /// level 0 than compaction can keep up with.
    ///
    /// # Errors
    /// Where there is no room and the last attempt to make some failed, why it did
    /// ([`StorageError::OutOfSpace`] on a full disk); the attempts go on. And
    /// [`StorageError::Poisoned`].
    pub async fn make_room(&self) -> Result<(), StorageError> {
        let tree = &*self.inner;
        loop {
            tree.check_health()?;
            tree.check_whole()?;
            if tree.core.memtables_bytes.get() >= tree.core.plan.memtables_max {
                tree.core.flush_work.notify_one();
                for tree in tree.core.live_trees() {
                    if let Some(error) = &*tree.flush_failure.borrow() {
                        return Err(error.clone());
                    }
                }
            } else if tree.level0_tables() >= tree.core.options.level0_tables_max {
                tree.core.compaction_work.notify_one();
                if let Some(error) = &*tree.compaction_failure.borrow() {
                    return Err(error.clone());
                }
            } else {
                return Ok(());
            }
            tree.core.progress.notified().await;
        }
    }

    /// Writes everything applied so far to table files, once the log is durable that far (see
    /// [`Self::set_log_durable`]). Gives the [`Self::durable_index`] reached; where the content is
    /// replaced by a checkpoint's meanwhile, that one's.
    ///
    /// # Errors
    /// Why the attempt failed; it is repeated in the background, unless the error is
    /// [`StorageError::Poisoned`].
    pub async fn flush(&self) -> Result<LogIndex, StorageError> {
        let tree = &*self.inner;
        tree.check_whole()?;
        let target = tree.applied.get();
        if tree.flushed.get() < target {
            tree.freeze();
        }
        let attempts = tree.flush_attempts.get();
        let generation = tree.generation.get();
        while tree.flushed.get() < target && tree.generation.get() == generation {
            tree.check_health()?;
            if tree.flush_attempts.get() > attempts
                && let Some(error) = &*tree.flush_failure.borrow()
            {
                return Err(error.clone());
            }
            tree.core.flush_work.notify_one();
            tree.core.progress.notified().await;
        }
        Ok(tree.flushed.get())
    }

    /// Ends background work on the tree and waits for what is under way. Nothing is flushed; reads
    /// through other handles go on until they are dropped. After this the partition may be opened
    /// again, or its directory removed.
    pub async fn close(self) {
        let tree = &*self.inner;
        tree.is_closed.set(true);
        tree.core.progress.notify_all();
        while tree.jobs.get() > 0 {
            tree.core.progress.notified().await;
        }
    }

    /// Tables and bytes of each level, for diagnosis.
    pub fn levels(&self) -> Vec<LevelUse> {
        let state = self.inner.state.borrow();
        let version = &state.version;
        (0..version.levels.len())
            .map(|level| LevelUse {
                tables: version.levels[level].len(),
                bytes: version.level_bytes(level),
            })
            .collect()
    }
}

/// What one level holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelUse {
    /// Table files.
    pub tables: usize,
    /// Their length together.
    pub bytes: u64,
}

impl TreeInner {
    /// Fails if nothing may be written to this tree any more.
    pub(crate) fn check_health(&self) -> Result<(), StorageError> {
        if self.is_closed.get() {
            return Err(StorageError::Closed);
        }
        self.core.check_health()
    }

    /// Fails while the tree's own files are of no use.
    pub(crate) fn check_whole(&self) -> Result<(), StorageError> {
        match &*self.quarantine.borrow() {
            Some(quarantine) => Err(quarantine.corruption.clone().into()),
            None => Ok(()),
        }
    }

    /// Remembers what an error means for others than who has met it.
    pub(crate) fn note(&self, error: &StorageError) {
        self.core.note(error);
        if let StorageError::Corruption(corruption) = error {
            self.core.damages.report(self.partition, corruption);
        }
    }

    /// Passes a result on; an error is noted.
    pub(crate) fn noted<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        result.inspect_err(|error| self.note(error))
    }

    /// Whether files wait to be removed whose last reader has gone.
    pub(crate) fn has_unread(&self) -> bool {
        self.obsolete.borrow().iter().any(|table| Rc::strong_count(table) == 1)
    }

    /// Settles what an edit of the manifest that was broken off has left open: the tree is as it is
    /// in memory.
    pub(crate) async fn make_edit_certain(&self) -> Result<(), StorageError> {
        if self.is_edit_uncertain.get() { self.renew_manifest().await } else { Ok(()) }
    }

    /// Writes the manifest anew.
    pub(crate) async fn renew_manifest(&self) -> Result<(), StorageError> {
        let mut manifest = self.manifest.lock().await;
        let next_number = TableNumber(self.next_number.get());
        let snapshot = self.version().snapshot(self.flushed.get(), next_number);
        let replaced = manifest.replace(&snapshot).await;
        self.noted(replaced)?;
        self.is_edit_uncertain.set(false);
        Ok(())
    }

    /// Begins a new memtable, unless nothing was applied since the last one.
    pub(crate) fn freeze(&self) {
        let mut state = self.state.borrow_mut();
        let begins_at = state.frozen.back().map_or(self.flushed.get(), |last| last.last_index());
        if state.active.last_index() <= begins_at && state.active.is_empty() {
            return;
        }
        let applied = state.active.last_index();
        let frozen = std::mem::replace(&mut state.active, Rc::new(Memtable::new(applied)));
        state.frozen.push_back(frozen);
    }

    /// The oldest memtable that waits for its flush and whose entries the log holds durably.
    pub(crate) fn flushable(&self) -> Option<Rc<Memtable>> {
        let state = self.state.borrow();
        let oldest = state.frozen.front()?;
        (oldest.last_index() <= self.log_durable.get()).then(|| Rc::clone(oldest))
    }

    pub(crate) fn has_flushable(&self) -> bool {
        self.flushable().is_some()
    }

    pub(crate) fn active_bytes(&self) -> usize {
        self.state.borrow().active.memory_bytes()
    }

    pub(crate) fn level0_tables(&self) -> usize {
        self.state.borrow().version.levels[0].len()
    }

    pub(crate) fn version(&self) -> Rc<Version> {
        Rc::clone(&self.state.borrow().version)
    }

    pub(crate) fn next_number(&self) -> TableNumber {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        TableNumber(number)
    }

    /// The newest version of `key` at or before `at`, from what is in memory. The first source
    /// that has one has the newest: versions only ever move down.
    fn lookup(
        &self,
        key: &[u8],
        at: Timestamp,
        loaded: &[Loaded],
    ) -> Result<Option<RowVersion>, Stop> {
        let state = self.state.borrow();
        let memtables = std::iter::once(&state.active).chain(state.frozen.iter().rev());
        for memtable in memtables {
            if let Some((ts, node)) = memtable.find(key, at) {
                return Ok(Some(version_in_memtable(memtable, ts, node)));
            }
        }
        let version = &state.version;
        if version.table_count() == 0 {
            return Ok(None);
        }
        let blocks = CachedBlocks { cache: &self.core.cache, touch: Touch::Point, loaded };
        let hash = hash_key(key);
        let level0 = version.levels[0].iter().filter(|table| table.meta.overlaps(key, key));
        let deeper = (1..version.levels.len()).filter_map(|level| version.table_for(level, key));
        for table in level0.chain(deeper) {
            if table.meta.oldest > at {
                continue;
            }
            if let Some(found) = find(&blocks, table, key, hash, at)? {
                let block = found.block;
                let value = found.value.map(|range| RowRef::in_block(block, range));
                return Ok(Some(RowVersion { ts: found.ts, value }));
            }
        }
        Ok(None)
    }
}

fn version_in_memtable(memtable: &Memtable, ts: Timestamp, node: Node) -> RowVersion {
    RowVersion { ts, value: memtable.value(node).map(RowRef::in_memtable) }
}

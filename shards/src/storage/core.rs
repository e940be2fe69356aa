//! What the trees of one core share: cache, memory, the reading of blocks, the state of health.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::{Rc, Weak};

use runtime::fs::{File, OpenOptions, READ_MAX};
use runtime::sync::{Notify, Semaphore};

use super::cache::{BlockCache, Loaded};
use super::damage::Damages;
use super::error::{Corruption, StorageError};
use super::options::{MemoryPlan, StorageOptions};
use super::scrub::ScrubUse;
use super::table::block::{Block, BlockKind, Gauge};
use super::table::format::{Damage, Handle, open_block};
use super::table::iter::Need;
use super::table::{CacheSlot, Table};
use super::tree::TreeInner;

/// One per core.
pub(crate) struct Core {
    pub(crate) options: StorageOptions,
    pub(crate) plan: MemoryPlan,
    pub(crate) cache: BlockCache,
    /// Bytes of read buffers under way.
    pub(crate) reads: Semaphore,
    /// Scans inside a batch.
    pub(crate) scans: Semaphore,
    /// Blocks that flushes and compactions hold.
    pub(crate) job_blocks: Gauge,
    /// Write buffers of flushes and compactions.
    pub(crate) job_writes_bytes: Cell<usize>,
    pub(crate) trees: RefCell<Vec<Weak<TreeInner>>>,
    pub(crate) memtables_bytes: Cell<usize>,
    /// There may be something to flush.
    pub(crate) flush_work: Notify,
    /// There may be something to compact.
    pub(crate) compaction_work: Notify,
    /// A flush or a compaction has ended, well or not.
    pub(crate) progress: Notify,
    /// What was found damaged.
    pub(crate) damages: Damages,
    /// What the scrub has done.
    pub(crate) scrubbed: Rc<Cell<ScrubUse>>,
    next_slot: Cell<u64>,
    poison: RefCell<Option<StorageError>>,
    pub(crate) is_closed: Cell<bool>,
}

impl Core {
    pub(crate) fn new(options: StorageOptions) -> Rc<Core> {
        let plan = MemoryPlan::new(&options);
        Rc::new(Core {
            cache: BlockCache::new(plan.cache, options.block_bytes),
            reads: Semaphore::new(plan.reads_max),
            scans: Semaphore::new(plan.scans_max),
            job_blocks: Gauge::default(),
            job_writes_bytes: Cell::new(0),
            trees: RefCell::new(Vec::new()),
            memtables_bytes: Cell::new(0),
            flush_work: Notify::new(),
            compaction_work: Notify::new(),
            progress: Notify::new(),
            damages: Damages::default(),
            scrubbed: Rc::default(),
            next_slot: Cell::new(0),
            poison: RefCell::new(None),
            is_closed: Cell::new(false),
            options,
            plan,
        })
    }

    pub(crate) fn next_slot(&self) -> CacheSlot {
        let slot = self.next_slot.get();
        self.next_slot.set(slot + 1);
        CacheSlot(slot)
    }

    /// The trees that are open.
    pub(crate) fn live_trees(&self) -> Vec<Rc<TreeInner>> {
        let mut trees = self.trees.borrow_mut();
        trees.retain(|tree| tree.strong_count() > 0);
        trees.iter().filter_map(Weak::upgrade).filter(|tree| !tree.is_closed.get()).collect()
    }

    /// Fails if nothing may be written any more.
    pub(crate) fn check_health(&self) -> Result<(), StorageError> {
        match &*self.poison.borrow() {
            Some(error) => Err(error.clone()),
            None if self.is_closed.get() => Err(StorageError::Closed),
            None => Ok(()),
        }
    }

    /// Remembers a failed sync: from here on nothing is written on this core.
    pub(crate) fn note(&self, error: &StorageError) {
        if matches!(error, StorageError::Poisoned { .. }) {
            self.poison.borrow_mut().get_or_insert_with(|| error.clone());
            self.progress.notify_all();
        }
    }

    /// Reads a block into the cache, and with it its neighbours `ahead`. Gives the needed one.
    pub(crate) async fn load_cached(
        &self,
        need: &Need,
        ahead: &[Handle],
    ) -> Result<Loaded, StorageError> {
        let slot = need.table.slot;
        let keep = |handle: Handle, block: &Rc<Block>| {
            self.cache.insert(slot, handle.offset, block);
        };
        let block = self.load(need, ahead, self.cache.gauge(), keep).await?;
        Ok(Loaded { slot, offset: need.handle.offset, block })
    }

    /// Reads and checks a block and its neighbours `ahead` with one read; gives each to `keep`.
    /// A neighbour that is damaged is left out: whoever needs it will meet the damage.
    pub(crate) async fn load(
        &self,
        need: &Need,
        ahead: &[Handle],
        gauge: &Gauge,
        mut keep: impl FnMut(Handle, &Rc<Block>),
    ) -> Result<Rc<Block>, StorageError> {
        let table = &need.table;
        let corrupt = |offset, damage| -> StorageError {
            Corruption { file: table.path.clone(), offset, damage }.into()
        };
        let all = || ahead.iter().chain([&need.handle]);
        let start = all().map(|handle| handle.offset).min().unwrap_or(need.handle.offset);
        let end = all().map(|handle| handle.end()).max().unwrap_or(need.handle.offset);
        let len = (end - start) as usize;
        if end > table.meta.file_bytes || len > READ_MAX {
            return Err(corrupt(need.handle.offset, Damage::Structure));
        }
        let permit = self.reads.acquire(len.min(self.plan.reads_max)).await;
        let _permit = permit.map_err(|_| StorageError::Closed)?;
        let bytes = read(table, start, len).await?;
        if bytes.len() < len {
            return Err(corrupt(start + bytes.len() as u64, Damage::Truncated));
        }
        let open = |handle: Handle, kind| -> Result<Rc<Block>, Damage> {
            let at = (handle.offset - start) as usize;
            let stored = &bytes[at..at + handle.len as usize];
            let payload = open_block(stored, kind, table.meta.identity, handle.offset)?;
            Block::decode(kind, payload, gauge).map_err(|_| Damage::Structure)
        };
        let needed =
            open(need.handle, need.kind).map_err(|damage| corrupt(need.handle.offset, damage))?;
        keep(need.handle, &needed);
        // Farthest first, so that the nearest is the most recent in the cache.
        for handle in ahead.iter().rev() {
            runtime::task::yield_if_due().await;
            if let Ok(block) = open(*handle, BlockKind::Data) {
                keep(*handle, &block);
            }
        }
        Ok(needed)
    }

    pub(crate) fn buffers_bytes(&self) -> usize {
        let reads = self.plan.reads_max - self.reads.available().min(self.plan.reads_max);
        reads + self.job_blocks.bytes() + self.job_writes_bytes.get()
    }
}

/// Reads from a table's file, which is opened at the first read.
pub(crate) async fn read(
    table: &Table,
    start: u64,
    len: usize,
) -> Result<runtime::fs::Buffer, StorageError> {
    let open = table.file.borrow().clone();
    let file = match open {
        Some(file) => file,
        None => {
            let file = open_table(&table.path).await?;
            *table.file.borrow_mut() = Some(file.clone());
            file
        }
    };
    file.read_at(start, len).await.map_err(|error| StorageError::io("read", &table.path, error))
}

async fn open_table(path: &Path) -> Result<File, StorageError> {
    File::open(path, &OpenOptions::default()).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Corruption { file: path.to_owned(), offset: 0, damage: Damage::Missing }.into()
        }
        _ => StorageError::io("open", path, error),
    })
}

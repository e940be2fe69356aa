//! What can be set about a core's storage, and how its memory budget is divided.

use std::time::Duration;

use super::compaction::choose::{LEVEL0_INPUTS_MAX, LevelOptions};
use super::table::format::{Compression, PAGE_BYTES};

/// Settings of one core's storage.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Memory of all trees of the core together: memtables, block cache, buffers of reads, flushes
    /// and compactions. At least [`StorageOptions::MEMORY_BYTES_MIN`]; less is taken as that.
    pub memory_bytes: usize,
    /// Payload bytes after which a block is closed. Small blocks make point reads cheap, large ones
    /// scans and the index. A row longer than this gets a block of its own.
    pub block_bytes: usize,
    /// Length at which a compaction begins the next table, in bytes.
    pub table_bytes: u64,
    /// How data blocks are stored.
    pub compression: Compression,
    /// Tables in level 0 that start a compaction.
    pub level0_tables: usize,
    /// Tables in level 0 at which [`super::Tree::make_room`] holds writers back.
    pub level0_tables_max: usize,
    /// Target of level 1 in bytes; each level below has ten times as much.
    pub level1_bytes: u64,
    /// Bytes that a scan reads ahead at most.
    pub readahead_bytes: usize,
    /// Bytes a second that the scrub reads to look for damage; 0 turns it off.
    pub scrub_bytes_per_second: u64,
    /// A pass of the scrub begins no sooner than this after the one before.
    pub scrub_interval: Duration,
}

impl StorageOptions {
    /// The least memory that storage works with, in bytes.
    pub const MEMORY_BYTES_MIN: usize = 8 << 20;

    /// The defaults with a budget in bytes.
    pub fn with_memory(memory_bytes: usize) -> Self {
        Self {
            memory_bytes,
            block_bytes: 8 << 10,
            table_bytes: 64 << 20,
            compression: Compression::default(),
            level0_tables: 4,
            level0_tables_max: 12,
            level1_bytes: 64 << 20,
            readahead_bytes: 256 << 10,
            scrub_bytes_per_second: 0,
            scrub_interval: Duration::from_secs(7 * 24 * 3600),
        }
    }

    pub(crate) fn levels(&self) -> LevelOptions {
        LevelOptions {
            level0_tables: self.level0_tables.max(1),
            level1_bytes: self.level1_bytes.max(1),
            growth: 10,
        }
    }
}

/// The share of the budget for memtables, in percent.
const MEMTABLES_PERCENT: usize = 35;
/// The share for the block cache; what is left is for buffers.
const CACHE_PERCENT: usize = 45;
/// Background jobs that run at the same time: one flush and two compactions.
pub(crate) const COMPACTIONS_MAX: usize = 2;
const JOBS_MAX: usize = COMPACTIONS_MAX + 1;
/// The largest single write of a table file. Appending costs a fixed time a write.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// The most a compaction reads at once from one input.
const JOB_READ_BYTES_MAX: usize = 1 << 20;
/// Blocks that a scan holds while it waits for a read, at most: one data, one index and one top
/// block for each of some twenty runs.
const SCAN_BLOCKS_MAX: usize = 64;

/// The budget, divided. All in bytes unless named otherwise.
#[derive(Clone, Debug)]
pub(crate) struct MemoryPlan {
    /// At which writers wait.
    pub(crate) memtables_max: usize,
    /// At which the largest memtable of the core is flushed.
    pub(crate) memtables_soft: usize,
    /// At which a tree begins a new memtable.
    pub(crate) memtable_max: usize,
    pub(crate) cache: usize,
    /// Buffers of reads under way, of all readers together.
    pub(crate) reads_max: usize,
    /// One read of one input of a job.
    pub(crate) job_read: usize,
    /// One write of a job.
    pub(crate) job_write: usize,
    pub(crate) readahead_max: usize,
    /// Scans that may be inside [`super::Scan::next_batch`] at the same time.
    pub(crate) scans_max: usize,
}

impl MemoryPlan {
    pub(crate) fn new(options: &StorageOptions) -> Self {
        let budget = options.memory_bytes.max(StorageOptions::MEMORY_BYTES_MIN);
        let memtables_max = budget / 100 * MEMTABLES_PERCENT;
        let cache = budget / 100 * CACHE_PERCENT;
        let buffers = budget - memtables_max - cache;
        // Half of the buffers for readers; of a job's share two thirds for what it reads.
        let job = buffers / 2 / JOBS_MAX;
        let job_read = (job * 2 / 3 / (LEVEL0_INPUTS_MAX + 1)).min(JOB_READ_BYTES_MAX);
        // A writer holds what is ready, and one buffer on its way to the disk.
        let job_write = (job / 6).clamp(PAGE_BYTES, WRITE_BYTES_MAX) / PAGE_BYTES * PAGE_BYTES;
        let readahead_max = options.readahead_bytes.min(cache / 32).max(options.block_bytes);
        Self {
            memtables_max,
            memtables_soft: memtables_max / 2,
            memtable_max: memtables_max / 4,
            cache,
            reads_max: buffers / 2,
            job_read,
            job_write,
            readahead_max,
            scans_max: (cache / 2 / (SCAN_BLOCKS_MAX * options.block_bytes)).clamp(2, 64),
        }
    }
}

/// What storage holds in memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// The budget that was given.
    pub budget: usize,
    /// Memtables, those on their way to disk included.
    pub memtables: usize,
    /// The block cache with what its readers hold.
    pub cache: usize,
    /// Buffers of reads, flushes and compactions under way.
    pub buffers: usize,
    /// What is known of the table files. Not part of the budget: some 200 bytes a table.
    pub tables: usize,
}

impl MemoryUse {
    /// Everything together.
    pub fn total(&self) -> usize {
        self.memtables + self.cache + self.buffers + self.tables
    }
}

//! Storage: one log-structured merge tree a partition (O'Neil et al., 1996), with the versions of
//! every row side by side.
//!
//! ```text
//!            apply                       flush                 compaction
//! log entry -------> active memtable --> frozen --> level 0 --> level 1 --> ... --> level 6
//!                      (B+ tree)                   overlapping   each a sorted run, ten times
//!                                                    tables      as large as the one above
//! ```
//!
//! * **Order.** Keys ascending, versions of a key newest first. "The row as of `at`" is the first
//!   version at or after the position `(key, at)`, wherever it is looked for.
//! * **Where versions lie.** Entries are applied in log order and versions move only downwards, in
//!   order. For one key, timestamps grow with the log index (row locks see to that). So the first
//!   source that has a visible version has the right one, and a read stops there.
//! * **Reads.** Memtables first, then tables. A table that does not hold the key is left at its
//!   filter. Blocks come from one cache a core with a hard bound; index and filter blocks, too.
//!   Lookups and scans are synchronous state machines that say which block they lack; a thin
//!   asynchronous shell fetches it and calls them again. A read of cached data thus neither waits
//!   nor allocates, and [`Tree::get_cached`] is no future at all.
//! * **Durability.** The log is the truth for what is not in tables yet: [`Tree::durable_index`]
//!   says from where it must be replayed. The manifest (see [`manifest`]) switches from one set of
//!   tables to the next atomically, and never runs ahead of the durable log: a memtable with
//!   entries that the log could still lose is not flushed.
//! * **Collection.** Of the versions at or before the watermark only the newest of each key is
//!   kept, and no tombstone that hides nothing. It happens where data is rewritten anyway.
//! * **Memory.** One budget a core, divided once ([`StorageOptions`]): memtables, cache, buffers.
//!   Writers wait in [`Tree::make_room`] while memtables are over their share or compaction lags;
//!   the cache shrinks by what readers hold; reads under way are counted.
//! * **Failures.** Damage is detected by checksum on every read of a block, named with file and
//!   offset, reported once ([`Storage::next_damage`]), and never served; the [`scrub`] looks for it
//!   where nobody reads. A full disk fails flushes, which are tried again; reads go on. A
//!   failed sync poisons the core's storage: what the disk holds is unknown.
//!
//! Everything here belongs to one core. Background work (one flush, two compactions at a time)
//! runs in slices between which other tasks of the core run.
//!
//! * **Replicas.** A tree can be had as files ([`Tree::checkpoint`]) and replaced by those of another
//!   replica ([`Tree::receive`], [`snapshot`]): for one that is behind, or damaged.
//!
//! Not here: locks and transactions (the caller applies what is decided), the log, encryption,
//! tables on other devices. Who fetches what from which replica is the replicas' business.
//!
//! The byte layouts stand in `docs/formats/table.md`, `manifest.md` and `checkpoint.md`.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use model::id::PartitionId;
use runtime::task::{self, Task};

mod cache;
mod codec;
mod compaction;
mod core;
mod damage;
mod error;
mod flush;
mod job;
mod manifest;
mod memtable;
mod merge;
mod open;
mod options;
mod row;
mod scan;
mod scrub;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod throttle;
mod tree;
mod verify;
mod version;

pub use damage::DamageReport;
pub use error::{Corruption, StorageError};
pub use options::{MemoryUse, StorageOptions};
pub use row::{CacheLookup, RowRef, ScanBatch, ScanRow, Version, Versioned, VersionedWrite};
pub use scan::Scan;
pub use scrub::ScrubUse;
pub(crate) use scrub::{REST_MIN as SCRUB_REST_MIN, START_AFTER as SCRUB_START_AFTER};
pub use snapshot::{
    CHUNK_BYTES_MAX, Checkpoint, Chunk, Contents, ReceiveError, Receiver, StreamPosition,
};
pub use table::format::{Compression, Damage};
pub use throttle::Throttle;
pub use tree::{LevelUse, Tree};

/// The storage of one core: its trees, their shared memory and background work. Dropping it stops
/// the background work where it is, as a crash would; nothing is flushed.
pub struct Storage {
    core: Rc<core::Core>,
    _workers: Vec<Task<()>>,
}

impl Storage {
    /// Starts the background work; must be called on the core, inside its world.
    pub fn new(options: StorageOptions) -> Storage {
        let core = core::Core::new(options);
        let mut workers = vec![task::spawn("storage flush", flush::run(Rc::downgrade(&core)))];
        for _ in 0..options::COMPACTIONS_MAX {
            let worker = compaction::worker::run(Rc::downgrade(&core));
            workers.push(task::spawn("storage compaction", worker));
        }
        if core.options.scrub_bytes_per_second > 0 {
            workers.push(task::spawn("storage scrub", scrub::run(Rc::downgrade(&core))));
        }
        Storage { core, _workers: workers }
    }

    /// Opens a tree that [`Self::open_tree`] has refused with `corruption`, for nothing but to be
    /// replaced by a checkpoint of another replica ([`Tree::receive`]). Until then it is in
    /// quarantine: reads and writes fail with the corruption, what is applied is dropped, its
    /// applied index is 0, and its files stay as they are.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub async fn open_quarantined(
        &self,
        partition: PartitionId,
        directory: &Path,
        corruption: Corruption,
    ) -> Result<Tree, StorageError> {
        self.core.check_health()?;
        open::open_quarantined(&self.core, partition, directory, corruption).await
    }

    /// Waits for damage in files of this core: gives the first report after the one of number
    /// `seen`, of those whose trees were not replaced since. Every report is there for all who ask.
    pub async fn next_damage(&self, seen: u64) -> DamageReport {
        self.core.damages.next(seen).await
    }

    /// Places that were found damaged since the start.
    pub fn damage_count(&self) -> u64 {
        self.core.damages.count()
    }

    /// The damage of this core, for who repairs it.
    pub(crate) fn watch_damage(&self) -> DamageWatch {
        DamageWatch(Rc::clone(&self.core))
    }

    /// What the scrub has done.
    pub fn scrubbed(&self) -> ScrubUse {
        self.core.scrubbed.get()
    }

    /// Opens the tree of a partition in its directory, or makes a new one where there is none.
    /// A partition must not be open twice.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] for a damaged, foreign, truncated or missing file; others.
    pub async fn open_tree(
        &self,
        partition: PartitionId,
        directory: &Path,
    ) -> Result<Tree, StorageError> {
        self.core.check_health()?;
        let opened = open::open(&self.core, partition, directory).await;
        if let Err(error) = &opened {
            self.core.note(error);
            if let StorageError::Corruption(corruption) = error {
                self.core.damages.report(partition, corruption);
            }
        }
        opened
    }

    /// What storage holds in memory now.
    pub fn memory(&self) -> MemoryUse {
        let trees = self.core.live_trees();
        MemoryUse {
            budget: self.core.options.memory_bytes,
            memtables: self.core.memtables_bytes.get(),
            cache: self.core.cache.memory_bytes(),
            buffers: self.core.buffers_bytes(),
            tables: trees.iter().map(|tree| tree.version().memory_bytes()).sum(),
        }
    }
}

/// Sees what is damaged. It does not keep the storage open.
pub(crate) struct DamageWatch(Rc<core::Core>);

impl DamageWatch {
    /// Partitions whose trees have damaged files, as soon as there are any.
    pub(crate) async fn damaged(&self) -> BTreeSet<PartitionId> {
        loop {
            let damaged = self.0.damages.partitions();
            if !damaged.is_empty() {
                return damaged;
            }
            self.0.damages.next(self.0.damages.count()).await;
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.core.is_closed.set(true);
        self.core.progress.notify_all();
        self.core.reads.close();
        self.core.scans.close();
    }
}

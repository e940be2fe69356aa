//! What an engine is made of, opened and recovered together: storage, partitions, log.

use super::engine::OpenError;
use super::layout::Identity;
use super::options::EngineOptions;
use super::removal;
use super::replicas::Partitions;
use crate::exec::memory::MemoryAccount;
use crate::log::{Log, LogError, LogOptions, Proposers};
use crate::raft::{Applier, Beginning, Held, Leading, LogId, Nodes};
use crate::storage::{
    Checkpoint, Contents, ReceiveError, Receiver, Storage, StorageError, StorageOptions,
};
use crate::txn::{CoreContext, Partition, TxnOptions};
use futures::future::LocalBoxFuture;
use futures::lock::Mutex;
use model::command::Command;
use model::id::{LogIndex, PartitionId, Term};
use model::time::HybridClock;
use runtime::time;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The share of a core's memory for trees and their cache, in percent. The rest is for what
/// statements keep and transactions stage, and for the log's queue.
const STORAGE_PERCENT: usize = 60;

/// The share for what transactions stage, of each partition, in percent of the core's memory.
const STAGED_PERCENT: usize = 10;
/// At least so many parts of a large transaction fit into a segment of the log.
const PARTS_MIN: usize = 8;

/// The share for what statements keep, in percent.
const STATEMENTS_PERCENT: usize = 20;

/// A core's storage, partitions and log.
pub(crate) struct Parts {
    pub(crate) context: Rc<CoreContext>,
    pub(crate) storage: Storage,
    pub(crate) partitions: Rc<Partitions>,
    pub(crate) log: Log,
    /// One replica is added or removed at a time.
    pub(super) changing: Mutex<()>,
}

/// Where a core's log is.
pub(crate) fn log_directory(data_dir: &Path, core: u16) -> PathBuf {
    data_dir.join(format!("core-{core}")).join("wal")
}

/// Settings of a core's log.
pub(crate) fn log_options(options: &EngineOptions, generation: u64) -> LogOptions {
    let directory = log_directory(&options.data_dir, options.core.0);
    let log = LogOptions::new(directory, generation, options.node, options.core);
    LogOptions {
        segment_bytes: options.wal_segment_bytes,
        queue_bytes_max: (options.memory_bytes / 10).clamp(1 << 20, 16 << 20),
        cached_bytes_max: (options.memory_bytes / 20).clamp(256 << 10, 8 << 20),
        ..log
    }
}

impl Parts {
    /// Opens the trees of this core's partitions, and replays the log into them.
    pub(crate) async fn open(
        options: &EngineOptions,
        identity: &Identity,
        nodes: Rc<dyn Nodes>,
    ) -> Result<Parts, OpenError> {
        let memory = options.memory_bytes;
        let storage = Storage::new(StorageOptions {
            scrub_bytes_per_second: options.scrub_bytes_per_second,
            scrub_interval: options.scrub_interval,
            ..StorageOptions::with_memory(memory / 100 * STORAGE_PERCENT)
        });
        let clock = Rc::new(HybridClock::new(options.clock.clone(), options.clock_offset_max));
        let (wall, now) = time::both_clocks();
        clock.start(wall.as_nanos(), now.as_nanos());
        let statements = (memory / 100 * STATEMENTS_PERCENT) as u64;
        let txn_options = TxnOptions {
            lock_timeout: options.lock_timeout,
            retention: options.retention,
            snapshot_age_max: options.snapshot_age_max,
            staged_bytes_max: memory / 100 * STAGED_PERCENT,
            part_bytes: options.part_bytes.min(options.wal_segment_bytes as usize / PARTS_MIN),
            statement_bytes_max: statements,
        };
        let account = MemoryAccount::new(statements);
        let context = Rc::new(CoreContext::new(txn_options, clock.clone(), account));
        let partitions = Rc::new(Partitions::default());
        let log = Log::open(log_options(options, identity.generation), clock).await?;
        let trees = removal::directory(options);
        for id in replicas(options, identity, &log).await? {
            let directory = trees.join(id.to_string());
            runtime::fs::create_dir_all(&directory).await?;
            let tree = match storage.open_tree(id, &directory).await {
                // Others have what is damaged here, and it is fetched from there.
                Err(StorageError::Corruption(damage)) if log.has_others(id) => {
                    storage.open_quarantined(id, &directory, damage).await?
                }
                opened => opened?,
            };
            partitions.insert(Rc::new(Partition::new(tree, context.clone())));
        }
        // A tree whose directory's name is lost is lost with all that the log has let go.
        runtime::fs::create_dir_all(&trees).await?;
        runtime::fs::sync_dir(&trees).await?;
        runtime::fs::sync_dir(&options.data_dir).await?;
        // Past what the log holds, too: the wall clock may have been set back since.
        let (wall, now) = time::both_clocks();
        context.clock.start(wall.as_nanos(), now.as_nanos());
        if context.log.set(log.clone()).is_err() {
            unreachable!("the context is new");
        }
        removal::finish_all(options, identity, &log).await?;
        let applying = Rc::new(Applying { partitions: partitions.clone() });
        let beginning = match identity.founding {
            true => Beginning::Founded,
            false => Beginning::Invited,
        };
        let core = options.core;
        log.start(partitions.all().iter().map(|one| one.id), applying, nodes, beginning)
            .await
            .map_err(|source| OpenError::Groups { core, source })?;
        Ok(Parts { context, storage, partitions, log, changing: Mutex::default() })
    }

    /// Writes everything to table files.
    pub(crate) async fn flush(&self) -> Result<(), OpenError> {
        for partition in self.partitions.all() {
            partition.tree.flush().await?;
        }
        Ok(())
    }
}

/// The partitions that have a replica on a core: of a cluster that this node founds all, afterwards those
/// that have a directory and of which the log says how they began.
async fn replicas(
    options: &EngineOptions,
    identity: &Identity,
    log: &Log,
) -> Result<Vec<PartitionId>, OpenError> {
    let here = |partition: &PartitionId| is_here(options, identity, *partition);
    if identity.founding {
        return Ok((0..=identity.partitions).map(PartitionId).filter(here).collect());
    }
    let directory = removal::directory(options);
    if !runtime::fs::exists(&directory).await? {
        return Ok(Vec::new());
    }
    let entries = runtime::fs::read_dir(&directory).await?;
    let ids = entries.iter().filter_map(|entry| entry.name.parse().ok().map(PartitionId));
    let begun = log.partitions();
    Ok(ids.filter(|id| here(id) && begun.contains(id)).collect())
}

/// Whether a core has this node's replica of a partition, if there is one.
pub(super) fn is_here(
    options: &EngineOptions,
    identity: &Identity,
    partition: PartitionId,
) -> bool {
    partition.0 % u32::from(identity.cores) == u32::from(options.core.0)
}

/// Hands what is decided to its partition.
struct Applying {
    partitions: Rc<Partitions>,
}

impl Applying {
    fn partition(&self, partition: PartitionId) -> Rc<Partition> {
        self.partitions.get(partition).expect("a group was started for each partition")
    }
}

impl Applier for Applying {
    fn apply(
        &self,
        partition: PartitionId,
        index: LogIndex,
        commands: Vec<Command>,
    ) -> LocalBoxFuture<'_, ()> {
        let partition = self.partition(partition);
        Box::pin(async move {
            if !partition.leads() {
                // A disk that is too full to flush must not keep a node from starting, or from
                // following: what is applied again was in memory before.
                drop(partition.tree.make_room().await);
            }
            partition.apply(index, commands).await;
        })
    }

    fn term_begins(&self, partition: PartitionId, index: LogIndex, led: Option<Term>) {
        self.partition(partition).term_begins(index, led);
    }

    fn passed(&self, partition: PartitionId, index: LogIndex) {
        self.partition(partition).passed(index);
    }

    fn led(&self, partition: PartitionId, leading: Leading) {
        self.partition(partition).led(leading);
    }

    fn is_damaged(&self, partition: PartitionId) -> bool {
        self.partition(partition).tree.quarantined().is_some()
    }

    fn applied(&self, partition: PartitionId) -> LogIndex {
        self.partition(partition).tree.applied_index()
    }

    fn durable(&self, partition: PartitionId, index: LogIndex) {
        self.partition(partition).tree.set_log_durable(index);
    }

    fn needless_to(&self, partition: PartitionId) -> LogIndex {
        self.partition(partition).needless_to()
    }

    fn hold_log(&self, partition: PartitionId, index: LogIndex) -> Held {
        let partition = self.partition(partition);
        partition.hold_log(index);
        Held(Some(Box::new(move || partition.let_go(index))))
    }

    fn checkpoint(
        &self,
        partition: PartitionId,
    ) -> LocalBoxFuture<'_, Result<Checkpoint, StorageError>> {
        let partition = self.partition(partition);
        Box::pin(async move { partition.tree.checkpoint().await })
    }

    fn receive(
        &self,
        partition: PartitionId,
        contents: Contents,
    ) -> LocalBoxFuture<'_, Result<Receiver, ReceiveError>> {
        let partition = self.partition(partition);
        Box::pin(async move { partition.tree.receive(contents).await })
    }

    fn decided(&self, partition: PartitionId, id: LogId) {
        self.partition(partition).context.log().decided(partition, id);
    }

    fn replaced(&self, partition: PartitionId) {
        let partition = self.partition(partition);
        partition.context.log().replaced(partition.id);
        partition.replaced();
    }
}

impl Proposers for Applying {
    fn refused(&self, partition: PartitionId, command: Command, error: &LogError) {
        // Of one that was removed the rest of a request may still propose something.
        if let Some(partition) = self.partitions.get(partition) {
            partition.refused(command, error);
        }
    }

    fn failed(&self, error: &LogError) {
        for partition in self.partitions.all() {
            partition.log_failed(error);
        }
    }
}

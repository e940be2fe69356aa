//! What flushes and compactions have in common: reading inputs ahead, writing tables as streams,
//! and making the result part of the tree.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use model::id::LogIndex;
use runtime::fs::{self, Buffer, File, OpenOptions};
use runtime::task::yield_if_due;

use super::compaction::collect::Collector;
use super::core::Core;
use super::error::StorageError;
use super::merge::{Merge, MergeStop, Settled};
use super::table::block::{Block, BlockKind};
use super::table::builder::{BuilderOptions, TableBuilder};
use super::table::format::{Handle, TableIdentity};
use super::table::iter::{BlockSource, Stop};
use super::table::{CacheSlot, Table, TableMeta, TableNumber};
use super::tree::TreeInner;
use super::version::Edit;

/// Versions written between two glances at the clock.
const SLICE_VERSIONS: usize = 16;

/// The blocks a job has read ahead, each of which it takes once. They bypass the cache: a
/// compaction must not push out what is being read.
#[derive(Default)]
pub(crate) struct JobBlocks(RefCell<HashMap<(CacheSlot, u64), Rc<Block>>>);

impl BlockSource for JobBlocks {
    fn block(&self, table: &Table, handle: Handle) -> Option<Rc<Block>> {
        self.0.borrow_mut().remove(&(table.slot, handle.offset))
    }
}

impl JobBlocks {
    pub(crate) fn keep(&self, slot: CacheSlot, handle: Handle, block: &Rc<Block>) {
        self.0.borrow_mut().insert((slot, handle.offset), Rc::clone(block));
    }
}

/// Counts a job's write buffer while it lives.
pub(crate) struct WriteCharge<'a> {
    core: &'a Core,
    bytes: usize,
}

impl<'a> WriteCharge<'a> {
    pub(crate) fn new(core: &'a Core, bytes: usize) -> Self {
        core.job_writes_bytes.set(core.job_writes_bytes.get() + bytes);
        Self { core, bytes }
    }
}

impl Drop for WriteCharge<'_> {
    fn drop(&mut self) {
        self.core.job_writes_bytes.set(self.core.job_writes_bytes.get() - self.bytes);
    }
}

/// A table file being written.
struct TableWriter<'a> {
    core: &'a Core,
    path: PathBuf,
    file: File,
    builder: TableBuilder,
    /// Where the next write goes.
    position: u64,
    buffer: Option<Buffer>,
    _charge: WriteCharge<'a>,
}

impl<'a> TableWriter<'a> {
    async fn create(tree: &'a TreeInner) -> Result<Self, StorageError> {
        let core = &tree.core;
        let number = tree.next_number();
        let path = tree.directory.join(number.file_name());
        // Should anything fail from here on, the file is nobody's.
        tree.leftovers.borrow_mut().push(path.clone());
        let options = OpenOptions {
            read: true,
            write: true,
            create: true,
            truncate: true,
            ..OpenOptions::default()
        };
        let file = File::open(&path, &options)
            .await
            .map_err(|error| StorageError::io("create", &path, error))?;
        let builder = TableBuilder::new(BuilderOptions {
            partition: tree.partition,
            number,
            identity: TableIdentity(runtime::random::next_u64()),
            block_bytes: core.options.block_bytes,
            compression: core.options.compression,
        });
        let charge = WriteCharge::new(core, 2 * core.plan.job_write);
        Ok(Self { core, path, file, builder, position: 0, buffer: None, _charge: charge })
    }

    /// Writes what is ready, in writes of the usual size.
    async fn drain(&mut self) -> Result<(), StorageError> {
        let len = self.core.plan.job_write;
        while self.builder.ready_bytes() >= len {
            self.write(len).await?;
        }
        Ok(())
    }

    async fn write(&mut self, len: usize) -> Result<(), StorageError> {
        let mut buffer = match self.buffer.take() {
            Some(buffer) if buffer.len() == len => buffer,
            _ => Buffer::zeroed(len),
        };
        self.builder.take(len, &mut buffer);
        let written = self.file.write_at(self.position, buffer).await;
        let buffer = written.map_err(|error| StorageError::io("write", &self.path, error))?;
        self.buffer = Some(buffer);
        self.position += len as u64;
        Ok(())
    }

    /// Writes the rest and syncs: the table is durable, but for its name.
    async fn finish(mut self) -> Result<TableMeta, StorageError> {
        let meta = self.builder.finish();
        self.drain().await?;
        let rest = self.builder.ready_bytes();
        if rest > 0 {
            self.write(rest).await?;
        }
        self.file.sync().await.map_err(|error| StorageError::Poisoned {
            file: self.path.clone(),
            source: Rc::new(error),
        })?;
        Ok(meta)
    }
}

/// What a job writes and where it is cut.
pub(crate) struct Rewrite {
    pub(crate) merge: Merge,
    /// Tombstones are kept where this level or a deeper one may hold the key.
    pub(crate) beneath: usize,
    /// A table ends at the first new key after so many bytes.
    pub(crate) table_bytes: u64,
}

/// Writes the versions of a merge that must be kept into new, synced table files.
pub(crate) async fn rewrite(
    tree: &TreeInner,
    job: Rewrite,
) -> Result<Vec<TableMeta>, StorageError> {
    let Rewrite { mut merge, beneath, table_bytes } = job;
    let version = tree.version();
    let blocks = JobBlocks::default();
    let mut collector = Collector::new(tree.watermark.get());
    let mut done = Vec::new();
    let mut writer: Option<TableWriter> = None;
    let mut last_key: Vec<u8> = Vec::new();
    let mut count = 0;
    loop {
        let source = match merge.settle(&blocks) {
            Ok(Settled::At(source)) => source,
            Ok(Settled::End) => break,
            Err(stop) => {
                fetch(&tree.core, &merge, stop, &blocks).await?;
                continue;
            }
        };
        let (key, ts) = merge.position(source);
        let is_tombstone = merge.with_value(source, |value| value.is_none());
        if collector.keeps(key, ts, is_tombstone, || version.may_hold_from(beneath, key)) {
            // All versions of a key lie in one table.
            let is_long =
                writer.as_ref().is_some_and(|writer| writer.builder.written_bytes() >= table_bytes);
            if is_long
                && last_key != key
                && let Some(full) = writer.take()
            {
                done.push(full.finish().await?);
            }
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(TableWriter::create(tree).await?),
            };
            last_key.clear();
            last_key.extend_from_slice(key);
            merge.with_value(source, |value| writer.builder.add(key, ts, value));
            writer.drain().await?;
        }
        merge.advance();
        count += 1;
        if count % SLICE_VERSIONS == 0 {
            yield_if_due().await;
        }
    }
    if let Some(writer) = writer {
        done.push(writer.finish().await?);
    }
    Ok(done)
}

/// Reads what the merge needs next, and ahead of it.
async fn fetch(
    core: &Core,
    merge: &Merge,
    stop: MergeStop,
    blocks: &JobBlocks,
) -> Result<(), StorageError> {
    let need = match stop.stop {
        Stop::Corrupt(corruption) => return Err(corruption.into()),
        Stop::Need(need) => need,
    };
    let ahead = match merge.run(stop.source) {
        Some(run) if need.kind == BlockKind::Data => {
            run.ahead(need.handle, core.plan.job_read as u64)
        }
        _ => Vec::new(),
    };
    let slot = need.table.slot;
    core.load(&need, &ahead, &core.job_blocks, |handle, block| blocks.keep(slot, handle, block))
        .await?;
    Ok(())
}

/// Counts a job of a tree while it runs.
pub(crate) struct Running<'a>(&'a TreeInner);

impl<'a> Running<'a> {
    pub(crate) fn new(tree: &'a TreeInner) -> Self {
        tree.jobs.set(tree.jobs.get() + 1);
        Self(tree)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.jobs.set(self.0.jobs.get() - 1);
    }
}

/// What a job changes.
pub(crate) struct Change {
    /// [`TreeInner::generation`] when the job began: where the tree's content was replaced since, the
    /// job comes to nothing.
    pub(crate) generation: u64,
    pub(crate) level: usize,
    pub(crate) added: Vec<TableMeta>,
    /// Tables that only change their level.
    pub(crate) moved: Vec<Rc<Table>>,
    pub(crate) removed: Vec<TableNumber>,
    /// Set by a flush.
    pub(crate) durable_index: Option<LogIndex>,
}

/// Makes a change durable and then part of the tree. Files of new tables must be synced.
pub(crate) async fn install(tree: &TreeInner, change: Change) -> Result<(), StorageError> {
    if !change.added.is_empty() {
        let synced = fs::sync_dir(&tree.directory).await;
        synced.map_err(|error| StorageError::Poisoned {
            file: tree.directory.clone(),
            source: Rc::new(error),
        })?;
    }
    let mut manifest = tree.manifest.lock().await;
    if change.generation != tree.generation.get() {
        return Ok(());
    }
    let current = tree.version();
    let added_numbers: Vec<TableNumber> = change.added.iter().map(|meta| meta.number).collect();
    let moved: Vec<TableNumber> = change.moved.iter().map(|table| table.meta.number).collect();
    let removed: Vec<TableNumber> = change.removed.iter().chain(&moved).copied().collect();
    let edit = Edit {
        added: change
            .added
            .iter()
            .chain(change.moved.iter().map(|table| &table.meta))
            .map(|meta| (change.level, meta.clone()))
            .collect(),
        removed: removed.clone(),
        durable_index: change.durable_index.unwrap_or(tree.flushed.get()),
        next_number: TableNumber(tree.next_number.get()),
    };
    let new_tables = change.added.into_iter().map(|meta| {
        let path = tree.directory.join(meta.number.file_name());
        Rc::new(Table::new(meta, tree.core.next_slot(), path))
    });
    let tables = new_tables.chain(change.moved).map(|table| (change.level, table));
    let next = Rc::new(current.edited(&removed, tables));
    // Until the edit is known to be in or out, no file that it names may go.
    tree.is_edit_uncertain.set(true);
    manifest.append(&edit, &next).await?;
    tree.is_edit_uncertain.set(false);
    tree.leftovers
        .borrow_mut()
        .retain(|path| !added_numbers.iter().any(|number| path.ends_with(number.file_name())));
    let dropped = current.tables().filter(|table| change.removed.contains(&table.meta.number));
    for table in dropped {
        tree.obsolete.borrow_mut().push(Rc::clone(table));
    }
    let mut state = tree.state.borrow_mut();
    state.version = next;
    if let Some(index) = change.durable_index {
        if let Some(flushed) = state.frozen.pop_front() {
            let total = &tree.core.memtables_bytes;
            total.set(total.get() - flushed.memory_bytes());
        }
        tree.flushed.set(index);
    }
    Ok(())
}

/// Removes the files of tables that nobody reads any more and of jobs that failed. What cannot be
/// removed now is tried again after the next job, and at the latest when the tree is opened. Once
/// a sync has failed nothing is removed: what the manifest on the disk names is not known.
pub(crate) async fn sweep(tree: &TreeInner) {
    if tree.core.check_health().is_err() {
        return;
    }
    let unread: Vec<Rc<Table>> = {
        let mut obsolete = tree.obsolete.borrow_mut();
        let (unread, read) =
            obsolete.drain(..).partition(|table: &Rc<Table>| Rc::strong_count(table) == 1);
        *obsolete = read;
        unread
    };
    for table in unread {
        if !remove(&table.path).await {
            tree.obsolete.borrow_mut().push(table);
        }
    }
    // While another job of this tree runs, its files are leftovers too, until it is done.
    if tree.jobs.get() == 0 && !tree.is_edit_uncertain.get() {
        let leftovers = std::mem::take(&mut *tree.leftovers.borrow_mut());
        for path in leftovers {
            if !remove(&path).await {
                tree.leftovers.borrow_mut().push(path);
            }
        }
    }
}

/// Removes a file; gives whether it is gone.
pub(crate) async fn remove(path: &std::path::Path) -> bool {
    match fs::remove_file(path).await {
        Ok(()) => true,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

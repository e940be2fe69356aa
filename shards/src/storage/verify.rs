//! Verifying: reads every byte of a tree that means something and checks it against everything
//! that is known about it.

use std::cell::RefCell;
use std::rc::Rc;

use model::id::PartitionId;
use model::time::Timestamp;
use runtime::task::yield_if_due;

use super::core::{Core, read};
use super::error::{Corruption, StorageError};
use super::job::JobBlocks;
use super::scrub::Pace;
use super::table::Table;
use super::table::block::{Block, BlockCursor, BlockKind, compare};
use super::table::filter;
use super::table::format::{Damage, FOOTER_BYTES, Footer, Handle, PartitionHandles};
use super::table::iter::{BlockSource, Need};
use super::tree::Tree;

impl Tree {
    /// Reads and checks every block of every table of the tree, past the cache, in slices. Tables
    /// that compaction drops meanwhile are checked all the same.
    ///
    /// # Errors
    /// The first [`StorageError::Corruption`] found; or [`StorageError::Io`].
    pub async fn verify(&self) -> Result<(), StorageError> {
        self.inner.check_whole()?;
        let version = self.inner.version();
        for table in version.tables() {
            let checked = check_table(&self.inner.core, self.partition(), table, None).await;
            self.inner.noted(checked)?;
        }
        let verified = self.inner.manifest.lock().await.verify().await;
        self.inner.noted(verified).map(|_worn| ())
    }
}

/// What is read at once of data blocks that lie side by side, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Reads and checks every block of a table, past the cache, in slices; with a pace, not faster than
/// that.
pub(crate) async fn check_table(
    core: &Core,
    partition: PartitionId,
    table: &Rc<Table>,
    pace: Option<&Pace>,
) -> Result<(), StorageError> {
    let check = Check { core, table, pace, blocks: JobBlocks::default(), last: RefCell::default() };
    check.footer(partition).await?;
    check.content().await
}

struct Check<'a> {
    core: &'a Core,
    table: &'a Rc<Table>,
    pace: Option<&'a Pace>,
    /// Data blocks that were read ahead.
    blocks: JobBlocks,
    last: RefCell<Seen>,
}

/// What has been seen of the table so far.
#[derive(Default)]
struct Seen {
    key: Vec<u8>,
    ts: Timestamp,
    entries: u64,
    tombstones: u64,
    oldest: Option<Timestamp>,
    newest: Timestamp,
}

impl Check<'_> {
    fn corrupt(&self, offset: u64, damage: Damage) -> StorageError {
        Corruption { file: self.table.path.clone(), offset, damage }.into()
    }

    async fn footer(&self, partition: PartitionId) -> Result<(), StorageError> {
        let meta = &self.table.meta;
        let offset = meta.file_bytes.saturating_sub(FOOTER_BYTES as u64);
        self.take(FOOTER_BYTES).await;
        let bytes = read(self.table, offset, FOOTER_BYTES).await?;
        if bytes.len() < FOOTER_BYTES {
            return Err(self.corrupt(offset + bytes.len() as u64, Damage::Truncated));
        }
        let footer = Footer::decode(&bytes).map_err(|damage| self.corrupt(offset, damage))?;
        if footer == meta.footer(partition) {
            Ok(())
        } else {
            Err(self.corrupt(offset, Damage::Inconsistent))
        }
    }

    /// Waits until so many bytes may be read.
    async fn take(&self, bytes: usize) {
        if let Some(pace) = self.pace {
            pace.take(bytes).await;
        }
    }

    /// Lets other tasks run: with a pace after every block.
    async fn rest(&self) {
        match self.pace {
            Some(pace) => pace.rest().await,
            None => yield_if_due().await,
        }
    }

    async fn block(&self, kind: BlockKind, handle: Handle) -> Result<Rc<Block>, StorageError> {
        self.take(handle.len as usize).await;
        let need = Need { table: Rc::clone(self.table), kind, handle };
        let block = self.core.load(&need, &[], &self.core.job_blocks, |_, _| ()).await?;
        self.rest().await;
        Ok(block)
    }

    /// The data block that an index entry names; the next ones are read with it.
    async fn data_block(
        &self,
        entries: &BlockCursor,
        handle: Handle,
    ) -> Result<Rc<Block>, StorageError> {
        if let Some(block) = self.blocks.block(self.table, handle) {
            return Ok(block);
        }
        let ahead = ahead(entries, handle, self.core.plan.job_read.min(READ_BYTES));
        let end = ahead.last().map_or(handle.end(), |last| last.end());
        self.take((end - handle.offset) as usize).await;
        let need = Need { table: Rc::clone(self.table), kind: BlockKind::Data, handle };
        let slot = self.table.slot;
        let keep = |at: Handle, block: &Rc<Block>| {
            if at != handle {
                self.blocks.keep(slot, at, block);
            }
        };
        self.core.load(&need, &ahead, &self.core.job_blocks, keep).await
    }

    async fn content(&self) -> Result<(), StorageError> {
        let meta = &self.table.meta;
        let top = self.block(BlockKind::Top, meta.top).await?;
        let mut partitions = BlockCursor::new(top, Vec::new());
        partitions.seek_first();
        while partitions.is_valid() {
            let handles = partitions
                .value()
                .and_then(PartitionHandles::decode)
                .ok_or_else(|| self.corrupt(meta.top.offset, Damage::Structure))?;
            self.partition(handles, meta.top).await?;
            self.check_bound(&partitions, meta.top.offset)?;
            partitions.next();
        }
        let seen = self.last.borrow();
        let agrees = seen.entries == meta.entries
            && seen.tombstones == meta.tombstones
            && seen.oldest == Some(meta.oldest)
            && seen.newest == meta.newest
            && *seen.key == *meta.largest;
        if agrees { Ok(()) } else { Err(self.corrupt(meta.top.offset, Damage::Inconsistent)) }
    }

    async fn partition(&self, handles: PartitionHandles, top: Handle) -> Result<(), StorageError> {
        let filter = self.block(BlockKind::Filter, handles.filter).await?;
        let index = self.block(BlockKind::Index, handles.index).await?;
        let mut entries = BlockCursor::new(index, Vec::new());
        entries.seek_first();
        while entries.is_valid() {
            let handle = entries
                .value()
                .and_then(Handle::decode)
                .filter(|handle| handle.end() <= top.offset)
                .ok_or_else(|| self.corrupt(handles.index.offset, Damage::Structure))?;
            let data = self.data_block(&entries, handle).await?;
            self.data(data, handle, &filter)?;
            self.check_bound(&entries, handles.index.offset)?;
            entries.next();
            self.rest().await;
        }
        Ok(())
    }

    /// An index entry must name the last version beneath it.
    fn check_bound(&self, entry: &BlockCursor, offset: u64) -> Result<(), StorageError> {
        let seen = self.last.borrow();
        if entry.key() == seen.key && entry.ts() == seen.ts {
            Ok(())
        } else {
            Err(self.corrupt(offset, Damage::Inconsistent))
        }
    }

    fn data(&self, data: Rc<Block>, at: Handle, filter: &Block) -> Result<(), StorageError> {
        let mut seen = self.last.borrow_mut();
        let mut cursor = BlockCursor::new(data, Vec::new());
        cursor.seek_first();
        while cursor.is_valid() {
            let (key, ts) = (cursor.key(), cursor.ts());
            let is_in_order = match seen.entries {
                0 => *key == *self.table.meta.smallest,
                _ => compare((&seen.key, seen.ts), (key, ts)).is_lt(),
            };
            if !is_in_order || !filter::may_contain(filter.bytes(), filter::hash_key(key)) {
                return Err(self.corrupt(at.offset, Damage::Inconsistent));
            }
            seen.key.clear();
            seen.key.extend_from_slice(key);
            seen.ts = ts;
            seen.entries += 1;
            seen.tombstones += u64::from(cursor.value_range().is_none());
            seen.oldest = Some(seen.oldest.map_or(ts, |oldest| oldest.min(ts)));
            seen.newest = seen.newest.max(ts);
            cursor.next();
        }
        Ok(())
    }
}

/// The data blocks that come after one in its index partition and lie side by side with it, up to
/// `bytes_max` together with it.
fn ahead(entries: &BlockCursor, handle: Handle, bytes_max: usize) -> Vec<Handle> {
    let mut cursor = BlockCursor::new(Rc::clone(entries.block()), Vec::new());
    cursor.seek(entries.key(), entries.ts());
    let mut ahead = Vec::new();
    let mut end = handle.end();
    loop {
        cursor.next();
        let next = cursor.is_valid().then(|| cursor.value().and_then(Handle::decode)).flatten();
        match next {
            Some(next) if next.offset == end && next.end() - handle.offset <= bytes_max as u64 => {
                end = next.end();
                ahead.push(next);
            }
            _ => return ahead,
        }
    }
}

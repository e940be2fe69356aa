//! The sender's side: a tree as it was at an index, and its bytes in checked chunks.

use std::rc::Rc;

use bytes::Bytes;
use model::id::LogIndex;
use runtime::sync::Permit;
use runtime::task::yield_if_due;

use super::super::core::read;
use super::super::error::{Corruption, StorageError};
use super::super::table::Table;
use super::super::table::block::{Block, BlockCursor, BlockKind};
use super::super::table::format::{
    Damage, FOOTER_BYTES, Footer, Handle, PAGE_BYTES, PartitionHandles, TableIdentity, check_block,
};
use super::super::table::iter::Need;
use super::super::tree::{Tree, TreeInner};
use super::super::version::Version;
use super::CHUNK_BYTES_MAX;
use super::contents::{Contents, StreamPosition};

/// Checkpoints of one tree that may be held at the same time: each may keep a whole set of files
/// that compaction has replaced.
pub(crate) const CHECKPOINTS_MAX: usize = 2;

/// A tree as it was at an applied index, as files that stay for as long as this or a clone of it is
/// held; see [`Tree::checkpoint`]. Belongs to one core.
#[derive(Clone)]
pub struct Checkpoint {
    pin: Rc<Pin>,
    contents: Rc<Contents>,
}

/// Keeps the files.
struct Pin {
    tree: Rc<TreeInner>,
    version: Option<Rc<Version>>,
    _permit: Permit,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.version = None;
        // Whose files they were has them removed now.
        self.tree.core.flush_work.notify_one();
    }
}

/// A piece of the stream of a checkpoint's files: whole pages of one file.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Where it belongs.
    pub position: StreamPosition,
    /// CRC32C of its bytes, of the file's identity and of its place in the file.
    pub checksum: u32,
    /// A multiple of 4096 bytes, at most [`CHUNK_BYTES_MAX`].
    pub bytes: Bytes,
}

/// The checksum of a chunk: bytes that belong elsewhere do not pass for those that belong here.
pub(super) fn chunk_checksum(bytes: &[u8], identity: TableIdentity, offset: u64) -> u32 {
    let mut seal = [0; 16];
    seal[..8].copy_from_slice(&identity.0.to_le_bytes());
    seal[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(bytes), &seal)
}

impl Tree {
    /// The tree as it is now, as files: what is in memory is written to a table file first, for
    /// which the log must be durable that far. Of an entry that is being applied in parts, parts may
    /// be in the files; the entry does not count as applied.
    ///
    /// # Errors
    /// As for [`Self::flush`], and [`StorageError::Busy`] while [`CHECKPOINTS_MAX`] are held.
    pub async fn checkpoint(&self) -> Result<Checkpoint, StorageError> {
        let tree = &self.inner;
        let permit = tree.checkpoints.try_acquire(1).ok_or(StorageError::Busy {
            what: "as many checkpoints of this tree are in use as there may be",
        })?;
        self.flush().await?;
        let (version, index) = (tree.version(), tree.flushed.get());
        let contents = Rc::new(Contents::new(tree.partition, &version, index));
        let pin = Pin { tree: Rc::clone(tree), version: Some(version), _permit: permit };
        Ok(Checkpoint { pin: Rc::new(pin), contents })
    }
}

impl Checkpoint {
    /// What it is made of.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Every entry up to this one is in it.
    pub fn applied_index(&self) -> LogIndex {
        self.contents.applied_index()
    }

    /// The bytes of the stream from `position` on, past the cache: at most `len` and
    /// [`CHUNK_BYTES_MAX`], at least a page, and no further than the end of a file. Every block that
    /// they touch is read whole and checked. `None` at the end.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] where this disk is damaged, [`StorageError::Io`], and
    /// [`StorageError::Closed`] once the tree is closed.
    pub async fn read(
        &self,
        position: StreamPosition,
        len: usize,
    ) -> Result<Option<Chunk>, StorageError> {
        let tree = &*self.pin.tree;
        if tree.is_closed.get() {
            return Err(StorageError::Closed);
        }
        let Some(file) = self.contents.file_at(position) else { return Ok(None) };
        let version = self.pin.version.as_ref().ok_or(StorageError::Closed)?;
        let table = version.tables().find(|table| table.meta.number == file.meta.number);
        let table = table.ok_or(StorageError::Closed)?;
        let start = (position.0 - file.begins) / PAGE_BYTES as u64 * PAGE_BYTES as u64;
        let len = len.clamp(PAGE_BYTES, CHUNK_BYTES_MAX) / PAGE_BYTES * PAGE_BYTES;
        let end = (start + len as u64).min(file.meta.file_bytes);
        let bytes = read_checked(tree, table, start, end).await;
        if let Err(error) = &bytes {
            tree.note(error);
        }
        let bytes = bytes?;
        let checksum = chunk_checksum(&bytes, file.meta.identity, start);
        Ok(Some(Chunk { position: StreamPosition(file.begins + start), checksum, bytes }))
    }
}

/// What lies side by side in a table file.
struct Piece {
    handle: Handle,
    kind: BlockKind,
}

fn corrupt(table: &Table, offset: u64, damage: Damage) -> StorageError {
    Corruption { file: table.path.clone(), offset, damage }.into()
}

/// Reads `start..end` of a table's file, and checks the blocks that lie in it wholly or in part.
async fn read_checked(
    tree: &TreeInner,
    table: &Rc<Table>,
    start: u64,
    end: u64,
) -> Result<Bytes, StorageError> {
    let core = &tree.core;
    let meta = &table.meta;
    let pieces = pieces(tree, table, start, end).await?;
    let from = pieces.first().map_or(start, |piece| piece.handle.offset.min(start));
    let to = pieces.last().map_or(end, |piece| piece.handle.end().max(end));
    let len = (to - from) as usize;
    let permit = core.reads.acquire(len.min(core.plan.reads_max)).await;
    let _permit = permit.map_err(|_| StorageError::Closed)?;
    let bytes = read(table, from, len).await?;
    if bytes.len() < len {
        return Err(corrupt(table, from + bytes.len() as u64, Damage::Truncated));
    }
    let at = |offset: u64| (offset - from) as usize;
    for Piece { handle, kind } in &pieces {
        let stored = &bytes[at(handle.offset)..at(handle.end())];
        check_block(stored, *kind, meta.identity, handle.offset)
            .map_err(|damage| corrupt(table, handle.offset, damage))?;
        yield_if_due().await;
    }
    let footer_at = meta.file_bytes - FOOTER_BYTES as u64;
    if end > footer_at {
        let footer = &bytes[at(footer_at)..at(footer_at) + FOOTER_BYTES];
        let footer = Footer::decode(footer).map_err(|damage| corrupt(table, footer_at, damage))?;
        if footer != meta.footer(tree.partition) {
            return Err(corrupt(table, footer_at, Damage::Inconsistent));
        }
    }
    Ok(Bytes::copy_from_slice(&bytes[at(start)..at(end)]))
}

/// The blocks of `start..end`, in order. Between the first and the last of them there is no byte
/// that belongs to none.
async fn pieces(
    tree: &TreeInner,
    table: &Rc<Table>,
    start: u64,
    end: u64,
) -> Result<Vec<Piece>, StorageError> {
    let top_handle = table.meta.top;
    let top = block(tree, table, BlockKind::Top, top_handle).await?;
    let mut pieces = Vec::new();
    let mut begins = 0;
    let touches = |handle: &Handle| handle.offset < end && handle.end() > start;
    let mut partitions = BlockCursor::new(top, Vec::new());
    partitions.seek_first();
    while partitions.is_valid() && begins < end {
        let handles = partitions
            .value()
            .and_then(PartitionHandles::decode)
            .ok_or_else(|| corrupt(table, top_handle.offset, Damage::Structure))?;
        let ends = handles.index.end();
        if ends > start {
            let index = block(tree, table, BlockKind::Index, handles.index).await?;
            data_pieces(table, handles, index, &touches, &mut pieces)?;
        }
        begins = ends;
        partitions.next();
    }
    if touches(&top_handle) {
        pieces.push(Piece { handle: top_handle, kind: BlockKind::Top });
    }
    let is_whole = pieces.windows(2).all(|pair| pair[0].handle.end() == pair[1].handle.offset)
        && pieces.first().is_none_or(|first| first.handle.offset <= start)
        && pieces.last().is_none_or(|last| last.handle.end() >= end.min(top_handle.end()))
        && (!pieces.is_empty() || start >= top_handle.end());
    if is_whole { Ok(pieces) } else { Err(corrupt(table, start, Damage::Structure)) }
}

/// The blocks of one index partition that are wanted.
fn data_pieces(
    table: &Table,
    handles: PartitionHandles,
    index: Rc<Block>,
    touches: &impl Fn(&Handle) -> bool,
    pieces: &mut Vec<Piece>,
) -> Result<(), StorageError> {
    let mut entries = BlockCursor::new(index, Vec::new());
    entries.seek_first();
    while entries.is_valid() {
        let handle = entries
            .value()
            .and_then(Handle::decode)
            .ok_or_else(|| corrupt(table, handles.index.offset, Damage::Structure))?;
        if touches(&handle) {
            pieces.push(Piece { handle, kind: BlockKind::Data });
        }
        entries.next();
    }
    for (handle, kind) in [(handles.filter, BlockKind::Filter), (handles.index, BlockKind::Index)] {
        if touches(&handle) {
            pieces.push(Piece { handle, kind });
        }
    }
    Ok(())
}

async fn block(
    tree: &TreeInner,
    table: &Rc<Table>,
    kind: BlockKind,
    handle: Handle,
) -> Result<Rc<Block>, StorageError> {
    let core = &tree.core;
    let need = Need { table: Rc::clone(table), kind, handle };
    core.load(&need, &[], &core.job_blocks, |_, _| ()).await
}

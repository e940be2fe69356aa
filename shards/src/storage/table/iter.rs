//! Walks and looks up tables without doing I/O: blocks come from a [`BlockSource`], and where one
//! is not at hand the walker stops with [`Stop::Need`] and can be called again once it is.

use std::ops::Range;
use std::rc::Rc;

use model::time::Timestamp;

use super::super::error::Corruption;
use super::super::version::Version;
use super::Table;
use super::block::{Block, BlockCursor, BlockKind};
use super::filter;
use super::format::{Damage, Handle, PartitionHandles};

/// Gives the blocks that are in memory.
pub(crate) trait BlockSource {
    fn block(&self, table: &Table, handle: Handle) -> Option<Rc<Block>>;
}

/// A block that must be fetched before the walk can go on.
pub(crate) struct Need {
    pub(crate) table: Rc<Table>,
    pub(crate) kind: BlockKind,
    pub(crate) handle: Handle,
}

/// Why a walk stopped.
pub(crate) enum Stop {
    Need(Need),
    Corrupt(Corruption),
}

fn fetch(
    source: &dyn BlockSource,
    table: &Rc<Table>,
    kind: BlockKind,
    handle: Handle,
) -> Result<Rc<Block>, Stop> {
    source
        .block(table, handle)
        .ok_or_else(|| Stop::Need(Need { table: Rc::clone(table), kind, handle }))
}

fn corrupt(table: &Table, handle: Handle) -> Stop {
    Stop::Corrupt(Corruption {
        file: table.path.clone(),
        offset: handle.offset,
        damage: Damage::Structure,
    })
}

fn partition_handles(
    table: &Table,
    at: Handle,
    value: Option<&[u8]>,
) -> Result<PartitionHandles, Stop> {
    value
        .and_then(PartitionHandles::decode)
        .filter(|handles| handles.index.end() <= at.offset && handles.filter.end() <= at.offset)
        .ok_or_else(|| corrupt(table, at))
}

fn data_handle(table: &Table, at: Handle, value: Option<&[u8]>) -> Result<Handle, Stop> {
    value
        .and_then(Handle::decode)
        .filter(|handle| handle.end() <= at.offset)
        .ok_or_else(|| corrupt(table, at))
}

/// A version found in a table.
pub(crate) struct FoundInTable {
    pub(crate) ts: Timestamp,
    pub(crate) block: Rc<Block>,
    /// Where the value lies in the block; `None` for a tombstone.
    pub(crate) value: Option<Range<usize>>,
}

/// The newest version of `key` at or before `at`. `hash` is the key's filter hash.
pub(crate) fn find(
    source: &dyn BlockSource,
    table: &Rc<Table>,
    key: &[u8],
    hash: u64,
    at: Timestamp,
) -> Result<Option<FoundInTable>, Stop> {
    let top_handle = table.meta.top;
    let top = fetch(source, table, BlockKind::Top, top_handle)?;
    let Some(hit) = top.lower_bound(key, at) else { return Ok(None) };
    let value = hit.value.map(|range| &top.bytes()[range]);
    let handles = partition_handles(table, top_handle, value)?;
    let filter = fetch(source, table, BlockKind::Filter, handles.filter)?;
    if !filter::may_contain(filter.bytes(), hash) {
        return Ok(None);
    }
    let index = fetch(source, table, BlockKind::Index, handles.index)?;
    let Some(hit) = index.lower_bound(key, at) else { return Ok(None) };
    let value = hit.value.map(|range| &index.bytes()[range]);
    let handle = data_handle(table, handles.index, value)?;
    let data = fetch(source, table, BlockKind::Data, handle)?;
    Ok(data.lower_bound(key, at).filter(|hit| hit.same_key).map(|hit| FoundInTable {
        ts: hit.ts,
        value: hit.value,
        block: data,
    }))
}

/// Where a walk begins and which way it goes.
#[derive(Clone, Debug)]
pub(crate) enum Walk {
    /// Upwards from the first version whose key is not below this one.
    Forward(Box<[u8]>),
    /// Downwards from the last version whose key is below this one, or from the end.
    Reverse(Option<Box<[u8]>>),
}

/// The tables of a run.
pub(crate) enum Run {
    /// One level of a version; not level 0, unless it holds a single table.
    Level(Rc<Version>, usize),
    /// Tables in order of their keys.
    Tables(Vec<Rc<Table>>),
}

impl Run {
    fn tables(&self) -> &[Rc<Table>] {
        match self {
            Run::Level(version, level) => &version.levels[*level],
            Run::Tables(tables) => tables,
        }
    }
}

/// Walks one sorted run: tables that do not overlap, in order of their keys.
pub(crate) struct RunIter {
    run: Run,
    walk: Walk,
    /// No table that lies wholly beyond this key is entered: forward it is the first key not
    /// wanted, in reverse the last one wanted.
    limit: Option<Box<[u8]>>,
    /// The current table, counted from the first; `None` when the walk is over.
    table: Option<usize>,
    top: Option<BlockCursor>,
    index: Option<BlockCursor>,
    data: Option<BlockCursor>,
    spare_key: Vec<u8>,
}

impl RunIter {
    pub(crate) fn new(run: Run, walk: Walk, limit: Option<Box<[u8]>>) -> Self {
        let tables = run.tables();
        let table = match &walk {
            Walk::Forward(start) => {
                let first = tables.partition_point(|table| *table.meta.largest < **start);
                (first < tables.len()).then_some(first)
            }
            Walk::Reverse(None) => tables.len().checked_sub(1),
            Walk::Reverse(Some(end)) => {
                tables.partition_point(|table| *table.meta.smallest < **end).checked_sub(1)
            }
        };
        let mut iter = Self {
            run,
            walk,
            limit,
            table: None,
            top: None,
            index: None,
            data: None,
            spare_key: Vec::new(),
        };
        iter.table = table.filter(|at| iter.is_wanted(*at));
        iter
    }

    /// Whether a table is not wholly beyond the limit.
    fn is_wanted(&self, at: usize) -> bool {
        let meta = &self.run.tables()[at].meta;
        match (&self.walk, &self.limit) {
            (_, None) => true,
            (Walk::Forward(_), Some(limit)) => *meta.smallest < **limit,
            (Walk::Reverse(_), Some(limit)) => *meta.largest >= **limit,
        }
    }

    /// The cursor of the current version, once settled and not done.
    pub(crate) fn cursor(&self) -> Option<&BlockCursor> {
        self.data.as_ref()
    }

    /// Brings the walk to its next version or its end. May be called again after every stop.
    pub(crate) fn settle(&mut self, source: &dyn BlockSource) -> Result<(), Stop> {
        while self.data.is_none() {
            let Some(at) = self.table else { return Ok(()) };
            let table = Rc::clone(&self.run.tables()[at]);
            if self.top.is_none() {
                let block = fetch(source, &table, BlockKind::Top, table.meta.top)?;
                self.top = self.enter_inner(block);
            }
            let Some(top) = &self.top else {
                self.step_table();
                continue;
            };
            if self.index.is_none() {
                let handles = partition_handles(&table, table.meta.top, top.value())?;
                let block = fetch(source, &table, BlockKind::Index, handles.index)?;
                self.index = self.enter_inner(block);
            }
            let Some(index) = &self.index else {
                self.step_partition();
                continue;
            };
            let handle = data_handle(&table, table.meta.top, index.value())?;
            let block = fetch(source, &table, BlockKind::Data, handle)?;
            self.data = self.enter_data(block);
            if self.data.is_none() {
                self.step_block();
            }
        }
        Ok(())
    }

    /// Stands in an index or top block on the entry under which the walk goes on.
    fn enter_inner(&self, block: Rc<Block>) -> Option<BlockCursor> {
        let mut cursor = BlockCursor::new(block, Vec::new());
        match &self.walk {
            Walk::Forward(start) => cursor.seek(start, Timestamp(u64::MAX)),
            Walk::Reverse(None) => cursor.seek_last(),
            Walk::Reverse(Some(end)) => {
                cursor.seek(end, Timestamp(u64::MAX));
                if !cursor.is_valid() {
                    cursor.seek_last();
                }
            }
        }
        cursor.is_valid().then_some(cursor)
    }

    fn enter_data(&mut self, block: Rc<Block>) -> Option<BlockCursor> {
        let mut cursor = BlockCursor::new(block, std::mem::take(&mut self.spare_key));
        match &self.walk {
            Walk::Forward(start) => cursor.seek(start, Timestamp(u64::MAX)),
            Walk::Reverse(None) => cursor.seek_last(),
            Walk::Reverse(Some(end)) => cursor.seek_before(end, Timestamp(u64::MAX)),
        }
        if cursor.is_valid() {
            Some(cursor)
        } else {
            self.spare_key = cursor.into_key_buffer();
            None
        }
    }

    fn is_reverse(&self) -> bool {
        matches!(self.walk, Walk::Reverse(_))
    }

    fn step_table(&mut self) {
        let next = match self.table {
            Some(at) if self.is_reverse() => at.checked_sub(1),
            Some(at) => Some(at + 1).filter(|next| *next < self.run.tables().len()),
            None => None,
        };
        self.table = next.filter(|at| self.is_wanted(*at));
        self.top = None;
        self.index = None;
    }

    fn step_partition(&mut self) {
        let reverse = self.is_reverse();
        self.index = None;
        if let Some(top) = &mut self.top {
            step(top, reverse);
            if top.is_valid() {
                return;
            }
        }
        self.step_table();
    }

    fn step_block(&mut self) {
        let reverse = self.is_reverse();
        if let Some(index) = &mut self.index {
            step(index, reverse);
            if index.is_valid() {
                return;
            }
        }
        self.step_partition();
    }

    /// Leaves the current version; [`Self::settle`] must be called before the next one is looked at.
    pub(crate) fn advance(&mut self) {
        let reverse = self.is_reverse();
        let Some(data) = &mut self.data else { return };
        step(data, reverse);
        if !data.is_valid() {
            if let Some(cursor) = self.data.take() {
                self.spare_key = cursor.into_key_buffer();
            }
            self.step_block();
        }
    }

    /// The data blocks that come after the needed one in this index partition, nearest first, that
    /// lie side by side with it, up to `bytes_max` together (`needed` counts). Used to read ahead.
    pub(crate) fn ahead(&self, needed: Handle, bytes_max: u64) -> Vec<Handle> {
        let (Some(table), Some(index)) = (self.table, &self.index) else { return Vec::new() };
        let limit = self.run.tables()[table].meta.top.offset;
        let reverse = self.is_reverse();
        let mut cursor = BlockCursor::new(Rc::clone(index.block()), Vec::new());
        cursor.seek(index.key(), index.ts());
        let (mut edge, mut bytes) = (needed, u64::from(needed.len));
        let mut ahead = Vec::new();
        loop {
            step(&mut cursor, reverse);
            if !cursor.is_valid() {
                return ahead;
            }
            let Some(handle) = cursor.value().and_then(Handle::decode) else { return ahead };
            let adjoins = if reverse {
                handle.end() == edge.offset
            } else {
                edge.end() == handle.offset && handle.end() <= limit
            };
            bytes += u64::from(handle.len);
            if !adjoins || bytes > bytes_max {
                return ahead;
            }
            ahead.push(handle);
            edge = handle;
        }
    }
}

fn step(cursor: &mut BlockCursor, reverse: bool) {
    if reverse { cursor.prev() } else { cursor.next() }
}

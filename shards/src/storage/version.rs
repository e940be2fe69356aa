//! A version of a tree: which tables are in which level. Immutable; a flush or a compaction makes
//! the next one out of it and an [`Edit`], while readers finish on the one they hold.

use std::collections::HashSet;
use std::rc::Rc;

use model::id::LogIndex;

use super::table::{Table, TableMeta, TableNumber};

/// Levels of a tree. With a first level of 64 MiB and a growth of 10 the last one holds 6 TiB.
pub(crate) const LEVELS: usize = 7;

/// A change of a tree's tables, as the manifest records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) added: Vec<(usize, TableMeta)>,
    pub(crate) removed: Vec<TableNumber>,
    /// Every log entry up to here is in the tables after this edit.
    pub(crate) durable_index: LogIndex,
    /// No table with this number or a greater one existed before this edit was written.
    pub(crate) next_number: TableNumber,
}

/// The tables of a tree. In level 0 they may overlap and stand newest first; in every other level
/// they do not overlap and stand in order of their keys. Of two versions of one key the newer one
/// is never in a deeper level.
#[derive(Clone, Default)]
pub(crate) struct Version {
    pub(crate) levels: [Vec<Rc<Table>>; LEVELS],
}

impl Version {
    /// This version without `removed` and with `added`.
    pub(crate) fn edited(
        &self,
        removed: &[TableNumber],
        added: impl IntoIterator<Item = (usize, Rc<Table>)>,
    ) -> Version {
        let removed: HashSet<TableNumber> = removed.iter().copied().collect();
        let mut next = self.clone();
        for level in &mut next.levels {
            level.retain(|table| !removed.contains(&table.meta.number));
        }
        for (level, table) in added {
            next.levels[level].push(table);
        }
        next.levels[0].sort_by_key(|table| std::cmp::Reverse(table.meta.number));
        for level in &mut next.levels[1..] {
            level.sort_by(|left, right| left.meta.smallest.cmp(&right.meta.smallest));
            assert!(
                level.windows(2).all(|pair| pair[0].meta.largest < pair[1].meta.smallest),
                "tables of one level must not overlap"
            );
        }
        next
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Rc<Table>> {
        self.levels.iter().flatten()
    }

    pub(crate) fn table_count(&self) -> usize {
        self.levels.iter().map(Vec::len).sum()
    }

    pub(crate) fn level_bytes(&self, level: usize) -> u64 {
        self.levels[level].iter().map(|table| table.meta.file_bytes).sum()
    }

    /// The tables of a level that a key in `[start, end]` may lie in.
    pub(crate) fn overlapping(&self, level: usize, start: &[u8], end: &[u8]) -> Vec<Rc<Table>> {
        if level == 0 {
            let overlaps = |table: &&Rc<Table>| table.meta.overlaps(start, end);
            return self.levels[0].iter().filter(overlaps).map(Rc::clone).collect();
        }
        let tables = &self.levels[level];
        let first = tables.partition_point(|table| *table.meta.largest < *start);
        tables[first..]
            .iter()
            .take_while(|table| *table.meta.smallest <= *end)
            .map(Rc::clone)
            .collect()
    }

    /// The one table of a level below 0 that may hold `key`.
    #[inline]
    pub(crate) fn table_for(&self, level: usize, key: &[u8]) -> Option<&Rc<Table>> {
        let tables = &self.levels[level];
        let at = tables.partition_point(|table| *table.meta.largest < *key);
        tables.get(at).filter(|table| *table.meta.smallest <= *key)
    }

    /// Whether any table in `level` or deeper may hold `key`.
    pub(crate) fn may_hold_from(&self, level: usize, key: &[u8]) -> bool {
        (level..LEVELS).any(|level| {
            if level == 0 {
                self.levels[0].iter().any(|table| table.meta.overlaps(key, key))
            } else {
                self.table_for(level, key).is_some()
            }
        })
    }

    /// Everything in one edit, for a fresh manifest.
    pub(crate) fn snapshot(&self, durable_index: LogIndex, next_number: TableNumber) -> Edit {
        let added = self
            .levels
            .iter()
            .enumerate()
            .flat_map(|(level, tables)| tables.iter().map(move |table| (level, table.meta.clone())))
            .collect();
        Edit { added, removed: Vec::new(), durable_index, next_number }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.tables().map(|table| table.meta.memory_bytes()).sum()
    }
}

//! Decides what to compact: a pure function of a version. [`super::worker`] carries it out.
//!
//! Levelled compaction (O'Neil et al., "The Log-Structured Merge-Tree"; LevelDB's levels): a level
//! that holds more than its target gives one table to the next one, the table that drags the
//! fewest bytes along. Level 0, whose tables overlap, goes as a whole.

use std::collections::HashSet;
use std::rc::Rc;

use super::super::table::{Table, TableNumber};
use super::super::version::{LEVELS, Version};

/// Level-0 tables that go in one compaction at most; bounds its read buffers.
pub(crate) const LEVEL0_INPUTS_MAX: usize = 16;

/// The shape a tree is kept in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelOptions {
    /// Tables in level 0 that start a compaction.
    pub(crate) level0_tables: usize,
    /// Target of level 1 in bytes.
    pub(crate) level1_bytes: u64,
    /// Each level's target over that of the level above.
    pub(crate) growth: u64,
}

impl LevelOptions {
    fn target_bytes(&self, level: usize) -> u64 {
        (1..level).fold(self.level1_bytes, |bytes, _| bytes.saturating_mul(self.growth))
    }
}

/// One compaction: `inputs` of level `from` are merged with `overlapping` of level `from + 1`.
pub(crate) struct Choice {
    pub(crate) from: usize,
    pub(crate) inputs: Vec<Rc<Table>>,
    pub(crate) overlapping: Vec<Rc<Table>>,
}

impl Choice {
    pub(crate) fn to(&self) -> usize {
        self.from + 1
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Rc<Table>> {
        self.inputs.iter().chain(&self.overlapping)
    }

    /// Whether the inputs can change their level without being rewritten.
    pub(crate) fn is_move(&self) -> bool {
        let disjoint = self.inputs.iter().enumerate().all(|(at, table)| {
            self.inputs[at + 1..]
                .iter()
                .all(|other| !table.meta.overlaps(&other.meta.smallest, &other.meta.largest))
        });
        self.overlapping.is_empty() && disjoint
    }
}

/// The most urgent compaction that touches no table in `busy`; `None` where every level is within
/// its target.
pub(crate) fn choose(
    version: &Version,
    busy: &HashSet<TableNumber>,
    options: &LevelOptions,
) -> Option<Choice> {
    let mut levels: Vec<(f64, usize)> = (0..LEVELS - 1)
        .map(|level| (urgency(version, busy, options, level), level))
        .filter(|(urgency, _)| *urgency >= 1.0)
        .collect();
    levels.sort_by(|left, right| right.0.total_cmp(&left.0));
    levels.into_iter().find_map(|(_, level)| {
        if level == 0 { choose_level0(version, busy) } else { choose_table(version, busy, level) }
    })
}

/// How far a level is over its target, not counting what is on its way out; 1 is at the target.
fn urgency(
    version: &Version,
    busy: &HashSet<TableNumber>,
    options: &LevelOptions,
    level: usize,
) -> f64 {
    let idle = version.levels[level].iter().filter(|table| !busy.contains(&table.meta.number));
    if level == 0 {
        return idle.count() as f64 / options.level0_tables as f64;
    }
    let bytes: u64 = idle.map(|table| table.meta.file_bytes).sum();
    // Strictly above the target, so that a level at its target rests.
    bytes.saturating_sub(1) as f64 / options.target_bytes(level) as f64
}

fn choose_level0(version: &Version, busy: &HashSet<TableNumber>) -> Option<Choice> {
    let tables = &version.levels[0];
    // The oldest ones, so that what stays is newer than what goes.
    let inputs: Vec<_> = tables.iter().rev().take(LEVEL0_INPUTS_MAX).map(Rc::clone).collect();
    let start = inputs.iter().map(|table| &*table.meta.smallest).min()?;
    let end = inputs.iter().map(|table| &*table.meta.largest).max()?;
    let overlapping = version.overlapping(1, start, end);
    let choice = Choice { from: 0, overlapping, inputs: newest_first(&inputs) };
    is_idle(&choice, busy).then_some(choice)
}

fn newest_first(oldest_first: &[Rc<Table>]) -> Vec<Rc<Table>> {
    oldest_first.iter().rev().map(Rc::clone).collect()
}

fn choose_table(version: &Version, busy: &HashSet<TableNumber>, level: usize) -> Option<Choice> {
    version.levels[level]
        .iter()
        .map(|table| Choice {
            from: level,
            inputs: vec![Rc::clone(table)],
            overlapping: version.overlapping(level + 1, &table.meta.smallest, &table.meta.largest),
        })
        .filter(|choice| is_idle(choice, busy))
        .min_by(|left, right| drag(left).total_cmp(&drag(right)))
}

/// Bytes of the next level that must be rewritten for each byte that moves down.
fn drag(choice: &Choice) -> f64 {
    let bytes =
        |tables: &[Rc<Table>]| -> u64 { tables.iter().map(|table| table.meta.file_bytes).sum() };
    bytes(&choice.overlapping) as f64 / bytes(&choice.inputs).max(1) as f64
}

fn is_idle(choice: &Choice, busy: &HashSet<TableNumber>) -> bool {
    choice.tables().all(|table| !busy.contains(&table.meta.number))
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;

    use super::super::super::table::format::{Handle, TableIdentity};
    use super::super::super::table::{CacheSlot, TableMeta};
    use super::*;

    const OPTIONS: LevelOptions = LevelOptions { level0_tables: 4, level1_bytes: 100, growth: 10 };

    /// A table named by its number, its key range and its size.
    fn table(number: u64, range: &str, file_bytes: u64) -> Rc<Table> {
        let (smallest, largest) = range.split_once('-').expect("a range like a-c");
        let meta = TableMeta {
            number: TableNumber(number),
            identity: TableIdentity(number),
            file_bytes,
            top: Handle { offset: 0, len: 0 },
            entries: 1,
            tombstones: 0,
            oldest: Timestamp(1),
            newest: Timestamp(1),
            smallest: smallest.as_bytes().into(),
            largest: largest.as_bytes().into(),
        };
        Rc::new(Table::new(meta, CacheSlot(number), format!("{number}").into()))
    }

    fn version(tables: &[(usize, u64, &str, u64)]) -> Version {
        let tables = tables
            .iter()
            .map(|(level, number, range, bytes)| (*level, table(*number, range, *bytes)));
        Version::default().edited(&[], tables)
    }

    /// What is chosen, as `from: inputs + overlapping`.
    fn chosen(tables: &[(usize, u64, &str, u64)], busy: &[u64]) -> String {
        let busy = busy.iter().map(|number| TableNumber(*number)).collect();
        let numbers = |tables: &[Rc<Table>]| -> Vec<u64> {
            tables.iter().map(|table| table.meta.number.0).collect()
        };
        match choose(&version(tables), &busy, &OPTIONS) {
            None => "nothing".to_owned(),
            Some(choice) => {
                let how = if choice.is_move() { "move" } else { "merge" };
                let (inputs, overlapping) = (numbers(&choice.inputs), numbers(&choice.overlapping));
                format!("{how} {}: {inputs:?} + {overlapping:?}", choice.from)
            }
        }
    }

    #[test]
    fn a_tree_within_its_targets_rests() {
        assert_eq!(chosen(&[], &[]), "nothing");
        let tables = [(0, 1, "a-z", 9), (0, 2, "a-z", 9), (1, 3, "a-z", 100)];
        assert_eq!(chosen(&tables, &[]), "nothing");
    }

    #[test]
    fn level_0_goes_as_a_whole_newest_first() {
        let tables = [
            (0, 1, "a-c", 9),
            (0, 2, "b-d", 9),
            (0, 3, "a-b", 9),
            (0, 4, "c-d", 9),
            (1, 5, "a-b", 9),
            (1, 6, "d-f", 9),
            (1, 7, "g-h", 9),
        ];
        assert_eq!(chosen(&tables, &[]), "merge 0: [4, 3, 2, 1] + [5, 6]");
        assert_eq!(chosen(&tables, &[6]), "nothing");
    }

    #[test]
    fn tables_in_order_are_moved_not_rewritten() {
        let tables = [(0, 1, "a-b", 9), (0, 2, "c-d", 9), (0, 3, "e-f", 9), (0, 4, "g-h", 9)];
        assert_eq!(chosen(&tables, &[]), "move 0: [4, 3, 2, 1] + []");
    }

    #[test]
    fn a_full_level_gives_the_table_that_drags_least() {
        let tables = [
            (1, 1, "a-c", 60),
            (1, 2, "d-f", 60),
            (2, 3, "a-b", 60),
            (2, 4, "c-c", 60),
            (2, 5, "f-g", 60),
        ];
        assert_eq!(chosen(&tables, &[]), "merge 1: [2] + [5]");
        // With table 2 on its way out the level is within its target.
        assert_eq!(chosen(&tables, &[2, 5]), "nothing");
    }

    #[test]
    fn the_most_urgent_level_comes_first() {
        let tables = [
            (0, 1, "a-z", 9),
            (0, 2, "a-z", 9),
            (0, 3, "a-z", 9),
            (0, 4, "a-z", 9),
            (1, 5, "a-c", 300),
            (1, 6, "d-z", 300),
        ];
        assert_eq!(chosen(&tables, &[]), "move 1: [5] + []");
    }

    #[test]
    fn the_last_level_is_left_alone() {
        assert_eq!(chosen(&[(LEVELS - 1, 1, "a-z", u64::MAX / 2)], &[]), "nothing");
    }
}

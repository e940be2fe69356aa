//! What the statements of a workload are.

use std::fmt;

use clap::ValueEnum;
use phantomdb_client::Value;

use super::keys::Random;
use super::schema::{PAYLOAD_BYTES, TABLE};

/// Rows that a range read returns.
const RANGE_ROWS: u64 = 100;

/// The workloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Workload {
    /// One row by its primary key
    PointRead,
    /// A hundred rows by a range of the primary key, in order
    RangeRead,
    /// One new row
    Insert,
    /// One row changed by its primary key
    Update,
    /// 80 % point reads, 10 % updates, 5 % inserts, 5 % range reads
    Mixed,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PointRead => "point-read",
            Self::RangeRead => "range-read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Mixed => "mixed",
        })
    }
}

/// One kind of statement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operation {
    /// One row by its primary key.
    PointRead,
    /// A range of the primary key.
    RangeRead,
    /// One new row.
    Insert,
    /// One row changed.
    Update,
}

impl Operation {
    /// All kinds.
    pub const ALL: [Operation; 4] = [Self::PointRead, Self::RangeRead, Self::Insert, Self::Update];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::PointRead => "point-read",
            Self::RangeRead => "range-read",
            Self::Insert => "insert",
            Self::Update => "update",
        }
    }

    /// The text of its statement.
    pub(super) fn text(self) -> String {
        match self {
            Self::PointRead => format!("SELECT id, counter, payload FROM {TABLE} WHERE id = $1"),
            Self::RangeRead => {
                format!(
                    "SELECT id, counter, payload FROM {TABLE} WHERE id >= $1 AND id < $2 ORDER BY id"
                )
            }
            Self::Insert => {
                format!("INSERT INTO {TABLE} (id, counter, payload) VALUES ($1, $2, $3)")
            }
            Self::Update => format!("UPDATE {TABLE} SET counter = counter + 1 WHERE id = $1"),
        }
    }
}

impl Workload {
    /// The kinds of statements it is made of.
    pub fn operations(self) -> &'static [Operation] {
        match self {
            Self::PointRead => &[Operation::PointRead],
            Self::RangeRead => &[Operation::RangeRead],
            Self::Insert => &[Operation::Insert],
            Self::Update => &[Operation::Update],
            Self::Mixed => &Operation::ALL,
        }
    }

    /// The kind of the next statement.
    pub(super) fn pick(self, random: &mut Random) -> Operation {
        match self {
            Self::PointRead => Operation::PointRead,
            Self::RangeRead => Operation::RangeRead,
            Self::Insert => Operation::Insert,
            Self::Update => Operation::Update,
            Self::Mixed => match random.below(100) {
                0..80 => Operation::PointRead,
                80..90 => Operation::Update,
                90..95 => Operation::Insert,
                _ => Operation::RangeRead,
            },
        }
    }
}

/// The parameters of one statement over a table of `rows` rows with the ids 0 and up.
///
/// New rows have ids above all that were loaded: 62 bits of `new_ids`, so that neither two clients nor
/// two runs meet (with 100 million inserted rows the chance of one meeting is below 1 in 900).
pub(super) fn parameters(
    operation: Operation,
    rows: u64,
    random: &mut Random,
    new_ids: &mut Random,
) -> Vec<Value> {
    let id = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    match operation {
        Operation::PointRead | Operation::Update => vec![id(random.below(rows))],
        Operation::RangeRead => {
            let first = random.below(rows.saturating_sub(RANGE_ROWS).max(1));
            vec![id(first), id(first + RANGE_ROWS)]
        }
        Operation::Insert => {
            let new = (1 << 62) | (new_ids.next() >> 2);
            vec![id(new), Value::Int(0), Value::text(random.text(PAYLOAD_BYTES))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_what_it_says() {
        let mut random = Random::of_client(3, 0);
        let mut counts = [0_u32; 4];
        for _ in 0..10_000 {
            counts[Workload::Mixed.pick(&mut random) as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([8_000, 500, 500, 1_000]) {
            assert!(count.abs_diff(expected) < 200, "{counts:?}");
        }
    }

    #[test]
    fn parameters_stay_in_the_table_and_inserts_outside() {
        let (mut random, mut ids) = (Random::of_client(3, 0), Random::of_client(4, 0));
        for rows in [1, 10, 1_000] {
            for _ in 0..100 {
                for (operation, low, high) in [
                    (Operation::PointRead, 0, rows as i64),
                    (Operation::RangeRead, 0, rows as i64),
                    (Operation::Insert, 1 << 62, i64::MAX),
                ] {
                    match parameters(operation, rows, &mut random, &mut ids)[0] {
                        Value::Int(id) => assert!((low..high).contains(&id), "{operation:?} {id}"),
                        ref other => panic!("{other:?}"),
                    }
                }
            }
        }
    }
}

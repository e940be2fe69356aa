//! Hash tables over key columns: equal keys get one number.

use super::memory::Reservation;
use model::batch::Column;
use model::error::SqlError;
use model::key::push_value;
use model::types::DataType;
use model::value::Value;
use std::collections::HashMap;

/// About what a table entry takes besides its key.
const ENTRY_BYTES: usize = 48;

/// Numbers for distinct keys, from 0 in the order of their first appearance. `NULL` equals `NULL`
/// here; joins leave such rows out before they ask. A single integer column is hashed as it is,
/// everything else by its order-preserving encoding, which is one for equal values.
pub(super) struct Grouping {
    table: Table,
    count: u32,
    scratch: Vec<u8>,
    padded: Vec<bool>,
}

enum Table {
    Ints { groups: HashMap<i64, u32>, null: Option<u32> },
    Bytes(HashMap<Box<[u8]>, u32>),
}

impl Grouping {
    /// A table for keys of these types.
    pub(super) fn new(types: &[DataType]) -> Grouping {
        let is_int = |t: &DataType| {
            t.is_integer()
                || matches!(
                    t.base(),
                    DataType::Date | DataType::Time | DataType::Timestamp | DataType::TimestampTz
                )
        };
        let table = match types {
            [only] if is_int(only) => Table::Ints { groups: HashMap::new(), null: None },
            _ => Table::Bytes(HashMap::new()),
        };
        let padded = types.iter().map(|t| matches!(t, DataType::Char(_))).collect();
        Grouping { table, count: 0, scratch: Vec::new(), padded }
    }

    /// How many distinct keys there are.
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// The number of the key in `row`, a new one where it has not been met.
    pub(super) fn insert(
        &mut self,
        keys: &[Column],
        row: usize,
        memory: &mut Reservation,
    ) -> Result<u32, SqlError> {
        if let Some(group) = self.find(keys, row) {
            return Ok(group);
        }
        memory.grow(ENTRY_BYTES + self.scratch.len())?;
        let group = self.count;
        match &mut self.table {
            Table::Ints { null, .. } if keys[0].is_null(row) => *null = Some(group),
            Table::Ints { groups, .. } => {
                groups.insert(int_at(&keys[0], row), group);
            }
            Table::Bytes(groups) => {
                groups.insert(Box::from(self.scratch.as_slice()), group);
            }
        }
        self.count += 1;
        Ok(group)
    }

    /// The number of the key in `row`; `None` where it has not been met.
    pub(super) fn find(&mut self, keys: &[Column], row: usize) -> Option<u32> {
        match &self.table {
            Table::Ints { null, .. } if keys[0].is_null(row) => *null,
            Table::Ints { groups, .. } => groups.get(&int_at(&keys[0], row)).copied(),
            Table::Bytes(groups) => {
                self.scratch.clear();
                for (column, padded) in keys.iter().zip(&self.padded) {
                    match column.value(row) {
                        Value::Text(text) if *padded => {
                            let trimmed = Value::text(text.trim_end_matches(' '));
                            push_value(&mut self.scratch, &trimmed, false);
                        }
                        value => push_value(&mut self.scratch, &value, false),
                    }
                }
                groups.get(self.scratch.as_slice()).copied()
            }
        }
    }
}

/// The integer behind a value that is not null; a column of another form holds no such key.
fn int_at(column: &Column, row: usize) -> i64 {
    match column.ints() {
        Some(ints) => ints[row],
        None => match column.value(row) {
            Value::Int(v) | Value::Time(v) | Value::Timestamp(v) => v,
            Value::Date(v) => i64::from(v),
            _ => 0,
        },
    }
}

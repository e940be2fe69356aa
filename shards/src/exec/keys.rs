//! Keys of rows and index entries, and where they are placed. The router uses them too.

use super::store::StoredRow;
use model::key::{KeyRange, push_object, push_value};
use model::placement::hash_of;
use model::schema::{Index, Table};
use model::value::Value;

/// The key of a row of `table` with these values for all columns.
pub fn row_key(table: &Table, values: &[Value]) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + table.primary_key.len() * 10);
    push_object(&mut key, table.storage);
    for &ordinal in &table.primary_key {
        push_value(&mut key, &values[ordinal], false);
    }
    key
}

/// The key of a row, of its primary key columns in key order.
pub fn row_key_of_primary<'a>(
    table: &Table,
    primary: impl IntoIterator<Item = &'a Value>,
) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + table.primary_key.len() * 10);
    push_object(&mut key, table.storage);
    for value in primary {
        push_value(&mut key, value, false);
    }
    key
}

/// Whether a row claims its entry's columns for itself: the index is unique and no column is
/// `NULL`.
pub fn is_claim(index: &Index, values: &[Value]) -> bool {
    index.unique && index.columns.iter().all(|column| !values[column.ordinal].is_null())
}

/// The key of a row's entry in `index`: the index's columns, followed by the primary key where
/// they do not claim to be unique.
pub fn index_entry_key(table: &Table, index: &Index, values: &[Value]) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + (index.columns.len() + table.primary_key.len()) * 10);
    push_object(&mut key, index.id);
    for column in &index.columns {
        push_value(&mut key, &values[column.ordinal], column.descending);
    }
    if !is_claim(index, values) {
        for &ordinal in &table.primary_key {
            push_value(&mut key, &values[ordinal], false);
        }
    }
    key
}

/// What an index entry holds: the row's primary key columns, encoded as a row.
pub fn index_entry_value(table: &Table, values: &[Value]) -> StoredRow {
    StoredRow::encode(table.primary_key.iter().map(|&ordinal| &values[ordinal]))
}

/// The hash that places values: of a row its partition columns', of an entry of a global index
/// its columns'.
pub fn placement_hash<'a>(values: impl IntoIterator<Item = &'a Value>) -> u64 {
    let mut encoded = Vec::new();
    for value in values {
        push_value(&mut encoded, value, false);
    }
    hash_of(&encoded)
}

/// The hash that places a row of `table`.
pub fn row_hash(table: &Table, values: &[Value]) -> u64 {
    placement_hash(table.partition_columns.iter().map(|&ordinal| &values[ordinal]))
}

/// The hash that places a row, of its primary key columns in key order.
pub fn primary_hash(table: &Table, primary: &[Value]) -> u64 {
    // The partition columns are among them.
    let in_key = |ordinal: &usize| table.primary_key.iter().position(|key| key == ordinal);
    let placed_by = table.partition_columns.iter().filter_map(in_key);
    placement_hash(placed_by.map(|column| &primary[column]))
}

/// The hash that places a row's entry in a global index.
pub fn index_entry_hash(index: &Index, values: &[Value]) -> u64 {
    placement_hash(index.columns.iter().map(|column| &values[column.ordinal]))
}

/// The range of all rows of a table or all entries of an index.
pub fn object_range(object: model::id::ObjectId) -> KeyRange {
    let mut prefix = Vec::with_capacity(4);
    push_object(&mut prefix, object);
    KeyRange::prefix(prefix)
}

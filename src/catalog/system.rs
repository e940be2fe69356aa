//! The tables that the catalog itself is kept in.

use super::SYSTEM_SCHEMA;
use model::id::ObjectId;
use model::schema::{Column, Placement, Table};
use model::types::DataType;
use model::value::Value;
use std::sync::{Arc, LazyLock};

/// Ids below are PhantomDB's own.
pub const FIRST_USER_OBJECT: ObjectId = ObjectId(1000);
pub(super) const DEFAULT_DATABASE_ID: ObjectId = ObjectId(1);
pub(super) const DEFAULT_SCHEMA_ID: ObjectId = ObjectId(2);
const OBJECTS_ID: ObjectId = ObjectId(100);
const SEQUENCES_ID: ObjectId = ObjectId(101);

fn table(id: ObjectId, name: &str, columns: &[(&str, DataType)], placement: Placement) -> Table {
    let column = |&(name, data_type): &(&str, DataType)| Column {
        name: name.to_owned(),
        data_type,
        nullable: false,
        default: None,
        missing: Value::Null,
        hidden: false,
        identity: None,
    };
    Table {
        id,
        storage: id,
        schema: SYSTEM_SCHEMA.to_owned(),
        name: name.to_owned(),
        columns: columns.iter().map(column).collect(),
        primary_key: vec![0],
        primary_key_name: Some(format!("{name}_pkey")),
        partition_columns: vec![0],
        placement,
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        referenced_by: Vec::new(),
    }
}

static OBJECTS: LazyLock<Arc<Table>> = LazyLock::new(|| {
    let columns =
        [("id", DataType::Int8), ("kind", DataType::Text), ("definition", DataType::Text)];
    Arc::new(table(OBJECTS_ID, "objects", &columns, Placement::System))
});

static SEQUENCES: LazyLock<Arc<Table>> = LazyLock::new(|| {
    let columns =
        [("state", DataType::Int8), ("last_value", DataType::Int8), ("is_called", DataType::Bool)];
    Arc::new(table(SEQUENCES_ID, "sequences", &columns, Placement::Hashed))
});

/// `phantom.objects(id bigint primary key, kind text, definition text)`: the stored catalog.
pub fn objects_table() -> &'static Arc<Table> {
    &OBJECTS
}

/// `phantom.sequences(state bigint primary key, last_value bigint, is_called boolean)`: how far the
/// values of each sequence are reserved, spread over the partitions.
pub fn sequences_table() -> &'static Arc<Table> {
    &SEQUENCES
}

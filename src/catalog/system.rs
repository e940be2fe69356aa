//! The tables that the catalog itself is kept in.

use super::SYSTEM_SCHEMA;
use model::id::ObjectId;
use model::schema::{Column, Placement, Table};
use model::types::{DataType, ElementType};
use model::value::Value;
use std::sync::{Arc, LazyLock};

pub(super) const DEFAULT_DATABASE_ID: ObjectId = ObjectId(1);
pub(super) const DEFAULT_SCHEMA_ID: ObjectId = ObjectId(2);
const OBJECTS_ID: ObjectId = ObjectId(100);
const SEQUENCES_ID: ObjectId = ObjectId(101);
const SAGAS_ID: ObjectId = ObjectId(102);
const SAGA_STEPS_ID: ObjectId = ObjectId(103);
const NODE_REGISTRY_ID: ObjectId = ObjectId(104);
const REPLICAS_ID: ObjectId = ObjectId(105);

/// A table whose key is its first `key` columns, and whose rows are placed by the first of them.
/// A `?` behind its name says that a column may be null.
fn table(
    id: ObjectId,
    name: &str,
    columns: &[(&str, DataType)],
    key: usize,
    placement: Placement,
) -> Table {
    let column = |&(name, data_type): &(&str, DataType)| Column {
        name: name.trim_end_matches('?').to_owned(),
        data_type,
        nullable: name.ends_with('?'),
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
        primary_key: (0..key).collect(),
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
    Arc::new(table(OBJECTS_ID, "objects", &columns, 1, Placement::System))
});

static SEQUENCES: LazyLock<Arc<Table>> = LazyLock::new(|| {
    let columns =
        [("state", DataType::Int8), ("last_value", DataType::Int8), ("is_called", DataType::Bool)];
    Arc::new(table(SEQUENCES_ID, "sequences", &columns, 1, Placement::Hashed))
});

static SAGAS: LazyLock<Arc<Table>> = LazyLock::new(|| {
    let columns = [
        ("id", DataType::Int8),
        ("name?", DataType::Text),
        ("state", DataType::Text),
        ("steps", DataType::Int4),
        ("compensated", DataType::Int4),
        ("role", DataType::Oid),
        ("database", DataType::Text),
        ("session?", DataType::Int4),
        ("began", DataType::TimestampTz),
        ("changed", DataType::TimestampTz),
        ("failures", DataType::Int4),
        ("last_error?", DataType::Text),
        ("skipped?", DataType::Array(ElementType::Int4)),
    ];
    Arc::new(table(SAGAS_ID, SAGAS_NAME, &columns, 1, Placement::Hashed))
});

static SAGA_STEPS: LazyLock<Arc<Table>> = LazyLock::new(|| {
    let columns = [
        ("saga", DataType::Int8),
        ("step", DataType::Int4),
        ("name?", DataType::Text),
        ("role", DataType::Int8),
        ("path", DataType::Text),
        ("compensation", DataType::Text),
        ("types", DataType::Array(ElementType::Int8)),
        ("parameters", DataType::Array(ElementType::Text)),
    ];
    Arc::new(table(SAGA_STEPS_ID, "saga_steps", &columns, 2, Placement::Hashed))
});

/// The nodes of the cluster, as they were let in (`src/cluster/registry`).
static NODE_REGISTRY: LazyLock<Arc<Table>> = LazyLock::new(|| {
    let columns = [
        ("id", DataType::Int4),
        ("native", DataType::Text),
        ("pg?", DataType::Text),
        ("cores", DataType::Array(ElementType::Text)),
        ("locality", DataType::Text),
        ("software", DataType::Text),
        ("starts", DataType::Int8),
        ("wanted", DataType::Text),
        ("registered", DataType::TimestampTz),
        ("version", DataType::Int8),
    ];
    Arc::new(table(NODE_REGISTRY_ID, "node_registry", &columns, 1, Placement::System))
});

/// The nodes that hold each partition.
static REPLICAS: LazyLock<Arc<Table>> = LazyLock::new(|| {
    let columns = [
        ("id", DataType::Int4),
        ("voters", DataType::Array(ElementType::Int4)),
        ("learners", DataType::Array(ElementType::Int4)),
        ("version", DataType::Int8),
    ];
    Arc::new(table(REPLICAS_ID, "replicas", &columns, 1, Placement::System))
});

/// The stored table that every role may read: of the sagas of roles it belongs to.
pub const SAGAS_NAME: &str = "sagas";

/// The tables of this schema whose rows are stored.
pub fn stored_tables() -> [&'static Arc<Table>; 6] {
    [&OBJECTS, &SEQUENCES, &SAGAS, &SAGA_STEPS, &NODE_REGISTRY, &REPLICAS].map(LazyLock::force)
}

/// `phantom.objects(id bigint primary key, kind text, definition text)`: the stored catalog.
pub fn objects_table() -> &'static Arc<Table> {
    &OBJECTS
}

/// `phantom.sequences(state bigint primary key, last_value bigint, is_called boolean)`: how far the
/// values of each sequence are reserved, spread over the partitions.
pub fn sequences_table() -> &'static Arc<Table> {
    &SEQUENCES
}

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

static OBJECTS: LazyLock<Arc<Table>> = LazyLock::new(|| {
    let column = |name: &str, data_type| Column {
        name: name.to_owned(),
        data_type,
        nullable: false,
        default: None,
        missing: Value::Null,
        hidden: false,
    };
    Arc::new(Table {
        id: OBJECTS_ID,
        storage: OBJECTS_ID,
        schema: SYSTEM_SCHEMA.to_owned(),
        name: "objects".to_owned(),
        columns: vec![
            column("id", DataType::Int8),
            column("kind", DataType::Text),
            column("definition", DataType::Text),
        ],
        primary_key: vec![0],
        primary_key_name: Some("objects_pkey".to_owned()),
        partition_columns: vec![0],
        placement: Placement::System,
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        referenced_by: Vec::new(),
    })
});

/// `phantom.objects(id bigint primary key, kind text, definition text)`: the stored catalog.
pub fn objects_table() -> &'static Arc<Table> {
    &OBJECTS
}

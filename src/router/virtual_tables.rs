//! Tables that are made when they are named: the node's own state and the standard's views of the
//! catalog.
//!
//! ```text
//!  phantom             nodes, partitions, constraints
//!  information_schema  schemata, tables, columns, table_constraints, key_column_usage
//!  pg_catalog          pg_database, pg_indexes, pg_tables
//! ```
//!
//! They show the session's own database, and of the columns of the standard those that say
//! something here.

use crate::catalog::{Catalog, Relation, SYSTEM_SCHEMA};
use crate::sql::{SessionSettings, VirtualTable, VirtualTables};
use model::id::{CoreId, NodeId};
use model::placement::PlacementMap;
use model::schema::{ForeignKey, Index, ReferentialAction, Table};
use model::types::DataType;
use model::value::Value;
use std::sync::Arc;

/// What the node knows of itself.
#[derive(Debug, Clone)]
pub struct NodeTables {
    /// This node.
    pub node: NodeId,
    /// Its native address.
    pub address: String,
    /// How many cores it has.
    pub cores: u16,
    /// Where the partitions are.
    pub placement: Arc<PlacementMap>,
}

impl VirtualTables for NodeTables {
    fn table(
        &self,
        schema: Option<&str>,
        name: &str,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<VirtualTable> {
        let database = settings.database.as_str();
        match (schema?, name) {
            ("phantom", "nodes") => Some(self.nodes()),
            ("phantom", "partitions") => Some(self.partitions()),
            ("phantom", "constraints") => Some(definitions(catalog, database)),
            ("information_schema", "schemata") => Some(schemata(catalog, database)),
            ("information_schema", "tables") => Some(tables(catalog, database)),
            ("information_schema", "columns") => Some(columns(catalog, database)),
            ("information_schema", "table_constraints") => Some(constraints(catalog, database)),
            ("information_schema", "key_column_usage") => Some(key_columns(catalog, database)),
            ("pg_catalog", "pg_database") => Some(databases(catalog)),
            ("pg_catalog", "pg_indexes") => Some(indexes(catalog, database)),
            ("pg_catalog", "pg_tables") => Some(pg_tables(catalog, database)),
            _ => None,
        }
    }
}

impl NodeTables {
    fn nodes(&self) -> VirtualTable {
        let mut nodes = made(&[
            ("id", DataType::Int4),
            ("address", DataType::Text),
            ("state", DataType::Text),
            ("cores", DataType::Int4),
            ("partitions", DataType::Int4),
            ("leaders", DataType::Int4),
        ]);
        let here = |place: &&model::placement::Place| place.node == self.node;
        let leaders = self.placement.leaders.iter().filter(here).count();
        nodes.rows.push(vec![
            Value::Int(i64::from(self.node.0)),
            Value::text(self.address.as_str()),
            Value::text("alive"),
            Value::Int(i64::from(self.cores)),
            Value::Int(self.placement.leaders.len() as i64),
            Value::Int(leaders as i64),
        ]);
        nodes
    }

    fn partitions(&self) -> VirtualTable {
        let mut partitions = made(&[
            ("id", DataType::Int4),
            ("leader_node", DataType::Int4),
            ("leader_core", DataType::Int4),
            ("holds", DataType::Text),
        ]);
        for (id, place) in self.placement.leaders.iter().enumerate() {
            let CoreId(core) = place.core;
            let holds = if id == 0 { "system" } else { "rows" };
            partitions.rows.push(vec![
                Value::Int(id as i64),
                Value::Int(i64::from(place.node.0)),
                Value::Int(i64::from(core)),
                Value::text(holds),
            ]);
        }
        partitions
    }
}

/// A table without rows yet.
fn made(columns: &[(&str, DataType)]) -> VirtualTable {
    let columns = columns.iter().map(|(name, t)| ((*name).to_owned(), *t)).collect();
    VirtualTable { columns, rows: Vec::new() }
}

/// One whose columns are all text.
fn of_texts(columns: &[&str]) -> VirtualTable {
    let columns: Vec<(&str, DataType)> =
        columns.iter().map(|name| (*name, DataType::Text)).collect();
    made(&columns)
}

fn texts<const N: usize>(values: [&str; N]) -> Vec<Value> {
    values.map(Value::text).into()
}

fn yes(truth: bool) -> &'static str {
    if truth { "YES" } else { "NO" }
}

fn schemata(catalog: &Catalog, database: &str) -> VirtualTable {
    let mut schemata = of_texts(&["catalog_name", "schema_name", "schema_owner"]);
    let own = catalog.database(database).into_iter().flat_map(|known| known.schemas.keys());
    let fixed = ["information_schema", "pg_catalog", SYSTEM_SCHEMA];
    for schema in own.map(String::as_str).chain(fixed) {
        schemata.rows.push(texts([database, schema, "phantom"]));
    }
    schemata
}

fn tables(catalog: &Catalog, database: &str) -> VirtualTable {
    let mut tables = of_texts(&["table_catalog", "table_schema", "table_name", "table_type"]);
    for (schema, relation) in catalog.relations(database) {
        let kind = match relation {
            Relation::Table(_) => "BASE TABLE",
            Relation::View(_) => "VIEW",
        };
        tables.rows.push(texts([database, schema, relation.name(), kind]));
    }
    tables
}

fn columns(catalog: &Catalog, database: &str) -> VirtualTable {
    let mut columns = made(&[
        ("table_catalog", DataType::Text),
        ("table_schema", DataType::Text),
        ("table_name", DataType::Text),
        ("column_name", DataType::Text),
        ("ordinal_position", DataType::Int4),
        ("column_default", DataType::Text),
        ("is_nullable", DataType::Text),
        ("data_type", DataType::Text),
        ("character_maximum_length", DataType::Int4),
        ("numeric_precision", DataType::Int4),
        ("numeric_scale", DataType::Int4),
    ]);
    for (schema, relation) in catalog.relations(database) {
        let mut position = 0;
        let mut push = |name: &str, default: Value, nullable: bool, data_type: Option<DataType>| {
            position += 1;
            let (length, precision, scale) = data_type.map_or_else(Default::default, modifiers);
            let mut row = texts([database, schema, relation.name(), name]);
            row.push(Value::Int(position));
            row.push(default);
            row.push(Value::text(yes(nullable)));
            row.push(data_type.map_or(Value::Null, |t| Value::text(type_name(t).as_str())));
            row.extend([length, precision, scale]);
            columns.rows.push(row);
        };
        match relation {
            Relation::Table(table) => {
                for ordinal in table.visible() {
                    let column = &table.columns[ordinal];
                    let default = column.default.as_ref().map_or(Value::Null, |expression| {
                        Value::text(shards::exec::explain::expression(expression).as_str())
                    });
                    push(&column.name, default, column.nullable, Some(column.data_type));
                }
            }
            Relation::View(view) => {
                for name in &view.columns {
                    push(name, Value::Null, true, None);
                }
            }
        }
    }
    columns
}

/// The type's name as the standard's views have it: without modifiers.
fn type_name(data_type: DataType) -> String {
    match data_type {
        DataType::Varchar(_) => "character varying".to_owned(),
        DataType::Char(_) => "character".to_owned(),
        other => other.base().to_string(),
    }
}

/// Length, precision and scale.
fn modifiers(data_type: DataType) -> (Value, Value, Value) {
    match data_type {
        DataType::Varchar(n) | DataType::Char(n) => {
            (Value::Int(i64::from(n)), Value::Null, Value::Null)
        }
        DataType::Numeric(Some(limits)) => (
            Value::Null,
            Value::Int(i64::from(limits.precision)),
            Value::Int(i64::from(limits.scale)),
        ),
        _ => (Value::Null, Value::Null, Value::Null),
    }
}

/// All tables of a database with their schemas.
fn real_tables<'a>(
    catalog: &'a Catalog,
    database: &str,
) -> impl Iterator<Item = (&'a str, &'a Table)> {
    catalog.relations(database).filter_map(|(schema, relation)| match relation {
        Relation::Table(table) => Some((schema, &**table)),
        Relation::View(_) => None,
    })
}

fn constraints(catalog: &Catalog, database: &str) -> VirtualTable {
    let mut constraints = of_texts(&[
        "constraint_catalog",
        "constraint_schema",
        "constraint_name",
        "table_schema",
        "table_name",
        "constraint_type",
    ]);
    for (schema, table) in real_tables(catalog, database) {
        let mut push = |name: &str, kind: &str| {
            constraints.rows.push(texts([database, schema, name, schema, &table.name, kind]));
        };
        if let Some(name) = &table.primary_key_name {
            push(name, "PRIMARY KEY");
        }
        for index in table.indexes.iter().filter(|index| index.constraint) {
            push(&index.name, "UNIQUE");
        }
        for check in &table.checks {
            push(&check.name, "CHECK");
        }
        for reference in &table.foreign_keys {
            push(&reference.name, "FOREIGN KEY");
        }
    }
    constraints
}

/// The constraints as `CREATE TABLE` would write them.
fn definitions(catalog: &Catalog, database: &str) -> VirtualTable {
    let mut constraints = of_texts(&["table_schema", "table_name", "name", "definition"]);
    for (schema, table) in real_tables(catalog, database) {
        let mut push = |name: &str, definition: &str| {
            constraints.rows.push(texts([schema, &table.name, name, definition]));
        };
        if let Some(name) = &table.primary_key_name {
            push(name, &format!("PRIMARY KEY ({})", names(table, &table.primary_key)));
        }
        for index in table.indexes.iter().filter(|index| index.constraint) {
            let ordinals: Vec<usize> = index.columns.iter().map(|column| column.ordinal).collect();
            push(&index.name, &format!("UNIQUE ({})", names(table, &ordinals)));
        }
        for reference in &table.foreign_keys {
            push(&reference.name, &reference_definition(catalog, table, reference));
        }
        for check in &table.checks {
            push(&check.name, &format!("CHECK ({})", check.text));
        }
    }
    constraints
}

fn reference_definition(catalog: &Catalog, table: &Table, key: &ForeignKey) -> String {
    let theirs = catalog
        .table(key.parent)
        .map_or_else(String::new, |parent| format!(" ({})", names(parent, &key.parent_columns)));
    let on = |what: &str, action: ReferentialAction| match action {
        ReferentialAction::NoAction => String::new(),
        ReferentialAction::Restrict => format!(" ON {what} RESTRICT"),
        ReferentialAction::Cascade => format!(" ON {what} CASCADE"),
        ReferentialAction::SetNull => format!(" ON {what} SET NULL"),
        ReferentialAction::SetDefault => format!(" ON {what} SET DEFAULT"),
    };
    let (update, delete) = (on("UPDATE", key.on_update), on("DELETE", key.on_delete));
    let own = names(table, &key.child_columns);
    format!("FOREIGN KEY ({own}) REFERENCES {}{theirs}{update}{delete}", key.parent_name)
}

/// The names of a table's columns, separated by commas.
fn names(table: &Table, ordinals: &[usize]) -> String {
    let names: Vec<&str> =
        ordinals.iter().map(|&ordinal| table.columns[ordinal].name.as_str()).collect();
    names.join(", ")
}

fn key_columns(catalog: &Catalog, database: &str) -> VirtualTable {
    let mut usage = made(&[
        ("constraint_schema", DataType::Text),
        ("constraint_name", DataType::Text),
        ("table_schema", DataType::Text),
        ("table_name", DataType::Text),
        ("column_name", DataType::Text),
        ("ordinal_position", DataType::Int4),
    ]);
    for (schema, table) in real_tables(catalog, database) {
        let mut push = |name: &str, ordinals: &[usize]| {
            for (position, ordinal) in ordinals.iter().enumerate() {
                let column = &table.columns[*ordinal].name;
                let mut row = texts([schema, name, schema, &table.name, column]);
                row.push(Value::Int(position as i64 + 1));
                usage.rows.push(row);
            }
        };
        if let Some(name) = &table.primary_key_name {
            push(name, &table.primary_key);
        }
        for index in table.indexes.iter().filter(|index| index.constraint) {
            let ordinals: Vec<usize> = index.columns.iter().map(|column| column.ordinal).collect();
            push(&index.name, &ordinals);
        }
        for reference in &table.foreign_keys {
            push(&reference.name, &reference.child_columns);
        }
    }
    usage
}

fn databases(catalog: &Catalog) -> VirtualTable {
    let mut databases =
        made(&[("oid", DataType::Int8), ("datname", DataType::Text), ("encoding", DataType::Text)]);
    for (name, database) in catalog.databases() {
        let id = Value::Int(i64::from(database.id.0));
        databases.rows.push(vec![id, Value::text(name.as_str()), Value::text("UTF8")]);
    }
    databases
}

fn pg_tables(catalog: &Catalog, database: &str) -> VirtualTable {
    let mut tables = of_texts(&["schemaname", "tablename", "tableowner"]);
    for (schema, table) in real_tables(catalog, database) {
        tables.rows.push(texts([schema, &table.name, "phantom"]));
    }
    tables
}

fn indexes(catalog: &Catalog, database: &str) -> VirtualTable {
    let mut indexes = of_texts(&["schemaname", "tablename", "indexname", "indexdef"]);
    for (schema, table) in real_tables(catalog, database) {
        if let Some(name) = &table.primary_key_name {
            let columns = table.primary_key.iter().map(|&o| table.columns[o].name.clone());
            let columns: Vec<String> = columns.collect();
            let definition = format!(
                "CREATE UNIQUE INDEX {name} ON {schema}.{} ({})",
                table.name,
                columns.join(", ")
            );
            indexes.rows.push(texts([schema, &table.name, name, &definition]));
        }
        for index in &table.indexes {
            let definition = definition(schema, table, index);
            indexes.rows.push(texts([schema, &table.name, &index.name, &definition]));
        }
    }
    indexes
}

fn definition(schema: &str, table: &Table, index: &Index) -> String {
    let columns = index.columns.iter().map(|column| {
        let direction = if column.descending { " DESC" } else { "" };
        format!("{}{direction}", table.columns[column.ordinal].name)
    });
    let columns: Vec<String> = columns.collect();
    let unique = if index.unique { "UNIQUE " } else { "" };
    format!(
        "CREATE {unique}INDEX {} ON {schema}.{} ({})",
        index.name,
        table.name,
        columns.join(", ")
    )
}

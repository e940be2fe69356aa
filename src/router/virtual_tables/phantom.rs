//! `phantom`: the node's own state.

use super::{NodeTables, constraints};
use crate::catalog::Catalog;
use crate::sql::{SessionSettings, VirtualTable};
use model::id::{CoreId, NodeId, PartitionId};
use model::types::{DataType, ElementType};
use model::value::Value;

const NODES: [(&str, DataType); 9] = [
    ("id", DataType::Int4),
    ("address", DataType::Text),
    ("state", DataType::Text),
    ("cores", DataType::Int4),
    ("partitions", DataType::Int4),
    ("leaders", DataType::Int4),
    ("version", DataType::Text),
    ("core_addresses", DataType::Array(ElementType::Text)),
    ("pg_address", DataType::Text),
];
const PARTITIONS: [(&str, DataType); 6] = [
    ("id", DataType::Int4),
    ("leader_node", DataType::Int4),
    ("leader_core", DataType::Int4),
    ("holds", DataType::Text),
    ("voters", DataType::Array(ElementType::Int4)),
    ("learners", DataType::Array(ElementType::Int4)),
];
const CONSTRAINTS: [(&str, DataType); 4] = [
    ("table_schema", DataType::Text),
    ("table_name", DataType::Text),
    ("name", DataType::Text),
    ("definition", DataType::Text),
];
/// Its rows are the sessions' (`src/session/transactions.rs`).
const TRANSACTIONS: [(&str, DataType); 15] = [
    ("id", DataType::Text),
    ("node", DataType::Int4),
    ("core", DataType::Int4),
    ("pid", DataType::Int4),
    ("state", DataType::Text),
    ("isolation", DataType::Text),
    ("began", DataType::TimestampTz),
    ("heard", DataType::TimestampTz),
    ("partitions", DataType::Array(ElementType::Int4)),
    ("anchor", DataType::Int4),
    ("locks", DataType::Int8),
    ("staged_bytes", DataType::Int8),
    ("waits_for", DataType::Text),
    ("blocked_by", DataType::Array(ElementType::Text)),
    ("waitstart", DataType::TimestampTz),
];

/// Its rows are the sessions' (`src/session/statistics.rs`).
const STATISTICS: [(&str, DataType); 8] = [
    ("core", DataType::Int4),
    ("database", DataType::Text),
    ("commits", DataType::Int8),
    ("rollbacks", DataType::Int8),
    ("retries", DataType::Int8),
    ("serialization_failures", DataType::Int8),
    ("deadlocks", DataType::Int8),
    ("lock_timeouts", DataType::Int8),
];

/// The tables that are made here.
pub(super) const NAMES: [&str; 5] =
    ["nodes", "partitions", "constraints", "transactions", "statistics"];

/// The table of one of these names.
pub(super) fn table(
    node: &NodeTables,
    name: &str,
    catalog: &Catalog,
    settings: &SessionSettings,
) -> Option<VirtualTable> {
    match name {
        "nodes" => Some(nodes(node)),
        "partitions" => Some(partitions(node)),
        "constraints" => Some(definitions(catalog, settings)),
        "transactions" | "statistics" => outline(name),
        _ => None,
    }
}

/// A table without its rows.
pub(super) fn outline(name: &str) -> Option<VirtualTable> {
    match name {
        "nodes" => Some(made(&NODES, Vec::new())),
        "partitions" => Some(made(&PARTITIONS, Vec::new())),
        "constraints" => Some(made(&CONSTRAINTS, Vec::new())),
        "transactions" => Some(made(&TRANSACTIONS, Vec::new())),
        "statistics" => Some(made(&STATISTICS, Vec::new())),
        _ => None,
    }
}

fn nodes(node: &NodeTables) -> VirtualTable {
    let here = |place: &&model::placement::Place| place.node == node.node;
    let leaders = node.placement.leaders.iter().filter(here).count();
    let cores = node.core_addresses.iter().map(|address| Value::text(address.as_str()));
    let row = vec![
        Value::Int(i64::from(node.node.0)),
        Value::text(node.address.as_str()),
        Value::text("alive"),
        Value::Int(i64::from(node.cores)),
        Value::Int(node.placement.held_by(node.node).count() as i64),
        Value::Int(leaders as i64),
        Value::text(env!("CARGO_PKG_VERSION")),
        Value::array(cores.collect()),
        node.pg_address.as_deref().map_or(Value::Null, Value::text),
    ];
    made(&NODES, vec![row])
}

fn partitions(node: &NodeTables) -> VirtualTable {
    let ids = |nodes: &[NodeId]| {
        Value::array(nodes.iter().map(|node| Value::Int(i64::from(node.0))).collect())
    };
    let rows = (0u32..).map(PartitionId).zip(&node.placement.leaders).map(|(id, place)| {
        let CoreId(core) = place.core;
        let replicas = node.placement.replicas(id).cloned().unwrap_or_default();
        vec![
            Value::Int(i64::from(id.0)),
            Value::Int(i64::from(place.node.0)),
            Value::Int(i64::from(core)),
            Value::text(if id == PartitionId::SYSTEM { "system" } else { "rows" }),
            ids(&replicas.voters),
            ids(&replicas.learners),
        ]
    });
    made(&PARTITIONS, rows.collect())
}

/// The constraints as `CREATE TABLE` would write them.
fn definitions(catalog: &Catalog, settings: &SessionSettings) -> VirtualTable {
    let visible = super::visible(catalog, settings);
    let rows = constraints::all(catalog, &settings.database).into_iter().map(|constraint| {
        let definition = constraint.definition(catalog, &visible, true);
        [constraint.schema, &constraint.table.name, constraint.name, &definition]
            .map(Value::text)
            .into()
    });
    made(&CONSTRAINTS, rows.collect())
}

fn made(columns: &[(&str, DataType)], rows: Vec<Vec<Value>>) -> VirtualTable {
    let columns = columns.iter().map(|(name, t)| ((*name).to_owned(), *t)).collect();
    VirtualTable { columns, rows, of_the_node: false, oid: None }
}

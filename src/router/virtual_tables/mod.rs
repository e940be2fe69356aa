//! Tables that are made when they are named: the node's own state and the catalog as PostgreSQL
//! and the standard show it.
//!
//! ```text
//!  phantom             nodes, partitions, constraints, ...          phantom.rs
//!  pg_catalog          every table and view of PostgreSQL 15        pg_catalog.columns
//!                        pg_class, pg_attribute, pg_index, ...      relations.rs
//!                        pg_constraint                              constraints.rs
//!                        pg_sequence, pg_sequences                  sequences.rs
//!                        pg_depend                                  dependencies.rs
//!                        pg_type, pg_namespace, ...                 fixed.rs
//!                        pg_roles, pg_auth_members, ...             roles.rs
//!                        pg_proc, pg_aggregate                      procedures.rs
//!                        pg_operator, pg_cast, pg_opclass, ...      operators.rs
//!                        owners and grants                          access.rs
//!  information_schema  every view of PostgreSQL 15                  information_schema.columns
//!                        tables, columns, table_constraints, ...    information_schema.rs
//! ```
//!
//! All show the session's own database. Those that no file makes are empty: PhantomDB has no
//! triggers, policies or partitions to list. What a session itself keeps (`pg_cursors`), and what it
//! asks the node's cores for (`pg_stat_activity`, `phantom.transactions`), it fills in. The system's own relations are in `pg_class`,
//! but their columns are not in `pg_attribute`. The functions over these tables (`pg_get_indexdef`
//! and its like) are in `functions.rs`.

mod access;
mod comments;
mod constraints;
mod dependencies;
mod fixed;
mod functions;
mod information_schema;
mod objects;
mod operators;
mod outlines;
mod phantom;
mod procedures;
mod relations;
mod roles;
mod sequences;
mod shape;

pub use outlines::Outlines;

use crate::catalog::{
    Catalog, INFORMATION_SCHEMA, PG_CATALOG, Relation, SYSTEM_SCHEMA, Visible, oids,
};
use crate::sql::{
    CatalogFunction, NamedObject, SessionSettings, VirtualTable, VirtualTables, catalog_objects,
};
use model::id::NodeId;
use model::placement::PlacementMap;
use model::schema::Table;
use model::types::RegKind;
use model::value::Value;
use std::sync::Arc;

/// What the node knows of itself.
#[derive(Debug, Clone)]
pub struct NodeTables {
    /// This node.
    pub node: NodeId,
    /// Its native address.
    pub address: String,
    /// The address of each core's own native door, by core.
    pub core_addresses: Vec<String>,
    /// Its PostgreSQL address, if that door is open.
    pub pg_address: Option<String>,
    /// How many cores it has.
    pub cores: u16,
    /// Where the partitions are.
    pub placement: Arc<PlacementMap>,
}

impl VirtualTables for NodeTables {
    fn holds(&self, schema: &str, name: &str) -> bool {
        holds(schema, name)
    }

    fn table(
        &self,
        schema: &str,
        name: &str,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<VirtualTable> {
        match schema {
            SYSTEM_SCHEMA => phantom::table(self, name, catalog, settings),
            INFORMATION_SCHEMA => {
                let shape = shape::find(oids::INFORMATION_SCHEMA, name)?;
                Some(information_schema::table(shape, catalog, settings))
            }
            PG_CATALOG => {
                let shape = shape::find(oids::PG_CATALOG, name)?;
                Some(match name {
                    "pg_settings" => setting_rows(shape, settings),
                    _ => pg_table(shape, catalog, settings),
                })
            }
            _ => None,
        }
    }

    fn objects(
        &self,
        kind: RegKind,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Vec<NamedObject> {
        objects(kind, catalog, settings)
    }

    fn function(
        &self,
        name: &str,
        arguments: usize,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<CatalogFunction> {
        functions::function(name, arguments, catalog, settings)
    }
}

fn holds(schema: &str, name: &str) -> bool {
    match schema {
        SYSTEM_SCHEMA => phantom::NAMES.contains(&name),
        INFORMATION_SCHEMA => shape::find(oids::INFORMATION_SCHEMA, name).is_some(),
        PG_CATALOG => shape::find(oids::PG_CATALOG, name).is_some(),
        _ => false,
    }
}

/// The objects that the values of a `reg*` type name.
fn objects(kind: RegKind, catalog: &Catalog, settings: &SessionSettings) -> Vec<NamedObject> {
    let object = |oid, schema: Option<&str>, name: &str| NamedObject {
        oid,
        schema: schema.map(str::to_owned),
        name: name.to_owned(),
    };
    let mut objects = catalog_objects(kind, catalog, settings);
    match kind {
        RegKind::Class => objects
            .extend(shape::all().map(|shape| object(shape.oid, Some(shape.schema()), shape.name))),
        RegKind::Namespace => {
            objects = fixed::schemas(catalog, &settings.database)
                .into_iter()
                .map(|(name, oid)| object(oid, None, &name))
                .collect();
        }
        RegKind::Role => objects.extend(
            catalog.roles().iter().map(|role| object(oids::object(role.id), None, role.name())),
        ),
        RegKind::Proc | RegKind::Procedure => objects = procedures::objects(kind),
        RegKind::Oper | RegKind::Operator => objects = operators::objects(kind),
        RegKind::Collation => {
            objects.extend(fixed::COLLATIONS.map(|(oid, name)| object(oid, Some(PG_CATALOG), name)))
        }
        _ => {}
    }
    objects
}

/// `pg_settings`
fn setting_rows(shape: &'static shape::Shape, settings: &SessionSettings) -> VirtualTable {
    let mut rows = shape::Rows::of(shape);
    for (name, value) in settings.values.iter() {
        rows.push([("name", Value::text(*name)), ("setting", Value::text(value.as_str()))]);
    }
    rows.done()
}

/// The relations and indexes that a session need not write the schemas of.
fn visible<'c>(catalog: &'c Catalog, settings: &SessionSettings) -> Visible<'c> {
    let SessionSettings { database, path, actor, .. } = settings;
    catalog.visible(database, &catalog.active_path(database, path, actor.role))
}

fn pg_table(
    shape: &'static shape::Shape,
    catalog: &Catalog,
    settings: &SessionSettings,
) -> VirtualTable {
    let database = settings.database.as_str();
    match shape.name {
        "pg_constraint" => return constraints::table(shape, catalog, database),
        "pg_depend" => return dependencies::table(shape, catalog, database),
        _ => {}
    }
    relations::table(shape, catalog, settings)
        .or_else(|| sequences::table(shape, catalog, database))
        .or_else(|| fixed::table(shape, catalog, database))
        .or_else(|| roles::table(shape, catalog))
        .or_else(|| procedures::table(shape))
        .or_else(|| operators::table(shape))
        .unwrap_or_else(|| shape::Rows::of(shape).done())
}

/// All tables of a database with their schemas.
fn real_tables<'a>(
    catalog: &'a Catalog,
    database: &str,
) -> impl Iterator<Item = (&'a str, &'a Table)> {
    catalog.relations(database).filter_map(|(schema, relation)| match relation {
        Relation::Table(table) => Some((schema, &**table)),
        Relation::View(_) | Relation::Sequence(_) => None,
    })
}

/// The number of a column: its place among those that are seen, from 1; 0 of a hidden one.
fn attribute_number(table: &Table, ordinal: usize) -> i64 {
    let number = table.visible().position(|visible| visible == ordinal);
    number.map_or(0, |at| at as i64 + 1)
}

/// The oid of a schema of the database.
fn schema_oid(catalog: &Catalog, database: &str, name: &str) -> u32 {
    let schema = catalog.database(database).and_then(|known| known.schemas.get(name));
    schema.map_or(0, |schema| oids::schema(name, schema.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_can_be_made() {
        let (catalog, settings) = (Catalog::bootstrap(), SessionSettings::of_system("phantom"));
        for shape in shape::all() {
            let table = match shape.namespace {
                oids::PG_CATALOG => pg_table(shape, &catalog, &settings),
                _ => information_schema::table(shape, &catalog, &settings),
            };
            assert_eq!(table.columns.len(), shape.width(), "{}", shape.name);
            assert!(table.rows.iter().all(|row| row.len() == shape.width()), "{}", shape.name);
        }
    }
}

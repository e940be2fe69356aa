//! Tables that are made when they are named: the node's own state and the catalog as PostgreSQL
//! and the standard show it.
//!
//! ```text
//!  phantom             nodes, partitions, constraints               phantom.rs
//!  pg_catalog          every table and view of PostgreSQL 15        pg_catalog.columns
//!                        pg_class, pg_attribute, pg_index, ...      relations.rs
//!                        pg_constraint                              constraints.rs
//!                        pg_sequence, pg_depend, ...                sequences.rs
//!                        pg_type, pg_namespace, ...                 fixed.rs
//!                        pg_roles, pg_auth_members, ...             roles.rs
//!                        owners and grants                          access.rs
//!  information_schema  every view of PostgreSQL 15                  information_schema.columns
//!                        tables, columns, table_constraints, ...    information_schema.rs
//! ```
//!
//! All show the session's own database. Those that no file makes are empty: PhantomDB has no
//! triggers, policies or partitions to list. What a session itself keeps (`pg_cursors`), and what it
//! asks the node's cores for (`pg_stat_activity`), it fills in. The system's own relations are in `pg_class`,
//! but their columns are not in `pg_attribute`. The functions over these tables (`pg_get_indexdef`
//! and its like) are in `functions.rs`.

mod access;
mod constraints;
mod fixed;
mod functions;
mod information_schema;
mod phantom;
mod relations;
mod roles;
mod sequences;
mod shape;

use crate::catalog::{Catalog, Relation, oids};
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
        match schema {
            Some(crate::catalog::SYSTEM_SCHEMA) => phantom::table(self, name, catalog, database),
            Some("information_schema") => {
                let shape = shape::find(oids::INFORMATION_SCHEMA, name)?;
                Some(information_schema::table(shape, catalog, database, settings.actor.role))
            }
            // PostgreSQL, too, looks there first.
            Some("pg_catalog") | None => {
                let shape = shape::find(oids::PG_CATALOG, name)?;
                Some(match name {
                    "pg_settings" => setting_rows(shape, settings),
                    _ => pg_table(shape, catalog, database),
                })
            }
            Some(_) => None,
        }
    }

    fn objects(
        &self,
        kind: RegKind,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Vec<NamedObject> {
        let object = |oid, schema: Option<&str>, name: &str, visible| NamedObject {
            oid,
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
            visible,
        };
        let mut objects = catalog_objects(kind, catalog, settings);
        match kind {
            RegKind::Class => objects.extend(shape::all().map(|shape| {
                let visible = shape.namespace == oids::PG_CATALOG;
                let schema = if visible { "pg_catalog" } else { "information_schema" };
                object(shape.oid, Some(schema), shape.name, visible)
            })),
            RegKind::Namespace => {
                objects = fixed::schemas(catalog, &settings.database)
                    .into_iter()
                    .map(|(name, oid)| object(oid, None, &name, true))
                    .collect();
            }
            RegKind::Role => objects.extend(
                catalog
                    .roles()
                    .iter()
                    .map(|role| object(oids::object(role.id), None, role.name(), true)),
            ),
            RegKind::Collation => objects.extend(
                fixed::COLLATIONS.map(|(oid, name)| object(oid, Some("pg_catalog"), name, true)),
            ),
            _ => {}
        }
        objects
    }

    fn function(
        &self,
        name: &str,
        arguments: usize,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<CatalogFunction> {
        functions::function(name, arguments, catalog, &settings.database)
    }
}

/// `pg_settings`
fn setting_rows(shape: &'static shape::Shape, settings: &SessionSettings) -> VirtualTable {
    let mut rows = shape::Rows::of(shape);
    for (name, value) in settings.values.iter() {
        rows.push([("name", Value::text(*name)), ("setting", Value::text(value.as_str()))]);
    }
    rows.done()
}

fn pg_table(shape: &'static shape::Shape, catalog: &Catalog, database: &str) -> VirtualTable {
    if shape.name == "pg_constraint" {
        return constraints::table(shape, catalog, database);
    }
    relations::table(shape, catalog, database)
        .or_else(|| sequences::table(shape, catalog, database))
        .or_else(|| fixed::table(shape, catalog, database))
        .or_else(|| roles::table(shape, catalog))
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
    use crate::catalog::roles::SUPERUSER;

    #[test]
    fn every_table_can_be_made() {
        let catalog = Catalog::bootstrap();
        for shape in shape::all() {
            let table = match shape.namespace {
                oids::PG_CATALOG => pg_table(shape, &catalog, "phantom"),
                _ => information_schema::table(shape, &catalog, "phantom", SUPERUSER),
            };
            assert_eq!(table.columns.len(), shape.width(), "{}", shape.name);
            assert!(table.rows.iter().all(|row| row.len() == shape.width()), "{}", shape.name);
        }
    }
}

//! What users say of objects, as PostgreSQL numbers it.

use super::relations::all_indexes;
use super::{attribute_number, constraints};
use crate::catalog::stored::Definition;
use crate::catalog::{Catalog, oids};

/// What is said of one object or part of it.
pub(super) struct Description<'a> {
    /// The table of the catalog that the object is in.
    pub(super) class: &'static str,
    pub(super) object: u32,
    /// The number of the column; 0 of the object itself.
    pub(super) part: i64,
    pub(super) text: &'a str,
}

/// Of objects of a database: `pg_description`.
pub(super) fn of_database<'a>(catalog: &'a Catalog, database: &str) -> Vec<Description<'a>> {
    let mut found = Vec::new();
    for (id, definition, comments) in catalog.commented() {
        if !definition.is_in(database) {
            continue;
        }
        let (class, object) = match definition {
            Definition::Schema(schema) => ("pg_namespace", oids::schema(&schema.name, id)),
            Definition::Database(_) => continue,
            _ => ("pg_class", oids::object(id)),
        };
        let mut add = |class, object, part, text: &'a str| {
            found.push(Description { class, object, part, text });
        };
        if let Some(text) = &comments.own {
            add(class, object, 0, text);
        }
        for (&ordinal, text) in &comments.columns {
            let part = match catalog.table(id) {
                Some(table) => attribute_number(table, ordinal),
                None => ordinal as i64 + 1,
            };
            add(class, object, part, text);
        }
        if comments.indexes.is_empty() && comments.constraints.is_empty() {
            continue;
        }
        for index in all_indexes(catalog, database) {
            if index.table.id == id
                && let Some(text) = comments.indexes.get(index.name)
            {
                add("pg_class", index.oid, 0, text);
            }
        }
        for constraint in constraints::all(catalog, database) {
            if constraint.table.id == id
                && let Some(text) = comments.constraints.get(constraint.name)
            {
                add("pg_constraint", constraint.oid, 0, text);
            }
        }
    }
    found
}

/// Of databases and roles: `pg_shdescription`.
pub(super) fn shared(catalog: &Catalog) -> Vec<Description<'_>> {
    let described = catalog.commented().filter_map(|(id, definition, comments)| {
        let class = match definition {
            Definition::Database(_) => "pg_database",
            Definition::Role(_) => "pg_authid",
            _ => return None,
        };
        let text = comments.own.as_deref()?;
        Some(Description { class, object: oids::object(id), part: 0, text })
    });
    described.collect()
}

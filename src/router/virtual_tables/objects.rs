//! `pg_describe_object`: what an object is, in words.

use super::relations::all_indexes;
use super::shape::{class_oid, number};
use super::{fixed, operators, procedures};
use crate::catalog::{Catalog, Relation, Visible, oids};
use model::lookup::LookupTable;
use model::types::{RegKind, oid};
use model::value::Value;
use shards::exec::functions::quote_identifier;

/// Fills in the answers: by catalog, object and part.
pub(super) fn describe(
    table: &mut LookupTable,
    catalog: &Catalog,
    database: &str,
    visible: &Visible<'_>,
) {
    let mut insert = |class: &str, object: u32, part: i64, text: String| {
        let key = [number(class_oid(class)), number(object), Value::Int(part)];
        table.insert(&key, Value::text(text));
    };
    for (name, schema) in fixed::schemas(catalog, database) {
        insert("pg_namespace", schema, 0, format!("schema {name}"));
    }
    insert("pg_extension", oids::EXTENSION, 0, "extension phantomdb".to_owned());
    for role in catalog.roles().iter() {
        insert("pg_authid", oids::object(role.id), 0, format!("role {}", role.name()));
    }
    let named = |schema: &str, name: &str| match visible.is_visible(schema, name) {
        true => quote_identifier(name),
        false => format!("{}.{}", quote_identifier(schema), quote_identifier(name)),
    };
    for (schema, relation) in catalog.relations(database) {
        let kind = match relation {
            Relation::Table(_) => "table",
            Relation::View(_) => "view",
            Relation::Sequence(_) => "sequence",
        };
        let whole = format!("{kind} {}", named(schema, relation.name()));
        let object = oids::object(relation.id());
        if let Relation::Table(table) = relation {
            for (part, ordinal) in (1..).zip(table.visible()) {
                let column = &table.columns[ordinal].name;
                insert("pg_class", object, part, format!("column {column} of {whole}"));
            }
        }
        insert("pg_class", object, 0, whole);
    }
    for index in all_indexes(catalog, database) {
        insert("pg_class", index.oid, 0, format!("index {}", named(index.schema, index.name)));
    }
    for function in procedures::objects(RegKind::Procedure) {
        insert("pg_proc", function.oid, 0, format!("function {}", function.name));
    }
    for operator in operators::objects(RegKind::Operator) {
        insert("pg_operator", operator.oid, 0, format!("operator {}", operator.name));
    }
    for entry in oid::TYPES {
        for number in [entry.oid, entry.array_oid] {
            if let Some(name) = oid::type_name(number) {
                insert("pg_type", number, 0, format!("type {name}"));
            }
        }
    }
}

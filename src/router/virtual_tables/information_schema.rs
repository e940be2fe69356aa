//! `information_schema`: the standard's views of the catalog.

use super::constraints::{self, Constraint, Kind, action_name};
use super::relations::{attributes_of, default_of, default_text, view_definitions};
use super::sequences::{self, identity_columns};
use super::shape::{Rows, Shape};
use super::{access, fixed, roles};
use crate::catalog::roles::SUPERUSER;
use crate::catalog::{Catalog, Relation, oids};
use crate::sql::{SessionSettings, VirtualTable};
use model::id::ObjectId;
use model::schema::{ForeignKey, Table};
use model::types::{DataType, SECOND_DIGITS_MAX, oid};
use model::value::Value;
use std::collections::BTreeMap;

/// The view.
pub(super) fn table(
    shape: &'static Shape,
    catalog: &Catalog,
    settings: &SessionSettings,
) -> VirtualTable {
    let (database, role) = (settings.database.as_str(), settings.actor.role);
    let mut rows = Rows::of(shape);
    match shape.name {
        "information_schema_catalog_name" => {
            rows.push([("catalog_name", Value::text(database))]);
        }
        "schemata" => schemata(&mut rows, catalog, database, role),
        "tables" => tables(&mut rows, catalog, database, role),
        "views" => views(&mut rows, catalog, settings),
        "columns" => columns(&mut rows, catalog, settings),
        "table_constraints" => table_constraints(&mut rows, catalog, database),
        "check_constraints" => check_constraints(&mut rows, catalog, database),
        "referential_constraints" => references(&mut rows, catalog, database),
        "key_column_usage" => key_columns(&mut rows, catalog, database),
        "constraint_column_usage" => constraint_columns(&mut rows, catalog, database),
        "table_privileges" => access::table_privileges(&mut rows, catalog, database, role, true),
        "role_table_grants" => access::table_privileges(&mut rows, catalog, database, role, false),
        "enabled_roles" => roles::enabled(&mut rows, catalog, role),
        "applicable_roles" => roles::applicable(&mut rows, catalog, role, false),
        "administrable_role_authorizations" => roles::applicable(&mut rows, catalog, role, true),
        "sequences" => sequences::standard(&mut rows, catalog, database, role),
        _ => {}
    }
    rows.done()
}

pub(super) fn yes(truth: bool) -> Value {
    Value::text(if truth { "YES" } else { "NO" })
}

fn schemata(rows: &mut Rows, catalog: &Catalog, database: &str, role: ObjectId) {
    let schemas = catalog.database(database).map(|database| &database.schemas);
    for (name, _) in fixed::schemas(catalog, database) {
        let own = schemas.and_then(|own| own.get(&name)).map(|schema| schema.id);
        // Those of the system are everyone's to look into.
        if own.is_some_and(|id| !access::concerns(catalog, role, id)) {
            continue;
        }
        rows.push([
            ("catalog_name", Value::text(database)),
            ("schema_owner", access::owner_name(catalog, own.unwrap_or(SUPERUSER))),
            ("schema_name", Value::text(name)),
        ]);
    }
}

/// Those that the role has to do with.
fn tables_and_views<'c>(
    catalog: &'c Catalog,
    database: &str,
    role: ObjectId,
) -> impl Iterator<Item = (&'c str, &'c Relation)> {
    let all = catalog.relations(database);
    all.filter(move |(_, relation)| {
        !matches!(relation, Relation::Sequence(_)) && access::concerns(catalog, role, relation.id())
    })
}

fn tables(rows: &mut Rows, catalog: &Catalog, database: &str, role: ObjectId) {
    for (schema, relation) in tables_and_views(catalog, database, role) {
        let is_table = matches!(relation, Relation::Table(_));
        rows.push([
            ("table_catalog", Value::text(database)),
            ("table_schema", Value::text(schema)),
            ("table_name", Value::text(relation.name())),
            ("table_type", Value::text(if is_table { "BASE TABLE" } else { "VIEW" })),
            ("is_insertable_into", yes(is_table)),
        ]);
    }
}

fn views(rows: &mut Rows, catalog: &Catalog, settings: &SessionSettings) {
    let (database, role) = (settings.database.as_str(), settings.actor.role);
    let visible = super::visible(catalog, settings);
    let texts: BTreeMap<ObjectId, String> =
        view_definitions(catalog, database, &visible).into_iter().collect();
    for (schema, relation) in tables_and_views(catalog, database, role) {
        let Relation::View(view) = relation else { continue };
        // Its query is its owner's.
        let text = texts.get(&view.id).filter(|_| access::owns(catalog, role, view.id));
        rows.push([
            ("table_catalog", Value::text(database)),
            ("table_schema", Value::text(schema)),
            ("table_name", Value::text(view.name.as_str())),
            ("view_definition", Value::from(text.cloned())),
        ]);
    }
}

fn columns(rows: &mut Rows, catalog: &Catalog, settings: &SessionSettings) {
    let (database, role) = (settings.database.as_str(), settings.actor.role);
    let visible = super::visible(catalog, settings);
    for (schema, relation) in tables_and_views(catalog, database, role) {
        for attribute in attributes_of(catalog, database, relation) {
            let column = attribute.column;
            let default = column.and_then(default_of);
            let default = default.map(|default| default_text(catalog, &visible, default));
            let mut row = vec![
                ("table_catalog", Value::text(database)),
                ("table_schema", Value::text(schema)),
                ("table_name", Value::text(relation.name())),
                ("column_name", Value::text(attribute.name)),
                ("ordinal_position", Value::Int(attribute.number)),
                ("column_default", Value::from(default)),
                ("is_nullable", yes(column.is_none_or(|column| column.nullable))),
                ("is_updatable", yes(column.is_some())),
                ("udt_catalog", Value::text(database)),
                ("dtd_identifier", Value::text(attribute.number.to_string())),
            ];
            row.extend(type_columns(attribute.data_type));
            row.extend(column.into_iter().flat_map(|column| identity_columns(catalog, column)));
            rows.push(row);
        }
    }
}

/// What the columns say of a type.
fn type_columns(data_type: DataType) -> Vec<(&'static str, Value)> {
    let name = match data_type {
        DataType::Array(_) => "ARRAY".to_owned(),
        other => oid::format_type(other),
    };
    let entry = oid::entry_of(data_type).name;
    let udt = match data_type {
        DataType::Array(_) => format!("_{entry}"),
        _ => entry.to_owned(),
    };
    let mut columns = vec![("data_type", Value::text(name)), ("udt_name", Value::text(udt))];
    let mut number = |name, value: i64| columns.push((name, Value::Int(value)));
    let mut digits = |precision: i64, radix: i64, scale: Option<i64>| {
        number("numeric_precision", precision);
        number("numeric_precision_radix", radix);
        if let Some(scale) = scale {
            number("numeric_scale", scale);
        }
    };
    match data_type {
        DataType::Int2 => digits(16, 2, Some(0)),
        DataType::Int4 => digits(32, 2, Some(0)),
        DataType::Int8 => digits(64, 2, Some(0)),
        DataType::Float4 => digits(24, 2, None),
        DataType::Float8 => digits(53, 2, None),
        DataType::Numeric(Some(limits)) => {
            digits(i64::from(limits.precision), 10, Some(i64::from(limits.scale)));
        }
        DataType::Numeric(None) => number("numeric_precision_radix", 10),
        DataType::Varchar(length) | DataType::Char(length) => {
            number("character_maximum_length", i64::from(length));
            number("character_octet_length", i64::from(length) * 4);
        }
        // No limit but the one of a string.
        DataType::Text => number("character_octet_length", 1 << 30),
        DataType::Date => number("datetime_precision", 0),
        DataType::Time
        | DataType::TimeTz
        | DataType::Timestamp
        | DataType::TimestampTz
        | DataType::Interval => {
            number("datetime_precision", i64::from(SECOND_DIGITS_MAX));
        }
        DataType::Limited(limits) => {
            number("datetime_precision", i64::from(limits.second_digits()));
            let shown = limits.to_string();
            if let Some(fields) = shown.strip_prefix("interval ") {
                columns.push(("interval_type", Value::text(fields.to_uppercase())));
            }
        }
        _ => {}
    }
    columns
}

/// The name of a constraint and of its schema.
fn named(database: &str, constraint: &Constraint<'_>) -> [(&'static str, Value); 3] {
    [
        ("constraint_catalog", Value::text(database)),
        ("constraint_schema", Value::text(constraint.schema)),
        ("constraint_name", Value::text(constraint.name)),
    ]
}

/// The name of a table and of its schema.
fn of_table(database: &str, table: &Table) -> [(&'static str, Value); 3] {
    [
        ("table_catalog", Value::text(database)),
        ("table_schema", Value::text(table.schema.as_str())),
        ("table_name", Value::text(table.name.as_str())),
    ]
}

fn table_constraints(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for constraint in constraints::all(catalog, database) {
        let named = named(database, &constraint);
        let kind = ("constraint_type", Value::text(constraint.type_name()));
        rows.push(named.into_iter().chain(of_table(database, constraint.table)).chain([kind]));
    }
    // PostgreSQL lists what takes no NULL here, under a name made of numbers.
    for (name, schema, table, _) in not_null(catalog, database) {
        let row = [
            ("constraint_catalog", Value::text(database)),
            ("constraint_schema", Value::text(schema)),
            ("constraint_name", Value::text(name)),
            ("constraint_type", Value::text("CHECK")),
        ];
        rows.push(row.into_iter().chain(of_table(database, table)));
    }
}

fn not_null<'a>(
    catalog: &'a Catalog,
    database: &str,
) -> Vec<(String, &'a str, &'a Table, &'a str)> {
    let mut found = Vec::new();
    for (schema, table) in super::real_tables(catalog, database) {
        let namespace = super::schema_oid(catalog, database, schema);
        for ordinal in table.visible().filter(|&ordinal| !table.columns[ordinal].nullable) {
            let number = super::attribute_number(table, ordinal);
            let name = format!("{namespace}_{}_{number}_not_null", oids::object(table.id));
            found.push((name, schema, table, table.columns[ordinal].name.as_str()));
        }
    }
    found
}

fn check_constraints(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for constraint in constraints::all(catalog, database) {
        if let Kind::Check(check) = constraint.kind {
            let clause = ("check_clause", Value::text(format!("(({}))", check.text)));
            rows.push(named(database, &constraint).into_iter().chain([clause]));
        }
    }
    for (name, schema, _, column) in not_null(catalog, database) {
        rows.push([
            ("constraint_catalog", Value::text(database)),
            ("constraint_schema", Value::text(schema)),
            ("constraint_name", Value::text(name)),
            ("check_clause", Value::text(format!("{column} IS NOT NULL"))),
        ]);
    }
}

/// The name of the key that a foreign key references.
fn referenced_name<'a>(parent: &'a Table, key: &ForeignKey) -> Option<&'a str> {
    if key.parent_key.object == parent.id {
        return parent.primary_key_name.as_deref();
    }
    let index = parent.indexes.iter().find(|index| index.id == key.parent_key.object)?;
    Some(&index.name)
}

fn references(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for constraint in constraints::all(catalog, database) {
        let Kind::ForeignKey(key) = constraint.kind else { continue };
        let Some(parent) = catalog.table(key.parent) else { continue };
        let row = [
            ("unique_constraint_catalog", Value::text(database)),
            ("unique_constraint_schema", Value::text(parent.schema.as_str())),
            ("unique_constraint_name", Value::from(referenced_name(parent, key))),
            ("update_rule", Value::text(action_name(key.on_update))),
            ("delete_rule", Value::text(action_name(key.on_delete))),
        ];
        rows.push(named(database, &constraint).into_iter().chain(row));
    }
}

fn key_columns(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for constraint in constraints::all(catalog, database) {
        if matches!(constraint.kind, Kind::Check(_)) {
            continue;
        }
        for (position, ordinal) in (1..).zip(constraint.columns()) {
            let table = constraint.table;
            let mut row = vec![
                ("column_name", Value::text(table.columns[ordinal].name.as_str())),
                ("ordinal_position", Value::Int(position)),
            ];
            if let Kind::ForeignKey(_) = constraint.kind {
                row.push(("position_in_unique_constraint", Value::Int(position)));
            }
            let named = named(database, &constraint);
            rows.push(named.into_iter().chain(of_table(database, table)).chain(row));
        }
    }
}

/// The columns that a constraint is about: of a foreign key those it references.
fn constraint_columns(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for constraint in constraints::all(catalog, database) {
        let (table, ordinals) = match constraint.kind {
            Kind::ForeignKey(key) => match catalog.table(key.parent) {
                Some(parent) => (&**parent, key.parent_columns.clone()),
                None => continue,
            },
            _ => (constraint.table, constraint.columns()),
        };
        for ordinal in ordinals {
            let column = ("column_name", Value::text(table.columns[ordinal].name.as_str()));
            let named = named(database, &constraint);
            rows.push(named.into_iter().chain(of_table(database, table)).chain([column]));
        }
    }
}

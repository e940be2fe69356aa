//! What is the same in every database, or the same everywhere: schemas, databases, types, access methods, collations.

use super::shape::{Rows, Shape, class_oid, number};
use super::{access, comments, procedures, relations};
use crate::catalog::{Catalog, SYSTEM_SCHEMA, oids};
use crate::sql::VirtualTable;
use model::types::{DataType, oid};
use model::value::Value;

/// The table of that name in `pg_catalog`, where it is one of these.
pub(super) fn table(
    shape: &'static Shape,
    catalog: &Catalog,
    database: &str,
) -> Option<VirtualTable> {
    let mut rows = Rows::of(shape);
    match shape.name {
        "pg_namespace" => namespaces(&mut rows, catalog, database),
        "pg_database" => databases(&mut rows, catalog),
        "pg_type" => {
            types(&mut rows);
            pseudo_types(&mut rows);
        }
        "pg_am" => {
            for (oid, name, kind) in
                [(relations::HEAP, "heap", "t"), (relations::BTREE, "btree", "i")]
            {
                rows.push([
                    ("oid", number(oid)),
                    ("amname", Value::text(name)),
                    ("amtype", Value::text(kind)),
                ]);
            }
        }
        "pg_tablespace" => {
            for (oid, name) in [(1663, "pg_default"), (1664, "pg_global")] {
                rows.push([("oid", number(oid)), ("spcname", Value::text(name))]);
            }
        }
        "pg_description" => {
            for said in comments::of_database(catalog, database) {
                rows.push([
                    ("objoid", number(said.object)),
                    ("classoid", number(class_oid(said.class))),
                    ("objsubid", Value::Int(said.part)),
                    ("description", Value::text(said.text)),
                ]);
            }
            for (catalog, object, words) in procedures::descriptions() {
                rows.push([
                    ("objoid", number(object)),
                    ("classoid", number(class_oid(catalog))),
                    ("objsubid", Value::Int(0)),
                    ("description", Value::text(words)),
                ]);
            }
        }
        "pg_shdescription" => {
            for said in comments::shared(catalog) {
                rows.push([
                    ("objoid", number(said.object)),
                    ("classoid", number(class_oid(said.class))),
                    ("description", Value::text(said.text)),
                ]);
            }
        }
        "pg_collation" => collations(&mut rows),
        // What the system's own schema belongs to: dumps leave it out.
        "pg_extension" => rows.push([
            ("oid", number(oids::EXTENSION)),
            ("extname", Value::text("phantomdb")),
            ("extnamespace", number(oids::PHANTOM)),
            ("extversion", Value::text(env!("CARGO_PKG_VERSION"))),
        ]),
        _ => return None,
    }
    Some(rows.done())
}

/// The schemas of a database and their oids, those of the system last.
pub(super) fn schemas(catalog: &Catalog, database: &str) -> Vec<(String, u32)> {
    let own = catalog.database(database).into_iter().flat_map(|known| &known.schemas);
    let own = own.map(|(name, schema)| (name.clone(), oids::schema(name, schema.id)));
    let fixed = [
        ("information_schema", oids::INFORMATION_SCHEMA),
        ("pg_catalog", oids::PG_CATALOG),
        (SYSTEM_SCHEMA, oids::PHANTOM),
    ];
    own.chain(fixed.map(|(name, oid)| (name.to_owned(), oid))).collect()
}

fn namespaces(rows: &mut Rows, catalog: &Catalog, database: &str) {
    let own = catalog.database(database).map(|database| &database.schemas);
    for (name, oid) in schemas(catalog, database) {
        let mut row = vec![("oid", number(oid))];
        if let Some(schema) = own.and_then(|own| own.get(&name)) {
            row.push(("nspowner", access::owner(catalog, schema.id)));
            row.push(("nspacl", access::acl(catalog, schema.id)));
        }
        row.push(("nspname", Value::text(name)));
        rows.push(row);
    }
}

fn databases(rows: &mut Rows, catalog: &Catalog) {
    for (name, database) in catalog.databases() {
        let oid = number(oids::object(database.id));
        rows.push([
            ("oid", oid),
            ("datname", Value::text(name.as_str())),
            ("datdba", access::owner(catalog, database.id)),
            ("datacl", access::acl(catalog, database.id)),
        ]);
    }
}

fn array_alignment(element: DataType) -> &'static str {
    element.array().map_or("i", relations::alignment)
}

fn types(rows: &mut Rows) {
    for entry in oid::TYPES {
        let preferred = matches!(
            entry.data_type,
            DataType::Bool
                | DataType::Text
                | DataType::Float8
                | DataType::Oid
                | DataType::TimestampTz
                | DataType::Interval
        );
        let element = match entry.data_type {
            DataType::Int2Vector | DataType::OidVector | DataType::Name => {
                let of = entry.data_type.element().unwrap_or(DataType::InternalChar);
                oid::oid(of)
            }
            _ => 0,
        };
        let alignment = relations::alignment(entry.data_type);
        let pseudo = matches!(entry.data_type, DataType::Unknown | DataType::Void);
        rows.push([
            ("oid", number(entry.oid)),
            ("typname", Value::text(entry.name)),
            ("typlen", Value::Int(i64::from(entry.length))),
            ("typbyval", Value::Bool(matches!(entry.length, 1 | 2 | 4 | 8))),
            ("typtype", Value::text(if pseudo { "p" } else { "b" })),
            ("typcategory", Value::text(entry.category.to_string())),
            ("typispreferred", Value::Bool(preferred)),
            ("typelem", number(element)),
            ("typarray", number(entry.array_oid)),
            ("typalign", Value::text(alignment)),
            ("typstorage", Value::text(relations::storage(entry.data_type))),
            ("typcollation", number(relations::collation(entry.data_type))),
        ]);
        if entry.array_oid != 0 {
            rows.push([
                ("oid", number(entry.array_oid)),
                ("typname", Value::text(format!("_{}", entry.name))),
                ("typlen", Value::Int(-1)),
                ("typbyval", Value::Bool(false)),
                ("typcategory", Value::text("A")),
                ("typelem", number(entry.oid)),
                ("typalign", Value::text(array_alignment(entry.data_type))),
                ("typstorage", Value::text("x")),
                ("typcollation", number(relations::collation(entry.data_type))),
            ]);
        }
    }
}

/// Types that no value has.
fn pseudo_types(rows: &mut Rows) {
    for pseudo in oid::PSEUDO_TYPES {
        let (align, storage) = match pseudo.length {
            -2 => ("c", "p"),
            -1 => ("d", "x"),
            8 => ("d", "p"),
            _ => ("i", "p"),
        };
        rows.push([
            ("oid", number(pseudo.oid)),
            ("typname", Value::text(pseudo.name)),
            ("typlen", Value::Int(i64::from(pseudo.length))),
            ("typbyval", Value::Bool(pseudo.length > 0)),
            ("typtype", Value::text("p")),
            ("typcategory", Value::text("P")),
            ("typalign", Value::text(align)),
            ("typstorage", Value::text(storage)),
        ]);
    }
}

/// The collations there are: all compare bytes.
pub(super) const COLLATIONS: [(u32, &str); 3] = [(100, "default"), (950, "C"), (951, "POSIX")];

fn collations(rows: &mut Rows) {
    for (oid, name) in COLLATIONS {
        let is_default = name == "default";
        let locale = (!is_default).then_some(name);
        rows.push([
            ("oid", number(oid)),
            ("collname", Value::text(name)),
            ("collprovider", Value::text(if is_default { "d" } else { "c" })),
            ("collcollate", Value::from(locale)),
            ("collctype", Value::from(locale)),
        ]);
    }
}

//! The functions over the catalog, as tables of all their answers.

use super::relations::{all_indexes, view_definitions};
use super::shape::{self, number};
use super::{access, comments, constraints, objects, procedures};
use crate::catalog::postgres;
use crate::catalog::{Catalog, Relation, Visible, oids};
use crate::sql::{CatalogFunction, SessionSettings};
use model::lookup::{LookupTable, Missing};
use model::types::DataType::{self, Bool, Int4, Int8, Name, Oid, Text};
use model::types::{ElementType, RegKind, oid};
use model::value::Value;
use shards::exec::operators::is_implicit_cast;

/// The function of that name that takes so many arguments.
pub(super) fn function(
    name: &str,
    arguments: usize,
    catalog: &Catalog,
    settings: &SessionSettings,
) -> Option<CatalogFunction> {
    let mut function = outline(name, arguments)?;
    let count = function.argument_types.len();
    answers(&mut function.table, name, count, catalog, settings);
    Some(function)
}

/// The same without any answers.
pub(super) fn outline(name: &str, arguments: usize) -> Option<CatalogFunction> {
    let (types, return_type) = signature(name, arguments)?;
    let missing = match name {
        "pg_tablespace_location" => Missing::Value(Value::text("")),
        "pg_get_userbyid" => Missing::Value(Value::text("unknown")),
        // There is nothing that could be withheld.
        name if PRIVILEGES.contains(&name) => Missing::Value(Value::Bool(true)),
        _ => Missing::Null,
    };
    let table = LookupTable::new(name.to_owned(), missing);
    Some(CatalogFunction { table, argument_types: types, return_type })
}

/// Whether arguments of these types are what the function of that name takes.
pub(super) fn takes(name: &str, given: &[DataType]) -> bool {
    let fits = |(given, declared): (&DataType, &DataType)| {
        given == declared || *declared == Text || is_implicit_cast(*given, *declared)
    };
    match signature(name, given.len()) {
        Some((declared, _)) => given.iter().zip(&declared).all(fits),
        None => false,
    }
}

/// `(oid) -> boolean`: whether an object is found without its schema.
const VISIBLE: [&str; 13] = [
    "pg_table_is_visible",
    "pg_type_is_visible",
    "pg_function_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_opfamily_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_statistics_obj_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
];

/// `(oid) -> text`: an object as a statement would write it, or what is said of it.
const TEXTS: [&str; 13] = [
    "pg_get_indexdef",
    "pg_get_constraintdef",
    "pg_get_viewdef",
    "pg_get_triggerdef",
    "pg_get_ruledef",
    "pg_get_partkeydef",
    "pg_get_statisticsobjdef_columns",
    "pg_get_function_result",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_sqlbody",
    "pg_get_functiondef",
    "obj_description",
];

/// `([user,] object, privilege) -> boolean`, of objects that nobody is granted anything on.
const PRIVILEGES: [&str; 4] = [
    "has_function_privilege",
    "has_type_privilege",
    "has_language_privilege",
    "has_tablespace_privilege",
];

/// `(regclass) -> bigint`. How many bytes an object takes is not known: it lies in many trees.
const SIZES: [&str; 4] =
    ["pg_table_size", "pg_indexes_size", "pg_total_relation_size", "pg_relation_size"];

const CLASS: DataType = DataType::Reg(RegKind::Class);

/// Argument types and result.
fn signature(name: &str, arguments: usize) -> Option<(Vec<DataType>, DataType)> {
    let (types, result): (&[DataType], DataType) = match (name, arguments) {
        (name, 1) if VISIBLE.contains(&name) => (&[Oid], Bool),
        (name, 1) if TEXTS.contains(&name) => (&[Oid], Text),
        (name, 1) if SIZES.contains(&name) => (&[CLASS], Int8),
        // An object by its name or its oid: the answer is the same.
        (name, 2) if PRIVILEGES.contains(&name) => (&[Text, Text], Bool),
        (name, 3) if PRIVILEGES.contains(&name) => (&[Text, Text, Text], Bool),
        ("pg_get_userbyid", 1) => (&[Oid], Name),
        // Access lists are texts here.
        ("acldefault", 2) => (&[DataType::InternalChar, Oid], DataType::Array(ElementType::Text)),
        ("pg_relation_is_publishable", 1) => (&[CLASS], Bool),
        ("pg_relation_size", 2) => (&[CLASS, Text], Int8),
        // A database by its name or its oid.
        ("pg_database_size" | "pg_tablespace_size", 1) => (&[Text], Int8),
        ("pg_tablespace_location", 1) => (&[Oid], Text),
        ("pg_get_indexdef", 3) => (&[Oid, Int4, Bool], Text),
        ("pg_get_constraintdef" | "pg_get_viewdef" | "pg_get_triggerdef" | "pg_get_ruledef", 2) => {
            (&[Oid, Bool], Text)
        }
        ("obj_description" | "shobj_description", 2) => (&[Oid, Name], Text),
        ("col_description", 2) => (&[Oid, Int4], Text),
        ("pg_describe_object", 3) => (&[Oid, Oid, Int4], Text),
        ("pg_index_column_has_property", 3) => (&[Oid, Int4, Text], Bool),
        _ => return None,
    };
    Some((types.to_vec(), result))
}

/// Fills in what there is to answer.
fn answers(
    table: &mut LookupTable,
    name: &str,
    arguments: usize,
    catalog: &Catalog,
    settings: &SessionSettings,
) {
    let database = settings.database.as_str();
    let visible = || super::visible(catalog, settings);
    match name {
        "pg_get_userbyid" => {
            for role in catalog.roles().iter() {
                table.insert(&[shape::number(oids::object(role.id))], Value::text(role.name()));
            }
        }
        "acldefault" => {
            for (key, items) in access::defaults(catalog) {
                table.insert(&key, items);
            }
        }
        "pg_table_is_visible" => visible_relations(table, catalog, database, &visible()),
        "pg_type_is_visible" => {
            for entry in oid::TYPES {
                table.insert(&[shape::number(entry.oid)], Value::Bool(true));
                table.insert(&[shape::number(entry.array_oid)], Value::Bool(true));
            }
            all_visible(table, oid::PSEUDO_TYPES.iter().map(|pseudo| pseudo.oid));
        }
        "pg_collation_is_visible" => {
            for (oid, _) in super::fixed::COLLATIONS {
                table.insert(&[shape::number(oid)], Value::Bool(true));
            }
        }
        "pg_operator_is_visible" => {
            all_visible(table, postgres::operators().iter().map(|operator| operator.oid));
        }
        "pg_opclass_is_visible" => {
            all_visible(table, postgres::classes().classes.iter().map(|class| class.oid));
        }
        "pg_opfamily_is_visible" => {
            all_visible(table, postgres::classes().families.iter().map(|family| family.oid));
        }
        "obj_description" => {
            for (catalog, object, words) in procedures::descriptions() {
                let key = [number(object), Value::text(catalog)];
                table.insert(&key[..arguments], Value::text(words));
            }
            for said in comments::of_database(catalog, database) {
                if said.part == 0 {
                    let key = [number(said.object), Value::text(said.class)];
                    table.insert(&key[..arguments], Value::text(said.text));
                }
            }
        }
        "shobj_description" => {
            for said in comments::shared(catalog) {
                let key = [number(said.object), Value::text(said.class)];
                table.insert(&key, Value::text(said.text));
            }
        }
        "pg_describe_object" => objects::describe(table, catalog, database, &visible()),
        "col_description" => {
            for said in comments::of_database(catalog, database) {
                if said.part != 0 {
                    let key = [number(said.object), Value::Int(said.part)];
                    table.insert(&key, Value::text(said.text));
                }
            }
        }
        "pg_relation_is_publishable" => {
            for (_, relation) in catalog.relations(database) {
                let publishable = matches!(relation, Relation::Table(_));
                let oid = oids::object(relation.id());
                table.insert(&[shape::number(oid)], Value::Bool(publishable));
            }
        }
        "pg_get_constraintdef" => {
            let visible = visible();
            for constraint in constraints::all(catalog, database) {
                let text = |pretty| Value::text(constraint.definition(catalog, &visible, pretty));
                insert_texts(table, constraint.oid, arguments, text);
            }
        }
        "pg_get_viewdef" => {
            for (view, text) in view_definitions(catalog, database, &visible()) {
                insert_texts(table, oids::object(view), arguments, |_| Value::text(text.as_str()));
            }
        }
        "pg_get_indexdef" => index_definitions(table, arguments, catalog, database, &visible()),
        name => procedures::answers(table, name),
    }
}

/// What is found without its schema.
fn all_visible(table: &mut LookupTable, oids: impl Iterator<Item = u32>) {
    oids.for_each(|oid| table.insert(&[number(oid)], Value::Bool(true)));
}

/// The answers for an oid, alone or with `pretty` behind it.
fn insert_texts(table: &mut LookupTable, oid: u32, arguments: usize, text: impl Fn(bool) -> Value) {
    if arguments == 1 {
        return table.insert(&[shape::number(oid)], text(false));
    }
    for pretty in [false, true] {
        table.insert(&[shape::number(oid), Value::Bool(pretty)], text(pretty));
    }
}

fn visible_relations(
    table: &mut LookupTable,
    catalog: &Catalog,
    database: &str,
    visible: &Visible<'_>,
) {
    let mut insert = |oid, visible| table.insert(&[shape::number(oid)], Value::Bool(visible));
    for (schema, relation) in catalog.relations(database) {
        insert(oids::object(relation.id()), visible.is_visible(schema, relation.name()));
    }
    for index in all_indexes(catalog, database) {
        insert(index.oid, visible.is_visible(index.schema, index.name));
    }
    for shape in shape::all() {
        insert(shape.oid, visible.is_visible(shape.schema(), shape.name));
    }
}

/// Column 0 is the whole definition.
fn index_definitions(
    table: &mut LookupTable,
    arguments: usize,
    catalog: &Catalog,
    database: &str,
    visible: &Visible<'_>,
) {
    for index in all_indexes(catalog, database) {
        let oid = shape::number(index.oid);
        if arguments == 1 {
            table.insert(&[oid], Value::text(index.definition(None)));
            continue;
        }
        for pretty in [false, true] {
            let mut insert = |column: i64, text: String| {
                let key = [oid.clone(), Value::Int(column), Value::Bool(pretty)];
                table.insert(&key, Value::text(text));
            };
            insert(0, index.definition(pretty.then_some(visible)));
            (1..).zip(index.column_names()).for_each(|(column, name)| insert(column, name));
        }
    }
}

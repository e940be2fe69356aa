//! Tables, views, sequences and indexes, their columns and defaults: `pg_class`, `pg_attribute`, `pg_index`
//! and their kin.

use super::outlines::Outlines;
use super::sequences::{attribute_identity, with_names};
use super::shape::{self, Rows, Shape, number, vector};
use super::{access, attribute_number, real_tables, schema_oid};
use crate::catalog::roles::Actor;
use crate::catalog::{ActivePath, Catalog, Relation, View, Visible, oids};
use crate::sql::{self, SessionSettings, VirtualTable};
use model::expression::Expression;
use model::id::ObjectId;
use model::schema::{Column, IndexColumn, Table};
use model::types::{DataType, oid};
use model::value::Value;
use shards::exec::explain;
use shards::exec::functions::{STATE_COLUMNS, quote_identifier};

/// The access methods of tables and indexes.
pub(super) const HEAP: u32 = 2;
pub(super) const BTREE: u32 = 403;
/// The default collation, of all columns of text.
pub(super) const COLLATION: u32 = 100;

/// The table of that name in `pg_catalog`, where it is about relations.
pub(super) fn table(
    shape: &'static Shape,
    catalog: &Catalog,
    settings: &SessionSettings,
) -> Option<VirtualTable> {
    let database = settings.database.as_str();
    let mut rows = Rows::of(shape);
    match shape.name {
        "pg_class" => classes(&mut rows, catalog, database),
        "pg_attribute" => attributes(&mut rows, catalog, database),
        "pg_attrdef" => defaults(&mut rows, catalog, settings),
        "pg_index" => indexes(&mut rows, catalog, database),
        "pg_rewrite" => rules(&mut rows, catalog, database),
        "pg_tables" => tables(&mut rows, catalog, database),
        "pg_views" => views(&mut rows, catalog, settings),
        "pg_indexes" => index_definitions(&mut rows, catalog, database),
        _ => return None,
    }
    Some(rows.done())
}

/// An index: that of a primary key, which is the table itself here, or another.
pub(super) struct KnownIndex<'a> {
    pub(super) oid: u32,
    pub(super) schema: &'a str,
    pub(super) table: &'a Table,
    pub(super) name: &'a str,
    columns: Vec<IndexColumn>,
    unique: bool,
    primary: bool,
}

/// All indexes of a database.
pub(super) fn all_indexes<'a>(catalog: &'a Catalog, database: &str) -> Vec<KnownIndex<'a>> {
    let mut found = Vec::new();
    for (schema, table) in real_tables(catalog, database) {
        if let Some(name) = &table.primary_key_name {
            let ascending = |&ordinal: &usize| IndexColumn { ordinal, descending: false };
            found.push(KnownIndex {
                oid: oids::primary_key(table.id),
                schema,
                table,
                name,
                columns: table.primary_key.iter().map(ascending).collect(),
                unique: true,
                primary: true,
            });
        }
        found.extend(table.indexes.iter().map(|index| KnownIndex {
            oid: oids::object(index.id),
            schema,
            table,
            name: &index.name,
            columns: index.columns.clone(),
            unique: index.unique,
            primary: false,
        }));
    }
    found
}

impl KnownIndex<'_> {
    /// As `CREATE INDEX` would write it. The table without its schema, where it is
    /// `visible`.
    pub(super) fn definition(&self, visible: Option<&Visible<'_>>) -> String {
        let unique = if self.unique { "UNIQUE " } else { "" };
        let table = quote_identifier(&self.table.name);
        let is_visible = |visible: &Visible<'_>| visible.is_visible(self.schema, &self.table.name);
        let table = match visible.is_some_and(is_visible) {
            true => table,
            false => format!("{}.{table}", quote_identifier(self.schema)),
        };
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let direction = if column.descending { " DESC" } else { "" };
                format!("{}{direction}", quote_identifier(&self.table.columns[column.ordinal].name))
            })
            .collect();
        let name = quote_identifier(self.name);
        format!("CREATE {unique}INDEX {name} ON {table} USING btree ({})", columns.join(", "))
    }

    /// The names of its columns.
    pub(super) fn column_names(&self) -> impl Iterator<Item = String> + '_ {
        let name = |column: &IndexColumn| self.table.columns[column.ordinal].name.as_str();
        self.columns.iter().map(move |column| quote_identifier(name(column)))
    }
}

fn classes(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for (schema, relation) in catalog.relations(database) {
        let mut row = vec![
            ("oid", number(oids::object(relation.id()))),
            ("relname", Value::text(relation.name())),
            ("relnamespace", number(schema_oid(catalog, database, schema))),
            ("relowner", access::owner(catalog, relation.id())),
            ("relacl", access::acl(catalog, relation.id())),
        ];
        match relation {
            Relation::Table(table) => row.extend(table_class(table)),
            Relation::View(view) => row.extend([
                ("relkind", Value::text("v")),
                ("relnatts", Value::Int(view.columns.len() as i64)),
                ("relhasrules", Value::Bool(true)),
            ]),
            Relation::Sequence(sequence) => row.extend([
                ("relkind", Value::text("S")),
                ("relfilenode", number(oids::object(sequence.id))),
                ("relnatts", Value::Int(STATE_COLUMNS.len() as i64)),
            ]),
        }
        rows.push(row);
    }
    for index in all_indexes(catalog, database) {
        rows.push([
            ("oid", number(index.oid)),
            ("relname", Value::text(index.name)),
            ("relnamespace", number(schema_oid(catalog, database, index.schema))),
            ("relowner", access::owner(catalog, index.table.id)),
            ("relkind", Value::text("i")),
            ("relam", number(BTREE)),
            ("relnatts", Value::Int(index.columns.len() as i64)),
        ]);
    }
    for shape in shape::all() {
        rows.push([
            ("oid", number(shape.oid)),
            ("relname", Value::text(shape.name)),
            ("relnamespace", number(shape.namespace)),
            ("relkind", Value::text(shape.kind)),
            ("relam", number(if shape.kind == "r" { HEAP } else { 0 })),
            ("relnatts", Value::Int(shape.width() as i64)),
        ]);
    }
}

fn table_class(table: &Table) -> impl IntoIterator<Item = (&'static str, Value)> + use<> {
    let indexed = table.primary_key_name.is_some() || !table.indexes.is_empty();
    let references = !table.foreign_keys.is_empty() || !table.referenced_by.is_empty();
    [
        ("relkind", Value::text("r")),
        ("relam", number(HEAP)),
        ("relfilenode", number(oids::object(table.id))),
        ("relnatts", Value::Int(table.visible().count() as i64)),
        ("relchecks", Value::Int(table.checks.len() as i64)),
        ("relhasindex", Value::Bool(indexed)),
        // PostgreSQL keeps foreign keys by triggers, and clients ask for the keys only then.
        ("relhastriggers", Value::Bool(references)),
        ("relreplident", Value::text("d")),
    ]
}

/// A column as the catalog lists it.
pub(super) struct Attribute<'a> {
    /// Its place, from 1.
    pub(super) number: i64,
    /// Its name.
    pub(super) name: &'a str,
    /// Its type.
    pub(super) data_type: DataType,
    /// What a table's column has beside.
    pub(super) column: Option<&'a Column>,
}

/// The columns of a table or view. A view that no longer fits what it reads has columns of unknown
/// type.
pub(super) fn attributes_of<'a>(
    catalog: &Catalog,
    database: &str,
    relation: &'a Relation,
) -> Vec<Attribute<'a>> {
    let columns: Vec<(&str, DataType, Option<&Column>)> = match relation {
        Relation::Table(table) => {
            let visible = table.visible().map(|ordinal| &table.columns[ordinal]);
            visible.map(|column| (column.name.as_str(), column.data_type, Some(column))).collect()
        }
        Relation::View(view) => view_columns(catalog, database, view)
            .into_iter()
            .map(|(name, data_type)| (name, data_type, None))
            .collect(),
        Relation::Sequence(_) => STATE_COLUMNS.map(|(name, t)| (name, t, None)).into(),
    };
    let numbered = (1..).zip(columns);
    numbered
        .map(|(number, (name, data_type, column))| Attribute { number, name, data_type, column })
        .collect()
}

fn view_columns<'a>(catalog: &Catalog, database: &str, view: &'a View) -> Vec<(&'a str, DataType)> {
    let path = ActivePath::of(view.path.clone());
    let bound = sql::bind_view(&view.text, database, &path, Actor::SYSTEM, catalog, &Outlines);
    let types = bound.map_or_else(|_| Vec::new(), |bound| bound.columns);
    let of = |at: usize| types.get(at).map_or(DataType::Unknown, |column| column.data_type);
    view.columns.iter().enumerate().map(|(at, name)| (name.as_str(), of(at))).collect()
}

fn attributes(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for (_, relation) in catalog.relations(database) {
        let owner = oids::object(relation.id());
        for attribute in attributes_of(catalog, database, relation) {
            let mut row =
                attribute_row(owner, attribute.number, attribute.name, attribute.data_type);
            if let Some(column) = attribute.column {
                row.push(("attnotnull", Value::Bool(!column.nullable)));
                row.push(("atthasdef", Value::Bool(default_of(column).is_some())));
                row.push(("attidentity", Value::text(attribute_identity(column))));
            }
            rows.push(row);
        }
    }
    for index in all_indexes(catalog, database) {
        for (position, column) in (1..).zip(&index.columns) {
            let column = &index.table.columns[column.ordinal];
            rows.push(attribute_row(index.oid, position, &column.name, column.data_type));
        }
    }
}

fn attribute_row(
    relation: u32,
    position: i64,
    name: &str,
    data_type: DataType,
) -> Vec<(&'static str, Value)> {
    let length = oid::length(data_type);
    let by_value = matches!(length, 1 | 2 | 4 | 8);
    let mut row = vec![
        ("attrelid", number(relation)),
        ("attname", Value::text(name)),
        ("atttypid", number(oid::oid(data_type))),
        ("attlen", Value::Int(i64::from(length))),
        ("attnum", Value::Int(position)),
        ("atttypmod", Value::Int(i64::from(oid::modifier(data_type)))),
        ("attbyval", Value::Bool(by_value)),
        ("attalign", Value::text(alignment(data_type))),
        ("attstorage", Value::text(storage(data_type))),
        ("attcollation", number(collation(data_type))),
    ];
    if matches!(data_type, DataType::Array(_)) {
        row.push(("attndims", Value::Int(1)));
    }
    row
}

/// `typalign`
pub(super) fn alignment(data_type: DataType) -> &'static str {
    match (data_type, oid::length(data_type)) {
        // An array's elements lie as they do alone, behind a header of integers.
        (DataType::Array(element), _) if alignment(element.data_type()) == "d" => "d",
        (DataType::Uuid | DataType::Name, _) | (_, 1 | -2) => "c",
        (_, 2) => "s",
        (_, 8 | 12 | 16) => "d",
        _ => "i",
    }
}

/// `typstorage`: whether PostgreSQL would compress a value or move it out of its row.
pub(super) fn storage(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Numeric(_) => "m",
        DataType::Int2Vector | DataType::OidVector => "p",
        other if oid::length(other) == -1 => "x",
        _ => "p",
    }
}

/// The collation of a type's values; 0 of what is not text.
pub(super) fn collation(data_type: DataType) -> u32 {
    let element = data_type.element().unwrap_or(data_type);
    match element {
        DataType::Name => 950,
        DataType::InternalChar => 0,
        other if other.is_text() => COLLATION,
        _ => 0,
    }
}

/// A column's default; `DEFAULT NULL` is none, and neither is an identity column's.
pub(super) fn default_of(column: &Column) -> Option<&Expression> {
    let is_null = |default: &&Expression| matches!(default, Expression::Literal(Value::Null, _));
    let default = column.default.as_ref().filter(|_| column.identity.is_none());
    default.filter(|default| !is_null(default))
}

/// A default as PostgreSQL would write it.
pub(super) fn default_text(
    catalog: &Catalog,
    visible: &Visible<'_>,
    default: &Expression,
) -> String {
    written(&with_names(catalog, visible, default))
}

fn written(default: &Expression) -> String {
    match default {
        Expression::Cast { operand, data_type, explicit: false } => match &**operand {
            Expression::Literal(Value::Text(text), _) => quoted(text, *data_type),
            other => written(other),
        },
        Expression::Literal(Value::Text(text), data_type) => quoted(text, *data_type),
        // A sign alone would be an operator, a word a name.
        Expression::Literal(value, data_type) if data_type.is_number() => {
            let text = value.to_text(*data_type);
            if text.starts_with(|c: char| c.is_ascii_digit()) {
                text
            } else {
                quoted(&text, *data_type)
            }
        }
        other => explain::expression(other),
    }
}

/// A literal with its type.
fn quoted(text: &str, data_type: DataType) -> String {
    format!("'{}'::{}", text.replace('\'', "''"), oid::format_type(data_type))
}

fn defaults(rows: &mut Rows, catalog: &Catalog, settings: &SessionSettings) {
    let visible = super::visible(catalog, settings);
    for (_, table) in real_tables(catalog, &settings.database) {
        for ordinal in table.visible() {
            let column = &table.columns[ordinal];
            let Some(default) = default_of(column) else { continue };
            rows.push([
                ("oid", number(oids::part(table.id, &column.name))),
                ("adrelid", number(oids::object(table.id))),
                ("adnum", Value::Int(attribute_number(table, ordinal))),
                ("adbin", Value::text(default_text(catalog, &visible, default))),
            ]);
        }
    }
}

fn indexes(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for index in all_indexes(catalog, database) {
        let width = Value::Int(index.columns.len() as i64);
        let columns = || index.columns.iter();
        let type_of = |column: &IndexColumn| index.table.columns[column.ordinal].data_type;
        rows.push([
            ("indexrelid", number(index.oid)),
            ("indrelid", number(oids::object(index.table.id))),
            ("indnatts", width.clone()),
            ("indnkeyatts", width),
            ("indisunique", Value::Bool(index.unique)),
            ("indisprimary", Value::Bool(index.primary)),
            ("indkey", vector(columns().map(|c| attribute_number(index.table, c.ordinal)))),
            ("indcollation", vector(columns().map(|c| i64::from(collation(type_of(c)))))),
            ("indclass", vector(columns().map(|_| 0))),
            // Descending, and nulls first, which goes with it.
            ("indoption", vector(columns().map(|c| if c.descending { 3 } else { 0 }))),
        ]);
    }
}

pub(super) fn all_views<'a>(
    catalog: &'a Catalog,
    database: &str,
) -> impl Iterator<Item = (&'a str, &'a View)> {
    catalog.relations(database).filter_map(|(schema, relation)| match relation {
        Relation::View(view) => Some((schema, &**view)),
        Relation::Table(_) | Relation::Sequence(_) => None,
    })
}

/// The oid and query of every view.
pub(super) fn view_definitions(
    catalog: &Catalog,
    database: &str,
    visible: &Visible<'_>,
) -> Vec<(ObjectId, String)> {
    let text = |view: &View| view_text(view, database, catalog, visible);
    all_views(catalog, database).map(|(_, view)| (view.id, text(view))).collect()
}

/// A view's query between PostgreSQL's blank and semicolon; one that no longer fits what it reads as it
/// is stored.
fn view_text(view: &View, database: &str, catalog: &Catalog, visible: &Visible<'_>) -> String {
    let text = sql::shown_view(view, database, catalog, visible, &Outlines);
    let text = text.unwrap_or_else(|_| view.text.clone());
    format!(" {};", text.trim().trim_end_matches(';'))
}

fn rules(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for (_, view) in all_views(catalog, database) {
        rows.push([
            ("oid", number(oids::part(view.id, "_RETURN"))),
            ("ev_class", number(oids::object(view.id))),
        ]);
    }
}

fn tables(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for (schema, table) in real_tables(catalog, database) {
        let indexed = table.primary_key_name.is_some() || !table.indexes.is_empty();
        let references = !table.foreign_keys.is_empty() || !table.referenced_by.is_empty();
        rows.push([
            ("schemaname", Value::text(schema)),
            ("tablename", Value::text(table.name.as_str())),
            ("tableowner", access::owner_name(catalog, table.id)),
            ("hasindexes", Value::Bool(indexed)),
            ("hastriggers", Value::Bool(references)),
        ]);
    }
}

fn views(rows: &mut Rows, catalog: &Catalog, settings: &SessionSettings) {
    let (database, visible) = (settings.database.as_str(), super::visible(catalog, settings));
    for (schema, view) in all_views(catalog, database) {
        rows.push([
            ("schemaname", Value::text(schema)),
            ("viewname", Value::text(view.name.as_str())),
            ("viewowner", access::owner_name(catalog, view.id)),
            ("definition", Value::text(view_text(view, database, catalog, &visible))),
        ]);
    }
}

fn index_definitions(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for index in all_indexes(catalog, database) {
        rows.push([
            ("schemaname", Value::text(index.schema)),
            ("tablename", Value::text(index.table.name.as_str())),
            ("indexname", Value::text(index.name)),
            ("indexdef", Value::text(index.definition(None))),
        ]);
    }
}

//! Sequences: `pg_sequence`, `pg_sequences`,
//! `information_schema.sequences`, and the identity of columns.

use super::access;
use super::shape::{Rows, Shape, number};
use crate::catalog::{Catalog, Relation, Sequence, Visible, oids};
use crate::sql::VirtualTable;
use model::expression::Expression;
use model::id::ObjectId;
use model::schema::{Column, Identity, Table};
use model::types::{DataType, RegKind, oid};
use model::value::Value;
use shards::exec::functions::quote_identifier;
use std::sync::Arc;

/// The table of that name in `pg_catalog`, where it is about sequences.
pub(super) fn table(
    shape: &'static Shape,
    catalog: &Catalog,
    database: &str,
) -> Option<VirtualTable> {
    let mut rows = Rows::of(shape);
    match shape.name {
        "pg_sequence" => definitions(&mut rows, catalog, database),
        "pg_sequences" => listed(&mut rows, catalog, database),
        _ => return None,
    }
    Some(rows.done())
}

/// All sequences of a database with their schemas.
pub(super) fn all<'c>(
    catalog: &'c Catalog,
    database: &str,
) -> impl Iterator<Item = (&'c str, &'c Arc<Sequence>)> {
    catalog.relations(database).filter_map(|(schema, relation)| match relation {
        Relation::Sequence(sequence) => Some((schema, sequence)),
        _ => None,
    })
}

fn definitions(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for (_, sequence) in all(catalog, database) {
        rows.push([
            ("seqrelid", number(sequence.oid())),
            ("seqtypid", number(oid::oid(sequence.data_type))),
            ("seqstart", Value::Int(sequence.start)),
            ("seqincrement", Value::Int(sequence.increment)),
            ("seqmax", Value::Int(sequence.max_value)),
            ("seqmin", Value::Int(sequence.min_value)),
            ("seqcache", Value::Int(sequence.cache)),
            ("seqcycle", Value::Bool(sequence.cycle)),
        ]);
    }
}

/// `pg_sequences`. Where a sequence is, its core knows: the column for that has its oid, which the
/// binder makes a call of.
fn listed(rows: &mut Rows, catalog: &Catalog, database: &str) {
    for (schema, sequence) in all(catalog, database) {
        rows.push([
            ("schemaname", Value::text(schema)),
            ("sequencename", Value::text(sequence.name.as_str())),
            ("sequenceowner", access::owner_name(catalog, sequence.id)),
            ("data_type", number(oid::oid(sequence.data_type))),
            ("start_value", Value::Int(sequence.start)),
            ("min_value", Value::Int(sequence.min_value)),
            ("max_value", Value::Int(sequence.max_value)),
            ("increment_by", Value::Int(sequence.increment)),
            ("cycle", Value::Bool(sequence.cycle)),
            ("cache_size", Value::Int(sequence.cache)),
            ("last_value", number(sequence.oid())),
        ]);
    }
}

/// The table and column that a sequence goes with.
pub(super) fn owner<'c>(
    catalog: &'c Catalog,
    sequence: &Sequence,
) -> Option<(&'c Arc<Table>, usize)> {
    let (table, ordinal) = sequence.owned_by?;
    catalog.table(table).map(|table| (table, ordinal))
}

/// The sequence of this oid, if an expression is one.
fn named<'c>(catalog: &'c Catalog, expression: &Expression) -> Option<&'c Arc<Sequence>> {
    let Expression::Literal(Value::Int(oid), DataType::Reg(RegKind::Class)) = expression else {
        return None;
    };
    let id: ObjectId = oids::object_of(u32::try_from(*oid).ok()?)?;
    catalog.sequence(id)
}

/// The sequences that an expression calls.
pub(super) fn called<'c>(catalog: &'c Catalog, expression: &Expression) -> Vec<&'c Arc<Sequence>> {
    let mut found: Vec<_> = named(catalog, expression).into_iter().collect();
    expression.for_each_child(|child| found.extend(called(catalog, child)));
    found
}

/// An expression with the names of the sequences in it, as they are printed.
pub(super) fn with_names(
    catalog: &Catalog,
    visible: &Visible<'_>,
    expression: &Expression,
) -> Expression {
    let mut expression = expression.clone();
    expression.rewrite(&mut |node| {
        if let Some(sequence) = named(catalog, node) {
            let name = shown(sequence, !visible.is_visible(&sequence.schema, &sequence.name));
            *node = Expression::Literal(Value::from(Some(name)), node.data_type());
        }
    });
    expression
}

fn shown(sequence: &Sequence, with_schema: bool) -> String {
    let name = quote_identifier(&sequence.name);
    match with_schema {
        true => format!("{}.{name}", quote_identifier(&sequence.schema)),
        false => name,
    }
}

/// `attidentity`
pub(super) fn attribute_identity(column: &Column) -> &'static str {
    match column.identity {
        None => "",
        Some(Identity::Always) => "a",
        Some(Identity::ByDefault) => "d",
    }
}

/// What `information_schema.columns` says of an identity column.
pub(super) fn identity_columns(catalog: &Catalog, column: &Column) -> Vec<(&'static str, Value)> {
    let Some(identity) = column.identity else { return Vec::new() };
    let generation = match identity {
        Identity::Always => "ALWAYS",
        Identity::ByDefault => "BY DEFAULT",
    };
    let mut said =
        vec![("is_identity", Value::text("YES")), ("identity_generation", Value::text(generation))];
    let default = column.default.as_ref();
    let sequence = default.and_then(|default| called(catalog, default).into_iter().next());
    if let Some(sequence) = sequence {
        let text = |value: i64| Value::text(value.to_string());
        said.extend([
            ("identity_start", text(sequence.start)),
            ("identity_increment", text(sequence.increment)),
            ("identity_maximum", text(sequence.max_value)),
            ("identity_minimum", text(sequence.min_value)),
            ("identity_cycle", super::information_schema::yes(sequence.cycle)),
        ]);
    }
    said
}

/// `information_schema.sequences`: those that are no identity column's.
pub(super) fn standard(rows: &mut Rows, catalog: &Catalog, database: &str, role: ObjectId) {
    for (schema, sequence) in all(catalog, database) {
        if !access::concerns(catalog, role, sequence.id) {
            continue;
        }
        let of_identity = owner(catalog, sequence)
            .is_some_and(|(table, ordinal)| table.columns[ordinal].identity.is_some());
        if of_identity {
            continue;
        }
        let bits = match sequence.data_type {
            DataType::Int2 => 16,
            DataType::Int4 => 32,
            _ => 64,
        };
        let text = |value: i64| Value::text(value.to_string());
        rows.push([
            ("sequence_catalog", Value::text(database)),
            ("sequence_schema", Value::text(schema)),
            ("sequence_name", Value::text(sequence.name.as_str())),
            ("data_type", Value::text(oid::format_type(sequence.data_type))),
            ("numeric_precision", Value::Int(bits)),
            ("numeric_precision_radix", Value::Int(2)),
            ("numeric_scale", Value::Int(0)),
            ("start_value", text(sequence.start)),
            ("minimum_value", text(sequence.min_value)),
            ("maximum_value", text(sequence.max_value)),
            ("increment", text(sequence.increment)),
            ("cycle_option", super::information_schema::yes(sequence.cycle)),
        ]);
    }
}

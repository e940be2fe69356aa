//! Names of objects as oids: `regclass`, `regtype` and their kin.
//!
//! A `reg*` value is an oid. What it reads from and prints as depends on the catalog, so the casts
//! to and from text are lookups in tables that are made here, from the catalog the statement is
//! bound with. A cast of a constant is folded to its oid when the statement is planned.

use super::binder::{Binder, cast};
use super::{OutputColumn, SessionSettings};
use crate::catalog::{Catalog, Relation, Visible, oids};
use model::error::SqlState;
use model::expression::{Expression, FunctionReference};
use model::lookup::{LookupTable, Missing};
use model::types::{DataType, ElementType, RegKind, oid};
use model::value::Value;
use shards::exec::functions::quote_identifier;
use std::collections::HashSet;
use std::sync::Arc;

use super::query::BoundQuery;

/// An object that a `reg*` value can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedObject {
    /// Its oid.
    pub oid: u32,
    /// The schema it is in; none of what is in no schema.
    pub schema: Option<String>,
    /// Its name, without quotes.
    pub name: String,
}

impl NamedObject {
    /// Whether it is found, and prints, without its schema.
    fn is_visible(&self, visible: &Visible<'_>) -> bool {
        self.schema.as_ref().is_none_or(|schema| visible.is_visible(schema, &self.name))
    }
}

/// The objects that the catalog itself knows: relations, their indexes, schemas and types.
pub fn catalog_objects(
    kind: RegKind,
    catalog: &Catalog,
    settings: &SessionSettings,
) -> Vec<NamedObject> {
    match kind {
        RegKind::Class => relations(catalog, settings),
        RegKind::Namespace => {
            let schemas = catalog.database(&settings.database).into_iter().flat_map(|d| &d.schemas);
            schemas
                .map(|(name, schema)| NamedObject {
                    oid: oids::schema(name, schema.id),
                    schema: None,
                    name: name.clone(),
                })
                .collect()
        }
        RegKind::Type => types(),
        _ => Vec::new(),
    }
}

fn relations(catalog: &Catalog, settings: &SessionSettings) -> Vec<NamedObject> {
    let mut objects = Vec::new();
    for (schema, relation) in catalog.relations(&settings.database) {
        let mut add = |oid, name: &str| {
            objects.push(NamedObject {
                oid,
                schema: Some(schema.to_owned()),
                name: name.to_owned(),
            });
        };
        add(oids::object(relation.id()), relation.name());
        if let Relation::Table(table) = relation {
            if let Some(name) = &table.primary_key_name {
                add(oids::primary_key(table.id), name);
            }
            table.indexes.iter().for_each(|index| add(oids::object(index.id), &index.name));
        }
    }
    objects
}

/// Every type under its internal name and the names of the standard; the latter print.
fn types() -> Vec<NamedObject> {
    let named =
        |oid, name: String| NamedObject { oid, schema: Some("pg_catalog".to_owned()), name };
    let mut objects = Vec::with_capacity(oid::TYPES.len() * 4);
    for entry in oid::TYPES {
        let shown = oid::format_type(entry.data_type);
        objects.push(named(entry.oid, shown.clone()));
        if entry.array_oid != 0 {
            objects.push(named(entry.array_oid, format!("{shown}[]")));
            objects.push(named(entry.array_oid, format!("{}[]", entry.name)));
            objects.push(named(entry.array_oid, format!("_{}", entry.name)));
        }
        objects.push(named(entry.oid, entry.name.to_owned()));
    }
    for pseudo in oid::PSEUDO_TYPES {
        objects.push(named(pseudo.oid, pseudo.shown()));
        objects.push(named(pseudo.oid, pseudo.name.to_owned()));
    }
    // Other spellings of the grammar.
    for (name, of) in [
        ("int", DataType::Int4),
        ("decimal", DataType::Numeric(None)),
        ("char", DataType::Char(1)),
        ("float", DataType::Float8),
    ] {
        objects.push(named(oid::oid(of), name.to_owned()));
        objects.push(named(oid::array_oid(of), format!("{name}[]")));
    }
    objects
}

impl Binder<'_> {
    /// A cast; of a `reg*` value to text, and of text to one, by a lookup.
    pub(super) fn cast(&self, operand: Expression, target: DataType, explicit: bool) -> Expression {
        let from = operand.data_type();
        match (from, target) {
            (DataType::Reg(kind), target) if target.is_text() => {
                let text = self.reg_text(kind, operand);
                if target == DataType::Text { text } else { cast(text, target, explicit) }
            }
            (from, DataType::Reg(kind)) if from.is_text() || from == DataType::Unknown => {
                self.reg_from_text(kind, operand)
            }
            _ => cast(operand, target, explicit),
        }
    }

    /// The text of a `reg*` value.
    pub(super) fn reg_text(&self, kind: RegKind, operand: Expression) -> Expression {
        let mut table = LookupTable::new(kind.name(), Missing::Input);
        // `-` is an operator.
        let none = if matches!(kind, RegKind::Oper | RegKind::Operator) { "0" } else { "-" };
        table.insert(&[Value::Int(0)], Value::text(none));
        let (objects, visible) = (self.named_objects(kind), self.visible());
        let shared = shared_names(kind, &objects);
        for object in &objects {
            let short = object.is_visible(&visible) && !shared.contains(object.name.as_str());
            let text = printed(kind, object, short);
            table.insert(&[Value::Int(i64::from(object.oid))], Value::text(text));
        }
        self.lookup(table, vec![operand], DataType::Text)
    }

    /// The `reg*` value that a text names; an error where it names nothing.
    pub(super) fn reg_from_text(&self, kind: RegKind, operand: Expression) -> Expression {
        if let Expression::Literal(Value::Text(text), _) = &operand
            && (text.as_ref() == "-" && kind != RegKind::Oper
                || text.bytes().all(|byte| byte.is_ascii_digit()))
        {
            return cast(operand, DataType::Reg(kind), true);
        }
        if let Expression::Literal(Value::Null, _) = operand {
            return Expression::Literal(Value::Null, DataType::Reg(kind));
        }
        let missing = missing(kind);
        self.reg_oid(kind, self.decided(operand), missing)
    }

    /// The oid of the object that a text names, and what comes of a name of nothing.
    pub(super) fn reg_oid(&self, kind: RegKind, name: Expression, missing: Missing) -> Expression {
        let mut table = LookupTable::new(kind.name(), missing);
        let (objects, visible) = (self.named_objects(kind), self.visible());
        let shared = shared_names(kind, &objects);
        for object in &objects {
            let oid = Value::Int(i64::from(object.oid));
            let name = Value::text(object.name.as_str());
            let short = object.is_visible(&visible).then(|| vec![name.clone()]);
            let long = object.schema.as_deref().map(|schema| vec![Value::text(schema), name]);
            for parts in short.into_iter().chain(long) {
                let key = [Value::array(parts)];
                match shared.contains(object.name.as_str()) {
                    // `to_regproc` finds nothing where it finds several.
                    true if table.missing == Missing::Null => {}
                    true => table.insert_ambiguous(&key, ambiguous(kind, &object.name)),
                    false => table.insert(&key, oid.clone()),
                }
            }
        }
        // Type names have spaces and brackets; most others are identifiers with dots between.
        let reader = match kind {
            RegKind::Type => "type name",
            RegKind::Procedure => "function signature",
            RegKind::Oper => "operator name",
            RegKind::Operator => "operator signature",
            _ => "object name",
        };
        let parts = Expression::Function {
            function: FunctionReference(Arc::from(format!("{reader}(text)"))),
            arguments: vec![name],
            data_type: DataType::Array(ElementType::Text),
        };
        self.lookup(table, vec![parts], DataType::Reg(kind))
    }

    /// A lookup of `arguments` in a table made from this catalog: the plan is not kept.
    pub(super) fn lookup(
        &self,
        table: LookupTable,
        arguments: Vec<Expression>,
        data_type: DataType,
    ) -> Expression {
        self.uncacheable.set(true);
        Expression::Lookup { table: Arc::new(table), arguments, data_type }
    }

    fn named_objects(&self, kind: RegKind) -> Vec<NamedObject> {
        self.virtual_tables.objects(kind, self.catalog, self.settings)
    }

    /// The query with its `reg*` columns as the text that clients see.
    pub(super) fn printable(&self, query: BoundQuery) -> BoundQuery {
        let is_reg = |column: &OutputColumn| matches!(column.data_type, DataType::Reg(_));
        if !query.columns.iter().any(is_reg) {
            return query;
        }
        let BoundQuery { plan, mut columns } = query;
        let mut expressions = Vec::with_capacity(columns.len());
        for (index, column) in columns.iter_mut().enumerate() {
            let value = Expression::column(index, column.data_type);
            expressions.push(match column.data_type {
                DataType::Reg(kind) => {
                    column.data_type = DataType::Text;
                    self.reg_text(kind, value)
                }
                _ => value,
            });
        }
        BoundQuery { plan: plan.project(expressions), columns }
    }
}

/// The names of functions and operators that several have: they differ in their arguments.
fn shared_names(kind: RegKind, objects: &[NamedObject]) -> HashSet<&str> {
    if !matches!(kind, RegKind::Proc | RegKind::Oper) {
        return HashSet::new();
    }
    let mut seen = HashSet::new();
    objects.iter().map(|object| object.name.as_str()).filter(|name| !seen.insert(*name)).collect()
}

fn ambiguous(kind: RegKind, name: &str) -> String {
    match kind {
        RegKind::Oper => format!("more than one operator named {name}"),
        _ => format!("more than one function named \"{name}\""),
    }
}

/// `short`: the name alone means the object.
fn printed(kind: RegKind, object: &NamedObject, short: bool) -> String {
    let quoted = match kind {
        // A type's name is no identifier, and a symbol is not either.
        RegKind::Type | RegKind::Oper | RegKind::Operator => object.name.clone(),
        RegKind::Procedure => match object.name.split_once('(') {
            Some((name, arguments)) => format!("{}({arguments}", quote_identifier(name)),
            None => quote_identifier(&object.name),
        },
        _ => quote_identifier(&object.name),
    };
    match &object.schema {
        Some(schema) if !short => {
            format!("{}.{quoted}", quote_identifier(schema))
        }
        _ => quoted,
    }
}

/// PostgreSQL's error for a name of nothing.
fn missing(kind: RegKind) -> Missing {
    let (state, before, after) = match kind {
        RegKind::Class => (SqlState::UNDEFINED_TABLE, "relation \"", "\" does not exist"),
        RegKind::Type => (SqlState::UNDEFINED_OBJECT, "type \"", "\" does not exist"),
        RegKind::Proc | RegKind::Procedure => {
            (SqlState::UNDEFINED_FUNCTION, "function \"", "\" does not exist")
        }
        RegKind::Namespace => (SqlState::INVALID_SCHEMA_NAME, "schema \"", "\" does not exist"),
        RegKind::Role => (SqlState::UNDEFINED_OBJECT, "role \"", "\" does not exist"),
        RegKind::Collation => (SqlState::UNDEFINED_OBJECT, "collation \"", "\" does not exist"),
        RegKind::Oper | RegKind::Operator => {
            (SqlState::UNDEFINED_FUNCTION, "operator does not exist: ", "")
        }
    };
    Missing::Error { state, before: before.into(), after: after.into() }
}

//! The columns of PostgreSQL's catalog, and rows made by their names.
//!
//! Two files list every relation of `pg_catalog` and `information_schema` as PostgreSQL 15 has
//! them. A table that PhantomDB has nothing to say in is that list and no rows. Of types that do
//! not exist here, `xid` is `oid`, and expression trees, access lists and addresses are text.

use crate::catalog::{INFORMATION_SCHEMA, PG_CATALOG, oids};
use crate::sql::VirtualTable;
use model::array::Array;
use model::types::{DataType, oid};
use model::value::Value;
use std::sync::{Arc, LazyLock};

/// A relation of the system.
pub(super) struct Shape {
    /// The oid of the schema it is in.
    pub(super) namespace: u32,
    /// Its name.
    pub(super) name: &'static str,
    /// Its oid.
    pub(super) oid: u32,
    /// `r` of a table, `v` of a view.
    pub(super) kind: &'static str,
    columns: Vec<(&'static str, DataType)>,
    defaults: Vec<Value>,
}

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let files = [
        (oids::PG_CATALOG, include_str!("pg_catalog.columns")),
        (oids::INFORMATION_SCHEMA, include_str!("information_schema.columns")),
    ];
    files.into_iter().flat_map(|(namespace, text)| read(namespace, text)).collect()
});

impl Shape {
    /// The schema it is in.
    pub(super) fn schema(&self) -> &'static str {
        match self.namespace {
            oids::PG_CATALOG => PG_CATALOG,
            _ => INFORMATION_SCHEMA,
        }
    }
}

/// All relations of both schemas.
pub(super) fn all() -> impl Iterator<Item = &'static Shape> {
    SHAPES.iter()
}

/// The relation of this name.
pub(super) fn find(namespace: u32, name: &str) -> Option<&'static Shape> {
    all().find(|shape| shape.namespace == namespace && shape.name == name)
}

/// The oid of a table of `pg_catalog`; 0 where there is none.
pub(super) fn class_oid(name: &str) -> u32 {
    find(oids::PG_CATALOG, name).map_or(0, |shape| shape.oid)
}

/// Reads one file. It is part of the program: what is wrong in it is a bug, which a test finds.
fn read(namespace: u32, text: &'static str) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(columns) => {
                let shape = shapes.last_mut().expect("columns stand below a relation");
                for column in columns.split(';').map(str::trim).filter(|c| !c.is_empty()) {
                    let (name, rest) = column.split_once(' ').expect("a column has a type");
                    let (type_name, default) = match rest.split_once('=') {
                        Some((type_name, default)) => (type_name, Some(default)),
                        None => (rest, None),
                    };
                    let data_type = type_of(type_name);
                    shape.columns.push((name, data_type));
                    shape.defaults.push(default.map_or(Value::Null, |d| value(d, data_type)));
                }
            }
            None => {
                let mut words = line.split(' ');
                let mut word = || words.next().expect("a name, an oid and a kind");
                let (name, number, kind) = (word(), word(), word());
                let oid = number.parse().expect("an oid is a number");
                let (columns, defaults) = (Vec::new(), Vec::new());
                shapes.push(Shape { namespace, name, oid, kind, columns, defaults });
            }
        }
    }
    shapes
}

/// The type of this internal name; `varchar` is the one without a length.
fn type_of(name: &str) -> DataType {
    let element = name.strip_prefix('_').unwrap_or(name);
    let entry = oid::TYPES.iter().find(|entry| entry.name == element);
    let entry = entry.unwrap_or_else(|| panic!("no type {name}"));
    let number = if element == name { entry.oid } else { entry.array_oid };
    oid::from_oid(number, -1).expect("a listed type has its oid")
}

fn value(text: &str, data_type: DataType) -> Value {
    match data_type {
        DataType::Bool => Value::Bool(text == "t"),
        DataType::Float4 => Value::Float(text.parse().expect("a number")),
        data_type if data_type.is_integer() || data_type.is_oid() => {
            Value::Int(text.parse().expect("a number"))
        }
        _ => Value::text(text),
    }
}

impl Shape {
    /// How many columns it has.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }
}

/// A table that is being made.
pub(super) struct Rows {
    shape: &'static Shape,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    pub(super) fn of(shape: &'static Shape) -> Rows {
        Rows { shape, rows: Vec::new() }
    }

    /// Adds a row: the values that differ from the columns' defaults.
    ///
    /// # Panics
    /// For a column that the table does not have.
    pub(super) fn push(&mut self, values: impl IntoIterator<Item = (&'static str, Value)>) {
        let mut row = self.shape.defaults.clone();
        for (name, value) in values {
            let at = self.shape.columns.iter().position(|(column, _)| *column == name);
            let at = at.unwrap_or_else(|| panic!("{} has no column {name}", self.shape.name));
            row[at] = value;
        }
        self.rows.push(row);
    }

    pub(super) fn done(self) -> VirtualTable {
        let columns = self.shape.columns.iter().map(|(name, t)| ((*name).to_owned(), *t));
        let oid = Some(self.shape.oid);
        VirtualTable {
            columns: columns.collect(),
            rows: self.rows,
            of_the_node: false,
            of_the_cluster: false,
            oid,
        }
    }
}

/// An oid as a value.
pub(super) fn number(value: u32) -> Value {
    Value::Int(i64::from(value))
}

/// An `int2[]`.
pub(super) fn numbers(values: impl IntoIterator<Item = i64>) -> Value {
    Value::array(values.into_iter().map(Value::Int).collect())
}

/// An `int2vector` or `oidvector`: its subscripts start at 0.
pub(super) fn vector(values: impl IntoIterator<Item = i64>) -> Value {
    let values = values.into_iter().map(Value::Int).collect();
    Value::Array(Arc::new(Array::starting_at(0, values)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_whole() {
        assert_eq!(all().count(), 208);
        let class = find(oids::PG_CATALOG, "pg_class").expect("it is listed");
        assert_eq!((class.oid, class.kind, class.width()), (1259, "r", 33));
        assert_eq!(class.columns[1], ("relname", DataType::Name));
        assert_eq!((&class.defaults[0], &class.defaults[5]), (&Value::Null, &Value::Int(10)));
    }
}

//! Prepared statements: what the server said of them, and which a connection has.

use crate::Columns;
use model::key;
use model::placement::hash_of;
use model::types::DataType;
use model::value::Value;
use net::message::{Placement, Prepared};
use std::collections::HashMap;
use std::sync::Arc;

/// Statements a connection keeps prepared; the least recently used is closed for a new one.
pub(crate) const STATEMENTS_MAX: usize = 256;

/// A prepared statement. Belongs to no connection: each prepares it when it first runs it.
#[derive(Debug, Clone)]
pub struct Statement {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    text: Arc<str>,
    parameters: Vec<DataType>,
    columns: Columns,
    routing: Vec<u16>,
}

impl Statement {
    pub(crate) fn new(text: &str, prepared: Prepared) -> Statement {
        let Prepared { parameters, columns, routing, .. } = prepared;
        let inner = Inner { text: text.into(), parameters, columns: columns.into(), routing };
        Statement { inner: Arc::new(inner) }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// The types of its parameters.
    pub fn parameters(&self) -> &[DataType] {
        &self.inner.parameters
    }

    /// The columns of its rows; none where it has no rows.
    pub fn columns(&self) -> &Columns {
        &self.inner.columns
    }

    /// The address of the core that holds the row these parameters name, where the statement is
    /// one for a single row and the map knows it. Only a short cut: every core answers it.
    pub fn owner<'p>(&self, parameters: &[Value], placement: &'p Placement) -> Option<&'p str> {
        let routing = &self.inner.routing;
        if routing.is_empty() {
            return None;
        }
        let mut encoded = Vec::with_capacity(32);
        for index in routing {
            let index = usize::from(*index);
            let value = parameters.get(index)?;
            if !has_encoding_of(value, *self.inner.parameters.get(index)?) {
                return None;
            }
            key::push_value(&mut encoded, value, false);
        }
        placement.address_of(hash_of(&encoded))
    }
}

/// Whether the value, as it is, encodes like one of the column's type. One that the server would
/// cast first is left to the server.
fn has_encoding_of(value: &Value, data_type: DataType) -> bool {
    match value {
        Value::Int(_) => data_type.is_integer(),
        Value::Text(_) => matches!(data_type, DataType::Text | DataType::Varchar(_)),
        Value::Bool(_) => data_type == DataType::Bool,
        Value::Uuid(_) => data_type == DataType::Uuid,
        Value::Bytes(_) => data_type == DataType::Bytea,
        Value::Date(_) => data_type == DataType::Date,
        Value::Time(_) => data_type == DataType::Time,
        Value::TimeTz(_) => data_type == DataType::TimeTz,
        Value::Timestamp(_) => matches!(data_type, DataType::Timestamp | DataType::TimestampTz),
        Value::Float(_) => data_type == DataType::Float8,
        Value::Null
        | Value::Numeric(_)
        | Value::Interval(_)
        | Value::Jsonb(_)
        | Value::Array(_) => false,
    }
}

/// What a statement is given as: text, or prepared.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Text of one statement.
    Text(&'a str),
    /// Prepared before, on this connection or another.
    Prepared(&'a Statement),
}

impl<'a> From<&'a str> for Source<'a> {
    fn from(text: &'a str) -> Source<'a> {
        Source::Text(text)
    }
}

impl<'a> From<&'a String> for Source<'a> {
    fn from(text: &'a String) -> Source<'a> {
        Source::Text(text)
    }
}

impl<'a> From<&'a Statement> for Source<'a> {
    fn from(statement: &'a Statement) -> Source<'a> {
        Source::Prepared(statement)
    }
}

impl<'a> Source<'a> {
    /// The text.
    pub fn text(self) -> &'a str {
        match self {
            Source::Text(text) => text,
            Source::Prepared(statement) => statement.text(),
        }
    }
}

/// The statements one connection has prepared, by text.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    known: HashMap<Arc<str>, Known>,
    clock: u64,
    next_number: u32,
}

#[derive(Debug)]
struct Known {
    number: u32,
    statement: Statement,
    used: u64,
}

impl Cache {
    /// The statement with this text and its number on the connection.
    pub(crate) fn get(&mut self, text: &str) -> Option<(u32, Statement)> {
        let known = self.known.get_mut(text)?;
        self.clock += 1;
        known.used = self.clock;
        Some((known.number, known.statement.clone()))
    }

    /// A number for a statement about to be prepared. Zero is left for no statement.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.next_number = self.next_number.checked_add(1).unwrap_or(1);
        self.next_number
    }

    /// Notes what was prepared; returns the number of a statement to close for it.
    pub(crate) fn put(&mut self, number: u32, statement: Statement) -> Option<u32> {
        let oldest = (self.known.len() >= STATEMENTS_MAX)
            .then(|| self.known.iter().min_by_key(|(_, known)| known.used))
            .flatten()
            .map(|(text, _)| Arc::clone(text));
        let closed = oldest.and_then(|text| self.forget(&text));
        self.clock += 1;
        let text = Arc::clone(&statement.inner.text);
        let known = Known { number, statement, used: self.clock };
        // The same text may have been prepared twice at the same time.
        let doubled = self.known.insert(text, known).map(|known| known.number);
        closed.or(doubled)
    }

    /// Drops a statement; returns its number.
    pub(crate) fn forget(&mut self, text: &str) -> Option<u32> {
        self.known.remove(text).map(|known| known.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;
    use net::message::PlaceEntry;

    fn statement(text: &str, parameters: Vec<DataType>, routing: Vec<u16>) -> Statement {
        Statement::new(text, Prepared { statement: 1, parameters, columns: vec![], routing })
    }

    #[test]
    fn a_point_statement_goes_to_the_core_that_hashes_the_same() {
        let place = |core| PlaceEntry { node: 1, core, address: format!("h:{core}") };
        let placement =
            Placement { version: 1, places: vec![place(0), place(1)], leaders: vec![0, 1, 0] };
        let statement = statement("", vec![DataType::Text, DataType::Int4], vec![1]);
        let mut both = [false; 2];
        for id in 0..64 {
            let mut key = Vec::new();
            key::push_value(&mut key, &Value::Int(id), false);
            let expected = placement.address_of(hash_of(&key));
            assert_eq!(statement.owner(&params!["x", id], &placement), expected);
            both[usize::from(expected == Some("h:1"))] = true;
        }
        assert_eq!(both, [true; 2]);
        // What the server has to cast first, or refuses, is not routed.
        assert_eq!(statement.owner(&params!["x", "7"], &placement), None);
        assert_eq!(statement.owner(&params!["x"], &placement), None);
    }

    #[test]
    fn the_least_recently_used_statement_makes_room() {
        let mut cache = Cache::default();
        for i in 0..STATEMENTS_MAX {
            let number = cache.next_number();
            assert_eq!(cache.put(number, statement(&format!("s{i}"), vec![], vec![])), None);
        }
        assert_eq!(cache.get("s0").unwrap().0, 1);
        let number = cache.next_number();
        assert_eq!(cache.put(number, statement("new", vec![], vec![])), Some(2));
        assert!(cache.get("s1").is_none() && cache.get("s0").is_some());
    }
}

//! JSON: an array of objects, or one object a line. Numbers stay numbers with all their digits,
//! what JSON has no number for (`NaN`, `Infinity`) and every other type is a string.

use std::collections::HashSet;
use std::io::{self, Write};

use model::numeric::Numeric;
use model::text::push_text;
use model::types::DataType;
use model::value::ValueRef;

use super::Column;

/// How the objects follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    Array,
    Lines,
}

/// A result in JSON.
#[derive(Debug)]
pub(super) struct Json {
    /// The quoted name with its colon, and the type.
    columns: Vec<(String, DataType)>,
    layout: Layout,
    rows: u64,
    text: String,
}

impl Json {
    pub fn begin(columns: &[Column], layout: Layout, out: &mut dyn Write) -> io::Result<Self> {
        let keys = distinct_names(columns);
        let columns = keys
            .iter()
            .zip(columns)
            .map(|(key, column)| {
                Ok((format!("{}:", serde_json::to_string(key)?), column.data_type))
            })
            .collect::<Result<_, serde_json::Error>>()?;
        if layout == Layout::Array {
            out.write_all(b"[")?;
        }
        Ok(Self { columns, layout, rows: 0, text: String::new() })
    }

    pub fn row(&mut self, row: &[ValueRef<'_>], out: &mut dyn Write) -> io::Result<()> {
        if self.layout == Layout::Array {
            out.write_all(if self.rows == 0 { b"\n" } else { b",\n" })?;
        }
        for (position, (value, (key, data_type))) in row.iter().zip(&self.columns).enumerate() {
            out.write_all(if position == 0 { b"{" } else { b"," })?;
            out.write_all(key.as_bytes())?;
            self.text.clear();
            push_text(&mut self.text, value, *data_type);
            match value {
                ValueRef::Null => out.write_all(b"null")?,
                ValueRef::Bool(truth) => write!(out, "{truth}")?,
                ValueRef::Int(_) | ValueRef::Numeric(Numeric::Finite(_)) => {
                    out.write_all(self.text.as_bytes())?
                }
                ValueRef::Float(number) if number.is_finite() => {
                    out.write_all(self.text.as_bytes())?
                }
                _ => serde_json::to_writer(&mut *out, &self.text)?,
            }
        }
        out.write_all(if row.is_empty() { b"{}" } else { b"}" })?;
        if self.layout == Layout::Lines {
            out.write_all(b"\n")?;
        }
        self.rows += 1;
        Ok(())
    }

    pub fn end(self, out: &mut dyn Write) -> io::Result<()> {
        match (self.layout, self.rows) {
            (Layout::Lines, _) => Ok(()),
            (Layout::Array, 0) => out.write_all(b"]\n"),
            (Layout::Array, _) => out.write_all(b"\n]\n"),
        }
    }
}

/// Objects have each name once: the second `count` is `count_2`.
fn distinct_names(columns: &[Column]) -> Vec<String> {
    let given: HashSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut used: HashSet<String> = HashSet::new();
    columns
        .iter()
        .map(|column| {
            let mut name = column.name.clone();
            let mut number = 2;
            while used.contains(&name) || (name != column.name && given.contains(name.as_str())) {
                name = format!("{}_{number}", column.name);
                number += 1;
            }
            used.insert(name.clone());
            name
        })
        .collect()
}

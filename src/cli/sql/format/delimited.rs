//! CSV (RFC 4180) and TSV (the text format of PostgreSQL's COPY, with a header).

use std::io::{self, Write};

use model::text::push_text;
use model::types::DataType;
use model::value::ValueRef;

use super::Column;

/// A result in CSV.
#[derive(Debug)]
pub(super) struct Csv {
    types: Vec<DataType>,
    text: String,
}

impl Csv {
    pub fn begin(columns: &[Column], out: &mut dyn Write) -> io::Result<Self> {
        for (position, column) in columns.iter().enumerate() {
            out.write_all(if position > 0 { b"," } else { b"" })?;
            write_field(&column.name, out)?;
        }
        out.write_all(b"\n")?;
        Ok(Self {
            types: columns.iter().map(|column| column.data_type).collect(),
            text: String::new(),
        })
    }

    pub fn row(&mut self, row: &[ValueRef<'_>], out: &mut dyn Write) -> io::Result<()> {
        for (position, (value, data_type)) in row.iter().zip(&self.types).enumerate() {
            out.write_all(if position > 0 { b"," } else { b"" })?;
            if !matches!(value, ValueRef::Null) {
                self.text.clear();
                push_text(&mut self.text, value, *data_type);
                write_field(&self.text, out)?;
            }
        }
        out.write_all(b"\n")
    }
}

/// Quotes what needs it, and the empty string to tell it from NULL.
fn write_field(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let plain = !text.is_empty() && !text.contains([',', '"', '\n', '\r']);
    if plain {
        out.write_all(text.as_bytes())
    } else {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    }
}

/// A result in TSV.
#[derive(Debug)]
pub(super) struct Tsv {
    types: Vec<DataType>,
    text: String,
}

impl Tsv {
    pub fn begin(columns: &[Column], out: &mut dyn Write) -> io::Result<Self> {
        for (position, column) in columns.iter().enumerate() {
            out.write_all(if position > 0 { b"\t" } else { b"" })?;
            write_escaped(&column.name, out)?;
        }
        out.write_all(b"\n")?;
        Ok(Self {
            types: columns.iter().map(|column| column.data_type).collect(),
            text: String::new(),
        })
    }

    pub fn row(&mut self, row: &[ValueRef<'_>], out: &mut dyn Write) -> io::Result<()> {
        for (position, (value, data_type)) in row.iter().zip(&self.types).enumerate() {
            out.write_all(if position > 0 { b"\t" } else { b"" })?;
            if matches!(value, ValueRef::Null) {
                out.write_all(b"\\N")?;
                continue;
            }
            self.text.clear();
            push_text(&mut self.text, value, *data_type);
            write_escaped(&self.text, out)?;
        }
        out.write_all(b"\n")
    }
}

fn write_escaped(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut plain_from = 0;
    for (position, byte) in text.bytes().enumerate() {
        let escaped: &[u8] = match byte {
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\\' => b"\\\\",
            _ => continue,
        };
        out.write_all(&text.as_bytes()[plain_from..position])?;
        out.write_all(escaped)?;
        plain_from = position + 1;
    }
    out.write_all(&text.as_bytes()[plain_from..])
}

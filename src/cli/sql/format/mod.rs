//! How results are printed: aligned tables, CSV, TSV, JSON and JSON lines.
//!
//! ```text
//!   begin(columns) ─> row() ─> row() ─> ... ─> end()        a statement with rows
//!   tag("INSERT 0 1")                                       a statement without
//! ```
//!
//! Rows are printed as they come; nothing is kept but, for tables, a window of
//! [`table::WINDOW_ROWS`] rows from which the widths are measured. Values are PostgreSQL's text
//! forms. NULL is nothing in tables and CSV (an empty string is `""` there), `\N` in TSV and
//! `null` in JSON.

mod delimited;
mod json;
mod table;

use std::io::{self, Write};

use clap::ValueEnum;
use model::types::DataType;
use model::value::ValueRef;

pub use table::Expanded;

/// What the output looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// Aligned columns with a header and the number of rows
    Table,
    /// Values separated by commas (RFC 4180), with a header
    Csv,
    /// Values separated by tabs, escaped as COPY does, with a header
    Tsv,
    /// One array of objects a result
    Json,
    /// One object a line
    Ndjson,
}

impl Format {
    /// All formats with the names they have on the command line and in `\format`.
    pub const NAMES: [(&'static str, Format); 5] = [
        ("table", Format::Table),
        ("csv", Format::Csv),
        ("tsv", Format::Tsv),
        ("json", Format::Json),
        ("ndjson", Format::Ndjson),
    ];
}

/// A column of a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name as the statement gives it; names may repeat.
    pub name: String,
    /// The type that says how its values print.
    pub data_type: DataType,
}

/// Prints results one after the other; it may be told a new format between two results.
#[derive(Debug)]
pub struct Printer {
    format: Format,
    expanded: Expanded,
    result: Option<Result>,
}

/// The result being printed.
#[derive(Debug)]
enum Result {
    Table(table::Table),
    Csv(delimited::Csv),
    Tsv(delimited::Tsv),
    Json(json::Json),
}

impl Printer {
    /// A printer that has printed nothing yet.
    pub fn new(format: Format) -> Self {
        Self { format, expanded: Expanded::Off, result: None }
    }

    /// The format of the next result.
    pub fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    /// Turns records printed as blocks of lines (tables only) on or off; says which it is now.
    pub fn toggle_expanded(&mut self) -> Expanded {
        self.expanded = match self.expanded {
            Expanded::Off => Expanded::On,
            Expanded::On => Expanded::Off,
        };
        self.expanded
    }

    /// Begins a result.
    ///
    /// # Errors
    /// Those of `out`, as for all that follow.
    pub fn begin(&mut self, columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
        self.result = Some(match self.format {
            Format::Table => Result::Table(table::Table::new(columns, self.expanded)),
            Format::Csv => Result::Csv(delimited::Csv::begin(columns, out)?),
            Format::Tsv => Result::Tsv(delimited::Tsv::begin(columns, out)?),
            Format::Json => Result::Json(json::Json::begin(columns, json::Layout::Array, out)?),
            Format::Ndjson => Result::Json(json::Json::begin(columns, json::Layout::Lines, out)?),
        });
        Ok(())
    }

    /// One row of the result begun last; it has as many values as that has columns.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn row(&mut self, row: &[ValueRef<'_>], out: &mut dyn Write) -> io::Result<()> {
        match &mut self.result {
            Some(Result::Table(table)) => table.row(row, out),
            Some(Result::Csv(csv)) => csv.row(row, out),
            Some(Result::Tsv(tsv)) => tsv.row(row, out),
            Some(Result::Json(json)) => json.row(row, out),
            None => Err(io::Error::other("a row before its columns")),
        }
    }

    /// Ends the result; also when it was cut short by an error.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self.result.take() {
            Some(Result::Table(table)) => table.end(out),
            Some(Result::Json(json)) => json.end(out),
            Some(Result::Csv(_) | Result::Tsv(_)) | None => Ok(()),
        }
    }

    /// The command tag of a statement without rows.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn tag(&mut self, tag: &str, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{tag}")
    }
}

#[cfg(test)]
mod tests;

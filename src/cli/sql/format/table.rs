//! Aligned tables, as psql draws them, in bounded memory.
//!
//! The widths are those of the header and the first window of rows. A later value that is wider
//! pushes its own line out of line; the alternative would be to hold everything.

use std::io::{self, Write};

use model::text::push_text;
use model::types::DataType;
use model::value::ValueRef;
use unicode_width::UnicodeWidthStr;

use super::Column;

/// The widths are measured over so many rows at most,
pub(super) const WINDOW_ROWS: usize = 1_000;
/// and over so many bytes of their text at most.
const WINDOW_BYTES: usize = 1 << 20;

/// Whether each record is a block of lines, one a column (`\x`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expanded {
    /// One line a row.
    Off,
    /// One line a value.
    On,
}

impl std::fmt::Display for Expanded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
        })
    }
}

/// A result drawn as a table.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    expanded: Expanded,
    /// The cells of the rows that wait for the widths.
    window: Vec<Vec<String>>,
    window_bytes: usize,
    /// Known once the window was printed.
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl Table {
    pub fn new(columns: &[Column], expanded: Expanded) -> Self {
        Self {
            columns: columns
                .iter()
                .map(|column| Column { name: printable(&column.name), ..column.clone() })
                .collect(),
            expanded,
            window: Vec::new(),
            window_bytes: 0,
            widths: None,
            rows: 0,
        }
    }

    pub fn row(&mut self, row: &[ValueRef<'_>], out: &mut dyn Write) -> io::Result<()> {
        let cells = self.cells(row);
        self.rows += 1;
        if self.expanded == Expanded::On {
            return self.write_record(&cells, out);
        }
        if let Some(widths) = &self.widths {
            return write_cells(&cells, &self.columns, widths, out);
        }
        self.window_bytes += cells.iter().map(String::len).sum::<usize>();
        self.window.push(cells);
        if self.window.len() >= WINDOW_ROWS || self.window_bytes >= WINDOW_BYTES {
            self.write_window(out)?;
        }
        Ok(())
    }

    pub fn end(mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.expanded == Expanded::Off && self.widths.is_none() {
            self.write_window(out)?;
        }
        let plural = if self.rows == 1 { "" } else { "s" };
        writeln!(out, "({} row{plural})", self.rows)
    }

    fn cells(&self, row: &[ValueRef<'_>]) -> Vec<String> {
        row.iter()
            .zip(&self.columns)
            .map(|(value, column)| {
                let mut text = String::new();
                push_text(&mut text, value, column.data_type);
                if has_control(&text) { printable(&text) } else { text }
            })
            .collect()
    }

    /// Measures, then prints the header and the rows that waited.
    fn write_window(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut widths: Vec<usize> =
            self.columns.iter().map(|column| column.name.width()).collect();
        for cells in &self.window {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.width());
            }
        }
        write_header(&self.columns, &widths, out)?;
        for cells in self.window.drain(..) {
            write_cells(&cells, &self.columns, &widths, out)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    /// One record as a block of lines.
    fn write_record(&self, cells: &[String], out: &mut dyn Write) -> io::Result<()> {
        let name_width = self.columns.iter().map(|column| column.name.width()).max().unwrap_or(0);
        writeln!(out, "-[ RECORD {} ]-", self.rows)?;
        for (column, cell) in self.columns.iter().zip(cells) {
            let padding = name_width - column.name.width();
            writeln!(out, "{}{:padding$} | {cell}", column.name, "")?;
        }
        Ok(())
    }
}

fn write_header(columns: &[Column], widths: &[usize], out: &mut dyn Write) -> io::Result<()> {
    let mut line = String::new();
    for (position, (column, width)) in columns.iter().zip(widths).enumerate() {
        let padding = width - column.name.width();
        let separator = if position > 0 { "|" } else { "" };
        line.push_str(&format!(
            "{separator} {:left$}{}{:right$} ",
            "",
            column.name,
            "",
            left = padding / 2,
            right = padding - padding / 2
        ));
    }
    writeln!(out, "{}", line.trim_end())?;
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    writeln!(out, "{}", rules.join("+"))
}

/// Numbers to the right, all else to the left; no white space at the end of the line.
fn write_cells(
    cells: &[String],
    columns: &[Column],
    widths: &[usize],
    out: &mut dyn Write,
) -> io::Result<()> {
    let last = cells.len().saturating_sub(1);
    for (position, (cell, (column, width))) in
        cells.iter().zip(columns.iter().zip(widths)).enumerate()
    {
        let padding = width.saturating_sub(cell.width());
        out.write_all(if position > 0 { b"|" } else { b"" })?;
        match (is_right_aligned(column.data_type), position == last) {
            (_, true) if cell.is_empty() => {}
            (true, true) => write!(out, " {:padding$}{cell}", "")?,
            (true, false) => write!(out, " {:padding$}{cell} ", "")?,
            (false, true) => write!(out, " {cell}")?,
            (false, false) => write!(out, " {cell}{:padding$} ", "")?,
        }
    }
    out.write_all(b"\n")
}

fn is_right_aligned(data_type: DataType) -> bool {
    data_type.is_number()
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Control characters would break the table, or the terminal: they are shown as escapes.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c.is_control() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

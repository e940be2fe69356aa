//! From `COPY` data to rows of values, with the place in the data of whatever is wrong.

use super::binary;
use super::fields::{Fields, split_csv, split_text};
use super::lines::{Lines, Quoting};
use crate::pg;
use crate::sql::{CopyFormat, CopyIn, CopyOptions, Header};
use model::error::{SqlError, SqlState};
use model::types::DataType;
use model::value::Value;
use shards::exec::cast;

/// Bytes of the data that an error shows at most.
const SHOWN_BYTES_MAX: usize = 100;

/// Reads the rows of one `COPY ... FROM STDIN`.
pub(super) struct Reader<'a> {
    target: Target<'a>,
    data: Data,
    /// The first line is still to come, and is no row.
    header_due: bool,
}

/// Where the rows go.
struct Target<'a> {
    table: &'a str,
    /// Names and types of the values' columns.
    columns: Vec<(&'a str, DataType)>,
    options: &'a CopyOptions,
    now_micros: i64,
}

enum Data {
    Lines { lines: Lines, fields: Fields },
    Rows(binary::Rows),
}

impl<'a> Reader<'a> {
    /// `now_micros` is what the text `now` means.
    pub(super) fn new(copy: &'a CopyIn, now_micros: i64) -> Reader<'a> {
        let table = &copy.insert.table;
        let options = &copy.options;
        let columns = copy.targets.iter().map(|&ordinal| {
            let column = &table.columns[ordinal];
            (column.name.as_str(), column.data_type)
        });
        let lines = |quoting| Data::Lines { lines: Lines::new(quoting), fields: Fields::default() };
        let data = match options.format {
            CopyFormat::Text => lines(None),
            CopyFormat::Csv => {
                lines(Some(Quoting { quote: options.quote, escape: options.escape }))
            }
            CopyFormat::Binary => Data::Rows(binary::Rows::default()),
        };
        let columns = columns.collect();
        let target = Target { table: &table.name, columns, options, now_micros };
        Reader { target, data, header_due: options.header != Header::None }
    }

    /// Takes the next chunk.
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        match &mut self.data {
            Data::Lines { lines, .. } => lines.feed(chunk),
            Data::Rows(rows) => rows.feed(chunk),
        }
    }

    /// There are no more chunks.
    pub(super) fn finish(&mut self) {
        match &mut self.data {
            Data::Lines { lines, .. } => lines.finish(),
            Data::Rows(rows) => rows.finish(),
        }
    }

    /// Number of the line that was read last, from 1.
    pub(super) fn line(&self) -> u64 {
        match &self.data {
            Data::Lines { lines, .. } => lines.number,
            Data::Rows(rows) => rows.number,
        }
    }

    /// The next row's values and the bytes they were; `None` where more is needed, or there is no
    /// more.
    pub(super) fn next(&mut self) -> Result<Option<(Vec<Value>, usize)>, SqlError> {
        if self.header_due && !self.skip_header()? {
            return Ok(None);
        }
        let result = match &mut self.data {
            Data::Lines { lines, fields } => self.target.next_line(lines, fields),
            Data::Rows(rows) => self.target.next_row(rows),
        };
        let line = self.line();
        result.map_err(|error| error.context(|| self.target.at(line)))
    }

    /// Reads the first line; whether it was there.
    fn skip_header(&mut self) -> Result<bool, SqlError> {
        let Data::Lines { lines, fields } = &mut self.data else { return Ok(true) };
        let target = &self.target;
        let there = match lines.next() {
            Ok(Some(line)) if target.options.header == Header::Match => {
                target.split(line, fields).and_then(|()| target.match_header(fields)).map(|()| true)
            }
            Ok(line) => Ok(line.is_some()),
            Err(error) => Err(error),
        };
        let there = there.map_err(|error| error.context(|| target.at(lines.number)))?;
        self.header_due = !there;
        Ok(there)
    }
}

impl Target<'_> {
    fn at(&self, line: u64) -> String {
        format!("COPY {}, line {line}", self.table)
    }

    fn at_text(&self, line: u64, column: Option<&str>, text: &[u8]) -> String {
        let column = column.map(|name| format!(", column {name}")).unwrap_or_default();
        format!("{}{column}: \"{}\"", self.at(line), shown(text))
    }

    fn next_line(
        &self,
        lines: &mut Lines,
        fields: &mut Fields,
    ) -> Result<Option<(Vec<Value>, usize)>, SqlError> {
        let number = lines.number + 1;
        let Some(line) = lines.next()? else { return Ok(None) };
        // What is told of the whole line knows no column.
        let row = pg::binary::text(line)
            .map_err(|error| error.context(|| self.at(number)))
            .and_then(|_utf8| self.split(line, fields))
            .and_then(|()| self.convert(fields, line, number))
            .map_err(|error| error.context(|| self.at_text(number, None, line)))?;
        Ok(Some((row, line.len())))
    }

    fn split(&self, line: &[u8], fields: &mut Fields) -> Result<(), SqlError> {
        match self.options.format {
            CopyFormat::Csv => split_csv(line, self.options, fields),
            _ => {
                split_text(line, self.options, fields);
                Ok(())
            }
        }
    }

    fn convert(&self, fields: &Fields, line: &[u8], number: u64) -> Result<Vec<Value>, SqlError> {
        // A table without columns has rows all the same, which are empty lines.
        if fields.len() > self.columns.len() && !(self.columns.is_empty() && line.is_empty()) {
            return Err(bad("extra data after last expected column"));
        }
        let mut row = Vec::with_capacity(self.columns.len());
        for (position, (name, data_type)) in self.columns.iter().enumerate() {
            if position >= fields.len() {
                return Err(bad(format!("missing data for column \"{name}\"")));
            }
            let options = self.options;
            let null = options.null.as_bytes();
            let text = match fields.get(position) {
                None if options.force_not_null[position] => Some(null),
                Some(text) if options.force_null[position] && text == null => None,
                text => text,
            };
            let Some(text) = text else {
                row.push(Value::Null);
                continue;
            };
            let value = pg::binary::text(text)
                .and_then(|text| self.read(Value::text(text), DataType::Unknown, *data_type))
                .map_err(|error| error.context(|| self.at_text(number, Some(*name), text)))?;
            row.push(value);
        }
        Ok(row)
    }

    fn read(&self, value: Value, from: DataType, to: DataType) -> Result<Value, SqlError> {
        if from == to {
            return Ok(value);
        }
        cast::cast(&value, from, to, false, self.now_micros)
    }

    fn next_row(&self, rows: &mut binary::Rows) -> Result<Option<(Vec<Value>, usize)>, SqlError> {
        let number = rows.number + 1;
        let Some(row) = rows.next(self.columns.len())? else { return Ok(None) };
        let mut values = Vec::with_capacity(self.columns.len());
        let mut length = 0;
        for (bytes, (name, data_type)) in row.values().zip(&self.columns) {
            let Some(bytes) = bytes else {
                values.push(Value::Null);
                continue;
            };
            length += bytes.len();
            // Declared lengths and digits hold here, too.
            let value = pg::binary::decode(bytes, *data_type)
                .and_then(|value| self.read(value, data_type.base(), *data_type))
                .map_err(|error| error.context(|| format!("{}, column {name}", self.at(number))))?;
            values.push(value);
        }
        Ok(Some((values, length)))
    }

    fn match_header(&self, fields: &Fields) -> Result<(), SqlError> {
        let (given, expected) = (fields.len(), self.columns.len());
        if given != expected {
            return Err(bad(format!(
                "wrong number of fields in header line: got {given}, expected {expected}"
            )));
        }
        for (position, (name, _)) in self.columns.iter().enumerate() {
            let got = match fields.get(position) {
                Some(text) if text == name.as_bytes() => continue,
                Some(text) => format!("\"{}\"", String::from_utf8_lossy(text)),
                None => format!("null value (\"{}\")", self.options.null),
            };
            let field = position + 1;
            return Err(bad(format!(
                "column name mismatch in header line field {field}: got {got}, expected \"{name}\""
            )));
        }
        Ok(())
    }
}

fn bad(message: impl Into<std::borrow::Cow<'static, str>>) -> SqlError {
    SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

/// The beginning of the data, as far as an error shows it.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    if text.len() <= SHOWN_BYTES_MAX {
        return text.into_owned();
    }
    let end = (0..=SHOWN_BYTES_MAX).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}...", &text[..end])
}

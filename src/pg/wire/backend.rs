//! What the server sends. Each function appends one message, or the rows of a batch.

use crate::pg::binary;
use crate::session::Standing;
use crate::sql::OutputColumn;
use bytes::{BufMut, BytesMut};
use model::batch::Batch;
use model::error::SqlError;
use model::text::push_text;
use model::types::{DataType, oid};
use model::value::ValueRef;

/// How bad a report is, in PostgreSQL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
    /// Probably not what was meant.
    Warning,
    /// Worth knowing.
    Notice,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
        }
    }

    fn kind(self) -> u8 {
        match self {
            Severity::Error | Severity::Fatal => b'E',
            Severity::Warning | Severity::Notice => b'N',
        }
    }
}

/// Appends a message: its kind, its length, what `body` appends.
fn message(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    sized(out, body);
}

/// Appends a length that counts itself, and what `body` appends.
fn sized(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    body(out);
    let length = u32::try_from(out.len() - at).expect("no message reaches 4 GiB");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn text(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}

/// A count of columns or parameters.
fn count(out: &mut BytesMut, count: usize) {
    out.put_u16(u16::try_from(count).expect("statements have at most 65,535 of anything"));
}

/// The client is let in.
pub fn authentication_ok(out: &mut BytesMut) {
    message(out, b'R', |out| out.put_u32(0));
}

/// The client is to prove who it is, by one of these mechanisms.
pub fn authentication_sasl(out: &mut BytesMut, mechanisms: &[&str]) {
    message(out, b'R', |out| {
        out.put_u32(10);
        mechanisms.iter().for_each(|mechanism| text(out, mechanism));
        out.put_u8(0);
    });
}

/// The mechanism's next message.
pub fn authentication_sasl_continue(out: &mut BytesMut, data: &[u8]) {
    message(out, b'R', |out| {
        out.put_u32(11);
        out.put_slice(data);
    });
}

/// The mechanism's last message: the client has proved itself.
pub fn authentication_sasl_final(out: &mut BytesMut, data: &[u8]) {
    message(out, b'R', |out| {
        out.put_u32(12);
        out.put_slice(data);
    });
}

/// A setting that clients are told of.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        text(out, name);
        text(out, value);
    });
}

/// What cancels the session.
pub fn backend_key_data(out: &mut BytesMut, process: u32, secret: u32) {
    message(out, b'K', |out| {
        out.put_u32(process);
        out.put_u32(secret);
    });
}

/// The protocol's newest version here, and options that are not known.
pub fn negotiate_protocol_version<'a>(
    out: &mut BytesMut,
    unknown: impl ExactSizeIterator<Item = &'a str>,
) {
    message(out, b'v', |out| {
        out.put_u32(3 << 16);
        out.put_u32(unknown.len() as u32);
        unknown.for_each(|option| text(out, option));
    });
}

/// The next request may come.
pub fn ready_for_query(out: &mut BytesMut, standing: Standing) {
    let status = match standing {
        Standing::Idle | Standing::Implicit => b'I',
        Standing::Open | Standing::Saga => b'T',
        Standing::Failed => b'E',
    };
    message(out, b'Z', |out| out.put_u8(status));
}

/// A statement is prepared.
pub fn parse_complete(out: &mut BytesMut) {
    message(out, b'1', |_| {});
}

/// A portal is bound.
pub fn bind_complete(out: &mut BytesMut) {
    message(out, b'2', |_| {});
}

/// A statement or portal is forgotten.
pub fn close_complete(out: &mut BytesMut) {
    message(out, b'3', |_| {});
}

/// There are no columns.
pub fn no_data(out: &mut BytesMut) {
    message(out, b'n', |_| {});
}

/// As many rows as were asked for were sent.
pub fn portal_suspended(out: &mut BytesMut) {
    message(out, b's', |_| {});
}

/// A statement is done; one that is empty has no tag.
pub fn complete(out: &mut BytesMut, tag: &str) {
    match tag {
        "" => message(out, b'I', |_| {}),
        tag => message(out, b'C', |out| text(out, tag)),
    }
}

/// The client may send the data of a copy of so many columns.
pub fn copy_in(out: &mut BytesMut, binary: bool, columns: u16) {
    copy_response(out, b'G', binary, columns);
}

/// The data of a copy of so many columns follows.
pub fn copy_out(out: &mut BytesMut, binary: bool, columns: u16) {
    copy_response(out, b'H', binary, columns);
}

fn copy_response(out: &mut BytesMut, kind: u8, binary: bool, columns: u16) {
    message(out, kind, |out| {
        out.put_u8(u8::from(binary));
        out.put_u16(columns);
        (0..columns).for_each(|_| out.put_u16(u16::from(binary)));
    });
}

/// A piece of a copy's data.
pub fn copy_data(out: &mut BytesMut, data: &[u8]) {
    message(out, b'd', |out| out.put_slice(data));
}

/// The end of a copy's data.
pub fn copy_done(out: &mut BytesMut) {
    message(out, b'c', |_| {});
}

/// Types of a statement's parameters.
pub fn parameter_description(out: &mut BytesMut, parameters: &[DataType]) {
    message(out, b't', |out| {
        count(out, parameters.len());
        parameters.iter().for_each(|data_type| out.put_u32(oid::oid(*data_type)));
    });
}

/// Columns of the rows that follow; `binary` says for each whether it comes in binary form, and
/// is empty where none does.
pub fn row_description(out: &mut BytesMut, columns: &[OutputColumn], binary: &[bool]) {
    message(out, b'T', |out| {
        count(out, columns.len());
        for (index, column) in columns.iter().enumerate() {
            text(out, &column.name);
            // Which table and which column of it, where it is one: not told.
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(oid::oid(column.data_type));
            out.put_i16(oid::length(column.data_type));
            out.put_i32(oid::modifier(column.data_type));
            out.put_u16(u16::from(is_binary(binary, index)));
        }
    });
}

fn is_binary(binary: &[bool], column: usize) -> bool {
    binary.get(column).copied().unwrap_or(false)
}

/// How the rows of one result are written. Keeps a scratch string between rows.
#[derive(Debug, Default)]
pub struct RowFormat {
    types: Vec<DataType>,
    binary: Vec<bool>,
    scratch: String,
}

impl RowFormat {
    /// For rows of these columns; `binary` as in [`row_description`].
    pub fn new(columns: &[OutputColumn], binary: &[bool]) -> RowFormat {
        let types = columns.iter().map(|column| column.data_type).collect();
        RowFormat { types, binary: binary.to_vec(), scratch: String::new() }
    }

    /// Appends one row of a batch.
    pub fn row(&mut self, out: &mut BytesMut, batch: &Batch, row: usize) {
        message(out, b'D', |out| {
            count(out, batch.columns().len());
            for (index, column) in batch.columns().iter().enumerate() {
                let data_type = self.types.get(index).copied().unwrap_or(DataType::Text);
                self.value(out, &column.get(row), data_type, is_binary(&self.binary, index));
            }
        });
    }

    fn value(
        &mut self,
        out: &mut BytesMut,
        value: &ValueRef<'_>,
        data_type: DataType,
        is_binary: bool,
    ) {
        let bytes = match value {
            ValueRef::Null => {
                out.put_i32(-1);
                return;
            }
            ValueRef::Text(text) => text.as_bytes(),
            _ if is_binary => {
                let at = out.len();
                out.put_u32(0);
                binary::encode(out, value, data_type);
                let length = (out.len() - at - 4) as u32;
                out[at..at + 4].copy_from_slice(&length.to_be_bytes());
                return;
            }
            _ => {
                self.scratch.clear();
                push_text(&mut self.scratch, value, data_type);
                self.scratch.as_bytes()
            }
        };
        out.put_u32(bytes.len() as u32);
        out.put_slice(bytes);
    }
}

/// An error or a notice with all its fields.
pub fn report(out: &mut BytesMut, severity: Severity, error: &SqlError) {
    let fields = error.fields();
    message(out, severity.kind(), |out| {
        let mut field = |kind: u8, value: &str| {
            out.put_u8(kind);
            // A zero would end the field: none is ever meant to be in a text.
            out.extend(value.bytes().filter(|byte| *byte != 0));
            out.put_u8(0);
        };
        field(b'S', severity.word());
        field(b'V', severity.word());
        field(b'C', fields.state.as_str());
        field(b'M', &fields.message);
        let position = fields.position.map(|position| position.to_string());
        let optional = [
            (b'D', &fields.detail),
            (b'H', &fields.hint),
            (b'P', &position),
            (b's', &fields.schema),
            (b't', &fields.table),
            (b'c', &fields.column),
            (b'n', &fields.constraint),
            (b'W', &fields.context),
        ];
        for (kind, value) in optional {
            if let Some(value) = value {
                field(kind, value);
            }
        }
        if let Some(routine) = &fields.routine {
            field(b'R', routine);
        }
        out.put_u8(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::error::SqlState;
    use model::value::Value;

    fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    #[test]
    fn messages_carry_their_length() {
        assert_eq!(written(|out| complete(out, "SELECT 1")), b"C\0\0\0\x0dSELECT 1\0");
        assert_eq!(written(|out| complete(out, "")), b"I\0\0\0\x04");
        assert_eq!(written(|out| ready_for_query(out, Standing::Failed)), b"Z\0\0\0\x05E");
    }

    #[test]
    fn a_copy_says_the_format_of_each_column() {
        assert_eq!(written(|out| copy_in(out, false, 1)), b"G\0\0\0\x09\0\0\x01\0\0");
        assert_eq!(written(|out| copy_out(out, true, 1)), b"H\0\0\0\x09\x01\0\x01\0\x01");
        assert_eq!(written(|out| copy_data(out, b"1\n")), b"d\0\0\0\x061\n");
    }

    #[test]
    fn a_row_has_each_column_in_its_format() {
        let column = |name: &str, data_type| OutputColumn { name: name.to_owned(), data_type };
        let columns =
            [column("a", DataType::Int4), column("b", DataType::Text), column("c", DataType::Int4)];
        let types = [DataType::Int4, DataType::Text, DataType::Int4];
        let batch = Batch::from_rows(&types, &[vec![Value::Int(7), Value::Null, Value::Int(-1)]]);
        let mut format = RowFormat::new(&columns, &[false, false, true]);
        let row = written(|out| format.row(out, &batch, 0));
        let expected = b"D\0\0\0\x17\0\x03\0\0\0\x017\xff\xff\xff\xff\0\0\0\x04\xff\xff\xff\xff";
        assert_eq!(row, expected);
    }

    #[test]
    fn a_report_has_its_fields() {
        let error = SqlError::new(SqlState::UNDEFINED_COLUMN, "no\0 such").position(8);
        let bytes = written(|out| report(out, Severity::Error, &error));
        assert_eq!(&bytes[5..], b"SERROR\0VERROR\0C42703\0Mno such\0P8\0\0");
    }
}

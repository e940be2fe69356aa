//! The values of one line, in the text format and as comma-separated values.

use crate::sql::CopyOptions;
use model::error::{SqlError, SqlState};

/// The values of a line, one behind the other in one buffer that lines share.
#[derive(Default)]
pub(super) struct Fields {
    bytes: Vec<u8>,
    /// Where each value ends, and whether it is `NULL`.
    ends: Vec<(usize, bool)>,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The value at a position there is; `None` for `NULL`.
    pub(super) fn get(&self, position: usize) -> Option<&[u8]> {
        let begin = position.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let (end, null) = self.ends[position];
        (!null).then(|| &self.bytes[begin..end])
    }

    fn end(&mut self, null: bool) {
        self.ends.push((self.bytes.len(), null));
    }
}

/// Splits a line of the text format.
pub(super) fn split_text(line: &[u8], options: &CopyOptions, fields: &mut Fields) {
    fields.clear();
    let null = options.null.as_bytes();
    let mut begin = 0;
    loop {
        let mut at = begin;
        while at < line.len() && line[at] != options.delimiter {
            // A backslash shields a delimiter, too.
            at += if line[at] == b'\\' { 2 } else { 1 };
        }
        let end = at.min(line.len());
        let raw = &line[begin..end];
        let is_null = raw == null;
        if !is_null {
            unescape(raw, &mut fields.bytes);
        }
        fields.end(is_null);
        if end == line.len() {
            return;
        }
        begin = end + 1;
    }
}

fn unescape(mut raw: &[u8], out: &mut Vec<u8>) {
    while let Some(position) = raw.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&raw[..position]);
        raw = &raw[position + 1..];
        let Some((&byte, rest)) = raw.split_first() else {
            // A lone one at the end of the line stands for itself.
            out.push(b'\\');
            return;
        };
        let (value, taken) = match byte {
            b'b' => (0x08, 0),
            b'f' => (0x0c, 0),
            b'n' => (b'\n', 0),
            b'r' => (b'\r', 0),
            b't' => (b'\t', 0),
            b'v' => (0x0b, 0),
            b'0'..=b'7' => {
                let (more, taken) = number(rest, 8, 2);
                // As many bits as a byte has are kept.
                ((u32::from(byte - b'0') << (3 * taken) | more) as u8, taken)
            }
            b'x' => match number(rest, 16, 2) {
                (_, 0) => (b'x', 0),
                (value, taken) => (value as u8, taken),
            },
            other => (other, 0),
        };
        out.push(value);
        raw = &rest[taken..];
    }
    out.extend_from_slice(raw);
}

/// The number that up to `digits_max` digits at the front are, and how many they are.
fn number(text: &[u8], radix: u32, digits_max: usize) -> (u32, usize) {
    let digits = text.iter().take(digits_max).map_while(|byte| char::from(*byte).to_digit(radix));
    digits.fold((0, 0), |(value, taken), digit| (value * radix + digit, taken + 1))
}

/// Splits a line of comma-separated values.
///
/// # Errors
/// 22P04 for a quote that is not closed.
pub(super) fn split_csv(
    line: &[u8],
    options: &CopyOptions,
    fields: &mut Fields,
) -> Result<(), SqlError> {
    fields.clear();
    let mut at = 0;
    loop {
        let begin = fields.bytes.len();
        let mut was_quoted = false;
        while at < line.len() && line[at] != options.delimiter {
            if line[at] == options.quote {
                was_quoted = true;
                at = quoted(line, at + 1, options, &mut fields.bytes)?;
            } else {
                fields.bytes.push(line[at]);
                at += 1;
            }
        }
        let null = !was_quoted && fields.bytes[begin..] == *options.null.as_bytes();
        if null {
            fields.bytes.truncate(begin);
        }
        fields.end(null);
        if at == line.len() {
            return Ok(());
        }
        at += 1;
    }
}

/// Reads what stands in quotes; where it goes on behind them.
fn quoted(
    line: &[u8],
    mut at: usize,
    options: &CopyOptions,
    out: &mut Vec<u8>,
) -> Result<usize, SqlError> {
    let (quote, escape) = (options.quote, options.escape);
    while let Some(&byte) = line.get(at) {
        match line.get(at + 1) {
            Some(&next) if byte == escape && (next == quote || next == escape) => {
                out.push(next);
                at += 2;
            }
            _ if byte == quote => return Ok(at + 1),
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Err(SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field"))
}

/// Appends a value of the text format.
pub(super) fn push_text(out: &mut Vec<u8>, value: &str, delimiter: u8) {
    for &byte in value.as_bytes() {
        let letter = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            byte if byte == delimiter => byte,
            byte => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

/// Appends a comma-separated value, in quotes where it needs or is to have them. `single`: it is
/// the only one of its line.
pub(super) fn push_csv(
    out: &mut Vec<u8>,
    value: &str,
    options: &CopyOptions,
    force: bool,
    single: bool,
) {
    let (quote, escape) = (options.quote, options.escape);
    let special =
        |byte: u8| byte == options.delimiter || byte == quote || byte == b'\n' || byte == b'\r';
    // Alone in its line, a mark of the end would be taken for one.
    let needs =
        force || value == options.null || (single && value == "\\.") || value.bytes().any(special);
    if !needs {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    out.push(quote);
    for byte in value.bytes() {
        if byte == quote || byte == escape {
            out.push(escape);
        }
        out.push(byte);
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{CopyFormat, Header};

    pub(in super::super) fn options(format: CopyFormat) -> CopyOptions {
        let is_csv = format == CopyFormat::Csv;
        CopyOptions {
            format,
            delimiter: if is_csv { b',' } else { b'\t' },
            null: if is_csv { "" } else { "\\N" }.to_owned(),
            header: Header::None,
            quote: b'"',
            escape: b'"',
            force_quote: Vec::new(),
            force_not_null: Vec::new(),
            force_null: Vec::new(),
        }
    }

    fn values(fields: &Fields) -> Vec<Option<String>> {
        let value = |position| fields.get(position).map(|v| String::from_utf8(v.to_vec()).unwrap());
        (0..fields.len()).map(value).collect()
    }

    fn text(line: &str) -> Vec<Option<String>> {
        let mut fields = Fields::default();
        split_text(line.as_bytes(), &options(CopyFormat::Text), &mut fields);
        values(&fields)
    }

    fn csv(line: &str) -> Vec<Option<String>> {
        let mut fields = Fields::default();
        split_csv(line.as_bytes(), &options(CopyFormat::Csv), &mut fields).unwrap();
        values(&fields)
    }

    fn some(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn text_is_unescaped_after_null_is_told() {
        assert_eq!(text("a\t\\N\t"), [some("a"), None, some("")]);
        assert_eq!(text("\\\\N\t\\t\\n\\b\\f\\v\\r"), [some("\\N"), some("\t\n\x08\x0c\x0b\r")]);
        assert_eq!(text("\\101\\x42\\x4\\xg\\q\\7"), [some("AB\x04xgq\x07")]);
        assert_eq!(text("a\\\tb\\"), [some("a\tb\\")]);
        assert_eq!(text(""), [some("")]);
    }

    #[test]
    fn quotes_tell_an_empty_value_from_null() {
        assert_eq!(csv("a,,\"\""), [some("a"), None, some("")]);
        assert_eq!(csv("\"a\"\"b\"c,d\"e,f\""), [some("a\"bc"), some("de,f")]);
        assert_eq!(csv(""), [None]);
        let mut fields = Fields::default();
        let open = split_csv(b"\"a", &options(CopyFormat::Csv), &mut fields).unwrap_err();
        assert_eq!(open.fields().message, "unterminated CSV quoted field");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let pieces = ["", "a", "\\", "\\.", "\t", "\n", "\r", ",", "\"", "\\N", "ä", "\x08\x0b"];
        for first in pieces {
            for second in pieces {
                let value = format!("{first}{second}");
                let mut line = Vec::new();
                push_text(&mut line, &value, b'\t');
                assert_eq!(text(std::str::from_utf8(&line).unwrap()), [some(&value)]);
                line.clear();
                push_csv(&mut line, &value, &options(CopyFormat::Csv), false, true);
                assert_eq!(csv(std::str::from_utf8(&line).unwrap()), [some(&value)]);
            }
        }
    }
}

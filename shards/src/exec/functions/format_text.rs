//! `format(text, ...)`: `%s`, `%I` and `%L` with positions and widths, as PostgreSQL has them.

use super::{Call, quote_identifier};
use crate::exec::functions::string::quote_literal;
use model::error::{SqlError, SqlState};
use model::value::Value;

/// Widest field: what is wider is no text that anybody reads.
const WIDTH_MAX: usize = 1_000_000;

/// The first argument with its specifiers replaced by the others.
pub(super) fn format(call: &Call<'_>) -> Result<Value, SqlError> {
    let Value::Text(template) = &call.values[0] else { return Ok(Value::Null) };
    let mut out = String::with_capacity(template.len());
    let mut rest: &str = template;
    let mut next = 1;
    while let Some((before, specifier)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(behind) = specifier.strip_prefix('%') {
            out.push('%');
            rest = behind;
            continue;
        }
        let (field, behind) = field(specifier)?;
        rest = behind;
        let at = field.position.unwrap_or(next);
        next = at + 1;
        let shown = shown(call, at, field.kind)?;
        let missing = field.width.saturating_sub(shown.chars().count());
        let padding = " ".repeat(missing);
        match field.left {
            true => out.extend([shown.as_str(), &padding]),
            false => out.extend([padding.as_str(), &shown]),
        }
    }
    out.push_str(rest);
    Ok(Value::text(out))
}

struct Field {
    /// Number of the argument, from 1.
    position: Option<usize>,
    left: bool,
    width: usize,
    kind: char,
}

fn bad(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// Reads what stands behind a `%`: `[position$][-][width]type`.
fn field(text: &str) -> Result<(Field, &str), SqlError> {
    let mut field = Field { position: None, left: false, width: 0, kind: 's' };
    let (number, behind) = digits(text);
    let mut rest = text;
    if let (Some(number), Some(behind)) = (number, behind.strip_prefix('$')) {
        if number == 0 {
            return Err(bad(
                "format specifies argument 0, but arguments are numbered from 1".into()
            ));
        }
        (field.position, rest) = (Some(number), behind);
    }
    while let Some(behind) = rest.strip_prefix('-') {
        (field.left, rest) = (true, behind);
    }
    if rest.starts_with('*') {
        return Err(SqlError::unsupported("a width from the arguments of format"));
    }
    let (width, behind) = digits(rest);
    field.width = width.unwrap_or(0);
    if field.width > WIDTH_MAX {
        return Err(SqlError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("a field of format is at most {WIDTH_MAX} characters wide"),
        ));
    }
    match behind.chars().next() {
        Some(kind @ ('s' | 'I' | 'L')) => {
            field.kind = kind;
            Ok((field, &behind[1..]))
        }
        Some(other) => Err(bad(format!("unrecognized format() type specifier \"{other}\""))
            .hint("For a single \"%\" use \"%%\".")),
        None => Err(bad("unterminated format() type specifier".into())
            .hint("For a single \"%\" use \"%%\".")),
    }
}

fn digits(text: &str) -> (Option<usize>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}

fn shown(call: &Call<'_>, at: usize, kind: char) -> Result<String, SqlError> {
    let Some(value) = call.values.get(at) else {
        return Err(bad("too few arguments for format()".into()));
    };
    let text = (!value.is_null()).then(|| value.to_text(call.types[at]));
    match (kind, text) {
        ('s', text) => Ok(text.unwrap_or_default()),
        ('L', None) => Ok("NULL".to_owned()),
        ('L', Some(text)) => Ok(quote_literal(&text)),
        (_, Some(text)) => Ok(quote_identifier(&text)),
        (_, None) => Err(SqlError::new(
            SqlState::NULL_VALUE_NOT_ALLOWED,
            "null values cannot be formatted as an SQL identifier",
        )),
    }
}

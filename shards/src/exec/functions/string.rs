//! Functions of strings.

use super::{Call, Function};
use model::error::{SqlError, SqlState};
use model::types::DataType::{self, Bytea, Int4, Text};
use model::value::Value;

/// No string function makes more than this many bytes (PostgreSQL's limit of a value is 1 GB; a
/// statement here has far less memory).
const RESULT_BYTES_MAX: usize = 256 << 20;

const fn text1(name: &'static str, body: super::Body) -> Function {
    Function::new(name, &[Text], Text, body)
}

const fn text2(name: &'static str, body: super::Body) -> Function {
    Function::new(name, &[Text, Text], Text, body)
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("length", &[Text], Int4, characters),
    Function::new("length", &[Bytea], Int4, bytes),
    Function::new("char_length", &[Text], Int4, characters),
    Function::new("character_length", &[Text], Int4, characters),
    Function::new("octet_length", &[Text], Int4, |c| Ok(Value::Int(c.text(0)?.len() as i64))),
    Function::new("octet_length", &[Bytea], Int4, bytes),
    Function::new("bit_length", &[Text], Int4, |c| Ok(Value::Int(c.text(0)?.len() as i64 * 8))),
    text1("lower", |c| Ok(Value::text(c.text(0)?.to_lowercase()))),
    text1("upper", |c| Ok(Value::text(c.text(0)?.to_uppercase()))),
    text1("initcap", |c| Ok(Value::text(initcap(c.text(0)?)))),
    text1("reverse", |c| Ok(Value::text(c.text(0)?.chars().rev().collect::<String>()))),
    text1("btrim", |c| trim(c, true, true)),
    text2("btrim", |c| trim(c, true, true)),
    text1("ltrim", |c| trim(c, true, false)),
    text2("ltrim", |c| trim(c, true, false)),
    text1("rtrim", |c| trim(c, false, true)),
    text2("rtrim", |c| trim(c, false, true)),
    Function::new("substring", &[Text, Int4], Text, substring),
    Function::new("substring", &[Text, Int4, Int4], Text, substring),
    Function::new("substr", &[Text, Int4], Text, substring),
    Function::new("substr", &[Text, Int4, Int4], Text, substring),
    Function::new("position", &[Text, Text], Int4, |c| position(c.text(0)?, c.text(1)?)),
    Function::new("strpos", &[Text, Text], Int4, |c| position(c.text(0)?, c.text(1)?)),
    Function::new("replace", &[Text, Text, Text], Text, replace),
    Function::new("translate", &[Text, Text, Text], Text, translate),
    Function::new("left", &[Text, Int4], Text, left),
    Function::new("right", &[Text, Int4], Text, right),
    Function::new("lpad", &[Text, Int4], Text, |c| pad(c, true)),
    Function::new("lpad", &[Text, Int4, Text], Text, |c| pad(c, true)),
    Function::new("rpad", &[Text, Int4], Text, |c| pad(c, false)),
    Function::new("rpad", &[Text, Int4, Text], Text, |c| pad(c, false)),
    Function::new("repeat", &[Text, Int4], Text, repeat),
    Function::new("split_part", &[Text, Text, Int4], Text, split_part),
    Function::new("overlay", &[Text, Text, Int4], Text, overlay),
    Function::new("overlay", &[Text, Text, Int4, Int4], Text, overlay),
    Function::new("ascii", &[Text], Int4, |c| {
        Ok(Value::Int(c.text(0)?.chars().next().map_or(0, |c| i64::from(u32::from(c)))))
    }),
    Function::new("chr", &[Int4], Text, chr),
    Function::new("starts_with", &[Text, Text], DataType::Bool, |c| {
        Ok(Value::Bool(c.text(0)?.starts_with(c.text(1)?)))
    }),
    Function::new("to_hex", &[Int4], Text, |c| Ok(Value::text(format!("{:x}", c.int(0)? as i32)))),
    Function::new("to_hex", &[DataType::Int8], Text, |c| {
        Ok(Value::text(format!("{:x}", c.int(0)?)))
    }),
    Function {
        strict: false,
        ..text1("quote_nullable", |c| {
            Ok(match &c.values[0] {
                Value::Text(text) => Value::text(quote_literal(text)),
                _ => Value::text("NULL"),
            })
        })
    },
    text1("quote_literal", |c| Ok(Value::text(quote_literal(c.text(0)?)))),
];

fn characters(call: &Call<'_>) -> Result<Value, SqlError> {
    Ok(Value::Int(call.text(0)?.chars().count() as i64))
}

fn bytes(call: &Call<'_>) -> Result<Value, SqlError> {
    match &call.values[0] {
        Value::Bytes(bytes) => Ok(Value::Int(bytes.len() as i64)),
        _ => Err(call.mistyped(0)),
    }
}

fn too_long() -> SqlError {
    SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

fn initcap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric();
    }
    out
}

fn trim(call: &Call<'_>, start: bool, end: bool) -> Result<Value, SqlError> {
    let set = if call.values.len() > 1 { call.text(1)? } else { " " };
    let is_in = |c: char| set.contains(c);
    let mut text = call.text(0)?;
    if start {
        text = text.trim_start_matches(is_in);
    }
    if end {
        text = text.trim_end_matches(is_in);
    }
    Ok(Value::text(text))
}

/// Characters `from..to`, counted from 0.
fn slice(text: &str, from: i64, to: i64) -> &str {
    if to <= from {
        return "";
    }
    let at = |character: i64| {
        let character = usize::try_from(character.max(0)).unwrap_or(usize::MAX);
        text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
    };
    &text[at(from)..at(to)]
}

fn substring(call: &Call<'_>) -> Result<Value, SqlError> {
    let from = call.int(1)? - 1;
    let to = if call.values.len() > 2 {
        let length = call.int(2)?;
        if length < 0 {
            return Err(SqlError::new(
                SqlState::SUBSTRING_ERROR,
                "negative substring length not allowed",
            ));
        }
        from + length
    } else {
        i64::MAX
    };
    Ok(Value::text(slice(call.text(0)?, from.max(0), to)))
}

/// `position(part in text)` is called with the string first, as `strpos` is.
fn position(text: &str, part: &str) -> Result<Value, SqlError> {
    let found = text.find(part).map_or(0, |at| text[..at].chars().count() as i64 + 1);
    Ok(Value::Int(found))
}

fn replace(call: &Call<'_>) -> Result<Value, SqlError> {
    let (text, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    if from.is_empty() {
        return Ok(call.values[0].clone());
    }
    let growth = text.matches(from).count().saturating_mul(to.len());
    if text.len().saturating_add(growth) > RESULT_BYTES_MAX {
        return Err(too_long());
    }
    Ok(Value::text(text.replace(from, to)))
}

fn translate(call: &Call<'_>) -> Result<Value, SqlError> {
    let (from, to): (Vec<char>, Vec<char>) =
        (call.text(1)?.chars().collect(), call.text(2)?.chars().collect());
    let translated: String = call
        .text(0)?
        .chars()
        .filter_map(|c| match from.iter().position(|from| *from == c) {
            Some(at) => to.get(at).copied(),
            None => Some(c),
        })
        .collect();
    Ok(Value::text(translated))
}

/// A negative count leaves out as many at the other end.
fn left(call: &Call<'_>) -> Result<Value, SqlError> {
    let (text, count) = (call.text(0)?, call.int(1)?);
    let to = if count < 0 { text.chars().count() as i64 + count } else { count };
    Ok(Value::text(slice(text, 0, to)))
}

fn right(call: &Call<'_>) -> Result<Value, SqlError> {
    let (text, count) = (call.text(0)?, call.int(1)?);
    let from = if count < 0 { -count } else { text.chars().count() as i64 - count };
    Ok(Value::text(slice(text, from.max(0), i64::MAX)))
}

fn pad(call: &Call<'_>, before: bool) -> Result<Value, SqlError> {
    let text = call.text(0)?;
    let fill = if call.values.len() > 2 { call.text(2)? } else { " " };
    let length = usize::try_from(call.int(1)?).unwrap_or(0);
    if length.saturating_mul(4) > RESULT_BYTES_MAX {
        return Err(too_long());
    }
    let characters = text.chars().count();
    if characters >= length || fill.is_empty() {
        return Ok(Value::text(slice(text, 0, length as i64)));
    }
    let padding: String = fill.chars().cycle().take(length - characters).collect();
    Ok(Value::text(if before { padding + text } else { text.to_owned() + &padding }))
}

fn repeat(call: &Call<'_>) -> Result<Value, SqlError> {
    let (text, count) = (call.text(0)?, usize::try_from(call.int(1)?).unwrap_or(0));
    if text.len().saturating_mul(count) > RESULT_BYTES_MAX {
        return Err(too_long());
    }
    Ok(Value::text(text.repeat(count)))
}

/// A negative field counts from the end.
fn split_part(call: &Call<'_>) -> Result<Value, SqlError> {
    let (text, separator, field) = (call.text(0)?, call.text(1)?, call.int(2)?);
    if field == 0 {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "field position must not be zero",
        ));
    }
    let fields: Vec<&str> =
        if separator.is_empty() { vec![text] } else { text.split(separator).collect() };
    let at = if field > 0 { field - 1 } else { fields.len() as i64 + field };
    let found = usize::try_from(at).ok().and_then(|at| fields.get(at)).copied();
    Ok(Value::text(found.unwrap_or("")))
}

fn overlay(call: &Call<'_>) -> Result<Value, SqlError> {
    let (text, new, from) = (call.text(0)?, call.text(1)?, call.int(2)? - 1);
    let length = if call.values.len() > 3 { call.int(3)? } else { new.chars().count() as i64 };
    if from < 0 {
        return Err(SqlError::new(
            SqlState::SUBSTRING_ERROR,
            "negative substring length not allowed",
        ));
    }
    let (head, tail) = (slice(text, 0, from), slice(text, (from + length).max(0), i64::MAX));
    Ok(Value::text(format!("{head}{new}{tail}")))
}

fn chr(call: &Call<'_>) -> Result<Value, SqlError> {
    let code = call.int(0)?;
    if code == 0 {
        return Err(SqlError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "null character not permitted",
        ));
    }
    u32::try_from(code)
        .ok()
        .and_then(char::from_u32)
        .map(|c| Value::text(c.to_string()))
        .ok_or_else(|| {
            SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("requested character too large for encoding: {code}"),
            )
        })
}

/// The string as SQL has to write it.
pub(super) fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

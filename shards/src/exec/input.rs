//! Text to values: PostgreSQL's input functions.

mod array;
mod interval;
mod json;
mod moment;

use super::decimal;
use model::error::{SqlError, SqlState};
use model::types::{DataType, IntervalFields, NAME_BYTES_MAX, TimeType};
use model::value::Value;
use std::sync::Arc;

pub use array::{parse_array, parse_vector};
pub use interval::parse_interval;
pub use json::{jsonb_value, parse_jsonb};
pub use moment::{parse_date, parse_time, parse_time_tz, parse_timestamp};

/// Reads `text` as a value of `data_type`, without its modifiers (length, precision).
/// `now_micros` is what the word `now` means: microseconds since 2000-01-01 00:00 UTC.
pub fn parse(text: &str, data_type: DataType, now_micros: i64) -> Result<Value, SqlError> {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    match data_type {
        DataType::Unknown
        | DataType::Text
        | DataType::Varchar(_)
        | DataType::Char(_)
        | DataType::Void => Ok(Value::text(text)),
        DataType::Name => Ok(Value::text(cut(text, NAME_BYTES_MAX))),
        DataType::InternalChar => Ok(Value::text(cut(text, 1))),
        DataType::Json => json::parse_json(text),
        DataType::Jsonb => jsonb_value(&parse_jsonb(text)?),
        DataType::Oid => parse_oid(trimmed, text),
        // A name is looked up by the binder, which knows the catalog.
        DataType::Reg(_) if trimmed == "-" => Ok(Value::Int(0)),
        DataType::Reg(_) => parse_oid(trimmed, text).map_err(|_error| invalid(data_type, text)),
        DataType::Int2Vector | DataType::OidVector | DataType::Array(_) => {
            let element = data_type.element().unwrap_or(DataType::Text);
            let mut read = |text: &str| parse(text, element, now_micros);
            let array = match data_type {
                DataType::Array(_) => parse_array(text, &mut read)?,
                _ => parse_vector(text, &mut read)?,
            };
            Ok(Value::Array(Arc::new(array)))
        }
        DataType::Bool => {
            parse_bool(trimmed).map(Value::Bool).ok_or_else(|| invalid(data_type, text))
        }
        DataType::Int2 | DataType::Int4 | DataType::Int8 => parse_integer(trimmed, text, data_type),
        DataType::Float4 | DataType::Float8 => parse_float(trimmed, text, data_type),
        DataType::Numeric(_) => match decimal::parse(trimmed) {
            Some(number) => number.map(Value::Numeric),
            None => Err(invalid(DataType::Numeric(None), text)),
        },
        DataType::Bytea => parse_bytes(text),
        DataType::Date => parse_date(trimmed, now_micros).map(Value::Date),
        DataType::Time => parse_time(trimmed, now_micros).map(Value::Time),
        DataType::TimeTz => parse_time_tz(trimmed, now_micros).map(Value::TimeTz),
        DataType::Timestamp => parse_timestamp(trimmed, false, now_micros).map(Value::Timestamp),
        DataType::TimestampTz => parse_timestamp(trimmed, true, now_micros).map(Value::Timestamp),
        DataType::Interval => parse_interval(trimmed, IntervalFields::All).map(Value::Interval),
        // What a number alone means depends on the last field.
        DataType::Limited(limits) if limits.time_type() == TimeType::Interval => {
            parse_interval(trimmed, limits.interval_fields()).map(Value::Interval)
        }
        DataType::Limited(limits) => parse(text, limits.data_type(), now_micros),
        DataType::Uuid => {
            parse_uuid(trimmed).map(Value::Uuid).ok_or_else(|| invalid(data_type, text))
        }
    }
}

fn invalid(data_type: DataType, text: &str) -> SqlError {
    SqlError::new(
        SqlState::INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type {data_type}: \"{text}\""),
    )
}

/// The longest beginning of at most so many bytes that is whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// 32 bits without a sign; a negative number wraps around, as in PostgreSQL.
fn parse_oid(trimmed: &str, text: &str) -> Result<Value, SqlError> {
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(DataType::Oid, text));
    }
    match trimmed.parse::<i64>() {
        Ok(number) if (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&number) => {
            Ok(Value::Int(i64::from(number as u32)))
        }
        _ => Err(SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value \"{text}\" is out of range for type oid"),
        )),
    }
}

fn is_special_number(text: &str) -> bool {
    let lower = text.trim_start_matches(['-', '+']).to_ascii_lowercase();
    matches!(lower.as_str(), "nan" | "inf" | "infinity")
}

/// Any unambiguous beginning of a word, in any case.
fn parse_bool(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    if lower.is_empty() {
        return None;
    }
    let begins = |word: &str| word.starts_with(&lower);
    match lower.as_str() {
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}

fn parse_integer(trimmed: &str, text: &str, data_type: DataType) -> Result<Value, SqlError> {
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(data_type, text));
    }
    let (low, high) = integer_bounds(data_type);
    match trimmed.parse::<i64>() {
        Ok(number) if (low..=high).contains(&number) => Ok(Value::Int(number)),
        _ => Err(SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value \"{text}\" is out of range for type {data_type}"),
        )),
    }
}

/// The least and the greatest value of an integer type.
pub fn integer_bounds(data_type: DataType) -> (i64, i64) {
    match data_type {
        DataType::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

fn parse_float(trimmed: &str, text: &str, data_type: DataType) -> Result<Value, SqlError> {
    let bare = trimmed.trim_start_matches(['-', '+']);
    let special = is_special_number(trimmed);
    let begins_as_number = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !special && !begins_as_number {
        return Err(invalid(data_type, text));
    }
    let out_of_range = || {
        SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{text}\" is out of range for type {data_type}"),
        )
    };
    let number: f64 = if data_type == DataType::Float4 {
        trimmed.parse::<f32>().map(f64::from)
    } else {
        trimmed.parse::<f64>()
    }
    .map_err(|_| invalid(data_type, text))?;
    let is_zero_text = || {
        let mantissa = bare.split(['e', 'E']).next().unwrap_or("");
        !mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
    };
    if !special && (number.is_infinite() || (number == 0.0 && !is_zero_text())) {
        return Err(out_of_range());
    }
    Ok(Value::Float(number))
}

/// The hex form `\x6162` and the escape form `a\\b\101`.
fn parse_bytes(text: &str) -> Result<Value, SqlError> {
    if let Some(hex) = text.strip_prefix("\\x") {
        return parse_hex(hex).map(|bytes| Value::Bytes(Arc::from(bytes)));
    }
    let bad = || {
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea")
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'\\' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        rest = match tail {
            [b'\\', tail @ ..] => {
                bytes.push(b'\\');
                tail
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                tail
            }
            _ => return Err(bad()),
        };
    }
    Ok(Value::Bytes(Arc::from(bytes)))
}

fn parse_hex(hex: &str) -> Result<Vec<u8>, SqlError> {
    let bad = |message: String| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut high: Option<u8> = None;
    for c in hex.chars().filter(|c| !c.is_ascii_whitespace()) {
        let digit =
            c.to_digit(16).ok_or_else(|| bad(format!("invalid hexadecimal digit: \"{c}\"")))? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(first) => bytes.push(first * 16 + digit),
        }
    }
    if high.is_some() {
        return Err(bad("invalid hexadecimal data: odd number of digits".to_owned()));
    }
    Ok(bytes)
}

/// 32 hex digits, in braces or not, with hyphens between groups of four.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut digits = 0;
    let mut uuid = [0u8; 16];
    let mut hyphen_before = true;
    for c in inner.chars() {
        if c == '-' {
            if hyphen_before || digits % 4 != 0 || digits == 32 {
                return None;
            }
            hyphen_before = true;
            continue;
        }
        let digit = c.to_digit(16)? as u8;
        *uuid.get_mut(digits / 2)? |= if digits % 2 == 0 { digit << 4 } else { digit };
        digits += 1;
        hyphen_before = false;
    }
    (digits == 32).then_some(uuid)
}

#[cfg(test)]
mod tests;

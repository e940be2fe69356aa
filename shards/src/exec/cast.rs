//! Casts of values between types, with PostgreSQL's rounding, ranges and lengths.

use super::decimal;
use super::input::{self, integer_bounds};
use super::seconds;
use model::array::Array;
use model::error::{SqlError, SqlState};
use model::json::Json;
use model::moment::{self, DAY_MICROS, TimeTz};
use model::numeric::{Numeric, Special};
use model::text;
use model::types::DataType;
use model::value::{Interval, Value};
use std::sync::Arc;

/// Casts `value` of type `from` to `to`. An `explicit` cast cuts a string that is too long, an
/// assignment refuses it (22001). `now_micros` is what the text `now` means.
pub fn cast(
    value: &Value,
    from: DataType,
    to: DataType,
    explicit: bool,
    now_micros: i64,
) -> Result<Value, SqlError> {
    match (value, to) {
        (Value::Null, _) => Ok(Value::Null),
        (_, DataType::Unknown) => Ok(value.clone()),
        (_, to) if to.is_text() => to_string(value, from, to, explicit),
        (Value::Text(text), DataType::Array(element)) => {
            let mut read = |element_text: &str| {
                let element_text = Value::text(element_text);
                let (from, to) = (DataType::Text, element.data_type());
                cast(&element_text, from, to, explicit, now_micros)
            };
            input::parse_array(text, &mut read).map(|array| Value::Array(Arc::new(array)))
        }
        (Value::Array(array), to) => elements(array, from, to, explicit, now_micros),
        (Value::Text(_), DataType::Json) if from == DataType::Json => Ok(value.clone()),
        (Value::Jsonb(text), DataType::Json) => Ok(Value::Text(Arc::clone(text))),
        (Value::Jsonb(_), DataType::Jsonb) => Ok(value.clone()),
        (Value::Jsonb(text), to) => scalar(&Json::reread(text), to),
        (Value::Text(text), to) => {
            // What a number alone means depends on the fields of an interval where a literal is
            // read; a text that has been one, and an array's element, is an interval first.
            let read = match to {
                DataType::Limited(limits) if from != DataType::Unknown => limits.data_type(),
                to => to,
            };
            let parsed = input::parse(text, read, now_micros)?;
            modify(parsed, to)
        }
        (Value::Bool(truth), to) if to.is_integer() => Ok(Value::Int(i64::from(*truth))),
        (Value::Int(number), DataType::Bool) => Ok(Value::Bool(*number != 0)),
        (Value::Int(number), to) if to.is_oid() => oid(*number),
        (Value::Int(_) | Value::Float(_) | Value::Numeric(_), to) if to.is_number() => {
            number(value, from, to)
        }
        (value, to) => temporal(value, to.base())
            .ok_or_else(|| {
                SqlError::new(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}"))
            })?
            .and_then(|value| modify(value, to)),
    }
}

/// What a `jsonb` holds that is a number or a truth value.
fn scalar(json: &Json, to: DataType) -> Result<Value, SqlError> {
    match (json, to) {
        (Json::Bool(truth), DataType::Bool) => return Ok(Value::Bool(*truth)),
        (Json::Number(held), to) if to.is_number() => {
            return number(&Value::Numeric(held.clone()), DataType::Numeric(None), to);
        }
        _ => {}
    }
    let kind = match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "numeric",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    Err(SqlError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("cannot cast jsonb {kind} to type {}", to.base()),
    ))
}

/// Negative integers wrap around, as in PostgreSQL.
fn oid(number: i64) -> Result<Value, SqlError> {
    match u32::try_from(number).or_else(|_error| i32::try_from(number).map(|n| n as u32)) {
        Ok(number) => Ok(Value::Int(i64::from(number))),
        Err(_) => Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "OID out of range")),
    }
}

/// An array with each element cast; its shape stays.
fn elements(
    array: &Arc<Array>,
    from: DataType,
    to: DataType,
    explicit: bool,
    now_micros: i64,
) -> Result<Value, SqlError> {
    let (Some(from), Some(to)) = (from.element(), to.element()) else {
        return Err(SqlError::new(
            SqlState::CANNOT_COERCE,
            format!("cannot cast type {from} to {to}"),
        ));
    };
    if from == to {
        return Ok(Value::Array(Arc::clone(array)));
    }
    let values = array.elements().iter().map(|v| cast(v, from, to, explicit, now_micros));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    Array::new(array.dimensions().to_vec(), values)
        .map(|array| Value::Array(Arc::new(array)))
        .ok_or_else(|| SqlError::internal("an array lost its shape"))
}

/// Whether a cast exists at all; the binder refuses others with 42846 before anything runs.
pub fn exists(from: DataType, to: DataType, explicit: bool) -> bool {
    use DataType::{Bool, Date, Interval, Time, TimeTz, Timestamp, TimestampTz};
    if super::operators::is_implicit_cast(from, to) || from.base() == to.base() {
        return true;
    }
    if to.is_text() {
        // Every type is assigned to a string through its output function.
        return true;
    }
    if from.is_text() {
        return explicit;
    }
    match (from.base(), to.base()) {
        (from, to) if from.is_number() && to.is_number() => true,
        (DataType::Json, DataType::Jsonb) | (DataType::Jsonb, DataType::Json) => true,
        (DataType::Jsonb, to) => explicit && (to == Bool || to.is_number()),
        (Bool, DataType::Int4) | (DataType::Int4, Bool) => explicit,
        (from, to) if from.is_oid() => to.is_oid() || to.is_integer(),
        (from, to) if from.element().is_some() && to.element().is_some() => {
            let elements = from.element().zip(to.element());
            elements.is_some_and(|(from, to)| exists(from, to, explicit))
        }
        (Timestamp | TimestampTz, Date | Time | Timestamp) | (Interval | TimeTz, Time) => true,
        (TimestampTz, TimeTz) => true,
        _ => false,
    }
}

/// Applies declared limits to a value that has the right kind already.
fn modify(value: Value, to: DataType) -> Result<Value, SqlError> {
    match (value, to) {
        (Value::Numeric(number), DataType::Numeric(Some(limits))) => {
            decimal::limit(&number, limits).map(Value::Numeric)
        }
        (value, DataType::Limited(limits)) => Ok(seconds::limit(value, limits)),
        (value, _) => Ok(value),
    }
}

fn to_string(
    value: &Value,
    from: DataType,
    to: DataType,
    explicit: bool,
) -> Result<Value, SqlError> {
    let text = match value {
        Value::Bool(truth) => Value::text(if *truth { "true" } else { "false" }),
        Value::Text(text) => match (from, to) {
            (DataType::Char(_), DataType::Text | DataType::Varchar(_)) => {
                Value::text(text.trim_end_matches(' '))
            }
            _ => value.clone(),
        },
        other => text::to_text(&other.as_ref(), from).map_or(Value::Null, Value::text),
    };
    let Value::Text(string) = &text else { return Ok(text) };
    let length = match to {
        DataType::Varchar(length) | DataType::Char(length) => length as usize,
        DataType::Name | DataType::InternalChar => return input::parse(string, to, 0),
        _ => return Ok(text),
    };
    // Bytes are at least as many as characters: most strings need no counting.
    let characters = if string.len() <= length && to.base() == DataType::Text {
        0
    } else {
        string.chars().count()
    };
    if characters > length {
        return shorten(string, length, to, explicit);
    }
    match to {
        DataType::Char(_) if characters < length => {
            Ok(Value::text(format!("{string}{}", " ".repeat(length - characters))))
        }
        _ => Ok(text),
    }
}

fn shorten(string: &str, length: usize, to: DataType, explicit: bool) -> Result<Value, SqlError> {
    let at = string.char_indices().nth(length).map_or(string.len(), |(at, _)| at);
    let (kept, excess) = string.split_at(at);
    if !explicit && !excess.bytes().all(|byte| byte == b' ') {
        return Err(SqlError::new(
            SqlState::STRING_DATA_RIGHT_TRUNCATION,
            format!("value too long for type {to}"),
        ));
    }
    Ok(Value::text(kept))
}

fn number(value: &Value, from: DataType, to: DataType) -> Result<Value, SqlError> {
    match to {
        DataType::Int2 | DataType::Int4 | DataType::Int8 => to_integer(value, to),
        DataType::Float4 | DataType::Float8 => to_float(value, to),
        _ => {
            let number = match value {
                Value::Int(number) => Numeric::from(*number),
                Value::Float(float) if from == DataType::Float4 => decimal::from_float(*float, 6)?,
                Value::Float(float) => decimal::from_float(*float, 15)?,
                Value::Numeric(number) => number.clone(),
                _ => return Err(SqlError::internal("a number that is none")),
            };
            modify(Value::Numeric(number), to)
        }
    }
}

/// Floats round half to even, numerics half away from zero; 22003 outside of the type, 0A000 where a
/// numeric has no digits.
fn to_integer(value: &Value, to: DataType) -> Result<Value, SqlError> {
    /// The first float that is too large: 2^63.
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    let integer = match value {
        Value::Int(number) => Some(*number),
        Value::Float(float) => {
            let rounded = float.round_ties_even();
            (-TOO_LARGE..TOO_LARGE).contains(&rounded).then_some(rounded as i64)
        }
        Value::Numeric(Numeric::Special(special)) => {
            let name = if *special == Special::NaN { "NaN" } else { "infinity" };
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("cannot convert {name} to {to}"),
            ));
        }
        Value::Numeric(number) => decimal::to_i64(number),
        _ => None,
    };
    let (low, high) = integer_bounds(to);
    integer
        .filter(|number| (low..=high).contains(number))
        .map(Value::Int)
        .ok_or_else(|| out_of_range(to))
}

/// 22003 with PostgreSQL's words for a result that its type does not hold.
pub fn out_of_range(data_type: DataType) -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{data_type} out of range"))
}

fn to_float(value: &Value, to: DataType) -> Result<Value, SqlError> {
    let float = match value {
        Value::Int(number) => *number as f64,
        Value::Float(float) => *float,
        Value::Numeric(number) => decimal::to_f64(number)?,
        _ => return Err(SqlError::internal("a number that is none")),
    };
    if to == DataType::Float8 {
        return Ok(Value::Float(float));
    }
    let narrow = float as f32;
    if narrow.is_infinite() && float.is_finite() {
        return Err(float_overflow());
    }
    if narrow == 0.0 && float != 0.0 {
        return Err(float_underflow());
    }
    Ok(Value::Float(f64::from(narrow)))
}

/// 22003
pub fn float_overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

/// 22003
pub fn float_underflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow")
}

fn temporal(value: &Value, to: DataType) -> Option<Result<Value, SqlError>> {
    Some(Ok(match (value, to) {
        (Value::Date(days), DataType::Timestamp | DataType::TimestampTz) => {
            let micros = match *days {
                moment::DATE_INFINITY => Some(moment::TIMESTAMP_INFINITY),
                moment::DATE_MINUS_INFINITY => Some(moment::TIMESTAMP_MINUS_INFINITY),
                days => {
                    i64::from(days).checked_mul(DAY_MICROS).and_then(moment::timestamp_of_micros)
                }
            };
            match micros {
                Some(micros) => Value::Timestamp(micros),
                None => {
                    return Some(Err(SqlError::new(
                        SqlState::DATETIME_FIELD_OVERFLOW,
                        "date out of range for timestamp",
                    )));
                }
            }
        }
        (Value::Timestamp(moment::TIMESTAMP_INFINITY), DataType::Date) => {
            Value::Date(moment::DATE_INFINITY)
        }
        (Value::Timestamp(moment::TIMESTAMP_MINUS_INFINITY), DataType::Date) => {
            Value::Date(moment::DATE_MINUS_INFINITY)
        }
        (Value::Timestamp(micros), DataType::Time | DataType::TimeTz)
            if !moment::is_finite_timestamp(*micros) =>
        {
            Value::Null
        }
        (Value::Timestamp(micros), DataType::Date) => {
            Value::Date(micros.div_euclid(DAY_MICROS) as i32)
        }
        (Value::Timestamp(micros), DataType::Time) => Value::Time(micros.rem_euclid(DAY_MICROS)),
        // The session's zone is UTC.
        (Value::Timestamp(micros), DataType::TimeTz) => {
            Value::TimeTz(TimeTz { micros: micros.rem_euclid(DAY_MICROS), zone: 0 })
        }
        (Value::Time(micros), DataType::TimeTz) => {
            Value::TimeTz(TimeTz { micros: *micros, zone: 0 })
        }
        (Value::TimeTz(time), DataType::Time) => Value::Time(time.micros),
        (Value::Time(micros), DataType::Interval) => {
            Value::Interval(Interval { months: 0, days: 0, micros: *micros })
        }
        (Value::Interval(interval), DataType::Time) => {
            Value::Time(interval.micros.rem_euclid(DAY_MICROS))
        }
        (Value::Bool(_), DataType::Bool)
        | (Value::Bytes(_), DataType::Bytea)
        | (Value::Date(_), DataType::Date)
        | (Value::Time(_), DataType::Time)
        | (Value::TimeTz(_), DataType::TimeTz)
        | (Value::Timestamp(_), DataType::Timestamp | DataType::TimestampTz)
        | (Value::Interval(_), DataType::Interval)
        | (Value::Uuid(_), DataType::Uuid) => value.clone(),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value, from: DataType, to: DataType, expected: &str) {
        let result = cast(&value, from, to, true, 0).unwrap();
        assert_eq!(text::to_text(&result.as_ref(), to).as_deref(), Some(expected));
    }

    #[test]
    fn floats_round_to_even_and_numerics_away_from_zero() {
        for (float, expected) in [(0.5, "0"), (1.5, "2"), (2.5, "2"), (-2.5, "-2")] {
            check(Value::Float(float), DataType::Float8, DataType::Int4, expected);
        }
        for (text, expected) in [("0.5", "1"), ("2.5", "3"), ("-2.5", "-3")] {
            let number = Value::Numeric(text.parse().unwrap());
            check(number, DataType::Numeric(None), DataType::Int4, expected);
        }
        let error =
            cast(&Value::Float(1e10), DataType::Float8, DataType::Int4, true, 0).unwrap_err();
        assert_eq!(error.fields().message, "integer out of range");
    }

    #[test]
    fn strings_are_cut_padded_or_refused() {
        check(Value::from("abcdef"), DataType::Text, DataType::Varchar(3), "abc");
        check(Value::from("äöü"), DataType::Text, DataType::Varchar(3), "äöü");
        check(Value::from("ab"), DataType::Text, DataType::Char(4), "ab  ");
        check(Value::from("ab  "), DataType::Char(4), DataType::Text, "ab");
        check(Value::Bool(true), DataType::Bool, DataType::Text, "true");
        let assigned =
            |text: &str| cast(&text.into(), DataType::Text, DataType::Varchar(2), false, 0);
        assert_eq!(assigned("ab   ").unwrap(), Value::from("ab"));
        assert_eq!(assigned("abc").unwrap_err().state(), SqlState::STRING_DATA_RIGHT_TRUNCATION);
    }

    #[test]
    fn a_float_becomes_the_numeric_it_prints_as() {
        check(Value::Float(0.1), DataType::Float8, DataType::Numeric(None), "0.1");
        check(
            Value::Float(1e20),
            DataType::Float8,
            DataType::Numeric(None),
            "100000000000000000000",
        );
    }
}

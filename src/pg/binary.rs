//! PostgreSQL's binary form of values: what its `typsend` and `typreceive` functions write and
//! read. Numbers are in network byte order; times count from 2000-01-01, as ours do.
//!
//! `COPY ... BINARY`, binary parameters and binary result columns all pass through here.

mod array;

use bytes::{BufMut, BytesMut};
use model::error::{SqlError, SqlState};
use model::moment::{self, TimeTz};
use model::numeric::{Numeric, Special};
use model::types::DataType;
use model::value::{Interval, Value, ValueRef};
use shards::exec::input;
use std::str;

/// Decimal digits in one digit of a binary `numeric`.
const NUMERIC_GROUP: usize = 4;
/// What one digit of a binary `numeric` counts up to.
const NUMERIC_BASE: u16 = 10_000;
/// The sign of a negative `numeric`.
const NUMERIC_NEGATIVE: u16 = 0x4000;
/// What PostgreSQL sends as the scale of an infinity, where nobody looks at it.
const INFINITY_SCALE: u16 = 0x20;
/// What stands before the text of a `jsonb`.
const JSONB_VERSION: u8 = 1;
/// Most digits behind the point that a `numeric` shows.
const NUMERIC_SCALE_MAX: u16 = 0x3fff;

/// Appends a value of `data_type`, without its length. `NULL` has no bytes: the caller writes the
/// length -1 instead.
pub fn encode(out: &mut BytesMut, value: &ValueRef<'_>, data_type: DataType) {
    match value {
        ValueRef::Null => {}
        ValueRef::Bool(truth) => out.put_u8(u8::from(*truth)),
        ValueRef::Int(number) => match data_type {
            // The type bounds the value.
            DataType::Int2 => out.put_i16(*number as i16),
            DataType::Int4 => out.put_i32(*number as i32),
            DataType::Oid | DataType::Reg(_) => out.put_u32(*number as u32),
            _ => out.put_i64(*number),
        },
        ValueRef::Float(number) if data_type == DataType::Float4 => out.put_f32(*number as f32),
        ValueRef::Float(number) => out.put_f64(*number),
        ValueRef::Numeric(Numeric::Special(special)) => {
            // No digits, no weight: the sign says all.
            out.put_u32(0);
            out.put_u16(special.code());
            out.put_u16(if *special == Special::NaN { 0 } else { INFINITY_SCALE });
        }
        ValueRef::Numeric(number) => encode_numeric(out, &number.to_string()),
        ValueRef::Text(text) => out.put_slice(text.as_bytes()),
        ValueRef::Jsonb(text) => {
            out.put_u8(JSONB_VERSION);
            out.put_slice(text.as_bytes());
        }
        ValueRef::Bytes(bytes) => out.put_slice(bytes),
        ValueRef::Date(days) => out.put_i32(*days),
        ValueRef::Time(micros) | ValueRef::Timestamp(micros) => out.put_i64(*micros),
        ValueRef::TimeTz(time) => {
            out.put_i64(time.micros);
            out.put_i32(time.zone);
        }
        ValueRef::Interval(interval) => {
            out.put_i64(interval.micros);
            out.put_i32(interval.days);
            out.put_i32(interval.months);
        }
        ValueRef::Uuid(bytes) => out.put_slice(bytes),
        ValueRef::Array(array) => {
            array::encode_array(out, array, data_type.element().unwrap_or(DataType::Text));
        }
    }
}

/// Appends a number in plain decimal notation as groups of four digits around the point.
fn encode_numeric(out: &mut BytesMut, plain: &str) {
    let (negative, plain) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain),
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let whole = whole.trim_start_matches('0');
    let mut groups: Vec<u16> = Vec::with_capacity(plain.len() / NUMERIC_GROUP + 2);
    let lead = whole.len() % NUMERIC_GROUP;
    if lead > 0 {
        groups.push(group(&whole[..lead]));
    }
    groups.extend(whole.as_bytes()[lead..].chunks(NUMERIC_GROUP).map(digits));
    let mut weight = groups.len() as i16 - 1;
    groups.extend(fraction.as_bytes().chunks(NUMERIC_GROUP).map(|chunk| {
        // The last group is filled up on the right.
        let missing = (NUMERIC_GROUP - chunk.len()) as u32;
        digits(chunk) * 10_u16.pow(missing)
    }));
    let leading_zeros = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading_zeros);
    weight -= leading_zeros as i16;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign = if negative && !groups.is_empty() { NUMERIC_NEGATIVE } else { 0 };
    out.put_u16(groups.len() as u16);
    out.put_i16(weight);
    out.put_u16(sign);
    out.put_u16(fraction.len() as u16);
    groups.into_iter().for_each(|group| out.put_u16(group));
}

fn group(text: &str) -> u16 {
    digits(text.as_bytes())
}

fn digits(ascii: &[u8]) -> u16 {
    ascii.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
}

/// Reads a value of `data_type` that is all of `bytes`.
///
/// # Errors
/// 22P03 where the bytes are no such value, 22021 where text is not UTF-8, 22008 for a moment that
/// is out of range.
pub fn decode(bytes: &[u8], data_type: DataType) -> Result<Value, SqlError> {
    let value = match data_type {
        DataType::Bool => match bytes {
            [0] => Some(Value::Bool(false)),
            [1] => Some(Value::Bool(true)),
            _ => None,
        },
        DataType::Int2 => bytes.try_into().ok().map(|b| Value::Int(i16::from_be_bytes(b).into())),
        DataType::Int4 => bytes.try_into().ok().map(|b| Value::Int(i32::from_be_bytes(b).into())),
        DataType::Int8 => bytes.try_into().ok().map(|b| Value::Int(i64::from_be_bytes(b))),
        DataType::Float4 => {
            bytes.try_into().ok().map(|b| Value::Float(f32::from_be_bytes(b).into()))
        }
        DataType::Float8 => bytes.try_into().ok().map(|b| Value::Float(f64::from_be_bytes(b))),
        DataType::Numeric(_) => decode_numeric(bytes)?,
        DataType::Unknown
        | DataType::Text
        | DataType::Varchar(_)
        | DataType::Char(_)
        | DataType::Void => Some(Value::text(text(bytes)?)),
        DataType::Name | DataType::InternalChar | DataType::Json => {
            Some(input::parse(text(bytes)?, data_type, 0)?)
        }
        DataType::Jsonb => match bytes {
            [JSONB_VERSION, json @ ..] => Some(input::parse(text(json)?, data_type, 0)?),
            [version, ..] => return Err(unsupported_version(*version)),
            [] => None,
        },
        DataType::Oid | DataType::Reg(_) => {
            bytes.try_into().ok().map(|b| Value::Int(u32::from_be_bytes(b).into()))
        }
        DataType::Int2Vector | DataType::OidVector | DataType::Array(_) => {
            Some(array::decode_array(bytes, data_type)?)
        }
        DataType::Bytea => Some(Value::Bytes(bytes.into())),
        DataType::Date => match bytes.try_into().ok().map(i32::from_be_bytes) {
            Some(days) if in_date_range(days) => Some(Value::Date(days)),
            Some(_) => return Err(out_of_range("date out of range")),
            None => None,
        },
        DataType::Time => match bytes.try_into().ok().map(i64::from_be_bytes) {
            Some(micros) if (0..=moment::DAY_MICROS).contains(&micros) => Some(Value::Time(micros)),
            Some(_) => return Err(out_of_range("time out of range")),
            None => None,
        },
        DataType::TimeTz => decode_time_tz(bytes)?,
        DataType::Timestamp | DataType::TimestampTz => {
            match bytes.try_into().ok().map(i64::from_be_bytes) {
                Some(micros) if in_timestamp_range(micros) => Some(Value::Timestamp(micros)),
                Some(_) => return Err(out_of_range("timestamp out of range")),
                None => None,
            }
        }
        DataType::Interval => decode_interval(bytes),
        DataType::Limited(limits) => return decode(bytes, limits.data_type()),
        DataType::Uuid => bytes.try_into().ok().map(Value::Uuid),
    };
    value.ok_or_else(|| malformed(data_type))
}

fn in_date_range(days: i32) -> bool {
    !moment::is_finite_date(days) || moment::date_of_days(days.into()).is_some()
}

fn in_timestamp_range(micros: i64) -> bool {
    !moment::is_finite_timestamp(micros) || moment::timestamp_of_micros(micros).is_some()
}

fn out_of_range(message: &'static str) -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

/// The text that `bytes` are.
///
/// # Errors
/// 22021 where they are not UTF-8 or hold a zero.
pub fn text(bytes: &[u8]) -> Result<&str, SqlError> {
    let invalid = |at: usize| {
        SqlError::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\": 0x{:02x}", bytes[at]),
        )
    };
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(invalid(at));
    }
    str::from_utf8(bytes).map_err(|error| invalid(error.valid_up_to()))
}

fn unsupported_version(version: u8) -> SqlError {
    SqlError::internal(format!("unsupported jsonb version number {version}"))
}

fn malformed(data_type: DataType) -> SqlError {
    SqlError::new(
        SqlState::INVALID_BINARY_REPRESENTATION,
        format!("the bytes are no binary value of type {data_type}"),
    )
}

fn decode_interval(bytes: &[u8]) -> Option<Value> {
    let (micros, rest) = bytes.split_first_chunk()?;
    let (days, rest) = rest.split_first_chunk()?;
    let months = rest.try_into().ok()?;
    Some(Value::Interval(Interval {
        micros: i64::from_be_bytes(*micros),
        days: i32::from_be_bytes(*days),
        months: i32::from_be_bytes(months),
    }))
}

/// A `time with time zone`; `None` where the bytes are malformed.
fn decode_time_tz(bytes: &[u8]) -> Result<Option<Value>, SqlError> {
    let Some((micros, zone)) = bytes.split_first_chunk() else { return Ok(None) };
    let Ok(zone) = zone.try_into() else { return Ok(None) };
    let (micros, zone) = (i64::from_be_bytes(*micros), i32::from_be_bytes(zone));
    if !(0..=moment::DAY_MICROS).contains(&micros) {
        return Err(out_of_range("time out of range"));
    }
    if !moment::is_zone(zone) {
        return Err(SqlError::new(
            SqlState::INVALID_TIME_ZONE_DISPLACEMENT,
            "time zone displacement out of range",
        ));
    }
    Ok(Some(Value::TimeTz(TimeTz { micros, zone })))
}

/// A `numeric`; `None` where the bytes are malformed.
fn decode_numeric(bytes: &[u8]) -> Result<Option<Value>, SqlError> {
    if bytes.len() < 8 || !bytes.len().is_multiple_of(2) {
        return Ok(None);
    }
    let mut words = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut header = [0; 4];
    header.iter_mut().zip(&mut words).for_each(|(place, word)| *place = word);
    let [count, weight, sign, scale] = header;
    let groups: Vec<u16> = words.collect();
    let special = Special::from_code(sign);
    let valid = usize::from(count) == groups.len()
        && (special.is_some() || sign == 0 || sign == NUMERIC_NEGATIVE)
        && scale <= NUMERIC_SCALE_MAX
        && groups.iter().all(|group| *group < NUMERIC_BASE);
    if !valid {
        return Ok(None);
    }
    if let Some(special) = special {
        return Ok(Some(Value::Numeric(Numeric::Special(special))));
    }
    Ok(Some(Value::Numeric(number(&groups, weight as i16, sign != 0, usize::from(scale))?)))
}

/// The number that the groups are, cut or filled to `scale` digits behind the point.
fn number(groups: &[u16], weight: i16, negative: bool, scale: usize) -> Result<Numeric, SqlError> {
    let at = |position: i32| match usize::try_from(i32::from(weight) - position) {
        Ok(index) => groups.get(index).copied().unwrap_or(0),
        Err(_before_the_first) => 0,
    };
    let mut plain = String::from(if negative { "-" } else { "" });
    plain.push('0');
    (0..=i32::from(weight))
        .rev()
        .for_each(|position| plain.push_str(&format!("{:04}", at(position))));
    if scale > 0 {
        plain.push('.');
        let whole = plain.len();
        let fraction_groups = scale.div_ceil(NUMERIC_GROUP) as i32;
        (1..=fraction_groups).for_each(|position| plain.push_str(&format!("{:04}", at(-position))));
        plain.truncate(whole + scale);
    }
    plain.parse().map_err(|_error| malformed(DataType::Numeric(None)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn encoded(value: &Value, data_type: DataType) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(&mut out, &value.as_ref(), data_type);
        out.to_vec()
    }

    fn numeric(text: &str) -> Value {
        Value::Numeric(text.parse().unwrap())
    }

    /// As PostgreSQL 15 sends them (`SELECT numeric_send(..)`).
    #[test]
    fn numbers_are_laid_out_as_postgresql_lays_them_out() {
        let table = [
            ("0", "0000000000000000"),
            ("0.00", "0000000000000002"),
            ("1", "00010000000000000001"),
            ("-12345.678", "00030001400000030001 0929 1a7c"),
            ("10000", "00010001000000000001"),
            ("0.0001", "0001ffff000000040001"),
            ("0.00001", "0001fffe00000005 03e8"),
            ("1.50", "0002000000000002 0001 1388"),
            ("100000000.00000001", "0005000200000008 0001 0000 0000 0000 0001"),
            ("NaN", "00000000c0000000"),
            ("Infinity", "00000000d0000020"),
            ("-Infinity", "00000000f0000020"),
        ];
        for (text, hex) in table {
            let bytes = encoded(&numeric(text), DataType::Numeric(None));
            let shown: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(shown, hex.replace(' ', ""), "{text}");
            let back = decode(&bytes, DataType::Numeric(None)).unwrap();
            assert_eq!(back.to_text(DataType::Numeric(None)), text);
        }
    }

    #[test]
    fn every_type_is_read_as_it_was_written() {
        let table = [
            (Value::Bool(true), DataType::Bool),
            (Value::Int(-2), DataType::Int2),
            (Value::Int(-70_000), DataType::Int4),
            (Value::Int(i64::MIN), DataType::Int8),
            (Value::Float(1.5), DataType::Float4),
            (Value::Float(-0.1), DataType::Float8),
            (Value::text("grün"), DataType::Text),
            (Value::text("ab   "), DataType::Char(5)),
            (Value::Bytes(Arc::from(&b"\0\xff"[..])), DataType::Bytea),
            (Value::Date(-1), DataType::Date),
            (Value::Time(86_399_999_999), DataType::Time),
            (Value::TimeTz(TimeTz { micros: 1, zone: -57_599 }), DataType::TimeTz),
            (Value::Timestamp(-1), DataType::TimestampTz),
            (Value::Interval(Interval { months: -3, days: 2, micros: 1 }), DataType::Interval),
            (Value::Uuid([7; 16]), DataType::Uuid),
            (Value::Jsonb("{\"a\": [1.50]}".into()), DataType::Jsonb),
            (Value::Int(i64::from(u32::MAX)), DataType::Oid),
            (Value::text("item"), DataType::Name),
        ];
        for (value, data_type) in table {
            let bytes = encoded(&value, data_type);
            assert_eq!(decode(&bytes, data_type).unwrap(), value, "{data_type}");
            if !data_type.is_text() && !matches!(data_type, DataType::Bytea | DataType::Jsonb) {
                let longer = [&bytes[..], &[0]].concat();
                let refused = decode(&longer, data_type).unwrap_err();
                assert_eq!(refused.state(), SqlState::INVALID_BINARY_REPRESENTATION);
            }
        }
    }

    #[test]
    fn times_that_no_clock_shows_are_refused() {
        let state = |micros: i64, zone: i32| {
            let bytes = [&micros.to_be_bytes()[..], &zone.to_be_bytes()].concat();
            decode(&bytes, DataType::TimeTz).unwrap_err().state()
        };
        assert_eq!(state(-1, 0), SqlState::DATETIME_FIELD_OVERFLOW);
        assert_eq!(state(moment::DAY_MICROS + 1, 0), SqlState::DATETIME_FIELD_OVERFLOW);
        assert_eq!(state(0, 57_600), SqlState::INVALID_TIME_ZONE_DISPLACEMENT);
        assert_eq!(state(0, i32::MIN), SqlState::INVALID_TIME_ZONE_DISPLACEMENT);
    }

    #[test]
    fn json_has_a_version_before_it() {
        let value = decode(b"\x01 {\"b\":1,\"a\":2}", DataType::Jsonb).unwrap();
        assert_eq!(encoded(&value, DataType::Jsonb), b"\x01{\"a\": 2, \"b\": 1}");
        let state = |bytes: &[u8]| decode(bytes, DataType::Jsonb).unwrap_err().state();
        assert_eq!(state(b"\x02{}"), SqlState::INTERNAL_ERROR);
        assert_eq!(state(b""), SqlState::INVALID_BINARY_REPRESENTATION);
        assert_eq!(state(b"\x01{"), SqlState::INVALID_TEXT_REPRESENTATION);
    }

    #[test]
    fn text_that_is_none_is_refused() {
        for bytes in [&b"a\0b"[..], b"\xff", b"\xc3"] {
            let refused = decode(bytes, DataType::Text).unwrap_err();
            assert_eq!(refused.state(), SqlState::CHARACTER_NOT_IN_REPERTOIRE);
        }
    }

    #[test]
    fn malformed_numbers_are_refused() {
        let unknown_sign = [0, 0, 0, 0, 0x80, 0, 0, 0];
        let state = |bytes: &[u8]| decode(bytes, DataType::Numeric(None)).unwrap_err().state();
        for bytes in [
            &[][..],
            &[0; 7],
            &unknown_sign,
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10],
        ] {
            assert_eq!(state(bytes), SqlState::INVALID_BINARY_REPRESENTATION, "{bytes:?}");
        }
    }
}

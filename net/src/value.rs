//! Values and types on the wire.
//!
//! A value says what it is, so that rows and parameters can be read without their description.

use crate::codec::{Malformed, Reader, Wire, put_bytes};
use bigdecimal::num_bigint::BigInt;
use bytes::{BufMut, BytesMut};
use model::array::{Array, DIMENSIONS_MAX, Dimension};
use model::moment::TimeTz;
use model::numeric::{Numeric, Special};
use model::types::{DataType, NumericLimits, RegKind, TimeLimits, TimeType};
use model::value::{Interval, Value, ValueRef};
use std::sync::Arc;

/// Most digits behind the point of a `numeric`, as in PostgreSQL.
pub const NUMERIC_SCALE_MAX: u16 = 16_383;

/// Longest unscaled `numeric`: PostgreSQL's 147,455 digits need 61,232 bytes.
pub const NUMERIC_BYTES_MAX: usize = 65_536;

const NULL: u8 = 0;
const BOOL: u8 = 1;
const INT: u8 = 2;
const FLOAT: u8 = 3;
const NUMERIC: u8 = 4;
const TEXT: u8 = 5;
const BYTES: u8 = 6;
const DATE: u8 = 7;
const TIME: u8 = 8;
const TIMESTAMP: u8 = 9;
const INTERVAL: u8 = 10;
const UUID: u8 = 11;
const ARRAY: u8 = 12;
const TIME_TZ: u8 = 13;

/// Appends a value.
pub fn put_value(out: &mut BytesMut, value: &ValueRef<'_>) {
    match value {
        ValueRef::Null => out.put_u8(NULL),
        ValueRef::Bool(v) => out.extend_from_slice(&[BOOL, u8::from(*v)]),
        ValueRef::Int(v) => put_eight(out, INT, v.to_le_bytes()),
        ValueRef::Float(v) => put_eight(out, FLOAT, v.to_le_bytes()),
        ValueRef::Numeric(v) => put_numeric(out, v),
        // Its column's type tells it from a text.
        ValueRef::Text(v) | ValueRef::Jsonb(v) => {
            out.put_u8(TEXT);
            put_bytes(out, v.as_bytes());
        }
        ValueRef::Bytes(v) => {
            out.put_u8(BYTES);
            put_bytes(out, v);
        }
        ValueRef::Date(v) => {
            out.put_u8(DATE);
            out.put_i32_le(*v);
        }
        ValueRef::Time(v) => put_eight(out, TIME, v.to_le_bytes()),
        ValueRef::TimeTz(v) => {
            out.put_u8(TIME_TZ);
            out.put_i64_le(v.micros);
            out.put_i32_le(v.zone);
        }
        ValueRef::Timestamp(v) => put_eight(out, TIMESTAMP, v.to_le_bytes()),
        ValueRef::Interval(v) => {
            out.put_u8(INTERVAL);
            out.put_i32_le(v.months);
            out.put_i32_le(v.days);
            out.put_i64_le(v.micros);
        }
        ValueRef::Uuid(v) => {
            out.put_u8(UUID);
            out.extend_from_slice(v);
        }
        ValueRef::Array(v) => put_array(out, v),
    }
}

fn put_array(out: &mut BytesMut, array: &Array) {
    // At most six dimensions.
    out.extend_from_slice(&[ARRAY, array.dimensions().len() as u8]);
    for dimension in array.dimensions() {
        out.put_u32_le(dimension.length);
        out.put_i32_le(dimension.lower);
    }
    array.elements().iter().for_each(|element| put_value(out, &element.as_ref()));
}

fn take_array(input: &mut Reader<'_>) -> Result<Array, Malformed> {
    const SHAPE: Malformed = Malformed::OutOfRange("an array's shape");
    let dimensions = usize::from(u8::decode(input)?);
    if dimensions == 0 {
        return Ok(Array::default());
    }
    if dimensions > DIMENSIONS_MAX {
        return Err(SHAPE);
    }
    let dimensions = (0..dimensions)
        .map(|_| Ok(Dimension { length: u32::decode(input)?, lower: i32::decode(input)? }))
        .collect::<Result<Vec<_>, Malformed>>()?;
    // Every element takes a byte at least: no more are made room for than can be there.
    let count = Array::count(&dimensions).filter(|count| *count <= input.remaining());
    let elements = (0..count.ok_or(SHAPE)?)
        .map(|_| match take_value(input)? {
            ValueRef::Array(_) => Err(Malformed::OutOfRange("an array's element")),
            element => Ok(element.to_value()),
        })
        .collect::<Result<Vec<_>, Malformed>>()?;
    Array::new(dimensions, elements).ok_or(SHAPE)
}

/// One append for tag and body: this is the hot path of rows of numbers.
fn put_eight(out: &mut BytesMut, tag: u8, body: [u8; 8]) {
    let mut both = [tag; 9];
    both[1..].copy_from_slice(&body);
    out.extend_from_slice(&both);
}

fn put_numeric(out: &mut BytesMut, value: &Numeric) {
    out.put_u8(NUMERIC);
    let decimal = match value {
        Numeric::Finite(decimal) => decimal,
        Numeric::Special(special) => {
            out.put_u16_le(special.code());
            return put_bytes(out, &[]);
        }
    };
    let (digits, exponent) = decimal.as_bigint_and_exponent();
    match u16::try_from(exponent) {
        Ok(scale) if scale <= NUMERIC_SCALE_MAX => {
            out.put_u16_le(scale);
            put_bytes(out, &digits.to_signed_bytes_le());
        }
        // Trailing zeros before the point, or digits behind what numeric has: written out, cut.
        _ => {
            let scale = if exponent < 0 { 0 } else { NUMERIC_SCALE_MAX };
            let (digits, _) = decimal.with_scale(i64::from(scale)).into_bigint_and_exponent();
            out.put_u16_le(scale);
            put_bytes(out, &digits.to_signed_bytes_le());
        }
    }
}

/// Reads a value in place.
pub fn take_value<'a>(input: &mut Reader<'a>) -> Result<ValueRef<'a>, Malformed> {
    Ok(match u8::decode(input)? {
        NULL => ValueRef::Null,
        BOOL => ValueRef::Bool(bool::decode(input)?),
        INT => ValueRef::Int(i64::decode(input)?),
        FLOAT => ValueRef::Float(f64::decode(input)?),
        NUMERIC => ValueRef::Numeric(take_numeric(input)?),
        TEXT => ValueRef::Text(input.str()?),
        BYTES => ValueRef::Bytes(input.bytes()?),
        DATE => ValueRef::Date(i32::decode(input)?),
        TIME => ValueRef::Time(i64::decode(input)?),
        TIMESTAMP => ValueRef::Timestamp(i64::decode(input)?),
        INTERVAL => ValueRef::Interval(Interval {
            months: i32::decode(input)?,
            days: i32::decode(input)?,
            micros: i64::decode(input)?,
        }),
        UUID => ValueRef::Uuid(input.array()?),
        ARRAY => ValueRef::Array(Arc::new(take_array(input)?)),
        TIME_TZ => {
            ValueRef::TimeTz(TimeTz { micros: i64::decode(input)?, zone: i32::decode(input)? })
        }
        _ => return Err(Malformed::OutOfRange("a value's tag")),
    })
}

fn take_numeric(input: &mut Reader<'_>) -> Result<Numeric, Malformed> {
    let scale = u16::decode(input)?;
    let special = Special::from_code(scale);
    if scale > NUMERIC_SCALE_MAX && special.is_none() {
        return Err(Malformed::OutOfRange("a numeric's scale"));
    }
    let digits = input.bytes()?;
    if let Some(special) = special {
        return match digits {
            [] => Ok(Numeric::Special(special)),
            _ => Err(Malformed::OutOfRange("a numeric's length")),
        };
    }
    if digits.is_empty() || digits.len() > NUMERIC_BYTES_MAX {
        return Err(Malformed::OutOfRange("a numeric's length"));
    }
    Ok(Numeric::new(BigInt::from_signed_bytes_le(digits), i64::from(scale)))
}

impl Wire for Value {
    fn encode(&self, out: &mut BytesMut) {
        put_value(out, &self.as_ref());
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        take_value(input).map(|value| value.to_value())
    }
}

impl Wire for DataType {
    fn encode(&self, out: &mut BytesMut) {
        let (tag, modifier) = match *self {
            DataType::Unknown => (0, 0),
            DataType::Bool => (1, 0),
            DataType::Int2 => (2, 0),
            DataType::Int4 => (3, 0),
            DataType::Int8 => (4, 0),
            DataType::Float4 => (5, 0),
            DataType::Float8 => (6, 0),
            DataType::Numeric(None) => (7, 0),
            DataType::Numeric(Some(limits)) => {
                (7, u32::from(limits.precision) << 16 | u32::from(limits.scale))
            }
            DataType::Text => (8, 0),
            DataType::Varchar(n) => (9, n),
            DataType::Char(n) => (10, n),
            DataType::Bytea => (11, 0),
            DataType::Date => (12, 0),
            DataType::Time => (13, 0),
            DataType::Timestamp => (14, 0),
            DataType::TimestampTz => (15, 0),
            DataType::Interval => (16, 0),
            DataType::Uuid => (17, 0),
            DataType::Oid => (18, 0),
            DataType::Name => (19, 0),
            DataType::InternalChar => (20, 0),
            DataType::Reg(kind) => (21, reg_modifier(kind)),
            DataType::Json => (22, 0),
            DataType::Void => (23, 0),
            DataType::Int2Vector => (24, 0),
            DataType::OidVector => (25, 0),
            DataType::Jsonb => (26, 0),
            DataType::TimeTz => (27, 0),
            DataType::Limited(limits) => {
                // One more than PostgreSQL's modifier: 0 is none.
                (time_tag(limits.time_type()), limits.modifier() as u32 + 1)
            }
            DataType::Array(element) => {
                out.put_u8(ARRAY_OF);
                return element.data_type().encode(out);
            }
        };
        out.put_u8(tag);
        out.put_u32_le(modifier);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let tag = u8::decode(input)?;
        if tag == ARRAY_OF {
            return array_type(input);
        }
        let modifier = u32::decode(input)?;
        let plain = match tag {
            7 => return numeric_type(modifier),
            9 if modifier > 0 => return Ok(DataType::Varchar(modifier)),
            10 if modifier > 0 => return Ok(DataType::Char(modifier)),
            13..=16 | 27 if modifier > 0 => return time_type(tag, modifier),
            21 => return reg_type(modifier),
            0 => DataType::Unknown,
            1 => DataType::Bool,
            2 => DataType::Int2,
            3 => DataType::Int4,
            4 => DataType::Int8,
            5 => DataType::Float4,
            6 => DataType::Float8,
            8 => DataType::Text,
            11 => DataType::Bytea,
            12 => DataType::Date,
            13 => DataType::Time,
            14 => DataType::Timestamp,
            15 => DataType::TimestampTz,
            16 => DataType::Interval,
            17 => DataType::Uuid,
            18 => DataType::Oid,
            19 => DataType::Name,
            20 => DataType::InternalChar,
            22 => DataType::Json,
            23 => DataType::Void,
            24 => DataType::Int2Vector,
            25 => DataType::OidVector,
            26 => DataType::Jsonb,
            27 => DataType::TimeTz,
            _ => return Err(Malformed::OutOfRange("a type's tag")),
        };
        if modifier == 0 { Ok(plain) } else { Err(Malformed::OutOfRange("a type's modifier")) }
    }
}

/// Before the type of an array's elements.
const ARRAY_OF: u8 = 128;

fn array_type(input: &mut Reader<'_>) -> Result<DataType, Malformed> {
    // Not the recursion that a row of array tags would ask for.
    if input.peek() == Some(ARRAY_OF) {
        return Err(Malformed::OutOfRange("an array's element type"));
    }
    let element = DataType::decode(input)?;
    element.array().ok_or(Malformed::OutOfRange("an array's element type"))
}

fn reg_modifier(kind: RegKind) -> u32 {
    match kind {
        RegKind::Class => 0,
        RegKind::Type => 1,
        RegKind::Proc => 2,
        RegKind::Procedure => 3,
        RegKind::Namespace => 4,
        RegKind::Role => 5,
        RegKind::Collation => 6,
        RegKind::Oper => 7,
        RegKind::Operator => 8,
    }
}

fn reg_type(modifier: u32) -> Result<DataType, Malformed> {
    RegKind::ALL
        .into_iter()
        .find(|kind| reg_modifier(*kind) == modifier)
        .map(DataType::Reg)
        .ok_or(Malformed::OutOfRange("a type's modifier"))
}

fn time_tag(of: TimeType) -> u8 {
    match of {
        TimeType::Time => 13,
        TimeType::Timestamp => 14,
        TimeType::TimestampTz => 15,
        TimeType::Interval => 16,
        TimeType::TimeTz => 27,
    }
}

fn time_type(tag: u8, modifier: u32) -> Result<DataType, Malformed> {
    TimeType::ALL
        .into_iter()
        .find(|of| time_tag(*of) == tag)
        .zip(i32::try_from(modifier - 1).ok())
        .and_then(|(of, modifier)| TimeLimits::from_modifier(of, modifier))
        .map(DataType::Limited)
        .ok_or(Malformed::OutOfRange("a type's modifier"))
}

fn numeric_type(modifier: u32) -> Result<DataType, Malformed> {
    if modifier == 0 {
        return Ok(DataType::Numeric(None));
    }
    let (precision, scale) = ((modifier >> 16) as u16, modifier as u16);
    if precision == 0 || precision > 1000 || scale > precision {
        return Err(Malformed::OutOfRange("a numeric type's modifier"));
    }
    Ok(DataType::Numeric(Some(NumericLimits { precision, scale })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decode_all;
    use model::types::IntervalFields;

    fn round_trip<T: Wire>(value: &T) -> T {
        let mut out = BytesMut::new();
        value.encode(&mut out);
        decode_all(&out).unwrap()
    }

    #[test]
    fn numerics_keep_their_display_scale() {
        let finite = ["0", "1.50", "-0.001", "123456789012345678901234567890.10", "-128", "255"];
        for text in finite.into_iter().chain(["NaN", "Infinity", "-Infinity"]) {
            let value = Value::Numeric(text.parse().unwrap());
            let Value::Numeric(back) = round_trip(&value) else { panic!("a numeric") };
            assert_eq!(back.to_string(), text);
        }
    }

    #[test]
    fn numerics_outside_the_scales_of_the_wire_are_written_out() {
        let value = Value::Numeric(Numeric::new(BigInt::from(-7), -3));
        let Value::Numeric(back) = round_trip(&value) else { panic!("a numeric") };
        assert_eq!(back.to_string(), "-7000");
        let tiny = Value::Numeric(Numeric::new(BigInt::from(1), 20_000));
        assert!(round_trip(&tiny).same(&Value::Int(0)));
    }

    #[test]
    fn a_scale_that_would_print_two_gigabytes_is_refused() {
        let bytes = [NUMERIC, 0xff, 0xff, 1, 0, 0, 0, 1];
        let refused = Err(Malformed::OutOfRange("a numeric's scale"));
        assert_eq!(decode_all::<Value>(&bytes), refused);
        let infinity_of_one_digit = [NUMERIC, 0x00, 0xd0, 1, 0, 0, 0, 1];
        let refused = Err(Malformed::OutOfRange("a numeric's length"));
        assert_eq!(decode_all::<Value>(&infinity_of_one_digit), refused);
    }

    #[test]
    fn an_array_that_claims_more_than_the_message_holds_is_refused() {
        let claim = [ARRAY, 1, 0xff, 0xff, 0xff, 0x07, 1, 0, 0, 0, NULL];
        assert_eq!(decode_all::<Value>(&claim), Err(Malformed::OutOfRange("an array's shape")));
        let nested = [ARRAY, 1, 1, 0, 0, 0, 1, 0, 0, 0, ARRAY, 0];
        assert!(decode_all::<Value>(&nested).is_err());
    }

    #[test]
    fn types_refuse_modifiers_they_do_not_have() {
        assert!(decode_all::<DataType>(&[4, 1, 0, 0, 0]).is_err());
        assert!(decode_all::<DataType>(&[9, 0, 0, 0, 0]).is_err());
        assert!(decode_all::<DataType>(&[7, 3, 0, 2, 0]).is_err(), "scale above precision");
        let limits = NumericLimits { precision: 10, scale: 2 };
        for t in [DataType::Numeric(Some(limits)), DataType::Varchar(7), DataType::Uuid] {
            assert_eq!(round_trip(&t), t);
            assert_eq!(t.array().map(|array| round_trip(&array)), t.array());
        }
        for t in RegKind::ALL.map(DataType::Reg) {
            assert_eq!(round_trip(&t), t);
        }
        let years = TimeLimits::fields(IntervalFields::YearToMonth, None);
        for limits in TimeType::ALL.map(|of| TimeLimits::digits(of, 3)).into_iter().chain([years]) {
            let t = DataType::Limited(limits);
            assert_eq!(round_trip(&t), t);
            assert_eq!(t.array().map(|array| round_trip(&array)), t.array());
        }
        assert!(decode_all::<DataType>(&[14, 8, 0, 0, 0]).is_err(), "seven digits");
        assert!(decode_all::<DataType>(&[16, 0, 0, 0, 128]).is_err(), "nothing is limited");
        assert!(decode_all::<DataType>(&[128, 128, 4, 0, 0, 0, 0]).is_err(), "no array of arrays");
        assert!(decode_all::<DataType>(&[128, 0, 0, 0, 0, 0]).is_err(), "no array of unknown");
    }
}

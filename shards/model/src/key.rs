//! Keys: bytes whose order is the order of the values they encode.
//!
//! A key is its object's id (four bytes, big-endian) followed by its columns. A column is a tag
//! byte (1: a value follows; 2: `NULL`, which therefore sorts last) and the value:
//!
//! | value | bytes |
//! |---|---|
//! | bool | one byte |
//! | integers, date, time, timestamp | eight bytes, big-endian, sign bit flipped |
//! | floats | the IEEE bits, big-endian; negative inverted, others with the sign bit flipped; -0 is 0, NaN is all ones |
//! | text, bytes | the bytes, each 0 followed by 255; then 0 0 |
//! | numeric | -Infinity 0, negative 1, zero 2, positive 3, Infinity 4, NaN 5; then of what is finite and not zero: exponent (as an integer), digits + 1 a byte, 0; inverted where negative |
//! | interval | its comparable length as a 16-byte integer, then its three parts |
//! | time with time zone | microseconds of UTC, then the zone in seconds west, both as integers |
//! | uuid | sixteen bytes |
//! | jsonb | a byte for the kind, then the string, number or boolean as above, or how many elements or members and each of them |
//! | array | its elements as columns, 0, how many dimensions (one byte), their lengths, their lower bounds (as integers) |
//!
//! A descending column has all its bytes inverted, tag included. The full layout with examples
//! stands in `docs/formats/key.md`.

mod read;

pub use read::{describe, take_value};

use crate::array::Array;
use crate::id::ObjectId;
use crate::json::Json;
use crate::numeric::{Numeric, Special};
use crate::value::Value;
use bigdecimal::num_bigint::Sign;

const TAG_VALUE: u8 = 1;
const TAG_NULL: u8 = 2;

/// Appends an object's prefix: every key of a table or index starts with it.
pub fn push_object(out: &mut Vec<u8>, object: ObjectId) {
    out.extend_from_slice(&object.0.to_be_bytes());
}

/// The object whose prefix `key` carries, or `None` where the key is too short to have one.
pub fn object_of(key: &[u8]) -> Option<ObjectId> {
    key.first_chunk::<4>().map(|prefix| ObjectId(u32::from_be_bytes(*prefix)))
}

/// Appends one column.
pub fn push_value(out: &mut Vec<u8>, value: &Value, descending: bool) {
    let start = out.len();
    if value.is_null() {
        out.push(TAG_NULL);
    } else {
        out.push(TAG_VALUE);
        push_body(out, value);
    }
    if descending {
        invert(&mut out[start..]);
    }
}

fn push_body(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => unreachable!("NULL has a tag of its own"),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Int(v) | Value::Time(v) | Value::Timestamp(v) => push_integer(out, *v),
        Value::Date(v) => push_integer(out, i64::from(*v)),
        Value::Float(v) => push_float(out, *v),
        Value::Numeric(v) => push_numeric(out, v),
        Value::Text(v) => push_bytes(out, v.as_bytes()),
        Value::Bytes(v) => push_bytes(out, v),
        Value::Interval(v) => {
            let length = v.comparable_micros() ^ i128::MIN;
            out.extend_from_slice(&length.to_be_bytes());
            push_integer(out, i64::from(v.months));
            push_integer(out, i64::from(v.days));
            push_integer(out, v.micros);
        }
        Value::TimeTz(v) => {
            push_integer(out, v.utc_micros());
            push_integer(out, i64::from(v.zone));
        }
        Value::Uuid(v) => out.extend_from_slice(v),
        Value::Jsonb(v) => Json::reread(v).push_key(out),
        Value::Array(v) => push_array(out, v),
    }
}

/// The byte that ends an array's elements: less than the tag of another one.
const ARRAY_END: u8 = 0;

fn push_array(out: &mut Vec<u8>, array: &Array) {
    array.elements().iter().for_each(|element| push_value(out, element, false));
    let dimensions = array.dimensions();
    // At most six dimensions.
    out.extend_from_slice(&[ARRAY_END, dimensions.len() as u8]);
    dimensions.iter().for_each(|dimension| push_integer(out, i64::from(dimension.length)));
    dimensions.iter().for_each(|dimension| push_integer(out, i64::from(dimension.lower)));
}

fn push_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&(value ^ i64::MIN).to_be_bytes());
}

fn push_float(out: &mut Vec<u8>, value: f64) {
    let bits = if value.is_nan() {
        u64::MAX
    } else {
        // Adding zero turns -0 into 0 and leaves the rest alone.
        let bits = (value + 0.0).to_bits();
        if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    };
    out.extend_from_slice(&bits.to_be_bytes());
}

pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

pub(crate) fn push_numeric(out: &mut Vec<u8>, value: &Numeric) {
    let decimal = match value {
        Numeric::Finite(decimal) => decimal,
        Numeric::Special(Special::NegativeInfinity) => return out.push(0),
        Numeric::Special(Special::Infinity) => return out.push(4),
        Numeric::Special(Special::NaN) => return out.push(5),
    };
    let (digits, scale) = decimal.normalized().into_bigint_and_exponent();
    let (sign, magnitude) = (digits.sign(), digits.magnitude().to_str_radix(10));
    match sign {
        Sign::Minus => out.push(1),
        Sign::NoSign => return out.push(2),
        Sign::Plus => out.push(3),
    }
    let start = out.len();
    // 0.d1d2d3... times ten to the exponent: of two numbers the greater exponent is the greater.
    let exponent = i64::try_from(magnitude.len()).unwrap_or(i64::MAX).saturating_sub(scale);
    push_integer(out, exponent);
    out.extend(magnitude.bytes().map(|digit| digit - b'0' + 1));
    out.push(0);
    if sign == Sign::Minus {
        invert(&mut out[start..]);
    }
}

fn invert(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}

/// The smallest key greater than every key that starts with `prefix`, or `None` where there is
/// none (the prefix is all ones).
pub fn successor_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// A half-open range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub start: Vec<u8>,
    /// Past the last key; `None` goes to the end.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// All keys that start with `prefix`.
    pub fn prefix(prefix: Vec<u8>) -> KeyRange {
        let end = successor_of_prefix(&prefix);
        KeyRange { start: prefix, end }
    }

    /// Just `key`.
    pub fn point(key: Vec<u8>) -> KeyRange {
        let mut end = key.clone();
        end.push(0);
        KeyRange { start: key, end: Some(end) }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::TimeTz;
    use crate::value::Interval;
    use std::sync::Arc;

    fn encoded(value: &Value, descending: bool) -> Vec<u8> {
        let mut out = Vec::new();
        push_value(&mut out, value, descending);
        out
    }

    fn ladders() -> Vec<Vec<Value>> {
        let numeric = |text: &str| Value::Numeric(text.parse().unwrap());
        vec![
            vec![i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX]
                .into_iter()
                .map(Value::Int)
                .collect(),
            vec![
                f64::NEG_INFINITY,
                -1.5,
                -f64::MIN_POSITIVE,
                0.0,
                1e-300,
                2.0,
                f64::INFINITY,
                f64::NAN,
            ]
            .into_iter()
            .map(Value::Float)
            .collect(),
            ["", "\0", "\0a", "a", "a\0", "aa", "b", "é"].into_iter().map(Value::from).collect(),
            [
                "-Infinity",
                "-1000",
                "-12.5",
                "-12.4",
                "-0.001",
                "0",
                "0.0009",
                "0.001",
                "1",
                "1.5",
                "10",
                "99999999999999999999",
                "Infinity",
                "NaN",
            ]
            .into_iter()
            .map(numeric)
            .collect(),
            vec![
                Value::Interval(Interval { months: -1, days: 0, micros: 0 }),
                Value::Interval(Interval::default()),
                Value::Interval(Interval { months: 0, days: 29, micros: 0 }),
                Value::Interval(Interval { months: 1, days: 1, micros: 0 }),
            ],
            [(1, -3_600), (0, 0), (1, 0), (0, 3_600), (-1, 7_200), (86_400, 0)]
                .into_iter()
                .map(|(hours, zone)| Value::TimeTz(TimeTz { micros: hours * 3_600_000_000, zone }))
                .collect(),
            vec![
                Value::array(Vec::new()),
                Value::Array(Arc::new(Array::starting_at(0, vec![Value::Int(1)]))),
                Value::array(vec![Value::Int(1)]),
                Value::array(vec![Value::Int(1), Value::Int(-5)]),
                Value::array(vec![Value::Int(2)]),
                Value::array(vec![Value::Null]),
            ],
            ["[]", "null", "\"a\"", "-1", "[[]]", "{\"a\": 1}"]
                .into_iter()
                .map(|text| Value::Jsonb(text.into()))
                .collect(),
        ]
    }

    #[test]
    fn byte_order_is_value_order() {
        for mut ladder in ladders() {
            ladder.push(Value::Null);
            for pair in ladder.windows(2) {
                let (low, high) = (&pair[0], &pair[1]);
                assert!(encoded(low, false) < encoded(high, false), "{low:?} < {high:?}");
                assert!(encoded(low, true) > encoded(high, true), "{low:?} > {high:?} descending");
            }
        }
    }

    #[test]
    fn equal_values_have_one_encoding() {
        let numeric = |text: &str| Value::Numeric(text.parse().unwrap());
        assert_eq!(encoded(&numeric("1.50"), false), encoded(&numeric("1.5"), false));
        assert_eq!(encoded(&numeric("0.00"), false), encoded(&numeric("0"), false));
        assert_eq!(encoded(&Value::Float(-0.0), false), encoded(&Value::Float(0.0), false));
    }

    #[test]
    fn a_column_is_never_a_prefix_of_another() {
        for ladder in ladders() {
            for (i, a) in ladder.iter().enumerate() {
                for (j, b) in ladder.iter().enumerate() {
                    let (a, b) = (encoded(a, false), encoded(b, false));
                    assert!(i == j || !b.starts_with(&a));
                }
            }
        }
    }

    #[test]
    fn the_successor_of_a_prefix_bounds_it() {
        assert_eq!(successor_of_prefix(&[1, 0xff]), Some(vec![2]));
        assert_eq!(successor_of_prefix(&[0xff]), None);
        let range = KeyRange::prefix(vec![1, 2]);
        assert!(
            range.contains(&[1, 2]) && range.contains(&[1, 2, 0xff]) && !range.contains(&[1, 3])
        );
        assert!(
            KeyRange::point(vec![1]).contains(&[1]) && !KeyRange::point(vec![1]).contains(&[1, 0])
        );
    }
}

//! Rows as they are stored: an rkyv archive that is read in place.
//!
//! A stored row holds every column of its table in the table's order. A row written before a
//! column was added is shorter; the reader takes the column's default. The bytes have alignment 1
//! (rkyv's `unaligned`), so they can lie anywhere in a block. Integrity comes from the checksum of
//! the block or record that carries them, never from validation at each read.

use crate::array::{Array, Dimension};
use crate::moment::TimeTz;
use crate::numeric::{Numeric, Special};
use crate::value::{Interval, Value, ValueRef};
use bigdecimal::num_bigint::BigInt;
use rkyv::{Archive, Serialize, rancor};
use std::sync::Arc;

#[derive(Archive, Serialize)]
struct StoredRow {
    values: Vec<StoredValue>,
}

/// Wide payloads are boxed, so that a stored value takes nine bytes.
#[derive(Archive, Serialize)]
enum StoredValue {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Numeric(Box<StoredNumeric>),
    Text(String),
    Bytes(Vec<u8>),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Interval(Box<StoredInterval>),
    Uuid(Box<[u8; 16]>),
    Array(Box<StoredArray>),
    Jsonb(String),
    SpecialNumeric(u16),
    TimeTz(Box<StoredTimeTz>),
}

/// An array's elements are a row of their own.
#[derive(Archive, Serialize)]
struct StoredArray {
    dimensions: Vec<StoredDimension>,
    elements: Vec<u8>,
}

#[derive(Archive, Serialize)]
struct StoredDimension {
    length: u32,
    lower: i32,
}

#[derive(Archive, Serialize)]
struct StoredNumeric {
    digits: Vec<u8>,
    scale: i64,
}

#[derive(Archive, Serialize)]
struct StoredTimeTz {
    micros: i64,
    zone: i32,
}

#[derive(Archive, Serialize)]
struct StoredInterval {
    months: i32,
    days: i32,
    micros: i64,
}

impl From<&Value> for StoredValue {
    fn from(value: &Value) -> StoredValue {
        match value {
            Value::Null => StoredValue::Null,
            Value::Bool(v) => StoredValue::Bool(*v),
            Value::Int(v) => StoredValue::Int(*v),
            Value::Float(v) => StoredValue::Float(*v),
            Value::Numeric(Numeric::Special(v)) => StoredValue::SpecialNumeric(v.code()),
            Value::Numeric(Numeric::Finite(v)) => {
                let (digits, scale) = v.as_bigint_and_exponent();
                StoredValue::Numeric(Box::new(StoredNumeric {
                    digits: digits.to_signed_bytes_le(),
                    scale,
                }))
            }
            Value::Text(v) => StoredValue::Text(v.to_string()),
            Value::Bytes(v) => StoredValue::Bytes(v.to_vec()),
            Value::Date(v) => StoredValue::Date(*v),
            Value::Time(v) => StoredValue::Time(*v),
            Value::TimeTz(v) => {
                StoredValue::TimeTz(Box::new(StoredTimeTz { micros: v.micros, zone: v.zone }))
            }
            Value::Timestamp(v) => StoredValue::Timestamp(*v),
            Value::Interval(v) => StoredValue::Interval(Box::new(StoredInterval {
                months: v.months,
                days: v.days,
                micros: v.micros,
            })),
            Value::Uuid(v) => StoredValue::Uuid(Box::new(*v)),
            Value::Jsonb(v) => StoredValue::Jsonb(v.to_string()),
            Value::Array(v) => {
                let stored = |dimension: &Dimension| StoredDimension {
                    length: dimension.length,
                    lower: dimension.lower,
                };
                StoredValue::Array(Box::new(StoredArray {
                    dimensions: v.dimensions().iter().map(stored).collect(),
                    elements: encode(v.elements()),
                }))
            }
        }
    }
}

/// Encodes a row for storage.
pub fn encode<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<u8> {
    let row = StoredRow { values: values.into_iter().map(StoredValue::from).collect() };
    rkyv::to_bytes::<rancor::Panic>(&row)
        .expect("serialising into memory has no way to fail")
        .into_vec()
}

/// A stored row, read in place.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    archived: &'a ArchivedStoredRow,
}

impl<'a> Row<'a> {
    /// Views `bytes` as a row.
    ///
    /// # Safety
    ///
    /// `bytes` must be exactly what [`encode`] returned: the storage engine hands out only bytes
    /// whose block or record checksum it has verified.
    pub unsafe fn from_bytes(bytes: &'a [u8]) -> Row<'a> {
        // SAFETY: the caller promises that the bytes are an archive made by `encode`, and the
        // archived types have alignment 1.
        Row { archived: unsafe { rkyv::access_unchecked::<ArchivedStoredRow>(bytes) } }
    }

    /// How many columns the row was written with.
    pub fn len(self) -> usize {
        self.archived.values.len()
    }

    /// Whether the row has no columns.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The column at `ordinal`, or `None` where the row is older than the column.
    pub fn get(self, ordinal: usize) -> Option<ValueRef<'a>> {
        self.archived.values.get(ordinal).map(view)
    }

    /// Every column, owned.
    pub fn to_values(self) -> Vec<Value> {
        self.archived.values.iter().map(|value| view(value).to_value()).collect()
    }
}

fn array(stored: &ArchivedStoredArray) -> Array {
    // SAFETY: `encode` made these bytes, and they lie inside a row whose bytes the maker of the
    // enclosing `Row` vouched for.
    let elements = unsafe { Row::from_bytes(&stored.elements) };
    let dimension = |stored: &ArchivedStoredDimension| Dimension {
        length: stored.length.to_native(),
        lower: stored.lower.to_native(),
    };
    Array::new(stored.dimensions.iter().map(dimension).collect(), elements.to_values())
        .expect("a stored array had a shape when it was stored")
}

fn view(value: &ArchivedStoredValue) -> ValueRef<'_> {
    match value {
        ArchivedStoredValue::Null => ValueRef::Null,
        ArchivedStoredValue::Bool(v) => ValueRef::Bool(*v),
        ArchivedStoredValue::Int(v) => ValueRef::Int(v.to_native()),
        ArchivedStoredValue::Float(v) => ValueRef::Float(v.to_native()),
        ArchivedStoredValue::Numeric(v) => ValueRef::Numeric(Numeric::new(
            BigInt::from_signed_bytes_le(&v.digits),
            v.scale.to_native(),
        )),
        ArchivedStoredValue::SpecialNumeric(v) => ValueRef::Numeric(Numeric::Special(
            Special::from_code(v.to_native()).expect("a stored code is one that `encode` wrote"),
        )),
        ArchivedStoredValue::Text(v) => ValueRef::Text(v),
        ArchivedStoredValue::Bytes(v) => ValueRef::Bytes(v),
        ArchivedStoredValue::Date(v) => ValueRef::Date(v.to_native()),
        ArchivedStoredValue::Time(v) => ValueRef::Time(v.to_native()),
        ArchivedStoredValue::TimeTz(v) => {
            ValueRef::TimeTz(TimeTz { micros: v.micros.to_native(), zone: v.zone.to_native() })
        }
        ArchivedStoredValue::Timestamp(v) => ValueRef::Timestamp(v.to_native()),
        ArchivedStoredValue::Interval(v) => ValueRef::Interval(Interval {
            months: v.months.to_native(),
            days: v.days.to_native(),
            micros: v.micros.to_native(),
        }),
        ArchivedStoredValue::Uuid(v) => ValueRef::Uuid(*v.get()),
        ArchivedStoredValue::Jsonb(v) => ValueRef::Jsonb(v),
        ArchivedStoredValue::Array(v) => ValueRef::Array(Arc::new(array(v))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_survives() {
        let values = vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Float(-0.5),
            Value::Numeric("-123456789012345678901234567890.1250".parse().unwrap()),
            Value::Numeric(Numeric::NAN),
            Value::Numeric(Numeric::INFINITY),
            Value::Numeric(Numeric::NEGATIVE_INFINITY),
            Value::from("short"),
            Value::from("a string that does not fit into the archive's inline form"),
            Value::Bytes(vec![0, 255].into()),
            Value::Date(-1),
            Value::Time(86_399_999_999),
            Value::TimeTz(TimeTz { micros: 86_400_000_000, zone: -57_599 }),
            Value::Timestamp(i64::MAX),
            Value::Interval(Interval { months: -1, days: 2, micros: 3 }),
            Value::Uuid([7; 16]),
            Value::array(vec![Value::Int(1), Value::Null, Value::from("a string, not inline")]),
            Value::Array(Arc::new(Array::starting_at(0, vec![Value::Uuid([1; 16])]))),
            Value::array(Vec::new()),
            Value::Jsonb("{\"a\": [1.50, null]}".into()),
        ];
        let bytes = encode(&values);
        // An odd offset: the archive must not depend on alignment.
        let mut shifted = vec![0];
        shifted.extend_from_slice(&bytes);
        // SAFETY: the slice is what `encode` returned.
        let row = unsafe { Row::from_bytes(&shifted[1..]) };
        assert_eq!(row.to_values(), values);
        assert!(row.get(values.len()).is_none());
        let ValueRef::Numeric(numeric) = row.get(4).unwrap() else { panic!("a numeric") };
        assert_eq!(numeric.to_string(), "-123456789012345678901234567890.1250");
    }

    #[test]
    fn small_rows_are_compact() {
        let bytes = encode(&[Value::Int(1), Value::Int(2), Value::Int(3)]);
        assert!(bytes.len() <= 3 * 9 + 8, "{} bytes", bytes.len());
    }
}

//! Values, owned and borrowed.
//!
//! A value does not carry its type's width or modifiers: every integer is an [`Value::Int`], every
//! float a [`Value::Float`], every string a [`Value::Text`]. The plan knows the exact type of each
//! column, and range and length are checked where a value is cast or stored.

use crate::archive::{Blob, Decimal, Text, Unshared};
use crate::array::Array;
use crate::json;
use crate::moment::TimeTz;
use crate::numeric::Numeric;
use rkyv::de::Pooling;
use rkyv::rancor::Source;
use rkyv::ser::{Allocator, Sharing, Writer};
use rkyv::validation::{ArchiveContext, SharedContext};
use rkyv::{Archive, Deserialize, Serialize};
use std::cmp::Ordering;
use std::sync::Arc;

/// An owned value. 24 bytes; strings and byte strings are shared, so a clone is cheap.
#[derive(Debug, Clone, Default, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub enum Value {
    /// SQL's `NULL`, of any type.
    #[default]
    Null,
    /// `boolean`
    Bool(bool),
    /// `smallint`, `integer`, `bigint`
    Int(i64),
    /// `real`, `double precision`
    Float(f64),
    /// `numeric`
    Numeric(#[rkyv(with = Decimal)] Numeric),
    /// `text`, `varchar`, `char`
    Text(#[rkyv(with = Text)] Arc<str>),
    /// `bytea`
    Bytes(#[rkyv(with = Blob)] Arc<[u8]>),
    /// Days since 2000-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// `time with time zone`
    TimeTz(TimeTz),
    /// Microseconds since 2000-01-01 00:00, of `timestamp` (local) or `timestamptz` (UTC).
    Timestamp(i64),
    /// `interval`
    Interval(Interval),
    /// `uuid`
    Uuid([u8; 16]),
    /// `jsonb`: text that [`Json`](crate::json::Json) has printed.
    Jsonb(#[rkyv(with = Text)] Arc<str>),
    /// An array of any element type.
    Array(#[rkyv(omit_bounds, with = Unshared)] Arc<Array>),
}

/// A span of time in PostgreSQL's three parts, which have no fixed ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Archive, Serialize, Deserialize)]
pub struct Interval {
    /// Whole months.
    pub months: i32,
    /// Whole days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

impl Interval {
    /// Length with 30-day months and 24-hour days: PostgreSQL compares intervals by it.
    pub fn comparable_micros(self) -> i128 {
        const DAY_MICROS: i128 = 86_400_000_000;
        (i128::from(self.months) * 30 + i128::from(self.days)) * DAY_MICROS
            + i128::from(self.micros)
    }
}

/// A value read in place, without copying strings.
#[derive(Debug, Clone)]
pub enum ValueRef<'a> {
    /// SQL's `NULL`.
    Null,
    /// `boolean`
    Bool(bool),
    /// Any integer.
    Int(i64),
    /// Any float.
    Float(f64),
    /// `numeric`
    Numeric(Numeric),
    /// A character string.
    Text(&'a str),
    /// A byte string.
    Bytes(&'a [u8]),
    /// Days since 2000-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// `time with time zone`
    TimeTz(TimeTz),
    /// Microseconds since 2000-01-01 00:00.
    Timestamp(i64),
    /// `interval`
    Interval(Interval),
    /// `uuid`
    Uuid([u8; 16]),
    /// `jsonb`
    Jsonb(&'a str),
    /// An array; shared, because its elements are not read in place.
    Array(Arc<Array>),
}

impl Value {
    /// An array of one dimension that starts at 1.
    pub fn array(elements: Vec<Value>) -> Value {
        Value::Array(Arc::new(Array::vector(elements)))
    }

    /// A string value.
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(text.into())
    }

    /// The value as text, as PostgreSQL prints it in errors: `null` for `NULL`.
    pub fn to_text(&self, data_type: crate::types::DataType) -> String {
        crate::text::to_text(&self.as_ref(), data_type).unwrap_or_else(|| "null".to_owned())
    }

    /// Whether this is `NULL`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// About how many bytes of memory the value takes, its shared string counted in full.
    pub fn memory_bytes(&self) -> usize {
        /// Digits of a `numeric` are counted by their usual size, not one by one.
        const NUMERIC_BYTES: usize = 64;
        let heap = match self {
            Value::Text(text) | Value::Jsonb(text) => text.len() + 16,
            Value::Bytes(bytes) => bytes.len() + 16,
            Value::Numeric(_) => NUMERIC_BYTES,
            Value::Array(array) => array.memory_bytes(),
            _ => 0,
        };
        size_of::<Value>() + heap
    }

    /// A borrowed view of the value.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Null => ValueRef::Null,
            Value::Bool(v) => ValueRef::Bool(*v),
            Value::Int(v) => ValueRef::Int(*v),
            Value::Float(v) => ValueRef::Float(*v),
            Value::Numeric(v) => ValueRef::Numeric(v.clone()),
            Value::Text(v) => ValueRef::Text(v),
            Value::Bytes(v) => ValueRef::Bytes(v),
            Value::Date(v) => ValueRef::Date(*v),
            Value::Time(v) => ValueRef::Time(*v),
            Value::TimeTz(v) => ValueRef::TimeTz(*v),
            Value::Timestamp(v) => ValueRef::Timestamp(*v),
            Value::Interval(v) => ValueRef::Interval(*v),
            Value::Uuid(v) => ValueRef::Uuid(*v),
            Value::Jsonb(v) => ValueRef::Jsonb(v),
            Value::Array(v) => ValueRef::Array(Arc::clone(v)),
        }
    }

    /// The order of sorting and of B-tree keys: `NULL` after everything, `NaN` after every number,
    /// numbers by value whatever their representation. Values of unrelated types order by kind, so
    /// that the order is total; the binder never compares them.
    pub fn sort_order(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => float_order(*a, *b),
            (Value::Numeric(a), Value::Numeric(b)) => a.cmp(b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Time(a), Value::Time(b)) => a.cmp(b),
            (Value::TimeTz(a), Value::TimeTz(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
            (Value::Jsonb(a), Value::Jsonb(b)) => json::text_order(a, b),
            (Value::Array(a), Value::Array(b)) => a.sort_order(b),
            (Value::Interval(a), Value::Interval(b)) => {
                a.comparable_micros().cmp(&b.comparable_micros())
            }
            (Value::Int(a), Value::Float(b)) => float_order(*a as f64, *b),
            (Value::Float(a), Value::Int(b)) => float_order(*a, *b as f64),
            (Value::Int(a), Value::Numeric(b)) => Numeric::from(*a).cmp(b),
            (Value::Numeric(a), Value::Int(b)) => a.cmp(&Numeric::from(*b)),
            _ => self.kind().cmp(&other.kind()),
        }
    }

    /// Whether the two are the same for grouping, joining and `DISTINCT`: as [`Value::sort_order`],
    /// so `NULL` groups with `NULL`.
    pub fn same(&self, other: &Value) -> bool {
        self.sort_order(other) == Ordering::Equal
    }

    fn kind(&self) -> u8 {
        match self {
            Value::Bool(_) => 0,
            Value::Int(_) => 1,
            Value::Float(_) => 2,
            Value::Numeric(_) => 3,
            Value::Text(_) => 4,
            Value::Bytes(_) => 5,
            Value::Date(_) => 6,
            Value::Time(_) => 7,
            Value::Timestamp(_) => 8,
            Value::Interval(_) => 9,
            Value::Uuid(_) => 10,
            Value::Array(_) => 11,
            Value::Jsonb(_) => 12,
            Value::TimeTz(_) => 13,
            Value::Null => u8::MAX,
        }
    }
}

/// Floats as PostgreSQL orders them: `-0 = 0`, `NaN = NaN`, `NaN` last.
pub fn float_order(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => a.partial_cmp(&b).expect("neither is NaN"),
    }
}

/// Equality of representation, for tests and caches; SQL's equality is [`Value::sort_order`].
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.kind() == other.kind() && self.same(other)
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Value {
        Value::Int(v)
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Value {
        Value::Bool(v)
    }
}

impl From<f64> for Value {
    fn from(v: f64) -> Value {
        Value::Float(v)
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Value {
        Value::text(v)
    }
}

impl From<String> for Value {
    fn from(v: String) -> Value {
        Value::text(v)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Value {
        v.map_or(Value::Null, Into::into)
    }
}

impl ValueRef<'_> {
    /// A value of its own.
    pub fn to_value(&self) -> Value {
        match self {
            ValueRef::Null => Value::Null,
            ValueRef::Bool(v) => Value::Bool(*v),
            ValueRef::Int(v) => Value::Int(*v),
            ValueRef::Float(v) => Value::Float(*v),
            ValueRef::Numeric(v) => Value::Numeric(v.clone()),
            ValueRef::Text(v) => Value::text(*v),
            ValueRef::Bytes(v) => Value::Bytes(Arc::from(*v)),
            ValueRef::Date(v) => Value::Date(*v),
            ValueRef::Time(v) => Value::Time(*v),
            ValueRef::TimeTz(v) => Value::TimeTz(*v),
            ValueRef::Timestamp(v) => Value::Timestamp(*v),
            ValueRef::Interval(v) => Value::Interval(*v),
            ValueRef::Uuid(v) => Value::Uuid(*v),
            ValueRef::Jsonb(v) => Value::Jsonb(Arc::from(*v)),
            ValueRef::Array(v) => Value::Array(Arc::clone(v)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_sorts_last_and_groups_with_itself() {
        assert_eq!(Value::Null.sort_order(&Value::Int(i64::MAX)), Ordering::Greater);
        assert!(Value::Null.same(&Value::Null));
    }

    #[test]
    fn numbers_compare_by_value() {
        let tenth: Numeric = "1.10".parse().unwrap();
        let same: Numeric = "1.1".parse().unwrap();
        assert!(Value::Numeric(tenth).same(&Value::Numeric(same)));
        assert_eq!(Value::Float(f64::NAN).sort_order(&Value::Float(1.0)), Ordering::Greater);
        assert!(Value::Float(-0.0).same(&Value::Float(0.0)));
        assert_eq!(Value::Int(2).sort_order(&Value::Float(1.5)), Ordering::Greater);
    }

    #[test]
    fn a_value_is_three_words() {
        assert_eq!(size_of::<Value>(), 24);
    }
}

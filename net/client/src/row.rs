//! Rows and values as programs see them.

use crate::Error;
use model::numeric::Numeric;
use model::value::{Interval, Value};
use net::message::Column;
use std::sync::Arc;

/// The columns of a result.
pub type Columns = Arc<[Column]>;

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    columns: Columns,
    values: Vec<Value>,
}

impl Row {
    pub(crate) fn new(columns: Columns, values: Vec<Value>) -> Row {
        Row { columns, values }
    }

    /// Its columns.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Its values.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Its values, taken out.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// The value of a column, by number (from 0) or name.
    ///
    /// # Errors
    /// There is no such column, or its value is not a `T`.
    pub fn get<T: FromValue>(&self, column: impl ColumnIndex) -> Result<T, Error> {
        let index = column
            .index(&self.columns, self.values.len())
            .ok_or_else(|| Error::Missing(column.describe()))?;
        T::from_value(&self.values[index]).ok_or_else(|| Error::Conversion {
            column: self.columns.get(index).map_or_else(|| column.describe(), |c| c.name.clone()),
            wanted: T::NAME,
            found: kind(&self.values[index]),
        })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Bool(_) => "a boolean",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Numeric(_) => "a numeric",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytea",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::TimeTz(_) => "a time with time zone",
        Value::Timestamp(_) => "a timestamp",
        Value::Interval(_) => "an interval",
        Value::Uuid(_) => "a uuid",
        Value::Jsonb(_) => "a jsonb",
        Value::Array(_) => "an array",
    }
}

/// What names a column.
pub trait ColumnIndex {
    /// Its number in a row of `width` values.
    fn index(&self, columns: &[Column], width: usize) -> Option<usize>;
    /// For an error.
    fn describe(&self) -> String;
}

impl ColumnIndex for usize {
    fn index(&self, _columns: &[Column], width: usize) -> Option<usize> {
        (*self < width).then_some(*self)
    }
    fn describe(&self) -> String {
        format!("column {self}")
    }
}

impl ColumnIndex for &str {
    fn index(&self, columns: &[Column], width: usize) -> Option<usize> {
        columns.iter().position(|column| column.name == *self).filter(|index| *index < width)
    }
    fn describe(&self) -> String {
        format!("column {self:?}")
    }
}

/// What can be a parameter.
pub trait ToValue {
    /// The value.
    fn to_value(&self) -> Value;
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// For errors.
    const NAME: &'static str;
    /// The value, if it is one.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! integers {
    ($($number:ty),*) => {$(
        impl ToValue for $number {
            fn to_value(&self) -> Value {
                Value::Int(i64::from(*self))
            }
        }
        impl FromValue for $number {
            const NAME: &'static str = stringify!($number);
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(v) => <$number>::try_from(*v).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
integers!(i8, i16, i32, i64, u8, u16, u32);

macro_rules! plain {
    ($($rust:ty => $variant:ident, $name:literal;)*) => {$(
        impl ToValue for $rust {
            fn to_value(&self) -> Value {
                Value::$variant(self.clone())
            }
        }
        impl FromValue for $rust {
            const NAME: &'static str = $name;
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(v) => Some(v.clone()),
                    _ => None,
                }
            }
        }
    )*};
}
plain! {
    bool => Bool, "a boolean";
    f64 => Float, "a float";
    Numeric => Numeric, "a numeric";
    Interval => Interval, "an interval";
    [u8; 16] => Uuid, "a uuid";
    Arc<str> => Text, "text";
}

impl FromValue for String {
    const NAME: &'static str = "text";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(v) => Some(v.to_string()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    const NAME: &'static str = "bytea";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(v) => Some(v.to_vec()),
            _ => None,
        }
    }
}

impl FromValue for Value {
    const NAME: &'static str = "a value";
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const NAME: &'static str = T::NAME;
    fn from_value(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl ToValue for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }
}

impl ToValue for f32 {
    fn to_value(&self) -> Value {
        Value::Float(f64::from(*self))
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value {
        Value::text(self)
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value {
        Value::text(self.as_str())
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value {
        Value::Bytes(self.into())
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value {
        Value::Bytes(self.as_slice().into())
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

/// The parameters of a statement: `params![7, "name", None::<i64>]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        [$($crate::ToValue::to_value(&$value)),*]
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::types::DataType;

    fn row(values: Vec<Value>) -> Row {
        let column =
            |i: usize| Column { name: format!("c{i}"), data_type: DataType::Unknown, table: None };
        Row::new((0..values.len()).map(column).collect(), values)
    }

    #[test]
    fn values_are_read_by_number_and_name() {
        let row = row(params![7, "seven", None::<i64>, 300].to_vec());
        assert_eq!(row.get::<i32>(0).unwrap(), 7);
        assert_eq!(row.get::<String>("c1").unwrap(), "seven");
        assert_eq!(row.get::<Option<i64>>(2).unwrap(), None);
        assert!(matches!(row.get::<i64>(2), Err(Error::Conversion { found: "NULL", .. })));
        assert!(matches!(row.get::<u8>(3), Err(Error::Conversion { .. })), "300 is no u8");
        assert!(matches!(row.get::<i64>(4), Err(Error::Missing(_))));
        assert!(matches!(row.get::<i64>("c9"), Err(Error::Missing(_))));
    }
}

//! The types of SQL values.

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// A column's or expression's type, with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum DataType {
    /// A literal whose type is not decided yet (`NULL`, `'text'`); the binder resolves it.
    Unknown,
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric(precision, scale)`; `None` is unconstrained.
    Numeric(Option<NumericLimits>),
    /// `text`, and `varchar` without a length.
    Text,
    /// `varchar(n)`: at most n characters.
    Varchar(u32),
    /// `char(n)`: exactly n characters, padded with spaces.
    Char(u32),
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time without time zone`
    Time,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
}

/// Declared limits of a `numeric` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub struct NumericLimits {
    /// Significant digits in all, 1 to 1000.
    pub precision: u16,
    /// Digits behind the point, 0 to `precision`.
    pub scale: u16,
}

impl DataType {
    /// Whether the type is one of the integers.
    pub fn is_integer(self) -> bool {
        matches!(self, DataType::Int2 | DataType::Int4 | DataType::Int8)
    }

    /// Whether arithmetic is defined on the type.
    pub fn is_number(self) -> bool {
        self.is_integer()
            || matches!(self, DataType::Float4 | DataType::Float8 | DataType::Numeric(_))
    }

    /// Whether values are character strings.
    pub fn is_text(self) -> bool {
        matches!(self, DataType::Text | DataType::Varchar(_) | DataType::Char(_))
    }

    /// The same type without its modifiers, as operators see it.
    pub fn base(self) -> DataType {
        match self {
            DataType::Numeric(_) => DataType::Numeric(None),
            DataType::Varchar(_) => DataType::Text,
            other => other,
        }
    }
}

/// PostgreSQL's name of the type, as `format_type` prints it.
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Unknown => f.write_str("unknown"),
            DataType::Bool => f.write_str("boolean"),
            DataType::Int2 => f.write_str("smallint"),
            DataType::Int4 => f.write_str("integer"),
            DataType::Int8 => f.write_str("bigint"),
            DataType::Float4 => f.write_str("real"),
            DataType::Float8 => f.write_str("double precision"),
            DataType::Numeric(None) => f.write_str("numeric"),
            DataType::Numeric(Some(limits)) => {
                write!(f, "numeric({},{})", limits.precision, limits.scale)
            }
            DataType::Text => f.write_str("text"),
            DataType::Varchar(n) => write!(f, "character varying({n})"),
            DataType::Char(n) => write!(f, "character({n})"),
            DataType::Bytea => f.write_str("bytea"),
            DataType::Date => f.write_str("date"),
            DataType::Time => f.write_str("time without time zone"),
            DataType::Timestamp => f.write_str("timestamp without time zone"),
            DataType::TimestampTz => f.write_str("timestamp with time zone"),
            DataType::Interval => f.write_str("interval"),
            DataType::Uuid => f.write_str("uuid"),
        }
    }
}

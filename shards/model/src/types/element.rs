//! The types that an array's elements can have.

use super::{DataType, NumericLimits, RegKind, TimeLimits};
use rkyv::{Archive, Deserialize, Serialize};

/// The type of an array's elements: the [`DataType`] of the same name, with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum ElementType {
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
    /// `numeric(precision, scale)`
    Numeric(Option<NumericLimits>),
    /// `text`
    Text,
    /// `varchar(n)`
    Varchar(u32),
    /// `char(n)`
    Char(u32),
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `time with time zone`
    TimeTz,
    /// `timestamp`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// `interval`
    Interval,
    /// `timestamp(3)` and its kin
    Limited(TimeLimits),
    /// `uuid`
    Uuid,
    /// `oid`
    Oid,
    /// `name`
    Name,
    /// `"char"`
    InternalChar,
    /// `regclass` and its kin
    Reg(RegKind),
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `int2vector`
    Int2Vector,
    /// `oidvector`
    OidVector,
}

impl ElementType {
    /// The element type that is `data_type`; `None` for arrays and what no array holds.
    pub fn of(data_type: DataType) -> Option<ElementType> {
        Some(match data_type {
            DataType::Unknown | DataType::Void | DataType::Array(_) => return None,
            DataType::Bool => ElementType::Bool,
            DataType::Int2 => ElementType::Int2,
            DataType::Int4 => ElementType::Int4,
            DataType::Int8 => ElementType::Int8,
            DataType::Float4 => ElementType::Float4,
            DataType::Float8 => ElementType::Float8,
            DataType::Numeric(m) => ElementType::Numeric(m),
            DataType::Text => ElementType::Text,
            DataType::Varchar(m) => ElementType::Varchar(m),
            DataType::Char(m) => ElementType::Char(m),
            DataType::Bytea => ElementType::Bytea,
            DataType::Date => ElementType::Date,
            DataType::Time => ElementType::Time,
            DataType::TimeTz => ElementType::TimeTz,
            DataType::Timestamp => ElementType::Timestamp,
            DataType::TimestampTz => ElementType::TimestampTz,
            DataType::Interval => ElementType::Interval,
            DataType::Limited(m) => ElementType::Limited(m),
            DataType::Uuid => ElementType::Uuid,
            DataType::Oid => ElementType::Oid,
            DataType::Name => ElementType::Name,
            DataType::InternalChar => ElementType::InternalChar,
            DataType::Reg(m) => ElementType::Reg(m),
            DataType::Json => ElementType::Json,
            DataType::Jsonb => ElementType::Jsonb,
            DataType::Int2Vector => ElementType::Int2Vector,
            DataType::OidVector => ElementType::OidVector,
        })
    }

    /// The elements' type.
    pub fn data_type(self) -> DataType {
        match self {
            ElementType::Bool => DataType::Bool,
            ElementType::Int2 => DataType::Int2,
            ElementType::Int4 => DataType::Int4,
            ElementType::Int8 => DataType::Int8,
            ElementType::Float4 => DataType::Float4,
            ElementType::Float8 => DataType::Float8,
            ElementType::Numeric(m) => DataType::Numeric(m),
            ElementType::Text => DataType::Text,
            ElementType::Varchar(m) => DataType::Varchar(m),
            ElementType::Char(m) => DataType::Char(m),
            ElementType::Bytea => DataType::Bytea,
            ElementType::Date => DataType::Date,
            ElementType::Time => DataType::Time,
            ElementType::TimeTz => DataType::TimeTz,
            ElementType::Timestamp => DataType::Timestamp,
            ElementType::TimestampTz => DataType::TimestampTz,
            ElementType::Interval => DataType::Interval,
            ElementType::Limited(m) => DataType::Limited(m),
            ElementType::Uuid => DataType::Uuid,
            ElementType::Oid => DataType::Oid,
            ElementType::Name => DataType::Name,
            ElementType::InternalChar => DataType::InternalChar,
            ElementType::Reg(m) => DataType::Reg(m),
            ElementType::Json => DataType::Json,
            ElementType::Jsonb => DataType::Jsonb,
            ElementType::Int2Vector => DataType::Int2Vector,
            ElementType::OidVector => DataType::OidVector,
        }
    }
}

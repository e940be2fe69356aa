//! The types of SQL values.
//!
//! An array's type holds its elements' type as an [`ElementType`]: every type but arrays
//! themselves, so that a [`DataType`] stays small and `Copy`. What PostgreSQL's catalog and wire
//! protocol say of a type (its oid, its length, how its modifier is written) stands in [`oid`].

mod element;
mod limits;
pub mod oid;

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

pub use element::ElementType;
pub use limits::{IntervalFields, SECOND_DIGITS_MAX, TimeLimits, TimeType};

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
    /// `time with time zone`
    TimeTz,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// `interval`
    Interval,
    /// `timestamp(3)`, `interval year to month` and their kin.
    Limited(TimeLimits),
    /// `uuid`
    Uuid,
    /// `oid`: an object's number, 32 bits without a sign.
    Oid,
    /// `name`: an identifier, at most [`NAME_BYTES_MAX`] bytes.
    Name,
    /// `"char"`: at most one byte, PostgreSQL's own catalog's.
    InternalChar,
    /// `regclass` and its kin: an oid that reads and prints as its object's name.
    Reg(RegKind),
    /// `json`: text that has been checked to be JSON.
    Json,
    /// `jsonb`: what JSON means, without how it was written.
    Jsonb,
    /// `void`: what a function without a result answers.
    Void,
    /// `int2vector`: an array of `smallint` from 0, with a text form of its own.
    Int2Vector,
    /// `oidvector`: an array of `oid` from 0, with a text form of its own.
    OidVector,
    /// `type[]`, of any number of dimensions.
    Array(ElementType),
}

/// Longest value of type `name` in bytes, as in PostgreSQL.
pub const NAME_BYTES_MAX: usize = 63;

/// What kind of object the oid of a `reg*` type names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum RegKind {
    /// `regclass`: relations.
    Class,
    /// `regtype`: types.
    Type,
    /// `regproc`: functions by name.
    Proc,
    /// `regprocedure`: functions with their arguments.
    Procedure,
    /// `regnamespace`: schemas.
    Namespace,
    /// `regrole`: roles.
    Role,
    /// `regcollation`: collations.
    Collation,
    /// `regoper`: operators by name.
    Oper,
    /// `regoperator`: operators with their operands.
    Operator,
}

impl RegKind {
    /// All of them.
    pub const ALL: [RegKind; 9] = [
        RegKind::Class,
        RegKind::Type,
        RegKind::Proc,
        RegKind::Procedure,
        RegKind::Namespace,
        RegKind::Role,
        RegKind::Collation,
        RegKind::Oper,
        RegKind::Operator,
    ];

    /// The type's name.
    pub fn name(self) -> &'static str {
        match self {
            RegKind::Class => "regclass",
            RegKind::Type => "regtype",
            RegKind::Proc => "regproc",
            RegKind::Procedure => "regprocedure",
            RegKind::Namespace => "regnamespace",
            RegKind::Role => "regrole",
            RegKind::Collation => "regcollation",
            RegKind::Oper => "regoper",
            RegKind::Operator => "regoperator",
        }
    }
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
        matches!(
            self,
            DataType::Text
                | DataType::Varchar(_)
                | DataType::Char(_)
                | DataType::Name
                | DataType::InternalChar
        )
    }

    /// Whether values are oids: `oid` itself and the `reg*` types.
    pub fn is_oid(self) -> bool {
        matches!(self, DataType::Oid | DataType::Reg(_))
    }

    /// The type of an array's elements; `None` of what is no array.
    pub fn element(self) -> Option<DataType> {
        match self {
            DataType::Array(element) => Some(element.data_type()),
            DataType::Int2Vector => Some(DataType::Int2),
            DataType::OidVector => Some(DataType::Oid),
            _ => None,
        }
    }

    /// The type of arrays of this type; `None` where there is none.
    pub fn array(self) -> Option<DataType> {
        ElementType::of(self).map(DataType::Array)
    }

    /// The same type without its modifiers, as operators see it.
    pub fn base(self) -> DataType {
        match self {
            DataType::Numeric(_) => DataType::Numeric(None),
            DataType::Varchar(_) => DataType::Text,
            DataType::Limited(limits) => limits.data_type(),
            DataType::Array(ElementType::Limited(limits)) => {
                limits.data_type().array().unwrap_or(self)
            }
            DataType::Array(ElementType::Numeric(_)) => DataType::Array(ElementType::Numeric(None)),
            DataType::Array(ElementType::Varchar(_)) => DataType::Array(ElementType::Text),
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
            DataType::TimeTz => f.write_str("time with time zone"),
            DataType::Timestamp => f.write_str("timestamp without time zone"),
            DataType::TimestampTz => f.write_str("timestamp with time zone"),
            DataType::Interval => f.write_str("interval"),
            DataType::Limited(limits) => write!(f, "{limits}"),
            DataType::Uuid => f.write_str("uuid"),
            DataType::Oid => f.write_str("oid"),
            DataType::Name => f.write_str("name"),
            DataType::InternalChar => f.write_str("\"char\""),
            DataType::Reg(kind) => f.write_str(kind.name()),
            DataType::Json => f.write_str("json"),
            DataType::Jsonb => f.write_str("jsonb"),
            DataType::Void => f.write_str("void"),
            DataType::Int2Vector => f.write_str("int2vector"),
            DataType::OidVector => f.write_str("oidvector"),
            DataType::Array(element) => write!(f, "{}[]", element.data_type()),
        }
    }
}

//! Type names.

use model::error::{SqlError, SqlState};
use model::types::{DataType, NumericLimits, RegKind, oid};
use sqlparser::ast::{self, CharacterLength, ExactNumberInfo, TimezoneInfo};

/// Longest `varchar(n)` and `char(n)`, as in PostgreSQL.
const LENGTH_MAX: u64 = 10_485_760;
/// Most digits a `numeric(p, s)` can declare, as in PostgreSQL.
const PRECISION_MAX: u64 = 1_000;

/// The type that a type name means. `DOUBLE` and `STRING`, which PostgreSQL does not know, mean
/// `double precision` and `text`.
pub fn data_type(name: &ast::DataType) -> Result<DataType, SqlError> {
    use ast::DataType as Ast;
    Ok(match name {
        Ast::Bool | Ast::Boolean => DataType::Bool,
        Ast::SmallInt(None) | Ast::Int2(None) => DataType::Int2,
        Ast::Int(None) | Ast::Integer(None) | Ast::Int4(None) => DataType::Int4,
        Ast::BigInt(None) | Ast::Int8(None) => DataType::Int8,
        Ast::Real | Ast::Float4 => DataType::Float4,
        Ast::DoublePrecision | Ast::Double(ExactNumberInfo::None) | Ast::Float8 => DataType::Float8,
        Ast::Float(precision) => float(precision)?,
        Ast::Numeric(limits) | Ast::Decimal(limits) | Ast::Dec(limits) => {
            DataType::Numeric(numeric_limits(limits)?)
        }
        Ast::Text | Ast::String(None) => DataType::Text,
        Ast::Varchar(length) | Ast::CharacterVarying(length) | Ast::CharVarying(length) => {
            length_of(length)?.map_or(DataType::Text, DataType::Varchar)
        }
        Ast::Char(length) | Ast::Character(length) => {
            DataType::Char(length_of(length)?.unwrap_or(1))
        }
        Ast::Bytea => DataType::Bytea,
        Ast::Date => DataType::Date,
        Ast::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            to_microseconds(name, *precision, DataType::Time)?
        }
        Ast::Time(precision, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            to_microseconds(name, *precision, DataType::TimeTz)?
        }
        Ast::Timestamp(precision, zone) => {
            let plain = match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => DataType::Timestamp,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => DataType::TimestampTz,
            };
            to_microseconds(name, *precision, plain)?
        }
        Ast::Interval { fields: None, precision } => {
            to_microseconds(name, *precision, DataType::Interval)?
        }
        Ast::Uuid => DataType::Uuid,
        Ast::Regclass => DataType::Reg(RegKind::Class),
        Ast::JSON => DataType::Json,
        Ast::JSONB => DataType::Jsonb,
        Ast::Array(
            ast::ArrayElemTypeDef::SquareBracket(element, _)
            | ast::ArrayElemTypeDef::Qualified(element, _),
        ) => array_of(data_type(element)?)?,
        Ast::Custom(name, modifiers) if modifiers.is_empty() => custom(&name.to_string())?,
        other => return Err(unknown(&other.to_string())),
    })
}

/// What a cast is to.
pub struct CastType {
    /// The type.
    pub data_type: DataType,
    /// Where fewer digits behind the second are to be left than the type has: the function that does
    /// it, and how many they are.
    pub cut: Option<(&'static str, i64)>,
}

/// What a type's name means in a cast.
pub fn cast_type(name: &ast::DataType) -> Result<CastType, SqlError> {
    use ast::DataType as Ast;
    let mut plain = name.clone();
    let digits = match &mut plain {
        Ast::Time(precision, _)
        | Ast::Timestamp(precision, _)
        | Ast::Interval { precision, .. } => precision.take(),
        _ => None,
    };
    let Some(digits) = digits.filter(|digits| *digits < SECOND_DIGITS) else {
        return Ok(CastType { data_type: data_type(name)?, cut: None });
    };
    let data_type = data_type(&plain)?;
    let function = match data_type {
        DataType::Time => "time",
        DataType::TimeTz => "timetz",
        DataType::Timestamp => "timestamp",
        DataType::TimestampTz => "timestamptz",
        _ => "interval",
    };
    Ok(CastType { data_type, cut: Some((function, digits as i64)) })
}

/// Digits behind the second that times have.
const SECOND_DIGITS: u64 = 6;

/// More digits than there are mean all of them, as in PostgreSQL; columns of fewer there are not.
fn to_microseconds(
    name: &ast::DataType,
    precision: Option<u64>,
    plain: DataType,
) -> Result<DataType, SqlError> {
    match precision {
        Some(digits) if digits < SECOND_DIGITS => {
            Err(SqlError::unsupported(format!("the type {}", name.to_string().to_lowercase()))
                .hint(format!("Use {plain}, which keeps microseconds, and cast what is shown.")))
        }
        _ => Ok(plain),
    }
}

/// However many brackets there are, the type is the same, as in PostgreSQL.
fn array_of(element: DataType) -> Result<DataType, SqlError> {
    match element {
        DataType::Array(_) => Ok(element),
        _ => element.array().ok_or_else(|| unknown(&format!("{element}[]"))),
    }
}

fn custom(name: &str) -> Result<DataType, SqlError> {
    let lower = name.to_lowercase();
    let schema = ["pg_catalog.", "\"pg_catalog\"."];
    let bare = schema.iter().find_map(|schema| lower.strip_prefix(schema)).unwrap_or(&lower);
    if bare == "\"char\"" {
        return Ok(DataType::InternalChar);
    }
    // An internal name may stand in quotes too.
    let bare = bare.trim_matches('"');
    if let Some(entry) = oid::TYPES.iter().find(|entry| entry.name == bare && bare != "char") {
        return oid::from_oid(entry.oid, -1).ok_or_else(|| unknown(name));
    }
    if let Some(element) = bare.strip_prefix('_')
        && let Some(entry) = oid::TYPES.iter().find(|entry| entry.name == element)
    {
        return oid::from_oid(entry.array_oid, -1).ok_or_else(|| unknown(name));
    }
    match bare {
        "jsonb" => Err(SqlError::unsupported("the type jsonb")),
        "integer" | "int" => Ok(DataType::Int4),
        "smallint" => Ok(DataType::Int2),
        "bigint" => Ok(DataType::Int8),
        "boolean" => Ok(DataType::Bool),
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(
        SqlState::UNDEFINED_OBJECT,
        format!("type \"{}\" does not exist", name.to_lowercase()),
    )
}

fn float(precision: &ExactNumberInfo) -> Result<DataType, SqlError> {
    match precision {
        ExactNumberInfo::None => Ok(DataType::Float8),
        ExactNumberInfo::Precision(1..=24) => Ok(DataType::Float4),
        ExactNumberInfo::Precision(25..=53) => Ok(DataType::Float8),
        _ => Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "precision for type float must be between 1 and 53 bits",
        )),
    }
}

fn numeric_limits(limits: &ExactNumberInfo) -> Result<Option<NumericLimits>, SqlError> {
    let (precision, scale) = match *limits {
        ExactNumberInfo::None => return Ok(None),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if !(1..=PRECISION_MAX).contains(&precision) {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("NUMERIC precision {precision} must be between 1 and {PRECISION_MAX}"),
        ));
    }
    if !(0..=precision as i64).contains(&scale) {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("NUMERIC scale {scale} must be between 0 and precision {precision}"),
        ));
    }
    Ok(Some(NumericLimits { precision: precision as u16, scale: scale as u16 }))
}

fn length_of(length: &Option<CharacterLength>) -> Result<Option<u32>, SqlError> {
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length, .. })
            if (1..=LENGTH_MAX).contains(length) =>
        {
            Ok(Some(*length as u32))
        }
        Some(_) => Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("the length of a character type must be between 1 and {LENGTH_MAX}"),
        )),
    }
}

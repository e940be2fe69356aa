//! Type names.

use model::error::{SqlError, SqlState};
use model::types::{
    DataType, IntervalFields, NumericLimits, RegKind, SECOND_DIGITS_MAX, TimeLimits, TimeType, oid,
};
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
            of_digits(TimeType::Time, *precision)
        }
        Ast::Time(precision, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            of_digits(TimeType::TimeTz, *precision)
        }
        Ast::Timestamp(precision, zone) => {
            let of = match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => TimeType::Timestamp,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => TimeType::TimestampTz,
            };
            of_digits(of, *precision)
        }
        Ast::Interval { fields, precision } => {
            let fields = fields.as_ref().map_or(IntervalFields::All, interval_fields);
            interval_of(fields, *precision)?
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

/// A type of times of at most so many digits behind the second; more than there are mean all of
/// them, as in PostgreSQL.
fn of_digits(of: TimeType, digits: Option<u64>) -> DataType {
    match digits {
        None => of.data_type(),
        Some(digits) => DataType::Limited(TimeLimits::digits(of, bounded(digits))),
    }
}

fn bounded(digits: u64) -> u8 {
    digits.min(u64::from(SECOND_DIGITS_MAX)) as u8
}

/// `interval`, of some fields and at most so many digits.
fn interval_of(fields: IntervalFields, digits: Option<u64>) -> Result<DataType, SqlError> {
    match (fields, digits) {
        (IntervalFields::All, None) => Ok(DataType::Interval),
        (fields, Some(_)) if !fields.have_seconds() => {
            Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"(\""))
        }
        (fields, digits) => Ok(DataType::Limited(TimeLimits::fields(fields, digits.map(bounded)))),
    }
}

fn interval_fields(fields: &ast::IntervalFields) -> IntervalFields {
    use ast::IntervalFields as Ast;
    match fields {
        Ast::Year => IntervalFields::Year,
        Ast::Month => IntervalFields::Month,
        Ast::Day => IntervalFields::Day,
        Ast::Hour => IntervalFields::Hour,
        Ast::Minute => IntervalFields::Minute,
        Ast::Second => IntervalFields::Second,
        Ast::YearToMonth => IntervalFields::YearToMonth,
        Ast::DayToHour => IntervalFields::DayToHour,
        Ast::DayToMinute => IntervalFields::DayToMinute,
        Ast::DayToSecond => IntervalFields::DayToSecond,
        Ast::HourToMinute => IntervalFields::HourToMinute,
        Ast::HourToSecond => IntervalFields::HourToSecond,
        Ast::MinuteToSecond => IntervalFields::MinuteToSecond,
    }
}

/// The type of an interval literal with fields behind it: `INTERVAL '1-2' YEAR TO MONTH`.
pub fn interval_type(interval: &ast::Interval) -> Result<DataType, SqlError> {
    use ast::DateTimeField as Field;
    let fields = match (&interval.leading_field, &interval.last_field) {
        (None, None) => IntervalFields::All,
        (Some(Field::Year), None) => IntervalFields::Year,
        (Some(Field::Month), None) => IntervalFields::Month,
        (Some(Field::Day), None) => IntervalFields::Day,
        (Some(Field::Hour), None) => IntervalFields::Hour,
        (Some(Field::Minute), None) => IntervalFields::Minute,
        (Some(Field::Second), None) => IntervalFields::Second,
        (Some(Field::Year), Some(Field::Month)) => IntervalFields::YearToMonth,
        (Some(Field::Day), Some(Field::Hour)) => IntervalFields::DayToHour,
        (Some(Field::Day), Some(Field::Minute)) => IntervalFields::DayToMinute,
        (Some(Field::Day), Some(Field::Second)) => IntervalFields::DayToSecond,
        (Some(Field::Hour), Some(Field::Minute)) => IntervalFields::HourToMinute,
        (Some(Field::Hour), Some(Field::Second)) => IntervalFields::HourToSecond,
        (Some(Field::Minute), Some(Field::Second)) => IntervalFields::MinuteToSecond,
        (Some(field), None) | (_, Some(field)) => {
            let near = field.to_string().to_lowercase();
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                format!("syntax error at or near \"{near}\""),
            ));
        }
    };
    let precisions = [interval.leading_precision, interval.fractional_seconds_precision];
    interval_of(fields, precisions.into_iter().flatten().next())
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

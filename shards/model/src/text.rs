//! How values are printed: PostgreSQL's output functions, with its default settings
//! (`DateStyle` ISO, `IntervalStyle` postgres, `bytea_output` hex, time zone UTC).
//!
//! The type decides where the value alone does not: `real` prints fewer digits than
//! `double precision`, `timestamptz` has a zone. Casts to text, error messages, the shell and the
//! exports all print through here.

use crate::array::Array;
use crate::moment::{self, DAY_MICROS};
use crate::types::DataType;
use crate::value::{Interval, Value, ValueRef};
use std::fmt::{self, Write};

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
pub const POSTGRES_EPOCH_DAYS: i64 = 10_957;

/// Appends `value`, a value of `data_type`, to `out`; NULL appends nothing.
pub fn push_text(out: &mut String, value: &ValueRef<'_>, data_type: DataType) {
    // Writing to a String cannot fail.
    let _infallible: fmt::Result = write_text(out, value, data_type);
}

/// As [`push_text`], into a string of its own; `None` for NULL.
pub fn to_text(value: &ValueRef<'_>, data_type: DataType) -> Option<String> {
    if matches!(value, ValueRef::Null) {
        return None;
    }
    let mut out = String::new();
    push_text(&mut out, value, data_type);
    Some(out)
}

/// Values printed for errors are cut to so many bytes, as PostgreSQL does.
const SHOWN_BYTES_MAX: usize = 64;

/// A value as errors show it: cut where it is long, and `null`.
pub fn shown(value: &Value, data_type: DataType) -> String {
    let Some(text) = to_text(&value.as_ref(), data_type) else { return "null".to_owned() };
    match text.floor_char_boundary(SHOWN_BYTES_MAX) {
        end if end < text.len() => format!("{}...", &text[..end]),
        _ => text,
    }
}

fn write_text(out: &mut String, value: &ValueRef<'_>, data_type: DataType) -> fmt::Result {
    match value {
        ValueRef::Null => Ok(()),
        ValueRef::Bool(truth) => out.write_str(if *truth { "t" } else { "f" }),
        // No object: what PostgreSQL prints for an oid of 0 that names something.
        ValueRef::Int(0) if matches!(data_type, DataType::Reg(_)) => out.write_char('-'),
        ValueRef::Int(number) => write!(out, "{number}"),
        ValueRef::Float(number) if data_type == DataType::Float4 => {
            write_float(out, &format!("{:e}", *number as f32), FLOAT4_DIGITS)
        }
        ValueRef::Float(number) => write_float(out, &format!("{number:e}"), FLOAT8_DIGITS),
        ValueRef::Numeric(number) => write!(out, "{number}"),
        ValueRef::Text(text) | ValueRef::Jsonb(text) => out.write_str(text),
        ValueRef::Bytes(bytes) => write_bytes(out, bytes),
        ValueRef::Date(moment::DATE_INFINITY) | ValueRef::Timestamp(moment::TIMESTAMP_INFINITY) => {
            out.write_str("infinity")
        }
        ValueRef::Date(moment::DATE_MINUS_INFINITY)
        | ValueRef::Timestamp(moment::TIMESTAMP_MINUS_INFINITY) => out.write_str("-infinity"),
        ValueRef::Date(days) => {
            let era = write_date(out, i64::from(*days))?;
            out.write_str(era)
        }
        ValueRef::Time(micros) => write_time(out, *micros),
        ValueRef::TimeTz(time) => {
            write_time(out, time.micros)?;
            write_zone(out, time.zone)
        }
        ValueRef::Timestamp(micros) => {
            let era = write_date(out, micros.div_euclid(DAY_MICROS))?;
            out.write_char(' ')?;
            write_time(out, micros.rem_euclid(DAY_MICROS))?;
            if data_type.base() == DataType::TimestampTz {
                out.write_str("+00")?;
            }
            out.write_str(era)
        }
        ValueRef::Interval(interval) => write_interval(out, *interval),
        ValueRef::Uuid(bytes) => write_uuid(out, bytes),
        ValueRef::Array(array) => write_array(out, array, data_type),
    }
}

/// From this decimal exponent on numbers print with one (`FLT_DIG`, `DBL_DIG`).
const FLOAT4_DIGITS: i32 = 6;
const FLOAT8_DIGITS: i32 = 15;

/// `scientific` is the shortest form that reads back, as Rust's `{:e}` prints it.
fn write_float(out: &mut String, scientific: &str, digits_max: i32) -> fmt::Result {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return out.write_str(match scientific {
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            other => other,
        });
    };
    let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.write_str(sign)?;
    if !(-4..digits_max).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
    }
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if exponent < 0 {
        let zeros = (-exponent - 1) as usize;
        return write!(out, "0.{}{digits}", "0".repeat(zeros));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return write!(out, "{digits}{}", "0".repeat(whole - digits.len()));
    }
    write!(out, "{}.{}", &digits[..whole], &digits[whole..])
}

fn write_array(out: &mut String, array: &Array, data_type: DataType) -> fmt::Result {
    let element = data_type.element().unwrap_or(DataType::Text);
    if matches!(data_type, DataType::Int2Vector | DataType::OidVector) {
        for (position, value) in array.elements().iter().enumerate() {
            if position > 0 {
                out.write_char(' ')?;
            }
            write_text(out, &value.as_ref(), element)?;
        }
        return Ok(());
    }
    if array.elements().is_empty() {
        return out.write_str("{}");
    }
    if array.dimensions().iter().any(|dimension| dimension.lower != 1) {
        for dimension in array.dimensions() {
            write!(out, "[{}:{}]", dimension.lower, dimension.upper())?;
        }
        out.write_char('=')?;
    }
    // After how many elements a brace of each dimension closes, outermost first.
    let mut spans: Vec<usize> = Vec::with_capacity(array.dimensions().len());
    for dimension in array.dimensions().iter().rev() {
        spans.insert(0, spans.first().copied().unwrap_or(1) * dimension.length as usize);
    }
    for (position, value) in array.elements().iter().enumerate() {
        if position > 0 {
            out.write_char(',')?;
        }
        spans
            .iter()
            .filter(|span| position.is_multiple_of(**span))
            .try_for_each(|_| out.write_char('{'))?;
        write_element(out, value, element)?;
        spans
            .iter()
            .filter(|span| (position + 1).is_multiple_of(**span))
            .try_for_each(|_| out.write_char('}'))?;
    }
    Ok(())
}

fn write_element(out: &mut String, value: &Value, data_type: DataType) -> fmt::Result {
    let Some(text) = to_text(&value.as_ref(), data_type) else { return out.write_str("NULL") };
    let is_special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || is_array_space(c);
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(is_special) {
        return out.write_str(&text);
    }
    out.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.write_char('\\')?;
        }
        out.write_char(c)?;
    }
    out.write_char('"')
}

/// What an array's text form takes for a space.
pub fn is_array_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn write_bytes(out: &mut String, bytes: &[u8]) -> fmt::Result {
    out.write_str("\\x")?;
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

fn write_uuid(out: &mut String, bytes: &[u8; 16]) -> fmt::Result {
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            out.write_char('-')?;
        }
        write!(out, "{byte:02x}")?;
    }
    Ok(())
}

/// Writes the day and gives what stands at the very end: ` BC` for the years before 1.
fn write_date(out: &mut String, days: i64) -> Result<&'static str, fmt::Error> {
    let (year, month, day) = civil_from_days(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    write!(out, "{year:04}-{month:02}-{day:02}")?;
    Ok(era)
}

/// Writes microseconds since midnight (or of a span shorter than a day) without a sign.
fn write_time(out: &mut String, micros: i64) -> fmt::Result {
    let seconds = micros / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    let fraction = micros % 1_000_000;
    if fraction == 0 {
        return Ok(());
    }
    let digits = format!("{fraction:06}");
    write!(out, ".{}", digits.trim_end_matches('0'))
}

/// `+02`, `-03:30`, `+00:19:32`; the zone is in seconds west.
fn write_zone(out: &mut String, zone: i32) -> fmt::Result {
    let seconds = zone.unsigned_abs();
    let sign = if zone > 0 { '-' } else { '+' };
    write!(out, "{sign}{:02}", seconds / 3_600)?;
    if !seconds.is_multiple_of(3_600) {
        write!(out, ":{:02}", seconds / 60 % 60)?;
    }
    if !seconds.is_multiple_of(60) {
        write!(out, ":{:02}", seconds % 60)?;
    }
    Ok(())
}

/// `1 year 2 mons 3 days 04:05:06.7`; a part that follows a negative one shows its plus.
fn write_interval(out: &mut String, interval: Interval) -> fmt::Result {
    let parts =
        [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")];
    let mut separator = "";
    let mut negative_before = false;
    for (number, unit) in parts.into_iter().filter(|(number, _)| *number != 0) {
        let plus = if negative_before && number > 0 { "+" } else { "" };
        let plural = if number == 1 { "" } else { "s" };
        write!(out, "{separator}{plus}{number} {unit}{plural}")?;
        separator = " ";
        negative_before = number < 0;
    }
    if interval.micros != 0 || separator.is_empty() {
        let sign = match interval.micros {
            ..0 => "-",
            _ if negative_before => "+",
            _ => "",
        };
        write!(out, "{separator}{sign}")?;
        write_span(out, interval.micros.unsigned_abs())?;
    }
    Ok(())
}

/// Hours are not limited to a day.
fn write_span(out: &mut String, micros: u64) -> fmt::Result {
    match i64::try_from(micros) {
        Ok(micros) => write_time(out, micros),
        // The one span whose absolute value does not fit: i64::MIN.
        Err(_) => out.write_str("2562047788:00:54.775808"),
    }
}

/// Year, month and day of a number of days since 2000-01-01, in the proleptic Gregorian calendar
/// with a year 0 (which is 1 BC). Howard Hinnant's algorithm, "chrono-compatible low-level date
/// algorithms".
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + POSTGRES_EPOCH_DAYS + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month =
        if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`]. Month and day must be those of a real date.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 - POSTGRES_EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::TimeTz;

    fn check(value: Value, data_type: DataType, expected: &str) {
        assert_eq!(to_text(&value.as_ref(), data_type).as_deref(), Some(expected));
    }

    #[test]
    fn plain_values() {
        check(Value::Bool(true), DataType::Bool, "t");
        check(Value::Int(i64::MIN), DataType::Int8, "-9223372036854775808");
        check(Value::text("a\nb"), DataType::Text, "a\nb");
        check(Value::Bytes([0, 255].as_slice().into()), DataType::Bytea, "\\x00ff");
        let uuid = [
            0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38,
            0x0a, 0x11,
        ];
        check(Value::Uuid(uuid), DataType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        assert_eq!(to_text(&ValueRef::Null, DataType::Text), None);
    }

    /// The expected texts are PostgreSQL 17's.
    #[test]
    fn floats() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-1234.5, "-1234.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (123456789012345.67, "123456789012345.67"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ] {
            check(Value::Float(number), DataType::Float8, expected);
        }
        check(Value::Float(f64::from(0.1_f32)), DataType::Float4, "0.1");
        check(Value::Float(1e6), DataType::Float4, "1e+06");
        check(Value::Float(123456.0), DataType::Float4, "123456");
    }

    #[test]
    fn dates_and_times() {
        for (days, expected) in [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (-1, "1999-12-31"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (2_921_939, "9999-12-31"),
            (2_921_940, "10000-01-01"),
        ] {
            check(Value::Date(days), DataType::Date, expected);
        }
        check(Value::Time(86_399_999_999), DataType::Time, "23:59:59.999999");
        check(Value::Time(86_400_000_000), DataType::Time, "24:00:00");
        for (zone, expected) in
            [(0, "00:00:01+00"), (-19_800, "00:00:01+05:30"), (28_378, "00:00:01-07:52:58")]
        {
            let time = TimeTz { micros: 1_000_000, zone };
            check(Value::TimeTz(time), DataType::TimeTz, expected);
        }
        check(Value::Timestamp(-1), DataType::Timestamp, "1999-12-31 23:59:59.999999");
        check(Value::Timestamp(1_500_000), DataType::TimestampTz, "2000-01-01 00:00:01.5+00");
        check(
            Value::Timestamp(-730_120 * DAY_MICROS),
            DataType::TimestampTz,
            "0001-12-31 00:00:00+00 BC",
        );
    }

    #[test]
    fn every_day_of_a_long_time_reads_back() {
        for days in (-800_000..800_000).step_by(7) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn intervals() {
        for (months, days, micros, expected) in [
            (0, 0, 0, "00:00:00"),
            (14, 3, 14_706_700_000, "1 year 2 mons 3 days 04:05:06.7"),
            (-1, 1, 0, "-1 mons +1 day"),
            (0, -1, 3_600_000_000, "-1 days +01:00:00"),
            (0, 0, -1, "-00:00:00.000001"),
            (24, 0, 0, "2 years"),
            (0, 0, 360_000_000_000, "100:00:00"),
            (0, 0, i64::MIN, "-2562047788:00:54.775808"),
        ] {
            check(Value::Interval(Interval { months, days, micros }), DataType::Interval, expected);
        }
    }
}

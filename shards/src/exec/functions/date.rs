//! Functions of dates and times. The session's time zone is UTC.

use super::{Call, Function};
use crate::exec::decimal;
use crate::exec::evaluate::temporal::days_in_month;
use model::error::{SqlError, SqlState};
use model::moment::{self, DAY_MICROS};
use model::numeric::Numeric;
use model::text::{POSTGRES_EPOCH_DAYS, civil_from_days, days_from_civil};
use model::types::DataType::{
    self, Date, Float8, Int4, Interval as Span, Text, Time, TimeTz, Timestamp, TimestampTz,
};
use model::value::{Interval, Value};

const HOUR_MICROS: i64 = 3_600_000_000;
const MINUTE_MICROS: i64 = 60_000_000;
const SECOND_MICROS: i64 = 1_000_000;
const EXACT: DataType = DataType::Numeric(None);

const fn now(name: &'static str, result: DataType, body: super::Body) -> Function {
    Function::new(name, &[], result, body).stable()
}

pub(super) const FUNCTIONS: &[Function] = &[
    now("now", TimestampTz, |c| Ok(Value::Timestamp(c.context.now_micros))),
    now("current_timestamp", TimestampTz, |c| Ok(Value::Timestamp(c.context.now_micros))),
    now("transaction_timestamp", TimestampTz, |c| Ok(Value::Timestamp(c.context.now_micros))),
    now("statement_timestamp", TimestampTz, |c| Ok(Value::Timestamp(c.context.now_micros))),
    Function::new("clock_timestamp", &[], TimestampTz, |_| Ok(Value::Timestamp(clock_micros())))
        .volatile(),
    now("localtimestamp", Timestamp, |c| Ok(Value::Timestamp(c.context.now_micros))),
    now("current_date", Date, |c| {
        Ok(Value::Date(c.context.now_micros.div_euclid(DAY_MICROS) as i32))
    }),
    now("localtime", Time, |c| Ok(Value::Time(c.context.now_micros.rem_euclid(DAY_MICROS)))),
    Function::new("extract", &[Text, Timestamp], EXACT, extract),
    Function::new("extract", &[Text, TimestampTz], EXACT, extract),
    Function::new("extract", &[Text, Date], EXACT, extract),
    Function::new("extract", &[Text, Time], EXACT, extract),
    Function::new("extract", &[Text, TimeTz], EXACT, extract),
    Function::new("extract", &[Text, Span], EXACT, extract),
    Function::new("date_part", &[Text, Timestamp], Float8, date_part),
    Function::new("date_part", &[Text, TimestampTz], Float8, date_part),
    Function::new("date_part", &[Text, Date], Float8, date_part),
    Function::new("date_part", &[Text, Time], Float8, date_part),
    Function::new("date_part", &[Text, TimeTz], Float8, date_part),
    Function::new("date_part", &[Text, Span], Float8, date_part),
    Function::new("date_trunc", &[Text, Timestamp], Timestamp, date_trunc),
    Function::new("date_trunc", &[Text, TimestampTz], TimestampTz, date_trunc),
    Function::new("date_trunc", &[Text, Span], Span, date_trunc),
    Function::new("age", &[Timestamp, Timestamp], Span, |c| age(moment(c, 0)?, moment(c, 1)?)),
    Function::new("age", &[TimestampTz, TimestampTz], Span, |c| age(moment(c, 0)?, moment(c, 1)?)),
    Function::new("age", &[Timestamp], Span, |c| age(today(c), moment(c, 0)?)).stable(),
    Function::new("age", &[TimestampTz], Span, |c| age(today(c), moment(c, 0)?)).stable(),
    Function::new("make_date", &[Int4, Int4, Int4], Date, make_date),
    Function::new("to_timestamp", &[Float8], TimestampTz, |c| {
        let seconds = c.float(0)?;
        if seconds.is_nan() {
            return Err(SqlError::new(
                SqlState::DATETIME_FIELD_OVERFLOW,
                "timestamp cannot be NaN",
            ));
        }
        if seconds.is_infinite() {
            return Ok(Value::Timestamp(match seconds > 0.0 {
                true => moment::TIMESTAMP_INFINITY,
                false => moment::TIMESTAMP_MINUS_INFINITY,
            }));
        }
        let micros = (seconds * 1e6).round_ties_even();
        if !(-2e17..=9e18).contains(&micros) {
            return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range"));
        }
        Ok(Value::Timestamp(micros as i64 - POSTGRES_EPOCH_DAYS * DAY_MICROS))
    }),
];

/// The wall clock in microseconds since 2000-01-01 00:00 UTC.
pub fn clock_micros() -> i64 {
    let since_unix = runtime::time::wall_clock().as_nanos() / 1_000;
    since_unix as i64 - POSTGRES_EPOCH_DAYS * DAY_MICROS
}

fn moment(call: &Call<'_>, at: usize) -> Result<i64, SqlError> {
    match call.values.get(at) {
        Some(Value::Timestamp(micros)) => Ok(*micros),
        _ => Err(call.mistyped(at)),
    }
}

fn today(call: &Call<'_>) -> i64 {
    call.context.now_micros.div_euclid(DAY_MICROS) * DAY_MICROS
}

/// 0A000 for a field that other types have, 22023 for what is none.
fn unknown_unit(unit: &str, data_type: DataType) -> SqlError {
    let known = UNITS.contains(&singular(unit));
    let (state, what) = match known {
        true => (SqlState::FEATURE_NOT_SUPPORTED, "supported"),
        false => (SqlState::INVALID_PARAMETER_VALUE, "recognized"),
    };
    SqlError::new(state, format!("unit \"{unit}\" not {what} for type {}", data_type.base()))
}

/// What fields there are, of one type or another.
const UNITS: [&str; 25] = [
    "microsecond",
    "usec",
    "millisecond",
    "msec",
    "second",
    "sec",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
    "epoch",
    "julian",
    "dow",
    "doy",
    "isodow",
    "isoyear",
    "timezone",
    "timezone_hour",
    "timezone_minute",
];

fn singular(unit: &str) -> &str {
    unit.strip_suffix('s').filter(|unit| unit.len() > 2).unwrap_or(unit)
}

/// A field as a number and its scale: seconds have six digits behind the point.
fn field(call: &Call<'_>) -> Result<(i64, u32), SqlError> {
    let unit = call.text(0)?.to_ascii_lowercase();
    let zoneless = call.types[1].base() == Timestamp && unit.starts_with("timezone");
    field_of(&unit, &call.values[1])
        .filter(|_| !zoneless)
        .ok_or_else(|| unknown_unit(&unit, call.types[1]))
}

fn field_of(unit: &str, value: &Value) -> Option<(i64, u32)> {
    let unit = singular(unit);
    match value {
        Value::Timestamp(micros) => of_timestamp(unit, *micros),
        Value::Date(days) => of_day(unit, i64::from(*days)).map(|value| (value, 0)),
        Value::Time(micros) => of_clock(unit, *micros),
        Value::TimeTz(time) => of_zoned_clock(unit, *time),
        Value::Interval(interval) => of_interval(unit, *interval),
        _ => None,
    }
}

fn of_timestamp(unit: &str, micros: i64) -> Option<(i64, u32)> {
    let days = micros.div_euclid(DAY_MICROS);
    if unit == "epoch" {
        return Some((micros.checked_add(POSTGRES_EPOCH_DAYS * DAY_MICROS)?, 6));
    }
    if unit.starts_with("timezone") {
        return Some((0, 0));
    }
    of_day(unit, days)
        .map(|value| (value, 0))
        .or_else(|| of_clock(unit, micros.rem_euclid(DAY_MICROS)))
}

fn of_clock(unit: &str, micros: i64) -> Option<(i64, u32)> {
    Some(match unit {
        "hour" => (micros / HOUR_MICROS, 0),
        "minute" => (micros / MINUTE_MICROS % 60, 0),
        "second" | "sec" => (micros % MINUTE_MICROS, 6),
        "millisecond" | "msec" => (micros % MINUTE_MICROS, 3),
        "microsecond" | "usec" => (micros % MINUTE_MICROS, 0),
        "epoch" => (micros, 6),
        _ => return None,
    })
}

fn of_zoned_clock(unit: &str, time: moment::TimeTz) -> Option<(i64, u32)> {
    let east = -i64::from(time.zone);
    match unit {
        "timezone" => Some((east, 0)),
        "timezone_hour" => Some((east / 3_600, 0)),
        "timezone_minute" => Some((east % 3_600 / 60, 0)),
        "epoch" => Some((time.utc_micros(), 6)),
        _ => of_clock(unit, time.micros),
    }
}

fn of_day(unit: &str, days: i64) -> Option<i64> {
    let (year, month, day) = civil_from_days(days);
    let shown_year = if year > 0 { year } else { year - 1 };
    // 2000-01-01 was a Saturday.
    let weekday = (days + 6).rem_euclid(7);
    Some(match unit {
        "year" => shown_year,
        "month" => i64::from(month),
        "day" => i64::from(day),
        "quarter" => i64::from((month - 1) / 3 + 1),
        "decade" => year.div_euclid(10),
        "century" => {
            if year > 0 {
                (year + 99) / 100
            } else {
                -((99 - (year - 1)) / 100)
            }
        }
        "millennium" => {
            if year > 0 {
                (year + 999) / 1000
            } else {
                -((999 - (year - 1)) / 1000)
            }
        }
        "dow" => weekday,
        "isodow" => {
            if weekday == 0 {
                7
            } else {
                weekday
            }
        }
        "doy" => days - days_from_civil(year, 1, 1) + 1,
        "week" => iso_week(days).1,
        "isoyear" => iso_week(days).0,
        "julian" => days + 2_451_545,
        "epoch" => (days + POSTGRES_EPOCH_DAYS) * 86_400,
        _ => return None,
    })
}

/// ISO 8601's year and week: the week belongs to the year of its Thursday.
fn iso_week(days: i64) -> (i64, i64) {
    let weekday = (days + 5).rem_euclid(7);
    let thursday = days - weekday + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

fn of_interval(unit: &str, interval: Interval) -> Option<(i64, u32)> {
    let (months, micros) = (i64::from(interval.months), interval.micros);
    Some(match unit {
        "year" => (months / 12, 0),
        "month" => (months % 12, 0),
        "quarter" => (months % 12 / 3 + 1, 0),
        "decade" => (months / 120, 0),
        "century" => (months / 1_200, 0),
        "millennium" => (months / 12_000, 0),
        "day" => (i64::from(interval.days), 0),
        "hour" => (micros / HOUR_MICROS, 0),
        "minute" => (micros / MINUTE_MICROS % 60, 0),
        "second" => (micros % MINUTE_MICROS, 6),
        "millisecond" => (micros % MINUTE_MICROS, 3),
        "microsecond" => (micros % MINUTE_MICROS, 0),
        "epoch" => {
            // A year has 365.25 days here, a month thirty.
            let day_quarters =
                months / 12 * 1_461 + (months % 12 * 30 + i64::from(interval.days)) * 4;
            (day_quarters.checked_mul(DAY_MICROS / 4)?.checked_add(micros)?, 6)
        }
        _ => return None,
    })
}

/// The sign of a date or timestamp that is infinite.
fn infinity(value: &Value) -> Option<&'static str> {
    match value {
        Value::Date(moment::DATE_INFINITY) | Value::Timestamp(moment::TIMESTAMP_INFINITY) => {
            Some("")
        }
        Value::Date(moment::DATE_MINUS_INFINITY)
        | Value::Timestamp(moment::TIMESTAMP_MINUS_INFINITY) => Some("-"),
        _ => None,
    }
}

/// Whether the field of an infinite moment is infinite; the others have no value.
fn grows_forever(call: &Call<'_>) -> Result<bool, SqlError> {
    // Whether there is such a field does not depend on the moment.
    let finite = match &call.values[1] {
        Value::Date(_) => Value::Date(0),
        _ => Value::Timestamp(0),
    };
    let unit = call.text(0)?.to_ascii_lowercase();
    field_of(&unit, &finite).ok_or_else(|| unknown_unit(&unit, call.types[1]))?;
    let unit = unit.strip_suffix('s').unwrap_or(&unit);
    let endless = ["year", "decade", "century", "millennium", "julian", "isoyear", "epoch"];
    Ok(endless.contains(&unit))
}

fn extract(call: &Call<'_>) -> Result<Value, SqlError> {
    if let Some(sign) = infinity(&call.values[1]) {
        return match grows_forever(call)? {
            true if sign == "-" => Ok(Value::Numeric(Numeric::NEGATIVE_INFINITY)),
            true => Ok(Value::Numeric(Numeric::INFINITY)),
            false => Ok(Value::Null),
        };
    }
    let (value, scale) = field(call)?;
    Ok(Value::Numeric(Numeric::new(value.into(), i64::from(scale))))
}

fn date_part(call: &Call<'_>) -> Result<Value, SqlError> {
    if let Some(sign) = infinity(&call.values[1]) {
        return Ok(match grows_forever(call)? {
            true => Value::Float(if sign == "-" { f64::NEG_INFINITY } else { f64::INFINITY }),
            false => Value::Null,
        });
    }
    let (value, scale) = field(call)?;
    decimal::to_f64(&Numeric::new(value.into(), i64::from(scale))).map(Value::Float)
}

fn date_trunc(call: &Call<'_>) -> Result<Value, SqlError> {
    let unit = call.text(0)?.to_ascii_lowercase();
    let unit = unit.strip_suffix('s').unwrap_or(&unit);
    let clock = match unit {
        "microsecond" => Some(1),
        "millisecond" => Some(1_000),
        "second" => Some(SECOND_MICROS),
        "minute" => Some(MINUTE_MICROS),
        "hour" => Some(HOUR_MICROS),
        _ => None,
    };
    let months: Option<i64> = match unit {
        "month" => Some(1),
        "quarter" => Some(3),
        "year" => Some(12),
        "decade" => Some(120),
        "century" => Some(1_200),
        "millennium" => Some(12_000),
        _ => None,
    };
    let unknown = || unknown_unit(unit, call.types[1]);
    match &call.values[1] {
        Value::Interval(interval) => {
            let cut = match (clock, months) {
                (Some(clock), _) => {
                    Interval { micros: interval.micros / clock * clock, ..*interval }
                }
                (None, Some(months)) => {
                    let months = months as i32;
                    Interval { months: interval.months / months * months, days: 0, micros: 0 }
                }
                (None, None) if unit == "day" => Interval { micros: 0, ..*interval },
                _ => return Err(unknown()),
            };
            Ok(Value::Interval(cut))
        }
        Value::Timestamp(micros) if !moment::is_finite_timestamp(*micros) => {
            Ok(Value::Timestamp(*micros))
        }
        Value::Timestamp(micros) => {
            if let Some(clock) = clock {
                return Ok(Value::Timestamp(micros.div_euclid(clock) * clock));
            }
            let days = micros.div_euclid(DAY_MICROS);
            let day = match (unit, months) {
                ("day", _) => days,
                ("week", _) => days - (days + 5).rem_euclid(7),
                (_, Some(months)) => first_day(days, months),
                _ => return Err(unknown()),
            };
            Ok(Value::Timestamp(day * DAY_MICROS))
        }
        _ => Err(call.mistyped(1)),
    }
}

/// The first day of the span of `months` that the day lies in; centuries begin with year 1.
fn first_day(days: i64, months: i64) -> i64 {
    let (year, month, _) = civil_from_days(days);
    let shift = if months >= 1_200 { 12 } else { 0 };
    let count = year * 12 + i64::from(month) - 1 - shift;
    let first = count.div_euclid(months) * months + shift;
    days_from_civil(first.div_euclid(12), first.rem_euclid(12) as u32 + 1, 1)
}

/// `later - earlier` in years, months, days and time.
fn age(later: i64, earlier: i64) -> Result<Value, SqlError> {
    if !moment::is_finite_timestamp(later) || !moment::is_finite_timestamp(earlier) {
        return Err(SqlError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            "cannot subtract infinite timestamps",
        ));
    }
    if later < earlier {
        let Value::Interval(i) = age(earlier, later)? else {
            return Err(SqlError::internal("an age that is no interval"));
        };
        return Ok(Value::Interval(Interval {
            months: -i.months,
            days: -i.days,
            micros: -i.micros,
        }));
    }
    let split = |micros: i64| {
        let (year, month, day) = civil_from_days(micros.div_euclid(DAY_MICROS));
        (year * 12 + i64::from(month), i64::from(day), micros.rem_euclid(DAY_MICROS))
    };
    let ((m1, d1, t1), (m2, d2, t2)) = (split(later), split(earlier));
    let (mut months, mut days, mut micros) = (m1 - m2, d1 - d2, t1 - t2);
    if micros < 0 {
        micros += DAY_MICROS;
        days -= 1;
    }
    if days < 0 {
        // Days borrowed from a month are the earlier date's month's, as PostgreSQL counts them.
        let (year, month, _) = civil_from_days(earlier.div_euclid(DAY_MICROS));
        days += i64::from(days_in_month(year, month));
        months -= 1;
    }
    let months = i32::try_from(months)
        .map_err(|_| SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))?;
    let interval = Interval { months, days: days as i32, micros };
    Ok(Value::Interval(interval))
}

fn make_date(call: &Call<'_>) -> Result<Value, SqlError> {
    let (year, month, day) = (call.int(0)?, call.int(1)?, call.int(2)?);
    let refused = || {
        SqlError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            format!("date field value out of range: {year}-{month:02}-{day:02}"),
        )
    };
    let civil_year = if year < 0 { year + 1 } else { year };
    let month = u32::try_from(month).ok().filter(|m| (1..=12).contains(m)).ok_or_else(refused)?;
    if year == 0 || !(-4_713..=5_874_897).contains(&year) {
        return Err(refused());
    }
    let day = u32::try_from(day)
        .ok()
        .filter(|d| (1..=days_in_month(civil_year, month)).contains(d))
        .ok_or_else(refused)?;
    Ok(Value::Date(days_from_civil(civil_year, month, day) as i32))
}

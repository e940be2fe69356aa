//! Arithmetic of dates, times, timestamps and intervals.

use super::arithmetic::undefined;
use crate::exec::decimal;
use model::error::{SqlError, SqlState};
use model::expression::BinaryOperator;
use model::moment::{
    DATE_INFINITY, DATE_MINUS_INFINITY, DAY_MICROS, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY,
    TimeTz, date_of_days, is_finite_date, is_finite_timestamp, timestamp_of_micros,
};
use model::text::{civil_from_days, days_from_civil};
use model::value::{Interval, Value};

const DAY_SECONDS: f64 = 86_400.0;

fn overflow(what: &'static str) -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, what)
}

/// One operation; neither operand is null.
pub(super) fn value(
    operator: BinaryOperator,
    left: &Value,
    right: &Value,
) -> Result<Value, SqlError> {
    use BinaryOperator::{Add, Divide, Multiply, Subtract};
    match (operator, left, right) {
        (Add, Value::Date(days), Value::Int(n)) | (Add, Value::Int(n), Value::Date(days)) => {
            shift_date(*days, *n)
        }
        (Subtract, Value::Date(days), Value::Int(n)) => shift_date(*days, -n),
        (Subtract, Value::Date(a), Value::Date(b))
            if !(is_finite_date(*a) && is_finite_date(*b)) =>
        {
            Err(overflow("cannot subtract infinite dates"))
        }
        (Subtract, Value::Date(a), Value::Date(b)) => Ok(Value::Int(i64::from(*a) - i64::from(*b))),
        (Add, Value::Timestamp(t), Value::Interval(i))
        | (Add, Value::Interval(i), Value::Timestamp(t)) => {
            add_interval(*t, *i).map(Value::Timestamp)
        }
        (Subtract, Value::Timestamp(t), Value::Interval(i)) => {
            add_interval(*t, negate(*i)?).map(Value::Timestamp)
        }
        (Subtract, Value::Timestamp(a), Value::Timestamp(b)) => {
            if !(is_finite_timestamp(*a) && is_finite_timestamp(*b)) {
                return Err(overflow("cannot subtract infinite timestamps"));
            }
            let micros = a.checked_sub(*b).ok_or_else(|| overflow("interval out of range"))?;
            let days = (micros / DAY_MICROS) as i32;
            Ok(Value::Interval(Interval { months: 0, days, micros: micros % DAY_MICROS }))
        }
        (Subtract, Value::Time(a), Value::Time(b)) => {
            Ok(Value::Interval(Interval { months: 0, days: 0, micros: a - b }))
        }
        (Add, Value::Time(t), Value::Interval(i)) | (Add, Value::Interval(i), Value::Time(t)) => {
            Ok(Value::Time((t + i.micros % DAY_MICROS).rem_euclid(DAY_MICROS)))
        }
        (Subtract, Value::Time(t), Value::Interval(i)) => {
            Ok(Value::Time((t - i.micros % DAY_MICROS).rem_euclid(DAY_MICROS)))
        }
        (Add, Value::TimeTz(t), Value::Interval(i))
        | (Add, Value::Interval(i), Value::TimeTz(t)) => {
            Ok(Value::TimeTz(shift_time_tz(*t, i.micros)))
        }
        // Less than a day, so that it has a negation.
        (Subtract, Value::TimeTz(t), Value::Interval(i)) => {
            Ok(Value::TimeTz(shift_time_tz(*t, -(i.micros % DAY_MICROS))))
        }
        (Add, Value::Date(d), Value::TimeTz(t)) | (Add, Value::TimeTz(t), Value::Date(d)) => {
            moment_of(*d, *t)
        }
        (Add, Value::Interval(a), Value::Interval(b)) => sum(*a, *b).map(Value::Interval),
        (Subtract, Value::Interval(a), Value::Interval(b)) => {
            sum(*a, negate(*b)?).map(Value::Interval)
        }
        (Multiply, Value::Interval(i), Value::Float(factor))
        | (Multiply, Value::Float(factor), Value::Interval(i)) => {
            scale(*i, *factor).map(Value::Interval)
        }
        (Divide, Value::Interval(_), Value::Float(0.0)) => Err(decimal::division_by_zero()),
        (Divide, Value::Interval(i), Value::Float(divisor)) => {
            scale(*i, 1.0 / divisor).map(Value::Interval)
        }
        _ => Err(undefined()),
    }
}

/// The clock goes on in its zone; days are nothing to it.
fn shift_time_tz(time: TimeTz, micros: i64) -> TimeTz {
    let micros = (time.micros + micros % DAY_MICROS).rem_euclid(DAY_MICROS);
    TimeTz { micros, ..time }
}

/// The instant at which the clock of its zone shows the time on this day.
fn moment_of(days: i32, time: TimeTz) -> Result<Value, SqlError> {
    let micros = match days {
        DATE_INFINITY => Some(TIMESTAMP_INFINITY),
        DATE_MINUS_INFINITY => Some(TIMESTAMP_MINUS_INFINITY),
        days => i64::from(days)
            .checked_mul(DAY_MICROS)
            .and_then(|micros| micros.checked_add(time.utc_micros()))
            .and_then(timestamp_of_micros),
    };
    micros.map(Value::Timestamp).ok_or_else(|| overflow("date out of range for timestamp"))
}

fn shift_date(days: i32, by: i64) -> Result<Value, SqlError> {
    if !is_finite_date(days) {
        return Ok(Value::Date(days));
    }
    i64::from(days)
        .checked_add(by)
        .and_then(date_of_days)
        .map(Value::Date)
        .ok_or_else(|| overflow("date out of range"))
}

/// `timestamp + interval`: months first (the day clamped to the month's last), then days, then
/// time.
pub fn add_interval(micros: i64, interval: Interval) -> Result<i64, SqlError> {
    if !is_finite_timestamp(micros) {
        return Ok(micros);
    }
    let out_of_range = || overflow("timestamp out of range");
    let mut days = micros.div_euclid(DAY_MICROS);
    let time = micros.rem_euclid(DAY_MICROS);
    if interval.months != 0 {
        let (year, month, day) = civil_from_days(days);
        let months = year * 12 + i64::from(month) - 1 + i64::from(interval.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        days = days_from_civil(year, month, day.min(days_in_month(year, month)));
    }
    days.checked_add(i64::from(interval.days))
        .and_then(|days| days.checked_mul(DAY_MICROS))
        .and_then(|micros| micros.checked_add(time))
        .and_then(|micros| micros.checked_add(interval.micros))
        .and_then(timestamp_of_micros)
        .ok_or_else(out_of_range)
}

/// How many days the month has.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    (days_from_civil(next_year, next_month, 1) - days_from_civil(year, month, 1)) as u32
}

fn negate(interval: Interval) -> Result<Interval, SqlError> {
    let out_of_range = || overflow("interval out of range");
    Ok(Interval {
        months: interval.months.checked_neg().ok_or_else(out_of_range)?,
        days: interval.days.checked_neg().ok_or_else(out_of_range)?,
        micros: interval.micros.checked_neg().ok_or_else(out_of_range)?,
    })
}

/// `a + b`, part by part.
pub fn sum(a: Interval, b: Interval) -> Result<Interval, SqlError> {
    let out_of_range = || overflow("interval out of range");
    Ok(Interval {
        months: a.months.checked_add(b.months).ok_or_else(out_of_range)?,
        days: a.days.checked_add(b.days).ok_or_else(out_of_range)?,
        micros: a.micros.checked_add(b.micros).ok_or_else(out_of_range)?,
    })
}

/// `interval * factor`: fractions of months become days of which there are thirty, fractions of
/// days become time.
pub fn scale(interval: Interval, factor: f64) -> Result<Interval, SqlError> {
    let out_of_range = || overflow("interval out of range");
    let to_micro_precision = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor;
    let fits = |value: f64| value.is_finite() && value.abs() <= f64::from(i32::MAX);
    if !fits(months) || !fits(days) {
        return Err(out_of_range());
    }
    let month_days = to_micro_precision((months - months.trunc()) * 30.0);
    let mut whole_days = days.trunc() + month_days.trunc();
    let mut seconds =
        to_micro_precision((days - days.trunc() + month_days - month_days.trunc()) * DAY_SECONDS);
    if seconds.abs() >= DAY_SECONDS {
        whole_days += (seconds / DAY_SECONDS).trunc();
        seconds %= DAY_SECONDS;
    }
    let micros = (interval.micros as f64 * factor + seconds * 1e6).round_ties_even();
    if !fits(whole_days) || micros.abs() >= 9.2e18 || micros.is_nan() {
        return Err(out_of_range());
    }
    Ok(Interval { months: months.trunc() as i32, days: whole_days as i32, micros: micros as i64 })
}

//! Intervals: `1 year 2 months 3 days 04:05:06`, `1-2`, ISO 8601 durations, `ago`.

use model::error::{SqlError, SqlState};
use model::types::IntervalFields;
use model::value::Interval;

const SECOND_MICROS: f64 = 1_000_000.0;

#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
}

/// A unit's size in one of the three parts, and what a fraction of it spills into.
#[derive(Clone, Copy)]
enum Unit {
    Months(i64),
    Days(i64),
    Micros(i64),
}

/// Reads an interval. A number without a unit counts the last of the fields, and a time of two parts
/// ends with it where they are minutes and seconds. Errors 22007, 22015 (as 22008).
pub fn parse_interval(text: &str, fields: IntervalFields) -> Result<Interval, SqlError> {
    let invalid = || {
        SqlError::new(
            SqlState::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type interval: \"{text}\""),
        )
    };
    let lower = text.to_ascii_lowercase();
    let sum = match lower.strip_prefix('p') {
        Some(iso) => read_iso(iso),
        None => read_verbose(&lower, fields),
    };
    let sum = sum.ok_or_else(invalid)?;
    let part = |value: i64| {
        i32::try_from(value).map_err(|_| {
            SqlError::new(
                SqlState::DATETIME_FIELD_OVERFLOW,
                format!("interval field value out of range: \"{text}\""),
            )
        })
    };
    Ok(Interval { months: part(sum.months)?, days: part(sum.days)?, micros: sum.micros })
}

impl Sum {
    /// Adds `amount` units. Fractions of months become days (30 a month), of days become time.
    fn add(&mut self, amount: f64, unit: Unit) -> Option<()> {
        if !amount.is_finite() || amount.abs() > 9e15 {
            return None;
        }
        let (whole, fraction) = (amount.trunc() as i64, amount.fract());
        match unit {
            Unit::Months(12..) => {
                let Unit::Months(size) = unit else { return None };
                let months = (fraction * size as f64).round() as i64;
                self.months =
                    self.months.checked_add(whole.checked_mul(size)?)?.checked_add(months)?;
            }
            Unit::Months(size) => {
                self.months = self.months.checked_add(whole.checked_mul(size)?)?;
                self.add(fraction * 30.0, Unit::Days(1))
                    .filter(|()| fraction != 0.0)
                    .or(Some(()))?;
            }
            Unit::Days(size) => {
                let days = amount * size as f64;
                self.days = self.days.checked_add(days.trunc() as i64)?;
                let micros = (days.fract() * 86_400.0 * SECOND_MICROS).round() as i64;
                self.micros = self.micros.checked_add(micros)?;
            }
            Unit::Micros(size) => {
                let part = (fraction * size as f64).round() as i64;
                self.micros =
                    self.micros.checked_add(whole.checked_mul(size)?)?.checked_add(part)?;
            }
        }
        Some(())
    }

    fn negate(&mut self) -> Option<()> {
        self.months = self.months.checked_neg()?;
        self.days = self.days.checked_neg()?;
        self.micros = self.micros.checked_neg()?;
        Some(())
    }
}

fn unit_of(name: &str) -> Option<Unit> {
    Some(match name {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" => Unit::Micros(1),
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Unit::Micros(1_000),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(1_000_000),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(60_000_000),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(3_600_000_000),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1_200),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000),
        _ => return None,
    })
}

/// The unit of a number that has none.
fn last_unit(fields: IntervalFields) -> Unit {
    use IntervalFields as F;
    match fields {
        F::Year => Unit::Months(12),
        F::Month | F::YearToMonth => Unit::Months(1),
        F::Day => Unit::Days(1),
        F::Hour | F::DayToHour => Unit::Micros(3_600_000_000),
        F::Minute | F::HourToMinute | F::DayToMinute => Unit::Micros(60_000_000),
        F::All | F::Second | F::DayToSecond | F::HourToSecond | F::MinuteToSecond => {
            Unit::Micros(1_000_000)
        }
    }
}

fn read_verbose(lower: &str, fields: IntervalFields) -> Option<Sum> {
    let mut sum = Sum::default();
    let mut pending: Option<f64> = None;
    let mut anything = false;
    for word in lower.split_ascii_whitespace() {
        if word == "@" {
            continue;
        }
        if word == "ago" {
            sum.negate()?;
            continue;
        }
        anything = true;
        if word.contains(':') {
            if let Some(days) = pending.take() {
                sum.add(days, Unit::Days(1))?;
            }
            sum.micros = sum.micros.checked_add(clock(word, fields)?)?;
            continue;
        }
        if let Some(amount) = pending {
            // Before the hours that are the last field stand the days.
            let of_hours = matches!(fields, IntervalFields::Hour | IntervalFields::DayToHour);
            if let Some(hours) = plain_number(word).filter(|_| of_hours) {
                sum.add(amount, Unit::Days(1))?;
                pending = Some(hours);
                continue;
            }
            if let Some(unit) = unit_of(word) {
                sum.add(amount, unit)?;
                pending = None;
                continue;
            }
            return None;
        }
        if let Some(months) = year_month(word) {
            sum.months = sum.months.checked_add(months)?;
            continue;
        }
        let split = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
        let (amount, unit) = word.split_at(split);
        let amount = plain_number(amount)?;
        if unit.is_empty() {
            pending = Some(amount);
        } else {
            sum.add(amount, unit_of(unit)?)?;
        }
    }
    if let Some(amount) = pending {
        sum.add(amount, last_unit(fields))?;
    }
    anything.then_some(sum)
}

/// A decimal number without the words and exponents that `f64` would read too.
fn plain_number(text: &str) -> Option<f64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'))
        .then(|| text.parse().ok())?
}

/// `[-]hh:mm[:ss[.ffffff]]`, and `[-]mm:ss.ffffff`, which it is without a fraction too where the fields
/// are minutes and seconds.
fn clock(word: &str, fields: IntervalFields) -> Option<i64> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let of_minutes = fields == IntervalFields::MinuteToSecond || digits.contains('.');
    let filled = format!("0:{digits}");
    let two_parts = digits.matches(':').count() == 1;
    let mut parts = if two_parts && of_minutes { filled.split(':') } else { digits.split(':') };
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok().filter(|m| (0..60).contains(m))?;
    let seconds = parts.next().map_or(Some(0.0), plain_number)?;
    if parts.next().is_some() || !(0.0..61.0).contains(&seconds) || hours < 0 {
        return None;
    }
    let micros = hours
        .checked_mul(3_600_000_000)?
        .checked_add(minutes * 60_000_000)?
        .checked_add((seconds * SECOND_MICROS).round() as i64)?;
    Some(sign * micros)
}

/// SQL's `years-months`.
fn year_month(word: &str) -> Option<i64> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, word),
    };
    let (years, months) = digits.split_once('-')?;
    let (years, months): (i64, i64) = (years.parse().ok()?, months.parse().ok()?);
    (0..12).contains(&months).then_some(())?;
    Some(sign * years.checked_mul(12)?.checked_add(months)?)
}

/// What follows the `P` of an ISO 8601 duration.
fn read_iso(iso: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let mut in_time = false;
    let mut rest = iso;
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('t') {
            in_time = true;
            rest = time;
            continue;
        }
        let at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let amount = plain_number(&rest[..at])?;
        let unit = match (&rest[at..=at], in_time) {
            ("y", false) => Unit::Months(12),
            ("m", false) => Unit::Months(1),
            ("w", false) => Unit::Days(7),
            ("d", false) => Unit::Days(1),
            ("h", true) => Unit::Micros(3_600_000_000),
            ("m", true) => Unit::Micros(60_000_000),
            ("s", true) => Unit::Micros(1_000_000),
            _ => return None,
        };
        sum.add(amount, unit)?;
        rest = &rest[at + 1..];
    }
    (!iso.is_empty()).then_some(sum)
}

//! Time zones: `AT TIME ZONE`, and the time of day with a zone. The session's zone is UTC; of others
//! those are known that are a number of hours.

use super::{Call, Function};
use crate::exec::seconds::round;
use model::error::{SqlError, SqlState};
use model::moment::{self, DAY_MICROS, timestamp_of_micros};
use model::types::DataType::{self, Int4, Interval as Span, Text, TimeTz, Timestamp, TimestampTz};
use model::value::Value;

const SECOND_MICROS: i64 = 1_000_000;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("current_time", &[], TimeTz, |c| Ok(current_time(c, 6))).stable(),
    Function::new("current_time", &[Int4], TimeTz, |c| Ok(current_time(c, c.int(0)?))).stable(),
    Function::new("timezone", &[Text, Timestamp], TimestampTz, |c| shift(c, 1, by_name(c)?)),
    Function::new("timezone", &[Text, TimestampTz], Timestamp, |c| shift(c, -1, by_name(c)?)),
    Function::new("timezone", &[Text, TimeTz], TimeTz, |c| turn(c, by_name(c)?)),
    Function::new("timezone", &[Span, Timestamp], TimestampTz, |c| shift(c, 1, by_span(c)?)),
    Function::new("timezone", &[Span, TimestampTz], Timestamp, |c| shift(c, -1, by_span(c)?)),
    Function::new("timezone", &[Span, TimeTz], TimeTz, |c| turn(c, by_span(c)?)),
];

fn current_time(call: &Call<'_>, digits: i64) -> Value {
    let micros = round(call.context.now_micros.rem_euclid(DAY_MICROS), digits);
    Value::TimeTz(moment::TimeTz { micros, zone: 0 })
}

/// What a clock `west` seconds from UTC shows becomes an instant where `direction` is 1, and an
/// instant what it shows where it is -1.
fn shift(call: &Call<'_>, direction: i64, west: i32) -> Result<Value, SqlError> {
    match call.values.get(1) {
        Some(Value::Timestamp(micros)) if moment::is_finite_timestamp(*micros) => micros
            .checked_add(direction * i64::from(west) * SECOND_MICROS)
            .and_then(timestamp_of_micros)
            .map(Value::Timestamp)
            .ok_or_else(|| {
                SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
            }),
        Some(Value::Timestamp(infinite)) => Ok(Value::Timestamp(*infinite)),
        _ => Err(call.mistyped(1)),
    }
}

fn turn(call: &Call<'_>, west: i32) -> Result<Value, SqlError> {
    match call.values.get(1) {
        Some(Value::TimeTz(time)) => Ok(Value::TimeTz(time.at_zone(west))),
        _ => Err(call.mistyped(1)),
    }
}

/// Seconds west of UTC that a span east is; 22023 where it is more than a time of day.
fn by_span(call: &Call<'_>) -> Result<i32, SqlError> {
    let Some(Value::Interval(span)) = call.values.first() else { return Err(call.mistyped(0)) };
    let shown = || call.values[0].to_text(DataType::Interval);
    if span.months != 0 || span.days != 0 {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("interval time zone \"{}\" must not include months or days", shown()),
        ));
    }
    i32::try_from(-(span.micros / SECOND_MICROS))
        .ok()
        .filter(|zone| moment::is_zone(*zone))
        .ok_or_else(|| {
            SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("interval time zone \"{}\" out of range", shown()),
            )
        })
}

/// Seconds west of UTC of a zone that is named; 22023 where it is not known.
fn by_name(call: &Call<'_>) -> Result<i32, SqlError> {
    let name = call.text(0)?;
    west_of(&name.to_ascii_lowercase()).ok_or_else(|| {
        SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("time zone \"{name}\" not recognized"),
        )
    })
}

/// A name of UTC, or the rule that POSIX has for a zone without summer time: letters, then how far
/// it is west of UTC.
fn west_of(name: &str) -> Option<i32> {
    if matches!(name, "utc" | "gmt" | "ut" | "uct" | "z" | "zulu" | "universal" | "greenwich") {
        return Some(0);
    }
    if matches!(name, "etc/utc" | "etc/gmt" | "etc/uct" | "etc/universal" | "etc/zulu") {
        return Some(0);
    }
    let clock = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let (sign, clock) = match clock.strip_prefix(['+', '-']) {
        Some(digits) => (if clock.starts_with('-') { -1 } else { 1 }, digits),
        None => (1, clock),
    };
    let mut seconds = 0;
    for (at, part) in clock.split(':').enumerate() {
        let limit = if at == 0 { 24 * 7 } else { 60 };
        let number: i32 =
            part.parse().ok().filter(|n| part.len() <= 3 && (0..limit).contains(n))?;
        seconds += number * *[3_600, 60, 1].get(at)?;
    }
    moment::is_zone(seconds).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::west_of;

    #[test]
    fn zones_are_hours_west() {
        for (name, west) in [
            ("utc", Some(0)),
            ("utc+3", Some(10_800)),
            ("gmt-05:30", Some(-19_800)),
            ("+02", Some(7_200)),
            ("3", Some(10_800)),
            ("<x>3", None),
            ("utc+", None),
            ("utc+1:60", None),
            ("europe/prague", None),
            ("", None),
        ] {
            assert_eq!(west_of(name), west, "{name}");
        }
    }
}

//! `to_char` of dates and times.

use super::{Call, Function};
use model::error::SqlError;
use model::text::{civil_from_days, days_from_civil};
use model::types::DataType::{Text, Timestamp, TimestampTz};
use model::value::Value;

const DAY_MICROS: i64 = 86_400_000_000;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("to_char", &[Timestamp, Text], Text, to_char).stable(),
    Function::new("to_char", &[TimestampTz, Text], Text, to_char).stable(),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Template patterns, longest first where one begins with another.
const PATTERNS: [&str; 32] = [
    "HH24", "HH12", "HH", "MI", "SS", "MS", "US", "AM", "PM", "am", "pm", "YYYY", "YYY", "YY",
    "MONTH", "Month", "month", "MON", "Mon", "mon", "MM", "DAY", "Day", "day", "DDD", "DD", "DY",
    "Dy", "dy", "D", "Q", "TZ",
];

fn to_char(call: &Call<'_>) -> Result<Value, SqlError> {
    let Some(Value::Timestamp(micros)) = call.values.first() else { return Err(call.mistyped(0)) };
    if !model::moment::is_finite_timestamp(*micros) {
        return Ok(Value::Null);
    }
    let mut out = String::new();
    let mut rest = call.text(1)?;
    let mut filled = true;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push_str(&quoted[..end]);
            rest = quoted.get(end + 1..).unwrap_or("");
        } else if let Some(after) = rest.strip_prefix("FM") {
            filled = false;
            rest = after;
        } else if let Some(pattern) = PATTERNS.iter().find(|pattern| rest.starts_with(**pattern)) {
            out.push_str(&part(pattern, *micros, filled));
            rest = &rest[pattern.len()..];
            filled = true;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(Value::text(out))
}

fn part(pattern: &str, micros: i64, filled: bool) -> String {
    let days = micros.div_euclid(DAY_MICROS);
    let clock = micros.rem_euclid(DAY_MICROS);
    let (year, month, day) = civil_from_days(days);
    let year = if year > 0 { year } else { 1 - year };
    let hour = clock / 3_600_000_000;
    let half = if hour < 12 { "AM" } else { "PM" };
    let weekday = (days + 6).rem_euclid(7) as usize;
    let number = |value: i64, width: usize| {
        if filled { format!("{value:0width$}") } else { value.to_string() }
    };
    let word = |name: &str, width: usize| {
        if filled { format!("{name:<width$}") } else { name.to_owned() }
    };
    let month_name = MONTHS[month as usize - 1];
    let day_name = WEEKDAYS[weekday];
    match pattern {
        "HH24" => number(hour, 2),
        "HH12" | "HH" => number((hour + 11) % 12 + 1, 2),
        "MI" => number(clock / 60_000_000 % 60, 2),
        "SS" => number(clock / 1_000_000 % 60, 2),
        "MS" => number(clock / 1_000 % 1_000, 3),
        "US" => number(clock % 1_000_000, 6),
        "AM" | "PM" => half.to_owned(),
        "am" | "pm" => half.to_lowercase(),
        "YYYY" => number(year, 4),
        "YYY" => number(year % 1_000, 3),
        "YY" => number(year % 100, 2),
        "MONTH" => word(&month_name.to_uppercase(), 9),
        "Month" => word(month_name, 9),
        "month" => word(&month_name.to_lowercase(), 9),
        "MON" => month_name[..3].to_uppercase(),
        "Mon" => month_name[..3].to_owned(),
        "mon" => month_name[..3].to_lowercase(),
        "MM" => number(i64::from(month), 2),
        "DAY" => word(&day_name.to_uppercase(), 9),
        "Day" => word(day_name, 9),
        "day" => word(&day_name.to_lowercase(), 9),
        "DDD" => number(days - days_from_civil(civil_from_days(days).0, 1, 1) + 1, 3),
        "DD" => number(i64::from(day), 2),
        "DY" => day_name[..3].to_uppercase(),
        "Dy" => day_name[..3].to_owned(),
        "dy" => day_name[..3].to_lowercase(),
        "D" => (weekday + 1).to_string(),
        "Q" => ((month - 1) / 3 + 1).to_string(),
        _ => "UTC".to_owned(),
    }
}

//! Times and spans with fewer digits behind the second, and spans of fewer fields.

use model::moment::{self, TimeTz};
use model::types::{IntervalFields, SECOND_DIGITS_MAX, TimeLimits};
use model::value::{Interval, Value};

const HOUR_MICROS: i64 = 3_600_000_000;
const MINUTE_MICROS: i64 = 60_000_000;

/// The nearest value that the type has. What is no time is left alone.
pub fn limit(value: Value, limits: TimeLimits) -> Value {
    let digits = i64::from(limits.second_digits());
    match value {
        Value::Interval(span) => {
            let span = keep(span, limits.interval_fields());
            Value::Interval(Interval { micros: round(span.micros, digits), ..span })
        }
        other => round_value(other, digits),
    }
}

/// The nearest time or span of so many digits behind the second.
pub fn round_value(value: Value, digits: i64) -> Value {
    match value {
        Value::Timestamp(micros) if moment::is_finite_timestamp(micros) => {
            Value::Timestamp(round(micros, digits))
        }
        Value::Time(micros) => Value::Time(round(micros, digits)),
        Value::TimeTz(time) => Value::TimeTz(TimeTz { micros: round(time.micros, digits), ..time }),
        Value::Interval(span) => {
            Value::Interval(Interval { micros: round(span.micros, digits), ..span })
        }
        other => other,
    }
}

/// Half a unit goes away from zero, which of a timestamp is the year 2000, as in PostgreSQL.
pub fn round(micros: i64, digits: i64) -> i64 {
    let digits_max = i64::from(SECOND_DIGITS_MAX);
    let unit = 10_i64.pow((digits_max - digits.clamp(0, digits_max)) as u32);
    let below = micros % unit;
    let away = if below.abs() * 2 >= unit { below.signum() * unit } else { 0 };
    // Only an interval at the very end of its range has nowhere to go.
    (micros - below).saturating_add(away)
}

/// What is left of a span: fields behind the last one go, those before the first stay.
fn keep(span: Interval, fields: IntervalFields) -> Interval {
    use IntervalFields as F;
    let whole = |unit: i64| Interval { micros: span.micros / unit * unit, ..span };
    match fields {
        F::Year => Interval { months: span.months / 12 * 12, days: 0, micros: 0 },
        F::Month | F::YearToMonth => Interval { months: span.months, days: 0, micros: 0 },
        F::Day => Interval { micros: 0, ..span },
        F::Hour | F::DayToHour => whole(HOUR_MICROS),
        F::Minute | F::DayToMinute | F::HourToMinute => whole(MINUTE_MICROS),
        F::All | F::Second | F::DayToSecond | F::HourToSecond | F::MinuteToSecond => span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_away_from_zero() {
        for (micros, digits, expected) in [
            (1_499_999, 0, 1_000_000),
            (1_500_000, 0, 2_000_000),
            (-1_500_000, 0, -2_000_000),
            (-500_000, 0, -1_000_000),
            (-499_999, 0, 0),
            (1_550_000, 1, 1_600_000),
            (1_234_567, 3, 1_235_000),
            (1_234_567, 6, 1_234_567),
            (i64::MAX, 0, i64::MAX),
        ] {
            assert_eq!(round(micros, digits), expected, "{micros} to {digits} digits");
        }
    }

    #[test]
    fn fields_behind_the_last_go() {
        let span = Interval { months: -14, days: 3, micros: 3_723_000_000 };
        let kept = |fields| {
            let span = keep(span, fields);
            (span.months, span.days, span.micros)
        };
        assert_eq!(kept(IntervalFields::Year), (-12, 0, 0));
        assert_eq!(kept(IntervalFields::Month), (-14, 0, 0));
        assert_eq!(kept(IntervalFields::Day), (-14, 3, 0));
        assert_eq!(kept(IntervalFields::DayToHour), (-14, 3, 3_600_000_000));
        assert_eq!(kept(IntervalFields::Minute), (-14, 3, 3_720_000_000));
        assert_eq!(kept(IntervalFields::MinuteToSecond), (-14, 3, 3_723_000_000));
    }
}

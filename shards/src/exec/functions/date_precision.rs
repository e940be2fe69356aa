//! Times and spans with fewer digits behind the second: what `timestamp(3)` and its kin cast to.

use super::{Call, Function};
use model::error::SqlError;
use model::moment::{self, DAY_MICROS};
use model::types::DataType::{Int4, Interval as Span, Time, TimeTz, Timestamp, TimestampTz};
use model::value::{Interval, Value};

/// Digits behind the second that times have.
const DIGITS_MAX: i64 = 6;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("timestamp", &[Timestamp, Int4], Timestamp, cut),
    Function::new("timestamptz", &[TimestampTz, Int4], TimestampTz, cut),
    Function::new("time", &[Time, Int4], Time, cut),
    Function::new("timetz", &[TimeTz, Int4], TimeTz, cut),
    Function::new("interval", &[Span, Int4], Span, cut),
    Function::new("current_timestamp", &[Int4], TimestampTz, |c| {
        Ok(Value::Timestamp(rounded(c.context.now_micros, c.int(0)?)))
    })
    .stable(),
    Function::new("localtimestamp", &[Int4], Timestamp, |c| {
        Ok(Value::Timestamp(rounded(c.context.now_micros, c.int(0)?)))
    })
    .stable(),
    Function::new("localtime", &[Int4], Time, |c| {
        Ok(Value::Time(rounded(c.context.now_micros.rem_euclid(DAY_MICROS), c.int(0)?)))
    })
    .stable(),
];

fn cut(call: &Call<'_>) -> Result<Value, SqlError> {
    let digits = call.int(1)?;
    Ok(match call.values[0] {
        Value::Timestamp(micros) if moment::is_finite_timestamp(micros) => {
            Value::Timestamp(rounded(micros, digits))
        }
        Value::Timestamp(infinite) => Value::Timestamp(infinite),
        Value::Time(micros) => Value::Time(rounded(micros, digits)),
        Value::TimeTz(time) => {
            Value::TimeTz(moment::TimeTz { micros: rounded(time.micros, digits), ..time })
        }
        Value::Interval(span) => {
            Value::Interval(Interval { micros: rounded(span.micros, digits), ..span })
        }
        _ => return Err(call.mistyped(0)),
    })
}

/// Half a unit goes away from zero, which of a timestamp is the year 2000, as in PostgreSQL.
pub(super) fn rounded(micros: i64, digits: i64) -> i64 {
    let unit = 10_i64.pow((DIGITS_MAX - digits.clamp(0, DIGITS_MAX)) as u32);
    let below = micros % unit;
    let away = if below.abs() * 2 >= unit { below.signum() * unit } else { 0 };
    // Only an interval at the very end of its range has nowhere to go.
    (micros - below).saturating_add(away)
}

#[cfg(test)]
mod tests {
    use super::rounded;

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
            assert_eq!(rounded(micros, digits), expected, "{micros} to {digits} digits");
        }
    }
}

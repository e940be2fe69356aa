//! The range of dates and timestamps, PostgreSQL's, and the two infinities outside of it.

/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;
/// 4714-11-24 BC, Julian day 0: the first day.
const DAY_FIRST: i64 = -2_451_545;
/// 5874897-12-31, the last day of a date.
const DATE_LAST: i64 = 2_145_031_948;
/// The microsecond behind 294276-12-31, the last day of a timestamp.
const TIMESTAMP_END: i64 = 9_223_371_331_200_000_000;

/// Later than every date.
pub const DATE_INFINITY: i32 = i32::MAX;
/// Earlier than every date.
pub const DATE_MINUS_INFINITY: i32 = i32::MIN;
/// Later than every timestamp.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
/// Earlier than every timestamp.
pub const TIMESTAMP_MINUS_INFINITY: i64 = i64::MIN;

/// Whether a date is one: neither infinity.
pub fn is_finite_date(days: i32) -> bool {
    days != DATE_INFINITY && days != DATE_MINUS_INFINITY
}

/// Whether a timestamp is one: neither infinity.
pub fn is_finite_timestamp(micros: i64) -> bool {
    micros != TIMESTAMP_INFINITY && micros != TIMESTAMP_MINUS_INFINITY
}

/// The date of these days since 2000-01-01; `None` out of range.
pub fn date_of_days(days: i64) -> Option<i32> {
    let in_range = (DAY_FIRST..=DATE_LAST).contains(&days);
    i32::try_from(days).ok().filter(|_| in_range)
}

/// These microseconds since 2000-01-01 00:00, where they are a timestamp; `None` out of range.
pub fn timestamp_of_micros(micros: i64) -> Option<i64> {
    (DAY_FIRST * DAY_MICROS..TIMESTAMP_END).contains(&micros).then_some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::days_from_civil;

    #[test]
    fn the_ends_are_postgresqls() {
        assert_eq!(days_from_civil(-4713, 11, 24), DAY_FIRST);
        assert_eq!(days_from_civil(5_874_897, 12, 31), DATE_LAST);
        assert_eq!(days_from_civil(294_277, 1, 1) * DAY_MICROS, TIMESTAMP_END);
        assert_eq!(date_of_days(DATE_LAST + 1), None);
        assert_eq!(timestamp_of_micros(TIMESTAMP_END), None);
        assert_eq!(timestamp_of_micros(TIMESTAMP_END - 1), Some(TIMESTAMP_END - 1));
    }
}

//! The range of dates and timestamps, PostgreSQL's, and the two infinities outside of it; times of
//! day that have a zone.

use rkyv::{Archive, Deserialize, Serialize};
use std::cmp::Ordering;

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

/// Zones reach so many seconds to either side of UTC, themselves not among them.
const ZONE_END: i32 = 16 * 3_600;

/// A `time with time zone`: what the clock of a zone shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TimeTz {
    /// Microseconds since the zone's midnight, up to and with a whole day.
    pub micros: i64,
    /// Seconds that the zone is west of UTC, as PostgreSQL counts them.
    pub zone: i32,
}

impl TimeTz {
    /// Microseconds since midnight in UTC; less than none and more than a day are possible.
    pub fn utc_micros(self) -> i64 {
        self.micros + i64::from(self.zone) * 1_000_000
    }

    /// The same instant on the clock of another zone.
    pub fn at_zone(self, zone: i32) -> TimeTz {
        let micros = self.micros + i64::from(self.zone - zone) * 1_000_000;
        TimeTz { micros: micros.rem_euclid(DAY_MICROS), zone }
    }
}

/// By instant, then the zones that are farther east first.
impl Ord for TimeTz {
    fn cmp(&self, other: &TimeTz) -> Ordering {
        self.utc_micros().cmp(&other.utc_micros()).then(self.zone.cmp(&other.zone))
    }
}

impl PartialOrd for TimeTz {
    fn partial_cmp(&self, other: &TimeTz) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether there is a zone so many seconds from UTC.
pub fn is_zone(seconds: i32) -> bool {
    (1 - ZONE_END..ZONE_END).contains(&seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::days_from_civil;

    #[test]
    fn times_with_zones_order_by_instant_then_zone() {
        let time = |hours: i64, zone: i32| TimeTz { micros: hours * 3_600_000_000, zone };
        assert!(time(12, -3_600) < time(12, 0), "an hour earlier");
        assert!(time(12, 0) < time(11, 3_600), "the same instant, farther west");
        assert_eq!(time(1, 0).at_zone(7_200), time(23, 7_200));
        assert_eq!(time(24, 0).at_zone(0), time(0, 0));
    }

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

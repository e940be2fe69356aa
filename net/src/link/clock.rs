//! How the clocks of two nodes compare.

use runtime::time::{Instant, WallTime};
use std::time::Duration;

/// What a round trip told about another node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockReading {
    /// How far the other clock is ahead of this one, in nanoseconds.
    pub offset_nanos: i64,
    /// How long the round trip took; the offset is right to half of it.
    pub round_trip: Duration,
}

impl ClockReading {
    /// Of a question that was asked at `asked`, and an answer that arrived at `now` and named
    /// `theirs`, when this node's clock showed `ours`.
    pub(super) fn new(asked: Instant, now: Instant, ours: WallTime, theirs: u64) -> ClockReading {
        let round_trip = now.saturating_since(asked);
        // Read half a round trip ago, as far as one can tell.
        let since = i128::try_from(round_trip.as_nanos() / 2).unwrap_or(i128::MAX);
        let offset = i128::from(theirs) + since - i128::from(ours.as_nanos());
        let offset_nanos =
            i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX });
        ClockReading { offset_nanos, round_trip }
    }

    /// Whether the clocks are surely further apart than `max`, however the round trip was divided.
    pub(super) fn exceeds(&self, max: Duration) -> bool {
        u128::from(self.offset_nanos.unsigned_abs()) > (max + self.round_trip / 2).as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(trip_ms: u64, ours_ms: u64, theirs_ms: u64) -> ClockReading {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let ours = WallTime::from_nanos(ours_ms * 1_000_000);
        ClockReading::new(at(5), at(5 + trip_ms), ours, theirs_ms * 1_000_000)
    }

    #[test]
    fn the_offset_is_that_of_the_middle_of_the_trip() {
        assert_eq!(reading(10, 1_010, 1_005).offset_nanos, 0);
        assert_eq!(reading(10, 1_010, 1_105).offset_nanos, 100_000_000);
        assert_eq!(reading(10, 1_010, 905).offset_nanos, -100_000_000);
        assert_eq!(reading(0, 0, u64::MAX / 1_000_000).offset_nanos, i64::MAX);
    }

    #[test]
    fn only_what_is_sure_exceeds() {
        let max = Duration::from_millis(50);
        assert!(!reading(100, 1_100, 1_150).exceeds(max), "100 ms, give or take 50");
        assert!(reading(100, 1_100, 1_151).exceeds(max));
        assert!(reading(2, 1_000, 940).exceeds(max));
    }
}

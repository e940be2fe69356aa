//! Hybrid logical time (Kulkarni et al., "Logical Physical Clocks", 2014).

use rkyv::{Archive, Deserialize, Serialize};
use std::cell::Cell;
use std::fmt;
use std::time::Duration;

/// How far apart the wall clocks of two nodes of a cluster may be: they refuse each other where it is more, and
/// a new leader waits for so long, until all that was read at the one before is past by its own clock.
pub const CLOCKS_APART_MAX: Duration = Duration::from_millis(250);

/// An instant of hybrid logical time: nanoseconds since the Unix epoch, pushed forward by one
/// nanosecond where events would otherwise tie. MVCC versions carry it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Archive,
    Serialize,
    Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Before every event.
    pub const ZERO: Timestamp = Timestamp(0);
    /// After every event: a read at it sees the newest version.
    pub const MAX: Timestamp = Timestamp(u64::MAX);
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A remote clock runs further ahead than the configured bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a timestamp is {ahead:?} ahead of this core's clock, more than the allowed {bound:?}")]
pub struct ClockOffset {
    /// How far the observed timestamp lies ahead.
    pub ahead: Duration,
    /// The configured bound.
    pub bound: Duration,
}

/// What is added to the monotonic clock to get physical time: nanoseconds since the Unix epoch at
/// the monotonic clock's zero. All cores of a node use the same one for as long as it runs, so that
/// a wall clock that is set back moves none of them: a core that read it afterwards would not see
/// what another committed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ClockBase(pub u64);

/// The hybrid logical clock of one core. Each reading is greater than all before it and than
/// every timestamp observed. The caller brings the monotonic clock (from the seam).
#[derive(Debug)]
pub struct HybridClock {
    last: Cell<u64>,
    base: Cell<ClockBase>,
    offset_max: Duration,
}

impl HybridClock {
    /// A clock that refuses timestamps more than `offset_max` ahead of physical time.
    pub fn new(offset_max: Duration) -> HybridClock {
        HybridClock { last: Cell::new(0), base: Cell::default(), offset_max }
    }

    /// The base of physical time.
    pub fn base(&self) -> ClockBase {
        self.base.get()
    }

    /// Takes a later base; an earlier one changes nothing.
    pub fn raise_base(&self, base: ClockBase) {
        self.base.set(self.base.get().max(base));
    }

    /// Moves the base so far that physical time is past both `wall_ns`, nanoseconds since the Unix
    /// epoch, and everything that was recovered.
    pub fn start(&self, wall_ns: u64, monotonic_ns: u64) {
        let physical = wall_ns.max(self.last.get());
        self.raise_base(ClockBase(physical.saturating_sub(monotonic_ns)));
    }

    fn physical(&self, monotonic_ns: u64) -> u64 {
        self.base.get().0.saturating_add(monotonic_ns)
    }

    /// The timestamp that physical time alone gives at an instant of the monotonic clock.
    pub fn at(&self, monotonic_ns: u64) -> Timestamp {
        Timestamp(self.physical(monotonic_ns))
    }

    /// A fresh timestamp.
    pub fn now(&self, monotonic_ns: u64) -> Timestamp {
        let next = self.physical(monotonic_ns).max(self.last.get() + 1);
        self.last.set(next);
        Timestamp(next)
    }

    /// The newest timestamp given or observed.
    pub fn last(&self) -> Timestamp {
        Timestamp(self.last.get())
    }

    /// Moves past a timestamp that a message carried.
    pub fn observe(&self, seen: Timestamp, monotonic_ns: u64) -> Result<(), ClockOffset> {
        let ahead = seen.0.saturating_sub(self.physical(monotonic_ns));
        let ahead = Duration::from_nanos(ahead);
        if ahead > self.offset_max {
            return Err(ClockOffset { ahead, bound: self.offset_max });
        }
        self.last.set(self.last.get().max(seen.0));
        Ok(())
    }

    /// Moves past a timestamp that this node gave out itself, whatever the wall clock says now: one
    /// read from its durable log, or one of its other cores.
    pub fn recover(&self, seen: Timestamp) {
        self.last.set(self.last.get().max(seen.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_increase_even_when_the_wall_clock_does_not() {
        let clock = HybridClock::new(Duration::from_millis(500));
        assert!(clock.now(10) < clock.now(10));
        assert!(clock.now(10) < clock.now(5));
    }

    #[test]
    fn a_reading_follows_what_was_observed() {
        let clock = HybridClock::new(Duration::from_millis(500));
        clock.observe(Timestamp(1_000), 10).unwrap();
        assert_eq!(clock.now(10), Timestamp(1_001));
    }

    #[test]
    fn physical_time_begins_past_the_wall_clock_and_what_was_recovered() {
        let clock = HybridClock::new(Duration::from_millis(500));
        clock.start(1_000, 100);
        assert_eq!(clock.now(110), Timestamp(1_010));
        clock.recover(Timestamp(5_000));
        clock.start(1_000, 200);
        assert_eq!(clock.now(210), Timestamp(5_010));
        let other = HybridClock::new(Duration::from_millis(500));
        other.start(900, 100);
        other.raise_base(clock.base());
        assert_eq!(other.now(211), Timestamp(5_011));
        other.raise_base(ClockBase(0));
        assert_eq!(other.now(212), Timestamp(5_012));
    }

    #[test]
    fn a_clock_too_far_ahead_is_refused_and_changes_nothing() {
        let clock = HybridClock::new(Duration::from_nanos(100));
        assert!(clock.observe(Timestamp(1_000), 10).is_err());
        assert_eq!(clock.now(10), Timestamp(10));
    }
}

//! Hybrid logical time (Kulkarni et al., "Logical Physical Clocks", 2014).

use rkyv::{Archive, Deserialize, Serialize};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far apart the clocks of two nodes of a cluster may be: they refuse each other where it is more, and
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

/// The physical time of a node: its monotonic clock plus a base, nanoseconds since the Unix epoch. All cores
/// share it.
///
/// The base is read off the wall clock when the node starts. A wall clock that is set later moves it only where
/// the node says so ([`NodeClock::follow`]): forward at once, and back by going at a sixteenth of the speed
/// until the wall clock has caught up: it is *held* for so long.
///
/// **It never goes back**, and is the same for all cores at any moment: a core that read an earlier time than
/// another has given out would not see what was committed there before. It goes on while it is held, instead of
/// standing still, for that reason too: where it stood, cores would count on by themselves.
///
/// **What others may take from it.** A new leader waits [`CLOCKS_APART_MAX`] until all that was read by other
/// clocks is past by its own, and a leader promises until what time nobody else writes. Both hold where this
/// clock is no further than that from those of the nodes that it has links with, and goes as fast. So this is
/// the clock that links compare, not the one on the wall, and a node has none while its clock is held.
#[derive(Debug, Default)]
pub struct NodeClock {
    base: AtomicU64,
    /// Added to a sixteenth of the monotonic clock: no time is before that.
    held: AtomicU64,
}

impl NodeClock {
    /// The clock goes so much slower while it is held.
    const SLOWER: u64 = 16;
    /// A core that has read the monotonic clock goes by a base that it reads within this time.
    const READ_WITHIN: u64 = 10_000_000;

    /// Physical time at an instant of the monotonic clock.
    pub fn at(&self, monotonic_ns: u64) -> Timestamp {
        // First: whoever sees a base that went back sees what the clock is held at.
        let base = self.base.load(Ordering::Acquire);
        let held = self.held.load(Ordering::Relaxed);
        let held = held.saturating_add(monotonic_ns / NodeClock::SLOWER);
        Timestamp(base.saturating_add(monotonic_ns).max(held))
    }

    /// Moves on so that physical time is not before `at` at an instant of the monotonic clock.
    pub fn raise(&self, at: Timestamp, monotonic_ns: u64) {
        self.base.fetch_max(at.0.saturating_sub(monotonic_ns), Ordering::AcqRel);
    }

    /// How far a wall clock is ahead of the base, in nanoseconds.
    pub fn behind(&self, wall_ns: u64, monotonic_ns: u64) -> i64 {
        let base = self.base.load(Ordering::Acquire);
        let behind = i128::from(wall_ns) - i128::from(base) - i128::from(monotonic_ns);
        i64::try_from(behind).unwrap_or(if behind < 0 { i64::MIN } else { i64::MAX })
    }

    /// Goes by the wall clock from now on, once that is no longer behind what this clock has shown. For one
    /// core of the node, when all have started.
    pub fn follow(&self, wall_ns: u64, monotonic_ns: u64) {
        let until = monotonic_ns + NodeClock::READ_WITHIN;
        let base = wall_ns.saturating_sub(monotonic_ns);
        if base < self.base.load(Ordering::Acquire) {
            let held = self.at(until).0.saturating_sub(until / NodeClock::SLOWER);
            self.held.fetch_max(held, Ordering::Relaxed);
        }
        self.base.store(base, Ordering::Release);
    }

    /// How far it is ahead of where it goes by its base, from which it was set back.
    pub fn held(&self, monotonic_ns: u64) -> Duration {
        let base = self.base.load(Ordering::Acquire).saturating_add(monotonic_ns);
        Duration::from_nanos(self.at(monotonic_ns).0.saturating_sub(base))
    }
}

/// The hybrid logical clock of one core. Each reading is greater than all before it and than
/// every timestamp observed. The caller brings the monotonic clock (from the seam).
#[derive(Debug)]
pub struct HybridClock {
    last: Cell<u64>,
    node: Arc<NodeClock>,
    offset_max: Duration,
}

impl HybridClock {
    /// A clock that refuses timestamps more than `offset_max` ahead of physical time.
    pub fn new(node: Arc<NodeClock>, offset_max: Duration) -> HybridClock {
        HybridClock { last: Cell::new(0), node, offset_max }
    }

    /// Moves physical time so far that it is past both `wall_ns`, nanoseconds since the Unix epoch, and
    /// everything that was recovered.
    pub fn start(&self, wall_ns: u64, monotonic_ns: u64) {
        self.node.raise(Timestamp(wall_ns.max(self.last.get())), monotonic_ns);
    }

    /// The timestamp that physical time alone gives at an instant of the monotonic clock.
    pub fn at(&self, monotonic_ns: u64) -> Timestamp {
        self.node.at(monotonic_ns)
    }

    /// A fresh timestamp.
    pub fn now(&self, monotonic_ns: u64) -> Timestamp {
        let next = self.at(monotonic_ns).0.max(self.last.get() + 1);
        self.last.set(next);
        Timestamp(next)
    }

    /// The newest timestamp given or observed.
    pub fn last(&self) -> Timestamp {
        Timestamp(self.last.get())
    }

    /// Moves past a timestamp that a message carried.
    pub fn observe(&self, seen: Timestamp, monotonic_ns: u64) -> Result<(), ClockOffset> {
        let ahead = seen.0.saturating_sub(self.at(monotonic_ns).0);
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

    fn clock(offset_max: Duration) -> HybridClock {
        HybridClock::new(Arc::default(), offset_max)
    }

    #[test]
    fn readings_increase_even_when_the_wall_clock_does_not() {
        let clock = clock(Duration::from_millis(500));
        assert!(clock.now(10) < clock.now(10));
        assert!(clock.now(10) < clock.now(5));
    }

    #[test]
    fn a_reading_follows_what_was_observed() {
        let clock = clock(Duration::from_millis(500));
        clock.observe(Timestamp(1_000), 10).unwrap();
        assert_eq!(clock.now(10), Timestamp(1_001));
    }

    #[test]
    fn physical_time_begins_past_the_wall_clock_and_what_was_recovered_on_any_core() {
        let node = Arc::<NodeClock>::default();
        let core = || HybridClock::new(node.clone(), Duration::from_millis(500));
        let (one, other) = (core(), core());
        one.start(1_000, 100);
        assert_eq!(one.now(110), Timestamp(1_010));
        one.recover(Timestamp(5_000));
        one.start(1_000, 200);
        assert_eq!(one.now(210), Timestamp(5_010));
        other.start(900, 100);
        assert_eq!(other.now(211), Timestamp(5_011));
    }

    #[test]
    fn a_clock_too_far_ahead_is_refused_and_changes_nothing() {
        let clock = clock(Duration::from_nanos(100));
        assert!(clock.observe(Timestamp(1_000), 10).is_err());
        assert_eq!(clock.now(10), Timestamp(10));
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_wall_clock_that_is_ahead_is_followed_at_once() {
        let node = NodeClock::default();
        node.raise(Timestamp(100 * SECOND), SECOND);
        assert_eq!(node.behind(106 * SECOND, 2 * SECOND), 5 * SECOND as i64);
        node.follow(106 * SECOND, 2 * SECOND);
        assert_eq!(node.at(2 * SECOND), Timestamp(106 * SECOND));
        assert_eq!(node.at(3 * SECOND), Timestamp(107 * SECOND));
        assert_eq!(node.held(3 * SECOND), Duration::ZERO);
        // What is promised at the old base is promised too early, which does no harm; no core goes back.
        node.raise(Timestamp(50 * SECOND), 4 * SECOND);
        assert_eq!(node.at(4 * SECOND), Timestamp(108 * SECOND));
    }

    #[test]
    fn a_wall_clock_that_is_behind_is_waited_for_and_no_core_goes_back() {
        let node = Arc::<NodeClock>::default();
        let core = || HybridClock::new(node.clone(), Duration::from_millis(500));
        let cores = [core(), core()];
        cores[0].start(105 * SECOND, SECOND);
        let mut last = Timestamp::ZERO;
        let mut now = SECOND;
        let mut reached = None;
        while now < 10 * SECOND {
            // Each core reads later than the other did before.
            for core in &cores {
                let next = core.now(now);
                assert!(last < next, "{last} and {next} at {now}");
                last = next;
                now += 1_000_003;
            }
            if reached.is_none() && now > 2 * SECOND {
                reached.replace(now);
                node.follow(99 * SECOND + now, now);
                assert!(node.held(now) > Duration::from_secs(5));
                assert_eq!(node.behind(99 * SECOND + now, now), 0);
            }
        }
        // Five seconds are waited for as long, and a sixteenth longer.
        assert_eq!(node.at(now), Timestamp(99 * SECOND + now));
        let (held, met) = (7 * SECOND + SECOND / 4, 7 * SECOND + SECOND / 2);
        assert!(node.held(held) > Duration::ZERO);
        assert_eq!(node.held(met), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_held_follows_forward_and_further_back() {
        let node = NodeClock::default();
        node.raise(Timestamp(100 * SECOND), 0);
        node.follow(95 * SECOND, 0);
        let shown = node.at(SECOND);
        node.follow(90 * SECOND, SECOND);
        assert!(node.at(SECOND) >= shown);
        assert!(node.at(2 * SECOND) < Timestamp(101 * SECOND));
        node.follow(110 * SECOND, 2 * SECOND);
        assert_eq!(node.at(2 * SECOND), Timestamp(110 * SECOND));
        assert_eq!(node.held(2 * SECOND), Duration::ZERO);
    }
}

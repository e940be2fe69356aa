//! The one source of choice of a simulation, and the hash of what it chose.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::random::Rng;

/// How often something happens, in parts of a million.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(u32);

impl Chance {
    /// It never happens.
    pub const NEVER: Chance = Chance(0);
    /// It always happens.
    pub const ALWAYS: Chance = Chance(Self::WHOLE);

    const WHOLE: u32 = 1_000_000;

    /// So many times in a million; anything above a million means always.
    pub const fn per_million(times: u32) -> Chance {
        Chance(if times > Self::WHOLE { Self::WHOLE } else { times })
    }

    /// So many times in a hundred; anything above a hundred means always.
    pub const fn percent(times: u32) -> Chance {
        Chance::per_million(times.saturating_mul(10_000))
    }
}

/// The seeded generator every choice of a simulation is drawn from.
///
/// It is no source of secrets: who knows the seed knows everything.
#[derive(Debug)]
pub struct Random(RefCell<Rng>);

impl Random {
    /// A generator whose whole sequence follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(RefCell::new(Rng::seeded(seed)))
    }

    /// 64 evenly spread bits.
    pub fn next_u64(&self) -> u64 {
        self.0.borrow_mut().next_u64()
    }

    /// Lends the stream out.
    pub(crate) fn with<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.0.borrow_mut())
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`; `low` when the range is empty.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A duration in `low..=high`, to the nanosecond.
    pub fn duration(&self, low: Duration, high: Duration) -> Duration {
        Duration::from_nanos(self.between(nanos(low), nanos(high)))
    }

    /// An index into something of `len` elements, which must not be empty.
    pub fn index(&self, len: usize) -> usize {
        debug_assert!(len > 0, "an index into nothing");
        self.below(len as u64) as usize
    }

    /// Whether a thing that happens with `chance` happens now.
    ///
    /// Draws nothing for [`Chance::NEVER`] and [`Chance::ALWAYS`], so that a fault that is switched
    /// off leaves the rest of the run as it was.
    pub fn happens(&self, chance: Chance) -> bool {
        match chance {
            Chance::NEVER => false,
            Chance::ALWAYS => true,
            Chance(parts) => self.below(u64::from(Chance::WHOLE)) < u64::from(parts),
        }
    }

    /// Fills `bytes` with random bits.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.0.borrow_mut().fill(bytes);
    }
}

/// A duration as nanoseconds; one beyond 584 years counts as the longest there is.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a traced event was, the first word it adds to the hash.
#[derive(Copy, Clone, Debug)]
#[repr(u64)]
pub(super) enum Traced {
    Step = 1,
    Timer,
    Spawn,
    TaskEnd,
    TaskPanic,
    NodeStart,
    NodeCrash,
    DiskSubmit,
    DiskComplete,
    DiskCrash,
    NetworkSubmit,
    NetworkEvent,
    Control,
}

/// A running hash over everything a simulation did, in order.
///
/// Only values that follow from the seed go in: sequence numbers, virtual times, lengths. Never an
/// address, an OS time or the order of a randomly seeded map.
#[derive(Debug)]
pub(super) struct Trace {
    hash: Cell<u64>,
    events: Cell<u64>,
}

impl Trace {
    pub fn new(seed: u64) -> Trace {
        Trace { hash: Cell::new(seed ^ 0x517c_c1b7_2722_0a95), events: Cell::new(0) }
    }

    pub fn record(&self, what: Traced, a: u64, b: u64, c: u64) {
        let mut hash = self.hash.get();
        for word in [what as u64, a, b, c] {
            let product = u128::from(hash ^ word) * u128::from(0x9fb2_1c65_1e98_df25_u64);
            hash = (product as u64) ^ ((product >> 64) as u64).rotate_left(23);
            hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        self.hash.set(hash);
        self.events.set(self.events.get() + 1);
    }

    pub fn hash(&self) -> u64 {
        self.hash.get()
    }

    pub fn events(&self) -> u64 {
        self.events.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold() {
        let random = Random::new(7);
        assert_eq!(random.below(0), 0);
        for _ in 0..10_000 {
            assert!(random.below(3) < 3);
            assert!((5..=9).contains(&random.between(5, 9)));
        }
        assert_eq!(random.between(4, 4), 4);
        assert!(random.between(0, u64::MAX) > 0);
    }

    #[test]
    fn chances_are_kept() {
        let random = Random::new(1);
        let hits = (0..100_000).filter(|_| random.happens(Chance::percent(25))).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!(!random.happens(Chance::NEVER) && random.happens(Chance::percent(300)));
    }

    #[test]
    fn the_trace_sees_order() {
        let (one, two) = (Trace::new(1), Trace::new(1));
        one.record(Traced::Step, 1, 0, 0);
        one.record(Traced::Step, 2, 0, 0);
        two.record(Traced::Step, 2, 0, 0);
        two.record(Traced::Step, 1, 0, 0);
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.events(), 2);
    }
}

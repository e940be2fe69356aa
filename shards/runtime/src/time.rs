//! Clocks and timers.
//!
//! One [`TimerQueue`] a core keeps every sleep of that core; the world drives it. Sleeping costs
//! one map entry, and dropping the future gives it back. Resolution on a real core is that of the
//! kernel's timers (about 50 us late); a core that is busy with tasks fires timers at the next
//! millisecond.

mod queue;

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

pub(crate) use queue::{TimerKey, TimerQueue};

use crate::world::{self, World};

/// A point on this machine's monotonic clock (virtual time in the simulator). Points of different
/// nodes, or of one node before and after a restart, do not compare.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(u64);

impl Instant {
    /// The point `nanos` nanoseconds after the clock's own zero.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's own zero.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since this point; zero if it lies in the future.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        now().saturating_since(self)
    }

    /// Time from `earlier` to this point; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time (584 years after the clock's zero).
    fn add(self, d: Duration) -> Self {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// Saturates at the clock's zero.
    fn sub(self, d: Duration) -> Self {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Saturates at zero.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

/// What the clock on the wall shows: nanoseconds since the Unix epoch. It can jump.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WallTime(u64);

impl WallTime {
    /// The wall time `nanos` nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

/// The monotonic clock. Works on every thread.
#[must_use]
pub fn now() -> Instant {
    match world::current() {
        World::None | World::Glommio => Instant(os_clock(libc::CLOCK_MONOTONIC)),
        World::Sim => Instant(crate::sim::with(crate::sim::Core::now)),
    }
}

/// The clock on the wall. Works on every thread.
#[must_use]
pub fn wall_clock() -> WallTime {
    match world::current() {
        World::None | World::Glommio => WallTime(os_clock(libc::CLOCK_REALTIME)),
        World::Sim => WallTime(crate::sim::with(crate::sim::Core::wall_clock)),
    }
}

/// Both clocks at one moment, as near as can be: a thread that loses its processor between the two reads takes
/// them for further apart than they are, and reads them again.
#[must_use]
pub fn both_clocks() -> (WallTime, Instant) {
    let read = || {
        let before = now();
        let wall = wall_clock();
        (wall, before, now())
    };
    let (wall, before, after) = closest(read);
    (wall, before + (after - before) / 2)
}

/// The first reading that took no time to speak of, or the quickest of many.
fn closest(mut read: impl FnMut() -> (WallTime, Instant, Instant)) -> (WallTime, Instant, Instant) {
    /// A reading takes much less than this.
    const CLOSE: Duration = Duration::from_micros(5);
    const TRIES: usize = 16;
    let took = |reading: &(WallTime, Instant, Instant)| reading.2 - reading.1;
    let mut best = read();
    for _ in 1..TRIES {
        if took(&best) <= CLOSE {
            break;
        }
        let next = read();
        if took(&next) < took(&best) {
            best = next;
        }
    }
    best
}

/// Reads an operating system clock, in nanoseconds.
fn os_clock(clock: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec for the call to fill.
    let failed = unsafe { libc::clock_gettime(clock, &mut t) };
    assert_eq!(failed, 0, "the kernel has no clock {clock}");
    // Both fields are non-negative for these clocks, unless the wall clock is set before 1970.
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
}

/// Waits for `d` from the first poll on. Dropping the future cancels the timer.
///
/// # Panics
/// When polled on a thread that is no core.
pub fn sleep(d: Duration) -> Sleep {
    Sleep(AnySleep::For(d))
}

/// Waits until `deadline`; is ready at once if it has passed. Dropping the future cancels the timer.
///
/// # Panics
/// When polled on a thread that is no core.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep(AnySleep::Until(deadline))
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep(AnySleep);

enum AnySleep {
    For(Duration),
    Until(Instant),
    Glommio(crate::glommio::timer::Sleep),
    Sim(crate::sim::Sleep),
}

impl AnySleep {
    /// Of the world that the thread is in.
    fn begin(deadline: Instant) -> AnySleep {
        match world::current() {
            World::None => panic!("sleeping needs a core: this thread runs outside the runtime"),
            World::Glommio => AnySleep::Glommio(crate::glommio::timer::Sleep::until(deadline)),
            World::Sim => AnySleep::Sim(crate::sim::Sleep::until(deadline)),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.0 {
            AnySleep::For(d) => self.0 = AnySleep::begin(now() + d),
            AnySleep::Until(deadline) => self.0 = AnySleep::begin(deadline),
            AnySleep::Glommio(_) | AnySleep::Sim(_) => {}
        }
        match &mut self.0 {
            AnySleep::For(_) | AnySleep::Until(_) => Poll::Pending,
            AnySleep::Glommio(sleep) => Pin::new(sleep).poll(cx),
            AnySleep::Sim(sleep) => Pin::new(sleep).poll(cx),
        }
    }
}

/// The answer of [`timeout`] when time was up first.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("time is up")
    }
}

impl std::error::Error for Elapsed {}

/// Runs `f` for at most `d`, then drops it. `f` is polled first, so an answer that is there wins
/// over a deadline that has passed.
///
/// # Errors
/// [`Elapsed`] if `f` was not done in time.
///
/// # Panics
/// On a thread that is no core.
pub async fn timeout<F: Future>(d: Duration, f: F) -> Result<F::Output, Elapsed> {
    Timeout { work: pin!(f), alarm: sleep(d) }.await
}

struct Timeout<'a, F> {
    work: Pin<&'a mut F>,
    alarm: Sleep,
}

impl<F: Future> Future for Timeout<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(out) = self.work.as_mut().poll(cx) {
            return Poll::Ready(Ok(out));
        }
        Pin::new(&mut self.alarm).poll(cx).map(|()| Err(Elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_on_plain_threads() {
        let a = now();
        let b = now();
        assert!(b >= a);
        // 2020-01-01, in nanoseconds.
        assert!(wall_clock().as_nanos() > 1_577_836_800_000_000_000);
    }

    #[test]
    fn a_reading_of_both_clocks_that_was_interrupted_is_made_again() {
        let chosen = |took: &[u64]| {
            let mut took = took.iter().copied().cycle();
            let mut at = 0;
            let (_, before, after) = closest(|| {
                let before = at;
                at += took.next().unwrap_or_default();
                (WallTime(0), Instant::from_nanos(before), Instant::from_nanos(at))
            });
            (after - before, at)
        };
        let micros = Duration::from_micros;
        assert_eq!(chosen(&[4_000]), (micros(4), 4_000), "the first is good");
        assert_eq!(chosen(&[900_000, 3_000, 1_000]), (micros(3), 903_000), "the second is");
        assert_eq!(chosen(&[30_000, 20_000]).0, micros(20), "none is: the quickest");
    }

    #[test]
    fn arithmetic_saturates() {
        let t = Instant::from_nanos(5);
        assert_eq!(t - Duration::from_secs(1), Instant::from_nanos(0));
        assert_eq!(t + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(t - Instant::from_nanos(9), Duration::ZERO);
        assert_eq!(Instant::from_nanos(9) - t, Duration::from_nanos(4));
    }
}

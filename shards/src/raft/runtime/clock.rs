//! Moments, and work that has until then.

use pin_project_lite::pin_project;
use runtime::time::{self, Elapsed, Instant};
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A moment of the core's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub(super) Instant);

impl Tick {
    /// The moment.
    pub(crate) fn instant(self) -> Instant {
        self.0
    }
}

impl openraft::Instant for Tick {
    fn now() -> Tick {
        Tick(time::now())
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;

    fn add(self, duration: Duration) -> Tick {
        Tick(self.0 + duration)
    }
}

impl AddAssign<Duration> for Tick {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Tick {
    type Output = Tick;

    fn sub(self, duration: Duration) -> Tick {
        Tick(self.0 - duration)
    }
}

impl SubAssign<Duration> for Tick {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub for Tick {
    type Output = Duration;

    fn sub(self, earlier: Tick) -> Duration {
        self.0 - earlier.0
    }
}

/// Alarms of groups go off together, so often at most: a core with many groups wakes once for all that are
/// due, and nothing that a group waits for is shorter than this.
const GRAIN: u64 = 5_000_000;

/// Sleeps until `deadline`, or up to [`GRAIN`] nanoseconds longer.
pub(super) fn sleep_until(deadline: Instant) -> time::Sleep {
    let nanos = deadline.as_nanos().div_ceil(GRAIN).saturating_mul(GRAIN);
    time::sleep_until(Instant::from_nanos(nanos))
}

pin_project! {
    /// Work, and the time it has. An answer that is there wins over a moment that has passed.
    pub struct TimeLimit<F> {
        #[pin]
        work: F,
        alarm: time::Sleep,
    }
}

impl<F> TimeLimit<F> {
    pub(super) fn new(work: F, alarm: time::Sleep) -> TimeLimit<F> {
        TimeLimit { work, alarm }
    }
}

impl<F: Future> Future for TimeLimit<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.work.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.alarm).poll(cx).map(|()| Err(Elapsed))
    }
}

//! The timers of a real core, and its heartbeat.
//!
//! All sleeps of a core share one [`TimerQueue`]. One task, the driver, waits for the first of
//! them on a few timers of the executor, which it keeps and sets anew: none is ever cancelled, so
//! nothing leaks, and a hundred thousand sleeps cost the kernel one timer.
//!
//! # The heartbeat
//!
//! The executor has a hole: if its thread loses the processor for longer than the preempt timer
//! between arming it and running tasks, it parks although tasks are ready, until something else
//! wakes it. So the driver always has a timer pending: [`BUSY_BEAT`] ahead while tasks run,
//! [`IDLE_BEAT`] ahead on an idle core. The hole can also swallow that beat; behind it stands a
//! ladder of backup beats, each later than the one before and pushed ahead at each turn, which
//! bridges falling into it several times in a row. A core has still been seen asleep behind the
//! whole ladder; [`super::rouse`] bounds that from outside.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::timer::Timer;

use crate::time::{self, Instant, TimerKey, TimerQueue};
use crate::watchdog;

/// The heartbeat of a core with tasks to run.
const BUSY_BEAT: Duration = Duration::from_millis(2);

/// The heartbeat of a core without. It is slow, for each beat costs a turn of the executor, and an
/// idle core that falls into the hole is out of it sooner: [`super::rouse`] sees to that.
const IDLE_BEAT: Duration = Duration::from_secs(1);

/// How far behind the beat the backups stand.
const BACKUPS: [Duration; 3] =
    [Duration::from_millis(3), Duration::from_millis(30), Duration::from_millis(300)];

#[derive(Default)]
struct Timers {
    queue: TimerQueue,
    /// When the driver wakes by itself.
    armed: Option<Instant>,
    /// Of the driver.
    waker: Option<Waker>,
}

thread_local! {
    static TIMERS: RefCell<Timers> = RefCell::default();
}

/// One sleep.
pub(crate) struct Sleep {
    deadline: Instant,
    key: Option<TimerKey>,
}

impl Sleep {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if time::now() >= self.deadline {
            return Poll::Ready(());
        }
        let pending = TIMERS.with_borrow_mut(|timers| {
            self.key.is_some_and(|key| timers.queue.update(key, cx.waker()))
        });
        if !pending {
            let deadline = self.deadline;
            let driver = TIMERS.with_borrow_mut(|timers| {
                self.key = Some(timers.queue.insert(deadline, cx.waker().clone()));
                let too_late = timers.armed.is_none_or(|armed| deadline < armed);
                too_late.then(|| timers.waker.clone()).flatten()
            });
            if let Some(driver) = driver {
                driver.wake();
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            TIMERS.with_borrow_mut(|timers| timers.queue.cancel(key));
        }
    }
}

/// Forgets all timers, when the core ends.
pub(crate) fn clear() {
    TIMERS.with_borrow_mut(|timers| *timers = Timers::default());
}

/// The task that fires the timers; it never ends.
pub(crate) struct Driver {
    beat: Timer,
    backups: [Timer; BACKUPS.len()],
    steps_seen: u64,
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self { beat: Timer::new(BUSY_BEAT), backups: BACKUPS.map(Timer::new), steps_seen: 0 }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = time::now();
        while let Some(due) = TIMERS.with_borrow_mut(|timers| timers.queue.pop_due(now)) {
            due.wake();
        }
        super::net::nudge();
        watchdog::beat();
        let steps = watchdog::report().steps;
        let busy = steps != self.steps_seen;
        self.steps_seen = steps;
        let beat = if busy { BUSY_BEAT } else { IDLE_BEAT };
        let ahead = TIMERS.with_borrow_mut(|timers| {
            let deadline = timers.queue.next_deadline();
            let ahead = deadline.map_or(beat, |first| first.saturating_since(now).min(beat));
            timers.armed = Some(now + ahead);
            timers.waker = Some(cx.waker().clone());
            ahead
        });
        // Set anew in place: a timer that is dropped while pending would leave something behind.
        let this = &mut *self;
        rearm(&mut this.beat, ahead, cx);
        for (timer, behind) in this.backups.iter_mut().zip(BACKUPS) {
            rearm(timer, ahead + behind, cx);
        }
        Poll::Pending
    }
}

/// Sets `timer` to fire after `ahead`.
fn rearm(timer: &mut Timer, ahead: Duration, cx: &mut Context<'_>) {
    timer.reset(ahead);
    if Pin::new(timer).poll(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
}

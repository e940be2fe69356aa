//! How long the steps of this core's tasks take.
//!
//! Every poll of every spawned task is timed. A step longer than [`STALL`] keeps all other tasks,
//! sockets and timers of the core waiting: it is counted, and the stall hook hears the task's name.
//! The figures are this core's own and cost two clock reads a step.
//!
//! A step is timed by the clock on the wall. Where the processor is shared, the kernel may put the
//! core's thread aside in the middle of a step: that is no fault of the task. So a step that took
//! too long is looked at once more: what the thread has waited for a processor since the last
//! heartbeat is taken off. If what is left is no stall, the step counts as preempted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::glommio::run_queue;
use crate::time::Instant;
use crate::world::{self, World};

/// A step longer than this is a stall.
pub const STALL: Duration = Duration::from_millis(5);

/// What this core's tasks did since the core began.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Polls of tasks.
    pub steps: u64,
    /// Steps longer than [`STALL`], not counting what the thread waited for a processor.
    pub stalls: u64,
    /// Steps that took longer than [`STALL`] because the thread waited for a processor.
    pub preempted: u64,
    /// The longest step; of one that was longer than [`STALL`], without that wait.
    pub longest: Duration,
    /// The task that took the longest step; empty before the first step.
    pub longest_task: &'static str,
    /// The sum of all steps.
    pub busy: Duration,
    /// Tasks that ended in a panic, and panics in destructors of cancelled tasks.
    pub panics: u64,
}

/// One step that took too long.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The task's name.
    pub task: &'static str,
    /// How long the step took.
    pub took: Duration,
}

type Hook = Rc<dyn Fn(&Stall)>;

/// The figures and the hook of one core.
#[derive(Default)]
pub(crate) struct Watchdog {
    report: Cell<Report>,
    hook: RefCell<Option<Hook>>,
    /// [`run_queue::waited`] at the last heartbeat.
    waited: Cell<Duration>,
}

impl Watchdog {
    /// Forgets the hook and the figures, when the core ends.
    pub(crate) fn clear(&self) {
        self.report.set(Report::default());
        let _hook = self.hook.replace(None);
    }

    /// `waited` is asked only after a step that took too long.
    fn record(&self, task: &'static str, took: Duration, waited: impl FnOnce() -> Duration) {
        let mut report = self.report.get();
        report.steps += 1;
        report.busy += took;
        let was_long = took > STALL;
        let took = match was_long {
            true => took.saturating_sub(waited().saturating_sub(self.waited.get())),
            false => took,
        };
        if took > report.longest {
            report.longest = took;
            report.longest_task = task;
        }
        let stalled = took > STALL;
        report.preempted += u64::from(was_long && !stalled);
        report.stalls += u64::from(stalled);
        self.report.set(report);
        if stalled {
            let hook = self.hook.borrow().clone();
            if let Some(hook) = hook {
                hook(&Stall { task, took });
            }
        }
    }
}

thread_local! {
    static REAL: Watchdog = Watchdog::default();
}

/// Works with the watchdog of this core.
fn with<T>(work: impl FnOnce(&Watchdog) -> T) -> T {
    match world::current() {
        World::None | World::Glommio => REAL.with(work),
        World::Sim => work(&crate::sim::with(crate::sim::Core::watchdog)),
    }
}

/// This core's figures.
#[must_use]
pub fn report() -> Report {
    with(|watchdog| watchdog.report.get())
}

/// Starts the figures of this core from zero; the hook stays.
pub fn reset() {
    with(|watchdog| watchdog.report.set(Report::default()));
}

/// Calls `hook` on this core after each stalled step, from outside the task that stalled. It must
/// be quick and must not panic. The next call replaces it.
pub fn on_stall(hook: impl Fn(&Stall) + 'static) {
    let _before = with(|watchdog| watchdog.hook.replace(Some(Rc::new(hook))));
}

/// Forgets this core's hook and figures, when the core ends.
pub(crate) fn clear() {
    with(Watchdog::clear);
}

/// Accounts for one step.
pub(crate) fn record(task: &'static str, began: Instant, ended: Instant) {
    let took = ended.saturating_since(began);
    match world::current() {
        World::Sim => with(|watchdog| watchdog.record(task, took, Duration::default)),
        _ => with(|watchdog| watchdog.record(task, took, run_queue::waited)),
    }
}

/// A real core's heartbeat: what it waits for a processor is counted from here on.
pub(crate) fn beat() {
    with(|watchdog| watchdog.waited.set(run_queue::waited()));
}

/// Accounts for one panic that was caught.
pub(crate) fn count_panic() {
    with(|watchdog| {
        let mut report = watchdog.report.get();
        report.panics += 1;
        watchdog.report.set(report);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_step_is_a_stall_with_a_name() {
        let watchdog = Watchdog::default();
        let heard = Rc::new(RefCell::new(Vec::new()));
        let hears = heard.clone();
        let hook: Hook = Rc::new(move |stall: &Stall| hears.borrow_mut().push(*stall));
        watchdog.hook.replace(Some(hook));
        for (task, ms) in [("quick", 1), ("just in time", 5), ("slow", 6)] {
            watchdog.record(task, Duration::from_millis(ms), Duration::default);
        }
        let stall = Stall { task: "slow", took: Duration::from_millis(6) };
        assert_eq!(*heard.borrow(), [stall]);
        let report = watchdog.report.get();
        assert_eq!((report.steps, report.stalls, report.preempted), (3, 1, 0));
        assert_eq!(report.longest_task, "slow");
        assert_eq!(report.busy, Duration::from_millis(12));
    }

    #[test]
    fn a_thread_that_was_put_aside_is_no_stall() {
        let watchdog = Watchdog::default();
        let ms = Duration::from_millis;
        watchdog.waited.set(ms(100));
        watchdog.record("put aside", ms(20), || ms(117));
        watchdog.record("slow all the same", ms(20), || ms(110));
        let report = watchdog.report.get();
        assert_eq!((report.preempted, report.stalls), (1, 1));
        assert_eq!((report.longest, report.longest_task), (ms(10), "slow all the same"));
    }
}

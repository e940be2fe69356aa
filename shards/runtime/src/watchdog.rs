//! How long the steps of this core's tasks take.
//!
//! Every poll of every spawned task is timed. A step longer than [`STALL`] keeps all other tasks,
//! sockets and timers of the core waiting: it is counted, and the stall hook hears the task's name.
//! The figures are this core's own and cost two clock reads a step.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::time::Instant;
use crate::world::{self, World};

/// A step longer than this is a stall.
pub const STALL: Duration = Duration::from_millis(5);

/// What this core's tasks did since the core began.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Polls of tasks.
    pub steps: u64,
    /// Steps longer than [`STALL`].
    pub stalls: u64,
    /// The longest step.
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
}

impl Watchdog {
    /// Forgets the hook and the figures, when the core ends.
    pub(crate) fn clear(&self) {
        self.report.set(Report::default());
        let _hook = self.hook.replace(None);
    }

    fn record(&self, task: &'static str, took: Duration) {
        let mut report = self.report.get();
        report.steps += 1;
        report.busy += took;
        if took > report.longest {
            report.longest = took;
            report.longest_task = task;
        }
        let stalled = took > STALL;
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
    with(|watchdog| watchdog.record(task, ended.saturating_since(began)));
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
        clear();
        let heard = Rc::new(RefCell::new(Vec::new()));
        let hears = heard.clone();
        on_stall(move |stall| hears.borrow_mut().push(*stall));
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        record("quick", at(0), at(1));
        record("just in time", at(1), at(6));
        record("slow", at(6), at(12));
        let stall = Stall { task: "slow", took: Duration::from_millis(6) };
        assert_eq!(*heard.borrow(), [stall]);
        let report = report();
        assert_eq!((report.steps, report.stalls), (3, 1));
        assert_eq!(report.longest_task, "slow");
        assert_eq!(report.busy, Duration::from_millis(12));
        clear();
    }
}

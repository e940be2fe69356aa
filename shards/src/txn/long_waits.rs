//! Waits that last, as those see them who look for transactions that wait for each other.
//!
//! The transactions of a circle may wait on several cores, so the routers look for circles, in what
//! all cores say ([`CoreContext::waits`]). A core tells its router when to look. Most locks come
//! soon and nobody need look; and a circle is closed by the wait that began last, so a wait that was
//! looked at need not be looked at again, unless something was missed.

use super::context::{CoreContext, Woken};
use super::locks::{LockReport, WaitNumber};
use model::error::SqlError;
use runtime::time::{self, Instant};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// A wait that lasts so long may be part of a circle.
const LOOK_AFTER: Duration = Duration::from_millis(10);

/// A wait that was looked at is looked at again after this.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Says when it is worth while to look at waits, which have numbers in the order in which they began.
#[derive(Debug, Default)]
pub struct Lookout(Cell<Looked>);

/// What was looked at.
#[derive(Debug, Clone, Copy)]
struct Looked {
    /// All waits up to this one.
    last: WaitNumber,
    at: Instant,
}

impl Default for Looked {
    fn default() -> Looked {
        Looked { last: WaitNumber(0), at: Instant::from_nanos(0) }
    }
}

impl Lookout {
    /// How long to let waits be before it is asked again.
    pub const EVERY: Duration = LOOK_AFTER;

    /// Whether any of these has lasted long enough to be looked at. Whoever is told so looks at all
    /// of them. `since` knows when a wait began.
    pub fn is_due<T>(
        &self,
        waiting: &BTreeMap<WaitNumber, T>,
        since: impl Fn(&T) -> Instant,
    ) -> bool {
        let (Some((_, first)), Some((&last, _))) =
            (waiting.first_key_value(), waiting.last_key_value())
        else {
            return false;
        };
        let looked = self.0.get();
        let behind = (Bound::Excluded(looked.last), Bound::Unbounded);
        let first_new = waiting.range(behind).next();
        let is_new = first_new.is_some_and(|(_, new)| since(new).elapsed() >= LOOK_AFTER);
        let is_old =
            since(first).elapsed() >= LOOK_AGAIN_AFTER && looked.at.elapsed() >= LOOK_AGAIN_AFTER;
        if is_new || is_old {
            self.0.set(Looked { last: last.max(looked.last), at: time::now() });
        }
        is_new || is_old
    }
}

impl CoreContext {
    /// Waits until somebody has waited long enough to be part of a circle. Whoever calls this looks
    /// at all waits of now afterwards.
    pub(crate) async fn long_wait(&self) {
        loop {
            if self.waiting.borrow().is_empty() {
                self.queued.notified().await;
            }
            time::sleep(Lookout::EVERY).await;
            if self.lookout.is_due(&self.waiting.borrow(), |waiting| waiting.since) {
                return;
            }
        }
    }

    /// Who holds and who waits for what.
    pub(crate) fn lock_reports(&self) -> Vec<LockReport> {
        let waiting = self.waiting.borrow();
        let waited = |wait: WaitNumber| waiting.get(&wait).map(|waiting| waiting.since.elapsed());
        self.locks.borrow().report(|wait| waited(wait).unwrap_or_default())
    }

    /// Fails a request for a lock, if it still waits. Returns whether it did.
    pub(crate) fn sacrifice(&self, wait: WaitNumber, error: SqlError) -> bool {
        let Some(waiting) = self.waiting.borrow_mut().remove(&wait) else { return false };
        self.deadlocks.set(self.deadlocks.get() + 1);
        waiting.woken.send(Woken::Failed(error)).is_ok()
    }
}

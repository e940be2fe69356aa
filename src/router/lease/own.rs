//! The lease of this node, as a core of it knows. Pure: the time is told.

use super::LEASE;
use runtime::time::Instant;
use std::cell::Cell;
use std::time::Duration;

/// A core's knowledge of its node's lease.
#[derive(Debug, Default)]
pub(in crate::router) struct Own {
    until: Cell<Option<Instant>>,
}

impl Own {
    /// Whether statements may be served.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.until.get().is_some_and(|until| now < until)
    }

    /// How much of the lease is left.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.until.get().map_or(Duration::ZERO, |until| until.saturating_since(now))
    }

    /// The lease is good for so long from when it was `asked` for. It may have been good for longer
    /// already.
    pub(super) fn extend(&self, asked: Instant, good_for: Duration) {
        let until = asked + good_for.min(LEASE);
        self.until.set(Some(self.until.get().map_or(until, |known| known.max(until))));
    }

    /// There is none any more.
    pub(super) fn end(&self) {
        self.until.set(None);
    }
}

//! Which snapshots are being read on a core, and from when on versions must be kept.

use model::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// The snapshots of one core.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    in_use: RefCell<BTreeMap<Timestamp, u32>>,
    /// No snapshot before this one is served any more.
    collected: Cell<Timestamp>,
}

/// A snapshot in use; its versions are kept until this is dropped.
#[derive(Debug)]
pub(crate) struct SnapshotGuard {
    snapshots: Rc<Snapshots>,
    at: Timestamp,
}

impl Snapshots {
    /// Keeps the versions that a snapshot sees; `None` where some may be gone.
    pub(crate) fn enter(self: &Rc<Self>, at: Timestamp) -> Option<SnapshotGuard> {
        if at < self.collected.get() {
            return None;
        }
        *self.in_use.borrow_mut().entry(at).or_default() += 1;
        Some(SnapshotGuard { snapshots: self.clone(), at })
    }

    /// Whether a snapshot can be served, for a read that ends before it returns.
    pub(crate) fn allows(&self, at: Timestamp) -> bool {
        at >= self.collected.get()
    }

    /// Moves on to what may be collected now: everything that was replaced `retention` ago and
    /// that no snapshot in use sees.
    pub(crate) fn collect_before(&self, now: Timestamp, retention: Duration) -> Timestamp {
        let retention = u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX);
        let oldest = self.in_use.borrow().keys().next().copied().unwrap_or(Timestamp::MAX);
        let before = Timestamp(now.0.saturating_sub(retention)).min(oldest);
        self.collected.set(self.collected.get().max(before));
        self.collected.get()
    }
}

impl Drop for SnapshotGuard {
    fn drop(&mut self) {
        let mut in_use = self.snapshots.in_use.borrow_mut();
        if let Some(count) = in_use.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                in_use.remove(&self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_in_use_keeps_its_versions() {
        let snapshots = Rc::new(Snapshots::default());
        let second = Duration::from_secs(1);
        let guard = snapshots.enter(Timestamp(5)).unwrap();
        assert_eq!(snapshots.collect_before(Timestamp(9_000_000_000), second), Timestamp(5));
        assert!(snapshots.enter(Timestamp(4)).is_none());
        drop(guard);
        let before = snapshots.collect_before(Timestamp(9_000_000_000), second);
        assert_eq!(before, Timestamp(8_000_000_000));
        assert!(!snapshots.allows(Timestamp(7_000_000_000)));
    }
}

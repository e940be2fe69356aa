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
    /// that no snapshot in use sees which is not older than `age_max`.
    pub(crate) fn collect_before(
        &self,
        now: Timestamp,
        retention: Duration,
        age_max: Duration,
    ) -> Timestamp {
        let ago = |age: Duration| {
            let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            Timestamp(now.0.saturating_sub(age))
        };
        let oldest = self.in_use.borrow().keys().next().copied().unwrap_or(Timestamp::MAX);
        let before = ago(retention).min(oldest.max(ago(age_max)));
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
        let collect = |now, age_max| snapshots.collect_before(Timestamp(now), second, age_max);
        let guard = snapshots.enter(Timestamp(5)).unwrap();
        assert_eq!(collect(9_000_000_000, second * 60), Timestamp(5));
        assert!(snapshots.enter(Timestamp(4)).is_none());
        drop(guard);
        assert_eq!(collect(9_000_000_000, second * 60), Timestamp(8_000_000_000));
        assert!(!snapshots.allows(Timestamp(7_000_000_000)));
    }

    #[test]
    fn a_snapshot_keeps_them_for_so_long() {
        let snapshots = Rc::new(Snapshots::default());
        let second = Duration::from_secs(1);
        let _guard = snapshots.enter(Timestamp(5_000_000_000)).unwrap();
        let collect = |now| snapshots.collect_before(Timestamp(now), second, second * 4);
        assert_eq!(collect(9_000_000_000), Timestamp(5_000_000_000));
        assert!(snapshots.allows(Timestamp(5_000_000_000)));
        assert_eq!(collect(9_000_000_001), Timestamp(5_000_000_001));
        assert!(!snapshots.allows(Timestamp(5_000_000_000)), "in use or not");
    }
}

//! Damage that was met in files of this core's trees, by whoever met it: a read, a flush, a
//! compaction, the scrub. Each damaged place is told once, to all who ask: who logs it, and who
//! repairs it from another replica.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};

use model::id::PartitionId;
use runtime::sync::Notify;

use super::error::Corruption;

/// Damaged places that are told of; where there are so many, the trees are lost as they are, and
/// more of it is neither told nor counted.
const DAMAGES_MAX: usize = 1_024;

/// A damaged place in a file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamageReport {
    /// Reports of a core are numbered from 1 in the order in which the damage was met.
    pub number: u64,
    /// Whose rows the file holds.
    pub partition: PartitionId,
    /// File, offset, and what is wrong there.
    pub corruption: Corruption,
}

/// The damage of one core.
#[derive(Default)]
pub(crate) struct Damages {
    reports: RefCell<VecDeque<DamageReport>>,
    count: Cell<u64>,
    found: Notify,
}

impl Damages {
    /// Takes note of damage that was met.
    pub(crate) fn report(&self, partition: PartitionId, corruption: &Corruption) {
        let mut reports = self.reports.borrow_mut();
        let is_known = reports.iter().any(|known| {
            known.corruption.offset == corruption.offset && known.corruption.file == corruption.file
        });
        if is_known || reports.len() >= DAMAGES_MAX {
            return;
        }
        let number = self.count.get() + 1;
        self.count.set(number);
        let corruption = corruption.clone();
        reports.push_back(DamageReport { number, partition, corruption });
        self.found.notify_all();
    }

    /// A tree's files were replaced by whole ones.
    pub(crate) fn forget(&self, partition: PartitionId) {
        self.reports.borrow_mut().retain(|report| report.partition != partition);
    }

    /// Places that were found damaged so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Partitions whose trees have damaged files, each once.
    pub(crate) fn partitions(&self) -> BTreeSet<PartitionId> {
        self.reports.borrow().iter().map(|report| report.partition).collect()
    }

    fn after(&self, seen: u64) -> Option<DamageReport> {
        self.reports.borrow().iter().find(|report| report.number > seen).cloned()
    }

    /// The first report after the one of number `seen`, as soon as there is one.
    pub(crate) async fn next(&self, seen: u64) -> DamageReport {
        loop {
            if let Some(report) = self.after(seen) {
                return report;
            }
            self.found.notified().await;
        }
    }
}

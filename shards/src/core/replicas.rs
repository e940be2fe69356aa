//! The partitions that have a replica on a core.

use crate::txn::Partition;
use model::id::PartitionId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A core's partitions, by id. More may come, and some go.
#[derive(Default)]
pub(crate) struct Partitions {
    all: RefCell<BTreeMap<PartitionId, Rc<Partition>>>,
}

impl Partitions {
    /// One of them.
    pub(crate) fn get(&self, partition: PartitionId) -> Option<Rc<Partition>> {
        self.all.borrow().get(&partition).cloned()
    }

    /// All of them, as they are now.
    pub(crate) fn all(&self) -> Vec<Rc<Partition>> {
        self.all.borrow().values().cloned().collect()
    }

    /// One less.
    pub(crate) fn remove(&self, partition: PartitionId) {
        self.all.borrow_mut().remove(&partition);
    }

    /// None any more. Nothing that would look for one may run afterwards.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.all.borrow_mut());
        drop(all);
    }

    /// One more.
    pub(crate) fn insert(&self, partition: Rc<Partition>) {
        self.all.borrow_mut().insert(partition.id, partition);
    }
}

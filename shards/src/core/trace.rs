//! Where the requests of a statement went.

use model::id::PartitionId;
use model::placement::Place;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Counts the requests that go through an [`Engine`](super::Engine) that was given it.
#[derive(Debug, Default)]
pub struct Trace {
    answered: RefCell<BTreeMap<(Place, PartitionId), u64>>,
    missed: Cell<u64>,
}

/// What a partition has answered at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// Where it was led.
    pub place: Place,
    /// The partition.
    pub partition: PartitionId,
    /// How many requests it has answered there; a read counts once.
    pub requests: u64,
}

impl Trace {
    pub(super) fn note(&self, place: Place, partition: PartitionId) {
        *self.answered.borrow_mut().entry((place, partition)).or_default() += 1;
    }

    pub(super) fn miss(&self) {
        self.missed.set(self.missed.get() + 1);
    }

    /// Who has answered, by node, core and partition.
    pub fn visits(&self) -> Vec<Visit> {
        let answered = self.answered.borrow();
        let visit = |(&(place, partition), &requests)| Visit { place, partition, requests };
        answered.iter().map(visit).collect()
    }

    /// How many requests went to a place in vain first: it did not lead, or could not be reached.
    pub fn missed(&self) -> u64 {
        self.missed.get()
    }
}

//! What a session holds of sequences: the values it was given last, and those that `CACHE` lets it
//! take ahead.

use super::Run;
use crate::catalog::Sequence;
use model::id::ObjectId;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};

/// A session's. It has an entry for each sequence that the session has used.
#[derive(Default)]
pub struct HeldSequences {
    held: RefCell<HashMap<ObjectId, Held>>,
    /// The sequence that gave the last value.
    last: Cell<Option<ObjectId>>,
}

#[derive(Default)]
struct Held {
    last: Option<i64>,
    /// The state that the values are of: those of another one are dropped.
    state: Option<ObjectId>,
    ahead: VecDeque<Run>,
}

impl HeldSequences {
    /// Forgets everything.
    pub fn clear(&self) {
        self.held.borrow_mut().clear();
        self.last.set(None);
    }

    /// The value given last of a sequence.
    pub(super) fn current(&self, sequence: ObjectId) -> Option<i64> {
        self.held.borrow().get(&sequence).and_then(|held| held.last)
    }

    /// The sequence that gave the last value of all.
    pub(super) fn last(&self) -> Option<ObjectId> {
        self.last.get()
    }

    /// Notes what was given. `lasting`: also for `lastval`.
    pub(super) fn note(&self, sequence: ObjectId, value: i64) {
        self.held.borrow_mut().entry(sequence).or_default().last = Some(value);
        self.last.set(Some(sequence));
    }

    /// Takes up to `count` of the values that are there.
    pub(super) fn take(&self, sequence: &Sequence, count: usize) -> Vec<i64> {
        let mut all = self.held.borrow_mut();
        let Some(held) = all.get_mut(&sequence.id) else { return Vec::new() };
        if held.state != Some(sequence.state) {
            held.ahead.clear();
        }
        take(&mut held.ahead, count)
    }

    /// Keeps values for later.
    pub(super) fn keep(&self, sequence: &Sequence, ahead: VecDeque<Run>) {
        let mut all = self.held.borrow_mut();
        let held = all.entry(sequence.id).or_default();
        (held.state, held.ahead) = (Some(sequence.state), ahead);
    }

    /// Drops what was taken ahead.
    pub(super) fn drop_ahead(&self, sequence: ObjectId) {
        if let Some(held) = self.held.borrow_mut().get_mut(&sequence) {
            held.ahead.clear();
        }
    }
}

/// Takes up to `count` values out of runs.
pub(super) fn take(runs: &mut VecDeque<Run>, count: usize) -> Vec<i64> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count
        && let Some(run) = runs.front_mut()
    {
        match run.take_first() {
            Some(value) => values.push(value),
            None => drop(runs.pop_front()),
        }
    }
    values
}

//! The compensation of one saga, as a pure state machine: events in, actions out. The driver
//! (`src/router/sagas`) carries the actions out and feeds back what happened.
//!
//! ```text
//!            ┌──────────────────────────── pause over ◄── Rest ◄──┐
//!            ▼                                                    │
//!  start ─► Claim ─► steps that are left, last first              │
//!            │         │                                          │
//!            │         ├─► Undo(n) ─► Undo(n-1) ─► ... ─► End ──► done
//!            │         │      │ fails                      │ fails
//!            │         │      ▼                            ▼
//!            │         │    Note the failure ─────────────►┘
//!            │         └ none ─► End
//!            └ it has ended ─► done
//! ```
//!
//! `Claim` makes the saga's row say that it is being compensated: no step of it and no commit gets
//! through any more, and one that is under way is waited for. Each `Undo` is a transaction that runs
//! the compensation and deletes its record, so that it happens once, however often it is tried.
//! Nothing here is needed for recovery: a saga that is claimed twice is gone on with.

use model::error::SqlError;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The pause after the first failure; each one after it doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A saga of the cluster. No number is given twice.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct SagaId(pub i64);

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The saga is claimed, and these of its steps are to be undone: the last one first. `None`: it
    /// has ended, or there is none.
    Claimed(Option<Vec<u32>>),
    /// A step is undone.
    Undone,
    /// Its row says that the saga is compensated.
    Ended,
    /// What was asked for last did not happen, or it is not known whether it did.
    Failed(SqlError),
    /// The failure is noted, as far as it could be.
    Noted,
    /// The pause is over.
    Rested,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Keep everybody else out of the saga, and find out what is left to be done.
    Claim,
    /// Run the compensation of this step.
    Undo(u32),
    /// Write that all is done.
    End,
    /// Write that it failed, and why.
    Note(SqlError),
    /// Wait before the next attempt. Whoever waits for this one is told of the error.
    Rest(Duration, SqlError),
    /// Nothing more.
    Done,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Claiming,
    Undoing(Vec<u32>),
    Ending,
    Noting(SqlError),
    Resting,
    Done,
}

/// The compensation of one saga.
#[derive(Debug)]
pub struct Compensation {
    phase: Phase,
    /// Failures since a step was undone.
    failures: u32,
    undone: u32,
}

impl Compensation {
    /// Starts with the first action.
    pub fn start() -> (Compensation, Action) {
        (Compensation { phase: Phase::Claiming, failures: 0, undone: 0 }, Action::Claim)
    }

    /// Steps that were undone here.
    pub fn undone(&self) -> u32 {
        self.undone
    }

    /// Takes what happened and says what is to be done. `None`: the event does not belong to the
    /// phase, and changes nothing.
    pub fn step(&mut self, event: Event) -> Option<Action> {
        let action = match (&mut self.phase, event) {
            (Phase::Claiming, Event::Claimed(None)) | (Phase::Ending, Event::Ended) => {
                self.phase = Phase::Done;
                Action::Done
            }
            (Phase::Claiming, Event::Claimed(Some(steps))) => self.go_on(steps),
            (Phase::Undoing(left), Event::Undone) => {
                let left = left.split_off(1);
                (self.failures, self.undone) = (0, self.undone + 1);
                self.go_on(left)
            }
            (Phase::Claiming | Phase::Undoing(_) | Phase::Ending, Event::Failed(error)) => {
                self.failures = self.failures.saturating_add(1);
                self.phase = Phase::Noting(error.clone());
                Action::Note(error)
            }
            // The note itself may fail: it is for the eye only.
            (Phase::Noting(error), Event::Noted | Event::Failed(_)) => {
                let error = error.clone();
                self.phase = Phase::Resting;
                Action::Rest(pause(self.failures), error)
            }
            (Phase::Resting, Event::Rested) => {
                self.phase = Phase::Claiming;
                Action::Claim
            }
            _ => return None,
        };
        Some(action)
    }

    fn go_on(&mut self, left: Vec<u32>) -> Action {
        match left.first() {
            Some(&next) => {
                self.phase = Phase::Undoing(left);
                Action::Undo(next)
            }
            None => {
                self.phase = Phase::Ending;
                Action::End
            }
        }
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    PAUSE_MAX.min(PAUSE_MIN * (1 << doublings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::error::SqlState;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn error() -> SqlError {
        SqlError::new(SqlState::LOCK_NOT_AVAILABLE, "locked")
    }

    #[test]
    fn the_last_step_is_undone_first() {
        let (mut saga, action) = Compensation::start();
        assert_eq!(action, Action::Claim);
        assert_eq!(saga.step(Event::Claimed(Some(vec![3, 1]))), Some(Action::Undo(3)));
        assert_eq!(saga.step(Event::Undone), Some(Action::Undo(1)));
        assert_eq!(saga.step(Event::Undone), Some(Action::End));
        assert_eq!(saga.step(Event::Ended), Some(Action::Done));
        assert_eq!(saga.undone(), 2);
    }

    #[test]
    fn a_saga_without_steps_only_ends_and_one_that_has_ended_is_left_alone() {
        let (mut saga, _) = Compensation::start();
        assert_eq!(saga.step(Event::Claimed(Some(Vec::new()))), Some(Action::End));
        let (mut saga, _) = Compensation::start();
        assert_eq!(saga.step(Event::Claimed(None)), Some(Action::Done));
        assert_eq!(saga.step(Event::Claimed(Some(vec![1]))), None, "nothing follows");
    }

    #[test]
    fn a_failure_is_noted_and_all_is_looked_at_again_after_a_pause() {
        let (mut saga, _) = Compensation::start();
        saga.step(Event::Claimed(Some(vec![2, 1])));
        assert_eq!(saga.step(Event::Failed(error())), Some(Action::Note(error())));
        assert_eq!(saga.step(Event::Noted), Some(Action::Rest(PAUSE_MIN, error())));
        assert_eq!(saga.step(Event::Undone), None, "an answer that is too late");
        assert_eq!(saga.step(Event::Rested), Some(Action::Claim));
        // It was not known whether it happened: it did.
        assert_eq!(saga.step(Event::Claimed(Some(vec![1]))), Some(Action::Undo(1)));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_are_short_again_after_progress() {
        let (mut saga, _) = Compensation::start();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            saga.step(Event::Failed(error()));
            let Some(Action::Rest(pause, _)) = saga.step(Event::Failed(error())) else {
                panic!("a pause, also where the note fails")
            };
            pauses.push(pause);
            saga.step(Event::Rested);
        }
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[1], pauses[39]), (PAUSE_MIN, PAUSE_MIN * 2, PAUSE_MAX));
        saga.step(Event::Claimed(Some(vec![2, 1])));
        saga.step(Event::Undone);
        saga.step(Event::Failed(error()));
        assert_eq!(saga.step(Event::Noted), Some(Action::Rest(PAUSE_MIN, error())));
    }

    proptest! {
        /// Whatever fails, and whether or not it was done all the same: each step is undone once, in
        /// order, and the saga ends.
        #[test]
        fn every_step_is_undone_once(steps in 0..6_u32, fates in vec(0..4_u8, 0..60)) {
            let mut left: Vec<u32> = (1..=steps).rev().collect();
            let (mut undone, mut ended) = (Vec::new(), false);
            let mut fates = fates.into_iter();
            let (mut saga, mut action) = Compensation::start();
            loop {
                // 0: fails; 1: is done, and it is not known; otherwise it is done.
                let fate = fates.next().unwrap_or(2);
                let event = match &action {
                    Action::Claim if fate == 0 => Event::Failed(error()),
                    Action::Claim => Event::Claimed((!ended).then(|| left.clone())),
                    Action::Undo(step) => {
                        // The transaction finds the record, or it does nothing.
                        if fate > 0 && left.first() == Some(step) {
                            undone.push(left.remove(0));
                        }
                        if fate > 1 { Event::Undone } else { Event::Failed(error()) }
                    }
                    Action::End => {
                        prop_assert!(left.is_empty());
                        ended |= fate > 0;
                        if fate > 1 { Event::Ended } else { Event::Failed(error()) }
                    }
                    Action::Note(_) if fate == 0 => Event::Failed(error()),
                    Action::Note(_) => Event::Noted,
                    Action::Rest(..) => Event::Rested,
                    Action::Done => break,
                };
                action = saga.step(event).expect("the event belongs to the action");
            }
            prop_assert!(ended);
            prop_assert_eq!(undone, (1..=steps).rev().collect::<Vec<_>>());
        }
    }
}

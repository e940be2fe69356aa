//! Sequences, as expressions see them.
//!
//! Expressions are evaluated in one go, and a value of a sequence may have to come from another
//! core. So an operator that calls sequences evaluates its rows in *runs*:
//!
//! ```text
//!   run: row 1, row 2, ... rows n ──► a call without an answer is noted, and the run goes on with a
//!                                     stand-in, to learn what the rows behind it will ask for
//!   supply: what was noted is asked for at once ──► run again, from the first row that lacked an answer
//! ```
//!
//! A row counts only if every call in it was answered; what was evaluated with a stand-in is thrown
//! away, its errors too. So the values of all rows of an `INSERT` come with one question, each row
//! calls what PostgreSQL would call, in its order, and a branch that is not taken draws nothing. Only
//! where what is called depends on a value that is still to come may a run ask for more than its rows
//! take; such values serve later rows of the statement, or are lost, as those of a rollback are.
//!
//! `setval` and looks at a sequence's state are carried out alone: a run stops there until everything
//! before it is answered.

use super::context::ExecContext;
use futures::future::LocalBoxFuture;
use model::error::{SqlError, SqlState};
use model::value::Value;
use rkyv::{Archive, Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Stands in for a value that is still to come.
const STAND_IN: i64 = 0;

/// A sequence by its oid.
pub type SequenceOid = u32;

/// What is asked of a sequence besides values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCall {
    /// `setval`
    Set {
        /// Of which sequence.
        sequence: SequenceOid,
        /// The value it is at.
        value: i64,
        /// Whether that value counts as given.
        called: bool,
    },
    /// What the sequence's relation shows.
    State(SequenceOid),
}

/// A sequence's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SequenceState {
    /// The value given last, or the one to be given first.
    pub last_value: i64,
    /// How many values are reserved beyond it.
    pub reserved: i64,
    /// Whether that value has been given.
    pub called: bool,
}

/// Values that were drawn.
#[derive(Debug)]
pub struct Drawn {
    /// As many as there were.
    pub values: Vec<i64>,
    /// Why there are no more.
    pub end: Option<SqlError>,
}

/// Carries out what a statement asks of sequences, for one session.
pub trait SequenceSource {
    /// Draws the next values.
    fn draw(
        &self,
        sequence: SequenceOid,
        count: usize,
    ) -> LocalBoxFuture<'_, Result<Drawn, SqlError>>;

    /// Carries out a call.
    fn call(&self, call: SequenceCall) -> LocalBoxFuture<'_, Result<SequenceState, SqlError>>;

    /// `currval`: the value that the session was given last; 55000 where it was given none.
    fn current(&self, sequence: SequenceOid) -> Result<i64, SqlError>;

    /// The sequence that gave the session its last value; 55000 where none has.
    fn last(&self) -> Result<SequenceOid, SqlError>;

    /// Notes what the session was given.
    fn note(&self, sequence: SequenceOid, value: i64);
}

/// The calls of one statement. One for each statement that calls sequences.
pub struct SequenceCalls {
    source: Rc<dyn SequenceSource>,
    running: Cell<bool>,
    run: RefCell<Run>,
}

/// Values that were drawn and not given to a row yet.
#[derive(Default)]
struct Supply {
    values: VecDeque<i64>,
    /// How many of them the run has given.
    given: usize,
    end: Option<SqlError>,
}

#[derive(Default)]
struct Run {
    supplies: HashMap<SequenceOid, Supply>,
    /// Answers to calls, in the order of the calls.
    answers: VecDeque<(SequenceCall, SequenceState)>,
    /// How many of them the run has given.
    answered: usize,
    /// What the row at hand was given, in order.
    given: Vec<(SequenceOid, i64)>,
    /// Values that were not there, by sequence, in the order in which they were asked for.
    missing: Vec<(SequenceOid, usize)>,
    /// The call at which the run stopped.
    stopped: Option<SequenceCall>,
    /// The state that the row at hand has seen last, while it has changed nothing: the columns of
    /// one row show one state.
    shown: Option<(SequenceOid, SequenceState)>,
}

impl SequenceCalls {
    /// The calls of a statement of the session that `source` serves.
    pub fn new(source: Rc<dyn SequenceSource>) -> SequenceCalls {
        SequenceCalls { source, running: Cell::new(false), run: RefCell::default() }
    }

    /// `nextval`
    pub(super) fn next(&self, sequence: SequenceOid) -> Result<i64, SqlError> {
        self.require_run()?;
        let run = &mut *self.run.borrow_mut();
        let supply = run.supplies.entry(sequence).or_default();
        if let Some(&value) = supply.values.get(supply.given) {
            supply.given += 1;
            run.given.push((sequence, value));
            run.shown = None;
            return Ok(value);
        }
        if let Some(end) = &supply.end {
            return Err(end.clone());
        }
        match run.missing.iter_mut().find(|(known, _)| *known == sequence) {
            Some((_, count)) => *count += 1,
            None => run.missing.push((sequence, 1)),
        }
        Ok(STAND_IN)
    }

    /// `currval`
    pub(super) fn current(&self, sequence: SequenceOid) -> Result<i64, SqlError> {
        self.require_run()?;
        let run = self.run.borrow();
        match run.given.iter().rev().find(|(known, _)| *known == sequence) {
            Some((_, value)) => Ok(*value),
            None if !run.missing.is_empty() => Ok(STAND_IN),
            None => self.source.current(sequence),
        }
    }

    /// `lastval`
    pub(super) fn last(&self) -> Result<i64, SqlError> {
        self.require_run()?;
        let run = self.run.borrow();
        match run.given.last() {
            Some((_, value)) => Ok(*value),
            None if !run.missing.is_empty() => Ok(STAND_IN),
            None => self.source.current(self.source.last()?),
        }
    }

    /// A call that is carried out alone.
    pub(super) fn call(&self, call: SequenceCall) -> Result<SequenceState, SqlError> {
        self.require_run()?;
        let run = &mut *self.run.borrow_mut();
        if let (SequenceCall::State(wanted), Some((shown, state))) = (call, run.shown)
            && wanted == shown
        {
            return Ok(state);
        }
        if run.missing.is_empty()
            && let Some((known, state)) = run.answers.get(run.answered)
        {
            if *known != call {
                return Err(SqlError::internal("a row asks something else when it is run again"));
            }
            run.answered += 1;
            run.shown = match call {
                SequenceCall::State(sequence) => Some((sequence, *state)),
                SequenceCall::Set { .. } => None,
            };
            if let SequenceCall::Set { sequence, value, called: true } = call {
                run.given.push((sequence, value));
            }
            return Ok(*state);
        }
        run.stopped.get_or_insert(call);
        Err(SqlError::internal("a call of a sequence waits for its answer"))
    }

    /// Operators that evaluate in one go have no way to wait.
    fn require_run(&self) -> Result<(), SqlError> {
        if self.running.get() { Ok(()) } else { Err(misplaced()) }
    }

    fn begin(&self) {
        let run = &mut *self.run.borrow_mut();
        run.supplies.values_mut().for_each(|supply| supply.given = 0);
        run.answered = 0;
    }

    /// Evaluates a row; `None` where an answer was missing, in it or in one before it.
    fn row<T>(
        &self,
        evaluate: impl FnOnce() -> Result<T, SqlError>,
    ) -> Option<Result<T, SqlError>> {
        self.running.set(true);
        let result = evaluate();
        self.running.set(false);
        let run = &mut *self.run.borrow_mut();
        run.shown = None;
        if !run.missing.is_empty() || run.stopped.is_some() {
            run.given.clear();
            return None;
        }
        for supply in run.supplies.values_mut() {
            supply.values.drain(..supply.given);
            supply.given = 0;
        }
        run.answers.drain(..run.answered);
        run.answered = 0;
        for (sequence, value) in run.given.drain(..) {
            self.source.note(sequence, value);
        }
        Some(result)
    }

    fn has_stopped(&self) -> bool {
        self.run.borrow().stopped.is_some()
    }

    /// Gets what the last run lacked.
    async fn supply(&self) -> Result<(), SqlError> {
        let (missing, stopped) = {
            let run = &mut *self.run.borrow_mut();
            (std::mem::take(&mut run.missing), run.stopped.take())
        };
        if let (true, Some(call)) = (missing.is_empty(), stopped) {
            let state = self.source.call(call).await?;
            self.run.borrow_mut().answers.push_back((call, state));
        }
        for (sequence, count) in missing {
            let drawn = self.source.draw(sequence, count).await?;
            let run = &mut *self.run.borrow_mut();
            let supply = run.supplies.entry(sequence).or_default();
            supply.values.extend(drawn.values);
            supply.end = drawn.end;
        }
        Ok(())
    }
}

/// Evaluates rows `0..rows`, in order, with the calls of sequences in them. `evaluate` may be called
/// several times for a row.
///
/// # Errors
/// Those of the first row that fails, and those of the sequences.
pub async fn evaluate_rows<T>(
    context: &ExecContext,
    rows: usize,
    mut evaluate: impl FnMut(usize) -> Result<T, SqlError>,
) -> Result<Vec<T>, SqlError> {
    let calls = context.sequences.as_ref().ok_or_else(misplaced)?;
    let mut done = Vec::with_capacity(rows);
    loop {
        calls.begin();
        for row in done.len()..rows {
            match calls.row(|| evaluate(row)) {
                Some(value) => done.push(value?),
                None if calls.has_stopped() => break,
                None => {}
            }
        }
        if done.len() == rows {
            return Ok(done);
        }
        calls.supply().await?;
        context.pause().await?;
    }
}

/// 0A000: where nobody can wait for an answer.
pub(super) fn misplaced() -> SqlError {
    SqlError::unsupported("a function of sequences in this place")
        .hint("Call it in a select list, in VALUES, in SET or in WHERE.")
}

/// The oid that an argument of type `regclass` is. 42P01 where it cannot be one.
pub fn oid_of(value: &Value) -> Result<SequenceOid, SqlError> {
    match value {
        Value::Int(oid) => u32::try_from(*oid).map_err(|_negative| no_relation(*oid)),
        _ => Err(SqlError::internal("a sequence that is no oid")),
    }
}

fn no_relation(oid: i64) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_TABLE, format!("could not open relation with OID {oid}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::memory::MemoryAccount;
    use futures::executor::block_on;
    use std::sync::Arc;

    const A: SequenceOid = 1;
    const B: SequenceOid = 2;

    /// Counts up, and remembers what it was asked.
    #[derive(Default)]
    struct Counters {
        at: RefCell<HashMap<SequenceOid, i64>>,
        asked: RefCell<Vec<String>>,
        noted: RefCell<Vec<(SequenceOid, i64)>>,
        limit: Option<i64>,
    }

    impl SequenceSource for Counters {
        fn draw(
            &self,
            sequence: SequenceOid,
            count: usize,
        ) -> LocalBoxFuture<'_, Result<Drawn, SqlError>> {
            self.asked.borrow_mut().push(format!("{count} of {sequence}"));
            let mut at = self.at.borrow_mut();
            let at = at.entry(sequence).or_default();
            let mut drawn = Drawn { values: Vec::new(), end: None };
            for _ in 0..count {
                if self.limit.is_some_and(|limit| *at >= limit) {
                    drawn.end = Some(SqlError::internal("exhausted"));
                    break;
                }
                *at += 1;
                drawn.values.push(*at);
            }
            Box::pin(std::future::ready(Ok(drawn)))
        }

        fn call(&self, call: SequenceCall) -> LocalBoxFuture<'_, Result<SequenceState, SqlError>> {
            self.asked.borrow_mut().push(format!("{call:?}"));
            if let SequenceCall::Set { sequence, value, .. } = call {
                self.at.borrow_mut().insert(sequence, value);
            }
            let state = SequenceState { last_value: 0, reserved: 0, called: true };
            Box::pin(std::future::ready(Ok(state)))
        }

        fn current(&self, sequence: SequenceOid) -> Result<i64, SqlError> {
            let noted = self.noted.borrow();
            let found = noted.iter().rev().find(|(known, _)| *known == sequence);
            found.map(|(_, value)| *value).ok_or_else(|| SqlError::internal("not yet"))
        }

        fn last(&self) -> Result<SequenceOid, SqlError> {
            let noted = self.noted.borrow();
            noted.last().map(|(known, _)| *known).ok_or_else(|| SqlError::internal("none"))
        }

        fn note(&self, sequence: SequenceOid, value: i64) {
            self.noted.borrow_mut().push((sequence, value));
        }
    }

    fn run<T>(
        source: &Rc<Counters>,
        rows: usize,
        evaluate: impl Fn(usize, &SequenceCalls) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut context = ExecContext::new(Arc::from([]), 0, MemoryAccount::new(1 << 20));
        let calls = Rc::new(SequenceCalls::new(source.clone()));
        context.sequences = Some(calls.clone());
        block_on(evaluate_rows(&context, rows, |row| evaluate(row, &calls)))
    }

    #[test]
    fn the_values_of_all_rows_come_with_one_question() {
        let source = Rc::new(Counters::default());
        let rows = run(&source, 100, |_, calls| Ok((calls.next(A)?, calls.next(A)?))).unwrap();
        assert_eq!((rows[0], rows[1], rows[99]), ((1, 2), (3, 4), (199, 200)));
        assert_eq!(*source.asked.borrow(), ["200 of 1"]);
        assert_eq!(source.current(A).unwrap(), 200);
    }

    #[test]
    fn a_row_sees_what_it_was_given_itself() {
        let source = Rc::new(Counters::default());
        let row = |_, calls: &SequenceCalls| Ok((calls.next(A)?, calls.current(A)?, calls.last()?));
        let rows = run(&source, 3, row).unwrap();
        assert_eq!(rows, [(1, 1, 1), (2, 2, 2), (3, 3, 3)]);
        assert_eq!(*source.asked.borrow(), ["3 of 1"]);
    }

    #[test]
    fn a_branch_that_is_not_taken_draws_nothing() {
        let source = Rc::new(Counters::default());
        let row = |row, calls: &SequenceCalls| if row % 2 == 0 { calls.next(A) } else { Ok(-1) };
        assert_eq!(run(&source, 4, row).unwrap(), [1, -1, 2, -1]);
        assert_eq!(*source.asked.borrow(), ["2 of 1"]);
    }

    #[test]
    fn setting_is_done_once_and_in_its_order() {
        let source = Rc::new(Counters::default());
        let row = |row, calls: &SequenceCalls| {
            let before = calls.next(A)?;
            let set = SequenceCall::Set { sequence: A, value: 10 * (row as i64 + 1), called: true };
            calls.call(set)?;
            Ok((before, calls.current(A)?, calls.next(A)?))
        };
        assert_eq!(run(&source, 2, row).unwrap(), [(1, 10, 11), (12, 20, 21)]);
        let sets = source.asked.borrow().iter().filter(|asked| asked.starts_with("Set")).count();
        assert_eq!(sets, 2);
    }

    #[test]
    fn an_end_fails_the_row_that_reaches_it_and_no_other() {
        let source = Rc::new(Counters { limit: Some(3), ..Counters::default() });
        assert_eq!(run(&source, 3, |_, calls| calls.next(A)).unwrap(), [1, 2, 3]);
        let source = Rc::new(Counters { limit: Some(3), ..Counters::default() });
        assert!(run(&source, 4, |_, calls| calls.next(A)).is_err());
        assert_eq!(source.current(A).unwrap(), 3, "those before it were given");
    }

    #[test]
    fn what_fails_because_of_a_stand_in_does_not_fail() {
        let source = Rc::new(Counters::default());
        let row = |_, calls: &SequenceCalls| {
            let value = calls.next(A)?;
            if value == STAND_IN {
                return Err(SqlError::internal("division by zero"));
            }
            calls.next(B)
        };
        assert_eq!(run(&source, 2, row).unwrap(), [1, 2]);
    }

    #[test]
    fn outside_of_a_run_nothing_is_drawn() {
        let source = Rc::new(Counters::default());
        let calls = SequenceCalls::new(source);
        assert_eq!(calls.next(A).unwrap_err().state(), SqlState::FEATURE_NOT_SUPPORTED);
    }
}

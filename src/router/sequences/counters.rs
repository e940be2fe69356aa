//! The sequences that are counted on this core: pure arithmetic, and whose turn it is.

use super::{Run, SequenceAnswer, SequenceQuestion};
use crate::catalog::{Catalog, Sequence};
use model::error::SqlError;
use model::id::{ObjectId, Term};
use runtime::sync::{Permit, Semaphore};
use runtime::time::Instant;
use shards::exec::sequences::SequenceState;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Values that a reservation holds beyond what is asked, as in PostgreSQL.
pub const AHEAD_MIN: i64 = 32;
/// Most of them, where reservations follow each other closely: lost by a crash.
const AHEAD_MAX: i64 = 4_096;
/// Reservations within this time grow.
const CLOSE: Duration = Duration::from_millis(500);

/// All counters of a core, by the sequence's state. One per core.
#[derive(Default)]
pub(in crate::router) struct Counters {
    counters: RefCell<HashMap<ObjectId, Rc<Counter>>>,
}

/// Where one sequence is.
pub(super) struct Counter {
    /// One question at a time, in the order in which they come.
    turn: Semaphore,
    /// Values that those ask for who wait for their turn.
    waiting: Cell<i64>,
    /// None: to be read first, or in the hands of whose turn it is. With the term of its partition in
    /// which it was read: in another one somebody else may have counted meanwhile.
    position: RefCell<Option<(Term, Position)>>,
}

/// Where a sequence is, as the core that counts it knows.
#[derive(Debug, Clone)]
pub(super) struct Position {
    sequence: Arc<Sequence>,
    /// The last value that was given, or the first one to be.
    last: i64,
    called: bool,
    /// Values that may be given before the next reservation.
    reserved: i64,
    /// What the row says: the last value and whether it counts as given. None where there is no row.
    stored: Option<(i64, bool)>,
    /// How many more than asked for the last reservation took, and when.
    ahead: i64,
    reserved_at: Option<Instant>,
}

/// Values to be reserved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    /// The last of them.
    pub(super) last: i64,
    count: i64,
    ahead: i64,
    /// They begin anew, behind the sequence's end.
    wraps: bool,
}

impl Counters {
    pub(super) fn counter(&self, state: ObjectId) -> Rc<Counter> {
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry(state).or_insert_with(|| {
            let (turn, waiting) = (Semaphore::new(1), Cell::new(0));
            Rc::new(Counter { turn, waiting, position: RefCell::new(None) })
        });
        Rc::clone(counter)
    }

    pub(super) fn all(&self) -> Vec<Rc<Counter>> {
        self.counters.borrow().values().cloned().collect()
    }

    /// The answer, where it needs no write and nobody waits.
    pub(super) fn answer_now(
        &self,
        sequence: &Arc<Sequence>,
        what: SequenceQuestion,
        term: Term,
    ) -> Option<SequenceAnswer> {
        let counters = self.counters.borrow();
        let counter = counters.get(&sequence.state)?;
        // It is there only while nobody has the turn; who waits for it is about to take it.
        let mut position = counter.position.borrow_mut();
        let (_, position) =
            position.as_mut().filter(|(of, _)| *of == term && counter.waiting.get() == 0)?;
        match what {
            SequenceQuestion::Draw(count)
                if count <= position.reserved && Arc::ptr_eq(&position.sequence, sequence) =>
            {
                let mut runs = Vec::with_capacity(1);
                position.take(count, &mut runs);
                Some(SequenceAnswer::Values(runs, false))
            }
            SequenceQuestion::State => Some(SequenceAnswer::State(position.state())),
            _ => None,
        }
    }

    /// Forgets the states that no sequence has any more.
    pub(in crate::router) fn keep_those_of(&self, catalog: &Catalog) {
        let mut counters = self.counters.borrow_mut();
        if !counters.is_empty() {
            let states: HashSet<ObjectId> = catalog.sequences().map(|s| s.state).collect();
            counters.retain(|state, _| states.contains(state));
        }
    }
}

impl Counter {
    /// Waits for the turn.
    pub(super) async fn turn(&self, what: &SequenceQuestion) -> Result<Permit, SqlError> {
        let asked = match what {
            SequenceQuestion::Draw(count) => *count,
            _ => 0,
        };
        let waiting = Waiting::new(self, asked);
        let permit = self.turn.acquire(1).await;
        drop(waiting);
        permit.map_err(|_closed| SqlError::internal("no turn at a sequence"))
    }

    /// Values that are asked for behind the one whose turn it is.
    pub(super) fn waiting(&self) -> i64 {
        self.waiting.get()
    }

    /// Takes the position, for the turn. What fails in between leaves it to be read anew: nothing of
    /// what was reserved and not noted is given.
    pub(super) fn position(&self, term: Term) -> Option<Position> {
        let kept = self.position.borrow_mut().take();
        kept.filter(|(of, _)| *of == term).map(|(_, position)| position)
    }

    /// The same, of whatever term it is.
    pub(super) fn last_position(&self) -> Option<(Term, Position)> {
        self.position.borrow_mut().take()
    }

    pub(super) fn put(&self, term: Term, position: Position) {
        self.position.borrow_mut().replace((term, position));
    }
}

/// Somebody waits for values, until it is dropped.
struct Waiting<'c> {
    counter: &'c Counter,
    asked: i64,
}

impl<'c> Waiting<'c> {
    fn new(counter: &'c Counter, asked: i64) -> Waiting<'c> {
        counter.waiting.set(counter.waiting.get().saturating_add(asked));
        Waiting { counter, asked }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.waiting.set(self.counter.waiting.get().saturating_sub(self.asked));
    }
}

impl Position {
    /// A position of which nothing is reserved, as the sequence's row says: the last value, and whether
    /// it counts as given. None where there is no row.
    pub(super) fn at(sequence: &Arc<Sequence>, stored: Option<(i64, bool)>) -> Position {
        let (last, called) = stored.unwrap_or((sequence.first, false));
        let (sequence, ahead) = (Arc::clone(sequence), AHEAD_MIN);
        Position { sequence, last, called, reserved: 0, stored, ahead, reserved_at: None }
    }

    /// What the row says, as far as is known.
    pub(super) fn stored(&self) -> Option<(i64, bool)> {
        self.stored
    }

    /// Goes by this definition from now on.
    pub(super) fn adopt(&mut self, sequence: &Arc<Sequence>) {
        if self.sequence != *sequence {
            // What was reserved was reserved by other steps.
            self.reserved = 0;
        }
        self.sequence = Arc::clone(sequence);
    }

    /// Reserves nothing any more: what is to be stored where something was.
    pub(super) fn give_back(&mut self) -> Option<(Arc<Sequence>, i64, bool)> {
        let reserved = std::mem::take(&mut self.reserved);
        (reserved > 0).then(|| (Arc::clone(&self.sequence), self.last, self.called))
    }

    pub(super) fn set(&mut self, value: i64, called: bool) {
        (self.last, self.called, self.reserved) = (value, called, 0);
        self.stored = Some((value, called));
    }

    pub(super) fn state(&self) -> SequenceState {
        SequenceState { last_value: self.last, reserved: self.reserved, called: self.called }
    }

    /// Gives as many of `count` values as are reserved; how many.
    pub(super) fn take(&mut self, count: i64, out: &mut Vec<Run>) -> i64 {
        let count = count.min(self.reserved);
        if count > 0 {
            let run = Run { first: self.next(), increment: self.sequence.increment, count };
            self.last = nth(run.first, run.increment, count);
            self.called = true;
            self.reserved -= count;
            out.push(run);
        }
        count
    }

    /// The value that is given next, unless the sequence is at its end.
    fn next(&self) -> i64 {
        match self.called {
            true => self.last.wrapping_add(self.sequence.increment),
            false => self.last,
        }
    }

    /// What to reserve so that `wanted` values can be given; `None` at the end. It may hold fewer:
    /// those up to the end, behind which a sequence that cycles begins anew.
    pub(super) fn reservation(&self, wanted: i64) -> Option<Reservation> {
        let close = self.reserved_at.is_some_and(|at| at.elapsed() < CLOSE);
        let ahead = if close { (self.ahead * 2).min(AHEAD_MAX) } else { AHEAD_MIN };
        let sequence = &*self.sequence;
        let mut first = self.next();
        let mut room = match self.called {
            true => steps_to_end(sequence, self.last),
            false => steps_to_end(sequence, self.last).saturating_add(1),
        };
        let wraps = room == 0;
        if wraps {
            if !sequence.cycle {
                return None;
            }
            first = beginning(sequence);
            room = steps_to_end(sequence, first).saturating_add(1);
        }
        let count = wanted.saturating_add(ahead).min(room);
        let last = nth(first, sequence.increment, count);
        Some(Reservation { last, count, ahead, wraps })
    }

    /// Notes a reservation that is durable.
    pub(super) fn reserve(&mut self, reservation: &Reservation) {
        if reservation.wraps {
            (self.last, self.called) = (beginning(&self.sequence), false);
        }
        self.reserved = reservation.count;
        self.stored = Some((reservation.last, true));
        self.ahead = reservation.ahead;
        self.reserved_at = Some(runtime::time::now());
    }
}

/// Where a sequence begins anew at its end.
fn beginning(sequence: &Sequence) -> i64 {
    if sequence.increment > 0 { sequence.min_value } else { sequence.max_value }
}

/// How many values come behind `last`. None where it lies outside of the bounds already.
fn steps_to_end(sequence: &Sequence, last: i64) -> i64 {
    let (last, increment) = (i128::from(last), i128::from(sequence.increment));
    let end = match sequence.increment > 0 {
        true => sequence.max_value,
        false => sequence.min_value,
    };
    let steps = (i128::from(end) - last) / increment;
    i64::try_from(steps.max(0)).unwrap_or(i64::MAX)
}

/// The last of `count` values from `first` on.
fn nth(first: i64, increment: i64, count: i64) -> i64 {
    let last = i128::from(first) + i128::from(increment) * i128::from(count - 1);
    i64::try_from(last).unwrap_or_else(|_| unreachable!("a reservation ends within the bounds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::types::DataType;

    fn sequence(increment: i64, min_value: i64, max_value: i64, cycle: bool) -> Arc<Sequence> {
        let start = if increment > 0 { min_value } else { max_value };
        Arc::new(Sequence {
            id: ObjectId(1000),
            state: ObjectId(1000),
            schema: "public".to_owned(),
            name: "s".to_owned(),
            data_type: DataType::Int8,
            increment,
            min_value,
            max_value,
            start,
            first: start,
            cache: 1,
            cycle,
            owned_by: None,
        })
    }

    /// Draws values as the router does, writing to nowhere.
    fn draw(position: &mut Position, mut count: i64) -> (Vec<i64>, bool) {
        let mut runs = Vec::new();
        let ended = loop {
            count -= position.take(count, &mut runs);
            if count == 0 {
                break false;
            }
            match position.reservation(count) {
                Some(reservation) => position.reserve(&reservation),
                None => break true,
            }
        };
        let values =
            runs.into_iter().flat_map(|mut run| std::iter::from_fn(move || run.take_first()));
        (values.collect(), ended)
    }

    fn fresh(sequence: &Arc<Sequence>) -> Position {
        Position::at(sequence, None)
    }

    #[test]
    fn the_first_value_is_the_start_and_32_more_are_reserved() {
        let mut position = fresh(&sequence(1, 1, i64::MAX, false));
        assert_eq!(position.reservation(1).unwrap().last, 33);
        assert_eq!(draw(&mut position, 1), (vec![1], false));
        let state = SequenceState { last_value: 1, reserved: 32, called: true };
        assert_eq!(position.state(), state);
        assert_eq!(draw(&mut position, 32).0.last(), Some(&33));
        assert_eq!(position.state().reserved, 0);
    }

    #[test]
    fn it_ends_at_its_limit() {
        let mut position = fresh(&sequence(3, 1, 10, false));
        assert_eq!(draw(&mut position, 9), (vec![1, 4, 7, 10], true));
        assert_eq!(draw(&mut position, 1), (vec![], true));
        let mut down = fresh(&sequence(-4, -9, 0, false));
        assert_eq!(draw(&mut down, 9), (vec![0, -4, -8], true));
    }

    #[test]
    fn it_begins_anew_where_it_cycles() {
        let mut position = fresh(&sequence(2, 1, 6, true));
        assert_eq!(draw(&mut position, 7), (vec![1, 3, 5, 1, 3, 5, 1], false));
        let mut down = fresh(&sequence(-2, 1, 6, true));
        assert_eq!(draw(&mut down, 5), (vec![6, 4, 2, 6, 4], false));
    }

    #[test]
    fn the_ends_of_bigint_are_values() {
        let all = sequence(i64::MAX, i64::MIN, i64::MAX, false);
        assert_eq!(draw(&mut fresh(&all), 9), (vec![i64::MIN, -1, i64::MAX - 1], true));
        let mut last = Position::at(&sequence(1, 1, i64::MAX, false), Some((i64::MAX - 1, true)));
        assert_eq!(draw(&mut last, 2), (vec![i64::MAX], true));
    }

    #[test]
    fn a_set_value_that_was_not_called_comes_next() {
        let mut position = fresh(&sequence(1, 1, 100, false));
        position.set(50, false);
        assert_eq!(draw(&mut position, 2).0, [50, 51]);
        position.set(60, true);
        assert_eq!(draw(&mut position, 1).0, [61]);
    }

    #[test]
    fn another_definition_goes_on_from_the_same_value() {
        let mut position = fresh(&sequence(1, 1, 100, false));
        draw(&mut position, 5);
        position.adopt(&sequence(10, 1, 100, false));
        assert_eq!(position.state().reserved, 0);
        assert_eq!(draw(&mut position, 2).0, [15, 25]);
    }

    #[test]
    fn reservations_that_follow_closely_grow() {
        let mut position = fresh(&sequence(1, 1, i64::MAX, false));
        let mut reservations = 0;
        for _ in 0..100_000 {
            if position.take(1, &mut Vec::new()) == 0 {
                let reservation = position.reservation(1).unwrap();
                position.reserve(&reservation);
                reservations += 1;
                position.take(1, &mut Vec::new());
            }
        }
        assert!(reservations < 40, "{reservations} log writes");
    }
}

//! The gate of each table on one core: statements pass through it, a schema change closes it.
//!
//! A statement enters the gates of its tables before it is planned and leaves them when it ends
//! (inside a transaction block: when the block ends). A schema change closes the gates on every
//! core, waits until everyone has left, does its work, publishes the new catalog and opens them
//! again. So a plan never meets a table that changes under it, and no row escapes an index that is
//! being built.
//!
//! A transaction that is inside already may enter again while the gate closes: it is one of those
//! the change waits for. The transaction that changes the table goes in and out as it likes.
//!
//! Who changes the schema at all goes through a gate, too, which one change at a time closes: the
//! [`TURN`].
//!
//! Who waits at a gate, and who waits for those inside, may do so in a circle: a transaction that is
//! in one of the tables of a change and wants into another of them is one with that change. So the
//! gates tell who waits for whom ([`Gates::waits`]), as the locks do, and let a wait fail.

use model::archive::Unshared;
use model::error::{SqlError, SqlState};
use model::id::{ObjectId, TxnId};
use rkyv::{Archive, Deserialize, Serialize};
use runtime::sync::Notify;
use runtime::time::{self, Instant};
use shards::core::{Lookout, WaitNumber};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// No table has this id: that its gate is closed means that somebody changes the schema. On the core
/// that keeps the turn.
pub const TURN: ObjectId = ObjectId(0);

/// The gates of one core. One per core; clones share them.
#[derive(Clone, Default)]
pub struct Gates {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Only tables that somebody is in, or that are closed.
    gates: RefCell<HashMap<ObjectId, Gate>>,
    /// Who is inside of what.
    passes: RefCell<BTreeMap<u64, Inside>>,
    last_pass: Cell<u64>,
    changed: Notify,
    waiting: RefCell<BTreeMap<WaitNumber, Waiting>>,
    last_wait: Cell<u64>,
    began_to_wait: Notify,
    lookout: Lookout,
}

#[derive(Default, Clone, Copy)]
struct Gate {
    inside: u32,
    /// By which change.
    closed: Option<TxnId>,
}

/// Whose pass it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Holder {
    /// A session, by process: of whatever transaction it runs.
    Session(u32),
    /// A transaction without a session.
    Transaction(TxnId),
}

struct Inside {
    holder: Holder,
    tables: Vec<ObjectId>,
}

struct Waiting {
    what: GateWait,
    since: Instant,
    /// What it fails with.
    failed: Option<SqlError>,
}

/// What is waited for at the gates of a core.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum GateWait {
    /// Somebody wants into these tables.
    Enter(Holder, #[rkyv(with = Unshared)] Arc<[ObjectId]>),
    /// A change, of this session if of any, waits until nobody else is in these tables.
    Close(TxnId, Option<Holder>, #[rkyv(with = Unshared)] Arc<[ObjectId]>),
}

/// Who is in the way of a wait.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum InTheWay {
    /// Changes that have closed a gate.
    Changes(Vec<TxnId>),
    /// Those who are inside.
    Inside(Vec<Holder>),
}

/// A wait as it is told of.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct GateReport {
    /// Which of this core's waits at its gates.
    pub number: WaitNumber,
    /// What is waited for.
    pub wait: GateWait,
    /// Who is in the way.
    pub in_the_way: InTheWay,
    /// For how long.
    pub waited: Duration,
}

/// The right to use some tables; gives it back when dropped.
pub struct Pass {
    holder: Holder,
    /// The transaction that it is of, where that may have closed gates itself.
    of: Option<TxnId>,
    /// Where, once it has entered something.
    entered: Option<(Gates, u64)>,
}

/// A wait, until it is dropped.
struct Wait {
    gates: Gates,
    number: WaitNumber,
}

impl Pass {
    /// For somebody who is in no table yet.
    pub fn of(holder: Holder) -> Pass {
        Pass { holder, of: None, entered: None }
    }

    /// For a session's transaction, which may change tables itself.
    pub fn of_transaction(holder: Holder, transaction: TxnId) -> Pass {
        Pass { holder, of: Some(transaction), entered: None }
    }
}

impl Gates {
    /// Enters the gates of `tables`, waiting where one is closed. `pass` may hold some of them
    /// already; it holds all of them afterwards. Either all are entered or, if the future is
    /// dropped or fails, none of the new ones.
    ///
    /// # Errors
    /// What [`Gates::fail`] says.
    pub async fn enter(&self, pass: &mut Pass, tables: &[ObjectId]) -> Result<(), SqlError> {
        if self.try_enter(pass, tables) {
            return Ok(());
        }
        let wait = self.begin_to_wait(GateWait::Enter(pass.holder, tables.into()));
        while !self.try_enter(pass, tables) {
            wait.changed().await?;
        }
        Ok(())
    }

    /// As [`Gates::enter`], or `false` and nothing entered where one is closed.
    pub fn try_enter(&self, pass: &mut Pass, tables: &[ObjectId]) -> bool {
        let mut gates = self.inner.gates.borrow_mut();
        let mut passes = self.inner.passes.borrow_mut();
        let inside = pass.entered.as_ref().and_then(|(_, number)| passes.get_mut(number));
        let is_in =
            |table: &ObjectId| inside.as_ref().is_some_and(|inside| inside.tables.contains(table));
        let is_closed = |table: &ObjectId| {
            gates.get(table).is_some_and(|gate| gate.closed.is_some() && gate.closed != pass.of)
        };
        if tables.iter().any(|table| is_closed(table) && !is_in(table)) {
            return false;
        }
        if tables.iter().all(is_in) {
            return true;
        }
        let inside = match inside {
            Some(inside) => inside,
            None => {
                let number = self.inner.last_pass.get() + 1;
                self.inner.last_pass.set(number);
                pass.entered = Some((self.clone(), number));
                let inside = Inside { holder: pass.holder, tables: Vec::new() };
                passes.entry(number).or_insert(inside)
            }
        };
        for &table in tables {
            if !inside.tables.contains(&table) {
                gates.entry(table).or_default().inside += 1;
                inside.tables.push(table);
            }
        }
        true
    }

    /// Whether the gate of one of `tables` is closed to whoever has no pass.
    pub fn is_closed(&self, tables: &[ObjectId]) -> bool {
        let gates = self.inner.gates.borrow();
        tables.iter().any(|table| gates.get(table).is_some_and(|gate| gate.closed.is_some()))
    }

    /// Whether a change has closed the gate of a table.
    pub fn is_closed_by(&self, change: TxnId, table: ObjectId) -> bool {
        self.inner.gates.borrow().get(&table).is_some_and(|gate| gate.closed == Some(change))
    }

    /// What is closed, by the changes that have closed it.
    pub fn closed(&self) -> BTreeMap<TxnId, Vec<ObjectId>> {
        let mut closed: BTreeMap<TxnId, Vec<ObjectId>> = BTreeMap::new();
        for (table, gate) in &*self.inner.gates.borrow() {
            if let Some(change) = gate.closed {
                closed.entry(change).or_default().push(*table);
            }
        }
        closed
    }

    /// Closes the gates of `tables` for a change of `by`'s and waits until nobody else is inside. A
    /// gate that another change has closed is closed when that opens it, in the order of those who
    /// wait. The place among them is taken now, and not when the future is polled first.
    ///
    /// If the future is dropped or fails some may stay closed: the caller opens them.
    ///
    /// # Errors
    /// What [`Gates::fail`] says.
    pub fn close(
        &self,
        change: TxnId,
        by: Option<Holder>,
        tables: Arc<[ObjectId]>,
    ) -> impl Future<Output = Result<(), SqlError>> + use<> {
        let wait = self.begin_to_wait(GateWait::Close(change, by, tables.clone()));
        let mut closed = self.try_close(wait.number, change, &tables);
        async move {
            let gates = &wait.gates;
            loop {
                wait.check()?;
                closed = closed || gates.try_close(wait.number, change, &tables);
                if closed && !gates.occupied(by, &tables) {
                    return Ok(());
                }
                gates.inner.changed.notified().await;
            }
        }
    }

    /// Whether all are closed by the change now.
    fn try_close(&self, wait: WaitNumber, change: TxnId, tables: &[ObjectId]) -> bool {
        let mut gates = self.inner.gates.borrow_mut();
        let is_anothers = |table: &ObjectId| {
            gates.get(table).is_some_and(|gate| gate.closed.is_some_and(|closed| closed != change))
        };
        if tables.iter().any(is_anothers) || self.comes_later(wait, tables) {
            return false;
        }
        for &table in tables {
            gates.entry(table).or_default().closed = Some(change);
        }
        true
    }

    /// Whether another has waited longer to close one of the tables.
    fn comes_later(&self, wait: WaitNumber, tables: &[ObjectId]) -> bool {
        let waiting = self.inner.waiting.borrow();
        waiting.range(..wait).any(|(_, earlier)| match &earlier.what {
            GateWait::Close(_, _, wanted) => {
                earlier.failed.is_none() && wanted.iter().any(|table| tables.contains(table))
            }
            GateWait::Enter(..) => false,
        })
    }

    /// Opens the gates of `tables` that a change has closed. Where it still waits to close them it
    /// has been given up.
    pub fn open(&self, change: TxnId, tables: &[ObjectId]) {
        let mut gates = self.inner.gates.borrow_mut();
        for table in tables {
            if let Some(gate) = gates.get_mut(table)
                && gate.closed == Some(change)
            {
                gate.closed = None;
                if gate.inside == 0 {
                    gates.remove(table);
                }
            }
        }
        drop(gates);
        for waiting in self.inner.waiting.borrow_mut().values_mut() {
            if let GateWait::Close(of, _, wanted) = &waiting.what
                && *of == change
                && wanted.iter().any(|table| tables.contains(table))
            {
                waiting.failed = Some(given_up());
            }
        }
        self.inner.changed.notify_all();
    }

    /// Who waits here, and for whom.
    pub fn waits(&self) -> Vec<GateReport> {
        let waiting = self.inner.waiting.borrow();
        waiting
            .iter()
            .map(|(&number, waiting)| GateReport {
                number,
                wait: waiting.what.clone(),
                in_the_way: self.in_the_way(&waiting.what),
                waited: waiting.since.elapsed(),
            })
            .collect()
    }

    fn in_the_way(&self, wait: &GateWait) -> InTheWay {
        match wait {
            GateWait::Enter(_, tables) => {
                let gates = self.inner.gates.borrow();
                let changes = tables.iter().filter_map(|table| gates.get(table)?.closed);
                InTheWay::Changes(changes.collect())
            }
            GateWait::Close(change, by, tables) => {
                let gates = self.inner.gates.borrow();
                let closed = tables.iter().filter_map(|table| gates.get(table)?.closed);
                let others: Vec<TxnId> = closed.filter(|closed| closed != change).collect();
                if !others.is_empty() {
                    return InTheWay::Changes(others);
                }
                let passes = self.inner.passes.borrow();
                let is_inside = |inside: &&Inside| {
                    Some(inside.holder) != *by
                        && inside.tables.iter().any(|table| tables.contains(table))
                };
                let holders = passes.values().filter(is_inside).map(|inside| inside.holder);
                InTheWay::Inside(holders.collect())
            }
        }
    }

    /// Waits until somebody has waited here long enough to be part of a circle. Whoever calls this
    /// looks at all waits afterwards.
    pub async fn long_wait(&self) {
        loop {
            if self.inner.waiting.borrow().is_empty() {
                self.inner.began_to_wait.notified().await;
            }
            time::sleep(Lookout::EVERY).await;
            let waiting = self.inner.waiting.borrow();
            if self.inner.lookout.is_due(&waiting, |waiting| waiting.since) {
                return;
            }
        }
    }

    /// Fails a wait, if it is still there. Returns whether it was.
    pub fn fail(&self, wait: WaitNumber, error: SqlError) -> bool {
        let mut waits = self.inner.waiting.borrow_mut();
        let Some(waiting) = waits.get_mut(&wait) else { return false };
        waiting.failed = Some(error);
        drop(waits);
        self.inner.changed.notify_all();
        true
    }

    fn begin_to_wait(&self, what: GateWait) -> Wait {
        let number = WaitNumber(self.inner.last_wait.get() + 1);
        self.inner.last_wait.set(number.0);
        let waiting = Waiting { what, since: time::now(), failed: None };
        self.inner.waiting.borrow_mut().insert(number, waiting);
        self.inner.began_to_wait.notify_one();
        Wait { gates: self.clone(), number }
    }

    /// Whether somebody else is in one of the tables.
    fn occupied(&self, by: Option<Holder>, tables: &[ObjectId]) -> bool {
        let gates = self.inner.gates.borrow();
        let passes = self.inner.passes.borrow();
        let own = |table: &ObjectId| {
            let own = passes.values().filter(|inside| Some(inside.holder) == by);
            own.filter(|inside| inside.tables.contains(table)).count()
        };
        tables
            .iter()
            .any(|table| gates.get(table).is_some_and(|gate| gate.inside as usize > own(table)))
    }

    fn leave(&self, pass: u64) {
        let Some(left) = self.inner.passes.borrow_mut().remove(&pass) else { return };
        let mut someone_waits = false;
        let mut gates = self.inner.gates.borrow_mut();
        for table in &left.tables {
            let Some(gate) = gates.get_mut(table) else { continue };
            gate.inside -= 1;
            someone_waits |= gate.closed.is_some();
            if gate.inside == 0 && gate.closed.is_none() {
                gates.remove(table);
            }
        }
        drop(gates);
        if someone_waits {
            self.inner.changed.notify_all();
        }
    }
}

impl Wait {
    /// Waits until a gate has changed.
    async fn changed(&self) -> Result<(), SqlError> {
        self.gates.inner.changed.notified().await;
        self.check()
    }

    /// Whether it is to go on.
    fn check(&self) -> Result<(), SqlError> {
        let mut waits = self.gates.inner.waiting.borrow_mut();
        let failed = waits.get_mut(&self.number).and_then(|waiting| waiting.failed.take());
        failed.map_or(Ok(()), Err)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let ended = self.gates.inner.waiting.borrow_mut().remove(&self.number);
        // Who waits to close the same gates is the next.
        if ended.is_some_and(|ended| matches!(ended.what, GateWait::Close(..))) {
            self.gates.inner.changed.notify_all();
        }
    }
}

/// Nobody hears it: whoever wanted the gates closed has gone.
fn given_up() -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, "a change of the schema was given up")
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((gates, number)) = self.entered.take() {
            gates.leave(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{CoreId, NodeId};
    use model::time::Timestamp;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const A: ObjectId = ObjectId(1);
    const B: ObjectId = ObjectId(2);
    const CHANGE: TxnId = TxnId { began: Timestamp(9), node: NodeId(1), core: CoreId(0) };

    fn poll<T>(future: &mut std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut context = Context::from_waker(Waker::noop());
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_change_waits_for_those_inside_and_holds_back_those_outside() {
        let (gates, tables): (_, Arc<[ObjectId]>) = (Gates::default(), Arc::from([A]));
        let mut inside = Pass::of(Holder::Session(1));
        assert!(gates.try_enter(&mut inside, &[A]));
        let mut close = pin!(gates.close(CHANGE, None, tables.clone()));
        assert!(poll(&mut close).is_none());
        let mut outside = Pass::of(Holder::Session(2));
        assert!(!gates.try_enter(&mut outside, &[B, A]), "closed");
        assert!(gates.try_enter(&mut inside, &[A, B]), "one that is inside may go on");
        drop(inside);
        assert_eq!(poll(&mut close), Some(Ok(())));
        gates.open(CHANGE, &[A]);
        assert!(gates.try_enter(&mut outside, &[A, B]));
    }

    #[test]
    fn who_waits_for_whom_is_told_and_can_fail() {
        let (gates, tables): (_, Arc<[ObjectId]>) = (Gates::default(), Arc::from([A, B]));
        let (mut inside, mut elsewhere) =
            (Pass::of(Holder::Session(1)), Pass::of(Holder::Session(2)));
        assert!(
            gates.try_enter(&mut inside, &[A]) && gates.try_enter(&mut elsewhere, &[ObjectId(3)])
        );
        {
            let mut close = pin!(gates.close(CHANGE, None, tables.clone()));
            assert!(poll(&mut close).is_none());
            let mut enter = pin!(gates.enter(&mut inside, &[B]));
            assert!(poll(&mut enter).is_none());
            let told: Vec<_> = gates
                .waits()
                .into_iter()
                .map(|told| (told.number, told.wait, told.in_the_way))
                .collect();
            let close_wait = GateWait::Close(CHANGE, None, tables.clone());
            let enter_wait = GateWait::Enter(Holder::Session(1), Arc::from([B]));
            let (first, second) = (WaitNumber(1), WaitNumber(2));
            assert_eq!(
                told,
                [
                    (first, close_wait, InTheWay::Inside(vec![Holder::Session(1)])),
                    (second, enter_wait, InTheWay::Changes(vec![CHANGE])),
                ]
            );
            let error = SqlError::new(SqlState::DEADLOCK_DETECTED, "a circle");
            assert!(gates.fail(second, error.clone()));
            assert!(poll(&mut close).is_none());
            assert_eq!(poll(&mut enter), Some(Err(error)));
        }
        assert!(gates.waits().is_empty());
        gates.open(CHANGE, &tables);
        assert!(gates.try_enter(&mut inside, &[A, B]));
    }

    #[test]
    fn nothing_is_kept_for_tables_that_nobody_uses() {
        let gates = Gates::default();
        let mut pass = Pass::of(Holder::Session(1));
        assert!(gates.try_enter(&mut pass, &[A, B, A]));
        drop(pass);
        assert!(gates.inner.gates.borrow().is_empty());
        assert!(gates.inner.passes.borrow().is_empty());
    }

    #[test]
    fn a_refused_entry_leaves_no_trace() {
        let gates = Gates::default();
        assert_eq!(poll(&mut pin!(gates.close(CHANGE, None, Arc::from([A])))), Some(Ok(())));
        let mut pass = Pass::of(Holder::Session(1));
        assert!(!gates.try_enter(&mut pass, &[B, A]));
        gates.open(CHANGE, &[A]);
        let both = Arc::from([A, B]);
        assert_eq!(
            poll(&mut pin!(gates.close(CHANGE, None, both))),
            Some(Ok(())),
            "nobody is in B"
        );
    }

    #[test]
    fn one_change_after_the_other_has_the_turn() {
        let gates = Gates::default();
        let turn: Arc<[ObjectId]> = Arc::from([TURN]);
        let (first, second, third) = (change(1), change(2), change(3));
        assert_eq!(poll(&mut pin!(gates.close(first, None, turn.clone()))), Some(Ok(())));
        // The places are taken before anybody looks.
        let mut of_second = pin!(gates.close(second, None, turn.clone()));
        let mut of_third = pin!(gates.close(third, None, turn.clone()));
        assert!(poll(&mut of_third).is_none() && poll(&mut of_second).is_none());
        let blockers: Vec<_> = gates.waits().into_iter().map(|told| told.in_the_way).collect();
        let first_is = InTheWay::Changes(vec![first]);
        assert_eq!(blockers, [first_is.clone(), first_is]);
        gates.open(second, &turn);
        assert!(poll(&mut of_third).is_none(), "another's is not opened");
        gates.open(first, &turn);
        assert!(matches!(poll(&mut of_second), Some(Err(_))), "given up while it waited");
        assert_eq!(poll(&mut of_third), Some(Ok(())));
        gates.open(third, &turn);
        assert!(gates.inner.gates.borrow().is_empty());
    }

    #[test]
    fn one_that_is_given_up_before_it_was_looked_at_closes_nothing() {
        let gates = Gates::default();
        let turn: Arc<[ObjectId]> = Arc::from([TURN]);
        let mut close = pin!(gates.close(CHANGE, None, turn.clone()));
        gates.open(CHANGE, &turn);
        assert!(matches!(poll(&mut close), Some(Err(_))));
        assert_eq!(poll(&mut pin!(gates.close(change(4), None, turn))), Some(Ok(())));
    }

    #[test]
    fn who_has_closed_a_gate_is_in_nobodys_way_but_others() {
        let (gates, tables) = (Gates::default(), Arc::from([A]));
        let me = Holder::Session(1);
        let mut mine = Pass::of_transaction(me, CHANGE);
        assert!(gates.try_enter(&mut mine, &[A]));
        assert_eq!(poll(&mut pin!(gates.close(CHANGE, Some(me), tables))), Some(Ok(())));
        assert!(gates.try_enter(&mut mine, &[A, B]));
        let mut other = Pass::of_transaction(Holder::Session(2), change(3));
        assert!(!gates.try_enter(&mut other, &[A]));
        let mut again = Pass::of_transaction(me, CHANGE);
        assert!(gates.try_enter(&mut again, &[A]), "though it was not inside");
    }

    fn change(began: u64) -> TxnId {
        TxnId { began: Timestamp(began), ..CHANGE }
    }
}

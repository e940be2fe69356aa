//! The gate of each table on one core: statements pass through it, a schema change closes it.
//!
//! A statement enters the gates of its tables before it is planned and leaves them when it ends
//! (inside a transaction block: when the block ends). A schema change closes the gates on every
//! core, waits until everyone has left, does its work, publishes the new catalog and opens them
//! again. So a plan never meets a table that changes under it, and no row escapes an index that is
//! being built.
//!
//! A transaction that is inside already may enter again while the gate closes: it is one of those
//! the change waits for.
//!
//! Who waits at a gate, and who waits for those inside, may do so in a circle: a transaction that is
//! in one of the tables of a change and wants into another of them is one with that change. So the
//! gates tell who waits for whom ([`Gates::waits`]), as the locks do, and let a wait fail.

use model::error::SqlError;
use model::id::{ObjectId, TxnId};
use runtime::sync::Notify;
use runtime::time::{self, Instant};
use shards::core::{Lookout, WaitNumber};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateWait {
    /// Somebody wants into these tables.
    Enter(Holder, Arc<[ObjectId]>),
    /// A change waits until nobody is in these tables.
    Close(TxnId, Arc<[ObjectId]>),
}

/// Who is in the way of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InTheWay {
    /// Changes that have closed a gate.
    Changes(Vec<TxnId>),
    /// Those who are inside.
    Inside(Vec<Holder>),
}

/// A wait as it is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        Pass { holder, entered: None }
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
        let is_closed =
            |table: &ObjectId| gates.get(table).is_some_and(|gate| gate.closed.is_some());
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

    /// Closes the gates of `tables` for a change and waits until nobody is inside. If the future is
    /// dropped or fails they stay closed: the caller opens them.
    ///
    /// # Errors
    /// What [`Gates::fail`] says.
    pub async fn close(&self, change: TxnId, tables: &Arc<[ObjectId]>) -> Result<(), SqlError> {
        for &table in tables.iter() {
            self.inner.gates.borrow_mut().entry(table).or_default().closed = Some(change);
        }
        let wait = self.begin_to_wait(GateWait::Close(change, tables.clone()));
        while self.occupied(tables) {
            wait.changed().await?;
        }
        Ok(())
    }

    /// Opens gates again.
    pub fn open(&self, tables: &[ObjectId]) {
        let mut gates = self.inner.gates.borrow_mut();
        for table in tables {
            if let Some(gate) = gates.get_mut(table) {
                gate.closed = None;
                if gate.inside == 0 {
                    gates.remove(table);
                }
            }
        }
        drop(gates);
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
            GateWait::Close(_, tables) => {
                let passes = self.inner.passes.borrow();
                let is_inside =
                    |inside: &&Inside| inside.tables.iter().any(|table| tables.contains(table));
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

    fn occupied(&self, tables: &[ObjectId]) -> bool {
        let gates = self.inner.gates.borrow();
        tables.iter().any(|table| gates.get(table).is_some_and(|gate| gate.inside > 0))
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
        let mut waits = self.gates.inner.waiting.borrow_mut();
        let failed = waits.get_mut(&self.number).and_then(|waiting| waiting.failed.take());
        failed.map_or(Ok(()), Err)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.gates.inner.waiting.borrow_mut().remove(&self.number);
    }
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
    use model::error::SqlState;
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
        let (gates, tables) = (Gates::default(), Arc::from([A]));
        let mut inside = Pass::of(Holder::Session(1));
        assert!(gates.try_enter(&mut inside, &[A]));
        let mut close = pin!(gates.close(CHANGE, &tables));
        assert!(poll(&mut close).is_none());
        let mut outside = Pass::of(Holder::Session(2));
        assert!(!gates.try_enter(&mut outside, &[B, A]), "closed");
        assert!(gates.try_enter(&mut inside, &[A, B]), "one that is inside may go on");
        drop(inside);
        assert_eq!(poll(&mut close), Some(Ok(())));
        gates.open(&[A]);
        assert!(gates.try_enter(&mut outside, &[A, B]));
    }

    #[test]
    fn who_waits_for_whom_is_told_and_can_fail() {
        let (gates, tables) = (Gates::default(), Arc::from([A, B]));
        let (mut inside, mut elsewhere) =
            (Pass::of(Holder::Session(1)), Pass::of(Holder::Session(2)));
        assert!(
            gates.try_enter(&mut inside, &[A]) && gates.try_enter(&mut elsewhere, &[ObjectId(3)])
        );
        {
            let mut close = pin!(gates.close(CHANGE, &tables));
            assert!(poll(&mut close).is_none());
            let mut enter = pin!(gates.enter(&mut inside, &[B]));
            assert!(poll(&mut enter).is_none());
            let told: Vec<_> = gates
                .waits()
                .into_iter()
                .map(|told| (told.number, told.wait, told.in_the_way))
                .collect();
            let close_wait = GateWait::Close(CHANGE, tables.clone());
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
        gates.open(&tables);
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
        assert_eq!(poll(&mut pin!(gates.close(CHANGE, &Arc::from([A])))), Some(Ok(())));
        let mut pass = Pass::of(Holder::Session(1));
        assert!(!gates.try_enter(&mut pass, &[B, A]));
        gates.open(&[A]);
        let both = Arc::from([A, B]);
        assert_eq!(poll(&mut pin!(gates.close(CHANGE, &both))), Some(Ok(())), "nobody is in B");
    }
}

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

use model::id::ObjectId;
use runtime::sync::Notify;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The gates of one core. One per core; clones share them.
#[derive(Clone, Default)]
pub struct Gates {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Only tables that somebody is in, or that are closed.
    gates: RefCell<HashMap<ObjectId, Gate>>,
    changed: Notify,
}

#[derive(Default, Clone, Copy)]
struct Gate {
    inside: u32,
    closed: bool,
}

/// The right to use some tables; gives it back when dropped.
#[derive(Default)]
pub struct Pass {
    gates: Option<Gates>,
    tables: Vec<ObjectId>,
}

impl Gates {
    /// Enters the gates of `tables`, waiting where one is closed. `pass` may hold some of them
    /// already; it holds all of them afterwards. Either all are entered or, if the future is
    /// dropped, none of the new ones.
    pub async fn enter(&self, pass: &mut Pass, tables: &[ObjectId]) {
        while !self.try_enter(pass, tables) {
            self.inner.changed.notified().await;
        }
    }

    /// As [`Gates::enter`], or `false` and nothing entered where one is closed.
    pub fn try_enter(&self, pass: &mut Pass, tables: &[ObjectId]) -> bool {
        let mut gates = self.inner.gates.borrow_mut();
        let is_new = |table: &&ObjectId| !pass.tables.contains(table);
        if tables.iter().filter(is_new).any(|table| gates.get(table).is_some_and(|g| g.closed)) {
            return false;
        }
        for &table in tables {
            if !pass.tables.contains(&table) {
                gates.entry(table).or_default().inside += 1;
                pass.tables.push(table);
            }
        }
        if !pass.tables.is_empty() {
            pass.gates.get_or_insert_with(|| self.clone());
        }
        true
    }

    /// Closes the gates of `tables` and waits until nobody is inside. If the future is dropped
    /// they stay closed: the caller opens them.
    pub async fn close(&self, tables: &[ObjectId]) {
        for &table in tables {
            self.inner.gates.borrow_mut().entry(table).or_default().closed = true;
        }
        while self.occupied(tables) {
            self.inner.changed.notified().await;
        }
    }

    /// Opens gates again.
    pub fn open(&self, tables: &[ObjectId]) {
        let mut gates = self.inner.gates.borrow_mut();
        for table in tables {
            if let Some(gate) = gates.get_mut(table) {
                gate.closed = false;
                if gate.inside == 0 {
                    gates.remove(table);
                }
            }
        }
        drop(gates);
        self.inner.changed.notify_all();
    }

    fn occupied(&self, tables: &[ObjectId]) -> bool {
        let gates = self.inner.gates.borrow();
        tables.iter().any(|table| gates.get(table).is_some_and(|gate| gate.inside > 0))
    }

    fn leave(&self, tables: &[ObjectId]) {
        let mut someone_waits = false;
        let mut gates = self.inner.gates.borrow_mut();
        for table in tables {
            let Some(gate) = gates.get_mut(table) else { continue };
            gate.inside -= 1;
            someone_waits |= gate.closed;
            if gate.inside == 0 && !gate.closed {
                gates.remove(table);
            }
        }
        drop(gates);
        if someone_waits {
            self.inner.changed.notify_all();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gates) = self.gates.take() {
            gates.leave(&self.tables);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const A: ObjectId = ObjectId(1);
    const B: ObjectId = ObjectId(2);

    fn poll(future: &mut std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(future.as_mut().poll(&mut context), Poll::Ready(()))
    }

    #[test]
    fn a_change_waits_for_those_inside_and_holds_back_those_outside() {
        let gates = Gates::default();
        let mut inside = Pass::default();
        assert!(gates.try_enter(&mut inside, &[A]));
        let mut close = pin!(gates.close(&[A]));
        assert!(!poll(&mut close));
        let mut outside = Pass::default();
        assert!(!gates.try_enter(&mut outside, &[B, A]), "closed");
        assert!(gates.try_enter(&mut inside, &[A, B]), "one that is inside may go on");
        drop(inside);
        assert!(poll(&mut close));
        gates.open(&[A]);
        assert!(gates.try_enter(&mut outside, &[A, B]));
    }

    #[test]
    fn nothing_is_kept_for_tables_that_nobody_uses() {
        let gates = Gates::default();
        let mut pass = Pass::default();
        assert!(gates.try_enter(&mut pass, &[A, B, A]));
        drop(pass);
        assert!(gates.inner.gates.borrow().is_empty());
    }

    #[test]
    fn a_refused_entry_leaves_no_trace() {
        let gates = Gates::default();
        assert!(poll(&mut pin!(gates.close(&[A]))));
        let mut pass = Pass::default();
        assert!(!gates.try_enter(&mut pass, &[B, A]));
        gates.open(&[A]);
        assert!(poll(&mut pin!(gates.close(&[A, B]))), "nobody is inside B");
    }
}

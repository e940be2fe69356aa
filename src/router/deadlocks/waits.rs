//! Who waits on a core, and for whom: for locks, and at the gates of changes of the schema.

use crate::router::Router;
use crate::router::gates::{GateReport, GateWait, Holder, InTheWay};
use bytes::Bytes;
use model::archive::{Blob, Unshared};
use model::error::SqlError;
use model::id::{ObjectId, TxnId};
use rkyv::{Archive, Deserialize, Serialize};
use shards::core::{LockMode, WaitNumber};
use std::collections::HashMap;
use std::sync::Arc;

/// A wait of a core. No other of the core ever has the same.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub enum WaitId {
    /// For a lock.
    Lock(WaitNumber),
    /// At the gates.
    Gate(WaitNumber),
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Sought {
    /// A lock.
    Lock {
        /// The key, or where the range of keys starts.
        #[rkyv(with = Blob)]
        key: Bytes,
        /// Which of these it is.
        is_range: bool,
        /// How it is to be locked.
        mode: LockMode,
    },
    /// To come into these tables, of which a change has closed some.
    Entry(#[rkyv(with = Unshared)] Arc<[ObjectId]>),
    /// A change of these tables: that nobody is in them.
    Emptiness(#[rkyv(with = Unshared)] Arc<[ObjectId]>),
}

/// A transaction, or a change of the schema, that waits.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RouterWait {
    /// The wait.
    pub id: WaitId,
    /// Who waits.
    pub txn: TxnId,
    /// What for.
    pub sought: Sought,
    /// Who stands in its way.
    pub waits_for: Vec<TxnId>,
}

impl Router {
    /// Who waits on this core, and for whom.
    pub(in crate::router) fn waits_here(&self) -> Vec<RouterWait> {
        let locks = self.engine.waits().into_iter().map(|wait| RouterWait {
            id: WaitId::Lock(wait.number),
            txn: wait.txn,
            sought: Sought::Lock { key: wait.key, is_range: wait.is_range, mode: wait.mode },
            waits_for: wait.waits_for,
        });
        locks.chain(self.waits_at_gates()).collect()
    }

    /// A session at a gate, or inside, counts for the transaction that it runs; without one nobody
    /// waits for it.
    fn waits_at_gates(&self) -> Vec<RouterWait> {
        let waits = self.inner.gates.waits();
        if waits.is_empty() {
            return Vec::new();
        }
        let sessions = self.inner.sessions.borrow();
        let running: HashMap<u32, TxnId> = sessions
            .iter()
            .filter_map(|(&process, presence)| Some((process, presence.transaction()?)))
            .collect();
        let txn_of = |holder: &Holder| match holder {
            Holder::Session(process) => running.get(process).copied(),
            Holder::Transaction(txn) => Some(*txn),
        };
        let wait = |report: GateReport| {
            let (txn, sought) = match report.wait {
                GateWait::Enter(holder, tables) => (txn_of(&holder)?, Sought::Entry(tables)),
                GateWait::Close(change, _, tables) => (change, Sought::Emptiness(tables)),
            };
            let waits_for = match report.in_the_way {
                InTheWay::Changes(changes) => changes,
                InTheWay::Inside(holders) => holders.iter().filter_map(txn_of).collect(),
            };
            Some(RouterWait { id: WaitId::Gate(report.number), txn, sought, waits_for })
        };
        waits.into_iter().filter_map(wait).collect()
    }

    /// Fails a wait of this core, if it is still there. Returns whether it was.
    pub(in crate::router) fn fail_wait(&self, wait: WaitId, error: SqlError) -> bool {
        match wait {
            WaitId::Lock(number) => self.engine.sacrifice(number, error),
            WaitId::Gate(number) => self.inner.gates.fail(number, error),
        }
    }
}

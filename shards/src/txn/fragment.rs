//! Running fragments in a partition.

use super::partition::Partition;
use super::snapshots::SnapshotGuard;
use super::store::TxnStore;
use crate::exec::{self, ExecContext, Operator};
use model::batch::Batch;
use model::command::{Fragment, Isolation, Modified};
use model::error::SqlError;
use model::id::TxnId;
use model::plan::Plan;
use model::time::Timestamp;
use runtime::time;
use std::rc::Rc;

/// A fragment that reads, in progress. Dropping it ends it.
pub(crate) struct FragmentRead {
    operator: Box<dyn Operator>,
    partition: Rc<Partition>,
    at: Timestamp,
    _snapshot: SnapshotGuard,
}

impl FragmentRead {
    /// The next batch; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        let batch = self.operator.next().await?;
        // Versions may have been collected while it was read.
        self.partition.context.check_snapshot(self.at)?;
        Ok(batch)
    }
}

impl Partition {
    /// Opens a fragment that reads.
    pub(crate) fn open_read(
        self: &Rc<Self>,
        fragment: &Fragment,
    ) -> Result<FragmentRead, SqlError> {
        let snapshot = self.enter_snapshot(fragment.snapshot)?;
        if let (Some(txn), Isolation::Serializable) = (fragment.txn, fragment.isolation) {
            // The transaction is known here from now on: it will hold locks.
            let entered = self.states.borrow_mut().enter(txn, time::now());
            entered.map_err(|refusal| self.refuse(txn, refusal))?;
            drop(self.entered(txn));
            self.states.borrow_mut().keep_locks(txn);
        }
        let context = self.exec_context(fragment, fragment.txn, false);
        let operator = exec::open(&fragment.plan, &context)?;
        let (partition, at) = (self.clone(), fragment.snapshot);
        Ok(FragmentRead { operator, partition, at, _snapshot: snapshot })
    }

    /// Runs a fragment that changes rows, staging the changes in `txn`.
    pub(super) async fn run_modify(
        self: &Rc<Self>,
        txn: TxnId,
        fragment: &Fragment,
    ) -> Result<Modified, SqlError> {
        let Plan::Modify(modify) = &*fragment.plan else {
            return Err(SqlError::internal("a write's plan must be a change at its top"));
        };
        let _snapshot = self.enter_snapshot(fragment.snapshot)?;
        if fragment.isolation == Isolation::Serializable {
            self.states.borrow_mut().keep_locks(txn);
        }
        let context = self.exec_context(fragment, Some(txn), true);
        exec::modify(modify, &context).await
    }

    fn exec_context(
        self: &Rc<Self>,
        fragment: &Fragment,
        txn: Option<TxnId>,
        builds: bool,
    ) -> Rc<ExecContext> {
        let memory = self.context.memory.child(self.context.options.statement_bytes_max);
        let Fragment { snapshot, seen, isolation, lock_timeout, .. } = *fragment;
        let partition = self.clone();
        let store = TxnStore { partition, snapshot, txn, seen, isolation, builds, lock_timeout };
        let parameters = fragment.parameters.clone();
        let context = ExecContext::new(parameters, fragment.now_micros, memory);
        Rc::new(ExecContext { rows: Some(Rc::new(store)), ..context })
    }
}

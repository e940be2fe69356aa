//! The transactions of a core, for people to look at.

use super::Partition;
use super::state::TxnState;
use model::archive::Whole;
use model::id::{PartitionId, TxnId};
use rkyv::with::Map;
use rkyv::{Archive, Deserialize, Serialize};
use runtime::time::{self, Instant};
use std::rc::Rc;
use std::time::Duration;

/// Transactions of a core that are told of: the oldest.
const REPORTED_MAX: usize = 2_000;

/// What a transaction has in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TxnReport {
    /// Which transaction.
    pub txn: TxnId,
    /// Where.
    pub partition: PartitionId,
    /// How far it has come there.
    pub state: TxnState,
    /// Whose log holds the decision, once it has voted.
    pub anchor: Option<PartitionId>,
    /// Keys that it locks.
    #[rkyv(with = Whole)]
    pub locks: usize,
    /// Keys and values that it has changed, in bytes; `None` of a large one that is ending.
    #[rkyv(with = Map<Whole>)]
    pub staged_bytes: Option<usize>,
    /// Since when nothing of it was heard there.
    pub quiet: Duration,
}

/// What the transactions of a core have in each of its partitions, the oldest first. What has waited
/// for an outcome since before `doubted` is in doubt.
pub(crate) fn transactions<'a>(
    partitions: impl Iterator<Item = &'a Rc<Partition>>,
    doubted: Instant,
) -> Vec<TxnReport> {
    let now = time::now();
    let mut reports = Vec::new();
    for partition in partitions {
        let states = partition.states.borrow().report(REPORTED_MAX, doubted);
        let locks = partition.context.locks.borrow();
        reports.extend(states.into_iter().map(|known| TxnReport {
            txn: known.txn,
            partition: partition.id,
            state: known.state,
            anchor: known.anchor,
            locks: locks.held(partition.id, known.txn).len(),
            staged_bytes: known.staged_bytes,
            quiet: now.saturating_since(known.heard),
        }));
    }
    reports.sort_by_key(|report| (report.txn, report.partition));
    reports.truncate(REPORTED_MAX);
    reports
}

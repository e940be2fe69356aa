//! What others are told of a core's locks.

use super::{LockMode, LockTable, Span, WaitNumber};
use bytes::Bytes;
use model::archive::Blob;
use model::id::{ObjectId, TxnId};
use model::key::object_of;
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Locks of a transaction in a partition that a report looks at.
const REPORTED_LOCKS_MAX: usize = 1_000;

/// A transaction that waits on a core, for what and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The request.
    pub number: WaitNumber,
    /// Who waits.
    pub txn: TxnId,
    /// The key; of a range, its start.
    pub key: Bytes,
    /// Whether it is a range.
    pub is_range: bool,
    /// How it is to be locked.
    pub mode: LockMode,
    /// Who stands in its way.
    pub waits_for: Vec<TxnId>,
}

/// What a transaction locks, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct LockReport {
    /// Which transaction.
    pub txn: TxnId,
    /// The table or index whose keys it locks.
    pub object: ObjectId,
    /// How.
    pub mode: LockMode,
    /// Where it waits; `None` where it has its locks.
    pub wait: Option<ReportedWait>,
}

/// A wait for a key or a range, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReportedWait {
    /// The key; of a range, its start.
    #[rkyv(with = Blob)]
    pub key: Bytes,
    /// Whether it is a range.
    pub is_range: bool,
    /// All who stand in the way.
    pub waits_for: Vec<TxnId>,
    /// For how long it has waited.
    pub waited: Duration,
}

/// The table or index that a span lies in.
fn object(span: &Span) -> Option<ObjectId> {
    match span {
        Span::Key(key) => object_of(key),
        Span::Range(range) => object_of(&range.start),
    }
}

impl LockTable {
    /// Who holds and who waits for what, a line for each transaction, object and mode, and one for
    /// each request that waits. Of each transaction the first [`REPORTED_LOCKS_MAX`] locks in a
    /// partition are looked at. `waited` knows for how long a request has waited.
    pub(crate) fn report(&self, waited: impl Fn(WaitNumber) -> Duration) -> Vec<LockReport> {
        let mut reports = BTreeSet::new();
        for (&(partition, txn), spans) in &self.held {
            let Some(space) = self.spaces.get(&partition) else { continue };
            for span in spans.iter().take(REPORTED_LOCKS_MAX) {
                if let (Some(mode), Some(object)) = (space.mode_of(txn, span), object(span)) {
                    reports.insert((txn, object, mode));
                }
            }
        }
        let held = reports.into_iter().map(|(txn, object, mode)| LockReport {
            txn,
            object,
            mode,
            wait: None,
        });
        let waiting = self.waiting.iter().filter_map(|(&ticket, waiting)| {
            let mode = self.spaces.get(&waiting.partition)?.wanted(ticket, &waiting.span)?;
            let object = object(&waiting.span)?;
            let (key, is_range) = match &waiting.span {
                Span::Key(key) => (key.clone(), false),
                Span::Range(range) => (range.start.clone(), true),
            };
            let (waits_for, waited) = (self.blockers(ticket), waited(ticket));
            let wait = Some(ReportedWait { key, is_range, waits_for, waited });
            Some(LockReport { txn: waiting.txn, object, mode, wait })
        });
        held.chain(waiting).collect()
    }

    /// Who waits for whom: enough to find every circle of waiting transactions, and no more than a
    /// few for each that waits, however many stand in one queue.
    pub(crate) fn waits(&self) -> Vec<Wait> {
        let mut waits = Vec::with_capacity(self.waiting.len());
        for space in self.spaces.values() {
            space.waits(&mut waits);
        }
        waits
    }
}

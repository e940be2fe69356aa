//! What a partition tells of its transactions, for people to look at.

use super::{Phase, Txn, TxnStates};
use model::id::{PartitionId, TxnId};
use rkyv::{Archive, Deserialize, Serialize};
use runtime::time::Instant;

/// How far a transaction has come in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum TxnState {
    /// It reads, writes and locks.
    Active,
    /// Its commit, of this partition alone, is on its way through the log; or it has only read here,
    /// and its locks wait for the outcome.
    Committing,
    /// Its vote is on its way through the log.
    Preparing,
    /// Its vote is in the log.
    Prepared,
    /// The same, for so long that its coordinator seems to have gone.
    InDoubt,
    /// Its outcome is on its way through the log.
    Finishing,
    /// As the anchor: the decision is in the log, and kept until all have finished.
    Decided,
}

/// A transaction in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateReport {
    pub(crate) txn: TxnId,
    pub(crate) state: TxnState,
    pub(crate) anchor: Option<PartitionId>,
    /// Keys and values that it has changed; `None` of a large one that is ending.
    pub(crate) staged_bytes: Option<usize>,
    /// When something of it was heard last.
    pub(crate) heard: Instant,
}

impl TxnStates {
    /// The oldest transactions that are known here, at most so many, and decisions. What has waited
    /// for an outcome since before `doubted` is in doubt.
    pub(crate) fn report(&self, max: usize, doubted: Instant) -> Vec<StateReport> {
        let known = self.txns.iter().take(max).map(|(&txn, known)| StateReport {
            txn,
            state: state_of(known, doubted),
            anchor: known.vote.as_ref().map(|vote| vote.anchor),
            staged_bytes: self.bytes_of(txn, known),
            heard: known.heard,
        });
        let decided = self.decisions.iter().take(max).map(|(&txn, decision)| StateReport {
            txn,
            state: TxnState::Decided,
            anchor: Some(self.partition),
            staged_bytes: Some(0),
            heard: decision.since,
        });
        known.chain(decided).collect()
    }

    fn bytes_of(&self, txn: TxnId, known: &Txn) -> Option<usize> {
        if self.bulk.contains_key(&txn) {
            return None;
        }
        let voted = known.vote.iter().flat_map(|vote| &vote.writes);
        let voted =
            voted.map(|write| write.key.len() + write.value.as_ref().map_or(0, |v| v.len()));
        Some(known.staged_bytes + voted.sum::<usize>())
    }
}

fn state_of(known: &Txn, doubted: Instant) -> TxnState {
    match known.phase {
        Phase::Active => TxnState::Active,
        Phase::Aside(_) | Phase::Logging | Phase::Committing => TxnState::Committing,
        Phase::Preparing => TxnState::Preparing,
        Phase::Prepared if known.heard < doubted => TxnState::InDoubt,
        Phase::Prepared => TxnState::Prepared,
        Phase::Finishing(_) => TxnState::Finishing,
    }
}

//! Commands whose entry was taken out of this replica's log because another leader's log says otherwise.
//! Such an entry may live on at a third replica, which may lead later and decide it. Who proposed it is
//! answered when this replica has applied something that proves what became of it.

use super::queue::Pending;
use crate::raft::LogId;
use model::id::PartitionId;
use std::collections::BTreeMap;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the log for good, and applied.
    There,
    /// It is not in the log and never will be.
    Gone,
}

/// The commands of entries of which it is not known whether they are in the log, by partition.
#[derive(Default)]
pub(super) struct Doubted {
    entries: BTreeMap<PartitionId, Vec<(LogId, Vec<Pending>)>>,
}

impl Doubted {
    pub(super) fn put(&mut self, partition: PartitionId, id: LogId, commands: Vec<Pending>) {
        self.entries.entry(partition).or_default().push((id, commands));
    }

    /// An entry is applied, with all before it in order: takes the commands whose fate that proves. An
    /// entry of a newer term does for all of older terms that were not applied before it: a decided log's
    /// terms never fall, and what lies before it is decided.
    pub(super) fn take_decided(
        &mut self,
        partition: PartitionId,
        applied: LogId,
    ) -> Vec<(Fate, Vec<Pending>)> {
        let Some(entries) = self.entries.get_mut(&partition) else { return Vec::new() };
        let term = |id: &LogId| id.committed_leader_id().term;
        let mut decided = Vec::new();
        for (id, commands) in std::mem::take(entries) {
            if id == applied {
                decided.push((Fate::There, commands));
            } else if term(&id) < term(&applied) {
                decided.push((Fate::Gone, commands));
            } else {
                entries.push((id, commands));
            }
        }
        if entries.is_empty() {
            self.entries.remove(&partition);
        }
        decided
    }

    /// Takes all of a partition: their fate will not be known here.
    pub(super) fn take(&mut self, partition: PartitionId) -> Vec<Pending> {
        let entries = self.entries.remove(&partition).unwrap_or_default();
        entries.into_iter().flat_map(|(_, commands)| commands).collect()
    }

    /// The partitions of which there are any.
    pub(super) fn partitions(&self) -> Vec<PartitionId> {
        self.entries.keys().copied().collect()
    }
}

//! The groups that a core's replicas belong to: what they say of themselves, and who takes part and leads.

use super::Engine;
use super::engine::{OpenError, not_here};
use crate::raft::{Change, GroupReport};
use model::error::{SqlError, SqlState};
use model::id::{LogIndex, NodeId, PartitionId, Term};
use model::placement::Place;
use std::collections::BTreeMap;
use std::time::Duration;

/// A partition that is handed over waits so long for the transactions in it to end.
const HAND_OVER_MAX: Duration = Duration::from_secs(4);

impl Engine {
    /// The groups of this core's replicas.
    pub fn groups(&self) -> Vec<GroupReport> {
        self.inner.parts.log.reports()
    }

    /// Makes an empty replica of a partition, on the word of `leader`, from which it waits to hear.
    ///
    /// # Errors
    /// The leader does not answer, or does not lead. What the file system refuses, and whatever a start meets.
    pub async fn add_replica(
        &self,
        partition: PartitionId,
        leader: NodeId,
    ) -> Result<(), OpenError> {
        self.inner.parts.add(&self.inner.options, partition, leader).await
    }

    /// Removes the replica of a partition, with all that there is of it, where it is as it was seen: of this
    /// newest term, with this last entry, and not leading. Nothing comes between that look and the end of
    /// the replica. One that is not there is gone already.
    ///
    /// # Errors
    /// 55000: it is otherwise. What the file system refuses: the replica is gone, and what is left of it
    /// goes with the next start, or before another takes its place.
    pub async fn remove_replica(
        &self,
        partition: PartitionId,
        seen: (Term, LogIndex),
    ) -> Result<(), SqlError> {
        match self.inner.parts.remove(&self.inner.options, partition, seen).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("the replica of partition {partition} is not as it was seen"),
            )),
            Err(error) => Err(SqlError::new(SqlState::IO_ERROR, error.to_string())),
        }
    }

    /// Changes who takes part in the group of a partition that this core leads. Returns when it is
    /// decided.
    ///
    /// # Errors
    /// 55000: the group is not here or is not led here, another change is under way, or the change
    /// makes no sense.
    pub async fn change_group(
        &self,
        partition: PartitionId,
        change: Change,
    ) -> Result<(), SqlError> {
        let group = self.inner.parts.log.group(partition).ok_or_else(|| not_here(partition))?;
        group.change(change).await.map_err(group_error)
    }

    /// Has another voter lead a partition that this core leads. Transactions that are under way here
    /// come to their end first, unless that takes them too long; those that would begin wait for
    /// the other leader. Returns when this core leads no more.
    ///
    /// # Errors
    /// 55000: the group is not here, the voter cannot be reached, or it does not take over.
    pub async fn transfer_leader(
        &self,
        partition: PartitionId,
        to: NodeId,
    ) -> Result<(), SqlError> {
        let group = self.inner.parts.log.group(partition).ok_or_else(|| not_here(partition))?;
        let here = self.inner.partition(partition)?;
        if !self.inner.nodes.is_reached(to) {
            // It may have died a moment ago, and nobody could work in the partition until that is known.
            let why = std::io::Error::other(format!("node {to} cannot be reached"));
            return Err(group_error(why));
        }
        let _handing_over = here.hand_over(HAND_OVER_MAX).await;
        group.transfer(to).await.map_err(group_error)
    }

    /// Who leads a partition, as far as this core knows.
    pub fn leader(&self, partition: PartitionId) -> Option<NodeId> {
        match self.inner.parts.partitions.get(partition).map(|one| one.led_elsewhere()) {
            Some(None) => Some(self.node()),
            Some(Some(leader)) => leader.or_else(|| self.inner.leaders.get(partition)),
            None => self.inner.leaders.get(partition),
        }
    }

    /// Takes note of which nodes have replicas of which partition: they are asked first who leads it. It
    /// need not be the newest.
    pub fn learn_replicas(&self, replicas: BTreeMap<PartitionId, Vec<NodeId>>) {
        self.inner.leaders.learn(replicas);
    }

    /// A node that was taken to lead a partition does not answer: unless a replica here says so it is
    /// taken for the leader no more.
    pub fn doubt_leader(&self, partition: PartitionId, node: NodeId) {
        self.inner.leaders.forget(partition, node);
    }

    /// Where a partition is led, as far as this core knows.
    pub fn leader_place(&self, partition: PartitionId) -> Option<Place> {
        self.inner.place(self.leader(partition)?, partition)
    }

    /// The term in which this core leads a partition, where it may serve it at this moment: nobody
    /// else can then.
    pub fn serves_in(&self, partition: PartitionId) -> Option<Term> {
        let group = self.inner.parts.log.group(partition)?;
        self.inner.serves(partition).then(|| group.term())
    }
}

fn group_error(error: std::io::Error) -> SqlError {
    SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the group was not changed")
        .detail(error.to_string())
}

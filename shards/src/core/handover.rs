//! A core that stops gives away what it leads.

use super::Engine;
use crate::raft::GroupReport;
use futures::future::join_all;
use model::error::SqlError;
use model::id::{NodeId, PartitionId};
use std::cmp::Reverse;

impl Engine {
    /// Has others lead what this core leads, where they have votes and answer: those that have the most of
    /// the log first. Returns what stays here although there are others, and why the last of them does
    /// not lead it.
    pub async fn hand_over(&self) -> Vec<(PartitionId, SqlError)> {
        let led = self.groups().into_iter().filter(|group| group.leads);
        let stay = join_all(led.map(|group| self.hand_over_one(group))).await;
        stay.into_iter().flatten().collect()
    }

    /// The same of one of them.
    pub(super) async fn hand_over_one(
        &self,
        group: GroupReport,
    ) -> Option<(PartitionId, SqlError)> {
        let mut stays = None;
        for to in successors(&group, self.node()) {
            match self.transfer_leader(group.partition, to).await {
                Ok(()) => return None,
                Err(error) => stays = Some((group.partition, error)),
            }
        }
        stays
    }
}

/// Who may lead a group in the place of `here`, the likeliest first.
fn successors(group: &GroupReport, here: NodeId) -> Vec<NodeId> {
    let voters = group.voters.last().into_iter().flatten();
    let mut others: Vec<NodeId> = voters.copied().filter(|voter| *voter != here).collect();
    others.sort_by_key(|voter| Reverse(group.matched.get(voter).copied()));
    others
}

//! The replicas of a core: what they say of themselves, and what they do.

use crate::cluster::groups::{Extent, Members, ReplicaReport};
use crate::cluster::orders::{MemberChange, Order, What};
use model::error::{SqlError, SqlState};
use shards::core::{Engine, OpenError};
use shards::raft::{Change, GroupReport};

/// What the core's replicas say of themselves.
pub(super) fn reports(engine: &Engine) -> Vec<ReplicaReport> {
    engine.groups().iter().map(report).collect()
}

/// Has the core's replica do what is ordered, if that still makes sense.
///
/// # Errors
/// 55000 where it does not; those of doing it.
pub(super) async fn carry_out(engine: &Engine, order: Order) -> Result<(), SqlError> {
    let partition = order.partition;
    let groups = engine.groups();
    let now = groups.iter().find(|group| group.partition == partition).map(report);
    order.check(now.as_ref())?;
    match order.what {
        What::Begin { leader } => engine.add_replica(partition, leader).await.map_err(not_done),
        What::Remove { seen } => engine.remove_replica(partition, (seen.term, seen.last)).await,
        What::Change { change, .. } => {
            let change = match change {
                MemberChange::Learn(node) => Change::AddLearner(node),
                MemberChange::Vote(voters) => Change::SetVoters(voters.into_iter().collect()),
                MemberChange::Leave(node) => Change::RemoveLearner(node),
            };
            engine.change_group(partition, change).await
        }
        What::Transfer(to) => engine.transfer_leader(partition, to).await,
    }
}

fn not_done(error: OpenError) -> SqlError {
    SqlError::new(SqlState::IO_ERROR, error.to_string())
}

/// What a group says of itself, as it travels. Where a change is half done the last set is its end.
fn report(group: &GroupReport) -> ReplicaReport {
    let mut sets = group.voters.iter().map(|set| set.iter().copied().collect::<Vec<_>>());
    let voters = sets.next_back().unwrap_or_default();
    ReplicaReport {
        partition: group.partition,
        extent: Extent { term: group.term, last: group.last },
        leads: group.leads,
        leader: group.leader,
        members: Members {
            outgoing: sets.next_back().unwrap_or_default(),
            voters,
            learners: group.learners.iter().copied().collect(),
        },
        matched: group.matched.iter().map(|(node, at)| (*node, *at)).collect(),
    }
}

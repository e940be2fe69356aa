//! One move of one partition: the orders that it takes.

use super::{Hands, Look};
use crate::cluster::decide::Step;
use crate::cluster::groups::{Extent, Group, Leading, Members};
use crate::cluster::orders::{MemberChange, Order, What};
use crate::cluster::registry::Registry;
use model::error::{SqlError, SqlState};
use model::id::{NodeId, PartitionId};
use model::placement::Place;
use runtime::time;
use std::time::Duration;

/// How long an order may take. A change of voters waits for a quorum of both sides.
const ORDER_WITHIN: Duration = Duration::from_secs(10);
/// How long it takes until it is seen who leads now.
const TRANSFER_PAUSE: Duration = Duration::from_secs(1);

/// What is to be done with a partition, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    partition: PartitionId,
    leader: NodeId,
    seen: Members,
    what: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A replica on a node, which learns.
    Learn(NodeId),
    /// Another set of voters.
    Vote(Vec<NodeId>),
    /// A node without a vote leaves.
    Leave(NodeId),
    /// Another voter leads.
    Transfer(NodeId),
    /// A member that learns has no replica: it had one for a moment before it was a member.
    Begin(NodeId),
    /// A replica that its group does not know goes.
    Remove(NodeId, Extent),
}

/// How long a partition is left alone behind a move.
pub(super) enum Rest {
    None,
    For(Duration),
}

impl Move {
    pub(super) fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Whether another node is to lead the partition.
    pub(super) fn hands_over(&self) -> bool {
        matches!(self.what, Kind::Transfer(_))
    }

    /// The step of a group that is so.
    pub(super) fn of(step: &Step, leading: &Leading) -> Move {
        let voters = &leading.members.voters;
        let what = match step {
            Step::FinishChange { .. } => Kind::Vote(voters.clone()),
            Step::AddLearner { node, .. } => Kind::Learn(*node),
            Step::RemoveLearner { node, .. } => Kind::Leave(*node),
            Step::ChangeVoters { add, remove, .. } => {
                let kept = voters.iter().filter(|voter| !remove.contains(voter));
                let mut voters: Vec<NodeId> = kept.chain(add).copied().collect();
                voters.sort_unstable();
                Kind::Vote(voters)
            }
            Step::TransferLeader { to, .. } => Kind::Transfer(*to),
        };
        Move {
            partition: step.partition(),
            leader: leading.node,
            seen: leading.members.clone(),
            what,
        }
    }
}

/// What is to be mended of a group for which nothing was decided: a member has no replica, or a
/// replica has no group.
pub(super) fn mend(partition: PartitionId, group: &Group, look: &Look) -> Option<(Move, String)> {
    let leading = group.leading.as_ref().filter(|leading| leading.members.outgoing.is_empty())?;
    // One that has lost its vote changes nothing more; the next one will.
    if !leading.members.voters.contains(&leading.node) {
        return None;
    }
    let (leader, seen) = (leading.node, leading.members.clone());
    let a_move = |what| Move { partition, leader, seen: seen.clone(), what };
    let lacks = |node: &&NodeId| look.groups.has_told(**node) && !group.holders.contains_key(node);
    if let Some(node) = seen.learners.iter().find(lacks) {
        return Some((a_move(Kind::Begin(*node)), "it is to learn and is not there".to_owned()));
    }
    let unknown = group.holders.iter().find(|(node, _)| !seen.contains(**node));
    unknown.map(|(node, extent)| {
        (a_move(Kind::Remove(*node, *extent)), "its group does not know it".to_owned())
    })
}

/// The orders of a move, one behind the other.
type Orders = Result<Vec<(Place, Order)>, SqlError>;

/// Carries a move out, and tells of it.
pub(super) async fn carry_out(
    hands: &impl Hands,
    next: Move,
    why: String,
    orders: Orders,
) -> Result<Rest, SqlError> {
    let Move { partition, leader, what, .. } = &next;
    log::info!(
        partition = partition.0, leader = leader.0, step = what.to_string(), why = why;
        "a replica moves"
    );
    let result = give(hands, orders).await;
    match &result {
        Ok(()) => log::info!(
            partition = partition.0, step = what.to_string();
            "a replica has moved"
        ),
        Err(error) => log::warn!(
            partition = partition.0, step = what.to_string();
            "a replica does not move now: {error}"
        ),
    }
    result.map(|()| match what {
        Kind::Transfer(_) => Rest::For(TRANSFER_PAUSE),
        _ => Rest::None,
    })
}

/// The orders that a move takes.
///
/// # Errors
/// A node is not known.
pub(super) fn orders(next: &Move, registry: &Registry) -> Orders {
    let order = |node: NodeId, what: What| -> Result<(Place, Order), SqlError> {
        let partition = next.partition;
        let place = registry.place(partition, node).ok_or_else(|| unknown(node))?;
        Ok((place, Order { partition, what }))
    };
    let change =
        |change: MemberChange| order(next.leader, What::Change { seen: next.seen.clone(), change });
    let begin = What::Begin { leader: next.leader };
    match &next.what {
        // The replica is there before its group sends it something.
        Kind::Learn(node) => Ok(vec![order(*node, begin)?, change(MemberChange::Learn(*node))?]),
        Kind::Vote(voters) => Ok(vec![change(MemberChange::Vote(voters.clone()))?]),
        // What it leaves behind is removed with what else a group does not know.
        Kind::Leave(node) => Ok(vec![change(MemberChange::Leave(*node))?]),
        Kind::Transfer(to) => Ok(vec![order(next.leader, What::Transfer(*to))?]),
        Kind::Begin(node) => Ok(vec![order(*node, begin)?]),
        // A leader that was overtaken does not know who takes part: it says so together with a quorum.
        Kind::Remove(node, seen) => {
            let remove = order(*node, What::Remove { seen: *seen })?;
            Ok(vec![change(MemberChange::Leave(*node))?, remove])
        }
    }
}

async fn give(hands: &impl Hands, orders: Orders) -> Result<(), SqlError> {
    for (place, order) in orders? {
        let given = time::timeout(ORDER_WITHIN, hands.order(place, order)).await;
        given.map_err(|_elapsed| {
            let core = format!("node {} has not answered in time", place.node);
            SqlError::new(SqlState::CONNECTION_FAILURE, core)
        })??;
    }
    Ok(())
}

fn unknown(node: NodeId) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("there is no node {node} in the registry"))
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Learn(node) => write!(f, "node {node} begins to learn"),
            Kind::Vote(voters) => {
                let voters: Vec<String> = voters.iter().map(ToString::to_string).collect();
                write!(f, "nodes {} vote", voters.join(", "))
            }
            Kind::Leave(node) => write!(f, "node {node} learns no more"),
            Kind::Transfer(to) => write!(f, "node {to} is to lead"),
            Kind::Begin(node) => write!(f, "node {node} begins a replica"),
            Kind::Remove(node, _) => write!(f, "node {node} removes its replica"),
        }
    }
}

//! What an operator may want of the cluster, and when that is refused.

use super::decide::{Liveness, Wanted};
use super::registry::{NodeRecord, PartitionRecord, Registry};
use model::error::{SqlError, SqlState};
use model::id::{NodeId, PartitionId};
use rkyv::{Archive, Deserialize, Serialize};

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Wish {
    /// This of a node.
    Node(NodeId, Wanted),
    /// A partition led by a node.
    Leader(PartitionId, NodeId),
}

/// Why it is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The id was never given out.
    #[error("there is no node {0}")]
    UnknownNode(NodeId),
    /// It was removed before.
    #[error("node {0} was removed from the cluster for good")]
    Decommissioned(NodeId),
    /// Nobody else could hold anything.
    #[error("node {0} is the last one that lives and is not to be free")]
    LastNode(NodeId),
    /// Too few would be left for a partition.
    #[error(
        "without node {node} partition {partition} would lose its quorum: it has {voters} voters, \
         and {left} other nodes could hold it"
    )]
    LosesQuorum {
        /// The node.
        node: NodeId,
        /// The first such partition.
        partition: PartitionId,
        /// How many vote there.
        voters: usize,
        /// How many other nodes live and may hold replicas.
        left: usize,
    },
    /// There is none.
    #[error("there is no partition {0}")]
    UnknownPartition(PartitionId),
    /// It has no vote there.
    #[error("node {node} has no vote in partition {partition}")]
    NoVote {
        /// The node.
        node: NodeId,
        /// The partition.
        partition: PartitionId,
    },
    /// It cannot lead.
    #[error("node {0} does not answer")]
    NotAlive(NodeId),
    /// It is not to lead.
    #[error("node {0} is to be free of leaders")]
    ToBeFree(NodeId),
}

impl From<Refusal> for SqlError {
    fn from(refusal: Refusal) -> SqlError {
        let state = match refusal {
            Refusal::UnknownNode(_) | Refusal::UnknownPartition(_) => SqlState::UNDEFINED_OBJECT,
            _ => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        };
        SqlError::new(state, refusal.to_string())
    }
}

/// The new row of a node of which something is wanted; `None` where it is so already.
///
/// # Errors
/// It is refused.
pub fn want(
    registry: &Registry,
    heard: impl Fn(NodeId) -> Liveness,
    node: NodeId,
    wanted: Wanted,
) -> Result<Option<NodeRecord>, Refusal> {
    let known = registry.node(node).ok_or(Refusal::UnknownNode(node))?;
    if known.wanted == wanted {
        return Ok(None);
    }
    if known.wanted == Wanted::Decommissioned {
        return Err(Refusal::Decommissioned(node));
    }
    let takes = |one: &&NodeRecord| {
        one.id != node && one.wanted == Wanted::Active && heard(one.id) == Liveness::Alive
    };
    let left = registry.nodes().filter(takes).count();
    if wanted != Wanted::Active && left == 0 {
        return Err(Refusal::LastNode(node));
    }
    if wanted == Wanted::Decommissioned
        && let Some(partition) =
            registry.partitions().find(|one| loses_quorum(one, node, left, &heard))
    {
        let voters = partition.replicas.voters.len();
        return Err(Refusal::LosesQuorum { node, partition: partition.id, voters, left });
    }
    Ok(registry.want(node, wanted))
}

/// Whether a partition could not do without a node: there is no place for another voter, or those that
/// are left do not suffice to give one a vote.
fn loses_quorum(
    partition: &PartitionRecord,
    node: NodeId,
    left: usize,
    heard: &impl Fn(NodeId) -> Liveness,
) -> bool {
    let voters = &partition.replicas.voters;
    if !voters.contains(&node) {
        return false;
    }
    let answers = |id: &&NodeId| heard(**id) == Liveness::Alive;
    left < voters.len() || voters.iter().filter(answers).count() < voters.len() / 2 + 1
}

/// Whether a node may lead a partition.
///
/// # Errors
/// It may not.
pub fn may_lead(
    registry: &Registry,
    heard: impl Fn(NodeId) -> Liveness,
    partition: PartitionId,
    node: NodeId,
) -> Result<(), Refusal> {
    let known = registry.node(node).ok_or(Refusal::UnknownNode(node))?;
    let row = registry.partitions().find(|one| one.id == partition);
    let row = row.ok_or(Refusal::UnknownPartition(partition))?;
    if !row.replicas.voters.contains(&node) {
        return Err(Refusal::NoVote { node, partition });
    }
    if known.wanted != Wanted::Active {
        return Err(Refusal::ToBeFree(node));
    }
    match heard(node) {
        Liveness::Alive => Ok(()),
        _ => Err(Refusal::NotAlive(node)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::registry::About;
    use model::placement::Replicas;
    use std::time::Duration;

    /// So many nodes, and one partition on the first of them.
    fn registry(nodes: u32, voters: u32) -> Registry {
        let about = || About {
            native: String::new(),
            pg: None,
            cores: vec![String::new()],
            locality: Default::default(),
            software: String::new(),
        };
        let mut rows: Vec<NodeRecord> = Vec::new();
        for _ in 0..nodes {
            let known = Registry::new(rows.clone(), []);
            rows.push(known.admit(about(), 0).expect("it is let in"));
        }
        let voters = (1..=voters).map(NodeId).collect();
        let replicas = Replicas { voters, learners: Vec::new() };
        Registry::new(rows, [PartitionRecord { id: PartitionId(0), replicas, version: 9 }])
    }

    fn all_live(_: NodeId) -> Liveness {
        Liveness::Alive
    }

    /// All but one.
    fn but(dead: u32) -> impl Fn(NodeId) -> Liveness {
        move |node| match node.0 == dead {
            true => Liveness::Dead { lasting: Duration::ZERO },
            false => Liveness::Alive,
        }
    }

    #[test]
    fn what_would_do_harm_is_refused_by_name() {
        let one = registry(1, 1);
        let drain =
            |registry: &Registry, node| want(registry, all_live, NodeId(node), Wanted::Draining);
        assert_eq!(drain(&one, 2), Err(Refusal::UnknownNode(NodeId(2))));
        assert_eq!(drain(&one, 1), Err(Refusal::LastNode(NodeId(1))));
        let two = registry(2, 1);
        assert_eq!(
            want(&two, but(2), NodeId(1), Wanted::Draining),
            Err(Refusal::LastNode(NodeId(1)))
        );
        let row = drain(&two, 1).expect("it may").expect("it is a change");
        assert_eq!((row.wanted, row.version), (Wanted::Draining, 10));
        let three = registry(3, 3);
        // It keeps its replicas for as long as there is nowhere else for them.
        assert!(drain(&three, 2).is_ok_and(|row| row.is_some()));
        let remove = |registry: &Registry, node| {
            want(registry, all_live, NodeId(node), Wanted::Decommissioned)
        };
        let refused = remove(&three, 2).expect_err("it is refused");
        assert_eq!(
            refused.to_string(),
            "without node 2 partition 0 would lose its quorum: it has 3 voters, and 2 other nodes \
             could hold it"
        );
        let four = registry(4, 3);
        assert!(remove(&four, 2).is_ok_and(|row| row.is_some()));
        assert!(remove(&four, 4).is_ok_and(|row| row.is_some()));
        let dead = want(&four, but(1), NodeId(2), Wanted::Decommissioned);
        assert!(matches!(dead, Err(Refusal::LosesQuorum { left: 2, .. })), "{dead:?}");
        assert_eq!(want(&four, all_live, NodeId(1), Wanted::Active), Ok(None), "it is so already");
    }

    #[test]
    fn only_a_voter_that_lives_is_made_a_leader() {
        let four = registry(4, 3);
        let lead = |node| may_lead(&four, but(3), PartitionId(0), NodeId(node));
        assert_eq!(lead(2), Ok(()));
        assert_eq!(lead(3), Err(Refusal::NotAlive(NodeId(3))));
        let partition = PartitionId(0);
        assert_eq!(lead(4), Err(Refusal::NoVote { node: NodeId(4), partition }));
        assert_eq!(lead(5), Err(Refusal::UnknownNode(NodeId(5))));
        let nowhere = may_lead(&four, all_live, PartitionId(7), NodeId(1));
        assert_eq!(nowhere, Err(Refusal::UnknownPartition(PartitionId(7))));
    }
}

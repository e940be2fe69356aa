//! What the decider looks at, and what it may say.

use model::id::{NodeId, PartitionId};
use model::locality::Locality;
use rkyv::{Archive, Deserialize, Serialize};
use std::time::Duration;

/// The cluster as it is known to the leader of the system partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Every node of the registry, each once.
    pub nodes: Vec<Node>,
    /// Every partition, each once.
    pub partitions: Vec<Partition>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where it stands.
    pub locality: Locality,
    /// Whether it is heard of.
    pub liveness: Liveness,
    /// What the operator wants of it.
    pub wanted: Wanted,
    /// Its cores: a node of twice as many takes twice as much.
    pub cores: u16,
    /// What it reports of itself.
    pub load: Load,
}

/// Whether a node is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It has not answered somebody; it may refute that.
    Suspect,
    /// Nobody hears it.
    Dead {
        /// For how long.
        lasting: Duration,
    },
}

/// What the operator wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Wanted {
    /// To serve.
    Active,
    /// To be free of leaders and then of replicas, and to stay.
    Draining,
    /// To be free of them, and to go for good.
    Decommissioned,
}

/// What a node reports of itself. It decides only between nodes that are equal otherwise, except
/// for a disk that is nearly full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Of the time of its cores, in thousandths.
    pub busy_permille: u16,
    /// Of the room of its disk, in thousandths.
    pub disk_used_permille: u16,
}

/// A partition and its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its id.
    pub id: PartitionId,
    /// The nodes with a vote: where a joint change is half done, those of its end.
    pub voters: Vec<NodeId>,
    /// Where a joint change is half done, the voters it began with; empty otherwise.
    pub outgoing: Vec<NodeId>,
    /// The nodes without a vote.
    pub learners: Vec<Learner>,
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// Somebody is carrying out a step: nothing is decided until that is over.
    pub changing: bool,
}

/// A replica without a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learner {
    /// Its node.
    pub node: NodeId,
    /// Entries of the log that it lacks; `None` where that is not known.
    pub behind: Option<u64>,
}

/// How the decider weighs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How many voters a partition is to have; odd.
    pub replication_factor: u16,
    /// How long a node is dead before its replicas are made anew elsewhere.
    pub replace_after: Duration,
    /// Entries that a learner may lack to be given a vote.
    pub behind_max: u64,
    /// Steps at once in the whole cluster, those under way included.
    pub steps_max: usize,
    /// Replicas that a node fills at once.
    pub copies_per_node_max: usize,
    /// How far from its share a node's replicas or leaders may be, in hundredths.
    pub slack_percent: u32,
    /// A node whose disk is fuller gets no replicas, in thousandths.
    pub disk_used_permille_max: u16,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            replication_factor: 3,
            replace_after: Duration::from_secs(300),
            behind_max: 1_000,
            steps_max: 16,
            copies_per_node_max: 4,
            slack_percent: 5,
            disk_used_permille_max: 900,
        }
    }
}

/// One change of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ends a joint change that was left half done.
    FinishChange {
        /// Whose.
        partition: PartitionId,
    },
    /// Begins a replica without a vote.
    AddLearner {
        /// Of which partition.
        partition: PartitionId,
        /// Where.
        node: NodeId,
    },
    /// Ends a replica without a vote.
    RemoveLearner {
        /// Of which partition.
        partition: PartitionId,
        /// Where.
        node: NodeId,
    },
    /// Gives votes to learners and ends the replicas of voters, in one joint change.
    ChangeVoters {
        /// Of which partition.
        partition: PartitionId,
        /// The learners.
        add: Vec<NodeId>,
        /// The voters.
        remove: Vec<NodeId>,
    },
    /// Has another voter lead.
    TransferLeader {
        /// Which partition.
        partition: PartitionId,
        /// The voter.
        to: NodeId,
    },
}

impl Step {
    /// The partition that changes.
    pub fn partition(&self) -> PartitionId {
        match self {
            Step::FinishChange { partition }
            | Step::AddLearner { partition, .. }
            | Step::RemoveLearner { partition, .. }
            | Step::ChangeVoters { partition, .. }
            | Step::TransferLeader { partition, .. } => *partition,
        }
    }
}

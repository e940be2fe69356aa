//! Clusters and steps as text.
//!
//! ```text
//! node 1 region=eu,zone=a            alive and wanted, with a core
//! node 2 suspect cores=4 busy=300 disk=950
//! node 3 dead=400s draining
//! 1: 1* 2 3                          voters of partition 1, the leader starred
//! 2: 1* 2 3 +4                       and a learner that has caught up
//! 3: 1* 2 3 +4(120) changing         and one that lacks 120 entries
//! 4: 1* 2 3 (was 1 2 4)              a joint change that is half done
//! 5: [1*] 2 3 4                      a leader that has lost its vote
//! ```

use super::super::{Learner, Liveness, Load, Node, Partition, Policy, Snapshot, Step, Wanted};
use model::id::{NodeId, PartitionId};
use model::locality::Locality;
use std::time::Duration;

pub(super) fn snapshot(text: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("node ") {
            Some(rest) => snapshot.nodes.push(node(rest)),
            None => snapshot.partitions.push(partition(line)),
        }
    }
    snapshot
}

fn id(text: &str) -> NodeId {
    NodeId(text.parse().unwrap_or_else(|_| panic!("no node: {text}")))
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

fn node(text: &str) -> Node {
    let mut words = text.split_whitespace();
    let mut node = Node {
        id: id(words.next().expect("an id")),
        locality: Locality::default(),
        liveness: Liveness::Alive,
        wanted: Wanted::Active,
        cores: 1,
        load: Load::default(),
    };
    for word in words {
        match word.split_once('=') {
            None if word == "suspect" => node.liveness = Liveness::Suspect,
            None if word == "draining" => node.wanted = Wanted::Draining,
            None if word == "decommissioned" => node.wanted = Wanted::Decommissioned,
            Some(("dead", time)) => {
                let lasting = Duration::from_secs(number(time.trim_end_matches('s')));
                node.liveness = Liveness::Dead { lasting };
            }
            Some(("cores", count)) => node.cores = number(count),
            Some(("busy", permille)) => node.load.busy_permille = number(permille),
            Some(("disk", permille)) => node.load.disk_used_permille = number(permille),
            _ => node.locality = word.parse().expect("a locality"),
        }
    }
    node
}

fn partition(text: &str) -> Partition {
    let (number_of, rest) = text.split_once(": ").unwrap_or_else(|| panic!("no partition: {text}"));
    let (rest, was) = rest.split_once(" (was ").unwrap_or((rest, ""));
    let mut partition = Partition {
        id: PartitionId(number(number_of)),
        voters: Vec::new(),
        outgoing: was.trim_end_matches(')').split_whitespace().map(id).collect(),
        learners: Vec::new(),
        leader: None,
        changing: false,
    };
    for word in rest.split_whitespace() {
        if word == "changing" {
            partition.changing = true;
        } else if let Some(leader) = word.strip_prefix('[') {
            partition.leader = Some(id(leader.trim_end_matches("*]")));
        } else if let Some(learner) = word.strip_prefix('+') {
            let (node, behind) = learner.split_once('(').unwrap_or((learner, "0"));
            let behind = match behind.trim_end_matches(')') {
                "?" => None,
                entries => Some(number(entries)),
            };
            partition.learners.push(Learner { node: id(node), behind });
        } else {
            let node = id(word.trim_end_matches('*'));
            partition.voters.push(node);
            if word.ends_with('*') {
                partition.leader = Some(node);
            }
        }
    }
    partition
}

fn ids(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// A step as `3: vote 4, not 1`.
pub(super) fn step(step: &Step) -> String {
    let what = match step {
        Step::FinishChange { .. } => "finish the change".to_owned(),
        Step::AddLearner { node, .. } => format!("learner {node}"),
        Step::RemoveLearner { node, .. } => format!("no learner {node}"),
        Step::ChangeVoters { add, remove, .. } => match (add.is_empty(), remove.is_empty()) {
            (false, true) => format!("vote {}", ids(add)),
            (true, _) => format!("not {}", ids(remove)),
            (false, false) => format!("vote {}, not {}", ids(add), ids(remove)),
        },
        Step::TransferLeader { to, .. } => format!("lead {to}"),
    };
    format!("{}: {what}", step.partition())
}

/// What is decided for a cluster, a step a line.
pub(super) fn decided(cluster: &str, policy: &Policy) -> String {
    let steps = super::super::decide(&snapshot(cluster), policy);
    steps.iter().map(step).collect::<Vec<_>>().join("\n")
}

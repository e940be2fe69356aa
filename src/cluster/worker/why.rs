//! Why something was decided, for the log.

use crate::cluster::decide::{Liveness, Partition, Policy, Snapshot, Step, Wanted};
use model::id::NodeId;

/// In a few words.
pub(super) fn why(step: &Step, snapshot: &Snapshot, policy: &Policy) -> String {
    let partition = snapshot.partitions.iter().find(|one| one.id == step.partition());
    let Some(partition) = partition else { return String::new() };
    match step {
        Step::FinishChange { .. } => "a change of voters was left half done".to_owned(),
        Step::TransferLeader { .. } => {
            let leader = partition.leader.and_then(|leader| complaint(leader, snapshot, policy));
            leader.unwrap_or_else(|| "leaders are to be spread evenly".to_owned())
        }
        Step::ChangeVoters { add, remove, .. } => {
            let removed = remove.iter().find_map(|node| complaint(*node, snapshot, policy));
            removed.unwrap_or_else(|| match add.len() > remove.len() {
                true => too_few(partition, policy),
                false if add.is_empty() => "there are more voters than wanted".to_owned(),
                false => SPREAD.to_owned(),
            })
        }
        Step::AddLearner { .. } => {
            let voters = partition.voters.iter();
            let lost = voters.copied().find_map(|voter| complaint(voter, snapshot, policy));
            match partition.voters.len() < usize::from(policy.replication_factor) {
                true => too_few(partition, policy),
                false => lost.unwrap_or_else(|| SPREAD.to_owned()),
            }
        }
        Step::RemoveLearner { node, .. } => {
            let why = complaint(*node, snapshot, policy);
            why.unwrap_or_else(|| "it is of no use any more".to_owned())
        }
    }
}

const SPREAD: &str = "replicas are to be spread evenly";

fn too_few(partition: &Partition, policy: &Policy) -> String {
    let voters = partition.voters.len();
    format!("{voters} of {} voters", policy.replication_factor)
}

/// What is wrong with a node.
fn complaint(id: NodeId, snapshot: &Snapshot, policy: &Policy) -> Option<String> {
    let Some(node) = snapshot.nodes.iter().find(|node| node.id == id) else {
        return Some(format!("node {id} is not known"));
    };
    match (node.wanted, node.liveness) {
        (Wanted::Draining, _) => Some(format!("node {id} is drained")),
        (Wanted::Decommissioned, _) => Some(format!("node {id} is removed for good")),
        (Wanted::Active, Liveness::Dead { lasting }) if lasting >= policy.replace_after => {
            Some(format!("node {id} has been dead for {} s", lasting.as_secs()))
        }
        (Wanted::Active, _) => None,
    }
}

//! As many voters as wanted, none of them on a node that is lost or to be free.

use super::snapshot::{Partition, Step};
use super::work::{Share, Work};
use model::id::NodeId;
use std::collections::BTreeSet;

/// Ends what somebody began and nobody ended.
pub(super) fn finish_changes(work: &mut Work<'_>) {
    for at in 0..work.partitions.len() {
        let partition = work.partitions[at];
        if !work.busy[at] && !partition.outgoing.is_empty() {
            work.say(at, Step::FinishChange { partition: partition.id });
            // Without room for that there is none for anything else.
            work.busy[at] = true;
        }
    }
}

/// Nodes that are to be free give away what they lead, and so does who has a vote no more: it is its
/// leader to the end of the change that took the vote, and can change nothing else.
pub(super) fn free_of_leaders(work: &mut Work<'_>) {
    for at in 0..work.partitions.len() {
        let partition = work.partitions[at];
        let Some(leader) = partition.leader.filter(|_| !work.busy[at]) else { continue };
        let votes = partition.voters.contains(&leader);
        if votes && !work.is_leaving(leader) {
            continue;
        }
        if let Some(to) = work.best_leader(partition, &[]) {
            work.say(at, Step::TransferLeader { partition: partition.id, to });
        }
        work.busy[at] |= !votes;
    }
}

/// Gives every partition the voters that it lacks and takes away those that it has too many, the most
/// endangered first.
pub(super) fn repair(work: &mut Work<'_>) {
    let leading = still_leading(work);
    let mut order: Vec<usize> = (0..work.partitions.len()).collect();
    let spare = |partition: &Partition| {
        let alive = partition.voters.iter().filter(|voter| work.is_alive(**voter)).count();
        alive.saturating_sub(partition.voters.len() / 2 + 1)
    };
    order.sort_by_key(|at| (spare(work.partitions[*at]), *at));
    for at in order {
        if work.busy[at] {
            continue;
        }
        let partition = work.partitions[at];
        let needs = Needs::of(work, partition, &leading);
        let change = needs.change(work, partition);
        if let Some(step) = change.or_else(|| needs.learner(work, partition)) {
            work.say(at, step);
        }
    }
}

/// Nodes that are to be free and lead what another voter could lead: their replicas wait.
fn still_leading(work: &Work<'_>) -> BTreeSet<NodeId> {
    let led = work.partitions.iter().filter_map(|partition| {
        let leader = partition.leader.filter(|leader| work.is_leaving(*leader))?;
        work.best_leader(partition, &[]).map(|_| leader)
    });
    led.collect()
}

/// What is wrong with a partition.
struct Needs {
    /// Voters to be replaced, the dead first.
    lost: Vec<NodeId>,
    /// Learners that could vote now.
    ready: Vec<NodeId>,
    /// Learners that are of use to anybody.
    useful: Vec<NodeId>,
}

impl Needs {
    fn of(work: &Work<'_>, partition: &Partition, leading: &BTreeSet<NodeId>) -> Needs {
        let voters = partition.voters.iter().copied();
        let mut lost: Vec<NodeId> = voters
            .filter(|id| work.is_lost(*id) || (work.is_leaving(*id) && !leading.contains(id)))
            .collect();
        lost.sort_by_key(|id| (work.is_alive(*id), partition.leader == Some(*id)));
        let ready = partition.learners.iter().filter(|learner| work.is_ready(learner));
        let useful = partition.learners.iter().map(|learner| learner.node);
        Needs {
            lost,
            ready: ready.map(|learner| learner.node).collect(),
            useful: useful.filter(|node| work.is_useful(*node)).collect(),
        }
    }

    /// A change of who votes, or of who leads where the leader is in its way.
    fn change(&self, work: &Work<'_>, partition: &Partition) -> Option<Step> {
        let factor = usize::from(work.policy.replication_factor);
        let voters = &partition.voters;
        let (add, remove) = if voters.len() > factor {
            (Vec::new(), self.surplus(work, partition, voters.len() - factor))
        } else {
            let replaced = self.lost.len().min(self.ready.len());
            let spare = self.ready.len() - replaced;
            let most = factor.min(voters.len() + spare);
            let odd = if most % 2 == 1 { most } else { most.saturating_sub(1) };
            let count = odd.max(voters.len());
            let mut remove = self.lost[..replaced].to_vec();
            // Where nobody who stays could lead, the leader stays until somebody can.
            let leads = |node: &NodeId| partition.leader == Some(*node);
            if voters.len() > 1 && work.best_leader(partition, &remove).is_none() {
                remove.retain(|node| !leads(node));
            }
            let added = remove.len() + count - voters.len();
            (self.ready[..added].to_vec(), remove)
        };
        if add.is_empty() && remove.is_empty() {
            return None;
        }
        change_voters(work, partition, add, remove)
    }

    /// The voters that can best be done without.
    fn surplus(&self, work: &Work<'_>, partition: &Partition, count: usize) -> Vec<NodeId> {
        let mut staying = partition.voters.clone();
        let mut leaving = Vec::new();
        for _ in 0..count {
            let without = |id: NodeId| {
                let rest: Vec<NodeId> = staying.iter().copied().filter(|one| *one != id).collect();
                work.crowding(&rest)
            };
            let worst = staying.iter().copied().min_by_key(|id| {
                let lost = self.lost.contains(id);
                let leads = partition.leader == Some(*id);
                let load = std::cmp::Reverse(work.share_of_replicas(*id));
                (!lost, work.is_alive(*id), leads, without(*id), load, *id)
            });
            let Some(worst) = worst else { break };
            staying.retain(|id| *id != worst);
            leaving.push(worst);
        }
        leaving
    }

    /// A learner more or less.
    fn learner(&self, work: &Work<'_>, partition: &Partition) -> Option<Step> {
        let factor = usize::from(work.policy.replication_factor);
        let missing = factor.saturating_sub(partition.voters.len());
        let taken: Vec<NodeId> = partition.learners.iter().map(|learner| learner.node).collect();
        if partition.voters.len() <= factor && self.useful.len() < missing + self.lost.len() {
            let staying = partition.voters.iter().filter(|id| !self.lost.contains(id));
            let staying: Vec<NodeId> = staying.chain(&self.useful).copied().collect();
            let taken: Vec<NodeId> = taken.iter().chain(&self.lost).copied().collect();
            if let Some(node) = work.best_seat(&staying, &taken) {
                return Some(Step::AddLearner { partition: partition.id, node });
            }
        }
        let useless = taken.iter().find(|node| work.is_lost(**node) || work.is_leaving(**node));
        // A voter that is dead for a while or will be free soon may need the learner yet.
        let doubtful = partition.voters.iter().filter(|id| !work.is_eligible(**id)).count();
        let surplus = (self.useful.len() > missing + doubtful && !work.is_whole(partition))
            .then(|| self.useful.last())
            .flatten();
        useless.or(surplus).map(|node| Step::RemoveLearner { partition: partition.id, node: *node })
    }
}

/// The change, if it is safe. A leader leaves its replica before that goes.
pub(super) fn change_voters(
    work: &Work<'_>,
    partition: &Partition,
    add: Vec<NodeId>,
    remove: Vec<NodeId>,
) -> Option<Step> {
    let kept = partition.voters.iter().filter(|id| !remove.contains(id));
    let new: Vec<NodeId> = kept.chain(&add).copied().collect();
    if !work.is_safe(&partition.voters, &new) {
        return None;
    }
    if partition.leader.is_some_and(|leader| remove.contains(&leader)) && partition.voters.len() > 1
    {
        let to = work.best_leader(partition, &remove)?;
        return Some(Step::TransferLeader { partition: partition.id, to });
    }
    Some(Step::ChangeVoters { partition: partition.id, add, remove })
}

/// What becomes of learners of partitions that are whole: they were begun to take a voter's place, and
/// do where that is still for the better.
pub(super) fn end_moves(work: &mut Work<'_>) {
    for at in 0..work.partitions.len() {
        let partition = work.partitions[at];
        if work.busy[at] || !work.is_whole(partition) {
            continue;
        }
        // At most one is begun at a time.
        let Some(learner) = partition.learners.first() else { continue };
        let Some(voter) = worth_replacing(work, partition, learner.node) else {
            work.say(at, Step::RemoveLearner { partition: partition.id, node: learner.node });
            continue;
        };
        let step = work
            .is_ready(learner)
            .then(|| change_voters(work, partition, vec![learner.node], vec![voter]))
            .flatten();
        match step {
            Some(step @ Step::ChangeVoters { .. }) => work.say(at, step),
            Some(step) => {
                work.say(at, step);
                work.leave(voter);
            }
            // It is on its way: the voter's place is as good as free.
            None => {
                work.leave(voter);
                work.busy[at] = true;
            }
        }
    }
}

/// The voter whose place the learner should take.
fn worth_replacing(work: &Work<'_>, partition: &Partition, learner: NodeId) -> Option<NodeId> {
    let before = work.crowding(&partition.voters);
    let rated = partition.voters.iter().map(|voter| {
        let after = work.crowding(&swapped(&partition.voters, *voter, learner));
        let leads = partition.leader == Some(*voter);
        (after, std::cmp::Reverse(work.share_of_replicas(*voter)), leads, *voter)
    });
    let (after, std::cmp::Reverse(share), _, voter) = rated.min()?;
    let taker: Share = work.share_of_replicas(learner);
    (after < before || (after == before && share >= taker)).then_some(voter)
}

/// The voters with one in another's place.
pub(super) fn swapped(voters: &[NodeId], out: NodeId, in_: NodeId) -> Vec<NodeId> {
    voters.iter().map(|voter| if *voter == out { in_ } else { *voter }).collect()
}

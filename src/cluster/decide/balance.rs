//! What is for the better and not needed: replicas far apart, replicas and leaders spread evenly.
//!
//! Each move makes a sum smaller that no other move makes greater: pairs of replicas of a partition
//! that are close together, then the squares of what the nodes hold. So there is an end to it, and
//! nothing moves to and fro.

use super::repair::swapped;
use super::snapshot::Step;
use super::work::{Share, Work};
use model::id::NodeId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// Moves replicas to where fewer others of their partition are near.
pub(super) fn spread(work: &mut Work<'_>) {
    for at in 0..work.partitions.len() {
        if !work.has_room() {
            return;
        }
        if !work.is_at_rest(at) {
            continue;
        }
        let voters = &work.partitions[at].voters;
        let before = work.crowding(voters);
        let free: Vec<NodeId> = takers(work).filter(|node| !voters.contains(node)).collect();
        let moves = voters.iter().flat_map(|from| free.iter().map(move |to| (*from, *to)));
        let rated = moves.map(|(from, to)| {
            let after = work.crowding(&swapped(voters, from, to));
            (after, work.share_of_replicas(to), Reverse(work.share_of_replicas(from)), from, to)
        });
        if let Some((after, _, _, from, to)) = rated.min()
            && after < before
        {
            begin_move(work, at, from, to);
        }
    }
}

/// Moves replicas from nodes that hold more than their share to those that hold less.
pub(super) fn balance_replicas(work: &mut Work<'_>) {
    while work.has_room() {
        let Some((at, from, to)) = next_move(work) else { return };
        begin_move(work, at, from, to);
    }
}

/// The voter's place will be the learner's once that has caught up.
fn begin_move(work: &mut Work<'_>, at: usize, from: NodeId, to: NodeId) {
    let partition = work.partitions[at].id;
    work.say(at, Step::AddLearner { partition, node: to });
    work.leave(from);
}

fn takers<'w>(work: &'w Work<'_>) -> impl Iterator<Item = NodeId> + use<'w> {
    work.seats.values().filter(|seat| work.takes(seat)).map(|seat| seat.node.id)
}

/// Which replica moves from where to where.
fn next_move(work: &Work<'_>) -> Option<(usize, NodeId, NodeId)> {
    let fair = Fairness::of(work, |seat| seat.replicas);
    let mut at_rest: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for at in (0..work.partitions.len()).filter(|at| work.is_at_rest(*at)) {
        for voter in &work.partitions[at].voters {
            at_rest.entry(*voter).or_default().push(at);
        }
    }
    let mut receivers: Vec<NodeId> = takers(work).collect();
    receivers.sort_by_key(|node| (work.share_of_replicas(*node).and_one(), *node));
    let mut donors: Vec<NodeId> = at_rest.keys().copied().collect();
    donors.sort_by_key(|node| (Reverse(work.share_of_replicas(*node)), *node));
    for from in donors {
        for to in &receivers {
            if !fair.is_worth(work.share_of_replicas(from), work.share_of_replicas(*to)) {
                continue;
            }
            let movable = at_rest[&from].iter().filter(|at| {
                let voters = &work.partitions[**at].voters;
                !voters.contains(to)
                    && work.crowding(&swapped(voters, from, *to)) <= work.crowding(voters)
            });
            // One that leads would have to give that away first.
            if let Some(at) = movable.min_by_key(|at| work.partitions[**at].leader == Some(from)) {
                return Some((*at, from, *to));
            }
        }
    }
    None
}

/// Has other voters lead where one node leads more than its share. What cannot go to a node at once
/// goes by others, which give away as much as they get. While a partition is on its way from one
/// leader to the next nobody knows what is even, and nothing is given away.
pub(super) fn balance_leaders(work: &mut Work<'_>) {
    if work.partitions.iter().any(|partition| work.is_without_leader(partition)) {
        return;
    }
    while work.has_room() {
        let Some(chain) = next_chain(work) else { return };
        for (at, to) in chain {
            work.say(at, Step::TransferLeader { partition: work.partitions[at].id, to });
        }
    }
}

fn next_chain(work: &Work<'_>) -> Option<Vec<(usize, NodeId)>> {
    let fair = Fairness::of(work, |seat| seat.leaders);
    let share = |node: NodeId| {
        let seat = &work.seats[&node];
        Share { held: u64::from(seat.leaders), weight: seat.weight() }
    };
    let mut donors: Vec<NodeId> =
        work.seats.values().filter(|seat| seat.is_eligible()).map(|seat| seat.node.id).collect();
    donors.sort_by_key(|node| (Reverse(share(*node)), *node));
    let led = led(work);
    for donor in donors {
        let reached = reach(work, &led, donor);
        let Some(end) = reached.keys().copied().min_by_key(|node| (share(*node).and_one(), *node))
        else {
            continue;
        };
        if !fair.is_worth(share(donor), share(end)) {
            continue;
        }
        let mut chain = Vec::new();
        let mut to = end;
        while to != donor {
            let (from, at) = reached[&to];
            chain.push((at, to));
            to = from;
        }
        chain.reverse();
        if chain.len() <= work.room() {
            return Some(chain);
        }
    }
    None
}

/// The partitions that each node leads and could give away.
fn led(work: &Work<'_>) -> BTreeMap<NodeId, Vec<usize>> {
    let mut led: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for at in (0..work.partitions.len()).filter(|at| !work.busy[*at]) {
        let partition = work.partitions[at];
        // A replica that is being moved may have given the leader away for that.
        let moving = work.is_whole(partition) && !partition.learners.is_empty();
        if let Some(leader) = partition.leader.filter(|_| !moving) {
            led.entry(leader).or_default().push(at);
        }
    }
    led
}

/// The nodes that leaders of `donor` can get to, by the shortest way: from which node each gets one,
/// and of which partition.
fn reach(
    work: &Work<'_>,
    led: &BTreeMap<NodeId, Vec<usize>>,
    donor: NodeId,
) -> BTreeMap<NodeId, (NodeId, usize)> {
    let mut reached = BTreeMap::new();
    let mut next = VecDeque::from([donor]);
    while let Some(from) = next.pop_front() {
        for at in led.get(&from).into_iter().flatten() {
            for to in &work.partitions[*at].voters {
                if *to != donor && work.is_eligible(*to) && !reached.contains_key(to) {
                    reached.insert(*to, (from, *at));
                    next.push_back(*to);
                }
            }
        }
    }
    reached
}

/// What all hold together, and how far from its share one may be.
struct Fairness {
    held: u64,
    weight: u64,
    slack_percent: u64,
}

impl Fairness {
    fn of(work: &Work<'_>, held: impl Fn(&super::work::Seat<'_>) -> u32) -> Fairness {
        let eligible = || work.seats.values().filter(|seat| seat.is_eligible());
        Fairness {
            held: eligible().map(|seat| u64::from(held(seat))).sum(),
            weight: eligible().map(|seat| seat.weight()).sum(),
            slack_percent: u64::from(work.policy.slack_percent),
        }
    }

    /// Whether one is to go from a node to another: the giver holds as much as the taker even after
    /// that, and one of them is far enough from its share.
    fn is_worth(&self, from: Share, to: Share) -> bool {
        let Some(left) = from.held.checked_sub(1) else { return false };
        let left = Share { held: left, ..from };
        let share = |share: Share| 100 * share.held * self.weight;
        let much = share(from) > self.held * from.weight * (100 + self.slack_percent);
        let little = share(to) < self.held * to.weight * 100u64.saturating_sub(self.slack_percent);
        left >= to.and_one() && (much || little)
    }
}

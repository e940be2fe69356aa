//! Random clusters, to which things happen: whatever that is, no step does harm, and once nothing
//! happens any more it comes to an end, at which all is as it should be.

use super::super::{
    Learner, Liveness, Load, Node, Partition, Policy, Snapshot, Step, Wanted, decide,
};
use super::table;
use model::id::{NodeId, PartitionId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One look of the decider.
const ROUND: Duration = Duration::from_secs(60);
/// Looks in which a cluster that is left alone must come to rest: each replica may have to move once,
/// in at most five steps, of which there are several a look.
const ROUNDS_MAX: usize = 600;

#[derive(Debug, Clone)]
enum Event {
    Join { region: u8, zone: u8, cores: u16 },
    Die(usize),
    Return(usize),
    Suspect(usize),
    Drain(usize),
    Decommission(usize),
    Activate(usize),
    Rounds(u8),
}

#[derive(Debug, Clone)]
struct Run {
    partitions: u32,
    factor: u16,
    located: bool,
    first: Vec<(u8, u8, u16)>,
    events: Vec<Event>,
    /// Whether learners fill at once, and changes happen: a bit a question.
    luck: u64,
}

fn event() -> impl Strategy<Value = Event> {
    let any_node = 0usize..16;
    prop_oneof![
        2 => (0u8..3, 0u8..3, 1u16..4)
            .prop_map(|(region, zone, cores)| Event::Join { region, zone, cores }),
        3 => any_node.clone().prop_map(Event::Die),
        3 => any_node.clone().prop_map(Event::Return),
        2 => any_node.clone().prop_map(Event::Suspect),
        2 => any_node.clone().prop_map(Event::Drain),
        1 => any_node.clone().prop_map(Event::Decommission),
        2 => any_node.prop_map(Event::Activate),
        6 => (1u8..12).prop_map(Event::Rounds),
    ]
}

fn run() -> impl Strategy<Value = Run> {
    let node = (0u8..3, 0u8..3, 1u16..4);
    (
        1u32..25,
        prop_oneof![Just(1u16), Just(3), Just(5)],
        any::<bool>(),
        prop::collection::vec(node, 0..9),
        prop::collection::vec(event(), 0..30),
        any::<u64>(),
    )
        .prop_map(|(partitions, factor, located, first, events, luck)| Run {
            partitions,
            factor,
            located,
            first,
            events,
            luck,
        })
}

struct World {
    cluster: Snapshot,
    policy: Policy,
    located: bool,
    luck: runtime::random::Rng,
}

impl World {
    fn new(run: &Run) -> World {
        let policy =
            Policy { replication_factor: run.factor, slack_percent: 0, ..Policy::default() };
        let partition = |id| Partition {
            id: PartitionId(id),
            voters: vec![NodeId(1)],
            outgoing: Vec::new(),
            learners: Vec::new(),
            leader: Some(NodeId(1)),
            changing: false,
        };
        let partitions = (0..=run.partitions).map(partition).collect();
        let cluster = Snapshot { nodes: Vec::new(), partitions };
        let luck = runtime::random::Rng::seeded(run.luck);
        let mut world = World { cluster, policy, located: run.located, luck };
        world.join(0, 0, 1);
        for (region, zone, cores) in &run.first {
            world.join(*region, *zone, *cores);
        }
        world
    }

    fn join(&mut self, region: u8, zone: u8, cores: u16) {
        let id = NodeId(self.cluster.nodes.len() as u32 + 1);
        let locality = match self.located {
            true => format!("region=r{region},zone=z{zone}").parse().expect("a locality"),
            false => model::locality::Locality::default(),
        };
        self.cluster.nodes.push(Node {
            id,
            locality,
            liveness: Liveness::Alive,
            wanted: Wanted::Active,
            cores,
            load: Load::default(),
        });
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Join { region, zone, cores } => self.join(*region, *zone, *cores),
            Event::Die(at) => self.change(*at, |node| {
                if !matches!(node.liveness, Liveness::Dead { .. }) {
                    node.liveness = Liveness::Dead { lasting: Duration::ZERO };
                }
            }),
            Event::Return(at) => self.change(*at, |node| node.liveness = Liveness::Alive),
            Event::Suspect(at) => self.change(*at, |node| {
                if node.liveness == Liveness::Alive {
                    node.liveness = Liveness::Suspect;
                }
            }),
            Event::Drain(at) => self.change(*at, |node| node.wanted = Wanted::Draining),
            Event::Decommission(at) => {
                self.change(*at, |node| node.wanted = Wanted::Decommissioned);
            }
            Event::Activate(at) => self.change(*at, |node| node.wanted = Wanted::Active),
            Event::Rounds(rounds) => {
                for _ in 0..*rounds {
                    self.round();
                }
            }
        }
        self.elect();
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Node)) {
        let count = self.cluster.nodes.len();
        let node = &mut self.cluster.nodes[at % count];
        // Whoever is given up for good is not called back.
        if node.wanted != Wanted::Decommissioned {
            change(node);
        }
    }

    fn liveness(&self, id: NodeId) -> Liveness {
        self.node(id).liveness
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.cluster.nodes[id.0 as usize - 1]
    }

    fn is_dead(&self, id: NodeId) -> bool {
        matches!(self.liveness(id), Liveness::Dead { .. })
    }

    fn alive(&self, voters: &[NodeId]) -> usize {
        voters.iter().filter(|id| !self.is_dead(**id)).count()
    }

    /// Partitions whose leader is gone elect another, where a quorum is there.
    fn elect(&mut self) {
        for at in 0..self.cluster.partitions.len() {
            let partition = &self.cluster.partitions[at];
            let quorum = partition.voters.len() / 2 + 1;
            let leads = |id: NodeId| !self.is_dead(id) && partition.voters.contains(&id);
            let leader = if self.alive(&partition.voters) < quorum {
                None
            } else if partition.leader.is_some_and(leads) {
                partition.leader
            } else {
                let able: Vec<NodeId> =
                    partition.voters.iter().copied().filter(|id| leads(*id)).collect();
                Some(able[self.luck.below(able.len() as u64) as usize])
            };
            self.cluster.partitions[at].leader = leader;
        }
    }

    /// The decider looks, some of its steps succeed, and time goes by.
    fn round(&mut self) -> usize {
        let steps = decide(&self.cluster, &self.policy);
        assert!(steps.len() <= self.policy.steps_max, "{steps:?}");
        let partitions: BTreeSet<PartitionId> = steps.iter().map(Step::partition).collect();
        assert_eq!(partitions.len(), steps.len(), "one step a partition: {steps:?}");
        for step in &steps {
            if self.luck.below(4) > 0 {
                self.apply(step);
            }
        }
        self.elect();
        for node in &mut self.cluster.nodes {
            if let Liveness::Dead { lasting } = &mut node.liveness {
                *lasting += ROUND;
            }
        }
        for at in 0..self.cluster.partitions.len() {
            for learner in 0..self.cluster.partitions[at].learners.len() {
                let node = self.cluster.partitions[at].learners[learner].node;
                if !self.is_dead(node) && self.luck.below(4) > 0 {
                    self.cluster.partitions[at].learners[learner].behind = Some(0);
                }
            }
        }
        steps.len()
    }

    fn apply(&mut self, step: &Step) {
        let at = step.partition().0 as usize;
        let before = self.cluster.partitions[at].clone();
        assert!(before.leader.is_some(), "{}", table::step(step));
        let mut after = before.clone();
        match step {
            Step::FinishChange { .. } => unreachable!("changes here are whole"),
            Step::AddLearner { node, .. } => {
                let there = self.node(*node);
                let fit = there.liveness == Liveness::Alive && there.wanted == Wanted::Active;
                assert!(fit, "{}", table::step(step));
                after.learners.push(Learner { node: *node, behind: None });
            }
            Step::RemoveLearner { node, .. } => {
                after.learners.retain(|learner| learner.node != *node);
                assert_ne!(after.learners.len(), before.learners.len(), "{}", table::step(step));
            }
            Step::ChangeVoters { add, remove, .. } => {
                for node in add {
                    let learner = before.learners.iter().find(|learner| learner.node == *node);
                    assert_eq!(learner.and_then(|learner| learner.behind), Some(0));
                    after.learners.retain(|learner| learner.node != *node);
                    after.voters.push(*node);
                }
                let leads = |node: &NodeId| before.leader == Some(*node);
                assert!(before.voters.len() == 1 || !remove.iter().any(leads), "{step:?}");
                assert!(remove.iter().all(|node| before.voters.contains(node)));
                after.voters.retain(|voter| !remove.contains(voter));
                after.leader = after.leader.filter(|leader| after.voters.contains(leader));
            }
            Step::TransferLeader { to, .. } => {
                let there = self.node(*to);
                let fit = there.liveness == Liveness::Alive && there.wanted == Wanted::Active;
                assert!(fit && before.voters.contains(to), "{}", table::step(step));
                assert_ne!(before.leader, Some(*to));
                after.leader = Some(*to);
            }
        }
        self.check_step(step, &before, &after);
        self.cluster.partitions[at] = after;
    }

    /// What holds for every step, whatever it is for.
    fn check_step(&self, step: &Step, before: &Partition, after: &Partition) {
        let what = || format!("{}\n{before:?}\n{after:?}", table::step(step));
        let learners = after.learners.iter().map(|learner| learner.node);
        let nodes: BTreeSet<NodeId> = after.voters.iter().copied().chain(learners).collect();
        assert_eq!(nodes.len(), after.voters.len() + after.learners.len(), "{}", what());
        assert_eq!(after.voters.len() % 2, 1, "{}", what());
        let spare = |partition: &Partition| {
            let quorum = partition.voters.len() / 2 + 1;
            self.alive(&partition.voters) as i64 - quorum as i64
        };
        assert!(spare(after) >= 0, "a quorum must be alive: {}", what());
        assert!(spare(after) >= spare(before), "as many may fail as before: {}", what());
        assert!(self.alive(&after.voters) >= self.alive(&before.voters), "{}", what());
    }

    fn settle(&mut self) {
        for node in &mut self.cluster.nodes {
            if node.liveness == Liveness::Suspect {
                node.liveness = Liveness::Alive;
            }
        }
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            quiet = if self.round() == 0 { quiet + 1 } else { 0 };
            // Long enough for all that is dead to be lost, and all learners to have caught up.
            if quiet > 20 {
                return;
            }
        }
        let steps = decide(&self.cluster, &self.policy);
        let steps: Vec<String> = steps.iter().map(table::step).collect();
        panic!("it does not come to rest: {steps:?}\n{:?}", self.cluster);
    }

    fn eligible(&self) -> Vec<&Node> {
        let eligible =
            |node: &&Node| node.liveness == Liveness::Alive && node.wanted == Wanted::Active;
        self.cluster.nodes.iter().filter(eligible).collect()
    }

    /// What holds once all is quiet.
    fn check_rest(&self) {
        let eligible: BTreeSet<NodeId> = self.eligible().iter().map(|node| node.id).collect();
        let factor = usize::from(self.policy.replication_factor);
        for partition in &self.cluster.partitions {
            if partition.leader.is_none() {
                continue;
            }
            if eligible.len() >= factor {
                assert_eq!(partition.voters.len(), factor, "{:?}", self.cluster);
                let fit = partition.voters.iter().all(|id| eligible.contains(id));
                assert!(fit, "{partition:?} {:?}", self.cluster);
                assert!(partition.learners.is_empty(), "{partition:?} {:?}", self.cluster);
                self.check_spread(partition);
            }
            let voters = &partition.voters;
            let could = voters.iter().any(|voter| eligible.contains(voter));
            if could {
                let leader = partition.leader.expect("it has one");
                assert!(eligible.contains(&leader), "{partition:?}");
            }
        }
        if self.cluster.partitions.iter().all(|partition| partition.leader.is_some())
            && eligible.len() >= factor
        {
            self.check_evenness();
        }
    }

    /// No region holds two more replicas than another that has a node without.
    fn check_spread(&self, partition: &Partition) {
        if !self.located {
            return;
        }
        let region = |node: &Node| node.locality.to_string()[..9].to_owned();
        let mut held: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for node in self.eligible() {
            let entry = held.entry(region(node)).or_default();
            match partition.voters.contains(&node.id) {
                true => entry.0 += 1,
                false => entry.1 += 1,
            }
        }
        for (held_here, _) in held.values() {
            for (held_there, free) in held.values() {
                assert!(*free == 0 || *held_here < held_there + 2, "{partition:?} {held:?}");
            }
        }
    }

    fn check_evenness(&self) {
        let held = |id: NodeId| {
            self.cluster.partitions.iter().filter(|one| one.voters.contains(&id)).count() as u64
        };
        let led = |id: NodeId| {
            self.cluster.partitions.iter().filter(|one| one.leader == Some(id)).count() as u64
        };
        for one in self.eligible() {
            for another in self.eligible() {
                let (mine, theirs) = (u64::from(one.cores), u64::from(another.cores));
                if !self.located && held(one.id) > 0 {
                    let movable = self.cluster.partitions.iter().any(|partition| {
                        partition.voters.contains(&one.id)
                            && !partition.voters.contains(&another.id)
                    });
                    assert!(
                        !movable || (held(one.id) - 1) * theirs < (held(another.id) + 1) * mine,
                        "replicas: {} {}: {:?}",
                        one.id,
                        another.id,
                        self.cluster
                    );
                }
                let givable = self.cluster.partitions.iter().any(|partition| {
                    partition.leader == Some(one.id) && partition.voters.contains(&another.id)
                });
                if givable && one.id != another.id {
                    assert!(
                        (led(one.id) - 1) * theirs < (led(another.id) + 1) * mine,
                        "leaders: {} {}: {:?}",
                        one.id,
                        another.id,
                        self.cluster
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_no_step_does_harm_and_it_comes_to_rest(run in run()) {
        let mut world = World::new(&run);
        for event in &run.events {
            world.happen(event);
        }
        world.settle();
        world.check_rest();
    }
}

#[test]
fn a_large_cluster_is_decided_on_quickly_and_comes_to_rest() {
    let first = (0..39).map(|at| ((at % 3) as u8, (at / 3 % 3) as u8, 2)).collect();
    let run = Run { partitions: 300, factor: 3, located: true, first, events: vec![], luck: 7 };
    let mut world = World::new(&run);
    world.policy.steps_max = 128;
    world.policy.copies_per_node_max = 64;
    world.settle();
    world.check_rest();
}

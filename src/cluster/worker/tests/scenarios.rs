//! What comes of clusters in which nodes join, die and are drained, and workers die anywhere.

use super::model::{ModelHands, World};
use crate::cluster::decide::{Policy, Wanted};
use crate::cluster::worker::Worker;
use model::id::{NodeId, PartitionId};
use runtime::random;
use runtime::sim::{Options, Sim};
use runtime::task::{self, Task};
use runtime::time;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

const PARTITIONS: u32 = 6;
const REPLACE_AFTER: Duration = Duration::from_secs(20);
/// Within this a cluster is at rest, whatever got lost.
const REST_WITHIN: Duration = Duration::from_secs(240);

fn policy() -> Policy {
    Policy { replace_after: REPLACE_AFTER, behind_max: 10, ..Policy::default() }
}

/// How long workers live.
#[derive(Clone)]
enum Fate {
    /// As long as their node.
    Live,
    /// The first dies at this wake-up.
    DieAt(u64),
    /// All die again and again, at the latest at this wake-up.
    DieWithin(u64),
}

/// The workers of all nodes.
struct Workers {
    world: Rc<World>,
    fate: Fate,
    died: Rc<Cell<u32>>,
    tasks: BTreeMap<NodeId, Task<()>>,
}

impl Workers {
    fn new(world: &Rc<World>, fate: Fate) -> Workers {
        let mut workers =
            Workers { world: world.clone(), fate, died: Rc::default(), tasks: BTreeMap::new() };
        workers.start(NodeId(1));
        workers
    }

    fn start(&mut self, node: NodeId) {
        let (world, fate, died) = (self.world.clone(), self.fate.clone(), self.died.clone());
        let lives = async move {
            loop {
                let left = match fate {
                    Fate::Live => u64::MAX,
                    Fate::DieAt(at) if died.get() == 0 => at,
                    Fate::DieAt(_) => u64::MAX,
                    Fate::DieWithin(most) => 1 + random::below(most),
                };
                let hands = ModelHands { world: world.clone(), node };
                let worker = Worker::new(hands, policy(), Rc::default());
                live(worker.run(), left).await;
                died.set(died.get() + 1);
            }
        };
        self.tasks.insert(node, task::spawn("worker", lives));
    }

    fn join(&mut self) -> NodeId {
        let node = self.world.join();
        self.start(node);
        node
    }

    fn kill(&mut self, node: NodeId) {
        drop(self.tasks.remove(&node).expect("it works"));
        self.world.kill(node);
    }
}

/// Polls a future so many times, and drops it.
async fn live(future: impl Future<Output = ()>, mut left: u64) {
    let mut future = pin!(future);
    poll_fn(|context| {
        left -= 1;
        match left {
            0 => Poll::Ready(()),
            _ => future.as_mut().poll(context),
        }
    })
    .await;
}

/// What is wrong with the cluster: three voters everywhere, leaders spread over these nodes, no
/// replica that nobody knows, and rows that say what is there.
fn complaint(world: &World, nodes: &[NodeId]) -> Option<String> {
    let rows = world.rows();
    let mut leads: BTreeMap<NodeId, usize> = nodes.iter().map(|node| (*node, 0)).collect();
    for (partition, leader, members) in world.look() {
        let in_place = members.voters.iter().all(|voter| nodes.contains(voter));
        if members.voters.len() != 3
            || !members.outgoing.is_empty()
            || !members.learners.is_empty()
            || !in_place
        {
            return Some(format!("partition {partition}: {members:?}"));
        }
        let row = rows.partitions().find(|row| row.id == partition);
        if row.is_none_or(|row| row.replicas != members.replicas()) {
            return Some(format!("partition {partition}: {members:?}, its row: {row:?}"));
        }
        if let Some(count) = leader.and_then(|leader| leads.get_mut(&leader)) {
            *count += 1;
        }
        for node in rows.nodes().map(|node| node.id).filter(|node| world.is_alive(*node)) {
            if world.held_by(node).contains(&partition) != members.contains(node) {
                return Some(format!("partition {partition} on node {node}: {members:?}"));
            }
        }
    }
    let (least, most) = (leads.values().min(), leads.values().max());
    let even = most.zip(least).is_some_and(|(most, least)| most - least <= 2);
    (!even).then(|| format!("leaders are not spread: {leads:?}"))
}

async fn at_rest(world: &World, nodes: &[NodeId]) {
    let began = time::now();
    while let Some(complaint) = complaint(world, nodes) {
        assert!(time::now().saturating_since(began) < REST_WITHIN, "{complaint}");
        time::sleep(Duration::from_millis(200)).await;
    }
}

fn simulate<T>(seed: u64, scenario: impl Future<Output = T>) -> T {
    let sim = Sim::new(Options::new(seed));
    let done = sim.run_until(scenario);
    assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
    done.unwrap_or_else(|stuck| panic!("seed {seed}: {stuck:?}"))
}

/// One node becomes three; how often the workers have died.
async fn grow(fate: Fate, loss_percent: u64) -> u32 {
    let world = World::founded(PARTITIONS, loss_percent);
    let mut workers = Workers::new(&world, fate);
    time::sleep(Duration::from_secs(2)).await;
    let nodes = [NodeId(1), workers.join(), workers.join()];
    at_rest(&world, &nodes).await;
    let died = workers.died.get();
    // What was late has arrived by then.
    time::sleep(Duration::from_secs(10)).await;
    at_rest(&world, &nodes).await;
    died
}

/// A node of four is drained.
async fn drain(fate: Fate, loss_percent: u64) {
    let world = World::founded(PARTITIONS, loss_percent);
    let mut workers = Workers::new(&world, fate);
    let nodes = [NodeId(1), workers.join(), workers.join(), workers.join()];
    at_rest(&world, &nodes).await;
    world.want(NodeId(1), Wanted::Draining);
    at_rest(&world, &nodes[1..]).await;
    assert!(world.held_by(NodeId(1)).is_empty());
}

/// A node of four dies; what it had is made anew after a while, and it forgets it when it is back.
async fn lose(fate: Fate, loss_percent: u64) {
    let world = World::founded(PARTITIONS, loss_percent);
    let mut workers = Workers::new(&world, fate);
    let nodes = [NodeId(1), workers.join(), workers.join(), workers.join()];
    at_rest(&world, &nodes).await;
    let dead = NodeId(1 + random::below(4) as u32);
    let held = world.held_by(dead);
    let died = time::now();
    workers.kill(dead);
    while time::now().saturating_since(died) < REPLACE_AFTER - Duration::from_secs(1) {
        time::sleep(Duration::from_millis(200)).await;
        for (partition, _, members) in world.look() {
            assert_eq!(members.contains(dead), held.contains(&partition), "it may come back");
        }
    }
    let others: Vec<NodeId> = nodes.into_iter().filter(|node| *node != dead).collect();
    at_rest(&world, &others).await;
    world.revive(dead);
    workers.start(dead);
    at_rest(&world, &nodes).await;
}

#[test]
fn one_node_becomes_three() {
    for seed in 0..20 {
        let begun = simulate(seed, async {
            let world = World::founded(PARTITIONS, 0);
            let mut workers = Workers::new(&world, Fate::Live);
            let nodes = [NodeId(1), workers.join(), workers.join()];
            at_rest(&world, &nodes).await;
            world.begun.take()
        });
        assert_eq!(begun.len(), 2 * (PARTITIONS as usize + 1));
        assert!(begun.values().all(|times| *times == 1), "seed {seed}: begun twice: {begun:?}");
        assert!(begun.contains_key(&(PartitionId::SYSTEM, NodeId(3))));
    }
}

#[test]
fn what_a_dead_node_had_is_made_anew_after_a_while() {
    (0..40).for_each(|seed| simulate(seed, lose(Fate::Live, 3 * (seed % 2))));
}

#[test]
fn a_node_that_returns_gets_its_share_of_leaders_and_no_more() {
    for seed in 0..20 {
        let (back, transfers) = simulate(seed, async {
            let world = World::founded(PARTITIONS, 0);
            let mut workers = Workers::new(&world, Fate::Live);
            let nodes = [NodeId(1), workers.join(), workers.join()];
            at_rest(&world, &nodes).await;
            workers.kill(NodeId(2));
            time::sleep(Duration::from_secs(5)).await;
            world.transfers.set(0);
            world.revive(NodeId(2));
            workers.start(NodeId(2));
            time::sleep(Duration::from_secs(10)).await;
            at_rest(&world, &nodes).await;
            let led =
                world.look().iter().filter(|(_, leader, _)| *leader == Some(NodeId(2))).count();
            (led, world.transfers.get())
        });
        assert!(transfers <= 3, "seed {seed}: {transfers} transfers for {back} leaders");
        assert!(back >= 2, "seed {seed}: {back} leaders");
    }
}

#[test]
fn a_drained_node_is_left_empty() {
    (0..40).for_each(|seed| simulate(seed, drain(Fate::Live, 3 * (seed % 2))));
}

#[test]
fn a_worker_may_die_at_any_point() {
    let mut at = 1;
    while simulate(at, grow(Fate::DieAt(at), 0)) > 0 {
        at += 1;
    }
    assert!(at > 100, "there are more points than {at}");
}

#[test]
fn workers_may_die_again_and_again() {
    for seed in 0..40 {
        let fate = Fate::DieWithin(20 + 10 * (seed % 5));
        simulate(seed, grow(fate.clone(), 3));
        simulate(seed, drain(fate.clone(), 3));
        simulate(seed, lose(fate, 3));
    }
}

//! Clusters whose faults are placed by hand: wall clocks that are off and are set, and cores that change.

use super::super::client::Client;
use super::super::machine::{Machine, Membership};
use super::super::workload::integers;
use super::replicas;
use runtime::sim::{Loss, Options, Sim};
use runtime::time;
use std::time::Duration;

const NODES: u32 = 3;
const SECOND: i64 = 1_000_000_000;

/// What a node that serves needs to say so.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

async fn connect(machine: &Machine<'_>, within: Duration) -> Result<Client, String> {
    let end = time::now() + within;
    loop {
        match Client::connect(machine.address()).await {
            Ok(client) => return Ok(client),
            Err(failure) if time::now() >= end => return Err(failure.to_string()),
            Err(_not_yet) => time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A statement that is to be answered, once those that lead have found themselves.
async fn ask(machine: &Machine<'_>, statement: &str) -> Vec<Vec<i64>> {
    let end = time::now() + SERVES_WITHIN;
    let node = machine.number();
    loop {
        let mut client = connect(machine, SERVES_WITHIN).await.expect("the node serves");
        match client.query(statement).await {
            Ok(answer) => return answer.rows.iter().filter_map(|row| integers(row)).collect(),
            Err(failure) => assert!(time::now() < end, "node {node}, {statement}: {failure}"),
        }
        time::sleep(Duration::from_millis(50)).await;
    }
}

/// A change that is run again where it is not known what became of it: a link that is made at last puts in doubt
/// what is on its way through a third node.
fn insert(id: i64) -> String {
    format!("INSERT INTO t VALUES ({id}) ON CONFLICT (id) DO NOTHING")
}

/// Three nodes with a table.
async fn found(sim: &Sim) -> Vec<Machine<'_>> {
    found_with(sim, 3, [2, 2, 2]).await
}

/// Three nodes with a table in so many partitions, each with its number of cores.
async fn found_with(sim: &Sim, partitions: u32, cores: [u16; 3]) -> Vec<Machine<'_>> {
    let member = |node| Membership { node, nodes: NODES, replication_factor: 3, partitions };
    let mut machines: Vec<Machine<'_>> =
        (1..=NODES).map(|node| Machine::member(sim, member(node))).collect();
    for (machine, cores) in machines.iter_mut().zip(cores) {
        machine.start(cores);
        connect(machine, SERVES_WITHIN).await.expect("the node serves");
    }
    replicas::await_voters(&machines, 3).await.unwrap();
    ask(&machines[0], "CREATE TABLE t (id bigint PRIMARY KEY)").await;
    machines
}

/// A node whose wall clock is off when it starts serves once that is set, without being started again.
fn starts_with_a_clock_that_is_off_by(seconds: i64, node: usize) {
    let sim = Sim::new(Options::new(5));
    let ran = sim.run_until(async {
        let mut machines = found(&sim).await;
        let host = machines[node].number();
        sim.crash(host, Loss::Process);
        sim.set_wall_clock(host, seconds * SECOND, 0);
        // The log knows that it is later than a clock shows which is behind.
        time::sleep(Duration::from_secs(2)).await;
        machines[node].start(2);
        let refused = connect(&machines[node], Duration::from_secs(10)).await;
        assert!(refused.is_err(), "it serves while its clock is off");
        // The others go on.
        ask(&machines[(node + 1) % 3], &insert(1)).await;
        sim.set_wall_clock(host, 0, 0);
        ask(&machines[node], &insert(2)).await;
        assert!(machines[node].is_running() && machines[node].last_words().is_empty());
        for machine in &machines {
            assert_eq!(ask(machine, "SELECT id FROM t ORDER BY id").await, [[1], [2]]);
        }
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

#[test]
fn a_node_that_starts_ahead_serves_once_its_clock_is_set() {
    // One that has founded the cluster, and one that asks the others where they are.
    starts_with_a_clock_that_is_off_by(5, 0);
    starts_with_a_clock_that_is_off_by(5, 1);
}

#[test]
fn a_node_that_starts_behind_serves_once_its_clock_is_set() {
    starts_with_a_clock_that_is_off_by(-5, 0);
    starts_with_a_clock_that_is_off_by(-5, 1);
}

/// All lose power and come back with clocks that are off in different ways; then these are set.
#[test]
fn a_cluster_that_starts_with_clocks_apart_serves_once_they_are_set() {
    let sim = Sim::new(Options::new(6));
    let ran = sim.run_until(async {
        let mut machines = found(&sim).await;
        ask(&machines[0], &insert(1)).await;
        for (machine, seconds) in machines.iter_mut().zip([9, -5, 3]) {
            sim.crash(machine.number(), Loss::Power);
            sim.set_wall_clock(machine.number(), seconds * SECOND, 0);
        }
        for machine in &mut machines {
            machine.start(1);
        }
        time::sleep(Duration::from_secs(5)).await;
        for machine in &machines {
            sim.set_wall_clock(machine.number(), 0, 0);
        }
        for machine in &machines {
            assert_eq!(ask(machine, "SELECT id FROM t").await, [[1]]);
            assert!(machine.last_words().is_empty(), "{:?}", machine.last_words());
        }
        ask(&machines[2], &insert(2)).await;
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

/// A wall clock that is set while its node serves is nobody's business: the node goes on by the cluster's time,
/// and what it commits is seen at once.
#[test]
fn a_wall_clock_that_jumps_stops_nobody_and_puts_nothing_out_of_order() {
    let sim = Sim::new(Options::new(7));
    let ran = sim.run_until(async {
        let machines = found(&sim).await;
        for (id, seconds) in (1..).zip([60, -60, 3600]) {
            sim.set_wall_clock(machines[1].number(), seconds * SECOND, 0);
            time::sleep(Duration::from_secs(15)).await;
            let begun = time::now();
            ask(&machines[1], &insert(id)).await;
            for machine in &machines {
                let counted = ask(machine, "SELECT count(*) FROM t").await;
                assert_eq!(counted, [[id]], "node {}", machine.number());
            }
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
        assert!(machines.iter().all(|machine| machine.last_words().is_empty()));
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

/// All replicas but the leader come back on other cores, and cannot serve since the schema is being changed: the
/// leader hears where they are all the same, or nobody could commit until the change has ended.
#[test]
fn who_comes_back_on_other_cores_is_found_before_it_serves() {
    let sim = Sim::new(Options::new(8));
    let ran = sim.run_until(async {
        let mut machines = found_with(&sim, 1, [2, 1, 1]).await;
        let led_by_one = "SELECT count(*) FROM phantom.partitions WHERE leader_node = 1";
        assert_eq!(ask(&machines[0], led_by_one).await, [[2]]);
        let mut changing = connect(&machines[0], SERVES_WITHIN).await.unwrap();
        for statement in ["BEGIN", "CREATE TABLE u (id bigint PRIMARY KEY)"] {
            changing.query(statement).await.unwrap();
        }
        for machine in &mut machines[1..] {
            sim.crash(machine.number(), Loss::Process);
            machine.start(2);
        }
        ask(&machines[0], &insert(1)).await;
        for machine in &machines[1..] {
            assert!(
                connect(machine, Duration::ZERO).await.is_err(),
                "the schema is not being changed"
            );
        }
        changing.query("COMMIT").await.unwrap();
        for machine in &machines {
            assert_eq!(ask(machine, "SELECT id FROM t").await, [[1]]);
        }
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

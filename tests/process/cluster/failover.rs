//! Nodes that are killed, drained and restarted while 64 clients write.

use super::load::{Load, under_load};
use super::{COPIES, Cluster, PATIENCE, eventually, is_spread, partitions};
use crate::{connect, program};
use phantomdb_client::blocking::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;
use test_support::{Server, now, sleep};

const ARGUMENTS: [&str; 2] = ["--cores", "1"];
/// How long the load runs before something happens to it.
const CALM: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(2);

/// A cluster whose partitions are on all of its nodes.
fn settled(cluster: &Cluster) -> Vec<Server> {
    let servers = cluster.three(&ARGUMENTS);
    eventually(true, || is_spread(&servers[0], COPIES));
    servers
}

/// Who leads which partitions, as somebody knows it.
fn led(server: &Server) -> BTreeMap<u32, BTreeSet<u32>> {
    let mut led: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (id, seen) in partitions(&mut connect(server)).expect("the partitions") {
        led.entry(seen.leader).or_default().insert(id);
    }
    led
}

/// The one that leads the most; every other time the one that leads the system partition.
fn victim(led: &BTreeMap<u32, BTreeSet<u32>>, kill: u64) -> u32 {
    let keeper = led.iter().find(|(_, partitions)| partitions.contains(&0));
    let busiest = led.iter().max_by_key(|(_, partitions)| partitions.len());
    let chosen = if kill.is_multiple_of(2) { keeper } else { busiest };
    *chosen.expect("somebody leads").0
}

/// `p50 812 ms, p99 1290 ms, max 1290 ms`
fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        let last = times.len() - 1;
        times[(times.len() * percent / 100).min(last)].as_millis()
    };
    format!("p50 {} ms, p99 {} ms, max {} ms", at(50), at(99), at(100))
}

#[test]
fn a_leader_is_killed_under_load_and_nothing_acknowledged_is_lost() {
    let kills = test_support::slice("PHANTOM_FAILOVERS", 3, 20);
    let cluster = Cluster::new();
    let servers = settled(&cluster);
    let load = Load::new(&servers);
    let mut servers: Vec<Option<Server>> = servers.into_iter().map(Some).collect();
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    under_load(&load, || {
        for kill in 1..=kills {
            sleep(CALM);
            let when = format!("kill {kill}");
            let led = led(servers[0].as_ref().expect("it runs"));
            let node = victim(&led, kill);
            let at = node as usize - 1;
            let hit: BTreeSet<u32> = led[&node].iter().copied().filter(|id| *id != 0).collect();
            load.take_errors();
            load.open(at, None);
            load.watch();
            servers[at].take().expect("it runs").kill().expect("killed");
            let times = recovered(&load, &hit, &when, &servers);
            let first = times.iter().min().copied().unwrap_or_default();
            let last = times.iter().max().copied().unwrap_or_default();
            let survivor = servers.iter().flatten().next().expect("two run");
            load.check(survivor, &when);
            println!(
                "{when}: node {node} led {:?}; first write {first:?}, every partition {last:?}; {} acknowledged, {:?}",
                led[&node],
                load.successes(),
                load.take_errors()
            );
            firsts.push(first);
            lasts.push(last);
            let back = now();
            let server = cluster.start(node, &ARGUMENTS);
            load.open(at, Some(&server));
            servers[at] = Some(server);
            // It leads again: it has what the others have.
            let server = servers[at].as_ref().expect("it runs");
            eventually(true, || is_spread(server, COPIES));
            println!("{when}: back and caught up after {:?}", back.elapsed());
            load.check(servers[at].as_ref().expect("it runs"), &format!("{when}, back"));
        }
    });
    println!("first write through the survivors: {}", percentiles(firsts));
    println!("all partitions of the dead one:    {}", percentiles(lasts));
    load.check(servers[0].as_ref().expect("it runs"), "at the end");
}

/// Waits until all of these partitions take writes again, and how long each took.
fn recovered(
    load: &Load,
    hit: &BTreeSet<u32>,
    when: &str,
    servers: &[Option<Server>],
) -> Vec<Duration> {
    let began = now();
    loop {
        if let Some(times) = load.recovered(hit) {
            return times;
        }
        if began.elapsed() > PATIENCE {
            let logs: Vec<String> = servers.iter().flatten().map(Server::log).collect();
            panic!("{when}: no writes to some of {hit:?}: {:?}\n{logs:#?}", load.take_errors());
        }
        sleep(POLL);
    }
}

/// Tells a node something, as an operator does.
fn tell(server: &Server, what: &[&str]) {
    let output = Command::new(program())
        .arg("cluster")
        .args(what)
        .args(["--url", &server.url()])
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what:?}: {said}");
}

fn state(server: &Server, node: u32) -> Option<String> {
    let query = format!("SELECT state FROM phantom.nodes WHERE id = {node}");
    let row = Client::connect(&server.url()).ok()?.query_one(&query, &[]).ok()?;
    row.get(0).ok()
}

/// Waits while nothing is to fail.
fn without_errors(load: &Load, what: &str, done: impl Fn() -> bool) {
    let (began, before) = (now(), load.successes());
    loop {
        let errors = load.take_errors();
        assert!(errors.is_empty(), "{what}: {errors:?}");
        if done() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{what} takes too long");
        sleep(POLL * 50);
    }
    let writes = load.successes() - before;
    let again = load.take_begun_again();
    println!(
        "{what}: {:?}, {writes} writes acknowledged, {again} transactions begun again, none failed",
        began.elapsed()
    );
}

#[test]
fn a_node_is_drained_under_load_and_no_client_notices() {
    let cluster = Cluster::new();
    let servers = settled(&cluster);
    let load = Load::new(&servers);
    under_load(&load, || {
        sleep(CALM);
        // The one that leads the system partition, through another.
        let node = victim(&led(&servers[0]), 0);
        let other = &servers[node as usize % COPIES];
        tell(other, &["drain", &node.to_string()]);
        // There is nowhere else for its replicas, which it keeps.
        without_errors(&load, "drained", || !led(other).contains_key(&node));
        sleep(CALM);
        assert_eq!(state(other, node).as_deref(), Some("draining"));
        tell(other, &["resume", &node.to_string()]);
        without_errors(&load, "resumed", || led(other).contains_key(&node));
    });
    load.check(&servers[0], "at the end");
}

#[test]
fn nodes_are_restarted_one_after_the_other_and_clients_of_the_others_do_not_notice() {
    let cluster = Cluster::new();
    let servers = settled(&cluster);
    let load = Load::new(&servers);
    let mut servers: Vec<Option<Server>> = servers.into_iter().map(Some).collect();
    under_load(&load, || {
        for (at, place) in servers.iter_mut().enumerate() {
            sleep(CALM);
            // Its clients go first, as behind a balancer.
            load.open(at, None);
            load.leave(at);
            let what = format!("node {} restarted", at + 1);
            without_errors(&load, &format!("{what}: its clients gone"), || true);
            let server = place.take().expect("it runs");
            let began = now();
            assert!(server.terminate().expect("it drains").success());
            without_errors(&load, &format!("{what}: ended in {:?}", began.elapsed()), || true);
            let server = cluster.start(at as u32 + 1, &ARGUMENTS);
            without_errors(&load, &what, || is_spread(&server, COPIES));
            load.open(at, Some(&server));
            *place = Some(server);
        }
    });
    load.check(servers[0].as_ref().expect("it runs"), "at the end");
}

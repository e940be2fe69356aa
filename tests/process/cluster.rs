//! Several nodes on loopback: they find each other, let no stranger in, read what each other hold,
//! and are killed and come back.

mod chinook;
mod disk;
mod failover;
mod load;
mod network;

use crate::{builder, connect, insert, number};
use phantomdb_client::Error;
use phantomdb_client::blocking::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use test_support::{Server, Stopwatch, sleep};

const TOKEN: &str = "a-token-of-the-tests";
/// What takes longer than this is not coming.
const PATIENCE: Duration = Duration::from_secs(60);
/// Copies of each partition, on distinct nodes.
const COPIES: usize = 3;

/// The nodes' directories.
struct Cluster {
    home: TempDir,
}

impl Cluster {
    fn new() -> Cluster {
        Cluster { home: tempfile::tempdir().expect("a directory") }
    }

    fn directory(&self, node: u32) -> PathBuf {
        self.home.path().join(format!("node-{node}"))
    }

    /// Starts a node that founds the cluster, or is in it already.
    fn start(&self, node: u32, arguments: &[&str]) -> Server {
        started(&self.directory(node), arguments)
    }

    /// Starts a node that joins others.
    fn join(&self, node: u32, seed: &Server, arguments: &[&str]) -> Server {
        let arguments = [&["--join", seed.address()], arguments].concat();
        started(&self.directory(node), &arguments)
    }

    /// Three nodes, of which each is to hold every partition: they begin at once to copy them.
    fn three(&self, arguments: &[&str]) -> Vec<Server> {
        let copies = COPIES.to_string();
        let arguments = [&["--replication-factor", &copies], arguments].concat();
        let one = self.start(1, &arguments);
        let others = [2, 3].map(|node| self.join(node, &one, &arguments));
        std::iter::once(one).chain(others).collect()
    }
}

fn with_token<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    ["--partitions", "8", "--join-token", TOKEN].iter().chain(arguments).copied().collect()
}

fn started(directory: &Path, arguments: &[&str]) -> Server {
    builder(directory, &with_token(arguments)).start().expect("the node serves")
}

/// How a node that does not start ends: with what in its log.
fn in_vain(directory: &Path, arguments: &[&str]) -> String {
    ended(directory, &with_token(arguments))
}

fn ended(directory: &Path, arguments: &[&str]) -> String {
    let (status, log) = builder(directory, arguments).start_in_vain().expect("it ends");
    assert_eq!(status.code(), Some(1), "{log}");
    log
}

fn nodes(client: &mut Client) -> Vec<i64> {
    let rows = client.query("SELECT id FROM phantom.node_registry ORDER BY id", &[]);
    let rows = rows.expect("the registry");
    rows.iter().map(|row| row.get(0).expect("an id")).collect()
}

/// A partition as a node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// 0 where nobody is known to lead.
    leader: u32,
    voters: Vec<u32>,
}

/// Every partition by its id, as the node of `client` knows them; one that has no leader now has 0.
fn partitions(client: &mut Client) -> Result<BTreeMap<u32, Seen>, Error> {
    let query =
        "SELECT p.id, coalesce(p.leader_node, 0), v FROM phantom.partitions p, unnest(p.voters) v";
    let mut seen: BTreeMap<u32, Seen> = BTreeMap::new();
    for row in &client.query(query, &[])? {
        let id = |at: usize| row.get::<Option<i64>>(at).expect("an id").unwrap_or_default() as u32;
        let [id, leader, voter] = [0, 1, 2].map(id);
        let partition = seen.entry(id).or_insert(Seen { leader, voters: Vec::new() });
        partition.voters.push(voter);
    }
    Ok(seen)
}

/// Whether every partition has its copies, and each of so many nodes leads some.
fn is_spread(server: &Server, nodes: usize) -> bool {
    let seen = Client::connect(&server.url()).and_then(|mut client| partitions(&mut client));
    let Ok(seen) = seen else { return false };
    let leaders: BTreeSet<u32> = seen.values().map(|partition| partition.leader).collect();
    leaders.len() == nodes
        && !leaders.contains(&0)
        && seen.values().all(|partition| partition.voters.len() == COPIES)
}

/// Asks until the answer is the one that is waited for.
fn eventually<T: PartialEq + std::fmt::Debug>(expected: T, mut ask: impl FnMut() -> T) {
    let began = Stopwatch::start();
    loop {
        let answer = ask();
        if answer == expected {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{answer:?}, and not {expected:?}");
        sleep(Duration::from_millis(50));
    }
}

/// The address of the only core's own door, so that the node can be started there again.
fn door(server: &Server) -> String {
    server.ready().cores[0].clone()
}

#[test]
fn three_nodes_see_each_other_and_read_the_same() {
    let cluster = Cluster::new();
    let one = cluster.start(1, &["--cores", "1"]);
    let mut first = connect(&one);
    first.run("CREATE TABLE item (id bigint PRIMARY KEY, v bigint, s text)").expect("a table");
    insert(&mut first, "item", 0..200, "of one").expect("rows");
    let two = cluster.join(2, &one, &["--cores", "2", "--locality", "zone=b"]);
    // Through a node that does not lead anything.
    let three = cluster.join(3, &two, &["--cores", "2"]);
    assert_eq!([one.ready().node, two.ready().node, three.ready().node], [1, 2, 3]);
    for server in [&one, &two, &three] {
        let mut client = connect(server);
        assert_eq!(nodes(&mut client), [1, 2, 3]);
        assert_eq!(number(&mut client, "SELECT sum(id)::bigint FROM item"), 19_900);
    }
    let mut second = connect(&two);
    insert(&mut second, "item", 200..300, "of two").expect("rows");
    let mut third = connect(&three);
    let of_two = "SELECT count(*) FROM item WHERE s = 'of two'";
    // At once, although partitions have just begun to move.
    assert_eq!(number(&mut third, of_two), 100);
    assert_eq!(number(&mut first, of_two), 100);

    // A node dies and comes back by itself, at other addresses, and so does the one that leads.
    two.kill().expect("killed");
    let two = cluster.start(2, &["--cores", "2"]);
    assert_eq!(two.ready().node, 2);
    let native = two.address().to_owned();
    let where_is_two = "SELECT native FROM phantom.node_registry WHERE id = 2";
    let row = third.query_one(where_is_two, &[]).expect("its row");
    assert_eq!(row.get::<String>(0).expect("an address"), native);
    let mut second = connect(&two);
    assert_eq!(number(&mut second, "SELECT count(*) FROM item"), 300);
    let at = door(&one);
    one.kill().expect("killed");
    let one = cluster.start(1, &["--cores", "1", "--core-listen", &at]);
    assert_eq!(door(&one), at);
    for client in [&mut second, &mut third] {
        eventually(Some(300), || {
            let row = client.query_one("SELECT count(*) FROM item", &[]).ok()?;
            row.get(0).ok()
        });
    }
    for server in [three, two, one] {
        assert!(server.terminate().expect("it drains").success());
    }
}

/// It knows the first node only, and all is led by the third, which came while it was away.
#[test]
fn a_node_that_was_away_finds_a_leader_that_it_has_never_heard_of() {
    let cluster = Cluster::new();
    let arguments = ["--cores", "1", "--replication-factor", "1"];
    let one = cluster.start(1, &arguments);
    let mut client = connect(&one);
    client.run("CREATE TABLE item (id bigint PRIMARY KEY, v bigint, s text)").expect("a table");
    insert(&mut client, "item", 0..50, "of one").expect("rows");
    let two = cluster.join(2, &one, &arguments);
    let mut left_by = |node: u32| {
        // The others may not have heard yet that a node lives which has just joined.
        let drain = format!("ALTER SYSTEM DRAIN NODE {node}");
        eventually(Some(()), || client.run(&drain).ok().map(drop));
        let holds = format!(
            "SELECT count(*) FROM phantom.partitions WHERE leader_node = {node} OR {node} = ANY (voters)"
        );
        eventually(Some(0), || client.query_one(&holds, &[]).ok()?.get::<i64>(0).ok());
    };
    left_by(2);
    two.kill().expect("killed");
    let three = cluster.join(3, &one, &arguments);
    left_by(1);
    let two = cluster.start(2, &arguments);
    assert_eq!(number(&mut connect(&two), "SELECT count(*) FROM item"), 50);
    for server in [two, one, three] {
        assert!(server.terminate().expect("it drains").success());
    }
}

#[test]
fn who_does_not_belong_is_not_let_in() {
    let cluster = Cluster::new();
    let one = cluster.start(1, &["--cores", "1"]);
    let two = cluster.join(2, &one, &["--cores", "1", "--node-id", "7"]);
    assert_eq!(two.ready().node, 7);
    let seed = one.address().to_owned();

    let stranger = cluster.directory(3);
    let other = ["--cores", "1", "--join", &seed, "--join-token", "some-other-token"];
    let log = ended(&stranger, &other);
    assert!(log.contains("does not take this node's join token"), "{log}");

    let log = in_vain(&cluster.directory(4), &["--cores", "1", "--join", &seed, "--node-id", "7"]);
    assert!(log.contains("node-id 7 is in use"), "{log}");

    // A directory stays with its node and its cluster.
    let elsewhere = started(&cluster.directory(5), &["--cores", "1"]);
    let foreign = elsewhere.address().to_owned();
    drop(two);
    let log = in_vain(&cluster.directory(2), &["--cores", "1", "--join", &foreign]);
    assert!(log.contains("it belongs to cluster"), "{log}");
    let log = in_vain(&cluster.directory(2), &["--cores", "1", "--node-id", "3"]);
    assert!(log.contains("belongs to node 7, not to node 3"), "{log}");
    // With the seeds of its own cluster it starts again as whom it was.
    let two = cluster.join(2, &one, &["--cores", "1"]);
    assert_eq!(two.ready().node, 7);
    assert_eq!(nodes(&mut connect(&one)), [1, 7]);
}

#[test]
fn a_seed_that_is_gone_is_named() {
    let cluster = Cluster::new();
    let one = cluster.start(1, &["--cores", "1"]);
    let gone = one.address().to_owned();
    drop(one);
    let log = in_vain(&cluster.directory(3), &["--cores", "1", "--join", &gone]);
    assert!(log.contains("no node of the cluster answers at"), "{log}");
    assert!(log.contains(&gone), "{log}");
}

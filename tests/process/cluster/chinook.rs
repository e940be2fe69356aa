//! The Chinook database, loaded through one node of three and read through each of them.

use super::{Cluster, eventually, is_spread, partitions};
use crate::program;
use phantomdb_client::blocking::Client;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use test_support::{Server, shared};

const TABLES: usize = 11;
/// In all of them.
const ROWS: usize = 15_607;

fn url(server: &Server) -> String {
    format!("phantom://phantom@{}/chinook", server.address())
}

/// Runs the program's own client; what it prints.
fn sql(server: &Server, url: &str, arguments: &[&str]) -> String {
    let output = Command::new(program())
        .args(["sql", "--url", url])
        .args(arguments)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}\n{}", server.log());
    String::from_utf8(output.stdout).expect("text")
}

/// Every table with its rows, in order, as one node gives them.
fn contents(server: &Server, script: &str) -> Vec<String> {
    let created = script.lines().filter_map(|line| line.strip_prefix("CREATE TABLE "));
    let tables: Vec<&str> = created.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(tables.len(), TABLES, "{tables:?}");
    let read = |table: &&str| {
        // Two of the tables have a key of two columns.
        let query = format!("SELECT * FROM {table} ORDER BY 1, 2");
        let rows = sql(server, &url(server), &["--format", "csv", "-c", &query]);
        format!("{table}\n{rows}")
    };
    tables.iter().map(read).collect()
}

fn load(server: &Server, script: &Path) {
    // The script makes the database and goes there.
    let said = sql(server, &server.url(), &["-f", &script.to_string_lossy()]);
    let inserted = said.lines().filter_map(|line| line.strip_prefix("INSERT 0 "));
    let inserted: usize = inserted.map(|count| count.parse::<usize>().expect("a count")).sum();
    assert_eq!(inserted, ROWS);
}

/// What a join over three of the tables counts, where the node answers.
fn counted(server: &Server) -> Option<i64> {
    let joined = "SELECT count(*) FROM invoice_line JOIN invoice USING (invoice_id) \
        JOIN track USING (track_id)";
    let row = Client::connect(&url(server)).ok()?.query_one(joined, &[]).ok()?;
    row.get(0).ok()
}

/// Whether the requests of a statement went where the partitions are led, as the node knows that now, and
/// those to other nodes are told.
fn shows_the_hops(server: &Server) -> bool {
    let (here, mut client) =
        (server.ready().node, Client::connect(&url(server)).expect("it lets us in"));
    let known = partitions(&mut client).expect("the partitions");
    let rows = client.query("EXPLAIN ANALYZE SELECT count(*) FROM track", &[]).expect("a plan");
    let lines: Vec<String> = rows.iter().map(|row| row.get(0).expect("text")).collect();
    let mut seen = BTreeMap::new();
    for line in &lines {
        // `  Node 2 Core 0: 3 (Partitions: 1, 4, 7)`
        let Some(node) = line.strip_prefix("  Node ") else { continue };
        let (node, partitions) = node.split_once(" Core 0: ").expect("one core each");
        let (count, partitions) = partitions.split_once(" (Partitions: ").expect("partitions");
        let partitions: Vec<&str> = partitions.trim_end_matches(')').split(", ").collect();
        assert_eq!(count, partitions.len().to_string(), "each is asked once: {lines:#?}");
        let node: u32 = node.parse().expect("a node");
        seen.extend(partitions.iter().map(|id| (id.parse::<u32>().expect("an id"), node)));
    }
    let away = seen.values().filter(|node| **node != here).count();
    let told = format!("Requests: {}, to other nodes: {away}", seen.len());
    assert!(lines.contains(&told), "{lines:#?}");
    // A leader may have moved between the two questions.
    let leaders = known.into_iter().filter(|(id, _)| *id != 0);
    seen == leaders.map(|(id, partition)| (id, partition.leader)).collect()
}

#[test]
fn chinook_loads_through_one_node_and_reads_the_same_through_the_others() {
    let Some(file) = shared("data/chinook/chinook.sql") else {
        println!("left out: no Chinook database beside the project");
        return;
    };
    let script = std::fs::read_to_string(&file).expect("the script");
    let cluster = Cluster::new();
    let mut servers = cluster.three(&["--cores", "1"]);
    load(&servers[0], &file);
    let loaded = contents(&servers[0], &script);
    for server in &servers[1..] {
        // Not the whole of it where they differ: it is 600 kB.
        for (here, first) in contents(server, &script).iter().zip(&loaded) {
            let differs = here.lines().zip(first.lines()).find(|(here, first)| here != first);
            assert_eq!(differs, None, "node {}", server.ready().node);
            assert_eq!(here.len(), first.len(), "node {}", server.ready().node);
        }
    }
    let lines = counted(&servers[0]);
    assert!(lines > Some(0), "the tables hang together: {lines:?}");
    // With every partition on every node, one of them is not missed.
    eventually(true, || is_spread(&servers[0], 3));
    for server in &servers {
        eventually(true, || shows_the_hops(server));
    }
    servers.remove(0).kill().expect("killed");
    for server in &servers {
        eventually(lines, || counted(server));
        assert!(contents(server, &script) == loaded, "what node {} reads", server.ready().node);
    }
}

//! What it costs to do nothing.

use crate::{connect, number, start};
use phantomdb_client::blocking::Client;
use std::thread;
use std::time::Duration;
use test_support::{Stopwatch, sleep};

/// Memory an idle connection may take.
const CONNECTION_BYTES_MAX: u64 = 32 << 10;
/// Processor time an idle server may take, in parts of a core.
const IDLE_PARTS: u32 = 50;
const IDLE_TIME: Duration = Duration::from_secs(5);
/// Connections are opened by so many threads.
const OPENERS: usize = 4;
/// How long a statement may take beside them.
const PATIENCE: Duration = Duration::from_secs(2);

#[test]
fn idle_connections_are_cheap_and_the_node_serves() {
    let count = test_support::slice("PHANTOM_IDLE_CONNECTIONS", 2000, 10_000) as usize;
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut client = connect(&server);
    client.run("CREATE TABLE t (id int PRIMARY KEY)").expect("a table");
    client.run("INSERT INTO t VALUES (1), (2), (3)").expect("rows");
    // What the server allocates once, it has allocated after a few connections.
    drop(open(&server.url(), 64));
    sleep(Duration::from_millis(500));
    let before = server.status().expect("its status").resident;
    let connections = open(&server.url(), count);
    sleep(Duration::from_secs(1));
    let after = server.status().expect("its status").resident;
    let each = after.saturating_sub(before) / count as u64;
    println!("{count} idle connections: {each} bytes each");
    assert!(each <= CONNECTION_BYTES_MAX, "{each} bytes a connection");
    let asked = Stopwatch::start();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 3);
    let mut late = Client::connect(&server.url()).expect("one more is let in");
    assert_eq!(number(&mut late, "SELECT count(*) FROM t"), 3);
    println!("two statements and a connection beside them: {:?}", asked.elapsed());
    assert!(asked.elapsed() < PATIENCE, "{:?} beside idle connections", asked.elapsed());
    // An idle connection is a live one.
    let mut connections = connections;
    let last = connections.last_mut().expect("a connection");
    assert_eq!(number(last, "SELECT count(*) FROM t"), 3);
}

/// Opens connections on a few threads, so that round trips overlap.
fn open(url: &str, count: usize) -> Vec<Client> {
    thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS)
            .map(|opener| {
                let share = count / OPENERS + usize::from(opener < count % OPENERS);
                scope.spawn(move || {
                    let connect = |_| Client::connect(url).expect("the server lets us in");
                    (0..share).map(connect).collect::<Vec<_>>()
                })
            })
            .collect();
        openers.into_iter().flat_map(|opener| opener.join().expect("connections")).collect()
    })
}

#[test]
fn an_idle_server_takes_almost_no_processor_time() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut client = connect(&server);
    client.run("CREATE TABLE t (id int PRIMARY KEY)").expect("a table");
    client.run("INSERT INTO t VALUES (1), (2), (3)").expect("rows");
    sleep(Duration::from_secs(2));
    let before = server.status().expect("its status").cpu;
    sleep(IDLE_TIME);
    let taken = server.status().expect("its status").cpu - before;
    println!("idle with one connection: {taken:?} of {IDLE_TIME:?}");
    assert!(taken < IDLE_TIME / IDLE_PARTS, "{taken:?} in {IDLE_TIME:?}");
}

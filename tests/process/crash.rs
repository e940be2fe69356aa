//! Crashes: what was acknowledged is there after SIGKILL, and nothing by halves.
//!
//! Each writer owns a range of keys, spread over all partitions, and runs one transaction after the
//! other on it: a statement of many rows, or several statements in a block. It keeps an [`Oracle`]
//! of what it was told. All writers also move money between accounts that they share, whose sum
//! no transaction changes. The server is killed at a random moment, started again on the same data,
//! and everything is read and compared; then the writers go on.

use crate::{connect, goes_on, number, start};
use phantomdb::sim::oracle::{Oracle, Writes};
use phantomdb_client::blocking::Client;
use phantomdb_client::{Error, SqlState};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use test_support::{Random, Server, seed, sleep};

/// Small segments, so that they are recycled, too.
const ARGUMENTS: [&str; 4] = ["--cores", "3", "--wal-segment-size", "1MiB"];
const WRITERS: u64 = 6;
/// Keys a writer owns.
const KEYS: u64 = 40;
/// Rows a transaction changes at most.
const CHANGES_MAX: u64 = 5;
const ACCOUNTS: u64 = 12;
const MONEY: i64 = 1000 * ACCOUNTS as i64;
/// How long the server lives after the writers have begun.
const LIFE_MS: std::ops::Range<u64> = 20..700;

/// A writer, from life to life.
#[derive(Default)]
struct Writer {
    oracle: Oracle<i64, i64>,
    acknowledged: u64,
}

#[test]
fn kills_lose_nothing_acknowledged_and_leave_nothing_half() {
    let kills = test_support::slice("PHANTOM_KILLS", 6, 50);
    let mut random = Random::new(seed());
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let mut writers: Vec<Writer> = (0..WRITERS).map(|_| Writer::default()).collect();
    let server = start(&data_dir, &ARGUMENTS);
    create(&server);
    server.kill().expect("killed");
    let acknowledged =
        |writers: &[Writer]| writers.iter().map(|writer| writer.acknowledged).sum::<u64>();
    let enough = |writers: &[Writer]| acknowledged(writers) > kills * WRITERS;
    let mut kill = 1;
    while goes_on(kill, kills, || enough(&writers)) {
        let server = start(&data_dir, &ARGUMENTS);
        check(&server, &mut writers, kill);
        let life = LIFE_MS.start + random.below(LIFE_MS.end - LIFE_MS.start);
        live_and_die(server, &mut writers, &mut random, Duration::from_millis(life));
        let acknowledged = acknowledged(&writers);
        println!("kill {kill} after {life} ms: {acknowledged} transactions acknowledged so far");
        kill += 1;
    }
    let server = start(&data_dir, &ARGUMENTS);
    check(&server, &mut writers, kill);
    assert!(enough(&writers), "{} transactions: this shows nothing", acknowledged(&writers));
    assert!(server.terminate().expect("it drains").success());
}

fn create(server: &Server) {
    let mut client = connect(server);
    client.run("CREATE TABLE item (id bigint PRIMARY KEY, v bigint NOT NULL)").expect("a table");
    client
        .run("CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)")
        .expect("a table");
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, 1000)")).collect();
    client.run(&format!("INSERT INTO account VALUES {}", rows.join(", "))).expect("accounts");
}

/// Compares every row with what the writers were told.
fn check(server: &Server, writers: &mut [Writer], life: u64) {
    let mut client = connect(server);
    assert_eq!(
        number(&mut client, "SELECT sum(balance)::bigint FROM account"),
        MONEY,
        "life {life}"
    );
    for (number, writer) in writers.iter_mut().enumerate() {
        let first = number as i64 * KEYS as i64;
        let sql =
            format!("SELECT id, v FROM item WHERE id >= {first} AND id < {}", first + KEYS as i64);
        let rows = client.query(sql.as_str(), &[]).expect("the rows");
        let found: BTreeMap<i64, i64> = rows
            .iter()
            .map(|row| (row.get(0).expect("a key"), row.get(1).expect("a value")))
            .collect();
        assert_eq!(found.len(), rows.len(), "life {life}: a key is there twice");
        if let Err(violation) = writer.oracle.check(&found) {
            panic!("life {life}, writer {number}: {violation}\n{}", server.log());
        }
        // The same rows by their keys, which go another way.
        for key in first..first + KEYS as i64 {
            let rows =
                client.query("SELECT v FROM item WHERE id = $1", &phantomdb_client::params![key]);
            let value = rows.expect("a row").first().map(|row| row.get::<i64>(0).expect("a value"));
            assert_eq!(
                value,
                found.get(&key).copied(),
                "life {life}: row {key} by key and by scan"
            );
        }
    }
}

/// Lets the writers write until the server is killed under them.
fn live_and_die(server: Server, writers: &mut [Writer], random: &mut Random, life: Duration) {
    let url = server.url();
    let dying = AtomicBool::new(false);
    let dying = &dying;
    thread::scope(|scope| {
        for (number, writer) in writers.iter_mut().enumerate() {
            let mut random = Random::new(random.next_u64());
            let url = url.clone();
            scope.spawn(move || {
                let mut client = match Client::connect(&url) {
                    Ok(client) => client,
                    // Killed before it let this writer in.
                    Err(_) if dying.load(Ordering::Acquire) => return,
                    Err(error) => panic!("connecting: {error}"),
                };
                while write(&mut client, writer, number as u64, &mut random)
                    && transfer(&mut client, &mut random)
                {}
                assert!(dying.load(Ordering::Acquire), "the connection broke before the kill");
            });
        }
        sleep(life);
        dying.store(true, Ordering::Release);
        server.kill().expect("killed");
    });
}

/// One transaction on the writer's own rows; `false` when the server is gone.
fn write(client: &mut Client, writer: &mut Writer, number: u64, random: &mut Random) -> bool {
    let mut writes = Writes::new();
    for _ in 0..1 + random.below(CHANGES_MAX) {
        let key = (number * KEYS + random.below(KEYS)) as i64;
        let is_delete = random.below(4) == 0;
        writes.insert(key, (!is_delete).then(|| random.below(1_000_000) as i64));
    }
    let statements = statements(&writer.oracle, &writes);
    writer.oracle.begin(writes);
    match run(client, &statements) {
        Ok(()) => {
            writer.oracle.committed();
            writer.acknowledged += 1;
        }
        Err(error) if is_definite(&error) => writer.oracle.refused(),
        Err(_) => return false,
    }
    true
}

/// The statements that make the rows what `writes` says. Inserts go together in one statement,
/// which is atomic by itself when it is alone.
fn statements(oracle: &Oracle<i64, i64>, writes: &Writes<i64, i64>) -> Vec<String> {
    let mut statements = Vec::new();
    let mut inserts = String::new();
    for (&key, content) in writes {
        match (oracle.content(&key), content) {
            (None, Some(value)) => {
                let comma = if inserts.is_empty() { "" } else { ", " };
                let _infallible = write!(inserts, "{comma}({key}, {value})");
            }
            (Some(_), Some(value)) => {
                statements.push(format!("UPDATE item SET v = {value} WHERE id = {key}"));
            }
            (_, None) => statements.push(format!("DELETE FROM item WHERE id = {key}")),
        }
    }
    if !inserts.is_empty() {
        statements.push(format!("INSERT INTO item VALUES {inserts}"));
    }
    statements
}

/// Moves money between two accounts; `false` when the server is gone.
fn transfer(client: &mut Client, random: &mut Random) -> bool {
    let (a, b) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
    let amount = random.below(100);
    let minus = format!("UPDATE account SET balance = balance - {amount} WHERE id = {a}");
    let plus = format!("UPDATE account SET balance = balance + {amount} WHERE id = {b}");
    // Always the lower account first: two transfers never wait for each other.
    let statements = if a < b { [minus, plus] } else { [plus, minus] };
    match run(client, &statements) {
        Ok(()) => true,
        Err(error) => is_definite(&error),
    }
}

/// Runs the statements as one transaction.
fn run(client: &mut Client, statements: &[String]) -> Result<(), Error> {
    if let [statement] = statements {
        return client.run(statement).map(|_| ());
    }
    client.run("BEGIN")?;
    let result = statements.iter().try_for_each(|statement| client.run(statement).map(|_| ()));
    match result {
        Ok(()) => client.run("COMMIT").map(|_| ()),
        Err(error) => {
            if is_definite(&error) {
                client.run("ROLLBACK")?;
            }
            Err(error)
        }
    }
}

/// Whether the server said that nothing was done.
fn is_definite(error: &Error) -> bool {
    error.state().is_some_and(|state| state != SqlState::STATEMENT_COMPLETION_UNKNOWN)
}

//! Changes of the schema in transactions over crashes: there with all else that their transaction did,
//! or not at all.
//!
//! Each client has a table, and a row that says of which generation it is: an odd one means that there
//! is none. One block after the other takes both to the next generation, in one of several ways,
//! or rolls back, until the server is killed under it. Then rows, table and index must agree.

use crate::{connect, goes_on, number, start};
use phantomdb_client::blocking::Client;
use phantomdb_client::{Error, SqlState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use test_support::{Random, seed, sleep};

const ARGUMENTS: [&str; 4] = ["--cores", "3", "--wal-segment-size", "1MiB"];
const CLIENTS: u64 = 5;
/// Rows of a table that is there.
const ROWS: i64 = 30;
const LIFE_MS: std::ops::Range<u64> = 30..500;

/// What a client knows of its table: generations that were acknowledged, and begun.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    acknowledged: i64,
    begun: i64,
    committed: u64,
}

#[test]
fn kills_leave_no_change_of_the_schema_by_halves() {
    let kills = test_support::slice("PHANTOM_KILLS", 6, 60);
    let mut random = Random::new(seed());
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let server = start(&data_dir, &ARGUMENTS);
    let mut client = connect(&server);
    client.run("CREATE TABLE generation (client int PRIMARY KEY, g bigint)").expect("a table");
    for number in 0..CLIENTS {
        client.run(&format!("INSERT INTO generation VALUES ({number}, 1)")).expect("a row");
    }
    drop(client);
    server.kill().expect("killed");
    let first = Known { acknowledged: 1, begun: 1, committed: 0 };
    let mut known = vec![first; CLIENTS as usize];
    let committed = |known: &[Known]| known.iter().map(|known| known.committed).sum::<u64>();
    let mut kill = 1;
    while goes_on(kill, kills, || committed(&known) > kills) {
        check(&data_dir, &mut known, kill);
        let life = LIFE_MS.start + random.below(LIFE_MS.end - LIFE_MS.start);
        live_and_die(&data_dir, &mut known, &mut random, Duration::from_millis(life));
        println!("kill {kill} after {life} ms: {} blocks committed so far", committed(&known));
        kill += 1;
    }
    check(&data_dir, &mut known, kill);
    let committed = committed(&known);
    assert!(committed > kills, "only {committed} blocks: this shows nothing");
}

/// Each table is of the generation that its row says.
fn check(data_dir: &Path, known: &mut [Known], life: u64) {
    let server = start(data_dir, &ARGUMENTS);
    let mut client = connect(&server);
    for (owner, known) in known.iter_mut().enumerate() {
        let generation =
            number(&mut client, &format!("SELECT g FROM generation WHERE client = {owner}"));
        let may_be = [known.acknowledged, known.begun];
        assert!(may_be.contains(&generation), "life {life}: {owner} has {generation}: {known:?}");
        (known.acknowledged, known.begun) = (generation, generation);
        let table = format!("own_{owner}");
        if generation % 2 == 1 {
            let error = client.run(&format!("SELECT * FROM {table}")).expect_err("no table");
            let absent = Some(SqlState::UNDEFINED_TABLE);
            assert_eq!(error.state(), absent, "life {life}: {table} at {generation}: {error}");
            continue;
        }
        for (condition, expected) in [
            ("true".to_owned(), ROWS),
            (format!("v::bigint = {generation}"), ROWS),
            (format!("v = {generation}"), ROWS),
            (format!("v < {generation} OR v > {generation}"), 0),
        ] {
            let count = format!("SELECT count(*) FROM {table} WHERE {condition}");
            assert_eq!(number(&mut client, &count), expected, "life {life}: {count}");
        }
    }
    assert!(server.terminate().expect("it drains").success());
}

fn live_and_die(data_dir: &Path, known: &mut [Known], random: &mut Random, life: Duration) {
    let server = start(data_dir, &ARGUMENTS);
    let url = server.url();
    let dying = AtomicBool::new(false);
    let dying = &dying;
    thread::scope(|scope| {
        for (owner, known) in known.iter_mut().enumerate() {
            let mut random = Random::new(random.next_u64());
            let url = url.clone();
            scope.spawn(move || {
                let mut client = match Client::connect(&url) {
                    Ok(client) => client,
                    // Killed before it let this one in.
                    Err(_) if dying.load(Ordering::Acquire) => return,
                    Err(error) => panic!("connecting: {error}"),
                };
                while block(&mut client, owner, known, &mut random) {}
                assert!(dying.load(Ordering::Acquire), "the connection broke before the kill");
            });
        }
        sleep(life);
        dying.store(true, Ordering::Release);
        server.kill().expect("killed");
    });
}

/// One block; `false` when the server is gone.
fn block(client: &mut Client, owner: usize, known: &mut Known, random: &mut Random) -> bool {
    let next = known.acknowledged + 1 + random.below(2) as i64;
    let is_there = known.acknowledged % 2 == 0;
    let commits = random.below(4) > 0;
    let mut statements = vec!["BEGIN".to_owned()];
    statements.extend(change(owner, is_there, next, random));
    let count = format!("UPDATE generation SET g = {next} WHERE client = {owner}");
    // Not where a savepoint takes it back.
    let at = if random.below(2) == 0 { 1 } else { statements.len() };
    statements.insert(at, count);
    if commits {
        known.begun = next;
    }
    for statement in statements {
        match client.run(&statement) {
            Ok(_) => {}
            Err(error) if is_conflict(&error) => {
                known.begun = known.acknowledged;
                return client.run("ROLLBACK").is_ok();
            }
            Err(Error::Server(report)) => panic!("{statement}: {report:?}"),
            Err(_) => return false,
        }
    }
    if !commits {
        return client.run("ROLLBACK").is_ok();
    }
    match client.run("COMMIT") {
        Ok(_) => {
            known.acknowledged = next;
            known.committed += 1;
            true
        }
        Err(error) if is_conflict(&error) => {
            known.begun = known.acknowledged;
            true
        }
        Err(Error::Server(report)) => panic!("COMMIT: {report:?}"),
        Err(_) => false,
    }
}

fn is_conflict(error: &Error) -> bool {
    matches!(error.state(), Some(SqlState::DEADLOCK_DETECTED | SqlState::SERIALIZATION_FAILURE))
}

/// What takes a table to a generation.
fn change(owner: usize, is_there: bool, next: i64, random: &mut Random) -> Vec<String> {
    let table = format!("own_{owner}");
    let rows = format!("SELECT i, {next} FROM generate_series(1, {ROWS}) AS i");
    let drop = format!("DROP TABLE {table}");
    let create = format!("CREATE TABLE {table} (id int PRIMARY KEY, v bigint NOT NULL)");
    let insert = format!("INSERT INTO {table} {rows}");
    let index = format!("CREATE INDEX {table}_{next} ON {table} (v)");
    let create_as = format!("CREATE TABLE {table} (id, v) AS {rows}");
    let update = format!("UPDATE {table} SET v = {next}");
    let same_type = format!("ALTER TABLE {table} ALTER COLUMN v TYPE bigint USING v + 0");
    let truncate = format!("TRUNCATE {table}");
    let savepoint = "SAVEPOINT s".to_owned();
    let back = "ROLLBACK TO s".to_owned();
    match (is_there, next % 2 == 0) {
        (true, false) => vec![drop],
        (false, false) => vec![create, insert, index, drop],
        (false, true) => match random.below(3) {
            0 => vec![create, insert, index],
            1 => vec![create_as, index],
            _ => vec![create, savepoint, index.clone(), truncate, back, insert, index],
        },
        (true, true) => match random.below(5) {
            0 => vec![truncate, insert, index],
            1 => vec![drop, create, index, insert],
            2 => vec![update, index],
            3 => vec![update, same_type],
            _ => vec![savepoint, drop, create_as, back, truncate, insert],
        },
    }
}

//! A bank whose sum is the same in every snapshot, whoever moves money and whatever is killed.
//!
//! ```text
//!   account  (id, branch, balance)           100 of them on all cores, an index on the branch
//!   movement (id, source, target, amount)    one for each transfer, in the same transaction
//! ```
//!
//! Clients move money between two accounts that lie anywhere; readers sum, in one statement and in
//! many of one snapshot, and find what there was in the beginning. In the end every account holds
//! what its movements make of it, and every movement that was acknowledged is there.

use crate::client::{Isolation, is_explained};
use crate::{connect, start};
use phantomdb_client::blocking::Client;
use phantomdb_client::{Error, params};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use test_support::{Random, Server, Stopwatch, seed, sleep, slice};

const ACCOUNTS: i64 = 100;
const BRANCHES: i64 = 10;
const BALANCE: i64 = 1_000;
const CLIENTS: u64 = 32;
const READERS: u64 = 4;
/// The levels that the clients' transfers run at, in turn.
const LEVELS: [Isolation; 3] =
    [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];
/// How long the server lives between two kills.
const LIFE_MS: std::ops::Range<u64> = 1_000..2_500;
/// Longest pause between two statements of a long reader.
const THINK_MS: u64 = 120;
const RECONNECT: Duration = Duration::from_millis(20);

/// What all of them share.
#[derive(Default)]
struct Bank {
    url: Mutex<String>,
    closed: AtomicBool,
    /// Movements that were begun.
    movements: AtomicI64,
    /// Movements that were acknowledged.
    acknowledged: Mutex<Vec<i64>>,
    refused: AtomicU64,
    snapshots: AtomicU64,
    /// What must not be.
    wrong: Mutex<Vec<String>>,
}

impl Bank {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn note(&self, wrong: String) {
        self.wrong.lock().expect("a list").push(wrong);
    }

    fn set_url(&self, server: &Server) {
        *self.url.lock().expect("a url") = server.url();
    }

    /// Works on one connection after the other until the bank closes. `work` is given up when the
    /// connection is lost.
    fn keep_at_it(&self, mut work: impl FnMut(&mut Client) -> Result<(), Error>) {
        while !self.is_closed() {
            let url = self.url.lock().expect("a url").clone();
            let Ok(mut client) = Client::connect(&url) else {
                sleep(RECONNECT);
                continue;
            };
            while !self.is_closed() {
                let Err(error) = work(&mut client) else { continue };
                if !is_explained(&error) {
                    self.note(format!("nothing explains {error}"));
                }
                self.refused.fetch_add(1, Ordering::Relaxed);
                if error.state().is_none() {
                    break;
                }
                // A block that was refused is still open; what has no block has nothing to lose.
                if client.run("ROLLBACK").is_err() {
                    break;
                }
            }
        }
    }
}

/// Moves money; everything in one transaction.
fn transfer(
    bank: &Bank,
    client: &mut Client,
    level: Isolation,
    random: &mut Random,
) -> Result<(), Error> {
    let source = random.below(ACCOUNTS as u64) as i64;
    let target = (source + 1 + random.below(ACCOUNTS as u64 - 1) as i64) % ACCOUNTS;
    let amount = 1 + random.below(50) as i64;
    let movement = bank.movements.fetch_add(1, Ordering::Relaxed);
    client.run(&format!("BEGIN ISOLATION LEVEL {}", level.sql()))?;
    let add = "UPDATE account SET balance = balance + $1 WHERE id = $2";
    match random.below(3) {
        0 => {
            let both = "UPDATE account SET balance = balance \
                        + CASE id WHEN $1 THEN -$3::bigint ELSE $3 END WHERE id IN ($1, $2)";
            client.outcome(both, &params![source, target, amount])?;
        }
        1 => {
            client.outcome(add, &params![-amount, source])?;
            client.outcome(add, &params![amount, target])?;
        }
        _ => {
            // As a program does that reads first: it keeps what it has read from changing.
            let take = "SELECT balance FROM account WHERE id = $1";
            let _read_and_left: i64 = client.query_one(take, &params![source])?.get(0)?;
            client.outcome(add, &params![amount, target])?;
            client.outcome(add, &params![-amount, source])?;
        }
    }
    client.outcome(
        "INSERT INTO movement VALUES ($1, $2, $3, $4)",
        &params![movement, source, target, amount],
    )?;
    client.run("COMMIT")?;
    bank.acknowledged.lock().expect("a list").push(movement);
    Ok(())
}

/// Sums, and compares with what there was in the beginning.
fn sum(bank: &Bank, client: &mut Client, random: &mut Random) -> Result<(), Error> {
    const ALL: &str = "SELECT count(*), sum(balance)::bigint FROM account";
    let whole = |client: &mut Client| -> Result<[i64; 2], Error> {
        let row = client.query_one(ALL, &[])?;
        Ok([row.get(0)?, row.get(1)?])
    };
    let mut sums = vec![whole(client)?];
    let level = ["REPEATABLE READ", "SERIALIZABLE"][random.below(2) as usize];
    client.run(&format!("BEGIN ISOLATION LEVEL {level} READ ONLY"))?;
    let mut parts = [0, 0];
    for branch in 0..BRANCHES {
        let part = client.query_one(
            "SELECT count(*), coalesce(sum(balance), 0)::bigint FROM account WHERE branch = $1",
            &params![branch],
        )?;
        parts = [parts[0] + part.get::<i64>(0)?, parts[1] + part.get::<i64>(1)?];
        sleep(Duration::from_millis(random.below(THINK_MS)));
    }
    sums.push(parts);
    sums.push(whole(client)?);
    client.run("COMMIT")?;
    for found in sums {
        if found != [ACCOUNTS, ACCOUNTS * BALANCE] {
            bank.note(format!("accounts and sum are {found:?} at {level}"));
        }
    }
    bank.snapshots.fetch_add(2, Ordering::Relaxed);
    Ok(())
}

fn open(server: &Server) {
    let mut client = connect(server);
    for statement in [
        "CREATE TABLE account (id bigint PRIMARY KEY, branch bigint NOT NULL, \
         balance bigint NOT NULL)",
        "CREATE INDEX account_branch ON account (branch)",
        "CREATE TABLE movement (id bigint PRIMARY KEY, source bigint NOT NULL, \
         target bigint NOT NULL, amount bigint NOT NULL)",
    ] {
        client.run(statement).expect("a table");
    }
    let rows: Vec<String> =
        (0..ACCOUNTS).map(|id| format!("({id}, {}, {BALANCE})", id % BRANCHES)).collect();
    client.run(&format!("INSERT INTO account VALUES {}", rows.join(", "))).expect("accounts");
}

/// Every account holds what its movements make of it, and none that was acknowledged is missing.
fn audit(bank: &Bank, server: &Server) {
    let mut client = connect(server);
    let numbers = |client: &mut Client, sql: &str| -> Vec<Vec<i64>> {
        let rows = client.query(sql, &[]).expect("rows").into_iter();
        let read = |place, row: &phantomdb_client::Row| row.get(place).expect("a number");
        rows.map(|row| (0..row.values().len()).map(|place| read(place, &row)).collect()).collect()
    };
    let mut expected: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|id| (id, BALANCE)).collect();
    let movements = numbers(&mut client, "SELECT id, source, target, amount FROM movement");
    for movement in &movements {
        *expected.entry(movement[1]).or_default() -= movement[3];
        *expected.entry(movement[2]).or_default() += movement[3];
    }
    let found = numbers(&mut client, "SELECT id, balance FROM account");
    let found: BTreeMap<i64, i64> = found.into_iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(found, expected, "accounts, and what their movements make of them");
    let there: Vec<i64> = movements.iter().map(|movement| movement[0]).collect();
    let acknowledged = bank.acknowledged.lock().expect("a list");
    let missing: Vec<&i64> = acknowledged.iter().filter(|id| !there.contains(id)).collect();
    assert!(missing.is_empty(), "acknowledged, and lost: {missing:?}");
}

/// Kills the server over and over while the bank is open.
fn kill_over_and_over(bank: &Bank, server: Server, data_dir: &Path, seed: u64) -> (Server, u64) {
    let open_for = Duration::from_secs(slice("PHANTOM_BANK_SECONDS", 6, 120));
    let (mut random, mut server, mut kills) = (Random::new(seed), server, 0);
    let watch = Stopwatch::start();
    while watch.elapsed() < open_for {
        sleep(Duration::from_millis(LIFE_MS.start + random.below(LIFE_MS.end - LIFE_MS.start)));
        server.kill().expect("killed");
        server = start(data_dir);
        bank.set_url(&server);
        kills += 1;
    }
    // The last life ends in peace.
    sleep(Duration::from_millis(LIFE_MS.start));
    bank.closed.store(true, Ordering::Release);
    (server, kills)
}

#[test]
fn the_sum_is_the_same_in_every_snapshot() {
    let seed = seed();
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let server = start(&data_dir);
    open(&server);
    let bank = Bank::default();
    bank.set_url(&server);
    let (server, kills) = std::thread::scope(|scope| {
        let bank = &bank;
        for number in 0..CLIENTS + READERS {
            let mut random = Random::new(seed ^ number << 32);
            let level = LEVELS[number as usize % LEVELS.len()];
            scope.spawn(move || match number < CLIENTS {
                true => bank.keep_at_it(|client| transfer(bank, client, level, &mut random)),
                false => bank.keep_at_it(|client| sum(bank, client, &mut random)),
            });
        }
        kill_over_and_over(bank, server, &data_dir, seed)
    });
    let acknowledged = bank.acknowledged.lock().expect("a list").len();
    let snapshots = bank.snapshots.load(Ordering::Relaxed);
    let refused = bank.refused.load(Ordering::Relaxed);
    println!("{kills} kills, {acknowledged} transfers, {snapshots} snapshots, {refused} refused");
    let wrong = bank.wrong.lock().expect("a list").clone();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    assert!(acknowledged as u64 > CLIENTS && snapshots > READERS, "this shows nothing");
    audit(&bank, &server);
}

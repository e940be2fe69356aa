//! Sagas and SIGKILL: each is wholly there or wholly undone, and no step is lost or doubled.
//!
//! Clients run sagas that move money between accounts of all partitions; every step also writes a
//! line into a journal, and its compensation another. Some sagas fail on purpose, some are rolled
//! back, some are left alone by clients that vanish. The server is killed at random moments, in the
//! middle of steps, of compensations and of commits. Once it is quiet, the journal says of every saga
//! whether all of its steps stand, or all were undone, each of them once; and the accounts hold what
//! the journal makes.

use crate::{connect, goes_on, number, start};
use phantomdb_client::blocking::Client;
use phantomdb_client::{Error, SqlState};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use test_support::{Random, Server, seed, sleep};

const ARGUMENTS: [&str; 4] = ["--cores", "3", "--wal-segment-size", "1MiB"];
const WORKERS: u64 = 6;
const ACCOUNTS: u64 = 12;
const MONEY: i64 = 1_000;
const STEPS_MAX: u64 = 3;
const LIFE_MS: std::ops::Range<u64> = 100..1_500;
/// A saga is compensated within this time once nobody disturbs.
const QUIET_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// What the client of a saga knows of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Committed,
    Undone,
    /// It vanished, or the server did.
    Nothing,
}

#[test]
fn every_saga_is_wholly_there_or_wholly_undone() {
    let kills = test_support::slice("PHANTOM_KILLS", 6, 50);
    let mut random = Random::new(seed());
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let known: Mutex<BTreeMap<String, Known>> = Mutex::default();
    let server = start(&data_dir, &ARGUMENTS);
    create(&server);
    server.kill().expect("killed");
    let enough = |known: &BTreeMap<String, Known>| {
        count(known, Known::Committed) > kills && count(known, Known::Undone) > kills
    };
    let mut kill = 1;
    while goes_on(kill, kills, || enough(&known.lock().expect("known"))) {
        let server = start(&data_dir, &ARGUMENTS);
        let life = LIFE_MS.start + random.below(LIFE_MS.end - LIFE_MS.start);
        live_and_die(server, &known, &mut random, kill, Duration::from_millis(life));
        println!(
            "kill {kill} after {life} ms: {} sagas so far",
            known.lock().expect("known").len()
        );
        if kill % 3 == 0 || kill >= kills {
            let server = start(&data_dir, &ARGUMENTS);
            check(&server, &known.lock().expect("known"), kill);
            server.kill().expect("killed");
        }
        kill += 1;
    }
    let known = known.into_inner().expect("known");
    let [committed, undone, unknown] =
        [Known::Committed, Known::Undone, Known::Nothing].map(|what| count(&known, what));
    println!("{committed} committed, {undone} undone, {unknown} unknown");
    assert!(enough(&known), "too few sagas: this shows nothing");
}

/// How many sagas ended so.
fn count(known: &BTreeMap<String, Known>, what: Known) -> u64 {
    known.values().filter(|known| **known == what).count() as u64
}

fn create(server: &Server) {
    let mut client = connect(server);
    for table in [
        "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)",
        "CREATE TABLE journal (saga text, step bigint, undone boolean, account bigint NOT NULL, \
         amount bigint NOT NULL, PRIMARY KEY (saga, step, undone))",
    ] {
        client.run(table).expect("a table");
    }
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {MONEY})")).collect();
    client.run(&format!("INSERT INTO account VALUES {}", rows.join(", "))).expect("accounts");
}

fn live_and_die(
    server: Server,
    known: &Mutex<BTreeMap<String, Known>>,
    random: &mut Random,
    life: u64,
    duration: Duration,
) {
    let url = server.url();
    let dying = AtomicBool::new(false);
    let dying = &dying;
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let mut random = Random::new(random.next_u64());
            let url = url.clone();
            scope.spawn(move || {
                let mut client = None;
                for count in 0_u64.. {
                    let connected = match client.take() {
                        Some(client) => client,
                        None => match Client::connect(&url) {
                            Ok(client) => client,
                            Err(_) if dying.load(Ordering::Acquire) => return,
                            Err(error) => panic!("connecting: {error}"),
                        },
                    };
                    let name = format!("s{life}_{worker}_{count}");
                    known.lock().expect("known").insert(name.clone(), Known::Nothing);
                    match saga(connected, &name, &mut random) {
                        Ok((left, what)) => {
                            known.lock().expect("known").insert(name, what);
                            client = left;
                        }
                        Err(error) => {
                            assert!(dying.load(Ordering::Acquire), "before the kill: {error}");
                            return;
                        }
                    }
                }
            });
        }
        sleep(duration);
        dying.store(true, Ordering::Release);
        server.kill().expect("killed");
    });
}

/// Runs one saga. The client, unless it has vanished, and what it knows; an error where the server
/// has gone.
fn saga(
    mut client: Client,
    name: &str,
    random: &mut Random,
) -> Result<(Option<Client>, Known), Error> {
    client.run(&format!("BEGIN SAGA {name}"))?;
    let steps = 1 + random.below(STEPS_MAX);
    let fate = random.below(8);
    for step in 1..=steps {
        let vanishes = fate == 0 && step == steps;
        let amount = random.below(100) as i64 - 50;
        let account = random.below(ACCOUNTS);
        // Two steps each: one changes the account, one writes it down. Both or none of them happen.
        let change = format!(
            "STEP UPDATE account SET balance = balance + {amount} WHERE id = {account} \
             COMPENSATE UPDATE account SET balance = balance - {amount} WHERE id = {account}"
        );
        let line = |undone| {
            format!("INSERT INTO journal VALUES ('{name}', {step}, {undone}, {account}, {amount})")
        };
        let journal = format!("STEP {} COMPENSATE {}", line(false), line(true));
        for statement in [change, journal] {
            match client.run(&statement) {
                Ok(_) => {}
                Err(error) if error.state().is_some() => {
                    // Refused, and compensated or about to be.
                    client.run("ROLLBACK")?;
                    return Ok((Some(client), Known::Undone));
                }
                Err(error) => return Err(error),
            }
        }
        if vanishes {
            return Ok((None, Known::Nothing));
        }
    }
    match fate {
        1 => {
            client.run("ROLLBACK SAGA")?;
            Ok((Some(client), Known::Undone))
        }
        2 => {
            let broken = "STEP INSERT INTO account VALUES (1, 0) COMPENSATE NOTHING";
            let error = client.run(broken).expect_err("the account is there");
            if error.state().is_none() {
                return Err(error);
            }
            assert_eq!(error.state(), Some(SqlState::UNIQUE_VIOLATION), "{error}");
            client.run("COMMIT SAGA")?;
            Ok((Some(client), Known::Undone))
        }
        _ => match client.run("COMMIT SAGA") {
            Ok(_) => Ok((Some(client), Known::Committed)),
            Err(error) => match error.state() {
                Some(SqlState::STATEMENT_COMPLETION_UNKNOWN) => Ok((Some(client), Known::Nothing)),
                Some(_) => Ok((Some(client), Known::Undone)),
                None => Err(error),
            },
        },
    }
}

/// Waits until every saga has ended, and looks at what has become of each.
fn check(server: &Server, known: &BTreeMap<String, Known>, kill: u64) {
    let mut client = connect(server);
    let mut waited = Duration::ZERO;
    let open = "SELECT count(*) FROM phantom.sagas WHERE state NOT IN ('committed', 'compensated')";
    while number(&mut client, open) > 0 {
        assert!(
            waited < QUIET_WITHIN,
            "kill {kill}: sagas do not end\n{:?}\n{}",
            client.query("SELECT * FROM phantom.sagas WHERE last_error IS NOT NULL", &[]),
            server.log()
        );
        sleep(PAUSE);
        waited += PAUSE;
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM phantom.saga_steps"), 0, "kill {kill}");
    let ends: BTreeMap<String, String> = client
        .query("SELECT name, state FROM phantom.sagas", &[])
        .expect("the sagas")
        .iter()
        .map(|row| (row.get(0).expect("a name"), row.get(1).expect("a state")))
        .collect();
    let rows = client
        .query(
            "SELECT saga, count(*) FILTER (WHERE NOT undone), count(*) FILTER (WHERE undone) \
                FROM journal GROUP BY saga",
            &[],
        )
        .expect("the journal");
    let journal: BTreeMap<String, (i64, i64)> = rows
        .iter()
        .map(|row| {
            let count = |at| row.get(at).expect("a number");
            (row.get(0).expect("a name"), (count(1), count(2)))
        })
        .collect();
    for (name, &told) in known {
        let (done, undone) = journal.get(name).copied().unwrap_or_default();
        let end = ends.get(name).map(String::as_str);
        let what =
            format!("kill {kill}: {name} {end:?}, told {told:?}: {done} done, {undone} undone");
        match end {
            Some("committed") => {
                assert!(told != Known::Undone && undone == 0 && done > 0, "{what}");
            }
            // One without a row was never begun.
            Some("compensated") | None => {
                assert!(told != Known::Committed && undone == done, "{what}");
            }
            _ => panic!("{what}"),
        }
    }
    let wrong = "SELECT count(*) FROM account a WHERE balance <> 1000 + (SELECT coalesce(sum( \
        CASE WHEN undone THEN -amount ELSE amount END), 0) FROM journal j WHERE j.account = a.id)";
    assert_eq!(
        number(&mut client, wrong),
        0,
        "kill {kill}: an account is not what its journal says"
    );
}

//! Values of sequences over crashes: none is given twice, and of one connection they rise.
//!
//! Clients draw values one by one, several in a statement, by inserts of many rows and in blocks that
//! are rolled back, until the server is killed under them. Whatever they were told is kept, from
//! life to life.

use crate::{connect, goes_on, number, start};
use phantomdb_client::blocking::Client;
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use test_support::{Random, seed, sleep};

const ARGUMENTS: [&str; 2] = ["--cores", "3"];
const CLIENTS: u64 = 6;
const LIFE_MS: std::ops::Range<u64> = 20..400;
/// A sequence that goes down, one with steps, and one of which sessions hold lots.
const SEQUENCES: [&str; 4] =
    ["up", "down INCREMENT -1 MINVALUE -1000000000", "steps INCREMENT 7", "lots CACHE 20"];

#[test]
fn kills_give_no_value_twice() {
    let kills = test_support::slice("PHANTOM_KILLS", 4, 30);
    let mut random = Random::new(seed());
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let server = start(&data_dir, &ARGUMENTS);
    let mut client = connect(&server);
    for sequence in SEQUENCES {
        client.run(&format!("CREATE SEQUENCE {sequence}")).expect("a sequence");
    }
    client.run("CREATE TABLE item (id bigserial PRIMARY KEY, v int)").expect("a table");
    drop(client);
    server.kill().expect("killed");
    let mut given: HashSet<(String, i64)> = HashSet::new();
    let enough = |given: &HashSet<(String, i64)>| given.len() as u64 > kills * CLIENTS;
    let mut kill = 1;
    while goes_on(kill, kills, || enough(&given)) {
        let life = LIFE_MS.start + random.below(LIFE_MS.end - LIFE_MS.start);
        let drawn = live_and_die(&data_dir, &mut random, Duration::from_millis(life));
        for value in drawn {
            assert!(!given.contains(&value), "{value:?} was given twice, again before kill {kill}");
            given.insert(value);
        }
        println!("kill {kill} after {life} ms: {} values so far", given.len());
        kill += 1;
    }
    assert!(enough(&given), "too few values: this shows nothing");
    let server = start(&data_dir, &ARGUMENTS);
    let row = connect(&server).query_one("SELECT count(*), count(DISTINCT id) FROM item", &[]);
    let row = row.expect("a row");
    assert_eq!(row.get::<i64>(0).expect("a count"), row.get::<i64>(1).expect("a count"));
    assert!(server.terminate().expect("it drains").success());
}

#[test]
fn a_node_that_is_stopped_in_good_order_skips_nothing() {
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let server = start(&data_dir, &ARGUMENTS);
    connect(&server).run("CREATE SEQUENCE s").expect("a sequence");
    assert!(server.terminate().expect("it drains").success());
    let mut expected = 0;
    for life in 1..=3 {
        let server = start(&data_dir, &ARGUMENTS);
        let mut client = connect(&server);
        for _ in 0..10 {
            expected += 1;
            assert_eq!(number(&mut client, "SELECT nextval('s')"), expected, "life {life}");
        }
        drop(client);
        assert!(server.terminate().expect("it drains").success());
    }
}

/// Draws until the server is killed; all values by the name of their sequence.
fn live_and_die(data_dir: &Path, random: &mut Random, life: Duration) -> Vec<(String, i64)> {
    let server = start(data_dir, &ARGUMENTS);
    let url = server.url();
    let dying = AtomicBool::new(false);
    let dying = &dying;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut random = Random::new(random.next_u64());
                let url = url.clone();
                scope.spawn(move || {
                    let mut drawn = Vec::new();
                    let mut client = match Client::connect(&url) {
                        Ok(client) => client,
                        // Killed before it let this one in.
                        Err(_) if dying.load(Ordering::Acquire) => return drawn,
                        Err(error) => panic!("connecting: {error}"),
                    };
                    while draw(&mut client, &mut random, &mut drawn).is_ok() {}
                    assert!(dying.load(Ordering::Acquire), "the connection broke before the kill");
                    require_rising(&drawn);
                    drawn
                })
            })
            .collect();
        sleep(life);
        dying.store(true, Ordering::Release);
        server.kill().expect("killed");
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    })
}

/// One statement that draws; an error when the server is gone.
fn draw(
    client: &mut Client,
    random: &mut Random,
    drawn: &mut Vec<(String, i64)>,
) -> Result<(), phantomdb_client::Error> {
    let count = 1 + random.below(50);
    let rolls_back = random.below(4) == 0;
    let (name, sql) = match random.below(5) {
        0 => (
            "item",
            format!("INSERT INTO item (v) SELECT 1 FROM generate_series(1, {count}) RETURNING id"),
        ),
        at => {
            let name = SEQUENCES[at as usize - 1].split(' ').next().unwrap_or_default();
            (name, format!("SELECT nextval('{name}') FROM generate_series(1, {count})"))
        }
    };
    if rolls_back {
        client.run("BEGIN")?;
    }
    let mut values = Vec::new();
    for row in client.query(sql.as_str(), &[])? {
        values.push(row.get::<i64>(0)?);
    }
    // Rows come from their partitions in any order.
    values.sort_by_key(|value| if name == "down" { -value } else { *value });
    drawn.extend(values.into_iter().map(|value| (name.to_owned(), value)));
    if rolls_back {
        client.run("ROLLBACK")?;
    }
    Ok(())
}

/// What one connection was told goes one way.
fn require_rising(drawn: &[(String, i64)]) {
    for sequence in
        SEQUENCES.map(|s| s.split(' ').next().unwrap_or_default()).into_iter().chain(["item"])
    {
        let values: Vec<i64> =
            drawn.iter().filter(|(name, _)| name == sequence).map(|(_, value)| *value).collect();
        let goes_on = |pair: &[i64]| match sequence {
            "down" => pair[1] < pair[0],
            _ => pair[1] > pair[0],
        };
        assert!(values.windows(2).all(goes_on), "values of {sequence} went back");
    }
}

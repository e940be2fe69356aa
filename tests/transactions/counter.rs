//! A row that everybody counts in: nobody fails, nothing is lost, and waiting costs little.

use crate::{is_measured, start};
use std::time::Duration;
use test_support::speaker::Speaker;
use test_support::{Server, Stopwatch, slice};

const CLIENTS: usize = 64;

/// What the hot row must reach of what as many rows do.
const RATIO_MIN: f64 = 0.5;

/// All clients count for some time, each in its row of `table`: what they did, a second.
fn count(server: &Server, level: &str, rows: usize, time: Duration) -> f64 {
    let mut control = Speaker::connect(server);
    control.query("DROP TABLE IF EXISTS counter");
    control.query("CREATE TABLE counter (id int PRIMARY KEY, n bigint)");
    control.query(&format!("INSERT INTO counter SELECT i, 0 FROM generate_series(1, {rows}) AS i"));
    let mut speakers: Vec<Speaker> = (0..CLIENTS).map(|_| Speaker::connect(server)).collect();
    for speaker in &mut speakers {
        assert_eq!(speaker.query(&format!("SET default_transaction_isolation = '{level}'")), "");
    }
    let since = Stopwatch::start();
    let done: Vec<u64> = std::thread::scope(|scope| {
        let counting = |(at, mut speaker): (usize, Speaker)| {
            let text = format!("UPDATE counter SET n = n + 1 WHERE id = {}", at % rows + 1);
            scope.spawn(move || {
                let mut done = 0;
                while since.elapsed() < time {
                    assert_eq!(speaker.query(&text), "", "{level}, {rows} rows");
                    done += 1;
                }
                done
            })
        };
        let running: Vec<_> = speakers.into_iter().enumerate().map(counting).collect();
        running.into_iter().map(|client| client.join().expect("a client that counts")).collect()
    });
    let took = since.elapsed();
    let total: u64 = done.iter().sum();
    assert_eq!(control.query("SELECT sum(n) FROM counter"), format!("{total};"), "{level}");
    assert!(done.iter().all(|done| *done > 0), "{level}, {rows} rows: somebody starves: {done:?}");
    total as f64 / took.as_secs_f64()
}

fn one_row_and_many(level: &str) {
    let time = Duration::from_millis(slice("PHANTOM_COUNTER_MS", 1_000, 20_000));
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), 2);
    let many = count(&server, level, CLIENTS, time);
    let one = count(&server, level, 1, time);
    let ratio = one / many;
    println!("{level}: {one:.0} a second in one row, {many:.0} in {CLIENTS}: {ratio:.2}");
    assert!(!is_measured() || ratio >= RATIO_MIN, "{level}: {one:.0} to {many:.0}");
}

#[test]
fn a_row_counted_in_by_all_loses_nothing_at_read_committed() {
    one_row_and_many("read committed");
}

#[test]
fn a_row_counted_in_by_all_loses_nothing_at_serializable() {
    one_row_and_many("serializable");
}

//! Transactions that wait for each other, also on several cores: one of them fails, soon.

use crate::speaker::Speaker;
use crate::start;
use std::time::Duration;
use test_support::Stopwatch;

/// Well below the ten seconds that a lock is waited for.
const SOON: Duration = Duration::from_secs(5);

fn change(id: u32) -> Vec<u8> {
    format!("UPDATE held SET v = v + 1 WHERE id = {id}\0").into_bytes()
}

#[test]
fn of_two_that_wait_for_each_other_the_younger_fails() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let (mut older, mut younger) = (Speaker::connect(&server), Speaker::connect(&server));
    older.query("CREATE TABLE held (id int PRIMARY KEY, v int)");
    older.query("INSERT INTO held SELECT i, 0 FROM generate_series(1, 8) AS i");
    let mut slow = 0;
    // Rows 1 to 8 lie on both cores: some pairs are on two.
    for other in 2..=8 {
        assert_eq!(older.query("BEGIN; UPDATE held SET v = 0 WHERE id = 1"), "");
        assert_eq!(younger.query(&format!("BEGIN; UPDATE held SET v = 0 WHERE id = {other}")), "");
        older.send('Q', &change(other));
        let since = Stopwatch::start();
        younger.send('Q', &change(1));
        assert_eq!(younger.results(), "40P01;", "rows 1 and {other}");
        slow += u32::from(since.elapsed() > Duration::from_millis(500));
        assert!(since.elapsed() < SOON, "rows 1 and {other}: {:?}", since.elapsed());
        assert_eq!(younger.query("ROLLBACK"), "");
        assert_eq!(older.results(), "");
        assert_eq!(older.query("COMMIT"), "");
    }
    assert!(slow > 0, "no pair of rows was on two cores");
}

#[test]
fn a_long_wait_without_a_circle_goes_on() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut holder = Speaker::connect(&server);
    holder.query("CREATE TABLE held (id int PRIMARY KEY, v int)");
    holder.query("INSERT INTO held SELECT i, 0 FROM generate_series(1, 8) AS i");
    assert_eq!(holder.query("BEGIN; UPDATE held SET v = v + 1"), "");
    let mut waiters: Vec<Speaker> = (1..=8).map(|_| Speaker::connect(&server)).collect();
    for (id, waiter) in (1..).zip(&mut waiters) {
        waiter.query("BEGIN");
        waiter.send('Q', &change(id));
    }
    test_support::sleep(Duration::from_millis(2_500));
    assert_eq!(holder.query("COMMIT"), "");
    for waiter in &mut waiters {
        assert_eq!(waiter.results(), "");
        assert_eq!(waiter.query("COMMIT"), "");
    }
    assert_eq!(holder.query("SELECT DISTINCT v FROM held"), "2;");
}

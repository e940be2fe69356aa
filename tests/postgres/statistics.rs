//! What has become of transactions, as `phantom.statistics` and `pg_stat_database` count it.

use crate::speaker::Speaker;
use crate::start;
use std::sync::Barrier;
use std::thread;
use tempfile::TempDir;
use test_support::Server;

/// A server of two cores, and a session that looks at what is counted of the database `shop`.
fn server() -> (TempDir, Server, Speaker) {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut watcher = Speaker::connect(&server);
    assert_eq!(watcher.query("CREATE DATABASE shop"), "");
    (data, server, watcher)
}

fn client(server: &Server) -> Speaker {
    Speaker::connect_to(server.pg_address(), "phantom", "shop")
}

/// Commits, rollbacks, retries, 40001, 40P01, 55P03.
fn counted(watcher: &mut Speaker) -> [u64; 6] {
    let sums = watcher.query(
        "SELECT sum(commits), sum(rollbacks), sum(retries), sum(serialization_failures), \
         sum(deadlocks), sum(lock_timeouts) FROM phantom.statistics WHERE database = 'shop'",
    );
    let numbers = sums.trim_end_matches(';').split('|').map(|sum| sum.parse().expect("a number"));
    numbers.collect::<Vec<u64>>().try_into().expect("six sums")
}

#[test]
fn what_becomes_of_transactions_is_counted() {
    let (_data, server, mut watcher) = server();
    let mut sessions = [client(&server), client(&server)];
    sessions[0].query("CREATE TABLE t (id int PRIMARY KEY, v int)");
    sessions[0].query("INSERT INTO t SELECT i, 0 FROM generate_series(1, 8) AS i");
    let mut before = counted(&mut watcher);
    assert_eq!(before, [2, 0, 0, 0, 0, 0]);
    let mut check = |watcher: &mut Speaker, what: &str, more: [u64; 6]| {
        let now = counted(watcher);
        let since: Vec<u64> = now.iter().zip(before).map(|(now, before)| now - before).collect();
        assert_eq!(since, more, "{what}");
        before = now;
    };
    let [one, other] = &mut sessions;
    one.query("SELECT count(*) FROM t");
    one.query("UPDATE t SET v = 1");
    one.query("SHOW lock_timeout");
    check(&mut watcher, "statements", [3, 0, 0, 0, 0, 0]);
    assert_eq!(one.query("SELECT 1 / 0 FROM t"), "22012;");
    check(&mut watcher, "a statement that fails", [0, 1, 0, 0, 0, 0]);
    one.query("BEGIN; UPDATE t SET v = 2; SELECT 1; COMMIT");
    check(&mut watcher, "a block", [1, 0, 0, 0, 0, 0]);
    one.query("UPDATE t SET v = 2; SELECT 1");
    check(&mut watcher, "a text", [1, 0, 0, 0, 0, 0]);
    one.query("BEGIN; UPDATE t SET v = 2; ROLLBACK");
    assert_eq!(one.query("BEGIN; UPDATE t SET v = 2; SELECT 1 / 0"), "22012;");
    one.query("ROLLBACK");
    assert_eq!(one.query("SELECT 1; SELECT 1 / 0"), "1;22012;");
    check(&mut watcher, "what is rolled back", [0, 3, 0, 0, 0, 0]);
    one.query("BEGIN; SAVEPOINT a");
    assert_eq!(one.query("SELECT 1 / 0"), "22012;");
    one.query("ROLLBACK TO a; COMMIT");
    check(&mut watcher, "a block that goes on", [1, 0, 0, 0, 0, 0]);

    // 55P03, 40001, and 40P01 of one of two blocks.
    one.query("BEGIN; UPDATE t SET v = 3 WHERE id = 1");
    assert_eq!(other.query("SET lock_timeout = '10ms'; UPDATE t SET v = 4"), "55P03;");
    one.query("COMMIT");
    check(&mut watcher, "a lock that is waited for too long", [1, 1, 0, 0, 0, 1]);
    other.query("SET lock_timeout = 0");
    one.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t");
    other.query("UPDATE t SET v = 5");
    assert_eq!(one.query("UPDATE t SET v = 6"), "40001;");
    one.query("ROLLBACK");
    check(&mut watcher, "a lost update", [2, 1, 0, 1, 0, 0]);
    let blocks =
        ["BEGIN; UPDATE t SET v = 7 WHERE id = 1", "BEGIN; UPDATE t SET v = 7 WHERE id = 2"];
    one.query(blocks[0]);
    other.query(blocks[1]);
    one.send('Q', b"UPDATE t SET v = 8 WHERE id = 2; COMMIT\0");
    assert_eq!(other.query("UPDATE t SET v = 8 WHERE id = 1"), "40P01;");
    assert_eq!(one.results(), "");
    other.query("ROLLBACK");
    check(&mut watcher, "a deadlock", [1, 1, 0, 0, 1, 0]);

    // Whoever hangs up has its transaction rolled back.
    let mut third = client(&server);
    third.query("BEGIN; UPDATE t SET v = 9");
    third.vanish();
    one.query("UPDATE t SET v = 10");
    check(&mut watcher, "a client that is gone", [1, 1, 0, 0, 0, 0]);

    // PostgreSQL's own table has the same, summed over the cores.
    let [commits, rollbacks, _, _, deadlocks, _] = counted(&mut watcher);
    let shown = watcher.query(
        "SELECT datid = (SELECT oid FROM pg_database WHERE datname = 'shop'), numbackends, \
         xact_commit, xact_rollback, deadlocks FROM pg_stat_database WHERE datname = 'shop'",
    );
    assert_eq!(shown, format!("t|2|{commits}|{rollbacks}|{deadlocks};"));
    watcher.query("DROP DATABASE IF EXISTS nowhere");
    let databases = "SELECT count(*) FROM pg_stat_database WHERE xact_commit > 0";
    assert_eq!(watcher.query(databases), "2;");
}

#[test]
fn statements_that_are_run_again_are_counted_and_no_client_hears_of_them() {
    let (_data, server, mut watcher) = server();
    let mut control = client(&server);
    control.query("CREATE TABLE t (id int PRIMARY KEY, v int)");
    control.query("INSERT INTO t SELECT i, 0 FROM generate_series(1, 64) AS i");
    let together = Barrier::new(2);
    let mut rounds = 0;
    // Two who take the same rows in opposite orders meet in the middle sooner or later.
    while counted(&mut watcher)[2] == 0 {
        rounds += 1;
        assert!(rounds < 200, "no statement was run again");
        thread::scope(|scope| {
            for order in ["ASC", "DESC"] {
                let (together, mut speaker) = (&together, client(&server));
                scope.spawn(move || {
                    let text = format!(
                        "UPDATE t SET v = v + 1 WHERE id IN (SELECT id FROM t ORDER BY id {order} FOR UPDATE)"
                    );
                    together.wait();
                    for _ in 0..4 {
                        assert_eq!(speaker.query(&text), "");
                    }
                });
            }
        });
    }
    let [_, rollbacks, retries, failures, deadlocks, _] = counted(&mut watcher);
    assert_eq!((rollbacks, retries), (0, failures + deadlocks));
    let sum = control.query("SELECT sum(v) FROM t");
    assert_eq!(sum, format!("{};", rounds * 2 * 4 * 64));
}

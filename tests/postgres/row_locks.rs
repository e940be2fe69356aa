//! `SELECT ... FOR UPDATE` and its kin among several clients, and how long a lock is waited for.

use crate::speaker::{Message, Speaker, bind, execute, parse, sync};
use crate::start;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use test_support::{Server, Stopwatch};

/// Clients that work a queue off.
const WORKERS: usize = 8;
/// Jobs in the queue.
const JOBS: usize = 400;
/// What is waited for takes at least so long to come.
const A_WHILE: Duration = Duration::from_millis(300);
/// Well below the ten seconds that a lock is waited for.
const SOON: Duration = Duration::from_secs(5);

/// A server of two cores with a table of eight rows, on both of them.
fn server() -> (TempDir, Server) {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut speaker = Speaker::connect(&server);
    speaker.query("CREATE TABLE t (id int PRIMARY KEY, v int)");
    speaker.query("INSERT INTO t SELECT i, i * 10 FROM generate_series(1, 8) AS i");
    (data, server)
}

fn ask(speaker: &mut Speaker, text: &str) {
    speaker.send('Q', format!("{text}\0").as_bytes());
}

/// The only error of an answer.
fn error_of(speaker: &mut Speaker, text: &str) -> Message {
    ask(speaker, text);
    let mut errors: Vec<Message> =
        speaker.answer().into_iter().filter(|message| message.kind == 'E').collect();
    assert_eq!(errors.len(), 1, "{text}");
    errors.remove(0)
}

/// Works a queue off with `take`, which answers the job that it took: which jobs each worker did.
fn work_off(server: &Server, take: &str) -> Vec<Vec<usize>> {
    let worker = || {
        let mut speaker = Speaker::connect(server);
        let mut done = Vec::new();
        loop {
            let taken = speaker.query(take);
            let Some(job) = taken.strip_suffix(';') else {
                assert_eq!(taken, "");
                return done;
            };
            let job = job.parse().ok().filter(|job| (1..=JOBS).contains(job));
            done.push(job.unwrap_or_else(|| panic!("no job: {taken}")));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).collect()
    })
}

fn check_queue(take: &str) {
    let (_data, server) = server();
    let mut speaker = Speaker::connect(&server);
    speaker.query("CREATE TABLE job (id int PRIMARY KEY, state text)");
    let fill = format!("INSERT INTO job SELECT i, 'new' FROM generate_series(1, {JOBS}) AS i");
    speaker.query(&fill);
    let done = work_off(&server, take);
    for (worker, jobs) in done.iter().enumerate() {
        assert!(jobs.len() > JOBS / WORKERS / 8, "worker {worker} had {} jobs", jobs.len());
    }
    let all: Vec<usize> = done.into_iter().flatten().collect();
    assert_eq!(all.len(), JOBS, "a job was done twice, or left");
    assert_eq!(all.iter().copied().collect::<BTreeSet<_>>().len(), JOBS);
}

#[test]
fn a_queue_of_rows_that_are_deleted_is_worked_off_once() {
    check_queue(
        "DELETE FROM job WHERE id = (SELECT id FROM job ORDER BY id LIMIT 1 \
         FOR UPDATE SKIP LOCKED) RETURNING id",
    );
}

#[test]
fn a_queue_of_rows_that_are_marked_is_worked_off_once() {
    check_queue(
        "UPDATE job SET state = 'done' WHERE id = (SELECT id FROM job WHERE state = 'new' \
         FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING id",
    );
}

#[test]
fn a_job_is_kept_while_its_transaction_works_on_it() {
    let (_data, server) = server();
    let take = "SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
    let mut workers: Vec<Speaker> = (0..4).map(|_| Speaker::connect(&server)).collect();
    for (id, worker) in (1..).zip(&mut workers) {
        assert_eq!(worker.query(&format!("BEGIN; {take}")), format!("{id};"));
    }
    // One gives its job back, one is done with it, one vanishes.
    assert_eq!(workers[1].query("ROLLBACK"), "");
    assert_eq!(workers[1].query(take), "2;");
    assert_eq!(workers[0].query("DELETE FROM t WHERE id = 1; COMMIT"), "");
    assert_eq!(workers[0].query(take), "2;");
    workers.remove(3).vanish();
    let since = Stopwatch::start();
    while workers[0].query("SELECT id FROM t WHERE id = 4 FOR UPDATE SKIP LOCKED") != "4;" {
        assert!(since.elapsed() < SOON, "the lock of one who is gone stays");
    }
}

#[test]
fn shared_locks_keep_writers_waiting_and_no_readers() {
    let (_data, server) = server();
    let (mut holder, mut writer) = (Speaker::connect(&server), Speaker::connect(&server));
    for clause in ["FOR SHARE", "FOR KEY SHARE", "FOR UPDATE", "FOR NO KEY UPDATE"] {
        holder.query(&format!("BEGIN; SELECT * FROM t {clause}"));
        assert_eq!(writer.query("SELECT count(*) FROM t"), "8;");
        assert_eq!(writer.query("SELECT v FROM t WHERE id = 5"), "50;");
        let since = Stopwatch::start();
        ask(&mut writer, "UPDATE t SET v = v + 0 WHERE id = 5 RETURNING v");
        test_support::sleep(A_WHILE);
        assert_eq!(holder.query("COMMIT"), "");
        assert_eq!(writer.results(), "50;", "{clause}");
        assert!(since.elapsed() >= A_WHILE, "{clause}");
    }
}

#[test]
fn a_row_that_was_changed_while_it_was_waited_for_is_read_again() {
    let (_data, server) = server();
    let (mut holder, mut reader) = (Speaker::connect(&server), Speaker::connect(&server));
    let read = "SELECT id, v FROM t WHERE v >= 20 AND id < 5 ORDER BY id FOR UPDATE";
    for reader_begins in ["", "BEGIN; "] {
        holder.query("UPDATE t SET v = id * 10");
        // One changes, one comes to be among them, one goes.
        let changes = "UPDATE t SET v = 21 WHERE id = 2; UPDATE t SET v = 22 WHERE id = 1; \
                       UPDATE t SET v = 0 WHERE id = 3";
        assert_eq!(holder.query(&format!("BEGIN; {changes}")), "");
        ask(&mut reader, &format!("{reader_begins}{read}"));
        test_support::sleep(A_WHILE);
        assert_eq!(holder.query("COMMIT"), "");
        assert_eq!(reader.results(), "1|22;2|21;4|40;");
        reader.query("ROLLBACK");
    }
    // One that is deleted is not there.
    assert_eq!(holder.query("BEGIN; DELETE FROM t WHERE id = 4"), "");
    ask(&mut reader, read);
    test_support::sleep(A_WHILE);
    assert_eq!(holder.query("COMMIT"), "");
    assert_eq!(reader.results(), "1|22;2|21;");
    // And one whose change was taken back is what it was.
    assert_eq!(holder.query("BEGIN; DELETE FROM t WHERE id = 2"), "");
    ask(&mut reader, read);
    test_support::sleep(A_WHILE);
    assert_eq!(holder.query("ROLLBACK"), "");
    assert_eq!(reader.results(), "1|22;2|21;");
}

#[test]
fn what_was_locked_is_then_changed_and_nothing_is_lost() {
    let (_data, server) = server();
    let count = || {
        let mut speaker = Speaker::connect(&server);
        for _ in 0..50 {
            let read = speaker.query("BEGIN; SELECT v FROM t WHERE id = 1 FOR UPDATE");
            let value: u32 = read.trim_end_matches(';').parse().expect("a number");
            let write = format!("UPDATE t SET v = {} WHERE id = 1; COMMIT", value + 1);
            assert_eq!(speaker.query(&write), "");
        }
    };
    thread::scope(|scope| {
        (0..WORKERS).for_each(|_| drop(scope.spawn(count)));
    });
    let total = format!("{};", 10 + 50 * WORKERS);
    assert_eq!(Speaker::connect(&server).query("SELECT v FROM t WHERE id = 1"), total);
}

#[test]
fn those_who_lock_several_rows_in_one_order_never_meet_in_a_circle() {
    let (_data, server) = server();
    let lock = |text: &'static str| {
        let server = &server;
        move || {
            let mut speaker = Speaker::connect(server);
            for _ in 0..30 {
                let rows = speaker.query(text);
                assert_eq!(rows.matches(';').count(), 8, "{text}: {rows}");
            }
        }
    };
    for text in ["SELECT id FROM t FOR UPDATE", "SELECT id FROM t ORDER BY id FOR UPDATE"] {
        thread::scope(|scope| {
            (0..WORKERS).for_each(|_| drop(scope.spawn(lock(text))));
        });
    }
}

#[test]
fn a_lock_is_waited_for_as_long_as_the_session_says() {
    let (_data, server) = server();
    let (mut holder, mut other) = (Speaker::connect(&server), Speaker::connect(&server));
    holder.query("CREATE TABLE child (id int PRIMARY KEY, t_id int REFERENCES t (id))");
    holder.query("CREATE TABLE named (id int PRIMARY KEY, name text UNIQUE)");
    holder.query("BEGIN; SELECT * FROM t FOR UPDATE; INSERT INTO named VALUES (1, 'x')");
    other.query("SET lock_timeout = '200ms'");
    let waiting = [
        "SELECT * FROM t WHERE id = 2 FOR SHARE",
        "UPDATE t SET v = 0 WHERE id = 2",
        "DELETE FROM t",
        "INSERT INTO t VALUES (2, 0)",
        // A reference, and a name that another may be about to take.
        "INSERT INTO child VALUES (1, 2)",
        "INSERT INTO named VALUES (2, 'x')",
    ];
    for text in waiting {
        let since = Stopwatch::start();
        let error = error_of(&mut other, text);
        assert_eq!(error.field('C').as_deref(), Some("55P03"), "{text}");
        let message = error.field('M').expect("a message");
        assert_eq!(message, "canceling statement due to lock timeout", "{text}");
        let took = since.elapsed();
        assert!(took >= Duration::from_millis(200) && took < SOON, "{text}: {took:?}");
    }
    let error = error_of(&mut other, "SELECT * FROM t WHERE id = 2 FOR UPDATE NOWAIT");
    let message = error.field('M').expect("a message");
    assert_eq!(message, "could not obtain lock on row in relation \"t\"");
    // The transaction has failed, and no longer waits for anything.
    assert_eq!(other.query("BEGIN; SELECT * FROM t WHERE id = 2 FOR UPDATE"), "55P03;");
    assert_eq!(other.query("SELECT 1"), "25P02;");
    assert_eq!(other.query("ROLLBACK"), "");
    assert_eq!(other.query("SHOW lock_timeout"), "200ms;");
    // 0: as long as the node says, which here is longer than the other holds on.
    other.query("SET lock_timeout = 0");
    ask(&mut other, "SELECT v FROM t WHERE id = 2 FOR SHARE");
    test_support::sleep(A_WHILE);
    assert_eq!(holder.query("ROLLBACK"), "");
    assert_eq!(other.results(), "20;");
}

#[test]
fn rows_locked_through_a_portal_stay_locked_until_the_transaction_ends() {
    let (_data, server) = server();
    let (mut holder, mut other) = (Speaker::connect(&server), Speaker::connect(&server));
    let mut request = parse("", "SELECT id FROM t WHERE id < $1 ORDER BY id FOR UPDATE");
    request.extend(bind("", "", &["4"]));
    request.extend(execute("", 2));
    request.extend(execute("", 2));
    holder.query("BEGIN");
    request.extend(sync());
    holder.bytes(&request);
    let answer = holder.answer();
    let rows: Vec<_> = answer.iter().filter(|m| m.kind == 'D').flat_map(Message::row).collect();
    assert_eq!(rows, ["1", "2", "3"].map(|id| Some(id.to_owned())));
    assert!(answer.iter().any(|message| message.kind == 's'), "{answer:?}");
    let free = "SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
    assert_eq!(other.query(free), "4;");
    assert_eq!(holder.query("COMMIT"), "");
    assert_eq!(other.query(free), "1;");
}

#[test]
fn locks_over_all_partitions_go_with_a_commit_that_changed_one() {
    let (_data, server) = server();
    let (mut holder, mut other) = (Speaker::connect(&server), Speaker::connect(&server));
    for ending in ["COMMIT", "ROLLBACK"] {
        holder.query("BEGIN; SELECT * FROM t FOR UPDATE; UPDATE t SET v = v + 1 WHERE id = 3");
        assert_eq!(other.query("SELECT id FROM t FOR SHARE SKIP LOCKED"), "");
        assert_eq!(holder.query(ending), "");
        other.query("SET lock_timeout = '5s'");
        let ids: usize = other.query("SELECT id FROM t FOR UPDATE").matches(';').count();
        assert_eq!(ids, 8, "{ending}");
    }
    assert_eq!(other.query("SELECT v FROM t WHERE id = 3"), "31;");
}

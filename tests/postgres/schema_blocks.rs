//! Changes of the schema in transaction blocks that are broken off: the client vanishes, is ended or
//! cancelled, the server is killed.

use crate::start;
use std::thread;
use std::time::Duration;
use test_support::speaker::{Speaker, bind, execute, parse, sync};
use test_support::{Server, sleep};

const BLOCK: &str = "BEGIN; CREATE TABLE fresh (id int PRIMARY KEY); INSERT INTO fresh VALUES (1); \
                     ALTER TABLE held ADD COLUMN w int DEFAULT 5; CREATE INDEX ON held (v); \
                     UPDATE held SET v = 1 WHERE id = 3; TRUNCATE other; DROP VIEW shown";

fn with_tables(test: impl FnOnce(&Server)) {
    let data = tempfile::tempdir().expect("a data directory");
    let mut server = start(&data.path().join("data"), &["--cores", "4"]);
    set_up(&server);
    test(&server);
    assert!(server.is_running() && !server.log().contains("panick"), "{}", server.log());
}

fn set_up(server: &Server) {
    let mut speaker = Speaker::connect(server);
    let text = "CREATE TABLE held (id int PRIMARY KEY, v int); \
                INSERT INTO held SELECT i, 0 FROM generate_series(1, 16) AS i; \
                CREATE TABLE other (id int); INSERT INTO other VALUES (1), (2); \
                CREATE VIEW shown AS SELECT count(*) AS c FROM other";
    assert_eq!(speaker.query(text), "");
}

fn send(speaker: &mut Speaker, text: &str) {
    speaker.send('Q', format!("{text}\0").as_bytes());
}

/// Everything is as before the block, and others can do the same.
fn check_undone(speaker: &mut Speaker) {
    assert_eq!(speaker.query("SELECT * FROM fresh"), "42P01;");
    assert_eq!(speaker.query("SELECT * FROM held WHERE id = 3"), "3|0;");
    assert_eq!(speaker.query("SELECT count(*), sum(v) FROM held"), "16|0;");
    assert_eq!(speaker.query("SELECT * FROM shown"), "2;");
    let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'held'";
    assert_eq!(speaker.query(indexes), "1;");
    assert_eq!(speaker.query(BLOCK), "");
    assert_eq!(speaker.query("SELECT w FROM held WHERE v = 1; SELECT * FROM other"), "5;");
    assert_eq!(speaker.query("ROLLBACK"), "");
}

#[test]
fn a_client_that_vanishes_takes_its_changes_with_it() {
    with_tables(|server| {
        let mut other = Speaker::connect(server);
        let mut block = Speaker::connect(server);
        assert_eq!(block.query(BLOCK), "");
        block.vanish();
        check_undone(&mut other);
        // In the middle of a statement that waits for others.
        assert_eq!(other.query("BEGIN; SELECT v FROM held WHERE id = 1"), "0;");
        let mut block = Speaker::connect(server);
        send(&mut block, BLOCK);
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'relation'";
        Speaker::connect(server).until(waits, "1;");
        block.vanish();
        Speaker::connect(server).until(waits, "0;");
        assert_eq!(other.query("UPDATE held SET v = 0; COMMIT"), "");
        check_undone(&mut other);
    });
}

#[test]
fn a_session_that_is_ended_takes_its_changes_with_it() {
    with_tables(|server| {
        let mut other = Speaker::connect(server);
        let mut block = Speaker::connect(server);
        let process = block.process();
        assert_eq!(block.query(BLOCK), "");
        assert_eq!(other.query(&format!("SELECT pg_terminate_backend({process})")), "t;");
        check_undone(&mut other);
        let mut block = Speaker::connect(server);
        assert_eq!(block.query("SET idle_in_transaction_session_timeout = '50ms'"), "");
        assert_eq!(block.query(BLOCK), "");
        check_undone(&mut other);
    });
}

/// One that waits for the turn, or for those in its tables, is cancelled, and its block goes on from
/// a savepoint.
#[test]
fn a_change_that_waits_can_be_cancelled() {
    with_tables(|server| {
        let (mut first, mut second) = (Speaker::connect(server), Speaker::connect(server));
        let mut watcher = Speaker::connect(server);
        let process = second.process();
        let cancel = |watcher: &mut Speaker| {
            let waits = format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {process}");
            watcher.until(&waits, "relation;");
            assert_eq!(watcher.query(&format!("SELECT pg_cancel_backend({process})")), "t;");
        };
        // For the turn.
        assert_eq!(first.query("BEGIN; CREATE TABLE fresh (id int)"), "");
        assert_eq!(second.query("BEGIN; INSERT INTO other VALUES (3); SAVEPOINT a"), "");
        send(&mut second, "CREATE TABLE of_second (id int)");
        cancel(&mut watcher);
        assert_eq!(second.results(), "57014;");
        assert_eq!(first.query("CREATE TABLE fresh_too (id int); COMMIT"), "");
        assert_eq!(second.query("ROLLBACK TO a; CREATE TABLE of_second (id int)"), "");
        assert_eq!(second.query("SAVEPOINT b"), "");
        // For those in the table.
        assert_eq!(first.query("BEGIN; SELECT v FROM held WHERE id = 1"), "0;");
        send(&mut second, "ALTER TABLE held ADD COLUMN w int");
        cancel(&mut watcher);
        assert_eq!(second.results(), "57014;");
        // The table is free at once.
        assert_eq!(watcher.query("SELECT count(*) FROM held"), "16;");
        assert_eq!(first.query("UPDATE held SET v = 7 WHERE id = 1; COMMIT"), "");
        assert_eq!(second.query("ROLLBACK TO b; ALTER TABLE held ADD COLUMN w int"), "");
        assert_eq!(second.query("SELECT * FROM held WHERE id = 1; COMMIT"), "1|7|~;");
        assert_eq!(watcher.query("SELECT count(*) FROM of_second, other"), "0;");
        assert_eq!(watcher.query("SELECT count(*) FROM other"), "3;");
    });
}

/// One that is not in a block is cancelled, too, where it is long.
#[test]
fn a_change_that_takes_long_can_be_cancelled() {
    with_tables(|server| {
        let mut speaker = Speaker::connect(server);
        let rows = "INSERT INTO held SELECT i, i % 100 FROM generate_series(17, 20000) AS i";
        assert_eq!(speaker.query(rows), "");
        assert_eq!(speaker.query("SET statement_timeout = '2ms'"), "");
        assert_eq!(speaker.query("CREATE INDEX slow ON held (v)"), "57014;");
        assert_eq!(speaker.query("RESET statement_timeout"), "");
        let mut other = Speaker::connect(server);
        assert_eq!(other.query("SELECT count(*) FROM held WHERE v = 5"), "199;");
        assert_eq!(other.query("CREATE INDEX slow ON held (v)"), "");
        assert_eq!(other.query("SELECT count(*) FROM held WHERE v = 5"), "199;");
    });
}

/// What stands before a `Sync` is one transaction, changes of the schema among it.
#[test]
fn a_pipeline_is_one_transaction() {
    with_tables(|server| {
        let mut speaker = Speaker::connect(server);
        let pipeline = |texts: &[&str]| {
            let mut bytes = Vec::new();
            for text in texts {
                bytes.extend(parse("", text));
                bytes.extend(bind("", "", &[]));
                bytes.extend(execute("", 0));
            }
            bytes.extend(sync());
            bytes
        };
        let create = "CREATE TABLE piped (id int)";
        let insert = "INSERT INTO piped VALUES (1), (2)";
        speaker.bytes(&pipeline(&[create, insert, "SELECT 1 / 0"]));
        assert_eq!(speaker.results(), "22012;");
        assert_eq!(speaker.query("SELECT * FROM piped"), "42P01;");
        speaker.bytes(&pipeline(&[create, insert, "CREATE INDEX ON piped (id)"]));
        assert_eq!(speaker.results(), "");
        assert_eq!(speaker.query("SELECT id FROM piped ORDER BY id"), "1;2;");
        speaker.bytes(&pipeline(&["CREATE DATABASE of_pipe"]));
        assert_eq!(speaker.results(), "");
        speaker.bytes(&pipeline(&[insert, "CREATE DATABASE of_pipe_too"]));
        assert_eq!(speaker.results(), "25001;");
        assert_eq!(speaker.query("SELECT count(*) FROM piped"), "2;");
    });
}

/// Many blocks at once, in each other's tables, commit or do not; nobody waits for ever.
#[test]
fn many_blocks_at_once_come_to_their_end() {
    with_tables(|server| {
        let kept: usize = thread::scope(|scope| {
            let workers: Vec<_> =
                (0..6).map(|worker| scope.spawn(move || work_in_blocks(server, worker))).collect();
            workers.into_iter().map(|worker| worker.join().expect("no panic")).sum()
        });
        assert!(kept > 0);
        let mut speaker = Speaker::connect(server);
        let tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 't\\_%'";
        assert_eq!(speaker.query(tables), format!("{kept};"));
        assert_eq!(speaker.query("SELECT sum(v) FROM held"), format!("{kept};"));
    });
}

/// How many blocks have committed.
fn work_in_blocks(server: &Server, worker: usize) -> usize {
    let mut speaker = Speaker::connect(server);
    let mut kept = 0;
    for round in 0..12 {
        let name = format!("t_{worker}_{round}");
        let end = if round % 3 == 2 { "ROLLBACK" } else { "COMMIT" };
        let answer = speaker.query(&format!(
            "BEGIN; UPDATE held SET v = v + 1 WHERE id = {worker} + 1; \
             CREATE TABLE {name} AS SELECT id FROM held; \
             ALTER TABLE held ALTER COLUMN v SET DEFAULT {round}; \
             CREATE INDEX ON {name} (id); {end}"
        ));
        assert_eq!(speaker.query("ROLLBACK"), "");
        match answer.as_str() {
            "" => kept += usize::from(end == "COMMIT"),
            "40P01;" | "40001;" => {}
            other => panic!("{name}: {other}"),
        }
        if round % 5 == 4 {
            sleep(Duration::from_millis(3));
        }
    }
    kept
}

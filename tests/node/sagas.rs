//! Sagas, as their clients see them: parameters, bounds, sessions that vanish, and what a
//! transaction says of its commit.

use super::*;
use std::time::Duration;

const TABLES: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text); \
                      CREATE TABLE undone (id bigint PRIMARY KEY, v text)";

/// Waits until a query gives 1.
fn until(client: &mut Client, text: &str) {
    for _ in 0..1_000 {
        if number(client, text) == 1 {
            return;
        }
        test_support::sleep(Duration::from_millis(10));
    }
    let sagas = client.run("SELECT * FROM phantom.sagas").map(|outcomes| outcomes[0].rows.clone());
    panic!("{text}: {sagas:?}");
}

#[test]
fn a_step_and_its_compensation_share_their_parameters() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 2);
    let mut client = connect(&node);
    tags(&mut client, TABLES);
    let step = client
        .prepare("STEP INSERT INTO t VALUES ($1, $2) COMPENSATE INSERT INTO undone VALUES ($1, $3)")
        .unwrap();
    assert_eq!(tags(&mut client, "BEGIN SAGA"), ["BEGIN SAGA"]);
    assert_eq!(client.transaction(), TransactionStatus::Open);
    assert_eq!(client.execute(&step, &params![1_i64, "one", "back"]).unwrap(), 1);
    assert_eq!(client.execute(&step, &params![2_i64, "two", None::<&str>]).unwrap(), 1);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE v IN ('one', 'two')"), 2);
    assert_eq!(state(&mut client, "SELECT 1/0"), SqlState::DIVISION_BY_ZERO);
    assert_eq!(client.transaction(), TransactionStatus::Failed);
    assert_eq!(tags(&mut client, "COMMIT"), ["ROLLBACK"]);
    assert_eq!(client.transaction(), TransactionStatus::Idle);
    let back = "SELECT count(*) FROM undone WHERE id = 1 AND v = 'back' OR id = 2 AND v IS NULL";
    assert_eq!(number(&mut client, back), 2);
    node.stop().unwrap();
}

#[test]
fn a_saga_that_loses_its_session_is_compensated() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 3);
    let mut watcher = connect(&node);
    tags(&mut watcher, TABLES);
    let step = "STEP INSERT INTO t VALUES (1, 'x') COMPENSATE DELETE FROM t WHERE id = 1";
    let mut lost = connect(&node);
    tags(&mut lost, &format!("BEGIN SAGA lost; {step}"));
    drop(lost);
    let compensated = |name: &str| {
        format!(
            "SELECT count(*) FROM phantom.sagas WHERE name = '{name}' AND state = 'compensated'"
        )
    };
    until(&mut watcher, &compensated("lost"));
    assert_eq!(number(&mut watcher, "SELECT count(*) FROM t"), 0);

    // One is ended by another session, in the middle of a step that waits for a lock.
    let mut ended = connect(&node);
    tags(&mut watcher, "BEGIN; INSERT INTO t VALUES (1, 'y')");
    tags(&mut ended, "BEGIN SAGA ended");
    let mut killer = connect(&node);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ended.run(step).map(|_| ()));
        let waits = "pg_stat_activity WHERE wait_event_type = 'Lock'";
        until(&mut killer, &format!("SELECT count(*) FROM {waits}"));
        killer.run(&format!("SELECT pg_terminate_backend(pid) FROM {waits}")).unwrap();
        waiting.join().unwrap().expect_err("the session is ended");
    });
    until(&mut killer, &compensated("ended"));
    tags(&mut watcher, "COMMIT");
    assert_eq!(number(&mut watcher, "SELECT count(*) FROM t WHERE v = 'y'"), 1);

    // One is open when the node stops.
    let mut open = connect(&node);
    tags(&mut watcher, "DELETE FROM t");
    tags(&mut open, &format!("BEGIN SAGA open; {step}"));
    drop((watcher, killer));
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| node.stop());
        // Gone before or after the node has begun to stop.
        drop(open);
        stopping.join().unwrap().unwrap();
    });
    let node = start(directory.path(), 2);
    let mut client = connect(&node);
    until(&mut client, &compensated("open"));
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 0);
    node.stop().unwrap();
}

#[test]
fn sagas_have_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 1);
    let mut client = connect(&node);
    tags(&mut client, TABLES);
    let step = client
        .prepare("STEP INSERT INTO t VALUES ($1, 'x') COMPENSATE DELETE FROM t WHERE id = $1")
        .unwrap();
    tags(&mut client, "BEGIN SAGA");
    for id in 0..1_000_i64 {
        client.execute(&step, &params![id]).unwrap();
    }
    let error = client.execute(&step, &params![1_000_i64]).unwrap_err();
    assert_eq!(error.state(), Some(SqlState::PROGRAM_LIMIT_EXCEEDED), "{error}");
    tags(&mut client, "ROLLBACK");
    until(&mut client, "SELECT count(*) FROM phantom.sagas WHERE compensated = 1000");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 0);

    tags(&mut client, "BEGIN SAGA");
    let long = "x".repeat(300_000);
    let step = |id: i64| {
        format!(
            "STEP INSERT INTO t VALUES ({id}, 'x') COMPENSATE DELETE FROM t WHERE v = '{long}' OR id = {id}"
        )
    };
    for id in 1..=3 {
        tags(&mut client, &step(id));
    }
    assert_eq!(state(&mut client, &step(4)), SqlState::PROGRAM_LIMIT_EXCEEDED);
    tags(&mut client, "ROLLBACK");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 0);

    let mut many: Vec<Client> = (0..20).map(|_| connect(&node)).collect();
    many.iter_mut().for_each(|client| drop(tags(client, "BEGIN SAGA")));
    drop(many);
    let open = "SELECT (count(*) = 0)::int FROM phantom.sagas WHERE state <> 'compensated'";
    until(&mut client, open);
    node.stop().unwrap();
}

#[test]
fn a_transaction_tells_how_it_commits_where_it_is_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 2);
    let mut client = connect(&node);
    tags(&mut client, TABLES);
    let mut committed = |begin: &str, work: &str| {
        tags(&mut client, begin);
        tags(&mut client, work);
        let outcomes = client.run("COMMIT").unwrap();
        let notices =
            outcomes[0].notices.iter().map(|notice| notice.error.fields().message.clone());
        notices.map(|message| message.to_string()).collect::<Vec<_>>()
    };
    let many = "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 50) g; DELETE FROM t";
    assert_eq!(
        committed("BEGIN WITH (commit = 'auto')", many),
        ["the transaction has committed in two phases"]
    );
    assert_eq!(
        committed(
            "START TRANSACTION READ WRITE WITH (commit = two_phase)",
            "INSERT INTO t VALUES (1)"
        ),
        ["the transaction has committed in one phase"]
    );
    assert_eq!(
        committed("BEGIN WITH (commit = 'auto')", "SHOW transaction_commit"),
        ["the transaction has committed without a partition"]
    );
    assert_eq!(committed("BEGIN", "DELETE FROM t"), [""; 0], "nobody asked");

    tags(&mut client, "BEGIN WITH (commit = 'two_phase'); DELETE FROM t WHERE id = 1");
    let plan = client.run("EXPLAIN SELECT 1").unwrap();
    let last: String = plan[0].rows.last().unwrap().get(0).unwrap();
    assert!(last.starts_with("Commit: two_phase, so far "), "{last}");
    tags(&mut client, "ROLLBACK");
    assert_eq!(tags(&mut client, "BEGIN WITH (commit = 'saga')"), ["BEGIN SAGA"]);
    let plan = client.run("EXPLAIN SELECT 1").unwrap();
    let last: String = plan[0].rows.last().unwrap().get(0).unwrap();
    assert_eq!(last, "Commit: saga, each step by itself.");
    assert_eq!(tags(&mut client, "COMMIT"), ["COMMIT"]);
    assert_eq!(
        state(&mut client, "BEGIN READ ONLY WITH (commit = 'saga')"),
        SqlState::SYNTAX_ERROR
    );
    assert_eq!(state(&mut client, "BEGIN WITH (commit = 'luck')"), SqlState::SYNTAX_ERROR);
    node.stop().unwrap();
}

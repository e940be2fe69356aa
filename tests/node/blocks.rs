//! Transaction blocks, prepared statements and settings, as a client sees them.

use super::*;
use std::time::Duration;

struct Shop {
    _directory: tempfile::TempDir,
    node: Running,
}

fn shop() -> Shop {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 2);
    connect(&node).run("CREATE TABLE t (a int PRIMARY KEY, b text)").unwrap();
    Shop { _directory: directory, node }
}

#[test]
fn a_block_is_seen_by_others_when_it_commits_and_never_when_it_fails() {
    let shop = shop();
    let (mut one, mut two) = (connect(&shop.node), connect(&shop.node));
    assert_eq!(tags(&mut one, "BEGIN"), ["BEGIN"]);
    assert_eq!(one.transaction(), TransactionStatus::Open);
    tags(&mut one, "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')");
    assert_eq!(number(&mut one, "SELECT count(*) FROM t"), 3);
    assert_eq!(number(&mut two, "SELECT count(*) FROM t"), 0);
    assert_eq!(tags(&mut one, "COMMIT"), ["COMMIT"]);
    assert_eq!(one.transaction(), TransactionStatus::Idle);
    assert_eq!(number(&mut two, "SELECT count(*) FROM t"), 3);

    tags(&mut one, "BEGIN; DELETE FROM t");
    assert_eq!(state(&mut one, "SELECT 1/0"), SqlState::DIVISION_BY_ZERO);
    assert_eq!(one.transaction(), TransactionStatus::Failed);
    assert_eq!(state(&mut one, "SELECT 1"), SqlState::IN_FAILED_SQL_TRANSACTION);
    assert_eq!(state(&mut one, "SELECT nothing FROM nowhere"), SqlState::IN_FAILED_SQL_TRANSACTION);
    // What the block had locked is free already.
    assert_eq!(tags(&mut two, "UPDATE t SET b = 'w' WHERE a = 1"), ["UPDATE 1"]);
    assert_eq!(tags(&mut one, "COMMIT"), ["ROLLBACK"], "a failed block cannot commit");
    assert_eq!(number(&mut one, "SELECT count(*) FROM t"), 3);
    shop.node.stop().unwrap();
}

#[test]
fn one_text_is_one_transaction() {
    let shop = shop();
    let mut client = connect(&shop.node);
    let text = "INSERT INTO t VALUES (1, 'x'); INSERT INTO t VALUES (1, 'again')";
    assert_eq!(state(&mut client, text), SqlState::UNIQUE_VIOLATION);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 0);
    tags(&mut client, "INSERT INTO t VALUES (1, 'x'); INSERT INTO t VALUES (2, 'y')");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 2);
    // With its changes of the schema.
    let text = "INSERT INTO t VALUES (3, 'z'); CREATE TABLE u (a int); SELECT 1/0";
    assert_eq!(state(&mut client, text), SqlState::DIVISION_BY_ZERO);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 2);
    assert_eq!(state(&mut client, "SELECT * FROM u"), SqlState::UNDEFINED_TABLE);
    let text = "CREATE TABLE u (a int); INSERT INTO u VALUES (1); CREATE INDEX i ON u (a)";
    tags(&mut client, text);
    assert_eq!(number(&mut client, "SELECT count(*) FROM u"), 1);
    // Some have no place in one.
    let text = "CREATE DATABASE d; SELECT 1";
    assert_eq!(state(&mut client, text), SqlState::ACTIVE_SQL_TRANSACTION);
    assert_eq!(tags(&mut client, ""), [""]);
    shop.node.stop().unwrap();
}

#[test]
fn odd_ends_are_warned_of() {
    let shop = shop();
    let mut client = connect(&shop.node);
    let mut warning = |text: &str| {
        let outcomes = client.run(text).unwrap();
        let notices: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.notices.iter()).collect();
        notices.first().map(|notice| notice.error.state())
    };
    assert_eq!(warning("COMMIT"), Some(SqlState::NO_ACTIVE_SQL_TRANSACTION));
    assert_eq!(warning("ROLLBACK"), Some(SqlState::NO_ACTIVE_SQL_TRANSACTION));
    assert_eq!(warning("BEGIN"), None);
    assert_eq!(warning("BEGIN"), Some(SqlState::ACTIVE_SQL_TRANSACTION));
    assert_eq!(warning("ROLLBACK"), None);
    shop.node.stop().unwrap();
}

#[test]
fn vacuum_stands_by_itself_and_analyze_anywhere() {
    let shop = shop();
    let mut client = connect(&shop.node);
    tags(&mut client, "CREATE VIEW w AS SELECT a FROM t");
    assert_eq!(tags(&mut client, "VACUUM ANALYZE t"), ["VACUUM"]);
    assert_eq!(tags(&mut client, "VACUUM"), ["VACUUM"]);
    assert_eq!(tags(&mut client, "BEGIN; ANALYZE t; COMMIT"), ["BEGIN", "ANALYZE", "COMMIT"]);
    assert_eq!(state(&mut client, "VACUUM; SELECT 1"), SqlState::ACTIVE_SQL_TRANSACTION);
    assert_eq!(state(&mut client, "BEGIN; VACUUM t"), SqlState::ACTIVE_SQL_TRANSACTION);
    assert_eq!(client.transaction(), TransactionStatus::Failed);
    tags(&mut client, "ROLLBACK");
    assert_eq!(state(&mut client, "ANALYZE nothing"), SqlState::UNDEFINED_TABLE);
    let outcomes = client.run("VACUUM t, w").unwrap();
    let notices: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.notices.iter()).collect();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].error.state(), SqlState::WARNING);
    shop.node.stop().unwrap();
}

#[test]
fn a_schema_change_ends_with_its_block() {
    let shop = shop();
    let (mut client, mut other) = (connect(&shop.node), connect(&shop.node));
    tags(&mut client, "BEGIN; INSERT INTO t VALUES (1, 'before'); CREATE TABLE v (a int)");
    assert_eq!(client.transaction(), TransactionStatus::Open);
    tags(&mut client, "INSERT INTO t VALUES (2, 'after'); INSERT INTO v VALUES (1)");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t, v"), 2);
    assert_eq!(state(&mut other, "SELECT * FROM v"), SqlState::UNDEFINED_TABLE);
    tags(&mut client, "ROLLBACK");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 0);
    assert_eq!(state(&mut client, "SELECT * FROM v"), SqlState::UNDEFINED_TABLE);
    tags(&mut client, "BEGIN; CREATE TABLE v (a int); INSERT INTO v VALUES (1); COMMIT");
    assert_eq!(number(&mut other, "SELECT count(*) FROM v"), 1);
    // One that fails leaves a failed block, as any statement does.
    tags(&mut client, "BEGIN");
    assert_eq!(state(&mut client, "CREATE TABLE v (a int)"), SqlState::DUPLICATE_TABLE);
    assert_eq!(client.transaction(), TransactionStatus::Failed);
    tags(&mut client, "ROLLBACK");
    shop.node.stop().unwrap();
}

#[test]
fn settings_follow_their_transaction() {
    let shop = shop();
    let mut client = connect(&shop.node);
    let shown = |client: &mut Client| {
        let row = client.run("SHOW application_name").unwrap().remove(0).rows.remove(0);
        row.get::<String>(0).unwrap()
    };
    tags(&mut client, "SET application_name = 'before'");
    tags(&mut client, "BEGIN; SET application_name TO 'inside'");
    assert_eq!(shown(&mut client), "inside");
    tags(&mut client, "ROLLBACK");
    assert_eq!(shown(&mut client), "before");
    tags(&mut client, "BEGIN; SET LOCAL application_name = 'local'");
    assert_eq!(shown(&mut client), "local");
    tags(&mut client, "SET statement_timeout = '7s'; COMMIT");
    assert_eq!(shown(&mut client), "before", "LOCAL ends with its transaction");
    let timeout = client.run("SHOW statement_timeout").unwrap().remove(0).rows.remove(0);
    assert_eq!(timeout.get::<String>(0).unwrap(), "7s", "what is not LOCAL stays");
    tags(&mut client, "BEGIN; SET LOCAL application_name = 'local'");
    tags(&mut client, "SET application_name = 'after'; COMMIT");
    assert_eq!(shown(&mut client), "after");
    let outcome = client.run("SET LOCAL application_name = 'outside'").unwrap().remove(0);
    assert_eq!(outcome.notices[0].error.state(), SqlState::NO_ACTIVE_SQL_TRANSACTION);
    assert_eq!(shown(&mut client), "after");
    assert_eq!(state(&mut client, "SET nonsense = 1"), SqlState::UNDEFINED_OBJECT);
    assert!(client.run("SHOW ALL").unwrap()[0].rows.len() > 10);
    shop.node.stop().unwrap();
}

#[test]
fn a_statement_that_takes_too_long_or_is_cancelled_frees_what_it_held() {
    let shop = shop();
    let (mut one, mut two) = (connect(&shop.node), connect(&shop.node));
    tags(&mut one, "INSERT INTO t VALUES (1, 'x'), (2, 'y')");
    tags(&mut one, "BEGIN; UPDATE t SET b = 'locked' WHERE a = 1");
    tags(&mut two, "SET statement_timeout = '50ms'");
    // Locks row 2 and waits for row 1, or the other way round.
    let waits = "UPDATE t SET b = 'never'";
    assert_eq!(state(&mut two, waits), SqlState::QUERY_CANCELED);
    tags(&mut two, "RESET statement_timeout");
    let cancel = two.cancel_handle();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| state(&mut two, waits));
        while !waiting.is_finished() {
            std::thread::park_timeout(Duration::from_millis(20));
            cancel.cancel().unwrap();
        }
        assert_eq!(waiting.join().unwrap(), SqlState::QUERY_CANCELED);
    });
    assert_eq!(tags(&mut one, "UPDATE t SET b = 'mine' WHERE a = 2"), ["UPDATE 1"]);
    tags(&mut one, "COMMIT");
    assert_eq!(number(&mut two, "SELECT count(*) FROM t WHERE b = 'never'"), 0);
    shop.node.stop().unwrap();
}

#[test]
fn prepared_statements_follow_the_schema() {
    let shop = shop();
    let (mut one, mut two) = (connect(&shop.node), connect(&shop.node));
    let insert = one.prepare("INSERT INTO t VALUES ($1, $2)").unwrap();
    for a in 0..10 {
        assert_eq!(one.execute(&insert, &params![a, "x"]).unwrap(), 1);
    }
    let all = one.prepare("SELECT * FROM t WHERE a = $1").unwrap();
    assert_eq!(one.query(&all, &params![3]).unwrap().len(), 1);
    two.run("CREATE INDEX t_b ON t (b)").unwrap();
    assert_eq!(one.query(&all, &params![3]).unwrap().len(), 1);
    assert_eq!(one.query(&all, &params!["4"]).unwrap().len(), 1, "a text is cast");
    let bad = one.query(&all, &params!["four"]).unwrap_err();
    assert_eq!(bad.state(), Some(SqlState::INVALID_TEXT_REPRESENTATION));
    two.run("ALTER TABLE t ADD COLUMN c int").unwrap();
    let changed = one.query(&all, &params![3]).unwrap_err();
    assert_eq!(changed.state(), Some(SqlState::FEATURE_NOT_SUPPORTED));
    shop.node.stop().unwrap();
}

#[test]
fn pipelined_statements_are_answered_in_order() {
    let shop = shop();
    let mut client = connect(&shop.node);
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2)").unwrap();
    let read = client.prepare("SELECT b FROM t WHERE a = $1").unwrap();
    let mut tickets = Vec::new();
    for a in 0..200_i64 {
        tickets.push(client.send(&insert, &params![a, format!("row {a}")]).unwrap());
        tickets.push(client.send(&read, &params![a]).unwrap());
    }
    client.flush().unwrap();
    for (position, ticket) in tickets.into_iter().enumerate() {
        let outcome = client.take(ticket).unwrap();
        if position % 2 == 1 {
            let text = outcome.rows[0].get::<String>(0).unwrap();
            assert_eq!(text, format!("row {}", position / 2));
        }
    }
    shop.node.stop().unwrap();
}

#[test]
fn plans_are_explained() {
    let shop = shop();
    let mut client = connect(&shop.node);
    for text in [
        "EXPLAIN SELECT * FROM t WHERE a = 1",
        "EXPLAIN ANALYZE SELECT count(*) FROM t",
        "EXPLAIN INSERT INTO t VALUES (1, 'x')",
        "EXPLAIN UPDATE t SET b = 'y' WHERE a = 1",
        "EXPLAIN DELETE FROM t",
    ] {
        let lines = client.run(text).unwrap_or_else(|e| panic!("{text}: {e}")).remove(0).rows;
        assert!(!lines.is_empty(), "{text}");
        let lines: Vec<String> = lines.iter().map(|line| line.get(0).unwrap()).collect();
        let hops = lines.iter().any(|line| line.starts_with("  Node 1 Core "));
        let away = lines.iter().any(|line| line.starts_with("Requests: ") && line.ends_with(" 0"));
        let ran = text.contains("ANALYZE");
        assert_eq!((hops, away), (ran, ran), "{text}: {lines:#?}");
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 0, "nothing was run");
    shop.node.stop().unwrap();
}

#[test]
fn clients_learn_where_a_point_statement_belongs() {
    let shop = shop();
    let mut client = connect(&shop.node);
    let doors = shop.node.addresses().cores.clone();
    for text in [
        "SELECT b FROM t WHERE a = $1",
        "INSERT INTO t VALUES ($1, 'x')",
        "UPDATE t SET b = 'y' WHERE a = $1",
        "DELETE FROM t WHERE a = $1",
    ] {
        let statement = client.prepare(text).unwrap();
        let mut seen = vec![0; doors.len()];
        for a in 0..64_i64 {
            let owner = statement.owner(&params![a], client.placement());
            let owner = owner.unwrap_or_else(|| panic!("{text}: no owner"));
            let core = doors.iter().position(|door| door.to_string() == owner).expect("a door");
            seen[core] += 1;
        }
        assert!(seen.iter().all(|count| *count > 0), "{text}: {seen:?}");
    }
    let whole = client.prepare("SELECT b FROM t WHERE b = $1").unwrap();
    assert_eq!(whole.owner(&params!["x"], client.placement()), None);
    shop.node.stop().unwrap();
}

#[test]
fn a_long_text_is_planned_like_a_short_one_and_one_too_long_is_refused() {
    const ROWS: i64 = 5_000;
    let shop = shop();
    let mut client = connect(&shop.node);
    let insert = |from: i64, to: i64| {
        let rows: Vec<String> = (from..to).map(|a| format!("({a}, 'row {a}')")).collect();
        format!("INSERT INTO t VALUES {}", rows.join(", "))
    };
    assert_eq!(tags(&mut client, &insert(0, ROWS)), [format!("INSERT 0 {ROWS}")]);
    // The last row of the second one is there already: none of its rows stays.
    let overlapping = format!("{}, (0, 'again')", insert(ROWS, 2 * ROWS));
    assert_eq!(state(&mut client, &overlapping), SqlState::UNIQUE_VIOLATION);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), ROWS);
    let two = format!("{}; {}", insert(ROWS, 2 * ROWS), insert(2 * ROWS, 3 * ROWS));
    assert_eq!(tags(&mut client, &two).len(), 2);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 3 * ROWS);
    let padded = format!("SELECT 1 {}", " ".repeat(40_000));
    assert_eq!(tags(&mut client, &padded), ["SELECT 1"]);
    let too_long = format!("SELECT '{}'", "x".repeat(4 << 20));
    assert_eq!(state(&mut client, &too_long), SqlState::PROGRAM_LIMIT_EXCEEDED);
    assert_eq!(tags(&mut client, "SELECT 1"), ["SELECT 1"], "the session goes on");
    shop.node.stop().unwrap();
}

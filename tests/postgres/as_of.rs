//! `AS OF SYSTEM TIME`: what was there at a time that has passed.

use crate::speaker::{Speaker, bind, execute, parse, sync};
use crate::start;
use std::time::Duration;
use tempfile::TempDir;
use test_support::{Server, Stopwatch};

/// Longer ago than the schema was made, and less long than what is read.
const A_WHILE: Duration = Duration::from_millis(1_200);

/// A server with a table whose rows were all changed after [`A_WHILE`], and the time before.
fn server() -> (TempDir, Server, String) {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut speaker = Speaker::connect(&server);
    speaker.query("CREATE TABLE t (id int PRIMARY KEY, v int)");
    speaker.query("INSERT INTO t SELECT i, i FROM generate_series(1, 8) AS i");
    test_support::sleep(A_WHILE);
    let then = speaker.query("SELECT now()").trim_end_matches(';').to_owned();
    speaker.query("UPDATE t SET v = v * 10 WHERE id < 8; DELETE FROM t WHERE id = 8");
    (data, server, then)
}

#[test]
fn a_query_reads_what_was_there() {
    let (_data, server, then) = server();
    let mut speaker = Speaker::connect(&server);
    let as_of = format!("AS OF SYSTEM TIME '{then}'");
    let sum = |clause: &str| format!("SELECT sum(v), count(*) FROM t {clause}");
    assert_eq!(speaker.query(&sum("")), "280|7;");
    assert_eq!(speaker.query(&sum(&as_of)), "36|8;");
    // A lookup by the key, on whichever core the row is.
    for id in 1..=8 {
        let row = speaker.query(&format!("SELECT v FROM t {as_of} WHERE id = {id}"));
        assert_eq!(row, format!("{id};"));
    }
    let join = format!("SELECT count(*) FROM t AS a JOIN t AS b USING (id) {as_of}");
    assert_eq!(speaker.query(&join), "8;");
    assert_eq!(speaker.query(&sum("AS OF SYSTEM TIME '-0.000001s'")), "280|7;");
    let since = Stopwatch::start();
    while speaker.query(&sum("AS OF SYSTEM TIME '-1s'")) != "280|7;" {
        assert!(since.elapsed() < Duration::from_secs(5));
    }
    assert!(since.elapsed() > Duration::from_millis(500), "a second ago it was otherwise");
    // Nanoseconds since 1970.
    let text = format!("SELECT (extract(epoch FROM timestamptz '{then}') * 1000000000)::bigint");
    let nanos = speaker.query(&text);
    let nanos = nanos.trim_end_matches(';');
    assert_eq!(speaker.query(&sum(&format!("AS OF SYSTEM TIME {nanos}"))), "36|8;");
    // Prepared, and through a portal that is read in pieces.
    speaker.query(&format!("PREPARE p AS SELECT v FROM t {as_of} WHERE id = $1"));
    assert_eq!(speaker.query("EXECUTE p(8)"), "8;");
    let mut request = parse("", &format!("SELECT v FROM t {as_of} ORDER BY id DESC"));
    request.extend(bind("", "", &[]));
    request.extend(execute("", 2));
    request.extend(sync());
    speaker.bytes(&request);
    assert_eq!(speaker.results(), "8;7;");
    assert!(speaker.query(&format!("EXPLAIN SELECT v FROM t {as_of}")).contains("Seq Scan"));
}

#[test]
fn a_transaction_reads_what_was_there_and_changes_nothing() {
    let (_data, server, then) = server();
    let mut speaker = Speaker::connect(&server);
    let as_of = format!("AS OF SYSTEM TIME '{then}'");
    let begins = [
        format!("BEGIN {as_of}"),
        format!("BEGIN READ ONLY, {as_of}"),
        format!("START TRANSACTION {as_of}, READ ONLY"),
        format!("BEGIN; SET TRANSACTION {as_of}"),
    ];
    for begin in begins {
        assert_eq!(speaker.query(&begin), "", "{begin}");
        assert_eq!(speaker.query("SELECT sum(v) FROM t"), "36;", "{begin}");
        assert_eq!(
            speaker.query("SELECT v FROM t WHERE id = 8; SHOW transaction_read_only"),
            "8;on;"
        );
        assert_eq!(speaker.query("UPDATE t SET v = 0"), "25006;");
        assert_eq!(speaker.query("ROLLBACK"), "");
    }
    assert_eq!(speaker.query("SELECT sum(v) FROM t; SHOW transaction_read_only"), "280;off;");
    assert_eq!(speaker.query(&format!("BEGIN READ WRITE {as_of}")), "22023;");
    assert_eq!(
        speaker.query(&format!("BEGIN; SELECT 1 FROM t LIMIT 1; SET TRANSACTION {as_of}")),
        "1;25001;"
    );
    assert_eq!(speaker.query("ROLLBACK"), "");
    assert_eq!(speaker.query(&format!("BEGIN; SELECT v FROM t {as_of}")), "0A000;");
    assert_eq!(speaker.query("ROLLBACK"), "");
}

#[test]
fn what_is_too_old_or_still_to_come_is_refused() {
    let (_data, server, then) = server();
    let mut speaker = Speaker::connect(&server);
    let mut read = |time: &str| speaker.query(&format!("SELECT v FROM t AS OF SYSTEM TIME {time}"));
    assert_eq!(read("'-1 hour'"), "72000;");
    assert_eq!(read("'2020-01-01'"), "72000;");
    assert_eq!(read("1"), "72000;");
    assert_eq!(read("'9999-01-01'"), "22023;");
    assert_eq!(read("'soon'"), "22023;");
    assert_eq!(read("'10s'"), "22023;");
    assert_eq!(read("now()"), "42601;");
    let as_of = format!("AS OF SYSTEM TIME '{then}'");
    for text in [
        format!("UPDATE t SET v = 1 {as_of}"),
        format!("INSERT INTO t SELECT id + 10, v FROM t {as_of}"),
        format!("CREATE VIEW w AS SELECT v FROM t {as_of}"),
    ] {
        assert_eq!(speaker.query(&text), "42601;", "{text}");
    }
    assert_eq!(speaker.query("SET TRANSACTION"), "42601;");
    assert_eq!(speaker.query(&format!("SELECT v FROM t {as_of} FOR UPDATE")), "0A000;");
    // Another schema.
    speaker.query("CREATE INDEX ON t (v)");
    assert_eq!(speaker.query(&format!("SELECT v FROM t {as_of}")), "55000;");
    assert_eq!(speaker.query(&format!("BEGIN {as_of}")), "55000;");
    assert_eq!(speaker.query("SELECT sum(v) FROM t"), "280;");
}

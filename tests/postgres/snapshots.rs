//! Transactions that read one snapshot, while others write.

use crate::speaker::Speaker;
use crate::start;
use std::time::Duration;
use test_support::sleep;

#[test]
fn all_statements_of_a_transaction_that_only_reads_see_one_moment() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let (mut reader, mut writer) = (Speaker::connect(&server), Speaker::connect(&server));
    writer.query("CREATE TABLE a (id int PRIMARY KEY, v int)");
    writer.query("INSERT INTO a SELECT i, 10 FROM generate_series(1, 40) AS i");
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        assert_eq!(reader.query(&format!("BEGIN ISOLATION LEVEL {level} READ ONLY")), "");
        assert_eq!(reader.query("SELECT sum(v) FROM a WHERE id <= 20"), "200;");
        assert_eq!(writer.query("UPDATE a SET v = v + 1"), "");
        assert_eq!(writer.query("DELETE FROM a WHERE id = 40"), "");
        assert_eq!(writer.query("INSERT INTO a VALUES (41, 100)"), "");
        assert_eq!(reader.query("SELECT count(*), sum(v) FROM a"), "40|400;");
        assert_eq!(reader.query("SELECT id FROM a WHERE id IN (40, 41)"), "40;");
        assert_eq!(reader.query("SELECT v FROM a WHERE id = 7"), "10;");
        assert_eq!(reader.query("DECLARE c CURSOR FOR SELECT v FROM a WHERE id = 8"), "");
        assert_eq!(reader.query("FETCH c"), "10;");
        assert_eq!(reader.query("COMMIT"), "");
        assert_eq!(reader.query("SELECT count(*), sum(v) FROM a"), "40|529;");
        writer.query("DELETE FROM a");
        writer.query("INSERT INTO a SELECT i, 10 FROM generate_series(1, 40) AS i");
    }
    // READ COMMITTED sees what is committed meanwhile.
    assert_eq!(reader.query("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"), "");
    assert_eq!(reader.query("SELECT count(*) FROM a"), "40;");
    writer.query("DELETE FROM a WHERE id > 30");
    assert_eq!(reader.query("SELECT count(*) FROM a"), "30;");
    assert_eq!(reader.query("COMMIT"), "");
}

#[test]
fn what_a_snapshot_cannot_show_is_refused() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let (mut reader, mut writer) = (Speaker::connect(&server), Speaker::connect(&server));
    writer.query("CREATE TABLE a (id int PRIMARY KEY, v int)");
    writer.query("CREATE TABLE b (id int PRIMARY KEY, v int)");
    writer.query("INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)");
    let modes = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    assert_eq!(reader.query(&format!("BEGIN; {modes}")), "");
    assert_eq!(reader.query("SHOW transaction_isolation"), "repeatable read;");
    assert_eq!(reader.query("SELECT count(*) FROM a"), "1;");
    // An index that is made now knows nothing of the past.
    assert_eq!(writer.query("DELETE FROM b; CREATE INDEX ON b (v)"), "");
    assert_eq!(reader.query("SELECT count(*) FROM b WHERE v = 1"), "40001;");
    assert_eq!(reader.query("ROLLBACK"), "");
    assert_eq!(reader.query("BEGIN; SELECT 1"), "1;");
    assert_eq!(reader.query("SELECT count(*) FROM a"), "1;");
    assert_eq!(reader.query(modes), "25001;");
    assert_eq!(reader.query("ROLLBACK"), "");
    assert_eq!(reader.query("SHOW transaction_isolation"), "serializable;");
}

#[test]
fn a_cursor_shows_the_moment_of_its_declaration() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let (mut reader, mut writer) = (Speaker::connect(&server), Speaker::connect(&server));
    writer.query("CREATE TABLE a (id int PRIMARY KEY, v int)");
    writer.query("INSERT INTO a SELECT i, i FROM generate_series(1, 10) AS i");
    reader.query("BEGIN ISOLATION LEVEL READ COMMITTED");
    reader.query("DECLARE c CURSOR FOR SELECT a.id FROM a JOIN a AS b ON a.v = b.id ORDER BY 1");
    writer.query("DELETE FROM a");
    sleep(Duration::from_millis(200));
    assert_eq!(reader.query("SELECT count(*) FROM a"), "0;");
    assert_eq!(reader.query("FETCH 3 FROM c"), "1;2;3;");
    assert_eq!(reader.query("MOVE ALL FROM c"), "");
    assert_eq!(reader.query("COMMIT"), "");
}

#[test]
fn a_snapshot_that_is_too_old_is_not_read() {
    let data = tempfile::tempdir().expect("a data directory");
    let flags = ["--cores", "2", "--retention", "1s", "--snapshot-age-max", "2s"];
    let server = start(&data.path().join("data"), &flags);
    let (mut reader, mut writer) = (Speaker::connect(&server), Speaker::connect(&server));
    writer.query("CREATE TABLE a (id int PRIMARY KEY, v int)");
    writer.query("INSERT INTO a SELECT i, i FROM generate_series(1, 5000) AS i");
    assert_eq!(reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ"), "");
    assert_eq!(reader.query("SELECT count(*) FROM a"), "5000;");
    assert_eq!(reader.query("DECLARE c CURSOR FOR SELECT id FROM a ORDER BY id"), "");
    assert_eq!(reader.query("FETCH c"), "1;");
    writer.query("UPDATE a SET v = 0");
    sleep(Duration::from_secs(4));
    assert_eq!(reader.query("SAVEPOINT s; SELECT sum(v) FROM a"), "72000;");
    // It says how old it is.
    reader.query("ROLLBACK TO s");
    reader.send('Q', b"SELECT sum(v) FROM a\0");
    let answer = reader.answer();
    let error = answer.iter().find(|message| message.kind == 'E').expect("an error");
    let detail = error.field('D').expect("a detail");
    let age = detail.strip_prefix("It was taken ").and_then(|rest| rest.split_once(" ms ago. "));
    let age = age.and_then(|(age, _)| age.parse::<u32>().ok()).expect("an age");
    assert!((4_000..60_000).contains(&age), "{detail}");
    // Not silently without rows whose versions are gone, either.
    assert_eq!(reader.query("ROLLBACK TO s; MOVE ALL FROM c"), "72000;");
    assert_eq!(reader.query("ROLLBACK"), "");
    assert_eq!(reader.query("SELECT sum(v) FROM a"), "0;");
}

#[test]
fn a_snapshot_is_read_by_several_while_who_exports_it_is_open() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "4"]);
    let mut sessions: Vec<Speaker> = (0..6).map(|_| Speaker::connect(&server)).collect();
    let [exporter, writer, rest @ ..] = sessions.as_mut_slice() else { unreachable!() };
    writer.query("CREATE TABLE a (id int PRIMARY KEY, v int)");
    writer.query("INSERT INTO a SELECT i, i FROM generate_series(1, 100) AS i");
    let export = "SELECT pg_export_snapshot()";
    assert_eq!(exporter.query("BEGIN ISOLATION LEVEL REPEATABLE READ"), "");
    let id = exporter.query(export).trim_end_matches(';').to_owned();
    let import = format!("SET TRANSACTION SNAPSHOT '{id}'");
    writer.query("DELETE FROM a WHERE id > 50; UPDATE a SET v = 0; INSERT INTO a VALUES (1000, 1)");
    exporter.query("UPDATE a SET v = v + 1 WHERE id = 1000");
    for reader in rest.iter_mut() {
        assert_eq!(reader.query(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {import}")), "");
        assert_eq!(reader.query("SELECT count(*), sum(v) FROM a"), "100|5050;");
    }
    assert_eq!(exporter.query("SELECT count(*), sum(v) FROM a"), "100|5050;");
    // It stays theirs when the exporter has ended, and is nobody else's any more.
    let fresh = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    assert_eq!(exporter.query("COMMIT"), "");
    for reader in rest.iter_mut() {
        assert_eq!(reader.query("SELECT count(*), sum(v) FROM a"), "100|5050;");
    }
    assert_eq!(writer.query(&format!("{fresh}; {import}")), "22023;");
    assert_eq!(writer.query("ROLLBACK; SELECT count(*) FROM a"), "51;");
    // One that writes is refused what was changed behind the snapshot.
    assert_eq!(rest[0].query("UPDATE a SET v = 1 WHERE id = 1"), "40001;");
    assert_eq!(rest[1].query("INSERT INTO a VALUES (2000, 0); COMMIT"), "");
    for reader in rest.iter_mut() {
        reader.query("ROLLBACK");
    }

    // As PostgreSQL refuses it.
    let [reader, other, ..] = rest else { unreachable!() };
    for (begin, then, state) in [
        ("BEGIN ISOLATION LEVEL READ COMMITTED", "SET TRANSACTION SNAPSHOT '00000003-1'", "0A000;"),
        (fresh, "SET TRANSACTION SNAPSHOT 'x'", "22023;"),
        (fresh, "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'", "22023;"),
        (fresh, "SET TRANSACTION SNAPSHOT '7F000001-0000000000000001-1'", "22023;"),
        (fresh, "SAVEPOINT s; SELECT pg_export_snapshot()", "25001;"),
        (fresh, "SELECT 1 FROM a LIMIT 1; SET TRANSACTION SNAPSHOT 'x'", "1;25001;"),
        (fresh, "SAVEPOINT s; SET TRANSACTION SNAPSHOT 'x'", "25001;"),
    ] {
        assert_eq!(reader.query(begin), "");
        assert_eq!(reader.query(then), state, "{begin}; {then}");
        reader.query("ROLLBACK");
    }
    assert_eq!(reader.query("SET TRANSACTION SNAPSHOT 'x'"), "0A000;");
    let serializable = "BEGIN ISOLATION LEVEL SERIALIZABLE";
    for (exports, imports, state) in [
        (fresh.to_owned(), format!("{serializable} READ ONLY"), "0A000;"),
        (format!("{serializable} READ ONLY"), serializable.to_owned(), "0A000;"),
        (format!("{serializable} READ ONLY"), format!("{serializable} READ ONLY"), ""),
        (format!("{serializable} READ ONLY"), fresh.to_owned(), ""),
    ] {
        assert_eq!(reader.query(&exports), "");
        let id = reader.query(export).trim_end_matches(';').to_owned();
        assert_eq!(other.query(&imports), "");
        let import = format!("SET TRANSACTION SNAPSHOT '{id}'");
        assert_eq!(other.query(&import), state, "{exports}, {imports}");
        for session in [&mut *reader, &mut *other] {
            session.query("ROLLBACK");
        }
    }
    // Where the statements of a transaction do not all read the same there is nothing to export.
    for begin in [serializable, "BEGIN ISOLATION LEVEL READ COMMITTED"] {
        assert_eq!(reader.query(begin), "");
        assert_eq!(reader.query(export), "0A000;", "{begin}");
        reader.query("ROLLBACK");
    }
    writer.query("CREATE DATABASE elsewhere");
    let mut elsewhere = Speaker::connect_to(server.pg_address(), "phantom", "elsewhere");
    assert_eq!(reader.query(fresh), "");
    let id = reader.query(export).trim_end_matches(';').to_owned();
    assert_eq!(elsewhere.query(fresh), "");
    assert_eq!(elsewhere.query(&format!("SET TRANSACTION SNAPSHOT '{id}'")), "0A000;");
}

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

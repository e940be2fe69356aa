//! `phantomdb sql` as scripts use it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::{Place, Ran};

const PEOPLE: &str = "CREATE TABLE people (id INT PRIMARY KEY, name TEXT, share NUMERIC(5,2));
INSERT INTO people VALUES (1, 'Ada', 0.50), (2, 'Bob; \"B\"', NULL);";

#[test]
fn tags_rows_and_formats() {
    let place = Place::new();
    assert_eq!(place.sql(PEOPLE).done(), "CREATE TABLE\nINSERT 0 2\n");
    let select = "SELECT * FROM people ORDER BY id";
    let formatted = |format| place.run(&["sql", "--format", format, "-c", select]).done();
    assert_eq!(
        formatted("table"),
        " id |   name   | share\n----+----------+-------\n  1 | Ada      |  0.50\n  2 | Bob; \"B\" |\n(2 rows)\n"
    );
    assert_eq!(formatted("csv"), "id,name,share\n1,Ada,0.50\n2,\"Bob; \"\"B\"\"\",\n");
    assert_eq!(formatted("tsv"), "id\tname\tshare\n1\tAda\t0.50\n2\tBob; \"B\"\t\\N\n");
    assert_eq!(
        formatted("ndjson"),
        "{\"id\":1,\"name\":\"Ada\",\"share\":0.50}\n{\"id\":2,\"name\":\"Bob; \\\"B\\\"\",\"share\":null}\n"
    );
    assert_eq!(formatted("json").lines().count(), 4);
}

#[test]
fn the_first_error_ends_the_run_unless_asked() {
    let place = Place::new();
    let file =
        place.file("a.sql", "SELECT 1 AS one;\nSELECT nothing\nFROM nowhere;\nSELECT 2 AS two;\n");
    let ran = place.run(&["sql", "--format", "csv", "-f", &file]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "one\n1\n"));
    assert!(ran.err.starts_with("ERROR 42P01: "), "{}", ran.err);
    assert!(ran.err.ends_with(&format!("IN: {file}, line 2\n")), "{}", ran.err);
    let ran = place.run(&["sql", "--format", "csv", "--continue-on-error", "-f", &file]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "one\n1\ntwo\n2\n"));
}

#[test]
fn statements_of_a_pipe_are_answered_as_they_come() {
    let place = Place::new();
    let mut child = place
        .command(&["sql"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut ask = |statement: &str| {
        input.write_all(statement.as_bytes()).expect("written");
        let mut line = String::new();
        output.read_line(&mut line).expect("read");
        line
    };
    assert_eq!(ask("CREATE TABLE t (id INT PRIMARY KEY);"), "CREATE TABLE\n");
    for id in 0..10 {
        assert_eq!(ask(&format!("INSERT INTO t VALUES ({id});")), "INSERT 0 1\n");
    }
    drop(input);
    assert_eq!(child.wait().expect("the end").code(), Some(0));
}

#[test]
fn a_reader_may_leave_early() {
    let place = Place::new();
    let rows: Vec<String> = (0..2_000).map(|id| format!("({id}, '{}')", "x".repeat(100))).collect();
    let fill = format!(
        "CREATE TABLE t (id INT PRIMARY KEY, text TEXT);\nINSERT INTO t VALUES {};",
        rows.join(",")
    );
    let file = place.file("fill.sql", &fill);
    place.run(&["sql", "-f", &file]).done();
    let mut child = place
        .command(&["sql", "--format", "csv", "-c", "SELECT * FROM t", "-c", "SELECT * FROM t"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("read");
    drop(output);
    let ran = Ran::of(child.wait_with_output().expect("the end"));
    assert_eq!((line.as_str(), ran.code, ran.err.as_str()), ("id,text\n", Some(0), ""));
}

#[test]
fn control_c_cancels_the_statement() {
    let place = Place::new();
    let rows: Vec<String> = (0..1_000).map(|id| format!("({id})")).collect();
    place
        .sql(&format!(
            "CREATE TABLE n (id INT PRIMARY KEY); INSERT INTO n VALUES {}",
            rows.join(",")
        ))
        .done();
    // A thousand million rows: nobody waits for their end.
    let slow = "SELECT count(*) FROM n a, n b, n c WHERE a.id + b.id + c.id < 0";
    let child = place
        .command(&["sql", "-c", slow])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    test_support::sleep(std::time::Duration::from_millis(700));
    let sent =
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let ran = Ran::of(child.wait_with_output().expect("the end"));
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.starts_with("ERROR 57014: "), "{}", ran.err);
    // The server goes on.
    assert_eq!(
        place.run(&["sql", "--format", "csv", "-c", "SELECT count(*) FROM n"]).done(),
        "count\n1000\n"
    );
}

#[test]
fn a_server_that_dies_is_no_connection() {
    let place = Place::new();
    let mut child = place
        .command(&["sql"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"BEGIN;").expect("written");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("read");
    assert_eq!(line, "BEGIN\n");
    place.server.kill().expect("killed");
    input.write_all(b"SELECT 1;").expect("written");
    drop(input);
    let ran = Ran::of(child.wait_with_output().expect("the end"));
    assert_eq!(ran.code, Some(3), "{}", ran.err);
}

#[test]
fn meta_commands_describe_the_database() {
    let place = Place::new();
    place
        .sql("CREATE TABLE people (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL DEFAULT 'x', CHECK (id > 0)); CREATE INDEX by_name ON people (name)")
        .done();
    let tables = place.run(&["sql", "--format", "csv", "-c", "\\dt"]).done();
    assert_eq!(tables, "schema,name\npublic,people\n");
    let described = place.run(&["sql", "--format", "csv", "-c", "\\d People"]).done();
    for part in [
        "id,integer,,NO,",
        "name,character varying,20,NO,",
        "by_name,CREATE INDEX by_name ON public.people USING btree (name)",
        "PRIMARY KEY (id)",
        "CHECK (",
    ] {
        assert!(described.contains(part), "{described}");
    }
    let ran = place.run(&["sql", "-c", "\\d nothing"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "phantomdb: there is no table or view \"nothing\"\n")
    );
}

/// The psql file of the Chinook database, where it lies beside the checkout.
#[test]
fn chinook_loads() {
    let Some(file) = test_support::shared("data/chinook/chinook.sql") else {
        eprintln!("left out: there is no chinook.sql beside this checkout");
        return;
    };
    let place = Place::new();
    let loaded = place.run(&["sql", "-f", file.to_str().expect("a name")]);
    assert_eq!(loaded.code, Some(0), "{}", loaded.err);
    let url = format!("phantom://{}/chinook", place.server.address());
    let count = |sql: &str| place.run(&["sql", "--url", &url, "--format", "csv", "-c", sql]).done();
    assert_eq!(count("SELECT count(*) FROM track"), "count\n3503\n");
    assert_eq!(
        count("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"),
        "count\n11\n"
    );
}

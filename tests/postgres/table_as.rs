//! Tables made of the rows of queries: tags and warnings, parameters, more rows than a transaction
//! may keep, and those that are broken off.

use crate::speaker::{Message, Speaker, bind, execute, parse, sync};
use crate::start;
use std::thread;
use test_support::Server;

fn with_server(memory: &str, test: impl FnOnce(&Server)) {
    let data = tempfile::tempdir().expect("a data directory");
    let flags = ["--cores", "2", "--memory", memory];
    let server = start(&data.path().join("data"), &flags);
    test(&server);
}

fn told(answer: &[Message]) -> Vec<String> {
    let shown = answer.iter().filter_map(|message| match message.kind {
        'C' => Some(String::from_utf8_lossy(&message.body).trim_end_matches('\0').to_owned()),
        'N' | 'E' => message.field('C'),
        _ => None,
    });
    shown.collect()
}

fn run(speaker: &mut Speaker, text: &str) -> Vec<String> {
    speaker.send('Q', format!("{text}\0").as_bytes());
    told(&speaker.answer())
}

#[test]
fn the_tag_counts_rows() {
    with_server("256MiB", |server| {
        let mut speaker = Speaker::connect(server);
        let series = "SELECT i FROM generate_series(1, 7) AS i";
        assert_eq!(run(&mut speaker, &format!("CREATE TABLE a AS {series}")), ["SELECT 7"]);
        let without = format!("CREATE TABLE b AS {series} WITH NO DATA");
        assert_eq!(run(&mut speaker, &without), ["CREATE TABLE AS"]);
        assert_eq!(run(&mut speaker, "SELECT i INTO c FROM a"), ["SELECT 7"]);
        let skipped = "CREATE TABLE IF NOT EXISTS a AS SELECT 1 / 0";
        assert_eq!(run(&mut speaker, skipped), ["00000", "CREATE TABLE AS"]);
        // By the extended protocol, with a parameter.
        let mut request =
            parse("", "CREATE TABLE d AS SELECT i, $1::text AS t FROM a WHERE i > $2");
        request.extend(bind("", "", &["text", "5"]));
        request.extend(execute("", 0));
        request.extend(sync());
        speaker.bytes(&request);
        assert_eq!(told(&speaker.answer()), ["SELECT 2"]);
        assert_eq!(speaker.query("SELECT i, t FROM d ORDER BY i"), "6|text;7|text;");
    });
}

#[test]
fn inside_a_block_it_ends_with_it() {
    with_server("256MiB", |server| {
        let mut speaker = Speaker::connect(server);
        assert_eq!(speaker.query("CREATE TABLE s (id int PRIMARY KEY)"), "");
        assert_eq!(speaker.query("BEGIN; INSERT INTO s VALUES (1)"), "");
        assert_eq!(run(&mut speaker, "CREATE TABLE t AS SELECT * FROM s"), ["SELECT 1"]);
        assert_eq!(speaker.query("INSERT INTO s VALUES (2); SELECT * FROM t"), "1;");
        assert_eq!(speaker.query("ROLLBACK; SELECT * FROM s"), "");
        assert_eq!(run(&mut speaker, "SELECT * FROM t"), ["42P01"]);
        assert_eq!(speaker.query("BEGIN; INSERT INTO s VALUES (1)"), "");
        assert_eq!(run(&mut speaker, "CREATE TABLE t AS SELECT * FROM s"), ["SELECT 1"]);
        assert_eq!(speaker.query("INSERT INTO s VALUES (2); COMMIT; SELECT * FROM t"), "1;");
        assert_eq!(speaker.query("BEGIN"), "");
        assert_eq!(run(&mut speaker, "CREATE TABLE u AS SELECT 1 / 0"), ["22012"]);
        assert_eq!(run(&mut speaker, "SELECT 1"), ["25P02"]);
        assert_eq!(speaker.query("ROLLBACK; SELECT 1"), "1;");
        // In one text with others.
        let text = "INSERT INTO s VALUES (3); SELECT id INTO v FROM s; SELECT count(*) FROM v";
        assert_eq!(speaker.query(text), "3;");
    });
}

/// What a transaction has changed is in memory until it ends, and may be a tenth of it.
#[test]
fn more_rows_than_a_transaction_keeps_become_a_table() {
    with_server("96MiB", |server| {
        let mut speaker = Speaker::connect(server);
        let rows =
            "SELECT i AS id, rpad(i::text, 640, 'abc') AS t FROM generate_series(1, 40000) AS i";
        assert_eq!(run(&mut speaker, &format!("CREATE TABLE big AS {rows}")), ["SELECT 40000"]);
        assert_eq!(run(&mut speaker, "CREATE TABLE again AS TABLE big"), ["SELECT 40000"]);
        let counted = "SELECT count(*), sum(id), min(length(t)) FROM again";
        assert_eq!(speaker.query(counted), "40000|800020000|640;");
        assert_eq!(run(&mut speaker, "INSERT INTO again SELECT * FROM big"), ["53200"]);
    });
}

#[test]
fn one_that_is_broken_off_leaves_nothing_and_holds_nobody_up() {
    with_server("256MiB", |server| {
        let mut speaker = Speaker::connect(server);
        assert_eq!(
            speaker.query("CREATE TABLE s (id int PRIMARY KEY); INSERT INTO s VALUES (1)"),
            ""
        );
        speaker.query("SET statement_timeout = '2s'");
        let other = thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut other = Speaker::connect(server);
                // Meanwhile the schema changes; a table that is read does not.
                let made = run(&mut other, "CREATE TABLE meanwhile (id int)");
                (made, run(&mut other, "ALTER TABLE s ADD COLUMN t text"))
            });
            let slow = "CREATE TABLE slow AS SELECT id, pg_sleep(0.1)::text FROM s, generate_series(1, 999)";
            assert_eq!(run(&mut speaker, slow), ["57014"]);
            other.join().expect("the other is served")
        });
        assert_eq!(other, (vec!["CREATE TABLE".to_owned()], vec!["ALTER TABLE".to_owned()]));
        assert_eq!(speaker.query("SELECT * FROM slow"), "42P01;");
        assert_eq!(run(&mut speaker, "CREATE TABLE slow AS SELECT * FROM s"), ["SELECT 1"]);
    });
}

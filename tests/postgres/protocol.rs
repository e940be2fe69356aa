//! What PostgreSQL's protocol promises, message by message.

use crate::speaker::{Message, Speaker, bind, execute, framed, parse, sync};
use crate::start;
use std::thread;
use std::time::Duration;
use test_support::{Server, sleep};

fn with_server(test: impl FnOnce(&Server)) {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    test(&server);
}

fn field(messages: &[Message], kind: char) -> String {
    let error = messages.iter().find(|message| message.kind == 'E').expect("an error");
    error.field(kind).expect("the field")
}

#[test]
fn a_session_is_told_what_it_should_know() {
    with_server(|server| {
        let mut speaker = Speaker::silent(server);
        let tls = [4, 210, 22, 47];
        speaker.packet(&tls);
        assert_eq!(speaker.byte(), b'N', "no certificate is configured");
        let answer = speaker.start(&[
            ("user", "phantom"),
            ("database", "phantom"),
            ("application_name", "test"),
            ("options", "-c statement_timeout=7s"),
        ]);
        let kinds: String = answer.iter().map(|message| message.kind).collect();
        assert!(kinds.starts_with("RS") && kinds.ends_with("SKZ"), "{kinds}");
        let told = |name: &str| {
            let start = format!("{name}\0").into_bytes();
            let mut told = answer.iter().filter(|message| message.kind == 'S');
            told.any(|message| message.body.starts_with(&start))
        };
        for name in ["server_version", "client_encoding", "DateStyle", "TimeZone"] {
            assert!(told(name), "{name}");
        }
        assert_eq!(speaker.query("SHOW application_name; SHOW statement_timeout"), "test;7s;");
    });
}

#[test]
fn who_may_not_come_in_is_told_why() {
    with_server(|server| {
        let refused = |parameters: &[(&str, &str)]| {
            let answer = Speaker::silent(server).start(parameters);
            assert_eq!(field(&answer, 'S'), "FATAL");
            field(&answer, 'C')
        };
        assert_eq!(refused(&[("user", "phantom"), ("database", "nowhere")]), "3D000");
        assert_eq!(refused(&[("database", "phantom")]), "28000");
        assert_eq!(refused(&[("user", "phantom"), ("nonsense", "1")]), "42704");
        let mut old = Speaker::silent(server);
        old.packet(&[0, 2, 0, 0]);
        assert_eq!(field(&old.answer(), 'C'), "0A000");
    });
}

#[test]
fn errors_carry_their_fields_and_blocks_their_status() {
    with_server(|server| {
        let mut speaker = Speaker::connect(server);
        speaker.query("CREATE TABLE item (id int PRIMARY KEY)");
        speaker.send('Q', b"SELECT nme FROM item\0");
        let answer = speaker.answer();
        assert_eq!((field(&answer, 'C'), field(&answer, 'P')), ("42703".into(), "8".into()));
        speaker.send('Q', b"SELECT 1;\nSELECT nme() FROM item\0");
        let answer = speaker.answer();
        assert_eq!((field(&answer, 'C'), field(&answer, 'P')), ("42883".into(), "18".into()));
        speaker.send('Q', b"DELETE FROM itm\0");
        let answer = speaker.answer();
        assert_eq!((field(&answer, 'C'), field(&answer, 'P')), ("42P01".into(), "13".into()));
        speaker.send('Q', b"INSERT INTO item VALUES (1), (1)\0");
        let answer = speaker.answer();
        assert_eq!((field(&answer, 'n'), field(&answer, 't')), ("item_pkey".into(), "item".into()));
        let mut status = |text: &str| {
            speaker.send('Q', format!("{text}\0").as_bytes());
            char::from(speaker.answer().last().expect("an answer").body[0])
        };
        assert_eq!(status("BEGIN"), 'T');
        assert_eq!(status("SELECT 1/0"), 'E');
        assert_eq!(status("ROLLBACK"), 'I');
        assert_eq!(speaker.query(""), "");
        speaker.send('Q', b"\0");
        assert_eq!(speaker.kinds(), "IZ");
    });
}

#[test]
fn a_portal_is_read_bit_by_bit() {
    with_server(|server| {
        let mut speaker = Speaker::connect(server);
        speaker.query("CREATE TABLE n (id int PRIMARY KEY)");
        speaker.query("INSERT INTO n VALUES (1), (2), (3), (4), (5)");
        let mut request = parse("all", "SELECT id FROM n WHERE id > $1 ORDER BY id");
        request.extend(bind("p", "all", &["1"]));
        request.extend(execute("p", 2));
        request.extend(execute("p", 1));
        // What is changed now is not what the portal reads.
        request.extend(parse("", "DELETE FROM n WHERE id = 5"));
        request.extend(bind("", "", &[]));
        request.extend(execute("", 0));
        request.extend(execute("p", 0));
        request.extend(execute("p", 0));
        request.extend(sync());
        speaker.bytes(&request);
        let answer = speaker.answer();
        let kinds: String = answer.iter().map(|message| message.kind).collect();
        assert_eq!(kinds, "12DDsDs12CDCCZ");
        assert_eq!(answer[11].body, b"SELECT 1\0".to_vec(), "{answer:?}");
        speaker.bytes(&[execute("p", 0), sync()].concat());
        assert_eq!(speaker.results(), "34000;", "it ended with its transaction");
        assert_eq!(speaker.query("SELECT count(*) FROM n"), "4;");
    });
}

#[test]
fn what_stands_before_a_sync_is_one_transaction() {
    with_server(|server| {
        let mut speaker = Speaker::connect(server);
        speaker.query("CREATE TABLE n (id int PRIMARY KEY)");
        let insert = |id: &str| {
            [parse("", "INSERT INTO n VALUES ($1)"), bind("", "", &[id]), execute("", 0)].concat()
        };
        speaker.bytes(&[insert("1"), insert("2"), insert("1"), insert("3"), sync()].concat());
        assert_eq!(speaker.kinds(), "12C12C12EZ", "what follows the error is skipped");
        assert_eq!(speaker.query("SELECT count(*) FROM n"), "0;");
        speaker.bytes(&[insert("1"), insert("2"), sync(), insert("3"), sync()].concat());
        assert_eq!(speaker.kinds() + &speaker.kinds(), "12C12CZ12CZ");
        assert_eq!(speaker.query("SELECT count(*) FROM n"), "3;");
    });
}

#[test]
fn statements_are_described_named_and_closed() {
    with_server(|server| {
        let mut speaker = Speaker::connect(server);
        speaker.query("CREATE TABLE n (id int PRIMARY KEY, v text)");
        let described = framed('D', b"Sone\0");
        speaker.bytes(&[parse("one", "SELECT v FROM n WHERE id = $1"), described, sync()].concat());
        let answer = speaker.answer();
        assert_eq!(answer[1].body, [0, 1, 0, 0, 0, 23], "one parameter, of type int4");
        assert_eq!(answer[2].kind, 'T');
        speaker.bytes(&[parse("one", "SELECT 1"), sync()].concat());
        assert_eq!(speaker.results(), "42P05;");
        speaker.bytes(&[bind("", "one", &["x"]), sync()].concat());
        assert_eq!(speaker.results(), "22P02;");
        speaker.bytes(&[bind("", "one", &[]), sync()].concat());
        assert_eq!(speaker.results(), "08P01;");
        speaker.bytes(&[framed('C', b"Sone\0"), bind("", "one", &["1"]), sync()].concat());
        assert_eq!(speaker.results(), "26000;");
        speaker.bytes(&[parse("", ""), bind("", "", &[]), execute("", 0), sync()].concat());
        assert_eq!(speaker.kinds(), "12IZ", "an empty statement");
    });
}

#[test]
fn a_session_forgets_what_it_is_told_to() {
    with_server(|server| {
        let mut speaker = Speaker::connect(server);
        let bound = |name: &str| [bind("", name, &[]), execute("", 0), sync()].concat();
        let both = |speaker: &mut Speaker| {
            let texts = [parse("one", "SELECT 1"), parse("Two", "SELECT 2"), sync()];
            speaker.bytes(&texts.concat());
            assert_eq!(speaker.kinds(), "11Z");
            speaker.query("DEALLOCATE PREPARE one");
            speaker.bytes(&bound("one"));
            assert_eq!(speaker.results(), "26000;");
            speaker.bytes(&bound("Two"));
            assert_eq!(speaker.results(), "2;");
            assert_eq!(speaker.query("DEALLOCATE one"), "26000;");
            assert_eq!(speaker.query("DEALLOCATE Two"), "26000;", "the name is folded");
        };
        both(&mut speaker);
        speaker.query("DEALLOCATE ALL");
        speaker.bytes(&bound("Two"));
        assert_eq!(speaker.results(), "26000;");
        both(&mut speaker);
        speaker.query("SET statement_timeout = '7s'; DISCARD PLANS; DISCARD TEMP");
        assert_eq!(speaker.query("BEGIN; DISCARD ALL"), "25001;");
        speaker.query("ROLLBACK");
        speaker.bytes(&bound("Two"));
        assert_eq!(speaker.results(), "2;");
        speaker.query("DISCARD ALL");
        speaker.bytes(&bound("Two"));
        assert_eq!(speaker.results(), "26000;");
        assert_eq!(speaker.query("SHOW statement_timeout"), "0;");
    });
}

#[test]
fn a_prepared_statement_outlives_a_schema_change() {
    with_server(|server| {
        let mut speaker = Speaker::connect(server);
        speaker.query("CREATE TABLE n (id int PRIMARY KEY, v text)");
        speaker.query("INSERT INTO n VALUES (1, 'one')");
        speaker.bytes(
            &[parse("v", "SELECT v FROM n"), parse("s", "SELECT * FROM n"), sync()].concat(),
        );
        assert_eq!(speaker.kinds(), "11Z");
        speaker.query("ALTER TABLE n ADD COLUMN w int");
        speaker.bytes(&[bind("", "v", &[]), execute("", 0), sync()].concat());
        assert_eq!(speaker.results(), "one;");
        speaker.bytes(&[bind("", "s", &[]), execute("", 0), sync()].concat());
        assert_eq!(speaker.results(), "0A000;", "its columns are no longer what was told");
    });
}

#[test]
fn a_statement_is_cancelled_by_its_key_only() {
    with_server(|server| {
        let mut holder = Speaker::connect(server);
        holder.query("CREATE TABLE n (id int PRIMARY KEY, v int)");
        holder.query("INSERT INTO n VALUES (1, 0)");
        holder.query("BEGIN; UPDATE n SET v = 1");
        let mut waiting = Speaker::connect(server);
        waiting.send('Q', b"UPDATE n SET v = 2\0");
        let cancel = |key: &[u8]| {
            let mut other = Speaker::silent(server);
            other.packet(&[&[4, 210, 22, 46], key].concat());
            assert_eq!(other.receive(), None, "a cancel is not answered");
        };
        let mut wrong = waiting.key;
        wrong[7] ^= 1;
        cancel(&wrong);
        let key = waiting.key;
        let answer = thread::scope(|scope| {
            let answered = scope.spawn(|| waiting.results());
            sleep(Duration::from_millis(200));
            assert!(!answered.is_finished(), "it still waits for the row");
            cancel(&key);
            answered.join().expect("an answer")
        });
        assert_eq!(answer, "57014;");
        assert_eq!(holder.query("COMMIT; SELECT v FROM n"), "1;");
    });
}

#[test]
fn one_who_vanishes_in_a_transaction_leaves_no_lock() {
    with_server(|server| {
        let mut speaker = Speaker::connect(server);
        speaker.query("CREATE TABLE n (id int PRIMARY KEY, v int)");
        speaker.query("INSERT INTO n VALUES (1, 0)");
        let mut gone = Speaker::connect(server);
        gone.query("BEGIN; UPDATE n SET v = 1");
        // One that waits for the first, and vanishes while it does.
        let mut waiting = Speaker::connect(server);
        waiting.send('Q', b"BEGIN; UPDATE n SET v = 2\0");
        sleep(Duration::from_millis(100));
        waiting.vanish();
        gone.vanish();
        speaker.query("SET statement_timeout = '5s'");
        assert_eq!(speaker.query("UPDATE n SET v = v + 10; SELECT v FROM n"), "10;");
    });
}

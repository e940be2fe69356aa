//! Prepared statements and cursors of SQL beside those of the protocol: one space of names.

use crate::speaker::{Speaker, bind, execute, parse, sync};
use crate::start;
use test_support::Server;

fn with_speaker(test: impl FnOnce(&mut Speaker)) {
    let data = tempfile::tempdir().expect("a data directory");
    let server: Server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut speaker = Speaker::connect(&server);
    speaker.query("CREATE TABLE n (id int PRIMARY KEY, name text)");
    speaker.query("INSERT INTO n SELECT i, 'row ' || i FROM generate_series(1, 9) AS i");
    test(&mut speaker);
}

fn error(speaker: &mut Speaker, text: &str) -> (String, String) {
    speaker.send('Q', format!("{text}\0").as_bytes());
    let answer = speaker.answer();
    let error = answer.iter().find(|message| message.kind == 'E').expect("an error");
    (error.field('C').expect("a state"), error.field('M').expect("a message"))
}

#[test]
fn prepared_statements_have_one_space_of_names() {
    with_speaker(|speaker| {
        speaker.bytes(&[parse("p", "SELECT name FROM n WHERE id = $1"), sync()].concat());
        assert_eq!(speaker.kinds(), "1Z");
        assert_eq!(speaker.query("EXECUTE p(3)"), "row 3;");
        assert_eq!(speaker.query("PREPARE p AS SELECT 1"), "42P05;");
        assert_eq!(speaker.query("PREPARE q (int) AS SELECT id + $1 FROM n WHERE id = 1"), "");
        speaker.bytes(&[bind("", "q", &["41"]), execute("", 0), sync()].concat());
        assert_eq!(speaker.results(), "42;");
        let named = "SELECT name, from_sql FROM pg_prepared_statements ORDER BY name";
        assert_eq!(speaker.query(named), "p|f;q|t;");
        assert_eq!(speaker.query("DEALLOCATE p"), "");
        speaker.bytes(&[bind("", "p", &["1"]), execute("", 0), sync()].concat());
        assert_eq!(speaker.results(), "26000;");
        // An EXECUTE as a portal, whole and bit by bit.
        speaker.query("PREPARE more (int) AS SELECT id FROM n WHERE id > $1 ORDER BY id");
        let mut request = parse("", "EXECUTE more(5)");
        request.extend(bind("", "", &[]));
        request.extend(execute("", 3));
        request.extend(execute("", 0));
        request.extend(sync());
        speaker.bytes(&request);
        let answer = speaker.answer();
        let kinds: String = answer.iter().map(|message| message.kind).collect();
        assert_eq!(kinds, "12DDDsDCZ");
        assert_eq!(answer[7].body, b"SELECT 1\0".to_vec());
    });
}

#[test]
fn cursors_and_portals_have_one_space_of_names() {
    with_speaker(|speaker| {
        assert_eq!(speaker.query("BEGIN"), "");
        assert_eq!(speaker.query("DECLARE c CURSOR FOR SELECT id FROM n ORDER BY id"), "");
        assert_eq!(speaker.query("FETCH 2 FROM c"), "1;2;");
        speaker.bytes(&[execute("c", 2), sync()].concat());
        let answer = speaker.answer();
        let kinds: String = answer.iter().map(|message| message.kind).collect();
        assert_eq!(kinds, "DDsZ");
        assert_eq!(answer[1].row(), vec![Some("4".to_owned())]);
        // A portal of the protocol, fetched from by SQL.
        let mut request = parse("", "SELECT id FROM n WHERE id > $1 ORDER BY id");
        request.extend(bind("portal", "", &["2"]));
        request.extend(sync());
        speaker.bytes(&request);
        assert_eq!(speaker.kinds(), "12Z");
        assert_eq!(speaker.query("FETCH 2 FROM portal"), "3;4;");
        assert_eq!(speaker.query("SELECT name FROM pg_cursors ORDER BY name"), "c;portal;");
        assert_eq!(speaker.query("MOVE 1 FROM portal"), "");
        speaker.bytes(&[execute("portal", 1), sync()].concat());
        assert_eq!(speaker.results(), "6;");
        assert_eq!(speaker.query("CLOSE portal"), "");
        speaker.bytes(&[execute("portal", 1), sync()].concat());
        assert_eq!(speaker.results(), "34000;");
        assert_eq!(speaker.query("ROLLBACK"), "");
    });
}

#[test]
fn parameters_and_binary_rows_of_cursors() {
    with_speaker(|speaker| {
        speaker.query("BEGIN");
        let mut request =
            parse("", "DECLARE c CURSOR FOR SELECT id FROM n WHERE id >= $1 ORDER BY id");
        request.extend(bind("", "", &["8"]));
        request.extend(execute("", 0));
        request.extend(sync());
        speaker.bytes(&request);
        assert_eq!(speaker.kinds(), "12CZ");
        // Described before it is run, it has the cursor's columns.
        let mut request = parse("f", "FETCH ALL FROM c");
        request.extend(crate::speaker::framed('D', b"Sf\0"));
        request.extend(bind("", "f", &[]));
        request.extend(execute("", 0));
        request.extend(sync());
        speaker.bytes(&request);
        let answer = speaker.answer();
        let kinds: String = answer.iter().map(|message| message.kind).collect();
        assert_eq!(kinds, "1tT2DDCZ");
        assert_eq!(answer[6].body, b"FETCH 2\0".to_vec());
        speaker.query("DECLARE b BINARY CURSOR FOR SELECT id FROM n WHERE id = 7");
        speaker.send('Q', b"FETCH b\0");
        let answer = speaker.answer();
        assert_eq!(answer[1].body, vec![0, 1, 0, 0, 0, 4, 0, 0, 0, 7]);
    });
}

#[test]
fn errors_have_postgresqls_words() {
    with_speaker(|speaker| {
        let told = |state: &str, message: &str| (state.to_owned(), message.to_owned());
        assert_eq!(
            error(speaker, "DECLARE c CURSOR FOR SELECT 1"),
            told("25P01", "DECLARE CURSOR can only be used in transaction blocks")
        );
        assert_eq!(error(speaker, "FETCH c"), told("34000", "cursor \"c\" does not exist"));
        assert_eq!(
            error(speaker, "EXECUTE p"),
            told("26000", "prepared statement \"p\" does not exist")
        );
        speaker.query("PREPARE p (int) AS SELECT $1");
        assert_eq!(
            error(speaker, "EXECUTE p"),
            told("42601", "wrong number of parameters for prepared statement \"p\"")
        );
        assert_eq!(
            error(speaker, "EXECUTE p(true)"),
            told(
                "42804",
                "parameter $1 of type boolean cannot be coerced to the expected type integer"
            )
        );
        assert_eq!(
            error(
                speaker,
                "BEGIN; DECLARE c NO SCROLL CURSOR FOR VALUES (1), (2); MOVE 2 c; FETCH -1 c"
            ),
            told("55000", "cursor can only scan forward")
        );
        speaker.query("ROLLBACK");
        // In one text, a cursor needs no block.
        let text = "DECLARE c CURSOR FOR SELECT id FROM n ORDER BY id; FETCH 2 FROM c; CLOSE c";
        assert_eq!(speaker.query(text), "1;2;");
    });
}

#[test]
fn what_is_kept_for_a_cursor_is_bounded() {
    with_speaker(|speaker| {
        let text = "SELECT i, repeat('x', 1000) FROM generate_series(1, 1000000) AS i";
        let (state, _) = error(speaker, &format!("DECLARE big CURSOR WITH HOLD FOR {text}"));
        assert_eq!(state, "53200");
        speaker.query("BEGIN");
        assert_eq!(speaker.query(&format!("DECLARE big CURSOR FOR {text}")), "");
        assert_eq!(speaker.query("MOVE 900000 FROM big"), "");
        assert_eq!(speaker.query("COMMIT"), "");
    });
}

//! Clients that leave in the wrong way, each holding a row: what they held is free at once, what
//! they began is undone, and the node goes on.

use crate::speaker::{Speaker, framed};
use crate::{builder, start, tools};
use std::path::Path;
use std::time::Duration;
use test_support::{Server, Stopwatch, sleep};

/// How long another session may wait for what was held. A lock that stays is waited for ten
/// seconds.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A table of one row, `(1, 0)`.
fn with_row(test: impl FnOnce(&Server)) {
    let data = tempfile::tempdir().expect("a data directory");
    let mut server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut speaker = Speaker::connect(&server);
    speaker.query("CREATE TABLE held (id int PRIMARY KEY, v int)");
    speaker.query("INSERT INTO held VALUES (1, 0)");
    test(&server);
    assert!(server.is_running() && !server.log().contains("panick"), "{}", server.log());
}

/// A session in a transaction that has changed the row.
fn holder(server: &Server) -> Speaker {
    let mut speaker = Speaker::connect(server);
    assert_eq!(speaker.query("BEGIN; UPDATE held SET v = 100"), "");
    speaker
}

/// Another session changes the row without waiting, and finds nothing of what was begun.
fn is_free(server: &Server, what: &str) {
    let mut speaker = Speaker::connect(server);
    let asked = Stopwatch::start();
    let answer = speaker.query("UPDATE held SET v = v + 1; SELECT v < 100 FROM held");
    assert_eq!(answer, "t;", "{what}");
    assert!(asked.elapsed() < AT_ONCE, "{what}: {:?}", asked.elapsed());
}

#[test]
fn who_is_dropped_in_a_transaction_frees_its_row() {
    with_row(|server| {
        holder(server).vanish();
        is_free(server, "between statements");
        let mut speaker = holder(server);
        speaker.send(
            'Q',
            b"SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b\0",
        );
        sleep(Duration::from_millis(100));
        speaker.vanish();
        is_free(server, "while a statement runs");
        let mut speaker = holder(server);
        speaker.bytes(&framed('Q', b"SELECT 1\0")[..7]);
        speaker.vanish();
        is_free(server, "inside a message");
        let mut speaker = holder(server);
        speaker.send('Q', b"COPY held FROM STDIN\0");
        assert_eq!(speaker.receive().expect("an answer").kind, 'G');
        speaker.send('d', b"2\t0\n");
        speaker.vanish();
        is_free(server, "inside a copy");
        let mut speaker = holder(server);
        speaker.send('X', b"");
        assert_eq!(speaker.receive(), None);
        is_free(server, "after a goodbye");
        assert_eq!(Speaker::connect(server).query("SELECT count(*) FROM held"), "1;");
    });
}

#[test]
fn who_breaks_the_protocol_in_a_transaction_frees_its_row() {
    with_row(|server| {
        let broken: [(&str, Vec<u8>); 5] = [
            (
                "a second start-up packet",
                [&[0, 0, 0, 22, 0, 3, 0, 0][..], b"user\0phantom\0"].concat(),
            ),
            ("2^31 bytes", vec![b'Q', 0x80, 0, 0, 0]),
            ("2^31 - 1 bytes", vec![b'Q', 0x7f, 0xff, 0xff, 0xff]),
            ("a length of nothing", vec![b'Q', 0, 0, 0, 0]),
            ("no message", vec![b'!', 0, 0, 0, 4]),
        ];
        for (what, bytes) in broken {
            let mut speaker = holder(server);
            speaker.bytes(&bytes);
            let answer = speaker.answer();
            assert_eq!(answer[0].field('S').as_deref(), Some("FATAL"), "{what}: {answer:?}");
            assert_eq!(answer[0].field('C').as_deref(), Some("08P01"), "{what}: {answer:?}");
            is_free(server, what);
        }
    });
}

#[test]
fn a_cancelled_statement_leaves_its_block_to_be_rolled_back() {
    with_row(|server| {
        let mut speaker = holder(server);
        speaker.send(
            'Q',
            b"SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b\0",
        );
        sleep(Duration::from_millis(100));
        let mut other = Speaker::silent(server);
        other.packet(&[&[4, 210, 22, 46], &speaker.key[..]].concat());
        assert_eq!(other.receive(), None, "a cancel is not answered");
        let answer = speaker.answer();
        let error = answer.iter().find(|message| message.kind == 'E').expect("an error");
        assert_eq!(error.field('C').as_deref(), Some("57014"));
        let message = "canceling statement due to user request";
        assert_eq!(error.field('M').as_deref(), Some(message));
        assert_eq!(answer.last().expect("an end").body, b"E", "the block has failed");
        assert_eq!(speaker.query("SELECT 1"), "25P02;");
        assert_eq!(speaker.query("ROLLBACK; SELECT v FROM held"), "0;");
        is_free(server, "a cancelled block");
        // A cancel that comes too late meets nothing.
        let mut late = Speaker::silent(server);
        late.packet(&[&[4, 210, 22, 46], &speaker.key[..]].concat());
        assert_eq!(late.receive(), None);
        assert_eq!(speaker.query("SELECT 2"), "2;");
    });
}

#[test]
fn psql_is_told_why_it_is_not_let_in() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = builder(&data.path().join("data"), &["--cores", "1", "--connections-max", "1"])
        .start()
        .expect("a server");
    let said = |how: &str| {
        let mut command = tools::client("psql", &server, Path::new("."));
        command.args(["-X", "-d", how, "-c", "SELECT 1"]);
        let output = tools::run(command)?;
        assert_eq!(output.status.code(), Some(2), "psql has no connection");
        Some(tools::text(output.stderr))
    };
    let Some(unknown) = said("dbname=nowhere") else { return };
    assert!(unknown.contains("FATAL:  database \"nowhere\" does not exist"), "{unknown}");
    let _place = Speaker::connect(&server);
    let full = said("dbname=phantom").expect("psql is there");
    assert!(full.contains("FATAL:  sorry, too many clients already"), "{full}");
}

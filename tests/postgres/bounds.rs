//! Clients that break the protocol: a clear error or a closed connection, and nothing left behind.

use crate::speaker::{Speaker, framed};
use crate::start;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;
use test_support::{Server, Stopwatch};

/// How long a neighbour may wait while others misbehave.
const PATIENCE: Duration = Duration::from_secs(3);
const MIB: usize = 1 << 20;

/// Runs `attack` and sees that the server is well after it.
fn attacked(arguments: &[&str], attack: impl FnOnce(&Server)) {
    let data = tempfile::tempdir().expect("a data directory");
    let mut server = start(&data.path().join("data"), arguments);
    let mut neighbour = Speaker::connect(&server);
    neighbour.query("CREATE TABLE t (id int PRIMARY KEY, s text)");
    neighbour.query("INSERT INTO t VALUES (1, 'one')");
    attack(&server);
    let asked = Stopwatch::start();
    assert_eq!(neighbour.query("SELECT s FROM t WHERE id = 1"), "one;");
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    assert!(server.is_running() && !server.log().contains("panick"), "{}", server.log());
}

/// The SQLSTATE of the fatal error that ends the connection.
fn fatal(speaker: &mut Speaker) -> String {
    let answer = speaker.answer();
    let last = answer.last().expect("an error before the end");
    assert_eq!((last.kind, last.field('S').as_deref()), ('E', Some("FATAL")), "{answer:?}");
    last.field('C').expect("a SQLSTATE")
}

#[test]
fn messages_that_are_none_end_the_connection() {
    attacked(&[], |server| {
        let lengths: [[u8; 4]; 4] = [[0x80, 0, 0, 0], [0x7f, 0xff, 0xff, 0xff], [0; 4], [0xff; 4]];
        for length in lengths {
            let mut speaker = Speaker::connect(server);
            speaker.bytes(&[b"Q", &length[..]].concat());
            assert_eq!(fatal(&mut speaker), "08P01", "{length:?}");
            let mut speaker = Speaker::silent(server);
            speaker.bytes(&length);
            assert_eq!(fatal(&mut speaker), "08P01", "{length:?} at the start");
        }
        let malformed = [
            framed('!', b""),
            framed('Q', b"no end"),
            framed('B', b"\0\0\0\0\0\x01\0\0\0\x09short"),
            framed('D', b"Xname\0"),
            framed('p', b"password\0"),
        ];
        for bytes in malformed {
            let mut speaker = Speaker::connect(server);
            speaker.bytes(&bytes);
            assert_eq!(fatal(&mut speaker), "08P01", "{bytes:?}");
        }
        let mut speaker = Speaker::connect(server);
        let again = speaker.start(&[("user", "phantom")]);
        assert_eq!(again[0].field('C').as_deref(), Some("08P01"), "a second start");
        let mut speaker = Speaker::connect(server);
        speaker.bytes(&framed('Q', b"SELECT '\xff'\0"));
        assert_eq!(fatal(&mut speaker), "22021");
    });
}

#[test]
fn a_client_that_never_reads_is_not_served_for_ever() {
    attacked(&["--memory", "256MiB"], |server| {
        let mut speaker = Speaker::connect(server);
        speaker.query("CREATE TABLE wide (id int PRIMARY KEY, s text)");
        let text = "x".repeat(MIB);
        for id in 0..8 {
            speaker.query(&format!("INSERT INTO wide VALUES ({id}, '{text}')"));
        }
        let before = server.status().expect("the server's status").resident;
        let mut greedy = Speaker::connect(server);
        for _ in 0..50 {
            greedy.bytes(&framed('Q', b"SELECT s FROM wide\0"));
        }
        test_support::sleep(Duration::from_secs(1));
        let after = server.status().expect("the server's status").resident;
        let room = 128 * MIB as u64;
        assert!(after < before + room, "400 MiB were asked for: {before} bytes became {after}");
        greedy.vanish();
    });
}

/// Files that this process, and a server it starts, may have open.
fn raise_open_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("the host lets so many files be open");
    }
}

/// All that may are served at one time, one more is told that it may not, and when they are gone
/// their places are free, and what they took is there for others.
#[test]
fn five_thousand_connections_come_and_go() {
    const COUNT: usize = 5_000;
    // Both ends are open, and each has its own of others.
    raise_open_files(COUNT as u64 + 1_000);
    attacked(&["--connections-max", &COUNT.to_string()], |server| {
        let resident = || server.status().expect("the server's status").resident;
        let before = resident();
        let mut after = Vec::new();
        for _ in 0..2 {
            // The neighbour has one place.
            let mut speakers: Vec<Speaker> = (1..COUNT).map(|_| Speaker::connect(server)).collect();
            for speaker in &mut speakers {
                assert_eq!(speaker.query("SELECT s FROM t WHERE id = 1"), "one;");
            }
            let mut refused = Speaker::silent(server);
            let answer = refused.start(&[("user", "phantom")]);
            assert_eq!(answer[0].field('C').as_deref(), Some("53300"));
            assert_eq!(answer[0].field('M').as_deref(), Some("sorry, too many clients already"));
            println!("{} MiB with {COUNT} connections", resident() / MIB as u64);
            speakers.into_iter().for_each(Speaker::vanish);
            let started = Stopwatch::start();
            while Speaker::silent(server).start(&[("user", "phantom")])[0].kind == 'E' {
                assert!(started.elapsed() < PATIENCE, "places become free again");
                test_support::sleep(Duration::from_millis(10));
            }
            // What they took is free, and the allocator gives it back as the cores go on working.
            let room = 8 * MIB as u64;
            let started = Stopwatch::start();
            while resident() > before + room && started.elapsed() < PATIENCE {
                for _ in 0..8 {
                    Speaker::connect(server).query("SELECT s FROM t WHERE id = 1");
                }
                test_support::sleep(Duration::from_millis(50));
            }
            after.push(resident());
        }
        println!("{} MiB before, {:?} bytes after", before / MIB as u64, after);
        // While they were there they took some 45 MiB.
        let room = 24 * MIB as u64;
        assert!(after.iter().all(|&after| after < before + room), "{before} became {after:?}");
    });
}

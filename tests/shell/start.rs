//! `phantomdb start`: ready file, signals, refusals.

use std::process::{Command, Stdio};

use test_support::ServerBuilder;

use crate::{PROGRAM, Place, Ran};

#[test]
fn a_server_says_when_it_serves_and_drains_when_told() {
    let place = Place::new();
    let ready = place.server.ready().clone();
    assert_eq!((ready.node, ready.cores.len()), (1, 2));
    assert!(ready.native.starts_with("127.0.0.1:") && !ready.native.ends_with(":0"));
    // Each core answers at its own door.
    for address in &ready.cores {
        let url = format!("phantom://{address}/phantom");
        assert_eq!(
            place.run(&["sql", "--url", &url, "--format", "csv", "-c", "SELECT 1 AS one"]).done(),
            "one\n1\n"
        );
    }
    place.sql("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").done();
    let Place { server, directory } = place;
    assert_eq!(server.terminate().expect("the end").code(), Some(0));
    // What was there is there again.
    let server = ServerBuilder::new(PROGRAM, &directory.path().join("data"))
        .arguments(["--cores", "2"])
        .start()
        .expect("the server starts");
    let place = Place { server, directory };
    assert_eq!(place.run(&["sql", "--format", "csv", "-c", "SELECT * FROM t"]).done(), "id\n1\n");
    for line in place.server.log().lines() {
        let parsed: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        assert!(parsed["time"].is_string() && parsed["message"].is_string(), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [["--replication-factor", "2"], ["--join", "nowhere"], ["--cores", "0"]] {
        let output = Command::new(PROGRAM)
            .arg("start")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        let ran = Ran::of(output);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(arguments[0]), "{}", ran.err);
    }
}

#[test]
fn a_door_that_is_taken_is_named() {
    let place = Place::new();
    let output = Command::new(PROGRAM)
        .args(["start", "--listen", place.server.address(), "--data-dir"])
        .arg(place.path().join("other"))
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let ran = Ran::of(output);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains(place.server.address()), "{}", ran.err);
}

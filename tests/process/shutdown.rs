//! Starting and ending: exit codes, draining, one server a data directory.

use crate::{builder, connect, number, start};
use phantomdb_client::SqlState;
use std::process::Command;
use std::time::Duration;
use test_support::{Stopwatch, sleep};

/// How long a server may take to notice a signal and end.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_drained_server_ends_with_zero_and_its_rows_stay() {
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let server = start(&data_dir, &["--cores", "2"]);
    let mut client = connect(&server);
    client.run("CREATE TABLE t (id int PRIMARY KEY)").expect("a table");
    client.run("INSERT INTO t VALUES (1), (2), (3)").expect("rows");
    let status = server.terminate().expect("it drains");
    assert_eq!(status.code(), Some(0));
    let server = start(&data_dir, &["--cores", "2"]);
    assert_eq!(number(&mut connect(&server), "SELECT count(*) FROM t"), 3);
}

#[test]
fn draining_waits_for_an_open_transaction() {
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let mut server = start(&data_dir, &["--cores", "2"]);
    let mut client = connect(&server);
    client.run("CREATE TABLE t (id int PRIMARY KEY)").expect("a table");
    client.run("BEGIN").expect("a transaction");
    client.run("INSERT INTO t VALUES (1), (2)").expect("rows");
    server.signal("TERM").expect("a signal");
    sleep(Duration::from_millis(500));
    assert!(server.is_running(), "it did not wait:\n{}", server.log());
    client.run("INSERT INTO t VALUES (3)").expect("the transaction goes on");
    client.run("COMMIT").expect("it commits");
    assert_eq!(server.wait(AT_ONCE).expect("it ends").code(), Some(0));
    let server = start(&data_dir, &["--cores", "2"]);
    assert_eq!(number(&mut connect(&server), "SELECT count(*) FROM t"), 3);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let mut server = start(&data_dir, &["--cores", "2", "--drain-timeout", "1h"]);
    let mut client = connect(&server);
    client.run("CREATE TABLE t (id int PRIMARY KEY)").expect("a table");
    client.run("BEGIN").expect("a transaction");
    client.run("INSERT INTO t VALUES (1)").expect("a row");
    server.signal("TERM").expect("a signal");
    sleep(Duration::from_millis(300));
    assert!(server.is_running(), "it did not wait:\n{}", server.log());
    let asked = Stopwatch::start();
    server.signal("TERM").expect("a second signal");
    server.wait(AT_ONCE).expect("it ends");
    println!("ended {:?} after the second signal", asked.elapsed());
    let server = start(&data_dir, &["--cores", "2"]);
    assert_eq!(number(&mut connect(&server), "SELECT count(*) FROM t"), 0);
}

#[test]
fn a_data_directory_serves_one_server() {
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let server = start(&data_dir, &["--cores", "1"]);
    let ready = data.path().join("second.ready");
    let output = Command::new(env!("CARGO_BIN_EXE_phantomdb"))
        .args(["start", "--listen", "127.0.0.1:0", "--cores", "1", "--data-dir"])
        .arg(&data_dir)
        .arg("--ready-file")
        .arg(&ready)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another process uses"), "{said}");
    assert!(said.contains(&*data_dir.to_string_lossy()), "{said}");
    assert!(!ready.exists(), "it never served");
    connect(&server).ping().expect("the first one goes on");
}

#[test]
fn wrong_flags_and_missing_servers_have_their_exit_codes() {
    let data = tempfile::tempdir().expect("a data directory");
    for wrong in [&["--cores", "0"][..], &["--cores", "many"], &["--memory", "1KiB"], &["--nosuch"]]
    {
        let ended = builder(&data.path().join("data"), wrong).start_in_vain();
        let (status, log) = ended.expect("it ends");
        assert_eq!(status.code(), Some(2), "{wrong:?}: {log}");
    }
    let nobody = ["sql", "--url", "phantom://phantom@127.0.0.1:1/phantom", "-c", "SELECT 1"];
    let output = Command::new(env!("CARGO_BIN_EXE_phantomdb")).args(nobody).output();
    assert_eq!(output.expect("the program runs").status.code(), Some(3));
}

#[test]
fn an_address_in_use_is_said() {
    let data = tempfile::tempdir().expect("a data directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_phantomdb"))
        .args(["start", "--listen", &address, "--cores", "1", "--data-dir"])
        .arg(data.path().join("data"))
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
}

#[test]
fn a_session_of_a_draining_server_is_told() {
    let data = tempfile::tempdir().expect("a data directory");
    let mut server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut waiting = connect(&server);
    let mut open = connect(&server);
    open.run("CREATE TABLE t (id int PRIMARY KEY)").expect("a table");
    open.run("BEGIN").expect("a transaction");
    open.run("INSERT INTO t VALUES (1)").expect("a row");
    server.signal("TERM").expect("a signal");
    sleep(Duration::from_millis(300));
    // Without a transaction it gets no further statement through.
    let error = waiting.run("SELECT count(*) FROM t").expect_err("it drains");
    let told = error.state() == Some(SqlState::ADMIN_SHUTDOWN) || error.state().is_none();
    assert!(told, "{error}");
    open.run("ROLLBACK").expect("the transaction ends");
    assert_eq!(server.wait(AT_ONCE).expect("it ends").code(), Some(0));
}

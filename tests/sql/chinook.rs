//! The Chinook database: loaded by the program itself, asked before and after a restart.
//!
//! What is asked and answered stands in `chinook.slt`.

use crate::engine::{Phantom, Spelling};
use crate::runner::{PLAIN, run_file};
use crate::{borrowed, server};
use std::path::Path;
use std::process::Command;
use test_support::Server;

/// Tables, and rows in all of them.
const TABLES: usize = 11;
const ROWS: i64 = 15_607;

fn url(server: &Server) -> String {
    format!("phantom://phantom@{}/chinook", server.address())
}

fn load(server: &Server, script: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_phantomdb"))
        .args(["sql", "--url", &server.url(), "-f"])
        .arg(script)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", server.log());
    let acknowledged = String::from_utf8_lossy(&output.stdout);
    let created = acknowledged.lines().filter(|line| *line == "CREATE TABLE").count();
    assert_eq!(created, TABLES, "{acknowledged}");
    let inserted: i64 = acknowledged
        .lines()
        .filter_map(|line| line.strip_prefix("INSERT 0 "))
        .map(|count| count.parse::<i64>().expect("a count"))
        .sum();
    assert_eq!(inserted, ROWS);
}

fn check(server: &Server) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql/chinook.slt");
    let url = url(server);
    let connect = || {
        let url = url.clone();
        async move { Phantom::connect(&url, Spelling::Postgres) }
    };
    run_file(&script, PLAIN, &[], connect).check("chinook.slt");
}

/// Loads with so many cores, and asks again after restarts with as many and with others.
fn chinook(cores: u16, other_cores: u16) {
    let Some(script) = borrowed("data/chinook/chinook.sql") else { return };
    let data = tempfile::tempdir().expect("a data directory");
    let data_dir = data.path().join("data");
    let first = server(&data_dir, cores);
    load(&first, &script);
    check(&first);
    assert!(first.terminate().expect("it drains").success());
    for cores in [cores, other_cores] {
        let again = server(&data_dir, cores);
        check(&again);
        assert!(again.terminate().expect("it drains").success());
    }
}

#[test]
fn chinook_loads_on_one_core_and_goes_on_with_three() {
    chinook(1, 3);
}

#[test]
fn chinook_loads_on_four_cores_and_goes_on_with_one() {
    chinook(4, 1);
}

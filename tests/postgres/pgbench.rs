//! The real pgbench: its tables, its three stock scripts in its three ways to ask, and the books
//! afterwards.

use crate::tools;
use phantomdb_client::blocking::Client;
use std::path::Path;
use test_support::{Server, Stopwatch, slice};

const CLIENTS: &str = "64";
/// Rows of `pgbench_accounts` for each unit of scale.
const ACCOUNTS: i64 = 100_000;
/// Ways to ask.
const PROTOCOLS: [&str; 3] = ["simple", "extended", "prepared"];

#[test]
fn pgbench_fails_no_transaction_and_the_books_balance() {
    let scale = slice("PHANTOM_PGBENCH_SCALE", 1, 10) as i64;
    let seconds = slice("PHANTOM_PGBENCH_SECONDS", 1, 30).to_string();
    let data = tempfile::tempdir().expect("a data directory");
    let server = crate::start(&data.path().join("data"), &["--cores", "2"]);

    let filled = Stopwatch::start();
    let Some(_) = pgbench(&server, data.path(), &["-i", "-q", "-s", &scale.to_string()]) else {
        return;
    };
    println!("-i -s {scale}: {:?}", filled.elapsed());
    let mut books = Books(Client::connect(&server.url()).expect("the native door"));
    assert_eq!(books.number("SELECT count(*) FROM pgbench_accounts"), scale * ACCOUNTS);
    let keys = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'pgbench%pkey'";
    assert_eq!(books.number(keys), 3);

    let run = |script: &str| -> i64 {
        PROTOCOLS
            .iter()
            .map(|protocol| load(&server, data.path(), script, protocol, &seconds))
            .sum()
    };
    let complete = run("tpcb-like");
    assert_eq!(books.number("SELECT count(*) FROM pgbench_history"), complete);
    let moved = books.sum("pgbench_history", "delta");
    assert_eq!(books.sum("pgbench_accounts", "abalance"), moved);
    assert_eq!(books.sum("pgbench_tellers", "tbalance"), moved);
    assert_eq!(books.sum("pgbench_branches", "bbalance"), moved);

    // This script leaves tellers and branches alone.
    let simple = run("simple-update");
    assert_eq!(books.number("SELECT count(*) FROM pgbench_history"), complete + simple);
    let accounts = books.sum("pgbench_accounts", "abalance");
    assert_eq!(accounts, books.sum("pgbench_history", "delta"));
    assert_eq!(books.sum("pgbench_tellers", "tbalance"), moved);
    assert_eq!(books.sum("pgbench_branches", "bbalance"), moved);

    run("select-only");
    assert_eq!(books.sum("pgbench_accounts", "abalance"), accounts);
    let ended = server.terminate().expect("an orderly end");
    assert!(ended.success(), "{ended}");
}

/// What pgbench prints of a run that goes well, to the last word; `None` where it is not installed.
fn pgbench(server: &Server, directory: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = tools::client("pgbench", server, directory);
    command.args(arguments);
    let output = tools::run(command)?;
    let complaints = tools::text(output.stderr);
    assert!(output.status.success(), "pgbench {arguments:?}: {complaints}");
    assert!(!complaints.contains("rror"), "pgbench {arguments:?}: {complaints}");
    Some(tools::text(output.stdout))
}

/// Runs one of the stock scripts for some seconds; gives how many transactions it says were made.
fn load(server: &Server, directory: &Path, script: &str, protocol: &str, seconds: &str) -> i64 {
    let arguments = ["-n", "-b", script, "-M", protocol, "-c", CLIENTS, "-j", "2", "-T", seconds];
    let printed = pgbench(server, directory, &arguments).expect("pgbench is there");
    let value = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("no `{name}` in\n{printed}"));
        line.split_whitespace().next().expect("a figure").to_owned()
    };
    let tps = value("tps = ");
    let latency = value("latency average = ");
    println!("{script}, {protocol}: {tps} a second, {latency} ms");
    assert_eq!(value("number of failed transactions: "), "0", "{printed}");
    let made = value("number of transactions actually processed: ").parse().expect("a number");
    assert!(made > 0, "{printed}");
    made
}

/// Reads the tables through the other door.
struct Books(Client);

impl Books {
    fn number(&mut self, sql: &str) -> i64 {
        let row = self.0.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.get(0).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn sum(&mut self, table: &str, column: &str) -> i64 {
        self.number(&format!("SELECT CAST(coalesce(sum({column}), 0) AS bigint) FROM {table}"))
    }
}

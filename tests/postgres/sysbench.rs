//! The real sysbench, with its own flags: it prepares, runs and cleans up without one error, and the
//! server's memory stays where it is.

use std::process::Command;
use test_support::Server;

/// PostgreSQL's default. Each transaction reads four ranges of a hundred among 40,000 rows and writes
/// in them: of 64 at once nearly all are in each other's way where they must be serializable.
const ISOLATION: &str = "-c default_transaction_isolation=read\\ committed";
const TABLES: &str = "--tables=4";
const ROWS: &str = "--table-size=10000";
const THREADS: &str = "--threads=64";
/// What a server of this size may have grown by from one run to the next.
const GROWTH_MAX: u64 = 32 << 20;
/// One transaction of so many may be ended for another.
const ENDED_PART: u64 = 500;
/// And so many whatever they are a part of: a slice in a debug build has some hundred transactions.
const ENDED_FEW: u64 = 2;
const MEMORY: &str = "256MiB";
const MEMORY_BYTES: u64 = 256 << 20;

/// What sysbench prints of one command; `None` where there is no sysbench.
fn sysbench(server: &Server, script: &str, flags: &[&str], command: &str) -> Option<String> {
    let (host, port) = server.pg_address().rsplit_once(':').expect("a host and a port");
    let output = Command::new("sysbench")
        .args([script, "--db-driver=pgsql", "--pgsql-user=phantom", "--pgsql-db=phantom"])
        .args([format!("--pgsql-host={host}"), format!("--pgsql-port={port}")])
        .args([TABLES, ROWS])
        .env("PGOPTIONS", ISOLATION)
        .args(flags)
        .arg(command)
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("passed over: sysbench is not installed");
            return None;
        }
        Err(error) => panic!("running sysbench: {error}"),
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("sysbench prints UTF-8");
    assert!(output.status.success(), "sysbench {script} {command}: {}\n{text}", output.status);
    assert!(!text.contains("FATAL"), "sysbench {script} {command}:\n{text}");
    Some(text)
}

/// The number behind a word of the report.
fn reported(report: &str, what: &str) -> u64 {
    let line = report.lines().find_map(|line| line.trim().strip_prefix(what));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no {what} in\n{report}"))
}

/// Runs a workload twice; the server holds as much afterwards as in between.
fn run_twice(server: &Server, script: &str, seconds: u64) {
    let time = format!("--time={seconds}");
    let mut resident = Vec::new();
    for _ in 0..2 {
        let report = sysbench(server, script, &[THREADS, &time], "run").expect("it is installed");
        // Its transactions lock rows in any order: now and then two wait for each other, and the one
        // that is ended (40P01) is run again, with PostgreSQL as well.
        let ended = reported(&report, "ignored errors:");
        let ended_max = ENDED_FEW + reported(&report, "transactions:") / ENDED_PART;
        assert!(ended <= ended_max, "{script}:\n{report}");
        assert_eq!(reported(&report, "reconnects:"), 0, "{script}:\n{report}");
        assert!(reported(&report, "transactions:") > 0, "{script}:\n{report}");
        let status = server.status().expect("its status");
        assert!(
            status.resident_peak <= MEMORY_BYTES / 10 * 11,
            "{script}: {} bytes, with {MEMORY}",
            status.resident_peak
        );
        println!(
            "{script}: {} transactions, {} MiB resident",
            reported(&report, "transactions:"),
            status.resident >> 20
        );
        resident.push(status.resident);
    }
    let grown = resident[1].saturating_sub(resident[0]);
    assert!(grown <= GROWTH_MAX, "{script}: {grown} bytes more after the second run");
}

#[test]
fn sysbench_runs_without_an_error() {
    let seconds = test_support::slice("PHANTOM_SYSBENCH_SECONDS", 4, 60);
    let data = tempfile::tempdir().expect("a data directory");
    let server = crate::start(&data.path().join("data"), &["--cores", "2", "--memory", MEMORY]);
    if sysbench(&server, "oltp_read_write", &[], "prepare").is_none() {
        return;
    }
    run_twice(&server, "oltp_point_select", seconds);
    run_twice(&server, "oltp_read_write", seconds);
    sysbench(&server, "oltp_read_write", &[], "cleanup").expect("it is installed");
}

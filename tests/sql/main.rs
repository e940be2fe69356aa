//! SQL over the binary protocol, on one core and on four.
//!
//! * Scripts of our own in `scripts/`, whose answers are PostgreSQL 15's
//!   (`tests/sql/check-with-postgres` replays them there), and in `beyond/`, of what PostgreSQL does
//!   not have.
//! * RisingLight's and SQLite's test files, where a `shared` folder lies beside the project: what
//!   differs from them for a reason stands in [`differences`].
//! * The Chinook database, loaded by `phantomdb sql -f` ([`chinook`]).
//!
//! Every file runs in a database of its own.

mod chinook;
mod differences;
mod engine;
mod runner;

use differences::Difference;
use engine::{Phantom, Postgres, Spelling};
use runner::{PLAIN, Reading, SQLITE, run_file};
use std::path::{Path, PathBuf};
use test_support::{Server, ServerBuilder, shared};

fn server(data_dir: &Path, cores: u16) -> Server {
    let cores = cores.to_string();
    let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_phantomdb"), data_dir);
    builder.arguments(["--cores", &cores]).start().expect("a server")
}

/// The files of `folder` that end in `extension`, by name.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of scripts");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// Runs each file in a database of its own, on one server.
fn run_files(
    cores: u16,
    files: &[PathBuf],
    reading: Reading,
    spelling: Spelling,
    differences: &[Difference],
) {
    let data = tempfile::tempdir().expect("a data directory");
    let server = server(&data.path().join("data"), cores);
    let mut failures = Vec::new();
    let mut executed = 0;
    for (number, file) in files.iter().enumerate() {
        let database = format!("slt_{number}");
        let mut control =
            phantomdb_client::blocking::Client::connect(&server.url()).expect("a session");
        control.run(&format!("CREATE DATABASE {database}")).expect("a database");
        let url = format!("phantom://phantom@{}/{database}", server.address());
        let connect = || {
            let url = url.clone();
            async move { Phantom::connect(&url, spelling) }
        };
        let report = run_file(file, reading, differences, connect);
        println!(
            "{}: {} records, {} failed",
            file.display(),
            report.executed,
            report.failures.len()
        );
        executed += report.executed;
        failures.extend(report.failures);
    }
    assert!(executed > 0, "not one record");
    let failed = failures.len();
    assert!(failed == 0, "{failed} of {executed} records failed\n\n{}", failures.join("\n"));
}

fn scripts() -> Vec<PathBuf> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql/scripts"), "slt")
}

/// Those that PostgreSQL answers, and those that it does not.
fn all_scripts() -> Vec<PathBuf> {
    let beyond = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql/beyond"), "slt");
    scripts().into_iter().chain(beyond).collect()
}

/// A folder of borrowed files, or none where they are not at hand.
fn borrowed(folder: &str) -> Option<PathBuf> {
    let found = shared(folder);
    if found.is_none() {
        println!("left out: there is no shared/{folder} beside the project");
    }
    found
}

fn run_risinglight(cores: u16) {
    if let Some(folder) = borrowed("slt/risinglight") {
        let files = files(&folder, "slt");
        run_files(cores, &files, PLAIN, Spelling::Words, differences::RISINGLIGHT);
    }
}

fn run_select1(cores: u16) {
    if let Some(file) = borrowed("slt/sqlite/select1.test") {
        run_files(cores, &[file], SQLITE, Spelling::Postgres, &[]);
    }
}

#[test]
fn our_scripts_pass_on_one_core() {
    run_files(1, &all_scripts(), PLAIN, Spelling::Postgres, &[]);
}

#[test]
fn our_scripts_pass_on_four_cores() {
    run_files(4, &all_scripts(), PLAIN, Spelling::Postgres, &[]);
}

#[test]
fn risinglight_passes_on_one_core() {
    run_risinglight(1);
}

#[test]
fn risinglight_passes_on_four_cores() {
    run_risinglight(4);
}

#[test]
fn sqlite_select1_passes_on_one_core() {
    run_select1(1);
}

#[test]
fn sqlite_select1_passes_on_four_cores() {
    run_select1(4);
}

/// Not a test of PhantomDB: whether what the scripts expect is what PostgreSQL answers.
#[test]
#[ignore = "wants a PostgreSQL: run tests/sql/check-with-postgres"]
fn postgres_agrees_with_our_scripts() {
    let url = std::env::var("PHANTOM_POSTGRES_URL").expect("PHANTOM_POSTGRES_URL");
    let mut failures = Vec::new();
    for file in scripts() {
        let name = file.file_stem().expect("a file").to_string_lossy().replace('-', "_");
        let schema = format!("slt_{name}_{}", std::process::id());
        let connect = || {
            let session = Postgres::connect(&url, &schema);
            async move { session }
        };
        let report = run_file(&file, PLAIN, &[], connect);
        println!("{name}: {} records, {} failed", report.executed, report.failures.len());
        failures.extend(report.failures);
    }
    assert!(failures.is_empty(), "PostgreSQL disagrees\n\n{}", failures.join("\n"));
}

//! The real psql, describing what there is: what it prints is kept beside this file.
//!
//! The expected text is PostgreSQL 15's but for this: a check and a view print as they were
//! written, the schema `phantom` and only one database are there, `public` belongs to the user,
//! and the extension is that schema, not a language.

use crate::tools;
use std::path::{Path, PathBuf};
use test_support::Server;

/// A script that lies beside this file.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres/psql").join(name)
}

/// What psql prints of a script, and then what it complains about; `None` where there is no psql.
fn psql(server: &Server, script: &str) -> Option<String> {
    psql_with(server, &[], Path::new(script))
}

/// The same, with further arguments.
fn psql_with(server: &Server, arguments: &[&str], script: &Path) -> Option<String> {
    let mut command = tools::client("psql", server, &beside(""));
    command.args(["-X", "-q"]).args(arguments).arg("-f").arg(script);
    let output = tools::run(command)?;
    Some(tools::text([output.stdout, output.stderr].concat()))
}

#[test]
fn psql_describes_what_there_is() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = crate::start(&data.path().join("data"), &["--cores", "1"]);
    let Some(made) = psql(&server, "schema.sql") else { return };
    assert_eq!(made, "", "the schema is made without a word");
    let printed = psql(&server, "describe.sql").expect("psql is there");
    let expected = std::fs::read_to_string(beside("describe.expected")).expect("what is expected");
    assert_same_lines(&printed, &expected);
}

/// What is expected was printed by PostgreSQL 15, to the letter.
#[test]
fn psql_shows_owners_and_privileges() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = crate::start(&data.path().join("data"), &["--cores", "2"]);
    let Some(printed) = psql(&server, "privileges.sql") else { return };
    let expected =
        std::fs::read_to_string(beside("privileges.expected")).expect("what is expected");
    assert_same_lines(&printed, &expected);
}

/// What is expected was printed by PostgreSQL 15, to the letter: the patterns choose what both have.
#[test]
fn psql_lists_functions_and_operators() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = crate::start(&data.path().join("data"), &["--cores", "1"]);
    let Some(printed) = psql(&server, "functions.sql") else { return };
    let expected = std::fs::read_to_string(beside("functions.expected")).expect("what is expected");
    assert_same_lines(&printed, &expected);
}

/// What is expected was printed by PostgreSQL 15, to the letter; how long a statement took is left
/// out, and of what a block has failed, which PostgreSQL does not say.
#[test]
fn psql_works_with_rows_as_at_home() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = crate::start(&data.path().join("data"), &["--cores", "2"]);
    let folder = format!("folder={}", data.path().display());
    let Some(printed) = psql_with(&server, &["-v", &folder], Path::new("session.sql")) else {
        return;
    };
    let untimed = |line: &str| match line.strip_prefix("Time: ") {
        Some(time) if time.ends_with(" ms") => "Time: ... ms\n".to_owned(),
        _ => format!("{line}\n"),
    };
    let is_known_there =
        |line: &&str| !line.starts_with("DETAIL:  The transaction has failed with");
    let printed: String = printed.lines().filter(is_known_there).map(untimed).collect();
    let expected = std::fs::read_to_string(beside("session.expected")).expect("what is expected");
    assert_same_lines(&printed, &expected);
}

/// What is expected was printed by PostgreSQL 15, to the letter.
#[test]
fn psql_is_told_of_definitions_and_of_what_goes() {
    let data = tempfile::tempdir().expect("a data directory");
    for (folder, script) in [("definitions", "definitions.sql"), ("dropping", "dropping.sql")] {
        let server = crate::start(&data.path().join(folder), &["--cores", "2"]);
        let Some(printed) = psql(&server, script) else { return };
        let expected = beside(&format!("{folder}.expected"));
        let expected = std::fs::read_to_string(expected).expect("what is expected");
        assert_same_lines(&printed, &expected);
    }
}

#[test]
fn psql_loads_chinook() {
    let Some(script) = test_support::shared("data/chinook/chinook.sql") else {
        eprintln!("passed over: the Chinook database is not beside the project");
        return;
    };
    let data = tempfile::tempdir().expect("a data directory");
    let server = crate::start(&data.path().join("data"), &["--cores", "2"]);
    let Some(printed) = psql_with(&server, &["-v", "ON_ERROR_STOP=1"], &script) else { return };
    let unexpected = |line: &&str| !line.contains("does not exist, skipping");
    let complaints: Vec<_> = printed.lines().filter(unexpected).collect();
    assert_eq!(complaints, [""; 0]);
    let count = beside("chinook.sql");
    let printed = psql_with(&server, &["-At", "-d", "chinook"], &count).expect("psql is there");
    assert_eq!(printed, "11|15607\n");
}

/// Compares line by line, so that a failure names the first one that differs.
fn assert_same_lines(printed: &str, expected: &str) {
    for (number, (printed, expected)) in (1..).zip(printed.lines().zip(expected.lines())) {
        assert_eq!(printed, expected, "line {number}");
    }
    assert_eq!(printed.lines().count(), expected.lines().count(), "so many lines:\n{printed}");
}

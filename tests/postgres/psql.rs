//! The real psql, describing what there is: what it prints is kept beside this file.
//!
//! The expected text is PostgreSQL 15's but for this: a check and a view print as they were
//! written, the schema `phantom` and only one database are there, `public` belongs to the user,
//! and no language is an extension.

use crate::tools;
use std::path::{Path, PathBuf};
use test_support::Server;

/// A script that lies beside this file.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres/psql").join(name)
}

/// What psql prints of a script, and then what it complains about; `None` where there is no psql.
fn psql(server: &Server, script: &str) -> Option<String> {
    let mut command = tools::client("psql", server, &beside(""));
    command.args(["-X", "-q", "-f", script]);
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

/// Compares line by line, so that a failure names the first one that differs.
fn assert_same_lines(printed: &str, expected: &str) {
    for (number, (printed, expected)) in (1..).zip(printed.lines().zip(expected.lines())) {
        assert_eq!(printed, expected, "line {number}");
    }
    assert_eq!(printed.lines().count(), expected.lines().count(), "so many lines:\n{printed}");
}

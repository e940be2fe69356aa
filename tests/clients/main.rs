//! Real drivers against a real server: every type there and back, parameters, `COPY`, pipelines,
//! cancelling, notices, cursors, prepared statements across schema changes, reflection, migration.
//!
//! The scripts of a language lie in the folder of its name and take the server's address, so that
//! they can be run by hand and against PostgreSQL. `install` puts the drivers where these tests
//! look for them; a driver that is not installed is named and passed over.
//!
//! With `PHANTOM_POSTGRES_URL` set they all run against that server instead: what they expect is
//! what PostgreSQL answers.

mod rust;

use std::path::{Path, PathBuf};
use std::process::Command;
use test_support::{Server, ServerBuilder};

/// Where `install` puts the drivers.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// What the drivers speak to.
struct Subject {
    url: String,
    /// Ends with the test; none where the server is somebody else's.
    _server: Option<(Server, tempfile::TempDir)>,
}

fn subject() -> Subject {
    if let Ok(url) = std::env::var("PHANTOM_POSTGRES_URL") {
        return Subject { url, _server: None };
    }
    let data = tempfile::tempdir().expect("a data directory");
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_phantomdb"), &data.path().join("data"))
        .arguments(["--cores", "2"])
        .start()
        .expect("the server starts");
    let url = format!("postgresql://phantom@{}/phantom", server.pg_address());
    Subject { url, _server: Some((server, data)) }
}

/// Runs a script with a server's address; a failure shows what it printed.
fn run(mut command: Command) {
    let subject = subject();
    let output = command
        .current_dir(sources())
        .arg(&subject.url)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PGUSER")
        .output()
        .expect("the interpreter runs");
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a script in Python, where all of these modules are installed.
fn python(script: &str, modules: &[&str]) {
    let interpreter = installed().join("venv/bin/python");
    let imports = format!("import {}", modules.join(", "));
    match Command::new(&interpreter).args(["-c", &imports]).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            eprintln!("passed over: {}", why.lines().last().unwrap_or(&imports));
            return;
        }
        Err(error) => {
            eprintln!("passed over: {}: {error}", interpreter.display());
            return;
        }
    }
    let mut command = Command::new(interpreter);
    command.arg(Path::new("python").join(script));
    run(command);
}

#[test]
fn psycopg3() {
    python("with_psycopg3.py", &["psycopg"]);
}

#[test]
fn psycopg2() {
    python("with_psycopg2.py", &["psycopg2"]);
}

#[test]
fn asyncpg() {
    python("with_asyncpg.py", &["asyncpg"]);
}

#[test]
fn sqlalchemy() {
    python("with_sqlalchemy.py", &["sqlalchemy", "alembic", "psycopg", "psycopg2"]);
}

#[test]
fn node_postgres() {
    let packages = installed().join("node");
    if !packages.join("node_modules/pg").is_dir() {
        eprintln!("passed over: {} has no pg", packages.display());
        return;
    }
    match Command::new("node").arg("--version").output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("passed over: node is not installed");
            return;
        }
        Err(error) => panic!("running node: {error}"),
        Ok(_) => {}
    }
    let mut command = Command::new("node");
    command.env("PHANTOM_NODE_MODULES", packages.join("node_modules")).arg("node/with_pg.mjs");
    run(command);
}

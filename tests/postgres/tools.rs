//! Runs PostgreSQL's own clients and those written for it.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};
use test_support::Server;

/// A client in `directory`, told by its environment to connect to a server as libpq reads it.
pub fn client(program: &str, server: &Server, directory: &Path) -> Command {
    let address = server.pg_address();
    let (host, port) = address.rsplit_once(':').expect("a host and a port");
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env("PGHOST", host)
        .env("PGPORT", port)
        .env("PGUSER", "phantom")
        .env("PGDATABASE", "phantom")
        .env("PGCLIENTENCODING", "UTF8")
        .env("LC_ALL", "C");
    command
}

/// Runs a client to its end; `None` where it is not installed, which is said.
pub fn run(mut command: Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("passed over: {} is not installed", command.get_program().display());
            None
        }
        Err(error) => panic!("running {}: {error}", command.get_program().display()),
    }
}

/// What a client printed.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("it prints UTF-8")
}

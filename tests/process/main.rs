//! Real server processes: killed, attacked, idle, drained, on a full disk, with more rows than
//! memory, several in a cluster, whose network and disks fail.
//!
//! Each battery runs a slice here and says how to run it whole:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `PHANTOM_KILLS` | how often a server is killed on the same data | 6 (whole: 50) |
//! | `PHANTOM_FAILOVERS` | how often a leader is killed under load | 3 (whole: 20) |
//! | `PHANTOM_IDLE_CONNECTIONS` | idle connections at one time | 2000 (whole: 10000) |
//! | `PHANTOM_LONG` | 1: 4 GiB of rows in 512 MiB of memory | 0: 192 MiB in 64 MiB |
//! | `PHANTOM_SEED` | where random numbers begin | the clock |
//! | `PHANTOMDB` | the program: one of a release build has figures that mean something | that of this build |

mod cluster;
mod crash;
mod disk;
mod hostile;
mod idle;
mod memory;
mod sagas;
mod schema;
mod sequences;
mod shutdown;

use phantomdb_client::Error;
use phantomdb_client::blocking::Client;
use std::ops::Range;
use std::path::Path;
use test_support::{Server, ServerBuilder};

/// A battery of kills has at most so many times the lives that it is asked for.
const LIVES_MAX: u64 = 5;

/// The program under test.
fn program() -> String {
    std::env::var("PHANTOMDB").unwrap_or_else(|_| env!("CARGO_BIN_EXE_phantomdb").to_owned())
}

/// A server on `data_dir` with further arguments.
fn builder(data_dir: &Path, arguments: &[&str]) -> ServerBuilder {
    ServerBuilder::new(&program(), data_dir).arguments(arguments.iter().copied())
}

fn start(data_dir: &Path, arguments: &[&str]) -> Server {
    builder(data_dir, arguments).start().expect("the server starts")
}

fn connect(server: &Server) -> Client {
    Client::connect(&server.url()).expect("the server lets us in")
}

/// Whether a battery of so many `kills` goes on with its life of this number, from 1 on. A machine that
/// is busy does less in a life: it lives some more, until it has shown `enough`.
fn goes_on(life: u64, kills: u64, enough: impl FnOnce() -> bool) -> bool {
    life <= kills || (life <= kills * LIVES_MAX && !enough())
}

/// Inserts a row of number and text for each id, in one statement.
fn insert(client: &mut Client, table: &str, ids: Range<i64>, text: &str) -> Result<(), Error> {
    let rows: Vec<String> = ids.map(|id| format!("({id}, {id}, '{text}')")).collect();
    client.run(&format!("INSERT INTO {table} (id, v, s) VALUES {}", rows.join(", "))).map(|_| ())
}

/// The only number of a result.
fn number(client: &mut Client, sql: &str) -> i64 {
    let row = client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    row.get(0).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

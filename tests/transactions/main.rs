//! Transactions of several clients at once.
//!
//! * Schedules in `schedules/`: who says what after whom, and what comes of it, as expected text
//!   ([`schedule`] says how they are written). Each runs on one core and on four, where its rows lie
//!   apart; `tests/transactions/check-with-postgres` runs them on PostgreSQL.
//!
//! How much of the long ones is run:
//!
//! | variable | meaning | default |
//! |---|---|---|

mod golden;
mod observer;
mod outcome;
mod place;
mod runner;
mod schedule;

use std::path::Path;
use test_support::{Server, ServerBuilder};

fn start(data_dir: &Path, cores: u16) -> Server {
    let cores = cores.to_string();
    let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_phantomdb"), data_dir);
    builder.arguments(["--cores", &cores]).start().expect("the server starts")
}

//! Transactions of several clients at once.
//!
//! * Schedules in `schedules/`: who says what after whom, and what comes of it, as expected text
//!   ([`schedule`] says how they are written). Each runs on one core and on four, where its rows lie
//!   apart; `tests/transactions/check-with-postgres` runs them on PostgreSQL.
//!
//! * A row that everybody counts in ([`counter`]), keys that everybody inserts ([`upserts`]), deadlocks
//!   over cores ([`deadlocks`]), and the cost of the second phase of a commit ([`cost`]). They print what
//!   they measure; that it is good enough is asserted in release builds, which are the ones that are
//!   measured.
//!
//! How much of the long ones is run:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `PHANTOM_COUNTER_MS` | milliseconds of each load on counters | 1,000 (whole: 20,000) |
//! | `PHANTOM_DEADLOCKS` | circles over two cores, and over three | 5 (whole: 100) |
//! | `PHANTOM_TRANSFERS` | transfers of each kind | 100 (whole: 2,000) |
//!
//! The whole: `PHANTOM_COUNTER_MS=20000 PHANTOM_DEADLOCKS=100 PHANTOM_TRANSFERS=2000 cargo test
//! --release --test transactions -- --nocapture --test-threads 1`.

mod cost;
mod counter;
mod deadlocks;
mod golden;
mod observer;
mod outcome;
mod place;
mod runner;
mod schedule;
mod upserts;

use std::path::Path;
use test_support::{Server, ServerBuilder};

/// Whether times are held to what they must be.
fn is_measured() -> bool {
    !cfg!(debug_assertions)
}

fn start(data_dir: &Path, cores: u16) -> Server {
    let cores = cores.to_string();
    let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_phantomdb"), data_dir);
    builder.arguments(["--cores", &cores]).start().expect("the server starts")
}

//! The PostgreSQL door of real servers, with the protocol spoken by hand and by PostgreSQL's own
//! clients. A client that is not installed is named and passed over.
//!
//! How much of the long ones is run:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `PHANTOM_PGBENCH_SCALE` | pgbench's scale factor | 1 (whole: 10) |
//! | `PHANTOM_PGBENCH_SECONDS` | seconds of each of its nine runs | 1 (whole: 30) |
//! | `PHANTOM_SYSBENCH_SECONDS` | seconds of each of sysbench's four runs | 4 (whole: 60) |
//!
//! The whole: `PHANTOM_PGBENCH_SCALE=10 PHANTOM_PGBENCH_SECONDS=30 cargo test --release --test
//! postgres pgbench -- --nocapture`.

mod activity;
mod as_of;
mod authentication;
mod bounds;
mod cursors;
mod deadlocks;
mod dump;
mod leftovers;
mod pgbench;
mod privileges;
mod protocol;
mod psql;
mod row_locks;
mod schema_blocks;
mod snapshots;
mod statistics;
mod sysbench;
mod table_as;
mod tls;
mod tools;
mod transactions;

use std::path::Path;
use test_support::{Server, ServerBuilder, speaker};

/// A server to be started on `data_dir` with further arguments.
fn builder(data_dir: &Path, arguments: &[&str]) -> ServerBuilder {
    ServerBuilder::new(env!("CARGO_BIN_EXE_phantomdb"), data_dir)
        .arguments(arguments.iter().copied())
}

fn start(data_dir: &Path, arguments: &[&str]) -> Server {
    builder(data_dir, arguments).start().expect("the server starts")
}

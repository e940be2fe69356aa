//! The PostgreSQL door of real servers, with the protocol spoken by hand and by PostgreSQL's own
//! clients. A client that is not installed is named and passed over.

mod bounds;
mod protocol;
mod psql;
mod speaker;

use std::path::Path;
use test_support::{Server, ServerBuilder};

/// A server on `data_dir` with further arguments.
fn start(data_dir: &Path, arguments: &[&str]) -> Server {
    ServerBuilder::new(env!("CARGO_BIN_EXE_phantomdb"), data_dir)
        .arguments(arguments.iter().copied())
        .start()
        .expect("the server starts")
}

//! What clients saw, judged from outside: histories of random transactions that the crate `adya`
//! drives and checks, and a bank whose sum is the same in every snapshot. Real servers, killed on the
//! way.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `PHANTOM_HISTORY` | transactions of one history | 1000 (whole: 20000) |
//! | `PHANTOM_BANK_SECONDS` | how long the bank is open | 6 (whole: 120) |
//! | `PHANTOM_SEED` | where random numbers begin | the clock |
//!
//! By hand, with the program `adya` (`cargo install adya --no-default-features`) against any server:
//!
//! ```sh
//! cargo build --example history_client
//! adya run exec --url "target/debug/examples/history_client --isolation serializable" \
//!     -n 20000 -p 16 -c strict-serializable
//! ```

mod bank;
mod client;
mod histories;
mod known;
mod piped;

use phantomdb_client::blocking::Client;
use std::path::Path;
use test_support::{Server, ServerBuilder};

/// A core each for the rows to be spread over, more than the machine may have.
const CORES: &str = "4";

fn start(data_dir: &Path) -> Server {
    ServerBuilder::new(env!("CARGO_BIN_EXE_phantomdb"), data_dir)
        .arguments(["--cores", CORES])
        .start()
        .expect("the server starts")
}

fn connect(server: &Server) -> Client {
    Client::connect(&server.url()).expect("the server lets us in")
}

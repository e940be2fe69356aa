//! The load generator behind `phantomdb bench` and `phantomdb demo`.
//!
//! One thread and one connection a client; a client keeps up to `pipeline` statements in flight
//! and sends them together, so that at depth 32 a system call carries many. Nothing is shared
//! while the load runs: each client has its own random numbers and histograms, which are summed
//! at the end.
//!
//! ```text
//!   set-up: table, rows ──> clients connect ──> warm-up ──> measured ──> histograms summed
//!                                              (counted not)  duration
//! ```
//!
//! **What a latency is.** Without a rate the loop is closed: each client sends its next statement
//! when one is answered, and a latency is the time from a statement's sending to its answer. A
//! stall then holds the client back from sending, and hides the statements it would have sent
//! (coordinated omission). With a rate the loop is open: each statement has an intended time, the
//! latency is counted from it, and a stall shows in every statement it delayed. The report says
//! which it was.
//!
//! The generator makes and fills tables of its own (`phantom_bench`), uses them again when they
//! fit, and never drops or changes a table it did not make.

mod clients;
mod keys;
mod report;
mod schema;
mod workload;

pub use clients::{Progress, run};

pub(crate) use report::micros;
pub use report::{Report, render};
pub use schema::{TABLE, prepare};
pub use workload::{Operation, Workload};

use std::fmt;
use std::time::Duration;

use phantomdb_client::Options as ConnectOptions;

/// What to run, against which server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server and database.
    pub connect: ConnectOptions,
    /// What each statement does.
    pub workload: Workload,
    /// Connections, each with a thread of its own.
    pub clients: usize,
    /// Statements in flight a connection, 1 or more.
    pub pipeline: usize,
    /// How long is measured.
    pub duration: Duration,
    /// How long runs before, unmeasured.
    pub warmup: Duration,
    /// Rows of the table.
    pub rows: u64,
    /// Statements a second over all clients, each at an intended time; as fast as answers come
    /// when absent.
    pub rate: Option<u64>,
    /// Where the random numbers begin: the same seed reads and updates the same keys. The ids of
    /// new rows are others in every run.
    pub seed: u64,
}

/// Why the generator gave up.
#[derive(Debug)]
pub enum BenchError {
    /// The client failed before or while the load ran.
    Client(phantomdb_client::Error),
    /// A table of our name has other columns.
    ForeignTable {
        /// Its name.
        table: &'static str,
        /// What was found.
        found: String,
    },
    /// No thread, or a thread that panicked.
    Thread(String),
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => write!(f, "{error}"),
            Self::ForeignTable { table, found } => {
                write!(
                    f,
                    "there is a table {table} that is not the generator's ({found}); rename it, or use another database"
                )
            }
            Self::Thread(problem) => write!(f, "{problem}"),
        }
    }
}

impl std::error::Error for BenchError {}

impl From<phantomdb_client::Error> for BenchError {
    fn from(error: phantomdb_client::Error) -> Self {
        Self::Client(error)
    }
}

//! The Rust client of PhantomDB.
//!
//! Two faces over one state machine without I/O ([`Event`] says what an answer is made of):
//!
//! * [`Client`] and [`Pool`]: async, on any executor, no task spawned;
//! * [`blocking`]: one socket, one thread at a time; the lightest there is.
//!
//! ```no_run
//! use phantomdb_client::{blocking::Client, params};
//!
//! let mut client = Client::connect("phantom://phantom@127.0.0.1:7430/phantom")?;
//! client.execute("INSERT INTO item VALUES ($1, $2)", &params![7, "seven"])?;
//! for row in client.query("SELECT name FROM item WHERE id = $1", &params![7])? {
//!     println!("{}", row.get::<String>("name")?);
//! }
//! # Ok::<(), phantomdb_client::Error>(())
//! ```
//!
//! Many requests may be in flight on one connection: `send` queues, `flush` sends all that is
//! queued with one system call, `take` (or `outcome`) waits for an outcome. Statements are prepared once a
//! connection, by their text. A pool sends a point statement to the core that owns its row.
//!
//! `sslmode` in the URL says whether the connection is encrypted, and how the server has to prove
//! who it is ([`SslMode`]; the feature `tls`, which is on by default).
//!
//! The client shares frames and messages with the server, and nothing else: it never imports the
//! server's runtime.

pub mod blocking;
mod client;
mod connection;
mod error;
mod outcome;
mod protocol;
mod row;
mod statement;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/without.rs"]
mod tls;
mod url;

pub use client::{Client, Pending, Pool, Pooled};
pub use connection::Answer;
pub use error::{Class, Error};
pub use outcome::{Outcome, read_rows};
pub use protocol::{Event, ServerInfo};
pub use row::{ColumnIndex, Columns, FromValue, Row, ToValue};
pub use statement::{Source, Statement};
#[doc(hidden)]
pub use url::fuzz_url;
pub use url::{DEFAULT_PORT, Options, SslMode, UrlError};

pub use model::error::{SqlError, SqlState};
pub use model::types::DataType;
pub use model::value::{Interval, Value};
pub use net::message::{Column, Complete, Placement, Report, Severity, TransactionStatus};
pub use net::rows::RowBatch;

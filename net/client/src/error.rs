//! What can go wrong, by consequence.

use model::error::{SqlError, SqlState};
use net::frame::FrameError;
use net::message::Report;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A failure. Cheap to clone: every request of a lost connection gets the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The URL makes no sense.
    #[error("{0}")]
    Url(#[from] crate::url::UrlError),
    /// Nobody answered at the address.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// `host:port`
        address: String,
        /// What the system says.
        cause: Arc<io::Error>,
    },
    /// The file of root certificates is of no use.
    #[error("sslrootcert = {path:?}: {reason}")]
    RootCertificate {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The server did not let us in.
    #[error("{0}")]
    Refused(Arc<Report>),
    /// The server asks for a password, and none was given.
    #[error("the server asks for the password of user \"{user}\", and none was given")]
    PasswordNeeded {
        /// The user.
        user: String,
    },
    /// The exchange that proves knowledge of the password broke off, or the server is an impostor.
    #[error("authentication failed: {0}")]
    Authentication(#[from] net::scram::ScramError),
    /// The connection broke.
    #[error("the connection to the server is lost: {cause}{}", in_doubt(*.may_have_executed))]
    Lost {
        /// How.
        cause: Arc<io::Error>,
        /// Whether the server may have carried the request out all the same.
        may_have_executed: bool,
    },
    /// The server took too long; the connection is given up with the request.
    #[error("no answer within {limit:?}{}", in_doubt(*.may_have_executed))]
    Timeout {
        /// How long it had.
        limit: Duration,
        /// Whether the server may have carried the request out all the same.
        may_have_executed: bool,
    },
    /// The server does not speak this protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] FrameError),
    /// The server sent something that has no place here.
    #[error("the server broke the protocol: {0}")]
    OutOfPlace(&'static str),
    /// The statement failed; the connection goes on.
    #[error("{0}")]
    Server(Arc<Report>),
    /// The request is longer than the server takes; it was not sent.
    #[error("a request of {bytes} bytes is longer than the server takes ({max})")]
    RequestTooLong {
        /// Its length.
        bytes: usize,
        /// The server's limit.
        max: usize,
    },
    /// The request has more parameters than the protocol can carry; it was not sent.
    #[error("{count} parameters are more than a statement can have ({max})")]
    TooManyParameters {
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A value is not of the type asked for.
    #[error("column {column} is {found}, not {wanted}")]
    Conversion {
        /// Its name.
        column: String,
        /// The type asked for.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// There is no such column, or no row where one was asked for.
    #[error("the result has no {0}")]
    Missing(String),
    /// All connections of the pool stayed busy.
    #[error("no connection of the pool became free within {0:?}")]
    PoolBusy(Duration),
}

fn in_doubt(may_have_executed: bool) -> &'static str {
    if may_have_executed { " (the statement may have been executed)" } else { "" }
}

/// What a failure means to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The statement failed: exit code 1.
    Statement,
    /// The program was used wrongly: exit code 2.
    Usage,
    /// There is no connection: exit code 3.
    Connection,
}

impl Class {
    /// The exit code of PhantomDB's programs.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Statement => 1,
            Class::Usage => 2,
            Class::Connection => 3,
        }
    }
}

impl Error {
    /// What the failure means.
    pub fn class(&self) -> Class {
        match self {
            Error::Server(_) | Error::RequestTooLong { .. } | Error::TooManyParameters { .. } => {
                Class::Statement
            }
            Error::Url(_)
            | Error::RootCertificate { .. }
            | Error::Conversion { .. }
            | Error::Missing(_) => Class::Usage,
            Error::Connect { .. }
            | Error::Refused(_)
            | Error::PasswordNeeded { .. }
            | Error::Authentication(_)
            | Error::Lost { .. }
            | Error::Timeout { .. }
            | Error::Protocol(_)
            | Error::OutOfPlace(_)
            | Error::PoolBusy(_) => Class::Connection,
        }
    }

    /// The server's error with all its fields, where it sent one.
    pub fn sql(&self) -> Option<&SqlError> {
        match self {
            Error::Server(report) | Error::Refused(report) => Some(&report.error),
            _ => None,
        }
    }

    /// The SQLSTATE, where the server sent one.
    pub fn state(&self) -> Option<SqlState> {
        self.sql().map(SqlError::state)
    }

    /// Whether the same transaction may succeed when it is repeated unchanged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Server(report) | Error::Refused(report) => report.retryable,
            _ => false,
        }
    }

    /// Whether the server may have carried the request out although it failed here.
    pub fn may_have_executed(&self) -> bool {
        matches!(
            self,
            Error::Lost { may_have_executed: true, .. }
                | Error::Timeout { may_have_executed: true, .. }
        )
    }

    /// Whether the server, or this program, cannot speak TLS at all.
    pub(crate) fn is_without_tls(&self) -> bool {
        matches!(self, Error::Connect { cause, .. } if cause.kind() == io::ErrorKind::Unsupported)
    }

    pub(crate) fn lost(cause: io::Error) -> Error {
        Error::Lost { cause: Arc::new(cause), may_have_executed: false }
    }

    /// The same failure, for a request that had been sent.
    pub(crate) fn in_flight(self) -> Error {
        match self {
            Error::Lost { cause, .. } => Error::Lost { cause, may_have_executed: true },
            Error::Timeout { limit, .. } => Error::Timeout { limit, may_have_executed: true },
            other => other,
        }
    }
}

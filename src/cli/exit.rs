//! Exit codes, which scripts rely on, and the one way a command fails.

use std::fmt;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// A statement, a row or a check failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No connection to the server, or it was lost.
    NoConnection = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command cannot go on: the exit code and what is said on standard error.
#[derive(Debug)]
pub struct Failure {
    /// The code the process ends with.
    pub exit: Exit,
    /// What is said; empty when everything has been said already.
    pub message: String,
}

impl Failure {
    /// A statement, a row or a check failed.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// There is no connection.
    pub fn no_connection(message: impl fmt::Display) -> Self {
        Self { exit: Exit::NoConnection, message: message.to_string() }
    }

    /// The command ends with `exit`; what there is to say has been said.
    pub fn silent(exit: Exit) -> Self {
        Self { exit, message: String::new() }
    }
}

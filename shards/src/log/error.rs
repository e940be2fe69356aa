//! Errors of proposing, by what became of the command.

use crate::wal::WalError;
use model::error::{SqlError, SqlState};
use std::rc::Rc;

/// Why a proposal has no index.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The disk is full. The command is not in the log; it may be proposed again.
    #[error("{0}")]
    Full(Rc<WalError>),
    /// The command is larger than the log takes. It is not in the log.
    #[error("a change of {bytes} bytes is larger than the log takes at once ({bytes_max} bytes)")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most there may be.
        bytes_max: usize,
    },
    /// The log has failed before. The command is not in the log. Nothing can be written until the
    /// node starts again.
    #[error("{0}")]
    Failed(Rc<WalError>),
    /// The log failed while the command was being written: it may or may not be there after the
    /// next start.
    #[error("{0}")]
    InDoubt(Rc<WalError>),
    /// Another replica leads, or this one has ended, before the command was decided, for the reason given:
    /// it may or may not be in the log, or get there yet.
    #[error("{0}")]
    Undecided(&'static str),
    /// This replica does not lead its partition, for the reason given. The command is not in the log.
    #[error("{0}")]
    NotLeader(String),
    /// The log is closing. The command is not in the log.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    pub(super) fn refused(error: WalError) -> LogError {
        match error {
            WalError::Full { .. } => LogError::Full(Rc::new(error)),
            WalError::TooLarge { bytes, bytes_max } => LogError::TooLarge { bytes, bytes_max },
            error => LogError::InDoubt(Rc::new(error)),
        }
    }

    /// Another leader's log has taken the place of this replica's.
    pub(super) fn overtaken() -> LogError {
        LogError::Undecided("another replica leads, and its log does not hold the change")
    }

    /// Whether the command may be in the log all the same.
    pub(crate) fn is_in_doubt(&self) -> bool {
        matches!(self, LogError::InDoubt(_) | LogError::Undecided(_))
    }

    /// The same failure for a command that came after it, or of which it is known that it is not in
    /// the log.
    pub(super) fn afterwards(&self) -> LogError {
        match self {
            LogError::InDoubt(error) => LogError::Failed(error.clone()),
            LogError::Undecided(why) => LogError::NotLeader((*why).to_owned()),
            error => error.clone(),
        }
    }
}

impl From<LogError> for SqlError {
    fn from(error: LogError) -> SqlError {
        match error {
            LogError::Full(error) => SqlError::new(
                SqlState::DISK_FULL,
                "could not write the log: no space left on the device",
            )
            .detail(error.to_string())
            .hint("Reads go on; writes succeed again once there is free space."),
            LogError::TooLarge { .. } => {
                SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a row is too large for the log")
                    .detail(error.to_string())
                    .hint("Raise wal-segment-size: half a segment holds the largest row.")
            }
            LogError::Failed(error) => SqlError::new(
                SqlState::IO_ERROR,
                "this core's log has failed and takes no more writes",
            )
            .detail(error.to_string())
            .hint("Check the disk, then restart the node."),
            LogError::InDoubt(error) => SqlError::new(
                SqlState::STATEMENT_COMPLETION_UNKNOWN,
                "this core's log failed while the change was being written",
            )
            .detail(format!("{error}; whether the change is kept is known after a restart"))
            .hint("Check the disk, then restart the node."),
            LogError::Undecided(why) => SqlError::new(
                SqlState::STATEMENT_COMPLETION_UNKNOWN,
                "it is not known whether the change was made",
            )
            .detail(why)
            .hint("Look whether the change is there before it is made again."),
            LogError::NotLeader(why) => {
                SqlError::new(SqlState::SERIALIZATION_FAILURE, "the partition has another leader")
                    .detail(why)
                    .hint("Retry the transaction.")
            }
            LogError::Closed => {
                SqlError::new(SqlState::ADMIN_SHUTDOWN, "the node is shutting down")
            }
        }
    }
}

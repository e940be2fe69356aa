//! Errors of the log, by what the caller must do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the log refused or failed.
#[derive(Debug, Clone)]
pub enum WalError {
    /// What is on disk is not what was written. Never repaired by guessing: the core does not
    /// start.
    Corruption {
        /// The damaged file.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The disk has no room for another segment. Nothing was written; the same write may succeed
    /// once there is space.
    Full {
        /// The directory whose file system is full.
        directory: PathBuf,
    },
    /// One write holds more than a segment can take. Nothing was written.
    TooLarge {
        /// Bytes of the write.
        bytes: usize,
        /// The most there may be.
        bytes_max: usize,
    },
    /// A write failed, and what the disk holds is unknown from there on. Final: nothing is
    /// written any more until the node starts again.
    Failed {
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A file operation while opening failed; it may be tried again.
    Open {
        /// What was tried, as in "read".
        operation: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
}

impl WalError {
    pub(crate) fn open(operation: &'static str, file: PathBuf, source: io::Error) -> WalError {
        WalError::Open { operation, file, source: Arc::new(source) }
    }
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalError::Corruption { file, offset, what } => {
                write!(f, "corruption in {} at offset {offset}: {what}", file.display())
            }
            WalError::Full { directory } => {
                write!(f, "no space left on the device for the log in {}", directory.display())
            }
            WalError::TooLarge { bytes, bytes_max } => {
                write!(f, "{bytes} bytes do not fit into one log write of {bytes_max} bytes")
            }
            WalError::Failed { file, source } => {
                write!(
                    f,
                    "writing the log {} failed, the core must restart: {source}",
                    file.display()
                )
            }
            WalError::Open { operation, file, source } => {
                write!(f, "cannot {operation} {}: {source}", file.display())
            }
        }
    }
}

impl std::error::Error for WalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WalError::Failed { source, .. } | WalError::Open { source, .. } => {
                Some(source.as_ref())
            }
            _ => None,
        }
    }
}

//! Errors of the storage engine, sorted by what the caller must do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::table::format::Damage;

/// Stored bytes that are not what was written. Never retried, never served: the replica is to be
/// repaired from another one, or from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The damaged file.
    pub file: PathBuf,
    /// The byte offset of the damaged block, record or footer in it.
    pub offset: u64,
    /// What is wrong there.
    pub damage: Damage,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, damage } = self;
        write!(f, "corruption in {} at offset {offset}: {damage}", file.display())
    }
}

impl std::error::Error for Corruption {}

/// What went wrong in a tree.
#[derive(Clone, Debug)]
pub enum StorageError {
    /// The disk is full. The tree stays readable; flushes and compactions are tried again, and
    /// writes work again, once there is space.
    OutOfSpace {
        /// The file that could not grow.
        file: PathBuf,
    },
    /// An operation on a file failed; it may be tried again.
    Io {
        /// What was tried, as in "read", "write".
        operation: &'static str,
        /// The file it was tried on.
        file: PathBuf,
        /// The system's error.
        source: Rc<io::Error>,
    },
    /// A sync failed. What the disk holds is unknown from here on (the kernel may have dropped the
    /// dirty pages and a second sync would lie): the shard must stop and recover from disk.
    Poisoned {
        /// The file or directory whose sync failed.
        file: PathBuf,
        /// The system's error.
        source: Rc<io::Error>,
    },
    /// Damaged data was met.
    Corruption(Corruption),
    /// Something of the tree is in use by another; it may be asked for again later.
    Busy {
        /// What is in use.
        what: &'static str,
    },
    /// The tree was closed, or the core's [`super::Storage`] has gone: nothing is written any more.
    Closed,
}

impl StorageError {
    /// Sorts an error of an operation that is not a sync.
    pub(crate) fn io(operation: &'static str, file: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::OutOfSpace { file: file.to_owned() }
            }
            _ => Self::Io { operation, file: file.to_owned(), source: Rc::new(error) },
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfSpace { file } => {
                write!(f, "no space left on the device for {}", file.display())
            }
            // The seam's errors name operation and path.
            Self::Io { source, .. } => source.fmt(f),
            Self::Poisoned { file, source } => {
                write!(f, "sync of {} failed, the shard must stop: {source}", file.display())
            }
            Self::Corruption(corruption) => corruption.fmt(f),
            Self::Busy { what } => f.write_str(what),
            Self::Closed => f.write_str("the tree is closed"),
        }
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::Poisoned { source, .. } => Some(source.as_ref()),
            Self::Corruption(corruption) => Some(corruption),
            Self::OutOfSpace { .. } | Self::Busy { .. } | Self::Closed => None,
        }
    }
}

impl From<Corruption> for StorageError {
    fn from(corruption: Corruption) -> Self {
        Self::Corruption(corruption)
    }
}

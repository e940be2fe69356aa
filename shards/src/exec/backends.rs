//! Other sessions of the node, as expressions reach them.

use model::error::SqlError;
use rkyv::{Archive, Deserialize, Serialize};

/// What a session is asked to do by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Signal {
    /// Give up the statement that runs now.
    Cancel,
    /// End.
    Terminate,
}

/// The sessions of the node when the statement began. They go by [`process`] numbers.
///
/// [`process`]: super::SessionIdentity::process
pub trait Backends {
    /// Asks a session to do something, behind the caller's back; whether there is such a session.
    ///
    /// # Errors
    /// 42501 where the statement's role may not ask it.
    fn signal(&self, process: i64, signal: Signal) -> Result<bool, SqlError>;

    /// The sessions that keep a session waiting for a lock.
    fn blocking(&self, process: i64) -> Vec<u32>;

    /// Lets others read what the statement's transaction reads, while that is open; the name by which
    /// they ask for it.
    ///
    /// # Errors
    /// 25001 in a subtransaction, 0A000 where not all of its statements read the same.
    fn export_snapshot(&self) -> Result<String, SqlError>;
}

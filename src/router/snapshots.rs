//! Snapshots that outlive one statement: of a transaction whose statements all read the same, and of
//! a cursor.
//!
//! Every core is told before the first read. From then on it keeps the versions that the snapshot
//! sees, and commits nothing before it: what is committed when the transaction begins is seen, and
//! what commits later is not. The cores are told again when nobody reads it any more.

use super::Router;
use super::peers::{Call, Peers};
use model::error::SqlError;
use model::id::CoreId;
use model::time::Timestamp;

/// Names a snapshot in its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotNumber {
    core: CoreId,
    count: u64,
}

/// A snapshot that every core keeps until this is dropped.
pub struct Snapshot {
    peers: Peers,
    number: SnapshotNumber,
    at: Timestamp,
}

impl Snapshot {
    /// Its time.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let (peers, number) = (self.peers.clone(), self.number);
        let release = async move {
            // A core that is stopping keeps nothing.
            let _told = peers.call_all(Call::ReleaseSnapshot(number)).await;
        };
        runtime::task::spawn("release snapshot", release).detach();
    }
}

impl Router {
    /// A snapshot of now, which can be read until it is dropped.
    ///
    /// # Errors
    /// A core is stopping.
    pub async fn hold_snapshot(&self) -> Result<Snapshot, SqlError> {
        let inner = &*self.inner;
        inner.last_snapshot.set(inner.last_snapshot.get() + 1);
        let number = SnapshotNumber { core: inner.engine.core(), count: inner.last_snapshot.get() };
        // Made first: where telling the cores breaks off, those that were told are told again.
        let snapshot = Snapshot { peers: inner.peers.clone(), number, at: inner.engine.now() };
        inner.peers.call_all(Call::HoldSnapshot(number, snapshot.at)).await?;
        Ok(snapshot)
    }

    /// Keeps a snapshot on this core.
    pub(super) fn keep_snapshot(
        &self,
        number: SnapshotNumber,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        let held = self.inner.engine.hold_snapshot(at)?;
        self.inner.snapshots.borrow_mut().insert(number, held);
        Ok(())
    }

    /// Lets a snapshot go on this core.
    pub(super) fn release_snapshot(&self, number: SnapshotNumber) {
        self.inner.snapshots.borrow_mut().remove(&number);
    }
}

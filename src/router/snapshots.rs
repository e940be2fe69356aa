//! Snapshots that outlive one statement: of a transaction whose statements all read the same, and of
//! a cursor.
//!
//! Every core is told before the first read. From then on it keeps the versions that the snapshot
//! sees, and commits nothing before it: what is committed when the transaction begins is seen, and
//! what commits later is not. The cores are told again when nobody reads it any more.

use super::Router;
use super::peers::{Call, Peers};
use crate::sql::AsOf;
use model::error::{SqlError, SqlState};
use model::id::CoreId;
use model::time::Timestamp;
use std::time::Duration;

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
        self.hold_snapshot_at(self.inner.engine.now()).await
    }

    /// A snapshot of a time that has passed, which can be read until it is dropped.
    ///
    /// # Errors
    /// 22023 for what is no such time, 72000 where versions of then may be gone, 55000 where the
    /// schema was another one.
    pub async fn hold_snapshot_as_of(&self, as_of: &AsOf) -> Result<Snapshot, SqlError> {
        let now = self.inner.engine.now();
        let at = as_of.time(now)?;
        let retention = self.inner.engine.retention();
        let kept = u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX);
        if at.0 < now.0.saturating_sub(kept) {
            return Err(too_old(retention));
        }
        if at < self.inner.catalog_since.get() {
            return Err(SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the schema has changed since the time that is to be read",
            )
            .detail("A start of the node counts, too.")
            .hint("Read a later time."));
        }
        self.hold_snapshot_at(at).await
    }

    async fn hold_snapshot_at(&self, at: Timestamp) -> Result<Snapshot, SqlError> {
        let inner = &*self.inner;
        inner.last_snapshot.set(inner.last_snapshot.get() + 1);
        let number = SnapshotNumber { core: inner.engine.core(), count: inner.last_snapshot.get() };
        // Made first: where telling the cores breaks off, those that were told are told again.
        let snapshot = Snapshot { peers: inner.peers.clone(), number, at };
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

fn too_old(retention: Duration) -> SqlError {
    SqlError::new(SqlState::SNAPSHOT_TOO_OLD, "snapshot too old").detail(format!(
        "Versions of rows are kept for {retention:?} after they were replaced (retention); the time \
         that is to be read is before that."
    ))
}

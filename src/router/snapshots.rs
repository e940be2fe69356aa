//! Snapshots that outlive one statement: of a transaction whose statements all read the same, and of
//! a cursor.
//!
//! Every core is told before the first read. From then on it keeps the versions that the snapshot
//! sees, and commits nothing before it: what is committed when the transaction begins is seen, and
//! what commits later is not. The cores are told again when nobody reads it any more.
//!
//! A transaction may let others read its snapshot while it is open. The name that it gives them says
//! which session's it is; that session's core knows the rest.

use super::Router;
use super::peers::{Answer, Call, CallError, Peers};
use crate::sql::AsOf;
use model::archive::Text;
use model::error::{SqlError, SqlState};
use model::id::{CatalogVersion, TxnId};
use model::placement::Place;
use model::time::Timestamp;
use rkyv::{Archive, Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Names a snapshot in the cluster: the place of the session that holds it, and which of that place's
/// it is since its node was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub struct SnapshotNumber {
    pub(super) place: Place,
    pub(super) count: u64,
}

/// A snapshot that every core keeps until this is dropped.
pub struct Snapshot {
    peers: Peers,
    number: SnapshotNumber,
    at: Timestamp,
    /// Who was told.
    places: Vec<Place>,
}

impl Snapshot {
    /// Its time.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// A snapshot that others may read while the transaction that reads it is open.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Exported {
    /// The transaction.
    pub txn: TxnId,
    /// The snapshot's time.
    pub at: Timestamp,
    /// The catalog when it was taken.
    pub schema: CatalogVersion,
    /// The session's database.
    #[rkyv(with = Text)]
    pub database: Arc<str>,
    /// Whether the transaction is a serializable one.
    pub serializable: bool,
}

impl Exported {
    /// What others call it, of the session of this process.
    pub fn id(&self, process: u32) -> String {
        format!("{:08X}-{:016X}-1", process, self.at.0)
    }
}

/// The process and the time of a snapshot of that name.
fn of_id(id: &str) -> Option<(u32, Timestamp)> {
    let (process, rest) = id.split_once('-')?;
    let at = rest.strip_suffix("-1")?;
    let digits = |text: &str, length| {
        text.len() == length && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'))
    };
    if !digits(process, 8) || !digits(at, 16) {
        return None;
    }
    let process = u32::from_str_radix(process, 16).ok()?;
    Some((process, Timestamp(u64::from_str_radix(at, 16).ok()?)))
}

fn invalid(id: &str) -> SqlError {
    SqlError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("invalid snapshot identifier: \"{id}\""),
    )
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let (peers, number) = (self.peers.clone(), self.number);
        let places = std::mem::take(&mut self.places);
        let release = async move {
            // A core that is stopping keeps nothing; one that is not reached lets go by itself.
            let _told = peers.ask_all(places, Call::ReleaseSnapshot(number)).await;
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
        self.hold_snapshot_at(self.engine.now()).await
    }

    /// A snapshot of a time that has passed, which can be read until it is dropped.
    ///
    /// # Errors
    /// 22023 for what is no such time, 72000 where versions of then may be gone, 55000 where the
    /// schema was another one.
    pub async fn hold_snapshot_as_of(&self, as_of: &AsOf) -> Result<Snapshot, SqlError> {
        let now = self.engine.now();
        let at = as_of.time(now)?;
        let retention = self.engine.retention();
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

    /// A snapshot that an open transaction lets others read.
    ///
    /// # Errors
    /// 22023 where there is no such transaction any more, 72000 where it has been open for too long.
    pub async fn import_snapshot(&self, id: &str) -> Result<(Snapshot, Exported), SqlError> {
        let (process, at) = of_id(id).ok_or_else(|| invalid(id))?;
        let peers = self.peers();
        let place = peers.place_of(process).ok_or_else(|| invalid(id))?;
        let asked = async || match peers.call(place, Call::Exported(process)).await? {
            Answer::Exported(Some(exported)) if exported.at == at => Ok(exported),
            Answer::Exported(_) => Err(invalid(id)),
            other => Err(SqlError::internal(format!("an exported snapshot: {other:?}"))),
        };
        asked().await?;
        // What has not ended when this is held has kept all of it meanwhile.
        let snapshot = self.hold_snapshot_at(at).await?;
        let exported = asked().await?;
        Ok((snapshot, exported))
    }

    pub(super) fn exported_here(&self, process: u32) -> Option<Exported> {
        self.inner.sessions.borrow().get(&process)?.exported()
    }

    async fn hold_snapshot_at(&self, at: Timestamp) -> Result<Snapshot, SqlError> {
        let inner = &*self.inner;
        inner.last_snapshot.set(inner.last_snapshot.get() + 1);
        let number = SnapshotNumber { place: inner.peers.here(), count: inner.last_snapshot.get() };
        // Made first: where telling the cores breaks off, those that were told are told again.
        let (peers, places) = (inner.peers.clone(), inner.peers.places());
        let snapshot = Snapshot { peers, number, at, places };
        let told =
            inner.peers.ask_all(snapshot.places.clone(), Call::HoldSnapshot(number, at)).await;
        for (place, answer) in told {
            match answer {
                Ok(_held) => {}
                Err(CallError::Refused(error)) => return Err(error),
                // What it does not keep for the retention's time it refuses to read.
                Err(unreached) => {
                    log::debug!(node = place.node.0; "a snapshot is not held: {}", SqlError::from(unreached));
                }
            }
        }
        Ok(snapshot)
    }

    /// Keeps a snapshot on this core.
    pub(super) fn keep_snapshot(
        &self,
        number: SnapshotNumber,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        let held = self.engine.hold_snapshot(at)?;
        self.inner.snapshots.borrow_mut().insert(number, held);
        Ok(())
    }

    /// A core of another node is lost, or only the link with it: calls to it fail, and what its sessions
    /// have held here may never be let go by them. Who goes on to read it nevertheless sees all of it for
    /// the time of the retention, and fails then (72000).
    pub fn place_lost(&self, place: Place) {
        self.peers().place_lost(place);
        self.inner.snapshots.borrow_mut().retain(|number, _| number.place != place);
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

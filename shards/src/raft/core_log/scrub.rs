//! Damage of a log that is open. What a damaged segment says is known in memory, or in table files: the
//! segment is let go as soon as nothing in it is needed any more, and the one that is being written is left
//! for the next. Until then a restart would refuse the log.
//!
//! ```text
//!  scrub, or an entry that is read ─► noted ─► left by the writer ─► tables are flushed, groups purged
//!                                                                 ─► the segment is let go: mended
//! ```

use super::{CoreLog, Inner};
use crate::wal::{Extent, Segment, Wal, WalError, check};
use model::id::PartitionId;
use runtime::sync::Notify;
use runtime::time;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who needs a damaged entry waits so long for it to be let go.
const MEND_MAX: Duration = Duration::from_secs(20);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Damaged segments of a core's log that are still needed.
#[derive(Default)]
pub(super) struct Damaged {
    segments: RefCell<BTreeMap<u64, WalError>>,
    /// Partitions of which somebody waits for a damaged entry.
    wanted: RefCell<Vec<PartitionId>>,
    found: Cell<u64>,
    mended: Cell<u64>,
    told: Notify,
}

impl Damaged {
    /// Segments before this one are kept no more.
    pub(super) fn let_go(&self, oldest: u64) {
        let mut segments = self.segments.borrow_mut();
        let kept = segments.split_off(&oldest);
        let gone = std::mem::replace(&mut *segments, kept).len();
        self.mended.set(self.mended.get() + gone as u64);
    }

    fn want(&self, partition: PartitionId) -> Wanted<'_> {
        self.wanted.borrow_mut().push(partition);
        Wanted(self, partition)
    }

    fn has(&self, segment: u64) -> bool {
        self.segments.borrow().contains_key(&segment)
    }
}

/// What came of looking for damage in a core's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogDamage {
    /// Segments that were found damaged since the log was opened.
    pub found: u64,
    /// Those of them that are let go: a restart does not meet them.
    pub mended: u64,
}

impl CoreLog {
    /// Checks all segments, oldest first; `pace` is told of each piece that was read, in bytes. Damage is
    /// noted, and is no error.
    ///
    /// # Errors
    /// [`WalError::Open`] where a file cannot be read: the others are not checked.
    pub(crate) async fn scrub(&self, pace: impl AsyncFn(u64)) -> Result<(), WalError> {
        let segments = self.inner.files.borrow().clone();
        for (at, segment) in segments.iter().enumerate() {
            let (last, end) = self.inner.end.get();
            let extent = match segments.get(at + 1) {
                Some(next) => Extent::UpTo(next),
                None if last == segment.number => Extent::Bytes(end),
                // It was filled meanwhile, and what follows it is in the next pass.
                None => continue,
            };
            match check(segment, extent, &pace).await {
                Ok(()) => {}
                Err(error @ WalError::Corruption { .. }) => self.inner.note_damage(segment, error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The newest damaged segment that is still needed.
    pub(crate) fn damaged_to(&self) -> Option<u64> {
        self.inner.damaged.segments.borrow().last_key_value().map(|(segment, _)| *segment)
    }

    /// Partitions of which a damaged entry is wanted. A leader does not let go of what it is about to send:
    /// another one has to lead.
    pub(crate) fn wanted_damaged(&self) -> BTreeSet<PartitionId> {
        self.inner.damaged.wanted.borrow().iter().copied().collect()
    }

    /// What was found and mended.
    pub(crate) fn damage(&self) -> LogDamage {
        let damaged = &self.inner.damaged;
        LogDamage { found: damaged.found.get(), mended: damaged.mended.get() }
    }

    /// Waits for more damage than `seen`, and says what the newest is; `None`: it is mended meanwhile.
    pub(crate) async fn next_damage(&self, seen: u64) -> Option<WalError> {
        let damaged = &self.inner.damaged;
        while damaged.found.get() <= seen {
            damaged.told.notified().await;
        }
        damaged.segments.borrow().last_key_value().map(|(_, error)| error.clone())
    }
}

impl Inner {
    /// Takes note of damage in a segment, if that is still kept: one that was let go may have been used
    /// again while it was read.
    pub(super) fn note_damage(&self, segment: &Segment, error: WalError) {
        let is_kept = self.files.borrow().iter().any(|kept| kept.number == segment.number);
        let damaged = &self.damaged;
        if !is_kept || damaged.has(segment.number) {
            return;
        }
        damaged.segments.borrow_mut().insert(segment.number, error);
        damaged.found.set(damaged.found.get() + 1);
        damaged.told.notify_all();
        self.work.notify_one();
    }

    /// Leaves the segment that is written where it is damaged. Whether it has: then a frame must follow.
    ///
    /// # Errors
    /// [`WalError::Failed`]; on a full disk it stays, and is left later.
    pub(super) async fn leave_damaged(&self, wal: &mut Wal) -> Result<bool, WalError> {
        if !self.damaged.has(wal.current_segment()) {
            return Ok(false);
        }
        match wal.leave_segment().await {
            Ok(()) => Ok(true),
            Err(WalError::Full { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until an entry that is damaged on the disk is let go, and nobody needs it. Whether it is.
    pub(super) async fn until_mended(&self, partition: PartitionId, segment: u64) -> bool {
        let _wanted = self.damaged.want(partition);
        let until = time::now() + MEND_MAX;
        while self.damaged.has(segment) {
            if time::now() >= until {
                return false;
            }
            time::sleep(LOOK_EVERY).await;
        }
        true
    }
}

/// Somebody waits for a damaged entry of a partition, until this is dropped.
struct Wanted<'a>(&'a Damaged, PartitionId);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut wanted = self.0.wanted.borrow_mut();
        if let Some(at) = wanted.iter().position(|one| *one == self.1) {
            wanted.swap_remove(at);
        }
    }
}

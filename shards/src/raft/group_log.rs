//! One group's log, as openraft asks for it: a view of the core's.

use super::core_log::CoreLog;
use super::pipeline::LogEnd;
use super::types::{Entry, LogId, Partitions, Vote};
use model::id::PartitionId;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use runtime::sync::Notify;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

/// Commands that one read of several entries gives at most, in bytes.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log of one partition.
#[derive(Clone)]
pub(crate) struct GroupLog {
    log: CoreLog,
    partition: PartitionId,
}

impl GroupLog {
    /// A partition's part of its core's log.
    pub(crate) fn new(log: CoreLog, partition: PartitionId) -> GroupLog {
        GroupLog { log, partition }
    }

    /// Whether it has come as far as it must for its replica to vote.
    pub(super) fn may_vote(&self) -> bool {
        self.log.may_vote(self.partition)
    }
}

impl LogEnd for GroupLog {
    fn last(&self) -> Option<LogId> {
        self.log.state(self.partition).1
    }

    fn grown(&self) -> Notify {
        self.log.grown(self.partition)
    }
}

impl RaftLogReader<Partitions> for GroupLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.log.entries(self.partition, from, to, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.log.entries(self.partition, start, end, READ_BYTES_MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.vote(self.partition))
    }
}

impl RaftLogStorage<Partitions> for GroupLog {
    type LogReader = GroupLog;

    async fn get_log_state(&mut self) -> io::Result<LogState<Partitions>> {
        let (last_purged_log_id, last_log_id) = self.log.state(self.partition);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> GroupLog {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.log.save_vote(self.partition, *vote).await
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Partitions>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
    {
        self.log.append(self.partition, entries.into_iter().collect(), flushed).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(self.partition, last.map(|last| last.index)).await
    }

    async fn purge(&mut self, to: LogId) -> io::Result<()> {
        self.log.purge(self.partition, to);
        Ok(())
    }
}

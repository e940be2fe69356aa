//! Reading a core's log back: what each partition's log holds, in order.

use super::codec;
use super::queue::Queues;
use super::{HardState, Segments};
use crate::wal::{Record, Replay};
use bytes::Bytes;
use model::command::Command;
use model::id::{LogIndex, NodeId, PartitionId, Term};
use model::time::{HybridClock, Timestamp};
use runtime::task;
use std::collections::BTreeMap;

/// Takes what a log holds, in the order in which it was written.
pub(crate) trait Recovery {
    /// A command that was durable. The error says what is wrong with it.
    async fn command(
        &mut self,
        partition: PartitionId,
        index: LogIndex,
        segment: u64,
        command: Command,
    ) -> Result<(), &'static str>;
}

/// Turns records into commands and keeps account of indexes and terms.
pub(super) struct LogReplay<'a, R> {
    recovery: &'a mut R,
    clock: &'a HybridClock,
    segments: Segments,
    last: BTreeMap<PartitionId, LogIndex>,
}

impl<'a, R: Recovery> LogReplay<'a, R> {
    pub(super) fn new(recovery: &'a mut R, clock: &'a HybridClock) -> LogReplay<'a, R> {
        LogReplay { recovery, clock, segments: Segments::default(), last: BTreeMap::new() }
    }

    /// `segment_bytes` is the size of a segment from here on.
    pub(super) fn finish(self, segment_bytes: u64) -> (Segments, Queues) {
        let mut queues = Queues::new(segment_bytes);
        for (partition, last) in self.last {
            queues.add(partition, last);
        }
        (self.segments, queues)
    }

    async fn entry(
        &mut self,
        segment: u64,
        partition: PartitionId,
        first: LogIndex,
        count: u32,
        commands: &[u8],
    ) -> Result<(), &'static str> {
        if self.last.get(&partition).is_some_and(|last| last.next() != first) {
            return Err("an entry does not follow the one before it");
        }
        let mut commands = Bytes::copy_from_slice(commands);
        let mut index = first;
        for _ in 0..count {
            let command = codec::decode(&mut commands).ok_or("a command makes no sense")?;
            self.recovery.command(partition, index, segment, command).await?;
            self.last.insert(partition, index);
            index = index.next();
            task::yield_if_due().await;
        }
        if !commands.is_empty() {
            return Err("an entry is longer than its commands");
        }
        if let Some(&last) = self.last.get(&partition) {
            self.segments.last.entry(segment).or_default().insert(partition, last);
        }
        Ok(())
    }
}

impl<R: Recovery> Replay for LogReplay<'_, R> {
    async fn record(&mut self, segment: u64, record: Record<'_>) -> Result<(), &'static str> {
        self.segments.last.entry(segment).or_default();
        match record {
            Record::Entry { partition, term, index, count, commands } => {
                let state = self.segments.hard_states.get(&partition);
                if state.is_some_and(|state| state.term < term) {
                    return Err("an entry of a term that was never begun");
                }
                self.entry(segment, partition, index, count, commands).await
            }
            Record::HardState { partition, term, vote, .. } => {
                let vote = vote.unwrap_or(NodeId(0));
                self.segments.hard_states.insert(partition, HardState { term, vote, segment });
                Ok(())
            }
            // With one voter whatever is durable is decided, and nothing decided is truncated.
            Record::Truncated { partition, after } => {
                match self.last.get(&partition).is_some_and(|&last| last > after) {
                    true => Err("a decided entry was truncated"),
                    false => Ok(()),
                }
            }
            Record::Membership { .. } => Err("a log without replicas says who its voters are"),
            Record::Purged { .. } | Record::Seal => Ok(()),
        }
    }

    fn clock(&mut self, clock: Timestamp) {
        self.clock.recover(clock);
    }
}

impl HardState {
    /// The state in which a node starts a partition of which it knows nothing.
    pub(super) fn unknown(vote: NodeId) -> HardState {
        HardState { term: Term(0), vote, segment: 0 }
    }
}

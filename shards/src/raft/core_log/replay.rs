//! Reading a core's log back.

use super::Cached;
use super::group::Group;
use crate::raft::types::{Batch, Entry, log_id};
use crate::raft::voters::{self, Voters};
use crate::wal::{Place, Record, Replay};
use bytes::Bytes;
use model::id::{LogIndex, PartitionId, Term};
use model::time::{HybridClock, Timestamp};
use openraft::{EmptyNode, EntryPayload};
use runtime::task;
use std::collections::BTreeMap;

/// What a log holds, read back.
pub(super) struct Found<'a> {
    pub(super) clock: &'a HybridClock,
    pub(super) groups: BTreeMap<PartitionId, Group>,
    pub(super) cached: Cached,
    /// The last index of each partition in each segment, oldest first.
    pub(super) segments: BTreeMap<u64, BTreeMap<PartitionId, u64>>,
}

impl Found<'_> {
    fn entry(
        &mut self,
        place: Place,
        partition: PartitionId,
        (term, index): (Term, LogIndex),
        payload: EntryPayload<Batch, u64, EmptyNode>,
    ) -> Result<(), &'static str> {
        let group = self.groups.entry(partition).or_default();
        // Before the first that is kept there may be a gap, of which a later state tells.
        let (first, last) = (group.is_empty(), group.last().map(|last| last.index));
        match last {
            Some(last) if first && index.0 <= last => return Ok(()),
            Some(last) if !first && index.0 != last + 1 => {
                return Err("an entry does not follow the one before it");
            }
            _ => {}
        }
        let entry = Entry { log_id: log_id(term.0, index.0), payload };
        self.cached.note(partition, &entry);
        group.push(entry, Some(place));
        self.cached.shrink(&mut self.groups);
        let last = self.segments.entry(place.segment).or_default().entry(partition).or_default();
        *last = index.0.max(*last);
        Ok(())
    }

    fn voters(bytes: &[u8]) -> Result<Voters, &'static str> {
        voters::decode(bytes).ok_or("a membership makes no sense")
    }
}

/// Whether each group has all entries behind those that it has let go.
pub(super) fn is_whole(groups: &BTreeMap<PartitionId, Group>) -> bool {
    groups.values().all(|group| match group.purged {
        Some(purged) => group.first_index() == purged.index + 1,
        None => true,
    })
}

/// The payload of an entry with commands.
pub(super) fn commands(
    count: u32,
    commands: &[u8],
) -> Result<EntryPayload<Batch, u64, EmptyNode>, &'static str> {
    match count {
        0 if commands.is_empty() => Ok(EntryPayload::Blank),
        0 => Err("an entry has bytes and no commands"),
        _ => Ok(EntryPayload::Normal(Batch::read(count, Bytes::copy_from_slice(commands)))),
    }
}

impl Replay for Found<'_> {
    async fn record(&mut self, place: Place, record: Record<'_>) -> Result<(), &'static str> {
        self.segments.entry(place.segment).or_default();
        match record {
            Record::Entry { partition, term, index, count, commands: bytes } => {
                self.entry(place, partition, (term, index), commands(count, bytes)?)?;
            }
            Record::Membership { partition, term, index, voters } => {
                let payload = EntryPayload::Membership(Self::voters(voters)?);
                self.entry(place, partition, (term, index), payload)?;
            }
            Record::Base { partition, term, index, voters } => {
                let voters = Self::voters(voters)?;
                let group = self.groups.entry(partition).or_default();
                group.base = Some((log_id(term.0, index.0), voters));
            }
            Record::HardState { partition, term, vote, elected, purged, votes_from } => {
                let group = self.groups.entry(partition).or_default();
                group.state((term, vote, elected), purged, votes_from, place.segment);
            }
            Record::Truncated { partition, after } => {
                self.groups.entry(partition).or_default().truncate_after(Some(after.0));
            }
            Record::Forgotten { partition } => {
                self.groups.remove(&partition);
                self.cached.forget(partition);
                for last in self.segments.values_mut() {
                    last.remove(&partition);
                }
            }
            Record::Purged { .. } | Record::Seal => {}
        }
        task::yield_if_due().await;
        Ok(())
    }

    fn clock(&mut self, clock: Timestamp) {
        self.clock.recover(clock);
    }
}

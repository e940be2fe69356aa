//! One partition's part of a core's log, as it is known in memory: where each entry lies, and the
//! newest entries themselves.

use crate::raft::types::{Entry, LogId, Vote, log_id};
use crate::raft::voters::Voters;
use crate::wal::{Place, Record};
use model::id::{LogIndex, NodeId, PartitionId, Term};
use openraft::EntryPayload;
use std::collections::VecDeque;

/// Bytes of a batch or vote besides its commands, as far as bounds go.
pub(super) const RECORD_BYTES: usize = 64;

/// One partition's part of the log.
#[derive(Default)]
pub(super) struct Group {
    pub(super) vote: Option<Vote>,
    /// The last entry that was let go.
    pub(super) purged: Option<LogId>,
    /// Who took part as of `purged`, and the entry that said so.
    pub(super) base: Option<(LogId, Voters)>,
    /// Those after `purged`, without a gap.
    slots: VecDeque<Slot>,
    /// The last entry that is on the disk with all before it.
    durable: Option<u64>,
    /// The segment that says what is in force of vote, `purged` and `base`; zero: none.
    pub(super) stated_in: u64,
    /// `purged` as that segment has it.
    pub(super) stated_purged: Option<LogId>,
}

/// One entry.
struct Slot {
    id: LogId,
    /// Who takes part from here on.
    voters: Option<Box<Voters>>,
    /// Where it lies; `None` until it is durable.
    place: Option<Place>,
    /// The entry itself, where it is kept in memory.
    entry: Option<Box<Entry>>,
}

/// An entry of the log, in memory or on the disk.
pub(super) enum Kept {
    Here(Box<Entry>),
    At(Place),
}

impl Group {
    pub(super) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.id).or(self.purged)
    }

    /// Whether no entry is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The index of the first entry that is kept, or would be.
    pub(super) fn first_index(&self) -> u64 {
        match self.slots.front() {
            Some(first) => first.id.index,
            None => self.purged.map_or(0, |purged| purged.index + 1),
        }
    }

    /// The last entry that is on the disk with all before it.
    pub(super) fn durable(&self) -> Option<u64> {
        self.durable.max(self.purged.map(|purged| purged.index))
    }

    /// Term and place of an entry that is kept, or the last that is not.
    pub(super) fn id_at(&self, index: u64) -> Option<LogId> {
        match self.slot(index) {
            Some(slot) => Some(slot.id),
            None => self.purged.filter(|purged| purged.index == index),
        }
    }

    /// Who takes part as of an entry, and which entry said so.
    pub(super) fn voters_at(&self, index: u64) -> Option<(LogId, Voters)> {
        let upto = self.slots.iter().take_while(|slot| slot.id.index <= index);
        let newest = upto.filter_map(|slot| Some((slot.id, *slot.voters.clone()?))).last();
        newest.or_else(|| self.base.clone())
    }

    fn position(&self, index: u64) -> Option<usize> {
        index.checked_sub(self.first_index()).map(|at| at as usize)
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(self.position(index)?)
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let at = self.position(index)?;
        self.slots.get_mut(at)
    }

    /// An entry that is kept.
    pub(super) fn entry(&self, index: u64) -> Option<Kept> {
        let slot = self.slot(index)?;
        match (&slot.entry, slot.place) {
            (Some(entry), _) => Some(Kept::Here(entry.clone())),
            (None, Some(place)) => Some(Kept::At(place)),
            (None, None) => None,
        }
    }

    /// Adds an entry behind the others; where it lies is said later, or known already.
    pub(super) fn push(&mut self, entry: Entry, place: Option<Place>) {
        let voters = match &entry.payload {
            EntryPayload::Membership(voters) => Some(Box::new(voters.clone())),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        };
        if place.is_some() {
            self.durable = Some(entry.log_id.index);
        }
        self.slots.push_back(Slot {
            id: entry.log_id,
            voters,
            place,
            entry: Some(Box::new(entry)),
        });
    }

    /// Notes that an entry is on the disk. One of another term was truncated since.
    pub(super) fn placed(&mut self, id: LogId, place: Place) {
        if let Some(slot) = self.slot_mut(id.index)
            && slot.id == id
        {
            slot.place = Some(place);
            self.durable = Some(id.index);
        }
    }

    /// Lets go of the entry in memory, if it lies on the disk. Returns whether it did.
    pub(super) fn forget(&mut self, id: LogId) -> bool {
        match self.slot_mut(id.index) {
            Some(slot) if slot.id == id && slot.place.is_none() => false,
            Some(slot) if slot.id == id => {
                slot.entry = None;
                true
            }
            _ => true,
        }
    }

    pub(super) fn truncate_after(&mut self, after: Option<u64>) {
        while self.slots.back().is_some_and(|last| Some(last.id.index) > after) {
            self.slots.pop_back();
        }
        self.durable = self.durable.min(after);
    }

    pub(super) fn purge(&mut self, to: LogId) {
        if let Some(voters) = self.voters_at(to.index) {
            self.base = Some(voters);
        }
        while self.slots.front().is_some_and(|first| first.id.index <= to.index) {
            self.slots.pop_front();
        }
        self.purged = self.purged.max(Some(to));
    }

    /// What is in force, as records.
    pub(super) fn hard_state(&self, partition: PartitionId) -> Record<'static> {
        let leader = self.vote.map(|vote| vote.leader_id);
        let purged =
            self.purged.map(|id| (Term(id.committed_leader_id().term), LogIndex(id.index)));
        Record::HardState {
            partition,
            term: Term(leader.map_or(0, |leader| leader.term)),
            // Ids of nodes come from records like this one, and have 32 bits.
            vote: leader.map(|leader| NodeId(leader.voted_for as u32)),
            elected: self.vote.is_some_and(|vote| vote.committed),
            purged,
        }
    }

    /// Takes over what a record says.
    pub(super) fn state(
        &mut self,
        (term, vote, elected): (Term, Option<NodeId>, bool),
        purged: Option<(Term, LogIndex)>,
        segment: u64,
    ) {
        self.vote = vote.map(|node| match elected {
            true => Vote::new_committed(term.0, u64::from(node.0)),
            false => Vote::new(term.0, u64::from(node.0)),
        });
        if let Some((term, index)) = purged {
            self.purge(log_id(term.0, index.0));
        }
        (self.stated_in, self.stated_purged) = (segment, self.purged);
    }
}

/// What an entry takes in memory and in the log, about, in bytes.
pub(super) fn entry_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => RECORD_BYTES + batch.commands.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => RECORD_BYTES,
    }
}

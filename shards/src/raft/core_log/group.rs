//! One partition's part of a core's log, as it is known in memory: where each entry lies, in a few bytes, and
//! the newest entries themselves.

use crate::raft::types::{Entry, LogId, Vote, log_id};
use crate::raft::voters::Voters;
use crate::wal::{BLOCK, Place, Record};
use model::id::{LogIndex, NodeId, PartitionId, Term};
use openraft::EntryPayload;
use runtime::sync::Notify;
use std::collections::{BTreeMap, VecDeque};

/// Bytes of a batch or vote besides its commands, as far as bounds go.
pub(super) const RECORD_BYTES: usize = 64;

/// One partition's part of the log.
#[derive(Default)]
pub(super) struct Group {
    pub(super) vote: Option<Vote>,
    /// The last entry that was let go.
    pub(super) purged: Option<LogId>,
    /// The replica has no vote before its log has come so far; zero: it may vote at once.
    pub(super) votes_from: u64,
    /// Who took part as of `purged`, and the entry that said so. Of files that take the place of the log it is
    /// known before that is let go.
    pub(super) base: Option<(LogId, Voters)>,
    /// The first entry that is kept, and how many are.
    first: u64,
    count: u64,
    /// Where entries lie, from the first on: as many as are on the disk.
    places: VecDeque<Packed>,
    /// The terms of the entries, each with the first entry of it.
    terms: VecDeque<(u64, u64)>,
    /// The entries that say who takes part.
    voters: BTreeMap<u64, Voters>,
    /// The newest entries, up to the last.
    cached: VecDeque<Entry>,
    /// The segment that says what is in force of vote, `purged` and `base`; zero: none.
    pub(super) stated_in: u64,
    /// `purged` as that segment has it.
    pub(super) stated_purged: Option<LogId>,
    /// Tells all who wait that there are more entries.
    pub(super) grown: Notify,
}

/// A [`Place`] in eight bytes: frames begin at whole blocks.
#[derive(Clone, Copy)]
struct Packed(u64);

/// Bits of the number of a block in its segment.
const BLOCK_BITS: u32 = 24;

impl Packed {
    fn new(place: Place) -> Packed {
        Packed((place.segment << BLOCK_BITS) | (place.offset / BLOCK as u64))
    }

    fn place(self) -> Place {
        let block = self.0 & ((1 << BLOCK_BITS) - 1);
        Place { segment: self.0 >> BLOCK_BITS, offset: block * BLOCK as u64 }
    }
}

/// What the place of an entry takes, in bytes.
pub(super) const PLACE_BYTES: u64 = size_of::<Packed>() as u64;

/// An entry of the log, in memory or on the disk.
pub(super) enum Kept {
    Here(Entry),
    At(Place),
}

impl Group {
    /// Whether no entry is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many entries are kept.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    pub(super) fn last(&self) -> Option<LogId> {
        match self.count {
            0 => self.purged,
            _ => self.id_at(self.first + self.count - 1),
        }
    }

    /// The index of the first entry that is kept, or would be.
    pub(super) fn first_index(&self) -> u64 {
        match self.count {
            0 => self.purged.map_or(0, |purged| purged.index + 1),
            _ => self.first,
        }
    }

    /// The last entry that is on the disk with all before it.
    pub(super) fn durable(&self) -> Option<u64> {
        let placed = self.places.len() as u64;
        let durable = (placed > 0).then(|| self.first + placed - 1);
        durable.max(self.purged.map(|purged| purged.index))
    }

    fn keeps(&self, index: u64) -> bool {
        index >= self.first && index < self.first + self.count
    }

    /// Term and place of an entry that is kept, or the last that is not.
    pub(super) fn id_at(&self, index: u64) -> Option<LogId> {
        if !self.keeps(index) {
            return self.purged.filter(|purged| purged.index == index);
        }
        let of_term = self.terms.partition_point(|(first, _)| *first <= index);
        let (_, term) = self.terms.get(of_term.checked_sub(1)?)?;
        Some(log_id(*term, index))
    }

    /// Who takes part as of an entry, and which entry said so.
    pub(super) fn voters_at(&self, index: u64) -> Option<(LogId, Voters)> {
        let newest = self.voters.range(..=index).next_back();
        let newest = newest.and_then(|(at, voters)| Some((self.id_at(*at)?, voters.clone())));
        let base = self.base.clone().filter(|(id, _)| id.index <= index);
        newest.into_iter().chain(base).max_by_key(|(id, _)| *id)
    }

    /// An entry that is kept.
    pub(super) fn entry(&self, index: u64) -> Option<Kept> {
        if !self.keeps(index) {
            return None;
        }
        let cached_from = self.first + self.count - self.cached.len() as u64;
        match index.checked_sub(cached_from) {
            Some(at) => self.cached.get(at as usize).cloned().map(Kept::Here),
            None => {
                let place = self.places.get((index - self.first) as usize)?;
                Some(Kept::At(place.place()))
            }
        }
    }

    /// Adds an entry behind the others; where it lies is said later, or known already.
    pub(super) fn push(&mut self, entry: Entry, place: Option<Place>) {
        let (term, index) = (entry.log_id.committed_leader_id().term, entry.log_id.index);
        if self.count == 0 {
            self.first = index;
        }
        if self.terms.back().is_none_or(|(_, last)| *last != term) {
            self.terms.push_back((index, term));
        }
        if let EntryPayload::Membership(voters) = &entry.payload {
            self.voters.insert(index, voters.clone());
        }
        self.count += 1;
        self.cached.push_back(entry);
        self.places.extend(place.map(Packed::new));
    }

    /// Notes that an entry is on the disk. One of another term was truncated since.
    pub(super) fn placed(&mut self, id: LogId, place: Place) {
        let next = self.first + self.places.len() as u64;
        if id.index == next && self.keeps(next) && self.id_at(next) == Some(id) {
            self.places.push_back(Packed::new(place));
        }
    }

    /// Lets go of the oldest entry in memory, if it is this one. Returns whether that is done: not
    /// where it is not on the disk.
    pub(super) fn forget(&mut self, id: LogId) -> bool {
        if self.cached.front().is_none_or(|oldest| oldest.log_id != id) {
            return true;
        }
        if self.durable() < Some(id.index) {
            return false;
        }
        self.cached.pop_front();
        true
    }

    pub(super) fn truncate_after(&mut self, after: Option<u64>) {
        while self.count > 0 && Some(self.first + self.count - 1) > after {
            self.count -= 1;
            self.cached.pop_back();
        }
        self.places.truncate(self.count as usize);
        let end = self.first + self.count;
        while self.terms.back().is_some_and(|(first, _)| *first >= end) {
            self.terms.pop_back();
        }
        self.voters.split_off(&end);
    }

    pub(super) fn purge(&mut self, to: LogId) {
        if let Some(voters) = self.voters_at(to.index) {
            self.base = Some(voters);
        }
        while self.count > 0 && self.first <= to.index {
            if self.cached.len() as u64 == self.count {
                self.cached.pop_front();
            }
            self.places.pop_front();
            self.first += 1;
            self.count -= 1;
        }
        self.voters = self.voters.split_off(&self.first);
        if self.count == 0 {
            self.terms.clear();
            self.voters.clear();
        }
        while self.terms.get(1).is_some_and(|(second, _)| *second <= self.first) {
            self.terms.pop_front();
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
            votes_from: LogIndex(self.votes_from),
        }
    }

    /// Whether the log has come as far as it must for the replica to vote.
    pub(super) fn may_vote(&self) -> bool {
        self.last().map_or(0, |last| last.index) >= self.votes_from
    }

    /// Takes over what a record says.
    pub(super) fn state(
        &mut self,
        (term, vote, elected): (Term, Option<NodeId>, bool),
        purged: Option<(Term, LogIndex)>,
        votes_from: LogIndex,
        segment: u64,
    ) {
        self.votes_from = votes_from.0;
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

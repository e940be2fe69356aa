//! What one partition knows of its transactions. Pure: events come in as calls, and what must
//! happen goes out as values; no clock, no I/O, no waiting.
//!
//! ```text
//!            stage              prepare            decided elsewhere
//!   (none) ───────► Active ──────────► Preparing ─► Prepared ─► Finishing ─► (none)
//!                     │  commit           (in the log: Prepare)      (Finish)
//!                     ├──────► Committing ─────────────────────────────────► (none)
//!                     │            (in the log: Commit)
//!                     └──────► Aside ──────────────────────────────────────► (none)
//!                                  (has only read here: nothing is logged)
//! ```
//!
//! A transaction that is too large for one command goes from Active to Logging first, while its
//! writes go through the log in parts (Stage), and from there on as the others do. Its writes stay
//! in one map from beginning to end, so that no step takes as long as it is large.
//!
//! Whatever is in the log changes the state only when it is applied, in index order, so that a
//! replay after a crash arrives at the same state.

mod bulk;
mod marks;
mod pending;
mod report;

pub(super) use bulk::lock_part;
use bulk::{Bulk, Logged};
use bytes::Bytes;
pub(crate) use marks::{Marked, Returned};
use model::command::{Command, KeyWrite, Outcome};
use model::id::{CoreId, LogIndex, NodeId, PartitionId, Term, TxnId};
use model::placement::Place;
use model::time::Timestamp;
pub(crate) use pending::Handed;
use pending::Pending;
#[cfg(test)]
pub(super) use report::StateReport;
pub use report::TxnState;
use runtime::time::Instant;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::rc::Rc;

/// Transactions that were rolled back without being asked, and are remembered so that none of
/// them goes on as if nothing had happened. Beyond that the oldest are remembered together.
const EXPELLED_MAX: usize = 65_536;

/// Writes by key; `None` deletes.
pub(crate) type WriteSet = BTreeMap<Bytes, Option<Bytes>>;

/// How far a transaction has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Stages writes.
    Active,
    /// It has only read here, and ends: its locks stay until its outcome is known, or until nothing that is
    /// written here could be as early as its commit. That is after this time.
    Aside(Timestamp),
    /// Its writes are on their way through the log, in parts.
    Logging,
    /// Its commit is on its way through the log.
    Committing,
    /// Its vote is on its way through the log.
    Preparing,
    /// Its vote is in the log, and the outcome is decided elsewhere.
    Prepared,
    /// Its outcome is on its way through the log.
    Finishing(Outcome),
}

/// One transaction in one partition.
#[derive(Debug)]
pub(crate) struct Txn {
    pub(crate) phase: Phase,
    /// While active or logging.
    staged: WriteSet,
    /// What the log holds of it in parts.
    logged: Option<Logged>,
    /// Bytes of staged keys and values.
    pub(crate) staged_bytes: usize,
    /// What it may go back to, the earliest first.
    marks: Vec<Marked>,
    /// Bytes of what the marks hold.
    marked_bytes: usize,
    /// Its vote, from `Preparing` on.
    vote: Option<Vote>,
    /// When a request of it was last served.
    pub(crate) heard: Instant,
    /// Requests of it that are being served.
    pub(crate) busy: u32,
    /// Its locks stay when it goes back to a mark: what it has read was seen.
    keeps_locks: bool,
    /// Something that is here must stay here if it commits.
    requires: bool,
    /// Whose values it has seen before they were durable.
    leans_on: BTreeSet<TxnId>,
}

/// A vote to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) at: Timestamp,
    pub(crate) anchor: PartitionId,
    /// None where they were staged: they are kept apart then.
    pub(crate) writes: Vec<KeyWrite>,
    pub(crate) locks: Vec<Bytes>,
    /// Whether its writes and locks are in the parts before it.
    pub(crate) staged: bool,
    /// The entry of the log that holds it, or the first part of it; 0 until it is applied.
    pub(crate) index: LogIndex,
}

/// A decision that this partition's log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) outcome: Outcome,
    pub(crate) participants: Vec<PartitionId>,
    /// The entry of the log from which on a replay finds it: the vote's, without which it does not count, or its
    /// own where it was written again.
    pub(crate) index: LogIndex,
    pub(crate) since: Instant,
}

/// Why a request of a transaction is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has done nothing here, or was rolled back.
    Unknown,
    /// It was rolled back without being asked.
    Expelled,
    /// It is ending.
    Ending,
}

/// What carrying an outcome out takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Apply these writes at this time, then call [`TxnStates::end`].
    Commit(Timestamp, Vec<KeyWrite>),
    /// As `Commit`, of a large transaction.
    CommitBulk(Timestamp, Rc<WriteSet>),
    /// Call [`TxnStates::end`].
    Abort,
    /// Nothing: it has ended before, or the decision says otherwise.
    Nothing,
}

impl Txn {
    fn new(phase: Phase, now: Instant) -> Txn {
        Txn {
            phase,
            staged: WriteSet::new(),
            logged: None,
            staged_bytes: 0,
            marks: Vec::new(),
            marked_bytes: 0,
            vote: None,
            heard: now,
            busy: 0,
            keeps_locks: false,
            requires: false,
            leans_on: BTreeSet::new(),
        }
    }
}

fn vote_command(txn: TxnId, vote: &Vote) -> Command {
    let locks = if vote.staged { Vec::new() } else { vote.locks.clone() };
    Command::Prepare {
        txn,
        at: vote.at,
        anchor: vote.anchor,
        writes: vote.writes.clone(),
        locks,
        staged: vote.staged,
    }
}

/// All transactions of one partition.
#[derive(Debug)]
pub(crate) struct TxnStates {
    partition: PartitionId,
    txns: BTreeMap<TxnId, Txn>,
    /// Keys whose writes are in the log or on their way, and are not applied.
    pending: Pending,
    /// The same of large transactions.
    bulk: BTreeMap<TxnId, Bulk>,
    decisions: BTreeMap<TxnId, Decision>,
    expelled: BTreeMap<TxnId, ()>,
    /// All transactions as old as this one that are not known are taken for expelled.
    expelled_floor: Option<TxnId>,
    /// Votes whose outcome is applied but not yet in table files: index of the outcome, and of the
    /// vote.
    carried: VecDeque<(LogIndex, LogIndex)>,
    /// The term in which this replica leads, once all that was there before is applied. Until then parts
    /// come from a log that was written before.
    led: Option<Term>,
    /// Bytes that all transactions of the core have staged.
    staged_bytes: Rc<Cell<usize>>,
}

impl TxnStates {
    /// The state before a replay. `staged_bytes` is shared by the partitions of a core.
    pub(crate) fn new(partition: PartitionId, staged_bytes: Rc<Cell<usize>>) -> TxnStates {
        TxnStates {
            partition,
            txns: BTreeMap::new(),
            pending: Pending::default(),
            bulk: BTreeMap::new(),
            decisions: BTreeMap::new(),
            expelled: BTreeMap::new(),
            expelled_floor: None,
            carried: VecDeque::new(),
            led: None,
            staged_bytes,
        }
    }

    /// A transaction of which this partition has heard.
    pub(crate) fn get(&self, txn: TxnId) -> Option<&Txn> {
        self.txns.get(&txn)
    }

    fn refusal(&self, txn: TxnId) -> Refusal {
        let old = self.expelled_floor.is_some_and(|floor| txn <= floor);
        match old || self.expelled.contains_key(&txn) {
            true => Refusal::Expelled,
            false => Refusal::Unknown,
        }
    }

    /// Begins a request of a transaction, and the transaction with its first request. Every
    /// success is followed by [`TxnStates::leave`].
    pub(crate) fn enter(&mut self, txn: TxnId, now: Instant) -> Result<(), Refusal> {
        if !self.txns.contains_key(&txn) {
            if self.refusal(txn) == Refusal::Expelled {
                return Err(Refusal::Expelled);
            }
            self.txns.insert(txn, Txn::new(Phase::Active, now));
        }
        match self.txns.get_mut(&txn) {
            Some(known) if known.phase == Phase::Active => {
                known.busy += 1;
                known.heard = now;
                Ok(())
            }
            _ => Err(Refusal::Ending),
        }
    }

    /// Ends a request.
    pub(crate) fn leave(&mut self, txn: TxnId, now: Instant) {
        let Some(known) = self.txns.get_mut(&txn) else { return };
        known.busy = known.busy.saturating_sub(1);
        known.heard = now;
        if !known.leans_on.is_empty() {
            // A long transaction does not remember all it has ever leaned on.
            let mut leans_on = std::mem::take(&mut known.leans_on);
            leans_on.retain(|other| self.commits(*other));
            if let Some(known) = self.txns.get_mut(&txn) {
                known.leans_on = leans_on;
            }
        }
    }

    /// A transaction's locks stay when it goes back to a mark.
    pub(crate) fn keep_locks(&mut self, txn: TxnId) {
        if let Some(known) = self.txns.get_mut(&txn) {
            known.keeps_locks = true;
        }
    }

    /// Notes that something that is here must stay here if the transaction commits: the locks on it
    /// are part of its vote.
    pub(crate) fn require(&mut self, txn: TxnId) {
        if let Some(known) = self.txns.get_mut(&txn) {
            known.requires = true;
        }
    }

    /// Whether anything must stay here if the transaction commits.
    pub(crate) fn requires(&self, txn: TxnId) -> bool {
        self.txns.get(&txn).is_some_and(|known| known.requires)
    }

    /// A transaction that has only read here ends. It commits at `until` at the latest, or not at all.
    pub(crate) fn stand_aside(&mut self, txn: TxnId, until: Timestamp) {
        if let Some(known) = self.txns.get_mut(&txn) {
            known.phase = Phase::Aside(until);
        }
    }

    /// Stages a write of an active transaction. Returns whether it is active.
    pub(crate) fn stage(&mut self, txn: TxnId, key: Bytes, value: Option<Bytes>) -> bool {
        let Some(known) = self.txns.get_mut(&txn) else { return false };
        if known.phase != Phase::Active {
            return false;
        }
        let key_bytes = key.len();
        let bytes = key_bytes + value.as_ref().map_or(0, Bytes::len);
        let marked = (!known.marks.is_empty()).then(|| key.clone());
        let replaced = known.staged.insert(key, value);
        let before = match &replaced {
            Some(before) => key_bytes + before.as_ref().map_or(0, Bytes::len),
            None => 0,
        };
        known.staged_bytes = known.staged_bytes + bytes - before;
        self.staged_bytes.set(self.staged_bytes.get() + bytes - before);
        if let Some(key) = marked {
            self.note_before(txn, &key, &replaced);
        }
        true
    }

    /// What a transaction has staged for a key: `Some(None)` is a deletion.
    pub(crate) fn staged(&self, txn: TxnId, key: &[u8]) -> Option<Option<Bytes>> {
        self.txns.get(&txn)?.staged.get(key).cloned()
    }

    /// What a transaction has staged between two keys, in order.
    pub(crate) fn staged_range(
        &self,
        txn: TxnId,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Vec<(Bytes, Option<Bytes>)> {
        let Some(known) = self.txns.get(&txn) else { return Vec::new() };
        if known.staged.is_empty() || end.is_some_and(|end| end <= start) {
            return Vec::new();
        }
        let range = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let staged = known.staged.range::<[u8], _>(range);
        staged.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Bytes, number of staged writes of a transaction that may end now.
    pub(crate) fn ready_to_end(&self, txn: TxnId) -> Result<(usize, usize), Refusal> {
        match self.txns.get(&txn) {
            None => Err(self.refusal(txn)),
            Some(known) if known.phase == Phase::Active && known.busy == 0 => {
                Ok((known.staged_bytes, known.staged.len()))
            }
            Some(_) => Err(Refusal::Ending),
        }
    }

    /// Takes the staged writes of a transaction and makes readers at or after `at` wait for them.
    /// Whoever locks the keys next may build on those that are `handed` over.
    fn take_writes(&mut self, txn: TxnId, at: Timestamp, handed: bool) -> Vec<KeyWrite> {
        let Some(known) = self.txns.get_mut(&txn) else { return Vec::new() };
        self.staged_bytes.set(self.staged_bytes.get() - known.staged_bytes);
        known.staged_bytes = 0;
        let staged = std::mem::take(&mut known.staged);
        for (key, value) in &staged {
            self.pending.insert(key, at, txn, handed.then(|| value.clone()));
        }
        staged.into_iter().map(|(key, value)| KeyWrite { key, value }).collect()
    }

    /// The command that commits a transaction that wrote here only. Its keys are handed over: once it
    /// is proposed their locks may go.
    pub(crate) fn commit(&mut self, txn: TxnId, at: Timestamp) -> Result<Command, Refusal> {
        self.ready_to_end(txn)?;
        let writes = self.take_writes(txn, at, true);
        self.set_phase(txn, Phase::Committing);
        Ok(Command::Commit { txn, at, writes, staged: false })
    }

    /// The command that votes to commit. `locks` are the keys that must stay locked besides the
    /// written ones.
    pub(crate) fn prepare(
        &mut self,
        txn: TxnId,
        at: Timestamp,
        anchor: PartitionId,
        locks: Vec<Bytes>,
    ) -> Result<Command, Refusal> {
        self.ready_to_end(txn)?;
        let writes = self.take_writes(txn, at, false);
        self.set_phase(txn, Phase::Preparing);
        let (vote_writes, vote_locks) = (writes.clone(), locks.clone());
        let vote = Vote {
            at,
            anchor,
            writes: vote_writes,
            locks: vote_locks,
            staged: false,
            index: LogIndex(0),
        };
        if let Some(known) = self.txns.get_mut(&txn) {
            known.vote = Some(vote);
        }
        Ok(Command::Prepare { txn, at, anchor, writes, locks, staged: false })
    }

    fn set_phase(&mut self, txn: TxnId, phase: Phase) {
        if let Some(known) = self.txns.get_mut(&txn) {
            known.phase = phase;
        }
    }

    /// A transaction's vote, once it is cast.
    pub(crate) fn vote(&self, txn: TxnId) -> Option<&Vote> {
        self.txns.get(&txn)?.vote.as_ref()
    }

    /// The decision that is kept here.
    pub(crate) fn decision(&self, txn: TxnId) -> Option<&Decision> {
        self.decisions.get(&txn)
    }

    /// The command that carries an outcome out, unless one is on its way or there is nothing to
    /// finish.
    pub(crate) fn finish(&mut self, txn: TxnId, outcome: Outcome) -> Option<Command> {
        let known = self.txns.get_mut(&txn)?;
        let open = match known.phase {
            Phase::Prepared => true,
            Phase::Preparing => outcome == Outcome::Aborted,
            _ => false,
        };
        open.then(|| {
            known.phase = Phase::Finishing(outcome);
            Command::Finish { txn, outcome }
        })
    }

    /// The vote is in the log. Returns whether this is the first that is heard of it: a replay
    /// then locks the keys.
    pub(crate) fn prepared(&mut self, txn: TxnId, mut vote: Vote, now: Instant) -> bool {
        for write in &vote.writes {
            self.pending.insert(&write.key, vote.at, txn, None);
        }
        let replayed = self.txns.get(&txn).is_none_or(|known| known.phase == Phase::Active);
        if replayed && vote.staged {
            self.make_bulk(txn, vote.at);
        }
        let known = self.txns.entry(txn).or_insert_with(|| Txn::new(Phase::Prepared, now));
        if let (true, Some(logged)) = (vote.staged, &mut known.logged) {
            vote.index = vote.index.min(logged.index);
            vote.locks = std::mem::take(&mut logged.locks);
        }
        if replayed || known.phase == Phase::Preparing {
            known.phase = Phase::Prepared;
        }
        known.heard = now;
        known.vote = Some(vote);
        replayed
    }

    /// A decision is in the log. A new one counts if the transaction is prepared here and
    /// undecided: otherwise it was aborted before.
    pub(crate) fn decided(&mut self, txn: TxnId, mut decision: Decision, again: bool) {
        if !again {
            let vote = self.vote(txn).filter(|vote| vote.anchor == self.partition);
            let Some(vote) = vote else { return };
            decision.index = decision.index.min(vote.index);
        }
        match self.decisions.get_mut(&txn) {
            Some(known) if again => known.index = decision.index,
            Some(_) => {}
            None => drop(self.decisions.insert(txn, decision)),
        }
    }

    /// The outcome is in the log.
    pub(crate) fn finished(&mut self, txn: TxnId, outcome: Outcome, index: LogIndex) -> Finish {
        let decided = self.decisions.get(&txn).map(|decision| decision.outcome);
        let overruled = decided.is_some_and(|decided| decided != outcome);
        let Some(known) = self.txns.get_mut(&txn) else { return Finish::Nothing };
        if overruled {
            known.phase = Phase::Prepared;
            return Finish::Nothing;
        }
        let Some(vote) = known.vote.take() else { return Finish::Nothing };
        self.carried.push_back((index, vote.index));
        match outcome {
            Outcome::Committed(at) => match self.bulk.get(&txn) {
                Some(bulk) => Finish::CommitBulk(at, bulk.writes.clone()),
                None => Finish::Commit(at, vote.writes),
            },
            Outcome::Aborted => {
                self.clear_pending(txn, &vote.writes);
                Finish::Abort
            }
        }
    }

    /// Every participant has finished.
    pub(crate) fn forgotten(&mut self, txn: TxnId) {
        self.decisions.remove(&txn);
    }

    /// Its writes are visible.
    pub(crate) fn clear_pending(&mut self, txn: TxnId, writes: &[KeyWrite]) {
        for write in writes {
            self.pending.remove(&write.key, txn);
        }
    }

    /// Nothing of the transaction remains but a decision. Gives what it had staged, to be dropped
    /// in steps where it is much.
    pub(crate) fn end(&mut self, txn: TxnId) -> Option<Rc<WriteSet>> {
        let known = self.txns.remove(&txn)?;
        let bytes = known.staged_bytes + known.marked_bytes;
        self.staged_bytes.set(self.staged_bytes.get() - bytes);
        let bulk = self.bulk.remove(&txn).map(|bulk| bulk.writes);
        bulk.or_else(|| Some(Rc::new(known.staged)))
    }

    /// A commit or vote did not get into the log: the transaction has failed.
    /// Gives what it had staged, as [`TxnStates::end`] does.
    pub(crate) fn refused(&mut self, txn: TxnId, writes: &[KeyWrite]) -> Option<Rc<WriteSet>> {
        self.clear_pending(txn, writes);
        let staged = self.end(txn);
        self.expel(txn);
        staged
    }

    /// An outcome did not get into the log: it is still to be carried out.
    pub(crate) fn finish_refused(&mut self, txn: TxnId) {
        self.set_phase(txn, Phase::Prepared);
    }

    /// Takes all transactions that began up to a time and are not known here for rolled back: what they had
    /// here was lost with another leader.
    pub(crate) fn expel_before(&mut self, began: Timestamp) {
        let newest = TxnId { began, node: NodeId(u32::MAX), core: CoreId(u16::MAX) };
        self.expelled_floor = self.expelled_floor.max(Some(newest));
    }

    /// Remembers that a transaction was rolled back without being asked.
    pub(crate) fn expel(&mut self, txn: TxnId) {
        self.expelled.insert(txn, ());
        if self.expelled.len() > EXPELLED_MAX
            && let Some((oldest, ())) = self.expelled.pop_first()
        {
            self.expelled_floor = self.expelled_floor.max(Some(oldest));
        }
    }

    /// Its coordinator knows.
    pub(crate) fn pardon(&mut self, txn: TxnId) {
        self.expelled.remove(&txn);
    }

    /// A transaction, other than `own`, whose writes in the range a snapshot at `at` must wait for.
    pub(crate) fn pending_in(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        at: Timestamp,
        own: Option<TxnId>,
    ) -> Option<TxnId> {
        let nothing = self.pending.is_empty() && self.bulk.is_empty();
        if nothing || end.is_some_and(|end| end <= start) {
            return None;
        }
        let range = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let small = self.pending.writer_in(range, at, own);
        let mut bulk = self.bulk.iter().filter(|(txn, bulk)| bulk.at <= at && Some(**txn) != own);
        let mut large =
            || bulk.find(|(_, bulk)| bulk.writes.range::<[u8], _>(range).next().is_some());
        small.or_else(|| large().map(|(txn, _)| *txn))
    }

    /// As [`TxnStates::pending_in`], for one key.
    pub(crate) fn pending_at(&self, key: &[u8], at: Timestamp) -> Option<TxnId> {
        let mut bulk = self.bulk.iter().filter(|(_, bulk)| bulk.at <= at);
        let mut large = || bulk.find(|(_, bulk)| bulk.writes.contains_key(key));
        self.pending.writer_at(key, at).or_else(|| large().map(|(txn, _)| *txn))
    }

    /// The last value of a key not after `at`, if it was handed over and is not applied yet. From now
    /// on `txn` leans on who has written it.
    pub(crate) fn take_handed(
        &mut self,
        txn: TxnId,
        key: &[u8],
        at: Timestamp,
    ) -> Result<Option<Handed>, Refusal> {
        let Some(handed) = self.pending.handed(key, at) else { return Ok(None) };
        let Some(known) = self.txns.get_mut(&txn) else { return Err(self.refusal(txn)) };
        known.leans_on.insert(handed.by);
        Ok(Some(handed))
    }

    /// Somebody whose commit is not durable yet, and whose values a transaction has seen.
    pub(crate) fn leans_on(&self, txn: TxnId) -> Result<Option<TxnId>, Refusal> {
        let known = self.txns.get(&txn).ok_or_else(|| self.refusal(txn))?;
        Ok(known.leans_on.iter().find(|other| self.commits(**other)).copied())
    }

    /// Whether a transaction's commit is on its way through the log.
    fn commits(&self, txn: TxnId) -> bool {
        self.txns.get(&txn).is_some_and(|known| known.phase == Phase::Committing)
    }

    /// The active transactions that have seen values of another one.
    pub(crate) fn leaning_on(&self, other: TxnId) -> Vec<TxnId> {
        let active = self.txns.iter().filter(|(_, known)| known.phase == Phase::Active);
        let leaning = active.filter(|(_, known)| known.leans_on.contains(&other));
        leaning.map(|(txn, _)| *txn).collect()
    }

    /// The first entry of the log that holds what is still needed: votes and decisions without an end, and
    /// votes whose outcome is not in table files, which reach to `durable`. `None`: there is none.
    pub(crate) fn oldest_needed(&mut self, durable: LogIndex) -> Option<LogIndex> {
        while self.carried.front().is_some_and(|(index, _)| *index <= durable) {
            self.carried.pop_front();
        }
        let carried = self.carried.iter().map(|(_, index)| *index);
        let votes = self.txns.values().filter_map(|txn| txn.vote.as_ref());
        let votes = votes.map(|vote| vote.index).filter(|index| index.0 > 0);
        let logged = self.txns.values().filter_map(|txn| Some(txn.logged.as_ref()?.index));
        let decisions = self.decisions.values().map(|decision| decision.index);
        carried.chain(votes).chain(logged).chain(decisions).min()
    }

    /// Votes and decisions that lie at `upto` or before, as commands to write them again. Not those
    /// that were logged in parts: they stay where they are until they are decided.
    pub(crate) fn to_carry(&self, upto: LogIndex) -> Vec<Command> {
        let votes = self.votes().filter(|(_, vote)| vote.index <= upto && !vote.staged);
        let votes = votes.map(|(txn, vote)| vote_command(txn, vote));
        votes.chain(self.decisions_upto(upto)).collect()
    }

    fn votes(&self) -> impl Iterator<Item = (TxnId, &Vote)> {
        let votes = self.txns.iter().filter(|(_, known)| known.phase == Phase::Prepared);
        votes.filter_map(|(txn, known)| Some((*txn, known.vote.as_ref()?)))
    }

    fn decisions_upto(&self, upto: LogIndex) -> impl Iterator<Item = Command> {
        let decisions = self.decisions.iter();
        decisions.filter(move |(_, decision)| decision.index <= upto).map(|(txn, decision)| {
            Command::Decide {
                txn: *txn,
                outcome: decision.outcome,
                participants: decision.participants.clone(),
                again: true,
            }
        })
    }

    /// Prepared transactions of which nothing was heard since `before`, with their anchors.
    pub(crate) fn unresolved(&self, before: Instant) -> Vec<(TxnId, PartitionId)> {
        let prepared = self.txns.iter().filter(|(_, known)| known.phase == Phase::Prepared);
        let stale = prepared.filter(|(_, known)| known.heard < before);
        stale.filter_map(|(txn, known)| Some((*txn, known.vote.as_ref()?.anchor))).collect()
    }

    /// Decisions older than `before`.
    pub(crate) fn unforgotten(&self, before: Instant) -> Vec<(TxnId, Decision)> {
        let old = self.decisions.iter().filter(|(_, decision)| decision.since < before);
        old.map(|(txn, decision)| (*txn, decision.clone())).collect()
    }

    /// Active transactions, and those that stand aside, of which nothing was heard since `before`. Not those
    /// of which the log holds parts: what becomes of them it says, too.
    pub(crate) fn idle(&self, before: Instant) -> Vec<TxnId> {
        let is_open = |known: &Txn| {
            matches!(known.phase, Phase::Active | Phase::Aside(_)) && known.logged.is_none()
        };
        let idle = |known: &Txn| is_open(known) && known.busy == 0 && known.heard < before;
        self.txns.iter().filter(|(_, known)| idle(known)).map(|(txn, _)| *txn).collect()
    }

    /// Transactions that stand aside and have committed before a time, or never will.
    pub(crate) fn aside_before(&self, now: Timestamp) -> Vec<TxnId> {
        let over = |known: &Txn| matches!(known.phase, Phase::Aside(until) if until < now);
        self.txns.iter().filter(|(_, known)| over(known)).map(|(txn, _)| *txn).collect()
    }

    /// Active transactions that a core coordinates, of which nothing was heard since a time; and whether
    /// there are others for which something is still being done. As with [`TxnStates::idle`], not those of
    /// which the log holds parts.
    pub(crate) fn lost(&self, coordinator: Place, since: Instant) -> (Vec<TxnId>, bool) {
        let theirs = |txn: &TxnId| (txn.node, txn.core) == (coordinator.node, coordinator.core);
        let lost = |(txn, known): &(&TxnId, &Txn)| {
            let open = known.phase == Phase::Active && known.logged.is_none();
            theirs(txn) && open && known.heard < since
        };
        let (busy, idle): (Vec<_>, Vec<_>) =
            self.txns.iter().filter(lost).partition(|(_, known)| known.busy > 0);
        (idle.into_iter().map(|(txn, _)| *txn).collect(), !busy.is_empty())
    }

    /// Transactions that are known here.
    pub(crate) fn len(&self) -> usize {
        self.txns.len()
    }

    /// Those that wait for an outcome decided elsewhere.
    pub(crate) fn prepared_count(&self) -> usize {
        self.txns.values().filter(|known| known.vote.is_some()).count()
    }

    /// Decisions that are kept here.
    pub(crate) fn decision_count(&self) -> usize {
        self.decisions.len()
    }
}

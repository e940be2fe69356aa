//! The log of all groups of one core: their entries, votes and truncations go through one
//! write-ahead log, as many in one frame as have gathered.
//!
//! ```text
//!  append, save_vote, truncate ─► memory ─► gathering ─► one frame ─► durable: whoever waits is told
//! ```
//!
//! What a group has not let go stays in memory: replication reads it there, and the disk is read at
//! the start only. A group lets go ([`CoreLog::purge`]) what its table files hold; a segment that
//! holds nothing else is used again, after a frame that says how far each group was let go.

use super::types::{Entry, LogId, Partitions, Vote};
use super::voters;
use crate::wal::{Record, Replay, Wal, WalError, WalOptions};
use bytes::Bytes;
use model::id::{LogIndex, NodeId, PartitionId, Term};
use model::time::{HybridClock, Timestamp};
use openraft::EntryPayload;
use openraft::storage::IOFlushed;
use openraft::vote::RaftLeaderId;
use runtime::sync::{Event, Notify, Permit, Semaphore, oneshot};
use runtime::task::{self, Task};
use runtime::time;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Bytes of a batch or vote besides its commands, as far as bounds go.
const RECORD_BYTES: usize = 64;

/// A full disk is tried again after so long.
const FULL_RETRY_AFTER: Duration = Duration::from_millis(100);

/// Settings of a core's log.
#[derive(Debug, Clone)]
pub(crate) struct CoreLogOptions {
    pub(crate) wal: WalOptions,
    /// A frame takes what has gathered up to this, in bytes, but always one request.
    pub(crate) frame_bytes_max: usize,
    /// Who appends waits while more than this is on its way, in bytes.
    pub(crate) queue_bytes_max: usize,
    /// A log that is idle for so long is sealed.
    pub(crate) seal_after: Duration,
}

/// One core's log. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct CoreLog {
    inner: Rc<Inner>,
}

struct Inner {
    options: CoreLogOptions,
    clock: Rc<HybridClock>,
    groups: RefCell<BTreeMap<PartitionId, Group>>,
    queue: RefCell<VecDeque<Request>>,
    room: Semaphore,
    /// There is something to write, or the log is to close.
    work: Notify,
    failed: RefCell<Option<WalError>>,
    closing: Cell<bool>,
    closed: Event,
    /// The last index of each partition in each segment, oldest first.
    segments: RefCell<BTreeMap<u64, BTreeMap<PartitionId, u64>>>,
    /// The task that writes; dropping the log cancels it.
    writer: RefCell<Option<Task<()>>>,
}

/// One partition's part of the log.
#[derive(Default)]
struct Group {
    vote: Option<Vote>,
    purged: Option<LogId>,
    /// Those after `purged`, without a gap.
    entries: VecDeque<Entry>,
    /// The segment that says what is in force of vote and `purged`; zero: none.
    stated_in: u64,
    /// `purged` as that segment has it.
    stated_purged: Option<LogId>,
}

/// Something to write, and who waits for it.
struct Request {
    partition: PartitionId,
    what: What,
    waiting: Waiting,
    _room: Permit,
}

enum What {
    Entries(Vec<Entry>),
    HardState,
    Truncation { after: u64 },
}

enum Waiting {
    Nobody,
    Group(IOFlushed<Partitions>),
    Caller(oneshot::Sender<Result<(), WalError>>),
}

impl Waiting {
    fn tell(self, result: Result<(), WalError>) {
        match self {
            Waiting::Nobody => {}
            Waiting::Group(flushed) => flushed.io_completed(result.map_err(io::Error::other)),
            // Who asked may have gone.
            Waiting::Caller(promise) => drop(promise.send(result)),
        }
    }
}

impl Group {
    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    /// The index of the first entry that is kept, or would be.
    fn first_index(&self) -> u64 {
        match self.entries.front() {
            Some(first) => first.log_id.index,
            None => self.purged.map_or(0, |purged| purged.index + 1),
        }
    }

    fn truncate_after(&mut self, after: Option<u64>) {
        while self.entries.back().is_some_and(|last| Some(last.log_id.index) > after) {
            self.entries.pop_back();
        }
    }

    fn purge(&mut self, to: LogId) {
        while self.entries.front().is_some_and(|first| first.log_id.index <= to.index) {
            self.entries.pop_front();
        }
        self.purged = self.purged.max(Some(to));
    }

    fn hard_state(&self, partition: PartitionId) -> Record<'static> {
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
}

impl CoreLog {
    /// Opens a log that [`Wal::create`] made, with what it holds, and starts to write.
    pub(crate) async fn open(
        options: CoreLogOptions,
        clock: Rc<HybridClock>,
    ) -> Result<CoreLog, WalError> {
        let mut found = Found { clock: &clock, groups: BTreeMap::new(), segments: BTreeMap::new() };
        let wal = Wal::open(options.wal.clone(), &mut found).await?;
        let Found { groups, segments, .. } = found;
        let inner = Rc::new(Inner {
            room: Semaphore::new(options.queue_bytes_max),
            options,
            clock,
            groups: RefCell::new(groups),
            queue: RefCell::default(),
            work: Notify::new(),
            failed: RefCell::default(),
            closing: Cell::new(false),
            closed: Event::new(),
            segments: RefCell::new(segments),
            writer: RefCell::default(),
        });
        let writer = task::spawn("log-write", write(Rc::downgrade(&inner), wal));
        *inner.writer.borrow_mut() = Some(writer);
        Ok(CoreLog { inner })
    }

    /// A group's last entry that was let go, and its last one.
    pub(super) fn state(&self, partition: PartitionId) -> (Option<LogId>, Option<LogId>) {
        let groups = self.inner.groups.borrow();
        groups.get(&partition).map_or((None, None), |group| (group.purged, group.last()))
    }

    /// A group's vote.
    pub(super) fn vote(&self, partition: PartitionId) -> Option<Vote> {
        self.inner.groups.borrow().get(&partition)?.vote
    }

    /// The entries of a group from `from` on, up to and without `to`, and up to so many bytes of
    /// commands, but always one.
    pub(super) fn entries(
        &self,
        partition: PartitionId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Vec<Entry> {
        let groups = self.inner.groups.borrow();
        let Some(group) = groups.get(&partition) else { return Vec::new() };
        let skip = from.saturating_sub(group.first_index()) as usize;
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry_bytes(entry);
            entry.log_id.index < to && (first || bytes <= bytes_max)
        };
        group.entries.iter().skip(skip).take_while(fits).cloned().collect()
    }

    /// Takes entries behind those that are there: they can be read when this returns, and `flushed`
    /// is told when they are durable.
    ///
    /// # Errors
    /// They do not follow; or why nothing is written any more.
    pub(super) async fn append(
        &self,
        partition: PartitionId,
        entries: Vec<Entry>,
        flushed: IOFlushed<Partitions>,
    ) -> io::Result<()> {
        let bytes = entries.iter().map(entry_bytes).sum();
        let room = self.room(bytes).await?;
        {
            let mut groups = self.inner.groups.borrow_mut();
            let group = groups.entry(partition).or_default();
            for entry in &entries {
                let next = group.last().map(|last| last.index + 1);
                if next.is_some_and(|next| next != entry.log_id.index) {
                    let what = format!("entry {} does not follow {:?}", entry.log_id, group.last());
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
                }
                group.entries.push_back(entry.clone());
            }
        }
        self.queue(partition, What::Entries(entries), Waiting::Group(flushed), room);
        Ok(())
    }

    /// Notes a vote; it is durable when this returns.
    ///
    /// # Errors
    /// Why nothing is written any more.
    pub(super) async fn save_vote(&self, partition: PartitionId, vote: Vote) -> io::Result<()> {
        let room = self.room(0).await?;
        self.inner.groups.borrow_mut().entry(partition).or_default().vote = Some(vote);
        let (promise, durable) = oneshot::channel();
        self.queue(partition, What::HardState, Waiting::Caller(promise), room);
        match durable.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(closed) => Err(io::Error::other(closed)),
        }
    }

    /// Makes the entries after `after` void; `None`: all that are there.
    ///
    /// # Errors
    /// Why nothing is written any more.
    pub(super) async fn truncate_after(
        &self,
        partition: PartitionId,
        after: Option<u64>,
    ) -> io::Result<()> {
        let room = self.room(0).await?;
        let after = {
            let mut groups = self.inner.groups.borrow_mut();
            let group = groups.entry(partition).or_default();
            group.truncate_after(after);
            group.first_index().checked_sub(1).max(after).unwrap_or(0)
        };
        self.queue(partition, What::Truncation { after }, Waiting::Nobody, room);
        Ok(())
    }

    /// Lets go of a group's entries up to one.
    pub(super) fn purge(&self, partition: PartitionId, to: LogId) {
        self.inner.groups.borrow_mut().entry(partition).or_default().purge(to);
        self.inner.work.notify_one();
    }

    /// Writes what was asked for, seals the log and closes it.
    pub(crate) async fn close(&self) {
        self.inner.closing.set(true);
        self.inner.work.notify_one();
        self.inner.closed.wait().await;
    }

    async fn room(&self, bytes: usize) -> io::Result<Permit> {
        let need = (bytes + RECORD_BYTES).min(self.inner.options.queue_bytes_max);
        let permit = self.inner.room.acquire(need).await;
        match (&*self.inner.failed.borrow(), permit) {
            (Some(error), _) => Err(io::Error::other(error.clone())),
            (None, Ok(permit)) if !self.inner.closing.get() => Ok(permit),
            (None, _) => Err(io::Error::other("the log is closed")),
        }
    }

    fn queue(&self, partition: PartitionId, what: What, waiting: Waiting, room: Permit) {
        let request = Request { partition, what, waiting, _room: room };
        self.inner.queue.borrow_mut().push_back(request);
        self.inner.work.notify_one();
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => RECORD_BYTES + batch.commands.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => RECORD_BYTES,
    }
}

/// Writes until the log closes or fails, or nobody holds it any more.
async fn write(log: Weak<Inner>, mut wal: Wal) {
    let mut sealed = false;
    loop {
        let Some(inner) = log.upgrade() else { return };
        let (work, seal_after) = (inner.work.clone(), inner.options.seal_after);
        match inner.turn(&mut wal).await {
            Turn::Wrote => sealed = false,
            Turn::Full => time::sleep(FULL_RETRY_AFTER).await,
            Turn::Failed(error) => return inner.fail(error),
            Turn::Idle if inner.closing.get() => {
                if let Err(error) = wal.close(inner.now()).await {
                    inner.fail(error);
                }
                return inner.closed.set();
            }
            Turn::Idle if sealed => {
                drop(inner);
                work.notified().await;
            }
            Turn::Idle => {
                drop(inner);
                if time::timeout(seal_after, work.notified()).await.is_err() {
                    let Some(inner) = log.upgrade() else { return };
                    match wal.append(inner.now(), &[Record::Seal]).await {
                        Ok(_) => sealed = true,
                        // There is nothing that a seal would prove.
                        Err(WalError::Full { .. }) => {}
                        Err(error) => return inner.fail(error),
                    }
                }
            }
        }
    }
}

/// What a turn of the writer came to.
enum Turn {
    Wrote,
    Idle,
    Full,
    Failed(WalError),
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.clock.now(time::now().as_nanos())
    }

    /// Writes one frame, if there is anything to write.
    async fn turn(&self, wal: &mut Wal) -> Turn {
        let taken = self.take();
        let purged = wal.purge(self.needed_from(wal.current_segment()));
        if taken.is_empty() && purged.is_none() {
            return Turn::Idle;
        }
        let stated = self.states_due(wal.oldest_segment(), purged.is_some(), &taken);
        let voters = Voters::of(&taken);
        let groups = self.groups.borrow();
        let states: Vec<Record<'static>> =
            stated.iter().map(|partition| groups[partition].hard_state(*partition)).collect();
        drop(groups);
        let records: Vec<Record<'_>> =
            purged.into_iter().chain(states).chain(taken_records(&taken, &voters)).collect();
        match wal.append(self.now(), &records).await {
            Ok(segment) => {
                self.note_written(&taken, &stated, segment, wal.oldest_segment());
                taken.into_iter().for_each(|request| request.waiting.tell(Ok(())));
                Turn::Wrote
            }
            Err(WalError::Full { .. }) => {
                let mut queue = self.queue.borrow_mut();
                taken.into_iter().rev().for_each(|request| queue.push_front(request));
                Turn::Full
            }
            Err(error) => {
                taken.into_iter().for_each(|request| request.waiting.tell(Err(error.clone())));
                Turn::Failed(error)
            }
        }
    }

    /// Takes what fits into a frame.
    fn take(&self) -> Vec<Request> {
        let mut queue = self.queue.borrow_mut();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(request) = queue.pop_front() {
            let more = match &request.what {
                What::Entries(entries) => entries.iter().map(entry_bytes).sum(),
                What::HardState | What::Truncation { .. } => RECORD_BYTES,
            };
            if !taken.is_empty() && bytes + more > self.options.frame_bytes_max {
                queue.push_front(request);
                break;
            }
            bytes += more;
            taken.push(request);
        }
        taken
    }

    /// The oldest segment that somebody needs.
    fn needed_from(&self, current: u64) -> u64 {
        let (groups, segments) = (self.groups.borrow(), self.segments.borrow());
        let needless = |last: &BTreeMap<PartitionId, u64>| {
            last.iter().all(|(partition, last)| {
                groups[partition].purged.is_some_and(|purged| *last <= purged.index)
            })
        };
        let needed = segments.iter().find(|(_, last)| !needless(last));
        needed.map_or(current, |(segment, _)| *segment)
    }

    /// The groups whose hard state goes into the next frame: those that ask for it, and where
    /// segments are let go, those whose last word lies in them or says less than is needed.
    fn states_due(&self, oldest: u64, purging: bool, taken: &[Request]) -> Vec<PartitionId> {
        let asked = |partition: PartitionId| {
            taken.iter().any(|request| {
                request.partition == partition && matches!(request.what, What::HardState)
            })
        };
        let groups = self.groups.borrow();
        let due = groups.iter().filter(|(partition, group)| {
            let outdated = group.stated_in < oldest || group.stated_purged != group.purged;
            asked(**partition) || (purging && outdated)
        });
        due.map(|(&partition, _)| partition).collect()
    }

    fn note_written(&self, taken: &[Request], stated: &[PartitionId], segment: u64, oldest: u64) {
        let mut segments = self.segments.borrow_mut();
        *segments = segments.split_off(&oldest);
        let last = segments.entry(segment).or_default();
        for Request { partition, what, .. } in taken {
            if let What::Entries(entries) = what
                && let Some(entry) = entries.last()
            {
                let known = last.entry(*partition).or_default();
                *known = entry.log_id.index.max(*known);
            }
        }
        let mut groups = self.groups.borrow_mut();
        for partition in stated {
            if let Some(group) = groups.get_mut(partition) {
                (group.stated_in, group.stated_purged) = (segment, group.purged);
            }
        }
    }

    /// The log has ended for good: says so to all who wait.
    fn fail(&self, error: WalError) {
        *self.failed.borrow_mut() = Some(error.clone());
        self.room.close();
        let waiting = std::mem::take(&mut *self.queue.borrow_mut());
        waiting.into_iter().for_each(|request| request.waiting.tell(Err(error.clone())));
        self.closed.set();
    }
}

/// The bytes of the membership entries in what was taken, in order.
struct Voters(Vec<Vec<u8>>);

impl Voters {
    fn of(taken: &[Request]) -> Voters {
        let entries = taken.iter().flat_map(|request| match &request.what {
            What::Entries(entries) => entries.as_slice(),
            What::HardState | What::Truncation { .. } => &[],
        });
        Voters(
            entries
                .filter_map(|entry| match &entry.payload {
                    EntryPayload::Membership(membership) => Some(voters::encode(membership)),
                    EntryPayload::Blank | EntryPayload::Normal(_) => None,
                })
                .collect(),
        )
    }
}

/// The records of entries and truncations, in the order in which they were asked for.
fn taken_records<'a>(taken: &'a [Request], voters: &'a Voters) -> Vec<Record<'a>> {
    let mut voters = voters.0.iter();
    let mut records = Vec::new();
    for Request { partition, what, .. } in taken {
        let partition = *partition;
        match what {
            What::HardState => {}
            What::Truncation { after } => {
                records.push(Record::Truncated { partition, after: LogIndex(*after) });
            }
            What::Entries(entries) => records.extend(entries.iter().map(|entry| {
                let term = Term(entry.log_id.committed_leader_id().term);
                let index = LogIndex(entry.log_id.index);
                match &entry.payload {
                    EntryPayload::Blank => {
                        Record::Entry { partition, term, index, count: 0, commands: &[] }
                    }
                    EntryPayload::Normal(batch) => Record::Entry {
                        partition,
                        term,
                        index,
                        count: batch.count,
                        commands: &batch.commands,
                    },
                    EntryPayload::Membership(_) => Record::Membership {
                        partition,
                        term,
                        index,
                        voters: voters.next().map_or(&[], Vec::as_slice),
                    },
                }
            })),
        }
    }
    records
}

/// What a log holds, read back.
struct Found<'a> {
    clock: &'a HybridClock,
    groups: BTreeMap<PartitionId, Group>,
    segments: BTreeMap<u64, BTreeMap<PartitionId, u64>>,
}

impl Found<'_> {
    fn entry(
        &mut self,
        segment: u64,
        partition: PartitionId,
        (term, index): (Term, LogIndex),
        payload: EntryPayload<super::types::Batch, u64, openraft::EmptyNode>,
    ) -> Result<(), &'static str> {
        let group = self.groups.entry(partition).or_default();
        let follows = group.entries.back().is_none_or(|last| last.log_id.index + 1 == index.0);
        if !follows {
            return Err("an entry does not follow the one before it");
        }
        group.entries.push_back(Entry { log_id: log_id(term, index), payload });
        let last = self.segments.entry(segment).or_default().entry(partition).or_default();
        *last = index.0.max(*last);
        Ok(())
    }
}

fn log_id(term: Term, index: LogIndex) -> LogId {
    let leader = openraft::impls::leader_id_std::LeaderId::new(term.0, 0);
    LogId::new(leader.to_committed(), index.0)
}

impl Replay for Found<'_> {
    async fn record(&mut self, segment: u64, record: Record<'_>) -> Result<(), &'static str> {
        self.segments.entry(segment).or_default();
        match record {
            Record::Entry { partition, term, index, count, commands } => {
                let payload = match count {
                    0 if commands.is_empty() => EntryPayload::Blank,
                    0 => return Err("an entry has bytes and no commands"),
                    _ => EntryPayload::Normal(super::types::Batch {
                        count,
                        commands: Bytes::copy_from_slice(commands),
                    }),
                };
                self.entry(segment, partition, (term, index), payload)?;
            }
            Record::Membership { partition, term, index, voters } => {
                let voters = voters::decode(voters).ok_or("a membership makes no sense")?;
                let payload = EntryPayload::Membership(voters);
                self.entry(segment, partition, (term, index), payload)?;
            }
            Record::HardState { partition, term, vote, elected, purged } => {
                let group = self.groups.entry(partition).or_default();
                group.vote = vote.map(|node| match elected {
                    true => Vote::new_committed(term.0, u64::from(node.0)),
                    false => Vote::new(term.0, u64::from(node.0)),
                });
                if let Some((term, index)) = purged {
                    group.purge(log_id(term, index));
                }
                (group.stated_in, group.stated_purged) = (segment, group.purged);
            }
            Record::Truncated { partition, after } => {
                self.groups.entry(partition).or_default().truncate_after(Some(after.0));
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

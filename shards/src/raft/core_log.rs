//! The log of all groups of one core: their entries, votes and truncations go through one
//! write-ahead log, as many in one frame as have gathered.
//!
//! ```text
//!  append, save_vote, truncate ─► memory ─► gathering ─► one frame ─► durable: whoever waits is told
//! ```
//!
//! Of what a group has not let go memory holds where it lies, and the newest entries themselves, as
//! many as [`CoreLogOptions::cached_bytes_max`] allows; older ones are read from the disk. A group lets go
//! ([`CoreLog::purge`]) of what its table files hold; a segment that holds nothing else is used again, after a
//! frame that says how far each group was let go.
//!
//! Damage that is found while the log is open is mended ([`scrub`]).
//!
//! Room is made sure of before something is proposed ([`CoreLog::admit`]): what openraft appends must get to the
//! disk. Where it finds no room all the same (another group was faster), it waits for it.

mod group;
mod replay;
mod scrub;
mod writer;

use super::joining::Invitation;
use super::types::{Entry, LogId, Partitions, Vote};
use super::voters::Voters;
use crate::wal::{FrameReader, Place, Segment, Wal, WalError, WalOptions};
use group::{Group, Kept, PLACE_BYTES, RECORD_BYTES, entry_bytes};
use model::id::NodeId;
use model::id::{LogIndex, PartitionId};
use model::time::{HybridClock, Timestamp};
use openraft::EntryPayload;
use openraft::storage::IOFlushed;
use replay::Found;
use runtime::sync::{Event, Notify, Permit, Semaphore, oneshot};
use runtime::task::{self, Task};
use runtime::time;
use scrub::Damaged;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

pub use scrub::LogDamage;

/// Settings of a core's log.
#[derive(Debug, Clone)]
pub(crate) struct CoreLogOptions {
    pub(crate) wal: WalOptions,
    /// A frame takes what has gathered up to this, in bytes, but always one request.
    pub(crate) frame_bytes_max: usize,
    /// Who appends waits while more than this is on its way, in bytes.
    pub(crate) queue_bytes_max: usize,
    /// Entries that are kept in memory, in bytes, besides those on their way.
    pub(crate) cached_bytes_max: usize,
    /// A log that is idle for so long is sealed.
    pub(crate) seal_after: Duration,
}

impl CoreLogOptions {
    /// What a frame takes, in bytes; one entry may take more, up to half a segment.
    fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max.min(self.wal.segment_bytes as usize / 4)
    }
}

/// Hears what becomes of a core's log.
pub(crate) trait Watcher {
    /// What a partition's log holds up to `index` is on the disk.
    fn durable(&self, partition: PartitionId, index: LogIndex);

    /// The log has ended for good.
    fn failed(&self, error: &WalError);
}

/// What a core's log has written since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Writes.
    pub(crate) frames: u64,
    /// Bytes of segments that are kept.
    pub(crate) live_bytes: u64,
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
    cached: RefCell<Cached>,
    queue: RefCell<VecDeque<Request>>,
    room: Semaphore,
    /// There is something to write, or the log is to close.
    work: Notify,
    /// Bytes that a frame may take without touching the reserve.
    unreserved: Cell<u64>,
    failed: RefCell<Option<WalError>>,
    closing: Cell<bool>,
    closed: Event,
    /// The last index of each partition in each segment, oldest first.
    segments: RefCell<BTreeMap<u64, BTreeMap<PartitionId, u64>>>,
    /// The files of the segments that are kept.
    files: RefCell<Vec<Segment>>,
    /// The number of the last of them, and where it ends, in bytes.
    end: Cell<(u64, u64)>,
    damaged: Damaged,
    written: Cell<Written>,
    watcher: OnceCell<Rc<dyn Watcher>>,
    /// The task that writes; dropping the log cancels it.
    writer: RefCell<Option<Task<()>>>,
}

/// The entries that are in memory, oldest first.
#[derive(Default)]
struct Cached {
    bytes_max: usize,
    bytes: usize,
    entries: VecDeque<(PartitionId, LogId, usize)>,
}

impl Cached {
    fn note(&mut self, partition: PartitionId, entry: &Entry) {
        let bytes = entry_bytes(entry);
        self.bytes += bytes;
        self.entries.push_back((partition, entry.log_id, bytes));
    }

    /// A partition has no entries any more.
    fn forget(&mut self, partition: PartitionId) {
        let bytes = &mut self.bytes;
        self.entries.retain(|(whose, _, size)| {
            let stays = *whose != partition;
            *bytes -= if stays { 0 } else { *size };
            stays
        });
    }

    /// Lets go of the oldest, as far as they are too many and lie on the disk.
    fn shrink(&mut self, groups: &mut BTreeMap<PartitionId, Group>) {
        while self.bytes > self.bytes_max
            && let Some(&(partition, id, bytes)) = self.entries.front()
        {
            if !groups.get_mut(&partition).is_none_or(|group| group.forget(id)) {
                return;
            }
            self.bytes -= bytes;
            self.entries.pop_front();
        }
    }
}

/// Something to write, and who waits for it.
struct Request {
    partition: PartitionId,
    what: What,
    waiting: Waiting,
    _room: Option<Permit>,
}

enum What {
    Entries(Vec<Entry>),
    HardState,
    /// The partition is gone, with all that was asked for before.
    Forgotten,
    Truncation {
        after: u64,
    },
    /// Nothing, but a frame of so many bytes is to come.
    Room {
        bytes: usize,
    },
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

impl CoreLog {
    /// Makes a new, empty log on the disk.
    pub(crate) async fn create(options: &CoreLogOptions) -> Result<(), WalError> {
        Wal::create(options.wal.clone()).await
    }

    /// Removes what earlier generations have left; see [`Wal::remove_earlier`].
    pub(crate) async fn remove_earlier(options: &CoreLogOptions) -> Result<(), WalError> {
        Wal::remove_earlier(&options.wal).await
    }

    /// Opens a log that [`CoreLog::create`] made, with what it holds, and starts to write.
    pub(crate) async fn open(
        options: CoreLogOptions,
        clock: Rc<HybridClock>,
    ) -> Result<CoreLog, WalError> {
        let mut found = Found {
            clock: &clock,
            groups: BTreeMap::new(),
            cached: Cached { bytes_max: options.cached_bytes_max, ..Cached::default() },
            segments: BTreeMap::new(),
        };
        let wal = Wal::open(options.wal.clone(), &mut found).await?;
        let Found { groups, cached, segments, .. } = found;
        if !replay::is_whole(&groups) {
            let file = options.wal.directory;
            let what = "entries are missing at the beginning of a partition's log";
            return Err(WalError::Corruption { file, offset: 0, what });
        }
        let inner = Rc::new(Inner {
            room: Semaphore::new(options.queue_bytes_max),
            options,
            clock,
            groups: RefCell::new(groups),
            cached: RefCell::new(cached),
            queue: RefCell::default(),
            work: Notify::new(),
            unreserved: Cell::new(wal.unreserved_bytes()),
            failed: RefCell::default(),
            closing: Cell::new(false),
            closed: Event::new(),
            segments: RefCell::new(segments),
            files: RefCell::new(wal.live_segments()),
            end: Cell::new((wal.current_segment(), wal.end())),
            damaged: Damaged::default(),
            written: Cell::new(Written { frames: 0, live_bytes: wal.live_bytes() }),
            watcher: OnceCell::new(),
            writer: RefCell::default(),
        });
        let writer = task::spawn("log-write", writer::write(Rc::downgrade(&inner), wal));
        *inner.writer.borrow_mut() = Some(writer);
        Ok(CoreLog { inner })
    }

    /// Says who hears of it from here on. Once.
    pub(crate) fn watch(&self, watcher: Rc<dyn Watcher>) {
        if self.inner.watcher.set(watcher).is_err() {
            unreachable!("a log is watched once");
        }
    }

    /// The partitions of which it holds anything.
    pub(crate) fn partitions(&self) -> Vec<PartitionId> {
        self.inner.groups.borrow().keys().copied().collect()
    }

    /// A group's last entry that was let go, and its last one.
    pub(crate) fn state(&self, partition: PartitionId) -> (Option<LogId>, Option<LogId>) {
        let groups = self.inner.groups.borrow();
        groups.get(&partition).map_or((None, None), |group| (group.purged, group.last()))
    }

    /// Tells all who wait that a group's log has grown.
    pub(super) fn grown(&self, partition: PartitionId) -> Notify {
        let mut groups = self.inner.groups.borrow_mut();
        groups.entry(partition).or_default().grown.clone()
    }

    /// A group's vote.
    pub(super) fn vote(&self, partition: PartitionId) -> Option<Vote> {
        self.inner.groups.borrow().get(&partition)?.vote
    }

    /// The id of an entry that is kept, or the last that is not.
    pub(super) fn id_at(&self, partition: PartitionId, index: u64) -> Option<LogId> {
        self.inner.groups.borrow().get(&partition)?.id_at(index)
    }

    /// Who takes part in a group as of an entry, and which entry said so.
    pub(super) fn voters_at(&self, partition: PartitionId, index: u64) -> Option<(LogId, Voters)> {
        self.inner.groups.borrow().get(&partition)?.voters_at(index)
    }

    /// Whether other nodes vote in a group than this one, as of its last entry.
    pub(crate) fn has_others(&self, partition: PartitionId, node: NodeId) -> bool {
        let (_, last) = self.state(partition);
        let voters = last.and_then(|last| self.voters_at(partition, last.index));
        voters.is_some_and(|(_, voters)| voters.voter_ids().any(|id| id != u64::from(node.0)))
    }

    /// The last entry of a group that is on the disk with all before it.
    pub(super) fn durable(&self, partition: PartitionId) -> Option<u64> {
        self.inner.groups.borrow().get(&partition)?.durable()
    }

    /// The entries of a group from `from` on, up to and without `to`, and up to so many bytes of
    /// commands, but always one.
    ///
    /// # Errors
    /// What cannot be read, or is damaged.
    pub(crate) async fn entries(
        &self,
        partition: PartitionId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut frame = None;
        let first = self.inner.groups.borrow().get(&partition).map_or(u64::MAX, Group::first_index);
        for index in from.max(first)..to {
            let kept = self.inner.groups.borrow().get(&partition).and_then(|one| one.entry(index));
            let entry = match kept {
                None => break,
                Some(Kept::Here(entry)) => entry,
                Some(Kept::At(place)) => {
                    match self.inner.frame(&mut frame, partition, place).await? {
                        Some(frame) => read_entry(frame, partition, index)?,
                        // It was damaged, and is let go.
                        None => break,
                    }
                }
            };
            bytes += entry_bytes(&entry);
            if !entries.is_empty() && bytes > bytes_max {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
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
        self.put(partition, entries, Waiting::Group(flushed), room)
    }

    /// Takes entries of another log behind those that are there, and waits until they are durable.
    ///
    /// # Errors
    /// As for [`CoreLog::append`].
    pub(crate) async fn take_over(
        &self,
        partition: PartitionId,
        entries: Vec<Entry>,
    ) -> io::Result<()> {
        let bytes = entries.iter().map(entry_bytes).sum();
        let room = self.room(bytes).await?;
        let (promise, durable) = oneshot::channel();
        self.put(partition, entries, Waiting::Caller(promise), room)?;
        durable.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    /// Begins a group's part of the log where another log's part of it begins, with its vote. Durable
    /// when it returns.
    ///
    /// # Errors
    /// Why nothing is written any more.
    pub(crate) async fn take_over_state(
        &self,
        partition: PartitionId,
        other: &CoreLog,
    ) -> io::Result<()> {
        {
            let others = other.inner.groups.borrow();
            let Some(theirs) = others.get(&partition) else { return Ok(()) };
            let mut groups = self.inner.groups.borrow_mut();
            let group = groups.entry(partition).or_default();
            (group.vote, group.purged) = (theirs.vote, theirs.purged);
            group.votes_from = theirs.votes_from;
            group.base.clone_from(&theirs.base);
        }
        self.write_state(partition).await
    }

    fn put(
        &self,
        partition: PartitionId,
        entries: Vec<Entry>,
        waiting: Waiting,
        room: Permit,
    ) -> io::Result<()> {
        {
            let mut groups = self.inner.groups.borrow_mut();
            let mut cached = self.inner.cached.borrow_mut();
            let group = groups.entry(partition).or_default();
            for entry in &entries {
                let next = group.last().map(|last| last.index + 1);
                if next.is_some_and(|next| next != entry.log_id.index) {
                    let what = format!("entry {} does not follow {:?}", entry.log_id, group.last());
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
                }
                if let EntryPayload::Normal(batch) = &entry.payload {
                    batch.appended(entry.log_id);
                }
                cached.note(partition, entry);
                group.push(entry.clone(), None);
            }
            group.grown.notify_all();
        }
        self.queue_entries(partition, entries, waiting, room);
        Ok(())
    }

    /// Queues entries in pieces that fit into a frame each; the last of them carries who waits.
    fn queue_entries(
        &self,
        partition: PartitionId,
        entries: Vec<Entry>,
        waiting: Waiting,
        room: Permit,
    ) {
        let bytes_max = self.inner.options.frame_bytes_max();
        let mut piece = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            let more = entry_bytes(&entry);
            if !piece.is_empty() && bytes + more > bytes_max {
                let full = What::Entries(std::mem::take(&mut piece));
                self.queue(partition, full, Waiting::Nobody, None);
                bytes = 0;
            }
            bytes += more;
            piece.push(entry);
        }
        self.queue(partition, What::Entries(piece), waiting, Some(room));
    }

    /// Notes a vote; it is durable when this returns.
    ///
    /// # Errors
    /// Why nothing is written any more.
    pub(super) async fn save_vote(&self, partition: PartitionId, vote: Vote) -> io::Result<()> {
        self.inner.groups.borrow_mut().entry(partition).or_default().vote = Some(vote);
        self.write_state(partition).await
    }

    /// Notes how a replica begins that another may have been there before. Durable when it returns.
    ///
    /// # Errors
    /// Why nothing is written any more.
    pub(crate) async fn begin(
        &self,
        partition: PartitionId,
        Invitation { vote, votes_from }: Invitation,
    ) -> io::Result<()> {
        {
            let mut groups = self.inner.groups.borrow_mut();
            let group = groups.entry(partition).or_default();
            group.vote = Some(vote);
            group.votes_from = votes_from.0;
        }
        self.write_state(partition).await
    }

    /// Whether a replica's log has come as far as it must for it to vote; see [`Invitation`].
    pub(super) fn may_vote(&self, partition: PartitionId) -> bool {
        self.inner.groups.borrow().get(&partition).is_none_or(Group::may_vote)
    }

    async fn write_state(&self, partition: PartitionId) -> io::Result<()> {
        let room = self.room(0).await?;
        let (promise, durable) = oneshot::channel();
        self.queue(partition, What::HardState, Waiting::Caller(promise), Some(room));
        durable.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    /// Forgets all that there is of a partition, whose group has ended; durably, when this returns.
    ///
    /// # Errors
    /// Why nothing is written any more.
    pub(crate) async fn forget(&self, partition: PartitionId) -> io::Result<()> {
        let room = self.room(0).await?;
        let (promise, durable) = oneshot::channel();
        self.queue(partition, What::Forgotten, Waiting::Caller(promise), Some(room));
        durable.await.map_err(io::Error::other)?.map_err(io::Error::other)
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
        self.queue(partition, What::Truncation { after }, Waiting::Nobody, Some(room));
        Ok(())
    }

    /// Files take the place of a group's entries, which are let go next. Who takes part as of those files is
    /// said by an entry that may never have been here.
    pub(super) fn take_base(&self, partition: PartitionId, base: (LogId, Voters)) {
        self.inner.groups.borrow_mut().entry(partition).or_default().base = Some(base);
    }

    /// Lets go of a group's entries up to one.
    pub(super) fn purge(&self, partition: PartitionId, to: LogId) {
        let leaves_gap = {
            let mut groups = self.inner.groups.borrow_mut();
            let group = groups.entry(partition).or_default();
            let leaves_gap = group.last().is_none_or(|last| last.index < to.index);
            group.purge(to);
            leaves_gap
        };
        if leaves_gap {
            // Files have taken the place of what was there. What comes next does not follow it: the log must
            // say why.
            self.queue(partition, What::HardState, Waiting::Nobody, None);
        }
        self.inner.work.notify_one();
    }

    /// Makes sure that a frame of so many bytes of commands in so many entries leaves the reserve alone.
    /// What ends transactions is written without this, so that a full disk keeps nobody waiting for an
    /// outcome.
    ///
    /// # Errors
    /// [`WalError::Full`], and why nothing is written any more.
    pub(crate) async fn admit(&self, bytes: usize, entries: usize) -> Result<(), WalError> {
        let bytes = bytes + entries * RECORD_BYTES;
        if Wal::frame_bytes(bytes) <= self.inner.unreserved.get() {
            return Ok(());
        }
        if let Some(error) = &*self.inner.failed.borrow() {
            return Err(error.clone());
        }
        let (promise, admitted) = oneshot::channel();
        // Nobody's: it is about the core.
        let partition = PartitionId::SYSTEM;
        self.queue(partition, What::Room { bytes }, Waiting::Caller(promise), None);
        admitted.await.unwrap_or_else(|_closed| {
            let file = self.inner.options.wal.directory.clone();
            Err(WalError::Failed { file, source: io::Error::other("the log is closed").into() })
        })
    }

    /// The oldest segment that is kept and is not the one being written: the last index of each
    /// partition that holds it up.
    pub(crate) fn oldest_full_segment(&self) -> Option<BTreeMap<PartitionId, LogIndex>> {
        let (groups, segments) = (self.inner.groups.borrow(), self.inner.segments.borrow());
        if segments.len() < 2 {
            return None;
        }
        let (_, last) = segments.first_key_value()?;
        let held = last.iter().filter(|(partition, last)| {
            let purged = groups.get(partition).and_then(|group| group.purged);
            purged.is_none_or(|purged| purged.index < **last)
        });
        Some(held.map(|(&partition, &last)| (partition, LogIndex(last))).collect())
    }

    /// What knowing where entries lie takes in memory, in bytes.
    pub(crate) fn index_bytes(&self) -> u64 {
        let groups = self.inner.groups.borrow();
        groups.values().map(Group::len).sum::<u64>() * PLACE_BYTES
    }

    /// What it has written.
    pub(crate) fn written(&self) -> Written {
        self.inner.written.get()
    }

    /// Writes what was asked for, seals the log and closes it.
    pub(crate) async fn close(&self) {
        self.inner.closing.set(true);
        self.inner.work.notify_one();
        self.inner.closed.wait().await;
    }

    /// Waits until nothing can be written any more, and says why.
    pub(crate) async fn failure(&self) -> WalError {
        self.inner.closed.wait().await;
        let failed = self.inner.failed.borrow().clone();
        match failed {
            Some(error) => error,
            // It was closed as it should be.
            None => std::future::pending().await,
        }
    }

    /// Stops at once, as a crash would.
    pub(crate) fn stop(&self) {
        self.inner.writer.borrow_mut().take();
        self.inner.room.close();
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

    fn queue(&self, partition: PartitionId, what: What, waiting: Waiting, room: Option<Permit>) {
        let request = Request { partition, what, waiting, _room: room };
        self.inner.queue.borrow_mut().push_back(request);
        self.inner.work.notify_one();
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.clock.now(time::now().as_nanos())
    }

    /// The frame at a place, for one of its partitions; the one that was read last, where it is that.
    /// `None`: what was there is damaged, and by now is not needed any more.
    async fn frame<'a>(
        &self,
        last: &'a mut Option<FrameReader>,
        partition: PartitionId,
        place: Place,
    ) -> io::Result<Option<&'a FrameReader>> {
        if last.as_ref().is_none_or(|frame| frame.place() != place) {
            let segment = {
                let files = self.files.borrow();
                files.iter().find(|segment| segment.number == place.segment).cloned()
            };
            let segment = segment.ok_or_else(|| {
                let what = format!("segment {} of the log is needed and was let go", place.segment);
                io::Error::new(io::ErrorKind::NotFound, what)
            })?;
            match FrameReader::read(&segment, place).await {
                Ok(frame) => *last = Some(frame),
                Err(error @ WalError::Corruption { .. }) => {
                    self.note_damage(&segment, error.clone());
                    if self.until_mended(partition, place.segment).await {
                        return Ok(None);
                    }
                    return Err(io::Error::other(error));
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(last.as_ref())
    }
}

/// The entry of a partition in a frame.
fn read_entry(frame: &FrameReader, partition: PartitionId, index: u64) -> io::Result<Entry> {
    use crate::wal::Record;
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let found = frame.records().find_map(|record| match record? {
        Record::Entry { partition: whose, term, index: at, count, commands }
            if (whose, at.0) == (partition, index) =>
        {
            Some((term, replay::commands(count, commands)))
        }
        Record::Membership { partition: whose, term, index: at, voters }
            if (whose, at.0) == (partition, index) =>
        {
            let voters = super::voters::decode(voters).ok_or("a membership makes no sense");
            Some((term, voters.map(EntryPayload::Membership)))
        }
        _ => None,
    });
    let (term, payload) = found.ok_or_else(|| wrong("an entry is not where it was written"))?;
    let payload = payload.map_err(wrong)?;
    Ok(Entry { log_id: super::types::log_id(term.0, index), payload })
}

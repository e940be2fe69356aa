//! The task that writes a core's log, one frame at a time.

use super::group::{Group, RECORD_BYTES, entry_bytes};
use super::{Inner, Request, What};
use crate::raft::types::LogId;
use crate::raft::voters;
use crate::wal::{Place, Record, Wal, WalError};
use model::id::{LogIndex, PartitionId, Term};
use openraft::EntryPayload;
use runtime::time;
use std::collections::BTreeMap;
use std::rc::Weak;
use std::time::Duration;

/// A full disk is tried again after so long.
const FULL_RETRY_AFTER: Duration = Duration::from_millis(100);

/// Writes until the log closes or fails, or nobody holds it any more.
pub(super) async fn write(log: Weak<Inner>, mut wal: Wal) {
    // What recovery found may end in a frame that nothing proves yet.
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

/// A group whose state a frame says, and how far it says that the group was let go.
type Stated = (PartitionId, Option<LogId>);

/// What a turn of the writer came to.
enum Turn {
    Wrote,
    Idle,
    /// What was taken stands at the front of the queue again.
    Full,
    Failed(WalError),
}

impl Inner {
    /// Writes one frame, if there is anything to write.
    async fn turn(&self, wal: &mut Wal) -> Turn {
        let taken = match self.make_room(wal, self.take()).await {
            Ok(taken) => taken,
            Err(error) => return Turn::Failed(error),
        };
        let left = match self.leave_damaged(wal).await {
            Ok(left) => left,
            Err(error) => {
                taken.into_iter().for_each(|request| request.waiting.tell(Err(error.clone())));
                return Turn::Failed(error);
            }
        };
        let purged = wal.purge(self.needed_from(wal.current_segment()));
        if taken.is_empty() && purged.is_none() && !left {
            self.note_space(wal);
            return Turn::Idle;
        }
        let stated = self.states_due(wal.oldest_segment(), purged.is_some(), &taken);
        let bases = self.bases(&stated);
        let voters = Voters::of(&taken);
        let states: Vec<Record<'static>> = {
            let groups = self.groups.borrow();
            stated.iter().map(|(partition, _)| groups[partition].hard_state(*partition)).collect()
        };
        let records: Vec<Record<'_>> = (purged.into_iter())
            .chain(states)
            .chain(bases.iter().map(Base::record))
            .chain(taken_records(&taken, &voters))
            // A segment that was begun early has a frame at once.
            .chain((taken.is_empty() && left).then_some(Record::Seal))
            .collect();
        let written = wal.append(self.now(), &records).await;
        drop(records);
        self.note_space(wal);
        match written {
            Ok(place) => {
                self.note_written(&taken, &stated, place, wal);
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
                What::HardState | What::Forgotten | What::Truncation { .. } => RECORD_BYTES,
                What::Room { .. } => 0,
            };
            if bytes > 0 && bytes + more > self.options.frame_bytes_max() {
                queue.push_front(request);
                break;
            }
            bytes += more;
            taken.push(request);
        }
        taken
    }

    /// Answers who only asks for room, behind what was asked for before. Returns the others.
    async fn make_room(
        &self,
        wal: &mut Wal,
        taken: Vec<Request>,
    ) -> Result<Vec<Request>, WalError> {
        let mut others = Vec::with_capacity(taken.len());
        let mut before = 0;
        for request in taken {
            match &request.what {
                What::Room { bytes } => {
                    let made = wal.spare_reserve(before + bytes).await;
                    let failed = match &made {
                        Err(error @ WalError::Failed { .. }) => Some(error.clone()),
                        _ => None,
                    };
                    request.waiting.tell(made);
                    if let Some(error) = failed {
                        others.into_iter().for_each(|request: Request| {
                            request.waiting.tell(Err(error.clone()));
                        });
                        return Err(error);
                    }
                }
                What::Entries(entries) => {
                    before += entries.iter().map(entry_bytes).sum::<usize>();
                    others.push(request);
                }
                What::HardState | What::Forgotten | What::Truncation { .. } => {
                    others.push(request);
                }
            }
        }
        Ok(others)
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

    /// The groups whose state goes into the next frame: those that ask for it, and where
    /// segments are let go, those whose last word lies in them or says less than is needed. With what
    /// they will have said then: by the time it is written more may have been let go.
    fn states_due(&self, oldest: u64, purging: bool, taken: &[Request]) -> Vec<Stated> {
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
        due.map(|(&partition, group)| (partition, group.purged)).collect()
    }

    /// Who took part where the logs of these groups begin.
    fn bases(&self, stated: &[Stated]) -> Vec<Base> {
        let groups = self.groups.borrow();
        let base = |(partition, _): &Stated| {
            let (id, voters) = groups[partition].base.as_ref()?;
            Some(Base { partition: *partition, id: *id, voters: voters::encode(voters) })
        };
        stated.iter().filter_map(base).collect()
    }

    fn note_space(&self, wal: &Wal) {
        self.unreserved.set(wal.unreserved_bytes());
    }

    fn note_written(&self, taken: &[Request], stated: &[Stated], place: Place, wal: &Wal) {
        let mut written = self.written.get();
        written.frames += 1;
        written.live_bytes = wal.live_bytes();
        self.written.set(written);
        let is_known = |files: &[crate::wal::Segment]| {
            files.first().map(|first| first.number) == Some(wal.oldest_segment())
                && files.last().map(|last| last.number) == Some(wal.current_segment())
        };
        if !is_known(&self.files.borrow()) {
            *self.files.borrow_mut() = wal.live_segments();
        }
        self.end.set((wal.current_segment(), wal.end()));
        self.note_entries(taken, stated, place, wal.oldest_segment());
        let Some(watcher) = self.watcher.get() else { return };
        for Request { partition, what, .. } in taken {
            if let What::Entries(_) = what {
                let durable = self.groups.borrow().get(partition).map(Group::durable);
                let Some(durable) = durable else { continue };
                watcher.durable(*partition, LogIndex(durable.unwrap_or_default()));
            }
        }
    }

    fn note_entries(&self, taken: &[Request], stated: &[Stated], place: Place, oldest: u64) {
        let mut segments = self.segments.borrow_mut();
        *segments = segments.split_off(&oldest);
        self.damaged.let_go(oldest);
        let mut forgotten = Vec::new();
        let last = segments.entry(place.segment).or_default();
        let mut groups = self.groups.borrow_mut();
        for Request { partition, what, .. } in taken {
            let entries = match what {
                What::Entries(entries) => entries,
                What::Forgotten => {
                    groups.remove(partition);
                    self.cached.borrow_mut().forget(*partition);
                    forgotten.push(*partition);
                    continue;
                }
                What::HardState | What::Truncation { .. } | What::Room { .. } => continue,
            };
            let group = groups.entry(*partition).or_default();
            for entry in entries {
                group.placed(entry.log_id, place);
                if let EntryPayload::Normal(batch) = &entry.payload {
                    batch.landed();
                }
            }
            if let Some(entry) = entries.last() {
                let known = last.entry(*partition).or_default();
                *known = entry.log_id.index.max(*known);
            }
        }
        for partition in forgotten {
            for last in segments.values_mut() {
                last.remove(&partition);
            }
        }
        for (partition, purged) in stated {
            if let Some(group) = groups.get_mut(partition) {
                (group.stated_in, group.stated_purged) = (place.segment, *purged);
            }
        }
        self.cached.borrow_mut().shrink(&mut groups);
    }

    /// The log has ended for good: says so to all who wait.
    fn fail(&self, error: WalError) {
        *self.failed.borrow_mut() = Some(error.clone());
        self.room.close();
        let waiting = std::mem::take(&mut *self.queue.borrow_mut());
        waiting.into_iter().for_each(|request| request.waiting.tell(Err(error.clone())));
        if let Some(watcher) = self.watcher.get() {
            watcher.failed(&error);
        }
        self.closed.set();
    }
}

/// Who took part where a group's log begins.
struct Base {
    partition: PartitionId,
    id: LogId,
    voters: Vec<u8>,
}

impl Base {
    fn record(&self) -> Record<'_> {
        Record::Base {
            partition: self.partition,
            term: Term(self.id.committed_leader_id().term),
            index: LogIndex(self.id.index),
            voters: &self.voters,
        }
    }
}

/// The bytes of the membership entries in what was taken, in order.
struct Voters(Vec<Vec<u8>>);

impl Voters {
    fn of(taken: &[Request]) -> Voters {
        let entries = taken.iter().flat_map(|request| match &request.what {
            What::Entries(entries) => entries.as_slice(),
            What::HardState | What::Forgotten | What::Truncation { .. } | What::Room { .. } => &[],
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
            What::HardState | What::Room { .. } => {}
            What::Forgotten => records.push(Record::Forgotten { partition }),
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

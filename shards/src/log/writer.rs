//! The two tasks of a log: one writes what has gathered, one applies what is decided.

use super::queue::{Durable, Placed};
use super::{Applier, HardState, Inner, LogError};
use crate::wal::{Record, Wal, WalError};
use model::id::{LogIndex, PartitionId};
use runtime::{task, time};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

/// Applying looks at the clock after so many commands.
const APPLY_SLICE: usize = 16;

/// After a frame of several commands the writer lets others run so many times before it takes the
/// next: who is answered (by the task that applies, hence twice) often has the next command at
/// hand. Without it two halves of the proposers take turns, and a frame holds half as much.
const GATHER_TURNS: usize = 2;

/// What a turn of the writer came to.
#[derive(PartialEq, Eq)]
enum Turn {
    /// So many commands, and whatever else was due.
    Wrote {
        commands: usize,
    },
    Idle,
    Failed,
}

/// Writes until the log closes or fails, or nobody holds it any more.
pub(super) async fn write<A: Applier>(log: Weak<Inner>, mut wal: Wal, applier: Rc<A>) {
    // What recovery found may end in a frame that nothing proves yet.
    let mut sealed = false;
    loop {
        let Some(inner) = log.upgrade() else { return };
        let (work, seal_after) = (inner.work.clone(), inner.options.seal_after);
        match inner.turn(&mut wal, &*applier).await {
            Turn::Wrote { commands } => {
                sealed = false;
                drop(inner);
                if commands > 1 {
                    for _ in 0..GATHER_TURNS {
                        task::yield_now().await;
                    }
                }
            }
            Turn::Idle if inner.closing.get() => return inner.finish(wal, &*applier).await,
            Turn::Idle => {
                drop(inner);
                if sealed {
                    work.notified().await;
                } else if time::timeout(seal_after, work.notified()).await.is_err() {
                    let Some(inner) = log.upgrade() else { return };
                    sealed = inner.write_frame(&mut wal, &[Record::Seal]).await.is_ok();
                    inner.note_failure(&wal, &*applier);
                }
            }
            Turn::Failed => return,
        }
    }
}

impl Inner {
    /// Writes one frame, if there is anything to write.
    async fn turn<A: Applier>(&self, wal: &mut Wal, applier: &A) -> Turn {
        let bytes_max = self.options.frame_bytes_max.min(self.options.segment_bytes as usize / 2);
        let mut taken = self.queues.borrow_mut().take(bytes_max);
        let purged = self.purge(wal);
        if taken.is_empty() && purged.is_none() {
            return Turn::Idle;
        }
        let begins = taken.iter().any(|placed| placed.batch.begins());
        let mut written = self.write_taken(wal, purged, &taken, begins).await;
        if begins && let Err(error @ WalError::Full { .. }) = &written {
            // What ends transactions has its reserve.
            taken = self.refuse_beginnings(taken, error, applier);
            if taken.is_empty() && purged.is_none() {
                return Turn::Wrote { commands: 0 };
            }
            written = self.write_taken(wal, purged, &taken, false).await;
        }
        match written {
            Ok(segment) => {
                let commands = taken.iter().map(|placed| placed.batch.commands.len()).sum();
                self.note_durable(taken, segment, applier);
                Turn::Wrote { commands }
            }
            Err(error) => {
                self.queues.borrow_mut().untake(&taken);
                self.refuse(taken, &error, applier);
                self.note_failure(wal, applier);
                match self.failed.borrow().is_some() {
                    true => Turn::Failed,
                    false => Turn::Wrote { commands: 0 },
                }
            }
        }
    }

    /// Writes one frame of what was taken and what goes with it. `begins`: it leaves the reserve
    /// alone.
    async fn write_taken(
        &self,
        wal: &mut Wal,
        purged: Option<Record<'static>>,
        taken: &[Placed],
        begins: bool,
    ) -> Result<u64, WalError> {
        // An entry of a term comes after the record of that term.
        let votes = self.votes_to_write(wal.oldest_segment(), purged.is_some(), taken);
        let records: Vec<Record<'_>> = purged
            .into_iter()
            .chain(votes.iter().copied())
            .chain(taken.iter().map(|placed| self.entry(placed)))
            .collect();
        if begins {
            wal.spare_reserve(&records).await?;
        }
        let segment = self.write_frame(wal, &records).await?;
        self.note_votes(&votes, segment);
        Ok(segment)
    }

    /// Refuses what was taken, except for commands that end transactions: those get places anew.
    fn refuse_beginnings<A: Applier>(
        &self,
        taken: Vec<Placed>,
        error: &WalError,
        applier: &A,
    ) -> Vec<Placed> {
        let mut queues = self.queues.borrow_mut();
        queues.untake(&taken);
        let mut kept = Vec::new();
        let mut refused = Vec::new();
        for Placed { partition, first, batch } in taken {
            let (ends, begins) = batch.split();
            kept.extend(ends.map(|ends| queues.place(partition, ends)));
            refused.push(Placed { partition, first, batch: begins });
        }
        drop(queues);
        self.refuse(refused, error, applier);
        kept
    }

    async fn write_frame(&self, wal: &mut Wal, records: &[Record<'_>]) -> Result<u64, WalError> {
        let clock = self.clock.now(time::now().as_nanos());
        let written = wal.append(clock, records).await;
        self.segments.borrow_mut().live_bytes = wal.live_bytes();
        if written.is_ok() {
            self.stats.borrow_mut().frames += 1;
        }
        written
    }

    fn entry<'a>(&self, placed: &'a Placed) -> Record<'a> {
        Record::Entry {
            partition: placed.partition,
            term: self.segments.borrow().hard_states[&placed.partition].term,
            index: placed.first,
            count: placed.batch.commands.len() as u32,
            commands: &placed.batch.bytes,
        }
    }

    /// Lets go of the segments that are not needed.
    fn purge(&self, wal: &mut Wal) -> Option<Record<'static>> {
        let mut segments = self.segments.borrow_mut();
        let record = wal.purge(segments.purge_to)?;
        let oldest = wal.oldest_segment();
        segments.last = segments.last.split_off(&oldest);
        segments.live_bytes = wal.live_bytes();
        Some(record)
    }

    /// Terms and votes that no segment from `oldest` on records, of partitions that are written
    /// now or whose record has been let go.
    fn votes_to_write(&self, oldest: u64, purging: bool, taken: &[Placed]) -> Vec<Record<'static>> {
        let segments = self.segments.borrow();
        let is_due = |partition: &PartitionId, state: &HardState| {
            let written = || taken.iter().any(|placed| placed.partition == *partition);
            state.segment < oldest && (purging || written())
        };
        segments
            .hard_states
            .iter()
            .filter(|(partition, state)| is_due(partition, state))
            .map(|(&partition, state)| Record::HardState {
                partition,
                term: state.term,
                vote: Some(state.vote),
                elected: true,
                purged: None,
            })
            .collect()
    }

    fn note_votes(&self, votes: &[Record<'_>], written: u64) {
        let mut segments = self.segments.borrow_mut();
        for vote in votes {
            if let Record::HardState { partition, .. } = vote
                && let Some(state) = segments.hard_states.get_mut(partition)
            {
                state.segment = written;
            }
        }
    }

    fn note_durable<A: Applier>(&self, taken: Vec<Placed>, segment: u64, applier: &A) {
        let mut segments = self.segments.borrow_mut();
        let last = segments.last.entry(segment).or_default();
        let mut stats = self.stats.borrow_mut();
        let mut durable = self.durable.borrow_mut();
        for placed in taken {
            let count = placed.batch.commands.len() as u64;
            let end = LogIndex(placed.first.0 + count - 1);
            last.insert(placed.partition, end);
            stats.commands += count;
            stats.command_bytes += placed.batch.bytes.len() as u64;
            applier.durable(placed.partition, end);
            durable.push_back(Durable { placed, segment });
        }
        drop((segments, stats, durable));
        self.decided.notify_one();
    }

    /// Answers commands that are not in the log, or may not be. Those that wait behind them are refused
    /// with them: they may build on what these would have written. A log that fails for good refuses
    /// everything that waits ([`Inner::note_failure`]).
    fn refuse<A: Applier>(&self, taken: Vec<Placed>, error: &WalError, applier: &A) {
        let refused = LogError::refused(error.clone());
        let full = matches!(refused, LogError::Full(_));
        for placed in taken {
            let behind = match refused {
                LogError::InDoubt(_) => Vec::new(),
                _ => self.queues.borrow_mut().take_beginnings(placed.partition),
            };
            for pending in placed.batch.commands.into_iter().chain(behind) {
                self.stats.borrow_mut().refused_full += u64::from(full);
                applier.refused(placed.partition, pending.command, &refused);
                drop(pending.promise.send(Err(refused.clone())));
            }
        }
    }

    /// If the log has failed for good, says so to all who wait.
    fn note_failure<A: Applier>(&self, wal: &Wal, applier: &A) {
        let Some(error) = wal.failure() else { return };
        let failed = LogError::refused(error.clone()).afterwards();
        *self.failed.borrow_mut() = Some(failed.clone());
        self.room.close();
        let waiting = self.queues.borrow_mut().drain();
        for (partition, pending) in waiting {
            applier.refused(partition, pending.command, &failed);
            drop(pending.promise.send(Err(failed.clone())));
        }
        applier.failed(&failed);
        self.closed.set();
    }

    /// Waits until everything is applied, then closes the files.
    async fn finish<A: Applier>(&self, wal: Wal, applier: &A) {
        while !self.durable.borrow().is_empty() || self.applying.get() {
            task::yield_now().await;
        }
        let clock = self.clock.now(time::now().as_nanos());
        if let Err(error) = wal.close(clock).await {
            applier.failed(&LogError::refused(error).afterwards());
        }
        self.closed.set();
    }
}

/// Applies what is durable, in order, for as long as anybody holds the log.
pub(super) async fn apply<A: Applier>(log: Weak<Inner>, applier: Rc<A>) {
    loop {
        let Some(inner) = log.upgrade() else { return };
        let batch: VecDeque<Durable> = std::mem::take(&mut *inner.durable.borrow_mut());
        inner.applying.set(!batch.is_empty());
        if batch.is_empty() {
            let decided = inner.decided.clone();
            drop(inner);
            decided.notified().await;
            continue;
        }
        let mut count = 0;
        for Durable { placed, segment } in batch {
            let mut index = placed.first;
            for pending in placed.batch.commands {
                applier.apply(placed.partition, index, segment, pending.command).await;
                // Who proposed it may have gone; it is applied all the same.
                drop(pending.promise.send(Ok(index)));
                drop(pending.permit);
                index = index.next();
                count += 1;
                if count % APPLY_SLICE == 0 {
                    task::yield_if_due().await;
                }
            }
        }
    }
}

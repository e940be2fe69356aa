//! The task that hands what has gathered to the partitions' groups.

use super::doubted::Fate;
use super::queue::{Pending, Taken};
use super::{Inner, LogError};
use crate::raft::{Answer, Batch, Flight, LogId, Partitions};
use crate::wal::WalError;
use bytes::Bytes;
use model::id::{LogIndex, PartitionId};
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use runtime::{task, time};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// After a frame of several commands the proposer lets others run so many times before it takes the
/// next: who is answered (when the entry is applied, by tasks in a row) often has the next command at
/// hand. Without it two halves of the proposers take turns, and a frame holds half as much.
const GATHER_TURNS: usize = 2;

/// A log that closes waits so long for what it has proposed: a leader that reaches no quorum will not
/// hear of it.
const DECIDE_MAX: Duration = Duration::from_secs(5);

/// Proposes until the log closes or fails, or nobody holds it any more.
pub(super) async fn run(log: Weak<Inner>) {
    loop {
        let Some(inner) = log.upgrade() else { return };
        let bytes_max = inner.options.frame_bytes_max.min(inner.options.segment_bytes as usize / 2);
        let taken = inner.queues.borrow_mut().take(bytes_max);
        if taken.is_empty() {
            if inner.closing.get() {
                return inner.finish().await;
            }
            let work = inner.work.clone();
            drop(inner);
            work.notified().await;
            continue;
        }
        let commands = taken.iter().map(|taken| taken.batch.commands.len()).sum::<usize>();
        inner.propose(taken).await;
        let flights = inner.flights.clone();
        drop(inner);
        flights.all_landed().await;
        if commands > 1 {
            for _ in 0..GATHER_TURNS {
                task::yield_now().await;
            }
        }
    }
}

/// A batch that its group has, until it answers.
struct Proposed {
    log: Weak<Inner>,
    partition: PartitionId,
    commands: Vec<Pending>,
    flight: Rc<Flight>,
}

impl Proposed {
    fn answered(mut self, result: ClientWriteResult<Partitions>) {
        let Some(log) = self.log.upgrade() else { return };
        let commands = std::mem::take(&mut self.commands);
        match result {
            Ok(written) => log.applied(LogIndex(written.log_id.index), commands),
            Err(ClientWriteError::LogEntryDiscarded(_)) => {
                log.doubt(self.partition, self.flight.place(), commands);
            }
            // It was never appended.
            Err(error) => {
                log.refuse(self.partition, commands, &LogError::NotLeader(error.to_string()));
            }
        }
    }

    /// There is no group to propose to.
    fn absent(mut self) {
        let Some(log) = self.log.upgrade() else { return };
        let commands = std::mem::take(&mut self.commands);
        let error = LogError::NotLeader("the partition has no replica here".to_owned());
        log.refuse(self.partition, commands, &error);
    }
}

impl Drop for Proposed {
    /// The group has ended before it answered.
    fn drop(&mut self) {
        if self.commands.is_empty() {
            return;
        }
        let Some(log) = self.log.upgrade() else { return };
        let commands = std::mem::take(&mut self.commands);
        let error = log.in_doubt();
        log.refuse(self.partition, commands, &error);
    }
}

impl Inner {
    async fn propose(self: &Rc<Self>, taken: Vec<Taken>) {
        for Taken { partition, batch } in self.admit(taken).await {
            let count = batch.commands.len();
            let bytes = Bytes::from(batch.bytes);
            let mut stats = self.stats.get();
            stats.commands += count as u64;
            stats.command_bytes += bytes.len() as u64;
            self.stats.set(stats);
            self.unanswered.set(self.unanswered.get() + count);
            let (entry, flight) = Batch::propose(count as u32, bytes, &self.flights);
            let log = Rc::downgrade(self);
            let proposed = Proposed { log, partition, commands: batch.commands, flight };
            let group = self.groups.borrow().get(&partition).cloned();
            let Some(group) = group else {
                proposed.absent();
                continue;
            };
            let answer = Answer::new(move |result| proposed.answered(result));
            // A group that has ended drops the answer, which tells who waits.
            drop(group.propose(entry, answer).await);
        }
    }

    /// Makes sure that there is room for what was taken. On a full disk only what ends transactions
    /// goes on, which has its reserve.
    async fn admit(&self, taken: Vec<Taken>) -> Vec<Taken> {
        if !taken.iter().any(|taken| taken.batch.begins()) {
            return taken;
        }
        let bytes = taken.iter().map(|taken| taken.batch.bytes.len()).sum();
        let error = match self.core_log.admit(bytes, taken.len()).await {
            Ok(()) => return taken,
            Err(error) => error,
        };
        let refused = match &error {
            WalError::Full { .. } => LogError::refused(error),
            // It was not proposed.
            _ => LogError::refused(error).afterwards(),
        };
        let mut kept = Vec::new();
        for Taken { partition, batch } in taken {
            let (ends, begins) = batch.split();
            kept.extend(ends.map(|batch| Taken { partition, batch }));
            self.unanswered.set(self.unanswered.get() + begins.commands.len());
            self.refuse(partition, begins.commands, &refused);
        }
        kept
    }

    /// Commands are applied.
    fn applied(&self, index: LogIndex, commands: Vec<Pending>) {
        self.answered(commands.len());
        for pending in commands {
            // Who proposed it may have gone; it is applied all the same.
            drop(pending.promise.send(Ok(index)));
        }
    }

    /// Answers commands that are not in the log, or may not be. Those that wait behind them are refused
    /// with them: they may build on what these would have written. A log that fails for good refuses
    /// everything that waits.
    fn refuse(&self, partition: PartitionId, commands: Vec<Pending>, error: &LogError) {
        self.answered(commands.len());
        if commands.is_empty() {
            return;
        }
        let behind = match error {
            LogError::InDoubt(_) => Vec::new(),
            _ => self.queues.borrow_mut().take_beginnings(partition),
        };
        if matches!(error, LogError::Full(_)) {
            let mut stats = self.stats.get();
            stats.refused_full += (commands.len() + behind.len()) as u64;
            self.stats.set(stats);
        }
        self.tell_refused(partition, commands.into_iter(), error);
        // What waits behind one in doubt has not been proposed.
        self.tell_refused(partition, behind.into_iter(), &error.afterwards());
    }

    /// The entry at `place` was taken out of this replica's log for another leader's. Who proposed it waits
    /// until it is known what became of it.
    fn doubt(&self, partition: PartitionId, place: Option<LogId>, commands: Vec<Pending>) {
        let applied = self.proposers.get().map(|proposers| proposers.applied(partition));
        match place {
            Some(id) if applied < Some(LogIndex(id.index)) => {
                self.doubted.borrow_mut().put(partition, id, commands);
                // What waits behind it may build on it, and must not be proposed in another term.
                let behind = self.queues.borrow_mut().take_beginnings(partition);
                let error = LogError::overtaken().afterwards();
                self.tell_refused(partition, behind.into_iter(), &error);
            }
            // Files have taken the place of the log: nobody looks at its entries any more.
            _ => self.refuse(partition, commands, &LogError::overtaken()),
        }
    }

    /// An entry is applied: answers those whose fate it proves.
    pub(super) fn decided(&self, partition: PartitionId, applied: LogId) {
        let decided = self.doubted.borrow_mut().take_decided(partition, applied);
        for (fate, commands) in decided {
            match fate {
                Fate::There => self.applied(LogIndex(applied.index), commands),
                Fate::Gone => {
                    self.refuse(partition, commands, &LogError::overtaken().afterwards());
                }
            }
        }
    }

    /// What became of a partition's entries will not be known here.
    pub(super) fn give_up_doubted(&self, partition: PartitionId) {
        let commands = self.doubted.borrow_mut().take(partition);
        self.refuse(partition, commands, &self.in_doubt());
    }

    /// A group has ended before it answered.
    fn in_doubt(&self) -> LogError {
        match &*self.failed.borrow() {
            Some(LogError::Failed(error)) => LogError::InDoubt(error.clone()),
            _ => LogError::Undecided("the replica ended before the change was decided"),
        }
    }

    /// Waits until everything is answered, ends the groups and closes the files.
    async fn finish(&self) {
        let answered = async {
            while self.unanswered.get() > 0 && self.failed.borrow().is_none() {
                self.all_answered.notified().await;
            }
        };
        // What has no answer by then is in doubt.
        let _ = time::timeout(DECIDE_MAX, answered).await;
        let groups = std::mem::take(&mut *self.groups.borrow_mut());
        for group in groups.values() {
            group.shutdown().await;
        }
        let doubted = self.doubted.borrow().partitions();
        doubted.into_iter().for_each(|partition| self.give_up_doubted(partition));
        self.core_log.close().await;
        self.closed.set();
    }
}

//! What gathers while a write is in flight.

use super::LogError;
use super::codec;
use model::command::Command;
use model::id::{LogIndex, PartitionId};
use runtime::sync::{Permit, oneshot};
use std::collections::{BTreeMap, VecDeque};

/// Commands are encoded into batches of about this size: a frame takes whole batches.
const BATCH_BYTES: usize = 256 << 10;

/// A batch that takes one more command, of at most half a segment, must still fit into one.
const SEGMENT_BATCHES: u64 = 4;

/// Whoever proposed a command.
pub(super) type Promise = oneshot::Sender<Result<LogIndex, LogError>>;

/// Commands of one partition, next to each other in its log.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) commands: Vec<Pending>,
}

impl Batch {
    fn push(&mut self, pending: Pending) {
        codec::encode(&pending.command, &mut self.bytes);
        self.commands.push(pending);
    }

    /// Whether it holds commands that begin something which others must end.
    pub(super) fn begins(&self) -> bool {
        self.commands.iter().any(|pending| !ends(&pending.command))
    }

    /// The commands that end transactions, if there are any, and the others, without their bytes.
    pub(super) fn split(self) -> (Option<Batch>, Batch) {
        let (mut kept, mut others) = (Batch::default(), Batch::default());
        for pending in self.commands {
            match ends(&pending.command) {
                true => kept.push(pending),
                false => others.commands.push(pending),
            }
        }
        ((!kept.commands.is_empty()).then_some(kept), others)
    }
}

/// Whether a command ends a transaction that the log knows: somebody waits for the outcome.
fn ends(command: &Command) -> bool {
    match command {
        Command::Decide { .. } | Command::Finish { .. } | Command::Forget { .. } => true,
        Command::Stage { .. } | Command::Commit { .. } | Command::Prepare { .. } => false,
    }
}

/// A command and who waits for it.
pub(super) struct Pending {
    pub(super) command: Command,
    pub(super) promise: Promise,
    /// Given back when it is answered.
    pub(super) _permit: Permit,
}

/// A batch of a partition, on its way to its group.
pub(super) struct Taken {
    pub(super) partition: PartitionId,
    pub(super) batch: Batch,
}

/// The commands that wait to be written, by partition.
pub(super) struct Queues {
    /// A batch that holds so much takes no more.
    batch_bytes: usize,
    partitions: BTreeMap<PartitionId, VecDeque<Batch>>,
    /// Partitions with commands, in the order in which they will be served.
    ready: VecDeque<PartitionId>,
}

impl Queues {
    /// Queues of a log with segments of so many bytes.
    pub(super) fn new(segment_bytes: u64) -> Queues {
        let batch_bytes = BATCH_BYTES.min((segment_bytes / SEGMENT_BATCHES) as usize);
        Queues { batch_bytes, partitions: BTreeMap::new(), ready: VecDeque::new() }
    }

    pub(super) fn push(
        &mut self,
        partition: PartitionId,
        command: Command,
        promise: Promise,
        permit: Permit,
    ) {
        let batches = self.partitions.entry(partition).or_default();
        if batches.is_empty() {
            self.ready.push_back(partition);
        }
        if batches.back().is_none_or(|batch| batch.bytes.len() >= self.batch_bytes) {
            batches.push_back(Batch::default());
        }
        if let Some(batch) = batches.back_mut() {
            batch.push(Pending { command, promise, _permit: permit });
        }
    }

    /// Takes batches of about `bytes_max` together, at least one, where there are any: at most one
    /// of each partition.
    pub(super) fn take(&mut self, bytes_max: usize) -> Vec<Taken> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        let mut waiting = self.ready.len();
        while waiting > 0
            && let Some(partition) = self.ready.pop_front()
        {
            waiting -= 1;
            let batches = self.partitions.entry(partition).or_default();
            let next = batches.front().map_or(0, |batch| batch.bytes.len());
            if !taken.is_empty() && bytes + next > bytes_max {
                self.ready.push_front(partition);
                break;
            }
            bytes += next;
            let batch = batches.pop_front();
            if !batches.is_empty() {
                self.ready.push_back(partition);
            }
            taken.extend(batch.map(|batch| Taken { partition, batch }));
        }
        taken
    }

    /// What waits in a partition and begins something which others must end.
    pub(super) fn take_beginnings(&mut self, partition: PartitionId) -> Vec<Pending> {
        let Some(batches) = self.partitions.get_mut(&partition) else { return Vec::new() };
        let was_empty = batches.is_empty();
        let mut beginnings = Vec::new();
        for batch in std::mem::take(batches) {
            let (ends, begins) = batch.split();
            batches.extend(ends);
            beginnings.extend(begins.commands);
        }
        if !was_empty && batches.is_empty() {
            self.ready.retain(|ready| *ready != partition);
        }
        beginnings
    }

    /// Everything that still waits.
    pub(super) fn drain(&mut self) -> Vec<(PartitionId, Pending)> {
        self.ready.clear();
        let mut drained = Vec::new();
        for (&partition, batches) in &mut self.partitions {
            let commands = batches.drain(..).flat_map(|batch| batch.commands);
            drained.extend(commands.map(|pending| (partition, pending)));
        }
        drained
    }
}

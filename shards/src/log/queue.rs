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
    pub(super) permit: Permit,
}

/// A batch with its place in the log.
pub(super) struct Placed {
    pub(super) partition: PartitionId,
    pub(super) first: LogIndex,
    pub(super) batch: Batch,
}

/// Commands that are durable and wait to be applied.
pub(super) struct Durable {
    pub(super) placed: Placed,
    pub(super) segment: u64,
}

struct Queue {
    next: LogIndex,
    batches: VecDeque<Batch>,
}

/// The commands that wait to be written, by partition.
pub(super) struct Queues {
    /// A batch that holds so much takes no more.
    batch_bytes: usize,
    partitions: BTreeMap<PartitionId, Queue>,
    /// Partitions with commands, in the order in which they will be served.
    ready: VecDeque<PartitionId>,
}

impl Queues {
    /// Queues of a log with segments of so many bytes.
    pub(super) fn new(segment_bytes: u64) -> Queues {
        let batch_bytes = BATCH_BYTES.min((segment_bytes / SEGMENT_BATCHES) as usize);
        Queues { batch_bytes, partitions: BTreeMap::new(), ready: VecDeque::new() }
    }

    /// Adds a partition, or moves on the place where its log continues.
    pub(super) fn add(&mut self, partition: PartitionId, last: LogIndex) {
        let queue = self
            .partitions
            .entry(partition)
            .or_insert(Queue { next: LogIndex(1), batches: VecDeque::new() });
        queue.next = queue.next.max(last.next());
    }

    pub(super) fn push(
        &mut self,
        partition: PartitionId,
        command: Command,
        promise: Promise,
        permit: Permit,
    ) {
        let queue = self.partitions.get_mut(&partition).expect("the partition was added");
        if queue.batches.is_empty() {
            self.ready.push_back(partition);
        }
        let batch_bytes = self.batch_bytes;
        let full = queue.batches.back().is_none_or(|batch| batch.bytes.len() >= batch_bytes);
        if full {
            queue.batches.push_back(Batch::default());
        }
        if let Some(batch) = queue.batches.back_mut() {
            batch.push(Pending { command, promise, permit });
        }
    }

    /// Takes batches of about `bytes_max` together, at least one, and gives them their places.
    pub(super) fn take(&mut self, bytes_max: usize) -> Vec<Placed> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(&partition) = self.ready.front() {
            let queue = self.partitions.get_mut(&partition).expect("only known ones are ready");
            let next = queue.batches.front().map_or(0, |batch| batch.bytes.len());
            if !taken.is_empty() && bytes + next > bytes_max {
                break;
            }
            bytes += next;
            self.ready.pop_front();
            let batch = queue.batches.pop_front();
            if !queue.batches.is_empty() {
                self.ready.push_back(partition);
            }
            taken.extend(batch.map(|batch| self.place(partition, batch)));
        }
        taken
    }

    /// Gives a batch the next place in its partition's log.
    pub(super) fn place(&mut self, partition: PartitionId, batch: Batch) -> Placed {
        let queue = self.partitions.get_mut(&partition).expect("it was taken from there");
        let first = queue.next;
        queue.next = LogIndex(first.0 + batch.commands.len() as u64);
        Placed { partition, first, batch }
    }

    /// Gives places back that were not written.
    pub(super) fn untake(&mut self, taken: &[Placed]) {
        for placed in taken.iter().rev() {
            if let Some(queue) = self.partitions.get_mut(&placed.partition) {
                queue.next = placed.first;
            }
        }
    }

    /// What waits in a partition and begins something which others must end.
    pub(super) fn take_beginnings(&mut self, partition: PartitionId) -> Vec<Pending> {
        let Some(queue) = self.partitions.get_mut(&partition) else { return Vec::new() };
        let was_empty = queue.batches.is_empty();
        let mut beginnings = Vec::new();
        for batch in std::mem::take(&mut queue.batches) {
            let (ends, begins) = batch.split();
            queue.batches.extend(ends);
            beginnings.extend(begins.commands);
        }
        if !was_empty && queue.batches.is_empty() {
            self.ready.retain(|ready| *ready != partition);
        }
        beginnings
    }

    /// Everything that still waits.
    pub(super) fn drain(&mut self) -> Vec<(PartitionId, Pending)> {
        self.ready.clear();
        let mut drained = Vec::new();
        for (&partition, queue) in &mut self.partitions {
            let commands = queue.batches.drain(..).flat_map(|batch| batch.commands);
            drained.extend(commands.map(|pending| (partition, pending)));
        }
        drained
    }
}

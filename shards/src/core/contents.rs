//! What a replica holds, in short: replicas of a partition that have applied the same entries of its
//! log say the same of themselves, whatever else has become of them.

use super::engine::{Engine, Gauge};
use crate::raft::GroupReport;
use crate::storage::{ScanBatch, StorageError};
use crate::txn::Partition;
use model::id::{LogIndex, PartitionId};
use model::key::KeyRange;
use model::time::Timestamp;

/// Rows and bytes that are read at a time.
const BATCH_ROWS: usize = 512;
const BATCH_BYTES: usize = 256 << 10;

/// What a replica holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Of which partition.
    pub partition: PartitionId,
    /// The entries of the log up to this one made it.
    pub applied: LogIndex,
    /// Keys with a row.
    pub rows: u64,
    /// CRC32C over every key with a row, the time of the row and its bytes, in the order of the keys.
    pub digest: u32,
    /// Transactions that have voted here.
    pub prepared: usize,
    /// Decisions that are kept here.
    pub decisions: usize,
}

impl Gauge {
    /// [`Engine::groups`]; `None` once the engine is gone.
    pub fn groups(&self) -> Option<Vec<GroupReport>> {
        Some(self.engine()?.groups())
    }

    /// [`Engine::contents`]; `None` once the engine is gone. To be called on its core.
    ///
    /// # Errors
    /// A table file that is damaged or cannot be read.
    pub async fn contents(&self) -> Result<Option<Vec<Contents>>, StorageError> {
        match self.engine() {
            Some(engine) => engine.contents().await.map(Some),
            None => Ok(None),
        }
    }
}

impl Engine {
    /// What the replicas of this core hold: of those that stand still while they are read, which
    /// takes a look at every row.
    ///
    /// # Errors
    /// A table file that is damaged or cannot be read.
    pub async fn contents(&self) -> Result<Vec<Contents>, StorageError> {
        let mut all = Vec::new();
        for partition in self.inner.parts.partitions.all() {
            let before = self.applied(partition.id);
            let contents = read(&partition, before).await?;
            if self.applied(partition.id) == before {
                all.push(contents);
            }
        }
        Ok(all)
    }

    fn applied(&self, partition: PartitionId) -> LogIndex {
        let groups = self.groups();
        let group = groups.iter().find(|group| group.partition == partition);
        group.map_or(LogIndex::default(), |group| group.applied)
    }
}

async fn read(partition: &Partition, applied: LogIndex) -> Result<Contents, StorageError> {
    let everything = KeyRange { start: Vec::new(), end: None };
    let mut scan = partition.tree.scan(everything, Timestamp::MAX, false);
    let (mut batch, mut rows, mut digest) = (ScanBatch::new(), 0, 0);
    let mut more = true;
    while more {
        more = scan.next_batch(&mut batch, BATCH_ROWS, BATCH_BYTES).await?;
        for row in batch.iter() {
            rows += 1;
            for bytes in [row.key, row.value] {
                digest = crc32c::crc32c_append(digest, &(bytes.len() as u64).to_le_bytes());
                digest = crc32c::crc32c_append(digest, bytes);
            }
            digest = crc32c::crc32c_append(digest, &row.ts.0.to_le_bytes());
        }
    }
    let states = partition.states.borrow();
    let (prepared, decisions) = (states.prepared_count(), states.decision_count());
    Ok(Contents { partition: partition.id, applied, rows, digest, prepared, decisions })
}

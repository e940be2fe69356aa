//! Settings of one core's engine.

use model::id::{CoreId, NodeId};
use model::placement::PlacementMap;
use model::time::{CLOCKS_APART_MAX, NodeClock};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings of one core's engine. The composition root fills them in from the configuration.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The node's data directory.
    pub data_dir: PathBuf,
    /// This node.
    pub node: NodeId,
    /// This core.
    pub core: CoreId,
    /// Where the partitions are.
    pub placement: PlacementMap,
    /// This core's share of the node's memory budget, for memtables, caches and staged writes.
    pub memory_bytes: usize,
    /// The node's clock, which its cores share.
    pub clock: Arc<NodeClock>,
    /// How far ahead of it a received timestamp may be: more than [`CLOCKS_APART_MAX`], since who
    /// sent it has followed others.
    pub clock_offset_max: Duration,
    /// Size of a log segment; a multiple of 4096.
    pub wal_segment_bytes: u64,
    /// The log asks trees to flush when its live segments hold more than this.
    pub wal_live_bytes_max: u64,
    /// A transaction that has staged more than this in a partition, in bytes, goes through the log
    /// in parts of about so many. No more than an eighth of a segment is used.
    pub part_bytes: usize,
    /// How long a statement waits for a row lock or another transaction's outcome.
    pub lock_timeout: Duration,
    /// A transaction that has not prepared and of which nothing was heard for so long is rolled
    /// back.
    pub idle_transaction_timeout: Duration,
    /// After so long without news a prepared transaction's outcome is asked of its anchor.
    pub resolve_delay: Duration,
    /// Versions stay readable for so long after they were replaced.
    pub retention: Duration,
    /// A snapshot in use keeps the versions that it sees for so long.
    pub snapshot_age_max: Duration,
    /// Bytes a second that this core reads to look for damage in its table files, and as many in its log; 0
    /// for none.
    pub scrub_bytes_per_second: u64,
    /// A pass through all files begins no sooner than this after the one before.
    pub scrub_interval: Duration,
    /// Requests of other cores that may run here at once; more are refused.
    pub remote_requests_max: usize,
}

impl EngineOptions {
    /// The default of [`EngineOptions::part_bytes`].
    pub const PART_BYTES: usize = 1 << 20;

    /// The defaults for one core.
    pub fn new(
        data_dir: impl Into<PathBuf>,
        node: NodeId,
        core: CoreId,
        placement: PlacementMap,
    ) -> EngineOptions {
        EngineOptions {
            data_dir: data_dir.into(),
            node,
            core,
            placement,
            memory_bytes: 256 << 20,
            clock: Arc::default(),
            clock_offset_max: 2 * CLOCKS_APART_MAX,
            wal_segment_bytes: 64 << 20,
            wal_live_bytes_max: 512 << 20,
            part_bytes: EngineOptions::PART_BYTES,
            lock_timeout: Duration::from_secs(10),
            idle_transaction_timeout: Duration::from_secs(3600),
            resolve_delay: Duration::from_secs(5),
            retention: Duration::from_secs(60),
            snapshot_age_max: Duration::from_secs(3600),
            scrub_bytes_per_second: 0,
            scrub_interval: Duration::from_secs(7 * 24 * 3600),
            remote_requests_max: 4096,
        }
    }
}

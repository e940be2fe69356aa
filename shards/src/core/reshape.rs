//! Moving a node's logs to another number of cores. Table files stay where they are.
//!
//! ```text
//!  each new core:  make an empty log of the next generation
//!  each partition: copy vote and entries from the log of its old core to that of its new one
//!  node.json:      replaced; from here on the new logs count
//! ```
//!
//! Until the last step the old logs are whole and count. An interrupted attempt begins again from the
//! start. The old logs are removed when an engine is opened over the new ones.

use super::engine::OpenError;
use super::layout::{self, DataDirOptions, Identity};
use super::parts::log_options;
use crate::raft::CoreLog;
use model::id::PartitionId;
use model::time::HybridClock;
use runtime::time;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What is copied at a time, in bytes of entries.
const COPY_BYTES: usize = 1 << 20;

/// Lays the logs out for `options.cores` cores. Returns what `node.json` says now.
pub(super) async fn reshape(
    options: &DataDirOptions,
    old: Identity,
) -> Result<Identity, OpenError> {
    let clock = Rc::new(HybridClock::new(Arc::default(), Duration::MAX));
    let (wall, now) = time::both_clocks();
    clock.start(wall.as_nanos(), now.as_nanos());
    let new = Identity { cores: options.cores, generation: old.generation + 1, ..old };
    let from = open_logs(options, &old, &clock).await?;
    layout::create_logs(options, &new).await?;
    let to = open_logs(options, &new, &clock).await?;
    let places = layout::placement(&new);
    for log in &from {
        for partition in log.partitions() {
            let place = places.leader(partition).map(|place| usize::from(place.core.0));
            let target = place.and_then(|core| to.get(core)).ok_or_else(|| {
                let what = format!(
                    "the log holds entries of partition {partition}, of which there is none"
                );
                OpenError::Mismatch(what)
            })?;
            copy(partition, log, target).await.map_err(OpenError::Reshape)?;
        }
    }
    for log in from.iter().chain(&to) {
        log.close().await;
    }
    layout::write_identity(&options.path, &new).await?;
    Ok(new)
}

async fn open_logs(
    options: &DataDirOptions,
    identity: &Identity,
    clock: &Rc<HybridClock>,
) -> Result<Vec<CoreLog>, OpenError> {
    let mut logs = Vec::new();
    for core in 0..identity.cores {
        let engine = layout::engine_options(options, identity, core);
        let log = log_options(&engine, identity.generation).core_log();
        logs.push(CoreLog::open(log, clock.clone()).await?);
    }
    Ok(logs)
}

/// Copies what a log holds of a partition.
async fn copy(partition: PartitionId, from: &CoreLog, to: &CoreLog) -> std::io::Result<()> {
    to.take_over_state(partition, from).await?;
    let mut next = 0;
    loop {
        let entries = from.entries(partition, next, u64::MAX, COPY_BYTES).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        next = last.log_id.index + 1;
        to.take_over(partition, entries).await?;
    }
}

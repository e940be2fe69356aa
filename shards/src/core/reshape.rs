//! Moving a node's data to another number of cores.
//!
//! ```text
//!  each old core:  open, replay its log, write everything to table files, note open votes
//!  each new core:  make an empty log of the next generation, write its partitions' votes to it
//!  node.json:      replaced; from here on the new logs count
//! ```
//!
//! Until the last step the old logs are whole and count, and what is in table files already is not
//! replayed twice. An interrupted attempt begins again from the start. The old logs are removed when
//! an engine is opened over the new ones.

use super::engine::OpenError;
use super::layout::{self, DataDirOptions, Identity};
use super::parts::Parts;
use model::command::Command;
use model::id::PartitionId;
use std::collections::BTreeMap;

/// Lays the data out for `options.cores` cores. Returns what `node.json` says now.
pub(super) async fn reshape(
    options: &DataDirOptions,
    old: Identity,
) -> Result<Identity, OpenError> {
    let mut open: BTreeMap<PartitionId, Vec<Command>> = BTreeMap::new();
    for core in 0..old.cores {
        let engine = layout::engine_options(options, &old, core);
        let parts = Parts::open(&engine, old.generation).await?;
        parts.flush().await?;
        for partition in parts.partitions.values() {
            open.insert(partition.id, partition.open_transactions());
        }
        parts.log.close().await;
        parts.log.stop();
    }
    let new = Identity { cores: options.cores, generation: old.generation + 1, ..old };
    layout::create_logs(options, &new).await?;
    for core in 0..new.cores {
        let engine = layout::engine_options(options, &new, core);
        let parts = Parts::open(&engine, new.generation).await?;
        for partition in parts.partitions.values() {
            let commands = open.remove(&partition.id).unwrap_or_default();
            partition.take_over(commands).await.map_err(OpenError::Reshape)?;
        }
        parts.log.close().await;
        parts.log.stop();
    }
    layout::write_identity(&options.path, &new).await?;
    Ok(new)
}

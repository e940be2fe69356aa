//! Replicas that come and go.
//!
//! A replica is removed in steps, each of which finds what the ones before it have left, so that a crash
//! between two of them loses nothing but time:
//!
//! ```text
//!  the group ends ─► partitions/7 becomes partitions/7.removed ─► the log forgets 7 ─► the files go
//!                    (from here on it is gone: a start goes on with the rest)
//! ```
//!
//! A replica that takes the place of one that was removed begins when the last step is done.

use super::engine::OpenError;
use super::layout::Identity;
use super::options::EngineOptions;
use super::parts::{Parts, is_here};
use crate::log::Log;
use crate::raft::{Beginning, Leading};
use crate::txn::Partition;
use model::id::{LogIndex, NodeId, PartitionId, Term};
use runtime::fs;
use std::path::PathBuf;
use std::rc::Rc;

/// What the directory of a replica that is being removed has at the end of its name.
const REMOVED: &str = ".removed";

/// Where the replicas of a node are.
pub(super) fn directory(options: &EngineOptions) -> PathBuf {
    options.data_dir.join("partitions")
}

fn removed_directory(options: &EngineOptions, partition: PartitionId) -> PathBuf {
    directory(options).join(format!("{partition}{REMOVED}"))
}

/// Goes on with what earlier lives have begun to remove, before any group starts.
pub(super) async fn finish_all(
    options: &EngineOptions,
    identity: &Identity,
    log: &Log,
) -> Result<(), OpenError> {
    for entry in fs::read_dir(&directory(options)).await? {
        let removed = entry.name.strip_suffix(REMOVED).and_then(|name| name.parse().ok());
        let Some(partition) = removed.map(PartitionId) else { continue };
        if is_here(options, identity, partition) {
            finish(options, partition, log).await?;
        }
    }
    Ok(())
}

/// Has the log forget a replica that was removed, and removes its files.
async fn finish(
    options: &EngineOptions,
    partition: PartitionId,
    log: &Log,
) -> Result<(), OpenError> {
    let removed = removed_directory(options, partition);
    if !fs::exists(&removed).await? {
        return Ok(());
    }
    // The name may be there only in memory: the log must not forget a replica that a crash brings back.
    fs::sync_dir(&directory(options)).await?;
    log.forget(partition).await?;
    fs::remove_dir_all(&removed).await?;
    fs::sync_dir(&directory(options)).await?;
    Ok(())
}

impl Parts {
    /// Makes an empty replica of a partition, as its leader says how (see [`Log::join`]). One that a crash
    /// keeps from hearing that is not there at the next start.
    ///
    /// # Errors
    /// The leader does not say it. What the file system refuses, and whatever a start meets.
    pub(crate) async fn add(
        &self,
        options: &EngineOptions,
        partition: PartitionId,
        leader: NodeId,
    ) -> Result<(), OpenError> {
        let groups = |source| OpenError::Groups { core: options.core, source };
        let _alone = self.changing.lock().await;
        if self.partitions.get(partition).is_some() {
            return Ok(());
        }
        finish(options, partition, &self.log).await?;
        let trees = directory(options);
        let directory = trees.join(partition.to_string());
        fs::create_dir_all(&directory).await?;
        fs::sync_dir(&trees).await?;
        self.log.join(partition, leader).await.map_err(groups)?;
        let tree = self.storage.open_tree(partition, &directory).await?;
        self.partitions.insert(Rc::new(Partition::new(tree, self.context.clone())));
        self.log.add(partition, Beginning::Invited).await.map_err(groups)
    }

    /// Removes the replica of a partition, with all that there is of it, where it is as `seen` (see
    /// [`super::Engine::remove_replica`]).
    ///
    /// # Errors
    /// What the file system refuses; `Ok(false)`: it is not as it was seen.
    pub(super) async fn remove(
        &self,
        options: &EngineOptions,
        partition: PartitionId,
        seen: (Term, LogIndex),
    ) -> Result<bool, OpenError> {
        let _alone = self.changing.lock().await;
        let now = self.log.group(partition).map(|group| group.report());
        if now.is_some_and(|now| now.leads || (now.term, now.last) != seen) {
            return Ok(false);
        }
        if let Some(here) = self.partitions.get(partition) {
            here.led(Leading::Elsewhere(None));
            // Its first step, which is taken at once, is that nobody reaches the group any more.
            self.log.end(partition).await;
            here.replaced();
            self.partitions.remove(partition);
            here.tree.clone().close().await;
            let name = directory(options).join(partition.to_string());
            fs::rename(&name, &removed_directory(options, partition)).await?;
        }
        finish(options, partition, &self.log).await?;
        Ok(true)
    }
}

//! One partition's Raft group, as its core drives it.

use super::core_log::CoreLog;
use super::group_log::GroupLog;
use super::machine::{Applier, Machine};
use super::network::Unconnected;
use super::types::{Answer, Batch, Partitions};
use model::id::{NodeId, PartitionId};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::raft::ClientWriteResult;
use openraft::{Config, Raft, ServerState, SnapshotPolicy};
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// A group that runs. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Group {
    raft: Raft<Partitions, Machine>,
}

/// Settings of all groups.
pub(crate) fn config() -> Arc<Config> {
    Arc::new(Config {
        cluster_name: "phantomdb".to_owned(),
        heartbeat_interval: 100,
        election_timeout_min: 600,
        election_timeout_max: 1200,
        // A group says itself how far its log may be let go.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        // A single voter has nobody to listen to.
        enable_tick: false,
        // One that lost power would reuse the places of entries that it had sent and not yet written.
        enable_leader_restore: Some(false),
        ..Config::default()
    })
}

impl Group {
    /// Starts a partition's group over its part of the core's log; a new one has this node as its only
    /// voter. Returns when all that was decided before is applied, and this node leads.
    ///
    /// # Errors
    /// What cannot be read or written, and what makes no sense.
    pub(crate) async fn start(
        partition: PartitionId,
        node: NodeId,
        config: Arc<Config>,
        log: CoreLog,
        applier: Rc<dyn Applier>,
    ) -> io::Result<Group> {
        let is_new = log.state(partition) == (None, None);
        let machine = Machine::recover(partition, node, log.clone(), applier).await?;
        let id = u64::from(node.0);
        let raft = Raft::new(id, config, Unconnected, GroupLog::new(log, partition), machine);
        let raft = raft.await.map_err(io::Error::other)?;
        let group = Group { raft };
        if is_new {
            let founded = group.raft.initialize(BTreeSet::from([id])).await;
            founded.map_err(io::Error::other)?;
        } else {
            group.raft.trigger().elect(false).await.map_err(io::Error::other)?;
        }
        group.lead().await?;
        Ok(group)
    }

    /// Waits until this node leads and has applied all that there is.
    async fn lead(&self) -> io::Result<()> {
        let mut metrics = self.raft.metrics();
        loop {
            {
                let now = metrics.borrow_watched();
                now.running_state.as_ref().map_err(|error| io::Error::other(error.to_string()))?;
                let applied = now.last_applied.map(|applied| applied.index);
                if now.state == ServerState::Leader && applied == now.last_log_index {
                    return Ok(());
                }
            }
            metrics.changed().await.map_err(io::Error::other)?;
        }
    }

    /// Puts a batch behind those that are there; `answer` hears when it is applied, or that it is not
    /// in the log. Nobody hears anything where the group ends first.
    ///
    /// # Errors
    /// The group has ended.
    pub(crate) async fn propose(
        &self,
        batch: Batch,
        answer: Answer<ClientWriteResult<Partitions>>,
    ) -> Result<(), Fatal<Partitions>> {
        self.raft.client_write_ff(batch, Some(answer)).await
    }

    /// Lets go of what the partition does not need of the log any more.
    ///
    /// # Errors
    /// The group has ended.
    pub(crate) async fn purge(&self) -> Result<(), Fatal<Partitions>> {
        self.raft.trigger().snapshot().await
    }

    /// Ends the group; what it has appended is written all the same.
    pub(crate) async fn shutdown(&self) {
        // A task of it that has panicked was told of then.
        drop(self.raft.shutdown().await);
    }
}

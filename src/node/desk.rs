//! Where nodes are let into the cluster: by any node, since the registry that decides is written
//! through the router, at the leader of the system partition.

use crate::cluster::book::Book;
use crate::cluster::join::{Question, Reply};
use crate::cluster::registry::{About, NodeRecord, NotAdmitted, Registry};
use crate::router::Router;
use futures::future::try_join_all;
use model::error::{SqlError, SqlState};
use model::id::{NodeId, PartitionId};
use model::placement::Replicas;
use runtime::time;
use std::net::SocketAddr;
use std::time::Duration;

/// Attempts at a row, of which another may write a later one meanwhile.
const ATTEMPTS: u32 = 16;
/// Between two attempts it is waited so long at most.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Rows that are written at a time.
const ROWS_AT_ONCE: usize = 64;

/// Answers nodes that are not in the cluster. One per core, cheap to clone.
#[derive(Clone)]
pub(super) struct Desk {
    router: Router,
    /// What is the same for all nodes.
    cluster: Book,
}

/// Why a node is not in the registry.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRegistered {
    /// It is not let in.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The registry cannot be read or written at present.
    #[error(transparent)]
    NotNow(#[from] SqlError),
}

impl Desk {
    pub(super) fn new(router: Router, cluster: Book) -> Desk {
        Desk { router, cluster }
    }

    /// Answers a question of a node.
    pub(super) async fn answer(&self, question: &[u8]) -> Reply {
        match Question::decode(question) {
            Ok(Question::Join { node, about }) => self.admit(node, about).await,
            Ok(Question::Where { cluster }) if cluster != self.cluster.cluster => {
                let (theirs, ours) = (cluster, self.cluster.cluster);
                let why = format!("it belongs to cluster {theirs:016x}, this is {ours:016x}");
                Reply::Refused { why }
            }
            Ok(Question::Where { .. }) => match self.router.registry().await {
                Ok(registry) => Reply::Here { book: self.cluster.with(&registry) },
                Err(error) => Reply::NotNow { why: error.to_string() },
            },
            Err(senseless) => Reply::Refused { why: senseless.to_string() },
        }
    }

    /// Writes a new node into the registry. One whose answer is lost asks again and gets another id:
    /// an id that may be in use is never given out twice.
    async fn admit(&self, wanted: Option<u32>, about: About) -> Reply {
        if let Some(why) = unreachable_at(&about) {
            return Reply::Refused { why };
        }
        for _attempt in 0..ATTEMPTS {
            let registry = match self.router.registry().await {
                Ok(registry) => registry,
                Err(error) => return Reply::NotNow { why: error.to_string() },
            };
            if registry.nodes().next().is_none() {
                return Reply::NotNow { why: "the cluster is being founded".to_owned() };
            }
            let record = match admitted(&registry, wanted.map(NodeId), &about) {
                Ok(record) => record,
                Err(why) => return Reply::Refused { why },
            };
            match self.router.record_node(&record).await {
                Ok(()) => {
                    let others = registry.nodes().cloned().chain([record.clone()]);
                    let all = Registry::new(others, registry.partitions().cloned());
                    log::info!(joined = record.id.0, native = about.native; "a node was let into the cluster");
                    return Reply::Admitted { node: record.id.0, book: self.cluster.with(&all) };
                }
                Err(error) if error.state() == SqlState::SERIALIZATION_FAILURE => pause().await,
                Err(error) => return Reply::NotNow { why: error.to_string() },
            }
        }
        Reply::NotNow { why: "too many nodes join at once".to_owned() }
    }

    /// Writes that a node has started: with the first one's row the cluster is founded.
    ///
    /// # Errors
    /// Why its row is not written.
    pub(super) async fn register(
        &self,
        node: NodeId,
        starts: u32,
        about: &About,
    ) -> Result<Registry, NotRegistered> {
        for _attempt in 0..ATTEMPTS {
            let registry = self.router.registry().await?;
            let founds = registry.nodes().all(|known| known.id == node);
            let record = match registry.nodes().find(|known| known.id == node) {
                // A node that was let in has been written down with its first start.
                Some(known) if (known.starts, &known.about) == (starts, about) => None,
                None if founds => {
                    let first = registry.admit(about.clone(), wall_clock_micros())?;
                    Some(NodeRecord { id: node, starts, ..first })
                }
                _ => Some(registry.admit_again(node, starts, about.clone())?),
            };
            if let Some(record) = &record {
                match self.router.record_node(record).await {
                    Ok(()) => {}
                    Err(error) if error.state() == SqlState::SERIALIZATION_FAILURE => {
                        pause().await;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if founds {
                self.found(node).await?;
            }
            return Ok(self.router.registry().await?);
        }
        let busy =
            SqlError::new(SqlState::SERIALIZATION_FAILURE, "the registry changes all the time");
        Err(busy.into())
    }

    /// Writes down, for the only node of the cluster, that all partitions are there.
    async fn found(&self, node: NodeId) -> Result<(), SqlError> {
        let registry = self.router.registry().await?;
        let known: Vec<PartitionId> = registry.partitions().map(|one| one.id).collect();
        let only = Replicas { voters: vec![node], learners: Vec::new() };
        let all = (0..=self.cluster.partitions).map(PartitionId);
        let rows: Vec<_> = all
            .filter(|partition| !known.contains(partition))
            .filter_map(|partition| registry.moved(partition, only.clone()))
            .collect();
        for rows in rows.chunks(ROWS_AT_ONCE) {
            try_join_all(rows.iter().map(|row| self.router.record_replicas(row))).await?;
        }
        Ok(())
    }
}

/// The row of a node that is let in, under the id that it wants if there is one.
fn admitted(
    registry: &Registry,
    wanted: Option<NodeId>,
    about: &About,
) -> Result<NodeRecord, String> {
    let next = registry.admit(about.clone(), wall_clock_micros()).map_err(|no| no.to_string())?;
    match wanted {
        None => Ok(next),
        Some(id) if registry.nodes().any(|known| known.id == id) => {
            Err(format!("node-id {id} is in use, or was: leave it out, or choose another"))
        }
        Some(id) => Ok(NodeRecord { id, ..next }),
    }
}

/// Why other nodes cannot reach one that says this of itself.
pub(super) fn unreachable_at(about: &About) -> Option<String> {
    about.cores.iter().find_map(|core| match core.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            Some(format!("core-listen is {address}: name an address that other nodes can reach"))
        }
        Ok(_) => None,
        Err(_) => Some(format!("{core:?} is no address of a core's door")),
    })
}

fn wall_clock_micros() -> i64 {
    i64::try_from(time::wall_clock().as_nanos() / 1_000).unwrap_or(i64::MAX)
}

async fn pause() {
    let most = PAUSE_MAX.as_micros() as u64;
    time::sleep(Duration::from_micros(runtime::random::below(most))).await;
}

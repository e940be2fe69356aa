//! What core 0 does for the node as a member of its cluster: its row of the registry, and what the
//! registry says of the others.

use super::NodeError;
use super::book_file;
use super::desk::{Desk, NotRegistered};
use super::entry::Home;
use crate::cluster::book::Book;
use crate::cluster::decide::Liveness;
use crate::cluster::driver::Gossip;
use crate::cluster::gossip::Peer;
use crate::cluster::registry::{About, Registry};
use crate::router::Router;
use model::id::NodeId;
use runtime::time;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the registry is read.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is said that it cannot be read.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);

/// Keeps the node in the registry, and tells of each change of it.
pub(super) struct Registration {
    pub(super) desk: Desk,
    pub(super) router: Router,
    pub(super) home: Arc<Home>,
    pub(super) about: About,
    /// Told of each registry that is not the one before.
    pub(super) changes: flume::Sender<Arc<Census>>,
    /// Who lives, where the node has anything to do with others.
    pub(super) gossip: Option<Gossip>,
}

/// What is known of the nodes.
#[derive(Debug, PartialEq)]
pub(super) struct Census {
    pub(super) registry: Registry,
    /// Those that seem not to live.
    pub(super) dead: BTreeSet<NodeId>,
}

impl Registration {
    /// Writes the node's row, and returns the registry with it.
    ///
    /// # Errors
    /// It is not let in.
    pub(super) async fn begin(&self) -> Result<Option<Arc<Census>>, NodeError> {
        let Home { identity, .. } = &*self.home;
        let registered = self.desk.register(self.home.node(), identity.starts, &self.about).await;
        match registered {
            Ok(registry) => Ok(Some(self.census(registry))),
            Err(NotRegistered::NotAdmitted(reason)) => Err(reason.into()),
            // A disk that is full, or a leader that is not there: the node serves what it can.
            Err(NotRegistered::NotNow(error)) => {
                log::warn!("the node cannot be registered now: {error}");
                Ok(None)
            }
        }
    }

    /// What follows from the registry as it is now, and from what is heard.
    fn census(&self, registry: Registry) -> Arc<Census> {
        let mut dead = BTreeSet::new();
        if let Some(gossip) = &self.gossip {
            gossip.register(registry.nodes().filter_map(Peer::of_record));
            let is_dead = |node: &NodeId| matches!(gossip.heard(*node).0, Liveness::Dead { .. });
            let others = registry.nodes().map(|node| node.id);
            dead = others.filter(|node| *node != self.home.node() && is_dead(node)).collect();
        }
        Arc::new(Census { registry, dead })
    }

    /// Reads the registry again and again, and writes down where the nodes are.
    ///
    /// # Errors
    /// The node is not let in.
    pub(super) async fn keep(
        self,
        data_dir: &Path,
        mut known: Option<Arc<Census>>,
    ) -> Result<(), NodeError> {
        let mut registered = known.is_some();
        let mut written: Option<Book> = None;
        let mut complained = None;
        loop {
            if let Some(census) = &known {
                let book = self.home.book.with(&census.registry);
                if written.as_ref() != Some(&book) {
                    match book_file::write(data_dir, &book).await {
                        Ok(()) => written = Some(book),
                        Err(error) => log::warn!("where the nodes are cannot be written: {error}"),
                    }
                }
            }
            time::sleep(READ_INTERVAL).await;
            let read = match registered {
                true => self.router.registry().await.map(|registry| Some(self.census(registry))),
                false => {
                    let begun = self.begin().await?;
                    registered = begun.is_some();
                    Ok(begun)
                }
            };
            match read {
                Ok(Some(census)) if known.as_ref() != Some(&census) => {
                    known = Some(census.clone());
                    if self.changes.send_async(census).await.is_err() {
                        // The core ends.
                        return Ok(());
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    let due = complained
                        .is_none_or(|at: time::Instant| at.elapsed() > COMPLAINT_INTERVAL);
                    if due {
                        log::warn!("the registry of the cluster cannot be read: {error}");
                        complained = Some(time::now());
                    }
                }
            }
        }
    }
}

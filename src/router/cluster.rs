//! A router's part in the cluster: it tells of its core's replicas and has them do what the worker
//! orders, and on the core that leads the system partition it is the worker's hands.

mod replicas;
#[cfg(test)]
mod tests;

use super::Router;
use super::peers::{Answer, Call};
use crate::cluster::decide::{Liveness, Load, Policy};
use crate::cluster::driver::Gossip;
use crate::cluster::gossip::Peer;
use crate::cluster::groups::{Groups, ReplicaReport};
use crate::cluster::orders::{Order, What};
use crate::cluster::registry::{PartitionRecord, Registry};
use crate::cluster::wants::{self, Wish};
use crate::cluster::worker::{Hands, Worker};
use futures::future::{LocalBoxFuture, join_all};
use futures::lock::Mutex;
use model::error::{SqlError, SqlState};
use model::id::{CoreId, NodeId, PartitionId};
use model::placement::{Place, core_of};
use rkyv::{Archive, Deserialize, Serialize};
use runtime::sync::Notify;
use runtime::{time, watchdog};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How long a look at the cluster takes at most, for a table of it.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

/// What routers ask each other about the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum ClusterCall {
    /// What do the replicas of your core say of themselves?
    Replicas,
    /// Have a replica of your core do this. Answered when it is done.
    Order(Order),
    /// To core 0 of a node: which of these live, as far as it knows?
    Heard(Vec<NodeId>),
    /// For how many microseconds have the tasks of your core run?
    Busy,
    /// To the core that leads the system partition: an operator wants this.
    Wish(Wish),
}

/// What they answer.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum ClusterAnswer {
    /// Done.
    Done,
    /// These.
    Replicas(Vec<ReplicaReport>),
    /// In the order in which they were asked for.
    Heard(Vec<Liveness>),
    /// So many.
    Busy(u64),
}

/// What a router keeps of the cluster.
#[derive(Default)]
pub(super) struct ClusterPart {
    /// On core 0.
    gossip: RefCell<Option<Gossip>>,
    /// Who reads the registry to change it.
    turn: Mutex<()>,
    /// Tells the worker that there may be something to do.
    wake: Rc<Notify>,
}

/// The cluster, as somebody looks at it.
pub struct ClusterView {
    /// Its nodes and partitions.
    pub registry: Registry,
    /// Whether the nodes live, as far as this node knows.
    pub heard: BTreeMap<NodeId, Liveness>,
    /// The groups, as far as their nodes answer.
    pub groups: Groups,
}

impl Router {
    /// Says where this router hears of other nodes. On core 0, once.
    pub fn hear_by(&self, gossip: Gossip) {
        *self.inner.cluster.gossip.borrow_mut() = Some(gossip);
    }

    /// Sees to where replicas are, whenever this core leads the system partition.
    pub async fn keep_placement(&self, policy: Policy) {
        let wake = self.inner.cluster.wake.clone();
        Worker::new(RouterHands { router: self.clone() }, policy, wake).run().await;
    }

    /// The worker looks at once.
    pub(super) fn wake_worker(&self) {
        self.inner.cluster.wake.notify_one();
    }

    /// Reads the registry and writes what follows from it, one at a time on this core.
    ///
    /// # Errors
    /// Those of `change`, and 40001 where another core has written meanwhile.
    pub async fn change_registry<T>(
        &self,
        change: impl AsyncFnOnce(&Router, &Registry) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let cluster = &self.inner.cluster;
        let _turn = cluster.turn.lock().await;
        let registry = self.registry().await?;
        change(self, &registry).await
    }

    /// Asks for what an operator wants, wherever that is decided.
    ///
    /// # Errors
    /// A [`Refusal`](wants::Refusal), or nobody decides at the moment.
    pub async fn wish(&self, wish: Wish) -> Result<(), SqlError> {
        let call = Call::Cluster(ClusterCall::Wish(wish));
        // What was granted before is granted again.
        match self.ask_leader(PartitionId::SYSTEM, call, true).await? {
            Answer::Cluster(ClusterAnswer::Done) => Ok(()),
            other => Err(SqlError::internal(format!("a wish is answered with {other:?}"))),
        }
    }

    /// How the cores of this node are doing, in microseconds that their tasks have run.
    ///
    /// # Errors
    /// A core is stopping.
    pub async fn busy_micros(&self) -> Result<u64, SqlError> {
        let cores = self.inner.peers.cores().map(|core| self.inner.peers.place(core));
        let asked = cores.map(|core| self.ask_cluster(core, ClusterCall::Busy));
        let mut sum = 0;
        for answer in join_all(asked).await {
            match answer? {
                ClusterAnswer::Busy(micros) => sum += micros,
                other => return Err(unexpected(&other)),
            }
        }
        Ok(sum)
    }

    /// A look at the whole cluster.
    ///
    /// # Errors
    /// The registry cannot be read in time.
    pub async fn cluster_view(&self) -> Result<ClusterView, SqlError> {
        let late = |_elapsed| {
            SqlError::new(SqlState::CANNOT_CONNECT_NOW, "the registry cannot be read in time")
        };
        let registry = time::timeout(LOOK_WITHIN, self.registry()).await.map_err(late)??;
        let nodes: Vec<NodeId> = registry.nodes().map(|node| node.id).collect();
        let here = self.inner.peers.place(CoreId(0));
        let heard = match self.ask_cluster(here, ClusterCall::Heard(nodes.clone())).await? {
            ClusterAnswer::Heard(heard) => nodes.into_iter().zip(heard).collect(),
            other => return Err(unexpected(&other)),
        };
        let is_dead = |node| matches!(BTreeMap::get(&heard, &node), Some(Liveness::Dead { .. }));
        let asked = registry.nodes().filter(|node| !is_dead(node.id)).map(async |node| {
            let replicas = self.replicas_of(node.id, node.cores());
            let told = time::timeout(LOOK_WITHIN, replicas).await;
            Some((node.id, told.ok()?.ok()?))
        });
        let told = join_all(asked).await;
        Ok(ClusterView { groups: Groups::new(told.into_iter().flatten()), registry, heard })
    }

    async fn ask_cluster(&self, to: Place, call: ClusterCall) -> Result<ClusterAnswer, SqlError> {
        match self.inner.peers.call(to, Call::Cluster(call)).await? {
            Answer::Cluster(answer) => Ok(answer),
            other => Err(SqlError::internal(format!(
                "a router answered a question about the cluster with {other:?}"
            ))),
        }
    }

    /// Answers another router.
    pub(super) async fn handle_cluster_call(&self, call: ClusterCall) -> Result<Answer, SqlError> {
        let answer = match call {
            ClusterCall::Replicas => ClusterAnswer::Replicas(replicas::reports(self.engine())),
            ClusterCall::Order(order) => {
                self.carry_out(order).await?;
                ClusterAnswer::Done
            }
            ClusterCall::Heard(nodes) => {
                let heard = nodes.into_iter().map(|node| self.heard(node).0);
                ClusterAnswer::Heard(heard.collect())
            }
            ClusterCall::Busy => {
                let micros = watchdog::report().busy.as_micros();
                ClusterAnswer::Busy(u64::try_from(micros).unwrap_or(u64::MAX))
            }
            ClusterCall::Wish(_) if !self.leads_system() => return Ok(self.not_the_keeper()),
            ClusterCall::Wish(wish) => {
                self.grant_wish(wish).await?;
                ClusterAnswer::Done
            }
        };
        Ok(Answer::Cluster(answer))
    }

    /// Whether a node lives. Without gossip this node is alone, and nobody else does.
    fn heard(&self, node: NodeId) -> (Liveness, Load) {
        let gossip = self.inner.cluster.gossip.borrow();
        match &*gossip {
            Some(gossip) => gossip.heard(node),
            None if node == self.engine().node() => (Liveness::Alive, Load::default()),
            None => (Liveness::Dead { lasting: Duration::ZERO }, Load::default()),
        }
    }

    async fn grant_wish(&self, wish: Wish) -> Result<(), SqlError> {
        self.change_registry(async |router, registry| {
            let heard = |node| router.heard(node).0;
            match wish {
                Wish::Node(node, wanted) => match wants::want(registry, heard, node, wanted)? {
                    Some(row) => router.record_node(&row).await,
                    None => Ok(()),
                },
                Wish::Leader(partition, node) => {
                    wants::may_lead(registry, heard, partition, node)?;
                    router.transfer(registry, partition, node).await
                }
            }
        })
        .await
    }

    /// Has whoever leads a partition give that away.
    async fn transfer(
        &self,
        registry: &Registry,
        partition: PartitionId,
        to: NodeId,
    ) -> Result<(), SqlError> {
        let leader = self.leading_place(partition);
        let place = leader.and_then(|leader| registry.place(partition, leader.node));
        let place = place.ok_or_else(|| {
            SqlError::new(
                SqlState::CANNOT_CONNECT_NOW,
                format!("nobody leads partition {partition}"),
            )
        })?;
        if place.node == to {
            return Ok(());
        }
        let order = Order { partition, what: What::Transfer(to) };
        self.ask_cluster(place, ClusterCall::Order(order)).await.map(drop)
    }

    fn leads_system(&self) -> bool {
        self.leads_in(PartitionId::SYSTEM).is_some()
    }

    /// Has this core's replica do what is ordered, if that still makes sense.
    async fn carry_out(&self, order: Order) -> Result<(), SqlError> {
        let engine = self.engine();
        let partition = order.partition;
        let cores = self.inner.peers.cores().count() as u16;
        if core_of(partition, cores) != engine.core() {
            return Err(SqlError::internal(format!("partition {partition} is of another core")));
        }
        replicas::carry_out(engine, order).await
    }

    async fn replicas_of(&self, node: NodeId, cores: u16) -> Result<Vec<ReplicaReport>, SqlError> {
        let places = (0..cores).map(|core| Place { node, core: CoreId(core) });
        let asked = places.map(|place| self.ask_cluster(place, ClusterCall::Replicas));
        let mut all = Vec::new();
        for answer in join_all(asked).await {
            match answer? {
                ClusterAnswer::Replicas(mut replicas) => all.append(&mut replicas),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(all)
    }
}

fn unexpected(answer: &ClusterAnswer) -> SqlError {
    SqlError::internal(format!("a question about the cluster is answered with {answer:?}"))
}

/// The worker's hands.
struct RouterHands {
    router: Router,
}

impl Hands for RouterHands {
    fn leads(&self) -> bool {
        self.router.leads_system()
    }

    fn heard(&self, node: NodeId) -> (Liveness, Load) {
        self.router.heard(node)
    }

    fn registry(&self) -> LocalBoxFuture<'_, Result<Registry, SqlError>> {
        Box::pin(async move {
            let registry = self.router.registry().await?;
            if let Some(gossip) = &*self.router.inner.cluster.gossip.borrow() {
                gossip.register(registry.nodes().filter_map(Peer::of_record));
            }
            Ok(registry)
        })
    }

    fn record(&self, row: PartitionRecord) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(async move { self.router.record_replicas(&row).await })
    }

    fn replicas(
        &self,
        node: NodeId,
        cores: u16,
    ) -> LocalBoxFuture<'_, Result<Vec<ReplicaReport>, SqlError>> {
        Box::pin(self.router.replicas_of(node, cores))
    }

    fn order(&self, to: Place, order: Order) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(
            async move { self.router.ask_cluster(to, ClusterCall::Order(order)).await.map(drop) },
        )
    }
}

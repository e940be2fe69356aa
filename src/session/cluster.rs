//! `ALTER SYSTEM`, and the rows of `phantom.nodes` and `phantom.partitions`.
//!
//! A statement that names one of the tables looks at the whole cluster as it begins. Where it cannot,
//! since the system partition is not led, the tables show what this node knows of itself.

use super::Session;
use super::tables::NamedRow;
use crate::cluster::decide::{Liveness, Wanted};
use crate::cluster::registry::{NodeRecord, PartitionRecord};
use crate::cluster::wants::Wish;
use crate::router::cluster::ClusterView;
use model::error::SqlError;
use model::id::{NodeId, PartitionId};
use model::placement::Replicas;
use model::value::Value;
use std::rc::Rc;

fn number(number: u32) -> Value {
    Value::Int(i64::from(number))
}

fn ids(nodes: &[NodeId]) -> Value {
    Value::array(nodes.iter().map(|node| number(node.0)).collect())
}

impl Session {
    /// `ALTER SYSTEM`
    ///
    /// # Errors
    /// 42704 and 55000 where it is refused; 57P03 where nobody decides now.
    pub(super) async fn wish(&self, wish: Wish) -> Result<(), SqlError> {
        self.host.router.wish(wish).await
    }

    /// Looks at the cluster, where that is possible.
    pub(super) async fn look_at_cluster(&self) -> Option<Rc<ClusterView>> {
        match self.host.router.cluster_view().await {
            // Before the first node is in the registry there is nothing to be seen.
            Ok(view) => Some(Rc::new(view)).filter(|view| view.has_nodes()),
            Err(error) => {
                log::warn!("the cluster cannot be looked at: {error}");
                None
            }
        }
    }
}

impl ClusterView {
    fn has_nodes(&self) -> bool {
        self.registry.nodes().next().is_some()
    }

    /// Where a partition's replicas are: as its leader says, or as was last written down.
    fn replicas(&self, row: &PartitionRecord) -> Replicas {
        let group = self.groups.get(row.id).and_then(|group| group.leading.as_ref());
        group.map_or_else(|| row.replicas.clone(), |leading| leading.members.replicas())
    }

    fn leader(&self, partition: PartitionId) -> Option<NodeId> {
        let leading = self.groups.get(partition)?.leading.as_ref()?;
        Some(leading.node)
    }

    /// The rows of `phantom.nodes`; one that was removed and is gone is not among them.
    pub(super) fn node_rows(&self) -> Vec<NamedRow> {
        let rows = self.registry.nodes().map(|node| {
            let holds = |row: &&PartitionRecord| self.replicas(row).nodes().any(|id| id == node.id);
            let held = self.registry.partitions().filter(holds).count();
            (node, held)
        });
        let is_gone = |node: &NodeRecord, held: usize| {
            node.wanted == Wanted::Decommissioned && held == 0 && self.is_dead(node.id)
        };
        rows.filter(|(node, held)| !is_gone(node, *held))
            .map(|(node, held)| self.node_row(node, held))
            .collect()
    }

    fn is_dead(&self, node: NodeId) -> bool {
        matches!(self.heard.get(&node), None | Some(Liveness::Dead { .. }))
    }

    fn node_row(&self, node: &NodeRecord, held: usize) -> NamedRow {
        let about = &node.about;
        let partitions = self.registry.partitions();
        let leaders = partitions.filter(|row| self.leader(row.id) == Some(node.id)).count();
        let cores = about.cores.iter().map(|core| Value::text(core.as_str()));
        vec![
            ("id", number(node.id.0)),
            ("address", Value::text(about.native.as_str())),
            ("state", Value::text(self.state(node, held))),
            ("cores", Value::Int(i64::from(node.cores()))),
            ("partitions", Value::Int(held as i64)),
            ("leaders", Value::Int(leaders as i64)),
            ("version", Value::text(about.software.as_str())),
            ("core_addresses", Value::array(cores.collect())),
            ("pg_address", about.pg.as_deref().map_or(Value::Null, Value::text)),
        ]
    }

    /// How a node is, and how far it has come with what is wanted of it.
    fn state(&self, node: &NodeRecord, held: usize) -> &'static str {
        match (node.wanted, self.heard.get(&node.id)) {
            (_, None | Some(Liveness::Dead { .. })) => "dead",
            (Wanted::Draining, _) if held > 0 => "draining",
            (Wanted::Draining, _) => "drained",
            (Wanted::Decommissioned, _) if held > 0 => "removing",
            (Wanted::Decommissioned, _) => "removed",
            (Wanted::Active, Some(Liveness::Suspect)) => "suspect",
            (Wanted::Active, Some(Liveness::Alive)) => "alive",
        }
    }

    /// The rows of `phantom.partitions`.
    pub(super) fn partition_rows(&self) -> Vec<NamedRow> {
        let row = |row: &PartitionRecord| {
            let place = self.leader(row.id).and_then(|node| self.registry.place(row.id, node));
            let replicas = self.replicas(row);
            let system = row.id == PartitionId::SYSTEM;
            vec![
                ("id", number(row.id.0)),
                ("leader_node", place.map_or(Value::Null, |place| number(place.node.0))),
                ("leader_core", place.map_or(Value::Null, |place| number(place.core.0.into()))),
                ("holds", Value::text(if system { "system" } else { "rows" })),
                ("voters", ids(&replicas.voters)),
                ("learners", ids(&replicas.learners)),
            ]
        };
        self.registry.partitions().map(row).collect()
    }
}

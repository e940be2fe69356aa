//! Carries out what [`decide`](super::decide) says: on the core that leads the system partition.
//!
//! ```text
//!        ┌── rows of the registry ──┐
//!  look ─┼── who lives, how busy ───┼─► snapshot ─► decide ─► moves ─► orders for replicas
//!        └── groups, as they are ───┘                           │
//!    ▲                                                          │
//!    └───── a move is over, or a second has passed ◄────────────┘
//! ```
//!
//! **What there is is the truth**: the members of a group are those that its leader says. The rows of
//! the registry follow it, for whoever looks for a replica. The worker itself remembers nothing that
//! matters: one that dies anywhere is followed by one that looks and goes on. Two at a time do no harm,
//! since every order says what its sender has seen ([`orders`](super::orders)).
//!
//! **Replicas that a group does not know** are of a node that was away while they were removed, or were
//! begun by a worker that died before their group heard of them. Nobody but the worker removes them,
//! and only once the group's leader and a quorum have said again that the node takes no part.

mod carry;
mod moves;
#[cfg(test)]
mod tests;
mod why;

use super::decide::{self, Liveness, Load, Policy, Step, decide};
use super::groups::{Groups, ReplicaReport};
use super::orders::Order;
use super::registry::{PartitionRecord, Registry};
use carry::{Move, carry_out};
use futures::future::{LocalBoxFuture, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, select_biased};
use model::error::SqlError;
use model::id::{NodeId, PartitionId};
use model::placement::Place;
use moves::Moves;
use runtime::sync::Notify;
use runtime::time;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How often the worker looks, where nothing has it look sooner.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same, of a node that is alone.
const LOOK_ALONE_EVERY: Duration = Duration::from_secs(10);
/// How long a node is waited for that is asked for its replicas.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What the worker asks and orders: by a router, or of a model.
pub trait Hands {
    /// Whether this core leads the system partition, as far as it knows.
    fn leads(&self) -> bool;
    /// Whether a node lives, and how busy it is.
    fn heard(&self, node: NodeId) -> (Liveness, Load);
    /// The rows.
    fn registry(&self) -> LocalBoxFuture<'_, Result<Registry, SqlError>>;
    /// Writes where a partition's replicas are. Fails where a later row is there.
    fn record(&self, row: PartitionRecord) -> LocalBoxFuture<'_, Result<(), SqlError>>;
    /// The replicas of a node of so many cores, as they see themselves.
    fn replicas(
        &self,
        node: NodeId,
        cores: u16,
    ) -> LocalBoxFuture<'_, Result<Vec<ReplicaReport>, SqlError>>;
    /// Has a core do something with its replica. What comes of it is not known where this fails.
    fn order(&self, to: Place, order: Order) -> LocalBoxFuture<'_, Result<(), SqlError>>;
}

/// See the module's head. One per core that may lead the system partition.
pub struct Worker<H> {
    hands: H,
    policy: Policy,
    wake: Rc<Notify>,
}

/// All that the worker has looked at.
struct Look {
    registry: Registry,
    groups: Groups,
}

impl<H: Hands> Worker<H> {
    /// One that has it done by `hands`. It looks at once when `wake` is told.
    pub fn new(hands: H, policy: Policy, wake: Rc<Notify>) -> Worker<H> {
        Worker { hands, policy, wake }
    }

    /// Works whenever this core leads the system partition, for as long as it is polled.
    pub async fn run(&self) {
        loop {
            while !self.hands.leads() {
                time::sleep(LOOK_EVERY).await;
            }
            log::info!("this core sees to where replicas are");
            self.work().await;
            log::info!("this core no longer sees to where replicas are");
        }
    }

    /// Looks and moves until another core leads.
    async fn work(&self) {
        let mut moves = Moves::default();
        let mut under_way = FuturesUnordered::new();
        let mut complained = None;
        while self.hands.leads() {
            let mut pause = LOOK_EVERY;
            match self.look().await {
                Ok(look) => {
                    complained = None;
                    if look.registry.nodes().nth(1).is_none() {
                        pause = LOOK_ALONE_EVERY;
                    }
                    for (next, why) in self.next_moves(&look, &moves) {
                        let partition = next.partition();
                        moves.begin(&next);
                        let orders = carry::orders(&next, &look.registry);
                        let carried = carry_out(&self.hands, next, why, orders);
                        under_way.push(carried.map(move |result| (partition, result)));
                    }
                }
                // Once is enough of what goes on and on.
                Err(error) if complained.as_ref() == Some(&error) => {}
                Err(error) => {
                    log::warn!("where replicas are cannot be looked at: {error}");
                    complained = Some(error);
                }
            }
            select_biased! {
                (partition, result) = under_way.select_next_some() => {
                    moves.end(partition, &result);
                }
                () = self.wake.notified().fuse() => {}
                () = time::sleep(pause).fuse() => {}
            }
            // Those that ended meanwhile need no look each.
            while let Some(Some((partition, result))) = under_way.next().now_or_never() {
                moves.end(partition, &result);
            }
        }
    }

    /// Looks at all there is, and has the rows follow it.
    async fn look(&self) -> Result<Look, SqlError> {
        let mut registry = self.hands.registry().await?;
        let asked = registry.nodes().filter_map(|node| {
            let is_dead = matches!(self.hands.heard(node.id).0, Liveness::Dead { .. });
            let (id, cores) = (node.id, node.cores());
            let replicas = || time::timeout(ANSWER_WITHIN, self.hands.replicas(id, cores));
            (!is_dead).then(|| replicas().map(move |told| (id, told)))
        });
        let told = join_all(asked).await.into_iter().filter_map(|(node, told)| match told {
            Ok(Ok(reports)) => Some((node, reports)),
            Ok(Err(error)) => {
                log::debug!(node = node.0; "a node does not tell of its replicas: {error}");
                None
            }
            Err(_elapsed) => None,
        });
        let groups = Groups::new(told);
        for (partition, group) in groups.iter() {
            let Some(leading) = &group.leading else { continue };
            if let Some(row) = registry.moved(partition, leading.members.replicas()) {
                self.hands.record(row.clone()).await?;
                registry.note(row);
            }
        }
        Ok(Look { registry, groups })
    }

    /// What is to be done now, and why.
    fn next_moves(&self, look: &Look, moves: &Moves) -> Vec<(Move, String)> {
        let heard: BTreeMap<NodeId, (Liveness, Load)> =
            look.registry.nodes().map(|node| (node.id, self.hands.heard(node.id))).collect();
        let snapshot = look.registry.snapshot(
            |node| heard[&node],
            |partition| {
                let mut view = look.groups.view(partition, moves.rests(partition));
                view.leader = view.leader.filter(|_| !moves.hands_over(partition));
                view
            },
        );
        // Whoever leads without a row of its own would be taken for lost: it is being let in.
        let known = |partition: &decide::Partition| {
            partition.leader.is_none_or(|leader| heard.contains_key(&leader))
        };
        let steps = match snapshot.partitions.iter().all(known) {
            true => decide(&snapshot, &self.policy),
            false => Vec::new(),
        };
        let stepping: Vec<PartitionId> = steps.iter().map(Step::partition).collect();
        let resting = |partition| !moves.rests(partition) && !stepping.contains(&partition);
        let steps = steps.iter().filter_map(|step| {
            let leading = look.groups.get(step.partition())?.leading.as_ref()?;
            Some((Move::of(step, leading), why::why(step, &snapshot, &self.policy)))
        });
        let mut next: Vec<(Move, String)> = steps.collect();
        let room = self.policy.steps_max.saturating_sub(moves.count() + next.len());
        let mends = look.groups.iter().filter(|(partition, _)| resting(*partition));
        let mends = mends.filter_map(|(partition, group)| carry::mend(partition, group, look));
        next.extend(mends.take(room));
        next
    }
}

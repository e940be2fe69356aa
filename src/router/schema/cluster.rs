//! Changes of the schema over several nodes: who is told, and what becomes of a change whose maker is
//! gone.

use super::PUBLISH_MAX;
use crate::catalog::Catalog;
use crate::catalog::change::difference;
use crate::router::Router;
use crate::router::gates::TURN;
use crate::router::peers::{Answer, Call, CallError, Publication};
use model::error::{SqlError, SqlState};
use model::id::{CatalogVersion, CoreId, NodeId, ObjectId, Term, TxnId};
use model::placement::Place;
use runtime::time;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a fence raises the version of the catalog by. More than a transaction gives out: of those that it
/// ends none has used a version that comes after it.
const FENCE_STEP: u64 = 1 << 20;
/// How often a fence tries to be the only one.
const FENCES_MAX: u32 = 10;
/// How often a core looks after the changes of other nodes that keep its gates closed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks without a sign of the maker after which a change is ended.
const SILENT_MAX: u32 = 2;
/// How often a node that cannot be reached is tried again.
const REACH_EVERY: Duration = Duration::from_millis(500);

impl Router {
    /// All cores of these nodes and of this one.
    pub(in crate::router) fn places_of(&self, nodes: &[(NodeId, u16)]) -> Vec<Place> {
        let here = self.peers().here().node;
        let own = self.peers().cores().map(|core| self.peers().place(core));
        let others = nodes.iter().filter(|(node, _)| *node != here).flat_map(|(node, cores)| {
            (0..*cores).map(|core| Place { node: *node, core: CoreId(core) })
        });
        own.chain(others).collect()
    }

    /// Tells these cores. A node that cannot be reached is tried again until it may serve no more. Returns
    /// those.
    ///
    /// # Errors
    /// What a core answers instead; 55P03 where a node that cannot be reached may serve for longer than
    /// the limit.
    pub(super) async fn tell_serving(
        &self,
        places: &[Place],
        call: Call,
        limit: Duration,
    ) -> Result<Vec<NodeId>, SqlError> {
        let told = places.iter().map(|place| self.tell_one(*place, call.clone(), limit));
        // All are heard: what is begun with one is not to go on behind the others' failure.
        let told = futures::future::join_all(told).await;
        let gone: Vec<Option<NodeId>> = told.into_iter().collect::<Result<_, SqlError>>()?;
        Ok(gone.into_iter().flatten().collect())
    }

    async fn tell_one(
        &self,
        place: Place,
        call: Call,
        limit: Duration,
    ) -> Result<Option<NodeId>, SqlError> {
        let (until, here) = (time::now() + limit, self.peers().here().node);
        let insists = matches!(call, Call::Publish(_));
        loop {
            let why = match self.peers().ask(place, call.clone()).await {
                Ok(_done) => return Ok(None),
                // A catalog that it cannot read now it can read in a moment.
                Err(CallError::Refused(error)) if insists && place.node != here => {
                    error.to_string()
                }
                Err(CallError::Refused(error)) => return Err(error),
                Err(CallError::Unreached { why, .. }) => why.to_string(),
            };
            let left = self.lease_left_of(place.node).await?;
            if left.is_zero() {
                log::info!(node = place.node.0; "a change of the schema goes on without a node: {why}");
                return Ok(Some(place.node));
            }
            if time::now() >= until {
                return Err(SqlError::new(
                    SqlState::LOCK_NOT_AVAILABLE,
                    format!("node {} cannot be told of a change of the schema", place.node),
                )
                .detail(format!("It may still run statements, and cannot be reached: {why}"))
                .hint("Try again in a few seconds."));
            }
            time::sleep(left.min(REACH_EVERY)).await;
        }
    }

    /// Ends all changes of the schema that have not committed, whoever makes them: it raises the version
    /// that they must find. One that is committing is waited for.
    ///
    /// # Errors
    /// The catalog cannot be read or written.
    pub(in crate::router) async fn fence(&self) -> Result<(), SqlError> {
        let mut attempt = 1;
        loop {
            let stored = self.stored_catalog().await?.unwrap_or_else(Catalog::bootstrap);
            let raised = stored.with_version(CatalogVersion(stored.version.0 + FENCE_STEP));
            match self.store(&difference(&stored, &raised)?, &stored).await {
                Ok(()) => return self.adopt_stored().await,
                Err(error) if error.state().is_retryable() && attempt < FENCES_MAX => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the turn to a change that has waited for it, in the term in which it was asked for.
    pub(super) async fn hand_over_turn_of(
        &self,
        change: TxnId,
        term: Term,
    ) -> Result<Answer, SqlError> {
        self.inner.turn_term.set(Some(term));
        self.fence_once(term).await?;
        let Some(serving) = self.lease_holders(term).await? else {
            return Ok(self.not_the_keeper());
        };
        if !self.gates().is_closed_by(change, TURN) {
            // Somebody has taken its maker to be gone.
            return Err(SqlError::new(
                SqlState::SERIALIZATION_FAILURE,
                "the turn to change the schema was lost while it was given",
            )
            .hint("Retry the transaction."));
        }
        log::debug!("change {change} has the turn to change the schema");
        let version = self.inner.schema_version.get().max(self.catalog_version());
        Ok(Answer::Turn { version, serving })
    }

    /// Takes the turn back. The catalog of whoever has the turn next is this core's.
    pub(super) async fn end_turn(self, change: TxnId) -> Result<Answer, SqlError> {
        if self.keeps().is_none() {
            return Ok(self.not_the_keeper());
        }
        let read = self.adopt_stored().await;
        self.gates().open(change, &[TURN]);
        read.map(|()| Answer::Done)
    }

    /// Sees to it that a change can happen no more if it has not. On the keeper.
    pub(in crate::router) async fn settle_change(&self, change: TxnId) -> Result<Answer, SqlError> {
        let Some(term) = self.keeps() else { return Ok(self.not_the_keeper()) };
        self.fence_once(term).await?;
        if self.gates().is_closed_by(change, TURN) {
            self.fence().await?;
            self.gates().open(change, &[TURN]);
        }
        // Whoever is the keeper by now has fenced for itself.
        Ok(Answer::Done)
    }

    /// It is not known whether a change has committed: makes it known, and tells all.
    pub(super) async fn settle_doubt(&self, change: TxnId, places: &[Place]) {
        loop {
            let settled = async {
                self.ask_keeper(Call::Settle(change)).await?;
                self.adopt_stored().await?;
                let call = Call::Publish(Publication::Stored(self.catalog_version()));
                self.tell_serving(places, call, PUBLISH_MAX).await
            };
            match settled.await {
                Ok(_gone) => return,
                Err(error) => {
                    log::warn!(
                        "it is not known what has become of a change of the schema: {error}"
                    );
                    time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Looks after the changes of other nodes that keep gates of this core closed: one whose maker is gone,
    /// or that has ended without this core having been told, is settled, and its gates are opened. As
    /// long as the core lives.
    pub(in crate::router) async fn watch_changes(&self) {
        if self.peers().is_alone() {
            return std::future::pending().await;
        }
        let mut silent: BTreeMap<TxnId, u32> = BTreeMap::new();
        loop {
            time::sleep(LOOK_EVERY).await;
            let closed = self.gates().closed();
            silent.retain(|change, _| closed.contains_key(change));
            for (change, tables) in closed {
                if tables.contains(&TURN) && self.keeps() != self.inner.turn_term.get() {
                    // Whoever keeps the turn now gives it anew.
                    self.gates().open(change, &[TURN]);
                    continue;
                }
                if change.node == self.peers().here().node || self.is_changing(change).await {
                    silent.remove(&change);
                    continue;
                }
                let looks = silent.entry(change).or_default();
                *looks += 1;
                if *looks >= SILENT_MAX
                    && let Err(error) = self.end_change_of(change, &tables).await
                {
                    log::warn!(
                        "a change of the schema whose maker is gone cannot be ended: {error}"
                    );
                }
            }
        }
    }

    async fn is_changing(&self, change: TxnId) -> bool {
        let place = Place { node: change.node, core: change.core };
        let asked = self.peers().ask(place, Call::IsChanging(change)).await;
        matches!(asked, Ok(Answer::Count(count)) if count > 0)
    }

    async fn end_change_of(&self, change: TxnId, tables: &[ObjectId]) -> Result<(), SqlError> {
        self.ask_keeper(Call::Settle(change)).await?;
        self.adopt_stored().await?;
        log::info!("the gates that change {change} had closed are opened: its maker is gone");
        self.gates().open(change, tables);
        Ok(())
    }
}

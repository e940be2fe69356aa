//! Leases: a node serves statements only while it is sure that no change of the schema goes on without
//! it.
//!
//! ```text
//!  core 0 of a node ── Renew, once a second ──► keeper: core 0 of the node that leads the system
//!      ▲   until = when it asked + LEASE              │  partition
//!      │                                              ▼
//!  other cores ── Left                           Register: until = when it answered + LEASE + MARGIN
//!
//!  a change of the schema ── closes gates, publishes at all that may have a lease ──► who cannot be
//!  reached is waited for until its lease is over for sure
//! ```
//!
//! * **A node that is cut off** finds its lease over before the change goes on, and refuses
//!   statements and commits (57P03). [`MARGIN`] is for what it sent before, on its way to a partition,
//!   and for clocks that run at different speeds.
//! * **A node that gets a lease anew** (a start, a return) reads the stored catalog before it serves.
//!   It gets none while somebody has the turn to change the schema: its gates are not closed.
//! * **A lost publication** is made good by the next renewal, which tells the version of the catalog.
//! * **A new keeper** knows neither who has a lease nor who had the turn. It waits until the leases
//!   of before are over where it must know them all, and *fences* before it gives the first new one
//!   or the turn: it raises the version of the stored catalog, so that no change that began before can
//!   commit ([`super::schema`]).
//!
//! A node that is alone has no lease and needs none.

mod own;
mod register;
#[cfg(test)]
mod tests;

pub(super) use own::Own;
pub(super) use register::Register;

use super::Router;
use super::gates::TURN;
use super::peers::{Answer, Call};
use model::error::{SqlError, SqlState};
use model::id::{CatalogVersion, CoreId, NodeId, Term};
use rkyv::{Archive, Deserialize, Serialize};
use runtime::time;
use std::time::Duration;

/// How long a node may serve after it has asked for it.
pub const LEASE: Duration = Duration::from_secs(4);
/// How much longer its keeper waits.
pub const MARGIN: Duration = Duration::from_secs(2);
/// How often a lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How soon it is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(200);
/// How long a statement waits where the lease has run out.
const LATE_MAX: Duration = Duration::from_secs(5);
/// How often it looks.
const LATE_LOOK: Duration = Duration::from_millis(20);
/// The core of the system partition on every node: the one that asks for the node's lease.
pub(super) const KEEPING_CORE: CoreId = CoreId(0);

/// What routers ask each other about leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum LeaseCall {
    /// To the keeper: let this node serve for another while.
    Renew {
        /// The node.
        node: NodeId,
        /// How many cores it has.
        cores: u16,
        /// Whether it has a lease when it asks.
        holds: bool,
    },
    /// To core 0 of the own node: how much is left of its lease?
    Left,
    /// To the keeper: may this node have a lease?
    MayHold(NodeId),
    /// To the keeper: which nodes may have one? Answered when that can be told.
    Holders,
}

/// What they answer.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum LeaseAnswer {
    /// The node may serve for so long from when it asked.
    Granted {
        /// So long.
        good_for: Duration,
        /// The lease it had goes on. Otherwise the node reads the catalog before it serves.
        renewed: bool,
        /// The version of the catalog that is published.
        version: CatalogVersion,
    },
    /// For so long it may.
    MayHold(Duration),
    /// These, with the number of their cores.
    Holders(Vec<(NodeId, u16)>),
}

impl Router {
    /// Whether statements may be served here now.
    ///
    /// # Errors
    /// 57P03: the node has not heard from the leader of the system partition for too long.
    pub fn may_serve(&self) -> Result<(), SqlError> {
        if self.peers().is_alone() || self.inner.lease.holds(time::now()) {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::CANNOT_CONNECT_NOW,
            "this node does not serve statements now: it is cut off from the cluster",
        )
        .detail(format!(
            "It has not heard from the leader of the system partition for {LEASE:?}, so that the schema \
             may have changed without it."
        ))
        .hint("Connect to another node, or retry."))
    }

    /// The same, but waits for a lease that is renewed late: a busy host lets its processes wait, and so
    /// does a cluster that looks for a leader.
    ///
    /// # Errors
    /// 57P03: there is still none after [`LATE_MAX`].
    pub async fn serve(&self) -> Result<(), SqlError> {
        let until = time::now() + LATE_MAX;
        loop {
            let refused = self.may_serve();
            if refused.is_ok() || time::now() >= until {
                return refused;
            }
            time::sleep(LATE_LOOK).await;
        }
    }

    /// Waits until statements may be served here.
    pub async fn wait_to_serve(&self) {
        while self.may_serve().is_err() {
            time::sleep(TRY_AGAIN).await;
        }
    }

    /// Has this node's lease renewed for as long as the core lives.
    pub(super) async fn keep_lease(&self) {
        if self.peers().is_alone() {
            return std::future::pending().await;
        }
        loop {
            let pause = match self.renew().await {
                Ok(()) => RENEW_EVERY,
                Err(error) => {
                    log::debug!("the lease is not renewed: {error}");
                    TRY_AGAIN
                }
            };
            time::sleep(pause).await;
        }
    }

    async fn renew(&self) -> Result<(), SqlError> {
        let lease = &self.inner.lease;
        let asked = time::now();
        let holds = lease.holds(asked);
        let (good_for, renewed, version) = match self.peers().me() == KEEPING_CORE {
            true => self.ask_for_lease(holds).await?,
            false => self.ask_own_node(holds).await?,
        };
        // An answer that comes later says nothing of the time when it was asked.
        if asked.elapsed() >= MARGIN {
            return Err(SqlError::internal("the answer about the lease came too late"));
        }
        if !renewed {
            lease.end();
        }
        // What is told of the lease is so whether or not the catalog can be read.
        if renewed {
            lease.extend(asked, good_for);
        }
        if !renewed || self.catalog_version() < version {
            self.adopt_stored().await?;
        }
        lease.extend(asked, good_for);
        Ok(())
    }

    async fn ask_for_lease(
        &self,
        holds: bool,
    ) -> Result<(Duration, bool, CatalogVersion), SqlError> {
        let (node, cores) = (self.peers().here().node, self.peers().cores().count() as u16);
        let call = Call::Lease(LeaseCall::Renew { node, cores, holds });
        match self.ask_keeper(call).await? {
            Answer::Lease(LeaseAnswer::Granted { good_for, renewed, version }) => {
                Ok((good_for, renewed, version))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn ask_own_node(
        &self,
        holds: bool,
    ) -> Result<(Duration, bool, CatalogVersion), SqlError> {
        let first = self.peers().place(KEEPING_CORE);
        match self.peers().call(first, Call::Lease(LeaseCall::Left)).await? {
            Answer::Lease(LeaseAnswer::Granted { good_for, version, .. }) => {
                Ok((good_for, holds, version))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Answers another router.
    pub(super) async fn handle_lease_call(&self, call: LeaseCall) -> Result<Answer, SqlError> {
        if call == LeaseCall::Left {
            let good_for = self.inner.lease.left(time::now());
            if good_for.is_zero() {
                return Err(SqlError::new(SqlState::CANNOT_CONNECT_NOW, "the node has no lease"));
            }
            let version = self.catalog_version();
            let left = LeaseAnswer::Granted { good_for, renewed: false, version };
            return Ok(Answer::Lease(left));
        }
        let Some(term) = self.keeps() else { return Ok(self.not_the_keeper()) };
        let register = &self.inner.register;
        match call {
            LeaseCall::Renew { node, cores, holds } => {
                let renewed = register.borrow_mut().renew(node, cores, holds, time::now());
                if !renewed && let Some(elsewhere) = self.grant(node, cores, term).await? {
                    return Ok(elsewhere);
                }
                let version = self.catalog_version();
                Ok(Answer::Lease(LeaseAnswer::Granted { good_for: LEASE, renewed, version }))
            }
            LeaseCall::MayHold(node) => {
                let now = time::now();
                let until = register.borrow().may_hold_until(node, now);
                let left = until.map_or(Duration::ZERO, |until| until.saturating_since(now));
                Ok(Answer::Lease(LeaseAnswer::MayHold(left)))
            }
            LeaseCall::Holders => match self.lease_holders(term).await? {
                Some(holders) => Ok(Answer::Lease(LeaseAnswer::Holders(holders))),
                None => Ok(self.not_the_keeper()),
            },
            LeaseCall::Left => Err(SqlError::internal("it was answered above")),
        }
    }

    /// Gives a node a lease that it did not have. What is answered instead where this core is the
    /// keeper of that term no more.
    async fn grant(
        &self,
        node: NodeId,
        cores: u16,
        term: Term,
    ) -> Result<Option<Answer>, SqlError> {
        self.fence_once(term).await?;
        if self.keeps() != Some(term) {
            return Ok(Some(self.not_the_keeper()));
        }
        if self.gates().is_closed(&[TURN]) {
            return Err(SqlError::new(
                SqlState::CANNOT_CONNECT_NOW,
                "the schema is being changed: the node can serve when that is over",
            ));
        }
        self.inner.register.borrow_mut().grant(node, cores, time::now());
        Ok(None)
    }

    /// The nodes that may have a lease, once that can be told; `None` where this core is the keeper of
    /// that term no more.
    pub(super) async fn lease_holders(
        &self,
        term: Term,
    ) -> Result<Option<Vec<(NodeId, u16)>>, SqlError> {
        self.settle_if_alone(term).await?;
        loop {
            if self.keeps() != Some(term) {
                return Ok(None);
            }
            let holders = self.inner.register.borrow_mut().holders(time::now());
            match holders {
                Ok(holders) => return Ok(Some(holders)),
                Err(when) => time::sleep_until(when).await,
            }
        }
    }

    /// A node that is the only one of its cluster, and has its lease of this keeper, is all there is: no
    /// other lease is waited for. One that is let in meanwhile gets its first of this keeper.
    async fn settle_if_alone(&self, term: Term) -> Result<(), SqlError> {
        let me = self.peers().here().node;
        if !self.inner.register.borrow().is_settling_but_for(me, time::now()) {
            return Ok(());
        }
        if self.registry().await?.nodes().all(|node| node.id == me) {
            self.inner.register.borrow_mut().settle_alone(term);
        }
        Ok(())
    }

    /// Makes sure that no change of the schema can commit that began before this term.
    pub(super) async fn fence_once(&self, term: Term) -> Result<(), SqlError> {
        if self.inner.register.borrow().is_fenced(term) {
            return Ok(());
        }
        self.fence().await?;
        self.inner.register.borrow_mut().fenced(term);
        Ok(())
    }

    /// For how long a node may still have a lease; zero where it has none for sure.
    pub(super) async fn lease_left_of(&self, node: NodeId) -> Result<Duration, SqlError> {
        match self.ask_keeper(Call::Lease(LeaseCall::MayHold(node))).await? {
            Answer::Lease(LeaseAnswer::MayHold(left)) => Ok(left),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Answer) -> SqlError {
    SqlError::internal(format!("a question about leases was answered with {answer:?}"))
}

//! Who is asked of the routers: the core where a partition is led, wherever that is.

use super::Router;
use super::lease::{KEEPING_CORE, TRY_AGAIN};
use super::peers::{Answer, Call, CallError};
use model::error::{SqlError, SqlState};
use model::id::{CoreId, PartitionId, Term};
use model::placement::Place;
use runtime::{random, time};
use std::time::Duration;

/// How long a leader is looked for.
const SEARCH_MAX: Duration = Duration::from_secs(10);
/// One that is named is asked at once, unless two name each other.
const HINTS_MAX: usize = 8;

impl Router {
    /// The core that leads a partition, as far as is known.
    pub(super) fn leading_place(&self, partition: PartitionId) -> Option<Place> {
        match self.peers().is_alone() {
            true => self.engine().placement().leader(partition),
            false => self.engine().leader_place(partition),
        }
    }

    /// The term in which this core leads a partition. Nobody else does at this moment.
    pub(super) fn leads_in(&self, partition: PartitionId) -> Option<Term> {
        match self.peers().is_alone() {
            true => (self.leading_place(partition)? == self.peers().here()).then_some(Term(0)),
            false => self.engine().serves_in(partition),
        }
    }

    /// The core that keeps the turn to change the schema, the leases and the sagas: where the system
    /// partition is led.
    pub(super) fn keeper(&self) -> Option<Place> {
        self.leading_place(PartitionId::SYSTEM)
    }

    /// Whether this core is the keeper, and in which term.
    pub(super) fn keeps(&self) -> Option<Term> {
        let term = self.leads_in(PartitionId::SYSTEM)?;
        self.inner.register.borrow_mut().keep_in(term, time::now());
        Some(term)
    }

    /// Asks the keeper. As [`Router::ask_leader`].
    pub(super) async fn ask_keeper(&self, call: Call) -> Result<Answer, SqlError> {
        self.ask_leader(PartitionId::SYSTEM, call, false).await
    }

    /// Asks the core that leads a partition, wherever it is. One that does not says so, and does
    /// nothing: another is asked. So is it where the call has not left, and where it may have been
    /// carried out and that does no harm (`repeat`).
    ///
    /// # Errors
    /// What the leader answers instead; 08006 where it cannot be reached, or 57P03 where there is none.
    pub(super) async fn ask_leader(
        &self,
        partition: PartitionId,
        call: Call,
        repeat: bool,
    ) -> Result<Answer, SqlError> {
        let mut until = None;
        let (mut hint, mut hints, mut misses) = (None, 0, 0);
        loop {
            let known = hint.take().or_else(|| self.leading_place(partition));
            // Who is known may be gone: now and then somebody else may know better.
            let known = known.filter(|_| misses % 2 == 0).or_else(|| self.someone(partition));
            let place = known.unwrap_or(self.peers().here());
            match self.peers().ask(place, call.clone()).await {
                Ok(Answer::Elsewhere(leader)) => {
                    hint = leader.filter(|leader| *leader != place && hints < HINTS_MAX);
                    hints += 1;
                    misses += usize::from(hint.is_none());
                }
                Ok(answer) => return Ok(answer),
                Err(CallError::Unreached { why, .. }) if repeat || !why.may_have_arrived => {
                    self.engine().doubt_leader(partition, place.node);
                    misses += 1;
                }
                Err(error) => {
                    if let CallError::Unreached { .. } = &error {
                        self.engine().doubt_leader(partition, place.node);
                    }
                    return Err(error.into());
                }
            }
            // What a call has waited before it came to nothing is no search.
            let until = *until.get_or_insert(time::now() + SEARCH_MAX);
            if time::now() >= until {
                return Err(SqlError::new(
                    SqlState::CANNOT_CONNECT_NOW,
                    format!("no leader of partition {partition} can be reached"),
                )
                .hint("Retry when a majority of the partition's replicas is there."));
            }
            if hint.is_none() {
                hints = 0;
                time::sleep(TRY_AGAIN).await;
            }
        }
    }

    /// Where one node would lead a partition, by lot.
    fn someone(&self, partition: PartitionId) -> Option<Place> {
        let places = self.peers().places();
        let nodes: Vec<_> = places
            .iter()
            .filter(|place| place.core == KEEPING_CORE)
            .map(|place| place.node)
            .collect();
        let chosen = random::below(nodes.len().max(1) as u64) as usize;
        let node = *nodes.get(chosen)?;
        let cores = places.iter().filter(|place| place.node == node).count() as u32;
        Some(Place { node, core: CoreId((partition.0 % cores) as u16) })
    }

    /// The answer of a core that does not lead a partition.
    pub(super) fn not_led_here(&self, partition: PartitionId) -> Answer {
        let leader = self.leading_place(partition);
        Answer::Elsewhere(leader.filter(|place| *place != self.peers().here()))
    }

    /// The answer of a core that is not the keeper.
    pub(super) fn not_the_keeper(&self) -> Answer {
        self.not_led_here(PartitionId::SYSTEM)
    }
}

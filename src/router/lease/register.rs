//! Who may serve statements, as the keeper of leases knows. Pure: the time is told.
//!
//! A node that may serve counts its lease from the moment at which it asked for it, the keeper from the
//! moment at which it gave it, and [`MARGIN`] longer: what the keeper takes to be over is over.
//!
//! A keeper that is new knows nothing of what the one before it has given. For as long as such a lease
//! may last it takes the word of a node that says it has one, and cannot tell who has none. No node is
//! taken at its word wrongly: an answer counts for it only within [`MARGIN`] after the question, and
//! the keeper before let no lease of it run out that was good when it asked.

use super::{LEASE, MARGIN};
use model::id::{NodeId, Term};
use runtime::time::Instant;
use std::collections::BTreeMap;

/// The leases that a core has given while it keeps them. One per core, in use on the keeper.
#[derive(Debug, Default)]
pub(in crate::router) struct Register {
    tenure: Option<Tenure>,
    granted: BTreeMap<NodeId, Grant>,
}

/// The time in which one core keeps the leases: a term of the system partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tenure {
    term: Term,
    since: Instant,
    /// What was under way when it began can change the schema no more.
    fenced: bool,
    /// Nobody has a lease that the keeper before has given.
    alone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grant {
    cores: u16,
    /// When it is over for sure.
    until: Instant,
}

impl Register {
    /// This core keeps the leases in this term.
    pub(in crate::router) fn keep_in(&mut self, term: Term, now: Instant) {
        if self.tenure.is_none_or(|tenure| tenure.term != term) {
            self.tenure = Some(Tenure { term, since: now, fenced: false, alone: false });
            self.granted.clear();
        }
    }

    /// Whether what was under way when the term began can change the schema no more.
    pub(super) fn is_fenced(&self, term: Term) -> bool {
        self.tenure.is_some_and(|tenure| tenure.term == term && tenure.fenced)
    }

    pub(super) fn fenced(&mut self, term: Term) {
        if let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.term == term) {
            tenure.fenced = true;
        }
    }

    /// When all leases that the keeper before has given are over.
    fn settled(&self, now: Instant) -> Instant {
        match self.tenure {
            Some(tenure) if tenure.alone => tenure.since,
            Some(tenure) => tenure.since + LEASE + MARGIN,
            None => now + LEASE + MARGIN,
        }
    }

    /// Whether a lease that the keeper before has given may go on, of another node than this one.
    pub(super) fn is_settling_but_for(&self, node: NodeId, now: Instant) -> bool {
        now < self.settled(now) && self.granted.contains_key(&node)
    }

    /// There is no node but those that have their leases of this keeper.
    pub(super) fn settle_alone(&mut self, term: Term) {
        if let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.term == term) {
            tenure.alone = true;
        }
    }

    /// Renews a node's lease where it has one: it says whether it `holds` one. `false` where it
    /// must be given a new one.
    pub(super) fn renew(&mut self, node: NodeId, cores: u16, holds: bool, now: Instant) -> bool {
        let known = self.granted.get(&node);
        let good = match known {
            Some(grant) => now < grant.until,
            None => now < self.settled(now),
        };
        let renewed = holds && good;
        if renewed {
            self.grant(node, cores, now);
        }
        renewed
    }

    /// Gives a node a lease.
    pub(super) fn grant(&mut self, node: NodeId, cores: u16, now: Instant) {
        self.granted.insert(node, Grant { cores, until: now + LEASE + MARGIN });
    }

    /// The nodes that may have a lease, with the number of their cores.
    ///
    /// # Errors
    /// It cannot be told before this moment.
    pub(super) fn holders(&mut self, now: Instant) -> Result<Vec<(NodeId, u16)>, Instant> {
        let settled = self.settled(now);
        if now < settled {
            return Err(settled);
        }
        self.granted.retain(|_, grant| now < grant.until);
        Ok(self.granted.iter().map(|(node, grant)| (*node, grant.cores)).collect())
    }

    /// Until when a node may have a lease; `None` where it has none for sure.
    pub(super) fn may_hold_until(&self, node: NodeId, now: Instant) -> Option<Instant> {
        let until = self.granted.get(&node).map_or_else(|| self.settled(now), |known| known.until);
        (now < until).then_some(until)
    }
}

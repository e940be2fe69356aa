//! What becomes of transactions, counted by each core for each database since the node was started:
//! `phantom.statistics` and `pg_stat_database`.
//!
//! A session holds the counters of its database, so that counting is adding one; they are summed when
//! somebody asks for them.

use super::peers::{Answer, Call};
use super::{Router, Statement};
use crate::catalog::Catalog;
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use model::placement::Place;
use rkyv::{Archive, Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a core has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Counts {
    /// Transactions that have committed, those of a single statement among them.
    pub commits: u64,
    /// Transactions that were rolled back, or have failed.
    pub rollbacks: u64,
    /// Statements that were run again after they had lost a race, of which no client has heard.
    pub retries: u64,
    /// How often a statement or commit has failed with 40001, also where it was run again.
    pub serialization_failures: u64,
    /// The same, with 40P01.
    pub deadlocks: u64,
    /// The same, with 55P03.
    pub lock_timeouts: u64,
    /// Places in the core's table files that were found damaged; of no database.
    pub damages: u64,
}

impl Counts {
    /// Adds another core's.
    pub fn add(&mut self, other: Counts) {
        let Counts { commits, rollbacks, retries, .. } = other;
        let Counts { serialization_failures, deadlocks, lock_timeouts, damages, .. } = other;
        self.commits += commits;
        self.rollbacks += rollbacks;
        self.retries += retries;
        self.serialization_failures += serialization_failures;
        self.deadlocks += deadlocks;
        self.lock_timeouts += lock_timeouts;
        self.damages += damages;
    }

    fn note(&mut self, state: SqlState) {
        match state {
            SqlState::SERIALIZATION_FAILURE => self.serialization_failures += 1,
            SqlState::DEADLOCK_DETECTED => self.deadlocks += 1,
            SqlState::LOCK_NOT_AVAILABLE => self.lock_timeouts += 1,
            _ => {}
        }
    }
}

/// The counters of a database on one core.
#[derive(Debug, Default)]
pub struct Statistics(Cell<Counts>);

impl Statistics {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.0.get();
        change(&mut counts);
        self.0.set(counts);
    }

    /// A transaction has committed.
    pub fn committed(&self) {
        self.change(|counts| counts.commits += 1);
    }

    /// A transaction was rolled back.
    pub fn rolled_back(&self) {
        self.change(|counts| counts.rollbacks += 1);
    }

    /// A client is told of an error.
    pub fn failed(&self, error: &SqlError) {
        self.change(|counts| counts.note(error.state()));
    }

    fn retried(&self, error: &SqlError) {
        self.change(|counts| {
            counts.note(error.state());
            counts.retries += 1;
        });
    }
}

/// What a core has counted for a database; without one for what no session has done: compensations
/// whose client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Counted {
    /// Who has counted.
    pub place: Place,
    /// The database.
    pub database: Option<ObjectId>,
    /// The counts.
    pub counts: Counts,
}

/// The counters of one core.
#[derive(Default)]
pub(super) struct Counting {
    own: Statistics,
    /// No more than there are databases.
    databases: RefCell<BTreeMap<ObjectId, Rc<Statistics>>>,
}

impl Counting {
    fn of(&self, database: ObjectId, catalog: &Catalog) -> Rc<Statistics> {
        let mut databases = self.databases.borrow_mut();
        if let Some(known) = databases.get(&database) {
            return Rc::clone(known);
        }
        databases.retain(|id, _| catalog.databases().any(|(_, known)| known.id == *id));
        Rc::clone(databases.entry(database).or_default())
    }

    fn counted(&self, place: Place, damages: u64) -> Vec<Counted> {
        self.own.change(|counts| counts.damages = damages);
        let counted = |database, of: &Statistics| Counted { place, database, counts: of.0.get() };
        let databases = self.databases.borrow();
        let databases = databases.iter().map(|(id, of)| counted(Some(*id), of));
        std::iter::once(counted(None, &self.own)).chain(databases).collect()
    }
}

impl Router {
    /// This core's counters of a database, for a session of it.
    pub fn statistics_of(&self, database: &str) -> Rc<Statistics> {
        let catalog = self.catalog();
        match catalog.database(database) {
            Some(found) => self.inner.counting.of(found.id, &catalog),
            // It was dropped just now: the session will come to nothing.
            None => Rc::default(),
        }
    }

    /// What all cores that can be reached have counted.
    ///
    /// # Errors
    /// A core is stopping.
    pub async fn statistics(&self) -> Result<Vec<Counted>, SqlError> {
        let answers = self.inner.peers.call_reachable(Call::Statistics).await?;
        let mut counted = Vec::new();
        for (_, answer) in answers {
            match answer {
                Answer::Statistics(mut those) => counted.append(&mut those),
                other => {
                    return Err(SqlError::internal(format!(
                        "a router answered a question about statistics with {other:?}"
                    )));
                }
            }
        }
        Ok(counted)
    }

    pub(super) fn statistics_here(&self) -> Vec<Counted> {
        let engine = &self.engine;
        self.inner.counting.counted(self.inner.peers.here(), engine.stats().damages)
    }

    /// A statement that has failed is run again.
    pub(super) fn note_retry(&self, statement: &Statement<'_>, error: &SqlError) {
        match &statement.presence {
            Some(presence) => presence.statistics().retried(error),
            None => self.inner.counting.own.retried(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{CoreId, NodeId};

    #[test]
    fn errors_are_counted_by_kind_and_databases_that_are_gone_are_forgotten() {
        let catalog = Catalog::bootstrap();
        let counting = Counting::default();
        let gone = ObjectId(999_999);
        counting.of(gone, &catalog).committed();
        let there = catalog.databases().next().expect("a database").1.id;
        let first = counting.of(there, &catalog);
        first.committed();
        first.rolled_back();
        first.failed(&SqlError::new(SqlState::LOCK_NOT_AVAILABLE, "late"));
        first.failed(&SqlError::new(SqlState::DIVISION_BY_ZERO, "none of those"));
        first.retried(&SqlError::new(SqlState::DEADLOCK_DETECTED, "circle"));
        counting.of(there, &catalog).retried(&SqlError::new(SqlState::SERIALIZATION_FAILURE, ""));
        let expected = Counts {
            commits: 1,
            rollbacks: 1,
            retries: 2,
            serialization_failures: 1,
            deadlocks: 1,
            lock_timeouts: 1,
            damages: 0,
        };
        let place = Place { node: NodeId(1), core: CoreId(3) };
        let own = Counts { damages: 2, ..Counts::default() };
        let own = Counted { place, database: None, counts: own };
        let of = Counted { place, database: Some(there), counts: expected };
        assert_eq!(counting.counted(place, 2), [own, of]);
    }
}

//! Transactions that wait for each other in a circle, on one core or several: found, and ended at
//! the cost of the youngest (40P01), on one node or several.
//!
//! No core sees more than a part of a circle. So when a lock has been waited for a moment, its core
//! tells the keeper, and that asks all cores of the cluster who waits for whom:
//!
//! ```text
//!   core n   a wait of 10 ms ──► SearchDeadlocks
//!   keeper                 └─► Waits from all ─ no circle? done
//!                                └─► Waits from all again ─ the same waits in a circle?
//!                                      └─► SessionsOf: processes and statements, for the error
//!                                            └─► Sacrifice: the victim's wait fails
//! ```
//!
//! **No false victims.** The answers of one round are not of one moment: a wait that has ended since
//! could close a circle that never was. But a wait has a number that no other has, and a
//! transaction that was in its way stays there without a break: what is in two rounds, of which the
//! second began when the first was over, was all there together at a moment between them. The
//! victim fails only if it still waits by that number when it is told.
//!
//! **Cheap.** The keeper searches once at a time, and rests after each search for many times as long as
//! it took. Short waits cause none, and a wait causes one, since a circle is closed by the wait that
//! begins last. A round costs each core one walk along its queues; a queue of many is told of by a
//! few links each.
//!
//! **Not only locks.** A change of the schema waits for those in its tables, and those who want into
//! one of them wait for it ([`super::gates`]): both are in the graph, a change under an id of its own.
//! Whoever waits for something else (the outcome of a transaction that commits, room in the log) waits
//! for somebody who waits for none of these, and is in no circle.

mod describe;
mod graph;
mod waits;

#[cfg(test)]
pub use waits::Sought;
pub use waits::{RouterWait, WaitId};

use super::Router;
use super::peers::{Answer, Call};
use futures::future::select;
use graph::{Circle, Graph, WaitPlace};
use model::error::SqlError;
use model::id::TxnId;
use model::placement::Place;
use runtime::sync::Notify;
use runtime::time;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// After a search the next waits for so many times as long as it took ...
const PAUSE_FACTOR: u32 = 20;
/// ... but at least this long, since a circle more or less is no hurry,
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// and at most this long, so that a circle is found within a tenth of a second.
const PAUSE_MAX: Duration = Duration::from_millis(40);

/// How soon it is tried again to tell the core that searches.
const TELL_AGAIN: Duration = Duration::from_millis(100);

/// Rounds of one search: what is not confirmed by then is the next one's.
const ROUNDS_MAX: usize = 5;

/// A core's part in the search.
#[derive(Default)]
pub(super) struct Searching {
    /// Told when somebody wants a search. On the core that searches.
    wanted: Notify,
}

/// What all cores have said in one round.
#[derive(Default)]
struct Round {
    graph: Graph,
    waits: BTreeMap<WaitPlace, RouterWait>,
}

impl Router {
    /// Ends the youngest of each circle of waiting transactions, as long as the core lives.
    pub async fn break_deadlocks(&self) {
        // Nobody tells any other core to search.
        select(pin!(self.tell_of_long_waits()), pin!(self.search_when_told())).await;
    }

    async fn tell_of_long_waits(&self) {
        loop {
            let (locks, gates) = (self.engine.long_wait(), self.inner.gates.long_wait());
            select(pin!(locks), pin!(gates)).await;
            // A circle is closed by the wait that began last, which is told of once.
            while let Err(error) = self.tell_searcher().await {
                log::debug!("nobody looks for circles of waiting transactions: {error}");
                time::sleep(TELL_AGAIN).await;
            }
        }
    }

    async fn tell_searcher(&self) -> Result<(), SqlError> {
        let searcher = self.keeper().unwrap_or(self.inner.peers.here());
        self.inner.peers.call(searcher, Call::SearchDeadlocks).await.map(drop)
    }

    pub(super) fn want_search(&self) {
        self.inner.searching.wanted.notify_one();
    }

    async fn search_when_told(&self) {
        loop {
            self.inner.searching.wanted.notified().await;
            let since = time::now();
            if let Err(error) = self.search().await {
                // Who waits in a circle runs out of time, or is found by the next search.
                log::debug!("circles of waiting transactions cannot be looked for: {error}");
            }
            let took = since.elapsed();
            log::debug!(micros = took.as_micros() as u64; "looked for deadlocks");
            time::sleep((took * PAUSE_FACTOR).clamp(PAUSE_MIN, PAUSE_MAX)).await;
        }
    }

    /// Looks for circles and ends them.
    async fn search(&self) -> Result<(), SqlError> {
        let mut before = self.round().await?;
        for _ in 1..ROUNDS_MAX {
            if before.graph.clone().circles().is_empty() {
                break;
            }
            let mut now = self.round().await?;
            for circle in before.graph.intersect(&now.graph).circles() {
                now.graph.remove(circle[0].txn);
                self.end(&circle, &now.waits).await?;
            }
            before = now;
        }
        Ok(())
    }

    async fn round(&self) -> Result<Round, SqlError> {
        let mut round = Round::default();
        for (place, answer) in self.inner.peers.call_reachable(Call::Waits).await? {
            let Answer::Waits(waits) = answer else {
                return Err(SqlError::internal("no answer to who waits for whom"));
            };
            for wait in waits {
                let place = WaitPlace { place, id: wait.id };
                for &other in &wait.waits_for {
                    round.graph.add(wait.txn, other, place);
                }
                round.waits.insert(place, wait);
            }
        }
        Ok(round)
    }

    /// Ends a circle at its first transaction.
    async fn end(
        &self,
        circle: &Circle,
        waits: &BTreeMap<WaitPlace, RouterWait>,
    ) -> Result<(), SqlError> {
        let Some(victim) = circle.first() else { return Ok(()) };
        let txns: Arc<[TxnId]> = circle.iter().map(|link| link.txn).collect();
        let place = |txn: &TxnId| Place { node: txn.node, core: txn.core };
        let coordinators: BTreeSet<Place> = txns.iter().map(place).collect();
        let mut sessions = Vec::new();
        let peers = &self.inner.peers;
        let places = peers.places();
        let asked = places.into_iter().filter(|place| coordinators.contains(place)).collect();
        for (_, answer) in peers.ask_all(asked, Call::SessionsOf(txns.clone())).await {
            match answer {
                Ok(Answer::Backends(mut those)) => sessions.append(&mut those),
                Ok(_) => {
                    return Err(SqlError::internal("no answer to whose transactions they are"));
                }
                // The error says less of it.
                Err(error) => log::debug!("{}", SqlError::from(error)),
            }
        }
        let error = describe::deadlock(circle, waits, &sessions, &self.catalog());
        let detail = error.fields().detail.clone().unwrap_or_default();
        let WaitPlace { place, id } = victim.wait;
        match peers.call(place, Call::Sacrifice(id, error.clone())).await? {
            Answer::Count(1) => log::info!("a deadlock was ended: {detail}"),
            // Its statement was cancelled or ran out of time, and the circle is open.
            _ => {
                log::debug!("a deadlock ended by itself: {detail}");
                return Ok(());
            }
        }
        // Its statement has failed, and waits in other partitions for nothing: until all of it has
        // ended it would be in the way.
        for (at, wait) in waits {
            if wait.txn == victim.txn && *at != victim.wait {
                peers.call(at.place, Call::Sacrifice(at.id, error.clone())).await?;
            }
        }
        Ok(())
    }
}

//! Circles of transactions that wait for each other on several cores.
//!
//! A core finds the circles among its own locks at once (`shards::txn`). Of the others no core sees
//! more than a part. So when a lock has been waited for long enough, its core asks all of them who
//! waits for whom, and looks for circles in what they say together:
//!
//! ```text
//!   a long wait ──► Waits from all cores ──► victims ──► Waits again: still in the circle? ──► Sacrifice
//! ```
//!
//! The answers are not of one moment. A wait that has ended since the first answers would close a
//! circle that never was, hence the second look. What still slips through costs a transaction that
//! can be run again, as every 40P01 can.

use super::Router;
use super::peers::{Answer, Call};
use model::error::SqlError;
use model::id::TxnId;
use runtime::time;
use shards::core::Wait;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The pause between two looks of a core.
const PAUSE: Duration = Duration::from_millis(200);

/// Who waits for whom.
type Graph = BTreeMap<TxnId, BTreeSet<TxnId>>;

/// A circle: each waits for the next, and the last for the first.
type Circle = Vec<TxnId>;

impl Router {
    /// Ends the youngest of each circle of waiting transactions, as long as the core lives.
    pub async fn break_deadlocks(&self) {
        loop {
            self.inner.engine.long_wait().await;
            if let Err(error) = self.break_circles().await {
                // Who waits in a circle runs out of time.
                log::debug!("circles of waiting transactions cannot be looked for: {error}");
            }
            time::sleep(PAUSE).await;
        }
    }

    async fn break_circles(&self) -> Result<(), SqlError> {
        let circles = circles(self.waits().await?);
        if circles.is_empty() {
            return Ok(());
        }
        let still = self.waits().await?;
        for circle in circles.iter().filter(|circle| is_in(circle, &still)) {
            if let Some(victim) = youngest(circle) {
                self.inner.peers.call_all(Call::Sacrifice(victim)).await?;
            }
        }
        Ok(())
    }

    async fn waits(&self) -> Result<Graph, SqlError> {
        let mut graph = Graph::new();
        for answer in self.inner.peers.call_all(Call::Waits).await? {
            let Answer::Waits(waits) = answer else {
                return Err(SqlError::internal("no answer to who waits for whom"));
            };
            for Wait { txn, waits_for } in waits {
                graph.entry(txn).or_default().extend(waits_for);
            }
        }
        Ok(graph)
    }
}

/// The one that has done least.
fn youngest(circle: &Circle) -> Option<TxnId> {
    circle.iter().max().copied()
}

fn is_in(circle: &Circle, graph: &Graph) -> bool {
    let next = circle.iter().cycle().skip(1);
    circle.iter().zip(next).all(|(txn, next)| graph.get(txn).is_some_and(|of| of.contains(next)))
}

/// Circles whose youngest, taken out, leave none: the shortest ones that each transaction is in.
fn circles(mut graph: Graph) -> Vec<Circle> {
    let mut found = Vec::new();
    prune(&mut graph);
    while let Some(&first) = graph.keys().next() {
        match shortest_through(first, &graph) {
            Some(circle) => {
                if let Some(victim) = youngest(&circle) {
                    graph.remove(&victim);
                }
                found.push(circle);
            }
            // It waits for a circle that it is not in.
            None => drop(graph.remove(&first)),
        }
        prune(&mut graph);
    }
    found
}

/// Takes out who waits for nobody that waits: what is left waits for a circle, or is in one.
fn prune(graph: &mut Graph) {
    let mut waited_for_by: BTreeMap<TxnId, Vec<TxnId>> = BTreeMap::new();
    let mut counts: BTreeMap<TxnId, usize> = BTreeMap::new();
    for (&txn, waits_for) in graph.iter() {
        let waiting = waits_for.iter().filter(|of| graph.contains_key(of));
        for &of in waiting.clone() {
            waited_for_by.entry(of).or_default().push(txn);
        }
        counts.insert(txn, waiting.count());
    }
    let free = counts.iter().filter(|(_, count)| **count == 0).map(|(txn, _)| *txn);
    let mut free: Vec<TxnId> = free.collect();
    while let Some(txn) = free.pop() {
        graph.remove(&txn);
        for waiter in waited_for_by.remove(&txn).unwrap_or_default() {
            if let Some(count) = counts.get_mut(&waiter) {
                *count -= 1;
                if *count == 0 {
                    free.push(waiter);
                }
            }
        }
    }
}

/// The shortest circle that a transaction is in, found breadth first.
fn shortest_through(start: TxnId, graph: &Graph) -> Option<Circle> {
    let mut came_from: BTreeMap<TxnId, TxnId> = BTreeMap::new();
    let mut reached = VecDeque::from([start]);
    while let Some(txn) = reached.pop_front() {
        for &next in graph.get(&txn).into_iter().flatten() {
            if next == start {
                let back = std::iter::successors(Some(txn), |txn| came_from.get(txn).copied());
                let mut circle: Circle = back.collect();
                circle.reverse();
                return Some(circle);
            }
            if graph.contains_key(&next) && !came_from.contains_key(&next) {
                came_from.insert(next, txn);
                reached.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{CoreId, NodeId};
    use model::time::Timestamp;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn txn(age: u64) -> TxnId {
        TxnId { began: Timestamp(age), node: NodeId(1), core: CoreId(0) }
    }

    fn graph(edges: &[(u64, u64)]) -> Graph {
        let mut graph = Graph::new();
        for &(from, to) in edges {
            graph.entry(txn(from)).or_default().insert(txn(to));
        }
        graph
    }

    fn victims(edges: &[(u64, u64)]) -> Vec<u64> {
        let circles = circles(graph(edges));
        circles.iter().filter_map(youngest).map(|victim| victim.began.0).collect()
    }

    #[test]
    fn the_youngest_of_each_circle_goes() {
        assert!(victims(&[]).is_empty());
        assert!(victims(&[(1, 2), (2, 3), (4, 3)]).is_empty());
        assert_eq!(victims(&[(1, 2), (2, 1)]), [2]);
        assert_eq!(victims(&[(1, 2), (2, 3), (3, 1), (9, 1), (3, 7)]), [3]);
        assert_eq!(victims(&[(1, 2), (2, 1), (5, 6), (6, 5)]), [2, 6]);
        // Of 8, which only stands in a queue between the two, nothing is taken.
        assert_eq!(victims(&[(1, 8), (1, 2), (8, 2), (2, 1)]), [2]);
    }

    #[test]
    fn a_circle_that_has_opened_is_none() {
        let circle = vec![txn(1), txn(2), txn(3)];
        assert!(is_in(&circle, &graph(&[(1, 2), (2, 3), (3, 1)])));
        assert!(!is_in(&circle, &graph(&[(1, 2), (2, 3), (3, 2)])));
        assert!(!is_in(&circle, &graph(&[(1, 2), (3, 1)])));
    }

    proptest! {
        #[test]
        fn without_the_victims_nobody_waits_in_a_circle(edges in vec((0..12_u64, 0..12_u64), 0..40)) {
            let edges: Vec<_> = edges.into_iter().filter(|(from, to)| from != to).collect();
            let whole = graph(&edges);
            let circles = circles(whole.clone());
            for circle in &circles {
                prop_assert!(is_in(circle, &whole));
            }
            let mut left = whole;
            for victim in circles.iter().filter_map(youngest) {
                left.remove(&victim);
            }
            prune(&mut left);
            prop_assert!(left.is_empty(), "{left:?}");
        }
    }
}

//! The graph of who waits for whom, and the circles in it. Pure.

use super::waits::WaitId;
use model::id::TxnId;
use model::placement::Place;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A wait in the cluster: the place it is at, and which of that place's it is. No other ever has the
/// same while the nodes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WaitPlace {
    pub(super) place: Place,
    pub(super) id: WaitId,
}

/// Who waits for whom, and by which wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Graph(BTreeMap<TxnId, BTreeSet<(TxnId, WaitPlace)>>);

/// One of a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// It waits for the next one.
    pub(super) txn: TxnId,
    /// By this wait.
    pub(super) wait: WaitPlace,
}

/// Transactions each of which waits for the next, and the last for the first: the victim, which is
/// the youngest.
pub(super) type Circle = Vec<Link>;

impl Graph {
    /// Notes that `txn` waits for `other`.
    pub(super) fn add(&mut self, txn: TxnId, other: TxnId, wait: WaitPlace) {
        if txn != other {
            self.0.entry(txn).or_default().insert((other, wait));
        }
    }

    /// What is in both graphs: the same transaction in the way of the same wait.
    pub(super) fn intersect(&self, other: &Graph) -> Graph {
        let common = self.0.iter().filter_map(|(txn, waits)| {
            let both: BTreeSet<_> = waits.intersection(other.0.get(txn)?).copied().collect();
            (!both.is_empty()).then_some((*txn, both))
        });
        Graph(common.collect())
    }

    /// Takes a transaction that waits no more out.
    pub(super) fn remove(&mut self, txn: TxnId) {
        self.0.remove(&txn);
    }

    /// Circles whose victims, taken out, leave none: the shortest ones that each transaction is in.
    pub(super) fn circles(mut self) -> Vec<Circle> {
        let mut found = Vec::new();
        self.prune();
        while let Some((&first, _)) = self.0.first_key_value() {
            match self.shortest_through(first).and_then(from_victim) {
                Some(circle) => {
                    self.remove(circle[0].txn);
                    found.push(circle);
                }
                // It waits for a circle that it is not in.
                None => self.remove(first),
            }
            self.prune();
        }
        found
    }

    /// Takes out who waits for nobody that waits: what is left waits for a circle, or is in one.
    fn prune(&mut self) {
        let mut waited_for_by: BTreeMap<TxnId, Vec<TxnId>> = BTreeMap::new();
        let mut counts: BTreeMap<TxnId, usize> = BTreeMap::new();
        for (&txn, waits) in &self.0 {
            let waiting = waits.iter().filter(|(of, _)| self.0.contains_key(of));
            for &(of, _) in waiting.clone() {
                waited_for_by.entry(of).or_default().push(txn);
            }
            counts.insert(txn, waiting.count());
        }
        let free = counts.iter().filter(|(_, count)| **count == 0).map(|(txn, _)| *txn);
        let mut free: Vec<TxnId> = free.collect();
        while let Some(txn) = free.pop() {
            self.0.remove(&txn);
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
    fn shortest_through(&self, start: TxnId) -> Option<Circle> {
        // By which link a transaction was reached.
        let mut reached_by: BTreeMap<TxnId, Link> = BTreeMap::new();
        let mut reached = VecDeque::from([start]);
        while let Some(txn) = reached.pop_front() {
            for &(next, wait) in self.0.get(&txn).into_iter().flatten() {
                let link = Link { txn, wait };
                if next == start {
                    let before = |link: &Link| reached_by.get(&link.txn).copied();
                    let mut circle: Circle = std::iter::successors(Some(link), before).collect();
                    circle.reverse();
                    return Some(circle);
                }
                if self.0.contains_key(&next) && !reached_by.contains_key(&next) {
                    reached_by.insert(next, link);
                    reached.push_back(next);
                }
            }
        }
        None
    }
}

/// The same circle, its youngest first: the one that has done least.
fn from_victim(mut circle: Circle) -> Option<Circle> {
    let (victim, _) = circle.iter().enumerate().max_by_key(|(_, link)| link.txn)?;
    circle.rotate_left(victim);
    Some(circle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{CoreId, NodeId};
    use model::time::Timestamp;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use shards::core::WaitNumber;

    fn txn(age: u64) -> TxnId {
        TxnId { began: Timestamp(age), node: NodeId(1), core: CoreId(0) }
    }

    fn place(core: u16, number: u64) -> WaitPlace {
        WaitPlace {
            place: Place { node: NodeId(1), core: CoreId(core) },
            id: WaitId::Lock(WaitNumber(number)),
        }
    }

    /// Each waits by one wait.
    fn graph(edges: &[(u64, u64)]) -> Graph {
        let mut graph = Graph::default();
        for &(from, to) in edges {
            graph.add(txn(from), txn(to), place(0, from));
        }
        graph
    }

    fn ages(circle: &Circle) -> Vec<u64> {
        circle.iter().map(|link| link.txn.began.0).collect()
    }

    fn found(edges: &[(u64, u64)]) -> Vec<Vec<u64>> {
        graph(edges).circles().iter().map(ages).collect()
    }

    #[test]
    fn the_youngest_of_each_circle_comes_first() {
        let none: [Vec<u64>; 0] = [];
        assert_eq!(found(&[]), none);
        assert_eq!(found(&[(1, 2), (2, 3), (4, 3)]), none);
        assert_eq!(found(&[(7, 7)]), none, "nobody waits for itself");
        assert_eq!(found(&[(1, 2), (2, 1)]), [[2, 1]]);
        assert_eq!(found(&[(1, 2), (2, 3), (3, 1), (9, 1), (3, 7)]), [[3, 1, 2]]);
        assert_eq!(found(&[(1, 2), (2, 1), (5, 6), (6, 5)]), [[2, 1], [6, 5]]);
        // Of 8, which only stands in a queue between the two, nothing is taken.
        assert_eq!(found(&[(1, 8), (1, 2), (8, 2), (2, 1)]), [[2, 1]]);
        // Two circles that share one: its end ends both.
        assert_eq!(found(&[(1, 9), (9, 1), (2, 9), (9, 2)]), [[9, 1]]);
        assert_eq!(found(&[(1, 8), (8, 1), (1, 9), (9, 1)]), [[8, 1], [9, 1]]);
    }

    #[test]
    fn the_waits_of_a_circle_are_known() {
        let mut graph = Graph::default();
        graph.add(txn(1), txn(2), place(3, 40));
        graph.add(txn(1), txn(5), place(2, 41));
        graph.add(txn(2), txn(1), place(0, 7));
        let link = |age, wait| Link { txn: txn(age), wait };
        assert_eq!(graph.circles(), [[link(2, place(0, 7)), link(1, place(3, 40))]]);
    }

    #[test]
    fn a_circle_of_two_moments_is_none() {
        let before = graph(&[(1, 2), (2, 3), (3, 1)]);
        assert_eq!(before.intersect(&before), before);
        let opened = graph(&[(1, 2), (2, 3), (3, 2)]);
        assert_eq!(before.intersect(&opened), graph(&[(1, 2), (2, 3)]));
        assert_eq!(before.intersect(&opened).circles(), [] as [Circle; 0]);
        // 3 waits for 1 again, but it has had what it waited for before.
        let mut again = graph(&[(1, 2), (2, 3)]);
        again.add(txn(3), txn(1), place(0, 99));
        assert_eq!(again.clone().circles().len(), 1);
        assert_eq!(before.intersect(&again).circles(), [] as [Circle; 0]);
    }

    fn holds(graph: &Graph, circle: &Circle) -> bool {
        let next = circle.iter().cycle().skip(1);
        circle.iter().zip(next).all(|(link, next)| {
            graph.0.get(&link.txn).is_some_and(|waits| waits.contains(&(next.txn, link.wait)))
        })
    }

    proptest! {
        #[test]
        fn without_the_victims_nobody_waits_in_a_circle(edges in vec((0..12_u64, 0..12_u64), 0..40)) {
            let whole = graph(&edges);
            let mut left = whole.clone();
            for circle in whole.clone().circles() {
                prop_assert!(holds(&whole, &circle));
                prop_assert_eq!(circle.iter().map(|link| link.txn).max(), Some(circle[0].txn));
                left.remove(circle[0].txn);
            }
            left.prune();
            prop_assert_eq!(left, Graph::default());
        }
    }
}

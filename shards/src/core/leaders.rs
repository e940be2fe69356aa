//! Who leads which partition, as far as this core knows, and the search for a leader that has moved.

use super::engine::Inner;
use super::trace::Trace;
use model::error::{SqlError, SqlState};
use model::id::{NodeId, PartitionId};
use model::placement::Place;
use runtime::time::{self, Instant};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A request looks for the leader for so long.
const SEARCH_MAX: Duration = Duration::from_secs(10);

/// Between two attempts it waits so long at first, and twice as long each time.
const WAIT_FIRST: Duration = Duration::from_millis(10);

/// But no longer than this.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// Who leads which partition, and who may: what is not known is asked of one replica after the other.
#[derive(Default)]
pub(super) struct Leaders {
    known: RefCell<BTreeMap<PartitionId, NodeId>>,
    /// Where the replicas are, as it was last heard: some may have moved since.
    replicas: RefCell<BTreeMap<PartitionId, Vec<NodeId>>>,
}

impl Leaders {
    pub(super) fn note(&self, partition: PartitionId, leader: NodeId) {
        self.known.borrow_mut().insert(partition, leader);
    }

    pub(super) fn forget(&self, partition: PartitionId, leader: NodeId) {
        let mut known = self.known.borrow_mut();
        if known.get(&partition) == Some(&leader) {
            known.remove(&partition);
        }
    }

    pub(super) fn get(&self, partition: PartitionId) -> Option<NodeId> {
        self.known.borrow().get(&partition).copied()
    }

    /// Takes note of where the replicas are.
    pub(super) fn learn(&self, replicas: BTreeMap<PartitionId, Vec<NodeId>>) {
        *self.replicas.borrow_mut() = replicas;
    }

    /// Which of `nodes` to ask after so many attempts that have come to nothing. Those that hold the
    /// partition know, and most others know nothing; but where they are is known from hearsay, so that after
    /// two rounds among them every second attempt is with one of the others.
    fn candidate(&self, partition: PartitionId, nodes: &[NodeId], misses: usize) -> Option<NodeId> {
        let replicas = self.replicas.borrow();
        let holders = replicas.get(&partition).map_or(&[][..], Vec::as_slice);
        let (holding, others): (Vec<NodeId>, Vec<NodeId>) =
            nodes.iter().partition(|node| holders.contains(node));
        let in_turns = misses.saturating_sub(2 * holding.len());
        let (among, turn) = match (holding.is_empty(), others.is_empty()) {
            (true, _) => (others, misses),
            (false, true) => (holding, misses),
            (false, false) if misses < 2 * holding.len() => (holding, misses),
            (false, false) if in_turns % 2 == 1 => (holding, in_turns / 2),
            (false, false) => (others, in_turns / 2),
        };
        among.get(turn % among.len().max(1)).copied()
    }
}

/// The search for the leader of a partition, on behalf of one request.
pub(super) struct Search {
    inner: Rc<Inner>,
    partition: PartitionId,
    until: Instant,
    wait: Duration,
    /// Whom the last attempt asked.
    asked: Option<NodeId>,
    /// Attempts that have come to nothing.
    misses: u32,
    /// Told of them, and who has answered.
    trace: Option<Rc<Trace>>,
}

impl Search {
    pub(super) fn new(
        inner: Rc<Inner>,
        partition: PartitionId,
        trace: Option<Rc<Trace>>,
    ) -> Search {
        let until = time::now() + SEARCH_MAX;
        Search { inner, partition, until, wait: WAIT_FIRST, asked: None, misses: 0, trace }
    }

    /// The partition.
    pub(super) fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Where to try next; at first where the leader was last, if that is known.
    ///
    /// # Errors
    /// There is no such partition.
    pub(super) fn place(&mut self) -> Result<Place, SqlError> {
        let inner = &self.inner;
        let map = &inner.placement;
        if map.leader(self.partition).is_none() {
            return Err(SqlError::internal(format!("there is no partition {}", self.partition)));
        }
        let node = self.known().unwrap_or_else(|| self.any());
        self.asked = Some(node);
        Ok(inner.place(node, self.partition).unwrap_or(inner.here_of(self.partition)))
    }

    /// Who leads, as far as is known. A replica here hears first of a new leader; whom it named in vain
    /// is not asked again at once.
    fn known(&self) -> Option<NodeId> {
        self.told_here().or_else(|| self.inner.leaders.get(self.partition))
    }

    /// Who leads, as a replica here says; not the one that the last attempt asked.
    fn told_here(&self) -> Option<NodeId> {
        let here = self.inner.parts.partitions.get(self.partition)?;
        let told = match here.led_elsewhere() {
            None => Some(self.inner.options.node),
            Some(leader) => leader,
        };
        told.filter(|leader| self.asked != Some(*leader))
    }

    /// One that may know: those that have replicas, this node first, one after the other.
    fn any(&self) -> NodeId {
        let own = self.inner.options.node;
        let mut nodes = vec![own];
        nodes.extend(self.inner.nodes.others());
        let candidate = self.inner.leaders.candidate(self.partition, &nodes, self.misses as usize);
        candidate.unwrap_or(own)
    }

    /// The one that was asked does not lead. It has named who does, or not.
    ///
    /// # Errors
    /// The search has lasted too long.
    pub(super) async fn moved(&mut self, leader: Option<NodeId>) -> Result<(), SqlError> {
        let known = leader.filter(|leader| Some(*leader) != self.asked);
        self.miss(known.is_none()).await?;
        if let Some(leader) = known {
            self.inner.leaders.note(self.partition, leader);
        }
        Ok(())
    }

    /// The one that was asked cannot be reached.
    ///
    /// # Errors
    /// The search has lasted too long.
    pub(super) async fn unreached(&mut self) -> Result<(), SqlError> {
        self.miss(true).await
    }

    async fn miss(&mut self, waits: bool) -> Result<(), SqlError> {
        self.misses += 1;
        if let Some(trace) = &self.trace {
            trace.miss();
        }
        if let Some(asked) = self.asked {
            self.inner.leaders.forget(self.partition, asked);
        }
        let now = time::now();
        if now >= self.until || self.inner.closing.get() {
            let partition = self.partition;
            return Err(SqlError::new(
                SqlState::CANNOT_CONNECT_NOW,
                format!("no leader of partition {partition} can be reached"),
            )
            .detail(format!("It was looked for {} times.", self.misses))
            .hint("Retry when a majority of the partition's replicas is there."));
        }
        // One who is named is asked at once, unless two name each other.
        if waits || self.misses > 2 {
            self.wait_for_leader(now + self.wait.min(self.until.saturating_since(now))).await;
            self.wait = (self.wait * 2).min(WAIT_MAX);
        }
        Ok(())
    }

    /// Waits for a replica here to say that another leads now, or until then.
    async fn wait_for_leader(&self, until: Instant) {
        let changed = &self.inner.parts.context.led;
        let mut left = until.saturating_since(time::now());
        while time::timeout(left, changed.notified()).await.is_ok() && self.told_here().is_none() {
            left = until.saturating_since(time::now());
        }
    }

    /// The one that was asked leads.
    pub(super) fn found(&self) {
        if let Some(asked) = self.asked {
            self.inner.leaders.note(self.partition, asked);
            if let Some(trace) = &self.trace {
                let place = self.inner.place(asked, self.partition);
                trace.note(place.unwrap_or(self.inner.here_of(self.partition)), self.partition);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(leaders: &Leaders, nodes: u32, attempts: usize) -> Vec<u32> {
        let nodes: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        let ask = |misses| leaders.candidate(PartitionId(7), &nodes, misses);
        (0..attempts).map(|misses| ask(misses).expect("somebody to ask").0).collect()
    }

    #[test]
    fn who_holds_the_partition_is_asked_first_and_everybody_in_the_end() {
        let leaders = Leaders::default();
        assert_eq!(asked(&leaders, 3, 5), [1, 2, 3, 1, 2]);
        leaders.learn(BTreeMap::from([(PartitionId(7), vec![NodeId(90), NodeId(30), NodeId(60)])]));
        let order = asked(&leaders, 100, 12);
        assert_eq!(order, [30, 60, 90, 30, 60, 90, 1, 30, 2, 60, 3, 90]);
        let everybody: std::collections::BTreeSet<u32> =
            asked(&leaders, 100, 6 + 2 * 97).into_iter().collect();
        assert_eq!(everybody.len(), 100);
        // All of them, or none that is known.
        leaders.learn(BTreeMap::from([(PartitionId(7), (1..=3).map(NodeId).collect())]));
        assert_eq!(asked(&leaders, 3, 8), [1, 2, 3, 1, 2, 3, 1, 2]);
        leaders.learn(BTreeMap::from([(PartitionId(7), vec![NodeId(9)])]));
        assert_eq!(asked(&leaders, 3, 5), [1, 2, 3, 1, 2]);
    }
}

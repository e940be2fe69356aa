//! The partitions that somebody is at, and those that are left alone for a while.

use super::carry::{Move, Rest};
use model::error::SqlError;
use model::id::PartitionId;
use runtime::time::{self, Instant};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a partition is left alone when a move of it has failed; twice as long the next time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// At most.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// By partition: at most one move each.
#[derive(Default)]
pub(super) struct Moves {
    all: BTreeMap<PartitionId, State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// `None`: a move is under way.
    until: Option<Instant>,
    /// Whether the move is of the leader.
    hands_over: bool,
    /// Moves that have failed one behind the other.
    failed: u32,
}

impl Moves {
    /// Whether nothing is to be begun with a partition now.
    pub(super) fn rests(&self, partition: PartitionId) -> bool {
        let now = time::now();
        let rests = |state: &State| state.until.is_none_or(|until| until > now);
        self.all.get(&partition).is_some_and(rests)
    }

    /// Whether another node may lead a partition by now: it is being handed over.
    pub(super) fn hands_over(&self, partition: PartitionId) -> bool {
        let hands_over = |state: &State| state.until.is_none() && state.hands_over;
        self.all.get(&partition).is_some_and(hands_over)
    }

    /// How many are under way.
    pub(super) fn count(&self) -> usize {
        self.all.values().filter(|state| state.until.is_none()).count()
    }

    pub(super) fn begin(&mut self, next: &Move) {
        let hands_over = next.hands_over();
        let failed = self.all.get(&next.partition()).map_or(0, |state| state.failed);
        self.all.insert(next.partition(), State { until: None, hands_over, failed });
    }

    pub(super) fn end(&mut self, partition: PartitionId, result: &Result<Rest, SqlError>) {
        let failed = self.all.get(&partition).map_or(0, |state| state.failed);
        let (pause, failed) = match result {
            Ok(Rest::None) => {
                self.all.remove(&partition);
                return;
            }
            Ok(Rest::For(pause)) => (*pause, 0),
            Err(_) => ((PAUSE_MIN * (1 << failed.min(5))).min(PAUSE_MAX), failed + 1),
        };
        let until = Some(time::now() + pause);
        self.all.insert(partition, State { until, hands_over: false, failed });
    }
}

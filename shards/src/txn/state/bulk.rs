//! Transactions that are too large for one command of the log. Their writes stay in the map in which
//! they were staged, and go through the log in parts.
//!
//! A replay gathers the parts in that map again. Parts that no commit or vote follows are of an
//! attempt that failed: the next first part takes their place, or the end of the replay drops them.

use super::{Pending, Phase, Refusal, Txn, TxnStates, Vote, WriteSet};
use bytes::Bytes;
use model::command::{Command, KeyWrite};
use model::id::{LogIndex, PartitionId, Term, TxnId};
use model::time::Timestamp;
use runtime::time::Instant;
use std::ops::Bound;
use std::rc::Rc;

/// The parts of a transaction that the log holds.
#[derive(Debug)]
pub(super) struct Logged {
    /// The entry of the log that holds the first of them.
    pub(super) index: LogIndex,
    pub(super) locks: Vec<Bytes>,
}

/// The writes of a large transaction whose commit or vote is in the log or on its way.
#[derive(Debug)]
pub(super) struct Bulk {
    /// No version before this time will be written.
    pub(super) at: Timestamp,
    pub(super) writes: Rc<WriteSet>,
}

impl TxnStates {
    /// Begins to write a transaction to the log in parts. Nothing more is staged until it ends.
    pub(crate) fn begin_logging(&mut self, txn: TxnId) -> Result<(), Refusal> {
        self.ready_to_end(txn)?;
        self.set_phase(txn, Phase::Logging);
        Ok(())
    }

    /// Whether a transaction's writes are on their way through the log.
    pub(crate) fn is_logging(&self, txn: TxnId) -> bool {
        self.txns.get(&txn).is_some_and(|known| known.phase == Phase::Logging)
    }

    /// The staged writes of a transaction after a key, up to about so many bytes.
    pub(crate) fn staged_part(
        &self,
        txn: TxnId,
        after: Option<&Bytes>,
        bytes_max: usize,
    ) -> Vec<KeyWrite> {
        let Some(known) = self.txns.get(&txn) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(&key[..]));
        write_part(known.staged.range::<[u8], _>((start, Bound::Unbounded)), bytes_max)
    }

    /// A part is in the log.
    pub(crate) fn part_logged(
        &mut self,
        txn: TxnId,
        first: bool,
        index: LogIndex,
        part: (Vec<KeyWrite>, Vec<Bytes>),
        now: Instant,
    ) {
        if self.led.is_none() {
            self.txns.entry(txn).or_insert_with(|| Txn::new(Phase::Active, now));
        }
        let Some(known) = self.txns.get_mut(&txn) else { return };
        let (writes, locks) = part;
        match &mut known.logged {
            Some(logged) if !first => logged.locks.extend(locks),
            logged => *logged = Some(Logged { index, locks }),
        }
        if self.led.is_none() {
            if first {
                known.staged.clear();
            }
            known.staged.extend(writes.into_iter().map(|write| (write.key, write.value)));
        }
    }

    /// Makes readers at or after `at` wait for the writes of a transaction that was logged in
    /// parts.
    pub(super) fn make_bulk(&mut self, txn: TxnId, at: Timestamp) -> Option<Rc<WriteSet>> {
        let known = self.txns.get_mut(&txn)?;
        let writes = Rc::new(std::mem::take(&mut known.staged));
        self.bulk.insert(txn, Bulk { at, writes: writes.clone() });
        Some(writes)
    }

    /// The command that commits a transaction that wrote here only and was logged in parts.
    pub(crate) fn commit_staged(&mut self, txn: TxnId, at: Timestamp) -> Result<Command, Refusal> {
        self.logging(txn)?;
        self.make_bulk(txn, at);
        self.set_phase(txn, Phase::Committing);
        Ok(Command::Commit { txn, at, writes: Vec::new(), staged: true })
    }

    /// The command that votes for a transaction that was logged in parts, with its locks.
    pub(crate) fn prepare_staged(
        &mut self,
        txn: TxnId,
        at: Timestamp,
        anchor: PartitionId,
    ) -> Result<Command, Refusal> {
        self.logging(txn)?;
        self.make_bulk(txn, at);
        self.set_phase(txn, Phase::Preparing);
        let (writes, locks) = (Vec::new(), Vec::new());
        let vote = Vote { at, anchor, writes, locks, staged: true, index: LogIndex(0) };
        if let Some(known) = self.txns.get_mut(&txn) {
            known.vote = Some(vote);
        }
        let (writes, locks) = (Vec::new(), Vec::new());
        Ok(Command::Prepare { txn, at, anchor, writes, locks, staged: true })
    }

    fn logging(&self, txn: TxnId) -> Result<(), Refusal> {
        match self.txns.get(&txn) {
            None => Err(self.refusal(txn)),
            Some(known) if known.phase == Phase::Logging => Ok(()),
            Some(_) => Err(Refusal::Ending),
        }
    }

    /// A commit is in the log whose writes were in the parts before it: what is to be applied, and
    /// then [`TxnStates::end`] called.
    pub(crate) fn committed_staged(
        &mut self,
        txn: TxnId,
        at: Timestamp,
        index: LogIndex,
    ) -> Option<Rc<WriteSet>> {
        let first = self.txns.get(&txn)?.logged.as_ref()?.index;
        self.carried.push_back((index, first));
        match self.bulk.get(&txn) {
            Some(bulk) => Some(bulk.writes.clone()),
            None => self.make_bulk(txn, at),
        }
    }

    /// The writes of a large transaction, from its commit or vote on.
    pub(crate) fn bulk(&self, txn: TxnId) -> Option<Rc<WriteSet>> {
        self.bulk.get(&txn).map(|bulk| bulk.writes.clone())
    }

    /// The term in which this replica leads, and has applied what earlier ones have left: parts are of its own
    /// transactions.
    pub(crate) fn led(&self) -> Option<Term> {
        self.led
    }

    /// A term begins: what earlier ones have left in parts stays so. `led`: parts are of this
    /// replica's own transactions from here on. Gives those that are not whole and never will be.
    pub(crate) fn begin_term(&mut self, led: Option<Term>) -> Vec<TxnId> {
        self.led = led;
        for known in self.txns.values_mut() {
            // An outcome that an earlier leader has proposed and that is not here by now will not come.
            if let (Some(vote), Phase::Finishing(_) | Phase::Preparing) =
                (&known.vote, &known.phase)
                && vote.index.0 > 0
            {
                known.phase = Phase::Prepared;
            }
        }
        self.those(|known| known.phase != Phase::Prepared)
    }

    /// This replica leads in a term no more. Gives the transactions of which the log knows nothing, and will learn
    /// nothing.
    pub(crate) fn step_down(&mut self, term: Term) -> Vec<TxnId> {
        if self.led.is_some_and(|led| led > term) {
            // It leads again, and the beginning of that has ended them.
            return Vec::new();
        }
        self.led = None;
        self.those(|known| {
            matches!(known.phase, Phase::Active | Phase::Aside(_)) && known.logged.is_none()
        })
    }

    /// Nothing that was heard of the log counts any more. Gives all transactions.
    pub(crate) fn forget_all(&mut self) -> Vec<TxnId> {
        self.led = None;
        self.decisions.clear();
        self.carried.clear();
        self.pending = Pending::default();
        self.bulk.clear();
        self.those(|_| true)
    }

    fn those(&self, which: impl Fn(&Txn) -> bool) -> Vec<TxnId> {
        self.txns.iter().filter(|(_, known)| which(known)).map(|(txn, _)| *txn).collect()
    }
}

/// The first writes of about so many bytes together, at least one.
fn write_part<'a>(
    writes: impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
    bytes_max: usize,
) -> Vec<KeyWrite> {
    let mut bytes = 0;
    let mut part = Vec::new();
    for (key, value) in writes {
        bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        part.push(KeyWrite { key: key.clone(), value: value.clone() });
        if bytes >= bytes_max {
            break;
        }
    }
    part
}

/// Takes keys of about so many bytes together off.
pub(in crate::txn) fn lock_part(locks: &mut Vec<Bytes>, bytes_max: usize) -> Vec<Bytes> {
    let mut bytes = 0;
    let mut part = Vec::new();
    while bytes < bytes_max
        && let Some(key) = locks.pop()
    {
        bytes += key.len();
        part.push(key);
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{CoreId, NodeId};
    use model::placement::Place;

    /// A follower has heard parts, and loses its link with the coordinator before the commit comes.
    #[test]
    fn parts_that_the_log_holds_wait_for_what_it_says() {
        let (node, core) = (NodeId(3), CoreId(0));
        let txn = TxnId { began: Timestamp(7), node, core };
        let write =
            KeyWrite { key: Bytes::from_static(b"k"), value: Some(Bytes::from_static(b"v")) };
        let mut states = TxnStates::new(PartitionId(1), Rc::default());
        let now = Instant::from_nanos(10);
        states.part_logged(txn, true, LogIndex(4), (vec![write.clone()], Vec::new()), now);
        let later = Instant::from_nanos(20);
        assert_eq!(states.lost(Place { node, core }, later), (Vec::new(), false));
        assert_eq!(states.idle(later), Vec::new());
        let committed = states.committed_staged(txn, Timestamp(9), LogIndex(5));
        let committed = committed.map(|writes| (*writes).clone());
        assert_eq!(committed, Some(WriteSet::from([(write.key, write.value)])));
    }
}

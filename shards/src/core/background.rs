//! What an engine does without being asked.

use super::engine::{Engine, Inner};
use crate::txn::Needed;
use model::command::{Outcome, RequestBody, Response};
use model::error::SqlError;
use model::id::{PartitionId, TxnId};
use runtime::time;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// How often versions are collected and the log is looked at.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(500);

/// Where entries of the log lie may take so much of a core's memory, one part in so many.
const INDEX_PART: usize = 32;

/// How often prepared transactions are looked at.
const RESOLVE_EVERY: Duration = Duration::from_secs(1);

/// Collects versions and lets go of the log's old parts.
pub(super) async fn housekeeping(engine: Weak<Inner>) {
    loop {
        time::sleep(HOUSEKEEPING_EVERY).await;
        let Some(inner) = engine.upgrade() else { return };
        collect(&inner);
        expel_lost(&inner);
        purge_log(&inner).await;
    }
}

/// Versions that nobody can see any more may go.
fn collect(inner: &Inner) {
    let context = &inner.parts.context;
    let before = context.collect_before();
    for partition in inner.parts.partitions.all() {
        partition.tree.set_collect_before(before);
    }
    let idle = time::now() - inner.options.idle_transaction_timeout;
    for partition in inner.parts.partitions.all() {
        partition.end_aside();
        let expelled = partition.expel_idle(idle) as u64;
        inner.counters.expelled.set(inner.counters.expelled.get() + expelled);
    }
}

/// Rolls back what cores have begun here that were lost since, and have not asked to have committed.
/// One that is still there, and has only lost its link, is told when it goes on with it. What has only
/// read and stands aside stays: it may be committed elsewhere.
fn expel_lost(inner: &Inner) {
    let mut expelled = 0;
    inner.lost.borrow_mut().retain(|place, when| {
        let partitions = inner.parts.partitions.all();
        let left = partitions.iter().map(|partition| {
            let (ended, busy) = partition.expel_lost(*place, *when);
            expelled += ended as u64;
            busy
        });
        // All are to be looked at.
        left.fold(false, |any, busy| any | busy)
    });
    inner.counters.expelled.set(inner.counters.expelled.get() + expelled);
}

/// Lets go of what nobody needs of the log. Where it is too long, has what holds it up written
/// elsewhere.
async fn purge_log(inner: &Rc<Inner>) {
    let log = &inner.parts.log;
    let partitions = &inner.parts.partitions;
    let held = log.oldest_full_segment();
    let many = log.index_bytes() > (inner.options.memory_bytes / INDEX_PART) as u64;
    let damaged = log.damaged_to().is_some();
    if held.is_none() && !many && !damaged {
        return;
    }
    if many || damaged {
        // Small entries: long before they fill a segment, where they lie takes too much memory. And of a
        // damaged segment nothing may be needed.
        for partition in partitions.all() {
            drop(partition.tree.flush().await);
        }
    }
    for partition in log.wanted_damaged() {
        let led = log.group(partition).map(|group| group.report()).filter(|group| group.leads);
        if let Some(group) = led {
            // Where nobody else can lead it is tried again with the next look.
            drop(Engine::from(inner.clone()).hand_over_one(group).await);
        }
    }
    for partition in partitions.all() {
        log.purge(partition.id, partition.needless_to()).await;
    }
    let too_long = damaged || log.stats().live_bytes > inner.options.wal_live_bytes_max;
    for (partition, last) in held.unwrap_or_default() {
        let Some(partition) = partitions.get(partition) else { continue };
        // What fails here is tried again, and is told to those who write.
        match partition.needs(last) {
            Some(Needed::Flush) if too_long => drop(partition.tree.flush().await),
            Some(Needed::Carry) if partition.serves() => drop(partition.carry(last).await),
            Some(Needed::Flush | Needed::Carry) | None => {}
        }
    }
}

/// Finishes transactions whose coordinator has gone. Those that an earlier life left prepared are
/// finished at once: readers of their rows wait for them.
pub(super) async fn resolver(engine: Weak<Inner>) {
    let mut recovered = Some(time::now());
    loop {
        if recovered.is_none() {
            time::sleep(RESOLVE_EVERY).await;
        }
        let Some(inner) = engine.upgrade() else { return };
        let engine = Engine::from(inner);
        let stale = || time::now() - engine.inner.options.resolve_delay;
        let before = recovered.take().unwrap_or_else(stale);
        let partitions = engine.inner.parts.partitions.all();
        for partition in partitions.into_iter().filter(|partition| partition.serves()) {
            let unresolved = partition.states.borrow().unresolved(before);
            for (txn, _) in unresolved {
                // One that fails is tried again in the next round.
                if engine.resolve_and_finish(partition.id, txn).await.is_ok() {
                    let resolved = &engine.inner.counters.resolved;
                    resolved.set(resolved.get() + 1);
                }
            }
            let unforgotten = partition.states.borrow().unforgotten(before);
            for (txn, decision) in unforgotten {
                let told = engine.tell(txn, decision.outcome, &decision.participants).await;
                if told.is_ok() {
                    drop(partition.forget(txn).await);
                }
            }
        }
    }
}

impl Engine {
    /// Asks a prepared transaction's anchor for the outcome and carries it out.
    pub(super) async fn resolve_and_finish(
        &self,
        partition: PartitionId,
        txn: TxnId,
    ) -> Result<(), SqlError> {
        let here = self.inner.partition(partition)?.clone();
        let anchor = here.states.borrow().vote(txn).map(|vote| vote.anchor);
        let Some(anchor) = anchor else { return Ok(()) };
        let outcome = if anchor == partition {
            here.resolve(txn).await?
        } else {
            // The anchor may be on this core, too: the future contains itself.
            let asked = Box::pin(self.call(anchor, RequestBody::Resolve { txn })).await?;
            match asked {
                Response::Decided(outcome) => outcome,
                _ => return Err(SqlError::internal("an anchor answered something else")),
            }
        };
        here.finish(txn, outcome).await
    }

    /// Carries a decision out in every participant.
    async fn tell(
        &self,
        txn: TxnId,
        outcome: Outcome,
        participants: &[PartitionId],
    ) -> Result<(), SqlError> {
        for &participant in participants {
            self.call(participant, RequestBody::Finish { txn, outcome }).await?;
        }
        Ok(())
    }
}

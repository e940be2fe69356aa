//! Carries decisions out behind the client's back: one task a core, so that a commit costs no
//! spawn, and a bound on how many are under way.

use super::Transaction;
use super::commit::Committing;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, select_biased};
use model::command::{Outcome, RequestBody};
use model::id::{PartitionId, TxnId};
use model::time::Timestamp;
use runtime::sync::queue;
use runtime::time::{self, Instant};
use shards::core::Engine;
use std::collections::VecDeque;
use std::time::Duration;

/// Decisions that wait to be carried out; a commit that finds the queue full waits for a place.
const QUEUE_MAX: usize = 4096;
/// Decisions under way at once.
const CONCURRENT_MAX: usize = 256;
/// Rollbacks that wait to be told once more. Beyond that the oldest is left to the partitions, which roll back
/// what was idle for an hour.
const UNTOLD_MAX: usize = 4096;
/// Of them so many are told at once: each may look for a leader for a while.
const TELLING_MAX: usize = 16;
/// How often one is told, while it cannot be.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// It is given up then.
const TELL_FOR: Duration = Duration::from_secs(3600);

/// Hands decisions to the core's finisher. One per core; clones share it.
#[derive(Clone)]
pub struct Finisher {
    queue: queue::Sender<Work>,
}

/// What is done behind the client's back.
pub(super) enum Work {
    /// A commit is decided: tell the participants.
    CarryOut(Decision),
    /// And those that were only read: their locks may go.
    Release { txn: TxnId, commit: Timestamp, readers: Vec<PartitionId> },
    /// A session or statement was given up in the middle: free what its transaction holds.
    GiveUp(Transaction),
    /// The same in the middle of its commit, whose outcome may be decided: that goes on to its end.
    Commit(Committing),
    /// A transaction was rolled back, and some could not be told.
    TellLater(Untold),
}

/// Partitions that hold what is left of a transaction that was rolled back: whoever leads them could not be
/// asked. Where it leads on after that, in the same term, nobody else lets go of the locks.
pub(super) struct Untold {
    txn: TxnId,
    partitions: Vec<PartitionId>,
    since: Instant,
}

impl Untold {
    /// `None`: all were told.
    pub(super) fn of(txn: TxnId, partitions: Vec<PartitionId>) -> Option<Untold> {
        (!partitions.is_empty()).then(|| Untold { txn, partitions, since: time::now() })
    }

    /// Tells them again. Returns what is left of it.
    async fn tell(self, engine: &Engine) -> Option<Untold> {
        time::sleep(TELL_EVERY).await;
        let partitions = untold(engine, self.txn, self.partitions.into_iter()).await;
        let left = !partitions.is_empty() && self.since.elapsed() < TELL_FOR;
        left.then_some(Untold { partitions, ..self })
    }
}

/// Rolls a transaction back in some partitions. Returns those that could not be told.
pub(super) async fn untold(
    engine: &Engine,
    txn: TxnId,
    partitions: impl Iterator<Item = PartitionId>,
) -> Vec<PartitionId> {
    let rollbacks = partitions.map(|partition| async move {
        let told = engine.call(partition, RequestBody::Rollback { txn }).await;
        told.is_err().then_some(partition)
    });
    let told = futures::future::join_all(rollbacks).await;
    told.into_iter().flatten().collect()
}

/// A logged decision to commit.
pub(super) struct Decision {
    pub(super) txn: TxnId,
    pub(super) anchor: PartitionId,
    pub(super) commit: Timestamp,
    pub(super) participants: Vec<PartitionId>,
}

impl Finisher {
    /// Starts the core's finisher. The task ends when every handle is gone.
    pub fn start(engine: Engine) -> Finisher {
        let (sender, receiver) = queue::bounded(QUEUE_MAX);
        runtime::task::spawn("finisher", run(engine, receiver)).detach();
        Finisher { queue: sender }
    }

    /// Sees to it that every participant learns of the commit and the anchor forgets it. If this
    /// node stops first, the participants ask the anchor.
    pub(super) async fn carry_out(&self, work: Work) {
        // A closed queue means that the core is stopping: recovery finishes the transaction.
        let _stopping = self.queue.send(work).await;
    }

    /// Goes on with a commit that nobody waits for any more.
    pub(super) fn go_on(&self, commit: Committing) {
        // Where there is no room for it, what was prepared is resolved at the anchor, and what was
        // not lets go when it was idle for an hour.
        let _full = self.queue.try_send(Work::Commit(commit));
    }

    /// Rolls back a transaction that nobody waits for any more.
    pub(crate) fn give_up(&self, transaction: Transaction) {
        // Where there is no room for it the partitions roll it back themselves, after a while.
        let _full = self.queue.try_send(Work::GiveUp(transaction));
    }

    /// Tells those who could not be told until they can.
    pub(super) fn tell_later(&self, untold: Untold) {
        let _full = self.queue.try_send(Work::TellLater(untold));
    }
}

async fn run(engine: Engine, mut waiting: queue::Receiver<Work>) {
    let mut under_way = FuturesUnordered::new();
    let mut telling = FuturesUnordered::new();
    let mut untold = VecDeque::new();
    loop {
        if untold.len() > UNTOLD_MAX {
            untold.pop_front();
        }
        while telling.len() < TELLING_MAX
            && let Some(next) = untold.pop_front()
        {
            telling.push(Untold::tell(next, &engine));
        }
        if under_way.len() >= CONCURRENT_MAX {
            untold.extend(under_way.next().await.flatten());
            continue;
        }
        select_biased! {
            work = waiting.recv().fuse() => match work {
                Ok(work) => under_way.push(finish(&engine, work)),
                Err(_closed) => break,
            },
            left = under_way.select_next_some() => untold.extend(left),
            left = telling.select_next_some() => untold.extend(left),
        }
    }
    // Who could not be told is not told any more: the place of this core is lost to all.
    drop(telling);
    while under_way.next().await.is_some() {}
}

/// Returns whom it could not tell.
async fn finish(engine: &Engine, work: Work) -> Option<Untold> {
    match work {
        Work::CarryOut(decision) => carry_out(engine, decision).await,
        Work::TellLater(untold) => return Some(untold),
        Work::Release { txn, commit, readers } => {
            let outcome = Outcome::Committed(commit);
            let told = readers
                .into_iter()
                .map(|partition| engine.call(partition, RequestBody::Finish { txn, outcome }));
            // One that cannot be told lets go itself, after a while.
            let _told = futures::future::join_all(told).await;
        }
        Work::GiveUp(transaction) => {
            let left = untold(engine, transaction.id, transaction.everyone()).await;
            return Untold::of(transaction.id, left);
        }
        Work::Commit(commit) => {
            let (_nobody_asks, behind) = commit.await;
            let mut left = None;
            for work in behind {
                // One of them at most is about a rollback.
                left = left.or(Box::pin(finish(engine, work)).await);
            }
            return left;
        }
    }
    None
}

async fn carry_out(engine: &Engine, decision: Decision) {
    let Decision { txn, anchor, commit, participants } = decision;
    let outcome = Outcome::Committed(commit);
    let told = participants.iter().map(|&partition| async move {
        engine.call(partition, RequestBody::Finish { txn, outcome }).await.is_ok()
    });
    let confirmed = futures::future::join_all(told).await.into_iter().all(|confirmed| confirmed);
    // A participant that could not be told may still ask: the anchor keeps the decision.
    if confirmed {
        // Where this fails the anchor keeps a decision that nobody will ask for: harmless.
        let _kept = engine.call(anchor, RequestBody::Forget { txn }).await;
    }
}

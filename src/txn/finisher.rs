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
use shards::core::Engine;

/// Decisions that wait to be carried out; a commit that finds the queue full waits for a place.
const QUEUE_MAX: usize = 4096;
/// Decisions under way at once.
const CONCURRENT_MAX: usize = 256;

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
        // not lets go when it was idle for long enough.
        let _full = self.queue.try_send(Work::Commit(commit));
    }

    /// Rolls back a transaction that nobody waits for any more.
    pub(crate) fn give_up(&self, transaction: Transaction) {
        // Where there is no room for it the partitions roll it back themselves, after a while.
        let _full = self.queue.try_send(Work::GiveUp(transaction));
    }
}

async fn run(engine: Engine, mut waiting: queue::Receiver<Work>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        if under_way.len() >= CONCURRENT_MAX {
            under_way.next().await;
            continue;
        }
        select_biased! {
            work = waiting.recv().fuse() => match work {
                Ok(work) => under_way.push(finish(&engine, work)),
                Err(_closed) => break,
            },
            _ = under_way.select_next_some() => {}
        }
    }
    while under_way.next().await.is_some() {}
}

async fn finish(engine: &Engine, work: Work) {
    match work {
        Work::CarryOut(decision) => carry_out(engine, decision).await,
        Work::Release { txn, commit, readers } => {
            let outcome = Outcome::Committed(commit);
            let told = readers
                .into_iter()
                .map(|partition| engine.call(partition, RequestBody::Finish { txn, outcome }));
            // One that cannot be told lets go itself, after a while.
            let _told = futures::future::join_all(told).await;
        }
        Work::GiveUp(transaction) => {
            // A partition that cannot be told rolls it back itself, after a while.
            let _told = super::rollback(engine, &transaction).await;
        }
        Work::Commit(commit) => {
            let (_nobody_asks, behind) = commit.await;
            for work in behind {
                Box::pin(finish(engine, work)).await;
            }
        }
    }
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

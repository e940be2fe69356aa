//! The driver of the coordinator: sends what it asks for, feeds back what is answered.

use super::Transaction;
use super::coordinator::{Action, Ballot, Coordinator, Event};
use super::finisher::{Decision, Finisher, Untold, Work, untold};
use futures::future::{FusedFuture, FutureExt, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use model::command::{RequestBody, Response};
use model::error::SqlError;
use model::id::{Mark, PartitionId, TxnId};
use model::time::Timestamp;
use shards::core::Engine;
use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A commit on its way: its outcome, and what is then left to do behind the client's back.
pub(super) type Committing = LocalBoxFuture<'static, (Result<Timestamp, SqlError>, Vec<Work>)>;

/// Commits a transaction. Returns when the outcome is decided and durable; carrying it out in the
/// participants goes on behind the answer, in the core's finisher.
///
/// A future that is dropped while it waits goes on there, too: what has begun to commit comes to its
/// end, and whatever it holds is let go, although nobody hears of it.
pub async fn commit(
    engine: &Engine,
    finisher: &Finisher,
    transaction: Transaction,
) -> Result<Timestamp, SqlError> {
    let commit: Committing = Box::pin(decide(engine.clone(), transaction));
    let (outcome, behind) = Watched { finisher, commit: commit.fuse() }.await;
    for work in behind {
        finisher.carry_out(work).await;
    }
    outcome
}

/// A commit that somebody waits for.
struct Watched<'a> {
    finisher: &'a Finisher,
    commit: futures::future::Fuse<Committing>,
}

impl Future for Watched<'_> {
    type Output = (Result<Timestamp, SqlError>, Vec<Work>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.commit.poll_unpin(cx)))
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let commit = std::mem::replace(&mut self.commit, futures::future::Fuse::terminated());
        if !commit.is_terminated() {
            self.finisher.go_on(Box::pin(commit));
        }
    }
}

/// Drives the coordinator until the client can be answered.
async fn decide(
    engine: Engine,
    transaction: Transaction,
) -> (Result<Timestamp, SqlError>, Vec<Work>) {
    let engine = &engine;
    let (participants, readers) = (transaction.participants(), transaction.readers());
    let (mut coordinator, mut actions) = Coordinator::start(&participants, &readers);
    let untold = RefCell::new(Vec::new());
    let mut answers: FuturesUnordered<LocalBoxFuture<'_, Option<Event>>> = FuturesUnordered::new();
    let unheard = transaction.unheard().into_iter().map(Action::Rollback);
    answers.extend(unheard.filter_map(|action| send(engine, transaction.id, action, &untold)));
    loop {
        let mut answer = None;
        let mut behind = Vec::new();
        for action in actions {
            match action {
                Action::Answer(result) => answer = Some(result),
                Action::CarryOut { anchor, commit, participants } => {
                    let txn = transaction.id;
                    behind.push(Work::CarryOut(Decision { txn, anchor, commit, participants }));
                }
                Action::Release { commit, readers } => {
                    behind.push(Work::Release { txn: transaction.id, commit, readers });
                }
                other => answers.extend(send(engine, transaction.id, other, &untold)),
            }
        }
        if let Some(result) = answer {
            // Rollbacks are told before the client is: its next statement must not meet the locks.
            while answers.next().await.is_some() {}
            let left = Untold::of(transaction.id, untold.take());
            behind.extend(left.map(Work::TellLater));
            return (result, behind);
        }
        let Some(event) = answers.next().await else {
            return (Err(SqlError::internal("a commit has nothing to wait for")), behind);
        };
        actions = event.map_or_else(Vec::new, |event| coordinator.step(event));
    }
}

/// Drops everything a transaction holds anywhere.
pub async fn rollback(engine: &Engine, finisher: &Finisher, transaction: &Transaction) {
    let left = untold(engine, transaction.id, transaction.everyone()).await;
    if let Some(untold) = Untold::of(transaction.id, left) {
        finisher.tell_later(untold);
    }
}

/// Takes back what a transaction has done since a mark, everywhere. After an error it can only be
/// rolled back.
pub async fn roll_back_to(
    engine: &Engine,
    transaction: &mut Transaction,
    mark: Mark,
) -> Result<(), SqlError> {
    let txn = transaction.id;
    let rollbacks = transaction.everyone().map(|partition| async move {
        let answer = engine.call(partition, RequestBody::RollbackTo { txn, mark }).await?;
        match answer {
            Response::Returned(left) => Ok((partition, left)),
            other => Err(unexpected("a rollback to a mark", &other)),
        }
    });
    let results: Vec<Result<_, SqlError>> = futures::future::join_all(rollbacks).await;
    for result in results {
        let (partition, left) = result?;
        if !left {
            transaction.release(partition);
        }
    }
    Ok(())
}

/// The request for an action, and the event that its answer makes.
fn send<'a>(
    engine: &'a Engine,
    txn: TxnId,
    action: Action,
    untold: &'a RefCell<Vec<PartitionId>>,
) -> Option<LocalBoxFuture<'a, Option<Event>>> {
    Some(match action {
        Action::CommitOnePhase { partition, not_after } => Box::pin(async move {
            let body = RequestBody::CommitOnePhase { txn, not_after };
            let answer = engine.call(partition, body).await;
            Some(Event::CommittedOnePhase(answer.and_then(|response| match response {
                Response::Committed(at) => Ok(at),
                other => Err(unexpected("a commit", &other)),
            })))
        }),
        Action::StandAside(partition) => Box::pin(async move {
            let answer = engine.call(partition, RequestBody::StandAside { txn }).await;
            let result = answer.and_then(|response| match response {
                Response::Aside(not_after) => Ok(not_after),
                other => Err(unexpected("a request to stand aside", &other)),
            });
            Some(Event::StoodAside { partition, result })
        }),
        Action::Prepare { partition, anchor } => Box::pin(async move {
            let answer = engine.call(partition, RequestBody::Prepare { txn, anchor }).await;
            let vote = answer.and_then(|response| match response {
                Response::Prepared(at) => Ok(Ballot::Yes(at)),
                Response::Aside(not_after) => Ok(Ballot::Aside(not_after)),
                other => Err(unexpected("a prepare", &other)),
            });
            Some(Event::Voted { partition, vote })
        }),
        Action::Decide { anchor, commit, participants } => Box::pin(async move {
            let body = RequestBody::Decide { txn, commit, participants };
            let answer = engine.call(anchor, body).await;
            Some(Event::Decided(answer.and_then(|response| match response {
                Response::Decided(outcome) => Ok(outcome),
                other => Err(unexpected("a decision", &other)),
            })))
        }),
        Action::Rollback(partition) => Box::pin(async move {
            // One that has voted asks the anchor, too, which presumes abort.
            let told = engine.call(partition, RequestBody::Rollback { txn }).await;
            untold.borrow_mut().extend(told.is_err().then_some(partition));
            None
        }),
        Action::Answer(_) | Action::CarryOut { .. } | Action::Release { .. } => return None,
    })
}

fn unexpected(to: &str, response: &Response) -> SqlError {
    SqlError::internal(format!("a partition answered {to} with {response:?}"))
}

//! The driver of the coordinator: sends what it asks for, feeds back what is answered.

use super::Transaction;
use super::coordinator::{Action, Coordinator, Event};
use super::finisher::{Decision, Finisher, Work};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use model::command::{RequestBody, Response};
use model::error::SqlError;
use model::id::{Mark, TxnId};
use model::time::Timestamp;
use shards::core::Engine;

/// Commits a transaction. Returns when the outcome is decided and durable; carrying it out in the
/// participants goes on behind the answer, in the core's finisher.
///
/// Dropping the future while it waits leaves the outcome to the participants: what was prepared is
/// resolved at the anchor; what was not, and what stands aside, lets go when nothing was heard of it
/// for as long as a transaction may be idle.
pub async fn commit(
    engine: &Engine,
    finisher: &Finisher,
    transaction: &Transaction,
) -> Result<Timestamp, SqlError> {
    let (participants, readers) = (transaction.participants(), transaction.readers());
    let (mut coordinator, mut actions) = Coordinator::start(&participants, &readers);
    let mut answers: FuturesUnordered<LocalBoxFuture<'_, Option<Event>>> = FuturesUnordered::new();
    let unheard = transaction.unheard().into_iter().map(Action::Rollback);
    answers.extend(unheard.filter_map(|action| send(engine, transaction.id, action)));
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
                other => answers.extend(send(engine, transaction.id, other)),
            }
        }
        if let Some(result) = answer {
            for work in behind {
                finisher.carry_out(work).await;
            }
            // Rollbacks are told before the client is: its next statement must not meet the locks.
            while answers.next().await.is_some() {}
            return result;
        }
        let Some(event) = answers.next().await else {
            return Err(SqlError::internal("a commit has nothing to wait for"));
        };
        actions = event.map_or_else(Vec::new, |event| coordinator.step(event));
    }
}

/// Drops everything a transaction holds anywhere.
pub async fn rollback(engine: &Engine, transaction: &Transaction) -> Result<(), SqlError> {
    let txn = transaction.id;
    let readers = transaction.readers().into_iter().chain(transaction.unheard());
    let everyone = transaction.participants().into_iter().chain(readers);
    let rollbacks = everyone.map(|partition| async move {
        engine.call(partition, RequestBody::Rollback { txn }).await.map(drop)
    });
    let results = futures::future::join_all(rollbacks).await;
    results.into_iter().collect()
}

/// Takes back what a transaction has done since a mark, everywhere. After an error it can only be
/// rolled back.
pub async fn roll_back_to(
    engine: &Engine,
    transaction: &mut Transaction,
    mark: Mark,
) -> Result<(), SqlError> {
    let txn = transaction.id;
    let readers = transaction.readers().into_iter().chain(transaction.unheard());
    let everyone = transaction.participants().into_iter().chain(readers);
    let rollbacks = everyone.map(|partition| async move {
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
) -> Option<LocalBoxFuture<'a, Option<Event>>> {
    Some(match action {
        Action::CommitOnePhase(partition) => Box::pin(async move {
            let answer = engine.call(partition, RequestBody::CommitOnePhase { txn }).await;
            Some(Event::CommittedOnePhase(answer.and_then(|response| match response {
                Response::Committed(at) => Ok(at),
                other => Err(unexpected("a commit", &other)),
            })))
        }),
        Action::StandAside(partition) => Box::pin(async move {
            let answer = engine.call(partition, RequestBody::StandAside { txn }).await;
            Some(Event::StoodAside { partition, result: answer.map(drop) })
        }),
        Action::Prepare { partition, anchor } => Box::pin(async move {
            let answer = engine.call(partition, RequestBody::Prepare { txn, anchor }).await;
            let vote = answer.and_then(|response| match response {
                Response::Prepared(vote) => Ok(vote),
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
            // A participant that cannot be told asks the anchor, which presumes abort.
            let _told = engine.call(partition, RequestBody::Rollback { txn }).await;
            None
        }),
        Action::Answer(_) | Action::CarryOut { .. } | Action::Release { .. } => return None,
    })
}

fn unexpected(to: &str, response: &Response) -> SqlError {
    SqlError::internal(format!("a partition answered {to} with {response:?}"))
}

//! What ends a statement where it waits: its client, a cancel, its time.

use super::Interrupts;
use crate::router::presence::Presence;
use model::error::{SqlError, SqlState};
use runtime::time;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Runs `work` until it is done, interrupted or out of time. One that never waits pays for none
/// of that; nothing interrupts a commit, which could not say then whether it has happened.
pub(super) async fn guarded<T>(
    work: impl Future<Output = Result<T, SqlError>>,
    interrupts: &dyn Interrupts,
    presence: &Presence,
    timeout: Option<Duration>,
) -> Result<T, SqlError> {
    let mut work = pin!(work);
    if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
        return done;
    }
    let mut interrupted = interrupts.wait();
    let mut cancelled = pin!(presence.cancelled().notified());
    let mut alarm = pin!(async move {
        match timeout {
            Some(timeout) => time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    });
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if presence.is_committing() {
            return Poll::Pending;
        }
        if let Poll::Ready(error) = interrupted.as_mut().poll(cx) {
            return Poll::Ready(Err(error));
        }
        if cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(given_up("canceling statement due to user request")));
        }
        if alarm.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(given_up("canceling statement due to statement timeout")));
        }
        Poll::Pending
    })
    .await
}

/// Waits for others no longer than `lock_timeout` allows.
pub(super) async fn within(
    lock_timeout: Option<Duration>,
    entered: impl Future<Output = Result<(), SqlError>>,
) -> Result<(), SqlError> {
    let Some(limit) = lock_timeout else { return entered.await };
    match time::timeout(limit, entered).await {
        Ok(entered) => entered,
        Err(_late) => Err(SqlError::new(
            SqlState::LOCK_NOT_AVAILABLE,
            "canceling statement due to lock timeout",
        )
        .detail("A transaction that changes the schema of the table did not end in time.")),
    }
}

fn given_up(message: &'static str) -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, message)
}

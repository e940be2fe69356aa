//! `idle_session_timeout` and `idle_in_transaction_session_timeout`: a session whose client says
//! nothing for so long is ended.

use crate::router::presence::Presence;
use futures::future::{LocalBoxFuture, select};
use model::error::{SqlError, SqlState};
use runtime::time;
use std::pin::pin;
use std::rc::Rc;

/// Waits until the session has waited too long for its client, for the error it ends with. Most
/// sessions have no limit: what watches one is on the heap only while there is one.
pub(super) async fn too_long(presence: Rc<Presence>) -> SqlError {
    loop {
        if presence.patience_left().is_none() {
            presence.patience_changed().notified().await;
            continue;
        }
        let watch: LocalBoxFuture<'_, Option<SqlError>> = Box::pin(watch(&presence));
        if let Some(error) = watch.await {
            return error;
        }
    }
}

/// Watches a session with a limit; `None` when it has none any more.
///
/// Sessions that rest tell nobody: this looks when the time would be over, and goes back to sleep
/// where something has happened since.
async fn watch(presence: &Presence) -> Option<SqlError> {
    loop {
        let changed = pin!(presence.patience_changed().notified());
        let left = presence.patience_left()?;
        if left.is_zero() {
            return Some(ended_for(presence.in_transaction()));
        }
        select(changed, pin!(time::sleep(left))).await;
    }
}

fn ended_for(in_transaction: bool) -> SqlError {
    match in_transaction {
        true => SqlError::new(
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            "terminating connection due to idle-in-transaction timeout",
        ),
        false => SqlError::new(
            SqlState::IDLE_SESSION_TIMEOUT,
            "terminating connection due to idle-session timeout",
        ),
    }
}

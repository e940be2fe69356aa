//! `idle_session_timeout` and `idle_in_transaction_session_timeout`: a session whose client says
//! nothing for so long is ended.

use crate::router::presence::Presence;
use futures::future::{Either, select};
use model::error::{SqlError, SqlState};
use runtime::time;
use std::pin::pin;
use std::rc::Rc;

/// Waits until the session has waited too long for its client, for the error it ends with.
///
/// Sessions that rest tell nobody: this looks when the time would be over, and goes back to sleep
/// where something has happened since.
pub(super) async fn too_long(presence: Rc<Presence>) -> SqlError {
    loop {
        let changed = pin!(presence.patience_changed().notified());
        let Some(left) = presence.patience_left() else {
            changed.await;
            continue;
        };
        if left.is_zero() {
            return ended_for(presence.in_transaction());
        }
        if let Either::Left(_) = select(changed, pin!(time::sleep(left))).await {
            continue;
        }
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

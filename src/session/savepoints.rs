//! Savepoints of a transaction block.
//!
//! ```text
//!   SAVEPOINT a   ─► a mark in the transaction; changes from here on belong to it
//!   an error      ─► what was done since the last savepoint is taken back at once;
//!                    the block has failed, and waits to be told what becomes of it
//!   ROLLBACK TO a ─► what was done since a is taken back; a stays, and the block goes on
//!   RELEASE a     ─► a and what came after it are no savepoints any more
//! ```
//!
//! What goes back with the changes: the locks (not at SERIALIZABLE, where what was read stays locked
//! to the end), cursors that were opened since, settings, changes of the schema.

use super::block::Standing;
use super::{Open, Session, Settings};
use crate::router::ChangesMark;
use model::error::{SqlError, SqlState};
use model::id::Mark;

/// Savepoints that a block has at most at one time.
const SAVEPOINTS_MAX: usize = 4096;

/// A place to go back to.
pub(super) struct Savepoint {
    name: Box<str>,
    mark: Mark,
    /// The settings there, and what the end of the transaction would make of them.
    settings: Settings,
    settings_before: Option<Settings>,
    settings_after: Option<Settings>,
    /// The changes of the schema there, where there were any.
    schema: Option<ChangesMark>,
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(
        SqlState::INVALID_SAVEPOINT_SPECIFICATION,
        format!("savepoint \"{name}\" does not exist"),
    )
}

/// Of a failed block whose transaction could not be kept.
fn gone() -> SqlError {
    SqlError::new(SqlState::SERIALIZATION_FAILURE, "the transaction was rolled back")
        .detail("A statement failed in a way that took the savepoints with it.")
        .hint("Retry the transaction.")
}

impl Open {
    /// The last savepoint of that name.
    fn savepoint(&self, name: &str) -> Result<usize, SqlError> {
        let at = self.savepoints.iter().rposition(|savepoint| *savepoint.name == *name);
        at.ok_or_else(|| unknown(name))
    }
}

impl Session {
    /// `SAVEPOINT`. One of a name that is there hides it.
    ///
    /// # Errors
    /// 53400 at the bound.
    pub(super) fn set_savepoint(&mut self, name: &str) -> Result<(), SqlError> {
        let settings = self.settings.clone();
        let open = self.opened()?;
        if open.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(SqlError::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                format!("the transaction has {SAVEPOINTS_MAX} savepoints"),
            )
            .hint("Release savepoints that are no longer needed."));
        }
        let savepoint = Savepoint {
            name: name.into(),
            mark: open.transaction.set_mark(),
            settings,
            settings_before: open.settings_before.clone(),
            settings_after: open.settings_after.clone(),
            schema: open.schema.as_ref().map(|changes| changes.mark()),
        };
        open.savepoints.push(savepoint);
        Ok(())
    }

    /// `RELEASE`
    ///
    /// # Errors
    /// 3B001 for an unknown name.
    pub(super) fn release_savepoint(&mut self, name: &str) -> Result<(), SqlError> {
        let open = self.opened()?;
        let at = open.savepoint(name)?;
        open.savepoints.truncate(at);
        Ok(())
    }

    /// `ROLLBACK TO`: the savepoint stays, those after it go.
    ///
    /// # Errors
    /// 3B001 for an unknown name; 40001 where the transaction is not there any more.
    pub(super) async fn roll_back_to(&mut self, name: &str) -> Result<(), SqlError> {
        let open = match &mut self.open {
            Some(open) => open,
            None if self.lost_savepoints => return Err(gone()),
            None => return Err(unknown(name)),
        };
        let at = open.savepoint(name)?;
        open.savepoints.truncate(at + 1);
        let returned = self.go_back().await;
        match returned {
            Ok(()) => self.standing = Standing::Open,
            Err(_) => self.lose_block().await,
        }
        returned
    }

    /// A statement has failed in a block: back to the last savepoint, or all of it.
    pub(super) async fn fail_block(&mut self) {
        let has_savepoint = self.open.as_ref().is_some_and(|open| !open.savepoints.is_empty());
        if !has_savepoint {
            return self.rollback_open(Standing::Failed).await;
        }
        self.standing = Standing::Failed;
        if self.go_back().await.is_err() {
            self.lose_block().await;
        }
    }

    /// There is no way back any more.
    async fn lose_block(&mut self) {
        self.rollback_open(Standing::Failed).await;
        self.lost_savepoints = true;
    }

    /// Takes back what was done since the last savepoint.
    async fn go_back(&mut self) -> Result<(), SqlError> {
        let router = self.host.router.clone();
        let open = self.opened()?;
        let Some(savepoint) = open.savepoints.last() else {
            return Err(SqlError::internal("no savepoint to go back to"));
        };
        let mark = savepoint.mark;
        let settings = savepoint.settings.clone();
        open.settings_before = savepoint.settings_before.clone();
        open.settings_after = savepoint.settings_after.clone();
        self.restore_settings(settings);
        self.portals.end_since(mark);
        let open = self.opened()?;
        router.roll_back_to(&mut open.transaction, mark).await?;
        let there = open.savepoints.last().and_then(|savepoint| savepoint.schema.as_ref());
        match (&mut open.schema, there) {
            (Some(changes), Some(there)) => changes.go_back(there).await,
            (changes, _) => {
                if let Some(changes) = changes.take() {
                    changes.end().await;
                }
            }
        }
        Ok(())
    }

    fn opened(&mut self) -> Result<&mut Open, SqlError> {
        self.open.as_deref_mut().ok_or_else(|| SqlError::internal("a block without a transaction"))
    }

    /// The last mark that the open transaction may go back to, or is read at.
    pub(super) fn last_mark_of_use(&self) -> Option<Mark> {
        let savepoint = self.open.as_ref().and_then(|open| open.savepoints.last());
        savepoint.map(|savepoint| savepoint.mark).max(self.portals.last_mark_read())
    }
}

//! How long a setting lasts: for the session, or for the transaction at hand.
//!
//! The modes of a transaction are settings, too, which end with it. One that a transaction does not
//! set is what new transactions have, as it was when the transaction came to it.

use super::block::Warning;
use super::settings::{is_of_transaction, of_transaction};
use super::{Client, Session, Settings};
use crate::sql::{Planned, PlannedKind, SetStatement};
use model::error::{SqlError, SqlState};

impl Session {
    /// `SET`, `RESET`
    ///
    /// # Errors
    /// Those of [`Settings::set`]; 25001 for a mode that comes too late.
    pub(super) fn change_setting(
        &mut self,
        set: &SetStatement,
        client: &mut dyn Client,
    ) -> Result<(), SqlError> {
        let value = set.value.as_deref();
        let ends_with_transaction = set.local || is_of_transaction(&set.name);
        if self.open.is_none() && ends_with_transaction {
            self.settings.clone().apply(&set.name, value)?;
            if set.local {
                self.warn(Some(Warning::LocalOutside), client);
            }
            return Ok(());
        }
        if let (Some(own), true) = (of_transaction(&set.name), self.open.is_some()) {
            // What new transactions are from now on, this one is not.
            let now = self.settings.show(own)?;
            self.keep_setting(own, Some(&now), true)?;
        }
        self.keep_setting(&set.name, value, ends_with_transaction)
    }

    /// The modes that come with a `BEGIN` or a `SET TRANSACTION`.
    ///
    /// # Errors
    /// Those of [`Session::change_setting`].
    pub(super) fn set_modes(
        &mut self,
        planned: &Planned,
        client: &mut dyn Client,
    ) -> Result<(), SqlError> {
        let (PlannedKind::Begin(modes) | PlannedKind::SetTransaction(modes)) = &planned.kind else {
            return Ok(());
        };
        modes.iter().try_for_each(|mode| self.change_setting(mode, client))
    }

    fn keep_setting(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<(), SqlError> {
        let mut changed = self.settings.clone();
        changed.apply(name, value)?;
        if let Some(open) = &mut self.open {
            if open.worked && self.settings.read_only() && !changed.read_only() {
                return Err(SqlError::new(
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "transaction read-write mode must be set before any query",
                ));
            }
            if open.settings_before.is_none() {
                open.settings_before = Some(self.settings.clone());
            }
            match &mut open.settings_after {
                Some(after) if !local => after.apply(name, value)?,
                None if local => open.settings_after = Some(self.settings.clone()),
                Some(_) | None => {}
            }
        }
        self.restore_settings(changed);
        Ok(())
    }

    /// Gives the settings back as they were.
    pub(super) fn restore_settings(&mut self, before: Settings) {
        self.settings = before;
        self.scope.values = self.settings.values();
    }

    /// A transaction that only reads refuses what writes.
    pub(super) fn refuse_if_read_only(&self, planned: &Planned) -> Result<(), SqlError> {
        if !self.settings.read_only() {
            return Ok(());
        }
        let Some(command) = planned.writes_by() else { return Ok(()) };
        Err(SqlError::new(
            SqlState::READ_ONLY_SQL_TRANSACTION,
            format!("cannot execute {command} in a read-only transaction"),
        ))
    }
}

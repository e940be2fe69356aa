//! How long a setting lasts: for the session, or for the transaction at hand.
//!
//! The modes of a transaction are settings, too, which end with it. One that a transaction does not
//! set is what new transactions have, as it was when the transaction came to it.

use super::block::Warning;
use super::run::now_micros;
use super::settings::{is_of_transaction, of_transaction};
use super::{Client, Session, Settings};
use crate::sql::{Planned, PlannedKind, SetConfigCall, SetStatement};
use model::error::{SqlError, SqlState};
use model::value::Value;
use std::sync::Arc;

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
        if self.open.is_none() && (set.local || is_of_transaction(&set.name)) {
            self.settings.clone().apply(&set.name, value)?;
            if set.local {
                self.warn(Some(Warning::LocalOutside), client);
            }
            return Ok(());
        }
        self.scope_setting(&set.name, value, set.local)
    }

    /// Changes a setting for as long as it lasts.
    fn scope_setting(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<(), SqlError> {
        if let (Some(own), true) = (of_transaction(name), self.open.is_some()) {
            // What new transactions are from now on, this one is not.
            let now = self.settings.show(own)?;
            self.keep_setting(own, Some(&now), true)?;
        }
        self.keep_setting(name, value, local || is_of_transaction(name))
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

    /// `set_config`: the values that the settings have then. Without a value it is the default.
    ///
    /// # Errors
    /// 22004 for no name, and those of [`Session::change_setting`].
    pub(super) fn set_config(
        &mut self,
        calls: &[SetConfigCall],
        parameters: &Arc<[Value]>,
    ) -> Result<Vec<Value>, SqlError> {
        let mut values = Vec::with_capacity(calls.len());
        for SetConfigCall { arguments } in calls {
            let (router, now) = (&self.host.router, now_micros());
            let given = router.constants(arguments, parameters.clone(), now, &self.identity)?;
            let text = |value: &Value| match value {
                Value::Text(text) => Some(text.to_string()),
                _ => None,
            };
            let Some(name) = text(&given[0]) else {
                return Err(SqlError::new(
                    SqlState::NULL_VALUE_NOT_ALLOWED,
                    "SET requires parameter name",
                ));
            };
            let (name, value) = (name.to_lowercase(), text(&given[1]));
            let local = matches!(given[2], Value::Bool(true));
            let is_gone = self.open.is_none() && (local || is_of_transaction(&name));
            let shown = match is_gone {
                true => {
                    let mut changed = self.settings.clone();
                    changed.apply(&name, value.as_deref())?;
                    changed.show(&name)?
                }
                false => {
                    self.scope_setting(&name, value.as_deref(), local)?;
                    self.settings.show(&name)?
                }
            };
            values.push(Value::text(shown.as_str()));
        }
        Ok(values)
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

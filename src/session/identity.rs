//! As whom a session acts: `SET ROLE` and `SET SESSION AUTHORIZATION`.
//!
//! A session has the role that logged in, the one it is authorized as (another only after a
//! superuser's `SET SESSION AUTHORIZATION`), and the one whose privileges count (`SET ROLE`). The
//! last two are settings: a rollback takes them back, `SET LOCAL` ends with its transaction.

use super::{Session, Settings};
use crate::catalog::roles::Actor;
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use std::sync::Arc;

/// A role, as a session remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: ObjectId,
    pub(super) name: Arc<str>,
}

/// A change of one setting.
pub(super) enum SettingChange<'s> {
    /// Of one that has a value.
    Value(&'s str, Option<&'s str>),
    /// `ROLE`; `None` is that of the authorization.
    Role(Option<Identity>),
    /// `SESSION AUTHORIZATION`; `None` is the role that logged in.
    Authorization(Option<Identity>),
}

impl SettingChange<'_> {
    pub(super) fn apply(&self, settings: &mut Settings) -> Result<(), SqlError> {
        match self {
            SettingChange::Value(name, value) => settings.apply(name, *value),
            SettingChange::Role(role) => {
                settings.role = role.clone();
                Ok(())
            }
            SettingChange::Authorization(role) => {
                settings.authorization = role.clone();
                settings.role = None;
                Ok(())
            }
        }
    }
}

impl Session {
    /// What a `SET` or `RESET` changes.
    ///
    /// # Errors
    /// 22023 for a role that does not exist, 42501 for one that the session may not act as.
    pub(super) fn setting_change<'s>(
        &self,
        name: &'s str,
        value: Option<&'s str>,
    ) -> Result<SettingChange<'s>, SqlError> {
        match name {
            "role" => match value.filter(|value| *value != "none") {
                None => Ok(SettingChange::Role(None)),
                Some(role) => self.may_act_as(role).map(Some).map(SettingChange::Role),
            },
            "session_authorization" => match value {
                None => Ok(SettingChange::Authorization(None)),
                Some(role) => {
                    self.may_be_authorized_as(role).map(Some).map(SettingChange::Authorization)
                }
            },
            name => Ok(SettingChange::Value(name, value)),
        }
    }

    fn known_role(&self, name: &str) -> Result<Identity, SqlError> {
        let catalog = self.catalog();
        let role = catalog.roles().named(name).ok_or_else(|| {
            SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("role \"{name}\" does not exist"),
            )
        })?;
        Ok(Identity { id: role.id, name: Arc::from(name) })
    }

    fn may_act_as(&self, name: &str) -> Result<Identity, SqlError> {
        let role = self.known_role(name)?;
        let catalog = self.catalog();
        match catalog.roles().is_member(self.scope.actor.session, role.id) {
            true => Ok(role),
            false => Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied to set role \"{name}\""),
            )),
        }
    }

    fn may_be_authorized_as(&self, name: &str) -> Result<Identity, SqlError> {
        let role = self.known_role(name)?;
        let catalog = self.catalog();
        let may = role.id == self.user.id || catalog.roles().is_superuser(self.user.id);
        match may {
            true => Ok(role),
            false => Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied to set session authorization \"{name}\""),
            )),
        }
    }

    /// Has statements see the settings as they are now.
    pub(super) fn settings_changed(&mut self) {
        self.settings_changes += 1;
        self.scope.values = self.settings.values();
        self.scope.path = self.settings.search_path().clone();
        self.presence.set_patience(self.settings.patience());
        self.presence.set_application(self.settings.application_name());
        let session = self.settings.authorization.as_ref().unwrap_or(&self.user);
        let current = self.settings.role.as_ref().unwrap_or(session);
        self.scope.actor = Actor { role: current.id, session: session.id };
        self.identity.user = current.name.clone();
        self.identity.session_user = session.name.clone();
    }

    /// The value of a setting, for `SHOW`.
    pub(super) fn shown(&self, name: &str) -> Result<String, SqlError> {
        match name {
            "role" => Ok(self.settings.role.as_ref().map_or("none", |role| &role.name).to_owned()),
            "session_authorization" => Ok(self.identity.session_user.to_string()),
            "is_superuser" => Ok(self.is_superuser().to_owned()),
            name => self.settings.show(name),
        }
    }

    /// `on` or `off`, as clients are told.
    pub(super) fn is_superuser(&self) -> &'static str {
        let catalog = self.catalog();
        if catalog.roles().is_superuser(self.scope.actor.role) { "on" } else { "off" }
    }
}

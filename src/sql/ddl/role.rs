//! Roles: what statements say of them.

use crate::catalog::stored::{SaltSecret, StoredVerifier};
use model::error::SqlError;
use std::fmt;

/// A role as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleName {
    /// By its name.
    Named(String),
    /// `CURRENT_ROLE`, `CURRENT_USER`
    Current,
    /// `SESSION_USER`
    Session,
    /// `PUBLIC`: everyone.
    Public,
}

/// A statement about roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleStatement {
    /// `CREATE ROLE`, `CREATE USER`, `CREATE GROUP`
    Create(NewRole),
    /// `ALTER ROLE ... options`
    Alter {
        /// The role.
        role: RoleName,
        /// What changes.
        options: RoleOptions,
    },
    /// `ALTER ROLE ... RENAME TO`
    Rename {
        /// The role.
        from: String,
        /// Its new name.
        to: String,
    },
    /// `DROP ROLE`
    Drop {
        /// The roles.
        roles: Vec<RoleName>,
        /// Skip those that do not exist.
        if_exists: bool,
    },
    /// `GRANT role TO role`
    Grant(MembershipChange),
    /// `REVOKE role FROM role`
    Revoke(MembershipChange),
    /// `ALTER GROUP ... ADD USER`, `DROP USER`
    Group {
        /// Whether they join or leave.
        add: bool,
        /// Who joins what.
        change: MembershipChange,
    },
}

/// A role to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRole {
    /// Its name.
    pub name: String,
    /// What it may.
    pub options: RoleOptions,
    /// `IN ROLE`: what it becomes a member of.
    pub member_of: Vec<RoleName>,
    /// `ROLE`: who become members.
    pub members: Vec<RoleName>,
    /// `ADMIN`: who become members and may make others so.
    pub admins: Vec<RoleName>,
}

/// What a role may; what is not said stays, or is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleOptions {
    /// `SUPERUSER`
    pub superuser: Option<bool>,
    /// `CREATEDB`
    pub create_database: Option<bool>,
    /// `CREATEROLE`
    pub create_role: Option<bool>,
    /// `INHERIT`
    pub inherit: Option<bool>,
    /// `LOGIN`
    pub login: Option<bool>,
    /// `REPLICATION`
    pub replication: Option<bool>,
    /// `BYPASSRLS`
    pub bypass_row_security: Option<bool>,
    /// `CONNECTION LIMIT`; -1 is none.
    pub connection_limit: Option<i32>,
    /// `PASSWORD`
    pub password: Option<NewPassword>,
    /// `VALID UNTIL`
    pub valid_until: Option<ValidUntil>,
}

/// Until when a password holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValidUntil {
    /// As it was written. The session makes it a [`ValidUntil::At`] one before it goes anywhere.
    Written(String),
    /// Microseconds since 2000-01-01 00:00 UTC.
    At(i64),
}

impl ValidUntil {
    /// The point in time that a text means; `now_micros` is what its word `now` does.
    ///
    /// # Errors
    /// 22007 where it means none.
    pub fn read(text: &str, now_micros: i64) -> Result<ValidUntil, SqlError> {
        shards::exec::input::parse_timestamp(text.trim(), true, now_micros).map(ValidUntil::At)
    }
}

/// A password to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewPassword {
    /// None: no password fits from now on.
    None,
    /// As it was written. The session makes it a [`NewPassword::Sealed`] one before it goes
    /// anywhere.
    Clear(ClearPassword),
    /// What is stored of it.
    Sealed {
        /// The verifier.
        verifier: StoredVerifier,
        /// Stored beside the first verifier of all.
        salts: SaltSecret,
    },
}

/// A password, kept out of whatever shows a statement.
#[derive(Clone, PartialEq, Eq)]
pub struct ClearPassword(pub String);

impl fmt::Debug for ClearPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClearPassword(...)")
    }
}

/// Memberships to grant or revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipChange {
    /// The roles whose members change.
    pub roles: Vec<RoleName>,
    /// Who joins or leaves.
    pub members: Vec<RoleName>,
    /// `WITH ADMIN OPTION`, `ADMIN OPTION FOR`
    pub admin: bool,
    /// `GRANTED BY`
    pub grantor: Option<RoleName>,
}

impl RoleStatement {
    /// The command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            RoleStatement::Create(_) => "CREATE ROLE",
            RoleStatement::Alter { .. }
            | RoleStatement::Rename { .. }
            | RoleStatement::Group { .. } => "ALTER ROLE",
            RoleStatement::Drop { .. } => "DROP ROLE",
            RoleStatement::Grant(_) => "GRANT ROLE",
            RoleStatement::Revoke(_) => "REVOKE ROLE",
        }
    }

    /// The options that it sets.
    pub fn options_mut(&mut self) -> Option<&mut RoleOptions> {
        match self {
            RoleStatement::Create(new) => Some(&mut new.options),
            RoleStatement::Alter { options, .. } => Some(options),
            _ => None,
        }
    }
}

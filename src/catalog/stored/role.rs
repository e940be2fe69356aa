//! Roles, stored.

use super::Comments;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A role: a user, a group, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDefinition {
    /// Its name.
    pub name: String,
    /// Every privilege is its.
    #[serde(default)]
    pub superuser: bool,
    /// It has the privileges of the roles it is a member of without `SET ROLE`.
    #[serde(default)]
    pub inherit: bool,
    /// It may create, alter and drop roles.
    #[serde(default)]
    pub create_role: bool,
    /// It may create databases.
    #[serde(default)]
    pub create_database: bool,
    /// Sessions may begin as it.
    #[serde(default)]
    pub login: bool,
    /// Kept and shown; there is no replication protocol.
    #[serde(default)]
    pub replication: bool,
    /// Kept and shown; there are no row policies.
    #[serde(default)]
    pub bypass_row_security: bool,
    /// Most sessions at one time in a node; none is without a limit.
    #[serde(default)]
    pub connection_limit: Option<u32>,
    /// What its password is checked against; without one no password fits.
    #[serde(default)]
    pub verifier: Option<StoredVerifier>,
    /// Until when its password holds: microseconds since 2000-01-01 00:00 UTC; none is for ever.
    #[serde(default)]
    pub valid_until: Option<i64>,
    /// The roles it is a member of.
    #[serde(default)]
    pub member_of: Vec<Membership>,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Comments::is_empty")]
    pub comments: Comments,
}

/// A role's membership in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The id of the role that it is a member of.
    pub role: u32,
    /// The id of the role that granted it.
    pub grantor: u32,
    /// Whether it may make others members.
    pub admin: bool,
}

/// A SCRAM verifier in PostgreSQL's text form. No log shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoredVerifier(pub String);

impl fmt::Debug for StoredVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredVerifier(...)")
    }
}

/// What salts of roles without a password are derived from: the same as long as the data directory
/// lives, so that such a role cannot be told from one with a password. No log shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaltSecret {
    /// Random bytes.
    pub bytes: [u8; 32],
}

impl fmt::Debug for SaltSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltSecret { .. }")
    }
}

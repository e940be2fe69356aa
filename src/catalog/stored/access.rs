//! Who owns an object and what others may do with it, stored.

use crate::catalog::privileges::Privileges;
use crate::catalog::roles::SUPERUSER;
use serde::{Deserialize, Serialize};

/// Owner and grants of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The id of the role that owns it.
    pub owner: u32,
    /// What was granted; none is what the kind of object has from the start.
    #[serde(default)]
    pub grants: Option<Vec<Grant>>,
}

/// What one role was granted by one other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The id of the role that may; 0 is everyone.
    pub grantee: u32,
    /// The id of the role that said so.
    pub grantor: u32,
    /// What it may, in PostgreSQL's letters.
    pub privileges: Privileges,
    /// What of it it may grant on.
    #[serde(default)]
    pub grantable: Privileges,
}

impl Access {
    /// Of an object that nobody was granted anything on.
    pub fn owned_by(owner: u32) -> Access {
        Access { owner, grants: None }
    }
}

impl Default for Access {
    fn default() -> Access {
        Access::owned_by(SUPERUSER.0)
    }
}

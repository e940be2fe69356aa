//! Privileges: what a role may do with an object.
//!
//! An object's owner, and every role that has the owner's privileges, may do everything with it and
//! grant it to others; superusers, too. All others may what was granted to them, to a role whose
//! privileges they have, or to everyone. Privileges of an object are looked at when a statement is
//! planned: a plan is kept for one role, and as long as the catalog is the same.

use super::Catalog;
use super::roles::{PUBLIC, Roles};
use super::stored::{Access, Definition, Grant};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// A set of privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Privileges(u16);

/// Each privilege with PostgreSQL's letter and name, in the order in which its lists show them.
const NAMES: [(Privileges, char, &str); 11] = [
    (Privileges::INSERT, 'a', "INSERT"),
    (Privileges::SELECT, 'r', "SELECT"),
    (Privileges::UPDATE, 'w', "UPDATE"),
    (Privileges::DELETE, 'd', "DELETE"),
    (Privileges::TRUNCATE, 'D', "TRUNCATE"),
    (Privileges::REFERENCES, 'x', "REFERENCES"),
    (Privileges::TRIGGER, 't', "TRIGGER"),
    (Privileges::USAGE, 'U', "USAGE"),
    (Privileges::CREATE, 'C', "CREATE"),
    (Privileges::TEMPORARY, 'T', "TEMPORARY"),
    (Privileges::CONNECT, 'c', "CONNECT"),
];

impl Privileges {
    /// None.
    pub const NONE: Privileges = Privileges(0);
    /// `INSERT`
    pub const INSERT: Privileges = Privileges(1);
    /// `SELECT`
    pub const SELECT: Privileges = Privileges(1 << 1);
    /// `UPDATE`
    pub const UPDATE: Privileges = Privileges(1 << 2);
    /// `DELETE`
    pub const DELETE: Privileges = Privileges(1 << 3);
    /// `TRUNCATE`
    pub const TRUNCATE: Privileges = Privileges(1 << 4);
    /// `REFERENCES`
    pub const REFERENCES: Privileges = Privileges(1 << 5);
    /// `TRIGGER`
    pub const TRIGGER: Privileges = Privileges(1 << 6);
    /// `USAGE`
    pub const USAGE: Privileges = Privileges(1 << 7);
    /// `CREATE`
    pub const CREATE: Privileges = Privileges(1 << 8);
    /// `TEMPORARY`
    pub const TEMPORARY: Privileges = Privileges(1 << 9);
    /// `CONNECT`
    pub const CONNECT: Privileges = Privileges(1 << 10);

    /// The one of this name, in upper case.
    pub fn named(name: &str) -> Option<Privileges> {
        let name = if name == "TEMP" { "TEMPORARY" } else { name };
        NAMES.iter().find(|(_, _, known)| *known == name).map(|(privilege, ..)| *privilege)
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `others` are among them.
    pub fn hold(self, others: Privileges) -> bool {
        self & others == others
    }

    /// Each of them with its name.
    pub fn each(self) -> impl Iterator<Item = (Privileges, &'static str)> {
        let held = NAMES.into_iter().filter(move |(privilege, ..)| self.hold(*privilege));
        held.map(|(privilege, _, name)| (privilege, name))
    }

    /// The letters, each with a star behind it that is among `grantable`.
    pub fn letters(self, grantable: Privileges) -> String {
        let mut letters = String::new();
        for (privilege, letter, _) in NAMES {
            if self.hold(privilege) {
                letters.push(letter);
                if grantable.hold(privilege) {
                    letters.push('*');
                }
            }
        }
        letters
    }
}

impl TryFrom<String> for Privileges {
    type Error = String;

    fn try_from(letters: String) -> Result<Privileges, String> {
        let mut privileges = Privileges::NONE;
        for letter in letters.chars() {
            let known = NAMES.iter().find(|(_, known, _)| *known == letter);
            let (privilege, ..) = known.ok_or_else(|| format!("no privilege is {letter:?}"))?;
            privileges |= *privilege;
        }
        Ok(privileges)
    }
}

impl From<Privileges> for String {
    fn from(privileges: Privileges) -> String {
        privileges.letters(Privileges::NONE)
    }
}

impl BitOr for Privileges {
    type Output = Privileges;

    fn bitor(self, other: Privileges) -> Privileges {
        Privileges(self.0 | other.0)
    }
}

impl BitOrAssign for Privileges {
    fn bitor_assign(&mut self, other: Privileges) {
        self.0 |= other.0;
    }
}

impl BitAnd for Privileges {
    type Output = Privileges;

    fn bitand(self, other: Privileges) -> Privileges {
        Privileges(self.0 & other.0)
    }
}

impl Not for Privileges {
    type Output = Privileges;

    fn not(self) -> Privileges {
        Privileges(!self.0)
    }
}

/// What an object is, as far as privileges go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A table.
    Table,
    /// A view.
    View,
    /// A sequence.
    Sequence,
    /// A schema.
    Schema,
    /// A database.
    Database,
}

/// As messages name it.
impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Table => "table",
            ObjectKind::View => "view",
            ObjectKind::Sequence => "sequence",
            ObjectKind::Schema => "schema",
            ObjectKind::Database => "database",
        })
    }
}

impl ObjectKind {
    /// All privileges that there are on it.
    pub fn all(self) -> Privileges {
        match self {
            ObjectKind::Table | ObjectKind::View => {
                Privileges::INSERT
                    | Privileges::SELECT
                    | Privileges::UPDATE
                    | Privileges::DELETE
                    | Privileges::TRUNCATE
                    | Privileges::REFERENCES
                    | Privileges::TRIGGER
            }
            ObjectKind::Sequence => Privileges::SELECT | Privileges::UPDATE | Privileges::USAGE,
            ObjectKind::Schema => Privileges::USAGE | Privileges::CREATE,
            ObjectKind::Database => {
                Privileges::CREATE | Privileges::TEMPORARY | Privileges::CONNECT
            }
        }
    }

    /// What everyone may from the start.
    pub fn public(self) -> Privileges {
        match self {
            ObjectKind::Database => Privileges::TEMPORARY | Privileges::CONNECT,
            _ => Privileges::NONE,
        }
    }

    /// What is granted on an object of `owner` from the start.
    pub fn default_grants(self, owner: u32) -> Vec<Grant> {
        let to = |grantee, privileges| Grant {
            grantee,
            grantor: owner,
            privileges,
            grantable: Privileges::NONE,
        };
        let mut grants = Vec::new();
        if !self.public().is_empty() {
            grants.push(to(PUBLIC.0, self.public()));
        }
        grants.push(to(owner, self.all()));
        grants
    }
}

impl Definition {
    /// What it is as far as privileges go, its name, and who owns it; none of what nobody owns.
    pub fn object(&self) -> Option<(ObjectKind, &str, &Access)> {
        match self {
            Definition::Table(table) => Some((ObjectKind::Table, &table.name, &table.access)),
            Definition::View(view) => Some((ObjectKind::View, &view.name, &view.access)),
            Definition::Sequence(sequence) => {
                Some((ObjectKind::Sequence, &sequence.name, &sequence.access))
            }
            Definition::Schema(schema) => Some((ObjectKind::Schema, &schema.name, &schema.access)),
            Definition::Database(database) => {
                Some((ObjectKind::Database, &database.name, &database.access))
            }
            Definition::Role(_) | Definition::SaltSecret(_) | Definition::Counters(_) => None,
        }
    }

    /// The same, to change it.
    pub fn access_mut(&mut self) -> Option<&mut Access> {
        match self {
            Definition::Table(table) => Some(&mut table.access),
            Definition::View(view) => Some(&mut view.access),
            Definition::Sequence(sequence) => Some(&mut sequence.access),
            Definition::Schema(schema) => Some(&mut schema.access),
            Definition::Database(database) => Some(&mut database.access),
            Definition::Role(_) | Definition::SaltSecret(_) | Definition::Counters(_) => None,
        }
    }
}

/// What a role may do with an object, and what of it it may grant on.
pub fn held(roles: &Roles, role: ObjectId, kind: ObjectKind, access: &Access) -> Held {
    let all = kind.all();
    if roles.is_superuser(role) {
        return Held { privileges: all, grantable: all };
    }
    let acts_as = roles.privileged_as(role);
    let mut held = Held { privileges: Privileges::NONE, grantable: Privileges::NONE };
    if acts_as.contains(&ObjectId(access.owner)) {
        held.grantable = all;
    }
    let default;
    let grants = match &access.grants {
        Some(grants) => grants,
        None => {
            default = kind.default_grants(access.owner);
            &default
        }
    };
    for grant in grants {
        let grantee = ObjectId(grant.grantee);
        if grantee == PUBLIC || acts_as.contains(&grantee) {
            held.privileges |= grant.privileges;
            held.grantable |= grant.grantable;
        }
    }
    held
}

/// What a role may do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// What it may.
    pub privileges: Privileges,
    /// What it may grant.
    pub grantable: Privileges,
}

impl Catalog {
    /// What an object is as far as privileges go, its name, and who owns it.
    pub fn object(&self, id: ObjectId) -> Option<(ObjectKind, &str, &Access)> {
        self.definitions.get(&id)?.object()
    }

    /// All objects that somebody owns.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind, &str, &Access)> {
        self.definitions.iter().filter_map(|(&id, definition)| {
            definition.object().map(|(kind, name, access)| (id, kind, name, access))
        })
    }

    /// What a role may do with an object; nothing with one that is not there.
    pub fn held(&self, role: ObjectId, id: ObjectId) -> Held {
        match self.object(id) {
            Some((kind, _, access)) => held(&self.roles, role, kind, access),
            None => Held { privileges: Privileges::NONE, grantable: Privileges::NONE },
        }
    }

    /// Whether a role may do all of `wanted` with an object.
    pub fn may(&self, role: ObjectId, id: ObjectId, wanted: Privileges) -> bool {
        self.held(role, id).privileges.hold(wanted)
    }

    /// Who owns an object.
    pub fn owner(&self, id: ObjectId) -> Option<ObjectId> {
        self.object(id).map(|(_, _, access)| ObjectId(access.owner))
    }

    /// Refuses what a role may not do with an object (42501).
    pub fn require(
        &self,
        role: ObjectId,
        id: ObjectId,
        wanted: Privileges,
    ) -> Result<(), SqlError> {
        match self.object(id) {
            Some((kind, name, access)) => {
                match held(&self.roles, role, kind, access).privileges.hold(wanted) {
                    true => Ok(()),
                    false => Err(not_permitted(kind, name)),
                }
            }
            // It is refused for what it is: not there.
            None => Ok(()),
        }
    }
}

/// Owner and grants of the schema `public` of a database: everyone finds what is in it.
pub fn public_schema(owner: ObjectId) -> Access {
    let mut grants = ObjectKind::Schema.default_grants(owner.0);
    grants.push(Grant {
        grantee: PUBLIC.0,
        grantor: owner.0,
        privileges: Privileges::USAGE,
        grantable: Privileges::NONE,
    });
    Access { owner: owner.0, grants: Some(grants) }
}

/// 42501: a privilege is missing.
pub fn not_permitted(kind: ObjectKind, name: &str) -> SqlError {
    SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied for {kind} {name}"))
}

/// 42501: only the owner may.
pub fn not_owner(kind: &dyn fmt::Display, name: &str) -> SqlError {
    SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("must be owner of {kind} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_stored_as_letters() {
        let some = Privileges::SELECT | Privileges::INSERT | Privileges::USAGE;
        assert_eq!(String::from(some), "arU");
        assert_eq!(Privileges::try_from("arU".to_owned()), Ok(some));
        assert_eq!(some.letters(Privileges::SELECT), "ar*U");
        assert!(Privileges::try_from("q".to_owned()).is_err());
        assert_eq!(Privileges::named("TEMP"), Some(Privileges::TEMPORARY));
        assert_eq!(Privileges::named("FLY"), None);
    }
}

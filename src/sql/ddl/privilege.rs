//! Privileges and owners: what statements say of them.

use super::role::RoleName;
use crate::catalog::privileges::Privileges;

/// A statement about privileges or owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrivilegeStatement {
    /// `GRANT ... ON`
    Grant(PrivilegeChange),
    /// `REVOKE ... ON`
    Revoke(PrivilegeChange),
    /// `ALTER ... OWNER TO`
    Owner {
        /// Whose.
        object: OwnedObject,
        /// Do nothing where there is none.
        if_exists: bool,
        /// The new owner.
        owner: RoleName,
    },
    /// `REASSIGN OWNED BY ... TO`
    Reassign {
        /// The owners so far.
        from: Vec<RoleName>,
        /// The new one.
        to: RoleName,
    },
    /// `DROP OWNED BY`
    DropOwned {
        /// The owners.
        of: Vec<RoleName>,
        /// With what depends on it.
        cascade: bool,
    },
}

/// Privileges to grant or revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivilegeChange {
    /// By their names in upper case; none of them means all.
    pub privileges: Vec<String>,
    /// On what.
    pub on: Targets,
    /// To or from whom.
    pub grantees: Vec<RoleName>,
    /// `WITH GRANT OPTION`, `GRANT OPTION FOR`
    pub option: bool,
    /// `GRANTED BY`
    pub grantor: Option<RoleName>,
    /// Also what was granted on.
    pub cascade: bool,
}

/// The name of a relation as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenName {
    /// The schema, where it is named.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
}

/// What privileges are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// Tables, views; sequences, too.
    Relations(Vec<WrittenName>),
    /// Sequences.
    Sequences(Vec<WrittenName>),
    /// Schemas.
    Schemas(Vec<String>),
    /// Databases.
    Databases(Vec<String>),
    /// All tables and views of schemas.
    AllTables(Vec<String>),
    /// All sequences of schemas.
    AllSequences(Vec<String>),
}

/// What an owner is changed of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedObject {
    /// A relation; the word that the statement has for it.
    Relation(&'static str, WrittenName),
    /// A schema.
    Schema(String),
    /// A database.
    Database(String),
}

impl PrivilegeStatement {
    /// The command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            PrivilegeStatement::Grant(_) => "GRANT",
            PrivilegeStatement::Revoke(_) => "REVOKE",
            PrivilegeStatement::Owner { object, .. } => match object {
                OwnedObject::Relation("view", _) => "ALTER VIEW",
                OwnedObject::Relation("sequence", _) => "ALTER SEQUENCE",
                OwnedObject::Relation(..) => "ALTER TABLE",
                OwnedObject::Schema(_) => "ALTER SCHEMA",
                OwnedObject::Database(_) => "ALTER DATABASE",
            },
            PrivilegeStatement::Reassign { .. } => "REASSIGN OWNED",
            PrivilegeStatement::DropOwned { .. } => "DROP OWNED",
        }
    }
}

impl Targets {
    /// What the objects are called in messages about their kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Targets::Relations(_) | Targets::AllTables(_) => "relation",
            Targets::Sequences(_) | Targets::AllSequences(_) => "sequence",
            Targets::Schemas(_) => "schema",
            Targets::Databases(_) => "database",
        }
    }

    /// All privileges that a statement about them may name.
    pub fn privileges(&self) -> Privileges {
        use crate::catalog::privileges::ObjectKind;
        match self {
            Targets::Relations(_) => ObjectKind::Table.all() | ObjectKind::Sequence.all(),
            Targets::AllTables(_) => ObjectKind::Table.all(),
            Targets::Sequences(_) | Targets::AllSequences(_) => ObjectKind::Sequence.all(),
            Targets::Schemas(_) => ObjectKind::Schema.all(),
            Targets::Databases(_) => ObjectKind::Database.all(),
        }
    }
}

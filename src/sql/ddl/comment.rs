//! `COMMENT ON`

use super::role::RoleName;
use super::{AlteredKind, RelationName, SessionSettings, qualified};
use crate::sql::names::{fold, single_name};
use model::error::{SqlError, SqlState};
use sqlparser::ast::{Ident, ObjectName};

/// A parsed `COMMENT`.
#[derive(Debug, Clone)]
pub struct WrittenComment {
    pub(in crate::sql) object: WrittenObject,
    pub(in crate::sql) text: Option<String>,
}

/// What something is said of, as it is written.
#[derive(Debug, Clone)]
pub(in crate::sql) enum WrittenObject {
    Relation(AlteredKind, ObjectName),
    /// `[schema.]relation.column`
    Column(ObjectName),
    Constraint(Ident, ObjectName),
    Schema(Ident),
    Database(Ident),
    Role(RoleName),
}

/// `COMMENT ON`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentStatement {
    /// The session's database.
    pub database: String,
    /// What something is said of.
    pub object: Commented,
    /// What; nothing takes back what was said.
    pub text: Option<String>,
}

/// What something is said of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commented {
    /// A relation or index.
    Relation(AlteredKind, RelationName),
    /// A column of a relation.
    Column(RelationName, String),
    /// A constraint of a table.
    Constraint(String, RelationName),
    /// A schema.
    Schema(String),
    /// A database.
    Database(String),
    /// A role.
    Role(RoleName),
}

/// Describes the statement.
pub(in crate::sql) fn describe(
    written: &WrittenComment,
    settings: &SessionSettings,
) -> Result<CommentStatement, SqlError> {
    let object = match &written.object {
        WrittenObject::Relation(kind, name) => {
            Commented::Relation(*kind, qualified(name, settings)?)
        }
        WrittenObject::Column(name) => {
            let Some((column, relation)) = name.0.split_last().filter(|(_, r)| !r.is_empty())
            else {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "column name must be qualified"));
            };
            let relation = qualified(&ObjectName(relation.to_vec()), settings)?;
            Commented::Column(relation, single_name(&ObjectName(vec![column.clone()]))?)
        }
        WrittenObject::Constraint(name, table) => {
            Commented::Constraint(fold(name), qualified(table, settings)?)
        }
        WrittenObject::Schema(name) => Commented::Schema(fold(name)),
        WrittenObject::Database(name) => Commented::Database(fold(name)),
        WrittenObject::Role(name) => Commented::Role(name.clone()),
    };
    let (database, text) = (settings.database.clone(), written.text.clone());
    Ok(CommentStatement { database, object, text })
}

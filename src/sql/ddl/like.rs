//! `CREATE TABLE ... (LIKE ...)`.

use super::{NewTable, RelationName, SessionSettings, new_table, qualified};
use model::error::SqlError;
use sqlparser::ast::{CreateTable, ObjectName};

/// A parsed `CREATE TABLE` with `LIKE`.
#[derive(Debug, Clone)]
pub struct TableLikeStatement {
    pub(in crate::sql) create: CreateTable,
    pub(in crate::sql) likes: Vec<LikeClause>,
}

/// A `LIKE`, as it is written.
#[derive(Debug, Clone)]
pub(in crate::sql) struct LikeClause {
    pub(in crate::sql) name: ObjectName,
    /// How many columns stand before it.
    pub(in crate::sql) at: usize,
    pub(in crate::sql) including: Aspects,
}

/// A relation whose columns a new table has, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLike {
    /// The relation.
    pub name: RelationName,
    /// How many of the table's own columns stand before these.
    pub at: usize,
    /// What comes with them.
    pub including: Aspects,
}

/// What comes with columns that are copied: of the rest there is nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aspects {
    /// Their defaults.
    pub defaults: bool,
    /// Checks.
    pub constraints: bool,
    /// Sequences of identity columns.
    pub identity: bool,
    /// Indexes, and keys that have them.
    pub indexes: bool,
    /// What is said of them, and of what comes with its name.
    pub comments: bool,
}

impl Aspects {
    /// Includes or excludes what a word means; whether it means something.
    pub(in crate::sql) fn set(&mut self, word: &str, includes: bool) -> bool {
        match word {
            "defaults" => self.defaults = includes,
            "constraints" => self.constraints = includes,
            "identity" => self.identity = includes,
            "indexes" => self.indexes = includes,
            "comments" => self.comments = includes,
            "compression" | "generated" | "statistics" | "storage" => {}
            "all" => {
                *self = Aspects {
                    defaults: includes,
                    constraints: includes,
                    identity: includes,
                    indexes: includes,
                    comments: includes,
                };
            }
            _ => return false,
        }
        true
    }
}

/// Describes the table.
pub(in crate::sql) fn describe(
    statement: &TableLikeStatement,
    settings: &SessionSettings,
) -> Result<NewTable, SqlError> {
    let mut table = new_table(&statement.create, settings)?;
    for LikeClause { name, at, including } in &statement.likes {
        let (name, at, including) = (qualified(name, settings)?, *at, *including);
        table.likes.push(NewLike { name, at, including });
    }
    Ok(table)
}

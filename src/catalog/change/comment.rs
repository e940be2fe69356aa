//! `COMMENT ON`

use super::role::denied;
use super::{Draft, wrong_kind};
use crate::catalog::privileges::not_owner;
use crate::catalog::stored::{Comments, Definition};
use crate::sql::ddl::{AlteredKind, CommentStatement, Commented, RelationName, missing};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;

impl Draft<'_> {
    pub(super) fn comment(&mut self, statement: &CommentStatement) -> Result<(), SqlError> {
        let CommentStatement { database, object, text } = statement;
        // Nothing and an empty text are the same.
        let text = text.as_ref().filter(|text| !text.is_empty());
        match object {
            Commented::Relation(AlteredKind::Index, name) => self.comment_index(name, text),
            Commented::Relation(kind, name) => {
                let id = self.commented_relation(name)?;
                let fits = match self.definitions.get(&id).map(AsRef::as_ref) {
                    Some(Definition::View(_)) => *kind == AlteredKind::View,
                    Some(Definition::Sequence(_)) => *kind == AlteredKind::Sequence,
                    _ => *kind == AlteredKind::Table,
                };
                if !fits {
                    return Err(wrong_kind(&name.name, kind.word()));
                }
                self.require_owner(id)?;
                self.say(id, |comments| comments.own = text.cloned());
                Ok(())
            }
            Commented::Column(name, column) => {
                let id = self.commented_relation(name)?;
                if !self.owns(id) {
                    return Err(not_owner(&"relation", &name.name));
                }
                let at = self.column_of(id, name, column)?;
                self.say(id, |comments| put(&mut comments.columns, at, text));
                Ok(())
            }
            Commented::Constraint(constraint, name) => {
                let (id, table) = self.table(name)?;
                if !table.has_constraint(constraint) {
                    return Err(SqlError::new(
                        SqlState::UNDEFINED_OBJECT,
                        format!(
                            "constraint \"{constraint}\" for table \"{}\" does not exist",
                            table.name
                        ),
                    ));
                }
                self.require_owner(id)?;
                self.say(id, |comments| put(&mut comments.constraints, constraint.clone(), text));
                Ok(())
            }
            Commented::Schema(name) => {
                let id = self.require_schema(database, name)?;
                self.require_owner(id)?;
                self.say(id, |comments| comments.own = text.cloned());
                Ok(())
            }
            Commented::Database(name) => {
                let id = self.database_id(name).ok_or_else(|| missing("database", name))?;
                self.require_owner(id)?;
                self.say(id, |comments| comments.own = text.cloned());
                Ok(())
            }
            Commented::Role(name) => {
                let id = self.role_id(name)?;
                self.require_may_comment(id)?;
                self.say(id, |comments| comments.own = text.cloned());
                Ok(())
            }
        }
    }

    fn say(&mut self, id: ObjectId, change: impl FnOnce(&mut Comments)) {
        let Some(definition) = self.definitions.get(&id) else { return };
        let mut definition = definition.as_ref().clone();
        if let Some(comments) = definition.comments_mut() {
            change(comments);
        }
        self.put(id, definition);
    }

    fn commented_relation(&self, name: &RelationName) -> Result<ObjectId, SqlError> {
        self.require_usage(name)?;
        match self.relation(name) {
            Some((id, _)) => Ok(id),
            None if self.table_of_index(name).is_some() => Err(wrong_kind(&name.name, "table")),
            None => Err(missing("relation", &name.name)),
        }
    }

    fn comment_index(
        &mut self,
        name: &RelationName,
        text: Option<&String>,
    ) -> Result<(), SqlError> {
        self.require_usage(name)?;
        let Some(id) = self.table_of_index(name) else {
            return Err(match self.relation(name) {
                Some(_) => SqlError::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("\"{}\" is not an index", name.name),
                ),
                None => missing("relation", &name.name),
            });
        };
        if !self.owns(id) {
            return Err(not_owner(&"index", &name.name));
        }
        self.say(id, |comments| put(&mut comments.indexes, name.name.clone(), text));
        Ok(())
    }

    /// The table that has an index of that name.
    fn table_of_index(&self, name: &RelationName) -> Option<ObjectId> {
        self.schemas_of(name).find_map(|schema| {
            let mut tables = self.tables();
            let found = tables.find(|(_, table)| {
                table.database == name.database
                    && table.schema == schema
                    && table.has_index(&name.name)
            });
            found.map(|(id, _)| id)
        })
    }

    /// The ordinal of a table's or view's column.
    fn column_of(
        &self,
        id: ObjectId,
        name: &RelationName,
        column: &str,
    ) -> Result<usize, SqlError> {
        let found = match self.definitions.get(&id).map(AsRef::as_ref) {
            Some(Definition::Table(table)) => {
                table.columns.iter().position(|known| !known.hidden && known.name == column)
            }
            Some(Definition::View(view)) => view.columns.iter().position(|known| known == column),
            _ => {
                return Err(SqlError::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("cannot set comment on relation \"{}\"", name.name),
                )
                .detail("This operation is not supported for sequences."));
            }
        };
        found.ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{column}\" of relation \"{}\" does not exist", name.name),
            )
        })
    }

    /// Of superusers only they say something, of others who may create roles.
    fn require_may_comment(&self, id: ObjectId) -> Result<(), SqlError> {
        let roles = self.before.roles();
        let actor = roles.get(self.actor.role);
        let creates = actor.is_some_and(|role| role.definition.create_role);
        match (roles.is_superuser(self.actor.role), roles.is_superuser(id)) {
            (true, _) => Ok(()),
            (false, true) => Err(denied("must be superuser")),
            (false, false) if creates => Ok(()),
            _ => Err(denied("must have CREATEROLE privilege")),
        }
    }
}

fn put<K: Ord>(said: &mut std::collections::BTreeMap<K, String>, of: K, text: Option<&String>) {
    match text {
        Some(text) => said.insert(of, text.clone()),
        None => said.remove(&of),
    };
}

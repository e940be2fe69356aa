//! What goes, and what goes with it.

use super::dependents::still_needed;
use super::{Draft, wrong_kind};
use crate::catalog::DEFAULT_SCHEMA;
use crate::catalog::privileges::{Privileges, not_owner};
use crate::catalog::stored::{Definition, TableDefinition};
use crate::sql::ddl::{DropRelations, RelationName, missing};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;

impl Draft<'_> {
    pub(super) fn drop_schemas(
        &mut self,
        database: &str,
        names: &[String],
        if_exists: bool,
        cascade: bool,
    ) -> Result<(), SqlError> {
        let mut schemas: Vec<(ObjectId, &String)> = Vec::with_capacity(names.len());
        for name in names {
            let Some(id) = self.schema_id(database, name) else {
                self.skip(if_exists, "schema", name)?;
                continue;
            };
            self.require_owner(id)?;
            if name == DEFAULT_SCHEMA {
                return Err(SqlError::new(
                    SqlState::OBJECT_IN_USE,
                    format!("the schema \"{name}\" cannot be dropped"),
                )
                .hint("Drop what is in it instead."));
            }
            schemas.push((id, name));
        }
        let mut members = Vec::new();
        let mut dependents = Vec::new();
        for (_, name) in &schemas {
            let inside = self.definitions.iter();
            let inside = inside.filter(|(_, it)| it.place() == Some((database, name.as_str())));
            let inside: Vec<ObjectId> = inside.map(|(&id, _)| id).collect();
            for &id in &inside {
                // What goes with a column is not told of.
                let owned = match self.definitions.get(&id).map(AsRef::as_ref) {
                    Some(Definition::Sequence(sequence)) => sequence.owned_by.is_some(),
                    _ => false,
                };
                if !owned {
                    dependents.push((self.described(id), format!("schema {name}")));
                }
            }
            members.extend(inside);
        }
        dependents.extend(self.dependents(&members));
        match cascade {
            true => self.cascaded.extend(dependents.into_iter().map(|(dependent, _)| dependent)),
            false => {
                let message = match schemas.as_slice() {
                    [(_, name)] => {
                        format!("cannot drop schema {name} because other objects depend on it")
                    }
                    _ => "cannot drop desired object(s) because other objects depend on them"
                        .to_owned(),
                };
                still_needed(message, dependents)?;
            }
        }
        self.remove_relations(&members)?;
        schemas.into_iter().for_each(|(id, _)| drop(self.definitions.remove(&id)));
        Ok(())
    }

    /// Removes definitions and their data, whoever refers to them.
    pub(super) fn remove_all(&mut self, is_removed: impl Fn(&Definition) -> bool) {
        let ids: Vec<ObjectId> = self
            .definitions
            .iter()
            .filter(|(_, definition)| is_removed(definition))
            .map(|(&id, _)| id)
            .collect();
        for id in ids {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: ObjectId) {
        if let Some(definition) = self.definitions.remove(&id)
            && let Definition::Table(table) = definition.as_ref()
        {
            let table = table.clone();
            self.drop_data(id, &table);
        }
    }

    /// The keys of a table and its indexes are not reached any more.
    fn drop_data(&mut self, id: ObjectId, table: &TableDefinition) {
        self.dropped.push(table.storage.map_or(id, ObjectId));
        self.dropped.extend(table.indexes.iter().map(|index| ObjectId(index.id)));
    }

    /// Gives a table's rows and index entries new places. The old ones are dropped.
    pub(super) fn renew_storage(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
    ) -> Result<(), SqlError> {
        self.drop_data(id, table);
        table.storage = Some(self.next_id()?.0);
        for index in &mut table.indexes {
            index.id = self.next_id()?.0;
        }
        Ok(())
    }

    pub(super) fn drop_tables(&mut self, drop: &DropRelations) -> Result<(), SqlError> {
        let mut ids = Vec::with_capacity(drop.names.len());
        for name in &drop.names {
            self.require_usage(name)?;
            match self.relation(name) {
                None => self.skip(drop.if_exists, "table", &name.name)?,
                Some((id, Definition::Table(_))) => {
                    self.require_drop(id)?;
                    ids.push(id);
                }
                Some((_, Definition::Sequence(_))) => {
                    let error = wrong_kind(&name.name, "table");
                    return Err(error.hint("Use DROP SEQUENCE to remove a sequence."));
                }
                Some(_) => {
                    return Err(
                        wrong_kind(&name.name, "table").hint("Use DROP VIEW to remove a view.")
                    );
                }
            }
        }
        self.drop_relations(&ids, drop.cascade)
    }

    /// Removes tables, views and sequences together, with what depends on them.
    fn remove_relations(&mut self, ids: &[ObjectId]) -> Result<(), SqlError> {
        for &id in ids {
            if self.definitions.contains_key(&id) {
                self.remove_relation(id, true)?;
            }
        }
        Ok(())
    }

    /// The same, where nothing else depends on them or `cascade` lets that go, too.
    pub(super) fn drop_relations(
        &mut self,
        ids: &[ObjectId],
        cascade: bool,
    ) -> Result<(), SqlError> {
        self.require_independent(ids, cascade)?;
        self.remove_relations(ids)
    }

    /// Removes all foreign keys that point to a table.
    fn drop_references_to(&mut self, parent: ObjectId) {
        let children: Vec<(ObjectId, TableDefinition)> = self
            .tables()
            .filter(|(_, table)| table.foreign_keys.iter().any(|key| key.parent == parent.0))
            .map(|(id, table)| (id, table.clone()))
            .collect();
        for (id, mut table) in children {
            table.foreign_keys.retain(|key| key.parent != parent.0);
            self.put(id, Definition::Table(table));
        }
    }

    pub(super) fn relation_name(&self, id: ObjectId) -> String {
        match self.definitions.get(&id).map(AsRef::as_ref) {
            Some(Definition::Table(table)) => table.name.clone(),
            Some(Definition::View(view)) => view.name.clone(),
            Some(Definition::Sequence(sequence)) => sequence.name.clone(),
            _ => id.to_string(),
        }
    }

    /// Removes a table, view or sequence, and with `cascade` the views and defaults that use it. A
    /// table's sequences go with it.
    pub(super) fn remove_relation(&mut self, id: ObjectId, cascade: bool) -> Result<(), SqlError> {
        let readers: Vec<ObjectId> = self
            .views()
            .filter(|(_, view)| view.depends_on.contains(&id.0))
            .map(|(id, _)| id)
            .collect();
        if let Some(&reader) = readers.first()
            && !cascade
        {
            return Err(self.has_reader(id, reader));
        }
        for reader in readers {
            self.remove_relation(reader, true)?;
        }
        if let Some(Definition::Sequence(_)) = self.definitions.get(&id).map(AsRef::as_ref) {
            self.release_sequences(&[], &[id], "sequence", cascade)?;
        }
        // Whether other tables' defaults may lose them was decided before.
        let owned = self.owned_sequences(id, None);
        self.release_sequences(&[id], &owned, "table", true)?;
        self.drop_references_to(id);
        self.remove(id);
        for sequence in owned {
            self.remove_relation(sequence, cascade)?;
        }
        Ok(())
    }

    /// 2BP01: a view reads what should go.
    pub(super) fn has_reader(&self, id: ObjectId, reader: ObjectId) -> SqlError {
        let (name, reader) = (self.relation_name(id), self.relation_name(reader));
        SqlError::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop {name} because other objects depend on it"),
        )
        .detail(format!("view {reader} depends on {name}"))
        .hint("Use DROP ... CASCADE to drop the dependent objects too.")
    }

    pub(super) fn drop_views(&mut self, drop: &DropRelations) -> Result<(), SqlError> {
        let mut ids = Vec::with_capacity(drop.names.len());
        for name in &drop.names {
            self.require_usage(name)?;
            match self.relation(name) {
                None => self.skip(drop.if_exists, "view", &name.name)?,
                Some((id, Definition::View(_))) => {
                    self.require_drop(id)?;
                    ids.push(id);
                }
                Some((_, Definition::Sequence(_))) => {
                    let error = wrong_kind(&name.name, "view");
                    return Err(error.hint("Use DROP SEQUENCE to remove a sequence."));
                }
                Some(_) => {
                    return Err(
                        wrong_kind(&name.name, "view").hint("Use DROP TABLE to remove a table.")
                    );
                }
            }
        }
        self.drop_relations(&ids, drop.cascade)
    }

    pub(super) fn drop_indexes(&mut self, drop: &DropRelations) -> Result<(), SqlError> {
        for name in &drop.names {
            self.require_usage(name)?;
            let Some((id, mut table, position)) = self.index_named(name) else {
                self.skip(drop.if_exists, "index", &name.name)?;
                continue;
            };
            if !self.owns(id) {
                return Err(not_owner(&"index", &name.name));
            }
            let index = table.indexes.remove(position);
            if index.constraint {
                return Err(SqlError::new(
                    SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                    format!(
                        "cannot drop index {0} because constraint {0} on table {1} requires it",
                        index.name, table.name
                    ),
                )
                .hint(format!("You can drop constraint {} instead.", index.name)));
            }
            self.require_no_reference(id, &table, &index.name)?;
            self.dropped.push(ObjectId(index.id));
            self.put(id, Definition::Table(table));
        }
        Ok(())
    }

    /// The table of an index, a copy, and where the index stands in it.
    fn index_named(&self, name: &RelationName) -> Option<(ObjectId, TableDefinition, usize)> {
        let mut schemas = self.schemas_of(name);
        schemas.find_map(|schema| {
            self.tables().find_map(|(id, table)| {
                if table.database != name.database || table.schema != schema {
                    return None;
                }
                let position = table.indexes.iter().position(|index| index.name == name.name)?;
                Some((id, table.clone(), position))
            })
        })
    }

    /// `TRUNCATE`: the tables go on with new places for their rows, and those of the old ones are
    /// dropped.
    pub(super) fn truncate(
        &mut self,
        names: &[RelationName],
        cascade: bool,
        restart: bool,
    ) -> Result<(), SqlError> {
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let (id, _) = self.table(name)?;
            self.require(id, Privileges::TRUNCATE)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let mut at = 0;
        while at < ids.len() {
            let parent = ids[at];
            let children: Vec<ObjectId> = self
                .tables()
                .filter(|(id, table)| {
                    !ids.contains(id) && table.foreign_keys.iter().any(|key| key.parent == parent.0)
                })
                .map(|(id, _)| id)
                .collect();
            if let Some(&child) = children.first()
                && !cascade
            {
                let (child, parent) = (self.relation_name(child), self.relation_name(parent));
                return Err(SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "cannot truncate a table referenced in a foreign key constraint",
                )
                .detail(format!("Table \"{child}\" references \"{parent}\"."))
                .hint(format!(
                    "Truncate table \"{child}\" at the same time, or use TRUNCATE ... CASCADE."
                )));
            }
            for &child in &children {
                self.require(child, Privileges::TRUNCATE)?;
                let told = format!("truncate cascades to table \"{}\"", self.relation_name(child));
                self.notices.push(told);
            }
            ids.extend(children);
            at += 1;
        }
        for id in ids {
            let Some(Definition::Table(table)) = self.definitions.get(&id).map(AsRef::as_ref)
            else {
                return Err(missing("table", &id.to_string()));
            };
            let mut table = table.clone();
            self.renew_storage(id, &mut table)?;
            self.put(id, Definition::Table(table));
            if restart {
                self.restart_sequences(id)?;
            }
        }
        Ok(())
    }
}

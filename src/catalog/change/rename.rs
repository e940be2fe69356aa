//! New names: of relations, indexes, columns and schemas, and relations in other schemas.
//!
//! Checks are kept as text. It is written anew with the new name, and bound to see that it means
//! what it meant. Views are kept as text, too, which may be any query: what they read keeps its
//! name.

use super::table::ordinal;
use super::{Draft, QualifiedName, wrong_kind};
use crate::catalog::DEFAULT_SCHEMA;
use crate::catalog::build::build_table;
use crate::catalog::privileges::{Privileges, not_owner};
use crate::catalog::stored::{Definition, TableDefinition};
use crate::sql::ddl::{AlteredKind, NewPlace, RelationName};
use crate::sql::{Renamed, renamed_in};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;

impl Draft<'_> {
    /// `RENAME TO`, `SET SCHEMA`
    pub(super) fn rename(
        &mut self,
        kind: AlteredKind,
        name: &RelationName,
        if_exists: bool,
        to: &NewPlace,
    ) -> Result<(), SqlError> {
        self.require_usage(name)?;
        let Some((id, definition)) = self.relation(name) else {
            if let (AlteredKind::Table | AlteredKind::Index, NewPlace::Name(to)) = (kind, to)
                && self.rename_index(name, to)?
            {
                return Ok(());
            }
            return self.skip(if_exists, "relation", &name.name);
        };
        let fits = match definition {
            Definition::View(_) => matches!(kind, AlteredKind::Table | AlteredKind::View),
            Definition::Sequence(_) => matches!(kind, AlteredKind::Table | AlteredKind::Sequence),
            _ => matches!(kind, AlteredKind::Table | AlteredKind::Index),
        };
        if !fits {
            return Err(wrong_kind(&name.name, kind.word()));
        }
        self.require_owner(id)?;
        let Some((database, schema)) = definition.place() else {
            return Err(SqlError::internal("a relation that is nowhere"));
        };
        let mut place = QualifiedName {
            database: database.to_owned(),
            schema: schema.to_owned(),
            name: name.name.clone(),
        };
        let before = place.schema.clone();
        match to {
            NewPlace::Name(to) => to.clone_into(&mut place.name),
            NewPlace::Schema(to) => {
                self.require_unowned(id)?;
                let schema = self.require_schema(&name.database, to)?;
                self.require(schema, Privileges::CREATE)?;
                if *to == before {
                    return Ok(());
                }
                to.clone_into(&mut place.schema);
                if self.is_taken(&place.database, &place.schema, &place.name) {
                    return Err(SqlError::new(
                        SqlState::DUPLICATE_TABLE,
                        format!("relation \"{}\" already exists in schema \"{to}\"", place.name),
                    ));
                }
            }
        }
        self.require_unread(id)?;
        if place.schema == before {
            self.require_free(&place)?;
        }
        self.put_in_place(id, &place)
    }

    /// The index of that name, or the one behind a key; whether there is one.
    fn rename_index(&mut self, name: &RelationName, to: &str) -> Result<bool, SqlError> {
        let named = |table: &TableDefinition, schema: &str| {
            table.database == name.database
                && table.schema == schema
                && (table.primary_key_name.as_ref() == Some(&name.name)
                    || table.indexes.iter().any(|index| index.name == name.name))
        };
        let found = self
            .schemas_of(name)
            .find_map(|schema| self.tables().find(|(_, table)| named(table, schema)))
            .map(|(id, table)| (id, table.clone()));
        let Some((id, mut table)) = found else { return Ok(false) };
        if !self.owns(id) {
            return Err(not_owner(&"index", &name.name));
        }
        let (database, schema) = (table.database.clone(), table.schema.clone());
        self.require_free(&QualifiedName { database, schema, name: to.to_owned() })?;
        let indexes = table.indexes.iter_mut().map(|index| &mut index.name);
        let mut names = indexes.chain(&mut table.primary_key_name);
        if let Some(known) = names.find(|known| **known == name.name) {
            to.clone_into(known);
        }
        table.comments.rename(&name.name, to);
        self.put(id, Definition::Table(table));
        Ok(true)
    }

    /// A sequence that goes with a column goes with its table.
    fn require_unowned(&self, id: ObjectId) -> Result<(), SqlError> {
        let Some(Definition::Sequence(sequence)) = self.definitions.get(&id).map(AsRef::as_ref)
        else {
            return Ok(());
        };
        let Some((table, _)) = sequence.owned_by else { return Ok(()) };
        Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "cannot move an owned sequence into another schema",
        )
        .detail(format!(
            "Sequence \"{}\" is linked to table \"{}\".",
            sequence.name,
            self.relation_name(ObjectId(table))
        )))
    }

    fn put_in_place(&mut self, id: ObjectId, place: &QualifiedName) -> Result<(), SqlError> {
        let Some(definition) = self.definitions.get(&id) else { return Ok(()) };
        let mut definition = definition.as_ref().clone();
        match &mut definition {
            Definition::Table(table) => {
                if table.name != place.name {
                    let to = Renamed::Relation { from: table.name.clone(), to: place.name.clone() };
                    rename_in_checks(id, table, &to, |table| {
                        place.name.clone_into(&mut table.name);
                    })?;
                }
                place.schema.clone_into(&mut table.schema);
            }
            Definition::View(view) => {
                place.name.clone_into(&mut view.name);
                place.schema.clone_into(&mut view.schema);
            }
            Definition::Sequence(sequence) => {
                place.name.clone_into(&mut sequence.name);
                place.schema.clone_into(&mut sequence.schema);
            }
            _ => return Err(SqlError::internal("no relation to rename")),
        }
        self.put(id, definition);
        for sequence in self.owned_sequences(id, None) {
            let Some(Definition::Sequence(owned)) =
                self.definitions.get(&sequence).map(AsRef::as_ref)
            else {
                continue;
            };
            let mut owned = owned.clone();
            if owned.schema != place.schema {
                self.require_unread(sequence)?;
                place.schema.clone_into(&mut owned.schema);
                self.put(sequence, Definition::Sequence(owned));
            }
        }
        Ok(())
    }

    pub(super) fn rename_column(
        &self,
        id: ObjectId,
        table: &mut TableDefinition,
        from: &str,
        to: &str,
    ) -> Result<(), SqlError> {
        let at = ordinal(table, from)?;
        if ordinal(table, to).is_ok() {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{to}\" of relation \"{}\" already exists", table.name),
            ));
        }
        self.require_unread(id)?;
        let renamed = Renamed::Column {
            relation: table.name.clone(),
            from: from.to_owned(),
            to: to.to_owned(),
        };
        rename_in_checks(id, table, &renamed, |table| {
            to.clone_into(&mut table.columns[at].name);
        })
    }

    pub(super) fn rename_schema(
        &mut self,
        database: &str,
        name: &str,
        to: &str,
    ) -> Result<(), SqlError> {
        let id = self.require_schema(database, name)?;
        self.require_owner(id)?;
        if let Some(database) = self.database_id(database) {
            self.require(database, Privileges::CREATE)?;
        }
        if name == DEFAULT_SCHEMA {
            return Err(SqlError::unsupported("renaming the schema \"public\""));
        }
        self.require_new_schema(database, to)?;
        let inside = |definition: &Definition| {
            definition.place().is_some_and(|place| place == (database, name))
        };
        let members = self.definitions.iter().filter(|(_, definition)| inside(definition));
        let members: Vec<ObjectId> = members.map(|(&id, _)| id).collect();
        for &member in &members {
            self.require_unread(member)?;
        }
        for member in members.into_iter().chain([id]) {
            let Some(definition) = self.definitions.get(&member) else { continue };
            let mut definition = definition.as_ref().clone();
            match &mut definition {
                Definition::Table(table) => to.clone_into(&mut table.schema),
                Definition::View(view) => to.clone_into(&mut view.schema),
                Definition::Sequence(sequence) => to.clone_into(&mut sequence.schema),
                Definition::Schema(schema) => to.clone_into(&mut schema.name),
                _ => {}
            }
            self.put(member, definition);
        }
        Ok(())
    }
}

/// Renames something in a table, and in its checks.
fn rename_in_checks(
    id: ObjectId,
    table: &mut TableDefinition,
    renamed: &Renamed,
    rename: impl FnOnce(&mut TableDefinition),
) -> Result<(), SqlError> {
    let before = build_table(id, table)?;
    for check in &mut table.checks {
        check.text = renamed_in(&check.text, renamed)?;
    }
    rename(table);
    let same = build_table(id, table).is_ok_and(|after| {
        let pairs = before.checks.iter().zip(&after.checks);
        pairs.into_iter().all(|(before, after)| before.condition == after.condition)
    });
    match (same, before.checks.first()) {
        (false, Some(check)) => Err(SqlError::unsupported("this renaming in a table with checks")
            .hint(format!("Drop the constraint \"{}\", rename, and add it again.", check.name))),
        _ => Ok(()),
    }
}

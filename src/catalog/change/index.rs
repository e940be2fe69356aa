//! `CREATE INDEX`, and the indexes behind `UNIQUE`.

use super::like::CopiedIndex;
use super::table::{ordinal, ordinals};
use super::{DdlWork, Draft, QualifiedName, first_twice};
use crate::catalog::stored::{Definition, IndexDefinition, TableDefinition};
use crate::sql::ddl::{NAME_BYTES_MAX, NewIndex};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;

/// Most columns of an index, as in PostgreSQL.
const INDEX_COLUMNS_MAX: usize = 32;

impl Draft<'_> {
    pub(super) fn create_index(&mut self, new: &NewIndex) -> Result<(), SqlError> {
        let (id, table) = self.table(&new.table)?;
        self.require_owner(id)?;
        let mut table = table.clone();
        let names: Vec<String> = new.columns.iter().map(|(name, _)| name.clone()).collect();
        let name = match &new.name {
            None => self.free_name(&table, &names, "idx"),
            Some(name) => {
                let within = (&table.database, &table.schema);
                if new.if_not_exists && self.is_taken(within.0, within.1, name) {
                    self.notices.push(format!("relation \"{name}\" already exists, skipping"));
                    return Ok(());
                }
                self.require_free(&QualifiedName {
                    database: table.database.clone(),
                    schema: table.schema.clone(),
                    name: name.clone(),
                })?;
                name.clone()
            }
        };
        let mut columns = Vec::with_capacity(new.columns.len());
        for (name, descending) in &new.columns {
            columns.push((ordinal(&table, name)?, *descending));
        }
        self.add_index(id, &mut table, name, columns, (new.unique, false))?;
        self.put(id, Definition::Table(table));
        Ok(())
    }

    /// One like another table's.
    pub(super) fn add_copied_index(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        index: &CopiedIndex,
    ) -> Result<(), SqlError> {
        let names: Vec<String> = index.columns.iter().map(|(name, _)| name.clone()).collect();
        let name = self.free_name(table, &names, "idx");
        let ordinals = ordinals(table, &names)?.into_iter();
        let descending = index.columns.iter().map(|(_, descending)| *descending);
        self.add_index(id, table, name, ordinals.zip(descending).collect(), (index.unique, false))
    }

    /// `UNIQUE (names)`
    pub(super) fn add_unique(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        name: String,
        names: &[String],
    ) -> Result<(), SqlError> {
        let columns = ordinals(table, names)?.into_iter().map(|column| (column, false));
        self.add_index(id, table, name, columns.collect(), (true, true))
    }

    fn add_index(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        name: String,
        columns: Vec<(usize, bool)>,
        (unique, constraint): (bool, bool),
    ) -> Result<(), SqlError> {
        if columns.len() > INDEX_COLUMNS_MAX {
            return Err(SqlError::new(
                SqlState::TOO_MANY_COLUMNS,
                format!("cannot use more than {INDEX_COLUMNS_MAX} columns in an index"),
            ));
        }
        let names: Vec<String> =
            columns.iter().map(|(column, _)| table.columns[*column].name.clone()).collect();
        if let Some(twice) = first_twice(&names) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{twice}\" appears twice in the index \"{name}\""),
            ));
        }
        let index = self.next_id()?;
        let definition = IndexDefinition { id: index.0, name, columns, unique, constraint };
        table.indexes.push(definition);
        self.work.push(DdlWork::BackfillIndex { table: id, index });
        Ok(())
    }

    /// A name nobody has: `table_column_suffix`, with a number where that is taken. Cut to the
    /// longest name there is.
    pub(super) fn free_name(
        &self,
        table: &TableDefinition,
        columns: &[String],
        suffix: &str,
    ) -> String {
        let mut stem = table.name.clone();
        for column in columns {
            stem.push('_');
            stem.push_str(column);
        }
        let mut number = 0_usize;
        loop {
            let tail = match number {
                0 => format!("_{suffix}"),
                _ => format!("_{suffix}{number}"),
            };
            let mut room = NAME_BYTES_MAX.saturating_sub(tail.len()).min(stem.len());
            while !stem.is_char_boundary(room) {
                room -= 1;
            }
            let candidate = format!("{}{tail}", &stem[..room]);
            if self.require_constraint_free(table, &candidate).is_ok() {
                return candidate;
            }
            number += 1;
        }
    }

    /// A constraint's name is unique on its table; that of a key also names an index.
    pub(super) fn require_constraint_free(
        &self,
        table: &TableDefinition,
        name: &str,
    ) -> Result<(), SqlError> {
        let on_table = table.checks.iter().any(|check| check.name == name)
            || table.foreign_keys.iter().any(|key| key.name == name)
            || table.indexes.iter().any(|index| index.name == name)
            || table.primary_key_name.as_deref() == Some(name);
        if on_table {
            return Err(SqlError::new(
                SqlState::DUPLICATE_OBJECT,
                format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
            ));
        }
        if self.is_taken(&table.database, &table.schema, name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_TABLE,
                format!("relation \"{name}\" already exists"),
            ));
        }
        Ok(())
    }

    /// Refuses to drop a unique index that foreign keys need.
    pub(super) fn require_no_reference(
        &self,
        parent: ObjectId,
        without: &TableDefinition,
        index: &str,
    ) -> Result<(), SqlError> {
        let built = crate::catalog::build::build_table(parent, without)?;
        for (_, child) in self.tables() {
            let needing = child.foreign_keys.iter().find(|key| {
                key.parent == parent.0
                    && crate::catalog::build::referenced_key(key, &built).is_none()
            });
            if let Some(key) = needing {
                return Err(SqlError::new(
                    SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                    format!("cannot drop {index} because other objects depend on it"),
                )
                .detail(format!("constraint {} on table {} depends on it", key.name, child.name)));
            }
        }
        Ok(())
    }
}

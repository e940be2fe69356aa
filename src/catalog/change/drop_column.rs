//! `ALTER TABLE ... DROP COLUMN`: the indexes and constraints of the table that use the column go
//! with it; what other relations have on it goes where that is asked for.

use super::Draft;
use super::constraint::columns_of;
use super::table::{leave_place, ordinal};
use crate::catalog::build::build_table;
use crate::catalog::stored::{Definition, TableDefinition};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;

impl Draft<'_> {
    /// A dropped column keeps its place in the rows, without a name that could be written.
    pub(super) fn drop_column(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        name: &str,
        (if_exists, cascade): (bool, bool),
    ) -> Result<(), SqlError> {
        if if_exists && ordinal(table, name).is_err() {
            self.notices.push(format!(
                "column \"{name}\" of relation \"{}\" does not exist, skipping",
                table.name
            ));
            return Ok(());
        }
        let at = ordinal(table, name)?;
        if table.primary_key.contains(&at) {
            return Err(SqlError::unsupported("dropping a column of the primary key")
                .hint("Rows are stored by their primary key: make a new table."));
        }
        if let Some((_, view)) = self.views().find(|(_, view)| view.depends_on.contains(&id.0)) {
            let dependent = format!("view {} depends on table {}", view.name, table.name);
            return Err(needed(name, table, dependent).hint("Drop the view first."));
        }
        self.release_references(id, table, at, name, cascade)?;
        drop_users(id, table, at)?.into_iter().for_each(|index| self.dropped.push(index));
        let owned = self.owned_sequences(id, Some(at));
        leave_place(table, at);
        self.put(id, Definition::Table(table.clone()));
        for sequence in owned {
            self.release_sequences(&[], &[sequence], "column", cascade)?;
            self.remove_relation(sequence, cascade)?;
        }
        Ok(())
    }

    /// Removes other tables' references to a key with the column. 2BP01 where that is not asked for.
    fn release_references(
        &mut self,
        id: ObjectId,
        table: &TableDefinition,
        at: usize,
        name: &str,
        cascade: bool,
    ) -> Result<(), SqlError> {
        let children: Vec<(ObjectId, TableDefinition)> = self
            .tables()
            .filter(|(child, _)| *child != id)
            .filter(|(_, child)| child.foreign_keys.iter().any(|key| refers(key, id, at)))
            .map(|(child, definition)| (child, definition.clone()))
            .collect();
        for (child, mut definition) in children {
            for key in definition.foreign_keys.iter().filter(|key| refers(key, id, at)) {
                let constraint = format!("constraint {} on table {}", key.name, definition.name);
                if !cascade {
                    let dependent =
                        format!("{constraint} depends on column {name} of table {}", table.name);
                    return Err(needed(name, table, dependent)
                        .hint("Use DROP ... CASCADE to drop the dependent objects too."));
                }
                self.cascaded.push(constraint);
            }
            definition.foreign_keys.retain(|key| !refers(key, id, at));
            self.put(child, Definition::Table(definition));
        }
        Ok(())
    }
}

fn refers(key: &crate::catalog::stored::ForeignKeyDefinition, parent: ObjectId, at: usize) -> bool {
    key.parent == parent.0 && key.parent_columns.contains(&at)
}

fn needed(column: &str, table: &TableDefinition, dependent: String) -> SqlError {
    SqlError::new(
        SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
        format!(
            "cannot drop column {column} of table {} because other objects depend on it",
            table.name
        ),
    )
    .detail(dependent)
}

/// Removes what of a table uses a column; the indexes among it.
fn drop_users(
    id: ObjectId,
    table: &mut TableDefinition,
    at: usize,
) -> Result<Vec<ObjectId>, SqlError> {
    let bound = build_table(id, table)?;
    let mut checks = bound.checks.iter();
    table.checks.retain(|_| {
        let mut used = Vec::new();
        if let Some(check) = checks.next() {
            columns_of(&check.condition, &mut used);
        }
        !used.contains(&at)
    });
    table.foreign_keys.retain(|key| !(key.columns.contains(&at) || refers(key, id, at)));
    let uses = |index: &crate::catalog::stored::IndexDefinition| {
        index.columns.iter().any(|(column, _)| *column == at)
    };
    let gone = table.indexes.iter().filter(|index| uses(index)).map(|index| ObjectId(index.id));
    let gone: Vec<ObjectId> = gone.collect();
    table.indexes.retain(|index| !uses(index));
    Ok(gone)
}

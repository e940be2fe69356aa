//! `ALTER COLUMN ... TYPE`.
//!
//! Where the new type takes the old values as they are stored only the catalog changes. Otherwise
//! all rows are written anew, with the entries of all indexes, and whatever depends on the values
//! is checked again.

use super::constraint::check_types;
use super::table::ordinal;
use super::{DdlWork, Draft};
use crate::catalog::build::build_table;
use crate::catalog::stored::TableDefinition;
use crate::sql::bind_conversion;
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use model::types::DataType;

impl Draft<'_> {
    pub(super) fn set_type(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        column: &str,
        to: DataType,
        using: Option<&str>,
    ) -> Result<(), SqlError> {
        let at = ordinal(table, column)?;
        // Views are kept as text: which columns they use is not known.
        if let Some((_, view)) = self.views().find(|(_, view)| view.depends_on.contains(&id.0)) {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot alter type of a column used by a view or rule",
            )
            .detail(format!("rule _RETURN on view {} depends on column \"{column}\"", view.name)));
        }
        let stored = self.stored(id, table)?;
        if at >= stored.columns.len() {
            return Err(SqlError::unsupported("changing the type of a column that is being added"));
        }
        let twice = |work: &DdlWork| {
            matches!(work, DdlWork::Rewrite { table, conversions, .. }
                if *table == id && conversions.iter().any(|(known, _)| *known == at))
        };
        if self.work.iter().any(twice) {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("cannot alter type of column \"{column}\" twice"),
            ));
        }
        // Over the rows as they are: other clauses of the statement do not show in them.
        let conversion = bind_conversion(using, &table.name, &stored.columns, at, to)?;
        let casts = || bind_conversion(None, &table.name, &stored.columns, at, to);
        if table.columns[at].default.is_some() && casts().is_err() {
            return Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "default for column \"{column}\" cannot be cast automatically to type {to}"
                ),
            ));
        }
        let from = build_table(id, table)?.columns[at].data_type;
        table.columns[at].data_type = to.to_string();
        // Checks are bound again: they have to be meant for the new type.
        build_table(id, table)?;
        self.check_references(id, table, at)?;
        if using.is_none() && keeps_values(from, to) {
            return Ok(());
        }
        self.rewrite(id, stored, table, Some((at, conversion)))?;
        // Every row has a value of its own from now on.
        table.columns[at].missing = None;
        for check in &table.checks {
            let name = check.name.clone();
            self.work.push(DdlWork::ValidateCheck { table: id, name });
        }
        self.validate_references(id, table, at);
        Ok(())
    }

    /// Foreign keys of the column, and to it, compare values that are encoded alike.
    fn check_references(
        &self,
        id: ObjectId,
        table: &TableDefinition,
        at: usize,
    ) -> Result<(), SqlError> {
        for key in table.foreign_keys.iter().filter(|key| key.columns.contains(&at)) {
            let itself = key.parent == id.0;
            let parent = self.tables().find(|(parent, _)| parent.0 == key.parent);
            let parent = parent.map(|(_, parent)| if itself { table } else { parent });
            let parent = parent.ok_or_else(|| SqlError::internal("no such table referenced"))?;
            check_types(&key.name, table, &key.columns, parent, &key.parent_columns)?;
        }
        for (_, child) in self.tables().filter(|(child, _)| *child != id) {
            for key in &child.foreign_keys {
                if key.parent == id.0 && key.parent_columns.contains(&at) {
                    check_types(&key.name, child, &key.columns, table, &key.parent_columns)?;
                }
            }
        }
        Ok(())
    }

    /// Values may have changed on either side of a foreign key.
    fn validate_references(&mut self, id: ObjectId, table: &TableDefinition, at: usize) {
        let own = table.foreign_keys.iter();
        let own = own.filter(|key| {
            key.columns.contains(&at) || key.parent == id.0 && key.parent_columns.contains(&at)
        });
        let mut checked: Vec<(ObjectId, String)> = own.map(|key| (id, key.name.clone())).collect();
        for (child, definition) in self.tables().filter(|(child, _)| *child != id) {
            let to_it = |key: &&crate::catalog::stored::ForeignKeyDefinition| {
                key.parent == id.0 && key.parent_columns.contains(&at)
            };
            let keys = definition.foreign_keys.iter().filter(to_it);
            checked.extend(keys.map(|key| (child, key.name.clone())));
        }
        let work =
            checked.into_iter().map(|(table, name)| DdlWork::ValidateForeignKey { table, name });
        self.work.extend(work);
    }
}

/// Whether every value of a type is one of another, in the same form: longer texts, times with
/// more digits.
fn keeps_values(from: DataType, to: DataType) -> bool {
    match (from, to) {
        (from, to) if from == to => true,
        (DataType::Varchar(_), DataType::Text) => true,
        (DataType::Limited(limits), to) if limits.data_type() == to => true,
        (from, DataType::Limited(limits)) => limits.hold(from),
        (DataType::Varchar(from), DataType::Varchar(to)) => from <= to,
        _ => false,
    }
}

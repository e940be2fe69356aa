//! `CREATE TABLE`.

use super::{Draft, first_twice};
use crate::catalog::stored::{ColumnDefinition, Comments, Definition, TableDefinition};
use crate::sql::ddl::{NewColumn, NewConstraint, NewConstraintKind, NewTable};
use model::error::{SqlError, SqlState};
use model::types::DataType;

/// Most columns of a table, as in PostgreSQL.
pub(super) const COLUMNS_MAX: usize = 1_600;
/// The key column of a table that declares no primary key. No name that is written can be it.
const HIDDEN_KEY: &str = "(row)";

impl Draft<'_> {
    pub(super) fn create_table(&mut self, new: &NewTable) -> Result<(), SqlError> {
        let name = &self.place(&new.name)?;
        if new.if_not_exists && self.is_taken(&name.database, &name.schema, &name.name) {
            self.notices.push(format!("relation \"{}\" already exists, skipping", name.name));
            return Ok(());
        }
        self.require_free(name)?;
        let (new, copied) = &self.expanded(new)?;
        check_columns(&new.columns)?;
        let mut table = TableDefinition {
            database: name.database.clone(),
            schema: name.schema.clone(),
            name: name.name.clone(),
            storage: new.storage.map(|storage| storage.0),
            columns: Vec::with_capacity(new.columns.len() + 1),
            primary_key: Vec::new(),
            primary_key_name: None,
            partition_columns: Vec::new(),
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            access: self.own(),
            comments: Comments::default(),
        };
        for column in &new.columns {
            let default = self.stored_default(&name.database, column.default.as_ref())?;
            table.columns.push(column_definition(column, default));
        }
        let id = self.next_id()?;
        for (ordinal, column) in new.columns.iter().enumerate() {
            if let Some(sequence) = &column.sequence {
                self.add_column_sequence(id, &mut table, ordinal, sequence)?;
            }
        }
        for constraint in new.constraints.iter().chain(&copied.constraints) {
            if let NewConstraintKind::PrimaryKey(columns) = &constraint.kind {
                self.set_primary_key(&mut table, constraint.name.as_deref(), columns)?;
            }
        }
        if table.primary_key.is_empty() {
            table.primary_key.push(table.columns.len());
            table.columns.push(hidden_key());
        }
        table.partition_columns = partition_columns(&table, new.partition_by.as_deref())?;
        // The table is in place before its other constraints: they may refer to it.
        self.put(id, Definition::Table(table.clone()));
        // A reference may be to a key that is copied.
        let is_reference = |constraint: &&NewConstraint| {
            matches!(constraint.kind, NewConstraintKind::ForeignKey { .. })
        };
        let (references, own): (Vec<_>, Vec<_>) = new.constraints.iter().partition(is_reference);
        for constraint in own.into_iter().chain(&copied.constraints) {
            if !matches!(constraint.kind, NewConstraintKind::PrimaryKey(_)) {
                self.add_constraint(id, &mut table, constraint)?;
                self.put(id, Definition::Table(table.clone()));
            }
        }
        for index in &copied.indexes {
            self.add_copied_index(id, &mut table, index)?;
            self.put(id, Definition::Table(table.clone()));
        }
        for (column, text) in &copied.comments.columns {
            table.comments.columns.insert(ordinal(&table, column)?, text.clone());
        }
        table.comments.constraints.clone_from(&copied.comments.constraints);
        self.put(id, Definition::Table(table.clone()));
        for constraint in references {
            self.add_constraint(id, &mut table, constraint)?;
            self.put(id, Definition::Table(table.clone()));
        }
        // A new table has no rows to index or to check.
        self.work.clear();
        Ok(())
    }

    /// Declares the primary key of a table that has none yet.
    pub(super) fn set_primary_key(
        &self,
        table: &mut TableDefinition,
        name: Option<&str>,
        columns: &[String],
    ) -> Result<(), SqlError> {
        if !table.primary_key.is_empty() {
            return Err(SqlError::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("multiple primary keys for table \"{}\" are not allowed", table.name),
            ));
        }
        if let Some(twice) = first_twice(columns) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{twice}\" appears twice in primary key constraint"),
            ));
        }
        table.primary_key = ordinals(table, columns)?;
        for &ordinal in &table.primary_key {
            table.columns[ordinal].nullable = false;
        }
        table.primary_key_name = Some(match name {
            None => self.free_name(table, &[], "pkey"),
            Some(name) => {
                self.require_constraint_free(table, name)?;
                name.to_owned()
            }
        });
        Ok(())
    }
}

fn check_columns(columns: &[NewColumn]) -> Result<(), SqlError> {
    if columns.len() >= COLUMNS_MAX {
        return Err(SqlError::new(
            SqlState::TOO_MANY_COLUMNS,
            format!("tables can have at most {} columns", COLUMNS_MAX - 1),
        ));
    }
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    match first_twice(&names) {
        None => Ok(()),
        Some(twice) => Err(SqlError::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column \"{twice}\" specified more than once"),
        )),
    }
}

/// `default` is the column's as it is stored.
pub(super) fn column_definition(column: &NewColumn, default: Option<String>) -> ColumnDefinition {
    ColumnDefinition {
        name: column.name.clone(),
        data_type: column.data_type.to_string(),
        nullable: column.nullable,
        default,
        missing: None,
        hidden: false,
        identity: None,
    }
}

/// Drops a column; its place stays, for the rows that were written with it.
pub(super) fn leave_place(table: &mut TableDefinition, ordinal: usize) {
    let column = &mut table.columns[ordinal];
    column.name = format!("(dropped {ordinal})");
    column.hidden = true;
    column.nullable = true;
    column.default = None;
    column.identity = None;
}

fn hidden_key() -> ColumnDefinition {
    ColumnDefinition {
        name: HIDDEN_KEY.to_owned(),
        data_type: DataType::Int8.to_string(),
        nullable: false,
        default: None,
        missing: None,
        hidden: true,
        identity: None,
    }
}

/// Ordinals of visible columns by name.
pub(super) fn ordinals(table: &TableDefinition, names: &[String]) -> Result<Vec<usize>, SqlError> {
    names.iter().map(|name| ordinal(table, name)).collect()
}

/// Ordinal of a visible column; 42703 with the closest name as a hint.
pub(super) fn ordinal(table: &TableDefinition, name: &str) -> Result<usize, SqlError> {
    let visible = || table.columns.iter().filter(|column| !column.hidden);
    let found = table.columns.iter().position(|column| !column.hidden && column.name == name);
    found.ok_or_else(|| {
        let error = SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        );
        match crate::catalog::similar(name, visible().map(|column| column.name.as_str())) {
            Some(close) => error.hint(format!("Perhaps you meant the column \"{close}\".")),
            None => error,
        }
    })
}

/// The columns whose hash places a row: part of the primary key, which then is unique wherever
/// its row lies.
fn partition_columns(
    table: &TableDefinition,
    named: Option<&[String]>,
) -> Result<Vec<usize>, SqlError> {
    let Some(named) = named else { return Ok(table.primary_key.clone()) };
    let columns = ordinals(table, named)?;
    if let Some(twice) = first_twice(named) {
        return Err(SqlError::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column \"{twice}\" appears twice in PARTITION BY"),
        ));
    }
    if let Some(outside) = columns.iter().position(|column| !table.primary_key.contains(column)) {
        return Err(SqlError::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("the partition column \"{}\" is not part of the primary key", named[outside]),
        )
        .detail("A key is unique only if its partition can be told from it.")
        .hint(format!(
            "Declare a primary key that holds it, such as PRIMARY KEY ({}, ...).",
            named.join(", ")
        )));
    }
    Ok(columns)
}

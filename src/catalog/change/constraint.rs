//! Constraints: added with their table or by `ALTER TABLE`, dropped, renamed.

use super::table::{leave_place, ordinals};
use super::{DdlWork, Draft, first_twice};
use crate::catalog::build::{build_table, referenced_key};
use crate::catalog::privileges::Privileges;
use crate::catalog::stored::{
    Action, CheckDefinition, Definition, ForeignKeyDefinition, TableDefinition,
};
use crate::sql::ddl::{NewConstraint, NewConstraintKind, RelationName};
use crate::sql::{bind_check, type_named};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::ObjectId;
use model::schema::Table;
use model::types::DataType;
use std::sync::Arc;

impl Draft<'_> {
    /// Adds a constraint to `table`, which the caller stores.
    pub(super) fn add_constraint(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        new: &NewConstraint,
    ) -> Result<(), SqlError> {
        if let Some(name) = &new.name {
            self.require_constraint_free(table, name)?;
        }
        let named = |draft: &Draft<'_>, columns: &[String], suffix: &str| match &new.name {
            Some(name) => name.clone(),
            None => draft.free_name(table, columns, suffix),
        };
        match &new.kind {
            NewConstraintKind::PrimaryKey(columns) => {
                self.add_primary_key(id, table, new.name.as_deref(), columns)
            }
            NewConstraintKind::Unique(columns) => {
                let name = named(self, columns, "key");
                self.add_unique(id, table, name, columns)
            }
            NewConstraintKind::Check { text, column } => {
                let used = match column {
                    Some(column) => vec![column.clone()],
                    None => single_column(text, id, table)?,
                };
                let name = named(self, &used, "check");
                table.checks.push(CheckDefinition { name: name.clone(), text: text.clone() });
                // Bound now, so that the error names the right statement.
                build_table(id, table)?;
                self.work.push(DdlWork::ValidateCheck { table: id, name });
                Ok(())
            }
            NewConstraintKind::ForeignKey {
                columns,
                parent,
                parent_columns,
                on_delete,
                on_update,
            } => {
                let name = named(self, columns, "fkey");
                let parent = (parent, parent_columns.as_slice());
                self.add_foreign_key(id, table, &name, columns, parent, (*on_delete, *on_update))?;
                self.work.push(DdlWork::ValidateForeignKey { table: id, name });
                Ok(())
            }
        }
    }

    /// `ADD PRIMARY KEY`: rows are stored by it, so all of them are written anew. The hidden key
    /// becomes a dropped column.
    fn add_primary_key(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        name: Option<&str>,
        columns: &[String],
    ) -> Result<(), SqlError> {
        let before = table.clone();
        if table.primary_key_name.is_none() {
            for hidden in std::mem::take(&mut table.primary_key) {
                leave_place(table, hidden);
            }
        }
        self.set_primary_key(table, name, columns)?;
        table.partition_columns.clone_from(&table.primary_key);
        let from = self.stored(id, &before)?;
        self.rewrite(id, from, table, None)
    }

    /// How a table's rows are stored before the statement; `table` is what it is made of now.
    pub(super) fn stored(
        &self,
        id: ObjectId,
        table: &TableDefinition,
    ) -> Result<Arc<Table>, SqlError> {
        let written = self.work.iter().find_map(|work| match work {
            DdlWork::Rewrite { table, from, .. } if *table == id => Some(from.clone()),
            _ => None,
        });
        written.map_or_else(|| build_table(id, table).map(Arc::new), Ok)
    }

    /// Has all rows of a table written anew, as `table` says, with the entries of its indexes.
    /// They are written once, whatever of the statement asks for it.
    pub(super) fn rewrite(
        &mut self,
        id: ObjectId,
        from: Arc<Table>,
        table: &mut TableDefinition,
        conversion: Option<(usize, Expression)>,
    ) -> Result<(), SqlError> {
        self.renew_storage(id, table)?;
        // What was to be filled is filled with the rows, and what is to be checked is checked
        // when they are in their new places.
        let fills =
            |work: &DdlWork| matches!(work, DdlWork::BackfillIndex { table, .. } if *table == id);
        self.work.retain(|work| !fills(work));
        let filled: Vec<ObjectId> = table.indexes.iter().map(|index| ObjectId(index.id)).collect();
        for work in &mut self.work {
            if let DdlWork::Rewrite { table: known, conversions, indexes, .. } = work
                && *known == id
            {
                *indexes = filled;
                conversions.extend(conversion);
                return Ok(());
            }
        }
        let rewrites = self.work.iter().take_while(|work| matches!(work, DdlWork::Rewrite { .. }));
        let at = rewrites.count();
        let conversions = conversion.into_iter().collect();
        let rewrite = DdlWork::Rewrite { table: id, from, conversions, indexes: filled };
        self.work.insert(at, rewrite);
        Ok(())
    }

    fn add_foreign_key(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        name: &str,
        columns: &[String],
        (parent, parent_columns): (&RelationName, &[String]),
        (on_delete, on_update): (Action, Action),
    ) -> Result<(), SqlError> {
        let (parent_id, parent) = match self.table(parent)? {
            // As it is being changed.
            (found, _) if found == id => (id, table.clone()),
            (found, parent) => {
                self.require(found, Privileges::REFERENCES)?;
                (found, parent.clone())
            }
        };
        let child_ordinals = ordinals(table, columns)?;
        let parent_ordinals = match parent_columns {
            [] if parent.primary_key_name.is_some() => parent.primary_key.clone(),
            [] => {
                return Err(SqlError::new(
                    SqlState::UNDEFINED_OBJECT,
                    format!("there is no primary key for referenced table \"{}\"", parent.name),
                ));
            }
            named => ordinals(&parent, named)?,
        };
        if child_ordinals.len() != parent_ordinals.len() || first_twice(columns).is_some() {
            return Err(SqlError::new(
                SqlState::INVALID_FOREIGN_KEY,
                "number of referencing and referenced columns for foreign key disagree",
            ));
        }
        let key = ForeignKeyDefinition {
            name: name.to_owned(),
            columns: child_ordinals,
            parent: parent_id.0,
            parent_columns: parent_ordinals,
            on_delete,
            on_update,
        };
        let built: Table = build_table(parent_id, &parent)?;
        if referenced_key(&key, &built).is_none() {
            return Err(SqlError::new(
                SqlState::INVALID_FOREIGN_KEY,
                format!(
                    "there is no unique constraint matching given keys for referenced table \"{}\"",
                    parent.name
                ),
            ));
        }
        check_types(name, table, &key.columns, &parent, &key.parent_columns)?;
        table.foreign_keys.push(key);
        Ok(())
    }

    /// `DROP CONSTRAINT`
    pub(super) fn drop_constraint(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        name: &str,
        if_exists: bool,
    ) -> Result<(), SqlError> {
        if table.primary_key_name.as_deref() == Some(name) {
            return Err(SqlError::unsupported("dropping a primary key")
                .hint("Rows are stored by their primary key: make a new table."));
        }
        let before = table.checks.len() + table.foreign_keys.len();
        table.checks.retain(|check| check.name != name);
        table.foreign_keys.retain(|key| key.name != name);
        if table.checks.len() + table.foreign_keys.len() < before {
            return Ok(());
        }
        let unique = table.indexes.iter().position(|index| index.constraint && index.name == name);
        let Some(position) = unique else {
            if if_exists {
                self.notices.push(format!(
                    "constraint \"{name}\" of relation \"{}\" does not exist, skipping",
                    table.name
                ));
                return Ok(());
            }
            return Err(no_constraint(table, name));
        };
        let index = table.indexes.remove(position);
        self.require_no_reference(id, table, name)?;
        self.dropped.push(ObjectId(index.id));
        self.put(id, Definition::Table(table.clone()));
        Ok(())
    }

    /// `RENAME CONSTRAINT`
    pub(super) fn rename_constraint(
        &self,
        table: &mut TableDefinition,
        from: &str,
        to: &str,
    ) -> Result<(), SqlError> {
        self.require_constraint_free(table, to)?;
        let checks = table.checks.iter_mut().map(|check| &mut check.name);
        let keys = table.foreign_keys.iter_mut().map(|key| &mut key.name);
        let unique = table.indexes.iter_mut().filter(|index| index.constraint);
        let unique = unique.map(|index| &mut index.name);
        let mut names = checks.chain(keys).chain(unique).chain(&mut table.primary_key_name);
        match names.find(|name| *name == from) {
            Some(name) => to.clone_into(name),
            None => return Err(no_constraint(table, from)),
        }
        table.comments.rename(from, to);
        Ok(())
    }
}

fn no_constraint(table: &TableDefinition, name: &str) -> SqlError {
    SqlError::new(
        SqlState::UNDEFINED_OBJECT,
        format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name),
    )
}

/// The column of a check that uses only one: it names the constraint.
fn single_column(
    text: &str,
    id: ObjectId,
    table: &TableDefinition,
) -> Result<Vec<String>, SqlError> {
    let built = build_table(id, table)?;
    let condition = bind_check(text, &table.name, &built.columns)?;
    let mut used = Vec::new();
    columns_of(&condition, &mut used);
    used.dedup();
    Ok(match used.as_slice() {
        [only] => vec![table.columns[*only].name.clone()],
        _ => Vec::new(),
    })
}

pub(super) fn columns_of(expression: &Expression, out: &mut Vec<usize>) {
    if let Expression::Column(column) = expression {
        out.push(column.index);
    }
    expression.for_each_child(|child| columns_of(child, out));
}

/// Keys are compared as they are encoded, so the columns must be encoded alike.
pub(super) fn check_types(
    name: &str,
    table: &TableDefinition,
    columns: &[usize],
    parent: &TableDefinition,
    parent_columns: &[usize],
) -> Result<(), SqlError> {
    for (&child, &referenced) in columns.iter().zip(parent_columns) {
        let (child, referenced) = (&table.columns[child], &parent.columns[referenced]);
        let (from, to) = (type_named(&child.data_type)?, type_named(&referenced.data_type)?);
        let alike = from.base() == to.base()
            || from.is_integer() && to.is_integer()
            || matches!((from, to), (DataType::Char(_), DataType::Char(_)));
        if !alike {
            return Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("foreign key constraint \"{name}\" cannot be implemented"),
            )
            .detail(format!(
                "Key columns \"{}\" and \"{}\" are of incompatible types: {from} and {to}.",
                child.name, referenced.name
            )));
        }
    }
    Ok(())
}

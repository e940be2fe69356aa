//! `ALTER TABLE`.

use super::table::{COLUMNS_MAX, column_definition, ordinal};
use super::{DdlWork, Draft};
use crate::catalog::build::build_table;
use crate::catalog::stored::{Definition, StoredValue, TableDefinition};
use crate::sql::ddl::{AlterOperation, NewColumn, NewSequence, RelationName};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::ObjectId;
use model::value::Value;

impl Draft<'_> {
    pub(super) fn alter_table(
        &mut self,
        name: &RelationName,
        if_exists: bool,
        operations: &[AlterOperation],
    ) -> Result<(), SqlError> {
        if if_exists && self.relation(name).is_none() {
            return self.skip(true, "relation", &name.name);
        }
        let (id, table) = self.table(name)?;
        self.require_owner(id)?;
        let mut table = table.clone();
        for operation in operations {
            self.alter(id, &mut table, operation)?;
            self.put(id, Definition::Table(table.clone()));
        }
        Ok(())
    }

    fn alter(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        operation: &AlterOperation,
    ) -> Result<(), SqlError> {
        match operation {
            AlterOperation::AddConstraint(new) => self.add_constraint(id, table, new),
            AlterOperation::DropConstraint { name, if_exists } => {
                self.drop_constraint(id, table, name, *if_exists)
            }
            AlterOperation::AddColumn { column, constraints, if_not_exists } => {
                if !self.add_column(id, table, column, *if_not_exists)? {
                    return Ok(());
                }
                for constraint in constraints {
                    self.add_constraint(id, table, constraint)?;
                }
                Ok(())
            }
            AlterOperation::DropColumn { name, if_exists, cascade } => {
                self.drop_column(id, table, name, (*if_exists, *cascade))
            }
            AlterOperation::RequireColumn { name } => ordinal(table, name).map(drop),
            AlterOperation::RenameColumn { from, to } => self.rename_column(id, table, from, to),
            AlterOperation::RenameConstraint { from, to } => {
                self.rename_constraint(table, from, to)
            }
            AlterOperation::SetNullable { column, nullable } => {
                let at = ordinal(table, column)?;
                if *nullable {
                    require_no_identity(table, at)?;
                }
                if *nullable && table.primary_key.contains(&at) {
                    return Err(SqlError::new(
                        SqlState::INVALID_TABLE_DEFINITION,
                        format!("column \"{column}\" is in a primary key"),
                    ));
                }
                if !*nullable && table.columns[at].nullable {
                    self.work.push(DdlWork::ValidateNotNull { table: id, column: at });
                }
                table.columns[at].nullable = *nullable;
                Ok(())
            }
            AlterOperation::SetType { column, data_type, using } => {
                self.set_type(id, table, column, *data_type, using.as_deref())
            }
            AlterOperation::SetDefault { column, default } => {
                let at = ordinal(table, column)?;
                require_no_identity(table, at)?;
                table.columns[at].default =
                    self.stored_default(&table.database, default.as_ref())?;
                build_table(id, table).map(|_bound| ())
            }
            AlterOperation::AddIdentity { column, always, options } => {
                let (always, options) = (*always, options.clone());
                let identity = NewSequence::Identity { always, options };
                self.add_identity(id, table, column, &identity)
            }
            AlterOperation::SetIdentity { column, always, options } => {
                self.set_identity(table, column, *always, options)
            }
            AlterOperation::DropIdentity { column, if_exists } => {
                self.drop_identity(id, table, column, *if_exists)
            }
        }
    }

    /// `ADD COLUMN`; whether it was added.
    fn add_column(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        column: &NewColumn,
        if_not_exists: bool,
    ) -> Result<bool, SqlError> {
        if ordinal(table, &column.name).is_ok() {
            let told =
                format!("column \"{}\" of relation \"{}\" already exists", column.name, table.name);
            if if_not_exists {
                self.notices.push(format!("{told}, skipping"));
                return Ok(false);
            }
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, told));
        }
        if table.columns.len() >= COLUMNS_MAX {
            return Err(SqlError::new(
                SqlState::TOO_MANY_COLUMNS,
                format!("tables can have at most {COLUMNS_MAX} columns, dropped ones counted"),
            ));
        }
        let at = table.columns.len();
        let stored = self.stored(id, table)?;
        let default = self.stored_default(&table.database, column.default.as_ref())?;
        table.columns.push(column_definition(column, default));
        if let Some(sequence) = &column.sequence {
            self.add_column_sequence(id, table, at, sequence)?;
        }
        let bound = build_table(id, table)?;
        let missing = match &bound.columns[at].default {
            None => Value::Null,
            Some(default) => match constant(default) {
                Some(missing) => missing,
                // Each row gets a value of its own.
                None => {
                    self.rewrite(id, stored, table, Some((at, default.clone())))?;
                    return Ok(true);
                }
            },
        };
        if !column.nullable && missing.is_null() {
            self.work.push(DdlWork::ValidateNotNull { table: id, column: at });
        }
        table.columns[at].missing = StoredValue::of(&missing);
        Ok(true)
    }

    /// Views are kept as text: what they name cannot change under them.
    pub(super) fn require_unread(&self, id: ObjectId) -> Result<(), SqlError> {
        match self.views().find(|(_, view)| view.depends_on.contains(&id.0)) {
            None => Ok(()),
            Some((reader, _)) => Err(self.has_reader(id, reader).hint("Drop the view first.")),
        }
    }
}

/// What an identity column's default is, its sequence says.
fn require_no_identity(table: &TableDefinition, at: usize) -> Result<(), SqlError> {
    let column = &table.columns[at];
    if column.identity.is_none() {
        return Ok(());
    }
    Err(SqlError::new(
        SqlState::SYNTAX_ERROR,
        format!("column \"{}\" of relation \"{}\" is an identity column", column.name, table.name),
    ))
}

/// The value of a default that needs no computation, where the catalog can keep it.
fn constant(expression: &Expression) -> Option<Value> {
    match expression {
        Expression::Literal(value, _) => {
            (value.is_null() || StoredValue::of(value).is_some()).then(|| value.clone())
        }
        Expression::Cast { operand, data_type, .. } => {
            let value = constant(operand)?;
            let kept = match &value {
                Value::Null => true,
                Value::Int(number) => match data_type {
                    model::types::DataType::Int8 => true,
                    model::types::DataType::Int4 => i32::try_from(*number).is_ok(),
                    model::types::DataType::Int2 => i16::try_from(*number).is_ok(),
                    _ => false,
                },
                Value::Text(text) => match data_type {
                    model::types::DataType::Text => true,
                    model::types::DataType::Varchar(length) => {
                        text.chars().count() <= *length as usize
                    }
                    _ => false,
                },
                _ => false,
            };
            kept.then_some(value)
        }
        _ => None,
    }
}

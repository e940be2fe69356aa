//! `ALTER TABLE`.

use super::{
    AlterOperation, DdlStatement, NewSequence, SessionSettings, new_column, new_name, qualified,
    table_constraint,
};
use crate::sql::names::{fold, single_name};
use model::error::SqlError;
use sqlparser::ast::{self, AlterColumnOperation, AlterTableOperation as Operation};

pub(super) fn alter_table(
    change: &ast::AlterTable,
    settings: &SessionSettings,
) -> Result<DdlStatement, SqlError> {
    let mut operations = Vec::with_capacity(change.operations.len());
    for operation in &change.operations {
        describe(operation, settings, &mut operations)?;
    }
    Ok(DdlStatement::AlterTable {
        table: qualified(&change.name, settings)?,
        if_exists: change.if_exists,
        operations,
    })
}

fn describe(
    operation: &Operation,
    settings: &SessionSettings,
    out: &mut Vec<AlterOperation>,
) -> Result<(), SqlError> {
    match operation {
        Operation::AddConstraint { constraint, not_valid: false } => {
            out.push(AlterOperation::AddConstraint(table_constraint(constraint, settings)?));
        }
        Operation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
            let mut constraints = Vec::new();
            let column = new_column(column_def, settings, &mut constraints)?;
            let if_not_exists = *if_not_exists;
            out.push(AlterOperation::AddColumn { column, constraints, if_not_exists });
        }
        Operation::DropConstraint { if_exists, name, .. } => {
            out.push(AlterOperation::DropConstraint { name: fold(name), if_exists: *if_exists });
        }
        Operation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            if *drop_behavior == Some(ast::DropBehavior::Cascade) {
                return Err(SqlError::unsupported("DROP COLUMN ... CASCADE"));
            }
            let if_exists = *if_exists;
            out.extend(
                column_names
                    .iter()
                    .map(|name| AlterOperation::DropColumn { name: fold(name), if_exists }),
            );
        }
        Operation::RenameColumn { old_column_name, new_column_name } => {
            let to = new_name(fold(new_column_name))?;
            out.push(AlterOperation::RenameColumn { from: fold(old_column_name), to });
        }
        Operation::RenameTable {
            table_name: ast::RenameTableNameKind::To(name) | ast::RenameTableNameKind::As(name),
        } => out.push(AlterOperation::RenameTable { to: new_name(single_name(name)?)? }),
        Operation::RenameConstraint { old_name, new_name: to } => {
            let to = new_name(fold(to))?;
            out.push(AlterOperation::RenameConstraint { from: fold(old_name), to });
        }
        Operation::AlterColumn { column_name, op } => {
            out.push(alter_column(fold(column_name), op, settings)?);
        }
        other => return Err(SqlError::unsupported(format!("ALTER TABLE ... {other}"))),
    }
    Ok(())
}

fn alter_column(
    column: String,
    operation: &AlterColumnOperation,
    settings: &SessionSettings,
) -> Result<AlterOperation, SqlError> {
    Ok(match operation {
        AlterColumnOperation::AddGenerated {
            generated_as: Some(generated_as),
            sequence_options: options,
        } => match super::sequence::identity(*generated_as, options.as_deref(), settings)? {
            NewSequence::Identity { always, options } => {
                AlterOperation::AddIdentity { column, always, options }
            }
            NewSequence::Serial => return Err(SqlError::internal("an identity that is none")),
        },
        AlterColumnOperation::SetNotNull => AlterOperation::SetNullable { column, nullable: false },
        AlterColumnOperation::DropNotNull => AlterOperation::SetNullable { column, nullable: true },
        AlterColumnOperation::SetDefault { value } => {
            AlterOperation::SetDefault { column, default: Some(value.to_string()) }
        }
        AlterColumnOperation::DropDefault => AlterOperation::SetDefault { column, default: None },
        AlterColumnOperation::SetDataType { data_type, using, .. } => AlterOperation::SetType {
            column,
            data_type: crate::sql::types::data_type(data_type)?,
            using: using.as_ref().map(ToString::to_string),
        },
        other => return Err(SqlError::unsupported(format!("ALTER COLUMN ... {other}"))),
    })
}

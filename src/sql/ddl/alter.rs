//! `ALTER TABLE`, and what else renames and moves.

use super::sequence::{IdentityChange, identity_change};
use super::storage::check_parameters;
use super::{
    AlterOperation, DdlStatement, SessionSettings, new_column, new_name, qualified,
    table_constraint,
};
use crate::sql::names::fold;
use model::error::SqlError;
use sqlparser::ast::{
    self, AlterColumnOperation, AlterTableOperation as Operation, Ident, ObjectName, SqlOption,
};

/// A parsed `ALTER` of a relation or schema.
#[derive(Debug, Clone)]
pub struct AlterStatement(pub(in crate::sql) Alteration);

/// What is altered.
#[derive(Debug, Clone)]
pub(in crate::sql) enum Alteration {
    Table { if_exists: bool, name: ObjectName, actions: Vec<AlterAction> },
    Rename { kind: AlteredKind, if_exists: bool, name: ObjectName, renaming: Renaming },
    RenameSchema { name: Ident, to: Ident },
}

/// One of the things that an `ALTER TABLE` does.
#[derive(Debug, Clone)]
pub(in crate::sql) enum AlterAction {
    /// As the parser makes it.
    Parsed(Box<Operation>),
    Identity(IdentityChange),
    /// Of the table. They change nothing here.
    StorageParameters(Vec<SqlOption>),
    /// How a column is kept, likewise.
    ColumnStorage(Ident),
    Nothing,
}

/// A new name or a new schema.
#[derive(Debug, Clone)]
pub(in crate::sql) enum Renaming {
    Name(Ident),
    Schema(Ident),
}

/// What something is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlteredKind {
    /// A table, or anything else that is stored with them.
    Table,
    /// A view.
    View,
    /// An index.
    Index,
    /// A sequence.
    Sequence,
}

impl AlteredKind {
    /// The command tag.
    pub fn tag(self) -> &'static str {
        match self {
            AlteredKind::Table => "ALTER TABLE",
            AlteredKind::View => "ALTER VIEW",
            AlteredKind::Index => "ALTER INDEX",
            AlteredKind::Sequence => "ALTER SEQUENCE",
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            AlteredKind::Table => "table",
            AlteredKind::View => "view",
            AlteredKind::Index => "index",
            AlteredKind::Sequence => "sequence",
        }
    }
}

/// What changes of a full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewPlace {
    /// The name.
    Name(String),
    /// The schema.
    Schema(String),
}

/// Describes the change.
pub(in crate::sql) fn describe(
    AlterStatement(statement): &AlterStatement,
    settings: &SessionSettings,
) -> Result<DdlStatement, SqlError> {
    Ok(match statement {
        Alteration::Table { if_exists, name, actions } => {
            let mut operations = Vec::with_capacity(actions.len());
            for action in actions {
                describe_action(action, settings, &mut operations)?;
            }
            let (table, if_exists) = (qualified(name, settings)?, *if_exists);
            DdlStatement::AlterTable { table, if_exists, operations }
        }
        Alteration::Rename { kind, if_exists, name, renaming } => {
            let to = match renaming {
                Renaming::Name(name) => NewPlace::Name(new_name(fold(name))?),
                Renaming::Schema(name) => NewPlace::Schema(fold(name)),
            };
            let (kind, if_exists) = (*kind, *if_exists);
            DdlStatement::Rename { kind, name: qualified(name, settings)?, if_exists, to }
        }
        Alteration::RenameSchema { name, to } => DdlStatement::RenameSchema {
            database: settings.database.clone(),
            name: fold(name),
            to: new_name(fold(to))?,
        },
    })
}

fn describe_action(
    action: &AlterAction,
    settings: &SessionSettings,
    out: &mut Vec<AlterOperation>,
) -> Result<(), SqlError> {
    match action {
        AlterAction::Parsed(parsed) => operation(parsed, settings, out),
        AlterAction::Identity(change) => {
            out.push(identity_change(change, settings)?);
            Ok(())
        }
        AlterAction::StorageParameters(options) => check_parameters(options),
        AlterAction::ColumnStorage(column) => {
            out.push(AlterOperation::RequireColumn { name: fold(column) });
            Ok(())
        }
        AlterAction::Nothing => Ok(()),
    }
}

fn operation(
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
            let cascade = *drop_behavior == Some(ast::DropBehavior::Cascade);
            let if_exists = *if_exists;
            out.extend(column_names.iter().map(|name| AlterOperation::DropColumn {
                name: fold(name),
                if_exists,
                cascade,
            }));
        }
        Operation::RenameColumn { old_column_name, new_column_name } => {
            let to = new_name(fold(new_column_name))?;
            out.push(AlterOperation::RenameColumn { from: fold(old_column_name), to });
        }
        Operation::RenameConstraint { old_name, new_name: to } => {
            let to = new_name(fold(to))?;
            out.push(AlterOperation::RenameConstraint { from: fold(old_name), to });
        }
        Operation::AlterColumn { column_name, op } => {
            out.push(alter_column(fold(column_name), op)?);
        }
        other => return Err(SqlError::unsupported(format!("ALTER TABLE ... {other}"))),
    }
    Ok(())
}

fn alter_column(
    column: String,
    operation: &AlterColumnOperation,
) -> Result<AlterOperation, SqlError> {
    Ok(match operation {
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

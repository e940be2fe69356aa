//! `CREATE SEQUENCE`, `ALTER SEQUENCE`, and the sequences behind columns.

use super::{
    AlterOperation, DdlStatement, NewColumn, RelationName, SessionSettings, new_name, qualified,
};
use crate::sql::names::{fold, single_name};
use crate::sql::types::data_type;
use model::error::{SqlError, SqlState};
use model::types::DataType;
use sqlparser::ast::{self, Ident, ObjectName};

/// A parsed `CREATE SEQUENCE` or `ALTER SEQUENCE`.
#[derive(Debug, Clone)]
pub struct SequenceStatement {
    pub(in crate::sql) verb: SequenceVerb,
    pub(in crate::sql) name: ObjectName,
    pub(in crate::sql) options: Vec<WrittenOption>,
}

/// What is done with a sequence.
#[derive(Debug, Clone)]
pub(in crate::sql) enum SequenceVerb {
    Create { temporary: bool, if_not_exists: bool },
    Alter { if_exists: bool },
}

/// What is done with an identity column.
#[derive(Debug, Clone)]
pub(in crate::sql) enum IdentityChange {
    Add { column: Ident, always: bool, options: Vec<WrittenOption> },
    Set { column: Ident, always: Option<bool>, options: Vec<WrittenOption> },
    Drop { column: Ident, if_exists: bool },
}

/// An option as it is written.
#[derive(Debug, Clone)]
pub(in crate::sql) enum WrittenOption {
    Type(ast::DataType),
    Increment(i64),
    /// None: `NO MINVALUE`.
    MinValue(Option<i64>),
    MaxValue(Option<i64>),
    Start(i64),
    Restart(Option<i64>),
    Cache(i64),
    Cycle(bool),
    /// None: `OWNED BY NONE`.
    OwnedBy(Option<ObjectName>),
    /// `SEQUENCE NAME`, of the sequence of an identity column.
    Name(ObjectName),
}

/// Options of a sequence: those that are given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SequenceOptions {
    /// `AS`
    pub data_type: Option<DataType>,
    /// `INCREMENT BY`
    pub increment: Option<i64>,
    /// `MINVALUE`, or `NO MINVALUE`.
    pub min_value: Option<Option<i64>>,
    /// `MAXVALUE`, or `NO MAXVALUE`.
    pub max_value: Option<Option<i64>>,
    /// `START WITH`
    pub start: Option<i64>,
    /// `RESTART`, with a value or without.
    pub restart: Option<Option<i64>>,
    /// `CACHE`
    pub cache: Option<i64>,
    /// `CYCLE` or `NO CYCLE`.
    pub cycle: Option<bool>,
    /// `OWNED BY` a table's column, or none.
    pub owned_by: Option<Option<(RelationName, String)>>,
    /// `SEQUENCE NAME`: what a column's own is called.
    pub name: Option<RelationName>,
}

/// What fills a column from a sequence of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewSequence {
    /// `serial`
    Serial,
    /// `GENERATED ... AS IDENTITY`
    Identity {
        /// `ALWAYS`, not `BY DEFAULT`.
        always: bool,
        /// Of the sequence.
        options: Box<SequenceOptions>,
    },
}

impl SequenceOptions {
    /// Whether nothing but the owner is given.
    pub fn says_only_the_owner(&self) -> bool {
        let owner = SequenceOptions { owned_by: self.owned_by.clone(), ..Default::default() };
        *self == owner
    }
}

/// Describes a statement about a sequence.
pub(in crate::sql) fn describe(
    statement: &SequenceStatement,
    settings: &SessionSettings,
) -> Result<DdlStatement, SqlError> {
    let name = qualified(&statement.name, settings)?;
    let options = nameless(options(&statement.options, settings)?)?;
    Ok(match &statement.verb {
        SequenceVerb::Create { temporary: true, .. } => {
            return Err(SqlError::unsupported("a temporary sequence"));
        }
        SequenceVerb::Create { if_not_exists, .. } => {
            let if_not_exists = *if_not_exists;
            new_name(name.name.clone())?;
            DdlStatement::CreateSequence { name, if_not_exists, options }
        }
        SequenceVerb::Alter { if_exists } => {
            DdlStatement::AlterSequence { name, if_exists: *if_exists, options }
        }
    })
}

pub(super) fn identity_change(
    change: &IdentityChange,
    settings: &SessionSettings,
) -> Result<AlterOperation, SqlError> {
    Ok(match change {
        IdentityChange::Set { column, always, options: written } => AlterOperation::SetIdentity {
            column: fold(column),
            always: *always,
            options: Box::new(nameless(options(written, settings)?)?),
        },
        IdentityChange::Add { column, always, options: written } => AlterOperation::AddIdentity {
            column: fold(column),
            always: *always,
            options: Box::new(options(written, settings)?),
        },
        IdentityChange::Drop { column, if_exists } => {
            AlterOperation::DropIdentity { column: fold(column), if_exists: *if_exists }
        }
    })
}

/// The options that are written. 42601 where one stands twice.
pub(super) fn options(
    written: &[WrittenOption],
    settings: &SessionSettings,
) -> Result<SequenceOptions, SqlError> {
    let mut options = SequenceOptions::default();
    for option in written {
        let fresh = match option {
            WrittenOption::Type(name) => options.data_type.replace(data_type(name)?).is_none(),
            WrittenOption::Increment(by) => options.increment.replace(*by).is_none(),
            WrittenOption::MinValue(value) => options.min_value.replace(*value).is_none(),
            WrittenOption::MaxValue(value) => options.max_value.replace(*value).is_none(),
            WrittenOption::Start(value) => options.start.replace(*value).is_none(),
            WrittenOption::Restart(value) => options.restart.replace(*value).is_none(),
            WrittenOption::Cache(count) => options.cache.replace(*count).is_none(),
            WrittenOption::Cycle(cycle) => options.cycle.replace(*cycle).is_none(),
            WrittenOption::OwnedBy(column) => {
                let owner = column.as_ref().map(|column| owner(column, settings)).transpose()?;
                options.owned_by.replace(owner).is_none()
            }
            WrittenOption::Name(name) => {
                let name = qualified(name, settings)?;
                new_name(name.name.clone())?;
                options.name.replace(name).is_none()
            }
        };
        if !fresh {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "conflicting or redundant options"));
        }
    }
    Ok(options)
}

/// Options of a sequence that has its name elsewhere.
fn nameless(options: SequenceOptions) -> Result<SequenceOptions, SqlError> {
    match options.name {
        None => Ok(options),
        Some(_) => {
            Err(SqlError::new(SqlState::SYNTAX_ERROR, "invalid sequence option SEQUENCE NAME"))
        }
    }
}

/// `[schema.]table.column`
fn owner(
    name: &ObjectName,
    settings: &SessionSettings,
) -> Result<(RelationName, String), SqlError> {
    let Some((column, table)) = name.0.split_last().filter(|(_, table)| !table.is_empty()) else {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "invalid OWNED BY option")
            .hint("Specify OWNED BY table.column or OWNED BY NONE."));
    };
    let table = qualified(&ObjectName(table.to_vec()), settings)?;
    Ok((table, single_name(&ObjectName(vec![column.clone()]))?))
}

/// The integer type behind `serial` and its kin.
pub(super) fn serial_type(name: &ast::DataType) -> Option<DataType> {
    let ast::DataType::Custom(name, modifiers) = name else { return None };
    if !modifiers.is_empty() {
        return None;
    }
    Some(match single_name(name).ok()?.as_str() {
        "serial" | "serial4" => DataType::Int4,
        "bigserial" | "serial8" => DataType::Int8,
        "smallserial" | "serial2" => DataType::Int2,
        _ => return None,
    })
}

/// `GENERATED ... AS IDENTITY`; the parser keeps its options in the order that it wants.
pub(super) fn identity(
    generated_as: ast::GeneratedAs,
    written: Option<&[ast::SequenceOptions]>,
    settings: &SessionSettings,
) -> Result<NewSequence, SqlError> {
    let options = Box::new(options(&from_parser(written.unwrap_or_default())?, settings)?);
    let always = matches!(generated_as, ast::GeneratedAs::Always);
    Ok(NewSequence::Identity { always, options })
}

fn from_parser(options: &[ast::SequenceOptions]) -> Result<Vec<WrittenOption>, SqlError> {
    use ast::SequenceOptions as Parsed;
    let number = |value: &ast::Expr| {
        let text = value.to_string();
        text.parse::<i64>().map_err(|_error| {
            SqlError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("value \"{text}\" is out of range for type bigint"),
            )
        })
    };
    let written = options.iter().map(|option| {
        Ok(match option {
            Parsed::IncrementBy(by, _) => WrittenOption::Increment(number(by)?),
            Parsed::MinValue(value) => {
                WrittenOption::MinValue(value.as_ref().map(number).transpose()?)
            }
            Parsed::MaxValue(value) => {
                WrittenOption::MaxValue(value.as_ref().map(number).transpose()?)
            }
            Parsed::StartWith(value, _) => WrittenOption::Start(number(value)?),
            Parsed::Cache(count) => WrittenOption::Cache(number(count)?),
            // The parser says whether NO was written.
            Parsed::Cycle(no) => WrittenOption::Cycle(!no),
        })
    });
    written.collect()
}

/// Notes what fills a column. 42601 where it is filled already.
pub(super) fn fill(column: &mut NewColumn, sequence: NewSequence) -> Result<(), SqlError> {
    let name = &column.name;
    let refuse = |what: &str| {
        Err(SqlError::new(SqlState::SYNTAX_ERROR, format!("{what} for column \"{name}\"")))
    };
    if column.default.is_some() {
        return refuse(match sequence {
            NewSequence::Serial => "multiple default values specified",
            NewSequence::Identity { .. } => "both default and identity specified",
        });
    }
    if column.sequence.is_some() {
        return refuse("multiple identity specifications");
    }
    column.sequence = Some(sequence);
    column.nullable = false;
    Ok(())
}

/// A relation that a string names, as `nextval('...')` takes it: its schema and its name.
pub(crate) fn named_in_text(text: &str) -> Result<(Option<String>, String), SqlError> {
    let parsed = crate::sql::parse::parse_object_name(text);
    let name =
        parsed.map_err(|_error| SqlError::new(SqlState::INVALID_NAME, "invalid name syntax"))?;
    crate::sql::names::relation_name(&name)
}

/// The name of a relation of a database that a string names.
pub(crate) fn relation_in_text(text: &str, database: &str) -> Result<RelationName, SqlError> {
    let (schema, name) = named_in_text(text)?;
    Ok(RelationName { database: database.to_owned(), schema, name })
}

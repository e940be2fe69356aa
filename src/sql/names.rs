//! Names as they are written and as they are stored.

use model::error::{SqlError, SqlState};
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

/// Longest name in bytes, as in PostgreSQL; longer ones are cut there and refused here.
pub const NAME_BYTES_MAX: usize = 63;

/// The name that an identifier means: in lower case unless it is quoted.
pub fn fold(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// Refuses a word as a name that PostgreSQL keeps for its grammar: the parser takes some of them
/// for columns where an operand is missing (`SELECT 1 + FROM t`).
pub fn check_not_reserved(name: &Ident) -> Result<(), SqlError> {
    /// Those of PostgreSQL's reserved words that are no expression of their own.
    const RESERVED: &str = "all and as asc asymmetric both check collate column constraint \
        create deferrable desc do else end except fetch for foreign from grant group having initially \
        intersect into leading limit offset on only or order references returning select \
        symmetric then to trailing union using when where";
    let is_reserved = |word: &str| name.value.eq_ignore_ascii_case(word);
    if name.quote_style.is_some() || !RESERVED.split(' ').any(is_reserved) {
        return Ok(());
    }
    let message = format!("syntax error at or near \"{}\"", name.value);
    Err(SqlError::new(SqlState::SYNTAX_ERROR, message))
}

/// A relation's name: the schema, where one is written, and the name.
pub fn relation_name(name: &ObjectName) -> Result<(Option<String>, String), SqlError> {
    let parts = parts(name)?;
    match parts.as_slice() {
        [name] => Ok((None, name.clone())),
        [schema, name] => Ok((Some(schema.clone()), name.clone())),
        _ => Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            format!("improper qualified name (too many dotted names): {name}"),
        )),
    }
}

/// A name that must not be qualified.
pub fn single_name(name: &ObjectName) -> Result<String, SqlError> {
    match relation_name(name)? {
        (None, name) => Ok(name),
        (Some(_), _) => Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            format!("the name {name} must not be qualified"),
        )),
    }
}

/// A function's name; the schemas `pg_catalog` and `public` mean nothing.
pub fn function_name(name: &ObjectName) -> Result<String, SqlError> {
    match relation_name(name)? {
        (None, name) => Ok(name),
        (Some(schema), name) if schema == "pg_catalog" || schema == "public" => Ok(name),
        (Some(schema), _) => Err(SqlError::new(
            SqlState::INVALID_SCHEMA_NAME,
            format!("schema \"{schema}\" does not exist"),
        )),
    }
}

fn parts(name: &ObjectName) -> Result<Vec<String>, SqlError> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
            ObjectNamePart::Function(_) => Err(SqlError::unsupported(format!("the name {name}"))),
        })
        .collect()
}

/// Refuses a new object's or column's name that is too long.
pub fn check_new(name: &str) -> Result<(), SqlError> {
    if name.len() <= NAME_BYTES_MAX && !name.is_empty() {
        return Ok(());
    }
    Err(SqlError::new(SqlState::SYNTAX_ERROR, format!("the name \"{name}\" is too long or empty"))
        .detail(format!("A name has 1 to {NAME_BYTES_MAX} bytes.")))
}

//! The grammar of `CREATE DATABASE`.

use super::Syntax;
use super::words::{Parsed, accept, role, role_name};
use crate::sql::ddl::role::RoleName;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// A database to create.
#[derive(Debug, Clone)]
pub struct NewDatabase {
    /// Its name.
    pub name: String,
    /// Who owns it; otherwise who creates it.
    pub owner: Option<RoleName>,
    /// `IF NOT EXISTS`, which PostgreSQL does not have.
    pub if_not_exists: bool,
}

/// A `CREATE DATABASE`; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<Syntax>> {
    if !accept(parser, &["create", "database"]) {
        return Ok(None);
    }
    let if_not_exists = accept(parser, &["if", "not", "exists"]);
    let name = role_name(parser)?;
    accept(parser, &["with"]);
    let mut owner = None;
    while !matches!(parser.peek_token().token, Token::EOF | Token::SemiColon) {
        if accept(parser, &["owner"]) {
            skip_equals(parser);
            owner = match accept(parser, &["default"]) {
                true => None,
                false => Some(role(parser)?),
            };
        } else if accept(parser, &["encoding"]) {
            skip_equals(parser);
            let encoding = parser.parse_literal_string()?;
            if !matches!(encoding.to_lowercase().as_str(), "utf8" | "utf-8" | "unicode") {
                return Ok(Some(rest(parser, "an encoding other than UTF8")));
            }
        } else if accept(parser, &["template"]) {
            skip_equals(parser);
            let template = role_name(parser)?;
            if !matches!(template.as_str(), "template0" | "template1" | "default") {
                return Ok(Some(rest(parser, "a template of a database")));
            }
        } else {
            return Ok(Some(rest(parser, "an option of CREATE DATABASE")));
        }
    }
    Ok(Some(Syntax::CreateDatabase(Box::new(NewDatabase { name, owner, if_not_exists }))))
}

/// An option's value may have an equals sign before it.
fn skip_equals(parser: &mut Parser<'_>) {
    let _there_or_not = parser.consume_token(&Token::Eq);
}

/// Reads to the statement's end.
fn rest(parser: &mut Parser<'_>, what: &'static str) -> Syntax {
    super::grant::unsupported(parser, what)
}

//! The grammar of `GRANT`, `REVOKE` and of owners.

use super::words::{Parsed, accept, at, cascades, expect, granted_by, role, roles, word_at};
use super::{Syntax, role as role_grammar};
use crate::sql::ddl::privilege::{
    OwnedObject, PrivilegeChange, PrivilegeStatement, Targets, WrittenName,
};
use crate::sql::names::{fold, relation_name};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// What privileges can be on in PostgreSQL, and not here.
const UNKNOWN_OBJECTS: [&[&str]; 13] = [
    &["function"],
    &["procedure"],
    &["routine"],
    &["language"],
    &["large", "object"],
    &["parameter"],
    &["tablespace"],
    &["type"],
    &["domain"],
    &["foreign"],
    &["all", "functions"],
    &["all", "procedures"],
    &["all", "routines"],
];

/// A statement about privileges, memberships or owners; `None`, and nothing read, where the
/// statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<Syntax>> {
    if accept(parser, &["grant"]) {
        return grant(parser).map(Some);
    }
    if accept(parser, &["revoke"]) {
        return revoke(parser).map(Some);
    }
    if at(parser, &["alter", "default", "privileges"]) {
        return Ok(Some(unsupported(parser, "ALTER DEFAULT PRIVILEGES")));
    }
    let statement = if accept(parser, &["reassign", "owned", "by"]) {
        let from = roles(parser)?;
        expect(parser, &["to"])?;
        PrivilegeStatement::Reassign { from, to: role(parser)? }
    } else if accept(parser, &["drop", "owned", "by"]) {
        let of = roles(parser)?;
        PrivilegeStatement::DropOwned { of, cascade: cascades(parser) }
    } else if at(parser, &["alter"]) {
        // What is altered otherwise is read by others.
        return parser.maybe_parse(owner).map(|owner| owner.map(privileges));
    } else {
        return Ok(None);
    };
    Ok(Some(privileges(statement)))
}

fn privileges(statement: PrivilegeStatement) -> Syntax {
    Syntax::Privileges(Box::new(statement))
}

/// Reads to the statement's end.
pub(super) fn unsupported(parser: &mut Parser<'_>, what: &'static str) -> Syntax {
    while !matches!(parser.peek_token().token, Token::EOF | Token::SemiColon) {
        parser.next_token();
    }
    Syntax::Unsupported(what)
}

fn grant(parser: &mut Parser<'_>) -> Parsed<Syntax> {
    if !grants_privileges(parser) {
        let statement = role_grammar::grant(parser)?;
        return Ok(Syntax::Role(Box::new(statement)));
    }
    let Some((names, on)) = privileges_on(parser)? else {
        return Ok(unsupported(parser, "this kind of GRANT"));
    };
    expect(parser, &["to"])?;
    let grantees = grantees(parser)?;
    let option = accept(parser, &["with", "grant", "option"]);
    let grantor = granted_by(parser)?;
    let change =
        PrivilegeChange { privileges: names, on, grantees, option, grantor, cascade: false };
    Ok(privileges(PrivilegeStatement::Grant(change)))
}

fn revoke(parser: &mut Parser<'_>) -> Parsed<Syntax> {
    let option = accept(parser, &["grant", "option", "for"]);
    if !option && !grants_privileges(parser) {
        let statement = role_grammar::revoke(parser)?;
        return Ok(Syntax::Role(Box::new(statement)));
    }
    let Some((names, on)) = privileges_on(parser)? else {
        return Ok(unsupported(parser, "this kind of REVOKE"));
    };
    expect(parser, &["from"])?;
    let grantees = grantees(parser)?;
    let grantor = granted_by(parser)?;
    let cascade = cascades(parser);
    let change = PrivilegeChange { privileges: names, on, grantees, option, grantor, cascade };
    Ok(privileges(PrivilegeStatement::Revoke(change)))
}

/// Whether what follows names privileges, not roles: then `ON` comes before `TO` or `FROM`.
fn grants_privileges(parser: &Parser<'_>) -> bool {
    for ahead in 0.. {
        match word_at(parser, ahead).as_deref() {
            Some("on") => return true,
            Some("to" | "from") => return false,
            _ => {}
        }
        if matches!(parser.peek_nth_token(ahead).token, Token::EOF | Token::SemiColon) {
            return false;
        }
    }
    false
}

fn grantees(parser: &mut Parser<'_>) -> Parsed<Vec<crate::sql::ddl::role::RoleName>> {
    parser.parse_comma_separated(|parser| {
        // An old word without a meaning.
        accept(parser, &["group"]);
        role(parser)
    })
}

/// Privileges and what they are on; `None` of what is not known here.
fn privileges_on(parser: &mut Parser<'_>) -> Parsed<Option<(Vec<String>, Targets)>> {
    let names = if accept(parser, &["all"]) {
        accept(parser, &["privileges"]);
        Vec::new()
    } else {
        parser.parse_comma_separated(|parser| {
            parser.parse_identifier().map(|name| fold(&name).to_uppercase())
        })?
    };
    // Of some columns only.
    if parser.peek_token().token == Token::LParen {
        return Ok(None);
    }
    expect(parser, &["on"])?;
    if UNKNOWN_OBJECTS.iter().any(|words| names_object(parser, words)) {
        return Ok(None);
    }
    let targets = if accept(parser, &["all", "tables", "in", "schema"]) {
        Targets::AllTables(single_names(parser)?)
    } else if accept(parser, &["all", "sequences", "in", "schema"]) {
        Targets::AllSequences(single_names(parser)?)
    } else if names_object(parser, &["schema"]) {
        parser.next_token();
        Targets::Schemas(single_names(parser)?)
    } else if names_object(parser, &["database"]) {
        parser.next_token();
        Targets::Databases(single_names(parser)?)
    } else if names_object(parser, &["sequence"]) {
        parser.next_token();
        Targets::Sequences(parser.parse_comma_separated(relation)?)
    } else {
        accept(parser, &["table"]);
        Targets::Relations(parser.parse_comma_separated(relation)?)
    };
    Ok(Some((names, targets)))
}

/// Whether these words stand before a name, and are not a table's own.
fn names_object(parser: &Parser<'_>, words: &[&str]) -> bool {
    let behind = parser.peek_nth_token(words.len()).token;
    let ends = word_at(parser, words.len()).is_some_and(|word| word == "to" || word == "from");
    at(parser, words) && matches!(behind, Token::Word(_)) && !ends
}

fn single_names(parser: &mut Parser<'_>) -> Parsed<Vec<String>> {
    parser.parse_comma_separated(|parser| parser.parse_identifier().map(|name| fold(&name)))
}

fn relation(parser: &mut Parser<'_>) -> Parsed<WrittenName> {
    let name = parser.parse_object_name(false)?;
    let (schema, name) = relation_name(&name)
        .map_err(|error| ParserError::ParserError(error.fields().message.to_string()))?;
    Ok(WrittenName { schema, name })
}

/// `ALTER TABLE name OWNER TO role` and its like; an error where it is something else.
fn owner(parser: &mut Parser<'_>) -> Parsed<PrivilegeStatement> {
    expect(parser, &["alter"])?;
    let kind = word_at(parser, 0).unwrap_or_default();
    parser.next_token();
    let if_exists = accept(parser, &["if", "exists"]);
    let object = match kind.as_str() {
        "table" => {
            accept(parser, &["only"]);
            OwnedObject::Relation("table", relation(parser)?)
        }
        "view" => OwnedObject::Relation("view", relation(parser)?),
        "sequence" => OwnedObject::Relation("sequence", relation(parser)?),
        "schema" => OwnedObject::Schema(fold(&parser.parse_identifier()?)),
        "database" => OwnedObject::Database(fold(&parser.parse_identifier()?)),
        _ => return parser.expected("an object with an owner", parser.peek_token()),
    };
    expect(parser, &["owner", "to"])?;
    let owner = role(parser)?;
    match parser.peek_token().token {
        Token::EOF | Token::SemiColon => Ok(PrivilegeStatement::Owner { object, if_exists, owner }),
        // One of several changes of a table.
        _ => parser.expected("the statement's end", parser.peek_token()),
    }
}

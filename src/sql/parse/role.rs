//! The grammar of statements about roles.

use super::words::{
    Parsed, accept, at, cascades, expect, granted_by, role, role_name, roles, word_at,
};
use crate::sql::ddl::role::{
    ClearPassword, MembershipChange, NewPassword, NewRole, RoleName, RoleOptions, RoleStatement,
    ValidUntil,
};
use crate::sql::parse::Syntax;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// The words that mean a role.
const KINDS: [&str; 3] = ["role", "user", "group"];

/// A statement about roles; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<Syntax>> {
    let Some(verb) = word_at(parser, 0) else { return Ok(None) };
    let kind = word_at(parser, 1).filter(|kind| KINDS.contains(&kind.as_str()));
    let Some(kind) = kind else { return Ok(None) };
    // CREATE USER MAPPING is about foreign servers.
    if at(parser, &[&verb, "user", "mapping"]) {
        return Ok(None);
    }
    let read = match verb.as_str() {
        "create" => create,
        "alter" if has_settings(parser) => {
            while !ends(parser) {
                parser.next_token();
            }
            return Ok(Some(Syntax::Unsupported("settings of a role")));
        }
        "alter" => alter,
        "drop" => drop_roles,
        _ => return Ok(None),
    };
    parser.next_token();
    parser.next_token();
    read(parser, &kind).map(|statement| Some(Syntax::Role(Box::new(statement))))
}

/// `ALTER ROLE name [IN DATABASE name] SET ...`, and the like of all roles.
fn has_settings(parser: &Parser<'_>) -> bool {
    let follows = word_at(parser, 3);
    matches!(follows.as_deref(), Some("set" | "reset" | "in"))
}

fn create(parser: &mut Parser<'_>, kind: &str) -> Parsed<RoleStatement> {
    let name = role_name(parser)?;
    accept(parser, &["with"]);
    let mut new = NewRole {
        name,
        options: RoleOptions::default(),
        member_of: Vec::new(),
        members: Vec::new(),
        admins: Vec::new(),
    };
    while !ends(parser) {
        if accept(parser, &["in", "role"]) || accept(parser, &["in", "group"]) {
            new.member_of.extend(roles(parser)?);
        } else if accept(parser, &["role"]) || accept(parser, &["user"]) {
            new.members.extend(roles(parser)?);
        } else if accept(parser, &["admin"]) {
            new.admins.extend(roles(parser)?);
        } else if accept(parser, &["sysid"]) {
            // As in PostgreSQL, which reads it and tells that it means nothing.
            parser.parse_literal_uint()?;
        } else {
            option(parser, &mut new.options)?;
        }
    }
    if kind == "user" {
        new.options.login.get_or_insert(true);
    }
    Ok(RoleStatement::Create(new))
}

fn alter(parser: &mut Parser<'_>, kind: &str) -> Parsed<RoleStatement> {
    let named = role(parser)?;
    if accept(parser, &["rename", "to"]) {
        let RoleName::Named(from) = named else {
            return parser.expected("a role's name", parser.peek_token());
        };
        return Ok(RoleStatement::Rename { from, to: role_name(parser)? });
    }
    if kind == "group" {
        let add = accept(parser, &["add", "user"]);
        if !add {
            expect(parser, &["drop", "user"])?;
        }
        let members = roles(parser)?;
        let change = MembershipChange { roles: vec![named], members, admin: false, grantor: None };
        return Ok(RoleStatement::Group { add, change });
    }
    accept(parser, &["with"]);
    let mut options = RoleOptions::default();
    while !ends(parser) {
        option(parser, &mut options)?;
    }
    Ok(RoleStatement::Alter { role: named, options })
}

fn drop_roles(parser: &mut Parser<'_>, _kind: &str) -> Parsed<RoleStatement> {
    let if_exists = accept(parser, &["if", "exists"]);
    Ok(RoleStatement::Drop { roles: roles(parser)?, if_exists })
}

/// `GRANT role TO role`, behind the first word.
pub(super) fn grant(parser: &mut Parser<'_>) -> Parsed<RoleStatement> {
    let granted = roles(parser)?;
    expect(parser, &["to"])?;
    let members = roles(parser)?;
    let admin = accept(parser, &["with", "admin", "option"]);
    let grantor = granted_by(parser)?;
    Ok(RoleStatement::Grant(MembershipChange { roles: granted, members, admin, grantor }))
}

/// `REVOKE role FROM role`, behind the first word.
pub(super) fn revoke(parser: &mut Parser<'_>) -> Parsed<RoleStatement> {
    let admin = accept(parser, &["admin", "option", "for"]);
    let revoked = roles(parser)?;
    expect(parser, &["from"])?;
    let members = roles(parser)?;
    let grantor = granted_by(parser)?;
    // Memberships do not depend on each other, as in PostgreSQL 15.
    cascades(parser);
    Ok(RoleStatement::Revoke(MembershipChange { roles: revoked, members, admin, grantor }))
}

fn ends(parser: &Parser<'_>) -> bool {
    matches!(parser.peek_token().token, Token::EOF | Token::SemiColon)
}

/// One option of a role.
fn option(parser: &mut Parser<'_>, options: &mut RoleOptions) -> Parsed<()> {
    let found = parser.peek_token();
    let Some(word) = word_at(parser, 0) else { return parser.expected("a role option", found) };
    let (name, truth) = match word.strip_prefix("no") {
        Some(rest) => (rest.to_owned(), false),
        None => (word.clone(), true),
    };
    let flag = match name.as_str() {
        "superuser" => &mut options.superuser,
        "createdb" => &mut options.create_database,
        "createrole" => &mut options.create_role,
        "inherit" => &mut options.inherit,
        "login" => &mut options.login,
        "replication" => &mut options.replication,
        "bypassrls" => &mut options.bypass_row_security,
        _ => return valued_option(parser, options),
    };
    if flag.replace(truth).is_some() {
        return Err(redundant());
    }
    parser.next_token();
    Ok(())
}

fn valued_option(parser: &mut Parser<'_>, options: &mut RoleOptions) -> Parsed<()> {
    let twice = if accept(parser, &["connection", "limit"]) {
        options.connection_limit.replace(signed(parser)?).is_some()
    } else if accept(parser, &["encrypted", "password"]) || accept(parser, &["password"]) {
        let password = match accept(parser, &["null"]) {
            true => NewPassword::None,
            false => NewPassword::Clear(ClearPassword(parser.parse_literal_string()?)),
        };
        options.password.replace(password).is_some()
    } else if accept(parser, &["valid", "until"]) {
        let until = ValidUntil::Written(parser.parse_literal_string()?);
        options.valid_until.replace(until).is_some()
    } else {
        let found = parser.peek_token();
        return parser.expected("a role option", found);
    };
    if twice { Err(redundant()) } else { Ok(()) }
}

fn redundant() -> ParserError {
    ParserError::ParserError("conflicting or redundant options".into())
}

fn signed(parser: &mut Parser<'_>) -> Parsed<i32> {
    let negative = parser.consume_token(&Token::Minus);
    let number = parser.parse_literal_uint()?;
    match i32::try_from(number) {
        Ok(number) => Ok(if negative { -number } else { number }),
        Err(_) => Err(ParserError::ParserError("the number is out of range".into())),
    }
}

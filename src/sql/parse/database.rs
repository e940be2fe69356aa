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

/// An option of which every database is the same: dumps write it out.
struct Fixed {
    words: &'static [&'static str],
    /// The values that it is, in lower case.
    takes: &'static [&'static str],
    refused: &'static str,
}

const FIXED: [Fixed; 10] = [
    Fixed {
        words: &["encoding"],
        takes: &["utf8", "utf-8", "unicode", "6", "default"],
        refused: "an encoding other than UTF8",
    },
    Fixed {
        words: &["template"],
        takes: &["template0", "template1", "default"],
        refused: "a template of a database",
    },
    fixed_locale(&["locale"]),
    fixed_locale(&["lc_collate"]),
    fixed_locale(&["lc_ctype"]),
    Fixed {
        words: &["locale_provider"],
        takes: &["libc"],
        refused: "a provider of locales other than libc",
    },
    Fixed {
        words: &["tablespace"],
        takes: &["pg_default", "default"],
        refused: "a tablespace of a database",
    },
    Fixed {
        words: &["allow_connections"],
        takes: &["true", "on", "1", "default"],
        refused: "a database without connections",
    },
    Fixed {
        words: &["connection", "limit"],
        takes: &["-1", "default"],
        refused: "a limit of connections to a database",
    },
    Fixed {
        words: &["is_template"],
        takes: &["false", "off", "0", "default"],
        refused: "a database as a template",
    },
];

const fn fixed_locale(words: &'static [&'static str]) -> Fixed {
    let takes = &["c", "posix", "default"];
    Fixed { words, takes, refused: "a locale other than C" }
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
        } else if let Some(option) = FIXED.iter().find(|option| accept(parser, option.words)) {
            skip_equals(parser);
            let value = value(parser)?;
            if !option.takes.contains(&value.as_str()) {
                return Ok(Some(rest(parser, option.refused)));
            }
        } else {
            return Ok(Some(rest(parser, "an option of CREATE DATABASE")));
        }
    }
    Ok(Some(Syntax::CreateDatabase(Box::new(NewDatabase { name, owner, if_not_exists }))))
}

/// An option's value, in lower case.
fn value(parser: &mut Parser<'_>) -> Parsed<String> {
    let minus = if parser.consume_token(&Token::Minus) { "-" } else { "" };
    let next = parser.next_token();
    Ok(match &next.token {
        Token::Word(word) => word.value.to_lowercase(),
        Token::SingleQuotedString(text) => text.to_lowercase(),
        Token::Number(digits, _) => format!("{minus}{digits}"),
        _ => return parser.expected("the value of an option", next),
    })
}

/// An option's value may have an equals sign before it.
fn skip_equals(parser: &mut Parser<'_>) {
    let _there_or_not = parser.consume_token(&Token::Eq);
}

/// Reads to the statement's end.
fn rest(parser: &mut Parser<'_>, what: &'static str) -> Syntax {
    super::grant::unsupported(parser, what)
}

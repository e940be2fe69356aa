//! Reading a grammar word by word, where it is PostgreSQL's and not the parser's.

use crate::sql::ddl::role::RoleName;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

pub(super) type Parsed<T> = Result<T, ParserError>;

/// The unquoted word `ahead` tokens from here, in lower case.
pub(super) fn word_at(parser: &Parser<'_>, ahead: usize) -> Option<String> {
    match parser.peek_nth_token(ahead).token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        _ => None,
    }
}

/// Whether these words are next.
pub(super) fn at(parser: &Parser<'_>, words: &[&str]) -> bool {
    let is = |(ahead, word): (usize, &&str)| word_at(parser, ahead).as_deref() == Some(word);
    words.iter().enumerate().all(is)
}

/// Reads these words, where they are next.
pub(super) fn accept(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let there = at(parser, words);
    if there {
        words.iter().for_each(|_| drop(parser.next_token()));
    }
    there
}

/// Reads these words.
pub(super) fn expect(parser: &mut Parser<'_>, words: &[&str]) -> Parsed<()> {
    match accept(parser, words) {
        true => Ok(()),
        false => parser.expected(&words.join(" ").to_uppercase(), parser.peek_token()),
    }
}

/// A role where a statement may name one.
pub(super) fn role(parser: &mut Parser<'_>) -> Parsed<RoleName> {
    let special = match word_at(parser, 0).as_deref() {
        Some("current_role" | "current_user") => RoleName::Current,
        Some("session_user") => RoleName::Session,
        Some("public") => RoleName::Public,
        _ => return Ok(RoleName::Named(role_name(parser)?)),
    };
    parser.next_token();
    Ok(special)
}

/// A role's own name.
pub(super) fn role_name(parser: &mut Parser<'_>) -> Parsed<String> {
    parser.parse_identifier().map(|name| crate::sql::names::fold(&name))
}

/// Roles between commas.
pub(super) fn roles(parser: &mut Parser<'_>) -> Parsed<Vec<RoleName>> {
    parser.parse_comma_separated(role)
}

/// `CASCADE` or `RESTRICT`, which is the default.
pub(super) fn cascades(parser: &mut Parser<'_>) -> bool {
    let cascades = accept(parser, &["cascade"]);
    if !cascades {
        accept(parser, &["restrict"]);
    }
    cascades
}

/// `GRANTED BY role`, where it stands.
pub(super) fn granted_by(parser: &mut Parser<'_>) -> Parsed<Option<RoleName>> {
    match accept(parser, &["granted", "by"]) {
        true => role(parser).map(Some),
        false => Ok(None),
    }
}

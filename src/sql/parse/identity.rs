//! The grammar of `ALTER TABLE ... ALTER COLUMN` where it changes an identity column.

use super::sequence;
use super::words::{Parsed, accept, at};
use crate::sql::ddl::{IdentityChange, WrittenOption};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// `ALTER [COLUMN] name` and what is done with its identity. An error is that it is something else.
pub(super) fn change(parser: &mut Parser<'_>) -> Parsed<IdentityChange> {
    parser.expect_keyword(Keyword::ALTER)?;
    let _noise = parser.parse_keyword(Keyword::COLUMN);
    let column = parser.parse_identifier()?;
    if accept(parser, &["drop", "identity"]) {
        return Ok(IdentityChange::Drop { column, if_exists: accept(parser, &["if", "exists"]) });
    }
    if accept(parser, &["add", "generated"]) {
        let always = accept(parser, &["always"]);
        if !always && !accept(parser, &["by", "default"]) {
            return parser.expected("ALWAYS or BY DEFAULT", parser.peek_token());
        }
        parser.expect_keywords(&[Keyword::AS, Keyword::IDENTITY])?;
        let mut options = Vec::new();
        if parser.consume_token(&Token::LParen) {
            options = sequence::options(parser)?;
            parser.expect_token(&Token::RParen)?;
        }
        return Ok(IdentityChange::Add { column, always, options });
    }
    let (mut always, mut options) = (None, Vec::new());
    loop {
        if accept(parser, &["set", "generated", "always"]) {
            always = Some(true);
        } else if accept(parser, &["set", "generated", "by", "default"]) {
            always = Some(false);
        } else if let Some(option) = option(parser)? {
            options.push(option);
        } else if always.is_none() && options.is_empty() {
            return parser.expected("a change of the identity", parser.peek_token());
        } else {
            return Ok(IdentityChange::Set { column, always, options });
        }
    }
}

/// `RESTART`, or `SET` and an option of the sequence.
fn option(parser: &mut Parser<'_>) -> Parsed<Option<WrittenOption>> {
    if at(parser, &["restart"]) {
        return sequence::option(parser);
    }
    if !parser.parse_keyword(Keyword::SET) {
        return Ok(None);
    }
    match sequence::option(parser)? {
        Some(option) => Ok(Some(option)),
        None => parser.expected("an option of the sequence", parser.peek_token()),
    }
}

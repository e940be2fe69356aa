//! The grammar of `ALTER TABLE ... ALTER COLUMN` where it changes an identity column.

use super::sequence;
use super::words::{Parsed, accept, at};
use crate::sql::ddl::{IdentityChange, SequenceStatement, SequenceVerb, WrittenOption};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// A statement that changes identity columns; `None`, and nothing read, where it is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<SequenceStatement>> {
    if !at(parser, &["alter", "table"]) {
        return Ok(None);
    }
    let begun = parser.maybe_parse(|parser| {
        accept(parser, &["alter", "table"]);
        let if_exists = accept(parser, &["if", "exists"]);
        accept(parser, &["only"]);
        let name = parser.parse_object_name(false)?;
        Ok((if_exists, name, change(parser)?))
    })?;
    let Some((if_exists, name, first)) = begun else { return Ok(None) };
    let mut changes = vec![first];
    while parser.consume_token(&Token::Comma) {
        changes.push(change(parser)?);
    }
    let verb = SequenceVerb::AlterIdentity { if_exists, changes };
    Ok(Some(SequenceStatement { verb, name, options: Vec::new() }))
}

/// `ALTER [COLUMN] name` and what is done with its identity.
fn change(parser: &mut Parser<'_>) -> Parsed<IdentityChange> {
    parser.expect_keyword(Keyword::ALTER)?;
    let _noise = parser.parse_keyword(Keyword::COLUMN);
    let column = parser.parse_identifier()?;
    if accept(parser, &["drop", "identity"]) {
        return Ok(IdentityChange::Drop { column, if_exists: accept(parser, &["if", "exists"]) });
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

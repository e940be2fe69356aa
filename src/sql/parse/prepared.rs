//! The grammar of `PREPARE` and `EXECUTE`.

use super::{QUERY, Text, name};
use crate::sql::prepared::{ExecuteStatement, PrepareStatement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

type Parsed<T> = Result<T, ParserError>;

/// What a change begins with.
const CHANGE: [Keyword; 3] = [Keyword::INSERT, Keyword::UPDATE, Keyword::DELETE];

/// A `PREPARE`; `None`, and nothing read, where the statement is another.
pub(super) fn prepare(
    parser: &mut Parser<'_>,
    text: &Text<'_>,
) -> Parsed<Option<PrepareStatement>> {
    let start = parser.peek_token().span.start;
    if !parser.parse_keyword(Keyword::PREPARE) {
        return Ok(None);
    }
    let name = name(parser)?;
    let mut types = Vec::new();
    if parser.consume_token(&Token::LParen) {
        types = parser.parse_comma_separated(Parser::parse_data_type)?;
        parser.expect_token(&Token::RParen)?;
    }
    parser.expect_keyword(Keyword::AS)?;
    let next = parser.peek_token();
    let preparable = match &next.token {
        Token::Word(word) => QUERY.contains(&word.keyword) || CHANGE.contains(&word.keyword),
        Token::LParen => true,
        _ => false,
    };
    if !preparable {
        return parser.expected("SELECT, VALUES, INSERT, UPDATE or DELETE", next);
    }
    let statement = Box::new(parser.parse_statement()?);
    let text = text.between(start, &parser.peek_token()).to_owned();
    Ok(Some(PrepareStatement { name, types, statement, text }))
}

/// An `EXECUTE`; `None`, and nothing read, where the statement is another.
pub(super) fn execute(parser: &mut Parser<'_>) -> Parsed<Option<ExecuteStatement>> {
    if !parser.parse_keyword(Keyword::EXECUTE) {
        return Ok(None);
    }
    let name = name(parser)?;
    let mut arguments = Vec::new();
    if parser.consume_token(&Token::LParen) {
        arguments = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
    }
    Ok(Some(ExecuteStatement { name, arguments }))
}

//! The grammar of `CREATE TABLE ... AS`, whose columns are names without types.

use super::words::{Parsed, accept, at, expect};
use super::{QUERY, prepared};
use crate::sql::table_as::{TableAsHead, TableAsStatement, WrittenSource};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// A `CREATE TABLE ... AS`; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<TableAsStatement>> {
    if !at(parser, &["create"]) {
        return Ok(None);
    }
    let Some(head) = parser.maybe_parse(head)? else { return Ok(None) };
    let source = match prepared::execute(parser)? {
        Some(execute) => WrittenSource::Execute(execute),
        None => WrittenSource::Query(parser.parse_query()?),
    };
    let with_data = !accept(parser, &["with", "no", "data"]);
    if with_data {
        accept(parser, &["with", "data"]);
    }
    Ok(Some(TableAsStatement { head, source, with_data }))
}

/// Everything before the query. An error is that the statement is another.
fn head(parser: &mut Parser<'_>) -> Parsed<TableAsHead> {
    expect(parser, &["create"])?;
    let _noise = accept(parser, &["global"]) || accept(parser, &["local"]);
    let temporary = accept(parser, &["temporary"]) || accept(parser, &["temp"]);
    accept(parser, &["unlogged"]);
    expect(parser, &["table"])?;
    let if_not_exists = accept(parser, &["if", "not", "exists"]);
    let name = parser.parse_object_name(false)?;
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        columns = parser.parse_comma_separated(Parser::parse_identifier)?;
        parser.expect_token(&Token::RParen)?;
    }
    accept(parser, &["using", "heap"]);
    let options = match accept(parser, &["without", "oids"]) {
        true => Vec::new(),
        false => parser.parse_options(Keyword::WITH)?,
    };
    expect(parser, &["as"])?;
    let next = parser.peek_token();
    let begins = match &next.token {
        Token::Word(word) => QUERY.contains(&word.keyword) || word.keyword == Keyword::EXECUTE,
        Token::LParen => true,
        _ => false,
    };
    match begins {
        true => Ok(TableAsHead { name, temporary, if_not_exists, columns, options }),
        false => parser.expected("a query", next),
    }
}

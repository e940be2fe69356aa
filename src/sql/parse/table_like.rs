//! The grammar of `CREATE TABLE` where `LIKE` stands among its columns.

use super::words::{Parsed, accept, at, expect};
use crate::sql::ddl::{Aspects, LikeClause, TableLikeStatement};
use sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use sqlparser::ast::{CreateTableOptions, Expr};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// A `CREATE TABLE` with `LIKE`; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<TableLikeStatement>> {
    if !at(parser, &["create"]) || !has_like(parser) {
        return Ok(None);
    }
    expect(parser, &["create"])?;
    let _noise = accept(parser, &["global"]) || accept(parser, &["local"]);
    let temporary = accept(parser, &["temporary"]) || accept(parser, &["temp"]);
    let unlogged = accept(parser, &["unlogged"]);
    expect(parser, &["table"])?;
    let if_not_exists = accept(parser, &["if", "not", "exists"]);
    let name = parser.parse_object_name(false)?;
    parser.expect_token(&Token::LParen)?;
    let (mut columns, mut constraints, mut likes) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        if accept(parser, &["like"]) {
            likes.push(like(parser, columns.len())?);
        } else if let Some(constraint) = parser.parse_optional_table_constraint()? {
            constraints.push(constraint);
        } else {
            columns.push(parser.parse_column_def()?);
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen)?;
    let partition_by: Option<Box<Expr>> = match accept(parser, &["partition", "by"]) {
        true => Some(Box::new(parser.parse_expr()?)),
        false => None,
    };
    accept(parser, &["using", "heap"]);
    let options = match accept(parser, &["without", "oids"]) {
        true => Vec::new(),
        false => parser.parse_options(Keyword::WITH)?,
    };
    let create = CreateTableBuilder::new(name)
        .temporary(temporary)
        .unlogged(unlogged)
        .if_not_exists(if_not_exists)
        .columns(columns)
        .constraints(constraints)
        .partition_by(partition_by)
        .table_options(CreateTableOptions::With(options))
        .build();
    Ok(Some(TableLikeStatement { create, likes }))
}

/// Whether an element of what stands in the statement's first parentheses begins with `LIKE`.
fn has_like(parser: &Parser<'_>) -> bool {
    let (mut depth, mut begins) = (0_usize, false);
    for ahead in 0.. {
        let token = parser.peek_nth_token(ahead).token;
        match &token {
            Token::EOF | Token::SemiColon => return false,
            Token::LParen => depth += 1,
            Token::RParen if depth <= 1 => return false,
            Token::RParen => depth -= 1,
            Token::Word(word)
                if begins && word.quote_style.is_none() && word.keyword == Keyword::LIKE =>
            {
                return true;
            }
            // Where names stand before the parentheses, a query may.
            Token::Word(word) if depth == 0 && word.keyword == Keyword::AS => return false,
            _ => {}
        }
        begins = depth == 1 && matches!(token, Token::LParen | Token::Comma);
    }
    false
}

/// What stands behind `LIKE`.
fn like(parser: &mut Parser<'_>, at: usize) -> Parsed<LikeClause> {
    let name = parser.parse_object_name(false)?;
    let mut including = Aspects::default();
    loop {
        let includes = match accept(parser, &["including"]) {
            true => true,
            false if accept(parser, &["excluding"]) => false,
            false => return Ok(LikeClause { name, at, including }),
        };
        let next = parser.next_token();
        let word = match &next.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
            _ => String::new(),
        };
        if !including.set(&word, includes) {
            return parser.expected("what LIKE includes", next);
        }
    }
}

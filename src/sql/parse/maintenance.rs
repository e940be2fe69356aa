//! The grammar of `VACUUM` and `ANALYZE`, with options in parentheses and as bare words.

use crate::sql::maintenance::{MaintenanceStatement, Verb, WrittenTable, WrittenWord};
use crate::sql::names::fold;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{IsOptional, Parser, ParserError};
use sqlparser::tokenizer::Token;

type Parsed<T> = Result<T, ParserError>;

/// A `VACUUM` or `ANALYZE`; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<MaintenanceStatement>> {
    let verb = match parser.parse_keyword(Keyword::VACUUM) {
        true => Verb::Vacuum,
        false if analyze(parser) => Verb::Analyze,
        false => return Ok(None),
    };
    let options = match parser.consume_token(&Token::LParen) {
        true => {
            let options = parser.parse_comma_separated(option)?;
            parser.expect_token(&Token::RParen)?;
            options
        }
        false => words(parser, verb),
    };
    let tables = match parser.peek_token().token {
        Token::EOF | Token::SemiColon => Vec::new(),
        _ => parser.parse_comma_separated(table)?,
    };
    Ok(Some(MaintenanceStatement { verb, options, tables }))
}

/// Reads `ANALYZE`, in either spelling.
fn analyze(parser: &mut Parser<'_>) -> bool {
    if parser.parse_keyword(Keyword::ANALYZE) {
        return true;
    }
    let Token::Word(word) = parser.peek_token().token else { return false };
    let british = word.quote_style.is_none() && word.value.eq_ignore_ascii_case("analyse");
    if british {
        parser.next_token();
    }
    british
}

/// The options as bare words, in the one order that they have.
fn words(parser: &mut Parser<'_>, verb: Verb) -> Vec<WrittenWord> {
    let mut options = Vec::new();
    let mut note = |present: bool, name: &str| {
        if present {
            options.push(WrittenWord { name: name.to_owned(), value: None });
        }
    };
    if verb == Verb::Vacuum {
        note(parser.parse_keyword(Keyword::FULL), "full");
        note(parser.parse_keyword(Keyword::FREEZE), "freeze");
    }
    note(parser.parse_keyword(Keyword::VERBOSE), "verbose");
    if verb == Verb::Vacuum {
        note(analyze(parser), "analyze");
    }
    options
}

/// One option in parentheses: a name, and perhaps a word, a string or a number behind it.
fn option(parser: &mut Parser<'_>) -> Parsed<WrittenWord> {
    let name = match analyze(parser) {
        true => "analyze".to_owned(),
        false => fold(&parser.parse_identifier()?),
    };
    let negative = parser.consume_token(&Token::Minus);
    let next = parser.peek_token();
    let value = match next.token {
        Token::Comma | Token::RParen if !negative => None,
        Token::Number(number, _) => {
            parser.next_token();
            Some(if negative { format!("-{number}") } else { number })
        }
        Token::Word(word) if !negative => {
            parser.next_token();
            Some(word.value)
        }
        Token::SingleQuotedString(text) if !negative => {
            parser.next_token();
            Some(text)
        }
        _ => return parser.expected("a value", next),
    };
    Ok(WrittenWord { name, value })
}

fn table(parser: &mut Parser<'_>) -> Parsed<WrittenTable> {
    Ok(WrittenTable {
        name: parser.parse_object_name(false)?,
        columns: parser.parse_parenthesized_column_list(IsOptional::Optional, false)?,
    })
}

//! The grammar of `DECLARE`, `FETCH`, `MOVE` and `CLOSE`.

use super::{QUERY, Text, at_end, name, word};
use crate::sql::cursor::{CloseStatement, DeclareStatement, FetchStatement, Movement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

type Parsed<T> = Result<T, ParserError>;

/// A `DECLARE`; `None`, and nothing read, where the statement is another.
pub(super) fn declare(
    parser: &mut Parser<'_>,
    text: &Text<'_>,
) -> Parsed<Option<DeclareStatement>> {
    let start = parser.peek_token().span.start;
    if !parser.parse_keyword(Keyword::DECLARE) {
        return Ok(None);
    }
    let mut declared = DeclareStatement::named(name(parser)?);
    while !word(parser, "cursor") {
        let next = parser.peek_token();
        match () {
            () if word(parser, "binary") => declared.binary = true,
            () if word(parser, "scroll") => declared.scroll = true,
            () if word(parser, "insensitive") => declared.insensitive = true,
            () if word(parser, "asensitive") => declared.asensitive = true,
            () if parser.parse_keyword(Keyword::NO) => match word(parser, "scroll") {
                true => declared.no_scroll = true,
                false => return parser.expected("SCROLL", parser.peek_token()),
            },
            () => return parser.expected("CURSOR", next),
        }
    }
    declared.hold = match parser.parse_one_of_keywords(&[Keyword::WITH, Keyword::WITHOUT]) {
        Some(keyword) => {
            if !word(parser, "hold") {
                return parser.expected("HOLD", parser.peek_token());
            }
            keyword == Keyword::WITH
        }
        None => false,
    };
    parser.expect_keyword(Keyword::FOR)?;
    let next = parser.peek_token();
    let query = match &next.token {
        Token::Word(word) => QUERY.contains(&word.keyword),
        Token::LParen => true,
        _ => false,
    };
    if !query {
        return parser.expected("SELECT or VALUES", next);
    }
    declared.query = Some(parser.parse_query()?);
    declared.text = text.between(start, &parser.peek_token()).to_owned();
    Ok(Some(declared))
}

/// A `FETCH` or `MOVE`; `None`, and nothing read, where the statement is another.
pub(super) fn fetch(parser: &mut Parser<'_>) -> Parsed<Option<FetchStatement>> {
    let moves = match parser.parse_keyword(Keyword::FETCH) {
        true => false,
        false if word(parser, "move") => true,
        false => return Ok(None),
    };
    let movement = movement(parser)?;
    let _noise = parser.parse_one_of_keywords(&[Keyword::FROM, Keyword::IN]);
    Ok(Some(FetchStatement { name: name(parser)?, movement, moves }))
}

/// Which way, and how far. A word of the grammar that nothing follows is the cursor's name.
fn movement(parser: &mut Parser<'_>) -> Parsed<Movement> {
    if at_end(&parser.peek_nth_token(1).token) {
        return Ok(Movement::Forward(Some(1)));
    }
    if let Some(count) = count(parser)? {
        return Ok(Movement::Forward(Some(count)));
    }
    Ok(match () {
        () if word(parser, "next") => Movement::Forward(Some(1)),
        () if word(parser, "prior") => Movement::Backward(Some(1)),
        () if word(parser, "first") => Movement::Absolute(1),
        () if word(parser, "last") => Movement::Absolute(-1),
        () if word(parser, "absolute") => Movement::Absolute(expected_count(parser)?),
        () if word(parser, "relative") => Movement::Relative(expected_count(parser)?),
        () if word(parser, "all") => Movement::Forward(None),
        () if word(parser, "forward") => Movement::Forward(length(parser)?),
        () if word(parser, "backward") => Movement::Backward(length(parser)?),
        () => Movement::Forward(Some(1)),
    })
}

/// What stands behind `FORWARD` and `BACKWARD`: a number, `ALL`, or nothing for one row.
fn length(parser: &mut Parser<'_>) -> Parsed<Option<i64>> {
    if !at_end(&parser.peek_nth_token(1).token) && word(parser, "all") {
        return Ok(None);
    }
    Ok(Some(count(parser)?.unwrap_or(1)))
}

fn expected_count(parser: &mut Parser<'_>) -> Parsed<i64> {
    match count(parser)? {
        Some(count) => Ok(count),
        None => parser.expected("a number of rows", parser.peek_token()),
    }
}

/// A number of rows with its sign, where one comes: of 32 bits, as in PostgreSQL.
fn count(parser: &mut Parser<'_>) -> Parsed<Option<i64>> {
    let first = parser.peek_token();
    let negative = match first.token {
        Token::Number(..) => false,
        Token::Plus | Token::Minus => {
            parser.next_token();
            first.token == Token::Minus
        }
        _ => return Ok(None),
    };
    let next = parser.next_token();
    let Token::Number(digits, _) = &next.token else {
        return parser.expected("a number of rows", next);
    };
    match digits.parse::<i32>() {
        Ok(number) => Ok(Some(if negative { -i64::from(number) } else { i64::from(number) })),
        Err(_) => parser.expected("a number of rows", next),
    }
}

/// A `CLOSE`; `None`, and nothing read, where the statement is another.
pub(super) fn close(parser: &mut Parser<'_>) -> Parsed<Option<CloseStatement>> {
    if !parser.parse_keyword(Keyword::CLOSE) {
        return Ok(None);
    }
    let all = parser.parse_keyword(Keyword::ALL);
    Ok(Some(CloseStatement { name: if all { None } else { Some(name(parser)?) } }))
}

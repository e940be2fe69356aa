//! The grammar of `CREATE SEQUENCE` and `ALTER SEQUENCE`: options in any order, as PostgreSQL takes
//! them.

use super::words::accept;
use crate::sql::ddl::{SequenceStatement, SequenceVerb, WrittenOption};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

type Parsed<T> = Result<T, ParserError>;

/// A statement about a sequence; `None`, and nothing read, where it is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<SequenceStatement>> {
    if let Some(temporary) = create(parser) {
        let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        let name = parser.parse_object_name(false)?;
        let verb = SequenceVerb::Create { temporary, if_not_exists };
        return Ok(Some(SequenceStatement { verb, name, options: options(parser)? }));
    }
    if !parser.parse_keywords(&[Keyword::ALTER, Keyword::SEQUENCE]) {
        return Ok(None);
    }
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let options = options(parser)?;
    if options.is_empty() {
        return parser.expected("an option of the sequence", parser.peek_token());
    }
    Ok(Some(SequenceStatement { verb: SequenceVerb::Alter { if_exists }, name, options }))
}

/// Reads `CREATE [TEMPORARY] SEQUENCE`: whether it is temporary.
fn create(parser: &mut Parser<'_>) -> Option<bool> {
    if parser.parse_keywords(&[Keyword::CREATE, Keyword::SEQUENCE]) {
        return Some(false);
    }
    let temporary = [Keyword::TEMPORARY, Keyword::TEMP];
    let written = |word| parser.parse_keywords(&[Keyword::CREATE, word, Keyword::SEQUENCE]);
    temporary.into_iter().any(written).then_some(true)
}

/// All options up to what is none.
pub(super) fn options(parser: &mut Parser<'_>) -> Parsed<Vec<WrittenOption>> {
    let mut options = Vec::new();
    while let Some(option) = option(parser)? {
        options.push(option);
    }
    Ok(options)
}

/// One option; `None`, and nothing read, where none follows.
pub(super) fn option(parser: &mut Parser<'_>) -> Parsed<Option<WrittenOption>> {
    const FIRST: [Keyword; 10] = [
        Keyword::AS,
        Keyword::INCREMENT,
        Keyword::MINVALUE,
        Keyword::MAXVALUE,
        Keyword::NO,
        Keyword::START,
        Keyword::RESTART,
        Keyword::CACHE,
        Keyword::CYCLE,
        Keyword::OWNED,
    ];
    if accept(parser, &["sequence", "name"]) {
        return Ok(Some(WrittenOption::Name(parser.parse_object_name(false)?)));
    }
    let Some(first) = parser.parse_one_of_keywords(&FIRST) else { return Ok(None) };
    Ok(Some(match first {
        Keyword::AS => WrittenOption::Type(parser.parse_data_type()?),
        Keyword::INCREMENT => {
            let _noise = parser.parse_keyword(Keyword::BY);
            WrittenOption::Increment(number(parser)?)
        }
        Keyword::MINVALUE => WrittenOption::MinValue(Some(number(parser)?)),
        Keyword::MAXVALUE => WrittenOption::MaxValue(Some(number(parser)?)),
        Keyword::START => {
            let _noise = parser.parse_keyword(Keyword::WITH);
            WrittenOption::Start(number(parser)?)
        }
        Keyword::RESTART => {
            let with = parser.parse_keyword(Keyword::WITH);
            let next = parser.peek_token().token;
            let given = with || matches!(next, Token::Number(..) | Token::Minus | Token::Plus);
            WrittenOption::Restart(given.then(|| number(parser)).transpose()?)
        }
        Keyword::CACHE => WrittenOption::Cache(number(parser)?),
        Keyword::CYCLE => WrittenOption::Cycle(true),
        Keyword::OWNED => {
            parser.expect_keyword(Keyword::BY)?;
            let none = parser.parse_keyword(Keyword::NONE);
            let owner = (!none).then(|| parser.parse_object_name(false)).transpose()?;
            WrittenOption::OwnedBy(owner)
        }
        _ => {
            let refused = [Keyword::MINVALUE, Keyword::MAXVALUE, Keyword::CYCLE];
            match parser.expect_one_of_keywords(&refused)? {
                Keyword::MINVALUE => WrittenOption::MinValue(None),
                Keyword::MAXVALUE => WrittenOption::MaxValue(None),
                _ => WrittenOption::Cycle(false),
            }
        }
    }))
}

/// An integer with a sign.
fn number(parser: &mut Parser<'_>) -> Parsed<i64> {
    let negative = parser.consume_token(&Token::Minus);
    if !negative {
        let _plus = parser.consume_token(&Token::Plus);
    }
    let next = parser.next_token();
    let digits = match &next.token {
        Token::Number(digits, _) if negative => format!("-{digits}"),
        Token::Number(digits, _) => digits.clone(),
        _ => return parser.expected("a number", next),
    };
    let parsed = digits.parse();
    parsed.or_else(|_error| parser.expected("a number that fits into bigint", next))
}

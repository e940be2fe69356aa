//! The grammar of `COPY`, with its options as they are written today and as they were before 9.0.

use crate::sql::copy::{CopyStatement, CopySubject, OptionValue, Place, WrittenOption};
use crate::sql::names::fold;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{IsOptional, Parser, ParserError};
use sqlparser::tokenizer::Token;

type Parsed<T> = Result<T, ParserError>;

/// A `COPY`; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<CopyStatement>> {
    if !parser.parse_keyword(Keyword::COPY) {
        return Ok(None);
    }
    let mut options = Vec::new();
    if parser.parse_keyword(Keyword::BINARY) {
        options.push(format("binary"));
    }
    let subject = match parser.consume_token(&Token::LParen) {
        true => {
            let statement = parser.parse_statement()?;
            parser.expect_token(&Token::RParen)?;
            CopySubject::Statement(Box::new(statement))
        }
        false => CopySubject::Table {
            name: parser.parse_object_name(false)?,
            columns: parser.parse_parenthesized_column_list(IsOptional::Optional, false)?,
        },
    };
    let is_query = matches!(subject, CopySubject::Statement(_));
    let from = match parser.parse_one_of_keywords(&[Keyword::FROM, Keyword::TO]) {
        Some(Keyword::FROM) if !is_query => true,
        Some(Keyword::TO) => false,
        _ => return parser.expected("FROM or TO", parser.peek_token()),
    };
    let place = place(parser)?;
    let _noise = parser.parse_keyword(Keyword::WITH);
    if parser.consume_token(&Token::LParen) {
        options.extend(parser.parse_comma_separated(generic_option)?);
        parser.expect_token(&Token::RParen)?;
    } else {
        while let Some(option) = old_option(parser)? {
            options.push(option);
        }
    }
    let condition = match from && parser.parse_keyword(Keyword::WHERE) {
        true => Some(parser.parse_expr()?),
        false => None,
    };
    Ok(Some(CopyStatement { subject, from, place, options, condition }))
}

/// `STDIN` and `STDOUT` mean the client in either direction.
fn place(parser: &mut Parser<'_>) -> Parsed<Place> {
    let place =
        match parser.parse_one_of_keywords(&[Keyword::STDIN, Keyword::STDOUT, Keyword::PROGRAM]) {
            Some(Keyword::PROGRAM) => Place::Program,
            Some(_) => return Ok(Place::Client),
            None => Place::File,
        };
    parser.parse_literal_string()?;
    Ok(place)
}

/// One option of `WITH (...)`: a name with a word, a string, a number, `*` or a list behind it.
fn generic_option(parser: &mut Parser<'_>) -> Parsed<WrittenOption> {
    let name = fold(&parser.parse_identifier()?);
    let next = parser.peek_token();
    let value = match next.token {
        Token::Comma | Token::RParen => OptionValue::None,
        Token::Mul => {
            parser.next_token();
            OptionValue::All
        }
        Token::LParen => OptionValue::Columns(columns(parser)?),
        Token::Word(word) => {
            parser.next_token();
            // A word without quotes is in lower case, as any name.
            OptionValue::Text(match word.quote_style {
                None => word.value.to_lowercase(),
                Some(_) => word.value,
            })
        }
        Token::Number(number, _) => {
            parser.next_token();
            OptionValue::Text(number)
        }
        _ => OptionValue::Text(parser.parse_literal_string()?),
    };
    Ok(WrittenOption { name, value })
}

/// One option as it was written before there were parentheses.
fn old_option(parser: &mut Parser<'_>) -> Parsed<Option<WrittenOption>> {
    const WORDS: [Keyword; 9] = [
        Keyword::BINARY,
        Keyword::CSV,
        Keyword::FREEZE,
        Keyword::HEADER,
        Keyword::DELIMITER,
        Keyword::NULL,
        Keyword::QUOTE,
        Keyword::ESCAPE,
        Keyword::ENCODING,
    ];
    if parser.parse_keyword(Keyword::FORCE) {
        return forced(parser).map(Some);
    }
    let Some(word) = parser.parse_one_of_keywords(&WORDS) else { return Ok(None) };
    let name = match word {
        Keyword::BINARY => return Ok(Some(format("binary"))),
        Keyword::CSV => return Ok(Some(format("csv"))),
        Keyword::FREEZE => return Ok(Some(written("freeze", OptionValue::None))),
        Keyword::HEADER => return Ok(Some(written("header", OptionValue::None))),
        Keyword::DELIMITER => "delimiter",
        Keyword::NULL => "null",
        Keyword::QUOTE => "quote",
        Keyword::ESCAPE => "escape",
        _ => "encoding",
    };
    let _noise = parser.parse_keyword(Keyword::AS);
    Ok(Some(written(name, OptionValue::Text(parser.parse_literal_string()?))))
}

/// `FORCE QUOTE`, `FORCE NOT NULL` or `FORCE NULL`, with columns without parentheses.
fn forced(parser: &mut Parser<'_>) -> Parsed<WrittenOption> {
    let name = if parser.parse_keyword(Keyword::QUOTE) {
        "force_quote"
    } else if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
        "force_not_null"
    } else if parser.parse_keyword(Keyword::NULL) {
        "force_null"
    } else {
        return parser.expected("QUOTE, NOT NULL or NULL", parser.peek_token());
    };
    if name == "force_quote" && parser.consume_token(&Token::Mul) {
        return Ok(written(name, OptionValue::All));
    }
    let columns = parser.parse_comma_separated(Parser::parse_identifier)?;
    Ok(written(name, OptionValue::Columns(columns.iter().map(fold).collect())))
}

fn columns(parser: &mut Parser<'_>) -> Parsed<Vec<String>> {
    let columns = parser.parse_parenthesized_column_list(IsOptional::Mandatory, false)?;
    Ok(columns.iter().map(fold).collect())
}

fn format(name: &str) -> WrittenOption {
    written("format", OptionValue::Text(name.to_owned()))
}

fn written(name: &str, value: OptionValue) -> WrittenOption {
    WrittenOption { name: name.to_owned(), value }
}

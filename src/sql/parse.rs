//! From text to syntax trees.
//!
//! The text is split into tokens first; how deep the tree will be is known from them. What is too
//! deep is refused there, before any recursive step (parsing, binding, dropping) can meet it.

use model::error::{SqlError, SqlState};
use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// Most parentheses, brackets and `CASE`s inside each other.
pub const NESTING_MAX: usize = 400;
/// Most operators one after the other (`a OR b OR ...`), all open parentheses counted: each is a
/// level of the tree.
pub const CHAIN_MAX: usize = 2_000;
/// The parser's own count of recursive steps; several belong to one pair of parentheses.
const PARSER_STEPS_MAX: usize = 8 * NESTING_MAX;

/// One parsed statement.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedStatement {
    pub(super) ast: Statement,
}

/// Parses a text of any number of statements, separated by semicolons.
///
/// Errors: 42601 with a position; 54001 for a statement nested too deeply.
pub fn parse(text: &str) -> Result<Vec<ParsedStatement>, SqlError> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| at(syntax(error.message), text, error.location))?;
    check_depth(text, &tokens)?;
    let statements = Parser::new(&dialect)
        .with_recursion_limit(PARSER_STEPS_MAX)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| parser_error(error, text))?;
    Ok(statements.into_iter().map(|ast| ParsedStatement { ast }).collect())
}

/// Parses an expression, as the catalog stores defaults and checks.
pub(crate) fn parse_expression(text: &str) -> Result<sqlparser::ast::Expr, SqlError> {
    let dialect = PostgreSqlDialect {};
    Parser::new(&dialect)
        .with_recursion_limit(PARSER_STEPS_MAX)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|error| parser_error(error, text))
}

fn parser_error(error: ParserError, text: &str) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => return super::binder::too_complex(),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    // The parser ends its messages with the place.
    let Some((what, place)) = message.rsplit_once(" at Line: ") else {
        return syntax(message);
    };
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    match location {
        Some(location) => at(syntax(what.to_owned()), text, location),
        None => syntax(message),
    }
}

fn syntax(message: String) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error: {message}"))
}

/// Adds a position: characters from 1 in the whole text.
fn at(error: SqlError, text: &str, location: Location) -> SqlError {
    if location.line == 0 {
        return error;
    }
    let lines = text.split_inclusive('\n').take(location.line as usize - 1);
    let before: usize = lines.map(|line| line.chars().count()).sum();
    error.position(u32::try_from(before as u64 + location.column).unwrap_or(u32::MAX))
}

/// Refuses statements whose tree would be deeper than the limits.
fn check_depth(text: &str, tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    // One element an open parenthesis: operators in a row there, those of `AND` and `OR` apart,
    // because the others end at them.
    let mut open = vec![(0_usize, 0_usize)];
    let mut outside = 0;
    for token in tokens {
        let (logical, other) = open.last_mut().expect("the outermost level stays");
        match &token.token {
            Token::LParen | Token::LBracket => {
                outside += *logical + *other;
                open.push((0, 0));
            }
            Token::RParen | Token::RBracket => close(&mut open, &mut outside),
            Token::Comma | Token::SemiColon => (*logical, *other) = (0, 0),
            Token::Word(word) => match word.keyword {
                Keyword::AND | Keyword::OR => (*logical, *other) = (*logical + 1, 0),
                Keyword::SELECT | Keyword::FROM | Keyword::WHERE | Keyword::WHEN => {
                    (*logical, *other) = (0, 0);
                }
                Keyword::CASE => {
                    outside += *logical + *other;
                    open.push((0, 0));
                }
                Keyword::END if open.len() > 1 => close(&mut open, &mut outside),
                Keyword::NOT | Keyword::IS | Keyword::LIKE | Keyword::ILIKE | Keyword::IN => {
                    *other += 1;
                }
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => {
                    *other += 1;
                    outside += 1;
                }
                _ => {}
            },
            Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Period
            | Token::Placeholder(_) => {}
            _ => *other += 1,
        }
        let (logical, other) = *open.last().expect("the outermost level stays");
        if open.len() > NESTING_MAX || outside + logical + other > CHAIN_MAX {
            return Err(at(super::binder::too_complex(), text, token.span.start));
        }
    }
    Ok(())
}

fn close(open: &mut Vec<(usize, usize)>, outside: &mut usize) {
    if open.len() > 1 {
        open.pop();
        let (logical, other) = open.last().expect("the outermost level stays");
        *outside = outside.saturating_sub(logical + other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_say_where() {
        let error = parse("SELECT 1;\nSELEC 2").unwrap_err();
        assert_eq!(error.state(), SqlState::SYNTAX_ERROR);
        assert_eq!(error.fields().position, Some(11));
    }

    #[test]
    fn depth_is_bounded_and_never_overflows_the_stack() {
        for text in [
            format!("SELECT {}1{}", "(".repeat(1_000), ")".repeat(1_000)),
            format!("SELECT {}1", "(".repeat(1_000_000)),
            format!("SELECT 1{}", "+1".repeat(1_000_000)),
            format!("SELECT 1{}", " OR 1".repeat(100_000)),
            format!("SELECT {}1", "NOT ".repeat(100_000)),
            format!("SELECT {}1", "- ".repeat(100_000)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(100_000)),
            format!("SELECT {}", "CASE WHEN true THEN ".repeat(100_000)),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.state(), SqlState::STATEMENT_TOO_COMPLEX, "{}", &text[..40]);
        }
    }

    #[test]
    fn what_is_wide_is_not_deep() {
        let list = "(1, 2 + 3), ".repeat(50_000);
        assert_eq!(parse(&format!("INSERT INTO t VALUES {list} (1, 2)")).unwrap().len(), 1);
        let nested = format!("SELECT {}1{}", "(".repeat(300), ")".repeat(300));
        assert_eq!(parse(&nested).unwrap().len(), 1);
    }
}

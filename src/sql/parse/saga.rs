//! The grammar of sagas.
//!
//! ```text
//! BEGIN SAGA [name]
//! STEP [name] change COMPENSATE { change | NOTHING }
//! COMMIT SAGA [name | number]
//! ROLLBACK SAGA [name | number]
//! ROLLBACK SAGA { name | number } SKIP STEP number
//! ```
//!
//! Both changes of a step are `INSERT`, `UPDATE` or `DELETE`. A name that is one of these words must
//! be quoted, as must `compensate` where it is an alias in a step.

use super::rewrite::{begins_statement, is_word};
use super::words::{Parsed, accept, at, expect, word_at};
use super::{Text, at_end, name};
use crate::sql::saga::{SagaName, SagaStatement, WrittenCompensation, WrittenStep};
use sqlparser::ast::Statement;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// What a step may be.
const CHANGES: [&str; 3] = ["insert", "update", "delete"];

/// Puts a semicolon before each `COMPENSATE` of a step: the parser would take the word for an
/// alias.
pub(super) fn part_steps(tokens: &mut Vec<TokenWithSpan>) {
    let (mut at, mut depth, mut in_step) = (0, 0_usize, false);
    while at < tokens.len() {
        match &tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::SemiColon => (depth, in_step) = (0, false),
            _ if is_word(&tokens[at], "step") && begins_statement(tokens, at) => in_step = true,
            _ if in_step && depth == 0 && is_word(&tokens[at], "compensate") => {
                let span = tokens[at].span;
                tokens.insert(at, TokenWithSpan { token: Token::SemiColon, span });
                (in_step, at) = (false, at + 1);
            }
            _ => {}
        }
        at += 1;
    }
}

/// One of them; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>, text: &Text<'_>) -> Parsed<Option<SagaStatement>> {
    if accept(parser, &["begin", "saga"]) {
        let name = match at_end(&parser.peek_token_ref().token) {
            true => None,
            false => Some(name(parser)?),
        };
        return Ok(Some(SagaStatement::Begin(name)));
    }
    if accept(parser, &["commit", "saga"]) {
        return Ok(Some(SagaStatement::Commit(which(parser)?)));
    }
    if accept(parser, &["rollback", "saga"]) {
        let which = which(parser)?;
        return Ok(Some(match which {
            Some(which) if accept(parser, &["skip", "step"]) => {
                SagaStatement::Skip(which, step_number(parser)?)
            }
            which => SagaStatement::Rollback(which),
        }));
    }
    match accept(parser, &["step"]) {
        true => step(parser, text).map(|step| Some(SagaStatement::Step(Box::new(step)))),
        false => Ok(None),
    }
}

/// A saga, where one is named.
fn which(parser: &mut Parser<'_>) -> Parsed<Option<SagaName>> {
    let next = parser.peek_token();
    match &next.token {
        token if at_end(token) => Ok(None),
        Token::Number(digits, false) => match digits.parse() {
            Ok(number) => {
                parser.next_token();
                Ok(Some(SagaName::Number(number)))
            }
            Err(_) => parser.expected("the number of a saga", next),
        },
        _ => name(parser).map(|name| Some(SagaName::Name(name))),
    }
}

fn step_number(parser: &mut Parser<'_>) -> Parsed<i64> {
    let next = parser.next_token();
    let number = match &next.token {
        Token::Number(digits, false) => digits.parse().ok(),
        _ => None,
    };
    match number {
        Some(number) => Ok(number),
        None => parser.expected("the number of a step", next),
    }
}

fn step(parser: &mut Parser<'_>, text: &Text<'_>) -> Parsed<WrittenStep> {
    let name = match is_change(parser) {
        true => None,
        false => Some(name(parser)?),
    };
    let statement = change(parser)?;
    if !parser.consume_token(&Token::SemiColon) || !at(parser, &["compensate"]) {
        return parser.expected("COMPENSATE", parser.peek_token());
    }
    expect(parser, &["compensate"])?;
    if accept(parser, &["nothing"]) {
        return Ok(WrittenStep { name, statement, compensation: None });
    }
    let start = parser.peek_token().span.start;
    let compensation = change(parser)?;
    let text = text.between(start, &parser.peek_token()).to_owned();
    let compensation = Some(WrittenCompensation { statement: compensation, text });
    Ok(WrittenStep { name, statement, compensation })
}

fn is_change(parser: &Parser<'_>) -> bool {
    word_at(parser, 0).is_some_and(|word| CHANGES.contains(&word.as_str()))
}

fn change(parser: &mut Parser<'_>) -> Parsed<Statement> {
    if !is_change(parser) {
        return parser.expected("INSERT, UPDATE or DELETE", parser.peek_token());
    }
    parser.parse_statement()
}

#[cfg(test)]
mod tests {
    use crate::sql::parse::{Syntax, parse};
    use crate::sql::saga::{SagaName, SagaStatement};

    fn one(text: &str) -> SagaStatement {
        let mut statements = parse(text).unwrap();
        assert_eq!(statements.len(), 1, "{text}");
        match statements.remove(0).syntax {
            Syntax::Saga(statement) => *statement,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refusal(text: &str) -> String {
        let error = parse(text).unwrap_err();
        error.fields().detail.clone().unwrap_or_default()
    }

    #[test]
    fn a_step_has_two_changes_and_perhaps_a_name() {
        let SagaStatement::Step(step) =
            one("STEP \"Pay\" DELETE FROM t COMPENSATE INSERT INTO t SELECT 1 AS \"compensate\" ;")
        else {
            panic!("a step")
        };
        assert_eq!(step.name.as_deref(), Some("Pay"));
        assert_eq!(step.statement.to_string(), "DELETE FROM t");
        let compensation = step.compensation.unwrap();
        assert_eq!(compensation.text, "INSERT INTO t SELECT 1 AS \"compensate\"");
    }

    #[test]
    fn compensate_is_a_word_of_the_step_outside_of_parentheses_only() {
        let text = "step update t set a = (select compensate from u) compensate nothing";
        let SagaStatement::Step(step) = one(text) else { panic!("a step") };
        assert_eq!(step.name, None);
        assert!(step.compensation.is_none());
        assert_eq!(
            parse("SELECT 1 compensate; STEP DELETE FROM t COMPENSATE NOTHING").unwrap().len(),
            2
        );
    }

    #[test]
    fn a_saga_is_named_or_numbered() {
        assert!(matches!(one("BEGIN SAGA"), SagaStatement::Begin(None)));
        assert!(
            matches!(one("BEGIN SAGA Order_7"), SagaStatement::Begin(Some(n)) if n == "order_7")
        );
        let seven = SagaStatement::Commit(Some(SagaName::Number(7)));
        assert_eq!(format!("{:?}", one("COMMIT SAGA 7")), format!("{seven:?}"));
        assert!(matches!(one("ROLLBACK SAGA x"), SagaStatement::Rollback(Some(_))));
        assert!(one("ROLLBACK SAGA").ends() && !one("BEGIN SAGA").ends());
        let skip = one("ROLLBACK SAGA x SKIP STEP 2");
        assert!(matches!(&skip, SagaStatement::Skip(SagaName::Name(x), 2) if x == "x"));
        assert!(!skip.ends());
        assert!(matches!(one("ROLLBACK SAGA skip"), SagaStatement::Rollback(Some(_))));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(refusal("STEP DELETE FROM t"), "Expected here: COMPENSATE.");
        let change = "Expected here: INSERT, UPDATE or DELETE.";
        assert_eq!(refusal("STEP a SELECT 1 COMPENSATE NOTHING"), change);
        assert_eq!(refusal("STEP DELETE FROM t COMPENSATE"), change);
        assert_eq!(refusal("STEP DELETE FROM t; DELETE FROM u"), "Expected here: COMPENSATE.");
        assert_eq!(
            refusal("ROLLBACK SAGA 7 SKIP STEP two"),
            "Expected here: the number of a step."
        );
    }
}

//! `LIKE` and `ILIKE`.

use super::operand::Operand;
use model::batch::Column;
use model::error::{SqlError, SqlState};
use model::types::DataType;
use model::value::{Value, ValueRef};

/// A pattern made ready for matching.
pub struct Pattern {
    tokens: Vec<Token>,
    case_insensitive: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Token {
    /// `%`
    Any,
    /// `_`
    One,
    Character(char),
}

impl Pattern {
    /// Reads a pattern; 22025 where it ends with the escape character.
    pub fn new(
        pattern: &str,
        escape: Option<char>,
        case_insensitive: bool,
    ) -> Result<Pattern, SqlError> {
        let folded = if case_insensitive { Some(pattern.to_lowercase()) } else { None };
        let mut tokens = Vec::new();
        let mut characters = folded.as_deref().unwrap_or(pattern).chars();
        while let Some(c) = characters.next() {
            tokens.push(match c {
                c if Some(c) == escape => Token::Character(characters.next().ok_or_else(|| {
                    SqlError::new(
                        SqlState::INVALID_ESCAPE_SEQUENCE,
                        "LIKE pattern must not end with escape character",
                    )
                })?),
                '%' if tokens.last() == Some(&Token::Any) => continue,
                '%' => Token::Any,
                '_' => Token::One,
                c => Token::Character(c),
            });
        }
        Ok(Pattern { tokens, case_insensitive })
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        if self.case_insensitive { self.run(&text.to_lowercase()) } else { self.run(text) }
    }

    /// Walks text and pattern together; after a mismatch the last `%` takes one character more.
    fn run(&self, text: &str) -> bool {
        let (mut rest, mut at) = (text, 0);
        let mut retry: Option<(&str, usize)> = None;
        loop {
            let mut characters = rest.chars();
            let step = match (self.tokens.get(at), characters.next()) {
                (Some(Token::Any), _) => {
                    retry = Some((rest, at + 1));
                    at += 1;
                    continue;
                }
                (None, None) => return true,
                (Some(Token::One), Some(_)) => true,
                (Some(Token::Character(expected)), Some(found)) => *expected == found,
                (_, None) => return false,
                (None, Some(_)) => false,
            };
            if step {
                rest = characters.as_str();
                at += 1;
                continue;
            }
            let Some((from, token)) = retry else { return false };
            let mut longer = from.chars();
            if longer.next().is_none() {
                return false;
            }
            rest = longer.as_str();
            at = token;
            retry = Some((rest, token));
        }
    }
}

pub(super) fn like<'a>(
    text: &Operand<'a>,
    pattern: &Operand<'a>,
    escape: Option<char>,
    case_insensitive: bool,
    negated: bool,
    rows: usize,
) -> Result<Operand<'a>, SqlError> {
    let ready = match pattern {
        Operand::Constant(Value::Null) => return Ok(Operand::Constant(Value::Null)),
        Operand::Constant(Value::Text(pattern)) if rows > 0 => {
            Some(Pattern::new(pattern, escape, case_insensitive)?)
        }
        _ => None,
    };
    let mut out = Column::with_capacity(DataType::Bool, rows);
    for row in 0..rows {
        let (ValueRef::Text(text), ValueRef::Text(pattern)) = (text.get(row), pattern.get(row))
        else {
            out.push(Value::Null);
            continue;
        };
        let matched = match &ready {
            Some(ready) => ready.matches(text),
            None => Pattern::new(pattern, escape, case_insensitive)?.matches(text),
        };
        out.push(Value::Bool(matched != negated));
    }
    Ok(Operand::owned(out))
}

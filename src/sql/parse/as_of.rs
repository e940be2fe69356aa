//! `AS OF SYSTEM TIME`, which is CockroachDB's, is taken out from among the tokens, and its places
//! are noted.

use super::rewrite::{behind, is_word};
use crate::sql::as_of::AsOf;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// Takes the clauses out: where they stood, and the time that each names; `None` is none that is
/// understood.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>) -> Vec<(Location, Option<AsOf>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some(last) = words(tokens, at) else {
            at += 1;
            continue;
        };
        let (end, time) = match time(tokens, last) {
            Some((end, time)) => (end, Some(time)),
            None => (last, None),
        };
        found.push((tokens[at].span.start, time));
        tokens.drain(at..=end);
        // Between the modes of a transaction there may be a comma.
        let is_blank = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_));
        let before = tokens[..at].iter().rposition(|token| !is_blank(token));
        let behind = tokens[at..].iter().position(|token| !is_blank(token)).map(|by| at + by);
        let is_comma = |&comma: &usize| tokens[comma].token == Token::Comma;
        if let Some(comma) = [before, behind].into_iter().flatten().find(is_comma) {
            tokens.remove(comma);
            at = at.min(comma);
        }
    }
    found
}

/// The last of the clause's words, where it begins at a token.
fn words(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    if !is_word(&tokens[at], "as") {
        return None;
    }
    ["of", "system", "time"]
        .iter()
        .try_fold(at, |at, word| behind(tokens, at).filter(|&next| is_word(&tokens[next], word)))
}

/// The time behind a token, and its last token.
fn time(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, AsOf)> {
    let next = behind(tokens, at)?;
    match &tokens[next].token {
        Token::SingleQuotedString(text) => Some((next, AsOf(text.clone()))),
        Token::Number(text, _) => Some((next, AsOf(text.clone()))),
        _ => None,
    }
}

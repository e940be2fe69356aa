//! What of PostgreSQL's grammar the parser does not read is put right among the tokens:
//!
//! * `OVERRIDING SYSTEM VALUE` and `OVERRIDING USER VALUE` of an `INSERT` are taken out, and their
//!   places noted;
//! * `SET SCHEMA 'name'` becomes `SET search_path TO 'name'`;
//! * `TABLE name`, where a query may stand, becomes `SELECT * FROM name`;
//! * `CONCURRENTLY` of a `DROP INDEX` goes, which takes no longer than a moment;
//! * `OPERATOR(pg_catalog.=)` before `ANY`, `ALL` and `SOME` becomes `=`;
//! * `INTERVAL(3) 'text'` becomes `'text'::INTERVAL(3)`: the parser reads it and forgets the digits;
//! * the options of `AS IDENTITY (...)` are put into the one order in which the parser reads them.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Whitespace};

/// Which values an `INSERT` gives to identity columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overriding {
    /// Those that are written, also where they are generated always.
    System,
    /// Those of the sequences, whatever is written.
    User,
}

/// Takes the `OVERRIDING` clauses out: where they stood.
pub(super) fn take_overriding(tokens: &mut Vec<TokenWithSpan>) -> Vec<(Location, Overriding)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at], "overriding")
            && let Some((end, clause)) = overriding(tokens, at)
        {
            found.push((tokens[at].span.start, clause));
            tokens.drain(at..=end);
            continue;
        }
        at += 1;
    }
    found
}

/// The clause that begins at a token, and its last one.
fn overriding(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, Overriding)> {
    let kind = behind(tokens, at)?;
    let clause = match &tokens[kind] {
        token if is_word(token, "system") => Overriding::System,
        token if is_word(token, "user") => Overriding::User,
        _ => return None,
    };
    let end = behind(tokens, kind)?;
    is_word(&tokens[end], "value").then_some((end, clause))
}

pub(super) fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

/// Writes the operator alone where `OPERATOR(pg_catalog.=)` stands before `ANY`, `ALL` or `SOME`.
pub(super) fn expand_quantified_operators(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at], "operator")
            && let Some((operator, end)) = quantified_operator(tokens, at)
        {
            let operator = tokens[operator].clone();
            tokens.splice(at..=end, [operator]);
        }
        at += 1;
    }
}

/// Where the operator stands that is written out at a token, and the closing parenthesis.
fn quantified_operator(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, usize)> {
    let open = behind(tokens, at).filter(|&open| tokens[open].token == Token::LParen)?;
    let first = behind(tokens, open)?;
    let operator = match is_word(&tokens[first], "pg_catalog") {
        true => {
            let period = behind(tokens, first).filter(|&at| tokens[at].token == Token::Period)?;
            behind(tokens, period)?
        }
        false => first,
    };
    let end = behind(tokens, operator).filter(|&end| tokens[end].token == Token::RParen)?;
    let quantifier = &tokens[behind(tokens, end)?];
    let quantified = ["any", "all", "some"].iter().any(|word| is_word(quantifier, word));
    quantified.then_some((operator, end))
}

/// Puts the literal of an interval with digits before its type.
pub(super) fn turn_interval_literals(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at], "interval")
            && let Some(open) = behind(tokens, at)
            && tokens[open].token == Token::LParen
            && let Some(number) = behind(tokens, open)
            && matches!(tokens[number].token, Token::Number(..))
            && let Some(close) = behind(tokens, number)
            && tokens[close].token == Token::RParen
            && let Some(literal) = behind(tokens, close)
            && matches!(tokens[literal].token, Token::SingleQuotedString(_))
        {
            let text = tokens.remove(literal);
            let colons = TokenWithSpan { token: Token::DoubleColon, span: tokens[at].span };
            tokens.splice(at..at, [text, colons]);
            at = literal;
        }
        at += 1;
    }
}

/// Writes out what `SET SCHEMA 'name'` stands for.
pub(super) fn expand_set_schema(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        let named = |at: usize| {
            is_word(&tokens[at], "schema")
                && behind(tokens, at)
                    .is_some_and(|next| matches!(tokens[next].token, Token::SingleQuotedString(_)))
        };
        let scope = |at: &usize| ["session", "local"].iter().any(|w| is_word(&tokens[*at], w));
        let begins = is_word(&tokens[at], "set") && begins_statement(tokens, at);
        let schema = begins
            .then(|| behind(tokens, at))
            .flatten()
            .and_then(|next| if scope(&next) { behind(tokens, next) } else { Some(next) })
            .filter(|&at| named(at));
        if let Some(schema) = schema {
            let span = tokens[schema].span;
            let written = [
                Token::make_word("search_path", None),
                Token::Whitespace(Whitespace::Space),
                Token::make_keyword("TO"),
            ];
            tokens.splice(schema..=schema, written.map(|token| TokenWithSpan { token, span }));
        }
        at += 1;
    }
}

pub(super) fn begins_statement(tokens: &[TokenWithSpan], at: usize) -> bool {
    let before = tokens[..at].iter().rfind(|t| !matches!(t.token, Token::Whitespace(_)));
    before.is_none_or(|before| before.token == Token::SemiColon)
}

/// Takes `CONCURRENTLY` out of `DROP INDEX CONCURRENTLY`.
pub(super) fn take_concurrently(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if word(tokens, at) == Some(Keyword::DROP)
            && let Some(index) = behind(tokens, at)
            && word(tokens, index) == Some(Keyword::INDEX)
            && let Some(concurrently) = behind(tokens, index)
            && is_word(&tokens[concurrently], "concurrently")
        {
            tokens.remove(concurrently);
        }
        at += 1;
    }
}

/// Writes out what `TABLE name` stands for.
pub(super) fn expand_table_commands(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if word(tokens, at) == Some(Keyword::TABLE) && begins_query(tokens, at) {
            let span = tokens[at].span;
            let written = ["SELECT", " ", "*", " ", "FROM"].map(|text| match text {
                " " => Token::Whitespace(Whitespace::Space),
                "*" => Token::Mul,
                text => Token::make_keyword(text),
            });
            let written = written.map(|token| TokenWithSpan { token, span });
            tokens.splice(at..=at, written);
        }
        at += 1;
    }
}

/// Whether the `TABLE` at a token is a query of its own.
fn begins_query(tokens: &[TokenWithSpan], at: usize) -> bool {
    let named = behind(tokens, at).is_some_and(|next| matches!(tokens[next].token, Token::Word(_)));
    let before = tokens[..at].iter().rfind(|t| !matches!(t.token, Token::Whitespace(_)));
    let opens = match before.map(|before| &before.token) {
        None | Some(Token::SemiColon | Token::LParen) => true,
        Some(Token::Word(word)) => matches!(
            word.keyword,
            Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::ALL
                | Keyword::AS
                | Keyword::FOR
                | Keyword::EXPLAIN
        ),
        Some(_) => false,
    };
    named && opens
}

/// Orders the options of identity columns.
pub(super) fn order_identity_options(tokens: &mut [TokenWithSpan]) {
    for at in 0..tokens.len() {
        if word(tokens, at) != Some(Keyword::IDENTITY) {
            continue;
        }
        let Some(open) = behind(tokens, at).filter(|&open| tokens[open].token == Token::LParen)
        else {
            continue;
        };
        let close = tokens[open..].iter().position(|token| token.token == Token::RParen);
        if let Some(close) = close {
            order(&mut tokens[open + 1..open + close]);
        }
    }
}

/// Orders options, each from its first word to the next one's.
fn order(tokens: &mut [TokenWithSpan]) {
    let mut options: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
    for at in 0..tokens.len() {
        // What is no first word goes with the option before it.
        let rank = match rank(tokens, at) {
            Some(_) if at > 0 && last_word(tokens, at) == Some(Keyword::NO) => None,
            rank => rank,
        };
        match (rank, options.last_mut()) {
            (None, Some((_, option))) => option.push(tokens[at].clone()),
            (rank, _) => options.push((rank.unwrap_or(0), vec![tokens[at].clone()])),
        }
    }
    options.sort_by_key(|(rank, _)| *rank);
    let ordered = options.into_iter().flat_map(|(_, option)| option);
    tokens.iter_mut().zip(ordered).for_each(|(token, next)| *token = next);
}

/// The place of the option that begins at a token.
fn rank(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let first = word(tokens, at)?;
    let first = match first {
        Keyword::NO => word(tokens, behind(tokens, at)?)?,
        other => other,
    };
    Some(match first {
        Keyword::INCREMENT => 1,
        Keyword::MINVALUE => 2,
        Keyword::MAXVALUE => 3,
        Keyword::START => 4,
        Keyword::CACHE => 5,
        Keyword::CYCLE => 6,
        _ => return None,
    })
}

/// The last word before a token.
fn last_word(tokens: &[TokenWithSpan], at: usize) -> Option<Keyword> {
    let before = tokens[..at].iter().rposition(|t| !matches!(t.token, Token::Whitespace(_)))?;
    word(tokens, before)
}

fn word(tokens: &[TokenWithSpan], at: usize) -> Option<Keyword> {
    match &tokens[at].token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

/// The next token that is no blank.
/// The next token that is no blank.
pub(super) fn behind(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let blank = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    tokens.iter().skip(at + 1).position(|token| !blank(token)).map(|skipped| at + 1 + skipped)
}

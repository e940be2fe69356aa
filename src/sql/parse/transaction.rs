//! The grammar of `BEGIN`, `START TRANSACTION` and `SET TRANSACTION`, with PostgreSQL's modes and
//! snapshots, and
//! `WITH (commit = 'auto' | 'two_phase' | 'saga')` behind them.

use super::words::{Parsed, accept, expect, word_at};
use crate::sql::transaction::{Commit, Isolation, Mode, TransactionStatement};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// One of them; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<TransactionStatement>> {
    if accept(parser, &["start", "transaction"]) {
        return begin(parser).map(Some);
    }
    if accept(parser, &["begin"]) {
        if !accept(parser, &["transaction"]) {
            accept(parser, &["work"]);
        }
        return begin(parser).map(Some);
    }
    let session = ["set", "session", "characteristics", "as", "transaction"];
    if accept(parser, &session) {
        return some_modes(parser).map(|modes| Some(TransactionStatement::SetSession(modes)));
    }
    if accept(parser, &["set", "transaction", "snapshot"]) {
        return snapshot(parser).map(Some);
    }
    if accept(parser, &["set", "transaction"]) || accept(parser, &["set", "local", "transaction"]) {
        return modes(parser).map(|modes| Some(TransactionStatement::Set(modes)));
    }
    Ok(None)
}

fn snapshot(parser: &mut Parser<'_>) -> Parsed<TransactionStatement> {
    let next = parser.next_token();
    match next.token {
        Token::SingleQuotedString(id) => Ok(TransactionStatement::Snapshot(id)),
        _ => parser.expected("a snapshot's identifier", next),
    }
}

/// What stands behind `BEGIN`.
fn begin(parser: &mut Parser<'_>) -> Parsed<TransactionStatement> {
    let mut modes = modes(parser)?;
    if !accept(parser, &["with"]) {
        return Ok(TransactionStatement::Begin(modes));
    }
    parser.expect_token(&Token::LParen)?;
    expect(parser, &["commit"])?;
    parser.expect_token(&Token::Eq)?;
    let next = parser.peek_token();
    let choice = match &next.token {
        Token::SingleQuotedString(text) => text.to_lowercase(),
        _ => word_at(parser, 0).unwrap_or_default(),
    };
    let commit = match choice.as_str() {
        "auto" => Some(Commit::Auto),
        "two_phase" => Some(Commit::TwoPhase),
        "saga" => None,
        _ => return parser.expected("'auto', 'two_phase' or 'saga'", next),
    };
    parser.next_token();
    parser.expect_token(&Token::RParen)?;
    let Some(commit) = commit else { return Ok(TransactionStatement::BeginSaga(modes)) };
    modes.push(Mode::Commit(commit));
    Ok(TransactionStatement::Begin(modes))
}

fn some_modes(parser: &mut Parser<'_>) -> Parsed<Vec<Mode>> {
    let modes = modes(parser)?;
    match modes.is_empty() {
        true => parser.expected("a transaction mode", parser.peek_token()),
        false => Ok(modes),
    }
}

/// Modes, with or without commas between them.
fn modes(parser: &mut Parser<'_>) -> Parsed<Vec<Mode>> {
    let mut modes = Vec::new();
    let mut expected = false;
    while let Some(mode) = mode(parser)? {
        modes.push(mode);
        expected = parser.consume_token(&Token::Comma);
    }
    match expected {
        true => parser.expected("a transaction mode", parser.peek_token()),
        false => Ok(modes),
    }
}

fn mode(parser: &mut Parser<'_>) -> Parsed<Option<Mode>> {
    const LEVELS: [(&[&str], Isolation); 4] = [
        (&["read", "uncommitted"], Isolation::ReadUncommitted),
        (&["read", "committed"], Isolation::ReadCommitted),
        (&["repeatable", "read"], Isolation::RepeatableRead),
        (&["serializable"], Isolation::Serializable),
    ];
    const MODES: [(&[&str], Mode); 4] = [
        (&["read", "only"], Mode::ReadOnly(true)),
        (&["read", "write"], Mode::ReadOnly(false)),
        (&["deferrable"], Mode::Deferrable(true)),
        (&["not", "deferrable"], Mode::Deferrable(false)),
    ];
    if accept(parser, &["isolation", "level"]) {
        let level = LEVELS.iter().find(|(words, _)| accept(parser, words));
        return match level {
            Some((_, level)) => Ok(Some(Mode::Isolation(*level))),
            None => parser.expected("an isolation level", parser.peek_token()),
        };
    }
    let mode = MODES.iter().find(|(words, _)| accept(parser, words));
    Ok(mode.map(|(_, mode)| *mode))
}

//! The clauses that lock a query's rows. The parser reads two of the four, and one table behind
//! `OF`: among the tokens each becomes one that it reads, with its strength as the first part of the
//! name behind `OF`.
//!
//! ```text
//! FOR NO KEY UPDATE OF a, b NOWAIT
//! FOR UPDATE OF "FOR NO KEY UPDATE".a NOWAIT FOR UPDATE OF "FOR NO KEY UPDATE".b NOWAIT
//! ```

use super::rewrite::{behind, is_word};
use model::error::SqlError;
use sqlparser::ast::{LockClause, ObjectName};
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

/// How rows are locked, as it is written.
#[derive(Debug)]
pub(in crate::sql) struct Strength {
    /// Words behind `FOR`.
    words: &'static [&'static str],
    /// The word that the parser reads for them.
    read: &'static str,
    /// What the clause is called.
    pub(in crate::sql) name: &'static str,
    /// What the statement is called.
    pub(in crate::sql) command: &'static str,
}

const fn strength(
    words: &'static [&'static str],
    read: &'static str,
    name: &'static str,
    command: &'static str,
) -> Strength {
    Strength { words, read, name, command }
}

static STRENGTHS: [Strength; 4] = [
    strength(&["update"], "UPDATE", "FOR UPDATE", "SELECT FOR UPDATE"),
    strength(&["no", "key", "update"], "UPDATE", "FOR NO KEY UPDATE", "SELECT FOR NO KEY UPDATE"),
    strength(&["share"], "SHARE", "FOR SHARE", "SELECT FOR SHARE"),
    strength(&["key", "share"], "SHARE", "FOR KEY SHARE", "SELECT FOR KEY SHARE"),
];

/// Writes the clauses as the parser reads them.
pub(super) fn spell(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at], "for")
            && let Some((end, written)) = clause(tokens, at)
        {
            let length = written.len();
            tokens.splice(at..=end, written);
            at += length;
            continue;
        }
        at += 1;
    }
}

/// The clause that begins at a token: its last token, and how it is written for the parser.
fn clause(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, Vec<TokenWithSpan>)> {
    let (mut end, strength) = STRENGTHS
        .iter()
        .find_map(|strength| words_behind(tokens, at, strength.words).map(|end| (end, strength)))?;
    let mut of = Vec::new();
    if let Some(word) = words_behind(tokens, end, &["of"]) {
        end = word;
        loop {
            let (last, table) = table(tokens, end)?;
            of.push(table);
            end = last;
            match behind(tokens, end).filter(|&next| tokens[next].token == Token::Comma) {
                Some(comma) => end = comma,
                None => break,
            }
        }
    }
    let wait: &[&str] = if let Some(word) = words_behind(tokens, end, &["nowait"]) {
        end = word;
        &["NOWAIT"]
    } else if let Some(word) = words_behind(tokens, end, &["skip", "locked"]) {
        end = word;
        &["SKIP", "LOCKED"]
    } else {
        &[]
    };
    let span = tokens[at].span;
    let token = |token| TokenWithSpan { token, span };
    let mut written = Vec::new();
    let all = [Vec::new()];
    for table in if of.is_empty() { all.as_slice() } else { &of } {
        for word in ["FOR", strength.read, "OF"] {
            written.push(token(Token::make_keyword(word)));
            written.push(token(Token::Whitespace(Whitespace::Space)));
        }
        written.push(token(Token::make_word(strength.name, Some('"'))));
        if !table.is_empty() {
            written.push(token(Token::Period));
            written.extend(table.iter().cloned());
        }
        for word in wait {
            written.push(token(Token::Whitespace(Whitespace::Space)));
            written.push(token(Token::make_keyword(word)));
        }
        written.push(token(Token::Whitespace(Whitespace::Space)));
    }
    Some((end, written))
}

/// The last of these words, where they stand behind a token.
fn words_behind(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> Option<usize> {
    words
        .iter()
        .try_fold(at, |at, word| behind(tokens, at).filter(|&next| is_word(&tokens[next], word)))
}

/// The name behind a token: its last token, and all of them.
fn table(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, Vec<TokenWithSpan>)> {
    let mut name = Vec::new();
    let mut end = at;
    loop {
        let part = behind(tokens, end)?;
        if !matches!(tokens[part].token, Token::Word(_)) {
            return None;
        }
        name.push(tokens[part].clone());
        end = part;
        match behind(tokens, end).filter(|&next| tokens[next].token == Token::Period) {
            Some(period) => {
                name.push(tokens[period].clone());
                end = period;
            }
            None => return Some((end, name)),
        }
    }
}

/// The strength of a clause, and the table that it names.
pub(in crate::sql) fn row_lock_strength(
    clause: &LockClause,
) -> Result<(&'static Strength, Option<ObjectName>), SqlError> {
    let spelled = || {
        let (first, table) = clause.of.as_ref()?.0.split_first()?;
        let name = &first.as_ident()?.value;
        let strength = STRENGTHS.iter().find(|strength| strength.name == name)?;
        Some((strength, (!table.is_empty()).then(|| ObjectName(table.to_vec()))))
    };
    spelled().ok_or_else(|| SqlError::internal("a row lock that was not spelled for the parser"))
}

#[cfg(test)]
mod tests {
    use super::super::tokens;
    use super::spell;

    fn spelled(text: &str) -> String {
        let mut tokens = tokens(text).unwrap();
        spell(&mut tokens);
        tokens.iter().map(|token| token.token.to_string()).collect()
    }

    #[test]
    fn clauses_are_spelled_for_the_parser() {
        let spelling = [
            ("FOR UPDATE", "FOR UPDATE OF \"FOR UPDATE\" "),
            ("for no key update nowait", "FOR UPDATE OF \"FOR NO KEY UPDATE\" NOWAIT "),
            ("FOR KEY SHARE SKIP LOCKED", "FOR SHARE OF \"FOR KEY SHARE\" SKIP LOCKED "),
            ("FOR SHARE OF a.b LIMIT 1", "FOR SHARE OF \"FOR SHARE\".a.b  LIMIT 1"),
            (
                "FOR SHARE OF a, \"B\" NOWAIT",
                "FOR SHARE OF \"FOR SHARE\".a NOWAIT FOR SHARE OF \"FOR SHARE\".\"B\" NOWAIT ",
            ),
        ];
        for (written, read) in spelling {
            assert_eq!(spelled(written), read);
        }
    }

    #[test]
    fn other_words_stay_as_they_are() {
        for text in ["substring(a FOR 3)", "FOR NO UPDATE", "CURSOR FOR SELECT 1", "FOR KEY UPDATE"]
        {
            assert_eq!(spelled(text), text);
        }
    }
}

//! The text of a view. It is kept with the schema of every relation, so that it means the same
//! whatever is on the path, and shown without those that the reader need not write.

use super::parse::tokens;
use super::relations::NamedRelation;
use crate::catalog::Visible;
use model::error::SqlError;
use shards::exec::functions::quote_identifier;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// The text with a schema in front of every relation.
pub(super) fn with_schemas(text: &str, named: &[NamedRelation]) -> Result<String, SqlError> {
    if named.iter().all(|relation| relation.written) {
        // A stored text, which is bound again to see what its columns are.
        return Ok(text.to_owned());
    }
    let mut tokens = tokens(text)?;
    for relation in named.iter().filter(|relation| !relation.written) {
        if let Some(at) = position(&tokens, relation) {
            let written = format!("{}.{}", quote_identifier(&relation.schema), tokens[at].token);
            tokens[at].token = Token::make_word(&written, None);
        }
    }
    Ok(written(&tokens))
}

/// The text without the schemas of relations that are found without them.
pub(super) fn without_schemas(
    text: &str,
    named: &[NamedRelation],
    visible: &Visible<'_>,
) -> Result<String, SqlError> {
    let mut tokens = tokens(text)?;
    let shorter = |relation: &&NamedRelation| {
        relation.written && !relation.hidden && visible.is_visible(&relation.schema, &relation.name)
    };
    for relation in named.iter().filter(shorter) {
        if let Some(at) = position(&tokens, relation) {
            // The name behind the period stays.
            let period = tokens[at..].iter().position(|token| token.token == Token::Period);
            let behind = period.map_or(at, |period| at + period + 1);
            for token in &mut tokens[at..behind] {
                token.token = Token::make_word("", None);
            }
        }
    }
    Ok(written(&tokens))
}

fn position(tokens: &[TokenWithSpan], relation: &NamedRelation) -> Option<usize> {
    tokens.iter().position(|token| {
        token.span.start == relation.at && !matches!(token.token, Token::Whitespace(_))
    })
}

fn written(tokens: &[TokenWithSpan]) -> String {
    tokens.iter().map(|token| token.token.to_string()).collect()
}

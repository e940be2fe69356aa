//! New names in SQL text that the catalog keeps.

use super::parse::tokens;
use model::error::SqlError;
use shards::exec::functions::quote_identifier;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// What has a new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Renamed {
    /// A column of the only relation in sight.
    Column {
        /// The relation.
        relation: String,
        /// Its name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// That relation.
    Relation {
        /// Its name.
        from: String,
        /// Its new name.
        to: String,
    },
}

/// The text of an expression with the new name wherever the old one seems to stand. Words have other
/// meanings, too: who asks binds what comes of it, to see that it means the same.
pub(crate) fn renamed_in(text: &str, renamed: &Renamed) -> Result<String, SqlError> {
    let mut tokens = tokens(text)?;
    let solid: Vec<usize> =
        (0..tokens.len()).filter(|&at| !matches!(tokens[at].token, Token::Whitespace(_))).collect();
    let mut found = Vec::new();
    for position in 0..solid.len() {
        let token = |at: Option<usize>| at.and_then(|at| solid.get(at)).map(|&at| &tokens[at]);
        let before = token(position.checked_sub(1)).map(|token| &token.token);
        let qualifier = token(position.checked_sub(2)).and_then(name_of);
        let behind = token(Some(position + 1)).map(|token| &token.token);
        let Some(name) = token(Some(position)).and_then(name_of) else { continue };
        let is_it = match renamed {
            Renamed::Relation { from, .. } => name == *from && behind == Some(&Token::Period),
            Renamed::Column { relation, from, .. } => {
                let begins = match before {
                    Some(Token::Period) => qualifier.as_ref() == Some(relation),
                    Some(Token::DoubleColon) => false,
                    _ => true,
                };
                let is_other = matches!(
                    behind,
                    Some(Token::LParen | Token::Period | Token::SingleQuotedString(_))
                );
                name == *from && begins && !is_other
            }
        };
        if is_it {
            found.push(solid[position]);
        }
    }
    let (Renamed::Column { to, .. } | Renamed::Relation { to, .. }) = renamed;
    let written = quote_identifier(to);
    Ok(tokens
        .iter_mut()
        .enumerate()
        .map(|(at, token)| match found.contains(&at) {
            true => written.clone(),
            false => token.token.to_string(),
        })
        .collect())
}

/// The name that a word is.
fn name_of(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_renamed_where_it_stands() {
        let renamed = Renamed::Column {
            relation: "t".to_owned(),
            from: "date".to_owned(),
            to: "Day".to_owned(),
        };
        let text = "DATE > date '2026-01-01' AND t.date::date < u.date AND \"date\" IS NULL";
        let expected =
            "\"Day\" > date '2026-01-01' AND t.\"Day\"::date < u.date AND \"Day\" IS NULL";
        assert_eq!(renamed_in(text, &renamed).unwrap(), expected);
    }

    #[test]
    fn a_relation_is_renamed_before_its_columns() {
        let renamed = Renamed::Relation { from: "t".to_owned(), to: "u".to_owned() };
        assert_eq!(renamed_in("t.t > t AND 't' = t.a", &renamed).unwrap(), "u.t > t AND 't' = u.a");
    }
}

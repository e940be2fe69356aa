//! Sequences in the SQL text of defaults. The catalog keeps such a text with the sequences' oids in
//! place of their names, so that it holds when they are renamed: `nextval('16385'::regclass)`.

use super::parse::tokens;
use model::error::SqlError;
use sqlparser::tokenizer::{Token, TokenWithSpan};

const FUNCTIONS: [&str; 3] = ["nextval", "currval", "setval"];

/// The text with every sequence that a function is given by a string replaced by what `oid_of`
/// answers for it.
pub(crate) fn with_oids(
    text: &str,
    mut oid_of: impl FnMut(&str) -> Result<u32, SqlError>,
) -> Result<String, SqlError> {
    let mut tokens = tokens(text)?;
    let named = arguments(&tokens);
    if named.is_empty() {
        return Ok(text.to_owned());
    }
    for at in named {
        if let Token::SingleQuotedString(name) = &tokens[at].token
            && !is_oid(name)
        {
            let oid = oid_of(name)?.to_string();
            tokens[at].token = Token::SingleQuotedString(oid);
        }
    }
    Ok(tokens.iter().map(|token| token.token.to_string()).collect())
}

/// The oids of the sequences in a text that [`with_oids`] has made.
pub(crate) fn oids_in(text: &str) -> Vec<u32> {
    // What cannot be read is told when it is bound.
    let tokens = tokens(text).unwrap_or_default();
    let oid = |at: usize| match &tokens[at].token {
        Token::SingleQuotedString(oid) => oid.parse().ok(),
        _ => None,
    };
    arguments(&tokens).into_iter().filter_map(oid).collect()
}

fn is_oid(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where the strings stand that are the first argument of a function of sequences.
fn arguments(tokens: &[TokenWithSpan]) -> Vec<usize> {
    let solid: Vec<usize> =
        (0..tokens.len()).filter(|&at| !matches!(tokens[at].token, Token::Whitespace(_))).collect();
    let mut found = Vec::new();
    for (position, &at) in solid.iter().enumerate() {
        let Token::Word(word) = &tokens[at].token else { continue };
        if !FUNCTIONS.contains(&word.value.to_lowercase().as_str()) {
            continue;
        }
        let behind = &solid[position + 1..];
        let open = behind.iter().take_while(|&&at| tokens[at].token == Token::LParen).count();
        if open == 0 {
            continue;
        }
        let string = behind.get(open).copied();
        found.extend(string.filter(|&at| matches!(tokens[at].token, Token::SingleQuotedString(_))));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_oids_and_nothing_else_does() {
        let text = "nextval('s') + length('s') + currval(('public.\"S\"'::text)::regclass)";
        let mut names = Vec::new();
        let stored = with_oids(text, |name| {
            names.push(name.to_owned());
            Ok(16_384 + names.len() as u32)
        });
        let stored = stored.unwrap();
        assert_eq!(names, ["s", "public.\"S\""]);
        assert_eq!(stored, "nextval('16385') + length('s') + currval(('16386'::text)::regclass)");
        assert_eq!(oids_in(&stored), [16_385, 16_386]);
        assert_eq!(with_oids(&stored, |_| panic!("they are oids already")).unwrap(), stored);
    }

    #[test]
    fn a_text_without_sequences_stays_as_it_is() {
        assert_eq!(with_oids("now()  ", |_| panic!("no sequence")).unwrap(), "now()  ");
    }
}

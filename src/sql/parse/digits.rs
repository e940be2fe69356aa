//! Types of times that are written with more digits behind the second than there are:
//! `timestamp(9)`. They mean all of them; the client is warned.

use super::rewrite::{behind, is_word};
use model::error::{SqlError, SqlState};
use model::types::SECOND_DIGITS_MAX;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// The warnings, each with the place of the type it is about.
pub(super) fn reduced(tokens: &[TokenWithSpan]) -> Vec<(Location, SqlError)> {
    let mut found = Vec::new();
    let (mut before, mut interval) = (None, None);
    for at in 0..tokens.len() {
        if matches!(tokens[at].token, Token::Whitespace(_)) {
            continue;
        }
        if is_word(&tokens[at], "interval") {
            interval = Some(at);
        }
        let named = match before.is_some_and(|before| is_last_field(tokens, before, at)) {
            true => interval.map(|interval| (interval, "INTERVAL", false)),
            false => name_of(&tokens[at]).map(|(name, zoned)| (at, name, zoned)),
        };
        before = Some(at);
        let Some((place, name, zoned)) = named else { continue };
        let Some((digits, end)) = digits(tokens, at) else { continue };
        if digits > u64::from(SECOND_DIGITS_MAX) {
            let zone = if zoned || is_zoned(tokens, end) { " WITH TIME ZONE" } else { "" };
            let text = format!(
                "{name}({digits}){zone} precision reduced to maximum allowed, {SECOND_DIGITS_MAX}"
            );
            let warning = SqlError::new(SqlState::INVALID_PARAMETER_VALUE, text);
            found.push((tokens[place].span.start, warning));
        }
    }
    found
}

/// Whether a word is the last field of an interval, which alone has digits: it stands behind the
/// type, a literal or another field.
fn is_last_field(tokens: &[TokenWithSpan], before: usize, at: usize) -> bool {
    let before = &tokens[before];
    is_word(&tokens[at], "second")
        && (matches!(before.token, Token::SingleQuotedString(_))
            || is_word(before, "interval")
            || is_word(before, "to"))
}

/// The type of times that a word is, and whether it has a zone by its name.
fn name_of(token: &TokenWithSpan) -> Option<(&'static str, bool)> {
    const NAMES: [(&str, &str, bool); 5] = [
        ("timestamp", "TIMESTAMP", false),
        ("timestamptz", "TIMESTAMP", true),
        ("time", "TIME", false),
        ("timetz", "TIME", true),
        ("interval", "INTERVAL", false),
    ];
    let (_, name, zoned) = NAMES.into_iter().find(|(word, ..)| is_word(token, word))?;
    Some((name, zoned))
}

/// The number in parentheses behind a token, and the place of the closing one.
fn digits(tokens: &[TokenWithSpan], at: usize) -> Option<(u64, usize)> {
    let open = behind(tokens, at).filter(|&open| tokens[open].token == Token::LParen)?;
    let number = behind(tokens, open)?;
    let Token::Number(text, _) = &tokens[number].token else { return None };
    let close = behind(tokens, number).filter(|&close| tokens[close].token == Token::RParen)?;
    Some((text.parse().ok()?, close))
}

/// Whether `WITH TIME ZONE` follows.
fn is_zoned(tokens: &[TokenWithSpan], end: usize) -> bool {
    let mut at = end;
    ["with", "time", "zone"].iter().all(|word| {
        behind(tokens, at).is_some_and(|next| {
            at = next;
            is_word(&tokens[next], word)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reduced_is_told() {
        for (text, expected) in [
            ("SELECT now()::timestamp(7)", &["TIMESTAMP(7)"][..]),
            ("SELECT now()::timestamp(6), time(0) '1:00', interval '1 s' second(3)", &[]),
            (
                "CREATE TABLE t (a TIMESTAMPTZ (8)[], b time(9)  with time zone, c interval(10))",
                &["TIMESTAMP(8) WITH TIME ZONE", "TIME(9) WITH TIME ZONE", "INTERVAL(10)"],
            ),
            (
                "SELECT interval '1' second(7), '1'::interval day to second(8)",
                &["INTERVAL(7)", "INTERVAL(8)"],
            ),
            ("SELECT second(7), \"timestamp\"(now(), 7), \"time\"(7), '::timestamp(7)'", &[]),
        ] {
            let tokens = super::super::tokens(text).unwrap();
            let told: Vec<String> = reduced(&tokens)
                .into_iter()
                .map(|(_, warning)| warning.fields().message.to_string())
                .collect();
            let expected: Vec<String> = expected
                .iter()
                .map(|what| format!("{what} precision reduced to maximum allowed, 6"))
                .collect();
            assert_eq!(told, expected, "{text}");
        }
    }
}

//! The join token: a secret that is never shown.

use std::fmt;

/// Shortest and longest token, in bytes.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// What all nodes of a cluster know and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken(String);

impl JoinToken {
    /// Reads a token; empty text is none.
    ///
    /// # Errors
    /// It is too short, too long, or has characters that are easily lost on the way.
    pub fn parse(text: &str) -> Result<Option<JoinToken>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if !TOKEN_BYTES.contains(&text.len()) {
            let (least, most) = (TOKEN_BYTES.start(), TOKEN_BYTES.end());
            return Err(format!("is no token; it has {least} to {most} characters"));
        }
        match text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Some(JoinToken(text.to_owned()))),
            false => Err("is no token; it has printable ASCII characters without spaces".into()),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for JoinToken {
    // For nobody's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_enough_and_never_shown() {
        let token =
            JoinToken::parse(" 0123456789abcdef\n").expect("a token").expect("there is one");
        assert_eq!(token.bytes(), b"0123456789abcdef");
        assert_eq!(format!("{token:?}"), "JoinToken");
        assert_eq!(JoinToken::parse(""), Ok(None));
        for text in
            ["0123456789abcde", "0123456789 abcdef", "0123456789abcd\u{e9}", &"x".repeat(257)]
        {
            assert!(JoinToken::parse(text).is_err(), "{text}");
        }
    }
}

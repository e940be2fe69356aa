//! Regular expressions: PostgreSQL's advanced ones, translated to the `regex` crate's.
//!
//! That crate matches in linear time, so no pattern can hang a core. What it does not have
//! (back-references, lookaround) is refused with 0A000.

use super::{Call, Function};
use model::error::{SqlError, SqlState};
use model::types::DataType::{self, Bool, Text};
use model::types::ElementType;
use model::value::Value;
use regex::{Regex, RegexBuilder};
use std::cell::RefCell;
use std::rc::Rc;

/// Most bytes a compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Compiled patterns that a core keeps.
const KEPT_MAX: usize = 32;

const TEXTS: DataType = DataType::Array(ElementType::Text);

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("textregexeq", &[Text, Text], Bool, |c| matched(c, false)),
    Function::new("texticregexeq", &[Text, Text], Bool, |c| matched(c, true)),
    Function::new("regexp_like", &[Text, Text], Bool, |c| matched(c, false)),
    Function::new("regexp_replace", &[Text, Text, Text], Text, replaced),
    Function::new("regexp_replace", &[Text, Text, Text, Text], Text, replaced),
    Function::new("regexp_match", &[Text, Text], TEXTS, first_match),
    Function::new("regexp_match", &[Text, Text, Text], TEXTS, first_match),
    Function::new("regexp_split_to_array", &[Text, Text], TEXTS, split),
    Function::new("regexp_split_to_array", &[Text, Text, Text], TEXTS, split),
    // `substring(text from pattern)`: the first parenthesized part, or all that matched.
    Function::new("substring", &[Text, Text], Text, part),
];

struct Kept {
    pattern: Box<str>,
    ignore_case: bool,
    regex: Rc<Regex>,
}

thread_local! {
    /// The patterns used last, newest first: a column is matched against one pattern.
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// The compiled pattern.
fn compiled(pattern: &str, ignore_case: bool) -> Result<Rc<Regex>, SqlError> {
    let known = KEPT.with_borrow_mut(|kept| {
        let is_it = |k: &Kept| *k.pattern == *pattern && k.ignore_case == ignore_case;
        let at = kept.iter().position(is_it)?;
        kept[..=at].rotate_right(1);
        Some(Rc::clone(&kept[0].regex))
    });
    if let Some(known) = known {
        return Ok(known);
    }
    let regex = RegexBuilder::new(&translated(pattern)?)
        .case_insensitive(ignore_case)
        .dot_matches_new_line(true)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| invalid(&error.to_string()))?;
    let regex = Rc::new(regex);
    KEPT.with_borrow_mut(|kept| {
        let regex = Rc::clone(&regex);
        kept.insert(0, Kept { pattern: pattern.into(), ignore_case, regex });
        kept.truncate(KEPT_MAX);
    });
    Ok(regex)
}

fn invalid(reason: &str) -> SqlError {
    // The crate draws the pattern with a marker over several lines; the last one says why.
    let reason = reason.lines().last().unwrap_or_default();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    SqlError::new(
        SqlState::INVALID_REGULAR_EXPRESSION,
        format!("invalid regular expression: {reason}"),
    )
}

/// PostgreSQL's spelling of a pattern in the crate's.
fn translated(pattern: &str) -> Result<String, SqlError> {
    // A director: the rest is an advanced expression, which all are here, or a plain string.
    if let Some(literal) = pattern.strip_prefix("***=") {
        return Ok(regex::escape(literal));
    }
    let pattern = pattern.strip_prefix("***:").unwrap_or(pattern);
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some('y') => out.push_str("\\b"),
                Some('Y') => out.push_str("\\B"),
                Some('m') => out.push_str("\\b{start}"),
                Some('M') => out.push_str("\\b{end}"),
                Some('Z') => out.push_str("\\z"),
                Some(digit @ '1'..='9') => {
                    return Err(SqlError::unsupported(format!(
                        "the back-reference \\{digit} in a regular expression"
                    )));
                }
                Some(other) if other.is_ascii_alphanumeric() => {
                    out.push('\\');
                    out.push(other);
                }
                Some(other) => out.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
                None => return Err(invalid("invalid escape \\ sequence")),
            },
            '[' => bracket(&mut characters, &mut out)?,
            '{' if !characters.peek().is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            '(' if characters.peek() == Some(&'?') => {
                let mut ahead = characters.clone();
                ahead.next();
                if matches!(ahead.peek(), Some('=' | '!' | '<')) {
                    return Err(SqlError::unsupported("lookaround in a regular expression"));
                }
                out.push(c);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// A bracket expression: only `^`, ranges, classes in `[: :]` and escapes mean something in it.
fn bracket(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
) -> Result<(), SqlError> {
    out.push('[');
    if characters.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let Some(c) = characters.next() else { return Err(invalid("brackets [] not balanced")) };
        match c {
            ']' if !first => break,
            ']' => out.push_str("\\]"),
            '[' if characters.peek() == Some(&':') => {
                out.push('[');
                for c in characters.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' if matches!(characters.peek(), Some('.' | '=')) => {
                return Err(SqlError::unsupported("a collating element in a regular expression"));
            }
            '\\' => {
                out.push('\\');
                out.extend(characters.next());
            }
            '[' | '&' | '~' | '^' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        first = false;
    }
    out.push(']');
    Ok(())
}

fn matched(call: &Call<'_>, ignore_case: bool) -> Result<Value, SqlError> {
    Ok(Value::Bool(compiled(call.text(1)?, ignore_case)?.is_match(call.text(0)?)))
}

/// Flags in the argument at `at`, if the call has it: whether `g` and `i` are among them.
fn flags(call: &Call<'_>, at: usize) -> Result<(bool, bool), SqlError> {
    if call.values.len() <= at {
        return Ok((false, false));
    }
    let (mut global, mut ignore_case) = (false, false);
    for flag in call.text(at)?.chars() {
        match flag {
            'g' => global = true,
            'i' => ignore_case = true,
            'c' => ignore_case = false,
            's' => {}
            other => {
                return Err(SqlError::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("invalid regular expression option: \"{other}\""),
                ));
            }
        }
    }
    Ok((global, ignore_case))
}

fn replaced(call: &Call<'_>) -> Result<Value, SqlError> {
    let (global, ignore_case) = flags(call, 3)?;
    let regex = compiled(call.text(1)?, ignore_case)?;
    let (string, replacement) = (call.text(0)?, call.text(2)?);
    let mut out = String::with_capacity(string.len());
    let mut at = 0;
    for captures in regex.captures_iter(string).take(if global { usize::MAX } else { 1 }) {
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(&string[at..whole.start()]);
        at = whole.end();
        let mut characters = replacement.chars();
        while let Some(c) = characters.next() {
            match (c, if c == '\\' { characters.next() } else { None }) {
                ('\\', Some('&')) => out.push_str(whole.as_str()),
                ('\\', Some(digit @ '1'..='9')) => {
                    let group = digit.to_digit(10).unwrap_or_default() as usize;
                    out.push_str(captures.get(group).map_or("", |m| m.as_str()));
                }
                ('\\', Some('\\') | None) => out.push('\\'),
                ('\\', Some(other)) => out.extend(['\\', other]),
                (c, _) => out.push(c),
            }
        }
    }
    out.push_str(&string[at..]);
    Ok(Value::text(out))
}

fn first_match(call: &Call<'_>) -> Result<Value, SqlError> {
    let (global, ignore_case) = flags(call, 2)?;
    if global {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "regexp_match() does not support the \"global\" option",
        )
        .hint("Use the regexp_matches function instead."));
    }
    let regex = compiled(call.text(1)?, ignore_case)?;
    let Some(captures) = regex.captures(call.text(0)?) else { return Ok(Value::Null) };
    let part = |at| captures.get(at).map_or(Value::Null, |part| Value::text(part.as_str()));
    let parts = if captures.len() == 1 { 0..1 } else { 1..captures.len() };
    Ok(Value::array(parts.map(part).collect()))
}

fn split(call: &Call<'_>) -> Result<Value, SqlError> {
    let (_, ignore_case) = flags(call, 2)?;
    let regex = compiled(call.text(1)?, ignore_case)?;
    let string = call.text(0)?;
    let mut parts = Vec::new();
    let mut at = 0;
    for found in regex.find_iter(string) {
        // An empty match at an end, or behind the match before, splits nothing.
        if found.is_empty() && (found.start() == 0 || found.start() == string.len()) {
            continue;
        }
        parts.push(Value::text(&string[at..found.start()]));
        at = found.end();
    }
    parts.push(Value::text(&string[at..]));
    Ok(Value::array(parts))
}

fn part(call: &Call<'_>) -> Result<Value, SqlError> {
    let regex = compiled(call.text(1)?, false)?;
    let Some(captures) = regex.captures(call.text(0)?) else { return Ok(Value::Null) };
    let wanted = if captures.len() > 1 { captures.get(1) } else { captures.get(0) };
    Ok(wanted.map_or(Value::Null, |part| Value::text(part.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(text: &str, pattern: &str) -> bool {
        compiled(pattern, false).unwrap().is_match(text)
    }

    #[test]
    fn advanced_expressions_match_as_in_postgresql() {
        for (text, pattern, expected) in [
            ("pg_toast", "^(pg_toast)$", true),
            ("a.b", "^a\\.b$", true),
            ("a]b", "[]]", true),
            ("a&b", "[&&]", true),
            ("foo bar", "\\mbar\\M", true),
            ("foobar", "\\ybar", false),
            ("a{b", "a{b", true),
            ("aaa", "^a{2,3}$", true),
            ("x1", "^[[:alpha:]][[:digit:]]$", true),
            ("a\nb", "^a.b$", true),
            ("a.c", "***=a.c", true),
            ("abc", "***=a.c", false),
        ] {
            assert_eq!(is_match(text, pattern), expected, "{text} ~ {pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["(", "[a", "*a", "\\"] {
            let state = compiled(pattern, false).unwrap_err().state();
            assert_eq!(state, SqlState::INVALID_REGULAR_EXPRESSION, "{pattern}");
        }
        for pattern in ["(a)\\1", "(?=a)"] {
            let state = compiled(pattern, false).unwrap_err().state();
            assert_eq!(state, SqlState::FEATURE_NOT_SUPPORTED, "{pattern}");
        }
        assert!(compiled("(a{1000}){1000}", false).is_err(), "too large to compile");
    }
}

//! What a `jsonb` means.
//!
//! A `jsonb` value is kept as text in one form, that which PostgreSQL prints: keys ordered and each
//! once, numbers in plain notation, one blank behind each comma and colon. It is read into a
//! [`Json`] where something wants to look inside.
//!
//! `1.0` and `1.00` are equal and print apart, as two numerics do, so the text says nothing of
//! equality; the order of [`Json`] does, and of its bytes in a key.

use crate::key::{push_bytes, push_numeric};
use crate::numeric::Numeric;
use std::cmp::Ordering;
use std::fmt::{self, Write};

/// How deep arrays and objects may lie in each other. What walks them recurses.
pub const DEPTH_MAX: usize = 127;

/// A value that has been read.
#[derive(Debug, Clone)]
pub enum Json {
    /// `null`, which is no SQL `NULL`.
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number of any size.
    Number(Numeric),
    /// A string without quotes and escapes.
    String(String),
    /// `[...]`
    Array(Vec<Json>),
    /// `{...}`: keys in order, shorter ones first, each once.
    Object(Vec<(String, Json)>),
}

/// Why a text is no `jsonb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// It is no JSON.
    Malformed,
    /// [`DEPTH_MAX`] is exceeded.
    TooDeep,
    /// `\u0000`, which no text holds.
    Zero,
    /// Half of a surrogate pair.
    Surrogate,
    /// A number that is refused by whoever reads numbers.
    Number,
}

impl Json {
    /// Reads a text; `number` reads the numbers in it, which may have exponents.
    ///
    /// # Errors
    /// See [`JsonError`].
    pub fn read(
        text: &str,
        number: &mut dyn FnMut(&str) -> Option<Numeric>,
    ) -> Result<Json, JsonError> {
        let mut reader = Reader { rest: text, depth: 0, number };
        let value = reader.value()?;
        reader.skip_blanks();
        if reader.rest.is_empty() { Ok(value) } else { Err(JsonError::Malformed) }
    }

    /// Reads what [`Json`] has printed.
    ///
    /// # Panics
    /// On any other text: the values of a `jsonb` are made nowhere else.
    pub fn reread(text: &str) -> Json {
        Json::read(text, &mut |number| number.parse().ok())
            .expect("a jsonb is text that has been printed from one")
    }

    /// An object of these members; of a key that is there twice the last one stays.
    pub fn object(mut members: Vec<(String, Json)>) -> Json {
        // Stable, so that of equal keys the last is the last still.
        members.sort_by(|(a, _), (b, _)| key_order(a, b));
        members.reverse();
        members.dedup_by(|(a, _), (b, _)| a == b);
        members.reverse();
        Json::Object(members)
    }

    /// How deep arrays and objects lie in each other; 0 of a scalar.
    pub fn depth(&self) -> usize {
        let inner = match self {
            Json::Array(elements) => elements.iter().map(Json::depth).max(),
            Json::Object(members) => members.iter().map(|(_, value)| value.depth()).max(),
            _ => return 0,
        };
        1 + inner.unwrap_or(0)
    }

    /// The value of a key; `None` too of what is no object.
    pub fn member(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        let at = members.binary_search_by(|(name, _)| key_order(name, key)).ok()?;
        Some(&members[at].1)
    }

    /// Whether `other` is in this: each of its members with a value that contains the other's, each
    /// of its elements somewhere. At the top an array contains a scalar that is one of its elements.
    pub fn contains(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Array(_), Json::Array(_)) => self.holds(other),
            (Json::Array(elements), other) if other.is_scalar() => elements.contains(other),
            _ => self.holds(other),
        }
    }

    fn holds(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Object(_), Json::Object(members)) => members
                .iter()
                .all(|(key, value)| self.member(key).is_some_and(|own| own.holds(value))),
            (Json::Array(own), Json::Array(elements)) => elements.iter().all(|wanted| {
                if wanted.is_scalar() {
                    own.contains(wanted)
                } else {
                    own.iter().any(|element| element.holds(wanted))
                }
            }),
            (one, another) => one.is_scalar() && one == another,
        }
    }

    /// Whether this is neither an array nor an object.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Json::Array(_) | Json::Object(_))
    }

    /// Appends bytes whose order is [`Json::order`], and of which none is the beginning of
    /// another's.
    pub(crate) fn push_key(&self, out: &mut Vec<u8>) {
        if self.is_empty_array() { out.push(EMPTY_ARRAY_RANK) } else { self.push_part(out) }
    }

    fn push_part(&self, out: &mut Vec<u8>) {
        out.push(self.rank());
        let count = |out: &mut Vec<u8>, count: usize| {
            out.extend_from_slice(&(count as u64).to_be_bytes());
        };
        match self {
            Json::Null => {}
            Json::Bool(truth) => out.push(u8::from(*truth)),
            Json::Number(number) => push_numeric(out, number),
            Json::String(text) => push_bytes(out, text.as_bytes()),
            Json::Array(elements) => {
                count(out, elements.len());
                elements.iter().for_each(|element| element.push_part(out));
            }
            Json::Object(members) => {
                count(out, members.len());
                for (key, value) in members {
                    push_bytes(out, key.as_bytes());
                    value.push_part(out);
                }
            }
        }
    }

    /// The order of whole values: that of [`Ord`], but for the empty array, which is the least as in
    /// PostgreSQL, where it is compared with a scalar by how many elements there are.
    pub fn order(&self, other: &Json) -> Ordering {
        other.is_empty_array().cmp(&self.is_empty_array()).then_with(|| self.cmp(other))
    }

    fn is_empty_array(&self) -> bool {
        matches!(self, Json::Array(elements) if elements.is_empty())
    }

    /// PostgreSQL's order of the kinds.
    fn rank(&self) -> u8 {
        match self {
            Json::Null => 1,
            Json::String(_) => 2,
            Json::Number(_) => 3,
            Json::Bool(_) => 4,
            Json::Array(_) => 5,
            Json::Object(_) => 6,
        }
    }
}

/// In a key, before what [`Json::rank`] says of other values.
const EMPTY_ARRAY_RANK: u8 = 0;

/// Of keys inside an object: the shorter first, then by bytes.
fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// PostgreSQL's of what lies in a value: fewer elements or members before more, then one after the other.
impl Ord for Json {
    fn cmp(&self, other: &Json) -> Ordering {
        match (self, other) {
            (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
            (Json::Number(a), Json::Number(b)) => a.cmp(b),
            (Json::String(a), Json::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Json::Array(a), Json::Array(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            (Json::Object(a), Json::Object(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Json {
    fn partial_cmp(&self, other: &Json) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Json {}

/// The order of two `jsonb` texts.
pub fn text_order(a: &str, b: &str) -> Ordering {
    if a == b { Ordering::Equal } else { Json::reread(a).order(&Json::reread(b)) }
}

/// The form in which a `jsonb` is kept and shown.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(truth) => write!(f, "{truth}"),
            Json::Number(number) => write!(f, "{number}"),
            Json::String(text) => write_string(f, text),
            Json::Array(elements) => {
                f.write_char('[')?;
                for (at, element) in elements.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    write!(f, "{element}")?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (at, (key, value)) in members.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    write_string(f, key)?;
                    write!(f, ": {value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Appends a string with its quotes and escapes, as PostgreSQL writes it.
pub fn write_string(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

struct Reader<'t, 'n> {
    rest: &'t str,
    depth: usize,
    number: &'n mut dyn FnMut(&str) -> Option<Numeric>,
}

impl Reader<'_, '_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes this text, behind blanks, where it comes next.
    fn take(&mut self, text: &str) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn require(&mut self, text: &str) -> Result<(), JsonError> {
        if self.take(text) { Ok(()) } else { Err(JsonError::Malformed) }
    }

    fn value(&mut self) -> Result<Json, JsonError> {
        self.skip_blanks();
        match self.rest.as_bytes().first() {
            Some(b'{' | b'[') => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(JsonError::TooDeep);
                }
                let value = if self.take("{") { self.members() } else { self.elements() };
                self.depth -= 1;
                value
            }
            Some(b'"') => self.string().map(Json::String),
            Some(b't') => self.require("true").map(|()| Json::Bool(true)),
            Some(b'f') => self.require("false").map(|()| Json::Bool(false)),
            Some(b'n') => self.require("null").map(|()| Json::Null),
            Some(b'-' | b'0'..=b'9') => {
                let is_part =
                    |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
                let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
                let (number, rest) = self.rest.split_at(end);
                self.rest = rest;
                if !is_number(number) {
                    return Err(JsonError::Malformed);
                }
                (self.number)(number).map(Json::Number).ok_or(JsonError::Number)
            }
            _ => Err(JsonError::Malformed),
        }
    }

    fn members(&mut self) -> Result<Json, JsonError> {
        let mut members = Vec::new();
        if self.take("}") {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            let key = self.string()?;
            self.require(":")?;
            members.push((key, self.value()?));
            if !self.take(",") {
                self.require("}")?;
                return Ok(Json::object(members));
            }
        }
    }

    fn elements(&mut self) -> Result<Json, JsonError> {
        self.require("[")?;
        let mut elements = Vec::new();
        if self.take("]") {
            return Ok(Json::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            if !self.take(",") {
                self.require("]")?;
                return Ok(Json::Array(elements));
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.rest = self.rest.strip_prefix('"').ok_or(JsonError::Malformed)?;
        let mut out = String::new();
        loop {
            let is_plain = |c: char| c >= ' ' && c != '"' && c != '\\';
            let plain = self.rest.find(|c| !is_plain(c)).ok_or(JsonError::Malformed)?;
            out.push_str(&self.rest[..plain]);
            let end = self.rest.as_bytes()[plain];
            self.rest = &self.rest[plain + 1..];
            match end {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                _ => return Err(JsonError::Malformed),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, JsonError> {
        let mut rest = self.rest.chars();
        let escape = rest.next().ok_or(JsonError::Malformed)?;
        self.rest = rest.as_str();
        Ok(match escape {
            '"' | '\\' | '/' => escape,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut unit = self.unit()?;
                if (0xd800..0xdc00).contains(&unit) {
                    self.rest = self.rest.strip_prefix("\\u").ok_or(JsonError::Surrogate)?;
                    let low = self.unit()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(JsonError::Surrogate);
                    }
                    unit = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                }
                match char::from_u32(unit) {
                    Some('\0') => return Err(JsonError::Zero),
                    Some(c) => c,
                    None => return Err(JsonError::Surrogate),
                }
            }
            _ => return Err(JsonError::Malformed),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, JsonError> {
        let digits = self.rest.get(..4).ok_or(JsonError::Malformed)?;
        let unit = u32::from_str_radix(digits, 16).map_err(|_error| JsonError::Malformed)?;
        self.rest = &self.rest[4..];
        Ok(unit)
    }
}

/// Whether a text is a number as JSON writes it: no sign before it but a minus, no zeros before
/// another digit, digits on both sides of a point.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Json, JsonError> {
        Json::read(text, &mut |number| number.parse().ok())
    }

    fn json(text: &str) -> Json {
        read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn one_form_is_printed() {
        for (text, printed) in [
            (" {\"bb\" : 1,\n\"a\":2, \"a\" : [ ] } ", r#"{"a": [], "bb": 1}"#),
            (r#"[1.50,-0,1e3, 1E-2 ,true,null]"#, "[1.50, 0, 1000, 0.01, true, null]"),
            (r#""\u00e9\ud83d\ude00\/\b\t\u001f""#, "\"é😀/\\b\\t\\u001f\""),
            (r#"{"":{"x":{}}}"#, r#"{"": {"x": {}}}"#),
        ] {
            assert_eq!(json(text).to_string(), printed);
            assert_eq!(json(printed).to_string(), printed, "it is read again");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, error) in [
            ("", JsonError::Malformed),
            ("[1,]", JsonError::Malformed),
            ("{\"a\"}", JsonError::Malformed),
            ("{a: 1}", JsonError::Malformed),
            ("1 2", JsonError::Malformed),
            ("tru", JsonError::Malformed),
            ("\"a", JsonError::Malformed),
            (r#""\u12é4""#, JsonError::Malformed),
            ("\"\n\"", JsonError::Malformed),
            ("-", JsonError::Malformed),
            ("01", JsonError::Malformed),
            ("1.", JsonError::Malformed),
            (".5", JsonError::Malformed),
            ("1e", JsonError::Malformed),
            ("--1", JsonError::Malformed),
            (r#""\u0000""#, JsonError::Zero),
            (r#""\ud83d""#, JsonError::Surrogate),
            (r#""\ud83d\u0041""#, JsonError::Surrogate),
            (r#""\ude00""#, JsonError::Surrogate),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
        assert_eq!(Json::read("[1]", &mut |_| None), Err(JsonError::Number));
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(json(&nested(DEPTH_MAX)).depth(), DEPTH_MAX);
        assert_eq!(read(&nested(DEPTH_MAX + 1)), Err(JsonError::TooDeep));
        assert_eq!(read(&"[".repeat(1_000_000)), Err(JsonError::TooDeep));
    }

    #[test]
    fn keys_are_ordered_as_values_are() {
        let ladder = [
            "[]",
            "null",
            r#""""#,
            r#""a""#,
            r#""a\u0001""#,
            r#""b""#,
            "-2",
            "1.5",
            "10",
            "false",
            "true",
            "[null]",
            "[2]",
            "[[]]",
            "[1, 1]",
            "[1, [0]]",
            "{}",
            r#"{"a": 1}"#,
            r#"{"a": 2}"#,
            r#"{"b": 0}"#,
            r#"{"bb": 1}"#,
            r#"{"c": null}"#,
            r#"{"c": []}"#,
            r#"{"a": 0, "b": 0}"#,
        ];
        let key = |text: &str| {
            let mut out = Vec::new();
            json(text).push_key(&mut out);
            out
        };
        for (at, low) in ladder.iter().enumerate() {
            for high in &ladder[at + 1..] {
                assert_eq!(text_order(low, high), Ordering::Less, "{low} < {high}");
                assert!(key(low) < key(high), "{low} < {high} as keys");
                assert!(!key(high).starts_with(&key(low)), "{low} begins {high}");
            }
        }
        assert_eq!(json("[1.0]"), json("[1.00]"));
        assert_eq!(key("[1.0]"), key("[1.00]"));
    }

    #[test]
    fn containment() {
        for (whole, part, contained) in [
            (r#"{"a": 1, "b": {"c": [1, 2]}}"#, r#"{"b": {"c": [2]}}"#, true),
            (r#"{"a": 1}"#, r#"{"a": 1.0}"#, true),
            (r#"{"a": 1}"#, r#"{"b": 1}"#, false),
            ("[1, 2, [3, 4]]", "[2, 1, 1]", true),
            ("[1, 2, [3, 4]]", "[3]", false),
            ("[1, 2, [3, 4]]", "[[3]]", true),
            ("[1]", "1", true),
            ("[[1]]", "[1]", false),
            ("1", "[1]", false),
            (r#"{"a": [1]}"#, r#"{"a": 1}"#, false),
            ("{}", "[]", false),
            ("null", "null", true),
        ] {
            assert_eq!(json(whole).contains(&json(part)), contained, "{whole} @> {part}");
        }
    }
}

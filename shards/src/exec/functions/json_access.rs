//! What is inside a JSON text: `->`, `->>`, `#>`, `#>>` and their kin.
//!
//! A `json` value is text that has been checked when it came in. What is taken out of it is a piece
//! of that text, blanks and order of keys as they were written.

use super::{Call, Function};
use model::error::{SqlError, SqlState};
use model::types::DataType::{self, Int4, Json, Text};
use model::types::ElementType;
use model::value::Value;

const TEXTS: DataType = DataType::Array(ElementType::Text);

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("json_object_field", &[Json, Text], Json, |c| {
        Ok(json(field(c.text(0)?, c.text(1)?)))
    }),
    Function::new("json_object_field_text", &[Json, Text], Text, |c| {
        as_text(field(c.text(0)?, c.text(1)?))
    }),
    Function::new("json_array_element", &[Json, Int4], Json, |c| {
        Ok(json(element(c.text(0)?, c.int(1)?)))
    }),
    Function::new("json_array_element_text", &[Json, Int4], Text, |c| {
        as_text(element(c.text(0)?, c.int(1)?))
    }),
    Function::new("json_extract_path", &[Json, TEXTS], Json, |c| Ok(json(at_path(c)?))),
    Function::new("json_extract_path_text", &[Json, TEXTS], Text, |c| as_text(at_path(c)?)),
    Function::new("json_typeof", &[Json], Text, |c| Ok(Value::text(kind(c.text(0)?.trim())))),
    Function::new("json_array_length", &[Json], Int4, |c| array_length(c.text(0)?.trim())),
];

fn json(piece: Option<&str>) -> Value {
    piece.map_or(Value::Null, Value::text)
}

/// A string without its quotes and escapes; `null` is no value.
fn as_text(piece: Option<&str>) -> Result<Value, SqlError> {
    match piece {
        None | Some("null") => Ok(Value::Null),
        Some(string) if string.starts_with('"') => unescaped(string).map(Value::text),
        Some(other) => Ok(Value::text(other)),
    }
}

fn unescaped(string: &str) -> Result<String, SqlError> {
    serde_json::from_str::<String>(string).ok().filter(|text| !text.contains('\0')).ok_or_else(
        || {
            SqlError::new(SqlState::UNTRANSLATABLE_CHARACTER, "unsupported Unicode escape sequence")
                .detail(format!("{string} cannot be converted to text."))
        },
    )
}

/// The value of a key; of a key that is written twice the last one.
fn field<'j>(json: &'j str, key: &str) -> Option<&'j str> {
    let mut found = None;
    for (name, value) in Items::of(json, '{')? {
        if unescaped(name).is_ok_and(|name| name == key) {
            found = Some(value);
        }
    }
    found
}

/// The element at a position from 0, or from the end where it is negative.
fn element(json: &str, position: i64) -> Option<&str> {
    let mut items = Items::of(json, '[')?.map(|(_, value)| value);
    let position = match usize::try_from(position) {
        Ok(position) => position,
        Err(_) => {
            let back = usize::try_from(position.unsigned_abs()).ok()?;
            Items::of(json, '[')?.count().checked_sub(back)?
        }
    };
    items.nth(position)
}

fn at_path<'j>(call: &'j Call<'_>) -> Result<Option<&'j str>, SqlError> {
    let Some(Value::Array(path)) = call.values.get(1) else { return Err(call.mistyped(1)) };
    let mut found = Some(call.text(0)?.trim());
    for step in path.elements() {
        let (Some(json), Value::Text(step)) = (found, step) else { return Ok(None) };
        found = match json.as_bytes().first() {
            Some(b'{') => field(json, step),
            Some(b'[') => step.trim().parse().ok().and_then(|position| element(json, position)),
            _ => None,
        };
    }
    Ok(found)
}

fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn array_length(json: &str) -> Result<Value, SqlError> {
    match Items::of(json, '[') {
        Some(items) => Ok(Value::Int(items.count() as i64)),
        None => {
            let of = if kind(json) == "object" { "a non-array" } else { "a scalar" };
            Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("cannot get array length of {of}"),
            ))
        }
    }
}

/// The members of an object with their keys, or the elements of an array, with empty ones.
struct Items<'j> {
    rest: &'j str,
    keyed: bool,
}

impl<'j> Items<'j> {
    /// Of a text that is an object or an array, as `opening` says.
    fn of(json: &'j str, opening: char) -> Option<Items<'j>> {
        let rest = json.trim_start().strip_prefix(opening)?;
        Some(Items { rest, keyed: opening == '{' })
    }

    /// The value at the beginning of what is left.
    fn value(&mut self) -> &'j str {
        self.rest = self.rest.trim_start();
        let (value, rest) = self.rest.split_at(value_length(self.rest));
        self.rest = rest.trim_start();
        value
    }
}

impl<'j> Iterator for Items<'j> {
    type Item = (&'j str, &'j str);

    fn next(&mut self) -> Option<(&'j str, &'j str)> {
        self.rest = self.rest.trim_start().trim_start_matches(',').trim_start();
        if self.rest.is_empty() || self.rest.starts_with(['}', ']']) {
            return None;
        }
        let mut key = "";
        if self.keyed {
            key = self.value();
            self.rest = self.rest.trim_start_matches(':');
        }
        Some((key, self.value()))
    }
}

/// How many bytes the value at the beginning of a text takes.
fn value_length(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            if !quoted && depth == 0 {
                return at + 1;
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_as_they_were_written() {
        let json = r#" { "a" : [1, {"b]": "x\"}"} , null ],"a":  2.50 , "č\u0041": {} } "#;
        assert_eq!(field(json, "a"), Some("2.50"));
        assert_eq!(field(json, "čA"), Some("{}"));
        assert_eq!(field(json, "b"), None);
        assert_eq!(field("[1]", "a"), None);
        let array = r#"[1, {"b]": "x\"}"} , null ]"#;
        assert_eq!(element(array, 0), Some("1"));
        assert_eq!(element(array, 1), Some(r#"{"b]": "x\"}"}"#));
        assert_eq!(element(array, -1), Some("null"));
        assert_eq!((element(array, 3), element(array, -4)), (None, None));
        assert_eq!(element("[]", 0), None);
        assert_eq!(element("{}", 0), None);
    }
}

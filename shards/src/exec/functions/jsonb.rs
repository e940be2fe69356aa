//! What is inside a `jsonb`: `->`, `#>`, `@>`, `?` and their kin.

use super::{Call, Function};
use crate::exec::input::jsonb_value;
use model::error::{SqlError, SqlState};
use model::json::Json;
use model::types::DataType::{self, Bool, Int4, Jsonb, Text};
use model::types::ElementType;
use model::value::Value;

pub(super) const TEXTS: DataType = DataType::Array(ElementType::Text);

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("jsonb_object_field", &[Jsonb, Text], Jsonb, |c| {
        whole(c.json(0)?.member(c.text(1)?))
    }),
    Function::new("jsonb_object_field_text", &[Jsonb, Text], Text, |c| {
        Ok(as_text(c.json(0)?.member(c.text(1)?)))
    }),
    Function::new("jsonb_array_element", &[Jsonb, Int4], Jsonb, |c| {
        whole(element(&c.json(0)?, c.int(1)?))
    }),
    Function::new("jsonb_array_element_text", &[Jsonb, Int4], Text, |c| {
        Ok(as_text(element(&c.json(0)?, c.int(1)?)))
    }),
    Function::new("jsonb_extract_path", &[Jsonb, TEXTS], Jsonb, |c| {
        whole(at_path(&c.json(0)?, c.elements(1)?))
    }),
    Function::new("jsonb_extract_path_text", &[Jsonb, TEXTS], Text, |c| {
        Ok(as_text(at_path(&c.json(0)?, c.elements(1)?)))
    }),
    Function::new("jsonb_typeof", &[Jsonb], Text, |c| Ok(Value::text(kind(&c.json(0)?)))),
    Function::new("jsonb_array_length", &[Jsonb], Int4, |c| match c.json(0)? {
        Json::Array(elements) => Ok(Value::Int(elements.len() as i64)),
        other => {
            let of = if other.is_scalar() { "a scalar" } else { "a non-array" };
            Err(invalid(format!("cannot get array length of {of}")))
        }
    }),
    Function::new("jsonb_contains", &[Jsonb, Jsonb], Bool, |c| {
        Ok(Value::Bool(c.json(0)?.contains(&c.json(1)?)))
    }),
    Function::new("jsonb_contained", &[Jsonb, Jsonb], Bool, |c| {
        Ok(Value::Bool(c.json(1)?.contains(&c.json(0)?)))
    }),
    Function::new("jsonb_exists", &[Jsonb, Text], Bool, |c| {
        Ok(Value::Bool(exists(&c.json(0)?, c.text(1)?)))
    }),
    Function::new("jsonb_exists_any", &[Jsonb, TEXTS], Bool, |c| {
        let json = c.json(0)?;
        Ok(Value::Bool(texts(c.elements(1)?).any(|key| exists(&json, key))))
    }),
    Function::new("jsonb_exists_all", &[Jsonb, TEXTS], Bool, |c| {
        let json = c.json(0)?;
        Ok(Value::Bool(texts(c.elements(1)?).all(|key| exists(&json, key))))
    }),
    Function::new("jsonb elements", &[Jsonb], DataType::Array(ElementType::Jsonb), |c| {
        let Json::Array(elements) = elements_of(c.json(0)?)? else { return Ok(Value::Null) };
        elements.iter().map(jsonb_value).collect::<Result<_, _>>().map(Value::array)
    }),
    Function::new("jsonb elements text", &[Jsonb], TEXTS, |c| {
        let Json::Array(elements) = elements_of(c.json(0)?)? else { return Ok(Value::Null) };
        Ok(Value::array(elements.iter().map(|element| as_text(Some(element))).collect()))
    }),
    Function::new("jsonb keys", &[Jsonb], TEXTS, |c| match c.json(0)? {
        Json::Object(members) => {
            Ok(Value::array(members.into_iter().map(|(key, _)| Value::text(key)).collect()))
        }
        other => {
            let on = if other.is_scalar() { "a scalar" } else { "an array" };
            Err(invalid(format!("cannot call jsonb_object_keys on {on}")))
        }
    }),
];

impl Call<'_> {
    pub(super) fn json(&self, at: usize) -> Result<Json, SqlError> {
        match self.values.get(at) {
            Some(Value::Jsonb(text)) => Ok(Json::reread(text)),
            _ => Err(self.mistyped(at)),
        }
    }

    pub(super) fn elements(&self, at: usize) -> Result<&[Value], SqlError> {
        match self.values.get(at) {
            Some(Value::Array(array)) => Ok(array.elements()),
            _ => Err(self.mistyped(at)),
        }
    }
}

pub(super) fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// The texts of an array; its nulls are passed over.
pub(super) fn texts(values: &[Value]) -> impl Iterator<Item = &str> {
    values.iter().filter_map(|value| match value {
        Value::Text(text) => Some(text.as_ref()),
        _ => None,
    })
}

fn whole(piece: Option<&Json>) -> Result<Value, SqlError> {
    piece.map_or(Ok(Value::Null), jsonb_value)
}

/// A string without its quotes and escapes; `null` is no value.
fn as_text(piece: Option<&Json>) -> Value {
    match piece {
        None | Some(Json::Null) => Value::Null,
        Some(Json::String(text)) => Value::text(text.as_str()),
        Some(other) => Value::text(other.to_string()),
    }
}

/// The element at a position from 0, or from the end where it is negative.
fn element(json: &Json, position: i64) -> Option<&Json> {
    let Json::Array(elements) = json else { return None };
    elements.get(index_of(elements.len(), position)?)
}

/// A position that may count from the end; `None` before the beginning.
pub(super) fn index_of(length: usize, position: i64) -> Option<usize> {
    match usize::try_from(position) {
        Ok(position) => Some(position),
        Err(_) => length.checked_sub(usize::try_from(position.unsigned_abs()).ok()?),
    }
}

fn at_path<'j>(json: &'j Json, path: &[Value]) -> Option<&'j Json> {
    path.iter().try_fold(json, |json, step| match (json, step) {
        (Json::Object(_), Value::Text(key)) => json.member(key),
        (Json::Array(_), Value::Text(position)) => element(json, position.trim().parse().ok()?),
        _ => None,
    })
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// Whether a text is a key of an object, an element of an array, or the value itself.
fn exists(json: &Json, key: &str) -> bool {
    match json {
        Json::Object(_) => json.member(key).is_some(),
        Json::Array(elements) => elements.iter().any(|e| matches!(e, Json::String(s) if s == key)),
        Json::String(text) => text == key,
        _ => false,
    }
}

fn elements_of(json: Json) -> Result<Json, SqlError> {
    match json {
        Json::Array(_) => Ok(json),
        Json::Object(_) => Err(invalid("cannot extract elements from an object".to_owned())),
        _ => Err(invalid("cannot extract elements from a scalar".to_owned())),
    }
}

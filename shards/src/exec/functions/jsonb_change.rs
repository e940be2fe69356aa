//! `jsonb` values made of others: `||`, `-`, `#-`, `jsonb_set`, `jsonb_strip_nulls`.

use super::jsonb::{TEXTS, index_of, invalid, texts};
use super::{Call, Function};
use crate::exec::input::jsonb_value;
use model::error::{SqlError, SqlState};
use model::json::Json;
use model::types::DataType::{Bool, Int4, Jsonb, Text};
use model::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("jsonb_concat", &[Jsonb, Jsonb], Jsonb, |c| {
        jsonb_value(&concatenated(c.json(0)?, c.json(1)?))
    }),
    Function::new("jsonb_delete", &[Jsonb, Text], Jsonb, |c| without_keys(c, &[c.text(1)?])),
    Function::new("jsonb_delete", &[Jsonb, TEXTS], Jsonb, |c| {
        without_keys(c, &texts(c.elements(1)?).collect::<Vec<_>>())
    }),
    Function::new("jsonb_delete", &[Jsonb, Int4], Jsonb, without_element),
    Function::new("jsonb_delete_path", &[Jsonb, TEXTS], Jsonb, |c| {
        let json = c.json(0)?;
        if json.is_scalar() {
            return Err(invalid("cannot delete path in scalar".to_owned()));
        }
        jsonb_value(&changed(json, &steps(c.elements(1)?)?, 0, &Change::Delete)?)
    }),
    Function::new("jsonb_set", &[Jsonb, TEXTS, Jsonb], Jsonb, |c| set(c, true)),
    Function::new("jsonb_set", &[Jsonb, TEXTS, Jsonb, Bool], Jsonb, |c| {
        set(c, matches!(c.values[3], Value::Bool(true)))
    }),
    Function::new("jsonb_strip_nulls", &[Jsonb], Jsonb, |c| jsonb_value(&stripped(c.json(0)?))),
];

/// Members of both objects, the right one's before the left's; else what both are as arrays.
fn concatenated(left: Json, right: Json) -> Json {
    match (left, right) {
        (Json::Object(mut members), Json::Object(others)) => {
            members.extend(others);
            Json::object(members)
        }
        (left, right) => {
            let elements = |json| match json {
                Json::Array(elements) => elements,
                other => vec![other],
            };
            let mut all = elements(left);
            all.extend(elements(right));
            Json::Array(all)
        }
    }
}

/// An object without these keys, an array without these strings.
fn without_keys(call: &Call<'_>, keys: &[&str]) -> Result<Value, SqlError> {
    let mut json = call.json(0)?;
    match &mut json {
        Json::Object(members) => members.retain(|(key, _)| !keys.contains(&key.as_str())),
        Json::Array(elements) => elements
            .retain(|element| !matches!(element, Json::String(s) if keys.contains(&s.as_str()))),
        _ => return Err(invalid("cannot delete from scalar".to_owned())),
    }
    jsonb_value(&json)
}

fn without_element(call: &Call<'_>) -> Result<Value, SqlError> {
    let mut json = call.json(0)?;
    match &mut json {
        Json::Array(elements) => {
            let at = index_of(elements.len(), call.int(1)?);
            if let Some(at) = at.filter(|at| *at < elements.len()) {
                elements.remove(at);
            }
        }
        Json::Object(_) => {
            return Err(invalid("cannot delete from object using integer index".to_owned()));
        }
        _ => return Err(invalid("cannot delete from scalar".to_owned())),
    }
    jsonb_value(&json)
}

fn set(call: &Call<'_>, create: bool) -> Result<Value, SqlError> {
    let json = call.json(0)?;
    if json.is_scalar() {
        return Err(invalid("cannot set path in scalar".to_owned()));
    }
    let change = Change::Set { value: call.json(2)?, create };
    jsonb_value(&changed(json, &steps(call.elements(1)?)?, 0, &change)?)
}

/// What is done where a path ends.
enum Change {
    Delete,
    /// `create` makes what is missing there.
    Set {
        value: Json,
        create: bool,
    },
}

/// 22004 where a step is null.
fn steps(path: &[Value]) -> Result<Vec<&str>, SqlError> {
    if let Some(at) = path.iter().position(Value::is_null) {
        return Err(SqlError::new(
            SqlState::NULL_VALUE_NOT_ALLOWED,
            format!("path element at position {} is null", at + 1),
        ));
    }
    Ok(texts(path).collect())
}

/// A value with a change at the end of a path; as it was where the path leads nowhere. `at` is the
/// first step's number.
fn changed(json: Json, path: &[&str], at: usize, change: &Change) -> Result<Json, SqlError> {
    let [step, rest @ ..] = path else { return Ok(json) };
    match json {
        Json::Object(mut members) => {
            let found = members.iter().position(|(key, _)| key == step);
            match (found, change) {
                (Some(found), Change::Delete) if rest.is_empty() => {
                    members.remove(found);
                }
                (Some(found), Change::Set { value, .. }) if rest.is_empty() => {
                    members[found].1 = value.clone();
                }
                (Some(found), _) => {
                    let inner = std::mem::replace(&mut members[found].1, Json::Null);
                    members[found].1 = changed(inner, rest, at + 1, change)?;
                }
                (None, Change::Set { value, create: true }) if rest.is_empty() => {
                    members.push(((*step).to_owned(), value.clone()));
                    return Ok(Json::object(members));
                }
                (None, _) => {}
            }
            Ok(Json::Object(members))
        }
        Json::Array(mut elements) => {
            let position: i64 = step.trim().parse().map_err(|_error| {
                SqlError::new(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    format!("path element at position {} is not an integer: \"{step}\"", at + 1),
                )
            })?;
            let found = index_of(elements.len(), position);
            match (found.filter(|found| *found < elements.len()), change) {
                (Some(found), Change::Delete) if rest.is_empty() => {
                    elements.remove(found);
                }
                (Some(found), Change::Set { value, .. }) if rest.is_empty() => {
                    elements[found] = value.clone();
                }
                (Some(found), _) => {
                    let inner = std::mem::replace(&mut elements[found], Json::Null);
                    elements[found] = changed(inner, rest, at + 1, change)?;
                }
                // Past either end it becomes the first or the last one.
                (None, Change::Set { value, create: true }) if rest.is_empty() => {
                    let place = if position < 0 { 0 } else { elements.len() };
                    elements.insert(place, value.clone());
                }
                (None, _) => {}
            }
            Ok(Json::Array(elements))
        }
        scalar => Ok(scalar),
    }
}

/// Without the members of objects that are `null`, at every depth.
fn stripped(json: Json) -> Json {
    match json {
        Json::Object(members) => Json::Object(
            members
                .into_iter()
                .filter(|(_, value)| !matches!(value, Json::Null))
                .map(|(key, value)| (key, stripped(value)))
                .collect(),
        ),
        Json::Array(elements) => Json::Array(elements.into_iter().map(stripped).collect()),
        scalar => scalar,
    }
}

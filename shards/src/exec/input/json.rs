//! JSON texts: `json` keeps them as they are, `jsonb` what they mean.

use crate::exec::decimal;
use model::error::{SqlError, SqlState};
use model::json::{Json, JsonError};
use model::value::Value;

/// Keeps the text as it is; only checks it.
pub(super) fn parse_json(text: &str) -> Result<Value, SqlError> {
    check(text).map(|()| Value::text(text))
}

/// Reads a text as `jsonb`.
///
/// # Errors
/// 22P02 where it is no JSON, 22P05 where a string holds a zero, 22003 for a number that `numeric`
/// does not have, 54001 where arrays and objects lie too deep in each other.
pub fn parse_jsonb(text: &str) -> Result<Json, SqlError> {
    let mut out_of_range = None;
    let mut number = |text: &str| match decimal::parse(text)? {
        Ok(number) => Some(number),
        Err(error) => {
            out_of_range = Some(error);
            None
        }
    };
    Json::read(text, &mut number).map_err(|error| match error {
        JsonError::Number => out_of_range.unwrap_or_else(|| malformed("a number is out of range")),
        JsonError::TooDeep => too_deep(),
        JsonError::Zero => {
            SqlError::new(SqlState::UNTRANSLATABLE_CHARACTER, "unsupported Unicode escape sequence")
                .detail("\\u0000 cannot be converted to text.")
        }
        JsonError::Surrogate => {
            invalid().detail("Unicode low surrogate must follow a high surrogate.")
        }
        // The other reader says where.
        JsonError::Malformed => {
            check(text).err().unwrap_or_else(|| malformed("a string or number is none"))
        }
    })
}

/// What is kept of a value that has been made of others.
///
/// # Errors
/// 54001 where arrays and objects lie too deep in each other.
pub fn jsonb_value(json: &Json) -> Result<Value, SqlError> {
    if json.depth() > model::json::DEPTH_MAX {
        return Err(too_deep());
    }
    Ok(Value::Jsonb(json.to_string().into()))
}

fn check(text: &str) -> Result<(), SqlError> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

fn invalid() -> SqlError {
    SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
}

fn malformed(why: &str) -> SqlError {
    invalid().detail(format!("The text is no JSON: {why}."))
}

fn too_deep() -> SqlError {
    SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded").detail(format!(
        "A jsonb has at most {} arrays and objects in each other.",
        model::json::DEPTH_MAX
    ))
}

//! `json_build_object`, `json_build_array`, `to_json` and the same of `jsonb`: values of any type as
//! JSON, as PostgreSQL writes them.

use super::Call;
use crate::exec::input::{jsonb_value, parse_jsonb};
use model::array::{Array, Dimension};
use model::error::{SqlError, SqlState};
use model::json::write_string;
use model::text;
use model::types::DataType;
use model::value::Value;

/// Keys and values in turn.
///
/// # Errors
/// 22023 for a key without a value, and for a key that is null.
pub(super) fn build_object(call: &Call<'_>) -> Result<Value, SqlError> {
    let invalid = |message: String| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    if !call.values.len().is_multiple_of(2) {
        return Err(invalid("argument list must have even number of elements".into()).hint(
            "The arguments of json_build_object() must consist of alternating keys and values.",
        ));
    }
    let mut out = String::from("{");
    for (at, value) in call.values.iter().enumerate() {
        let data_type = call.types[at];
        if at % 2 == 1 {
            out.push_str(" : ");
            push(&mut out, value, data_type);
            continue;
        }
        let Some(key) = text::to_text(&value.as_ref(), data_type) else {
            return Err(invalid(format!("argument {} cannot be null", at + 1))
                .hint("Object keys should be text."));
        };
        out.push_str(if at == 0 { "" } else { ", " });
        push_string(&mut out, &key);
    }
    out.push('}');
    Ok(Value::text(out))
}

fn push(out: &mut String, value: &Value, data_type: DataType) {
    let Some(shown) = text::to_text(&value.as_ref(), data_type) else {
        return out.push_str("null");
    };
    match (value, data_type.base()) {
        (Value::Bool(truth), _) => out.push_str(if *truth { "true" } else { "false" }),
        (Value::Array(array), _) => {
            let element = data_type.element().unwrap_or(DataType::Text);
            push_array(out, array, element);
        }
        (_, DataType::Json | DataType::Jsonb) => out.push_str(&shown),
        // Not what JSON calls a number: NaN, Infinity.
        (_, number) if number.is_number() && !shown.contains(['N', 'I']) => out.push_str(&shown),
        (_, DataType::Timestamp | DataType::TimestampTz) => {
            push_string(out, &shown.replacen(' ', "T", 1));
        }
        _ => push_string(out, &shown),
    }
}

fn push_array(out: &mut String, array: &Array, element: DataType) {
    if array.dimensions().is_empty() {
        return out.push_str("[]");
    }
    push_level(out, array.dimensions(), array.elements(), element);
}

/// One dimension: of values, or of arrays of the next dimension.
fn push_level(out: &mut String, dimensions: &[Dimension], values: &[Value], element: DataType) {
    let [first, inner @ ..] = dimensions else { return };
    out.push('[');
    for (at, part) in values.chunks(values.len() / first.length as usize).enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        match inner {
            [] => push(out, &part[0], element),
            _ => push_level(out, inner, part, element),
        }
    }
    out.push(']');
}

fn push_string(out: &mut String, text: &str) {
    write_string(out, text).expect("a string takes all text");
}

/// Values of any type as the elements of an array.
pub(super) fn build_array(call: &Call<'_>) -> Result<Value, SqlError> {
    let mut out = String::from("[");
    for (at, (value, data_type)) in call.values.iter().zip(call.types).enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        push(&mut out, value, *data_type);
    }
    out.push(']');
    Ok(Value::text(out))
}

/// A value of any type; `NULL` stays it.
pub(super) fn to_json(call: &Call<'_>) -> Result<Value, SqlError> {
    if call.values[0].is_null() {
        return Ok(Value::Null);
    }
    let mut out = String::new();
    push(&mut out, &call.values[0], call.types[0]);
    Ok(Value::text(out))
}

/// As [`build_object`].
pub(super) fn build_jsonb_object(call: &Call<'_>) -> Result<Value, SqlError> {
    let null = call.values.iter().step_by(2).position(Value::is_null);
    match null {
        Some(at) if call.values.len().is_multiple_of(2) => Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("argument {}: key must not be null", 2 * at + 1),
        )),
        _ => as_jsonb(build_object(call)?),
    }
}

/// What a function here has made, as `jsonb`.
pub(super) fn as_jsonb(json: Value) -> Result<Value, SqlError> {
    match json {
        Value::Text(text) => jsonb_value(&parse_jsonb(&text)?),
        other => Ok(other),
    }
}

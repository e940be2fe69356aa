//! Functions and operators over arrays of any element type, and the parts of SQL's syntax that
//! are bound to functions: `ARRAY[...]`, subscripts, slices, `ANY` and `ALL`.
//!
//! The names of the latter cannot be called: they hold characters that no name has without quotes.

use super::{Body, Call, Signature, Volatility, registry};
use crate::exec::evaluate::compare_values;
use crate::exec::operators::common_type;
use model::array::{Array, Dimension};
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, FunctionReference};
use model::text;
use model::types::DataType;
use model::value::Value;
use std::sync::Arc;

/// `ARRAY[...]`: of elements, or of arrays of one shape.
pub const CONSTRUCTOR: &str = "ARRAY[]";
/// `array[i][j]`
pub const SUBSCRIPT: &str = "[]";
/// `array[a:b][c:d]`: the array, then each dimension's bounds; an omitted bound is the least or
/// the greatest `bigint`.
pub const SLICE: &str = "[:]";

/// What `left operator ANY (array)` and `ALL` are bound to.
pub fn quantified(operator: BinaryOperator, all: bool) -> FunctionReference {
    let symbol = crate::exec::operators::operator_symbol(operator);
    FunctionReference(Arc::from(format!("{symbol} {}", if all { "ALL" } else { "ANY" })))
}

/// Resolves a call of one of this family; `None` where the name is another's.
pub(super) fn resolve(name: &str, arguments: &[DataType]) -> Option<Result<Signature, SqlError>> {
    body_of(name)?;
    if name.contains([' ', '[']) {
        return None;
    }
    let types = types_of(name, arguments);
    Some(match types {
        Some((argument_types, return_type)) => Ok(Signature {
            reference: FunctionReference(Arc::from(name)),
            argument_types,
            return_type,
            volatility: Volatility::Immutable,
            strict: false,
        }),
        None => Err(registry::undefined(name, arguments)),
    })
}

/// What the arguments are cast to, and the result.
fn types_of(name: &str, arguments: &[DataType]) -> Option<(Vec<DataType>, DataType)> {
    use DataType::{Bool, Int4, Int8, Text};
    let is_array = |t: DataType| t.element().is_some();
    Some(match (name, arguments) {
        ("array_to_string", [array, rest @ ..])
            if is_array(*array) && matches!(rest.len(), 1 | 2) =>
        {
            let mut types = vec![*array];
            types.resize(arguments.len(), Text);
            (types, Text)
        }
        ("string_to_array", [_, _] | [_, _, _]) => (vec![Text; arguments.len()], Text.array()?),
        ("array_length" | "array_upper" | "array_lower", [array, _]) if is_array(*array) => {
            (vec![*array, Int4], Int4)
        }
        ("array_ndims" | "cardinality", [array]) if is_array(*array) => (vec![*array], Int4),
        ("array_dims", [array]) if is_array(*array) => (vec![*array], Text),
        ("array_append" | "array_remove", [array, element]) => {
            let (array, element) = array_and_element(*array, *element)?;
            (vec![array, element], array)
        }
        ("array_prepend", [element, array]) => {
            let (array, element) = array_and_element(*array, *element)?;
            (vec![element, array], array)
        }
        ("array_replace", [array, from, to]) => {
            let (wide, _) = array_and_element(*array, *from)?;
            let (array, element) = array_and_element(wide, *to)?;
            (vec![array, element, element], array)
        }
        ("array_cat", [left, right]) => {
            let array = common_array(*left, *right)?;
            (vec![array; 2], array)
        }
        ("arraycontains" | "arraycontained" | "arrayoverlap", [left, right]) => {
            (vec![common_array(*left, *right)?; 2], Bool)
        }
        ("array_position", [array, element, rest @ ..]) if rest.len() < 2 => {
            let (array, element) = array_and_element(*array, *element)?;
            let mut types = vec![array, element];
            types.resize(arguments.len(), Int4);
            (types, Int4)
        }
        ("array_positions", [array, element]) => {
            let (array, element) = array_and_element(*array, *element)?;
            (vec![array, element], Int4.array()?)
        }
        ("trim_array", [array, _]) if is_array(*array) => (vec![*array, Int4], *array),
        ("array_fill", [value, _]) => {
            let value = if *value == DataType::Unknown { Text } else { *value };
            (vec![value, Int8.array()?], value.array()?)
        }
        _ => return None,
    })
}

/// The array's and the element's type in which the two go together.
fn array_and_element(array: DataType, element: DataType) -> Option<(DataType, DataType)> {
    let element = match (array.element(), element) {
        (Some(of_array), element) => common_type("array", &[of_array, element]).ok()?,
        (None, DataType::Unknown) => return None,
        (None, element) if array == DataType::Unknown => element,
        _ => return None,
    };
    Some((element.array()?, element))
}

fn common_array(left: DataType, right: DataType) -> Option<DataType> {
    match (left.element(), right.element()) {
        (Some(a), Some(b)) => common_type("array", &[a, b]).ok()?.array(),
        (Some(a), None) | (None, Some(a))
            if left == DataType::Unknown || right == DataType::Unknown =>
        {
            a.array()
        }
        _ => None,
    }
}

/// How `left || right` is bound where an array stands on one side.
pub fn concatenation(left: DataType, right: DataType) -> Option<&'static str> {
    match (left.element().is_some(), right.element().is_some()) {
        (true, true) => Some("array_cat"),
        // A quoted literal beside an array is an array.
        (true, false) if right == DataType::Unknown => Some("array_cat"),
        (false, true) if left == DataType::Unknown => Some("array_cat"),
        (true, false) => Some("array_append"),
        (false, true) => Some("array_prepend"),
        (false, false) => None,
    }
}

pub(super) fn body(reference: &FunctionReference) -> Option<Body> {
    body_of(reference.0.as_ref())
}

fn body_of(name: &str) -> Option<Body> {
    Some(match name {
        CONSTRUCTOR => construct,
        SUBSCRIPT => subscript,
        SLICE => slice,
        "array_to_string" => to_string,
        "string_to_array" => from_string,
        "array_length" => |call| dimension(call, |d| i64::from(d.length)),
        "array_upper" => |call| dimension(call, |d| i64::from(d.upper())),
        "array_lower" => |call| dimension(call, |d| i64::from(d.lower)),
        "array_ndims" => |call| {
            with_array(call, |array| match array.dimensions().len() {
                0 => Value::Null,
                count => Value::Int(count as i64),
            })
        },
        "array_dims" => |call| {
            with_array(call, |array| {
                let shown: String = array
                    .dimensions()
                    .iter()
                    .map(|d| format!("[{}:{}]", d.lower, d.upper()))
                    .collect();
                if shown.is_empty() { Value::Null } else { Value::text(shown) }
            })
        },
        "cardinality" => |call| with_array(call, |array| Value::Int(array.elements().len() as i64)),
        "array_append" => |call| extend(call, 0, 1),
        "array_prepend" => |call| extend(call, 1, 0),
        "array_cat" => concatenate,
        "array_remove" => remove,
        "array_replace" => replace,
        "arraycontains" => |call| contains(call, 0, 1),
        "arraycontained" => |call| contains(call, 1, 0),
        "arrayoverlap" => overlap,
        "array_position" => position,
        "array_positions" => positions,
        "trim_array" => trim,
        "array_fill" => fill,
        "= ANY" => |call| quantify(call, BinaryOperator::Equal, false),
        "<> ANY" => |call| quantify(call, BinaryOperator::NotEqual, false),
        "< ANY" => |call| quantify(call, BinaryOperator::Less, false),
        "<= ANY" => |call| quantify(call, BinaryOperator::LessOrEqual, false),
        "> ANY" => |call| quantify(call, BinaryOperator::Greater, false),
        ">= ANY" => |call| quantify(call, BinaryOperator::GreaterOrEqual, false),
        "= ALL" => |call| quantify(call, BinaryOperator::Equal, true),
        "<> ALL" => |call| quantify(call, BinaryOperator::NotEqual, true),
        "< ALL" => |call| quantify(call, BinaryOperator::Less, true),
        "<= ALL" => |call| quantify(call, BinaryOperator::LessOrEqual, true),
        "> ALL" => |call| quantify(call, BinaryOperator::Greater, true),
        ">= ALL" => |call| quantify(call, BinaryOperator::GreaterOrEqual, true),
        _ => return None,
    })
}

fn made(array: Array) -> Value {
    Value::Array(Arc::new(array))
}

/// The argument as an array; `None` is `NULL`.
fn array_at<'c>(call: &'c Call<'_>, at: usize) -> Result<Option<&'c Arc<Array>>, SqlError> {
    match call.values.get(at) {
        Some(Value::Array(array)) => Ok(Some(array)),
        Some(Value::Null) => Ok(None),
        _ => Err(call.mistyped(at)),
    }
}

fn with_array(call: &Call<'_>, answer: impl Fn(&Array) -> Value) -> Result<Value, SqlError> {
    Ok(array_at(call, 0)?.map_or(Value::Null, |array| answer(array)))
}

fn dimension(call: &Call<'_>, answer: fn(Dimension) -> i64) -> Result<Value, SqlError> {
    let (Some(array), Value::Int(wanted)) = (array_at(call, 0)?, &call.values[1]) else {
        return Ok(Value::Null);
    };
    let at = usize::try_from(*wanted).ok().and_then(|wanted| wanted.checked_sub(1));
    let found = at.and_then(|at| array.dimensions().get(at));
    Ok(found.map_or(Value::Null, |found| Value::Int(answer(*found))))
}

fn construct(call: &Call<'_>) -> Result<Value, SqlError> {
    if !call.types.iter().any(|t| t.element().is_some()) {
        return Ok(Value::array(call.values.to_vec()));
    }
    let mut shape: Option<&[Dimension]> = None;
    let mut elements = Vec::new();
    for at in 0..call.values.len() {
        let Some(array) = array_at(call, at)? else { return Err(mismatch()) };
        if *shape.get_or_insert(array.dimensions()) != array.dimensions() {
            return Err(mismatch());
        }
        elements.extend_from_slice(array.elements());
    }
    let inner = shape.unwrap_or_default();
    if inner.is_empty() {
        return Ok(made(Array::default()));
    }
    let mut dimensions = vec![Dimension { length: call.values.len() as u32, lower: 1 }];
    dimensions.extend(inner.iter().map(|d| Dimension { length: d.length, lower: 1 }));
    Array::new(dimensions, elements).map(made).ok_or_else(too_large)
}

fn mismatch() -> SqlError {
    SqlError::new(
        SqlState::ARRAY_SUBSCRIPT_ERROR,
        "multidimensional arrays must have array expressions with matching dimensions",
    )
}

fn too_large() -> SqlError {
    SqlError::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("array size exceeds the maximum allowed ({})", model::array::ELEMENTS_MAX),
    )
}

fn subscript(call: &Call<'_>) -> Result<Value, SqlError> {
    let Some(array) = array_at(call, 0)? else { return Ok(Value::Null) };
    let mut subscripts = Vec::with_capacity(call.values.len() - 1);
    for at in 1..call.values.len() {
        match call.values[at] {
            Value::Null => return Ok(Value::Null),
            _ => subscripts.push(call.int(at)?),
        }
    }
    Ok(array.get(&subscripts).cloned().unwrap_or(Value::Null))
}

fn slice(call: &Call<'_>) -> Result<Value, SqlError> {
    let Some(array) = array_at(call, 0)? else { return Ok(Value::Null) };
    if call.values.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    let bounds = (1..call.values.len())
        .step_by(2)
        .map(|at| Ok((Some(call.int(at)?), Some(call.int(at + 1)?))))
        .collect::<Result<Vec<_>, SqlError>>()?;
    Ok(made(array.slice(&bounds)))
}

/// `NULL` elements are left out, or shown as the third argument.
fn to_string(call: &Call<'_>) -> Result<Value, SqlError> {
    let (Some(array), Value::Text(separator)) = (array_at(call, 0)?, &call.values[1]) else {
        return Ok(Value::Null);
    };
    let element = call.types[0].element().unwrap_or(DataType::Text);
    let shown = array.elements().iter().filter_map(|value| {
        match (text::to_text(&value.as_ref(), element), call.values.get(2)) {
            (None, Some(Value::Text(null))) => Some(null.to_string()),
            (text, _) => text,
        }
    });
    Ok(Value::text(shown.collect::<Vec<_>>().join(separator)))
}

fn from_string(call: &Call<'_>) -> Result<Value, SqlError> {
    let Value::Text(string) = &call.values[0] else { return Ok(Value::Null) };
    let null = match call.values.get(2) {
        Some(Value::Text(null)) => Some(null),
        _ => None,
    };
    let element = |part: &str| match null {
        Some(null) if part == null.as_ref() => Value::Null,
        _ => Value::text(part),
    };
    let parts = match &call.values[1] {
        _ if string.is_empty() => Vec::new(),
        Value::Text(separator) if separator.is_empty() => vec![element(string)],
        Value::Text(separator) => string.split(separator.as_ref()).map(element).collect(),
        // Without a separator each character is an element.
        _ => string.chars().map(|c| element(c.encode_utf8(&mut [0; 4]))).collect(),
    };
    Ok(Value::array(parts))
}

/// An element before or behind an array of one dimension.
fn extend(call: &Call<'_>, array: usize, element: usize) -> Result<Value, SqlError> {
    let value = call.values[element].clone();
    let known = array_at(call, array)?.map(|array| array.as_ref().clone()).unwrap_or_default();
    let (dimensions, mut elements) = known.into_parts();
    let lower = match dimensions.as_slice() {
        [] => 1,
        [only] => only.lower,
        _ => {
            return Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                "argument must be empty or one-dimensional array",
            ));
        }
    };
    // What is put before the first element keeps the lower bound, as in PostgreSQL.
    if array < element {
        elements.push(value)
    } else {
        elements.insert(0, value)
    }
    Ok(made(Array::starting_at(lower, elements)))
}

fn concatenate(call: &Call<'_>) -> Result<Value, SqlError> {
    let (left, right) = match (array_at(call, 0)?, array_at(call, 1)?) {
        (None, None) => return Ok(Value::Null),
        (Some(only), None) | (None, Some(only)) => return Ok(Value::Array(Arc::clone(only))),
        (Some(left), Some(right)) => (left, right),
    };
    let (a, b) = (left.dimensions(), right.dimensions());
    if b.is_empty() || a.is_empty() {
        let kept = if b.is_empty() { left } else { right };
        return Ok(Value::Array(Arc::clone(kept)));
    }
    let same = |a: &[Dimension], b: &[Dimension]| {
        a.iter().map(|d| d.length).eq(b.iter().map(|d| d.length))
    };
    let mut dimensions;
    if a.len() == b.len() && same(&a[1..], &b[1..]) {
        dimensions = a.to_vec();
        dimensions[0].length += b[0].length;
    } else if a.len() == b.len() + 1 && same(&a[1..], b) {
        dimensions = a.to_vec();
        dimensions[0].length += 1;
    } else if b.len() == a.len() + 1 && same(a, &b[1..]) {
        dimensions = b.to_vec();
        dimensions[0].length += 1;
    } else {
        return Err(SqlError::new(
            SqlState::ARRAY_SUBSCRIPT_ERROR,
            "cannot concatenate incompatible arrays",
        ));
    }
    let elements = left.elements().iter().chain(right.elements()).cloned().collect();
    Array::new(dimensions, elements).map(made).ok_or_else(too_large)
}

/// Equality with `NULL` equal to itself, as the searching functions have it.
fn remove(call: &Call<'_>) -> Result<Value, SqlError> {
    let Some(array) = array_at(call, 0)? else { return Ok(Value::Null) };
    if array.dimensions().len() > 1 {
        return Err(SqlError::unsupported("removing elements from multidimensional arrays"));
    }
    let lower = array.dimensions().first().map_or(1, |d| d.lower);
    let kept = array.elements().iter().filter(|value| !value.same(&call.values[1]));
    Ok(made(Array::starting_at(lower, kept.cloned().collect())))
}

fn replace(call: &Call<'_>) -> Result<Value, SqlError> {
    let Some(array) = array_at(call, 0)? else { return Ok(Value::Null) };
    let replaced = array.elements().iter().map(|value| {
        if value.same(&call.values[1]) { call.values[2].clone() } else { value.clone() }
    });
    Array::new(array.dimensions().to_vec(), replaced.collect()).map(made).ok_or_else(too_large)
}

fn contains(call: &Call<'_>, outer: usize, inner: usize) -> Result<Value, SqlError> {
    let (Some(outer), Some(inner)) = (array_at(call, outer)?, array_at(call, inner)?) else {
        return Ok(Value::Null);
    };
    let holds =
        |value: &Value| !value.is_null() && outer.elements().iter().any(|other| other.same(value));
    Ok(Value::Bool(inner.elements().iter().all(holds)))
}

fn overlap(call: &Call<'_>) -> Result<Value, SqlError> {
    let (Some(left), Some(right)) = (array_at(call, 0)?, array_at(call, 1)?) else {
        return Ok(Value::Null);
    };
    let holds =
        |value: &Value| !value.is_null() && right.elements().iter().any(|other| other.same(value));
    Ok(Value::Bool(left.elements().iter().any(holds)))
}

/// Subscripts of the elements that are the second argument.
fn found<'a>(
    array: &'a Array,
    wanted: &'a Value,
) -> Result<impl Iterator<Item = i64> + 'a, SqlError> {
    if array.dimensions().len() > 1 {
        return Err(SqlError::unsupported("searching for elements in multidimensional arrays"));
    }
    let lower = i64::from(array.dimensions().first().map_or(1, |d| d.lower));
    let numbered = (lower..).zip(array.elements());
    Ok(numbered.filter(|(_, value)| value.same(wanted)).map(|(subscript, _)| subscript))
}

fn position(call: &Call<'_>) -> Result<Value, SqlError> {
    let Some(array) = array_at(call, 0)? else { return Ok(Value::Null) };
    let start = match call.values.get(2) {
        None => i64::MIN,
        Some(Value::Int(start)) => *start,
        Some(_) => {
            return Err(SqlError::new(
                SqlState::NULL_VALUE_NOT_ALLOWED,
                "initial position must not be null",
            ));
        }
    };
    Ok(Value::from(found(array, &call.values[1])?.find(|subscript| *subscript >= start)))
}

fn positions(call: &Call<'_>) -> Result<Value, SqlError> {
    let Some(array) = array_at(call, 0)? else { return Ok(Value::Null) };
    Ok(Value::array(found(array, &call.values[1])?.map(Value::Int).collect()))
}

fn trim(call: &Call<'_>) -> Result<Value, SqlError> {
    let (Some(array), Value::Int(count)) = (array_at(call, 0)?, &call.values[1]) else {
        return Ok(Value::Null);
    };
    let length = array.dimensions().first().map_or(0, |d| i64::from(d.length));
    if !(0..=length).contains(count) {
        return Err(SqlError::new(
            SqlState::ARRAY_SUBSCRIPT_ERROR,
            format!("number of elements to trim must be between 0 and {length}"),
        ));
    }
    let upper = array.dimensions().first().map(|d| i64::from(d.upper()) - count);
    Ok(made(array.slice(&[(None, upper)])))
}

fn fill(call: &Call<'_>) -> Result<Value, SqlError> {
    let Some(lengths) = array_at(call, 1)? else {
        return Err(SqlError::new(
            SqlState::NULL_VALUE_NOT_ALLOWED,
            "dimension array or low bound array cannot be null",
        ));
    };
    let mut dimensions = Vec::with_capacity(lengths.elements().len());
    for length in lengths.elements() {
        let Value::Int(length) = length else { return Err(call.mistyped(1)) };
        let length = u32::try_from(*length).map_err(|_error| too_large())?;
        dimensions.push(Dimension { length, lower: 1 });
    }
    if dimensions.is_empty() || dimensions.iter().any(|d| d.length == 0) {
        return Ok(made(Array::default()));
    }
    let count = Array::count(&dimensions).ok_or_else(too_large)?;
    let elements = vec![call.values[0].clone(); count];
    Array::new(dimensions, elements).map(made).ok_or_else(too_large)
}

/// Three-valued: a deciding element settles it, else a `NULL` makes it unknown.
fn quantify(call: &Call<'_>, operator: BinaryOperator, all: bool) -> Result<Value, SqlError> {
    let Some(array) = array_at(call, 1)? else { return Ok(Value::Null) };
    let mut answer = Some(all);
    for element in array.elements() {
        match compare_values(operator, &call.values[0], element) {
            Some(truth) if truth != all => return Ok(Value::Bool(truth)),
            Some(_) => {}
            None => answer = None,
        }
    }
    Ok(Value::from(answer))
}

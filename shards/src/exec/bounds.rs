//! Bounds on key columns made ranges of keys.

use super::context::ExecContext;
use super::evaluate::evaluate_constant;
use model::error::SqlError;
use model::id::ObjectId;
use model::key::{KeyRange, push_object, push_value, successor_of_prefix};
use model::plan::{Bound, KeyBounds};
use model::value::Value;

/// First bytes of an encoded `NULL` and of an encoded value, ascending (see [`model::key`]).
const NULL_TAG: u8 = 2;
const VALUE_TAG: u8 = 1;

/// The ranges of keys of `object` that `bounds` select, in ascending order and disjoint.
/// `descending` tells for each key column which way it is encoded.
pub(super) fn key_ranges(
    object: ObjectId,
    bounds: &KeyBounds,
    descending: &[bool],
    context: &ExecContext,
) -> Result<Vec<KeyRange>, SqlError> {
    let mut prefixes = Vec::new();
    if bounds.equal.is_empty() {
        prefixes.push((prefix_of(object), 0));
    }
    'points: for point in &bounds.equal {
        let mut prefix = prefix_of(object);
        for (at, expression) in point.iter().enumerate() {
            let value = evaluate_constant(expression, context)?;
            if value.is_null() {
                continue 'points;
            }
            push_value(&mut prefix, &value, is_descending(descending, at));
        }
        prefixes.push((prefix, point.len()));
    }
    let (lower, upper) = (end(&bounds.lower, context)?, end(&bounds.upper, context)?);
    if matches!(lower, End::Nothing) || matches!(upper, End::Nothing) {
        return Ok(Vec::new());
    }
    let mut ranges: Vec<KeyRange> = prefixes
        .into_iter()
        .map(|(prefix, columns)| range(prefix, &lower, &upper, is_descending(descending, columns)))
        .filter(|range| !range.is_empty())
        .collect();
    ranges.sort_by(|a, b| a.start.cmp(&b.start));
    ranges.dedup();
    Ok(ranges)
}

/// Whether the bounds are points of a key of `columns` columns: each selects one key at most.
pub(super) fn are_points(bounds: &KeyBounds, columns: usize) -> bool {
    bounds.equal.first().is_some_and(|point| point.len() == columns)
}

fn prefix_of(object: ObjectId) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(32);
    push_object(&mut prefix, object);
    prefix
}

fn is_descending(descending: &[bool], at: usize) -> bool {
    descending.get(at).copied().unwrap_or(false)
}

enum End {
    Open,
    /// A comparison with `NULL`.
    Nothing,
    At {
        value: Value,
        inclusive: bool,
    },
}

fn end(bound: &Option<Bound>, context: &ExecContext) -> Result<End, SqlError> {
    let Some(bound) = bound else { return Ok(End::Open) };
    Ok(match evaluate_constant(&bound.value, context)? {
        Value::Null => End::Nothing,
        value => End::At { value, inclusive: bound.inclusive },
    })
}

/// The range below `prefix`. In bytes a descending column's lower end is its upper bound.
fn range(prefix: Vec<u8>, lower: &End, upper: &End, descending: bool) -> KeyRange {
    if matches!((lower, upper), (End::Open, End::Open)) {
        return KeyRange::prefix(prefix);
    }
    let (first, last) = if descending { (upper, lower) } else { (lower, upper) };
    let with = |value: &Value| {
        let mut key = prefix.clone();
        push_value(&mut key, value, descending);
        key
    };
    // Nulls satisfy no comparison. Ascending they come after all values, descending before.
    let tagged = |tag: u8| {
        let mut key = prefix.clone();
        key.push(if descending { !tag } else { tag });
        key
    };
    let start = match first {
        End::At { value, inclusive: true } => Some(with(value)),
        End::At { value, inclusive: false } => successor_of_prefix(&with(value)),
        End::Open | End::Nothing => Some(tagged(VALUE_TAG)),
    };
    let end = match last {
        End::At { value, inclusive: true } => successor_of_prefix(&with(value)),
        End::At { value, inclusive: false } => Some(with(value)),
        End::Open | End::Nothing if descending => successor_of_prefix(&prefix),
        End::Open | End::Nothing => Some(tagged(NULL_TAG)),
    };
    match start {
        Some(start) => KeyRange { start, end },
        // Nothing follows a prefix of all ones: an empty range.
        None => KeyRange { start: prefix.clone(), end: Some(prefix) },
    }
}

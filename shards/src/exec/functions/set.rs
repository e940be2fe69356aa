//! Names and types of the functions that answer several rows, and of `pg_sleep`, which has to
//! wait: they run in a node of their own.

use super::registry;
use crate::exec::operators::{common_type, is_implicit_cast};
use model::error::SqlError;
use model::plan::SetFunction;
use model::types::DataType;

/// A resolved call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSet {
    /// Which one.
    pub function: SetFunction,
    /// What each argument is cast to.
    pub argument_types: Vec<DataType>,
    /// Type of the column.
    pub return_type: DataType,
}

/// Whether a function of this name answers several rows.
pub fn is_set_function(name: &str) -> bool {
    matches!(
        name,
        "unnest"
            | "generate_series"
            | "generate_subscripts"
            | "jsonb_array_elements"
            | "jsonb_array_elements_text"
            | "jsonb_object_keys"
            | "string_to_table"
            | "regexp_split_to_table"
            | "pg_sleep"
            | "pg_partition_ancestors"
    )
}

/// Finds the function that a call with arguments of these types means; 42883 where there is none.
pub fn resolve_set(name: &str, arguments: &[DataType]) -> Result<ResolvedSet, SqlError> {
    let resolved = match (name, arguments) {
        ("unnest", [array]) => {
            array.element().map(|element| (SetFunction::Unnest, vec![*array], element))
        }
        ("generate_subscripts", [array, _, rest @ ..])
            if array.element().is_some() && rest.len() < 2 =>
        {
            let mut types = vec![*array, DataType::Int4];
            types.extend(rest.iter().map(|_| DataType::Bool));
            Some((SetFunction::Subscripts, types, DataType::Int4))
        }
        ("pg_sleep", [seconds]) if is_implicit_cast(*seconds, DataType::Float8) => {
            Some((SetFunction::Sleep, vec![DataType::Float8], DataType::Void))
        }
        ("generate_series", [_, _] | [_, _, _]) => series(arguments),
        _ => None,
    };
    match resolved {
        Some((function, argument_types, return_type)) => {
            Ok(ResolvedSet { function, argument_types, return_type })
        }
        None => Err(registry::undefined(name, arguments)),
    }
}

fn series(arguments: &[DataType]) -> Option<(SetFunction, Vec<DataType>, DataType)> {
    use DataType::{Date, Int2, Int4, Int8, Interval, Numeric, Timestamp, TimestampTz, Unknown};
    let ends = common_type("generate_series", &arguments[..2]).ok()?;
    let moment = match ends.base() {
        Timestamp => Some(Timestamp),
        Date | TimestampTz => Some(TimestampTz),
        _ => None,
    };
    if let (Some(moment), [_, _, step]) = (moment, arguments) {
        let is_step = is_implicit_cast(*step, Interval);
        return is_step.then(|| (SetFunction::Series, vec![moment, moment, Interval], moment));
    }
    let number = match common_type("generate_series", arguments).ok()? {
        Int2 | Int4 => Int4,
        Int8 => Int8,
        Numeric(_) => Numeric(None),
        // Only literals in quotes: integers, as PostgreSQL prefers none and the shortest fits.
        DataType::Text if arguments.iter().all(|t| *t == Unknown) => return None,
        _ => return None,
    };
    Some((SetFunction::Series, vec![number; arguments.len()], number))
}

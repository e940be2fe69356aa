//! Names and types of aggregate functions.

use crate::exec::operators::is_implicit_cast;
use model::error::SqlError;
use model::plan::AggregateFunction;
use model::types::DataType;

/// A resolved aggregate call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedAggregate {
    /// Which one.
    pub function: AggregateFunction,
    /// What each argument is cast to.
    pub argument_types: Vec<DataType>,
    /// Type of the result.
    pub return_type: DataType,
}

/// Finds the aggregate that `name` means for arguments of these types (none for `count(*)`).
/// `None` where no aggregate has the name; 42883 where it does not take these types.
pub fn resolve_aggregate(
    name: &str,
    arguments: &[DataType],
) -> Option<Result<ResolvedAggregate, SqlError>> {
    use AggregateFunction as A;
    let function = match name {
        "count" => A::Count,
        "sum" => A::Sum,
        "avg" => A::Avg,
        "min" => A::Min,
        "max" => A::Max,
        "bool_and" | "every" => A::BoolAnd,
        "bool_or" => A::BoolOr,
        "string_agg" => A::StringAgg,
        "array_agg" => A::ArrayAgg,
        "stddev" | "stddev_samp" => A::StddevSamp,
        "stddev_pop" => A::StddevPop,
        "variance" | "var_samp" => A::VarSamp,
        "var_pop" => A::VarPop,
        _ => return None,
    };
    let resolved = match (function, arguments) {
        (A::Count, []) => Some((Vec::new(), DataType::Int8)),
        (A::Count, [argument]) => Some((vec![*argument], DataType::Int8)),
        (A::StringAgg, [value, separator]) => string_agg(*value, *separator),
        (A::StringAgg, _) => None,
        (function, [argument]) => {
            one(function, *argument).map(|(operand, result)| (vec![operand], result))
        }
        _ => None,
    };
    Some(match resolved {
        Some((argument_types, return_type)) => {
            Ok(ResolvedAggregate { function, argument_types, return_type })
        }
        None => Err(super::registry::undefined(name, arguments)),
    })
}

fn string_agg(value: DataType, separator: DataType) -> Option<(Vec<DataType>, DataType)> {
    let text = |t| is_implicit_cast(t, DataType::Text);
    (text(value) && text(separator)).then(|| (vec![DataType::Text; 2], DataType::Text))
}

fn one(function: AggregateFunction, argument: DataType) -> Option<(DataType, DataType)> {
    use AggregateFunction as A;
    let exact = DataType::Numeric(None);
    Some(match (function, argument) {
        (A::Sum, DataType::Int2 | DataType::Int4) => (argument, DataType::Int8),
        (A::Sum, DataType::Int8) => (argument, exact),
        (A::Sum, DataType::Numeric(_)) => (exact, exact),
        (A::Sum, DataType::Float4 | DataType::Float8) => (argument, argument),
        (A::Sum | A::Avg, other) if other.base() == DataType::Interval => {
            (DataType::Interval, DataType::Interval)
        }
        (A::Avg, DataType::Int2 | DataType::Int4 | DataType::Int8) => (argument, exact),
        (A::Avg, DataType::Numeric(_)) => (exact, exact),
        (A::Avg, DataType::Float4 | DataType::Float8) => (DataType::Float8, DataType::Float8),
        (A::Min | A::Max, DataType::Bool | DataType::Uuid | DataType::Json | DataType::Jsonb) => {
            return None;
        }
        (A::Min | A::Max, DataType::Unknown) => (DataType::Text, DataType::Text),
        (A::Min | A::Max, other) => (other.base(), other.base()),
        (A::BoolAnd | A::BoolOr, DataType::Bool | DataType::Unknown) => {
            (DataType::Bool, DataType::Bool)
        }
        (A::StddevSamp | A::StddevPop | A::VarSamp | A::VarPop, argument) => match argument {
            DataType::Float4 | DataType::Float8 => (DataType::Float8, DataType::Float8),
            number if number.is_number() => (exact, exact),
            _ => return None,
        },
        (A::ArrayAgg, DataType::Unknown) => (DataType::Text, DataType::Text.array()?),
        (A::ArrayAgg, element) => (element, element.array()?),
        (A::First, other) => (other, other),
        _ => return None,
    })
}

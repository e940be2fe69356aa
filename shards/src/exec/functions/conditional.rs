//! Functions over arguments of any type: `coalesce`, `nullif`, `greatest`, `least`, `concat`,
//! `concat_ws`, `format`, `num_nulls`, `num_nonnulls`, `pg_typeof`, `json_build_object` and its
//! kin.

use super::{Body, Call, Signature, Volatility, json_build, registry};
use crate::exec::context::ExecContext;
use crate::exec::evaluate::evaluate;
use crate::exec::operators::{common_type, resolve_binary};
use model::batch::{Batch, Column};
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, Expression, FunctionReference};
use model::text;
use model::types::DataType;
use model::types::oid::format_type;
use model::value::Value;
use std::cmp::Ordering;
use std::sync::Arc;

const COALESCE: &str = "coalesce";

/// Resolves a call of one of this family; `None` where the name is another's.
pub(super) fn resolve(name: &str, arguments: &[DataType]) -> Option<Result<Signature, SqlError>> {
    let signature = |argument_types: Vec<DataType>, return_type, volatility| {
        let reference = FunctionReference(Arc::from(name));
        Ok(Signature { reference, argument_types, return_type, volatility, strict: false })
    };
    let least_arguments = match name {
        COALESCE | "greatest" | "least" | "concat" | "format" | "num_nulls" | "num_nonnulls" => 1,
        "nullif" | "concat_ws" => 2,
        "pg_typeof" => 1,
        "json_build_object" | "jsonb_build_object" | "json_build_array" | "jsonb_build_array" => 0,
        "to_json" | "to_jsonb" => 1,
        _ => return None,
    };
    let exactly = matches!(name, "nullif" | "pg_typeof" | "to_json" | "to_jsonb");
    if arguments.len() < least_arguments || (exactly && arguments.len() != least_arguments) {
        return Some(Err(registry::undefined(name, arguments)));
    }
    let known = |data_type: &DataType| match data_type {
        DataType::Unknown => DataType::Text,
        other => *other,
    };
    Some(match name {
        COALESCE | "greatest" | "least" => {
            common_type(&name.to_uppercase(), arguments).and_then(|common| {
                signature(vec![common; arguments.len()], common, Volatility::Immutable)
            })
        }
        "nullif" => {
            resolve_binary(BinaryOperator::Equal, arguments[0], arguments[1]).and_then(|equality| {
                let result = known(&arguments[0]);
                // The result has the first argument's type, so only the second one is cast.
                let first =
                    if result.base() == equality.left.base() { result } else { equality.left };
                signature(vec![first, equality.right], first, Volatility::Immutable)
            })
        }
        "concat" | "concat_ws" | "format" => {
            let mut types: Vec<DataType> = arguments.iter().map(known).collect();
            if name != "concat" {
                types[0] = DataType::Text;
            }
            signature(types, DataType::Text, Volatility::Stable)
        }
        "to_json" | "to_jsonb" if arguments[0] == DataType::Unknown => Err(SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            "could not determine polymorphic type because input has type unknown",
        )),
        "json_build_object" | "json_build_array" | "to_json" => {
            signature(arguments.iter().map(known).collect(), DataType::Json, Volatility::Stable)
        }
        "jsonb_build_object" | "jsonb_build_array" | "to_jsonb" => {
            signature(arguments.iter().map(known).collect(), DataType::Jsonb, Volatility::Stable)
        }
        "pg_typeof" => signature(arguments.to_vec(), DataType::Text, Volatility::Stable),
        _ => signature(arguments.to_vec(), DataType::Int4, Volatility::Immutable),
    })
}

pub(super) fn is_coalesce(reference: &FunctionReference) -> bool {
    reference.0.as_ref() == COALESCE
}

pub(super) fn body(reference: &FunctionReference) -> Option<Body> {
    Some(match reference.0.as_ref() {
        "nullif" => |call| {
            let (first, second) = (&call.values[0], &call.values[1]);
            let equal = !first.is_null() && !second.is_null() && first.same(second);
            Ok(if equal { Value::Null } else { first.clone() })
        },
        "greatest" => |call| Ok(extreme(call, Ordering::Greater)),
        "least" => |call| Ok(extreme(call, Ordering::Less)),
        "concat" => |call| {
            let mut out = String::new();
            for (value, data_type) in call.values.iter().zip(call.types) {
                text::push_text(&mut out, &value.as_ref(), *data_type);
            }
            Ok(Value::text(out))
        },
        "concat_ws" => concat_with_separator,
        "format" => super::format_text::format,
        "num_nulls" => |call| Ok(Value::Int(nulls(call))),
        "num_nonnulls" => |call| Ok(Value::Int(call.values.len() as i64 - nulls(call))),
        "json_build_object" => json_build::build_object,
        "json_build_array" => json_build::build_array,
        "to_json" => json_build::to_json,
        "jsonb_build_object" => json_build::build_jsonb_object,
        "jsonb_build_array" => |call| json_build::as_jsonb(json_build::build_array(call)?),
        "to_jsonb" => |call| json_build::as_jsonb(json_build::to_json(call)?),
        "pg_typeof" => |call| Ok(Value::text(format_type(call.types[0]))),
        _ => return None,
    })
}

fn nulls(call: &Call<'_>) -> i64 {
    call.values.iter().filter(|value| value.is_null()).count() as i64
}

/// Nulls are passed over; only nulls make one.
fn extreme(call: &Call<'_>, wanted: Ordering) -> Value {
    let mut best: Option<&Value> = None;
    for value in call.values.iter().filter(|value| !value.is_null()) {
        if best.is_none_or(|best| value.sort_order(best) == wanted) {
            best = Some(value);
        }
    }
    best.cloned().unwrap_or(Value::Null)
}

fn concat_with_separator(call: &Call<'_>) -> Result<Value, SqlError> {
    if call.values[0].is_null() {
        return Ok(Value::Null);
    }
    let separator = call.text(0)?;
    let mut out = String::new();
    let mut first = true;
    for (value, data_type) in call.values.iter().zip(call.types).skip(1) {
        if value.is_null() {
            continue;
        }
        if !first {
            out.push_str(separator);
        }
        first = false;
        text::push_text(&mut out, &value.as_ref(), *data_type);
    }
    Ok(Value::text(out))
}

/// Each argument sees only the rows for which all before it were null.
pub(super) fn coalesce(
    arguments: &[Expression],
    data_type: DataType,
    batch: &Batch,
    context: &ExecContext,
) -> Result<Column, SqlError> {
    let mut values = vec![Value::Null; batch.rows()];
    let mut remaining: Vec<u32> = (0..batch.rows() as u32).collect();
    for argument in arguments {
        if remaining.is_empty() {
            break;
        }
        let column = evaluate(argument, &batch.take(&remaining), context)?;
        let mut still = Vec::new();
        for (at, &row) in remaining.iter().enumerate() {
            if column.is_null(at) {
                still.push(row);
            } else {
                values[row as usize] = column.value(at);
            }
        }
        remaining = still;
    }
    Ok(Column::from_values(data_type, values))
}

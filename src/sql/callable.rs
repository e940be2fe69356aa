//! Which of PostgreSQL's functions can be called here: what `pg_proc` has rows for.
//!
//! The places that resolve calls are asked, so that a function that is added to one of them is
//! there without being listed again.

use super::catalog_functions::is_bound_call;
use super::functions::window_function;
use super::set_functions::array_behind;
use crate::catalog::postgres::{self, Function, Use};
use model::types::oid::{self, PseudoType};
use model::types::{DataType, ElementType};
use shards::exec::cast;
use shards::exec::functions::{is_set_function, resolve, resolve_aggregate, resolve_set};

/// The types that a call of the function gives; of a type that no value has, one that it stands for.
pub fn argument_types(function: &Function) -> Vec<DataType> {
    let of = |number| match PseudoType::of(number) {
        Some(pseudo) => Some(pseudo.example),
        None => declared(number),
    };
    function.inputs().filter_map(|argument| of(argument.oid)).collect()
}

/// The type with this oid; `varchar` is none without its length.
fn declared(number: u32) -> Option<DataType> {
    let varchar = DataType::Varchar(1);
    if number == oid::oid(varchar) {
        return Some(varchar);
    }
    if number == oid::array_oid(varchar) {
        return Some(DataType::Array(ElementType::Varchar(1)));
    }
    oid::from_oid(number, -1)
}

/// Whether a call with arguments of the declared types is a call of this function. The functions
/// over the catalog that are tables of answers are not known here.
pub fn is_callable(function: &Function) -> bool {
    let types = argument_types(function);
    match function.kind {
        "a" => is_aggregate(function, &types),
        "w" => types.is_empty() && window_function(function.name).is_some(),
        _ => is_function(function, &types),
    }
}

fn is_aggregate(function: &Function, types: &[DataType]) -> bool {
    let polymorphic = PseudoType::of(function.result).is_some();
    match resolve_aggregate(function.name, types) {
        Some(Ok(resolved)) => polymorphic || oid::oid(resolved.return_type) == function.result,
        _ => false,
    }
}

fn is_function(function: &Function, types: &[DataType]) -> bool {
    if is_used(function, types) || is_bound_call(function.name, types) {
        return true;
    }
    // What is declared for any type takes the one that stands for all of them.
    let exact = function.inputs().all(|argument| PseudoType::of(argument.oid).is_none());
    let takes = |resolved: Vec<DataType>| !exact || resolved == types;
    if let Some(array) = array_behind(function.name) {
        return resolve(array, types).is_ok_and(|call| takes(call.argument_types));
    }
    if is_set_function(function.name) {
        return resolve_set(function.name, types).is_ok_and(|call| takes(call.argument_types));
    }
    resolve(function.name, types).is_ok_and(|call| takes(call.argument_types))
}

/// Whether it is the function behind an operator, an order or a cast.
fn is_used(function: &Function, types: &[DataType]) -> bool {
    match postgres::use_of(function) {
        Some(Use::Operator(_) | Use::Comparison) => true,
        Some(Use::Cast(_)) => {
            let target = declared(function.result);
            types.first().zip(target).is_some_and(|(&from, to)| cast::exists(from, to, true))
        }
        None => false,
    }
}

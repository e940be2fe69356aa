//! The table of all functions and the rules by which a call finds its overload.

use super::{
    Function, Signature, backend, date, date_precision, format, json_access, jsonb, jsonb_change,
    make_interval, math, names, number_format, regex, sequence, string, system, zone,
};
use crate::exec::operators::is_implicit_cast;
use model::error::{SqlError, SqlState};
use model::expression::FunctionReference;
use model::types::DataType;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Every overload by its stable name, and all overloads of a name. Built once a process and never
/// changed.
struct Table {
    by_reference: HashMap<String, &'static Function>,
    by_name: HashMap<&'static str, Vec<&'static Function>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { by_reference: HashMap::new(), by_name: HashMap::new() };
    let families = [
        string::FUNCTIONS,
        math::FUNCTIONS,
        date::FUNCTIONS,
        date_precision::FUNCTIONS,
        make_interval::FUNCTIONS,
        format::FUNCTIONS,
        names::FUNCTIONS,
        number_format::FUNCTIONS,
        regex::FUNCTIONS,
        json_access::FUNCTIONS,
        jsonb::FUNCTIONS,
        jsonb_change::FUNCTIONS,
        sequence::FUNCTIONS,
        backend::FUNCTIONS,
        system::FUNCTIONS,
        zone::FUNCTIONS,
    ];
    for function in families.into_iter().flatten() {
        let earlier = table.by_reference.insert(reference_of(function), function);
        assert!(earlier.is_none(), "two functions {}", reference_of(function));
        table.by_name.entry(function.name).or_default().push(function);
    }
    table
});

fn reference_of(function: &Function) -> String {
    let types: Vec<String> = function.arguments.iter().map(DataType::to_string).collect();
    format!("{}({})", function.name, types.join(","))
}

pub(super) fn find(reference: &FunctionReference) -> Option<&'static Function> {
    TABLE.by_reference.get(reference.0.as_ref()).copied()
}

/// All overloads but those whose names hold a space, which no call can name.
pub(super) fn listed() -> impl Iterator<Item = &'static Function> {
    TABLE.by_reference.values().copied().filter(|function| !function.name.contains(' '))
}

/// How well an overload fits: more exact types first, then more preferred ones.
fn fit(function: &Function, arguments: &[DataType]) -> Option<(usize, usize)> {
    if function.arguments.len() != arguments.len() {
        return None;
    }
    let (mut exact, mut preferred) = (0, 0);
    for (&declared, &given) in function.arguments.iter().zip(arguments) {
        if given == DataType::Unknown {
            // A quoted literal is a string before it is anything else.
            preferred += usize::from(declared == DataType::Text) * 2;
        } else if declared.base() == given.base() {
            exact += 1;
            continue;
        } else if !is_implicit_cast(given, declared) {
            return None;
        }
        let is_preferred = matches!(
            declared,
            DataType::Float8
                | DataType::Text
                | DataType::TimestampTz
                | DataType::Interval
                | DataType::Bool
        );
        preferred += usize::from(is_preferred);
    }
    Some((exact, preferred))
}

pub(super) fn resolve(name: &str, arguments: &[DataType]) -> Result<Signature, SqlError> {
    let overloads = TABLE.by_name.get(name).map_or(&[][..], Vec::as_slice);
    let mut best: Option<(&Function, (usize, usize))> = None;
    for &function in overloads {
        if let Some(fit) = fit(function, arguments)
            && best.is_none_or(|(_, best)| fit > best)
        {
            best = Some((function, fit));
        }
    }
    let Some((function, _)) = best else { return Err(undefined(name, arguments)) };
    Ok(Signature {
        reference: FunctionReference(Arc::from(reference_of(function))),
        argument_types: function.arguments.to_vec(),
        return_type: function.result,
        volatility: function.volatility,
        strict: function.strict,
    })
}

/// 42883 in PostgreSQL's words.
pub(super) fn undefined(name: &str, arguments: &[DataType]) -> SqlError {
    let types: Vec<String> = arguments.iter().map(DataType::to_string).collect();
    SqlError::new(
        SqlState::UNDEFINED_FUNCTION,
        format!("function {name}({}) does not exist", types.join(", ")),
    )
    .hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

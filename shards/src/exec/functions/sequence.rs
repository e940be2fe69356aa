//! Functions of sequences. What they answer comes through the statement's
//! [`SequenceCalls`](crate::exec::sequences::SequenceCalls), which only some operators have.

use super::{Call, Function};
use crate::exec::sequences::{SequenceCall, SequenceCalls, SequenceState, misplaced, oid_of};
use model::error::SqlError;
use model::expression::{Expression, FunctionReference};
use model::types::DataType::{self, Bool, Int8};
use model::types::RegKind;
use model::value::Value;

const SEQUENCE: DataType = DataType::Reg(RegKind::Class);

/// The column of a sequence's relation that a function with a space in its name answers; such a
/// name cannot be called: the binder puts it where the relation is read.
pub const STATE_COLUMNS: [(&str, DataType); 3] =
    [("last_value", Int8), ("log_cnt", Int8), ("is_called", Bool)];

/// The name of the function that answers a column of a sequence's relation.
pub fn state_function(column: &str) -> String {
    format!("sequence {column}")
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("nextval", &[SEQUENCE], Int8, |c| {
        calls(c)?.next(oid_of(&c.values[0])?).map(Value::Int)
    })
    .volatile(),
    Function::new("currval", &[SEQUENCE], Int8, |c| {
        calls(c)?.current(oid_of(&c.values[0])?).map(Value::Int)
    })
    .volatile(),
    Function::new("lastval", &[], Int8, |c| calls(c)?.last().map(Value::Int)).volatile(),
    Function::new("setval", &[SEQUENCE, Int8], Int8, |c| set(c, true)).volatile(),
    Function::new("setval", &[SEQUENCE, Int8, Bool], Int8, |c| {
        set(c, matches!(c.values[2], Value::Bool(true)))
    })
    .volatile(),
    Function::new("pg_sequence_last_value", &[SEQUENCE], Int8, |c| {
        let state = state(c)?;
        Ok(if state.called { Value::Int(state.last_value) } else { Value::Null })
    })
    .volatile(),
    Function::new("sequence last_value", &[SEQUENCE], Int8, |c| {
        Ok(Value::Int(state(c)?.last_value))
    })
    .volatile(),
    Function::new("sequence log_cnt", &[SEQUENCE], Int8, |c| Ok(Value::Int(state(c)?.reserved)))
        .volatile(),
    Function::new("sequence is_called", &[SEQUENCE], Bool, |c| Ok(Value::Bool(state(c)?.called)))
        .volatile(),
];

fn calls<'c>(call: &Call<'c>) -> Result<&'c SequenceCalls, SqlError> {
    call.context.sequences.as_deref().ok_or_else(misplaced)
}

fn set(call: &Call<'_>, called: bool) -> Result<Value, SqlError> {
    let (sequence, value) = (oid_of(&call.values[0])?, call.int(1)?);
    calls(call)?.call(SequenceCall::Set { sequence, value, called })?;
    Ok(Value::Int(value))
}

fn state(call: &Call<'_>) -> Result<SequenceState, SqlError> {
    calls(call)?.call(SequenceCall::State(oid_of(&call.values[0])?))
}

/// Whether a function is one of those here.
fn is_of_sequences(function: &FunctionReference) -> bool {
    let name = function.0.split('(').next().unwrap_or_default();
    matches!(name, "nextval" | "currval" | "lastval" | "setval" | "pg_sequence_last_value")
        || name.starts_with("sequence ")
}

/// Whether an expression calls a function of sequences: only an operator that can wait evaluates it.
pub fn calls_sequences(expression: &Expression) -> bool {
    expression.any(&|node| match node {
        Expression::Function { function, .. } => is_of_sequences(function),
        _ => false,
    })
}

/// Whether an expression changes a sequence: it is evaluated even if nobody reads what it gives.
pub fn changes_sequences(expression: &Expression) -> bool {
    expression.any(&|node| match node {
        Expression::Function { function, .. } => {
            function.0.starts_with("nextval(") || function.0.starts_with("setval(")
        }
        _ => false,
    })
}

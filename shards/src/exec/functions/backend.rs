//! Functions that reach other sessions of the node. They go through the statement's
//! [`Backends`](crate::exec::backends::Backends), which only the router's plans have.

use super::{Call, Function};
use crate::exec::backends::{Backends, Signal};
use model::error::{SqlError, SqlState};
use model::types::DataType::{self, Bool, Int4, Int8, Text};
use model::types::ElementType;
use model::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("pg_cancel_backend", &[Int4], Bool, |c| signal(c, Signal::Cancel)).volatile(),
    Function::new("pg_terminate_backend", &[Int4], Bool, |c| signal(c, Signal::Terminate))
        .volatile(),
    // With how many milliseconds to wait for the end of it.
    Function::new("pg_terminate_backend", &[Int4, Int8], Bool, |c| match c.int(1)? {
        0 => signal(c, Signal::Terminate),
        1.. => Err(SqlError::unsupported("a timeout of pg_terminate_backend")),
        _ => Err(SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "\"timeout\" must not be negative",
        )),
    })
    .volatile(),
    Function::new("pg_blocking_pids", &[Int4], DataType::Array(ElementType::Int4), |c| {
        let blocking = backends(c)?.blocking(c.int(0)?);
        Ok(Value::array(blocking.into_iter().map(|id| Value::Int(i64::from(id))).collect()))
    })
    .volatile(),
    Function::new("pg_export_snapshot", &[], Text, |c| {
        backends(c)?.export_snapshot().map(|id| Value::text(id.as_str()))
    })
    .volatile(),
];

fn signal(call: &Call<'_>, signal: Signal) -> Result<Value, SqlError> {
    backends(call)?.signal(call.int(0)?, signal).map(Value::Bool)
}

fn backends<'c>(call: &Call<'c>) -> Result<&'c dyn Backends, SqlError> {
    call.context.backends.as_deref().ok_or_else(|| {
        SqlError::unsupported("a function of other sessions in this place")
            .hint("Call it in a query without tables of rows, or over pg_stat_activity.")
    })
}

/// Whether a function of this name reaches other sessions.
pub fn reaches_backends(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.name == name)
}

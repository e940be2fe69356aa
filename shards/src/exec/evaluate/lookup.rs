//! Lookups in tables that the binder made.

use crate::exec::context::ExecContext;
use crate::exec::evaluate::evaluate;
use model::batch::{Batch, Column};
use model::error::SqlError;
use model::expression::Expression;
use model::lookup::{LookupTable, Missing};
use model::types::DataType;
use model::value::Value;

/// What the table holds for the arguments of each row; `NULL` where one of them is.
pub(super) fn lookup(
    table: &LookupTable,
    arguments: &[Expression],
    data_type: DataType,
    batch: &Batch,
    context: &ExecContext,
) -> Result<Column, SqlError> {
    let columns: Vec<Column> = arguments
        .iter()
        .map(|argument| evaluate(argument, batch, context))
        .collect::<Result<_, _>>()?;
    let first_type = arguments.first().map_or(DataType::Text, Expression::data_type);
    let mut out = Column::with_capacity(data_type, batch.rows());
    let mut key: Vec<Value> = Vec::with_capacity(columns.len());
    for row in 0..batch.rows() {
        key.clear();
        key.extend(columns.iter().map(|column| column.value(row)));
        if key.iter().any(Value::is_null) {
            out.push(Value::Null);
            continue;
        }
        out.push(match table.get(&key) {
            Some(answer) => answer.clone(),
            None => match table.ambiguity(&key) {
                Some(error) => return Err(error),
                None => missing(&table.missing, key.first(), first_type)?,
            },
        });
    }
    Ok(out)
}

fn missing(
    missing: &Missing,
    argument: Option<&Value>,
    data_type: DataType,
) -> Result<Value, SqlError> {
    let shown = || match argument {
        // A qualified name, in its parts.
        Some(Value::Array(parts)) => {
            let element = data_type.element().unwrap_or(DataType::Text);
            let parts: Vec<String> =
                parts.elements().iter().map(|part| part.to_text(element)).collect();
            parts.join(".")
        }
        other => other.map(|argument| argument.to_text(data_type)).unwrap_or_default(),
    };
    match missing {
        Missing::Null => Ok(Value::Null),
        Missing::Value(value) => Ok(value.clone()),
        Missing::Input => Ok(Value::text(shown())),
        Missing::Error { state, before, after } => {
            Err(SqlError::new(*state, format!("{before}{}{after}", shown())))
        }
    }
}

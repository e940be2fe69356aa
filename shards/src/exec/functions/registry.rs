//! The table of all functions and the rules by which a call finds its overload.

use super::Signature;
use model::error::{SqlError, SqlState};
use model::types::DataType;

pub(super) fn resolve(name: &str, arguments: &[DataType]) -> Result<Signature, SqlError> {
    let types: Vec<String> = arguments.iter().map(DataType::to_string).collect();
    Err(SqlError::new(
        SqlState::UNDEFINED_FUNCTION,
        format!("function {name}({}) does not exist", types.join(", ")),
    )
    .hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    ))
}

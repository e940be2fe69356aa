//! Scalar functions: which ones there are, how a call is resolved, and how it runs.
//!
//! One file a family. A function's stable name is its [`FunctionReference`]: the SQL name with the
//! types of the overload, e.g. `substring(text,integer)`; those over arguments of any type have
//! their bare name.

use model::error::SqlError;
use model::expression::FunctionReference;
use model::types::DataType;

/// How often a function may be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    /// The same arguments always give the same result: calls with constants can be folded.
    Immutable,
    /// The same within a statement.
    Stable,
    /// Every evaluation may differ.
    Volatile,
}

/// A resolved call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What the bound expression names.
    pub reference: FunctionReference,
    /// What each argument is cast to (as many as the call has).
    pub argument_types: Vec<DataType>,
    /// Type of the result.
    pub return_type: DataType,
    /// How often it may be evaluated.
    pub volatility: Volatility,
    /// Whether a `NULL` argument makes the result `NULL` without a call.
    pub strict: bool,
}

/// Finds the function that a call with arguments of these types means; 42883 where there is none.
pub fn resolve(name: &str, arguments: &[DataType]) -> Result<Signature, SqlError> {
    registry::resolve(name, arguments)
}

mod registry;

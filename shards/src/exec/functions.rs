//! Scalar functions: which ones there are, how a call is resolved, and how it runs.
//!
//! One file a family. A function's stable name is its [`FunctionReference`]: the SQL name with the
//! types of the overload, e.g. `substring(text,integer)`; those over arguments of any type have
//! their bare name.

mod aggregate;
pub mod array;
mod backend;
mod conditional;
mod date;
mod date_precision;
mod format;
mod format_text;
mod json_access;
mod json_build;
mod jsonb;
mod jsonb_change;
mod make_interval;
mod math;
mod names;
mod number_format;
mod regex;
mod registry;
mod sequence;
mod set;
mod string;
mod system;
mod zone;

use super::context::ExecContext;
use super::evaluate::evaluate;
use model::batch::{Batch, Column};
use model::error::SqlError;
use model::expression::{Expression, FunctionReference};
use model::types::DataType;
use model::value::Value;

pub use aggregate::{ResolvedAggregate, resolve_aggregate};
pub use backend::reaches_backends;
pub use date::clock_micros;
pub(super) use math::{complex_power, float_power, numeric_power, undefined_power};
pub use names::quote_identifier;
pub use sequence::{STATE_COLUMNS, calls_sequences, changes_sequences, state_function};
pub use set::{ResolvedSet, is_set_function, resolve_set};
pub use system::NO_MORE_THAN_ONE;

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
/// `name` is folded, without a schema.
pub fn resolve(name: &str, arguments: &[DataType]) -> Result<Signature, SqlError> {
    if let Some(signature) = conditional::resolve(name, arguments) {
        return signature;
    }
    if let Some(signature) = array::resolve(name, arguments) {
        return signature;
    }
    registry::resolve(name, arguments)
}

/// An overload with types of its own, as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declaration {
    /// Its SQL name.
    pub name: &'static str,
    /// The types of its arguments.
    pub arguments: &'static [DataType],
    /// The type of its result.
    pub result: DataType,
    /// How often it may be evaluated.
    pub volatility: Volatility,
    /// Whether a `NULL` argument makes the result `NULL`.
    pub strict: bool,
}

/// All overloads that a call can name but those over arguments of any type, in no order.
pub fn declarations() -> impl Iterator<Item = Declaration> {
    registry::listed().map(|function| Declaration {
        name: function.name,
        arguments: function.arguments,
        result: function.result,
        volatility: function.volatility,
        strict: function.strict,
    })
}

/// How often a resolved function may be evaluated. Those over arguments of any type (such as
/// `coalesce`) are taken as volatile here: what they are made of is folded on its own.
pub fn volatility(reference: &FunctionReference) -> Volatility {
    if array::body(reference).is_some() {
        return Volatility::Immutable;
    }
    registry::find(reference).map_or(Volatility::Volatile, |function| function.volatility)
}

/// One call: its arguments and what it may need to know besides.
struct Call<'a> {
    values: &'a [Value],
    types: &'a [DataType],
    context: &'a ExecContext,
}

type Body = fn(&Call<'_>) -> Result<Value, SqlError>;

/// One overload.
struct Function {
    name: &'static str,
    arguments: &'static [DataType],
    result: DataType,
    volatility: Volatility,
    strict: bool,
    body: Body,
}

impl Function {
    const fn new(
        name: &'static str,
        arguments: &'static [DataType],
        result: DataType,
        body: Body,
    ) -> Function {
        Function { name, arguments, result, volatility: Volatility::Immutable, strict: true, body }
    }

    const fn stable(mut self) -> Function {
        self.volatility = Volatility::Stable;
        self
    }

    const fn volatile(mut self) -> Function {
        self.volatility = Volatility::Volatile;
        self
    }
}

/// Accessors for arguments, whose types the binder has cast to the signature's.
impl Call<'_> {
    fn text(&self, at: usize) -> Result<&str, SqlError> {
        match self.values.get(at) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(self.mistyped(at)),
        }
    }

    fn int(&self, at: usize) -> Result<i64, SqlError> {
        match self.values.get(at) {
            Some(Value::Int(number)) => Ok(*number),
            _ => Err(self.mistyped(at)),
        }
    }

    fn float(&self, at: usize) -> Result<f64, SqlError> {
        match self.values.get(at) {
            Some(Value::Float(number)) => Ok(*number),
            _ => Err(self.mistyped(at)),
        }
    }

    fn numeric(&self, at: usize) -> Result<&model::numeric::Numeric, SqlError> {
        match self.values.get(at) {
            Some(Value::Numeric(number)) => Ok(number),
            _ => Err(self.mistyped(at)),
        }
    }

    fn mistyped(&self, at: usize) -> SqlError {
        SqlError::internal(format!("function argument {} has another type than declared", at + 1))
    }
}

/// Evaluates a call for each row of `batch`.
pub(super) fn evaluate_call(
    reference: &FunctionReference,
    arguments: &[Expression],
    data_type: DataType,
    batch: &Batch,
    context: &ExecContext,
) -> Result<Column, SqlError> {
    if conditional::is_coalesce(reference) {
        return conditional::coalesce(arguments, data_type, batch, context);
    }
    let (body, strict) = match conditional::body(reference).or_else(|| array::body(reference)) {
        Some(body) => (body, false),
        None => {
            let function = registry::find(reference)
                .ok_or_else(|| SqlError::internal(format!("no function {}", reference.0)))?;
            (function.body, function.strict)
        }
    };
    let types: Vec<DataType> = arguments.iter().map(Expression::data_type).collect();
    let columns: Vec<Column> = arguments
        .iter()
        .map(|argument| evaluate(argument, batch, context))
        .collect::<Result<_, _>>()?;
    let mut out = Column::with_capacity(data_type, batch.rows());
    let mut values = Vec::with_capacity(columns.len());
    for row in 0..batch.rows() {
        if strict && columns.iter().any(|column| column.is_null(row)) {
            out.push(Value::Null);
            continue;
        }
        values.clear();
        values.extend(columns.iter().map(|column| column.value(row)));
        out.push(body(&Call { values: &values, types: &types, context })?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;

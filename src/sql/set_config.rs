//! `SELECT set_config(name, value, is_local)`: `SET` as a query, which drivers and dumps send.
//!
//! The settings are the session's, and expressions know no session. So a query that is nothing but
//! calls of it becomes a statement of its own; anywhere else there is no such function.

use super::OutputColumn;
use super::binder::{Binder, Coercion};
use super::expression::call_name;
use super::names::fold;
use super::rules;
use super::scope::Scope;
use super::slots::{Refusals, Slots};
use super::statement::PlannedKind;
use model::error::SqlError;
use model::expression::Expression;
use model::types::DataType;
use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem};

/// One call: expressions without columns for the name, the value and whether the change ends with
/// the transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct SetConfigCall {
    /// text, text, boolean
    pub arguments: [Expression; 3],
}

impl Binder<'_> {
    /// The calls and their columns; `None` where the query is anything else.
    pub(super) fn bind_set_config(
        &self,
        query: &ast::Query,
    ) -> Result<Option<(PlannedKind, Vec<OutputColumn>)>, SqlError> {
        let Some(written) = calls(query) else { return Ok(None) };
        self.uncacheable.set(true);
        let clause = "the arguments of set_config";
        let refusals =
            Refusals { aggregates: Some(clause), windows: Some(clause), subqueries: Some(clause) };
        let mut slots = Slots::refusing(refusals);
        let (mut bound, mut columns) = (Vec::new(), Vec::new());
        for (name, arguments) in written {
            let types = [DataType::Text, DataType::Text, DataType::Bool];
            let mut one = |at: usize| {
                let argument = self.bind(arguments[at], &Scope::default(), &mut slots)?;
                let mut argument = self.coerce(argument, types[at], Coercion::Implicit)?;
                rules::fold(&mut argument);
                Ok::<_, SqlError>(argument)
            };
            bound.push(SetConfigCall { arguments: [one(0)?, one(1)?, one(2)?] });
            columns.push(OutputColumn { name, data_type: DataType::Text });
        }
        Ok(Some((PlannedKind::SetConfig(bound), columns)))
    }
}

/// The calls that the query consists of, each with the name of its column.
fn calls(query: &ast::Query) -> Option<Vec<(String, [&Expr; 3])>> {
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    let alone = select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.distinct.is_none()
        && query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none();
    if !alone {
        return None;
    }
    select.projection.iter().map(call).collect()
}

fn call(item: &SelectItem) -> Option<(String, [&Expr; 3])> {
    let (expression, name) = match item {
        SelectItem::UnnamedExpr(expression) => (expression, "set_config".to_owned()),
        SelectItem::ExprWithAlias { expr, alias } => (expr, fold(alias)),
        _ => return None,
    };
    let Expr::Function(function) = expression else { return None };
    if call_name(function).ok()? != "set_config" {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    let argument = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expression)) => Some(expression),
        _ => None,
    };
    let arguments: Option<Vec<&Expr>> = list.args.iter().map(argument).collect();
    Some((name, arguments?.try_into().ok()?))
}

//! `SELECT set_config(name, value, is_local)`: `SET` as a query, which drivers and dumps send.
//!
//! The settings are the session's, and expressions know no session. So a query whose columns are all
//! calls of it becomes a query of their arguments, and the session does with each row what it says;
//! anywhere else there is no such function.

use super::OutputColumn;
use super::binder::{Binder, Coercion};
use super::expression::call_name;
use super::names::fold;
use super::physical::physical;
use super::query::BoundQuery;
use super::rules;
use super::statement::{PlannedKind, query_plan};
use model::error::SqlError;
use model::expression::Expression;
use model::types::DataType;
use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem};

/// How many columns are the arguments of one call: text, text, boolean.
pub const SET_CONFIG_ARGUMENTS: usize = 3;
const TYPES: [DataType; SET_CONFIG_ARGUMENTS] = [DataType::Text, DataType::Text, DataType::Bool];

impl Binder<'_> {
    /// The query of the arguments, and the columns of the calls; `None` where the query is another.
    pub(super) fn bind_set_config(
        &self,
        query: &ast::Query,
    ) -> Result<Option<(PlannedKind, Vec<OutputColumn>)>, SqlError> {
        let Some(calls) = calls(query) else { return Ok(None) };
        self.uncacheable.set(true);
        let arguments = calls.iter().flat_map(|(_, arguments)| arguments);
        let arguments = arguments.map(|argument| SelectItem::UnnamedExpr((*argument).clone()));
        let arguments: Vec<SelectItem> = arguments.collect();
        self.wanted_types.replace(calls.iter().flat_map(|_| TYPES).collect());
        let mut query_of_arguments = query.clone();
        if let ast::SetExpr::Select(select) = &mut *query_of_arguments.body {
            select.projection = arguments;
        }
        let BoundQuery { plan, columns } = self.bind_query(&query_of_arguments, None)?;
        let given = columns.iter().zip(TYPES.iter().cycle()).enumerate();
        let given = given.map(|(at, (column, &target))| {
            self.coerce(Expression::column(at, column.data_type), target, Coercion::Implicit)
        });
        let plan = plan.project(given.collect::<Result<_, _>>()?);
        let columns = calls.into_iter();
        let columns = columns.map(|(name, _)| OutputColumn { name, data_type: DataType::Text });
        let query = query_plan(physical(rules::optimize(plan)));
        Ok(Some((PlannedKind::SetConfig(query), columns.collect())))
    }
}

/// The calls that the query's columns are, each with its name.
fn calls(query: &ast::Query) -> Option<Vec<(String, [&Expr; SET_CONFIG_ARGUMENTS])>> {
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    if select.distinct.is_some() || query.order_by.is_some() {
        return None;
    }
    select.projection.iter().map(call).collect()
}

fn call(item: &SelectItem) -> Option<(String, [&Expr; SET_CONFIG_ARGUMENTS])> {
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

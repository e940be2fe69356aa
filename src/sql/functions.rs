//! Binding of calls: scalar functions, aggregates, window functions, and the functions that SQL
//! writes in ways of their own.

use super::binder::Binder;
use super::expression::call_name;
use super::scope::Scope;
use super::set_functions::answers_rows;
use super::slots::{Slots, WindowSlot};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::{AggregateCall, AggregateFunction, SortKey, WindowFunction};
use model::types::DataType;
use shards::exec::functions;
use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments};

/// A call's parts, as all kinds of functions need them.
struct Call<'q> {
    name: String,
    arguments: Vec<&'q Expr>,
    /// `count(*)`
    star: bool,
    distinct: bool,
    /// `ORDER BY` among the arguments of an aggregate.
    order: &'q [ast::OrderByExpr],
}

impl Binder<'_> {
    pub(super) fn bind_function(
        &self,
        function: &ast::Function,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        if let FunctionArguments::Subquery(query) = &function.args
            && call_name(function)? == "array"
        {
            return self.bind_array_subquery(query, scope, slots);
        }
        let call = parts(function)?;
        if let Some(window) = &function.over {
            return self.bind_window(&call, function, window, scope, slots);
        }
        if let Some(aggregate) = aggregate_function(&call.name) {
            return self.bind_aggregate(&call, aggregate, function.filter.as_deref(), scope, slots);
        }
        if window_function(&call.name).is_some() {
            return Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("window function {} requires an OVER clause", call.name),
            ));
        }
        if call.star || call.distinct || function.filter.is_some() || !call.order.is_empty() {
            return Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("{} is not an aggregate function", call.name),
            ));
        }
        if answers_rows(&call.name) {
            return Err(SqlError::unsupported(format!("{} outside of FROM", call.name)));
        }
        if functions::is_set_function(&call.name) {
            return self.bind_set_call(function, &call.arguments, scope, slots);
        }
        let arguments: Vec<Expression> =
            call.arguments.iter().map(|a| self.bind(a, scope, slots)).collect::<Result<_, _>>()?;
        self.call(&call.name, arguments)
    }

    /// A call of a scalar function over bound arguments.
    pub(super) fn call(
        &self,
        name: &str,
        arguments: Vec<Expression>,
    ) -> Result<Expression, SqlError> {
        let arguments = match self.catalog_call(name, arguments)? {
            Ok(call) => return Ok(call),
            Err(arguments) => arguments,
        };
        let types: Vec<DataType> = arguments.iter().map(Expression::data_type).collect();
        let signature = match functions::resolve(name, &types) {
            Ok(signature) => signature,
            Err(error) => return self.call_behind(name, arguments, error),
        };
        let arguments = arguments
            .into_iter()
            .zip(&signature.argument_types)
            .map(|(argument, &target)| self.convert(argument, target))
            .collect();
        Ok(Expression::Function {
            function: signature.reference,
            arguments,
            data_type: signature.return_type,
        })
    }

    fn bind_aggregate(
        &self,
        call: &Call<'_>,
        function: AggregateFunction,
        filter: Option<&Expr>,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        if let Some(clause) = slots.refusals.aggregates {
            return Err(SqlError::new(
                SqlState::GROUPING_ERROR,
                format!("aggregate functions are not allowed in {clause}"),
            ));
        }
        let outer = slots.refusals;
        let takes_sets = std::mem::take(&mut slots.takes_sets);
        slots.refusals.aggregates = Some("the arguments of another");
        slots.refusals.windows = Some("the arguments of an aggregate");
        let bound = self.aggregate_call(call, function, filter, scope, slots);
        let order = self.aggregate_order(call, scope, slots);
        slots.refusals = outer;
        slots.takes_sets = takes_sets;
        let order = order?;
        if !order.is_empty() {
            if slots.aggregate_order.as_ref().is_some_and(|known| *known != order) {
                return Err(SqlError::unsupported(
                    "aggregates with different ORDER BY in one query",
                ));
            }
            slots.aggregate_order = Some(order);
        }
        Ok(slots.aggregate(bound?))
    }

    fn aggregate_order(
        &self,
        call: &Call<'_>,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Vec<SortKey>, SqlError> {
        let key = |key: &ast::OrderByExpr| {
            let bound = self.bind(&key.expr, scope, slots)?;
            sort_key(self.decided(bound), &key.options)
        };
        call.order.iter().map(key).collect()
    }

    fn aggregate_call(
        &self,
        call: &Call<'_>,
        function: AggregateFunction,
        filter: Option<&Expr>,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<AggregateCall, SqlError> {
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            arguments.push(self.bind(argument, scope, slots)?);
        }
        let filter = match filter {
            Some(filter) => {
                let filter = self.bind(filter, scope, slots)?;
                Some(self.condition(filter, "FILTER")?)
            }
            None => None,
        };
        let (arguments, data_type) = self.aggregate_types(call, arguments)?;
        Ok(AggregateCall { function, arguments, distinct: call.distinct, filter, data_type })
    }

    /// Checks and converts an aggregate's arguments, and gives its result's type.
    fn aggregate_types(
        &self,
        call: &Call<'_>,
        arguments: Vec<Expression>,
    ) -> Result<(Vec<Expression>, DataType), SqlError> {
        if call.arguments.is_empty() && !call.star || call.star && call.distinct {
            return Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("{}(*) must be used to call a parameterless aggregate function", call.name),
            ));
        }
        let types: Vec<DataType> = arguments.iter().map(Expression::data_type).collect();
        let Some(resolved) = functions::resolve_aggregate(&call.name, &types) else {
            return Err(SqlError::internal(format!("{} is no aggregate", call.name)));
        };
        let resolved = resolved?;
        let arguments = arguments
            .into_iter()
            .zip(&resolved.argument_types)
            .map(|(argument, &target)| {
                let argument = self.convert(argument, target);
                self.decided(argument)
            })
            .collect();
        Ok((arguments, resolved.return_type))
    }

    fn bind_window(
        &self,
        call: &Call<'_>,
        function: &ast::Function,
        window: &ast::WindowType,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        if let Some(clause) = slots.refusals.windows {
            return Err(SqlError::new(
                SqlState::WINDOWING_ERROR,
                format!("window functions are not allowed in {clause}"),
            ));
        }
        let ast::WindowType::WindowSpec(specification) = window else {
            return Err(SqlError::unsupported("a named window"));
        };
        if specification.window_frame.is_some() || specification.window_name.is_some() {
            return Err(SqlError::unsupported("a window frame other than the default"));
        }
        if call.distinct || function.filter.is_some() || !call.order.is_empty() {
            return Err(SqlError::unsupported("DISTINCT, FILTER or ORDER BY of a window function"));
        }
        let outer = slots.refusals;
        slots.refusals.windows = Some("a window definition");
        let bound = self.window_slot(call, specification, scope, slots);
        slots.refusals = outer;
        Ok(slots.window(bound?))
    }

    fn window_slot(
        &self,
        call: &Call<'_>,
        specification: &ast::WindowSpec,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<WindowSlot, SqlError> {
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            arguments.push(self.bind(argument, scope, slots)?);
        }
        let (function, arguments, data_type) = match window_function(&call.name) {
            Some(function) if arguments.is_empty() => (function, arguments, DataType::Int8),
            Some(_) => {
                return Err(SqlError::new(
                    SqlState::UNDEFINED_FUNCTION,
                    format!("function {} takes no arguments", call.name),
                ));
            }
            None => {
                let Some(aggregate) = aggregate_function(&call.name) else {
                    return Err(SqlError::new(
                        SqlState::WRONG_OBJECT_TYPE,
                        format!(
                            "OVER specified, but {} is not a window function nor an aggregate function",
                            call.name
                        ),
                    ));
                };
                let (arguments, data_type) = self.aggregate_types(call, arguments)?;
                (WindowFunction::Aggregate(aggregate), arguments, data_type)
            }
        };
        let mut partition_by = Vec::with_capacity(specification.partition_by.len());
        for expression in &specification.partition_by {
            let bound = self.bind(expression, scope, slots)?;
            partition_by.push(self.decided(bound));
        }
        let mut order_by = Vec::with_capacity(specification.order_by.len());
        for key in &specification.order_by {
            let bound = self.bind(&key.expr, scope, slots)?;
            order_by.push(sort_key(self.decided(bound), &key.options)?);
        }
        Ok(WindowSlot { function, arguments, partition_by, order_by, data_type })
    }

    /// `EXTRACT`, `SUBSTRING`, `TRIM`, `POSITION` and the like; `None` where it is none of them.
    pub(super) fn bind_special_function(
        &self,
        expression: &Expr,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Option<Expression>, SqlError> {
        let (name, operands): (&str, Vec<&Expr>) = match expression {
            Expr::Extract { field, expr, .. } => {
                let field = field.to_string().to_lowercase();
                let field = Expression::literal(field.as_str(), DataType::Text);
                let operand = self.bind(expr, scope, slots)?;
                return self.call("extract", vec![field, operand]).map(Some);
            }
            Expr::Ceil {
                expr,
                field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime),
            } => ("ceil", vec![expr]),
            Expr::Floor {
                expr,
                field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime),
            } => ("floor", vec![expr]),
            Expr::Position { expr, r#in } => ("strpos", vec![r#in, expr]),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                return self
                    .bind_substring(
                        expr,
                        substring_from.as_deref(),
                        substring_for.as_deref(),
                        scope,
                        slots,
                    )
                    .map(Some);
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => "btrim",
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                };
                let mut operands: Vec<&Expr> = vec![expr];
                operands.extend(trim_what.as_deref());
                operands.extend(trim_characters.iter().flatten());
                (name, operands)
            }
            Expr::AtTimeZone { timestamp, time_zone } => ("timezone", vec![time_zone, timestamp]),
            _ => return Ok(None),
        };
        let arguments: Vec<Expression> =
            operands.into_iter().map(|o| self.bind(o, scope, slots)).collect::<Result<_, _>>()?;
        self.call(name, arguments).map(Some)
    }

    fn bind_substring(
        &self,
        operand: &Expr,
        from: Option<&Expr>,
        length: Option<&Expr>,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let mut arguments = vec![self.bind(operand, scope, slots)?];
        arguments.push(match from {
            Some(from) => self.bind(from, scope, slots)?,
            None => Expression::literal(1, DataType::Int4),
        });
        if let Some(length) = length {
            arguments.push(self.bind(length, scope, slots)?);
        }
        self.call("substring", arguments)
    }
}

/// `ORDER BY` options.
pub(super) fn sort_key(
    expression: Expression,
    options: &ast::OrderByOptions,
) -> Result<SortKey, SqlError> {
    let descending = match &options.sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        Some(ast::OrderBySort::Using(_)) => {
            return Err(SqlError::unsupported("ORDER BY ... USING"));
        }
    };
    // Without a word, nulls are the greatest values.
    let nulls_first = options.nulls_first.unwrap_or(descending);
    Ok(SortKey { expression, descending, nulls_first })
}

fn parts(function: &ast::Function) -> Result<Call<'_>, SqlError> {
    let name = call_name(function)?;
    let mut call = Call { name, arguments: Vec::new(), star: false, distinct: false, order: &[] };
    if !function.within_group.is_empty() || function.null_treatment.is_some() {
        return Err(SqlError::unsupported(format!("this form of {}", call.name)));
    }
    let list = match &function.args {
        FunctionArguments::None => return Ok(call),
        FunctionArguments::Subquery(_) => {
            return Err(SqlError::unsupported("a query as an argument"));
        }
        FunctionArguments::List(list) => list,
    };
    match list.clauses.as_slice() {
        [] => {}
        [ast::FunctionArgumentClause::OrderBy(order)] => call.order = order,
        _ => {
            let clause = format!("a clause in the arguments of {}", call.name);
            return Err(SqlError::unsupported(clause));
        }
    }
    call.distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => {
                call.arguments.push(expression);
            }
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => call.star = true,
            _ => return Err(SqlError::unsupported(format!("the argument {argument}"))),
        }
    }
    Ok(call)
}

fn aggregate_function(name: &str) -> Option<AggregateFunction> {
    Some(match name {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" => AggregateFunction::Avg,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        "bool_and" | "every" => AggregateFunction::BoolAnd,
        "bool_or" => AggregateFunction::BoolOr,
        "string_agg" => AggregateFunction::StringAgg,
        "array_agg" => AggregateFunction::ArrayAgg,
        "stddev" | "stddev_samp" => AggregateFunction::StddevSamp,
        "stddev_pop" => AggregateFunction::StddevPop,
        "variance" | "var_samp" => AggregateFunction::VarSamp,
        "var_pop" => AggregateFunction::VarPop,
        _ => return None,
    })
}

pub(super) fn window_function(name: &str) -> Option<WindowFunction> {
    Some(match name {
        "row_number" => WindowFunction::RowNumber,
        "rank" => WindowFunction::Rank,
        "dense_rank" => WindowFunction::DenseRank,
        _ => return None,
    })
}

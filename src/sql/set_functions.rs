//! Binding of functions that answer several rows, in the select list and in `FROM`, where any
//! function may stand.

use super::binder::Binder;
use super::expression::call_name;
use super::from::Source;
use super::logical::Logical;
use super::names::{fold, function_name};
use super::scope::{Scope, ScopeColumn};
use super::slots::{Refusals, Slots};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::{SetCall, SetFunction};
use model::types::{DataType, ElementType, RegKind};
use model::value::Value;
use shards::exec::functions::{is_set_function, resolve_set};
use shards::exec::operators::is_implicit_cast;
use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, TableAlias, TableFactor};

/// A function in `FROM`.
pub(super) struct TableCall<'q> {
    name: String,
    arguments: Vec<&'q Expr>,
    ordinality: bool,
    alias: Option<&'q TableAlias>,
}

/// The item as a call of a function; `None` where it is something else.
pub(super) fn table_call(factor: &TableFactor) -> Result<Option<TableCall<'_>>, SqlError> {
    Ok(Some(match factor {
        TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => TableCall {
            name: function_name(name)?,
            arguments: plain_arguments(&args.args)?,
            ordinality: *with_ordinality,
            alias: alias.as_ref(),
        },
        TableFactor::Function { name, args, with_ordinality, alias, .. } => TableCall {
            name: function_name(name)?,
            arguments: plain_arguments(args)?,
            ordinality: *with_ordinality,
            alias: alias.as_ref(),
        },
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
            TableCall {
                name: "unnest".to_owned(),
                arguments: array_exprs.iter().collect(),
                ordinality: *with_ordinality,
                alias: alias.as_ref(),
            }
        }
        _ => return Ok(None),
    }))
}

/// The function that makes the array whose elements a set function answers.
pub(super) fn array_behind(name: &str) -> Option<&'static str> {
    Some(match name {
        "jsonb_array_elements" => "jsonb elements",
        "jsonb_array_elements_text" => "jsonb elements text",
        "jsonb_object_keys" => "jsonb keys",
        "string_to_table" => "string_to_array",
        "regexp_split_to_table" => "regexp_split_to_array",
        _ => return None,
    })
}

/// The columns of a function that answers rows of several.
fn row_columns(name: &str) -> &'static [&'static str] {
    match name {
        "pg_options_to_table" => &["option_name", "option_value"],
        "pg_partition_tree" => &["relid", "parentrelid", "isleaf", "level"],
        _ => &[],
    }
}

/// Whether a function of this name answers rows of several columns: it stands in `FROM` only.
pub(super) fn answers_rows(name: &str) -> bool {
    !row_columns(name).is_empty()
}

fn plain_arguments(arguments: &[FunctionArg]) -> Result<Vec<&Expr>, SqlError> {
    let plain = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expression)) => Ok(expression),
        other => Err(SqlError::unsupported(format!("the argument {other}"))),
    };
    arguments.iter().map(plain).collect()
}

impl Binder<'_> {
    /// A call of a set function in the select list: the slot of its column.
    pub(super) fn bind_set_call(
        &self,
        function: &ast::Function,
        arguments: &[&Expr],
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let name = call_name(function)?;
        if !slots.takes_sets {
            return Err(SqlError::unsupported(format!(
                "the set-returning function {name} outside of FROM and the select list"
            )));
        }
        // What it is given has one value for each row.
        slots.takes_sets = false;
        let windows = slots.refusals.windows.replace("the arguments of a set-returning function");
        let bound: Result<Vec<Expression>, SqlError> =
            arguments.iter().map(|argument| self.bind(argument, scope, slots)).collect();
        slots.refusals.windows = windows;
        slots.takes_sets = true;
        let call = self.set_call(&name, bound?)?;
        Ok(slots.set(call))
    }

    /// A resolved call of a set function over bound arguments.
    fn set_call(&self, name: &str, arguments: Vec<Expression>) -> Result<SetCall, SqlError> {
        let (name, arguments) = match (array_behind(name), name) {
            (Some(array), _) => ("unnest", vec![self.call(array, arguments)?]),
            // No table has partitions that PostgreSQL would call so.
            (None, "pg_partition_ancestors") if arguments.len() == 1 => {
                let none = DataType::Array(ElementType::Reg(RegKind::Class));
                ("unnest", vec![Expression::Literal(Value::Null, none)])
            }
            (None, other) => (other, arguments),
        };
        let types: Vec<DataType> = arguments.iter().map(Expression::data_type).collect();
        let resolved = resolve_set(name, &types)?;
        let arguments = arguments
            .into_iter()
            .zip(&resolved.argument_types)
            .map(|(argument, &target)| self.convert(argument, target))
            .collect();
        let (function, data_type) = (resolved.function, resolved.return_type);
        Ok(SetCall { function, arguments, data_type })
    }

    /// The calls that make the columns of a function with several.
    fn row_calls(
        &self,
        name: &str,
        arguments: Vec<Expression>,
    ) -> Result<Option<Vec<SetCall>>, SqlError> {
        let class = DataType::Reg(RegKind::Class);
        let given: Vec<DataType> = arguments.iter().map(Expression::data_type).collect();
        let arrays = match (name, given.as_slice()) {
            ("pg_options_to_table", [_]) => ["option names", "option values"]
                .into_iter()
                .map(|array| self.call(array, arguments.clone()))
                .collect::<Result<Vec<_>, _>>()?,
            // No table has partitions that PostgreSQL would call so. What is answered reads the
            // argument all the same: it may be a column of an item before.
            ("pg_partition_tree", [relation]) if is_implicit_cast(*relation, class) => {
                let none = |element| {
                    let operand = Box::new(self.decided(arguments[0].clone()));
                    let read = Expression::IsNull { operand, negated: false };
                    let data_type = DataType::Array(element);
                    let nothing = Expression::Literal(Value::Null, data_type);
                    Expression::Case { branches: vec![(read, nothing)], otherwise: None, data_type }
                };
                let class = ElementType::Reg(RegKind::Class);
                [class, class, ElementType::Bool, ElementType::Int4].map(none).into()
            }
            _ => return Ok(None),
        };
        arrays
            .into_iter()
            .map(|array| self.set_call("unnest", vec![array]))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The calls of a function in `FROM`, over the columns of `scope`.
    fn table_calls(
        &self,
        call: &TableCall<'_>,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Vec<SetCall>, SqlError> {
        let arguments: Vec<Expression> =
            call.arguments.iter().map(|a| self.bind(a, scope, slots)).collect::<Result<_, _>>()?;
        if call.name == "unnest" && arguments.len() > 1 {
            let each = arguments.into_iter().map(|array| self.set_call("unnest", vec![array]));
            return each.collect();
        }
        if answers_rows(&call.name)
            && let Some(calls) = self.row_calls(&call.name, arguments.clone())?
        {
            return Ok(calls);
        }
        if is_set_function(&call.name) {
            return Ok(vec![self.set_call(&call.name, arguments)?]);
        }
        let value = self.call(&call.name, arguments)?;
        let data_type = value.data_type();
        Ok(vec![SetCall { function: SetFunction::Scalar, arguments: vec![value], data_type }])
    }

    /// Whether a function in `FROM` reads the columns of the items before it.
    pub(super) fn reads_columns(
        &self,
        call: &TableCall<'_>,
        scope: &Scope<'_>,
    ) -> Result<bool, SqlError> {
        let mut slots = table_slots();
        let calls = self.table_calls(call, scope, &mut slots)?;
        let is_column = |e: &Expression| matches!(e, Expression::Column(_));
        let mut arguments = calls.iter().flat_map(|call| &call.arguments);
        Ok(arguments.any(|argument| argument.any(&is_column)))
    }

    /// A function in `FROM` behind the items of `left`, whose columns it may read. `keep`: rows
    /// of `left` for which it answers nothing stay.
    pub(super) fn bind_table_call<'s>(
        &self,
        left: Source,
        call: &TableCall<'_>,
        keep: bool,
        outer: Option<&'s Scope<'s>>,
    ) -> Result<Source, SqlError> {
        let scope = Scope { columns: left.columns, parent: outer };
        let mut slots = table_slots();
        let mut calls = self.table_calls(call, &scope, &mut slots)?;
        let mut columns = scope.columns;
        let before = left.plan.types();
        let mut used: Vec<&mut Expression> =
            calls.iter_mut().flat_map(|call| &mut call.arguments).collect();
        let input = slots.place_subqueries(left.plan, &mut used);
        let with_subqueries = input.width();
        columns.extend(output_columns(call, &calls)?);
        let mut made: Vec<DataType> = calls.iter().map(|call| call.data_type).collect();
        made.extend(call.ordinality.then_some(DataType::Int8));
        let (input, ordinality) = (Box::new(input), call.ordinality);
        let plan = Logical::ProjectSet { input, calls, ordinality, outer: keep };
        if with_subqueries == before.len() {
            return Ok(Source { plan, columns });
        }
        // What subqueries added goes.
        let kept = before.into_iter().enumerate();
        let made = made.into_iter().enumerate().map(|(at, t)| (with_subqueries + at, t));
        let expressions = kept.chain(made).map(|(at, t)| Expression::column(at, t));
        Ok(Source { plan: plan.project(expressions.collect()), columns })
    }
}

fn table_slots() -> Slots {
    Slots::refusing(Refusals {
        aggregates: Some("functions in FROM"),
        windows: Some("functions in FROM"),
        subqueries: None,
    })
}

/// A single column is named by the alias, several by their function.
fn output_columns(call: &TableCall<'_>, calls: &[SetCall]) -> Result<Vec<ScopeColumn>, SqlError> {
    let relation = call.alias.map_or_else(|| call.name.clone(), |alias| fold(&alias.name));
    let first = if calls.len() == 1 { relation.clone() } else { call.name.clone() };
    let mut columns: Vec<(String, DataType)> =
        calls.iter().map(|call| (first.clone(), call.data_type)).collect();
    for (column, name) in columns.iter_mut().zip(row_columns(&call.name)) {
        column.0 = (*name).to_owned();
    }
    columns.extend(call.ordinality.then(|| ("ordinality".to_owned(), DataType::Int8)));
    let names = call.alias.map_or(&[][..], |alias| &alias.columns);
    if names.len() > columns.len() {
        return Err(SqlError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!(
                "table \"{relation}\" has {} columns available but {} columns specified",
                columns.len(),
                names.len()
            ),
        ));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.0 = fold(&name.name);
    }
    let scoped = columns.into_iter().map(|(name, data_type)| ScopeColumn {
        relation: Some(relation.clone()),
        name,
        data_type,
        hidden: false,
        only_qualified: false,
    });
    Ok(scoped.collect())
}

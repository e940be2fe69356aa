//! Subqueries become joins.
//!
//! An `Apply` runs its subplan once for each outer row. Where the subplan uses the outer row only
//! in conditions, these can be taken out of it and become the condition of a join:
//!
//! ```text
//! WHERE EXISTS (SELECT ... WHERE inner = outer)     semi join         NOT EXISTS: anti join
//! WHERE x IN (SELECT y ...)                         semi join on x = y
//! WHERE x NOT IN (SELECT y ...), uncorrelated       null-aware anti join on x = y
//! (SELECT max(y) ... WHERE inner = outer)           left join with max(y) grouped by inner
//! (SELECT y FROM pg_class WHERE inner = outer)      left join with the only y of each inner
//! ```
//!
//! The last is for relations that have no keys to look rows up by: the catalog's.
//!
//! A subplan that looks past its own outer row, or that cuts rows off (`LIMIT`), stays.

use super::{Logical, Rule, map_inputs};
use crate::sql::logical::{columns_of, conjunction, conjuncts, map_columns};
use model::expression::{BinaryOperator, Expression, FunctionReference, UnaryOperator};
use model::plan::{AggregateCall, AggregateFunction, ApplyKind, JoinKind};
use model::types::DataType;
use model::value::Value;
use shards::exec::functions::NO_MORE_THAN_ONE;
use std::sync::Arc;

/// The rule.
pub struct Decorrelation;

impl Rule for Decorrelation {
    fn name(&self) -> &'static str {
        "decorrelation"
    }

    fn apply(&self, plan: Logical) -> Logical {
        let mut plan = match plan {
            Logical::Filter { input, condition } => {
                let mut conditions = Vec::new();
                conjuncts(condition, &mut conditions);
                let input = unnest(*input, &mut conditions);
                match conjunction(conditions) {
                    Some(condition) => input.filter(condition),
                    None => input,
                }
            }
            Logical::Apply { input, subplan, kind: ApplyKind::Scalar } => {
                scalar_aggregate(*input, *subplan)
            }
            other => other,
        };
        map_inputs(&mut plan, &|input| self.apply(input));
        plan
    }
}

/// Turns the subqueries right below a filter into joins, where one of the filter's conditions is
/// the subquery's truth and nothing else. The column that held it stays, as a constant.
fn unnest(plan: Logical, conditions: &mut Vec<Expression>) -> Logical {
    let Logical::Apply { input, subplan, kind } = plan else { return plan };
    let input = unnest(*input, conditions);
    let truth = input.width();
    let found = conditions.iter().enumerate().find_map(|(at, condition)| match condition {
        Expression::Column(column) if column.index == truth => Some((at, true)),
        Expression::Unary { operator: UnaryOperator::Not, operand } => match operand.as_ref() {
            Expression::Column(column) if column.index == truth => Some((at, false)),
            _ => None,
        },
        _ => None,
    });
    let joined = match (found, &kind) {
        (Some((at, wanted)), ApplyKind::Exists | ApplyKind::Any { .. }) => {
            join_of(&input, &subplan, &kind, wanted).map(|join| (at, wanted, join))
        }
        _ => None,
    };
    let Some((at, wanted, (right, join, condition))) = joined else {
        return Logical::Apply { input: Box::new(input), subplan, kind };
    };
    conditions.remove(at);
    let mut columns = all_columns(&input);
    columns.push(Expression::literal(wanted, DataType::Bool));
    let (left, right) = (Box::new(input), Box::new(right));
    Logical::Join { left, right, kind: join, condition }.project(columns)
}

/// Right side, kind and condition of the join that keeps the rows for which a subquery is `wanted`.
fn join_of(
    input: &Logical,
    subplan: &Logical,
    kind: &ApplyKind,
    wanted: bool,
) -> Option<(Logical, JoinKind, Option<Expression>)> {
    let mut subplan = subplan;
    if *kind == ApplyKind::Exists {
        // Neither what is selected nor its order matters.
        while let Logical::Project { input, .. } | Logical::Sort { input, limit: None, .. } =
            subplan
        {
            subplan = input;
        }
    }
    let (right, pulled) = pull(subplan.clone())?;
    let width = input.width();
    let mut on: Vec<Expression> = pulled.into_iter().map(|c| joined(c, width)).collect();
    let join = match kind {
        ApplyKind::Any { operand, operator } => {
            let column = Expression::column(width, right.types()[0]);
            let compared = Expression::Binary {
                operator: *operator,
                left: Box::new(operand.clone()),
                right: Box::new(column),
                data_type: DataType::Bool,
            };
            // What `NOT IN` makes of a NULL depends on all rows that the join compares: only
            // those of one equality are known to be all of the subquery's.
            let mut columns = Vec::new();
            columns_of(operand, &mut columns);
            let plain = on.is_empty() && *operator == BinaryOperator::Equal && !columns.is_empty();
            on.push(compared);
            match wanted {
                true => JoinKind::Semi,
                false if plain => JoinKind::NullAwareAnti,
                false => return None,
            }
        }
        _ if wanted => JoinKind::Semi,
        _ => JoinKind::Anti,
    };
    Some((right, join, conjunction(on)))
}

/// A pulled condition over both sides of the join.
fn joined(mut condition: Expression, width: usize) -> Expression {
    map_columns(&mut condition, &|index| index + width);
    from_outer(&mut condition);
    condition
}

/// The outer row's columns become the left input's.
fn from_outer(expression: &mut Expression) {
    expression.rewrite(&mut |node| {
        if let Expression::Outer { depth: 0, index, data_type } = *node {
            *node = Expression::column(index, data_type);
        }
    });
}

fn all_columns(plan: &Logical) -> Vec<Expression> {
    let types = plan.types().into_iter().enumerate();
    types.map(|(index, data_type)| Expression::column(index, data_type)).collect()
}

fn has_outer(expression: &Expression) -> bool {
    expression.any(&|node| matches!(node, Expression::Outer { .. }))
}

/// Takes the conditions on the outer row out of a plan: they refer to its output, whose first
/// columns are what they were; more may follow. Order and duplicates of its rows may change.
/// `None` where the plan stays correlated.
fn pull(plan: Logical) -> Option<(Logical, Vec<Expression>)> {
    let (plan, pulled) = pull_node(plan)?;
    let near = |e: &Expression| !e.any(&|n| matches!(n, Expression::Outer { depth: 1.., .. }));
    (!plan.is_correlated() && pulled.iter().all(near)).then_some((plan, pulled))
}

fn pull_node(plan: Logical) -> Option<(Logical, Vec<Expression>)> {
    if !plan.is_correlated() {
        return Some((plan, Vec::new()));
    }
    match plan {
        Logical::Get { table, columns, conjuncts } => {
            let (pulled, stay) = conjuncts.into_iter().partition(has_outer);
            Some((Logical::Get { table, columns, conjuncts: stay }, pulled))
        }
        Logical::Filter { input, condition } => {
            let mut parts = Vec::new();
            conjuncts(condition, &mut parts);
            let (mut own, stay): (Vec<_>, Vec<_>) = parts.into_iter().partition(has_outer);
            let (input, mut pulled) = pull_node(*input)?;
            pulled.append(&mut own);
            let plan = match conjunction(stay) {
                Some(condition) => input.filter(condition),
                None => input,
            };
            Some((plan, pulled))
        }
        Logical::Project { input, expressions } => pull_project(*input, expressions),
        Logical::Sort { input, limit: None, .. } => pull_node(*input),
        Logical::Aggregate { input, groups, aggregates }
            if aggregates.is_empty() && !groups.is_empty() =>
        {
            // DISTINCT: duplicates do not matter here.
            pull_project(*input, groups)
        }
        Logical::Join { left, right, kind: JoinKind::Inner, condition } => {
            pull_join(*left, *right, condition)
        }
        _ => None,
    }
}

fn pull_project(
    input: Logical,
    mut expressions: Vec<Expression>,
) -> Option<(Logical, Vec<Expression>)> {
    if expressions.iter().any(has_outer) {
        return None;
    }
    let (input, mut pulled) = pull_node(input)?;
    for condition in &mut pulled {
        condition.rewrite(&mut |node| {
            let Expression::Column(column) = node else { return };
            let column = Expression::Column(*column);
            let known = expressions.iter().position(|expression| *expression == column);
            let index = known.unwrap_or_else(|| {
                expressions.push(column.clone());
                expressions.len() - 1
            });
            *node = Expression::column(index, column.data_type());
        });
    }
    Some((input.project(expressions), pulled))
}

fn pull_join(
    left: Logical,
    right: Logical,
    condition: Option<Expression>,
) -> Option<(Logical, Vec<Expression>)> {
    let (left_width, right_width) = (left.width(), right.width());
    let (left, mut pulled) = pull_node(left)?;
    let (right, from_right) = pull_node(right)?;
    // Columns that the left side gained push the right ones back; in the end they come last.
    let gained = left.width() - left_width;
    let moved = |index: usize| if index < left_width { index } else { index + gained };
    let mut own = Vec::new();
    if let Some(mut condition) = condition {
        map_columns(&mut condition, &moved);
        conjuncts(condition, &mut own);
    }
    let (on_outer, stay): (Vec<_>, Vec<_>) = own.into_iter().partition(has_outer);
    let offset = left.width();
    pulled.extend(from_right.into_iter().map(|mut condition| {
        map_columns(&mut condition, &|index| index + offset);
        condition
    }));
    pulled.extend(on_outer);
    let (left, right) = (Box::new(left), Box::new(right));
    let join = Logical::Join { left, right, kind: JoinKind::Inner, condition: conjunction(stay) };
    let first = (0..left_width).chain(offset..offset + right_width);
    let order: Vec<usize> =
        first.chain(left_width..offset).chain(offset + right_width..join.width()).collect();
    for condition in &mut pulled {
        map_columns(condition, &|index| {
            order.iter().position(|&column| column == index).unwrap_or(index)
        });
    }
    let types = join.types();
    let columns = order.iter().map(|&index| Expression::column(index, types[index])).collect();
    Some((join.project(columns), pulled))
}

/// A correlated aggregate without groups: aggregated once for every value that its rows are
/// compared with, then joined.
fn scalar_aggregate(input: Logical, subplan: Logical) -> Logical {
    match grouped(&subplan) {
        Some(parts) if subplan.is_correlated() => join_aggregate(input, parts),
        _ => {
            let (input, subplan) = (Box::new(input), Box::new(subplan));
            Logical::Apply { input, subplan, kind: ApplyKind::Scalar }
        }
    }
}

/// A scalar aggregate taken apart.
struct Grouped {
    /// Rows to aggregate, no longer correlated.
    rows: Logical,
    aggregates: Vec<AggregateCall>,
    /// Over the outer row's columns; as many as `inner`.
    outer: Vec<Expression>,
    /// Over `rows`; equal to the outer ones.
    inner: Vec<Expression>,
    /// On the outer row alone: without them there are no rows to aggregate.
    conditions: Vec<Expression>,
    /// The value, over the aggregates and the outer row.
    value: Expression,
}

fn grouped(subplan: &Logical) -> Option<Grouped> {
    if let Some(only) = only_row(subplan) {
        return grouped(&only);
    }
    let (value, aggregate) = match subplan {
        Logical::Project { input, expressions } => (expressions.first()?.clone(), input.as_ref()),
        other => (Expression::column(0, other.types()[0]), other),
    };
    let Logical::Aggregate { input, groups, aggregates } = aggregate else { return None };
    let used = aggregates.iter().flat_map(|call| call.arguments.iter().chain(&call.filter));
    if !groups.is_empty() || used.into_iter().any(has_outer) {
        return None;
    }
    if value.any(&|node| matches!(node, Expression::Outer { depth: 1.., .. })) {
        return None;
    }
    let (rows, pulled) = pull_keeping_duplicates(input)?;
    let (mut outer, mut inner, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
    for mut condition in pulled {
        if !condition.any(&|node| matches!(node, Expression::Column(_))) {
            from_outer(&mut condition);
            conditions.push(condition);
            continue;
        }
        let Expression::Binary { operator: BinaryOperator::Equal, left, right, .. } = condition
        else {
            return None;
        };
        let is_outer =
            |e: &Expression| has_outer(e) && !e.any(&|node| matches!(node, Expression::Column(_)));
        let (mut there, here) = match (is_outer(&left), is_outer(&right)) {
            (true, false) if !has_outer(&right) => (*left, *right),
            (false, true) if !has_outer(&left) => (*right, *left),
            _ => return None,
        };
        from_outer(&mut there);
        outer.push(there);
        inner.push(here);
    }
    (!inner.is_empty()).then(|| Grouped {
        rows,
        aggregates: aggregates.clone(),
        outer,
        inner,
        conditions,
        value,
    })
}

/// A subquery over relations without keys as an aggregate: how many rows there are, and the
/// columns of the first. Its value is that of the only row, and an error where there are more.
fn only_row(subplan: &Logical) -> Option<Logical> {
    let (value, rows) = match subplan {
        Logical::Project { input, expressions } => (expressions.first()?.clone(), input.as_ref()),
        other => (Expression::column(0, *other.types().first()?), other),
    };
    if matches!(rows, Logical::Aggregate { .. }) || reads_tables(rows) {
        return None;
    }
    let mut used = Vec::new();
    columns_of(&value, &mut used);
    used.sort_unstable();
    used.dedup();
    let types = rows.types();
    let first = |&column: &usize| AggregateCall {
        function: AggregateFunction::First,
        arguments: vec![Expression::column(column, types[column])],
        distinct: false,
        filter: None,
        data_type: types[column],
    };
    let mut aggregates: Vec<AggregateCall> = used.iter().map(first).collect();
    let count = Expression::column(aggregates.len(), DataType::Int8);
    aggregates.push(AggregateCall {
        function: AggregateFunction::Count,
        arguments: Vec::new(),
        distinct: false,
        filter: None,
        data_type: DataType::Int8,
    });
    let mut value = value;
    let data_type = value.data_type();
    map_columns(&mut value, &|index| used.binary_search(&index).unwrap_or(index));
    let one = Expression::Binary {
        operator: BinaryOperator::Equal,
        left: Box::new(count.clone()),
        right: Box::new(Expression::literal(1, DataType::Int8)),
        data_type: DataType::Bool,
    };
    let none = Expression::Function {
        function: FunctionReference(Arc::from(NO_MORE_THAN_ONE)),
        arguments: vec![count],
        data_type: DataType::Bool,
    };
    let nothing = Expression::Literal(Value::Null, data_type);
    let value = Expression::Case {
        branches: vec![(one, value), (none, nothing)],
        otherwise: None,
        data_type,
    };
    let input = Box::new(rows.clone());
    let aggregate = Logical::Aggregate { input, groups: Vec::new(), aggregates };
    Some(aggregate.project(vec![value]))
}

fn reads_tables(plan: &Logical) -> bool {
    let mut found = matches!(plan, Logical::Get { .. } | Logical::WorkingTable { .. });
    plan.for_each_input(|input, _| found = found || reads_tables(input));
    found
}

/// As [`pull`], for rows that are counted: nothing below may drop duplicates.
fn pull_keeping_duplicates(plan: &Logical) -> Option<(Logical, Vec<Expression>)> {
    fn drops(plan: &Logical) -> bool {
        let mut found = matches!(plan, Logical::Aggregate { .. }) && plan.is_correlated();
        plan.for_each_input(|input, _| found = found || drops(input));
        found
    }
    if drops(plan) { None } else { pull(plan.clone()) }
}

fn join_aggregate(input: Logical, parts: Grouped) -> Logical {
    let Grouped { rows, aggregates, outer, inner, conditions, mut value } = parts;
    let (width, keys) = (input.width(), inner.len());
    let counts: Vec<bool> =
        aggregates.iter().map(|call| call.function == AggregateFunction::Count).collect();
    let on =
        outer.into_iter().zip(&inner).enumerate().map(|(at, (outer, inner))| Expression::Binary {
            operator: BinaryOperator::Equal,
            left: Box::new(outer),
            right: Box::new(Expression::column(width + at, inner.data_type())),
            data_type: DataType::Bool,
        });
    let condition = conjunction(on.chain(conditions).collect::<Vec<_>>());
    let mut columns = all_columns(&input);
    let right = Logical::Aggregate { input: Box::new(rows), groups: inner, aggregates };
    let join = Logical::Join {
        left: Box::new(input),
        right: Box::new(right),
        kind: JoinKind::Left,
        condition,
    };
    value.rewrite(&mut |node| match *node {
        Expression::Column(column) => {
            let moved = Expression::column(width + keys + column.index, column.data_type);
            // No row to join is no row to aggregate: then a count is zero.
            *node = if counts[column.index] { zero_for_null(moved) } else { moved };
        }
        Expression::Outer { depth: 0, index, data_type } => {
            *node = Expression::column(index, data_type);
        }
        _ => {}
    });
    columns.push(value);
    join.project(columns)
}

fn zero_for_null(count: Expression) -> Expression {
    let data_type = count.data_type();
    let is_null = Expression::IsNull { operand: Box::new(count.clone()), negated: false };
    Expression::Case {
        branches: vec![(is_null, Expression::literal(0, data_type))],
        otherwise: Some(Box::new(count)),
        data_type,
    }
}

//! Logical to physical: what runs inside the partitions and what the router does with their rows.
//!
//! Each logical node becomes a plan and a place: a fragment (to run in some partitions) or the
//! router. A node over a fragment joins it where that gives the same rows: filters, projections,
//! partial aggregates, sorts that the exchange merges, limits, joins of tables that are partitioned
//! by their join keys. Whatever else meets a fragment puts an exchange over it first. A fragment
//! that runs in one partition only takes every operator.

use super::access::{self, Choice};
use super::key_order::reads_in_order;
use super::logical::{Logical, columns_of, conjunction, conjuncts, map_columns};
use model::expression::{BinaryOperator, Expression};
use model::plan::{
    Access, Aggregate, AggregateCall, Append, Apply, Exchange, Filter, HashJoin, JoinKind, Limit,
    LockRows, Materialize, NestedLoopJoin, Phase, Plan, Project, ProjectSet, Recursive, Scan,
    SetCall, SetOperation, Sort, SortKey, Target, Values, Window, WorkingTable,
};
use model::types::DataType;
use shards::exec::functions::calls_sequences;
use shards::exec::{output_types, state_types};
use std::sync::Arc;

/// A plan and where it runs.
enum Placed {
    Router(Plan),
    Fragment(Fragment),
}

struct Fragment {
    plan: Plan,
    target: Target,
    /// Output columns whose hash places the rows, in order; empty where they are not known.
    partitioned_by: Vec<usize>,
}

/// Makes the router's plan.
pub fn physical(logical: Logical) -> Plan {
    gather(place(logical))
}

fn place(logical: Logical) -> Placed {
    match logical {
        Logical::Get { table, columns, conjuncts } => {
            let Choice { access, target } = access::choose(&table, &columns, &conjuncts);
            if conjuncts.iter().any(has_outer) && !is_outer_access(&access) {
                let (outer, inner) = conjuncts.into_iter().partition(has_outer);
                let get = place(Logical::Get { table, columns, conjuncts: inner });
                let outer: Vec<Expression> = outer;
                return match conjunction(outer) {
                    Some(condition) => filter(get, condition),
                    None => get,
                };
            }
            let position = |ordinal: &usize| columns.iter().position(|column| column == ordinal);
            let partitioned_by: Option<Vec<usize>> =
                table.partition_columns.iter().map(position).collect();
            let scan = Scan {
                table,
                access,
                columns,
                filter: conjunction(conjuncts),
                reverse: false,
                lock: false,
                limit: None,
            };
            let partitioned_by = partitioned_by.unwrap_or_default();
            Placed::Fragment(Fragment { plan: Plan::Scan(scan), target, partitioned_by })
        }
        Logical::Values { rows, types } => Placed::Router(Plan::Values(Values { rows, types })),
        Logical::Filter { input, condition } => filter(place(*input), condition),
        Logical::Project { input, expressions } => project(place(*input), expressions),
        Logical::Aggregate { input, groups, aggregates } => {
            aggregate(place(*input), groups, aggregates)
        }
        Logical::Sort { input, keys, limit } => sort(place(*input), keys, limit),
        Logical::Limit { input, limit, offset } => limited(place(*input), limit, offset),
        Logical::LockRows { input, locks, ordered, limit, offset } => {
            let input = Box::new(gather(place(*input)));
            Placed::Router(Plan::LockRows(LockRows { input, locks, ordered, limit, offset }))
        }
        Logical::Join { left, right, kind, condition } => {
            let width = left.width();
            join(place(*left), place(*right), kind, condition, width)
        }
        Logical::Apply { input, subplan, kind } => {
            let changes = subplan.is_correlated() || subplan.reads_working_table();
            let input = Box::new(gather(place(*input)));
            let mut subplan = gather(place(*subplan));
            if changes {
                keep_uncorrelated(&mut subplan);
            } else {
                subplan = Plan::Materialize(Materialize { input: Box::new(subplan) });
            }
            Placed::Router(Plan::Apply(Apply { input, subplan: Arc::new(subplan), kind }))
        }
        Logical::Append { inputs } => {
            let inputs = inputs.into_iter().map(|input| gather(place(input))).collect();
            Placed::Router(Plan::Append(Append { inputs }))
        }
        Logical::Recursive { id, first, step, all } => {
            // The step runs again and again: what it reads of tables is fetched once and kept.
            let (first, mut step) = (Box::new(gather(place(*first))), gather(place(*step)));
            keep_uncorrelated(&mut step);
            Placed::Router(Plan::Recursive(Recursive { id, first, step: Arc::new(step), all }))
        }
        Logical::WorkingTable { id, types } => {
            Placed::Router(Plan::WorkingTable(WorkingTable { id, types }))
        }
        Logical::SetOperation { left, right, kind, all } => {
            let (left, right) = (Box::new(gather(place(*left))), Box::new(gather(place(*right))));
            Placed::Router(Plan::SetOperation(SetOperation { left, right, kind, all }))
        }
        Logical::ProjectSet { input, calls, ordinality, outer } => {
            project_set(place(*input), calls, ordinality, outer)
        }
        Logical::Window { input, partition_by, order_by, calls } => {
            let keys = order_by.iter().map(|key| &key.expression);
            let used = calls.iter().flat_map(|call| &call.arguments);
            let input = free_of_outer(place(*input), partition_by.iter().chain(keys).chain(used));
            over(input, |input| Plan::Window(Window { input, partition_by, order_by, calls }))
        }
    }
}

/// Puts an exchange over a fragment.
fn gather(placed: Placed) -> Plan {
    match placed {
        Placed::Router(plan) => plan,
        Placed::Fragment(fragment) => exchange(fragment.plan, fragment.target, Vec::new()),
    }
}

fn exchange(plan: Plan, target: Target, merge: Vec<SortKey>) -> Plan {
    Plan::Exchange(Exchange { fragment: Arc::new(plan), target, merge })
}

/// Whether a fragment runs in one partition only.
fn is_single(target: &Target) -> bool {
    match target {
        Target::System => true,
        Target::Keys(points) => points.len() == 1,
        Target::All => false,
    }
}

/// An operator that needs all rows in one place.
fn over(input: Placed, operator: impl FnOnce(Box<Plan>) -> Plan) -> Placed {
    match input {
        Placed::Fragment(fragment) if is_single(&fragment.target) => {
            let plan = operator(Box::new(fragment.plan));
            Placed::Fragment(Fragment { plan, partitioned_by: Vec::new(), ..fragment })
        }
        other => Placed::Router(operator(Box::new(gather(other)))),
    }
}

fn filter(input: Placed, mut condition: Expression) -> Placed {
    if calls_sequences(&condition) {
        let plan = gather(input);
        let types = output_types(&plan);
        let input = Box::new(with_drawn(plan, [&mut condition]));
        let plan = Plan::Filter(Filter { input, condition });
        return Placed::Router(first_columns(plan, &types));
    }
    match free_of_outer(input, [&condition]) {
        Placed::Fragment(mut fragment) => {
            fragment.plan = match fragment.plan {
                Plan::Scan(mut scan) if scan.limit.is_none() => {
                    scan.filter = conjunction(scan.filter.into_iter().chain([condition]));
                    Plan::Scan(scan)
                }
                plan => Plan::Filter(Filter { input: Box::new(plan), condition }),
            };
            Placed::Fragment(fragment)
        }
        Placed::Router(plan) => {
            Placed::Router(Plan::Filter(Filter { input: Box::new(plan), condition }))
        }
    }
}

/// Adds columns with what the expressions ask of sequences, which the router alone can answer, and
/// makes the expressions refer to them.
fn with_drawn<'e>(plan: Plan, expressions: impl IntoIterator<Item = &'e mut Expression>) -> Plan {
    let columns = output_types(&plan).into_iter().enumerate();
    let mut all: Vec<Expression> = columns.map(|(at, t)| Expression::column(at, t)).collect();
    for expression in expressions.into_iter().filter(|e| calls_sequences(e)) {
        let column = Expression::column(all.len(), expression.data_type());
        all.push(std::mem::replace(expression, column));
    }
    Plan::Project(Project { input: Box::new(plan), expressions: all })
}

/// The first columns of a plan, which are of these types.
fn first_columns(plan: Plan, types: &[DataType]) -> Plan {
    let columns = types.iter().enumerate().map(|(at, t)| Expression::column(at, *t));
    Plan::Project(Project { input: Box::new(plan), expressions: columns.collect() })
}

fn project(input: Placed, expressions: Vec<Expression>) -> Placed {
    let input = match expressions.iter().any(calls_sequences) {
        true => Placed::Router(gather(input)),
        false => input,
    };
    match free_of_outer(input, &expressions) {
        Placed::Fragment(mut fragment) => {
            let kept = |column: &usize| {
                expressions
                    .iter()
                    .position(|e| matches!(e, Expression::Column(c) if c.index == *column))
            };
            let partitioned_by: Option<Vec<usize>> =
                fragment.partitioned_by.iter().map(kept).collect();
            fragment.partitioned_by = partitioned_by.unwrap_or_default();
            let input = Box::new(fragment.plan);
            fragment.plan = Plan::Project(Project { input, expressions });
            Placed::Fragment(fragment)
        }
        Placed::Router(plan) => {
            Placed::Router(Plan::Project(Project { input: Box::new(plan), expressions }))
        }
    }
}

/// Rows are multiplied where they are: the input's columns keep their places.
fn project_set(input: Placed, mut calls: Vec<SetCall>, ordinality: bool, outer: bool) -> Placed {
    if calls.iter().flat_map(|call| &call.arguments).any(calls_sequences) {
        let plan = gather(input);
        let width = output_types(&plan).len();
        let arguments = calls.iter_mut().flat_map(|call| &mut call.arguments);
        let input = Box::new(with_drawn(plan, arguments));
        let drawn = output_types(&input).len() - width;
        let plan = Plan::ProjectSet(ProjectSet { input, calls, ordinality, outer });
        let columns = output_types(&plan).into_iter().enumerate();
        let kept = columns.filter(|(at, _)| !(width..width + drawn).contains(at));
        let expressions = kept.map(|(at, t)| Expression::column(at, t)).collect();
        return Placed::Router(Plan::Project(Project { input: Box::new(plan), expressions }));
    }
    let set = |input, calls| Plan::ProjectSet(ProjectSet { input, calls, ordinality, outer });
    match free_of_outer(input, calls.iter().flat_map(|call| &call.arguments)) {
        Placed::Fragment(mut fragment) => {
            fragment.plan = set(Box::new(fragment.plan), calls);
            Placed::Fragment(fragment)
        }
        Placed::Router(plan) => Placed::Router(set(Box::new(plan), calls)),
    }
}

fn aggregate(
    mut input: Placed,
    mut groups: Vec<Expression>,
    mut aggregates: Vec<AggregateCall>,
) -> Placed {
    let used = aggregates.iter().flat_map(|call| call.arguments.iter().chain(&call.filter));
    if groups.iter().chain(used).any(calls_sequences) {
        let used = aggregates.iter_mut();
        let used = used.flat_map(|call| call.arguments.iter_mut().chain(&mut call.filter));
        input = Placed::Router(with_drawn(gather(input), groups.iter_mut().chain(used)));
    }
    let single = |input: Box<Plan>, groups, aggregates| {
        Plan::Aggregate(Aggregate { input, groups, aggregates, phase: Phase::Single })
    };
    let used = aggregates.iter().flat_map(|call| call.arguments.iter().chain(&call.filter));
    let fragment = match free_of_outer(input, groups.iter().chain(used)) {
        Placed::Fragment(fragment)
            if !is_single(&fragment.target) && !aggregates.iter().any(|call| call.distinct) =>
        {
            fragment
        }
        other => return over(other, |input| single(input, groups, aggregates)),
    };
    if holds_partition(&groups, &fragment.partitioned_by) {
        // Every group lies in one partition: the whole work is done there.
        let partitioned_by = fragment
            .partitioned_by
            .iter()
            .filter_map(|column| group_of(&groups, *column))
            .collect();
        let plan = single(Box::new(fragment.plan), groups, aggregates);
        return Placed::Fragment(Fragment { plan, target: fragment.target, partitioned_by });
    }
    let final_groups: Vec<Expression> = groups
        .iter()
        .enumerate()
        .map(|(index, group)| Expression::column(index, group.data_type()))
        .collect();
    let mut next = groups.len();
    let final_calls: Vec<AggregateCall> = aggregates
        .iter()
        .map(|call| {
            let arguments = state_types(call).into_iter().map(|data_type| {
                next += 1;
                Expression::column(next - 1, data_type)
            });
            AggregateCall { arguments: arguments.collect(), filter: None, ..call.clone() }
        })
        .collect();
    let partial = Plan::Aggregate(Aggregate {
        input: Box::new(fragment.plan),
        groups,
        aggregates,
        phase: Phase::Partial,
    });
    Placed::Router(Plan::Aggregate(Aggregate {
        input: Box::new(exchange(partial, fragment.target, Vec::new())),
        groups: final_groups,
        aggregates: final_calls,
        phase: Phase::Final,
    }))
}

fn group_of(groups: &[Expression], column: usize) -> Option<usize> {
    groups.iter().position(|group| matches!(group, Expression::Column(c) if c.index == column))
}

fn holds_partition(groups: &[Expression], partitioned_by: &[usize]) -> bool {
    !partitioned_by.is_empty()
        && partitioned_by.iter().all(|column| group_of(groups, *column).is_some())
}

fn sort(input: Placed, keys: Vec<SortKey>, limit: Option<Expression>) -> Placed {
    match free_of_outer(input, keys.iter().map(|key| &key.expression)) {
        Placed::Fragment(mut fragment) => {
            let in_order = reads_in_order(&mut fragment.plan, &keys);
            let plan = match (in_order, limit) {
                (true, None) => fragment.plan,
                (true, limit) => {
                    Plan::Limit(Limit { input: Box::new(fragment.plan), limit, offset: None })
                }
                (false, limit) => {
                    let input = Box::new(fragment.plan);
                    Plan::Sort(Sort { input, keys: keys.clone(), limit })
                }
            };
            if is_single(&fragment.target) {
                return Placed::Fragment(Fragment { plan, partitioned_by: Vec::new(), ..fragment });
            }
            Placed::Router(exchange(plan, fragment.target, keys))
        }
        other => over(other, |input| Plan::Sort(Sort { input, keys, limit })),
    }
}

fn limited(input: Placed, limit: Option<Expression>, offset: Option<Expression>) -> Placed {
    let fragment = match input {
        Placed::Fragment(fragment) if !is_single(&fragment.target) => fragment,
        other => return over(other, |input| Plan::Limit(Limit { input, limit, offset })),
    };
    // No partition needs to send more rows than all together may.
    let enough = needed(limit.as_ref(), offset.as_ref());
    let mut plan = fragment.plan;
    if enough.is_some() {
        plan = Plan::Limit(Limit { input: Box::new(plan), limit: enough, offset: None });
    }
    let input = Box::new(exchange(plan, fragment.target, Vec::new()));
    Placed::Router(Plan::Limit(Limit { input, limit, offset }))
}

/// `limit + offset`, where there is a limit.
pub(super) fn needed(
    limit: Option<&Expression>,
    offset: Option<&Expression>,
) -> Option<Expression> {
    let limit = limit?;
    let Some(offset) = offset else { return Some(limit.clone()) };
    match (limit, offset) {
        (Expression::Literal(l, _), Expression::Literal(o, _)) => {
            let (model::value::Value::Int(l), model::value::Value::Int(o)) = (l, o) else {
                return None;
            };
            let sum = l.checked_add(*o).filter(|_| *l >= 0 && *o >= 0)?;
            Some(Expression::literal(sum, DataType::Int8))
        }
        // A parameter may be NULL or too great to add: all rows are sent then.
        _ => None,
    }
}

/// Splits a join's condition into equalities between the sides and the rest.
pub(super) fn equalities(
    condition: Option<Expression>,
    width: usize,
) -> (Vec<Expression>, Vec<Expression>, Option<Expression>) {
    let (mut left_keys, mut right_keys, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    let mut parts = Vec::new();
    if let Some(condition) = condition {
        conjuncts(condition, &mut parts);
    }
    for part in parts {
        let Expression::Binary { operator: BinaryOperator::Equal, left, right, .. } = &part else {
            rest.push(part);
            continue;
        };
        let (first, second) = match (side(left, width), side(right, width)) {
            (Some(Side::Left), Some(Side::Right)) => (left, right),
            (Some(Side::Right), Some(Side::Left)) => (right, left),
            _ => {
                rest.push(part);
                continue;
            }
        };
        let mut second = second.as_ref().clone();
        map_columns(&mut second, &|index| index - width);
        left_keys.push(first.as_ref().clone());
        right_keys.push(second);
    }
    (left_keys, right_keys, conjunction(rest))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// The side whose columns an expression reads; `None` where both or none.
fn side(expression: &Expression, width: usize) -> Option<Side> {
    let mut columns = Vec::new();
    columns_of(expression, &mut columns);
    let left = columns.iter().any(|&column| column < width);
    let right = columns.iter().any(|&column| column >= width);
    match (left, right) {
        (true, false) => Some(Side::Left),
        (false, true) => Some(Side::Right),
        _ => None,
    }
}

fn join(
    left: Placed,
    right: Placed,
    kind: JoinKind,
    condition: Option<Expression>,
    width: usize,
) -> Placed {
    let (left_keys, right_keys, rest) = equalities(condition, width);
    let used = || left_keys.iter().chain(&right_keys).chain(&rest);
    match (free_of_outer(left, used()), free_of_outer(right, used())) {
        (Placed::Fragment(left), Placed::Fragment(right))
            if in_place(&left, &right, kind, &left_keys, &right_keys) =>
        {
            let target = if left.target == right.target { left.target } else { Target::All };
            let partitioned_by = match kind {
                JoinKind::Right | JoinKind::Full => Vec::new(),
                _ => left.partitioned_by,
            };
            let plan = join_plan(left.plan, right.plan, kind, left_keys, right_keys, rest);
            Placed::Fragment(Fragment { plan, target, partitioned_by })
        }
        (left, right) => {
            let (left, right) = (gather(left), gather(right));
            Placed::Router(join_plan(left, right, kind, left_keys, right_keys, rest))
        }
    }
}

/// Whether rows that match lie in the same partition: both sides are placed by the hash of
/// columns that the join compares.
fn in_place(
    left: &Fragment,
    right: &Fragment,
    kind: JoinKind,
    left_keys: &[Expression],
    right_keys: &[Expression],
) -> bool {
    if left.target == Target::System || right.target == Target::System {
        return left.target == right.target;
    }
    // NOT IN must know of a NULL in any partition.
    if kind == JoinKind::NullAwareAnti || left.partitioned_by.is_empty() {
        return false;
    }
    let compared = |l: usize, r: usize| {
        left_keys.iter().zip(right_keys).any(|(left, right)| match (left, right) {
            (Expression::Column(a), Expression::Column(b)) => {
                a.index == l && b.index == r && same_hash(a.data_type, b.data_type)
            }
            _ => false,
        })
    };
    left.partitioned_by.len() == right.partitioned_by.len()
        && left.partitioned_by.iter().zip(&right.partitioned_by).all(|(&l, &r)| compared(l, r))
}

/// Whether equal values of the two types have the same encoding, and so the same place.
fn same_hash(left: DataType, right: DataType) -> bool {
    left.base() == right.base() || left.is_integer() && right.is_integer()
}

fn join_plan(
    left: Plan,
    right: Plan,
    kind: JoinKind,
    left_keys: Vec<Expression>,
    right_keys: Vec<Expression>,
    condition: Option<Expression>,
) -> Plan {
    let (left, right) = (Box::new(left), Box::new(right));
    if left_keys.is_empty() {
        return Plan::NestedLoopJoin(NestedLoopJoin { left, right, kind, condition });
    }
    Plan::HashJoin(HashJoin { left, right, kind, left_keys, right_keys, condition })
}

/// In the plan of a correlated subquery, which runs once for each outer row: what does not depend
/// on the outer row is fetched once and kept. A lookup by an outer value stays a lookup.
fn keep_uncorrelated(plan: &mut Plan) {
    match plan {
        Plan::Exchange(exchange) => {
            if !is_outer_lookup(&exchange.fragment) {
                let input = Box::new(plan.clone());
                *plan = Plan::Materialize(Materialize { input });
            }
        }
        Plan::Filter(Filter { input, .. })
        | Plan::Project(Project { input, .. })
        | Plan::Aggregate(Aggregate { input, .. })
        | Plan::Sort(Sort { input, .. })
        | Plan::Limit(Limit { input, .. })
        | Plan::LockRows(LockRows { input, .. })
        | Plan::Window(Window { input, .. })
        | Plan::ProjectSet(ProjectSet { input, .. })
        | Plan::Apply(Apply { input, .. }) => keep_uncorrelated(input),
        Plan::HashJoin(HashJoin { left, right, .. })
        | Plan::NestedLoopJoin(NestedLoopJoin { left, right, .. })
        | Plan::SetOperation(SetOperation { left, right, .. }) => {
            keep_uncorrelated(left);
            keep_uncorrelated(right);
        }
        Plan::Append(Append { inputs }) => inputs.iter_mut().for_each(keep_uncorrelated),
        // Its step keeps what it fetches in any case.
        Plan::Recursive(Recursive { first, .. }) => keep_uncorrelated(first),
        Plan::Scan(_)
        | Plan::Values(_)
        | Plan::WorkingTable(_)
        | Plan::Materialize(_)
        | Plan::Modify(_) => {}
    }
}

/// Whether a fragment finds its rows by values of the outer row: then, and only then, it may use
/// the outer row elsewhere too.
fn is_outer_lookup(plan: &Plan) -> bool {
    match plan {
        Plan::Scan(scan) => is_outer_access(&scan.access),
        Plan::Filter(Filter { input, .. })
        | Plan::Project(Project { input, .. })
        | Plan::Aggregate(Aggregate { input, .. })
        | Plan::Sort(Sort { input, .. })
        | Plan::Limit(Limit { input, .. })
        | Plan::Window(Window { input, .. })
        | Plan::ProjectSet(ProjectSet { input, .. }) => is_outer_lookup(input),
        Plan::HashJoin(HashJoin { left, right, .. })
        | Plan::NestedLoopJoin(NestedLoopJoin { left, right, .. }) => {
            is_outer_lookup(left) || is_outer_lookup(right)
        }
        _ => false,
    }
}

fn is_outer_access(access: &Access) -> bool {
    let (Access::PrimaryKey(bounds) | Access::Index { bounds, .. }) = access;
    bounds.equal.iter().flatten().any(has_outer)
}

fn has_outer(expression: &Expression) -> bool {
    expression.any(&|e| matches!(e, Expression::Outer { .. }))
}

/// A fragment stays free of the outer row unless it is a lookup by it, so that its rows can be
/// fetched once for all outer rows: an operator that uses the outer row then runs in the router.
fn free_of_outer<'e>(
    input: Placed,
    expressions: impl IntoIterator<Item = &'e Expression>,
) -> Placed {
    match input {
        Placed::Fragment(fragment)
            if !is_outer_lookup(&fragment.plan) && expressions.into_iter().any(has_outer) =>
        {
            Placed::Router(gather(Placed::Fragment(fragment)))
        }
        other => other,
    }
}

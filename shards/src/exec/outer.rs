//! Correlated columns made constants: what a fragment needs before it is sent to a partition.

use super::context::ExecContext;
use model::error::SqlError;
use model::expression::Expression;
use model::plan::{Access, ApplyKind, Bound, Plan, Target};
use std::sync::Arc;

/// Replaces every [`Expression::Outer`] that refers to the context's rows (not to an `Apply`
/// inside of `plan`) by its value.
pub(super) fn bind_outer(plan: &mut Plan, context: &ExecContext) -> Result<(), SqlError> {
    bind(plan, 0, context)
}

fn bind(plan: &mut Plan, inside: usize, context: &ExecContext) -> Result<(), SqlError> {
    let mut result = Ok(());
    for_each_expression(plan, &mut |expression| {
        if result.is_ok() {
            result = bind_expression(expression, inside, context);
        }
    });
    result?;
    if let Plan::Apply(apply) = plan {
        bind(&mut apply.input, inside, context)?;
        let mut subplan = apply.subplan.as_ref().clone();
        bind(&mut subplan, inside + 1, context)?;
        apply.subplan = Arc::new(subplan);
        return Ok(());
    }
    let mut result = Ok(());
    for_each_input(plan, &mut |input| {
        if result.is_ok() {
            result = bind(input, inside, context);
        }
    });
    result
}

/// `inside` is how many `Apply` nodes of the plan enclose the expression.
pub(super) fn bind_expression(
    expression: &mut Expression,
    inside: usize,
    context: &ExecContext,
) -> Result<(), SqlError> {
    let mut result = Ok(());
    expression.rewrite(&mut |node| {
        if let Expression::Outer { depth, index, data_type } = node
            && *depth >= inside
        {
            match context.outer_value(*depth - inside, *index) {
                Ok(value) => *node = Expression::Literal(value, *data_type),
                Err(error) => result = Err(error),
            }
        }
    });
    result
}

fn for_each_input(plan: &mut Plan, visit: &mut impl FnMut(&mut Plan)) {
    match plan {
        Plan::Scan(_) | Plan::Values(_) | Plan::WorkingTable(_) => {}
        Plan::Exchange(exchange) => {
            let mut fragment = exchange.fragment.as_ref().clone();
            visit(&mut fragment);
            exchange.fragment = Arc::new(fragment);
        }
        Plan::Filter(node) => visit(&mut node.input),
        Plan::Project(node) => visit(&mut node.input),
        Plan::Aggregate(node) => visit(&mut node.input),
        Plan::Sort(node) => visit(&mut node.input),
        Plan::Limit(node) => visit(&mut node.input),
        Plan::HashJoin(node) => {
            visit(&mut node.left);
            visit(&mut node.right);
        }
        Plan::NestedLoopJoin(node) => {
            visit(&mut node.left);
            visit(&mut node.right);
        }
        Plan::Apply(node) => visit(&mut node.input),
        Plan::Append(node) => node.inputs.iter_mut().for_each(visit),
        Plan::Recursive(node) => {
            visit(&mut node.first);
            visit(Arc::make_mut(&mut node.step));
        }
        Plan::SetOperation(node) => {
            visit(&mut node.left);
            visit(&mut node.right);
        }
        Plan::Window(node) => visit(&mut node.input),
        Plan::ProjectSet(node) => visit(&mut node.input),
        Plan::Materialize(node) => visit(&mut node.input),
        Plan::LockRows(node) => visit(&mut node.input),
        Plan::Modify(node) => visit(&mut node.input),
    }
}

/// The expressions of one node, not of its inputs.
fn for_each_expression(plan: &mut Plan, visit: &mut impl FnMut(&mut Expression)) {
    match plan {
        Plan::Scan(scan) => {
            scan.filter.iter_mut().for_each(&mut *visit);
            let (Access::PrimaryKey(bounds) | Access::Index { bounds, .. }) = &mut scan.access;
            bounds.equal.iter_mut().flatten().for_each(&mut *visit);
            let ends: [&mut Option<Bound>; 2] = [&mut bounds.lower, &mut bounds.upper];
            ends.into_iter().flatten().for_each(|bound| visit(&mut bound.value));
        }
        Plan::Values(values) => values.rows.iter_mut().flatten().for_each(visit),
        Plan::Exchange(exchange) => {
            exchange.merge.iter_mut().for_each(|key| visit(&mut key.expression));
            if let Target::Keys(keys) = &mut exchange.target {
                keys.iter_mut().flatten().for_each(visit);
            }
        }
        Plan::Filter(node) => visit(&mut node.condition),
        Plan::Project(node) => node.expressions.iter_mut().for_each(visit),
        Plan::Aggregate(node) => {
            node.groups.iter_mut().for_each(&mut *visit);
            for call in &mut node.aggregates {
                call.arguments.iter_mut().chain(&mut call.filter).for_each(&mut *visit);
            }
        }
        Plan::Sort(node) => {
            node.keys.iter_mut().for_each(|key| visit(&mut key.expression));
            node.limit.iter_mut().for_each(visit);
        }
        Plan::Limit(node) => node.limit.iter_mut().chain(&mut node.offset).for_each(visit),
        Plan::LockRows(node) => node.limit.iter_mut().chain(&mut node.offset).for_each(visit),
        Plan::HashJoin(node) => {
            let keys = node.left_keys.iter_mut().chain(&mut node.right_keys);
            keys.chain(&mut node.condition).for_each(visit);
        }
        Plan::NestedLoopJoin(node) => node.condition.iter_mut().for_each(visit),
        Plan::Apply(node) => {
            if let ApplyKind::Any { operand, .. } = &mut node.kind {
                visit(operand);
            }
        }
        Plan::ProjectSet(node) => {
            node.calls.iter_mut().flat_map(|call| &mut call.arguments).for_each(visit);
        }
        Plan::Append(_)
        | Plan::Recursive(_)
        | Plan::WorkingTable(_)
        | Plan::SetOperation(_)
        | Plan::Materialize(_)
        | Plan::Modify(_) => {}
        Plan::Window(node) => {
            node.partition_by.iter_mut().for_each(&mut *visit);
            node.order_by.iter_mut().for_each(|key| visit(&mut key.expression));
            node.calls.iter_mut().flat_map(|call| &mut call.arguments).for_each(visit);
        }
    }
}

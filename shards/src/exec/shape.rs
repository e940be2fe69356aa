//! What a plan's output looks like.

use super::aggregate;
use model::expression::Expression;
use model::plan::{ApplyKind, JoinKind, Phase, Plan};
use model::types::DataType;

/// The types of the columns that `plan` answers.
pub fn output_types(plan: &Plan) -> Vec<DataType> {
    let types_of = |expressions: &[Expression]| -> Vec<DataType> {
        expressions.iter().map(Expression::data_type).collect()
    };
    match plan {
        Plan::Scan(scan) => {
            scan.columns.iter().map(|&ordinal| scan.table.columns[ordinal].data_type).collect()
        }
        Plan::Values(values) => values.types.clone(),
        Plan::Recursive(node) => output_types(&node.first),
        Plan::WorkingTable(node) => node.types.clone(),
        Plan::Exchange(exchange) => output_types(&exchange.fragment),
        Plan::Filter(filter) => output_types(&filter.input),
        Plan::Project(project) => types_of(&project.expressions),
        Plan::Aggregate(node) => {
            let mut types = types_of(&node.groups);
            for call in &node.aggregates {
                match node.phase {
                    Phase::Partial => types.extend(aggregate::state_types(call)),
                    Phase::Single | Phase::Final => types.push(call.data_type),
                }
            }
            types
        }
        Plan::Sort(sort) => output_types(&sort.input),
        Plan::Limit(limit) => output_types(&limit.input),
        Plan::HashJoin(join) => join_types(join.kind, &join.left, &join.right),
        Plan::NestedLoopJoin(join) => join_types(join.kind, &join.left, &join.right),
        Plan::Apply(apply) => {
            let mut types = output_types(&apply.input);
            match &apply.kind {
                ApplyKind::Scalar | ApplyKind::Lateral { .. } => {
                    types.extend(output_types(&apply.subplan));
                }
                ApplyKind::Exists | ApplyKind::Any { .. } => types.push(DataType::Bool),
            }
            types
        }
        Plan::Append(append) => append.inputs.first().map_or(Vec::new(), output_types),
        Plan::SetOperation(operation) => output_types(&operation.left),
        Plan::Window(window) => {
            let mut types = output_types(&window.input);
            types.extend(window.calls.iter().map(|call| call.data_type));
            types
        }
        Plan::ProjectSet(node) => {
            let mut types = output_types(&node.input);
            types.extend(node.calls.iter().map(|call| call.data_type));
            types.extend(node.ordinality.then_some(DataType::Int8));
            types
        }
        Plan::Materialize(materialize) => output_types(&materialize.input),
        Plan::LockRows(node) => output_types(&node.input),
        Plan::Modify(modify) => modify.returning.as_deref().map_or(Vec::new(), types_of),
    }
}

fn join_types(kind: JoinKind, left: &Plan, right: &Plan) -> Vec<DataType> {
    let mut types = output_types(left);
    if !matches!(kind, JoinKind::Semi | JoinKind::Anti | JoinKind::NullAwareAnti) {
        types.extend(output_types(right));
    }
    types
}

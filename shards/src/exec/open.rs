//! From plan nodes to operators.

use super::aggregate::AggregateOperator;
use super::append::AppendOperator;
use super::apply::ApplyOperator;
use super::context::{ExecContext, Operator};
use super::exchange;
use super::filter::FilterOperator;
use super::functions::calls_sequences;
use super::join::{JoinOperator, JoinPlan};
use super::limit::{LimitOperator, Passing};
use super::lock_rows::LockRowsOperator;
use super::materialize::MaterializeOperator;
use super::project::ProjectOperator;
use super::project_set::ProjectSetOperator;
use super::recursive::{RecursiveOperator, WorkingTableOperator};
use super::scan::ScanOperator;
use super::set_operation::SetOperator;
use super::shape::output_types;
use super::sort::SortOperator;
use super::values::ValuesOperator;
use super::window::{WindowOperator, input_order};
use model::error::SqlError;
use model::expression::{BinaryOperator, Expression};
use model::plan::{Filter, HashJoin, JoinKind, Limit, Plan, Project, Sort};
use model::types::DataType;
use std::rc::Rc;

/// Makes the operators of a plan. Bounds, limits and keys without columns are evaluated here, so
/// that their errors come at once; reading starts with the first pull.
pub fn open(plan: &Plan, context: &Rc<ExecContext>) -> Result<Box<dyn Operator>, SqlError> {
    Ok(match plan {
        Plan::Scan(scan) => Box::new(ScanOperator::new(scan, None, context)?),
        Plan::Values(values) => Box::new(ValuesOperator::new(values, context)),
        Plan::Exchange(node) => exchange::open(node, context)?,
        Plan::Filter(node) => filter(node, open(&node.input, context)?, context),
        Plan::Project(node) => project(node, open(&node.input, context)?, context),
        Plan::Aggregate(node) => {
            Box::new(AggregateOperator::new(node, open(&node.input, context)?, context)?)
        }
        Plan::Sort(node) => {
            let types = output_types(&node.input);
            Box::new(SortOperator::new(node, open(&node.input, context)?, types, context)?)
        }
        Plan::Limit(node) => limit(node, u64::MAX, context)?,
        Plan::HashJoin(node) => {
            let left = open(&node.left, context)?;
            let right = open(&node.right, context)?;
            Box::new(JoinOperator::new(hash_join(node), left, right, context))
        }
        Plan::NestedLoopJoin(node) => {
            let plan = JoinPlan {
                kind: node.kind,
                left_keys: Vec::new(),
                right_keys: Vec::new(),
                condition: node.condition.clone(),
                left_types: output_types(&node.left),
                right_types: output_types(&node.right),
            };
            let left = open(&node.left, context)?;
            Box::new(JoinOperator::new(plan, left, open(&node.right, context)?, context))
        }
        Plan::Apply(node) => {
            let input = open(&node.input, context)?;
            Box::new(ApplyOperator::new(node, input, output_types(&node.subplan), context))
        }
        Plan::Append(node) => Box::new(AppendOperator {
            inputs: node.inputs.iter().map(|i| open(i, context)).collect::<Result<_, _>>()?,
        }),
        Plan::Recursive(node) => {
            let first = open(&node.first, context)?;
            Box::new(RecursiveOperator::new(node, first, output_types(&node.first), context))
        }
        Plan::WorkingTable(node) => {
            Box::new(WorkingTableOperator { working: context.working(node.id)?, at: 0 })
        }
        Plan::SetOperation(node) => {
            let left = open(&node.left, context)?;
            let right = open(&node.right, context)?;
            let types = output_types(&node.left);
            Box::new(SetOperator::new(left, right, node.kind, node.all, &types, context))
        }
        Plan::Window(node) => {
            let sort = Sort { input: node.input.clone(), keys: input_order(node), limit: None };
            let types = output_types(&node.input);
            let input = open(&node.input, context)?;
            let sorted = SortOperator::new(&sort, input, types, context)?;
            Box::new(WindowOperator::new(node, Box::new(sorted), context))
        }
        Plan::ProjectSet(node) => {
            let types = output_types(&node.input);
            let input = open(&node.input, context)?;
            Box::new(ProjectSetOperator::new(node, input, types, context))
        }
        Plan::Materialize(node) => {
            // The address names the node: it is the same for each outer row, and the plan
            // outlives its operators.
            let address = std::ptr::from_ref(node).addr();
            // What is kept already need not be asked for again.
            let input = match context.materialized.holds(address) {
                true => None,
                false => Some(open(&node.input, context)?),
            };
            let types = output_types(&node.input);
            let context = context.clone();
            Box::new(MaterializeOperator { node: address, input, types, context, at: 0 })
        }
        Plan::LockRows(node) => {
            Box::new(LockRowsOperator::new(node, open(&node.input, context)?, context)?)
        }
        Plan::Modify(_) => {
            return Err(SqlError::internal("a change of rows is no operator: see exec::modify"));
        }
    })
}

/// As [`open`], for one who may ask for no more than some rows: what is read for them only is not read
/// ahead of them.
fn open_some(
    plan: &Plan,
    wanted: u64,
    context: &Rc<ExecContext>,
) -> Result<Box<dyn Operator>, SqlError> {
    match plan {
        Plan::Scan(scan) => Ok(Box::new(ScanOperator::new(scan, Some(wanted), context)?)),
        Plan::Filter(node) => Ok(filter(node, open_some(&node.input, wanted, context)?, context)),
        Plan::Project(node) => Ok(project(node, open_some(&node.input, wanted, context)?, context)),
        Plan::Limit(node) => limit(node, wanted, context),
        other => open(other, context),
    }
}

fn limit(
    node: &Limit,
    wanted: u64,
    context: &Rc<ExecContext>,
) -> Result<Box<dyn Operator>, SqlError> {
    let passing = Passing::of(node, context)?;
    let input = open_some(&node.input, passing.wanted_of(wanted), context)?;
    Ok(Box::new(LimitOperator::new(passing, input)))
}

fn filter(node: &Filter, input: Box<dyn Operator>, context: &Rc<ExecContext>) -> Box<dyn Operator> {
    let (condition, context) = (node.condition.clone(), context.clone());
    Box::new(FilterOperator { input, condition, context })
}

fn project(
    node: &Project,
    input: Box<dyn Operator>,
    context: &Rc<ExecContext>,
) -> Box<dyn Operator> {
    let expressions = node.expressions.clone();
    let calls_sequences = context.sequences.is_some() && expressions.iter().any(calls_sequences);
    Box::new(ProjectOperator { input, expressions, calls_sequences, context: context.clone() })
}

/// `NOT IN` over several keys or with a further condition is three-valued in a way that only
/// looking at all pairs decides: the keys become part of the condition.
fn hash_join(node: &HashJoin) -> JoinPlan {
    let (left_types, right_types) = (output_types(&node.left), output_types(&node.right));
    let mut plan = JoinPlan {
        kind: node.kind,
        left_keys: node.left_keys.clone(),
        right_keys: node.right_keys.clone(),
        condition: node.condition.clone(),
        left_types,
        right_types,
    };
    let simple = plan.left_keys.len() == 1 && plan.condition.is_none();
    if plan.kind == JoinKind::NullAwareAnti && !simple {
        let shift = plan.left_types.len();
        let mut right_keys = std::mem::take(&mut plan.right_keys);
        let left_keys = std::mem::take(&mut plan.left_keys);
        for (left, right) in left_keys.into_iter().zip(&mut right_keys) {
            right.rewrite(&mut |node| {
                if let Expression::Column(column) = node {
                    column.index += shift;
                }
            });
            let equal = binary(BinaryOperator::Equal, left, right.clone());
            plan.condition = Some(match plan.condition.take() {
                Some(condition) => binary(BinaryOperator::And, equal, condition),
                None => equal,
            });
        }
    }
    plan
}

fn binary(operator: BinaryOperator, left: Expression, right: Expression) -> Expression {
    Expression::Binary {
        operator,
        left: Box::new(left),
        right: Box::new(right),
        data_type: DataType::Bool,
    }
}

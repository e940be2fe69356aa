//! Columns that nobody reads are neither read from tables nor sent. What draws from sequences stays.
//!
//! The plan is walked from the top with the columns that are needed of each node; a node answers
//! which ones it kept, in order: those needed and perhaps more.

use super::{Logical, Rule};
use crate::sql::logical::columns_of;
use model::expression::Expression;
use model::plan::{ApplyKind, JoinKind};
use shards::exec::functions::changes_sequences;

/// The rule.
pub struct ProjectionPruning;

impl Rule for ProjectionPruning {
    fn name(&self) -> &'static str {
        "projection pruning"
    }

    fn apply(&self, plan: Logical) -> Logical {
        let all = vec![true; plan.width()];
        prune_exactly(plan, &all)
    }
}

/// A pruned plan and the positions its columns had.
struct Pruned {
    plan: Logical,
    /// Ascending.
    kept: Vec<usize>,
}

impl Pruned {
    /// Where a column is now.
    fn position(&self, column: usize) -> usize {
        self.kept
            .binary_search(&column)
            .unwrap_or_else(|_| unreachable!("column {column} is read and was not asked for"))
    }

    fn remap(&self, expression: &mut Expression) {
        crate::sql::logical::map_columns(expression, &|index| self.position(index));
    }
}

/// Prunes to exactly the needed columns.
fn prune_exactly(plan: Logical, needed: &[bool]) -> Logical {
    let pruned = prune(plan, needed);
    if pruned.kept.iter().all(|&column| needed[column]) {
        return pruned.plan;
    }
    let types = pruned.plan.types();
    let wanted = pruned.kept.iter().enumerate().filter(|(_, column)| needed[**column]);
    let columns = wanted.map(|(at, _)| Expression::column(at, types[at])).collect();
    pruned.plan.project(columns)
}

fn note<'e>(expressions: impl IntoIterator<Item = &'e Expression>, needed: &mut [bool]) {
    let mut columns = Vec::new();
    expressions.into_iter().for_each(|expression| columns_of(expression, &mut columns));
    columns.into_iter().for_each(|column| needed[column] = true);
}

fn positions(needed: &[bool]) -> Vec<usize> {
    (0..needed.len()).filter(|&column| needed[column]).collect()
}

/// Keeps the needed elements of a list, but never none of several.
fn keep<T>(items: Vec<T>, needed: &[bool]) -> (Vec<T>, Vec<usize>) {
    let mut kept = positions(needed);
    if kept.is_empty() && !items.is_empty() {
        kept.push(0);
    }
    let items = items.into_iter().enumerate();
    let items = items.filter(|(at, _)| kept.contains(at)).map(|(_, item)| item);
    (items.collect(), kept)
}

fn prune(plan: Logical, needed: &[bool]) -> Pruned {
    match plan {
        Logical::Get { .. } => prune_get(plan, needed),
        Logical::Values { rows, types } => {
            let mut needed = needed.to_vec();
            for (at, needed) in needed.iter_mut().enumerate() {
                *needed = *needed || rows.iter().any(|row| changes_sequences(&row[at]));
            }
            let needed = needed.as_slice();
            let rows = rows.into_iter().map(|row| keep(row, needed).0).collect();
            let (types, kept) = keep(types, needed);
            Pruned { plan: Logical::Values { rows, types }, kept }
        }
        Logical::Filter { input, mut condition } => {
            let mut read = needed.to_vec();
            note([&condition], &mut read);
            let input = prune(*input, &read);
            input.remap(&mut condition);
            Pruned { plan: input.plan.filter(condition), kept: input.kept }
        }
        Logical::Project { input, expressions } => {
            let mut needed = needed.to_vec();
            for (needed, expression) in needed.iter_mut().zip(&expressions) {
                *needed |= changes_sequences(expression);
            }
            let (mut expressions, kept) = keep(expressions, &needed);
            let mut read = vec![false; input.width()];
            note(&expressions, &mut read);
            let input = prune(*input, &read);
            expressions.iter_mut().for_each(|expression| input.remap(expression));
            Pruned { plan: input.plan.project(expressions), kept }
        }
        Logical::Sort { input, mut keys, limit } => {
            let mut read = needed.to_vec();
            note(keys.iter().map(|key| &key.expression), &mut read);
            let input = prune(*input, &read);
            keys.iter_mut().for_each(|key| input.remap(&mut key.expression));
            let Pruned { plan, kept } = input;
            Pruned { plan: Logical::Sort { input: Box::new(plan), keys, limit }, kept }
        }
        Logical::Limit { input, limit, offset } => {
            let Pruned { plan, kept } = prune(*input, needed);
            Pruned { plan: Logical::Limit { input: Box::new(plan), limit, offset }, kept }
        }
        Logical::LockRows { .. } => prune_lock_rows(plan, needed),
        Logical::Append { inputs } => {
            let mut needed = needed.to_vec();
            // One column at least carries the rows, the same of all inputs.
            if !needed.contains(&true)
                && let Some(first) = needed.first_mut()
            {
                *first = true;
            }
            let inputs = inputs.into_iter().map(|input| prune_exactly(input, &needed));
            let inputs = inputs.collect();
            Pruned { plan: Logical::Append { inputs }, kept: positions(&needed) }
        }
        Logical::Aggregate { .. } => prune_aggregate(plan, needed),
        Logical::Join { .. } => prune_join(plan, needed),
        Logical::Apply { .. } => prune_apply(plan, needed),
        Logical::Window { .. } => prune_window(plan, needed),
        Logical::ProjectSet { .. } => prune_project_set(plan, needed),
        Logical::WorkingTable { id, types } => {
            let kept = (0..types.len()).collect();
            Pruned { plan: Logical::WorkingTable { id, types }, kept }
        }
        // What the step reads of a row, later rows depend on.
        Logical::Recursive { id, first, step, all } => {
            let every = vec![true; needed.len()];
            let first = Box::new(prune_exactly(*first, &every));
            let step = Box::new(prune_exactly(*step, &every));
            Pruned { plan: Logical::Recursive { id, first, step, all }, kept: positions(&every) }
        }
        // Rows are compared whole.
        Logical::SetOperation { left, right, kind, all } => {
            let every = vec![true; needed.len()];
            let left = Box::new(prune_exactly(*left, &every));
            let right = Box::new(prune_exactly(*right, &every));
            let plan = Logical::SetOperation { left, right, kind, all };
            Pruned { plan, kept: positions(&every) }
        }
    }
}

fn prune_get(plan: Logical, needed: &[bool]) -> Pruned {
    let Logical::Get { table, columns, mut conjuncts } = plan else {
        unreachable!("called for tables")
    };
    let mut read = needed.to_vec();
    note(&conjuncts, &mut read);
    let (columns, kept) = keep(columns, &read);
    let map = Pruned { plan: Logical::one_row(), kept };
    conjuncts.iter_mut().for_each(|conjunct| map.remap(conjunct));
    Pruned { plan: Logical::Get { table, columns, conjuncts }, ..map }
}

fn prune_lock_rows(plan: Logical, needed: &[bool]) -> Pruned {
    let Logical::LockRows { input, mut locks, ordered, limit, offset } = plan else {
        unreachable!("called for locks on rows")
    };
    let mut read = needed.to_vec();
    locks.iter().flat_map(|lock| &lock.key).for_each(|&column| read[column] = true);
    let Pruned { plan, kept } = prune(*input, &read);
    let map = Pruned { plan: Logical::one_row(), kept };
    let keys = locks.iter_mut().flat_map(|lock| &mut lock.key);
    keys.for_each(|column| *column = map.position(*column));
    let input = Box::new(plan);
    Pruned { plan: Logical::LockRows { input, locks, ordered, limit, offset }, ..map }
}

fn prune_project_set(plan: Logical, needed: &[bool]) -> Pruned {
    let Logical::ProjectSet { input, mut calls, ordinality, outer } = plan else {
        unreachable!("called for functions that return rows")
    };
    // Every call decides how many rows there are.
    let width = input.width();
    let mut read = needed[..width].to_vec();
    note(calls.iter().flat_map(|call| &call.arguments), &mut read);
    let input = prune(*input, &read);
    calls.iter_mut().flat_map(|call| &mut call.arguments).for_each(|e| input.remap(e));
    let mut kept = input.kept;
    kept.extend(width..needed.len());
    let input = Box::new(input.plan);
    Pruned { plan: Logical::ProjectSet { input, calls, ordinality, outer }, kept }
}

fn prune_aggregate(plan: Logical, needed: &[bool]) -> Pruned {
    let Logical::Aggregate { input, mut groups, aggregates } = plan else {
        unreachable!("called for aggregates")
    };
    let count = groups.len();
    let (mut aggregates, called) = match (count, aggregates.len()) {
        (_, 0) => (aggregates, Vec::new()),
        // Without groups there is a row even of no columns; one is kept to carry it.
        (0, _) => keep(aggregates, needed),
        _ => {
            let called = positions(&needed[count..]);
            let all = aggregates.into_iter().enumerate();
            let used = all.filter(|(at, _)| called.contains(at)).map(|(_, call)| call);
            (used.collect(), called)
        }
    };
    let mut read = vec![false; input.width()];
    note(&groups, &mut read);
    for call in &aggregates {
        note(call.arguments.iter().chain(&call.filter), &mut read);
    }
    let input = prune(*input, &read);
    groups.iter_mut().for_each(|group| input.remap(group));
    for call in &mut aggregates {
        let used = call.arguments.iter_mut().chain(&mut call.filter);
        used.for_each(|expression| input.remap(expression));
    }
    let kept = (0..count).chain(called.into_iter().map(|at| count + at)).collect();
    Pruned { plan: Logical::Aggregate { input: Box::new(input.plan), groups, aggregates }, kept }
}

fn prune_join(plan: Logical, needed: &[bool]) -> Pruned {
    let Logical::Join { left, right, kind, mut condition } = plan else {
        unreachable!("called for joins")
    };
    let width = left.width();
    let only_left = matches!(kind, JoinKind::Semi | JoinKind::Anti | JoinKind::NullAwareAnti);
    let mut read = needed.to_vec();
    read.resize(width + right.width(), false);
    note(&condition, &mut read);
    let left = prune(*left, &read[..width]);
    let right = prune(*right, &read[width..]);
    let mut kept = left.kept.clone();
    kept.extend(right.kept.iter().map(|column| column + width));
    let map = Pruned { plan: Logical::one_row(), kept };
    condition.iter_mut().for_each(|condition| map.remap(condition));
    let kept = if only_left { left.kept } else { map.kept };
    let (left, right) = (Box::new(left.plan), Box::new(right.plan));
    Pruned { plan: Logical::Join { left, right, kind, condition }, kept }
}

fn prune_apply(plan: Logical, needed: &[bool]) -> Pruned {
    let Logical::Apply { input, subplan, mut kind } = plan else {
        unreachable!("called for subqueries")
    };
    let width = input.width();
    if !matches!(kind, ApplyKind::Lateral { .. }) && !needed[width] {
        // Nobody asks what the subquery says.
        return prune(*input, &needed[..width]);
    }
    let (mut subplan, right_kept) = match &kind {
        ApplyKind::Lateral { .. } => {
            let pruned = prune(*subplan, &needed[width..]);
            (pruned.plan, pruned.kept)
        }
        ApplyKind::Exists => {
            let none = vec![false; subplan.width()];
            (prune(*subplan, &none).plan, vec![0])
        }
        ApplyKind::Scalar | ApplyKind::Any { .. } => {
            let mut first = vec![false; subplan.width()];
            first[0] = true;
            (prune_exactly(*subplan, &first), vec![0])
        }
    };
    let mut read = needed[..width].to_vec();
    if let ApplyKind::Any { operand, .. } = &kind {
        note([operand], &mut read);
    }
    subplan.rewrite_outer(&mut |index, _| read[index] = true);
    let input = prune(*input, &read);
    subplan.rewrite_outer(&mut |_, node| {
        if let Expression::Outer { index, .. } = node {
            *index = input.position(*index);
        }
    });
    if let ApplyKind::Any { operand, .. } = &mut kind {
        input.remap(operand);
    }
    let mut kept = input.kept;
    kept.extend(right_kept.into_iter().map(|column| column + width));
    let (input, subplan) = (Box::new(input.plan), Box::new(subplan));
    Pruned { plan: Logical::Apply { input, subplan, kind }, kept }
}

fn prune_window(plan: Logical, needed: &[bool]) -> Pruned {
    let Logical::Window { input, mut partition_by, mut order_by, calls } = plan else {
        unreachable!("called for windows")
    };
    let width = input.width();
    let called = positions(&needed[width..]);
    if called.is_empty() {
        return prune(*input, &needed[..width]);
    }
    let calls = calls.into_iter().enumerate().filter(|(at, _)| called.contains(at));
    let mut calls: Vec<_> = calls.map(|(_, call)| call).collect();
    let mut read = needed[..width].to_vec();
    note(&partition_by, &mut read);
    note(order_by.iter().map(|key| &key.expression), &mut read);
    note(calls.iter().flat_map(|call| &call.arguments), &mut read);
    let input = prune(*input, &read);
    partition_by.iter_mut().for_each(|expression| input.remap(expression));
    order_by.iter_mut().for_each(|key| input.remap(&mut key.expression));
    calls.iter_mut().flat_map(|call| &mut call.arguments).for_each(|e| input.remap(e));
    let mut kept = input.kept;
    kept.extend(called.into_iter().map(|at| at + width));
    let input = Box::new(input.plan);
    Pruned { plan: Logical::Window { input, partition_by, order_by, calls }, kept }
}

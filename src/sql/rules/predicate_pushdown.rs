//! Conditions sink towards the tables: through projections, joins, unions and groups, into the
//! tables' own reads, where they choose what is read.

use super::{Logical, Rule, map_inputs};
use crate::sql::logical::{columns_of, conjunction, conjuncts, map_columns};
use model::expression::Expression;
use model::plan::JoinKind;
use shards::exec::functions::calls_sequences;

/// The rule.
pub struct PredicatePushdown;

impl Rule for PredicatePushdown {
    fn name(&self) -> &'static str {
        "predicate pushdown"
    }

    fn apply(&self, plan: Logical) -> Logical {
        push(plan, Vec::new())
    }
}

/// Pushes conditions over `plan`'s output into it.
fn push(plan: Logical, mut conditions: Vec<Expression>) -> Logical {
    match plan {
        Logical::Filter { input, condition } => {
            let mut own = Vec::new();
            conjuncts(condition, &mut own);
            // What is asked of sequences is asked for the rows that the query says.
            let (stay, down): (Vec<_>, Vec<_>) = own.into_iter().partition(calls_sequences);
            if stay.is_empty() {
                conditions.extend(down);
                return push(*input, conditions);
            }
            filtered(push(*input, down), stay.into_iter().chain(conditions).collect())
        }
        Logical::Get { table, columns, conjuncts: mut known } => {
            known.extend(conditions);
            Logical::Get { table, columns, conjuncts: known }
        }
        Logical::Project { input, expressions } => {
            let (mut down, mut stay) = (Vec::new(), Vec::new());
            for condition in conditions {
                match substitute(&condition, &expressions) {
                    Some(condition) => down.push(condition),
                    None => stay.push(condition),
                }
            }
            let input = Box::new(push(*input, down));
            filtered(Logical::Project { input, expressions }, stay)
        }
        Logical::Join { left, right, kind, condition } => {
            push_join(*left, *right, kind, condition, conditions)
        }
        Logical::Append { inputs } => {
            let inputs = inputs.into_iter().map(|input| push(input, conditions.clone()));
            Logical::Append { inputs: inputs.collect() }
        }
        Logical::Aggregate { input, groups, aggregates } => {
            // A condition on groups alone keeps or drops whole groups.
            let on_groups = |condition: &Expression| {
                let mut columns = Vec::new();
                columns_of(condition, &mut columns);
                !columns.is_empty() && columns.iter().all(|&column| column < groups.len())
            };
            let (down, stay): (Vec<_>, Vec<_>) = conditions.into_iter().partition(on_groups);
            let mut pushed = Vec::new();
            let mut kept = stay;
            for condition in down {
                match substitute(&condition, &groups) {
                    Some(condition) => pushed.push(condition),
                    None => kept.push(condition),
                }
            }
            let input = Box::new(push(*input, pushed));
            filtered(Logical::Aggregate { input, groups, aggregates }, kept)
        }
        Logical::Sort { input, keys, limit: None } => {
            let input = Box::new(push(*input, conditions));
            Logical::Sort { input, keys, limit: None }
        }
        Logical::Apply { input, subplan, kind } => {
            let width = input.width();
            let (down, stay) = conditions.into_iter().partition(|c| reads_below(c, width));
            let input = Box::new(push(*input, down));
            let subplan = Box::new(push(*subplan, Vec::new()));
            filtered(Logical::Apply { input, subplan, kind }, stay)
        }
        Logical::ProjectSet { input, calls, ordinality, outer } => {
            let width = input.width();
            let (down, stay) = conditions.into_iter().partition(|c| reads_below(c, width));
            let input = Box::new(push(*input, down));
            filtered(Logical::ProjectSet { input, calls, ordinality, outer }, stay)
        }
        mut other => {
            map_inputs(&mut other, &|input| push(input, Vec::new()));
            filtered(other, conditions)
        }
    }
}

fn push_join(
    left: Logical,
    right: Logical,
    kind: JoinKind,
    condition: Option<Expression>,
    conditions: Vec<Expression>,
) -> Logical {
    let width = left.width();
    let kind = reduced(kind, width, &conditions);
    // What is known of both inputs' pairs: the join's own condition, of an inner join also the
    // conditions above it.
    let mut on = Vec::new();
    if let Some(condition) = condition {
        conjuncts(condition, &mut on);
    }
    let mut above = conditions;
    if kind == JoinKind::Inner {
        on.append(&mut above);
    }
    let (mut to_left, mut to_right) = (Vec::new(), Vec::new());
    let on_left_allowed = matches!(kind, JoinKind::Inner | JoinKind::Right | JoinKind::Semi);
    let on_right_allowed =
        matches!(kind, JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti);
    let mut on_rest = Vec::new();
    for condition in on {
        match reads(&condition, width) {
            Reads::Left if on_left_allowed => to_left.push(condition),
            Reads::Right if on_right_allowed => to_right.push(shifted(condition, width)),
            _ => on_rest.push(condition),
        }
    }
    let above_left_allowed = !matches!(kind, JoinKind::Right | JoinKind::Full);
    let above_right_allowed = kind == JoinKind::Right;
    let mut rest = Vec::new();
    for condition in above {
        match reads(&condition, width) {
            Reads::Left if above_left_allowed => to_left.push(condition),
            Reads::Right if above_right_allowed => to_right.push(shifted(condition, width)),
            _ => rest.push(condition),
        }
    }
    let (left, right) = (Box::new(push(left, to_left)), Box::new(push(right, to_right)));
    filtered(Logical::Join { left, right, kind, condition: conjunction(on_rest) }, rest)
}

/// An outer join whose added rows a condition above drops again is an inner one. Comparisons with
/// a `NULL` are never true.
fn reduced(kind: JoinKind, width: usize, conditions: &[Expression]) -> JoinKind {
    let rejects = |side: Reads| {
        conditions.iter().any(|condition| {
            let Expression::Binary { operator, left, right, .. } = condition else { return false };
            let strict = operator.is_comparison()
                && !matches!(
                    operator,
                    model::expression::BinaryOperator::IsDistinctFrom
                        | model::expression::BinaryOperator::IsNotDistinctFrom
                );
            let bare =
                |e: &Expression| matches!(e, Expression::Column(_)) && reads(e, width) == side;
            strict && (bare(left) || bare(right))
        })
    };
    match kind {
        JoinKind::Left if rejects(Reads::Right) => JoinKind::Inner,
        JoinKind::Right if rejects(Reads::Left) => JoinKind::Inner,
        JoinKind::Full => match (rejects(Reads::Left), rejects(Reads::Right)) {
            (true, true) => JoinKind::Inner,
            (true, false) => JoinKind::Left,
            (false, true) => JoinKind::Right,
            (false, false) => JoinKind::Full,
        },
        other => other,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Left,
    Right,
    Both,
    Nothing,
}

fn reads(condition: &Expression, width: usize) -> Reads {
    let mut columns = Vec::new();
    columns_of(condition, &mut columns);
    match (columns.iter().any(|&c| c < width), columns.iter().any(|&c| c >= width)) {
        (true, true) => Reads::Both,
        (true, false) => Reads::Left,
        (false, true) => Reads::Right,
        (false, false) => Reads::Nothing,
    }
}

fn reads_below(condition: &Expression, width: usize) -> bool {
    reads(condition, width) == Reads::Left
}

fn shifted(mut condition: Expression, width: usize) -> Expression {
    map_columns(&mut condition, &|index| index - width);
    condition
}

/// A condition over a projection's output as one over its input; `None` where that would compute
/// a function or a failing expression more often.
fn substitute(condition: &Expression, expressions: &[Expression]) -> Option<Expression> {
    let mut columns = Vec::new();
    columns_of(condition, &mut columns);
    let simple = |column: &usize| {
        matches!(
            expressions.get(*column),
            Some(Expression::Column(_) | Expression::Literal(..) | Expression::Outer { .. })
        )
    };
    if !columns.iter().all(simple) {
        return None;
    }
    let mut condition = condition.clone();
    condition.rewrite(&mut |node| {
        if let Expression::Column(column) = node {
            *node = expressions[column.index].clone();
        }
    });
    Some(condition)
}

fn filtered(plan: Logical, conditions: Vec<Expression>) -> Logical {
    match conjunction(conditions) {
        Some(condition) => plan.filter(condition),
        None => plan,
    }
}

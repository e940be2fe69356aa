//! A sort below a limit keeps only the first rows, what locks rows locks no more than are passed,
//! and a projection below it that draws from
//! sequences draws only for the rows that are passed.

use super::{Logical, Rule, map_inputs};
use crate::sql::physical::needed;
use model::expression::Expression;
use shards::exec::functions::changes_sequences;

/// The rule.
pub struct LimitPushdown;

impl Rule for LimitPushdown {
    fn name(&self) -> &'static str {
        "limit pushdown"
    }

    fn apply(&self, mut plan: Logical) -> Logical {
        map_inputs(&mut plan, &|input| self.apply(input));
        match plan {
            Logical::Limit { input, limit, offset } => limited(*input, limit, offset),
            plan => plan,
        }
    }
}

/// The limit of a plan, or of what lies under its projection where that changes sequences.
fn limited(mut input: Logical, limit: Option<Expression>, offset: Option<Expression>) -> Logical {
    tell_locks(&mut input, &limit, &offset);
    if let Some(rows) = needed(limit.as_ref(), offset.as_ref()) {
        tell(&mut input, rows);
    }
    match input {
        Logical::Project { input, expressions } if expressions.iter().any(changes_sequences) => {
            limited(*input, limit, offset).project(expressions)
        }
        input => Logical::Limit { input: Box::new(input), limit, offset },
    }
}

/// Tells what locks rows below how many are passed. How many it has to read for that, it does not
/// know before it locks them.
fn tell_locks(plan: &mut Logical, rows: &Option<Expression>, skipped: &Option<Expression>) {
    match plan {
        Logical::LockRows { limit, offset, .. } => {
            limit.clone_from(rows);
            offset.clone_from(skipped);
        }
        Logical::Project { input, .. } => tell_locks(input, rows, skipped),
        _ => {}
    }
}

/// Tells the sort below, through nodes that keep rows as they come.
fn tell(plan: &mut Logical, rows: Expression) {
    match plan {
        Logical::Sort { limit: limit @ None, .. } => *limit = Some(rows),
        Logical::Project { input, .. } => tell(input, rows),
        _ => {}
    }
}

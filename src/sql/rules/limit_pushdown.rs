//! A sort below a limit keeps only the first rows.

use super::{Logical, Rule, map_inputs};
use crate::sql::physical::needed;
use model::expression::Expression;

/// The rule.
pub struct LimitPushdown;

impl Rule for LimitPushdown {
    fn name(&self) -> &'static str {
        "limit pushdown"
    }

    fn apply(&self, mut plan: Logical) -> Logical {
        map_inputs(&mut plan, &|input| self.apply(input));
        if let Logical::Limit { input, limit, offset } = &mut plan
            && let Some(rows) = needed(limit.as_ref(), offset.as_ref())
        {
            tell(input, rows);
        }
        plan
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

//! Expressions without columns or parameters are computed once, when the statement is planned.
//!
//! Only what is the same at any time: functions such as `now()` stay. A part that fails stays too,
//! so that `CASE WHEN false THEN 1 / 0 END` is no error.

use super::{Logical, Rule, map_inputs};
use model::expression::Expression;
use shards::exec::ExecContext;
use shards::exec::evaluate::evaluate_constant;
use shards::exec::functions::{self, Volatility};
use shards::exec::memory::MemoryAccount;
use std::sync::Arc;

/// Memory that folding one constant may take.
const FOLD_BYTES_MAX: u64 = 16 << 20;

/// The rule.
pub struct ConstantFolding;

impl Rule for ConstantFolding {
    fn name(&self) -> &'static str {
        "constant folding"
    }

    fn apply(&self, mut plan: Logical) -> Logical {
        map_inputs(&mut plan, &|input| self.apply(input));
        plan.for_each_expression_mut(fold);
        plan
    }
}

/// Folds the constant parts of an expression.
pub fn fold(expression: &mut Expression) {
    if matches!(expression, Expression::Literal(..) | Expression::Column(_)) {
        return;
    }
    if is_constant(expression) {
        let context = ExecContext::new(Arc::from([]), 0, MemoryAccount::new(FOLD_BYTES_MAX));
        if let Ok(value) = evaluate_constant(expression, &context) {
            *expression = Expression::Literal(value, expression.data_type());
        }
        return;
    }
    expression.for_each_child_mut(fold);
}

fn is_constant(expression: &Expression) -> bool {
    let varies = |node: &Expression| match node {
        Expression::Column(_) | Expression::Parameter { .. } | Expression::Outer { .. } => true,
        Expression::Function { function, .. } => {
            functions::volatility(function) != Volatility::Immutable
        }
        _ => false,
    };
    !expression.any(&varies)
}

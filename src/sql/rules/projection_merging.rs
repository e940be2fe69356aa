//! A projection over another becomes one; a projection that changes nothing goes.

use super::{Logical, Rule, map_inputs};
use crate::sql::logical::columns_of;
use model::expression::Expression;
use shards::exec::functions::calls_sequences;

/// The rule.
pub struct ProjectionMerging;

impl Rule for ProjectionMerging {
    fn name(&self) -> &'static str {
        "projection merging"
    }

    fn apply(&self, mut plan: Logical) -> Logical {
        map_inputs(&mut plan, &|input| self.apply(input));
        let Logical::Project { input, expressions } = plan else { return plan };
        let (input, expressions) = match *input {
            Logical::Project { input, expressions: inner }
                if is_mergeable(&expressions, &inner) =>
            {
                (input, substituted(expressions, &inner))
            }
            other => (Box::new(other), expressions),
        };
        if is_identity(&expressions, &input) {
            return *input;
        }
        Logical::Project { input, expressions }
    }
}

/// Nothing may be computed more often than before.
fn is_mergeable(outer: &[Expression], inner: &[Expression]) -> bool {
    // A value that is drawn is drawn once, whether it is read or not.
    if inner.iter().any(calls_sequences) {
        return false;
    }
    let mut read = Vec::new();
    outer.iter().for_each(|expression| columns_of(expression, &mut read));
    let mut times = vec![0_usize; inner.len()];
    read.into_iter().for_each(|column| times[column] += 1);
    let is_free = |expression: &Expression| {
        matches!(
            expression,
            Expression::Column(_)
                | Expression::Literal(..)
                | Expression::Parameter { .. }
                | Expression::Outer { .. }
        )
    };
    inner.iter().zip(times).all(|(expression, times)| times <= 1 || is_free(expression))
}

fn substituted(mut outer: Vec<Expression>, inner: &[Expression]) -> Vec<Expression> {
    for expression in &mut outer {
        expression.rewrite(&mut |node| {
            if let Expression::Column(column) = node {
                *node = inner[column.index].clone();
            }
        });
    }
    outer
}

fn is_identity(expressions: &[Expression], input: &Logical) -> bool {
    expressions.len() == input.width()
        && expressions.iter().enumerate().all(
            |(at, expression)| matches!(expression, Expression::Column(column) if column.index == at),
        )
}

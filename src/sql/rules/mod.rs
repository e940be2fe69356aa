//! The rules that make a logical plan cheaper without changing its rows.
//!
//! One rule is one file and one unit struct; [`RULES`] is the order in which they run, once each.

mod constant_folding;
mod decorrelation;
mod limit_pushdown;
mod predicate_pushdown;
mod projection_merging;
mod projection_pruning;

use super::logical::Logical;
pub use constant_folding::fold;

/// A rewriting of whole plans.
pub trait Rule: Sync {
    /// Its name, for tests.
    fn name(&self) -> &'static str;
    /// The plan rewritten; the same rows in the same columns.
    fn apply(&self, plan: Logical) -> Logical;
}

/// All rules, in the order in which they run.
pub static RULES: &[&dyn Rule] = &[
    &constant_folding::ConstantFolding,
    &decorrelation::Decorrelation,
    &predicate_pushdown::PredicatePushdown,
    &projection_pruning::ProjectionPruning,
    &projection_merging::ProjectionMerging,
    &limit_pushdown::LimitPushdown,
];

/// Runs every rule.
pub fn optimize(plan: Logical) -> Logical {
    RULES.iter().fold(plan, |plan, rule| rule.apply(plan))
}

/// Rewrites every input of a node, subplans included.
fn map_inputs(plan: &mut Logical, rewrite: &impl Fn(Logical) -> Logical) {
    plan.for_each_input_mut(|input, _| {
        let taken = std::mem::replace(input, Logical::one_row());
        *input = rewrite(taken);
    });
}

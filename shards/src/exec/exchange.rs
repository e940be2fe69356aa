//! Runs a fragment in partitions and gathers, in any order or merging sorted answers.

use super::context::{ExecContext, Operator};
use super::evaluate::evaluate_constant;
use super::outer::bind_outer;
use super::shape::output_types;
use super::sort::Merge;
use model::error::SqlError;
use model::key;
use model::placement::hash_of;
use model::plan::{Exchange, Target};
use std::rc::Rc;
use std::sync::Arc;

/// Opens an exchange: correlated columns become constants, which the partitions can read.
pub(super) fn open(
    plan: &Exchange,
    context: &Rc<ExecContext>,
) -> Result<Box<dyn Operator>, SqlError> {
    let gather = context
        .gather
        .clone()
        .ok_or_else(|| SqlError::internal("an exchange outside of the router"))?;
    let bound = bound_exchange(plan, context)?;
    let exchange = bound.as_ref().unwrap_or(plan);
    if exchange.merge.is_empty() {
        return gather.open(exchange, context);
    }
    let mut sources = gather.open_each(exchange, context)?;
    match sources.len() {
        1 => Ok(sources.remove(0)),
        _ => {
            let types = output_types(&exchange.fragment);
            Ok(Box::new(Merge::new(sources, types, &exchange.merge, context)))
        }
    }
}

/// The exchange without correlated columns; `None` where it has none.
fn bound_exchange(plan: &Exchange, context: &ExecContext) -> Result<Option<Exchange>, SqlError> {
    if context.outer.is_none() {
        return Ok(None);
    }
    let mut fragment = plan.fragment.as_ref().clone();
    bind_outer(&mut fragment, context)?;
    let mut exchange = Exchange { fragment: Arc::new(fragment), ..plan.clone() };
    if let Target::Keys(keys) = &mut exchange.target {
        for expression in keys.iter_mut().flatten() {
            super::outer::bind_expression(expression, 0, context)?;
        }
    }
    Ok(Some(exchange))
}

/// The hashes of the rows that a target names; `None` where it is not given by keys. Keys with a
/// `NULL` select nothing and are left out.
pub fn target_hashes(target: &Target, context: &ExecContext) -> Result<Option<Vec<u64>>, SqlError> {
    let Target::Keys(keys) = target else { return Ok(None) };
    let mut hashes = Vec::with_capacity(keys.len());
    let mut encoded = Vec::new();
    'keys: for expressions in keys {
        encoded.clear();
        for expression in expressions {
            let value = evaluate_constant(expression, context)?;
            if value.is_null() {
                continue 'keys;
            }
            key::push_value(&mut encoded, &value, false);
        }
        hashes.push(hash_of(&encoded));
    }
    Ok(Some(hashes))
}

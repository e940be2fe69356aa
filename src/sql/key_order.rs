//! Order that costs nothing: a table lies in the order of its primary key, so a fragment that reads
//! it by that key need not sort by it, however many rows there are.

use model::expression::Expression;
use model::plan::{Access, Plan, SortKey};

/// Has `plan` give its rows in the order of `keys`, where that is the order in which it can read
/// its table. `false`: it cannot, and is unchanged.
pub(super) fn reads_in_order(plan: &mut Plan, keys: &[SortKey]) -> bool {
    let Some(descending) = keys.first().map(|key| key.descending) else { return false };
    if keys.iter().any(|key| key.descending != descending) {
        return false;
    }
    let columns: Option<Vec<usize>> = keys.iter().map(|key| column(&key.expression)).collect();
    columns.is_some_and(|columns| gives(plan, &columns, descending))
}

fn column(expression: &Expression) -> Option<usize> {
    match expression {
        Expression::Column(column) => Some(column.index),
        _ => None,
    }
}

/// `columns` of the plan's output, most significant first.
fn gives(plan: &mut Plan, columns: &[usize], descending: bool) -> bool {
    match plan {
        Plan::Filter(filter) => gives(&mut filter.input, columns, descending),
        Plan::Project(project) => {
            let below = columns.iter().map(|&at| column(project.expressions.get(at)?));
            let below: Option<Vec<usize>> = below.collect();
            below.is_some_and(|columns| gives(&mut project.input, &columns, descending))
        }
        Plan::Scan(scan) if !scan.lock && scan.limit.is_none() => {
            // Several points are read in the order in which they were given.
            let Access::PrimaryKey(bounds) = &scan.access else { return false };
            let ordinals: Option<Vec<usize>> =
                columns.iter().map(|&at| scan.columns.get(at).copied()).collect();
            let key = &scan.table.primary_key;
            // No two rows have the same key, so what is sorted by after it changes nothing. Keys
            // are never NULL.
            let is_key = ordinals.is_some_and(|ordinals| {
                !key.is_empty() && (key.starts_with(&ordinals) || ordinals.starts_with(key))
            });
            if bounds.equal.len() > 1 || !is_key {
                return false;
            }
            scan.reverse = descending;
            true
        }
        _ => false,
    }
}

//! Order that costs nothing: a table lies in the order of its primary key, and the entries of an index
//! in that of its columns, so a fragment that reads by one of them need not sort by it, however many
//! rows there are.

use model::expression::Expression;
use model::plan::{Access, KeyBounds, Plan, Scan, SortKey};

/// A column of a plan's output that is sorted by.
#[derive(Clone, Copy)]
struct By {
    column: usize,
    nulls_first: bool,
}

/// Has `plan` give its rows in the order of `keys`, where that is the order in which it can read
/// its table. `false`: it cannot, and is unchanged.
pub(super) fn reads_in_order(plan: &mut Plan, keys: &[SortKey]) -> bool {
    let Some(descending) = keys.first().map(|key| key.descending) else { return false };
    if keys.iter().any(|key| key.descending != descending) {
        return false;
    }
    let by = |key: &SortKey| {
        let column = column(&key.expression)?;
        Some(By { column, nulls_first: key.nulls_first })
    };
    let columns: Option<Vec<By>> = keys.iter().map(by).collect();
    columns.is_some_and(|columns| gives(plan, &columns, descending))
}

fn column(expression: &Expression) -> Option<usize> {
    match expression {
        Expression::Column(column) => Some(column.index),
        _ => None,
    }
}

/// `columns` of the plan's output, most significant first.
fn gives(plan: &mut Plan, columns: &[By], descending: bool) -> bool {
    match plan {
        Plan::Filter(filter) => gives(&mut filter.input, columns, descending),
        Plan::Project(project) => {
            let below = columns.iter().map(|by| {
                let column = column(project.expressions.get(by.column)?)?;
                Some(By { column, ..*by })
            });
            let below: Option<Vec<By>> = below.collect();
            below.is_some_and(|columns| gives(&mut project.input, &columns, descending))
        }
        Plan::Scan(scan) if !scan.lock && scan.limit.is_none() => {
            let gives = is_order_of(scan, columns, descending);
            if gives {
                scan.reverse = descending;
            }
            gives
        }
        _ => false,
    }
}

/// Whether a scan reads in the order of some of its columns, or can in reverse.
fn is_order_of(scan: &Scan, columns: &[By], descending: bool) -> bool {
    let table = &scan.table;
    let (bounds, order, is_total): (&KeyBounds, Vec<usize>, bool) = match &scan.access {
        Access::PrimaryKey(bounds) => (bounds, table.primary_key.clone(), true),
        Access::Index { index, bounds } => {
            let index = &table.indexes[*index];
            if index.columns.iter().any(|column| column.descending) {
                return false;
            }
            let columns = index.columns.iter().map(|column| column.ordinal);
            // Entries that claim their columns for themselves end with them.
            let primary = table.primary_key.iter().copied().filter(|_| !index.unique);
            (bounds, columns.chain(primary).collect(), !index.unique)
        }
    };
    // Several points are read in the order in which they were given.
    if bounds.equal.len() > 1 {
        return false;
    }
    let (fixed, order) = order.split_at(bounds.equal.first().map_or(0, Vec::len));
    let mut wanted = Vec::with_capacity(columns.len());
    for by in columns {
        let Some(&ordinal) = scan.columns.get(by.column) else { return false };
        if fixed.contains(&ordinal) {
            continue;
        }
        // NULL is behind everything, and in reverse before it; there is none in primary keys.
        let has_nulls = table.columns[ordinal].nullable && !table.primary_key.contains(&ordinal);
        if has_nulls && by.nulls_first != descending {
            return false;
        }
        wanted.push(ordinal);
    }
    // No two rows agree in a total order, so what is sorted by after it changes nothing.
    order.starts_with(&wanted) || is_total && wanted.starts_with(order)
}

//! How a table's rows are found: which key, which bounds, which partitions.

use model::expression::{BinaryOperator, ColumnReference, Expression};
use model::plan::{Access, Bound, KeyBounds, Target};
use model::schema::{Placement, Table};
use model::types::DataType;

/// Most points of a lookup by `IN`; more are compared row by row.
const POINTS_MAX: usize = 1_000;

/// A chosen way to the rows.
pub struct Choice {
    /// What is read.
    pub access: Access,
    /// Where.
    pub target: Target,
}

/// What the conjuncts say of one column.
#[derive(Default, Clone)]
struct ColumnBounds {
    equal: Option<Vec<Expression>>,
    lower: Option<Bound>,
    upper: Option<Bound>,
}

/// Chooses by the conjuncts over a scan's output `columns` (ordinals of the table). The conjuncts
/// stay the scan's filter: bounds only narrow what is read.
pub fn choose(table: &Table, columns: &[usize], conjuncts: &[Expression]) -> Choice {
    let mut bounds: Vec<ColumnBounds> = vec![ColumnBounds::default(); table.columns.len()];
    for conjunct in conjuncts {
        note(conjunct, columns, &mut bounds);
    }
    let target = target(table, &bounds);
    let primary = key_bounds(&table.primary_key, &bounds);
    let mut best = (score(&primary, table.primary_key.len(), true), None, primary);
    for (position, index) in table.indexes.iter().enumerate() {
        // A descending column turns its range around; a lookup by equality does not care. An
        // index that lies elsewhere than its rows serves uniqueness, not scans.
        if index.global || index.columns.iter().any(|column| column.descending) {
            continue;
        }
        let ordinals: Vec<usize> = index.columns.iter().map(|column| column.ordinal).collect();
        let candidate = key_bounds(&ordinals, &bounds);
        let score = score(&candidate, ordinals.len(), index.unique);
        if score > best.0 {
            best = (score, Some(position), candidate);
        }
    }
    let (_, index, bounds) = best;
    let access = match index {
        None => Access::PrimaryKey(bounds),
        Some(index) => Access::Index { index, bounds },
    };
    Choice { access, target }
}

/// Worth of some bounds: a whole unique key, then equal leading columns, then a range.
fn score(bounds: &KeyBounds, width: usize, unique: bool) -> u32 {
    let equal = bounds.equal.first().map_or(0, Vec::len);
    let range = bounds.lower.is_some() || bounds.upper.is_some();
    if equal == width && width > 0 && unique {
        return 1_000;
    }
    let both = bounds.lower.is_some() && bounds.upper.is_some();
    10 * equal as u32 + 2 * u32::from(range) + u32::from(both)
}

fn target(table: &Table, bounds: &[ColumnBounds]) -> Target {
    if table.placement == Placement::System {
        return Target::System;
    }
    let known: Option<Vec<&Vec<Expression>>> =
        table.partition_columns.iter().map(|&o| bounds[o].equal.as_ref()).collect();
    match known.and_then(|columns| product(&columns)) {
        Some(points) => Target::Keys(points),
        None => Target::All,
    }
}

fn key_bounds(ordinals: &[usize], bounds: &[ColumnBounds]) -> KeyBounds {
    let mut equal: Vec<&Vec<Expression>> = Vec::new();
    for &ordinal in ordinals {
        match &bounds[ordinal].equal {
            Some(values) => equal.push(values),
            None => break,
        }
    }
    let points = loop {
        match product(&equal) {
            Some(points) => break points,
            // Too many combinations: fewer leading columns.
            None => {
                equal.pop();
            }
        }
    };
    let (mut lower, mut upper) = (None, None);
    if points.len() <= 1
        && let Some(&next) = ordinals.get(equal.len())
        && bounds[next].equal.is_none()
    {
        lower.clone_from(&bounds[next].lower);
        upper.clone_from(&bounds[next].upper);
    }
    let equal = if equal.is_empty() { Vec::new() } else { points };
    KeyBounds { equal, lower, upper }
}

/// All combinations of the columns' values; `None` where there are too many. No columns make one
/// empty combination.
fn product(columns: &[&Vec<Expression>]) -> Option<Vec<Vec<Expression>>> {
    let count = columns.iter().try_fold(1_usize, |count, values| count.checked_mul(values.len()));
    if count.is_none_or(|count| count > POINTS_MAX) {
        return None;
    }
    let mut points = vec![Vec::with_capacity(columns.len())];
    for values in columns {
        let extended = points.iter().flat_map(|point: &Vec<Expression>| {
            values.iter().map(move |value| {
                let mut longer = point.clone();
                longer.push(value.clone());
                longer
            })
        });
        points = extended.collect();
    }
    Some(points)
}

fn note(conjunct: &Expression, columns: &[usize], bounds: &mut [ColumnBounds]) {
    match conjunct {
        Expression::Binary { operator, left, right, .. } => {
            let sides = [(left, *operator, right), (right, turned(*operator), left)];
            for (column, operator, value) in sides {
                let Some(ordinal) = plain_column(column, columns) else { continue };
                if !is_constant(value) || value.data_type().base() != column.data_type().base() {
                    continue;
                }
                note_comparison(&mut bounds[ordinal], operator, value);
            }
        }
        Expression::InList { operand, list, negated: false } => {
            let Some(ordinal) = plain_column(operand, columns) else { return };
            let usable = |value: &Expression| {
                is_constant(value) && value.data_type().base() == operand.data_type().base()
            };
            if list.iter().all(usable) && bounds[ordinal].equal.is_none() {
                let mut values: Vec<Expression> = Vec::with_capacity(list.len());
                for value in list {
                    if !values.contains(value) {
                        values.push(value.clone());
                    }
                    if values.len() > POINTS_MAX {
                        return;
                    }
                }
                bounds[ordinal].equal = Some(values);
            }
        }
        _ => {}
    }
}

fn note_comparison(bounds: &mut ColumnBounds, operator: BinaryOperator, value: &Expression) {
    let bound = |inclusive| Some(Bound { value: value.clone(), inclusive });
    match operator {
        BinaryOperator::Equal => bounds.equal = Some(vec![value.clone()]),
        BinaryOperator::Less if bounds.upper.is_none() => bounds.upper = bound(false),
        BinaryOperator::LessOrEqual if bounds.upper.is_none() => bounds.upper = bound(true),
        BinaryOperator::Greater if bounds.lower.is_none() => bounds.lower = bound(false),
        BinaryOperator::GreaterOrEqual if bounds.lower.is_none() => bounds.lower = bound(true),
        _ => {}
    }
}

fn turned(operator: BinaryOperator) -> BinaryOperator {
    use BinaryOperator::{Greater, GreaterOrEqual, Less, LessOrEqual};
    match operator {
        Less => Greater,
        LessOrEqual => GreaterOrEqual,
        Greater => Less,
        GreaterOrEqual => LessOrEqual,
        other => other,
    }
}

fn plain_column(expression: &Expression, columns: &[usize]) -> Option<usize> {
    column_of(expression).and_then(|column| columns.get(column.index).copied())
}

/// The column that an expression is, perhaps as a wider integer: drivers give keys as `bigint`,
/// and equal integers have equal keys whatever their type.
pub(super) fn column_of(expression: &Expression) -> Option<&ColumnReference> {
    match expression {
        Expression::Column(column) => Some(column),
        Expression::Cast { operand, data_type, .. } => match operand.as_ref() {
            Expression::Column(column) if widens(column.data_type, *data_type) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

/// Whether every value of one integer type is one of another.
fn widens(from: DataType, to: DataType) -> bool {
    matches!(
        (from, to),
        (DataType::Int2, DataType::Int4 | DataType::Int8) | (DataType::Int4, DataType::Int8)
    )
}

/// Whether an expression has its value before any row is read. A value of an outer row has: the
/// exchange puts it in for each outer row.
fn is_constant(expression: &Expression) -> bool {
    !expression.any(&|e| matches!(e, Expression::Column(_)))
}

//! Slots: what an expression needs that is computed by a node of its own.
//!
//! An aggregate, a window function and a subquery become columns, but which ones is known only
//! when their nodes have been placed. Until then the bound expression holds a slot: a column whose
//! index lies beyond every real one.

use super::logical::Logical;
use model::expression::{ColumnReference, Expression};
use model::plan::{AggregateCall, ApplyKind, SetCall, SortKey, WindowFunction};
use model::types::DataType;

const AGGREGATES: usize = 1 << 40;
const WINDOWS: usize = 1 << 41;
const SUBQUERIES: usize = 1 << 42;
const SETS: usize = 1 << 43;

/// A window function call with its window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowSlot {
    /// The function.
    pub function: WindowFunction,
    /// Its arguments.
    pub arguments: Vec<Expression>,
    /// `PARTITION BY`
    pub partition_by: Vec<Expression>,
    /// `ORDER BY`
    pub order_by: Vec<SortKey>,
    /// Type of the result.
    pub data_type: DataType,
}

/// A subquery in an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct SubquerySlot {
    /// Its plan.
    pub plan: Logical,
    /// What becomes of its rows.
    pub kind: ApplyKind,
}

/// What may stand in the expressions of a clause; `Some` names the clause for the refusal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refusals {
    /// Aggregates.
    pub aggregates: Option<&'static str>,
    /// Window functions.
    pub windows: Option<&'static str>,
    /// Subqueries.
    pub subqueries: Option<&'static str>,
}

/// The slots of one query level.
#[derive(Debug, Default)]
pub struct Slots {
    /// Aggregates, each once.
    pub aggregates: Vec<AggregateCall>,
    /// The order in which the aggregates take their rows, where one of them asks for it. All
    /// share it: what does not ask takes any.
    pub aggregate_order: Option<Vec<SortKey>>,
    /// Window functions.
    pub windows: Vec<WindowSlot>,
    /// Subqueries.
    pub subqueries: Vec<SubquerySlot>,
    /// Functions that answer several rows.
    pub sets: Vec<SetCall>,
    /// Whether the clause at hand takes such functions.
    pub takes_sets: bool,
    /// What the clause at hand refuses.
    pub refusals: Refusals,
}

/// What a slot column stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Position in [`Slots::aggregates`].
    Aggregate(usize),
    /// Position in [`Slots::windows`].
    Window(usize),
    /// Position in [`Slots::subqueries`].
    Subquery(usize),
    /// Position in [`Slots::sets`].
    Set(usize),
}

impl Slots {
    /// Slots for a clause that refuses something.
    pub fn refusing(refusals: Refusals) -> Slots {
        Slots { refusals, ..Slots::default() }
    }

    /// The slot of an aggregate; the same call shares one.
    pub fn aggregate(&mut self, call: AggregateCall) -> Expression {
        let data_type = call.data_type;
        let known = self.aggregates.iter().position(|other| *other == call);
        let position = known.unwrap_or_else(|| {
            self.aggregates.push(call);
            self.aggregates.len() - 1
        });
        Expression::column(AGGREGATES + position, data_type)
    }

    /// The slot of a window function.
    pub fn window(&mut self, slot: WindowSlot) -> Expression {
        let data_type = slot.data_type;
        self.windows.push(slot);
        Expression::column(WINDOWS + self.windows.len() - 1, data_type)
    }

    /// The slot of a function that answers several rows; the same call shares one.
    pub fn set(&mut self, call: SetCall) -> Expression {
        let data_type = call.data_type;
        let known = self.sets.iter().position(|other| *other == call);
        let position = known.unwrap_or_else(|| {
            self.sets.push(call);
            self.sets.len() - 1
        });
        Expression::column(SETS + position, data_type)
    }

    /// Adds the set functions to `input`, and puts their columns into the expressions.
    pub fn place_sets(&self, input: Logical, expressions: &mut [&mut Expression]) -> Logical {
        if self.sets.is_empty() {
            return input;
        }
        let mut calls = self.sets.clone();
        let mut used: Vec<&mut Expression> =
            calls.iter_mut().flat_map(|call| &mut call.arguments).collect();
        let input = self.place_subqueries(input, &mut used);
        let width = input.width();
        for expression in expressions {
            replace_slots(expression, &mut |slot| match slot {
                Slot::Set(position) => Some(width + position),
                _ => None,
            });
        }
        Logical::ProjectSet { input: Box::new(input), calls, ordinality: false, outer: false }
    }

    /// The slot of a subquery.
    pub fn subquery(&mut self, slot: SubquerySlot) -> Expression {
        let data_type = match slot.kind {
            ApplyKind::Scalar => slot.plan.types()[0],
            _ => DataType::Bool,
        };
        self.subqueries.push(slot);
        Expression::column(SUBQUERIES + self.subqueries.len() - 1, data_type)
    }

    /// Adds to `input` the subqueries that `expressions` use, and puts their columns into the
    /// expressions.
    pub fn place_subqueries(
        &self,
        mut input: Logical,
        expressions: &mut [&mut Expression],
    ) -> Logical {
        let mut used = Vec::new();
        for expression in expressions.iter() {
            collect(expression, &mut used);
        }
        let mut placed = Vec::new();
        for slot in used {
            let Slot::Subquery(position) = slot else { continue };
            let SubquerySlot { plan, mut kind } = self.subqueries[position].clone();
            if let ApplyKind::Any { operand, .. } = &mut kind {
                // The operand may hold subqueries of its own.
                input = self.place_subqueries(input, &mut [operand]);
            }
            placed.push((position, input.width()));
            input = Logical::Apply { input: Box::new(input), subplan: Box::new(plan), kind };
        }
        for expression in expressions {
            replace_slots(expression, &mut |slot| match slot {
                Slot::Subquery(position) => {
                    placed.iter().find(|(known, _)| *known == position).map(|(_, column)| *column)
                }
                _ => None,
            });
        }
        input
    }
}

/// The slot that a column is, if it is one.
pub fn slot_of(column: ColumnReference) -> Option<Slot> {
    let index = column.index;
    if index >= SETS {
        Some(Slot::Set(index - SETS))
    } else if index >= SUBQUERIES {
        Some(Slot::Subquery(index - SUBQUERIES))
    } else if index >= WINDOWS {
        Some(Slot::Window(index - WINDOWS))
    } else if index >= AGGREGATES {
        Some(Slot::Aggregate(index - AGGREGATES))
    } else {
        None
    }
}

/// All slots of an expression, in order, each once.
pub fn collect(expression: &Expression, out: &mut Vec<Slot>) {
    if let Expression::Column(column) = expression
        && let Some(slot) = slot_of(*column)
        && !out.contains(&slot)
    {
        out.push(slot);
    }
    expression.for_each_child(|child| collect(child, out));
}

/// Replaces slots by the columns that `place` knows for them.
pub fn replace_slots(expression: &mut Expression, place: &mut impl FnMut(Slot) -> Option<usize>) {
    expression.rewrite(&mut |node| {
        if let Expression::Column(column) = node
            && let Some(slot) = slot_of(*column)
            && let Some(index) = place(slot)
        {
            column.index = index;
        }
    });
}

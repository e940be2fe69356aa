//! From the columns of `FROM` to the columns of an aggregation.

use super::logical::Logical;
use super::scope::Scope;
use super::slots::{Slot, Slots, collect, slot_of};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::{AggregateCall, AggregateFunction, ApplyKind, SortKey};

/// An aggregation that is being put together.
pub(super) struct Grouping {
    groups: Vec<Expression>,
    aggregates: Vec<AggregateCall>,
    /// Whether every column of the only table is decided by the groups: they hold its key.
    determined: Option<bool>,
}

impl Grouping {
    pub(super) fn new(groups: Vec<Expression>, aggregates: Vec<AggregateCall>) -> Grouping {
        Grouping { groups, aggregates, determined: None }
    }

    /// Rewrites an expression over the input to one over the aggregation's output.
    pub(super) fn regroup(
        &mut self,
        expression: &mut Expression,
        scope: &Scope<'_>,
        input: &Logical,
    ) -> Result<(), SqlError> {
        if let Some(index) = self.groups.iter().position(|group| group == expression) {
            *expression = Expression::column(index, expression.data_type());
            return Ok(());
        }
        if let Expression::Column(column) = expression {
            let data_type = column.data_type;
            let index = match slot_of(*column) {
                Some(Slot::Aggregate(position)) => self.groups.len() + position,
                Some(Slot::Window(_) | Slot::Subquery(_) | Slot::Set(_)) => return Ok(()),
                None => self.determined_column(column.index, scope, input)?,
            };
            *expression = Expression::column(index, data_type);
            return Ok(());
        }
        let mut result = Ok(());
        expression.for_each_child_mut(|child| {
            if result.is_ok() {
                result = self.regroup(child, scope, input);
            }
        });
        result
    }

    /// A column outside of the groups: allowed where they hold its table's primary key. All rows
    /// of a group agree on it then, so the first one's value stands for all.
    fn determined_column(
        &mut self,
        index: usize,
        scope: &Scope<'_>,
        input: &Logical,
    ) -> Result<usize, SqlError> {
        let determined = self.determined.unwrap_or_else(|| self.holds_key(input));
        self.determined = Some(determined);
        if !determined {
            let column = &scope.columns[index];
            let shown = match &column.relation {
                Some(relation) => format!("{relation}.{}", column.name),
                None => column.name.clone(),
            };
            return Err(SqlError::new(
                SqlState::GROUPING_ERROR,
                format!(
                    "column \"{shown}\" must appear in the GROUP BY clause or be used in an aggregate function"
                ),
            ));
        }
        let data_type = scope.columns[index].data_type;
        let call = AggregateCall {
            function: AggregateFunction::First,
            arguments: vec![Expression::column(index, data_type)],
            distinct: false,
            filter: None,
            data_type,
        };
        let known = self.aggregates.iter().position(|other| *other == call);
        let position = known.unwrap_or_else(|| {
            self.aggregates.push(call);
            self.aggregates.len() - 1
        });
        Ok(self.groups.len() + position)
    }

    fn holds_key(&self, input: &Logical) -> bool {
        let mut plan = input;
        while let Logical::Filter { input, .. } = plan {
            plan = input;
        }
        let Logical::Get { table, columns, .. } = plan else { return false };
        table.primary_key_name.is_some()
            && table.primary_key.iter().all(|key| {
                self.groups.iter().any(|group| {
                    matches!(group, Expression::Column(c) if columns.get(c.index) == Some(key))
                })
            })
    }

    /// Rewrites what subqueries above the aggregation use of its input. Those inside aggregates'
    /// arguments stay: they are run below it.
    pub(super) fn regroup_subqueries(
        &mut self,
        slots: &mut Slots,
        scope: &Scope<'_>,
        input: &Logical,
    ) -> Result<(), SqlError> {
        let below = self.slots_below(slots.aggregate_order.as_deref());
        for position in 0..slots.subqueries.len() {
            if below.contains(&Slot::Subquery(position)) {
                continue;
            }
            let slot = &mut slots.subqueries[position];
            let mut result = Ok(());
            slot.plan.rewrite_outer(&mut |index, node| {
                let mut column = Expression::column(index, node.data_type());
                if result.is_ok() {
                    result = self.regroup(&mut column, scope, input);
                }
                if let (Expression::Outer { index, .. }, Expression::Column(column)) =
                    (node, &column)
                {
                    *index = column.index;
                }
            });
            result?;
            if let ApplyKind::Any { operand, .. } = &mut slot.kind {
                self.regroup(operand, scope, input)?;
            }
        }
        Ok(())
    }

    /// The slots in the arguments and filters of aggregates.
    fn slots_below(&self, order: Option<&[SortKey]>) -> Vec<Slot> {
        let mut below = Vec::new();
        for call in &self.aggregates {
            for expression in call.arguments.iter().chain(&call.filter) {
                collect(expression, &mut below);
            }
        }
        for key in order.unwrap_or_default() {
            collect(&key.expression, &mut below);
        }
        below
    }

    /// Puts the aggregation on top of its input.
    pub(super) fn place(mut self, input: Logical, slots: &Slots) -> Logical {
        let calls = self.aggregates.iter_mut();
        let mut order = slots.aggregate_order.clone().unwrap_or_default();
        let mut used: Vec<&mut Expression> =
            calls.flat_map(|call| call.arguments.iter_mut().chain(&mut call.filter)).collect();
        used.extend(order.iter_mut().map(|key| &mut key.expression));
        let mut input = slots.place_subqueries(input, &mut used);
        if !order.is_empty() {
            // Groups take their rows in the order of the input.
            input = Logical::Sort { input: Box::new(input), keys: order, limit: None };
        }
        Logical::Aggregate {
            input: Box::new(input),
            groups: self.groups,
            aggregates: self.aggregates,
        }
    }
}

//! The logical plan: what a query means, before it is decided how and where it runs.
//!
//! Columns are positions: of a node's input, or of a join's left input followed by its right one.
//! A subquery is an `Apply`: it adds a column (or, of a lateral join, columns) to its input, and
//! its plan sees the input's row as `Outer` columns.

use model::expression::Expression;
use model::plan::{
    AggregateCall, ApplyKind, JoinKind, SetCall, SetOperationKind, SortKey, WindowCall,
};
use model::row_lock::RowLock;
use model::schema::Table;
use model::types::DataType;
use std::sync::Arc;

/// A logical operator with its inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Logical {
    /// Rows of a table.
    Get {
        /// The table.
        table: Arc<Table>,
        /// Ordinals of the output columns.
        columns: Vec<usize>,
        /// Conditions that all must be true, over the output columns.
        conjuncts: Vec<Expression>,
    },
    /// Rows given by expressions.
    Values {
        /// The rows.
        rows: Vec<Vec<Expression>>,
        /// Types of their columns.
        types: Vec<DataType>,
    },
    /// Rows for which the condition is true.
    Filter {
        /// The input.
        input: Box<Logical>,
        /// Over the input's columns.
        condition: Expression,
    },
    /// Computed columns.
    Project {
        /// The input.
        input: Box<Logical>,
        /// One an output column.
        expressions: Vec<Expression>,
    },
    /// Groups: the group columns, then a column an aggregate.
    Aggregate {
        /// The input.
        input: Box<Logical>,
        /// Group columns.
        groups: Vec<Expression>,
        /// Aggregates.
        aggregates: Vec<AggregateCall>,
    },
    /// An order; `limit` says that only so many first rows are needed.
    Sort {
        /// The input.
        input: Box<Logical>,
        /// Most significant first.
        keys: Vec<SortKey>,
        /// An expression without columns.
        limit: Option<Expression>,
    },
    /// `LIMIT` and `OFFSET`.
    Limit {
        /// The input.
        input: Box<Logical>,
        /// Rows to pass.
        limit: Option<Expression>,
        /// Rows to skip.
        offset: Option<Expression>,
    },
    /// A join.
    Join {
        /// Left input.
        left: Box<Logical>,
        /// Right input.
        right: Box<Logical>,
        /// What is kept.
        kind: JoinKind,
        /// Over both inputs' columns; absent is true.
        condition: Option<Expression>,
    },
    /// A subquery, run for each row of the input.
    Apply {
        /// The input.
        input: Box<Logical>,
        /// The subquery.
        subplan: Box<Logical>,
        /// What it adds.
        kind: ApplyKind,
    },
    /// Locks the rows of tables that its input's rows come from.
    LockRows {
        /// The input.
        input: Box<Logical>,
        /// The tables; their keys are columns of the input.
        locks: Vec<RowLock>,
        /// Whether the rows' order is of account.
        ordered: bool,
        /// The `LIMIT` above.
        limit: Option<Expression>,
        /// The `OFFSET` above.
        offset: Option<Expression>,
    },
    /// The inputs' rows one after the other.
    Append {
        /// The inputs, of the same types.
        inputs: Vec<Logical>,
    },
    /// `WITH RECURSIVE`: the first rows, and what the step makes of those that the run before has
    /// added, until it adds none.
    Recursive {
        /// Names the rows that the step reads.
        id: usize,
        /// The first rows.
        first: Box<Logical>,
        /// Reads [`Logical::WorkingTable`] of the same number; of the same types.
        step: Box<Logical>,
        /// Whether rows may come again (`UNION ALL`).
        all: bool,
    },
    /// In the step of a recursive query: the rows that the run before has added.
    WorkingTable {
        /// Names the recursive query.
        id: usize,
        /// Types of its columns.
        types: Vec<DataType>,
    },
    /// `INTERSECT`, `EXCEPT`.
    SetOperation {
        /// Left input.
        left: Box<Logical>,
        /// Right input.
        right: Box<Logical>,
        /// Which.
        kind: SetOperationKind,
        /// Whether duplicates count.
        all: bool,
    },
    /// Window functions of one specification: the input's columns, then a column a call.
    Window {
        /// The input.
        input: Box<Logical>,
        /// `PARTITION BY`
        partition_by: Vec<Expression>,
        /// `ORDER BY`
        order_by: Vec<SortKey>,
        /// The calls.
        calls: Vec<WindowCall>,
    },
    /// Functions that answer several rows: the input's columns, a column a call, and the number
    /// of the row among those of its input row where asked.
    ProjectSet {
        /// The input.
        input: Box<Logical>,
        /// The calls.
        calls: Vec<SetCall>,
        /// `WITH ORDINALITY`
        ordinality: bool,
        /// Keep input rows for which no call answers.
        outer: bool,
    },
}

/// Calls `$visit` on the inputs of a plan, to read or to change them.
macro_rules! each_input {
    ($plan:expr, $visit:ident) => {
        match $plan {
            Logical::Get { .. } | Logical::Values { .. } | Logical::WorkingTable { .. } => {}
            Logical::Filter { input, .. }
            | Logical::Project { input, .. }
            | Logical::Aggregate { input, .. }
            | Logical::Sort { input, .. }
            | Logical::Limit { input, .. }
            | Logical::LockRows { input, .. }
            | Logical::Window { input, .. }
            | Logical::ProjectSet { input, .. } => $visit(input, false),
            Logical::Join { left, right, .. } | Logical::SetOperation { left, right, .. } => {
                $visit(left, false);
                $visit(right, false);
            }
            Logical::Apply { input, subplan, .. } => {
                $visit(input, false);
                $visit(subplan, true);
            }
            Logical::Append { inputs } => {
                for input in inputs {
                    $visit(input, false);
                }
            }
            Logical::Recursive { first, step, .. } => {
                $visit(first, false);
                $visit(step, false);
            }
        }
    };
}

impl Logical {
    /// A single row without columns.
    pub fn one_row() -> Logical {
        Logical::Values { rows: vec![Vec::new()], types: Vec::new() }
    }

    /// Keeps the rows for which `condition` is true.
    pub fn filter(self, condition: Expression) -> Logical {
        Logical::Filter { input: Box::new(self), condition }
    }

    /// Computes columns.
    pub fn project(self, expressions: Vec<Expression>) -> Logical {
        Logical::Project { input: Box::new(self), expressions }
    }

    /// Types of the output columns.
    pub fn types(&self) -> Vec<DataType> {
        let of = |expressions: &[Expression]| -> Vec<DataType> {
            expressions.iter().map(Expression::data_type).collect()
        };
        match self {
            Logical::Get { table, columns, .. } => {
                columns.iter().map(|&ordinal| table.columns[ordinal].data_type).collect()
            }
            Logical::Values { types, .. } | Logical::WorkingTable { types, .. } => types.clone(),
            Logical::Filter { input, .. }
            | Logical::Sort { input, .. }
            | Logical::Limit { input, .. }
            | Logical::LockRows { input, .. } => input.types(),
            Logical::Project { expressions, .. } => of(expressions),
            Logical::Aggregate { groups, aggregates, .. } => {
                let mut types = of(groups);
                types.extend(aggregates.iter().map(|call| call.data_type));
                types
            }
            Logical::Join { left, right, kind, .. } => {
                let mut types = left.types();
                if !matches!(kind, JoinKind::Semi | JoinKind::Anti | JoinKind::NullAwareAnti) {
                    types.extend(right.types());
                }
                types
            }
            Logical::Apply { input, subplan, kind } => {
                let mut types = input.types();
                match kind {
                    ApplyKind::Scalar => types.push(subplan.types()[0]),
                    ApplyKind::Exists | ApplyKind::Any { .. } => types.push(DataType::Bool),
                    ApplyKind::Lateral { .. } => types.extend(subplan.types()),
                }
                types
            }
            Logical::Append { inputs } => inputs.first().map_or_else(Vec::new, Logical::types),
            Logical::SetOperation { left, .. } => left.types(),
            Logical::Recursive { first, .. } => first.types(),
            Logical::Window { input, calls, .. } => {
                let mut types = input.types();
                types.extend(calls.iter().map(|call| call.data_type));
                types
            }
            Logical::ProjectSet { input, calls, ordinality, .. } => {
                let mut types = input.types();
                types.extend(calls.iter().map(|call| call.data_type));
                types.extend(ordinality.then_some(DataType::Int8));
                types
            }
        }
    }

    /// How many output columns there are.
    pub fn width(&self) -> usize {
        match self {
            Logical::Get { columns, .. } => columns.len(),
            Logical::Project { expressions, .. } => expressions.len(),
            Logical::Values { types, .. } | Logical::WorkingTable { types, .. } => types.len(),
            Logical::Filter { input, .. }
            | Logical::Sort { input, .. }
            | Logical::Limit { input, .. }
            | Logical::LockRows { input, .. } => input.width(),
            _ => self.types().len(),
        }
    }

    /// Calls `visit` on the inputs; `true` for one that is the subplan of an `Apply`.
    pub fn for_each_input<'a>(&'a self, mut visit: impl FnMut(&'a Logical, bool)) {
        each_input!(self, visit);
    }

    /// As [`Logical::for_each_input`], to change them.
    pub fn for_each_input_mut(&mut self, mut change: impl FnMut(&mut Logical, bool)) {
        each_input!(self, change);
    }

    /// Calls `visit` on the node's own expressions.
    pub fn for_each_expression<'a>(&'a self, mut visit: impl FnMut(&'a Expression)) {
        match self {
            Logical::Get { conjuncts, .. } => conjuncts.iter().for_each(visit),
            Logical::Values { rows, .. } => rows.iter().flatten().for_each(visit),
            Logical::Filter { condition, .. } => visit(condition),
            Logical::Project { expressions, .. } => expressions.iter().for_each(visit),
            Logical::Aggregate { groups, aggregates, .. } => {
                groups.iter().for_each(&mut visit);
                for call in aggregates {
                    call.arguments.iter().chain(&call.filter).for_each(&mut visit);
                }
            }
            Logical::Sort { keys, limit, .. } => {
                keys.iter().for_each(|key| visit(&key.expression));
                limit.iter().for_each(visit);
            }
            Logical::Limit { limit, offset, .. } | Logical::LockRows { limit, offset, .. } => {
                limit.iter().chain(offset).for_each(visit);
            }
            Logical::Join { condition, .. } => condition.iter().for_each(visit),
            Logical::Apply { kind: ApplyKind::Any { operand, .. }, .. } => visit(operand),
            Logical::Window { partition_by, order_by, calls, .. } => {
                partition_by.iter().for_each(&mut visit);
                order_by.iter().for_each(|key| visit(&key.expression));
                calls.iter().flat_map(|call| &call.arguments).for_each(visit);
            }
            Logical::ProjectSet { calls, .. } => {
                calls.iter().flat_map(|call| &call.arguments).for_each(visit);
            }
            Logical::Apply { .. }
            | Logical::Append { .. }
            | Logical::SetOperation { .. }
            | Logical::Recursive { .. }
            | Logical::WorkingTable { .. } => {}
        }
    }

    /// As [`Logical::for_each_expression`], to change them.
    pub fn for_each_expression_mut(&mut self, mut change: impl FnMut(&mut Expression)) {
        match self {
            Logical::Get { conjuncts, .. } => conjuncts.iter_mut().for_each(change),
            Logical::Values { rows, .. } => rows.iter_mut().flatten().for_each(change),
            Logical::Filter { condition, .. } => change(condition),
            Logical::Project { expressions, .. } => expressions.iter_mut().for_each(change),
            Logical::Aggregate { groups, aggregates, .. } => {
                groups.iter_mut().for_each(&mut change);
                for call in aggregates {
                    call.arguments.iter_mut().chain(&mut call.filter).for_each(&mut change);
                }
            }
            Logical::Sort { keys, limit, .. } => {
                keys.iter_mut().for_each(|key| change(&mut key.expression));
                limit.iter_mut().for_each(change);
            }
            Logical::Limit { limit, offset, .. } | Logical::LockRows { limit, offset, .. } => {
                limit.iter_mut().chain(offset).for_each(change);
            }
            Logical::Join { condition, .. } => condition.iter_mut().for_each(change),
            Logical::Apply { kind: ApplyKind::Any { operand, .. }, .. } => change(operand),
            Logical::Window { partition_by, order_by, calls, .. } => {
                partition_by.iter_mut().for_each(&mut change);
                order_by.iter_mut().for_each(|key| change(&mut key.expression));
                calls.iter_mut().flat_map(|call| &mut call.arguments).for_each(change);
            }
            Logical::ProjectSet { calls, .. } => {
                calls.iter_mut().flat_map(|call| &mut call.arguments).for_each(change);
            }
            Logical::Apply { .. }
            | Logical::Append { .. }
            | Logical::SetOperation { .. }
            | Logical::Recursive { .. }
            | Logical::WorkingTable { .. } => {}
        }
    }

    /// Rewrites every reference of this plan to the row that encloses it: `change` sees the index
    /// of each, and may replace the expression.
    pub fn rewrite_outer(&mut self, change: &mut impl FnMut(usize, &mut Expression)) {
        self.rewrite_outer_at(0, change);
    }

    fn rewrite_outer_at(&mut self, level: usize, change: &mut impl FnMut(usize, &mut Expression)) {
        self.for_each_expression_mut(|expression| {
            expression.rewrite(&mut |node| {
                if let Expression::Outer { depth, index, .. } = *node
                    && depth == level
                {
                    change(index, node);
                }
            });
        });
        self.for_each_input_mut(|input, is_subplan| {
            input.rewrite_outer_at(level + usize::from(is_subplan), change);
        });
    }

    /// Puts so many levels between this plan and the rows that enclose it.
    pub fn move_outer(&mut self, by: usize) {
        if by > 0 {
            self.move_outer_at(0, by);
        }
    }

    fn move_outer_at(&mut self, level: usize, by: usize) {
        self.for_each_expression_mut(|expression| {
            expression.rewrite(&mut |node| {
                if let Expression::Outer { depth, .. } = node
                    && *depth >= level
                {
                    *depth += by;
                }
            });
        });
        self.for_each_input_mut(|input, is_subplan| {
            input.move_outer_at(level + usize::from(is_subplan), by);
        });
    }

    /// Whether the plan refers to a row that encloses it.
    pub fn is_correlated(&self) -> bool {
        self.refers_outside(0)
    }

    /// Whether the plan reads rows of a recursive query around it: it answers anew in each run.
    pub fn reads_working_table(&self) -> bool {
        self.reads_working_table_but(&mut Vec::new())
    }

    fn reads_working_table_but(&self, inside: &mut Vec<usize>) -> bool {
        if let Logical::WorkingTable { id, .. } = self {
            return !inside.contains(id);
        }
        let own = match self {
            Logical::Recursive { id, .. } => Some(*id),
            _ => None,
        };
        inside.extend(own);
        let mut found = false;
        self.for_each_input(|input, _| found = found || input.reads_working_table_but(inside));
        if own.is_some() {
            inside.pop();
        }
        found
    }

    fn refers_outside(&self, level: usize) -> bool {
        let outside =
            |e: &Expression| matches!(e, Expression::Outer { depth, .. } if *depth >= level);
        let mut found = false;
        self.for_each_expression(|expression| found = found || expression.any(&outside));
        self.for_each_input(|input, is_subplan| {
            found = found || input.refers_outside(level + usize::from(is_subplan));
        });
        found
    }
}

/// Splits a condition at its `AND`s.
pub fn conjuncts(condition: Expression, out: &mut Vec<Expression>) {
    match condition {
        Expression::Binary {
            operator: model::expression::BinaryOperator::And,
            left,
            right,
            ..
        } => {
            conjuncts(*left, out);
            conjuncts(*right, out);
        }
        other => out.push(other),
    }
}

/// Joins conditions by `AND`; `None` where there are none.
pub fn conjunction(conditions: impl IntoIterator<Item = Expression>) -> Option<Expression> {
    conditions.into_iter().reduce(|left, right| Expression::Binary {
        operator: model::expression::BinaryOperator::And,
        left: Box::new(left),
        right: Box::new(right),
        data_type: DataType::Bool,
    })
}

/// The positions of the input that an expression reads.
pub fn columns_of(expression: &Expression, out: &mut Vec<usize>) {
    if let Expression::Column(column) = expression {
        out.push(column.index);
    }
    expression.for_each_child(|child| columns_of(child, out));
}

/// Replaces each column by what `map` makes of its position.
pub fn map_columns(expression: &mut Expression, map: &impl Fn(usize) -> usize) {
    expression.rewrite(&mut |node| {
        if let Expression::Column(column) = node {
            column.index = map(column.index);
        }
    });
}

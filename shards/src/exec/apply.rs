//! Runs a correlated plan for each outer row.

use super::context::{ExecContext, Operator};
use super::evaluate::{compare_values, evaluate};
use super::open;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{Batch, Column};
use model::error::{SqlError, SqlState};
use model::plan::{Apply, ApplyKind, Plan};
use model::types::DataType;
use model::value::Value;
use std::rc::Rc;

pub(super) struct ApplyOperator {
    plan: Apply,
    input: Box<dyn Operator>,
    subplan_types: Vec<DataType>,
    context: Rc<ExecContext>,
    /// A lateral join's outer batch, and the row it is at.
    outer: Option<(Rc<Batch>, usize)>,
    /// The lateral plan that runs for that row, and whether it has answered a row.
    lateral: Option<(Box<dyn Operator>, bool)>,
}

impl ApplyOperator {
    pub(super) fn new(
        plan: &Apply,
        input: Box<dyn Operator>,
        subplan_types: Vec<DataType>,
        context: &Rc<ExecContext>,
    ) -> ApplyOperator {
        ApplyOperator {
            plan: plan.clone(),
            input,
            subplan_types,
            context: context.clone(),
            outer: None,
            lateral: None,
        }
    }

    fn open_for(&self, row: Vec<Value>) -> Result<Box<dyn Operator>, SqlError> {
        let subplan: &Plan = &self.plan.subplan;
        open(subplan, &Rc::new(self.context.with_outer(row)))
    }

    /// Adds one column to each outer row.
    async fn next_column(&mut self) -> Result<Option<Batch>, SqlError> {
        let Some(batch) = self.input.next().await? else { return Ok(None) };
        let data_type = match &self.plan.kind {
            ApplyKind::Scalar => self.subplan_types.first().copied().unwrap_or(DataType::Text),
            _ => DataType::Bool,
        };
        let operands = match &self.plan.kind {
            ApplyKind::Any { operand, .. } => Some(evaluate(operand, &batch, &self.context)?),
            _ => None,
        };
        let mut added = Column::with_capacity(data_type, batch.rows());
        for row in 0..batch.rows() {
            let subplan = self.open_for(batch.row(row))?;
            let operand = operands.as_ref().map(|operands| operands.value(row));
            added.push(self.value(subplan, operand).await?);
            self.context.pause().await?;
        }
        let rows = batch.rows();
        Ok(Some(batch.beside(Batch::new(rows, vec![added]))))
    }

    async fn value(
        &self,
        mut subplan: Box<dyn Operator>,
        operand: Option<Value>,
    ) -> Result<Value, SqlError> {
        match (&self.plan.kind, operand) {
            (ApplyKind::Any { operator, .. }, Some(operand)) => {
                let mut answer = Some(false);
                while let Some(batch) = subplan.next().await? {
                    for row in 0..batch.rows() {
                        let candidate = batch.columns()[0].value(row);
                        match compare_values(*operator, &operand, &candidate) {
                            Some(true) => return Ok(Value::Bool(true)),
                            Some(false) => {}
                            None => answer = None,
                        }
                    }
                }
                Ok(Value::from(answer))
            }
            (ApplyKind::Exists, _) => Ok(Value::Bool(subplan.next().await?.is_some())),
            _ => {
                let Some(first) = subplan.next().await? else { return Ok(Value::Null) };
                if first.rows() > 1 || subplan.next().await?.is_some() {
                    return Err(SqlError::new(
                        SqlState::CARDINALITY_VIOLATION,
                        "more than one row returned by a subquery used as an expression",
                    ));
                }
                Ok(first.columns()[0].value(0))
            }
        }
    }

    async fn next_lateral(&mut self, keep_outer: bool) -> Result<Option<Batch>, SqlError> {
        loop {
            self.context.pause().await?;
            if let Some((subplan, answered)) = &mut self.lateral
                && let Some((outer, row)) = &self.outer
            {
                if let Some(batch) = subplan.next().await? {
                    *answered = true;
                    let beside = outer.take(&vec![*row as u32; batch.rows()]);
                    return Ok(Some(beside.beside(batch)));
                }
                let without = keep_outer && !*answered;
                let (outer, row) = (outer.clone(), *row);
                self.lateral = None;
                self.outer = (row + 1 < outer.rows()).then(|| (outer.clone(), row + 1));
                if without {
                    let nulls =
                        Batch::empty(&self.subplan_types).take_or_null(&[model::batch::NO_ROW]);
                    return Ok(Some(outer.take(&[row as u32]).beside(nulls)));
                }
                continue;
            }
            if self.outer.is_none() {
                let Some(batch) = self.input.next().await? else { return Ok(None) };
                self.outer = Some((Rc::new(batch), 0));
            }
            if let Some((outer, row)) = &self.outer {
                self.lateral = Some((self.open_for(outer.row(*row))?, false));
            }
        }
    }
}

impl Operator for ApplyOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        match self.plan.kind {
            ApplyKind::Lateral { outer } => self.next_lateral(outer).boxed_local(),
            _ => self.next_column().boxed_local(),
        }
    }
}

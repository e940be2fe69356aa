//! Functions that answer several rows: each input row comes once for each of them.
//!
//! Several functions run side by side: the input row comes as often as the longest answers, the
//! others give `NULL` from their end on. What a function answers is made as it is asked for, so
//! that a long series takes no memory.

use super::context::{ExecContext, Operator};
use super::decimal;
use super::evaluate::evaluate;
use super::evaluate::temporal::add_interval;
use futures::future::{FutureExt, LocalBoxFuture};
use model::array::Array;
use model::batch::{BATCH_ROWS, Batch, Column};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::numeric::{Numeric, Special};
use model::plan::{ProjectSet, SetCall, SetFunction};
use model::types::DataType;
use model::value::{Interval, Value, ValueRef};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How soon a sleeping statement sees that it has been cancelled.
const SLEEP_SLICE: Duration = Duration::from_millis(10);
/// Longest sleep: a year.
const SLEEP_SECONDS_MAX: f64 = 31_536_000.0;

pub(super) struct ProjectSetOperator {
    plan: ProjectSet,
    input: Box<dyn Operator>,
    input_types: Vec<DataType>,
    context: Rc<ExecContext>,
    at: Option<Position>,
}

/// The input batch that is being answered.
struct Position {
    batch: Batch,
    /// Each call's arguments.
    arguments: Vec<Vec<Column>>,
    row: usize,
    /// What the calls still answer for this row; none before they are asked.
    running: Option<Vec<Answers>>,
    /// How many rows have come of this one.
    answered: i64,
}

impl ProjectSetOperator {
    pub(super) fn new(
        plan: &ProjectSet,
        input: Box<dyn Operator>,
        input_types: Vec<DataType>,
        context: &Rc<ExecContext>,
    ) -> ProjectSetOperator {
        let (plan, context) = (plan.clone(), Rc::clone(context));
        ProjectSetOperator { plan, input, input_types, context, at: None }
    }

    fn begin(&self, batch: Batch) -> Result<Position, SqlError> {
        let columns = |call: &SetCall| {
            let arguments = call.arguments.iter();
            arguments.map(|argument| evaluate(argument, &batch, &self.context)).collect()
        };
        let arguments = self.plan.calls.iter().map(columns).collect::<Result<_, _>>()?;
        Ok(Position { batch, arguments, row: 0, running: None, answered: 0 })
    }

    /// Waits as long as this row's calls of `pg_sleep` ask; in slices, to be cancelled soon.
    async fn sleep(&self, arguments: &[Vec<Column>], row: usize) -> Result<(), SqlError> {
        for (call, columns) in self.plan.calls.iter().zip(arguments) {
            let (SetFunction::Sleep, [seconds]) = (call.function, columns.as_slice()) else {
                continue;
            };
            let ValueRef::Float(seconds) = seconds.get(row) else { continue };
            if seconds.is_nan() {
                continue;
            }
            let seconds = seconds.clamp(0.0, SLEEP_SECONDS_MAX);
            let wanted = Duration::from_secs_f64(seconds);
            let begun = runtime::time::now();
            while let Some(left) = wanted.checked_sub(begun.elapsed()).filter(|l| !l.is_zero()) {
                runtime::time::sleep(left.min(SLEEP_SLICE)).await;
                self.context.check_cancelled()?;
            }
        }
        Ok(())
    }

    /// Answers rows until the output is full or the input batch is done.
    async fn fill(&self, at: &mut Position, out: &mut [Column]) -> Result<(), SqlError> {
        let width = self.input_types.len();
        while at.row < at.batch.rows() && out.first().is_none_or(|c| c.len() < BATCH_ROWS) {
            let running = match &mut at.running {
                Some(running) => running,
                none => {
                    self.sleep(&at.arguments, at.row).await?;
                    none.insert(start(&self.plan.calls, &at.arguments, at.row)?)
                }
            };
            let mut answered = Vec::with_capacity(running.len());
            for answers in running.iter_mut() {
                answered.push(answers.next()?);
            }
            let done = answered.iter().all(Option::is_none);
            if done && !(self.plan.outer && at.answered == 0) {
                (at.row, at.running, at.answered) = (at.row + 1, None, 0);
                continue;
            }
            at.answered += 1;
            let (copied, made) = out.split_at_mut(width);
            for (column, from) in copied.iter_mut().zip(at.batch.columns()) {
                column.push_ref(&from.get(at.row));
            }
            let number = if done { Value::Null } else { Value::Int(at.answered) };
            let answers = answered.into_iter().map(Option::unwrap_or_default);
            for (column, value) in made.iter_mut().zip(answers.chain([number])) {
                column.push(value);
            }
        }
        Ok(())
    }
}

impl Operator for ProjectSetOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            let mut types = self.input_types.clone();
            types.extend(self.plan.calls.iter().map(|call| call.data_type));
            types.extend(self.plan.ordinality.then_some(DataType::Int8));
            let mut out: Vec<Column> =
                types.iter().map(|t| Column::with_capacity(*t, BATCH_ROWS)).collect();
            loop {
                self.context.pause().await?;
                let mut at = match self.at.take() {
                    Some(at) => at,
                    None => match self.input.next().await? {
                        Some(batch) => self.begin(batch)?,
                        None => break,
                    },
                };
                self.fill(&mut at, &mut out).await?;
                if at.row < at.batch.rows() {
                    self.at = Some(at);
                    break;
                }
            }
            let rows = out.first().map_or(0, Column::len);
            Ok((rows > 0).then(|| Batch::new(rows, out)))
        }
        .boxed_local()
    }
}

/// What one call still answers for one row.
enum Answers {
    Elements(Arc<Array>, usize),
    Integers { next: Option<i64>, stop: i64, step: i64 },
    Numbers { next: Numeric, stop: Numeric, step: Numeric },
    Moments { next: i64, stop: i64, step: Interval },
    Once(Option<Value>),
}

fn start(
    calls: &[SetCall],
    arguments: &[Vec<Column>],
    row: usize,
) -> Result<Vec<Answers>, SqlError> {
    let of = |(call, columns): (&SetCall, &Vec<Column>)| {
        let values: Vec<Value> = columns.iter().map(|column| column.value(row)).collect();
        answers(call, &values)
    };
    calls.iter().zip(arguments).map(of).collect()
}

/// A `NULL` argument makes no rows; only a plain value is answered as it is.
fn answers(call: &SetCall, values: &[Value]) -> Result<Answers, SqlError> {
    if call.function == SetFunction::Scalar {
        return Ok(Answers::Once(values.first().cloned()));
    }
    if call.function == SetFunction::Sleep {
        let nothing = |seconds: &Value| match seconds {
            Value::Null => Value::Null,
            _ => Value::text(""),
        };
        return Ok(Answers::Once(values.first().map(nothing)));
    }
    if values.iter().any(Value::is_null) {
        return Ok(Answers::Once(None));
    }
    Ok(match (call.function, values) {
        (SetFunction::Unnest, [Value::Array(array)]) => Answers::Elements(Arc::clone(array), 0),
        (SetFunction::Subscripts, [Value::Array(array), Value::Int(dimension), rest @ ..]) => {
            let at = usize::try_from(*dimension).ok().and_then(|d| d.checked_sub(1));
            let Some(found) = at.and_then(|at| array.dimensions().get(at)) else {
                return Ok(Answers::Once(None));
            };
            let (lower, upper) = (i64::from(found.lower), i64::from(found.upper()));
            match rest {
                [Value::Bool(true)] => {
                    Answers::Integers { next: Some(upper), stop: lower, step: -1 }
                }
                _ => Answers::Integers { next: Some(lower), stop: upper, step: 1 },
            }
        }
        (SetFunction::Series, [Value::Int(start), Value::Int(stop), rest @ ..]) => {
            let step = match rest {
                [Value::Int(step)] => *step,
                _ => 1,
            };
            refuse_zero(step == 0)?;
            Answers::Integers { next: Some(*start), stop: *stop, step }
        }
        (SetFunction::Series, [Value::Numeric(start), Value::Numeric(stop), rest @ ..]) => {
            let step = match rest {
                [Value::Numeric(step)] => step.clone(),
                _ => Numeric::from(1),
            };
            for (what, number) in
                [("start value", start), ("stop value", stop), ("step size", &step)]
            {
                refuse_special(what, number)?;
            }
            refuse_zero(step == Numeric::from(0))?;
            Answers::Numbers { next: start.clone(), stop: stop.clone(), step }
        }
        (
            SetFunction::Series,
            [Value::Timestamp(start), Value::Timestamp(stop), Value::Interval(step)],
        ) => {
            refuse_zero(step.comparable_micros() == 0)?;
            Answers::Moments { next: *start, stop: *stop, step: *step }
        }
        _ => return Err(SqlError::internal("a set function's argument has another type")),
    })
}

fn refuse_zero(zero: bool) -> Result<(), SqlError> {
    if zero {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "step size cannot equal zero",
        ));
    }
    Ok(())
}

fn refuse_special(what: &str, number: &Numeric) -> Result<(), SqlError> {
    let Numeric::Special(special) = number else { return Ok(()) };
    let name = if *special == Special::NaN { "NaN" } else { "infinity" };
    Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("{what} cannot be {name}")))
}

impl Answers {
    fn next(&mut self) -> Result<Option<Value>, SqlError> {
        match self {
            Answers::Elements(array, at) => {
                *at += 1;
                Ok(array.elements().get(*at - 1).cloned())
            }
            Answers::Integers { next, stop, step } => {
                let within = |number: &i64| if *step > 0 { number <= stop } else { number >= stop };
                let Some(number) = next.filter(within) else { return Ok(None) };
                *next = number.checked_add(*step);
                Ok(Some(Value::Int(number)))
            }
            Answers::Numbers { next, stop, step } => {
                let rises = *step > Numeric::from(0);
                if if rises { *next > *stop } else { *next < *stop } {
                    return Ok(None);
                }
                let following = decimal::add(next, step)?;
                Ok(Some(Value::Numeric(std::mem::replace(next, following))))
            }
            Answers::Moments { next, stop, step } => {
                let rises = step.comparable_micros() > 0;
                if if rises { *next > *stop } else { *next < *stop } {
                    return Ok(None);
                }
                let following = add_interval(*next, *step)?;
                Ok(Some(Value::Timestamp(std::mem::replace(next, following))))
            }
            Answers::Once(value) => Ok(value.take()),
        }
    }
}

/// The calls as `EXPLAIN` shows them.
pub(super) fn shown(call: &SetCall, expression: impl Fn(&Expression) -> String) -> String {
    let arguments: Vec<String> = call.arguments.iter().map(expression).collect();
    let arguments = arguments.join(", ");
    match call.function {
        SetFunction::Unnest => format!("unnest({arguments})"),
        SetFunction::Series => format!("generate_series({arguments})"),
        SetFunction::Subscripts => format!("generate_subscripts({arguments})"),
        SetFunction::Scalar => arguments,
        SetFunction::Sleep => format!("pg_sleep({arguments})"),
    }
}

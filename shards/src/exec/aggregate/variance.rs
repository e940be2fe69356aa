//! Variance and standard deviation: exactly over `numeric`, by Youngs and Cramer's method over
//! `double precision` (Youngs and Cramer, 1971; merging as in Chan, Golub and LeVeque, 1982).

use crate::exec::decimal;
use model::batch::Column;
use model::error::SqlError;
use model::numeric::Numeric;
use model::plan::AggregateFunction;
use model::value::{Value, ValueRef};

pub(super) struct ExactMoments {
    count: i64,
    sum: Numeric,
    squares: Numeric,
}

impl Default for ExactMoments {
    fn default() -> ExactMoments {
        ExactMoments { count: 0, sum: Numeric::from(0), squares: Numeric::from(0) }
    }
}

fn is_sample(function: AggregateFunction) -> bool {
    matches!(function, AggregateFunction::StddevSamp | AggregateFunction::VarSamp)
}

fn is_deviation(function: AggregateFunction) -> bool {
    matches!(function, AggregateFunction::StddevSamp | AggregateFunction::StddevPop)
}

impl ExactMoments {
    pub(super) fn add(&mut self, value: &Numeric) -> Result<(), SqlError> {
        self.count += 1;
        self.sum = decimal::add(&self.sum, value)?;
        self.squares = decimal::add(&self.squares, &decimal::multiply(value, value)?)?;
        Ok(())
    }

    pub(super) fn merge(&mut self, states: &[Column], row: usize) -> Result<(), SqlError> {
        let (
            Some(ValueRef::Int(count)),
            Some(ValueRef::Numeric(sum)),
            Some(ValueRef::Numeric(squares)),
        ) = (at(states, 0, row), at(states, 1, row), at(states, 2, row))
        else {
            return Err(SqlError::internal("a variance's state has another shape"));
        };
        self.count += count;
        self.sum = decimal::add(&self.sum, &sum)?;
        self.squares = decimal::add(&self.squares, &squares)?;
        Ok(())
    }

    pub(super) fn state(&self) -> Vec<Value> {
        vec![
            Value::Int(self.count),
            Value::Numeric(self.sum.clone()),
            Value::Numeric(self.squares.clone()),
        ]
    }

    /// `(n * squares - sum^2) / (n * (n - 1))`, for the population `/ n^2`.
    pub(super) fn result(&self, function: AggregateFunction) -> Result<Value, SqlError> {
        let sample = is_sample(function);
        if self.count == 0 || (sample && self.count == 1) {
            return Ok(Value::Null);
        }
        let count = Numeric::from(self.count);
        let numerator = decimal::subtract(
            &decimal::multiply(&count, &self.squares)?,
            &decimal::multiply(&self.sum, &self.sum)?,
        )?;
        if numerator <= Numeric::from(0) {
            return Ok(Value::Numeric(Numeric::from(0)));
        }
        let divisor = Numeric::from(self.count - i64::from(sample));
        let variance = decimal::divide(&numerator, &decimal::multiply(&count, &divisor)?)?;
        if !is_deviation(function) {
            return Ok(Value::Numeric(variance));
        }
        decimal::square_root_to(&variance, variance.scale()).map(Value::Numeric)
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct FloatMoments {
    count: i64,
    sum: f64,
    /// Sum of squared differences from the mean.
    differences: f64,
}

impl FloatMoments {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if self.count > 1 {
            let count = self.count as f64;
            let difference = value * count - self.sum;
            self.differences += difference * difference / (count * (count - 1.0));
        }
    }

    pub(super) fn merge(&mut self, states: &[Column], row: usize) {
        let (
            Some(ValueRef::Int(count)),
            Some(ValueRef::Float(sum)),
            Some(ValueRef::Float(differences)),
        ) = (at(states, 0, row), at(states, 1, row), at(states, 2, row))
        else {
            return;
        };
        if self.count == 0 || count == 0 {
            if count > 0 {
                *self = FloatMoments { count, sum, differences };
            }
            return;
        }
        let (a, b) = (self.count as f64, count as f64);
        let gap = self.sum / a - sum / b;
        self.differences += differences + a * b * gap * gap / (a + b);
        self.sum += sum;
        self.count += count;
    }

    pub(super) fn state(&self) -> Vec<Value> {
        vec![Value::Int(self.count), Value::Float(self.sum), Value::Float(self.differences)]
    }

    pub(super) fn result(&self, function: AggregateFunction) -> Value {
        let sample = is_sample(function);
        if self.count == 0 || (sample && self.count == 1) {
            return Value::Null;
        }
        let variance = self.differences / (self.count - i64::from(sample)) as f64;
        Value::Float(if is_deviation(function) { variance.sqrt() } else { variance })
    }
}

fn at(states: &[Column], column: usize, row: usize) -> Option<ValueRef<'_>> {
    states.get(column).map(|column| column.get(row))
}

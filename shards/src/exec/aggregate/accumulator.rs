//! The states of one aggregate call, one a group.

use super::argument_type;
use super::variance::{ExactMoments, FloatMoments};
use crate::exec::cast::out_of_range;
use crate::exec::decimal;
use crate::exec::evaluate::temporal;
use crate::exec::memory::Reservation;
use bigdecimal::num_bigint::BigInt;
use model::batch::Column;
use model::error::SqlError;
use model::numeric::Numeric;
use model::plan::{AggregateCall, AggregateFunction, Phase};
use model::types::DataType;
use model::value::{Interval, Value, ValueRef};
use std::cmp::Ordering;
use std::ops::Range;

/// What a numeric or string state is counted with when it is first filled.
const GROWN_STATE_BYTES: usize = 64;

pub struct Accumulator {
    states: States,
    /// Arguments are states of the first phase, not values.
    merges: bool,
}

enum States {
    Count(Vec<i64>),
    /// Sums of integers and how many there were.
    Ints(Vec<(i128, i64)>),
    Floats(Vec<(f64, i64)>),
    Exact(Vec<(Option<Numeric>, i64)>),
    Intervals(Vec<(Interval, i64)>),
    /// The least, greatest or first value; `Equal` keeps the first.
    Best(Vec<Value>, Ordering),
    Truths(Vec<Option<bool>>, bool),
    Strings(Vec<Option<(String, String)>>),
    Arrays(Vec<Option<Vec<Value>>>),
    ExactMoments(Vec<ExactMoments>),
    FloatMoments(Vec<FloatMoments>),
}

/// The types of the columns that hold a call's state between the phases. `call` is the call of
/// the partial node: its arguments are values.
pub fn state_types(call: &AggregateCall) -> Vec<DataType> {
    use AggregateFunction as A;
    let exact = DataType::Numeric(None);
    let argument = argument_type(call);
    match call.function {
        A::Count => vec![DataType::Int8],
        A::Sum => vec![call.data_type],
        A::Min | A::Max | A::First | A::BoolAnd | A::BoolOr => vec![argument],
        A::Avg => vec![
            match argument {
                DataType::Float4 | DataType::Float8 => DataType::Float8,
                DataType::Interval => DataType::Interval,
                _ => exact,
            },
            DataType::Int8,
        ],
        A::StringAgg => vec![DataType::Text, DataType::Text],
        A::ArrayAgg => vec![call.data_type],
        A::StddevSamp | A::StddevPop | A::VarSamp | A::VarPop => {
            let sum = if is_float(argument) { DataType::Float8 } else { exact };
            vec![DataType::Int8, sum, sum]
        }
    }
}

fn array_of(elements: &Option<Vec<Value>>) -> Value {
    elements.as_ref().map_or(Value::Null, |elements| Value::array(elements.clone()))
}

fn is_float(data_type: DataType) -> bool {
    matches!(data_type, DataType::Float4 | DataType::Float8)
}

impl Accumulator {
    pub fn new(call: &AggregateCall, phase: Phase) -> Result<Accumulator, SqlError> {
        use AggregateFunction as A;
        let merges = phase == Phase::Final;
        let argument = argument_type(call);
        let states = match call.function {
            A::Count => States::Count(Vec::new()),
            A::Sum | A::Avg => match argument {
                DataType::Int2 | DataType::Int4 | DataType::Int8 => States::Ints(Vec::new()),
                DataType::Float4 | DataType::Float8 => States::Floats(Vec::new()),
                DataType::Numeric(_) => States::Exact(Vec::new()),
                DataType::Interval => States::Intervals(Vec::new()),
                other => return Err(SqlError::internal(format!("a sum of {other}"))),
            },
            A::Min => States::Best(Vec::new(), Ordering::Less),
            A::Max => States::Best(Vec::new(), Ordering::Greater),
            A::First => States::Best(Vec::new(), Ordering::Equal),
            A::BoolAnd => States::Truths(Vec::new(), true),
            A::BoolOr => States::Truths(Vec::new(), false),
            A::StringAgg => States::Strings(Vec::new()),
            A::ArrayAgg => States::Arrays(Vec::new()),
            A::StddevSamp | A::StddevPop | A::VarSamp | A::VarPop => {
                let values = if merges {
                    call.arguments.get(1).map(|a| a.data_type())
                } else {
                    Some(argument)
                };
                if values.is_some_and(is_float) {
                    States::FloatMoments(Vec::new())
                } else {
                    States::ExactMoments(Vec::new())
                }
            }
        };
        Ok(Accumulator { states, merges })
    }

    pub fn len(&self) -> usize {
        match &self.states {
            States::Count(states) => states.len(),
            States::Ints(states) => states.len(),
            States::Floats(states) => states.len(),
            States::Exact(states) => states.len(),
            States::Intervals(states) => states.len(),
            States::Best(states, _) => states.len(),
            States::Truths(states, _) => states.len(),
            States::Strings(states) => states.len(),
            States::Arrays(states) => states.len(),
            States::ExactMoments(states) => states.len(),
            States::FloatMoments(states) => states.len(),
        }
    }

    /// Makes room for so many groups.
    pub fn resize(&mut self, groups: usize) {
        match &mut self.states {
            States::Count(states) => states.resize(groups, 0),
            States::Ints(states) => states.resize(groups, (0, 0)),
            States::Floats(states) => states.resize(groups, (0.0, 0)),
            States::Exact(states) => states.resize(groups, (None, 0)),
            States::Intervals(states) => states.resize(groups, (Interval::default(), 0)),
            States::Best(states, _) => states.resize(groups, Value::Null),
            States::Truths(states, _) => states.resize(groups, None),
            States::Strings(states) => states.resize(groups, None),
            States::Arrays(states) => states.resize(groups, None),
            States::ExactMoments(states) => states.resize_with(groups, ExactMoments::default),
            States::FloatMoments(states) => states.resize(groups, FloatMoments::default()),
        }
    }

    /// Takes in the arguments of rows that belong to these groups.
    pub fn update(
        &mut self,
        groups: &[u32],
        arguments: &[Column],
        memory: &mut Reservation,
    ) -> Result<(), SqlError> {
        let Some(argument) = arguments.first() else {
            if let States::Count(counts) = &mut self.states {
                groups.iter().for_each(|&group| counts[group as usize] += 1);
            }
            return Ok(());
        };
        if let (States::Ints(sums), false, Some(ints)) =
            (&mut self.states, self.merges, argument.ints())
        {
            let nulls = argument.nulls();
            for (row, &group) in groups.iter().enumerate() {
                let counted = nulls.is_empty() || !nulls[row];
                let (sum, count) = &mut sums[group as usize];
                *sum += i128::from(ints[row]);
                *count += i64::from(counted);
            }
            return Ok(());
        }
        for (row, &group) in groups.iter().enumerate() {
            let takes_nulls = matches!(self.states, States::Arrays(_)) && !self.merges;
            if takes_nulls || !argument.is_null(row) {
                self.update_one(group as usize, row, arguments, memory)?;
            }
        }
        Ok(())
    }

    fn update_one(
        &mut self,
        group: usize,
        row: usize,
        arguments: &[Column],
        memory: &mut Reservation,
    ) -> Result<(), SqlError> {
        let value = arguments[0].get(row);
        // A merged average brings its count along; a merged sum counts as one value.
        let count = match arguments.get(1) {
            Some(counts) if self.merges => match counts.get(row) {
                ValueRef::Int(count) => count,
                _ => 1,
            },
            _ => 1,
        };
        match (&mut self.states, value) {
            (States::Count(counts), ValueRef::Int(partial)) if self.merges => {
                counts[group] += partial;
            }
            (States::Count(counts), _) => counts[group] += 1,
            (States::Ints(sums), ValueRef::Int(value)) => {
                sums[group].0 += i128::from(value);
                sums[group].1 += count;
            }
            (States::Floats(sums), ValueRef::Float(value)) => {
                sums[group].0 += value;
                sums[group].1 += count;
            }
            (States::Exact(sums), ValueRef::Numeric(value)) => {
                let (sum, counted) = &mut sums[group];
                *sum = Some(match sum.take() {
                    Some(sum) => decimal::add(&sum, &value)?,
                    None => {
                        memory.grow(GROWN_STATE_BYTES)?;
                        value
                    }
                });
                *counted += count;
            }
            (States::Intervals(sums), ValueRef::Interval(value)) => {
                sums[group].0 = temporal::sum(sums[group].0, value)?;
                sums[group].1 += count;
            }
            (States::Best(best, wanted), value) => {
                let value = value.to_value();
                let known = &mut best[group];
                if known.is_null() || value.sort_order(known) == *wanted && wanted.is_ne() {
                    memory.grow(value.memory_bytes())?;
                    *known = value;
                }
            }
            (States::Truths(truths, and), ValueRef::Bool(value)) => {
                let known = truths[group].unwrap_or(*and);
                truths[group] = Some(if *and { known && value } else { known || value });
            }
            (States::Strings(strings), ValueRef::Text(value)) => {
                let separator = match arguments.get(1).map(|column| column.get(row)) {
                    Some(ValueRef::Text(separator)) => separator,
                    _ => "",
                };
                memory.grow(value.len() + separator.len())?;
                match &mut strings[group] {
                    Some((string, _)) => {
                        string.push_str(separator);
                        string.push_str(value);
                    }
                    empty => *empty = Some((value.to_owned(), separator.to_owned())),
                }
            }
            (States::Arrays(arrays), ValueRef::Array(part)) if self.merges => {
                memory.grow(part.memory_bytes())?;
                let known = arrays[group].get_or_insert_default();
                known.extend_from_slice(part.elements());
            }
            (States::Arrays(arrays), value) => {
                let value = value.to_value();
                memory.grow(value.memory_bytes())?;
                arrays[group].get_or_insert_default().push(value);
            }
            (States::ExactMoments(states), _) if self.merges => {
                states[group].merge(arguments, row)?;
            }
            (States::ExactMoments(states), ValueRef::Numeric(value)) => {
                states[group].add(&value)?;
            }
            (States::FloatMoments(states), _) if self.merges => {
                states[group].merge(arguments, row);
            }
            (States::FloatMoments(states), ValueRef::Float(value)) => states[group].add(value),
            _ => return Err(SqlError::internal("an aggregate's argument has another type")),
        }
        Ok(())
    }

    /// The result of a group. 22003 where a sum does not fit its type.
    pub fn result(&self, group: usize, call: &AggregateCall) -> Result<Value, SqlError> {
        let average = call.function == AggregateFunction::Avg;
        Ok(match &self.states {
            States::Count(counts) => Value::Int(counts[group]),
            States::Ints(sums) => match sums[group] {
                (_, 0) => Value::Null,
                (sum, count) if average => {
                    let sum = Numeric::new(BigInt::from(sum), 0);
                    Value::Numeric(decimal::divide(&sum, &Numeric::from(count))?)
                }
                (sum, _) if call.data_type == DataType::Int8 => {
                    Value::Int(i64::try_from(sum).map_err(|_| out_of_range(DataType::Int8))?)
                }
                (sum, _) => Value::Numeric(Numeric::new(BigInt::from(sum), 0)),
            },
            States::Floats(sums) => match sums[group] {
                (_, 0) => Value::Null,
                (sum, count) if average => Value::Float(sum / count as f64),
                (sum, _) if call.data_type == DataType::Float4 => {
                    Value::Float(f64::from(sum as f32))
                }
                (sum, _) => Value::Float(sum),
            },
            States::Exact(sums) => match &sums[group] {
                (None, _) | (_, 0) => Value::Null,
                (Some(sum), count) if average => {
                    Value::Numeric(decimal::divide(sum, &Numeric::from(*count))?)
                }
                (Some(sum), _) => Value::Numeric(sum.clone()),
            },
            States::Intervals(sums) => match sums[group] {
                (_, 0) => Value::Null,
                (sum, count) if average => {
                    Value::Interval(temporal::scale(sum, 1.0 / count as f64)?)
                }
                (sum, _) => Value::Interval(sum),
            },
            States::Best(best, _) => best[group].clone(),
            States::Truths(truths, _) => Value::from(truths[group]),
            States::Strings(strings) => strings[group]
                .as_ref()
                .map_or(Value::Null, |(string, _)| Value::text(string.as_str())),
            States::Arrays(arrays) => array_of(&arrays[group]),
            States::ExactMoments(states) => states[group].result(call.function)?,
            States::FloatMoments(states) => states[group].result(call.function),
        })
    }

    /// The state columns of some groups.
    pub fn states(&self, call: &AggregateCall, groups: Range<usize>) -> Vec<Column> {
        let types = state_types(call);
        let mut columns: Vec<Column> =
            types.iter().map(|t| Column::with_capacity(*t, groups.len())).collect();
        for group in groups {
            for (column, value) in columns.iter_mut().zip(self.state(group, &types)) {
                column.push(value);
            }
        }
        columns
    }

    fn state(&self, group: usize, types: &[DataType]) -> Vec<Value> {
        match &self.states {
            States::Count(counts) => vec![Value::Int(counts[group])],
            States::Ints(sums) => {
                let (sum, count) = sums[group];
                let sum = match (count, types[0]) {
                    (0, _) => Value::Null,
                    (_, DataType::Int8) => i64::try_from(sum)
                        .map_or(Value::Numeric(Numeric::new(BigInt::from(sum), 0)), Value::Int),
                    _ => Value::Numeric(Numeric::new(BigInt::from(sum), 0)),
                };
                vec![sum, Value::Int(count)]
            }
            States::Floats(sums) => {
                let (sum, count) = sums[group];
                vec![if count == 0 { Value::Null } else { Value::Float(sum) }, Value::Int(count)]
            }
            States::Exact(sums) => {
                let (sum, count) = &sums[group];
                vec![sum.clone().map_or(Value::Null, Value::Numeric), Value::Int(*count)]
            }
            States::Intervals(sums) => {
                let (sum, count) = sums[group];
                vec![if count == 0 { Value::Null } else { Value::Interval(sum) }, Value::Int(count)]
            }
            States::Best(best, _) => vec![best[group].clone()],
            States::Truths(truths, _) => vec![Value::from(truths[group])],
            States::Strings(strings) => match &strings[group] {
                Some((string, separator)) => {
                    vec![Value::text(string.as_str()), Value::text(separator.as_str())]
                }
                None => vec![Value::Null, Value::Null],
            },
            States::Arrays(arrays) => vec![array_of(&arrays[group])],
            States::ExactMoments(states) => states[group].state(),
            States::FloatMoments(states) => states[group].state(),
        }
    }
}

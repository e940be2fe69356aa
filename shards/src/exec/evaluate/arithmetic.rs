//! `+ - * / % ^ & | # << >>`, unary minus and `~`, `||`.

use super::operand::{Operand, either_null, zip};
use super::temporal;
use crate::exec::cast::{float_overflow, float_underflow, out_of_range};
use crate::exec::decimal;
use crate::exec::input::integer_bounds;
use model::batch::{Column, IntKind};
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, UnaryOperator};
use model::types::DataType;
use model::value::{Interval, Value};
use std::sync::Arc;

/// `left operator right` for each row.
pub(super) fn binary<'a>(
    operator: BinaryOperator,
    left: &Operand<'a>,
    right: &Operand<'a>,
    result: DataType,
    rows: usize,
) -> Result<Operand<'a>, SqlError> {
    if left.is_constant_null() || right.is_constant_null() || rows == 0 {
        return Ok(Operand::Constant(Value::Null));
    }
    if let (Operand::Constant(left), Operand::Constant(right)) = (left, right) {
        return value(operator, left, right, result).map(Operand::Constant);
    }
    let vector = match result {
        DataType::Int2 | DataType::Int4 | DataType::Int8 => {
            integers(operator, left, right, result)?
        }
        DataType::Float8 => floats(operator, left, right)?,
        _ => None,
    };
    if let Some(column) = vector {
        return Ok(Operand::owned(column));
    }
    let mut out = Column::with_capacity(result, rows);
    for row in 0..rows {
        if left.is_null(row) || right.is_null(row) {
            out.push(Value::Null);
        } else {
            out.push(value(operator, &left.value(row), &right.value(row), result)?);
        }
    }
    Ok(Operand::owned(out))
}

/// The loops over integers: only operators that cannot fail on the zeros behind nulls.
fn integers(
    operator: BinaryOperator,
    left: &Operand<'_>,
    right: &Operand<'_>,
    result: DataType,
) -> Result<Option<Column>, SqlError> {
    let (Some((IntKind::Int, a)), Some((IntKind::Int, b))) = (left.ints(), right.ints()) else {
        return Ok(None);
    };
    let nulls = either_null(left.nulls(), right.nulls());
    let (low, high) = integer_bounds(result);
    let mut failed = false;
    let mut checked = |(value, overflowed): (i64, bool)| {
        failed |= overflowed | (value < low) | (value > high);
        value
    };
    let values = match operator {
        BinaryOperator::Add => zip(a, b, |a, b| checked(a.overflowing_add(b))),
        BinaryOperator::Subtract => zip(a, b, |a, b| checked(a.overflowing_sub(b))),
        BinaryOperator::Multiply => zip(a, b, |a, b| checked(a.overflowing_mul(b))),
        BinaryOperator::BitAnd => zip(a, b, |a, b| a & b),
        BinaryOperator::BitOr => zip(a, b, |a, b| a | b),
        BinaryOperator::BitXor => zip(a, b, |a, b| a ^ b),
        _ => return Ok(None),
    };
    // A null beside a value leaves the value alone or makes it zero, so that no row fails that
    // has no result; only `null - low` would, and it is computed again value by value.
    if failed && !nulls.is_empty() {
        return Ok(None);
    }
    if failed {
        return Err(out_of_range(result));
    }
    Ok(Some(Column::from_ints(IntKind::Int, values, nulls)))
}

fn floats(
    operator: BinaryOperator,
    left: &Operand<'_>,
    right: &Operand<'_>,
) -> Result<Option<Column>, SqlError> {
    let (Some(a), Some(b)) = (left.floats(), right.floats()) else { return Ok(None) };
    let values = match operator {
        BinaryOperator::Add => zip(a, b, |a, b| a + b),
        BinaryOperator::Subtract => zip(a, b, |a, b| a - b),
        _ => return Ok(None),
    };
    // An infinity may be an operand's or an overflow: found out value by value.
    if values.iter().any(|value| value.is_infinite()) {
        return Ok(None);
    }
    Ok(Some(Column::from_floats(values, either_null(left.nulls(), right.nulls()))))
}

/// One operation; neither operand is null.
pub fn value(
    operator: BinaryOperator,
    left: &Value,
    right: &Value,
    result: DataType,
) -> Result<Value, SqlError> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) if result.is_integer() => integer(operator, *a, *b, result),
        (Value::Float(a), Value::Float(b)) => float(operator, *a, *b, result),
        (Value::Numeric(a), Value::Numeric(b)) => match operator {
            BinaryOperator::Add => decimal::add(a, b),
            BinaryOperator::Subtract => decimal::subtract(a, b),
            BinaryOperator::Multiply => decimal::multiply(a, b),
            BinaryOperator::Divide => decimal::divide(a, b),
            BinaryOperator::Modulo => decimal::modulo(a, b),
            BinaryOperator::Power => {
                return crate::exec::functions::numeric_power(a, b).map(Value::Numeric);
            }
            _ => return Err(undefined()),
        }
        .map(Value::Numeric),
        (Value::Text(a), Value::Text(b)) => {
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(a);
            text.push_str(b);
            Ok(Value::text(text))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            Ok(Value::Bytes(Arc::from([&a[..], &b[..]].concat())))
        }
        _ => temporal::value(operator, left, right),
    }
}

pub(super) fn undefined() -> SqlError {
    SqlError::internal("an operator on values it is not defined for")
}

fn integer(operator: BinaryOperator, a: i64, b: i64, result: DataType) -> Result<Value, SqlError> {
    let computed = match operator {
        BinaryOperator::Add => a.checked_add(b),
        BinaryOperator::Subtract => a.checked_sub(b),
        BinaryOperator::Multiply => a.checked_mul(b),
        BinaryOperator::Divide | BinaryOperator::Modulo if b == 0 => {
            return Err(decimal::division_by_zero());
        }
        BinaryOperator::Divide => a.checked_div(b),
        BinaryOperator::Modulo => Some(a.wrapping_rem(b)),
        BinaryOperator::BitAnd => Some(a & b),
        BinaryOperator::BitOr => Some(a | b),
        BinaryOperator::BitXor => Some(a ^ b),
        BinaryOperator::ShiftLeft | BinaryOperator::ShiftRight => {
            return Ok(Value::Int(shift(operator, a, b, result)));
        }
        _ => return Err(undefined()),
    };
    let (low, high) = integer_bounds(result);
    computed
        .filter(|value| (low..=high).contains(value))
        .map(Value::Int)
        .ok_or_else(|| out_of_range(result))
}

/// Shifts inside the type's width, the distance taken modulo that width as the processor does
/// (`smallint` is shifted as an `integer` and cut).
fn shift(operator: BinaryOperator, a: i64, distance: i64, result: DataType) -> i64 {
    let left = operator == BinaryOperator::ShiftLeft;
    if result == DataType::Int8 {
        let distance = (distance & 63) as u32;
        return if left { a.wrapping_shl(distance) } else { a.wrapping_shr(distance) };
    }
    let (a, distance) = (a as i32, (distance & 31) as u32);
    let shifted = if left { a.wrapping_shl(distance) } else { a.wrapping_shr(distance) };
    if result == DataType::Int2 { i64::from(shifted as i16) } else { i64::from(shifted) }
}

fn float(operator: BinaryOperator, a: f64, b: f64, result: DataType) -> Result<Value, SqlError> {
    if operator == BinaryOperator::Power {
        return crate::exec::functions::float_power(a, b).map(Value::Float);
    }
    let computed = match operator {
        BinaryOperator::Add => a + b,
        BinaryOperator::Subtract => a - b,
        BinaryOperator::Multiply => a * b,
        BinaryOperator::Divide if b == 0.0 && !a.is_nan() => {
            return Err(decimal::division_by_zero());
        }
        BinaryOperator::Divide => a / b,
        _ => return Err(undefined()),
    };
    let computed = if result == DataType::Float4 { f64::from(computed as f32) } else { computed };
    if computed.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(float_overflow());
    }
    let vanished = match operator {
        BinaryOperator::Multiply => computed == 0.0 && a != 0.0 && b != 0.0,
        BinaryOperator::Divide => computed == 0.0 && a != 0.0 && b.is_finite(),
        _ => false,
    };
    if vanished { Err(float_underflow()) } else { Ok(Value::Float(computed)) }
}

/// `-x` and `~x`.
pub(super) fn unary(
    operator: UnaryOperator,
    value: &Value,
    data_type: DataType,
) -> Result<Value, SqlError> {
    match (operator, value) {
        (_, Value::Null) => Ok(Value::Null),
        (UnaryOperator::Negate, Value::Int(v)) => {
            let (_, high) = integer_bounds(data_type);
            let negated = v.checked_neg().filter(|negated| *negated <= high);
            negated.map(Value::Int).ok_or_else(|| out_of_range(data_type))
        }
        (UnaryOperator::Negate, Value::Float(v)) => Ok(Value::Float(-v)),
        (UnaryOperator::Negate, Value::Numeric(v)) => Ok(Value::Numeric(decimal::negate(v))),
        (UnaryOperator::Negate, Value::Interval(v)) => {
            let overflow =
                || SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range");
            Ok(Value::Interval(Interval {
                months: v.months.checked_neg().ok_or_else(overflow)?,
                days: v.days.checked_neg().ok_or_else(overflow)?,
                micros: v.micros.checked_neg().ok_or_else(overflow)?,
            }))
        }
        (UnaryOperator::BitNot, Value::Int(v)) => Ok(Value::Int(!v)),
        _ => Err(undefined()),
    }
}

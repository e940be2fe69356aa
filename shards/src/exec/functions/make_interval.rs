//! `make_interval(years, months, weeks, days, hours, mins, secs)`, of which the last ones may be left
//! out.

use super::{Call, Function};
use model::error::{SqlError, SqlState};
use model::types::DataType::{self, Float8, Int4, Interval as Span};
use model::value::{Interval, Value};

const PARTS: &[DataType] = &[Int4, Int4, Int4, Int4, Int4, Int4, Float8];

const fn taking(parts: usize) -> Function {
    let (taken, _) = PARTS.split_at(parts);
    Function::new("make_interval", taken, Span, make_interval)
}

pub(super) const FUNCTIONS: &[Function] =
    &[taking(0), taking(1), taking(2), taking(3), taking(4), taking(5), taking(6), taking(7)];

fn make_interval(call: &Call<'_>) -> Result<Value, SqlError> {
    let part = |at: usize| match call.values.get(at) {
        None => Ok(0),
        Some(_) => call.int(at),
    };
    let seconds = if call.values.len() > 6 { call.float(6)? } else { 0.0 };
    let months = part(0)? * 12 + part(1)?;
    let days = part(2)? * 7 + part(3)?;
    let out_of_range = || SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range");
    let micros = (seconds * 1e6).round_ties_even();
    if !micros.is_finite() || micros.abs() >= 9.2e18 {
        return Err(out_of_range());
    }
    // Hours and minutes have 32 bits: their sum is far from 64.
    let micros = (part(4)? * 3_600_000_000 + part(5)? * 60_000_000).checked_add(micros as i64);
    match (i32::try_from(months), i32::try_from(days), micros) {
        (Ok(months), Ok(days), Some(micros)) => {
            Ok(Value::Interval(Interval { months, days, micros }))
        }
        _ => Err(out_of_range()),
    }
}

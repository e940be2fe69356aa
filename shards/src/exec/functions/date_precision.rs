//! Times and spans with fewer digits behind the second, by calls: `timestamp(moment, digits)`.

use super::{Call, Function};
use crate::exec::seconds::{round, round_value};
use model::error::SqlError;
use model::moment::DAY_MICROS;
use model::types::DataType::{Int4, Interval as Span, Time, TimeTz, Timestamp, TimestampTz};
use model::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("timestamp", &[Timestamp, Int4], Timestamp, cut),
    Function::new("timestamptz", &[TimestampTz, Int4], TimestampTz, cut),
    Function::new("time", &[Time, Int4], Time, cut),
    Function::new("timetz", &[TimeTz, Int4], TimeTz, cut),
    Function::new("interval", &[Span, Int4], Span, cut),
    Function::new("current_timestamp", &[Int4], TimestampTz, |c| {
        Ok(Value::Timestamp(round(c.context.now_micros, c.int(0)?)))
    })
    .stable(),
    Function::new("localtimestamp", &[Int4], Timestamp, |c| {
        Ok(Value::Timestamp(round(c.context.now_micros, c.int(0)?)))
    })
    .stable(),
    Function::new("localtime", &[Int4], Time, |c| {
        Ok(Value::Time(round(c.context.now_micros.rem_euclid(DAY_MICROS), c.int(0)?)))
    })
    .stable(),
];

fn cut(call: &Call<'_>) -> Result<Value, SqlError> {
    Ok(round_value(call.values[0].clone(), call.int(1)?))
}

//! Functions about the session and the server, and identifiers.

use super::Function;
use crate::exec::cast;
use model::types::DataType::{self, Int4, Text, Uuid};
use model::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("version", &[], Text, |_| {
        Ok(Value::text(concat!(
            "PhantomDB ",
            env!("CARGO_PKG_VERSION"),
            ", compatible with PostgreSQL 15"
        )))
    })
    .stable(),
    Function::new("current_database", &[], Text, |c| {
        Ok(Value::Text(c.context.identity.database.clone()))
    })
    .stable(),
    Function::new("current_catalog", &[], Text, |c| {
        Ok(Value::Text(c.context.identity.database.clone()))
    })
    .stable(),
    Function::new("current_schema", &[], Text, |_| Ok(Value::text("public"))).stable(),
    Function::new("current_user", &[], Text, |c| Ok(Value::Text(c.context.identity.user.clone())))
        .stable(),
    Function::new("session_user", &[], Text, |c| Ok(Value::Text(c.context.identity.user.clone())))
        .stable(),
    Function::new("user", &[], Text, |c| Ok(Value::Text(c.context.identity.user.clone()))).stable(),
    Function::new("gen_random_uuid", &[], Uuid, |_| {
        let mut bytes = [0; 16];
        runtime::random::fill(&mut bytes);
        // Version 4, variant 1 (RFC 4122).
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Value::Uuid(bytes))
    })
    .volatile(),
    Function::new(
        "width_bucket",
        &[DataType::Float8, DataType::Float8, DataType::Float8, Int4],
        Int4,
        |c| {
            let (value, low, high, count) = (c.float(0)?, c.float(1)?, c.float(2)?, c.int(3)?);
            let refuse = |message| {
                Err(model::error::SqlError::new(
                    model::error::SqlState::INVALID_PARAMETER_VALUE,
                    message,
                ))
            };
            if count <= 0 {
                return refuse("count must be greater than zero");
            }
            if low == high || !low.is_finite() || !high.is_finite() || value.is_nan() {
                return refuse("lower bound cannot equal upper bound");
            }
            let bucket = ((value - low) / (high - low) * count as f64).floor() + 1.0;
            let bucket = bucket.clamp(0.0, count as f64 + 1.0);
            cast::cast(&Value::Float(bucket), DataType::Float8, Int4, true, 0)
        },
    ),
];

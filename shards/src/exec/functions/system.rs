//! Functions about the session and the server, and identifiers.

use super::Function;
use crate::exec::{cast, decimal};
use model::error::{SqlError, SqlState};
use model::numeric::Numeric;
use model::types::DataType::{self, Bool, Int4, Int8, Text, Uuid};
use model::types::oid;
use model::value::Value;

/// The only encoding, and PostgreSQL's number of it.
const ENCODING: &str = "UTF8";
const ENCODING_NUMBER: i64 = 6;

/// Units of sizes, each 1,024 of the one before it, the first one of bytes.
const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
/// What is shown in the next unit.
const BYTES_MAX: u64 = 10 * 1024;

/// A number of bytes in the greatest unit that leaves four or five digits, as PostgreSQL rounds it.
fn pretty_size(bytes: i64) -> String {
    if bytes.unsigned_abs() < BYTES_MAX {
        return format!("{bytes} bytes");
    }
    // Twice the size in the unit, so that the half can be rounded.
    let mut twice = bytes / 512;
    for unit in UNITS {
        if twice.unsigned_abs() < 2 * BYTES_MAX - 1 || unit == "PB" {
            return format!("{} {unit}", (twice + twice.signum()) / 2);
        }
        twice /= 1024;
    }
    unreachable!("the last unit takes every size")
}

/// The same of a `numeric`, which may be no whole number and of any size.
fn pretty_numeric(bytes: &Numeric) -> Result<String, SqlError> {
    let whole = |number: u64| Numeric::from(number as i64);
    if decimal::absolute(bytes) < whole(BYTES_MAX) {
        return Ok(format!("{bytes} bytes"));
    }
    let mut twice = decimal::whole_quotient(bytes, &whole(512))?;
    for unit in UNITS {
        if decimal::absolute(&twice) < whole(2 * BYTES_MAX - 1) || unit == "PB" {
            let rounded = decimal::add(&twice, &decimal::sign(&twice))?;
            return Ok(format!("{} {unit}", decimal::whole_quotient(&rounded, &whole(2))?));
        }
        twice = decimal::whole_quotient(&twice, &whole(1024))?;
    }
    unreachable!("the last unit takes every size")
}

/// PostgreSQL's `format_type`: the type of this oid with this modifier (-1: none).
fn type_name(number: i64, modifier: i64) -> String {
    let (Ok(number), Ok(modifier)) = (u32::try_from(number), i32::try_from(modifier)) else {
        return "???".to_owned();
    };
    // `varchar` without a length is `text` here, and prints under its own name there.
    let varchar = oid::oid(DataType::Varchar(1));
    match oid::from_oid(number, modifier) {
        _ if number == 0 => "-".to_owned(),
        None => oid::type_name(number).unwrap_or_else(|| "???".to_owned()),
        Some(Text) if number == varchar => oid::format_type(DataType::Varchar(1)),
        Some(data_type) if modifier < 0 => oid::format_type(data_type),
        Some(data_type) => data_type.to_string(),
    }
}

/// Whether a scalar subquery has answered one row at most; an error where it has more. It cannot
/// be called: the planner puts it into what it makes of such subqueries.
pub const NO_MORE_THAN_ONE: &str = "no more than one(bigint)";

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("no more than one", &[Int8], Bool, |c| match c.int(0)? {
        0 | 1 => Ok(Value::Bool(true)),
        _ => Err(SqlError::new(
            SqlState::CARDINALITY_VIOLATION,
            "more than one row returned by a subquery used as an expression",
        )),
    }),
    // There are no advisory locks: none is held.
    Function::new("pg_advisory_unlock_all", &[], DataType::Void, |_| Ok(Value::text("")))
        .volatile(),
    Function::new("version", &[], Text, |_| {
        Ok(Value::text(concat!(
            "PhantomDB ",
            env!("CARGO_PKG_VERSION"),
            ", compatible with PostgreSQL 15"
        )))
    })
    .stable(),
    Function::new("current_database", &[], DataType::Name, |c| {
        Ok(Value::Text(c.context.identity.database.clone()))
    })
    .stable(),
    Function::new("current_catalog", &[], DataType::Name, |c| {
        Ok(Value::Text(c.context.identity.database.clone()))
    })
    .stable(),
    Function::new("current_user", &[], DataType::Name, |c| {
        Ok(Value::Text(c.context.identity.user.clone()))
    })
    .stable(),
    Function::new("current_role", &[], DataType::Name, |c| {
        Ok(Value::Text(c.context.identity.user.clone()))
    })
    .stable(),
    Function::new("session_user", &[], DataType::Name, |c| {
        Ok(Value::Text(c.context.identity.session_user.clone()))
    })
    .stable(),
    Function::new("user", &[], DataType::Name, |c| {
        Ok(Value::Text(c.context.identity.user.clone()))
    })
    .stable(),
    Function::new("pg_client_encoding", &[], DataType::Name, |_| Ok(Value::text(ENCODING)))
        .stable(),
    Function::new("pg_encoding_to_char", &[Int4], DataType::Name, |c| {
        Ok(Value::text(if c.int(0)? == ENCODING_NUMBER { ENCODING } else { "" }))
    }),
    Function::new("pg_char_to_encoding", &[DataType::Name], Int4, |c| {
        let known = matches!(c.text(0)?.to_ascii_lowercase().as_str(), "utf8" | "utf-8");
        Ok(Value::Int(if known { ENCODING_NUMBER } else { -1 }))
    }),
    Function::new("pg_backend_pid", &[], Int4, |c| {
        Ok(Value::Int(i64::from(c.context.identity.process)))
    })
    .stable(),
    Function::new("getdatabaseencoding", &[], DataType::Name, |_| Ok(Value::text(ENCODING)))
        .stable(),
    Function::new("pg_size_pretty", &[Int8], Text, |c| Ok(Value::text(pretty_size(c.int(0)?)))),
    Function::new("pg_size_pretty", &[DataType::Numeric(None)], Text, |c| {
        pretty_numeric(c.numeric(0)?).map(Value::text)
    }),
    Function::new("format_type", &[DataType::Oid, Int4], Text, |c| {
        Ok(Value::text(type_name(c.int(0)?, c.int(1)?)))
    }),
    Function::new("pg_is_in_recovery", &[], DataType::Bool, |_| Ok(Value::Bool(false))).stable(),
    // There are no temporary tables, and no policies on rows.
    Function::new("pg_my_temp_schema", &[], DataType::Oid, |_| Ok(Value::Int(0))).stable(),
    Function::new("pg_is_other_temp_schema", &[DataType::Oid], DataType::Bool, |_| {
        Ok(Value::Bool(false))
    })
    .stable(),
    Function::new("row_security_active", &[DataType::Oid], DataType::Bool, |_| {
        Ok(Value::Bool(false))
    })
    .stable(),
    // Addresses are not told: as of a session over a local socket.
    Function::new("inet_server_addr", &[], Text, |_| Ok(Value::Null)).stable(),
    Function::new("inet_server_port", &[], Int4, |_| Ok(Value::Null)).stable(),
    Function::new("inet_client_addr", &[], Text, |_| Ok(Value::Null)).stable(),
    Function::new("inet_client_port", &[], Int4, |_| Ok(Value::Null)).stable(),
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

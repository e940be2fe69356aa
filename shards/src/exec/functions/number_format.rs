//! `to_char` of numbers and `to_number`, by PostgreSQL's templates.
//!
//! ```text
//!  template.rs    '9,999.99S' ──► patterns, how many digits on each side, where the sign goes
//!  digits.rs      a number ──► its digits, cut and padded to the template's places
//!  write.rs       digits + patterns ──► text
//!  read.rs        text + patterns ──► digits
//! ```
//!
//! The locale is C: a point, a comma between groups, a blank for the currency.

mod digits;
mod read;
mod template;
mod write;

use super::{Call, Function};
use crate::exec::decimal;
use digits::Digits;
use model::error::{SqlError, SqlState};
use model::numeric::Numeric;
use model::types::DataType::{self, Float4, Float8, Int4, Int8, Text};
use model::value::Value;
use template::Template;

const EXACT: DataType = DataType::Numeric(None);

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("to_char", &[Int4, Text], Text, |c| {
        written(c, |template| digits::of_integer(c.int(0)?, Int4, template))
    })
    .stable(),
    Function::new("to_char", &[Int8, Text], Text, |c| {
        written(c, |template| digits::of_integer(c.int(0)?, Int8, template))
    })
    .stable(),
    Function::new("to_char", &[EXACT, Text], Text, |c| {
        written(c, |template| digits::of_numeric(c.numeric(0)?, template))
    })
    .stable(),
    Function::new("to_char", &[Float4, Text], Text, |c| {
        written(c, |template| digits::of_float(c.float(0)?, digits::FLOAT4_DIGITS, template))
    })
    .stable(),
    Function::new("to_char", &[Float8, Text], Text, |c| {
        written(c, |template| digits::of_float(c.float(0)?, digits::FLOAT8_DIGITS, template))
    })
    .stable(),
    Function::new("to_number", &[Text, Text], EXACT, to_number).stable(),
];

/// The template in the second argument, filled with digits that are made for it.
fn written(
    call: &Call<'_>,
    digits: impl FnOnce(&mut Template) -> Result<Digits, SqlError>,
) -> Result<Value, SqlError> {
    let format = call.text(1)?;
    if format.is_empty() {
        return Ok(Value::text(""));
    }
    let mut template = Template::read(format)?;
    let digits = digits(&mut template)?;
    write::write(template, &digits).map(Value::text)
}

fn to_number(call: &Call<'_>) -> Result<Value, SqlError> {
    let (text, format) = (call.text(0)?, call.text(1)?);
    if format.is_empty() {
        return Ok(Value::Null);
    }
    let template = Template::read(format)?;
    let read = read::read(&template, text)?;
    let number = decimal::parse(read.digits.trim()).unwrap_or_else(|| {
        Err(SqlError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type numeric: \"{}\"", read.digits),
        ))
    })?;
    let number = read.fit(&template, number)?;
    if !template.shifted {
        return Ok(Value::Numeric(number));
    }
    let shift = super::numeric_power(&Numeric::from(10), &Numeric::from(-(template.shift as i64)))?;
    decimal::multiply(&number, &shift).map(Value::Numeric)
}

#[cfg(test)]
mod tests;

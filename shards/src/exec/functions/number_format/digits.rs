//! A number's digits, as its template has places for them.

use super::template::Template;
use crate::exec::cast::out_of_range;
use crate::exec::decimal;
use model::error::{SqlError, SqlState};
use model::numeric::{Numeric, Special};
use model::types::DataType;

/// Decimal digits that a `real` and a `double precision` keep.
pub(super) const FLOAT4_DIGITS: usize = 6;
pub(super) const FLOAT8_DIGITS: usize = 15;

/// What is written into a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Digits {
    /// Digits, with a point between; signs of what does not fit (`##.#`); or the whole answer, of
    /// an exponent or a Roman number.
    pub(super) text: String,
    pub(super) negative: bool,
    /// How many places before the point have no digit.
    pub(super) spaces: usize,
}

impl Digits {
    fn whole(text: String) -> Digits {
        Digits { text, negative: false, spaces: 0 }
    }

    /// A number in plain notation, in the template's places.
    fn placed(number: &str, template: &Template) -> Digits {
        let (negative, text) = match number.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, number),
        };
        let whole = text.find('.').unwrap_or(text.len());
        if whole > template.before {
            let mut text = "#".repeat(template.before + template.behind + 1);
            text.replace_range(template.before..=template.before, ".");
            return Digits { text, negative, spaces: 0 };
        }
        Digits { text: text.to_owned(), negative, spaces: template.before - whole }
    }

    /// In place of an exponent of what has none.
    fn no_exponent(template: &Template) -> Digits {
        let before = "#".repeat(template.before);
        let behind = "#".repeat(template.behind + 4);
        Digits::whole(format!(" {before}.{behind}"))
    }
}

/// Of an `integer` or a `bigint`.
pub(super) fn of_integer(
    number: i64,
    data_type: DataType,
    template: &mut Template,
) -> Result<Digits, SqlError> {
    if template.roman {
        let small = i32::try_from(number).map_err(|_error| out_of_range(DataType::Int4))?;
        return Ok(Digits::whole(roman(i64::from(small))));
    }
    if template.exponent {
        // As a `double precision`, which an `integer` is exact in.
        return match data_type {
            DataType::Int4 => Ok(Digits::whole(float_scientific(number as f64, template.behind))),
            _ => scientific(&Numeric::from(number), template.behind),
        };
    }
    let mut shifted = number;
    if template.shifted {
        let power = u32::try_from(template.shift).ok().and_then(|shift| 10_i64.checked_pow(shift));
        let product = power.and_then(|power| number.checked_mul(power));
        let fits = |product: &i64| data_type == DataType::Int8 || i32::try_from(*product).is_ok();
        shifted = product.filter(fits).ok_or_else(|| out_of_range(data_type))?;
        template.before += template.shift;
    }
    let mut text = shifted.to_string();
    if template.behind > 0 {
        text.push('.');
        text.push_str(&"0".repeat(template.behind));
    }
    Ok(Digits::placed(&text, template))
}

/// Of a `numeric`.
pub(super) fn of_numeric(number: &Numeric, template: &mut Template) -> Result<Digits, SqlError> {
    if template.roman {
        if let Numeric::Special(special) = number {
            let name = if *special == Special::NaN { "NaN" } else { "infinity" };
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("cannot convert {name} to integer"),
            ));
        }
        let whole = decimal::round(number, 0)?;
        let whole = decimal::to_i64(&whole).and_then(|whole| i32::try_from(whole).ok());
        let whole = whole.ok_or_else(|| out_of_range(DataType::Int4))?;
        return Ok(Digits::whole(roman(i64::from(whole))));
    }
    if template.exponent {
        return match number {
            Numeric::Special(_) => Ok(Digits::no_exponent(template)),
            Numeric::Finite(_) => scientific(number, template.behind),
        };
    }
    let mut shifted = number.clone();
    if template.shifted {
        let power = Numeric::from(10);
        let power = super::super::numeric_power(&power, &Numeric::from(template.shift as i64))?;
        shifted = decimal::multiply(number, &power)?;
        template.before += template.shift;
    }
    let rounded = decimal::round(&shifted, template.behind as i64)?;
    Ok(Digits::placed(&rounded.to_string(), template))
}

/// One digit, `digits` more and the exponent.
fn scientific(number: &Numeric, digits: usize) -> Result<Digits, SqlError> {
    let zero = Numeric::from(0);
    let sign = if *number < zero { '-' } else { ' ' };
    let plain = decimal::absolute(number).to_string();
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let exponent = match whole.trim_start_matches('0').len() {
        0 => match fraction.find(|digit| digit != '0') {
            Some(zeros) => -(zeros as i64) - 1,
            None => 0,
        },
        length => length as i64 - 1,
    };
    let power = super::super::numeric_power(&Numeric::from(10), &Numeric::from(exponent.abs()))?;
    let number = decimal::absolute(number);
    let significand = match exponent {
        ..0 => decimal::multiply(&number, &power)?,
        _ => decimal::multiply(&number, &Numeric::new(1.into(), exponent))?,
    };
    let significand = decimal::round(&significand, digits as i64)?;
    Ok(Digits::whole(format!(
        "{sign}{significand}e{}{:02}",
        exponent_sign(exponent),
        exponent.abs()
    )))
}

fn exponent_sign(exponent: i64) -> char {
    if exponent < 0 { '-' } else { '+' }
}

/// Of a float that keeps `kept` digits.
pub(super) fn of_float(
    number: f64,
    kept: usize,
    template: &mut Template,
) -> Result<Digits, SqlError> {
    if template.roman {
        // What is no number is no Roman one either.
        return Ok(Digits::whole(roman(number.round_ties_even() as i64)));
    }
    if template.exponent {
        if !number.is_finite() {
            return Ok(Digits::no_exponent(template));
        }
        return Ok(Digits::whole(float_scientific(number, template.behind)));
    }
    let mut shifted = number;
    if template.shifted {
        shifted *= 10_f64.powi(template.shift as i32);
        if kept == FLOAT4_DIGITS {
            shifted = f64::from(shifted as f32);
        }
        template.before += template.shift;
    }
    let name = match shifted {
        _ if shifted.is_finite() => None,
        _ if shifted.is_nan() => Some(Special::NaN),
        _ if shifted < 0.0 => Some(Special::NegativeInfinity),
        _ => Some(Special::Infinity),
    };
    // More digits than it keeps mean nothing.
    let whole = match name {
        Some(name) => name.name().trim_start_matches('-').len(),
        None => format!("{:.0}", shifted.abs()).len(),
    };
    if whole >= kept {
        template.behind = 0;
    } else if whole + template.behind > kept {
        template.behind = kept - whole;
    }
    Ok(match name {
        Some(name) => Digits::placed(name.name(), template),
        None => Digits::placed(&format!("{shifted:.*}", template.behind), template),
    })
}

fn float_scientific(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let (significand, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    let space = if significand.starts_with('-') { "" } else { " " };
    format!("{space}{significand}e{sign}{exponent:0>2}")
}

/// A Roman number; as many signs as the widest one has letters where there is none.
fn roman(number: i64) -> String {
    const LETTERS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..=3999).contains(&number) {
        return "#".repeat(15);
    }
    let (mut rest, mut out) = (number, String::new());
    for (value, letters) in LETTERS {
        while rest >= value {
            out.push_str(letters);
            rest -= value;
        }
    }
    out
}

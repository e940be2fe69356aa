//! Arithmetic where an operand is an infinity or `NaN`. `NaN` makes `NaN` of everything; what an
//! infinity makes is the limit, and `NaN` where there is none (`Infinity - Infinity`, `0 * Infinity`).

use super::division_by_zero;
use crate::exec::functions::{complex_power, undefined_power};
use bigdecimal::num_bigint::Sign;
use model::error::SqlError;
use model::numeric::{
    Numeric::{self, Finite},
    Special,
};

/// -1, 0 or 1; `None` of `NaN`.
pub fn sign(number: &Numeric) -> Option<i8> {
    match number {
        Finite(decimal) => Some(match decimal.sign() {
            Sign::Minus => -1,
            Sign::NoSign => 0,
            Sign::Plus => 1,
        }),
        Numeric::Special(Special::NegativeInfinity) => Some(-1),
        Numeric::Special(Special::Infinity) => Some(1),
        Numeric::Special(Special::NaN) => None,
    }
}

/// The infinity of a sign; `NaN` of zero.
fn infinity(sign: i8) -> Numeric {
    match sign {
        0 => Numeric::NAN,
        1.. => Numeric::INFINITY,
        _ => Numeric::NEGATIVE_INFINITY,
    }
}

pub fn negate(a: Special) -> Numeric {
    Numeric::Special(match a {
        Special::NegativeInfinity => Special::Infinity,
        Special::Infinity => Special::NegativeInfinity,
        Special::NaN => Special::NaN,
    })
}

pub fn absolute(a: Special) -> Numeric {
    match a {
        Special::NaN => Numeric::NAN,
        Special::NegativeInfinity | Special::Infinity => Numeric::INFINITY,
    }
}

pub fn add(a: &Numeric, b: &Numeric) -> Numeric {
    match (a, b) {
        (Numeric::Special(a), Finite(_)) => Numeric::Special(*a),
        (Finite(_), Numeric::Special(b)) => Numeric::Special(*b),
        _ if a == b => a.clone(),
        _ => Numeric::NAN,
    }
}

pub fn multiply(a: &Numeric, b: &Numeric) -> Numeric {
    match (sign(a), sign(b)) {
        (Some(a), Some(b)) => infinity(a * b),
        _ => Numeric::NAN,
    }
}

/// 22012 where an infinity is divided by zero.
pub fn divide(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let (Some(sign_a), Some(sign_b)) = (sign(a), sign(b)) else { return Ok(Numeric::NAN) };
    match (a, b) {
        (Finite(_), _) => Ok(Numeric::from(0)),
        (_, Numeric::Special(_)) => Ok(Numeric::NAN),
        _ if sign_b == 0 => Err(division_by_zero()),
        _ => Ok(infinity(sign_a * sign_b)),
    }
}

/// 22012 where an infinity is divided by zero.
pub fn modulo(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let (Some(_), Some(sign_b)) = (sign(a), sign(b)) else { return Ok(Numeric::NAN) };
    match a {
        Finite(_) => Ok(a.clone()),
        Numeric::Special(_) if sign_b == 0 => Err(division_by_zero()),
        Numeric::Special(_) => Ok(Numeric::NAN),
    }
}

/// `a ^ b` as POSIX has it; `None` where both are finite.
pub fn power(a: &Numeric, b: &Numeric) -> Option<Result<Numeric, SqlError>> {
    if let (Finite(_), Finite(_)) = (a, b) {
        return None;
    }
    let (zero, one) = (Numeric::from(0), Numeric::from(1));
    if *b == zero || *a == one {
        return Some(Ok(one));
    }
    let (Some(sign_a), Some(sign_b)) = (sign(a), sign(b)) else { return Some(Ok(Numeric::NAN)) };
    if sign_a == 0 && sign_b < 0 {
        return Some(Err(undefined_power()));
    }
    let Finite(exponent) = b else {
        let base = super::absolute(a);
        return Some(Ok(match base.cmp(&one) {
            std::cmp::Ordering::Equal => one,
            order if order.is_gt() == (sign_b > 0) => Numeric::INFINITY,
            _ => zero,
        }));
    };
    if sign_a < 0 && !exponent.is_integer() {
        return Some(Err(complex_power()));
    }
    if sign_b < 0 {
        return Some(Ok(zero));
    }
    let is_even = super::modulo(b, &Numeric::from(2)).is_ok_and(|rest| rest == zero);
    Some(Ok(if sign_a < 0 && !is_even { Numeric::NEGATIVE_INFINITY } else { Numeric::INFINITY }))
}

/// `e` to the power of what has no digits.
pub fn exponential(number: &Numeric) -> Numeric {
    match number {
        Numeric::Special(Special::NegativeInfinity) => Numeric::from(0),
        other => other.clone(),
    }
}

/// The logarithm of a number for a base where one of them has no digits; both are above zero.
pub fn logarithm_for(base: &Numeric, number: &Numeric) -> Numeric {
    match (base, number) {
        _ if sign(base).is_none() || sign(number).is_none() => Numeric::NAN,
        (Numeric::Special(_), Numeric::Special(_)) => Numeric::NAN,
        (Numeric::Special(_), Finite(_)) => Numeric::from(0),
        (Finite(_), _) => number.clone(),
    }
}

pub fn to_f64(number: Special) -> f64 {
    match number {
        Special::NegativeInfinity => f64::NEG_INFINITY,
        Special::Infinity => f64::INFINITY,
        Special::NaN => f64::NAN,
    }
}

/// A float that is not finite.
pub fn from_float(float: f64) -> Numeric {
    if float.is_nan() { Numeric::NAN } else { infinity(if float > 0.0 { 1 } else { -1 }) }
}

/// The words for them, in any case; an infinity may have a sign and be short.
pub fn parse(text: &str) -> Option<Special> {
    let is = |word: &str, name: &str| word.eq_ignore_ascii_case(name);
    let is_infinity = |word: &str| is(word, "infinity") || is(word, "inf");
    match text.strip_prefix('-') {
        Some(rest) => is_infinity(rest).then_some(Special::NegativeInfinity),
        None if is(text, "nan") => Some(Special::NaN),
        None => is_infinity(text.strip_prefix('+').unwrap_or(text)).then_some(Special::Infinity),
    }
}

//! Exponentials and logarithms with PostgreSQL's scales: about sixteen significant digits, and no
//! fewer behind the point than the arguments have. Digits that are shown are right: everything is
//! computed in fixed point with digits to spare, and rounded once.

use super::special::{self, sign};
use super::{
    DISPLAY_SCALE_MAX, SIGNIFICANT_DIGITS_MIN, WHOLE_DIGITS_MAX, check, divide_rounding,
    division_by_zero, leading_digit, overflow, parts, power_of_ten, rescale,
};
use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, Sign};
use model::error::{SqlError, SqlState};
use model::numeric::Numeric::{self, Finite};

/// The decimal logarithm of e.
const LOG10_E: f64 = std::f64::consts::LOG10_E;
/// Digits that are computed and not shown.
const SPARE_DIGITS: i64 = 12;
/// From here on a power of e overflows or vanishes.
const EXPONENT_END: f64 = 6_000.0;
/// As far as the estimate of a result's size goes into its scale.
const ESTIMATE_MAX: f64 = 2_000.0;

fn shown(scale: i64) -> i64 {
    scale.clamp(0, DISPLAY_SCALE_MAX)
}

/// `e ^ number`; 22003 where it is too large.
pub fn exponential(number: &Numeric) -> Result<Numeric, SqlError> {
    let Finite(number) = number else { return Ok(special::exponential(number)) };
    let value = approximate(number);
    let weight = (value * LOG10_E).clamp(-ESTIMATE_MAX, ESTIMATE_MAX) as i64;
    let scale = shown((SIGNIFICANT_DIGITS_MIN - weight).max(number.fractional_digit_count()));
    exponential_at(number, value, scale)
}

fn exponential_at(number: &BigDecimal, value: f64, scale: i64) -> Result<Numeric, SqlError> {
    if value.abs() >= EXPONENT_END {
        return if value > 0.0 { Err(overflow()) } else { check(BigInt::from(0), scale) };
    }
    // What the exponent is wrong by the result is, as many times as it is large.
    let before = (value * LOG10_E).max(0.0).ceil() as i64;
    let working = scale + before + SPARE_DIGITS;
    let (digits, from) = parts(number);
    let power = fixed_exponential(&rescale(&digits, from, working), value, working);
    check(rescale(&power, working, scale), scale)
}

/// `e ^ x` in fixed point: the series of a small part of `x`, and as many squares as that takes.
fn fixed_exponential(x: &BigInt, value: f64, scale: i64) -> BigInt {
    /// The series begins below 2^-8.
    const SMALL_BITS: i64 = 8;
    let one = power_of_ten(scale);
    let squares = (x.bits() as i64 - one.bits() as i64 + SMALL_BITS + 1).max(0);
    // Each square doubles an error, and the result is as much larger than one as it is.
    let more = squares / 3 + 5 + (value * LOG10_E).max(0.0).ceil() as i64;
    let one = power_of_ten(scale + more);
    let x = (x * power_of_ten(more)) / (BigInt::from(1) << squares);
    let (mut sum, mut term) = (one.clone(), one.clone());
    for count in 1_u32.. {
        term = term * &x / &one / count;
        if term.sign() == Sign::NoSign {
            break;
        }
        sum += &term;
    }
    for _ in 0..squares {
        sum = &sum * &sum / &one;
    }
    divide_rounding(&sum, &power_of_ten(more))
}

/// The natural logarithm; 2201E where there is none.
pub fn logarithm(number: &Numeric) -> Result<Numeric, SqlError> {
    require_positive(&[number])?;
    let Finite(number) = number else { return Ok(number.clone()) };
    let scale = SIGNIFICANT_DIGITS_MIN - logarithm_weight(number);
    let scale = shown(scale.max(number.fractional_digit_count()));
    let working = scale + SPARE_DIGITS;
    check(rescale(&fixed_logarithm(number, working), working, scale), scale)
}

/// The logarithm of a number for a base; 2201E where there is none, 22012 where the base is one.
pub fn logarithm_for(base: &Numeric, number: &Numeric) -> Result<Numeric, SqlError> {
    require_positive(&[base, number])?;
    let (Finite(base), Finite(number)) = (base, number) else {
        return Ok(special::logarithm_for(base, number));
    };
    let weights = (logarithm_weight(base), logarithm_weight(number));
    let scale = (SIGNIFICANT_DIGITS_MIN - (weights.1 - weights.0))
        .max(base.fractional_digit_count())
        .max(number.fractional_digit_count());
    let scale = shown(scale);
    // As many digits more as the smaller of the two has zeros behind the point, and the larger has
    // digits before it.
    let working = scale + SPARE_DIGITS + 2 * (weights.0.abs().max(weights.1.abs()) + 1);
    let (divisor, dividend) = (fixed_logarithm(base, working), fixed_logarithm(number, working));
    if divisor.sign() == Sign::NoSign {
        return Err(division_by_zero());
    }
    check(divide_rounding(&(dividend * power_of_ten(scale)), &divisor), scale)
}

/// 2201E unless all are greater than zero; `NaN` is no number to refuse.
fn require_positive(numbers: &[&Numeric]) -> Result<(), SqlError> {
    let signs: Option<Vec<i8>> = numbers.iter().map(|number| sign(number)).collect();
    let Some(signs) = signs else { return Ok(()) };
    let message = if signs.contains(&-1) {
        "cannot take logarithm of a negative number"
    } else if signs.contains(&0) {
        "cannot take logarithm of zero"
    } else {
        return Ok(());
    };
    Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, message))
}

/// About the decimal exponent of a logarithm (PostgreSQL's `estimate_ln_dweight`).
fn logarithm_weight(number: &BigDecimal) -> i64 {
    let one = BigDecimal::from(1);
    let difference = number - &one;
    if difference.abs() <= BigDecimal::new(1.into(), 1) {
        // ln(1 + x) is about x there.
        if difference.sign() == Sign::NoSign {
            return 0;
        }
        let (weight, first) = leading_digit(&difference);
        return weight * 4 + (first as f64).log10() as i64;
    }
    approximate_logarithm(number).abs().log10() as i64
}

/// The logarithm of a positive number as a float, whatever the number's size.
fn approximate_logarithm(number: &BigDecimal) -> f64 {
    let (mantissa, exponent) = normal(number);
    mantissa_as_float(&mantissa).ln() + exponent as f64 * std::f64::consts::LN_10
}

/// The digits with a point behind the first, and the power of ten they are multiplied with.
fn normal(number: &BigDecimal) -> (BigDecimal, i64) {
    let (digits, scale) = parts(number);
    let places = digits.magnitude().to_str_radix(10).len() as i64 - 1;
    (BigDecimal::new(digits.into_owned(), places), places - scale)
}

fn mantissa_as_float(mantissa: &BigDecimal) -> f64 {
    // It is one digit before the point: there is such a float.
    mantissa.to_plain_string().parse().unwrap_or(f64::NAN)
}

/// The natural logarithm of a positive number in fixed point.
fn fixed_logarithm(number: &BigDecimal, scale: i64) -> BigInt {
    let (mantissa, exponent) = normal(number);
    let (digits, from) = parts(&mantissa);
    let working = scale + SPARE_DIGITS;
    let part = |digits: &BigInt, from: i64, start: f64| {
        solve(&rescale(digits, from, working), start, working)
    };
    let mut logarithm = part(&digits, from, mantissa_as_float(&mantissa).ln());
    if exponent != 0 {
        logarithm += part(&BigInt::from(10), 0, std::f64::consts::LN_10) * exponent;
    }
    rescale(&logarithm, working, scale)
}

/// The `y` with `e ^ y = x`, by Halley's method: each step triples the digits that are right.
fn solve(x: &BigInt, start: f64, scale: i64) -> BigInt {
    const STEPS_MAX: u32 = 12;
    let one = power_of_ten(scale);
    let start_digits = 15.min(scale);
    let start_fixed = BigInt::from((start * 10_f64.powi(start_digits as i32)).round() as i64);
    let mut y = start_fixed * power_of_ten(scale - start_digits);
    for _ in 0..STEPS_MAX {
        let power = fixed_exponential(&y, start, scale);
        let step = (x - &power) * 2 * &one / (x + &power);
        y += &step;
        // The next step would be smaller than a digit.
        if step.bits() * 3 < one.bits() * 2 {
            break;
        }
    }
    y
}

/// `base ^ exponent` where it is not worth multiplying; the base is not zero. 22003 where it is too
/// large, 2201F where it is not real.
pub fn power(base: &BigDecimal, exponent: &BigDecimal) -> Result<Numeric, SqlError> {
    let whole = exponent.is_integer();
    let negative = base.sign() == Sign::Minus;
    if negative && !whole {
        return Err(crate::exec::functions::complex_power());
    }
    let odd = negative && (exponent.with_scale(0) % BigDecimal::from(2)).sign() != Sign::NoSign;
    let base = base.abs();
    let value = approximate_logarithm(&base) * approximate(exponent);
    let weight = (value * LOG10_E).clamp(-ESTIMATE_MAX, ESTIMATE_MAX) as i64;
    let least = if whole { SIGNIFICANT_DIGITS_MIN } else { SIGNIFICANT_DIGITS_MIN - weight };
    let scale =
        shown(least.max(base.fractional_digit_count()).max(exponent.fractional_digit_count()));
    if value >= EXPONENT_END {
        return Err(overflow());
    }
    if value <= -EXPONENT_END {
        return check(BigInt::from(0), scale);
    }
    // The product has as many digits before the point as the result's weight, and the logarithm is
    // multiplied with all of the exponent.
    let (times, from) = parts(exponent);
    let before = (times.magnitude().to_str_radix(10).len() as i64 - from).max(0);
    let working = scale + weight.max(0) + before + SPARE_DIGITS;
    if working > WHOLE_DIGITS_MAX as i64 {
        return Err(overflow());
    }
    let product = fixed_logarithm(&base, working) * times.as_ref();
    let product = BigDecimal::new(product, working + from);
    let power = exponential_at(&product, value, scale)?;
    Ok(if odd { super::negate(&power) } else { power })
}

/// The nearest float; an infinity where it is too large.
fn approximate(number: &BigDecimal) -> f64 {
    let (mantissa, exponent) = normal(number);
    format!("{}e{exponent}", mantissa.to_plain_string()).parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::decimal::{multiply, round, subtract};
    use proptest::prelude::*;

    fn number(text: &str) -> Numeric {
        text.parse().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_logarithm_leads_back(digits in 1_i64..i64::MAX, scale in -10_i64..30) {
            let x = Numeric::new(digits.into(), scale);
            let x = round(&x, x.scale().max(0)).unwrap();
            let Finite(decimal) = &x else { panic!("a number") };
            let y = BigDecimal::new(fixed_logarithm(decimal, 60), 60);
            let back = exponential_at(&y, approximate(&y), 60).unwrap();
            let difference = super::super::absolute(&subtract(&back, &x).unwrap());
            let bound = multiply(&x, &number("0.000000000000000000000000000000000001")).unwrap();
            prop_assert!(difference <= bound, "{x}: {back}");
        }

        #[test]
        fn powers_add(a in -2_000_i64..2_000, b in -2_000_i64..2_000) {
            let of = |hundredths: i64| {
                let x = BigDecimal::new(hundredths.into(), 2);
                exponential_at(&x, approximate(&x), 60).unwrap()
            };
            let product = multiply(&of(a), &of(b)).unwrap();
            let sum = of(a + b);
            let difference = super::super::absolute(&subtract(&product, &sum).unwrap());
            prop_assert!(difference <= multiply(&sum, &number("0.0000000000000000000000000001")).unwrap() || difference < number("0.00000000000000000000000000000000000000001"));
        }
    }
}

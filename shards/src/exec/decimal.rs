//! Arithmetic of `numeric` with PostgreSQL's scales: sums keep the larger scale, products add
//! them, quotients get at least sixteen significant digits, and whatever is cut is rounded half
//! away from zero. What comes of infinities and `NaN` stands in [`special`].

mod special;
mod transcendental;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, Sign};
use model::error::{SqlError, SqlState};
use model::numeric::Numeric::{self, Finite};
use model::types::NumericLimits;
use std::borrow::Cow;

pub use special::power as special_power;
pub use transcendental::{exponential, logarithm, logarithm_for, power as real_power};

/// Digits before the point that PostgreSQL's format holds.
const WHOLE_DIGITS_MAX: u64 = 131_072;
/// Digits behind the point that PostgreSQL's format holds.
const SCALE_MAX: i64 = 16_383;
/// A quotient has at least so many significant digits.
const SIGNIFICANT_DIGITS_MIN: i64 = 16;
/// A quotient has at most so many digits behind the point.
const DISPLAY_SCALE_MAX: i64 = 1_000;
/// PostgreSQL's digits have base 10,000, and its choice of a quotient's scale shows it.
const DECIMALS_PER_DIGIT: i64 = 4;

/// The digits and a scale that is not negative.
fn parts(number: &BigDecimal) -> (Cow<'_, BigInt>, i64) {
    let (digits, scale) = number.as_bigint_and_scale();
    if scale >= 0 {
        return (digits, scale);
    }
    (Cow::Owned(digits.as_ref() * power_of_ten(-scale)), 0)
}

fn power_of_ten(exponent: i64) -> BigInt {
    // Every caller's exponent comes from scales, which are bounded by `parse` and `check`.
    BigInt::from(10).pow(u32::try_from(exponent.max(0)).unwrap_or(u32::MAX))
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

/// A number as it may be kept; 22003 where PostgreSQL's format does not hold it.
fn check(digits: BigInt, scale: i64) -> Result<Numeric, SqlError> {
    // Three bits are less than a decimal digit: only what is far too long is refused by them.
    const BITS_MAX: u64 = (WHOLE_DIGITS_MAX + SCALE_MAX as u64) * 4;
    if digits.bits() > BITS_MAX {
        return Err(overflow());
    }
    if scale > SCALE_MAX {
        return Ok(Numeric::new(rescale(&digits, scale, SCALE_MAX), SCALE_MAX));
    }
    let number = BigDecimal::new(digits, scale);
    if number.digits() > WHOLE_DIGITS_MAX + scale as u64 {
        return Err(overflow());
    }
    Ok(Numeric::from(number))
}

/// `digits` of scale `from` at scale `to`, rounded half away from zero.
fn rescale(digits: &BigInt, from: i64, to: i64) -> BigInt {
    if to >= from {
        return digits * power_of_ten(to - from);
    }
    divide_rounding(digits, &power_of_ten(from - to))
}

fn divide_rounding(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let quotient = dividend / divisor;
    let remainder = dividend - &quotient * divisor;
    let twice = BigInt::from(remainder.magnitude().clone()) * 2;
    if twice < BigInt::from(divisor.magnitude().clone()) {
        return quotient;
    }
    let away =
        if (dividend.sign() == Sign::Minus) == (divisor.sign() == Sign::Minus) { 1 } else { -1 };
    quotient + away
}

/// Both numbers' digits at the larger of their scales.
fn aligned(a: &BigDecimal, b: &BigDecimal) -> (BigInt, BigInt, i64) {
    let ((da, sa), (db, sb)) = (parts(a), parts(b));
    let scale = sa.max(sb);
    (rescale(&da, sa, scale), rescale(&db, sb, scale), scale)
}

/// `a + b`
pub fn add(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let (Finite(a), Finite(b)) = (a, b) else { return Ok(special::add(a, b)) };
    let (a, b, scale) = aligned(a, b);
    check(a + b, scale)
}

/// `a - b`
pub fn subtract(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let (Finite(a), Finite(b)) = (a, b) else { return Ok(special::add(a, &negate(b))) };
    let (a, b, scale) = aligned(a, b);
    check(a - b, scale)
}

/// `a * b`
pub fn multiply(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let (Finite(a), Finite(b)) = (a, b) else { return Ok(special::multiply(a, b)) };
    let ((da, sa), (db, sb)) = (parts(a), parts(b));
    check(da.as_ref() * db.as_ref(), sa + sb)
}

/// `-a`
pub fn negate(a: &Numeric) -> Numeric {
    let (digits, scale) = match a {
        Finite(a) => parts(a),
        Numeric::Special(a) => return special::negate(*a),
    };
    Numeric::new(-digits.into_owned(), scale)
}

/// `|a|`
pub fn absolute(a: &Numeric) -> Numeric {
    let (digits, scale) = match a {
        Finite(a) => parts(a),
        Numeric::Special(a) => return special::absolute(*a),
    };
    Numeric::new(BigInt::from(digits.magnitude().clone()), scale)
}

/// -1, 0 or 1; `NaN` of `NaN`.
pub fn sign(a: &Numeric) -> Numeric {
    special::sign(a).map_or(Numeric::NAN, |sign| Numeric::from(i64::from(sign)))
}

/// The weight of the first base-10,000 digit and that digit; of zero both are zero.
fn leading_digit(number: &BigDecimal) -> (i64, i64) {
    let (digits, scale) = parts(number);
    if digits.sign() == Sign::NoSign {
        return (0, 0);
    }
    let text = digits.magnitude().to_str_radix(10);
    let exponent = text.len() as i64 - 1 - scale;
    let weight = exponent.div_euclid(DECIMALS_PER_DIGIT);
    let length = exponent.rem_euclid(DECIMALS_PER_DIGIT) + 1;
    let first = (0..length).fold(0, |first, at| {
        first * 10 + text.as_bytes().get(at as usize).map_or(0, |d| i64::from(d - b'0'))
    });
    (weight, first)
}

/// The scale of a quotient (PostgreSQL's `select_div_scale`).
fn quotient_scale(a: &BigDecimal, b: &BigDecimal) -> i64 {
    let ((weight_a, first_a), (weight_b, first_b)) = (leading_digit(a), leading_digit(b));
    let weight = weight_a - weight_b - i64::from(first_a <= first_b);
    (SIGNIFICANT_DIGITS_MIN - weight * DECIMALS_PER_DIGIT)
        .max(a.fractional_digit_count())
        .max(b.fractional_digit_count())
        .clamp(0, DISPLAY_SCALE_MAX)
}

/// `a / b`; 22012 where `b` is zero.
pub fn divide(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let (Finite(a), Finite(b)) = (a, b) else { return special::divide(a, b) };
    let ((da, sa), (db, sb)) = (parts(a), parts(b));
    if db.sign() == Sign::NoSign {
        return Err(division_by_zero());
    }
    let scale = quotient_scale(a, b);
    let shift = scale + sb - sa;
    let quotient = if shift >= 0 {
        divide_rounding(&(da.as_ref() * power_of_ten(shift)), &db)
    } else {
        divide_rounding(&da, &(db.as_ref() * power_of_ten(-shift)))
    };
    check(quotient, scale)
}

/// The whole part of `a / b`; 22012 where `b` is zero.
pub fn whole_quotient(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let (Finite(a), Finite(b)) = (a, b) else { return special::divide(a, b) };
    let (a, b, _) = aligned(a, b);
    if b.sign() == Sign::NoSign {
        return Err(division_by_zero());
    }
    check(a / b, 0)
}

/// `a % b`, with the sign of `a`; 22012 where `b` is zero.
pub fn modulo(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let (Finite(a), Finite(b)) = (a, b) else { return special::modulo(a, b) };
    let (a, b, scale) = aligned(a, b);
    if b.sign() == Sign::NoSign {
        return Err(division_by_zero());
    }
    check(a % b, scale)
}

/// 22012
pub fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

/// Rounds half away from zero to `scale` digits behind the point; a negative scale rounds before
/// the point and shows no digits behind it.
pub fn round(number: &Numeric, scale: i64) -> Result<Numeric, SqlError> {
    let Finite(number) = number else { return Ok(number.clone()) };
    let scale = scale.clamp(-(WHOLE_DIGITS_MAX as i64), SCALE_MAX);
    let (digits, from) = parts(number);
    let rounded = rescale(&digits, from, scale);
    if scale < 0 { check(rounded * power_of_ten(-scale), 0) } else { check(rounded, scale) }
}

/// Cuts to `scale` digits behind the point, towards zero.
pub fn truncate(number: &Numeric, scale: i64) -> Result<Numeric, SqlError> {
    let Finite(number) = number else { return Ok(number.clone()) };
    let scale = scale.clamp(-(WHOLE_DIGITS_MAX as i64), SCALE_MAX);
    let (digits, from) = parts(number);
    if scale >= from {
        return check(rescale(&digits, from, scale), scale);
    }
    let cut = digits.as_ref() / power_of_ten(from - scale);
    if scale < 0 { check(cut * power_of_ten(-scale), 0) } else { check(cut, scale) }
}

/// The largest whole number not above.
pub fn floor(number: &Numeric) -> Result<Numeric, SqlError> {
    let whole = truncate(number, 0)?;
    if whole > *number { subtract(&whole, &Numeric::from(1)) } else { Ok(whole) }
}

/// The smallest whole number not below.
pub fn ceiling(number: &Numeric) -> Result<Numeric, SqlError> {
    let whole = truncate(number, 0)?;
    if whole < *number { add(&whole, &Numeric::from(1)) } else { Ok(whole) }
}

/// The square root with PostgreSQL's scale; 2201F of a negative number.
pub fn square_root(number: &Numeric) -> Result<Numeric, SqlError> {
    if special::sign(number) == Some(-1) {
        return Err(SqlError::new(
            SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
            "cannot take square root of a negative number",
        ));
    }
    let Finite(number) = number else { return Ok(number.clone()) };
    let (digits, from) = parts(number);
    let (weight, _) = leading_digit(number);
    let whole_digits = (weight + 1) * DECIMALS_PER_DIGIT / 2 - 1;
    let scale = (SIGNIFICANT_DIGITS_MIN - whole_digits).max(from).clamp(0, DISPLAY_SCALE_MAX);
    square_root_at(&digits, from, scale)
}

/// The square root rounded to `scale`.
pub fn square_root_to(number: &Numeric, scale: i64) -> Result<Numeric, SqlError> {
    let Finite(number) = number else { return Ok(number.clone()) };
    let (digits, from) = parts(number);
    square_root_at(&digits, from, scale)
}

fn square_root_at(digits: &BigInt, from: i64, scale: i64) -> Result<Numeric, SqlError> {
    // One digit more than asked for, taken exactly downwards, then rounded: a root is either
    // exact or irrational, so the half never lies on the cut.
    let more = scale + 1;
    let shift = 2 * more - from;
    let shifted =
        if shift >= 0 { digits * power_of_ten(shift) } else { digits / power_of_ten(-shift) };
    check(rescale(&shifted.sqrt(), more, scale), scale)
}

/// `base ^ exponent` for a whole exponent, exact for positive ones; `None` where the exponent is
/// not whole or too large to be worth it, and of what has no digits.
pub fn power(base: &Numeric, exponent: &Numeric) -> Option<Result<Numeric, SqlError>> {
    /// Beyond it the result has overflowed or the logarithm is as good.
    const EXPONENT_MAX: i64 = 10_000;
    let exponent = to_i64(exponent).filter(|whole| Numeric::from(*whole) == *exponent)?;
    if exponent.abs() > EXPONENT_MAX {
        return None;
    }
    let Finite(base) = base else { return None };
    let (digits, scale) = parts(base);
    let steps = exponent.unsigned_abs() as u32;
    if digits.bits().saturating_mul(u64::from(steps)) > WHOLE_DIGITS_MAX * 4 {
        return Some(Err(overflow()));
    }
    let (powered, powered_scale) = (digits.pow(steps), scale * i64::from(steps));
    let exact = Numeric::new(powered, powered_scale);
    // PostgreSQL shows sixteen digits behind the point, or the base's scale if that is more.
    let shown = scale.clamp(SIGNIFICANT_DIGITS_MIN, DISPLAY_SCALE_MAX);
    if exponent < 0 {
        return Some(divide(&Numeric::from(1), &exact).and_then(|power| round(&power, shown)));
    }
    Some(round(&exact, shown))
}

/// Without the zeros at the end of what is behind the point.
pub fn trim(number: &Numeric) -> Numeric {
    let Finite(number) = number else { return number.clone() };
    let (digits, scale) = number.normalized().into_bigint_and_exponent();
    if scale >= 0 {
        Numeric::new(digits, scale)
    } else {
        Numeric::new(digits * power_of_ten(-scale), 0)
    }
}

/// Rounded to a 64-bit integer, half away from zero; `None` where it does not fit.
pub fn to_i64(number: &Numeric) -> Option<i64> {
    let Finite(number) = number else { return None };
    let (digits, scale) = parts(number);
    i64::try_from(rescale(&digits, scale, 0)).ok()
}

/// The nearest float; 22003 where there is none.
pub fn to_f64(number: &Numeric) -> Result<f64, SqlError> {
    if let Numeric::Special(number) = number {
        return Ok(special::to_f64(*number));
    }
    let text = number.to_string();
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok(float),
        _ => Err(SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{text}\" is out of range for type double precision"),
        )),
    }
}

/// The float's `digits` significant decimal digits (15 of a double, 6 of a real).
pub fn from_float(float: f64, digits: usize) -> Result<Numeric, SqlError> {
    if !float.is_finite() {
        return Ok(special::from_float(float));
    }
    let text = format!("{float:.*e}", digits - 1);
    let normalized = text.parse::<BigDecimal>().map_err(|_| overflow())?.normalized();
    let (digits, scale) = parts(&normalized);
    check(digits.into_owned(), scale)
}

/// Reads a number as PostgreSQL writes it, with an optional exponent. `None` where it is none.
pub fn parse(text: &str) -> Option<Result<Numeric, SqlError>> {
    let text = text.trim();
    if let Some(special) = special::parse(text) {
        return Some(Ok(Numeric::Special(special)));
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let digits_max = WHOLE_DIGITS_MAX as usize + SCALE_MAX as usize;
    let scale = fraction.len() as i64 - i64::from(exponent);
    if whole.len() + fraction.len() > digits_max || -scale > WHOLE_DIGITS_MAX as i64 {
        return Some(Err(overflow()));
    }
    if scale > 2 * SCALE_MAX {
        return Some(Ok(Numeric::new(BigInt::from(0), SCALE_MAX)));
    }
    let digits = BigInt::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)?;
    let digits = if mantissa.starts_with('-') { -digits } else { digits };
    Some(if scale < 0 { check(digits * power_of_ten(-scale), 0) } else { check(digits, scale) })
}

/// Fits a number into declared limits: rounds to the scale, then 22003 where it has too many
/// digits before the point. `NaN` fits everywhere, an infinity nowhere.
pub fn limit(number: &Numeric, limits: NumericLimits) -> Result<Numeric, SqlError> {
    let (precision, scale) = (i64::from(limits.precision), i64::from(limits.scale));
    let field_overflow =
        || SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow");
    let rounded = match round(number, scale)? {
        Finite(rounded) => rounded,
        nan if nan == Numeric::NAN => return Ok(nan),
        _ => {
            return Err(field_overflow().detail(format!(
                "A field with precision {precision}, scale {scale} cannot hold an infinite value."
            )));
        }
    };
    let (digits, _) = parts(&rounded);
    if digits.magnitude() >= power_of_ten(precision).magnitude() {
        let whole = precision - scale;
        let bound = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
        return Err(field_overflow().detail(format!(
            "A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}."
        )));
    }
    Ok(Finite(rounded))
}

#[cfg(test)]
mod tests;

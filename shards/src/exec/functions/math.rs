//! Functions of numbers.

use super::{Call, Function};
use crate::exec::cast::{float_overflow, float_underflow, out_of_range};
use crate::exec::decimal;
use crate::exec::input::integer_bounds;
use model::error::{SqlError, SqlState};
use model::numeric::Numeric;
use model::types::DataType::{self, Float8, Int2, Int4, Int8};
use model::value::Value;

const EXACT: DataType = DataType::Numeric(None);

const fn float1(name: &'static str, body: super::Body) -> Function {
    Function::new(name, &[Float8], Float8, body)
}

const fn exact1(name: &'static str, body: super::Body) -> Function {
    Function::new(name, &[EXACT], EXACT, body)
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("abs", &[Int2], Int2, |c| absolute(c, Int2)),
    Function::new("abs", &[Int4], Int4, |c| absolute(c, Int4)),
    Function::new("abs", &[Int8], Int8, |c| absolute(c, Int8)),
    exact1("abs", |c| Ok(Value::Numeric(decimal::absolute(c.numeric(0)?)))),
    Function::new("abs", &[DataType::Float4], DataType::Float4, |c| {
        Ok(Value::Float(c.float(0)?.abs()))
    }),
    float1("abs", |c| Ok(Value::Float(c.float(0)?.abs()))),
    exact1("ceil", |c| decimal::ceiling(c.numeric(0)?).map(Value::Numeric)),
    float1("ceil", |c| Ok(Value::Float(c.float(0)?.ceil()))),
    exact1("ceiling", |c| decimal::ceiling(c.numeric(0)?).map(Value::Numeric)),
    float1("ceiling", |c| Ok(Value::Float(c.float(0)?.ceil()))),
    exact1("floor", |c| decimal::floor(c.numeric(0)?).map(Value::Numeric)),
    float1("floor", |c| Ok(Value::Float(c.float(0)?.floor()))),
    exact1("round", |c| decimal::round(c.numeric(0)?, 0).map(Value::Numeric)),
    float1("round", |c| Ok(Value::Float(c.float(0)?.round_ties_even()))),
    Function::new("round", &[EXACT, Int4], EXACT, |c| {
        decimal::round(c.numeric(0)?, c.int(1)?).map(Value::Numeric)
    }),
    exact1("trunc", |c| decimal::truncate(c.numeric(0)?, 0).map(Value::Numeric)),
    float1("trunc", |c| Ok(Value::Float(c.float(0)?.trunc()))),
    Function::new("trunc", &[EXACT, Int4], EXACT, |c| {
        decimal::truncate(c.numeric(0)?, c.int(1)?).map(Value::Numeric)
    }),
    exact1("sign", |c| Ok(Value::Numeric(decimal::sign(c.numeric(0)?)))),
    float1("sign", |c| {
        let number = c.float(0)?;
        Ok(Value::Float(if number == 0.0 || number.is_nan() { number } else { number.signum() }))
    }),
    Function::new("scale", &[EXACT], Int4, |c| Ok(of_finite(c.numeric(0)?, Numeric::scale))),
    Function::new("min_scale", &[EXACT], Int4, |c| {
        Ok(of_finite(c.numeric(0)?, |number| decimal::trim(number).scale()))
    }),
    exact1("trim_scale", |c| Ok(Value::Numeric(decimal::trim(c.numeric(0)?)))),
    exact1("sqrt", |c| decimal::square_root(c.numeric(0)?).map(Value::Numeric)),
    float1("sqrt", |c| {
        let number = c.float(0)?;
        if number < 0.0 {
            return Err(SqlError::new(
                SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
                "cannot take square root of a negative number",
            ));
        }
        Ok(Value::Float(number.sqrt()))
    }),
    float1("cbrt", |c| Ok(Value::Float(c.float(0)?.cbrt()))),
    exact1("exp", |c| decimal::exponential(c.numeric(0)?).map(Value::Numeric)),
    exact1("ln", |c| decimal::logarithm(c.numeric(0)?).map(Value::Numeric)),
    exact1("log", |c| decimal_logarithm(c.numeric(0)?)),
    exact1("log10", |c| decimal_logarithm(c.numeric(0)?)),
    Function::new("log", &[EXACT, EXACT], EXACT, |c| {
        decimal::logarithm_for(c.numeric(0)?, c.numeric(1)?).map(Value::Numeric)
    }),
    float1("exp", |c| {
        let number = c.float(0)?;
        checked(number.exp(), number.is_finite())
    }),
    float1("ln", |c| Ok(Value::Float(logarithm_argument(c.float(0)?)?.ln()))),
    float1("log", |c| Ok(Value::Float(logarithm_argument(c.float(0)?)?.log10()))),
    float1("log10", |c| Ok(Value::Float(logarithm_argument(c.float(0)?)?.log10()))),
    Function::new("power", &[Float8, Float8], Float8, |c| {
        float_power(c.float(0)?, c.float(1)?).map(Value::Float)
    }),
    Function::new("power", &[EXACT, EXACT], EXACT, |c| {
        numeric_power(c.numeric(0)?, c.numeric(1)?).map(Value::Numeric)
    }),
    Function::new("pow", &[Float8, Float8], Float8, |c| {
        float_power(c.float(0)?, c.float(1)?).map(Value::Float)
    }),
    Function::new("pow", &[EXACT, EXACT], EXACT, |c| {
        numeric_power(c.numeric(0)?, c.numeric(1)?).map(Value::Numeric)
    }),
    Function::new("mod", &[Int2, Int2], Int2, remainder),
    Function::new("mod", &[Int4, Int4], Int4, remainder),
    Function::new("mod", &[Int8, Int8], Int8, remainder),
    Function::new("mod", &[EXACT, EXACT], EXACT, |c| {
        decimal::modulo(c.numeric(0)?, c.numeric(1)?).map(Value::Numeric)
    }),
    Function::new("div", &[EXACT, EXACT], EXACT, |c| {
        decimal::whole_quotient(c.numeric(0)?, c.numeric(1)?).map(Value::Numeric)
    }),
    Function::new("pi", &[], Float8, |_| Ok(Value::Float(std::f64::consts::PI))),
    Function::new("random", &[], Float8, |_| {
        // 53 random bits: every value is a multiple of 2^-53 below one.
        Ok(Value::Float((runtime::random::next_u64() >> 11) as f64 / (1_u64 << 53) as f64))
    })
    .volatile(),
    float1("degrees", |c| Ok(Value::Float(c.float(0)?.to_degrees()))),
    float1("radians", |c| Ok(Value::Float(c.float(0)?.to_radians()))),
    float1("sin", |c| Ok(Value::Float(c.float(0)?.sin()))),
    float1("cos", |c| Ok(Value::Float(c.float(0)?.cos()))),
    float1("tan", |c| Ok(Value::Float(c.float(0)?.tan()))),
    float1("atan", |c| Ok(Value::Float(c.float(0)?.atan()))),
    Function::new("atan2", &[Float8, Float8], Float8, |c| {
        Ok(Value::Float(c.float(0)?.atan2(c.float(1)?)))
    }),
    Function::new("gcd", &[Int8, Int8], Int8, |c| greatest_divisor(c.int(0)?, c.int(1)?, Int8)),
    Function::new("gcd", &[Int4, Int4], Int4, |c| greatest_divisor(c.int(0)?, c.int(1)?, Int4)),
];

fn absolute(call: &Call<'_>, data_type: DataType) -> Result<Value, SqlError> {
    let (_, high) = integer_bounds(data_type);
    let absolute = call.int(0)?.checked_abs().filter(|absolute| *absolute <= high);
    absolute.map(Value::Int).ok_or_else(|| out_of_range(data_type))
}

fn remainder(call: &Call<'_>) -> Result<Value, SqlError> {
    match (call.int(0)?, call.int(1)?) {
        (_, 0) => Err(decimal::division_by_zero()),
        (a, b) => Ok(Value::Int(a.wrapping_rem(b))),
    }
}

fn greatest_divisor(a: i64, b: i64, data_type: DataType) -> Result<Value, SqlError> {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let (_, high) = integer_bounds(data_type);
    i64::try_from(a)
        .ok()
        .filter(|divisor| *divisor <= high)
        .map(Value::Int)
        .ok_or_else(|| out_of_range(data_type))
}

/// What a number's digits say; nothing of what has none.
fn of_finite(number: &Numeric, say: impl Fn(&Numeric) -> i64) -> Value {
    match number {
        Numeric::Finite(_) => Value::Int(say(number)),
        Numeric::Special(_) => Value::Null,
    }
}

fn decimal_logarithm(number: &Numeric) -> Result<Value, SqlError> {
    decimal::logarithm_for(&Numeric::from(10), number).map(Value::Numeric)
}

fn logarithm_argument(number: f64) -> Result<f64, SqlError> {
    let message = if number == 0.0 {
        "cannot take logarithm of zero"
    } else if number < 0.0 {
        "cannot take logarithm of a negative number"
    } else {
        return Ok(number);
    };
    Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, message))
}

fn checked(number: f64, from_finite: bool) -> Result<Value, SqlError> {
    if from_finite && number.is_infinite() {
        return Err(float_overflow());
    }
    if from_finite && number == 0.0 {
        return Err(float_underflow());
    }
    Ok(Value::Float(number))
}

/// 2201F: zero to a negative power.
pub fn undefined_power() -> SqlError {
    SqlError::new(
        SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
        "zero raised to a negative power is undefined",
    )
}

/// 2201F: a negative number to a power that is not whole.
pub fn complex_power() -> SqlError {
    SqlError::new(
        SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
        "a negative number raised to a non-integer power yields a complex result",
    )
}

/// `a ^ b`; 2201F where it is not real, 22003 where it is too large or too small.
pub fn float_power(a: f64, b: f64) -> Result<f64, SqlError> {
    if a == 0.0 && b < 0.0 {
        return Err(undefined_power());
    }
    if a < 0.0 && b.is_finite() && b.fract() != 0.0 {
        return Err(complex_power());
    }
    let power = a.powf(b);
    if a.is_finite() && b.is_finite() {
        if power.is_infinite() {
            return Err(float_overflow());
        }
        if power == 0.0 && a != 0.0 {
            return Err(float_underflow());
        }
    }
    Ok(power)
}

/// As [`float_power`], exactly for whole exponents that are worth it, else with PostgreSQL's digits.
pub fn numeric_power(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    /// Digits behind the point of a power of zero.
    const ZERO_SCALE: i64 = 16;
    if let Some(limit) = decimal::special_power(a, b) {
        return limit;
    }
    let zero = Numeric::from(0);
    if *a == zero && *b < zero {
        return Err(undefined_power());
    }
    if let Some(exact) = decimal::power(a, b) {
        return exact;
    }
    let (Numeric::Finite(base), Numeric::Finite(exponent)) = (a, b) else {
        return Err(SqlError::internal("a power of what has no digits"));
    };
    if *a == zero {
        return decimal::round(&zero, ZERO_SCALE);
    }
    decimal::real_power(base, exponent)
}

//! Exact decimal numbers of any size.

use bigdecimal::{BigDecimal, num_bigint::BigInt};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// A `numeric` value: digits and a display scale. `1.50` and `1.5` are equal and print apart.
#[derive(Debug, Clone)]
pub struct Numeric(Box<BigDecimal>);

impl Numeric {
    /// `digits * 10^-scale`.
    pub fn new(digits: BigInt, scale: i64) -> Numeric {
        Numeric(Box::new(BigDecimal::new(digits, scale)))
    }

    /// The underlying number, for arithmetic.
    pub fn decimal(&self) -> &BigDecimal {
        &self.0
    }

    /// Digits shown behind the point; negative never shows.
    pub fn scale(&self) -> i64 {
        self.0.as_bigint_and_exponent().1.max(0)
    }
}

impl From<BigDecimal> for Numeric {
    fn from(decimal: BigDecimal) -> Numeric {
        Numeric(Box::new(decimal))
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Numeric {
        Numeric::new(BigInt::from(value), 0)
    }
}

impl FromStr for Numeric {
    type Err = bigdecimal::ParseBigDecimalError;

    fn from_str(text: &str) -> Result<Numeric, Self::Err> {
        BigDecimal::from_str(text).map(Numeric::from)
    }
}

/// Plain notation with all digits of the scale, never an exponent.
impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_plain_string())
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Numeric) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Numeric) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Numeric) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.normalized().hash(state);
    }
}

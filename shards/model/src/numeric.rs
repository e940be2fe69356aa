//! Exact decimal numbers of any size, and what is beyond them: the infinities and `NaN`.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, Sign};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// A `numeric` value. `1.50` and `1.5` are equal and print apart.
#[derive(Debug, Clone)]
pub enum Numeric {
    /// Digits and a display scale.
    Finite(Box<BigDecimal>),
    /// A value without digits.
    Special(Special),
}

/// The values of a `numeric` that have no digits, in their order: every finite number is between
/// the infinities, and `NaN` is above all and equal to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Special {
    /// `-Infinity`
    NegativeInfinity,
    /// `Infinity`
    Infinity,
    /// `NaN`
    NaN,
}

impl Special {
    /// All of them.
    pub const ALL: [Special; 3] = [Special::NegativeInfinity, Special::Infinity, Special::NaN];

    /// What the value is called, as it prints.
    pub fn name(self) -> &'static str {
        match self {
            Special::NegativeInfinity => "-Infinity",
            Special::Infinity => "Infinity",
            Special::NaN => "NaN",
        }
    }

    /// The number that stands for it in binary forms: the word that PostgreSQL has in place of a
    /// sign.
    pub fn code(self) -> u16 {
        match self {
            Special::NaN => 0xc000,
            Special::Infinity => 0xd000,
            Special::NegativeInfinity => 0xf000,
        }
    }

    /// The value that `code` stands for.
    pub fn from_code(code: u16) -> Option<Special> {
        Special::ALL.into_iter().find(|special| special.code() == code)
    }
}

impl Numeric {
    /// `NaN`
    pub const NAN: Numeric = Numeric::Special(Special::NaN);
    /// `Infinity`
    pub const INFINITY: Numeric = Numeric::Special(Special::Infinity);
    /// `-Infinity`
    pub const NEGATIVE_INFINITY: Numeric = Numeric::Special(Special::NegativeInfinity);

    /// `digits * 10^-scale`.
    pub fn new(digits: BigInt, scale: i64) -> Numeric {
        Numeric::from(BigDecimal::new(digits, scale))
    }

    /// Digits shown behind the point; negative never shows.
    pub fn scale(&self) -> i64 {
        match self {
            Numeric::Finite(decimal) => decimal.as_bigint_and_exponent().1.max(0),
            Numeric::Special(_) => 0,
        }
    }
}

impl From<BigDecimal> for Numeric {
    fn from(decimal: BigDecimal) -> Numeric {
        Numeric::Finite(Box::new(decimal))
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Numeric {
        Numeric::new(BigInt::from(value), 0)
    }
}

/// Reads what [`Display`](fmt::Display) writes, and exponents.
impl FromStr for Numeric {
    type Err = bigdecimal::ParseBigDecimalError;

    fn from_str(text: &str) -> Result<Numeric, Self::Err> {
        match Special::ALL.into_iter().find(|special| special.name() == text) {
            Some(special) => Ok(Numeric::Special(special)),
            None => BigDecimal::from_str(text).map(Numeric::from),
        }
    }
}

/// Plain notation with all digits of the scale, never an exponent.
impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // `0e1` has one digit all the same.
            Numeric::Finite(decimal) if decimal.sign() == Sign::NoSign && self.scale() == 0 => {
                f.write_str("0")
            }
            Numeric::Finite(decimal) => f.write_str(&decimal.to_plain_string()),
            Numeric::Special(special) => f.write_str(special.name()),
        }
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
        match (self, other) {
            (Numeric::Finite(a), Numeric::Finite(b)) => a.cmp(b),
            (Numeric::Special(a), Numeric::Special(b)) => a.cmp(b),
            (Numeric::Special(Special::NegativeInfinity), _) => Ordering::Less,
            (Numeric::Special(_), _) => Ordering::Greater,
            (_, Numeric::Special(Special::NegativeInfinity)) => Ordering::Greater,
            (_, Numeric::Special(_)) => Ordering::Less,
        }
    }
}

impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Numeric::Finite(decimal) => decimal.normalized().hash(state),
            Numeric::Special(special) => special.hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_digits_lies_around_what_has() {
        let ladder = ["-Infinity", "-1e400", "0", "1e400", "Infinity", "NaN"];
        let ladder = ladder.map(|text| text.parse::<Numeric>().unwrap());
        for (i, a) in ladder.iter().enumerate() {
            for (j, b) in ladder.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn codes_lead_back() {
        for special in Special::ALL {
            assert_eq!(Special::from_code(special.code()), Some(special));
            assert_eq!(special.name().parse::<Numeric>().unwrap(), Numeric::Special(special));
        }
        assert_eq!(Special::from_code(0), None);
        assert_eq!(Special::from_code(0x4000), None);
    }
}

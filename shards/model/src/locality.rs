//! Where a node stands: `region=eu,zone=a`, from the widest tier to the narrowest.

use std::fmt;
use std::str::FromStr;

/// How many tiers can be named: more than sites have.
pub const TIERS_MAX: usize = 8;
/// Longest key or value of a tier, in bytes.
const TIER_BYTES_MAX: usize = 63;

/// The tiers of a node's place, the widest first. Nodes that share a tier share what fails there; a
/// node that names none shares nothing with any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Locality {
    tiers: Vec<(String, String)>,
}

/// Why a text is no locality.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalityError {
    /// A tier that is not `key=value`.
    #[error("\"{0}\" is not a tier: write key=value, as in region=eu,zone=a")]
    NotATier(String),
    /// A key or value of other characters, or too long.
    #[error(
        "\"{0}\" is not a name: letters, digits, '-', '_' and '.', at most {TIER_BYTES_MAX} of them"
    )]
    NotAName(String),
    /// The same key twice.
    #[error("the tier \"{0}\" is given twice")]
    Twice(String),
    /// Too many tiers.
    #[error("there are {0} tiers, at most {TIERS_MAX} are known")]
    TooMany(usize),
}

impl Locality {
    /// How many of the widest tiers two nodes share.
    pub fn shared(&self, other: &Locality) -> usize {
        let pairs = self.tiers.iter().zip(&other.tiers);
        pairs.take_while(|(one, another)| one == another).count()
    }
}

impl FromStr for Locality {
    type Err = LocalityError;

    fn from_str(text: &str) -> Result<Locality, LocalityError> {
        if text.trim().is_empty() {
            return Ok(Locality::default());
        }
        let mut tiers: Vec<(String, String)> = Vec::new();
        for tier in text.split(',') {
            let (key, value) = tier
                .split_once('=')
                .ok_or_else(|| LocalityError::NotATier(tier.trim().to_owned()))?;
            let (key, value) = (name(key)?, name(value)?);
            if tiers.iter().any(|(known, _)| *known == key) {
                return Err(LocalityError::Twice(key));
            }
            tiers.push((key, value));
        }
        if tiers.len() > TIERS_MAX {
            return Err(LocalityError::TooMany(tiers.len()));
        }
        Ok(Locality { tiers })
    }
}

fn name(text: &str) -> Result<String, LocalityError> {
    let text = text.trim();
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && text.len() <= TIER_BYTES_MAX && text.chars().all(known) {
        true => Ok(text.to_owned()),
        false => Err(LocalityError::NotAName(text.to_owned())),
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.tiers.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Locality {
        text.parse().expect("a locality")
    }

    #[test]
    fn what_is_read_is_written_alike() {
        assert_eq!(parsed(" region=eu , zone=a").to_string(), "region=eu,zone=a");
        assert_eq!(parsed("").to_string(), "");
    }

    #[test]
    fn shared_tiers_are_counted_from_the_widest() {
        let here = parsed("region=eu,zone=a");
        assert_eq!(here.shared(&parsed("region=eu,zone=b")), 1);
        assert_eq!(here.shared(&parsed("region=us,zone=a")), 0);
        assert_eq!(here.shared(&here), 2);
        assert_eq!(here.shared(&Locality::default()), 0);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| text.parse::<Locality>().expect_err("no locality").to_string();
        assert_eq!(error("eu"), "\"eu\" is not a tier: write key=value, as in region=eu,zone=a");
        assert!(error("region=").contains("is not a name"));
        assert!(error("region=a b").contains("is not a name"));
        assert_eq!(error("zone=a,zone=b"), "the tier \"zone\" is given twice");
        assert!(error("a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1").contains("9 tiers"));
    }
}

//! Sizes and durations as people write them: `512MiB`, `1.5GB`, `250ms`, `2h`.

use std::fmt;
use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ByteSize(u64);

/// Units accepted after a number, smallest first within each family. A bare number is bytes.
const SIZE_UNITS: [(&str, u64); 16] = [
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("byte", 1),
    ("bytes", 1),
    ("", 1),
];

impl ByteSize {
    /// `count` bytes.
    pub const fn bytes(count: u64) -> Self {
        Self(count)
    }

    /// `count` mebibytes (saturating).
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Reads `512MiB`, `2 GB`, `1.5GiB` or a bare number of bytes; units in any case.
    ///
    /// # Errors
    /// A sentence that says what was expected, fit to follow the offending text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = split_number(text);
        let unit_lower = unit.to_ascii_lowercase();
        let factor =
            SIZE_UNITS.iter().find(|(name, _)| *name == unit_lower).map(|(_, factor)| *factor);
        let (Some(factor), Ok(_)) = (factor, number.parse::<f64>()) else {
            return Err("is not a size; write a number and a unit, such as 512MiB or 4GB".into());
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole
                .checked_mul(factor)
                .map(Self)
                .ok_or_else(|| "is more bytes than 64 bits can count".into());
        }
        let value: f64 = number.parse().map_err(|_| String::from("is not a number"))?;
        let bytes = value * factor as f64;
        if !(0.0..u64::MAX as f64).contains(&bytes) {
            return Err("is not a size that 64 bits can count".into());
        }
        Ok(Self(bytes as u64))
    }
}

/// Prints with the largest binary unit that divides the size exactly, so that what is printed
/// parses back to the same number of bytes.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Where the digits (and one point) of `text` end and its unit begins.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Reads `250ms`, `10s`, `1.5m`, `2h`, `1d`; a bare number is seconds.
///
/// # Errors
/// A sentence that says what was expected, fit to follow the offending text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_number(text.trim());
    let seconds_per_unit = match unit.to_ascii_lowercase().as_str() {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" | "sec" | "second" | "seconds" | "" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return Err(NOT_A_DURATION.into()),
    };
    let value: f64 = number.parse().map_err(|_| String::from(NOT_A_DURATION))?;
    Duration::try_from_secs_f64(value * seconds_per_unit).map_err(|_| NOT_A_DURATION.into())
}

const NOT_A_DURATION: &str =
    "is not a duration; write a number and one of ms, s, m, h, d, such as 250ms or 10s";

/// Prints a duration so that [`parse_duration`] reads it back.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, nanos_per_unit) in [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ] {
        if nanos != 0 && nanos.is_multiple_of(nanos_per_unit) {
            return format!("{}{unit}", nanos / nanos_per_unit);
        }
    }
    if nanos == 0 {
        return "0s".into();
    }
    format!("{nanos}ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512MiB", 512 << 20),
            ("512 mib", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("2GB", 2_000_000_000),
            ("8k", 8192),
            ("16777215TiB", 16_777_215 << 40),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "12 parrots", "-1", "1e3", "1.2.3GiB", "99999999TiB", "NaN", "0x10"]
        {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, nanos) in [
            ("10", 10_000_000_000),
            ("250ms", 250_000_000),
            ("1.5m", 90_000_000_000),
            ("2 h", 7_200_000_000_000),
            ("3us", 3_000),
        ] {
            assert_eq!(parse_duration(text).map(|d| d.as_nanos()), Ok(nanos), "{text}");
        }
        for text in ["", "s", "soon", "-1s", "1e400", "10 parsecs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 30) + 1, 5 << 40, u64::MAX] {
            let size = ByteSize(bytes);
            assert_eq!(ByteSize::parse(&size.to_string()), Ok(size));
        }
        for nanos in [0, 1, 1_500, 2_000_000, 90_000_000_000, 86_400_000_000_000] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}

//! The parsers of single values, with their limits. Each error is a sentence that goes on from the
//! offending text.

use std::path::PathBuf;
use std::time::Duration;

use crate::{ByteSize, HostPort, format_duration, parse_duration};

/// The longest lock and drain timeouts.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A whole number of a range.
pub(crate) fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    let outside = || format!("is not a whole number from {} to {}", range.start(), range.end());
    let number: u64 = text.trim().parse().map_err(|_| outside())?;
    if range.contains(&number) { Ok(number) } else { Err(outside()) }
}

/// The number of a node; none where there is no text.
pub(crate) fn node_id(text: &str) -> Result<Option<u16>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    // The range has no more than 16 bits.
    number(text, 1..=65_535).map(|number| Some(number as u16))
}

/// Copies of a partition: an odd number from 1 to 7.
pub(crate) fn copies(text: &str) -> Result<u8, String> {
    let copies = number(text, 1..=7)?;
    if copies % 2 == 0 {
        return Err(
            "is even: no more copies may be lost than of one less; write 1, 3, 5 or 7".into()
        );
    }
    Ok(copies as u8)
}

/// A size between two others.
pub(crate) fn size(text: &str, min: ByteSize, max: ByteSize) -> Result<ByteSize, String> {
    let size = ByteSize::parse(text)?;
    if size < min {
        return Err(format!("is less than the least allowed, {min}"));
    }
    if size > max {
        return Err(format!("is more than the most allowed, {max}"));
    }
    Ok(size)
}

/// A duration from `min` to an hour.
pub(crate) fn duration(text: &str, min: Duration) -> Result<Duration, String> {
    period(text, min, TIMEOUT_MAX)
}

/// A duration between two others.
pub(crate) fn period(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if (min..=max).contains(&duration) {
        return Ok(duration);
    }
    Err(format!("is not between {} and {}", format_duration(min), format_duration(max)))
}

/// A path; empty text is none.
pub(crate) fn path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

/// An address, or that the door is closed.
pub(crate) fn door(text: &str) -> Result<Option<HostPort>, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "off" | "none" | "" => Ok(None),
        _ => HostPort::parse(text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_odd() {
        assert_eq!([copies("1"), copies("3"), copies("7")], [Ok(1), Ok(3), Ok(7)]);
        assert!(copies("2").is_err_and(|why| why.starts_with("is even: no more copies")));
        assert!(copies("9").is_err_and(|why| why.contains("from 1 to 7")));
    }
}

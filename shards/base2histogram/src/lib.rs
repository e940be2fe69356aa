//! The histograms that openraft counts batch sizes and delays in.
//!
//! This stands in for the crate of the same name (`[patch.crates-io]` in the root manifest): that one makes
//! tables for sixteen precisions when the first histogram is made, 26 MiB, of which one precision is used. It
//! gives what openraft 0.10.0-alpha.37 uses and no more. When the crate makes its tables as they are needed,
//! this one goes.
//!
//! A value is counted in a bucket with all that share its highest bit and the two bits behind it: 252 buckets
//! for 64 bits, and what is told of a value is at most a fifth too small.

use std::fmt;
use std::marker::PhantomData;

/// Bits of a value that tell its bucket.
const WIDTH: u32 = 3;

/// Buckets with the same highest bit.
const GROUP: usize = 1 << (WIDTH - 1);

/// How often values of each size were seen. `T` is what the crate keeps with the values: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram<T = ()> {
    /// As many buckets as were needed so far.
    counts: Vec<u64>,
    total: u64,
    kept: PhantomData<T>,
}

/// The bucket of a value.
fn bucket(value: u64) -> usize {
    if value < GROUP as u64 {
        return value as usize;
    }
    let group = u64::BITS - value.leading_zeros() - WIDTH;
    let within = (value >> group) as usize & (GROUP - 1);
    (group as usize + 1) * GROUP + within
}

/// The least value of a bucket.
fn least(bucket: usize) -> u64 {
    if bucket < GROUP {
        return bucket as u64;
    }
    let (group, within) = (bucket / GROUP - 1, bucket % GROUP);
    ((GROUP + within) as u64) << group
}

impl<T> Histogram<T> {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Histogram<T> {
        Histogram { counts: Vec::new(), total: 0, kept: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value so many times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        let bucket = bucket(value);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += times;
        self.total += times;
    }

    /// Values that were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The least value of the bucket that the value lies in which `parts` of a thousand are not above.
    fn permille(&self, parts: u64) -> u64 {
        let rank = (u128::from(self.total) * u128::from(parts)).div_ceil(1000).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return least(at);
            }
        }
        0
    }

    /// What is told of the values; zeros where there is none.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total,
            p0_1: self.permille(1),
            p1: self.permille(10),
            p5: self.permille(50),
            p10: self.permille(100),
            p50: self.permille(500),
            p90: self.permille(900),
            p99: self.permille(990),
            p99_9: self.permille(999),
        }
    }
}

/// Values that so many percent of all are not above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PercentileStats { samples, p50, p90, p99, .. } = self;
        write!(f, "{samples} samples, P50 {p50}, P90 {p90}, P99 {p99}")
    }
}

/// Histograms with their names, to be shown below each other.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    rows: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    /// One without rows.
    #[must_use]
    pub fn new() -> AsciiChart {
        AsciiChart::default()
    }

    /// Adds a row.
    #[must_use]
    pub fn add(mut self, name: &str, histogram: Histogram) -> AsciiChart {
        self.rows.push((name.to_owned(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, stats) in &self.rows {
            writeln!(f, "{name}: {stats}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_begins_at_or_before_it() {
        let mut last = 0;
        for value in (0..5_000).chain([u64::MAX / 3, u64::MAX - 1, u64::MAX]) {
            let at = bucket(value);
            assert!(at >= last, "{value}");
            assert!(least(at) <= value && (at == 251 || value < least(at + 1)), "{value}");
            last = at;
        }
        assert_eq!(bucket(u64::MAX), 251);
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p99, 0);
        (0..1000).for_each(|value| histogram.record(value));
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p0_1), (1000, 0));
        for (told, value) in [(stats.p10, 99), (stats.p50, 499), (stats.p99, 989)] {
            assert!(told <= value && told * 5 >= value * 4, "{told} for {value}");
        }
    }
}

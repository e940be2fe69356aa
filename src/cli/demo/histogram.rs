//! A latency histogram as text: one bar a doubling.

use hdrhistogram::Histogram;

/// The longest bar, in characters.
const BAR_WIDTH: usize = 50;

/// Bars of the latencies, given in microseconds; the first and last doubling that hold any.
pub(super) fn draw(latencies: &Histogram<u64>) -> String {
    if latencies.is_empty() {
        return "no statement was answered\n".to_owned();
    }
    let doubling = |micros: u64| 63 - micros.max(1).leading_zeros();
    let buckets: Vec<(u64, u64)> = (doubling(latencies.min())..=doubling(latencies.max()))
        .map(|power| {
            let from = 1_u64 << power;
            (from, latencies.count_between(from, from * 2 - 1))
        })
        .collect();
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let mut text = String::new();
    for (from, count) in buckets {
        let length = (count as usize * BAR_WIDTH).div_ceil(most as usize);
        let below = crate::bench::micros(from * 2);
        text.push_str(&format!("  < {below:>8}  {:BAR_WIDTH$} {count}\n", "#".repeat(length)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_counts() {
        let mut latencies = Histogram::<u64>::new(3).expect("a histogram");
        for micros in [100, 110, 120, 300] {
            latencies.record(micros).expect("in range");
        }
        let text = draw(&latencies);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("  <    128us  ####") && lines[0].ends_with(" 3"), "{text}");
        assert!(lines[1].ends_with(" 0") && !lines[1].contains('#'), "{text}");
        assert_eq!(lines[2].matches('#').count(), 17, "{text}");
        assert_eq!(draw(&Histogram::new(3).expect("a histogram")), "no statement was answered\n");
    }
}

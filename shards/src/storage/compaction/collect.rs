//! Decides which versions a flush or compaction keeps.

use model::time::Timestamp;

/// Goes through versions in order (keys ascending, newest first) and lets pass
///
/// * every version newer than the watermark, since some snapshot may still tell them apart;
/// * for each key the newest version at or before the watermark, which every snapshot from the
///   watermark on sees, unless it is a tombstone with nothing older beneath it to hide.
///
/// Of versions with the same key and timestamp the first one passes.
pub(crate) struct Collector {
    watermark: Timestamp,
    key: Vec<u8>,
    last_ts: Option<Timestamp>,
    /// The newest version of `key` at or before the watermark has been met.
    settled: bool,
}

impl Collector {
    pub(crate) fn new(watermark: Timestamp) -> Self {
        Self { watermark, key: Vec::new(), last_ts: None, settled: false }
    }

    /// Whether to keep a version. `hides` tells whether older versions of the key may lie beneath
    /// what is being written; it is asked only for a tombstone that would otherwise go.
    pub(crate) fn keeps(
        &mut self,
        key: &[u8],
        ts: Timestamp,
        is_tombstone: bool,
        hides: impl FnOnce() -> bool,
    ) -> bool {
        if self.last_ts.is_none() || self.key != key {
            self.key.clear();
            self.key.extend_from_slice(key);
            self.settled = false;
        } else if self.last_ts == Some(ts) {
            return false;
        }
        self.last_ts = Some(ts);
        if ts > self.watermark {
            return true;
        }
        if self.settled {
            return false;
        }
        self.settled = true;
        !is_tombstone || hides()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs versions like `a5 a3x b2` (x: tombstone) through a collector.
    fn kept(watermark: u64, hides: bool, versions: &str) -> String {
        let mut collector = Collector::new(Timestamp(watermark));
        let kept: Vec<&str> = versions
            .split_whitespace()
            .filter(|version| {
                let (key, rest) = version.split_at(1);
                let is_tombstone = rest.ends_with('x');
                let ts = rest.trim_end_matches('x').parse().expect("a timestamp");
                collector.keeps(key.as_bytes(), Timestamp(ts), is_tombstone, || hides)
            })
            .collect();
        kept.join(" ")
    }

    #[test]
    fn keeps_what_snapshots_can_see() {
        assert_eq!(kept(0, true, "a9 a5 a1 b3"), "a9 a5 a1 b3");
        assert_eq!(kept(5, true, "a9 a5 a1 b3 b2"), "a9 a5 b3");
        assert_eq!(kept(4, true, "a9 a5 a3 a1"), "a9 a5 a3");
        assert_eq!(kept(100, true, "a9 a5 b3 b2 c1"), "a9 b3 c1");
    }

    #[test]
    fn drops_tombstones_that_hide_nothing() {
        assert_eq!(kept(5, true, "a5x a1"), "a5x");
        assert_eq!(kept(5, false, "a5x a1 b1"), "b1");
        assert_eq!(kept(5, false, "a9x a5 a1"), "a9x a5");
        assert_eq!(kept(5, false, "a9 a4x a1"), "a9");
    }

    #[test]
    fn keeps_the_first_of_equal_versions() {
        assert_eq!(kept(0, true, "a5 a5 a4 a4x"), "a5 a4");
    }
}

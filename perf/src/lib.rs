//! The machine's floor: what loopback and the disk give without a database in between.
//!
//! Figures of PhantomDB mean little without the limit of the hardware beside them. Two numbers
//! bound what a durable, networked server can do here:
//!
//! * [`echo`]: 64-byte requests and answers over loopback TCP, on threads that block: what a
//!   statement costs when the statement itself costs nothing.
//! * [`disk`]: 4 KiB written past the page cache and durable when the write returns: what one
//!   commit costs when nothing is gathered into it.
//!
//! `cargo run --release -p phantomdb-perf` prints both; `perf/run.sh` measures them and then the
//! workloads of `phantomdb bench` against a node of its own. Nothing imports this crate.

pub mod disk;
pub mod echo;

use hdrhistogram::Histogram;

/// A histogram of times in nanoseconds, three digits, up to ten seconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(10_000_000_000, 3).expect("constant bounds that the histogram takes")
}

/// `p50 160.3 us, p99 300.1 us, max 1200.0 us`.
pub fn percentiles(times: &Histogram<u64>) -> String {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    format!(
        "p50 {:.1} us, p99 {:.1} us, max {:.1} us",
        micros(times.value_at_quantile(0.5)),
        micros(times.value_at_quantile(0.99)),
        micros(times.max())
    )
}

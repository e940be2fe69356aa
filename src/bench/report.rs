//! What a run measured: for people, and as JSON for `--json`.
//!
//! The JSON object (documented in `docs/operations.md`): `workload`, `clients`, `pipeline`,
//! `rows`, `seed`, `loop` (`closed` or `open`), `rate` (open only), `warmup_seconds`, `seconds`,
//! `statements`, `statements_per_second`, `errors`, and `operations`: an object a kind of
//! statement with `count`, `per_second`, `rows`, `errors` (by SQLSTATE) and `latency_us` (`min`,
//! `mean`, `p50`, `p90`, `p95`, `p99`, `p999`, `max`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::clients::Seen;
use super::{Operation, Options};

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Report {
    workload: String,
    clients: usize,
    pipeline: usize,
    rows: u64,
    seed: u64,
    rate: Option<u64>,
    warmup: Duration,
    measured: Duration,
    operations: BTreeMap<Operation, Seen>,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        measured: Duration,
        operations: BTreeMap<Operation, Seen>,
    ) -> Self {
        Self {
            workload: options.workload.to_string(),
            clients: options.clients,
            pipeline: options.pipeline,
            rows: options.rows,
            seed: options.seed,
            rate: options.rate,
            warmup: options.warmup,
            measured,
            operations,
        }
    }

    /// Statements that succeeded in the measured time.
    pub fn statements(&self) -> u64 {
        self.operations.values().map(|seen| seen.latencies.len()).sum()
    }

    /// Statements that failed, warm-up included.
    pub fn errors(&self) -> u64 {
        self.operations.values().flat_map(|seen| seen.errors.values()).map(|(count, _)| count).sum()
    }

    /// Statements a second.
    pub fn per_second(&self) -> f64 {
        per_second(self.statements(), self.measured)
    }

    /// All latencies together, in microseconds.
    pub fn latencies(&self) -> Histogram<u64> {
        let mut all = super::clients::histogram();
        for seen in self.operations.values() {
            // The same bounds everywhere: adding cannot fail.
            let _same_bounds: Result<(), hdrhistogram::AdditionError> = all.add(&seen.latencies);
        }
        all
    }

    /// The report as the documented JSON object.
    pub fn json(&self) -> Value {
        let operations: serde_json::Map<String, Value> = self
            .operations
            .iter()
            .map(|(operation, seen)| {
                let errors: serde_json::Map<String, Value> = seen
                    .errors
                    .iter()
                    .map(|(state, (count, _))| (state.clone(), json!(count)))
                    .collect();
                let value = json!({
                    "count": seen.latencies.len(),
                    "per_second": per_second(seen.latencies.len(), self.measured),
                    "rows": seen.rows,
                    "errors": errors,
                    "latency_us": latency_json(&seen.latencies),
                });
                (operation.name().to_owned(), value)
            })
            .collect();
        let mut report = json!({
            "workload": self.workload,
            "clients": self.clients,
            "pipeline": self.pipeline,
            "rows": self.rows,
            "seed": self.seed,
            "loop": if self.rate.is_some() { "open" } else { "closed" },
            "warmup_seconds": self.warmup.as_secs_f64(),
            "seconds": self.measured.as_secs_f64(),
            "statements": self.statements(),
            "statements_per_second": self.per_second(),
            "errors": self.errors(),
            "operations": operations,
        });
        if let Some(rate) = self.rate {
            report["rate"] = json!(rate);
        }
        report
    }
}

fn latency_json(latencies: &Histogram<u64>) -> Value {
    json!({
        "min": latencies.min(),
        "mean": latencies.mean(),
        "p50": latencies.value_at_quantile(0.5),
        "p90": latencies.value_at_quantile(0.9),
        "p95": latencies.value_at_quantile(0.95),
        "p99": latencies.value_at_quantile(0.99),
        "p999": latencies.value_at_quantile(0.999),
        "max": latencies.max(),
    })
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// The report for people.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let loop_kind = match report.rate {
        Some(rate) => format!("open loop at {rate}/s, latency from the intended time"),
        None => "closed loop, latency from the sending".to_owned(),
    };
    line(
        &mut text,
        format_args!(
            "{}: {} clients x {} in flight, {:.1} s, {loop_kind}",
            report.workload,
            report.clients,
            report.pipeline,
            report.measured.as_secs_f64()
        ),
    );
    line(
        &mut text,
        format_args!(
            "{:>12} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}",
            "", "count", "per s", "p50", "p90", "p99", "p99.9", "max", "errors"
        ),
    );
    for (operation, seen) in &report.operations {
        let errors: u64 = seen.errors.values().map(|(count, _)| count).sum();
        row(&mut text, operation.name(), &seen.latencies, report.measured, errors);
    }
    if report.operations.len() > 1 {
        row(&mut text, "all", &report.latencies(), report.measured, report.errors());
    }
    for (operation, seen) in &report.operations {
        for (state, (count, message)) in &seen.errors {
            line(
                &mut text,
                format_args!("{}: {count} errors {state}, the first: {message}", operation.name()),
            );
        }
    }
    text
}

fn row(text: &mut String, name: &str, latencies: &Histogram<u64>, time: Duration, errors: u64) {
    let at = |quantile| micros(latencies.value_at_quantile(quantile));
    line(
        text,
        format_args!(
            "{name:>12} {:>10} {:>10.0} {:>9} {:>9} {:>9} {:>9} {:>9} {errors:>8}",
            latencies.len(),
            per_second(latencies.len(), time),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            micros(latencies.max()),
        ),
    );
}

/// `123us`, `4.56ms`, `7.89s`.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{:.2}ms", micros as f64 / 1e3),
        _ => format!("{:.2}s", micros as f64 / 1e6),
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible: std::fmt::Result = text.write_fmt(content);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Workload;

    fn options() -> Options {
        Options {
            connect: phantomdb_client::Options::default(),
            workload: Workload::Mixed,
            clients: 2,
            pipeline: 4,
            duration: Duration::from_secs(2),
            warmup: Duration::ZERO,
            rows: 10,
            rate: None,
            seed: 1,
        }
    }

    fn report(rate: Option<u64>) -> Report {
        let mut seen = Seen {
            latencies: super::super::clients::histogram(),
            errors: BTreeMap::new(),
            rows: 3,
        };
        for micros in [100, 200, 300, 50_000] {
            seen.latencies.saturating_record(micros);
        }
        seen.errors.insert("40001".into(), (2, "40001: could not serialize".into()));
        let operations = [(Operation::PointRead, seen.clone()), (Operation::Update, seen)].into();
        Report::new(&Options { rate, ..options() }, Duration::from_secs(2), operations)
    }

    #[test]
    fn the_json_has_its_documented_members() {
        let json = report(Some(100)).json();
        assert_eq!(json["workload"], "mixed");
        assert_eq!((&json["loop"], &json["rate"]), (&json!("open"), &json!(100)));
        assert_eq!((&json["statements"], &json["errors"]), (&json!(8), &json!(4)));
        assert_eq!(json["statements_per_second"], json!(4.0));
        let read = &json["operations"]["point-read"];
        assert_eq!(
            (&read["count"], &read["rows"], &read["errors"]["40001"]),
            (&json!(4), &json!(3), &json!(2))
        );
        assert_eq!(read["latency_us"]["p50"], json!(200));
        assert_eq!(report(None).json()["loop"], "closed");
    }

    #[test]
    fn people_see_a_line_a_kind_and_the_errors() {
        let text = render(&report(None));
        assert_eq!(text.lines().count(), 7, "{text}");
        assert!(
            text.contains("update: 2 errors 40001, the first: 40001: could not serialize"),
            "{text}"
        );
        assert!(text.contains("closed loop"), "{text}");
    }

    #[test]
    fn times_have_three_digits_or_so() {
        assert_eq!([999, 1_500, 2_000_000].map(micros), ["999us", "1.50ms", "2.00s"]);
    }
}

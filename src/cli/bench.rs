//! `phantomdb bench`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{Exit, Failure};
use super::sql::client::{ServerArgs, failure};
use crate::bench::{self, BenchError, Options, Progress, Workload};

/// Arguments of `phantomdb bench`.
#[derive(Clone, Args, Debug)]
pub struct BenchArgs {
    /// What each statement does
    workload: Workload,
    /// The server
    #[command(flatten)]
    server: ServerArgs,
    /// Connections, each with a thread of its own
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    clients: u16,
    /// Statements in flight on each connection
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pipeline: u16,
    /// How long is measured: seconds, or 500ms, 2m
    #[arg(long, default_value = "10s", value_parser = config::parse_duration)]
    duration: Duration,
    /// How long runs before, unmeasured
    #[arg(long, default_value = "2s", value_parser = config::parse_duration)]
    warmup: Duration,
    /// Rows of the table; those that lack are loaded first
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    rows: u64,
    /// Statements a second over all clients, each at an intended time (an open loop); without it
    /// each client sends as fast as answers come
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: Option<u64>,
    /// Where the random numbers begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report as JSON to this file (- is standard output, in place of the table)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Loads the table, runs the workload and reports.
///
/// # Errors
/// No server, a wrong URL, or a load that could not run to its end.
pub fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    let options = Options {
        connect: args.server.options("phantomdb bench")?,
        workload: args.workload,
        clients: usize::from(args.clients),
        pipeline: usize::from(args.pipeline),
        duration: args.duration,
        warmup: args.warmup,
        rows: args.rows,
        rate: args.rate,
        seed: args.seed,
    };
    let bar = progress_bar(options.rows, "loading rows");
    let loaded = bench::prepare(&options, &mut |rows| bar.set_position(rows));
    bar.finish_and_clear();
    loaded.map_err(|error| bench_failure(&error))?;
    let report = bench::run(&options, &Arc::new(Progress::default()))
        .map_err(|error| bench_failure(&error))?;
    let json = format!("{:#}\n", report.json());
    let to_stdout = args.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
    if let Some(path) = args.json.as_ref().filter(|_| !to_stdout) {
        fs_err::write(path, &json).map_err(Failure::failed)?;
    }
    let text = if to_stdout { json } else { bench::render(&report) };
    super::output::finish(std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()))?;
    Ok(if report.errors() == 0 { Exit::Done } else { Exit::Failed })
}

/// The command's end for a failure of the generator.
pub fn bench_failure(error: &BenchError) -> Failure {
    match error {
        BenchError::Client(error) => failure(error),
        error => Failure::failed(error),
    }
}

/// A bar on standard error where that is a terminal.
pub fn progress_bar(length: u64, what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{msg} [{bar:40}] {human_pos}/{human_len} ({per_sec}, {eta} left)";
    // A template that does not parse leaves the default style: the bar is a convenience.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(what.to_owned())
}

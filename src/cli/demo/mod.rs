//! `phantomdb demo`: everything in one process, without set-up.
//!
//! ```text
//!   node on free ports, in a directory that goes away ──> shop ──> queries, a plan
//!     ──> ten seconds of load, with a histogram ──> shell, where there is a terminal ──> clean up
//! ```
//!
//! Ctrl-C ends the step that runs (in the shell: the statement) and still cleans up.

mod histogram;
mod shop;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use config::{Config, Layers, Setting};
use phantomdb_client::Options as ConnectOptions;
use phantomdb_client::blocking::Client;
use signal_hook::consts::SIGTERM;
use tempfile::TempDir;

use super::bench::bench_failure;
use super::exit::{Exit, Failure};
use super::sql::client::{ClientSession, failure};
use super::sql::format::Format;
use super::sql::interrupts::{Interrupts, Mode};
use super::sql::runner::{Flow, Options as RunOptions, Runner};
use super::sql::shell;
use super::sql::splitter::Piece;
use crate::bench::{self, Progress, Workload};
use crate::node;

/// Rows of the load's table.
const LOAD_ROWS: u64 = 10_000;
/// Clients of the load.
const LOAD_CLIENTS: usize = 8;
/// More cores would show no more.
const CORES_MAX: u16 = 4;
/// The exit code of a process that a second SIGTERM ends: 128 + 15.
const TERMINATED: i32 = 143;

/// Arguments of `phantomdb demo`.
#[derive(Clone, Args, Debug)]
pub struct DemoArgs {
    /// Number of cores of the node [default: the processors, 2 to 4]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    cores: Option<u16>,
    /// How long the load runs: seconds, or 500ms, 2m
    #[arg(long, default_value = "10s", value_parser = config::parse_duration)]
    duration: Duration,
    /// Directory in which the demo's own directory is made and removed again
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Do not open the shell
    #[arg(long)]
    no_shell: bool,
}

/// Runs the demo.
///
/// # Errors
/// The node does not start here (`phantomdb check` says why), or a step fails.
pub fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let interrupts = Interrupts::install(Mode::Shell)
        .map_err(|error| Failure::failed(format!("cannot catch Ctrl-C: {error}")))?;
    let stop = interrupts.interrupted();
    terminate_softly(&stop)
        .map_err(|error| Failure::failed(format!("cannot catch SIGTERM: {error}")))?;
    let directory = directory(args.directory.as_deref())?;
    let config = configuration(args, directory.path())?;
    say(&format!(
        "Starting a node with {} cores in {} ...\n",
        config.cores,
        directory.path().display()
    ))?;
    let running = node::start_in_process(config)
        .map_err(|error| Failure::failed(format!("the node does not start: {error}")))?;
    let address = running.addresses().native;
    let connect = ConnectOptions {
        host: address.ip().to_string(),
        port: address.port(),
        application: "phantomdb demo".to_owned(),
        ..ConnectOptions::default()
    };
    let shown = Demo { args, connect, interrupts, stop }.show();
    let stopped = running
        .stop()
        .map_err(|error| Failure::failed(format!("the node did not stop cleanly: {error}")));
    let removed = directory
        .close()
        .map_err(|error| Failure::failed(format!("the demo's directory stays behind: {error}")));
    let exit = shown?;
    stopped?;
    removed?;
    Ok(exit)
}

/// A directory of the demo's own where the log can write past the page cache.
fn directory(wanted: Option<&Path>) -> Result<TempDir, Failure> {
    let here = || std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let candidates = match wanted {
        Some(wanted) => vec![wanted.to_path_buf()],
        None => vec![std::env::temp_dir(), here()],
    };
    let usable =
        candidates.iter().find(|candidate| super::check::supports_direct_writes(candidate));
    let parent = usable.ok_or_else(|| {
        let tried: Vec<String> = candidates.iter().map(|candidate| candidate.display().to_string()).collect();
        Failure::failed(format!("no direct writes in {}: name another place with --directory (`phantomdb check` says more)", tried.join(" or ")))
    })?;
    tempfile::Builder::new().prefix("phantomdb-demo-").tempdir_in(parent).map_err(Failure::failed)
}

/// Free ports, quiet logs, nothing from the environment: the demo is the same everywhere.
fn configuration(args: &DemoArgs, directory: &Path) -> Result<Config, Failure> {
    let processors = std::thread::available_parallelism().map_or(2, |count| count.get() as u16);
    let cores = args.cores.unwrap_or(processors.clamp(2, CORES_MAX));
    let flags = vec![
        (Setting::DataDir, directory.join("data").display().to_string()),
        (Setting::Listen, "127.0.0.1:0".to_owned()),
        (Setting::Cores, cores.to_string()),
        (Setting::LogLevel, "warn".to_owned()),
    ];
    Config::load(&Layers { file: None, environment: Vec::new(), flags }).map_err(Failure::failed)
}

/// The first SIGTERM ends the step that runs, a second one the process.
fn terminate_softly(stop: &Arc<AtomicBool>) -> io::Result<()> {
    signal_hook::flag::register_conditional_shutdown(SIGTERM, TERMINATED, Arc::clone(stop))?;
    signal_hook::flag::register(SIGTERM, Arc::clone(stop))?;
    Ok(())
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    super::output::finish(written).map(|_| ())
}

type Step<'a> = fn(&Demo<'a>) -> Result<(), Failure>;

/// The steps, once the node runs.
struct Demo<'a> {
    args: &'a DemoArgs,
    connect: ConnectOptions,
    interrupts: Interrupts,
    stop: Arc<AtomicBool>,
}

impl<'a> Demo<'a> {
    fn show(&self) -> Result<Exit, Failure> {
        let steps: [Step<'a>; 3] = [Self::make_shop, Self::show_queries, Self::run_load];
        for step in steps {
            if self.stop.load(Ordering::Relaxed) {
                say("\nInterrupted.\n")?;
                return Ok(Exit::Done);
            }
            step(self)?;
        }
        let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        if !terminal || self.args.no_shell || self.stop.load(Ordering::Relaxed) {
            return Ok(Exit::Done);
        }
        say("\nThe node goes on until you leave the shell.\n")?;
        let session = self.session()?;
        shell::run(
            session,
            RunOptions { interactive: true, stop_on_error: false, ..self.run_options() },
        )
    }

    fn session(&self) -> Result<ClientSession, Failure> {
        ClientSession::open(self.connect.clone(), self.interrupts.clone())
    }

    fn run_options(&self) -> RunOptions {
        RunOptions {
            format: Format::Table,
            stop_on_error: true,
            timing: false,
            interactive: false,
            interrupted: Arc::default(),
        }
    }

    fn make_shop(&self) -> Result<(), Failure> {
        let mut client = Client::open(self.connect.clone()).map_err(|error| failure(&error))?;
        for table in shop::TABLES {
            say(&format!("\n{table};\n"))?;
            client.run(table).map_err(|error| failure(&error))?;
        }
        let rows = shop::fill(&mut client).map_err(|error| failure(&error))?;
        say(&format!("\n{rows} rows in {} tables.\n", shop::TABLES.len()))
    }

    fn show_queries(&self) -> Result<(), Failure> {
        let mut out = BufWriter::new(io::stdout());
        let mut err = io::stderr();
        for (title, query) in shop::QUERIES {
            say(&format!("\n-- {title}\n{query};\n\n"))?;
            let mut runner = Runner::new(self.session()?, self.run_options(), &mut out, &mut err);
            let piece = Piece::Statement { text: query.to_owned(), line: 1 };
            if let Flow::End(exit) = runner.piece(&piece, "") {
                return Err(Failure::silent(exit));
            }
        }
        Ok(())
    }

    fn run_load(&self) -> Result<(), Failure> {
        let options = bench::Options {
            connect: self.connect.clone(),
            workload: Workload::Mixed,
            clients: LOAD_CLIENTS,
            pipeline: 1,
            duration: self.args.duration,
            warmup: Duration::ZERO,
            rows: LOAD_ROWS,
            rate: None,
            seed: 1,
        };
        say(&format!(
            "\n{LOAD_CLIENTS} clients read and write for {} ...\n",
            config::format_duration(self.args.duration)
        ))?;
        bench::prepare(&options, &mut |_| {}).map_err(|error| bench_failure(&error))?;
        let progress = Arc::new(Progress::default());
        let ended = Arc::clone(&progress);
        let _watch =
            self.interrupts.watch(Box::new(move || ended.stop.store(true, Ordering::Relaxed)));
        let report = bench::run(&options, &progress).map_err(|error| bench_failure(&error))?;
        say(&format!(
            "\n{}\nLatency of all statements:\n{}",
            bench::render(&report),
            histogram::draw(&report.latencies())
        ))?;
        if report.errors() > 0 {
            Err(Failure::failed(format!("{} statements failed", report.errors())))
        } else {
            Ok(())
        }
    }
}

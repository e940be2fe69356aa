//! `phantomdb sim`: a node in the simulated world, under faults, by seed.
//!
//! A run is a pure function of its seed, its options and the program: what fails here fails again
//! with the command that is printed. Exit code 1 says that a promise was broken.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use config::LogLevel;
use runtime::sim::Fault;

use super::exit::{Exit, Failure};
use crate::logging;
use crate::sim::{
    self, CLUSTER_FAULTS, ClusterFault, CrashPlace, DEFAULT_CLUSTER_FAULTS, DEFAULT_FAULTS, Report,
    Scenario, SimOptions,
};

/// Threads that run seeds, at most.
const JOBS_MAX: usize = 64;
/// Reports that wait to be printed, at most.
const REPORTS_MAX: usize = 64;

/// Arguments of `phantomdb sim`.
#[derive(Clone, Args, Debug)]
pub struct SimArgs {
    /// The seed that everything follows from
    #[arg(long, value_name = "N", required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// All seeds from A up to, not including, B; only what fails is told in full
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<Seeds>,
    /// Nodes of the cluster
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    nodes: u32,
    /// Virtual seconds under load; checks and restarts come on top
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Faults to draw from, separated by commas, or `none` [default: what a node, or a cluster, must
    /// survive]
    #[arg(long, value_name = "LIST", value_parser = parse_faults)]
    faults: Option<Faults>,
    /// Instead of faults under load: a crash after every step of a commit over several partitions
    #[arg(long, conflicts_with_all = ["faults", "seconds", "nodes"])]
    commits: bool,
    /// Cores of the node; drawn anew for each of its lives where it is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    cores: Option<u16>,
    /// Seeds that run at the same time [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Write the node's log of this level and above on standard error
    #[arg(long, value_name = "LEVEL", value_parser = LogLevel::parse)]
    log: Option<LogLevel>,
}

/// A range of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seeds {
    from: u64,
    to: u64,
}

/// Faults of hosts and of clusters; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Faults {
    hosts: Vec<Fault>,
    cluster: Vec<ClusterFault>,
}

fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let range = text.split_once("..").and_then(|(from, to)| {
        Some(Seeds { from: from.trim().parse().ok()?, to: to.trim().parse().ok()? })
    });
    match range {
        Some(seeds) if seeds.from < seeds.to => Ok(seeds),
        _ => Err("write two numbers, the smaller first: 0..1000".to_owned()),
    }
}

fn parse_faults(text: &str) -> Result<Faults, String> {
    let mut faults = Faults::default();
    if text == "none" {
        return Ok(faults);
    }
    for name in text.split(',').map(str::trim) {
        match (name.parse::<Fault>(), name.parse::<ClusterFault>()) {
            (Ok(fault), _) => faults.hosts.push(fault),
            (_, Ok(fault)) => faults.cluster.push(fault),
            (Err(unknown), Err(others)) => return Err(format!("{unknown}; {others}")),
        }
    }
    Ok(faults)
}

impl SimArgs {
    fn options(&self, seed: u64) -> SimOptions {
        let Faults { hosts: faults, cluster: cluster_faults } = match (&self.faults, self.nodes) {
            (Some(faults), _) => faults.clone(),
            (None, 1) => Faults { hosts: DEFAULT_FAULTS.to_vec(), cluster: Vec::new() },
            (None, _) => {
                Faults { hosts: CLUSTER_FAULTS.to_vec(), cluster: DEFAULT_CLUSTER_FAULTS.to_vec() }
            }
        };
        let load = Duration::from_secs(self.seconds);
        let scenario = if self.commits { Scenario::Commits } else { Scenario::Load };
        let (cores, nodes) = (self.cores, self.nodes);
        SimOptions { scenario, seed, load, faults, cluster_faults, cores, nodes }
    }

    /// The command that does the same again.
    fn replay(&self, seed: u64) -> String {
        let mut command = format!("phantomdb sim --seed {seed}");
        if self.nodes > 1 {
            command.push_str(&format!(" --nodes {}", self.nodes));
        }
        match self.commits {
            true => command.push_str(" --commits"),
            false => command.push_str(&format!(" --seconds {}", self.seconds)),
        }
        if let Some(Faults { hosts, cluster }) = &self.faults {
            let hosts = hosts.iter().map(|fault| fault.name());
            let names: Vec<&str> = hosts.chain(cluster.iter().map(|fault| fault.name())).collect();
            let list = if names.is_empty() { "none".to_owned() } else { names.join(",") };
            command.push_str(&format!(" --faults {list}"));
        }
        if let Some(cores) = self.cores {
            command.push_str(&format!(" --cores {cores}"));
        }
        command
    }
}

/// Runs the seeds.
///
/// # Errors
/// A promise was broken; no thread; standard output fails.
pub fn run(args: &SimArgs) -> Result<Exit, Failure> {
    let _log = match args.log {
        Some(level) => Some(logging::install(level).map_err(Failure::failed)?),
        None => None,
    };
    match (args.seed, args.seeds) {
        (Some(seed), _) => {
            let report = sim::run(&args.options(seed));
            tell(args, &report).map_err(Failure::failed)?;
            Ok(if report.passed() { Exit::Done } else { Exit::Failed })
        }
        (None, Some(seeds)) => run_many(args, seeds),
        (None, None) => Err(Failure::usage("say --seed or --seeds")),
    }
}

fn tell(args: &SimArgs, report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{report}")?;
    if !report.passed() {
        writeln!(out, "  again: {}", args.replay(report.seed))?;
    }
    out.flush()
}

/// What the seeds of a range have come to.
#[derive(Default)]
struct Totals {
    seeds: u64,
    failed: Vec<u64>,
    damage_found: u64,
    lives: u64,
    committed: u64,
    in_doubt: u64,
    revived: u64,
    steps: u64,
    elapsed: Duration,
    aimed: u64,
    places: BTreeSet<CrashPlace>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        if !report.passed() {
            self.failed.push(report.seed);
        }
        self.damage_found += u64::from(matches!(report.verdict, sim::Verdict::DamageFound(_)));
        self.lives += report.lives;
        self.committed += report.committed;
        self.in_doubt += report.in_doubt;
        self.revived += report.revived;
        self.steps += report.steps;
        self.elapsed += report.elapsed;
        self.aimed += report.aimed();
        self.places.extend(report.crash_places.keys().cloned());
    }
}

fn run_many(args: &SimArgs, seeds: Seeds) -> Result<Exit, Failure> {
    let (sender, reports) = flume::bounded(REPORTS_MAX);
    let next = Arc::new(AtomicU64::new(seeds.from));
    let over = Arc::new(AtomicBool::new(false));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(processors).clamp(1, JOBS_MAX);
    let mut threads = Vec::new();
    for _ in 0..jobs {
        let (args, sender, next, over) = (args.clone(), sender.clone(), next.clone(), over.clone());
        let work = move || {
            while !over.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.to || sender.send(sim::run(&args.options(seed))).is_err() {
                    return;
                }
            }
        };
        threads.push(runtime::thread::spawn("sim", work).map_err(Failure::failed)?);
    }
    drop(sender);
    let mut totals = Totals::default();
    for report in reports {
        totals.add(&report);
        if !report.passed() {
            let told = tell(args, &report);
            over.store(told.is_err(), Ordering::Relaxed);
            told.map_err(Failure::failed)?;
        }
    }
    for thread in threads {
        if thread.join().is_err() {
            return Err(Failure::failed("a thread that runs seeds panicked"));
        }
    }
    totals.failed.sort_unstable();
    sum_up(&totals).map_err(Failure::failed)?;
    Ok(if totals.failed.is_empty() { Exit::Done } else { Exit::Failed })
}

fn sum_up(totals: &Totals) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} seeds, {} failed: {} lives, {} committed, {} in doubt, {} revived, {} steps, \
         {} s of virtual time",
        totals.seeds,
        totals.failed.len(),
        totals.lives,
        totals.committed,
        totals.in_doubt,
        totals.revived,
        totals.steps,
        totals.elapsed.as_secs()
    )?;
    if totals.aimed > 0 {
        let places = totals.places.len();
        writeln!(out, "{} crashes that were aimed, at {places} places", totals.aimed)?;
    }
    if totals.damage_found > 0 {
        writeln!(out, "damage was found in {} of them", totals.damage_found)?;
    }
    if !totals.failed.is_empty() {
        writeln!(out, "failed: {:?}", totals.failed)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_lists_are_read() {
        assert_eq!(parse_seeds("3..12"), Ok(Seeds { from: 3, to: 12 }));
        assert!(parse_seeds("12..3").is_err() && parse_seeds("7").is_err());
        assert_eq!(parse_faults("none"), Ok(Faults::default()));
        let hosts = vec![Fault::PowerLoss, Fault::BitFlip];
        let three = Faults { hosts, cluster: vec![ClusterFault::Drain] };
        assert_eq!(parse_faults("power-loss, drain,bit-flip"), Ok(three));
        let unknown = parse_faults("gremlins").unwrap_err();
        assert!(unknown.contains("power-loss") && unknown.contains("drain"), "{unknown}");
    }
}

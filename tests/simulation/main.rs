//! Whole nodes in the simulated world: a slice of the battery, and that a seed is a seed.
//!
//! `PHANTOM_SIM_SEEDS=A..B` runs other seeds than the slice; `phantomdb sim --seeds A..B` does the
//! same faster and on all processors.

use phantomdb::sim::{
    CLUSTER_FAULTS, ClusterFault, CrashPlace, DEFAULT_FAULTS, Report, Scenario, SimOptions,
    Verdict, run,
};
use runtime::sim::Fault;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

/// Seeds of the slice.
const SLICE: std::ops::Range<u64> = 0..30;
/// Seeds of the slice whose disk changes bits.
const DAMAGE_SLICE: std::ops::Range<u64> = 0..10;
/// Seeds of the slice whose crashes are aimed at commits.
const COMMIT_SLICE: std::ops::Range<u64> = 0..8;
/// Seeds of the slice of clusters of three nodes.
const CLUSTER_SLICE: std::ops::Range<u64> = 0..2;
/// Virtual time under load of each.
const LOAD: Duration = Duration::from_secs(2);

/// Whether a crash came at a place of this sort.
type Sort = fn(&CrashPlace) -> bool;

fn seeds(slice: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("PHANTOM_SIM_SEEDS") else { return slice };
    let range = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
    range.unwrap_or_else(|| panic!("PHANTOM_SIM_SEEDS is {text:?}, and not like 0..1000"))
}

fn options(seed: u64, faults: &[Fault]) -> SimOptions {
    let faults = faults.to_vec();
    SimOptions {
        scenario: Scenario::Load,
        seed,
        load: LOAD,
        faults,
        cluster_faults: Vec::new(),
        cores: None,
        nodes: 1,
    }
}

/// One load of a cluster.
fn cluster(seed: u64, nodes: u32) -> SimOptions {
    // Those that move replicas are not clean yet: docs/reliability.md.
    let cluster_faults = vec![ClusterFault::LeaderCrash, ClusterFault::LeaderIsolate];
    let load = Duration::from_secs(1);
    SimOptions { nodes, load, cluster_faults, ..options(seed, CLUSTER_FAULTS) }
}

fn commits(seed: u64) -> SimOptions {
    SimOptions { scenario: Scenario::Commits, ..options(seed, &[]) }
}

/// Runs seeds on two threads.
fn reports(range: std::ops::Range<u64>, options: impl Fn(u64) -> SimOptions + Sync) -> Vec<Report> {
    let half = |odd: u64| -> Vec<Report> {
        let seeds = range.clone().filter(move |seed| seed % 2 == odd);
        seeds.map(|seed| run(&options(seed))).collect()
    };
    let both: [Vec<Report>; 2] = std::thread::scope(|scope| {
        let half = &half;
        [0, 1].map(|odd| scope.spawn(move || half(odd))).map(|thread| thread.join().unwrap())
    });
    both.concat()
}

/// What failed, with how to see it again.
fn failures(reports: &[Report], flags: &str) -> Vec<String> {
    let failed = reports.iter().filter(|report| !report.passed());
    let again = |seed| format!("phantomdb sim --seed {seed} {flags}");
    failed.map(|report| format!("{report}\n  again: {}", again(report.seed))).collect()
}

#[test]
fn a_node_keeps_its_promises_under_faults() {
    let reports = reports(seeds(SLICE), |seed| options(seed, DEFAULT_FAULTS));
    let failed = failures(&reports, &format!("--seconds {}", LOAD.as_secs()));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_cluster_keeps_its_promises_under_faults() {
    let reports = reports(seeds(CLUSTER_SLICE), |seed| cluster(seed, 3));
    let names: Vec<&str> = CLUSTER_FAULTS.iter().map(|fault| fault.name()).collect();
    let faults = format!("{},leader-crash,leader-isolate", names.join(","));
    let failed = failures(&reports, &format!("--nodes 3 --seconds 1 --faults {faults}"));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(reports.iter().all(|report| report.committed > 20 && report.checks >= 2));
}

#[test]
fn a_node_without_faults_refuses_nothing_it_should_not() {
    for seed in 0..4 {
        let report = run(&options(seed, &[]));
        assert_eq!(report.verdict, Verdict::Passed, "{report}");
        assert!(report.committed > 50 && report.checks >= 2 && report.in_doubt == 0, "{report}");
    }
}

#[test]
fn damaged_data_is_found_and_never_served() {
    let faults = [Fault::BitFlip, Fault::PowerLoss, Fault::ProcessCrash];
    let reports = reports(seeds(DAMAGE_SLICE), |seed| options(seed, &faults));
    let flags = "--faults bit-flip,power-loss,process-crash";
    let failed = failures(&reports, &format!("--seconds {} {flags}", LOAD.as_secs()));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_commit_survives_a_crash_after_each_of_its_steps() {
    let reports = reports(seeds(COMMIT_SLICE), commits);
    let failed = failures(&reports, "--commits");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let places: BTreeSet<&CrashPlace> =
        reports.iter().flat_map(|report| report.crash_places.keys()).collect();
    let crashes: u64 = reports.iter().map(Report::aimed).sum();
    println!("{crashes} crashes at {} places", places.len());
    for (what, was_there) in [
        ("before the first vote", (|place| place.transactions > 0 && place.voted == 0) as Sort),
        ("between two votes", |place| 0 < place.voted && place.voted < place.transactions),
        ("before the decision", |place| place.voted > 1 && place.decisions == 0),
        ("after the decision", |place| place.voted > 1 && place.decisions > 0),
        ("before it is forgotten", |place| place.transactions == 0 && place.decisions > 0),
    ] {
        assert!(places.iter().any(|place| was_there(place)), "no crash came {what}");
    }
}

#[test]
fn the_same_seed_does_the_same_in_another_process() {
    the_same_in_another_process("1");
}

#[test]
fn the_same_seed_of_a_cluster_does_the_same_in_another_process() {
    the_same_in_another_process("3");
}

fn the_same_in_another_process(nodes: &str) {
    let told = |seed: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_phantomdb"))
            .args(["sim", "--seconds", "1", "--nodes", nodes, "--seed", seed])
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).expect("a report is text")
    };
    let (one, two, other) = (told("11"), told("11"), told("12"));
    assert!(one.contains("trace "), "{one}");
    assert_eq!(one, two);
    assert_ne!(one, other);
}

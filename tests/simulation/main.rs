//! Whole nodes in the simulated world: a slice of the battery, and that a seed is a seed.
//!
//! `PHANTOM_SIM_SEEDS=A..B` runs other seeds than the slice; `phantomdb sim --seeds A..B` does the
//! same faster and on all processors.

use phantomdb::sim::{DEFAULT_FAULTS, SimOptions, Verdict, run};
use runtime::sim::Fault;
use std::process::Command;
use std::time::Duration;

/// Seeds of the slice.
const SLICE: std::ops::Range<u64> = 0..30;
/// Seeds of the slice whose disk changes bits.
const DAMAGE_SLICE: std::ops::Range<u64> = 0..10;
/// Virtual time under load of each.
const LOAD: Duration = Duration::from_secs(2);

fn seeds(slice: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("PHANTOM_SIM_SEEDS") else { return slice };
    let range = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
    range.unwrap_or_else(|| panic!("PHANTOM_SIM_SEEDS is {text:?}, and not like 0..1000"))
}

fn options(seed: u64, faults: &[Fault]) -> SimOptions {
    SimOptions { seed, load: LOAD, faults: faults.to_vec(), cores: None }
}

/// Runs seeds on two threads; what failed, with how to see it again.
fn failures(range: std::ops::Range<u64>, faults: &[Fault], flags: &str) -> Vec<String> {
    let half = |odd: u64| {
        let seeds = range.clone().filter(move |seed| seed % 2 == odd);
        let reports = seeds.map(|seed| run(&options(seed, faults)));
        let failed = reports.filter(|report| !report.passed());
        let again =
            |seed| format!("phantomdb sim --seed {seed} --seconds {}{flags}", LOAD.as_secs());
        failed.map(|report| format!("{report}\n  again: {}", again(report.seed))).collect()
    };
    let both: [Vec<String>; 2] = std::thread::scope(|scope| {
        [0, 1].map(|odd| scope.spawn(move || half(odd))).map(|thread| thread.join().unwrap())
    });
    both.concat()
}

#[test]
fn a_node_keeps_its_promises_under_faults() {
    let failed = failures(seeds(SLICE), DEFAULT_FAULTS, "");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
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
    let flags = " --faults bit-flip,power-loss,process-crash";
    let failed = failures(seeds(DAMAGE_SLICE), &faults, flags);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_same_seed_does_the_same_in_another_process() {
    let told = |seed: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_phantomdb"))
            .args(["sim", "--seconds", "1", "--seed", seed])
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

//! The way the program `adya` goes: the example `history_client`, driven through a pipe.

use crate::histories::judge;
use crate::{connect, start};
use adya::r#gen::{GenOpts, Kind};
use adya::run::{RunOpts, run};
use adya::{Valid, db};
use std::path::PathBuf;
use std::process::Command;

/// Builds the example, as `cargo test` does when it is not asked for single tests.
fn example() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", "history_client", "--manifest-path"]);
    build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "the example builds");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_phantomdb"));
    program.with_file_name("examples").join("history_client")
}

#[test]
fn a_command_drives_both_workloads() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"));
    // Made once: the commands find them there.
    crate::client::create_tables(&mut connect(&server)).expect("tables");
    let program = example();
    for (kind, flags) in [(Kind::ListAppend, ""), (Kind::RwRegister, " --registers")] {
        let command = format!(
            "{} --url {} --isolation read-committed{flags}",
            program.display(),
            server.url()
        );
        let options = RunOpts {
            processes: 4,
            txns: 200,
            r#gen: GenOpts { kind, ..GenOpts::default() },
            ..RunOpts::default()
        };
        let (history, stats) = run(&|| db::exec::connect(&command), &options)
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(stats.ok > 150 && stats.info == 0, "{kind:?}: {stats:?}");
        let report = judge(&history, kind, "read-committed");
        assert_eq!(report.valid, Valid::True, "{kind:?}: {:?}", report.anomaly_types);
    }
}

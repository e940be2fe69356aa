//! The program from outside, without a server: what it prints, where, and how it ends.

use std::process::{Command, Output, Stdio};

/// Runs the program with arguments, in an environment without our variables.
fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program runs")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phantomdb"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PHANTOM_") {
            command.env_remove(name);
        }
    }
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_and_version_are_answers_mistakes_are_usage() {
    for arguments in [&["--help"][..], &["--version"], &["sql", "--help"], &["bench", "--help"]] {
        let output = run(arguments);
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{arguments:?}");
        assert!(!out(&output).is_empty());
    }
    for arguments in
        [&["nonsense"][..], &["sql", "--format", "xml"], &["bench"], &["import", "a.csv"]]
    {
        let output = run(arguments);
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{arguments:?}");
        assert!(!err(&output).is_empty());
    }
}

#[test]
fn the_configuration_says_where_values_come_from() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("phantom.toml");
    std::fs::write(&file, "cores = 3\nmemory = \"256MiB\"\n").expect("file");
    let name = file.to_str().expect("a name");
    let output = command(&["config", "show", "--config", name, "--node-id", "7"])
        .env("PHANTOM_MEMORY", "512MiB")
        .output()
        .expect("the program runs");
    let shown = out(&output);
    let line = |setting: &str| {
        let found = shown.lines().find(|line| line.starts_with(setting)).unwrap_or_default();
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("cores"), format!("cores 3 {name}:1"));
    assert_eq!(line("memory"), "memory 512MiB environment PHANTOM_MEMORY");
    assert_eq!(line("node-id"), "node-id 7 flag --node-id");
    assert_eq!(line("lock-timeout"), "lock-timeout 10s default");
    assert_eq!(code(&output), 0);
}

#[test]
fn a_wrong_file_is_refused_with_its_lines() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("phantom.toml");
    std::fs::write(&file, "cores = 3\nmemroy = \"256MiB\"\nnode-id = 0\n").expect("file");
    let name = file.to_str().expect("a name");
    let output = run(&["config", "check", name]);
    assert_eq!(code(&output), 2);
    let said = err(&output);
    assert!(
        said.contains(&format!("{name}:2: unknown setting \"memroy\"; did you mean \"memory\"?")),
        "{said}"
    );
    assert!(said.contains(&format!("{name}:3: node-id = \"0\"")), "{said}");
}

#[test]
fn no_server_is_no_connection() {
    // Port 1 on loopback: nobody listens there.
    let url = "phantom://127.0.0.1:1/phantom?connect_timeout=2";
    for arguments in [
        &["sql", "--url", url, "-c", "SELECT 1"][..],
        &["bench", "point-read", "--url", url],
        &["cluster", "status", "--url", url],
        &["cluster", "nodes", "--url", url],
        &["cluster", "partitions", "--url", url],
        &["import", "--url", url, "--table", "t", "/dev/null"],
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 3, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains("127.0.0.1:1"), "{}", err(&output));
    }
    let output = run(&["sql", "--url", "postgres://x", "-c", "SELECT 1"]);
    assert_eq!(code(&output), 2, "{}", err(&output));
}

#[test]
fn check_tells_what_the_host_offers() {
    let directory = tempfile::tempdir().expect("directory");
    let output = run(&[
        "check",
        "--data-dir",
        directory.path().to_str().expect("a name"),
        "--memory",
        "64MiB",
    ]);
    let said = out(&output);
    for subject in ["kernel", "io_uring", "memlock", "nofile", "direct writes", "disk space"] {
        assert!(said.contains(subject), "{said}");
    }
    let lacks = said.lines().any(|line| line.starts_with("LACK"));
    assert_eq!(code(&output), i32::from(lacks), "{said}");
    assert!(std::fs::read_dir(directory.path()).expect("listing").next().is_none());
}

/// `phantomdb ... | head -1`: a closed pipe is the reader's right.
#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = command(&["config", "show"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
}

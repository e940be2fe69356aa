//! `phantomdb check`: what this host offers, and the mend for each lack.
//!
//! Every probe looks at one thing and gives one [`Finding`]; none changes the host (the file with
//! which direct I/O is tried is removed again). Exit code 1 says that a node would not start or
//! not keep its promises here; what only costs speed is a warning.

mod disk;
mod host;

use std::io::Write;
use std::path::Path;

use clap::Args;

use super::exit::{Exit, Failure};
use super::settings::SettingFlags;

/// Arguments of `phantomdb check`.
#[derive(Clone, Args, Debug)]
pub struct CheckArgs {
    /// The settings of the node that is to run here: data directory, cores, memory, connections
    #[command(flatten)]
    settings: SettingFlags,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    /// As it should be.
    Good,
    /// A node works, slower or less safely than it could.
    Warning,
    /// A node does not start, or would break its promises.
    Lack,
}

/// What one probe found.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    verdict: Verdict,
    /// What was looked at.
    subject: &'static str,
    /// What there is.
    found: String,
    /// What to do about it; empty when all is well.
    mend: String,
}

impl Finding {
    fn good(subject: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, subject, found: found.into(), mend: String::new() }
    }

    fn warning(subject: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, subject, found: found.into(), mend: mend.into() }
    }

    fn lack(subject: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Lack, subject, found: found.into(), mend: mend.into() }
    }
}

/// Runs every probe and prints what it found.
///
/// # Errors
/// The configuration is wrong, or standard output fails.
pub fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let config = args.settings.load()?;
    let findings = [
        host::kernel(),
        host::ring(),
        host::cores(Path::new("/"), config.cores),
        host::memory(config.memory),
        host::locked_memory(),
        host::open_files(config.connections_max),
        host::clock_source(Path::new("/")),
        host::clock_synchronization(),
        disk::direct_writes(&config.data_dir),
        disk::space(&config.data_dir),
    ];
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Good);
    super::output::finish(print(&findings, &mut std::io::stdout().lock()))?;
    Ok(if worst == Verdict::Lack { Exit::Failed } else { Exit::Done })
}

/// Whether the log can write in this directory, or where it would be made.
pub fn supports_direct_writes(directory: &Path) -> bool {
    disk::direct_writes(directory).verdict == Verdict::Good
}

/// One line a finding, its mend below it.
fn print(findings: &[Finding], out: &mut impl Write) -> std::io::Result<()> {
    let width = findings.iter().map(|finding| finding.subject.len()).max().unwrap_or(0);
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Warning => "warning",
            Verdict::Lack => "LACK",
        };
        writeln!(out, "{verdict:7}  {:width$}  {}", finding.subject, finding.found)?;
        if !finding.mend.is_empty() {
            writeln!(out, "         {:width$}  -> {}", "", finding.mend)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_printed_with_their_mends() {
        let findings =
            [Finding::good("kernel", "6.1"), Finding::lack("memlock", "64 KiB", "raise it")];
        let mut out = Vec::new();
        print(&findings, &mut out).expect("printed");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "ok       kernel   6.1\nLACK     memlock  64 KiB\n                  -> raise it\n"
        );
    }
}

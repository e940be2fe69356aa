//! The program's commands against a real server of the same build.

mod commands;
mod scripts;
mod start;
mod terminal;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use test_support::{Server, ServerBuilder};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_phantomdb");

/// A server with two cores on a new directory.
struct Place {
    server: Server,
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        // Direct writes are wanted: the build's own directory has them where a temporary one may not.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
        let server = ServerBuilder::new(PROGRAM, &directory.path().join("data"))
            .arguments(["--cores", "2", "--memory", "256MiB"])
            .start()
            .expect("the server starts");
        Place { server, directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file with this text in the place's directory; its name.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("file");
        path.display().to_string()
    }

    /// A command that talks to the server.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("PHANTOM_URL", self.server.url()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().expect("the program runs"))
    }

    /// Runs `phantomdb sql -c TEXT`.
    fn sql(&self, text: &str) -> Ran {
        self.run(&["sql", "-c", text])
    }
}

/// How a run ended and what it said.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, where it succeeded.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }
}

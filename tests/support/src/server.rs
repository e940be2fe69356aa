//! One real server process.

use crate::process::ProcessStatus;
use serde::Deserialize;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start, recovery included.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to drain.
const STOP_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// What a server writes to its ready file.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// The node's id.
    pub node: u32,
    /// Address of the shared port.
    pub native: String,
    /// Addresses of the single cores.
    pub cores: Vec<String>,
    /// Address of the PostgreSQL door, if it is open.
    pub pg: Option<String>,
}

/// How to start a server.
pub struct ServerBuilder {
    program: PathBuf,
    data_dir: PathBuf,
    arguments: Vec<String>,
    namespace: Option<String>,
}

impl ServerBuilder {
    /// A server of `program` (the caller's `CARGO_BIN_EXE_phantomdb`) on `data_dir`, listening on
    /// free loopback ports.
    pub fn new(program: &str, data_dir: &Path) -> ServerBuilder {
        ServerBuilder {
            program: program.into(),
            data_dir: data_dir.into(),
            arguments: vec!["--listen".into(), "127.0.0.1:0".into()],
            namespace: None,
        }
    }

    /// A server in a network namespace, which listens at this address of it.
    #[must_use]
    pub fn within(mut self, namespace: &str, listen: &str) -> ServerBuilder {
        self.namespace = Some(namespace.to_owned());
        self.arguments[1] = listen.to_owned();
        self
    }

    /// Adds arguments of `phantomdb start`.
    #[must_use]
    pub fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> ServerBuilder {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Starts the server and waits until it serves.
    pub fn start(&self) -> Result<Server, String> {
        let mut server = self.spawn().map_err(|error| format!("starting: {error}"))?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts a server that is expected not to serve, and returns how it ended and what it logged.
    pub fn start_in_vain(&self) -> Result<(ExitStatus, String), String> {
        let mut server = self.spawn().map_err(|error| format!("starting: {error}"))?;
        let status = server.wait(START_MAX)?;
        Ok((status, server.log()))
    }

    fn spawn(&self) -> io::Result<Server> {
        fs::create_dir_all(&self.data_dir)?;
        let beside = |suffix: &str| {
            let mut path = self.data_dir.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let (ready_file, log) = (beside(".ready"), beside(".log"));
        match fs::remove_file(&ready_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let log_file = File::options().create(true).append(true).open(&log)?;
        let mut command = match &self.namespace {
            None => Command::new(&self.program),
            // It becomes the program, under the same id.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&self.program);
                command
            }
        };
        let child = command
            .arg("start")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()?;
        Ok(Server { child, ready: None, ready_file, log })
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    ready: Option<Ready>,
    ready_file: PathBuf,
    log: PathBuf,
}

impl Server {
    fn wait_until_ready(&mut self) -> Result<(), String> {
        let started = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(&self.ready_file)
                && let Ok(ready) = serde_json::from_str(&text)
            {
                self.ready = Some(ready);
                return Ok(());
            }
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    return Err(format!("the server ended with {status}:\n{}", self.log()));
                }
                Ok(None) => {}
                Err(error) => return Err(format!("waiting for the server: {error}")),
            }
            if started.elapsed() > START_MAX {
                return Err(format!("not ready after {START_MAX:?}:\n{}", self.log()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// What the server wrote to its ready file.
    pub fn ready(&self) -> &Ready {
        self.ready.as_ref().expect("a started server is ready")
    }

    /// The address clients connect to.
    pub fn address(&self) -> &str {
        &self.ready().native
    }

    /// The address that PostgreSQL's clients connect to.
    pub fn pg_address(&self) -> &str {
        self.ready().pg.as_deref().expect("the PostgreSQL door is open")
    }

    /// A URL of the default database.
    pub fn url(&self) -> String {
        format!("phantom://phantom@{}/phantom", self.address())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory and processor time.
    pub fn status(&self) -> io::Result<ProcessStatus> {
        ProcessStatus::read(self.pid())
    }

    /// Everything logged so far, by this start and earlier ones on the same data.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Ends the process with SIGKILL, as a crash would.
    pub fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Asks the process to drain and waits for its end.
    pub fn terminate(mut self) -> Result<ExitStatus, String> {
        self.signal("TERM")?;
        let status = self.wait(STOP_MAX)?;
        if !status.success() {
            // Seen where the caller's test fails by it.
            eprintln!("the server ended with {status}:\n{}", self.log());
        }
        Ok(status)
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) -> Result<(), String> {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .map_err(|error| format!("sending SIG{name}: {error}"))?;
        if sent.success() { Ok(()) } else { Err(format!("sending SIG{name}: kill: {sent}")) }
    }

    /// Waits until the process ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let started = Instant::now();
        while started.elapsed() < limit {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => std::thread::sleep(POLL),
                Err(error) => return Err(format!("waiting for the server: {error}")),
            }
        }
        Err(format!("still running after {limit:?}:\n{}", self.log()))
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left behind.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

//! `phantomdb start`: a node in the foreground.
//!
//! ```text
//!   configuration ──> log ──> node serves ──> ready file ──> SIGTERM ──> drained ──> exit 0
//!                                           │                   └─ a second one: exit at once
//!                                           └── SIGHUP ──> the certificate is read again
//! ```

use std::io;
use std::path::Path;

use clap::Args;
use config::{Config, Setting};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit::{Exit, Failure};
use super::settings::SettingFlags;
use crate::logging;
use crate::node::{self, Addresses, NodeError, Running};

/// Arguments of `phantomdb start`.
#[derive(Clone, Args, Debug)]
pub struct StartArgs {
    /// The settings given as flags
    #[command(flatten)]
    settings: SettingFlags,
}

/// Runs the node until it is told to stop.
///
/// # Errors
/// The configuration is wrong, or the node fails.
pub fn run(args: &StartArgs) -> Result<Exit, Failure> {
    let config = args.settings.load()?;
    let _log = logging::install(config.log_level)
        .map_err(|error| Failure::failed(format!("no log: {error}")))?;
    for warning in config.warnings() {
        log::warn!("{warning}");
    }
    warn_of_closed_doors(&config);
    // Before the cores exist, so that no signal finds the default action.
    let stop =
        stop_signal().map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
    let hangups = Signals::new([SIGHUP])
        .map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
    let ready_file = config.ready_file.clone();
    let running = match node::start_unless(config, || !stop.is_empty()) {
        Ok(running) => running,
        Err(NodeError::Interrupted) => {
            log::info!("stopped before it served");
            return Ok(Exit::Done);
        }
        Err(error) => {
            log::error!("the node does not start: {error}");
            return Err(Failure::failed(format!("the node does not start: {error}")));
        }
    };
    let addresses = running.addresses();
    let pg = addresses.pg.map_or_else(|| "off".to_owned(), |pg| pg.to_string());
    log::info!(node = addresses.node.0, native = addresses.native.to_string(), pg = pg, cores = addresses.cores.len(); "serving");
    if let Some(path) = &ready_file {
        write_ready_file(path, addresses).map_err(Failure::failed)?;
    }
    let told = events(stop, hangups, &running).map_err(Failure::failed)?;
    loop {
        match told.recv().map_err(Failure::failed)? {
            Event::Hangup => renew_certificate(&running),
            Event::Signal(signal) => {
                log::info!(signal = signal; "draining");
                break;
            }
            Event::Ended => {
                log::error!("the node ended by itself");
                break;
            }
        }
    }
    if let Some(path) = &ready_file {
        remove_ready_file(path);
    }
    running.stop().map_err(|error| {
        log::error!("the node did not stop cleanly: {error}");
        Failure::failed(format!("the node did not stop cleanly: {error}"))
    })?;
    log::info!("stopped");
    Ok(Exit::Done)
}

/// What the node is to notice.
enum Event {
    /// Somebody wants its certificate read again.
    Hangup,
    /// Somebody says that it is to end.
    Signal(i32),
    /// A core failed, and the others stopped with it.
    Ended,
}

/// Tells of signals, and of the node's end.
fn events(
    signals: flume::Receiver<i32>,
    mut hangups: Signals,
    running: &Running,
) -> io::Result<flume::Receiver<Event>> {
    let (tell, told) = flume::bounded(2);
    let ended = running.ended().clone();
    let (tell_end, tell_hangup) = (tell.clone(), tell.clone());
    runtime::thread::spawn("node-end", move || {
        // Nothing is ever sent there: it disconnects when the node has ended.
        let _disconnected: Result<(), flume::RecvError> = ended.recv();
        let _somebody_waits: Result<(), flume::SendError<Event>> = tell_end.send(Event::Ended);
    })?;
    runtime::thread::spawn("node-signal", move || {
        if let Ok(signal) = signals.recv() {
            let _somebody_waits: Result<(), flume::SendError<Event>> =
                tell.send(Event::Signal(signal));
        }
    })?;
    runtime::thread::spawn("node-hangup", move || {
        for _signal in hangups.forever() {
            let _somebody_waits: Result<(), flume::SendError<Event>> =
                tell_hangup.send(Event::Hangup);
        }
    })?;
    Ok(told)
}

/// Who connects from now on is shown what the files hold now.
fn renew_certificate(running: &Running) {
    match running.renew_certificate() {
        Ok(true) => log::info!("the certificate was read again"),
        Ok(false) => log::info!("there is no certificate to read again"),
        Err(error) => log::error!("the certificate stays as it was: {error}"),
    }
}

/// This door is named in the design and not built yet: it stays closed, which the ready file shows
/// by leaving it out.
fn warn_of_closed_doors(config: &Config) {
    if config.http_listen.is_some() {
        let setting = Setting::HttpListen.name();
        log::warn!("{setting} is not served by this version: the door stays closed");
    }
}

/// Gives the first SIGTERM or SIGINT; the second one ends the process at once.
fn stop_signal() -> io::Result<flume::Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (first, stop) = flume::bounded(1);
    runtime::thread::spawn("signals", move || {
        for signal in signals.forever() {
            // Taken at once by the one that waits: only the second finds nobody, or a full queue.
            if first.is_disconnected() || first.try_send(signal).is_err() {
                signal_hook::low_level::exit(128 + signal);
            }
        }
    })?;
    Ok(stop)
}

/// Writes the file in one piece: who sees it sees all of it.
fn write_ready_file(path: &Path, addresses: &Addresses) -> io::Result<()> {
    let cores: Vec<String> = addresses.cores.iter().map(ToString::to_string).collect();
    let node = addresses.node.0;
    let mut ready = json!({ "node": node, "native": addresses.native.to_string(), "cores": cores });
    if let Some(pg) = addresses.pg {
        ready["pg"] = json!(pg.to_string());
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs_err::write(&beside, format!("{ready}\n"))?;
    fs_err::rename(&beside, path)
}

/// A node that drains is not ready.
fn remove_ready_file(path: &Path) {
    if let Err(error) = fs_err::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("the ready file stays behind: {error}");
    }
}

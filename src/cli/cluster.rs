//! `phantomdb cluster status`.

use std::io::{self, BufWriter};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::sql::client::{ClientSession, ServerArgs};
use super::sql::format::Format;
use super::sql::interrupts::{Interrupts, Mode};
use super::sql::runner::{Flow, Options, Runner};
use super::sql::splitter::Piece;

/// The system table with one row a node.
const NODES: &str =
    "SELECT id, address, state, cores, partitions, leaders FROM phantom.nodes ORDER BY id";

/// What to do with the cluster.
#[derive(Clone, Subcommand, Debug)]
pub enum ClusterCommand {
    /// Print one line a node: id, address, state, cores, partitions, leaders
    Status(StatusArgs),
}

/// Arguments of `phantomdb cluster status`.
#[derive(Clone, Args, Debug)]
pub struct StatusArgs {
    /// The server
    #[command(flatten)]
    server: ServerArgs,
    /// What the table looks like
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// The URL is wrong, or the server is not there.
pub fn run(command: &ClusterCommand) -> Result<Exit, Failure> {
    let ClusterCommand::Status(args) = command;
    let options = args.server.options("phantomdb cluster")?;
    let interrupts = Interrupts::install(Mode::Batch)
        .map_err(|error| Failure::failed(format!("cannot catch Ctrl-C: {error}")))?;
    let run = Options {
        format: args.format,
        stop_on_error: true,
        timing: false,
        interactive: false,
        interrupted: Arc::default(),
    };
    let (mut out, mut err) = (BufWriter::new(io::stdout()), io::stderr());
    let mut runner =
        Runner::new(ClientSession::open(options, interrupts)?, run, &mut out, &mut err);
    match runner.piece(&Piece::Statement { text: NODES.to_owned(), line: 1 }, "") {
        Flow::Next => Ok(runner.exit()),
        Flow::End(exit) => Ok(exit),
    }
}

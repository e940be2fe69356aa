//! `phantomdb cluster`: a look at the nodes and partitions, by any node.

use std::io::{self, BufWriter};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::sql::client::{ClientSession, ServerArgs};
use super::sql::format::Format;
use super::sql::interrupts::{Interrupts, Mode};
use super::sql::runner::{Flow, Options, Runner};
use super::sql::splitter::Piece;

const STATUS: &str =
    "SELECT id, address, state, cores, partitions, leaders FROM phantom.nodes ORDER BY id";
const NODES: &str = "SELECT id, state, version, cores, partitions, leaders, address, \
    pg_address, core_addresses FROM phantom.nodes ORDER BY id";
const PARTITIONS: &str = "SELECT id, holds, leader_node, leader_core, voters, learners \
    FROM phantom.partitions ORDER BY id";

/// What to do with the cluster.
#[derive(Clone, Subcommand, Debug)]
pub enum ClusterCommand {
    /// Print one line a node: id, address, state, cores, partitions, leaders
    Status(LookArgs),
    /// Print one line a node with all that is known of it
    Nodes(LookArgs),
    /// Print one line a partition: what it holds, who leads it, on which nodes its replicas are
    Partitions(LookArgs),
}

/// Arguments of a look at the cluster.
#[derive(Clone, Args, Debug)]
pub struct LookArgs {
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
    let (args, query) = match command {
        ClusterCommand::Status(args) => (args, STATUS),
        ClusterCommand::Nodes(args) => (args, NODES),
        ClusterCommand::Partitions(args) => (args, PARTITIONS),
    };
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
    match runner.piece(&Piece::Statement { text: query.to_owned(), line: 1 }, "") {
        Flow::Next => Ok(runner.exit()),
        Flow::End(exit) => Ok(exit),
    }
}

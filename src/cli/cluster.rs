//! `phantomdb cluster`: a look at the nodes and partitions, and what is wanted of them, by any node.

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
    /// Free a node of leaders and replicas; it stays, and `status` shows how far it has come
    Drain(NodeArgs),
    /// Let a node that was drained hold replicas again
    Resume(NodeArgs),
    /// Free a node of leaders and replicas, for good
    Remove(NodeArgs),
    /// Have another node lead a partition
    TransferLeader(LeaderArgs),
}

/// Arguments of what is wanted of a node.
#[derive(Clone, Args, Debug)]
pub struct NodeArgs {
    /// The node's id
    #[arg(value_name = "NODE")]
    node: u32,
    /// The server that is told
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of a change of who leads.
#[derive(Clone, Args, Debug)]
pub struct LeaderArgs {
    /// The partition's id
    #[arg(value_name = "PARTITION")]
    partition: u32,
    /// The id of the node that is to lead it
    #[arg(value_name = "NODE")]
    node: u32,
    /// The server that is told
    #[command(flatten)]
    server: ServerArgs,
}

fn look<'a>(args: &'a LookArgs, query: &str) -> (&'a ServerArgs, String, Format) {
    (&args.server, query.to_owned(), args.format)
}

fn want<'a>(args: &'a NodeArgs, verb: &str) -> (&'a ServerArgs, String, Format) {
    (&args.server, format!("ALTER SYSTEM {verb} NODE {}", args.node), Format::Table)
}

/// The command's server, the statement for it and what its rows look like.
fn statement(command: &ClusterCommand) -> (&ServerArgs, String, Format) {
    match command {
        ClusterCommand::Status(args) => look(args, STATUS),
        ClusterCommand::Nodes(args) => look(args, NODES),
        ClusterCommand::Partitions(args) => look(args, PARTITIONS),
        ClusterCommand::Drain(args) => want(args, "DRAIN"),
        ClusterCommand::Resume(args) => want(args, "RESUME"),
        ClusterCommand::Remove(args) => want(args, "REMOVE"),
        ClusterCommand::TransferLeader(LeaderArgs { partition, node, server }) => {
            let leader = format!("LEADER OF PARTITION {partition} TO NODE {node}");
            (server, format!("ALTER SYSTEM TRANSFER {leader}"), Format::Table)
        }
    }
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
    let (server, text, format) = statement(command);
    let options = server.options("phantomdb cluster")?;
    let interrupts = Interrupts::install(Mode::Batch)
        .map_err(|error| Failure::failed(format!("cannot catch Ctrl-C: {error}")))?;
    let run = Options {
        format,
        stop_on_error: true,
        timing: false,
        interactive: false,
        interrupted: Arc::default(),
    };
    let (mut out, mut err) = (BufWriter::new(io::stdout()), io::stderr());
    let mut runner =
        Runner::new(ClientSession::open(options, interrupts)?, run, &mut out, &mut err);
    match runner.piece(&Piece::Statement { text, line: 1 }, "") {
        Flow::Next => Ok(runner.exit()),
        Flow::End(exit) => Ok(exit),
    }
}

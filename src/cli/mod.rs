//! The command line: one module a command, one exit code a consequence.
//!
//! ```text
//!   0  done        1  a statement, a row or a check failed
//!   2  usage       3  no connection to the server
//! ```
//!
//! What a command produces goes to standard output, what it has to say about it to standard
//! error. Commands that talk to a server do so through `phantomdb_client`, as any other program
//! would; none of them opens the data directory of a running node.

pub mod bench;
pub mod check;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod exit;
pub mod import;
pub mod output;
pub mod settings;
pub mod sim;
pub mod sql;
pub mod start;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::config::ConfigCommand;
use exit::{Exit, Failure};

/// PhantomDB: a distributed SQL and document database server.
#[derive(Parser, Debug)]
#[command(
    name = "phantomdb",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a node in the foreground
    Start(start::StartArgs),
    /// Run statements from the terminal, the command line, files or a pipe
    Sql(sql::SqlArgs),
    /// Load a CSV file into a table
    Import(import::ImportArgs),
    /// Put load on a server and measure it
    Bench(bench::BenchArgs),
    /// Show a node with data, load and a shell, all in this process
    Demo(demo::DemoArgs),
    /// Look at what this host offers, and say how to mend each lack
    Check(check::CheckArgs),
    /// Run a node in the simulated world, under faults drawn from a seed
    Sim(sim::SimArgs),
    /// Look at a running cluster
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Validate and show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Reads the process's arguments, runs the command and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers on standard output, mistakes are usage errors; clap
            // knows which. A closed pipe leaves nobody to tell.
            let printed = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return if printed.is_ok() { exit.into() } else { Exit::Failed.into() };
        }
    };
    match run(cli.command) {
        Ok(exit) => exit.into(),
        Err(Failure { exit, message }) => {
            if !message.is_empty() {
                eprintln!("phantomdb: {message}");
            }
            exit.into()
        }
    }
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Start(args) => start::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Sql(args) => sql::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Cluster(command) => cluster::run(&command),
        Command::Config(command) => self::config::run(command),
    }
}

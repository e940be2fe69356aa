//! `phantomdb sql`: the shell, and the same for scripts.
//!
//! ```text
//!   terminal ──> shell ──┐
//!   -c, -f, pipe ────────┴─> splitter ──> runner ──> session ──> client ──> server
//!                                           │  meta-commands        │
//!                                           └──── format <── rows ──┘
//! ```
//!
//! The runner knows the server only as a [`session::Session`], the formats know neither. Rows are
//! printed as they arrive; no part holds a whole result or a whole script.

pub mod catalog;
pub mod client;
pub mod completion;
pub mod format;
pub mod interrupts;
pub mod meta;
pub mod report;
pub mod runner;
pub mod session;
pub mod shell;
pub mod splitter;

use std::io::{self, BufWriter, IsTerminal};

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use self::client::{ClientSession, ServerArgs};
use self::format::Format;
use self::interrupts::{Interrupts, Mode};
use self::runner::{Flow, Options, Runner};
use super::exit::{Exit, Failure};

/// Results leave in pieces of this size, and at the end of each statement.
const OUTPUT_BYTES: usize = 64 << 10;

/// Arguments of `phantomdb sql`.
#[derive(Clone, Args, Debug)]
pub struct SqlArgs {
    /// The server
    #[command(flatten)]
    server: ServerArgs,
    /// The statements to run
    #[command(flatten)]
    inputs: Inputs,
    /// What results look like
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Go on after a statement that failed (the exit code still says that one did)
    #[arg(long)]
    continue_on_error: bool,
    /// Print how long each statement takes, on standard error
    #[arg(long)]
    timing: bool,
}

/// One `-c` or `-f`.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Input {
    Command(String),
    File(String),
}

/// All `-c` and `-f` in the order of the command line.
#[derive(Clone, Default, Debug)]
struct Inputs(Vec<Input>);

impl FromArgMatches for Inputs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut inputs: Vec<(usize, Input)> = Vec::new();
        for (id, make) in
            [("command", Input::Command as fn(String) -> Input), ("file", Input::File)]
        {
            let values = matches.get_many::<String>(id).into_iter().flatten().cloned().map(make);
            inputs.extend(matches.indices_of(id).into_iter().flatten().zip(values));
        }
        inputs.sort_by_key(|(index, _)| *index);
        Ok(Self(inputs.into_iter().map(|(_, input)| input).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Inputs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = command.arg(
            Arg::new("command")
                .short('c')
                .long("command")
                .value_name("SQL")
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .help("Run these statements; may be repeated, and mixed with -f"),
        );
        command.arg(
            Arg::new("file")
                .short('f')
                .long("file")
                .value_name("FILE")
                .action(ArgAction::Append)
                .help("Run the statements of the file (- is standard input); may be repeated"),
        )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// Runs the shell or the statements given.
///
/// # Errors
/// The URL is wrong, the server is not there, or the terminal fails.
pub fn run(args: &SqlArgs) -> Result<Exit, Failure> {
    let options = args.server.options("phantomdb sql")?;
    let interactive =
        args.inputs.0.is_empty() && io::stdin().is_terminal() && io::stdout().is_terminal();
    let mode = if interactive { Mode::Shell } else { Mode::Batch };
    let interrupts = Interrupts::install(mode)
        .map_err(|error| Failure::failed(format!("cannot catch Ctrl-C: {error}")))?;
    let run = Options {
        format: args.format,
        stop_on_error: !interactive && !args.continue_on_error,
        timing: args.timing,
        interactive,
        interrupted: if interactive { std::sync::Arc::default() } else { interrupts.interrupted() },
    };
    let session = ClientSession::open(options, interrupts)?;
    if interactive {
        return shell::run(session, run);
    }
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout());
    let mut err = io::stderr();
    let mut runner = Runner::new(session, run, &mut out, &mut err);
    match run_inputs(&mut runner, &args.inputs.0) {
        Ok(Flow::Next) => Ok(runner.exit()),
        Ok(Flow::End(exit)) => Ok(exit),
        Err(error) => Err(Failure::usage(error)),
    }
}

/// Every input in turn; standard input where there is none.
fn run_inputs(runner: &mut Runner<'_, ClientSession>, inputs: &[Input]) -> io::Result<Flow> {
    if inputs.is_empty() {
        return Ok(runner.run(io::stdin().lock(), "standard input"));
    }
    for input in inputs {
        let flow = match input {
            Input::Command(text) => runner.run(text.as_bytes(), "-c"),
            Input::File(name) if name == "-" => runner.run(io::stdin().lock(), "standard input"),
            Input::File(name) => runner.run(fs_err::File::open(name)?, name),
        };
        if flow != Flow::Next {
            return Ok(flow);
        }
    }
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        sql: SqlArgs,
    }

    #[test]
    fn inputs_keep_the_order_of_the_command_line() {
        let program = Program::try_parse_from(["sql", "-c", "one", "-f", "two", "-c", "-- three"])
            .expect("arguments");
        assert_eq!(
            program.sql.inputs.0,
            [
                Input::Command("one".into()),
                Input::File("two".into()),
                Input::Command("-- three".into())
            ]
        );
        assert_eq!(program.sql.format, Format::Table);
    }
}

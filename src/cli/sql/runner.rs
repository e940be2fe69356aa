//! Runs what the splitter cuts: statements on the session, meta-commands here. The shell and the
//! batch mode differ only in where their input comes from.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::error::{SqlError, SqlState};
use model::value::ValueRef;
use runtime::time;

use super::catalog;
use super::format::{Column, Format, Printer};
use super::meta::{self, Meta};
use super::report::{self, Place};
use super::session::{Session, Sink, Trouble};
use super::splitter::{Piece, SplitError, Splitter};
use crate::cli::exit::Exit;

/// Input is read in such pieces.
const READ_BYTES: usize = 64 << 10;
/// Files that include each other end here.
const INCLUDE_DEPTH_MAX: usize = 16;

/// Whether to go on after a piece of input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// With the next one.
    Next,
    /// The run ends so.
    End(Exit),
}

/// How a run behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What results look like.
    pub format: Format,
    /// Whether the first error ends the run.
    pub stop_on_error: bool,
    /// Print how long each statement takes.
    pub timing: bool,
    /// A lost connection does not end the run: the next statement makes a new one.
    pub interactive: bool,
    /// Set by Ctrl-C; the run then ends after the statement that was cancelled. Never set in the
    /// shell.
    pub interrupted: Arc<AtomicBool>,
}

/// A session with the output its results go to.
pub struct Runner<'o, S> {
    session: S,
    options: Options,
    printer: Printer,
    out: &'o mut dyn Write,
    err: &'o mut dyn Write,
    failed: bool,
    include_depth: usize,
}

impl<'o, S: Session> Runner<'o, S> {
    /// A run that prints results to `out`, and errors and notices to `err`.
    pub fn new(
        session: S,
        options: Options,
        out: &'o mut dyn Write,
        err: &'o mut dyn Write,
    ) -> Self {
        let printer = Printer::new(options.format);
        Self { session, options, printer, out, err, failed: false, include_depth: 0 }
    }

    /// The session, for the prompt and completion.
    pub fn session(&mut self) -> &mut S {
        &mut self.session
    }

    /// How the run ends when its input is over.
    pub fn exit(&self) -> Exit {
        // Who sat at the shell has seen every error; leaving it is a success.
        if self.failed && !self.options.interactive { Exit::Failed } else { Exit::Done }
    }

    /// Runs all of `input`, each statement as soon as it is complete; `name` stands in errors.
    pub fn run(&mut self, mut input: impl Read, name: &str) -> Flow {
        let mut splitter = Splitter::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.local_failure(&format!("cannot read {name}: {error}")),
            };
            splitter.feed(&buffer[..read]);
            let flow = self.drain(|| splitter.next_piece(), name);
            if flow != Flow::Next {
                return flow;
            }
        }
        self.drain(|| splitter.finish(), name)
    }

    /// Runs the pieces that `next` gives until there are no more.
    pub(super) fn drain(
        &mut self,
        mut next: impl FnMut() -> Result<Option<Piece>, SplitError>,
        name: &str,
    ) -> Flow {
        loop {
            let flow = match next() {
                Ok(Some(piece)) => self.piece(&piece, name),
                Ok(None) => return Flow::Next,
                Err(error) => {
                    let too_long = matches!(error, SplitError::TooLong { .. });
                    let failure = SqlError::new(SqlState::SYNTAX_ERROR, error.to_string());
                    self.say(&report::error(&failure, "", Place { input: "", line: 0 }));
                    let flow = self.after_error();
                    // Where such a statement would end is not known: nothing can follow.
                    if too_long { Flow::End(Exit::Failed) } else { flow }
                }
            };
            if flow != Flow::Next {
                return flow;
            }
        }
    }

    /// Runs one statement or meta-command.
    pub fn piece(&mut self, piece: &Piece, input: &str) -> Flow {
        match piece {
            Piece::Statement { text, line } => self.statement(text, Place { input, line: *line }),
            Piece::Meta { text, .. } => match meta::parse(text) {
                Ok(meta) => self.meta(meta),
                Err(problem) => self.local_failure(&problem),
            },
        }
    }

    fn statement(&mut self, text: &str, place: Place<'_>) -> Flow {
        let started = time::now();
        let mut sink = PrintSink {
            printer: &mut self.printer,
            out: self.out,
            err: self.err,
            in_result: false,
        };
        let ended = self.session.execute(text, &mut sink);
        let closed = sink.close();
        let ended = ended.and_then(|()| closed.map_err(Trouble::Output));
        let ended = ended.and_then(|()| self.out.flush().map_err(Trouble::Output));
        if self.options.timing {
            let elapsed = started.elapsed();
            self.say(&format!("Time: {:.3} ms\n", elapsed.as_secs_f64() * 1e3));
        }
        match ended {
            Ok(()) => Flow::Next,
            Err(trouble) => self.trouble(trouble, text, place),
        }
    }

    /// Says what went wrong, and whether the run goes on.
    fn trouble(&mut self, trouble: Trouble, statement: &str, place: Place<'_>) -> Flow {
        match trouble {
            Trouble::Statement(error) => {
                self.say(&report::error(&error, statement, place));
                self.after_error()
            }
            Trouble::Connection(problem) => {
                self.say(&format!("phantomdb: {problem}\n"));
                self.failed = true;
                if self.options.interactive { Flow::Next } else { Flow::End(Exit::NoConnection) }
            }
            // `phantomdb sql ... | head`: the reader has seen all it wanted.
            Trouble::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Flow::End(self.exit())
            }
            Trouble::Output(error) => {
                self.say(&format!("phantomdb: cannot write the result: {error}\n"));
                Flow::End(Exit::Failed)
            }
        }
    }

    fn after_error(&mut self) -> Flow {
        self.failed = true;
        let interrupted = self.options.interrupted.load(Ordering::Relaxed);
        if self.options.stop_on_error || interrupted { Flow::End(Exit::Failed) } else { Flow::Next }
    }

    /// A failure of the shell itself: a file, a meta-command.
    fn local_failure(&mut self, problem: &str) -> Flow {
        self.say(&format!("phantomdb: {problem}\n"));
        self.after_error()
    }

    fn meta(&mut self, meta: Meta) -> Flow {
        match meta {
            Meta::Connect(Some(database)) => return self.connect(&database),
            Meta::Connect(None) | Meta::Connection => {
                let place = self.session.describe();
                return self.print(&format!("{place}\n"));
            }
            Meta::Describe(None) => return self.query(catalog::RELATIONS),
            Meta::Describe(Some(table)) => return self.describe(&table),
            Meta::List(relations) => return self.query(catalog::list(relations)),
            Meta::Timing(wanted) => {
                self.options.timing = wanted.unwrap_or(!self.options.timing);
                let state = if self.options.timing { "on" } else { "off" };
                self.say(&format!("Timing is {state}.\n"));
            }
            Meta::Expanded => {
                let state = self.printer.toggle_expanded();
                self.say(&format!("Expanded display is {state}.\n"));
            }
            Meta::Format(format) => self.printer.set_format(format),
            Meta::Include(file) => return self.include(&file),
            Meta::Echo(text) => return self.print(&format!("{text}\n")),
            Meta::StopOnError(stop) => self.options.stop_on_error = stop,
            Meta::Quit => return Flow::End(self.exit()),
            Meta::Help => return self.print(&meta::help()),
            Meta::Ignored(word) => self.say(&format!("phantomdb: {word}\n")),
        }
        Flow::Next
    }

    fn connect(&mut self, database: &str) -> Flow {
        match self.session.connect(database) {
            Ok(()) => {
                let place = self.session.describe();
                self.say(&format!("{place}\n"));
                Flow::Next
            }
            Err(trouble) => self.trouble(trouble, "", Place { input: "", line: 0 }),
        }
    }

    /// The columns of a table, then its indexes and constraints.
    fn describe(&mut self, table: &str) -> Flow {
        match catalog::columns_of(&mut self.session, table) {
            Ok(0) => self.local_failure(&format!("there is no table or view {table:?}")),
            Ok(_) => catalog::describe(table)
                .iter()
                .map(|sql| self.query(sql))
                .find(|flow| *flow != Flow::Next)
                .unwrap_or(Flow::Next),
            Err(trouble) => self.trouble(trouble, "", Place { input: "", line: 0 }),
        }
    }

    /// A statement of the shell's own.
    fn query(&mut self, sql: &str) -> Flow {
        self.statement(sql, Place { input: "", line: 0 })
    }

    fn include(&mut self, file: &str) -> Flow {
        if self.include_depth == INCLUDE_DEPTH_MAX {
            return self.local_failure(&format!(
                "{file}: files include each other more than {INCLUDE_DEPTH_MAX} deep"
            ));
        }
        let opened = match fs_err::File::open(file) {
            Ok(opened) => opened,
            Err(error) => return self.local_failure(&error.to_string()),
        };
        self.include_depth += 1;
        let flow = self.run(opened, file);
        self.include_depth -= 1;
        flow
    }

    fn print(&mut self, text: &str) -> Flow {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Ok(()) => Flow::Next,
            Err(error) => self.trouble(Trouble::Output(error), "", Place { input: "", line: 0 }),
        }
    }

    /// Says something on standard error; when that is closed there is nobody to tell.
    fn say(&mut self, text: &str) {
        let _nobody_left: io::Result<()> =
            self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }
}

/// Prints what a statement gives.
struct PrintSink<'a> {
    printer: &'a mut Printer,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    in_result: bool,
}

impl PrintSink<'_> {
    /// Ends a result that an error cut short.
    fn close(self) -> io::Result<()> {
        if self.in_result { self.printer.end(self.out) } else { Ok(()) }
    }
}

impl Sink for PrintSink<'_> {
    fn columns(&mut self, columns: &[Column]) -> io::Result<()> {
        self.in_result = true;
        self.printer.begin(columns, self.out)
    }

    fn row(&mut self, row: &[ValueRef<'_>]) -> io::Result<()> {
        self.printer.row(row, self.out)
    }

    fn complete(&mut self, tag: &str) -> io::Result<()> {
        if std::mem::take(&mut self.in_result) {
            self.printer.end(self.out)
        } else {
            self.printer.tag(tag, self.out)
        }
    }

    fn notice(&mut self, severity: &str, notice: &SqlError) {
        // As for errors: a closed standard error leaves nobody to tell.
        let _nobody_left: io::Result<()> =
            self.err.write_all(report::notice(severity, notice).as_bytes());
    }
}

#[cfg(test)]
mod tests;

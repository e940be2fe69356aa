//! The interactive shell: a line editor in front of the runner.

use std::cell::RefCell;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::rc::Rc;

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};

use super::catalog;
use super::completion::{Completion, Names};
use super::runner::{Flow, Options, Runner};
use super::session::{Session, Transaction};
use super::splitter::{Open, Splitter};
use crate::cli::exit::{Exit, Failure};

/// Statements the history keeps.
const HISTORY_ENTRIES_MAX: usize = 5_000;
/// The variable that names the history file.
const HISTORY_VARIABLE: &str = "PHANTOM_HISTORY";

/// Reads, runs and prints until the user leaves.
///
/// # Errors
/// The terminal cannot be read.
pub fn run<S: Session>(session: S, options: Options) -> Result<Exit, Failure> {
    let names: Names = Rc::new(RefCell::new(Vec::new()));
    let mut editor = editor(names.clone())
        .map_err(|error| Failure::failed(format!("no line editor: {error}")))?;
    let history = history_file();
    if let Some(path) = &history {
        // There is none before the first time; a broken one is written anew at the end.
        let _first_time: rustyline::Result<()> = editor.load_history(path);
    }
    let (mut out, mut err) = (BufWriter::new(io::stdout()), io::stderr());
    let mut shell = Shell {
        runner: Runner::new(session, options, &mut out, &mut err),
        splitter: Splitter::new(),
        names,
        entry: String::new(),
    };
    let exit = shell.converse(&mut editor);
    if let Some(path) = &history {
        save_history(&mut editor, path);
    }
    exit
}

type LineEditor = Editor<Completion, DefaultHistory>;

fn editor(names: Names) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        .max_history_size(HISTORY_ENTRIES_MAX)?
        .history_ignore_dups(true)?
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Completion::new(names)));
    Ok(editor)
}

/// Where the history is kept: `PHANTOM_HISTORY`, or a file in the user's state directory. None
/// when there is no home.
fn history_file() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(HISTORY_VARIABLE) {
        return Some(path.into()).filter(|path: &PathBuf| !path.as_os_str().is_empty());
    }
    let state = match std::env::var_os("XDG_STATE_HOME") {
        Some(state) if !state.is_empty() => PathBuf::from(state),
        _ => PathBuf::from(std::env::var_os("HOME")?).join(".local/state"),
    };
    Some(state.join("phantomdb/history"))
}

fn save_history(editor: &mut LineEditor, path: &PathBuf) {
    let directory_made = path.parent().map_or(Ok(()), fs_err::create_dir_all);
    let saved = directory_made
        .map_err(|error| error.to_string())
        .and_then(|()| editor.save_history(path).map_err(|error| error.to_string()));
    if let Err(error) = saved {
        eprintln!("phantomdb: the history is not kept: {error}");
    }
}

struct Shell<'o, S> {
    runner: Runner<'o, S>,
    splitter: Splitter,
    names: Names,
    /// The lines since the last complete statement, for the history.
    entry: String,
}

impl<S: Session> Shell<'_, S> {
    fn converse(&mut self, editor: &mut LineEditor) -> Result<Exit, Failure> {
        self.refresh_names();
        println!(
            "PhantomDB {}: {}. \\? for help, \\q to leave.",
            env!("CARGO_PKG_VERSION"),
            self.runner.session().describe()
        );
        loop {
            let prompt = prompt(self.runner.session(), self.splitter.open());
            match editor.readline(&prompt) {
                Ok(line) => {
                    if let Flow::End(exit) = self.line(&line, editor) {
                        return Ok(exit);
                    }
                }
                // Ctrl-C while typing gives up what was typed.
                Err(ReadlineError::Interrupted) => {
                    self.splitter.discard();
                    self.entry.clear();
                }
                Err(ReadlineError::Eof) => {
                    println!();
                    return Ok(Exit::Done);
                }
                Err(error) => {
                    return Err(Failure::failed(format!("cannot read the terminal: {error}")));
                }
            }
        }
    }

    fn line(&mut self, line: &str, editor: &mut LineEditor) -> Flow {
        self.entry.push_str(line);
        self.entry.push('\n');
        self.splitter.feed(line.as_bytes());
        self.splitter.feed(b"\n");
        let splitter = &mut self.splitter;
        let flow = self.runner.drain(|| splitter.next_piece(), "");
        if self.splitter.open() == Open::Nothing {
            let entry = std::mem::take(&mut self.entry);
            let entry = entry.trim_end();
            if !entry.is_empty() {
                // The history is a convenience: one that is full or too long is no error.
                let _added: rustyline::Result<bool> = editor.add_history_entry(entry);
            }
            if changes_names(entry) {
                self.refresh_names();
            }
        }
        // An error within does not end the shell; what ends it is \q.
        if flow == Flow::End(Exit::Failed) {
            self.splitter.discard();
            return Flow::Next;
        }
        flow
    }

    /// Asks for the names of tables and columns. A server that does not tell leaves completion
    /// with SQL's words.
    fn refresh_names(&mut self) {
        *self.names.borrow_mut() = catalog::names(self.runner.session()).unwrap_or_default();
    }
}

/// Whether the statement may have changed what there is to complete.
fn changes_names(entry: &str) -> bool {
    let word = entry
        .trim_start()
        .split(|c: char| c.is_whitespace())
        .next()
        .unwrap_or("")
        .to_ascii_lowercase();
    matches!(word.as_str(), "create" | "drop" | "alter" | "\\c" | "\\connect" | "\\i")
}

/// `phantom=> `, with `*` in a transaction and `!` in a failed one; `-` or what is open where a
/// statement goes on.
fn prompt(session: &impl Session, open: Open) -> String {
    let transaction = match session.transaction() {
        Transaction::None => "",
        Transaction::Open => "*",
        Transaction::Failed => "!",
    };
    let open = match open {
        Open::Nothing => "=",
        Open::Statement => "-",
        Open::String => "'",
        Open::Identifier => "\"",
        Open::DollarQuote => "$",
        Open::Comment => "/",
    };
    format!("{}{open}{transaction}> ", session.database())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_names() {
        assert!(changes_names(" CREATE TABLE t ()"));
        assert!(changes_names("\\c x"));
        assert!(!changes_names("select created from t"));
        assert!(!changes_names(""));
    }
}

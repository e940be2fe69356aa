//! The engines that scripts run on: PhantomDB over its own protocol, and PostgreSQL through `psql`,
//! which tells whether what a script expects is so.

use model::text::to_text;
use model::types::DataType;
use model::value::Value;
use phantomdb_client::blocking::Client;
use sqllogictest::{DB, DBOutput, DefaultColumnType};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Why a statement failed: the message, and the SQLSTATE where there is one.
#[derive(Debug)]
pub struct Failure {
    message: String,
    state: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// How values read in a corpus of scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As PostgreSQL prints them.
    Postgres,
    /// Booleans in full.
    Words,
}

/// One session of a server.
pub struct Phantom {
    client: Client,
    spelling: Spelling,
}

impl Phantom {
    /// Connects to `url`.
    pub fn connect(url: &str, spelling: Spelling) -> Result<Phantom, Failure> {
        let client = Client::connect(url).map_err(|error| failed(&error))?;
        Ok(Phantom { client, spelling })
    }

    fn text(&self, value: &Value, data_type: DataType) -> String {
        if let (Value::Bool(truth), Spelling::Words) = (value, self.spelling) {
            return truth.to_string();
        }
        to_text(&value.as_ref(), data_type).map_or_else(|| "NULL".to_owned(), filled)
    }
}

/// An empty string would be invisible.
fn filled(text: String) -> String {
    if text.is_empty() { "(empty)".to_owned() } else { text }
}

fn failed(error: &phantomdb_client::Error) -> Failure {
    Failure { message: error.to_string(), state: error.state().map(|state| state.to_string()) }
}

impl DB for Phantom {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let outcomes = self.client.run(sql).map_err(|error| failed(&error))?;
        let Some(last) = outcomes.last() else {
            return Ok(DBOutput::StatementComplete(0));
        };
        let Some(columns) = &last.columns else {
            return Ok(DBOutput::StatementComplete(last.affected));
        };
        let types = vec![DefaultColumnType::Any; columns.len()];
        let texts = |row: &phantomdb_client::Row| {
            let cells = row.values().iter().zip(columns.iter());
            cells.map(|(value, column)| self.text(value, column.data_type)).collect()
        };
        Ok(DBOutput::Rows { types, rows: last.rows.iter().map(texts).collect() })
    }

    fn engine_name(&self) -> &str {
        "postgresql"
    }

    fn error_sql_state(failure: &Failure) -> Option<String> {
        failure.state.clone()
    }
}

/// Separates columns in what `psql` prints.
const COLUMN_END: char = '\u{1f}';
/// Follows the answer to each statement.
const ANSWER_END: &str = "-- end of the answer --";

/// One session of PostgreSQL, behind a `psql` that is fed a statement at a time.
pub struct Postgres {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Postgres {
    /// Connects to `url`, in a schema of its own that is made anew.
    pub fn connect(url: &str, schema: &str) -> Result<Postgres, Failure> {
        let io = |error: std::io::Error| Failure { message: format!("psql: {error}"), state: None };
        // Errors must come in their place between the rows, hence one pipe, a line at a time.
        let mut child = Command::new("sh")
            .args(["-c", "exec stdbuf -oL psql -X -q -A -t -F \"$1\" -P null=NULL -d \"$0\" 2>&1"])
            .args([url, &COLUMN_END.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(io)?;
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut session = Postgres { child, input, output };
        session.run("\\set VERBOSITY sqlstate")?;
        session.run("SET client_min_messages = error")?;
        session.run(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))?;
        session.run(&format!("SET search_path = {schema}"))?;
        Ok(session)
    }
}

impl DB for Postgres {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let io = |error: std::io::Error| Failure { message: format!("psql: {error}"), state: None };
        // A semicolon of its own would be a statement of its own, which psql ignores.
        writeln!(self.input, "{sql}\n;\n\\echo '{ANSWER_END}'").map_err(io)?;
        self.input.flush().map_err(io)?;
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut state = None;
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).map_err(io)? == 0 {
                return Err(Failure { message: "psql ended".to_owned(), state: None });
            }
            let line = line.trim_end_matches('\n');
            if line == ANSWER_END {
                break;
            }
            match line.split_once("ERROR:  ") {
                Some((_, found)) => state = Some(found.to_owned()),
                None => {
                    let cells = line.split(COLUMN_END).map(|cell| filled(cell.to_owned()));
                    rows.push(cells.collect());
                }
            }
        }
        if let Some(state) = state {
            return Err(Failure { message: format!("ERROR: {state}"), state: Some(state) });
        }
        let width = rows.first().map_or(0, Vec::len);
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; width], rows })
    }

    fn engine_name(&self) -> &str {
        "postgresql"
    }

    fn error_sql_state(failure: &Failure) -> Option<String> {
        failure.state.clone()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left behind.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

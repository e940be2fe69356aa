//! Whole runs against a session that answers from a script.

use super::*;
use crate::cli::sql::session::Transaction;
use model::types::DataType;

/// Answers `SELECT n` with n rows, `FAIL` with an error, `LOST` by losing the connection, `HALF`
/// with a row and then an error, all else with its first word as the tag.
#[derive(Default)]
struct Script {
    database: String,
    executed: Vec<String>,
}

impl Session for Script {
    fn execute(&mut self, sql: &str, sink: &mut dyn Sink) -> Result<(), Trouble> {
        self.executed.push(sql.to_owned());
        let number = Column { name: "n".into(), data_type: DataType::Int8 };
        match sql.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["SELECT", rows] => {
                sink.columns(&[number]).map_err(Trouble::Output)?;
                for n in 1..=rows.parse::<i64>().unwrap_or(0) {
                    sink.row(&[ValueRef::Int(n)]).map_err(Trouble::Output)?;
                }
                sink.complete("SELECT").map_err(Trouble::Output)
            }
            ["FAIL", ..] => {
                Err(Trouble::Statement(SqlError::new(SqlState::SYNTAX_ERROR, "no").position(1)))
            }
            ["LOST", ..] => Err(Trouble::Connection("the connection is lost".into())),
            ["HALF", ..] => {
                sink.columns(&[number]).map_err(Trouble::Output)?;
                sink.row(&[ValueRef::Int(1)]).map_err(Trouble::Output)?;
                Err(Trouble::Statement(SqlError::new(SqlState::QUERY_CANCELED, "canceled")))
            }
            [first, ..] => {
                sink.notice("NOTICE", &SqlError::new(SqlState(*b"00000"), "seen"));
                sink.complete(first).map_err(Trouble::Output)
            }
            [] => Ok(()),
        }
    }

    fn connect(&mut self, database: &str) -> Result<(), Trouble> {
        if database == "missing" {
            let error = SqlError::new(
                SqlState::INVALID_CATALOG_NAME,
                "database \"missing\" does not exist",
            );
            return Err(Trouble::Statement(error));
        }
        self.database = database.to_owned();
        Ok(())
    }

    fn database(&self) -> &str {
        &self.database
    }

    fn describe(&self) -> String {
        format!("connected to {}", self.database)
    }

    fn transaction(&self) -> Transaction {
        Transaction::None
    }
}

fn options(format: Format) -> Options {
    Options {
        format,
        stop_on_error: true,
        timing: false,
        interactive: false,
        interrupted: Arc::default(),
    }
}

/// Output, errors and end of a run.
fn run_with(options: Options, input: &str) -> (String, String, Exit) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut runner = Runner::new(Script::default(), options, &mut out, &mut err);
    let exit = match runner.run(input.as_bytes(), "a.sql") {
        Flow::Next => runner.exit(),
        Flow::End(exit) => exit,
    };
    (String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"), exit)
}

fn run(input: &str) -> (String, String, Exit) {
    run_with(options(Format::Csv), input)
}

#[test]
fn rows_and_tags() {
    let (out, err, exit) = run("\\c chinook;\nCREATE x;\nSELECT 2;\nINSERT y");
    assert_eq!(out, "CREATE\nn\n1\n2\nINSERT\n");
    assert_eq!(err, "connected to chinook\nNOTICE 00000: seen\nNOTICE 00000: seen\n");
    assert_eq!(exit, Exit::Done);
}

#[test]
fn the_first_error_ends_the_run() {
    let (out, err, exit) = run("SELECT 1;\nFAIL;\nSELECT 1;");
    assert_eq!(out, "n\n1\n");
    assert_eq!(err, "ERROR 42601: no\nLINE 1: FAIL\n        ^\nIN: a.sql, line 2\n");
    assert_eq!(exit, Exit::Failed);
}

#[test]
fn errors_are_passed_over_when_asked() {
    let go_on = Options { stop_on_error: false, ..options(Format::Csv) };
    let (out, _, exit) = run_with(go_on.clone(), "FAIL; \\nonsense\nSELECT 1;");
    assert_eq!((out.as_str(), exit), ("n\n1\n", Exit::Failed));
    let (out, _, _) = run_with(go_on.clone(), "FAIL; SELECT 'a");
    assert_eq!(out, "");
    go_on.interrupted.store(true, Ordering::Relaxed);
    let (out, _, exit) = run_with(go_on, "FAIL; SELECT 1;");
    assert_eq!((out.as_str(), exit), ("", Exit::Failed), "Ctrl-C ends the run all the same");
    let (out, _, exit) = run("\\set ON_ERROR_STOP off\nFAIL; SELECT 1;");
    assert_eq!((out.as_str(), exit), ("n\n1\n", Exit::Failed));
}

#[test]
fn a_lost_connection_ends_with_its_own_code() {
    let go_on = Options { stop_on_error: false, ..options(Format::Csv) };
    let (_, err, exit) = run_with(go_on, "LOST; SELECT 1;");
    assert_eq!((err.as_str(), exit), ("phantomdb: the connection is lost\n", Exit::NoConnection));
}

#[test]
fn a_result_cut_short_is_closed() {
    let (out, err, exit) = run_with(options(Format::Json), "HALF;");
    assert_eq!(out, "[\n{\"n\":1}\n]\n");
    assert!(err.starts_with("ERROR 57014: canceled\n"));
    assert_eq!(exit, Exit::Failed);
}

#[test]
fn input_left_open_is_an_error() {
    let (out, err, exit) = run("SELECT 1; SELECT 'a");
    assert_eq!(out, "n\n1\n");
    assert_eq!(
        err,
        "ERROR 42601: the input ends inside a string; the statement begins in line 1\n"
    );
    assert_eq!(exit, Exit::Failed);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut err = Vec::new();
    let mut out = Closed;
    let mut runner = Runner::new(Script::default(), options(Format::Table), &mut out, &mut err);
    assert_eq!(runner.run("SELECT 1; SELECT 1;".as_bytes(), "-"), Flow::End(Exit::Done));
    drop(runner);
    assert_eq!(err, b"");
}

#[test]
fn files_include_files_but_not_for_ever() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("loop.sql");
    fs_err::write(&path, format!("SELECT 1;\n\\i {}\n", path.display())).expect("file");
    let (out, err, exit) = run(&format!("\\i '{}'\nSELECT 2;", path.display()));
    assert_eq!(out, "n\n1\n".repeat(INCLUDE_DEPTH_MAX));
    assert!(err.contains("include each other"), "{err}");
    assert_eq!(exit, Exit::Failed);
    let (_, err, exit) = run("\\i /nowhere.sql\n");
    assert!(err.contains("/nowhere.sql"), "{err}");
    assert_eq!(exit, Exit::Failed);
}

#[test]
fn meta_commands_act_on_the_run() {
    let (out, err, exit) = run(
        "\\format ndjson\nSELECT 1;\n\\echo 'a  b'\n\\timing on\nSELECT 0;\n\\pset x\n\\q\nSELECT 1;",
    );
    assert_eq!(out, "{\"n\":1}\na  b\n");
    assert!(err.contains("Timing is on.\nTime: "), "{err}");
    assert!(err.ends_with("\\pset has no effect here\n"), "{err}");
    assert_eq!(exit, Exit::Done);
    let (_, err, exit) = run("\\c missing\nSELECT 1;");
    assert_eq!(err, "ERROR 3D000: database \"missing\" does not exist\n");
    assert_eq!(exit, Exit::Failed);
}

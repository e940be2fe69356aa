//! Runs sqllogictest files, record by record, and gathers every record that fails.
//!
//! Two things differ from the crate's own way. A query without `ORDER BY` promises no order, so its
//! rows are compared sorted, whatever the file says. And a record that stands in
//! [`crate::differences`] is held to the answer given there.

use crate::differences::{Answer, Difference};
use sqllogictest::{
    AsyncDB, DB, DefaultColumnType, MakeConnection, Normalizer, QueryExpect, Record, Runner,
    StatementExpect, parse_with_name,
};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// How the files of a corpus are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// More values than this are given as a hash, unless the file sets a threshold; 0 is never.
    pub hash_threshold: usize,
    /// Whether each value of a result stands on a line of its own.
    pub value_a_line: bool,
}

/// Rows of values, a row a line.
pub const PLAIN: Reading = Reading { hash_threshold: 0, value_a_line: false };
/// The corpus of SQLite.
pub const SQLITE: Reading = Reading { hash_threshold: 8, value_a_line: true };

/// What running a file came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Records that were executed.
    pub executed: usize,
    /// A paragraph for each that failed.
    pub failures: Vec<String>,
}

impl Report {
    /// Fails the test when a record failed.
    pub fn check(&self, file: &str) {
        assert!(self.executed > 0, "{file}: not one record");
        let failed = self.failures.len();
        assert!(
            failed == 0,
            "{file}: {failed} of {} records failed\n\n{}",
            self.executed,
            self.failures.join("\n")
        );
    }
}

/// Runs one file on connections made by `connect`.
pub fn run_file<D, M>(
    path: &Path,
    reading: Reading,
    differences: &[Difference],
    connect: M,
) -> Report
where
    D: DB + Send + AsyncDB<ColumnType = DefaultColumnType>,
    M: MakeConnection<Conn = D>,
{
    let name = path.file_name().expect("a file").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let records = parse_with_name(&without_trailing_comments(&text), name.as_str());
    let records = records.unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut runner = Runner::new(connect);
    runner.with_hash_threshold(reading.hash_threshold);
    runner.add_label("postgresql");
    let mut report = Report::default();
    for mut record in records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        let difference = sql_of(&record)
            .and_then(|sql| differences.iter().find(|difference| difference.is_about(&name, sql)));
        if let Some(difference) = difference {
            expect(&mut record, difference.answer);
        }
        runner.with_validator(validator(&record, reading));
        let is_executed = sql_of(&record).is_some();
        match runner.run(record) {
            Ok(_) => report.executed += usize::from(is_executed),
            Err(error) => {
                report.executed += 1;
                let mut paragraph = error.to_string();
                if let Some(difference) = difference {
                    let _infallible =
                        writeln!(paragraph, "(a known difference: {})", difference.reason);
                }
                report.failures.push(paragraph);
            }
        }
    }
    runner.shutdown();
    report
}

/// `onlyif mysql # why` does not parse with the comment.
fn without_trailing_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let is_condition = line.starts_with("onlyif ") || line.starts_with("skipif ");
        let kept = line.split_once(" #").filter(|_| is_condition).map_or(line, |(kept, _)| kept);
        out.push_str(kept.trim_end_matches('\r'));
        out.push('\n');
    }
    out
}

fn sql_of(record: &Record<DefaultColumnType>) -> Option<&str> {
    match record {
        Record::Statement { sql, .. } | Record::Query { sql, .. } => Some(sql),
        _ => None,
    }
}

/// Gives `record` another answer to expect.
fn expect(record: &mut Record<DefaultColumnType>, answer: Answer) {
    let error = |state: &str| sqllogictest::ExpectedError::SqlState(state.to_owned());
    match (record, answer) {
        (Record::Statement { expected, .. }, Answer::Error(state)) => {
            *expected = StatementExpect::Error(error(state));
        }
        (Record::Statement { expected, .. }, _) => *expected = StatementExpect::Ok,
        (Record::Query { expected, .. }, Answer::Error(state)) => {
            *expected = QueryExpect::Error(error(state));
        }
        (Record::Query { expected, .. }, Answer::Rows(rows)) => {
            *expected = results(rows.iter().map(|row| (*row).to_owned()).collect());
        }
        (Record::Query { expected, .. }, Answer::AnyRows(count)) => {
            *expected = results(vec![ANY_ROW.to_owned(); count]);
        }
        _ => {}
    }
}

fn results(results: Vec<String>) -> QueryExpect<DefaultColumnType> {
    QueryExpect::Results {
        types: Vec::new(),
        sort_mode: None,
        result_mode: None,
        label: None,
        results,
    }
}

/// An expected row that any row matches.
const ANY_ROW: &str = "<any row>";

fn validator(record: &Record<DefaultColumnType>, reading: Reading) -> sqllogictest::Validator {
    if reading.value_a_line {
        return is_same_value_a_line;
    }
    match sql_of(record) {
        Some(sql) if !sql.to_ascii_lowercase().contains("order by") => is_same_sorted,
        _ => is_same,
    }
}

fn lines(normalizer: Normalizer, actual: &[Vec<String>]) -> Vec<String> {
    actual.iter().map(|row| normalizer(&row.join(" "))).collect()
}

fn is_same(normalizer: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let expected: Vec<String> = expected.iter().map(normalizer).collect();
    lines(normalizer, actual) == expected
}

fn is_same_sorted(normalizer: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    if expected.iter().any(|line| line == ANY_ROW) {
        return actual.len() == expected.len();
    }
    let mut expected: Vec<String> = expected.iter().map(normalizer).collect();
    let mut actual = lines(normalizer, actual);
    expected.sort_unstable();
    actual.sort_unstable();
    actual == expected
}

fn is_same_value_a_line(
    normalizer: Normalizer,
    actual: &[Vec<String>],
    expected: &[String],
) -> bool {
    let actual = actual.iter().flatten().map(normalizer);
    actual.eq(expected.iter().map(normalizer))
}

//! What Tab offers: meta-commands, SQL's words, the names of tables and columns, and files after
//! `\i`.

use std::cell::RefCell;
use std::rc::Rc;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::meta;

/// Words worth completing; SQL has more, and shorter ones are typed faster.
const WORDS: [&str; 96] = [
    "ADD",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "ASC",
    "AVG",
    "BEGIN",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BY",
    "BYTEA",
    "CASE",
    "CAST",
    "CHAR",
    "CHECK",
    "COALESCE",
    "COLUMN",
    "COMMIT",
    "CONSTRAINT",
    "COUNT",
    "CREATE",
    "CROSS",
    "DATABASE",
    "DATE",
    "DEFAULT",
    "DELETE",
    "DESC",
    "DISTINCT",
    "DOUBLE",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTRACT",
    "FALSE",
    "FOREIGN",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INDEX",
    "INNER",
    "INSERT",
    "INTEGER",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLIF",
    "NUMERIC",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "PARTITION",
    "PRECISION",
    "PRIMARY",
    "REAL",
    "REFERENCES",
    "RETURNING",
    "RIGHT",
    "ROLLBACK",
    "SELECT",
    "SET",
    "SHOW",
    "SMALLINT",
    "SUBSTRING",
    "SUM",
    "TABLE",
    "TEXT",
    "THEN",
    "TIMESTAMP",
    "TRUE",
    "UNION",
    "UNIQUE",
    "UPDATE",
    "USING",
    "VALUES",
    "VARCHAR",
    "VIEW",
    "WHEN",
    "WHERE",
    "WITH",
];

/// The names that completion knows; the shell refreshes them.
pub type Names = Rc<RefCell<Vec<String>>>;

/// The line editor's helper.
pub struct Completion {
    names: Names,
    files: FilenameCompleter,
}

impl Completion {
    /// Completes from `names` besides what is always there.
    pub fn new(names: Names) -> Self {
        Self { names, files: FilenameCompleter::new() }
    }
}

/// Where the word before the cursor begins, and what it could become.
pub fn complete(line: &str, names: &[String]) -> (usize, Vec<String>) {
    let start = line
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
        .map_or(0, |before| before + line[before..].chars().next().map_or(1, char::len_utf8));
    // A meta-command begins the line; its name may hold any character.
    if line.trim_start().starts_with('\\') && !line.trim_start().contains(char::is_whitespace) {
        let start = line.len() - line.trim_start().len();
        let commands = meta::COMMANDS.iter().map(|(name, _, _)| (*name).to_owned());
        return (start, commands.filter(|name| name.starts_with(&line[start..])).collect());
    }
    let word = &line[start..];
    if word.is_empty() {
        return (start, Vec::new());
    }
    let lower = word.to_lowercase();
    let typed_lower = word.chars().all(|c| !c.is_uppercase());
    let mut found: Vec<String> =
        names.iter().filter(|name| name.to_lowercase().starts_with(&lower)).cloned().collect();
    let words = WORDS.iter().filter(|candidate| candidate.to_lowercase().starts_with(&lower));
    found.extend(
        words.map(|word| if typed_lower { word.to_lowercase() } else { (*word).to_owned() }),
    );
    (start, found)
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if line.starts_with("\\i ") {
            return self.files.complete(line, position, context);
        }
        let (start, found) = complete(&line[..position], &self.names.borrow());
        let pairs = found.into_iter().map(|name| Pair { display: name.clone(), replacement: name });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Completion {
    type Hint = String;
}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, start: usize, expected: &[&str]) {
        let names = ["album", "album_id", "Artist"].map(String::from);
        let (at, found) = complete(line, &names);
        assert_eq!(
            (at, found.iter().map(String::as_str).collect::<Vec<_>>()),
            (start, expected.to_vec()),
            "{line}"
        );
    }

    #[test]
    fn words_and_names() {
        check("sel", 0, &["select"]);
        check("SEL", 0, &["SELECT"]);
        check("select * from alb", 14, &["album", "album_id"]);
        check("select a.art", 9, &["Artist"]);
        check("select (albu", 8, &["album", "album_id"]);
        check("select é", 7, &[]);
        check("select ", 7, &[]);
        check("", 0, &[]);
    }

    #[test]
    fn meta_commands() {
        check("\\ti", 0, &["\\timing"]);
        check("  \\d", 2, &["\\d", "\\dt", "\\dv", "\\di"]);
        check("\\d alb", 3, &["album", "album_id"]);
    }
}

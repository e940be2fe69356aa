//! How errors and notices are printed on standard error.
//!
//! ```text
//!   ERROR 42703: column "nmae" does not exist
//!   LINE 1: SELECT nmae FROM people
//!                  ^
//!   HINT: Perhaps you meant to reference the column "people.name".
//! ```

use std::fmt::Write as _;

use model::error::SqlError;

/// More of the statement's line than this is not shown.
const LINE_CHARS_MAX: usize = 120;

/// Where a statement stands in the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// The file's name, `-c` or the like; empty in the shell.
    pub input: &'a str,
    /// The line of the input in which the statement begins, from 1.
    pub line: usize,
}

/// The error with all it tells, each line ended.
pub fn error(error: &SqlError, statement: &str, place: Place<'_>) -> String {
    let fields = error.fields();
    let mut said = format!("ERROR {}: {}\n", fields.state, fields.message);
    if let Some(position) = fields.position {
        push_position(&mut said, statement, position);
    }
    push_fields(&mut said, error);
    if !place.input.is_empty() {
        push(&mut said, format_args!("IN: {}, line {}\n", place.input, place.line));
    }
    said
}

/// A notice with all it tells, each line ended.
pub fn notice(severity: &str, notice: &SqlError) -> String {
    let fields = notice.fields();
    let mut said = format!("{severity} {}: {}\n", fields.state, fields.message);
    push_fields(&mut said, notice);
    said
}

fn push_fields(said: &mut String, error: &SqlError) {
    let fields = error.fields();
    for (label, text) in [("DETAIL", &fields.detail), ("HINT", &fields.hint)] {
        if let Some(text) = text {
            push(said, format_args!("{label}: {text}\n"));
        }
    }
}

/// The line of the statement that holds `position` (characters, from 1), and a mark below it.
fn push_position(said: &mut String, statement: &str, position: u32) {
    let wanted = (position as usize).saturating_sub(1);
    let mut before = 0;
    for (number, line) in statement.split('\n').enumerate() {
        let chars = line.chars().count();
        if wanted > before + chars {
            before += chars + 1;
            continue;
        }
        let column = wanted - before;
        // A long line is shown from a little before the mark.
        let skipped =
            if chars > LINE_CHARS_MAX { column.saturating_sub(LINE_CHARS_MAX / 2) } else { 0 };
        let shown: String = line
            .chars()
            .skip(skipped)
            .take(LINE_CHARS_MAX)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let label = format!("LINE {}: {}", number + 1, if skipped > 0 { "..." } else { "" });
        let indent = label.len() + column - skipped;
        push(said, format_args!("{label}{}\n{:indent$}^\n", shown.trim_end(), ""));
        return;
    }
}

fn push(said: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible: std::fmt::Result = said.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::error::SqlState;

    const SHELL: Place<'_> = Place { input: "", line: 1 };

    #[test]
    fn an_error_says_all_it_knows() {
        let failure = SqlError::new(SqlState::UNDEFINED_COLUMN, "column \"nmae\" does not exist")
            .position(17)
            .detail("There is \"name\".")
            .hint("Perhaps you meant \"name\".");
        assert_eq!(
            error(&failure, "SELECT\n  id,\n   nmae", Place { input: "a.sql", line: 7 }),
            "ERROR 42703: column \"nmae\" does not exist\n\
             LINE 3:    nmae\n          \x20^\n\
             DETAIL: There is \"name\".\n\
             HINT: Perhaps you meant \"name\".\n\
             IN: a.sql, line 7\n"
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let statement = format!("SELECT {}x{}", "a".repeat(500), "b".repeat(500));
        let failure = SqlError::new(SqlState::SYNTAX_ERROR, "syntax error").position(508);
        let said = error(&failure, &statement, SHELL);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[1].len(), "LINE 1: ...".len() + LINE_CHARS_MAX);
        assert_eq!(lines[1].as_bytes()[lines[2].len() - 1], b'x');
    }

    #[test]
    fn positions_that_make_no_sense_are_not_shown() {
        for position in [0, 9, u32::MAX] {
            let failure = SqlError::new(SqlState::SYNTAX_ERROR, "syntax error").position(position);
            assert!(error(&failure, "SELECT 1", SHELL).lines().count() <= 3);
        }
    }

    #[test]
    fn notices() {
        let said = SqlError::new(SqlState(*b"00000"), "table \"t\" does not exist, skipping");
        assert_eq!(notice("NOTICE", &said), "NOTICE 00000: table \"t\" does not exist, skipping\n");
    }
}

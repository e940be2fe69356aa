//! Where in a statement's text an error lies.
//!
//! The parser notes lines and columns in the tree; errors carry characters from the start of the
//! text. The innermost node that knows its place gives it; PostgreSQL names the same places.

use super::binder::Binder;
use model::error::SqlError;
use sqlparser::ast::{Expr, ObjectName, Spanned};
use sqlparser::tokenizer::{Location, Span};
use std::sync::Arc;

/// Where the lines of a text begin, in characters.
#[derive(Debug, Clone)]
pub struct Lines(Arc<[u32]>);

impl Lines {
    /// Of the text.
    pub fn of(text: &str) -> Lines {
        let mut next = 0;
        let starts = text.split('\n').map(|line| {
            let start = next;
            next += line.chars().count() as u32 + 1;
            start
        });
        Lines(starts.collect())
    }

    /// Characters from the start of the text, from 1; `None` for a place that is none.
    pub fn position(&self, location: Location) -> Option<u32> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = u32::try_from(location.column).ok().filter(|column| *column > 0)?;
        Some(self.0.get(line)? + column)
    }
}

impl Binder<'_> {
    /// Adds the place of an expression to an error that it met, unless a part of it already has.
    pub(super) fn at_expression(&self, error: SqlError, expression: &Expr) -> SqlError {
        match expression {
            Expr::Identifier(name) => self.at(error, name.span),
            Expr::CompoundIdentifier(parts) => match parts.first() {
                Some(first) => self.at(error, first.span),
                None => error,
            },
            Expr::Function(function) => self.at_name(error, &function.name),
            _ => error,
        }
    }

    /// Adds the place of a relation's or a function's name to an error about it.
    pub(super) fn at_name(&self, error: SqlError, name: &ObjectName) -> SqlError {
        self.at(error, name.span())
    }

    fn at(&self, error: SqlError, span: Span) -> SqlError {
        let is_about_names = error.state().0.starts_with(b"42");
        if error.fields().position.is_some() || !is_about_names {
            return error;
        }
        let position = self.lines.borrow().as_ref().and_then(|lines| lines.position(span.start));
        match position {
            Some(position) => error.position(position),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let lines = Lines::of("SELECT 'grün',\n  x\n");
        let position = |line, column| lines.position(Location { line, column });
        assert_eq!(position(1, 8), Some(8));
        assert_eq!(position(2, 3), Some(18));
        assert_eq!(position(0, 0), None, "the parser does not know");
        assert_eq!(position(9, 1), None);
    }
}

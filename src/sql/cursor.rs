//! `DECLARE`, `FETCH`, `MOVE` and `CLOSE`: queries that a session reads bit by bit.
//!
//! The planner plans the query. The cursors themselves are the session's, which says what the
//! columns of a `FETCH` are.

use super::SessionSettings;
use super::binder::Binder;
use super::statement::{Planned, PlannedKind, bind_statement};
use super::table_as::into_not_allowed;
use model::error::{SqlError, SqlState};
use sqlparser::ast::{Query, Statement};

/// A parsed `DECLARE`.
#[derive(Debug, Clone, Default)]
pub struct DeclareStatement {
    pub(super) name: String,
    pub(super) binary: bool,
    pub(super) scroll: bool,
    pub(super) no_scroll: bool,
    pub(super) insensitive: bool,
    pub(super) asensitive: bool,
    pub(super) hold: bool,
    pub(super) query: Option<Box<Query>>,
    /// All of the `DECLARE`, as it was written.
    pub(super) text: String,
}

/// A parsed `FETCH` or `MOVE`.
#[derive(Debug, Clone)]
pub struct FetchStatement {
    pub(super) name: String,
    pub(super) movement: Movement,
    pub(super) moves: bool,
}

/// A parsed `CLOSE`.
#[derive(Debug, Clone)]
pub struct CloseStatement {
    /// None: all.
    pub(super) name: Option<String>,
}

/// Which way a cursor goes, and how far. Without a number: as far as there are rows. A negative
/// number goes the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// Over so many rows.
    Forward(Option<i64>),
    /// Over so many rows.
    Backward(Option<i64>),
    /// To the row of this number; below zero from the end.
    Absolute(i64),
    /// To the row so many further on.
    Relative(i64),
}

/// `DECLARE name CURSOR FOR query`
#[derive(Debug, Clone, PartialEq)]
pub struct DeclarePlan {
    /// Its name.
    pub name: String,
    /// `BINARY`: rows go to a client of the PostgreSQL protocol in binary form.
    pub binary: bool,
    /// `SCROLL`: it goes backward, too.
    pub scroll: bool,
    /// `WITH HOLD`: it stays when its transaction commits.
    pub hold: bool,
    /// The `DECLARE` as it was written.
    pub text: String,
    /// The query.
    pub inner: Planned,
}

/// `FETCH`, `MOVE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPlan {
    /// Which cursor.
    pub name: String,
    /// Where to.
    pub movement: Movement,
    /// `MOVE`: the rows are not wanted.
    pub moves: bool,
    /// Whether the cursor is one of binary rows.
    pub binary: bool,
}

impl DeclareStatement {
    pub(super) fn named(name: String) -> DeclareStatement {
        DeclareStatement { name, ..DeclareStatement::default() }
    }
}

impl Binder<'_> {
    pub(super) fn bind_declare(
        &self,
        declare: &DeclareStatement,
        settings: &SessionSettings,
    ) -> Result<PlannedKind, SqlError> {
        let both = |one: &str, other: &str| {
            let message = format!("cannot specify both {one} and {other}");
            Err(SqlError::new(SqlState::INVALID_CURSOR_DEFINITION, message))
        };
        if declare.scroll && declare.no_scroll {
            return both("SCROLL", "NO SCROLL");
        }
        if declare.insensitive && declare.asensitive {
            return both("INSENSITIVE", "ASENSITIVE");
        }
        let Some(query) = &declare.query else {
            return Err(SqlError::internal("a DECLARE without a query"));
        };
        // A cursor is declared once under its name: a kept plan would find it taken.
        self.uncacheable.set(true);
        let query = Statement::Query(query.clone());
        let (kind, columns) = bind_statement(self, &query, settings)?;
        if matches!(kind, PlannedKind::TableAs(_)) {
            return Err(into_not_allowed());
        }
        self.refuse_locking_cursor(declare)?;
        let inner = Planned { parameters: self.parameter_types(), ..self.inner(kind, columns) };
        Ok(PlannedKind::Declare(Box::new(DeclarePlan {
            name: declare.name.clone(),
            binary: declare.binary,
            scroll: declare.scroll,
            hold: declare.hold,
            text: declare.text.clone(),
            inner,
        })))
    }

    /// The rows that a cursor locks are read once, in its transaction.
    fn refuse_locking_cursor(&self, declare: &DeclareStatement) -> Result<(), SqlError> {
        let Some(locks) = self.row_locks.get() else { return Ok(()) };
        let clause = locks.command.trim_start_matches("SELECT ");
        let refused = |what: &str, kind: &str, state, verdict| {
            let message = format!("DECLARE {what} ... {clause} is not {verdict}");
            let detail = format!("{kind} cursors must be READ ONLY.");
            Err(SqlError::new(state, message).detail(detail))
        };
        let (unsupported, invalid) =
            (SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_CURSOR_DEFINITION);
        match () {
            () if declare.hold => refused("CURSOR WITH HOLD", "Holdable", unsupported, "supported"),
            () if declare.scroll => {
                refused("SCROLL CURSOR", "Scrollable", unsupported, "supported")
            }
            () if declare.insensitive => {
                refused("INSENSITIVE CURSOR", "Insensitive", invalid, "valid")
            }
            () => Ok(()),
        }
    }

    pub(super) fn bind_fetch(&self, fetch: &FetchStatement) -> PlannedKind {
        // What its columns are is the session's to say.
        self.uncacheable.set(true);
        let FetchStatement { name, movement, moves } = fetch.clone();
        PlannedKind::Fetch(FetchPlan { name, movement, moves, binary: false })
    }
}

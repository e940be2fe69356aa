//! SQL's cursors: portals that a statement declares, moves and closes.
//!
//! A cursor that only goes forward streams: nothing of it is kept but what was read last. One that
//! goes backward, too (`SCROLL`), keeps what it has read; one that outlives its transaction (`WITH
//! HOLD`) is read to its end when that commits. Both take query memory of the core, at most what
//! one statement may have (53200 beyond).

use super::portals::{Bound, Kind, Portal, State};
use super::reading::Reading;
use super::run::now_micros;
use super::tables::NamedRow;
use super::{Client, Session};
use crate::router::Snapshot;
use crate::sql::{DeclarePlan, FetchPlan, Planned};
use model::error::{SqlError, SqlState};
use model::id::Mark;
use model::value::Value;
use std::rc::Rc;
use std::sync::Arc;

/// What a `DECLARE` said.
pub(super) struct Declared {
    text: Box<str>,
    binary: bool,
    scroll: bool,
    hold: bool,
}

impl Declared {
    /// Whether it outlives its transaction.
    pub(super) fn hold(&self) -> bool {
        self.hold
    }
}

/// The error of a name that is no cursor's.
fn unknown(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}

impl Session {
    /// `DECLARE`. Outside of a transaction it is read to its end at once.
    ///
    /// # Errors
    /// 42P03 for a name that is taken, 53400 and 53200 at the bounds, and those of the query.
    pub(super) async fn declare(
        &mut self,
        plan: &DeclarePlan,
        parameters: Arc<[Value]>,
    ) -> Result<(), SqlError> {
        self.portals.check_room(&plan.name)?;
        let since = self.open.as_ref().map(|open| open.transaction.last_mark());
        let (reading, reads_at, snapshot) = match plan.inner.row_locks {
            None => self.open_cursor(plan, parameters.clone()).await?,
            Some(_) => (self.read_whole(&plan.inner, parameters.clone()).await?, None, None),
        };
        let declared = Declared {
            text: plan.text.as_str().into(),
            binary: plan.binary,
            scroll: plan.scroll,
            hold: plan.hold,
        };
        let binary = vec![plan.binary; plan.inner.columns.len()];
        let bound = Bound {
            kind: Kind::Cursor(declared),
            portal: Portal { planned: Rc::new(plan.inner.clone()), binary: binary.into() },
            parameters,
            state: State::Reading(reading),
            micros: now_micros(),
            held: self.open.is_none(),
            since,
            snapshot,
            reads_at,
        };
        self.portals.insert(plan.name.as_str().into(), bound);
        Ok(())
    }

    async fn open_cursor(
        &mut self,
        plan: &DeclarePlan,
        parameters: Arc<[Value]>,
    ) -> Result<(Reading, Option<Mark>, Option<Snapshot>), SqlError> {
        // It may be read for as long as the transaction lasts.
        let snapshot = match (self.snapshot(), &self.open) {
            (None, Some(_)) => Some(self.host.router.hold_snapshot().await?),
            _ => None,
        };
        let at = snapshot.as_ref().map(Snapshot::at).or_else(|| self.snapshot());
        self.host.router.serve().await?;
        let opened = self.open_query(&plan.inner, parameters, plan.scroll, at)?;
        let (mut reading, reads_at) = opened;
        if self.open.is_none() {
            reading.settle().await?;
        }
        Ok((reading, reads_at, snapshot))
    }

    /// `FETCH`, `MOVE`
    ///
    /// # Errors
    /// 34000 for an unknown name, 55000 for a way that it does not go, those of the query.
    pub(super) async fn fetch(
        &mut self,
        plan: &FetchPlan,
        client: &mut dyn Client,
    ) -> Result<u64, SqlError> {
        self.open_bound_portal(&plan.name).await?;
        let Some((name, mut bound)) = self.portals.remove_entry(&plan.name) else {
            return Err(unknown(&plan.name));
        };
        let fetched = match &mut bound.state {
            State::Reading(reading) => {
                let client: Option<&mut dyn Client> = if plan.moves { None } else { Some(client) };
                reading.fetch(plan.movement, client).await
            }
            _ => Ok(0),
        };
        // What a query was at when it failed is not known; a wrong way has moved nothing.
        let goes_on =
            |error: &SqlError| error.state() == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
        if fetched.as_ref().err().is_none_or(goes_on) {
            self.portals.insert(name, bound);
        }
        fetched
    }

    /// `CLOSE`
    ///
    /// # Errors
    /// 34000 for an unknown name.
    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<(), SqlError> {
        match name {
            None => self.portals.clear(),
            Some(name) => {
                self.portals.remove_entry(name).ok_or_else(|| unknown(name))?;
            }
        }
        Ok(())
    }

    /// Before a commit: reads those that outlive it to their end.
    ///
    /// # Errors
    /// 53200 where that is more than memory allows, and those of the queries.
    pub(super) async fn hold_cursors(&mut self) -> Result<(), SqlError> {
        for bound in self.portals.iter_mut() {
            if let (Kind::Cursor(Declared { hold: true, .. }), State::Reading(reading)) =
                (&bound.kind, &mut bound.state)
            {
                reading.settle().await?;
                bound.snapshot = None;
            }
        }
        Ok(())
    }

    /// What a `FETCH` says of its columns: those of the cursor, and whether their form is binary.
    /// `None` of a name that is none.
    pub(super) fn fetched_columns(&self, name: &str) -> Option<(Rc<Planned>, bool)> {
        let bound = self.portals.get(name).ok()?;
        let binary = matches!(&bound.kind, Kind::Cursor(declared) if declared.binary);
        Some((bound.portal.planned.clone(), binary))
    }

    /// `pg_cursors`
    pub(super) fn cursor_rows(&self) -> Vec<NamedRow> {
        let row = |(name, bound): (&str, &Bound)| {
            let (text, binary, scroll, hold) = match &bound.kind {
                Kind::Cursor(declared) => {
                    (&declared.text, declared.binary, declared.scroll, declared.hold)
                }
                Kind::Protocol(text) => (&text.text, false, false, false),
            };
            vec![
                ("name", Value::text(name)),
                ("statement", Value::text(&**text)),
                ("is_holdable", Value::Bool(hold)),
                ("is_binary", Value::Bool(binary)),
                ("is_scrollable", Value::Bool(scroll)),
                ("creation_time", Value::Timestamp(bound.micros)),
            ]
        };
        self.portals.in_order().into_iter().map(row).collect()
    }
}

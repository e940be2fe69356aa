//! Portals: statements with their parameters, ready to run, and read as far as the client liked.
//!
//! ```text
//!          bind            run, all rows
//!   (none) ────► Bound ──────────────────────────────► Done
//!                  │ run, n rows          rows are out   ▲
//!                  └────────────► Reading ───────────────┘
//!                                  │  ▲ run, n rows
//!                                  └──┘
//! ```
//!
//! A query that is read bit by bit stays open in its transaction: it sees the state of the moment
//! it was opened, the transaction's own changes up to a mark that is set there, and holds its place
//! in the partitions, not its rows. A change runs to its end at
//! once, and what it returns waits here. All portals end with the transaction; outside of one,
//! with the client's [`Session::sync`].

use super::block::{self, Decision, Standing, Step};
use super::cursors::Declared;
use super::guard::guarded;
use super::prepared::{Name, PreparedText, fitted};
use super::reading::Reading;
use super::run::{Source, now_micros};
use super::{Client, Interrupts, Session, Weight};
use crate::router::{OpenQuery, RowSink, Snapshot, Statement};
use crate::sql::{OutputColumn, Planned, PlannedKind};
use futures::future::{LocalBoxFuture, ready};
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use model::id::{Mark, ObjectId};
use model::time::Timestamp;
use model::value::Value;
use shards::exec::memory::Reservation;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;

/// Portals a session has at most at one time.
const PORTALS_MAX: usize = 1024;

/// A session's portals by name. Holds nothing while there are none.
#[derive(Default)]
pub(super) struct Portals {
    /// The order of its hashes shows nowhere.
    by_name: HashMap<Box<str>, Bound>,
}

pub(super) struct Bound {
    pub(super) kind: Kind,
    pub(super) portal: Portal,
    pub(super) parameters: Arc<[Value]>,
    pub(super) state: State,
    /// When it was made.
    pub(super) micros: i64,
    /// It does not end with the transaction.
    pub(super) held: bool,
    /// The last mark of the transaction when it was made.
    pub(super) since: Option<Mark>,
    /// What its query reads, where that is kept for it.
    pub(super) snapshot: Option<Snapshot>,
    /// The mark that its query reads the transaction's own changes at.
    pub(super) reads_at: Option<Mark>,
}

/// Where a portal comes from.
pub(super) enum Kind {
    /// A prepared statement that the client has bound.
    Protocol(Rc<PreparedText>),
    /// A `DECLARE`.
    Cursor(Declared),
}

/// What a client may know of a portal.
#[derive(Debug, Clone)]
pub struct Portal {
    /// Its statement.
    pub planned: Rc<Planned>,
    /// Which of the result's columns the client wants in binary form; empty where none.
    pub binary: Rc<[bool]>,
}

pub(super) enum State {
    /// Nothing of it has run.
    Bound,
    /// It runs, or has run, and has rows.
    Reading(Reading),
    /// It has run.
    Done,
}

/// How far a portal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// To its end; the client was told.
    Complete,
    /// As many rows as were asked for were returned; there may be more.
    Suspended,
}

impl Portals {
    /// All of them end.
    pub(super) fn clear(&mut self) {
        self.by_name = HashMap::default();
    }

    /// The transaction has committed: cursors that were declared to outlive it are held from now on.
    pub(super) fn committed(&mut self) {
        for bound in self.by_name.values_mut() {
            bound.held |= matches!(&bound.kind, Kind::Cursor(declared) if declared.hold());
        }
        self.end_unheld();
    }

    /// Those end that are not held.
    pub(super) fn end_unheld(&mut self) {
        self.by_name.retain(|_, bound| bound.held);
        if self.by_name.is_empty() {
            self.clear();
        }
    }

    /// Those end that were made at a mark or after it.
    pub(super) fn end_since(&mut self, mark: Mark) {
        let is_before = |at: Option<Mark>| at.is_none_or(|at| at < mark);
        let stays = |bound: &Bound| is_before(bound.since) && is_before(bound.reads_at);
        self.by_name.retain(|_, bound| bound.held || stays(bound));
    }

    /// The last mark that a query still reads at.
    pub(super) fn last_mark_read(&self) -> Option<Mark> {
        let reads = |bound: &Bound| match &bound.state {
            State::Reading(reading) if reading.has_query() => bound.reads_at,
            _ => None,
        };
        self.by_name.values().filter_map(reads).max()
    }

    /// The tables that are still being read from.
    pub(super) fn tables_read(&self) -> Vec<ObjectId> {
        let reads =
            |bound: &&Bound| matches!(&bound.state, State::Reading(reading) if reading.has_query());
        let read = self.by_name.values().filter(reads);
        read.flat_map(|bound| bound.portal.planned.tables.iter().copied()).collect()
    }

    pub(super) fn insert(&mut self, name: Box<str>, bound: Bound) {
        self.by_name.insert(name, bound);
    }

    pub(super) fn remove_entry(&mut self, name: &str) -> Option<(Box<str>, Bound)> {
        self.by_name.remove_entry(name)
    }

    /// In any order: what is done to one says nothing of another.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Bound> {
        self.by_name.values_mut()
    }

    /// By name.
    pub(super) fn in_order(&self) -> Vec<(&str, &Bound)> {
        let mut all: Vec<_> = self.by_name.iter().map(|(name, bound)| (&**name, bound)).collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    pub(super) fn get(&self, name: &str) -> Result<&Bound, SqlError> {
        self.by_name.get(name).ok_or_else(|| unknown(name))
    }

    fn take(&mut self, name: &str) -> Result<(Box<str>, Bound), SqlError> {
        self.by_name.remove_entry(name).ok_or_else(|| unknown(name))
    }

    pub(super) fn check_room(&self, name: &str) -> Result<(), SqlError> {
        if self.by_name.contains_key(name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_CURSOR,
                format!("cursor \"{name}\" already exists"),
            ));
        }
        if self.by_name.len() >= PORTALS_MAX {
            return Err(SqlError::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                format!("the session has {PORTALS_MAX} portals open"),
            )
            .hint("Close portals that are no longer needed, or end the transaction."));
        }
        Ok(())
    }
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}

impl Session {
    /// Binds a prepared statement to its parameters, as the portal `portal`; the unnamed one
    /// replaces the last. `binary` is kept for the client ([`Portal::binary`]).
    ///
    /// # Errors
    /// Those of [`Session::prepared`], 42P03 for a name that is taken, 53400 at the bound, and
    /// those of a parameter that does not fit.
    pub async fn bind(
        &mut self,
        portal: &str,
        statement: Name<'_>,
        parameters: Vec<Value>,
        binary: Vec<bool>,
    ) -> Result<(), SqlError> {
        match self.bind_known(portal, statement, parameters, binary) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error).await),
        }
    }

    fn bind_known(
        &mut self,
        name: &str,
        statement: Name<'_>,
        parameters: Vec<Value>,
        binary: Vec<bool>,
    ) -> Result<(), SqlError> {
        let (text, planned) = self.current(statement)?;
        self.refuse_planned_if_failed(&planned)?;
        if name.is_empty() {
            self.portals.by_name.remove(name);
        }
        self.portals.check_room(name)?;
        let parameters = fitted(&planned, parameters)?;
        let portal = Portal { planned, binary: binary.into() };
        let bound = Bound {
            kind: Kind::Protocol(text),
            portal,
            parameters,
            state: State::Bound,
            micros: now_micros(),
            held: false,
            since: self.open.as_ref().map(|open| open.transaction.last_mark()),
            snapshot: None,
            reads_at: None,
        };
        self.portals.by_name.insert(name.into(), bound);
        Ok(())
    }

    /// A portal's statement and formats.
    ///
    /// # Errors
    /// 34000 for an unknown name.
    pub fn portal(&self, name: &str) -> Result<Portal, SqlError> {
        Ok(self.portals.get(name)?.portal.clone())
    }

    /// Forgets a portal; one that is not there is no error.
    pub fn close_portal(&mut self, name: &str) {
        self.portals.by_name.remove(name);
    }

    /// Runs a portal until it is done or has returned `limit` rows. `more`: the client has not
    /// said that its request ends here, so that what follows belongs to the same transaction,
    /// which [`Session::sync`] ends. The client hears everything but an error, which is returned.
    ///
    /// # Errors
    /// 34000 for an unknown name, 55000 for a change that has run, those of the statement, and
    /// what interrupts it.
    pub async fn run_portal(
        &mut self,
        name: &str,
        limit: Option<NonZeroU64>,
        more: bool,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<Progress, SqlError> {
        let progress = self.run_known_portal(name, limit, more, client, interrupts).await;
        let progress = match progress {
            Ok(progress) => Ok(progress),
            Err(error) => Err(self.fail(error).await),
        };
        self.rest();
        progress
    }

    async fn run_known_portal(
        &mut self,
        name: &str,
        limit: Option<NonZeroU64>,
        more: bool,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<Progress, SqlError> {
        self.resolve_portal(name)?;
        let bound = self.portals.get(name)?;
        let planned = bound.portal.planned.clone();
        let parameters = bound.parameters.clone();
        let is_query = matches!(planned.kind, PlannedKind::Query(_));
        let text = match (&bound.kind, &bound.state) {
            (Kind::Protocol(text), _) => text.clone(),
            (Kind::Cursor(_), _) => return self.read_portal(name, limit, client, interrupts).await,
        };
        self.presence.begin(&text.text, now_micros());
        match &bound.state {
            State::Done if is_query => {
                client.complete(self.standing, 0, &planned.tag(0), true);
                return Ok(Progress::Complete);
            }
            State::Done => {
                return Err(SqlError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("portal \"{name}\" cannot be run"),
                ));
            }
            State::Reading(_) => {}
            State::Bound if limit.is_none() || planned.columns.is_empty() => {
                self.set_state(name, State::Done);
                let source = Source::Prepared(&text);
                let done =
                    self.statement(source, planned, parameters, more, client, interrupts).await?;
                client.complete(self.standing, done.rows, &done.tag, true);
                return Ok(Progress::Complete);
            }
            State::Bound if is_query && !planned.runs_to_its_end() => {
                let timeout = self.settings.statement_timeout();
                let presence = self.presence.clone();
                let opened = self.open_portal(&text, planned, parameters);
                let opened = guarded(opened, interrupts, &presence, timeout).await?;
                self.set_reading(name, opened);
            }
            // A change runs to its end, and so do some queries.
            State::Bound => {
                let mut held = Held { client, kept: self.sink() };
                let source = Source::Prepared(&text);
                let done = self
                    .statement(source, planned, parameters, more, &mut held, interrupts)
                    .await?;
                let tag = (!is_query).then_some(done.tag);
                let reading = held.kept.reading(tag);
                self.set_state(name, State::Reading(reading));
            }
        }
        self.read_portal(name, limit, client, interrupts).await
    }

    /// A portal of an `EXECUTE` becomes one of what that names, before it runs.
    fn resolve_portal(&mut self, name: &str) -> Result<(), SqlError> {
        let bound = self.portals.get(name)?;
        let (State::Bound, PlannedKind::Execute(execute)) =
            (&bound.state, &bound.portal.planned.kind)
        else {
            return Ok(());
        };
        let (execute, given) = (execute.clone(), bound.parameters.clone());
        let executed = self.executed(&execute, &given)?;
        if let Some(bound) = self.portals.by_name.get_mut(name) {
            bound.kind = Kind::Protocol(executed.text);
            bound.portal.planned = executed.planned;
            bound.parameters = executed.parameters;
        }
        Ok(())
    }

    /// A statement may have ended the transaction and its portals with it.
    fn set_state(&mut self, name: &str, state: State) {
        if let Some(portal) = self.portals.by_name.get_mut(name) {
            portal.state = state;
        }
    }

    fn set_reading(&mut self, name: &str, (reading, reads_at): (Reading, Option<Mark>)) {
        if let Some(portal) = self.portals.by_name.get_mut(name) {
            (portal.state, portal.reads_at) = (State::Reading(reading), reads_at);
        }
    }

    /// Opens a query in the session's transaction, which begins here where there is none. It reads
    /// the transaction's changes at the mark that comes with it.
    async fn open_portal(
        &mut self,
        text: &PreparedText,
        planned: Rc<Planned>,
        parameters: Arc<[Value]>,
    ) -> Result<(Reading, Option<Mark>), SqlError> {
        match block::decide(self.standing, Step::Work { more: true }) {
            Decision::BeginImplicit => self.begin(Standing::Implicit),
            Decision::Alone => {
                return Err(SqlError::unsupported("reading a query bit by bit in a saga"));
            }
            Decision::Refuse(refusal) => return Err(refusal.to_error()),
            _ => {}
        }
        // The pass is the transaction's.
        let (planned, _) = self.admit(Source::Prepared(text), planned).await?;
        self.host.router.serve().await?;
        self.open_query(&planned, parameters, false, self.snapshot())
    }

    /// Opens a query in the session's transaction, if it is in one.
    pub(super) fn open_query(
        &mut self,
        planned: &Planned,
        parameters: Arc<[Value]>,
        goes_back: bool,
        snapshot: Option<Timestamp>,
    ) -> Result<(Reading, Option<Mark>), SqlError> {
        let (query, mark) = self.open_rows(planned, parameters, snapshot)?;
        Ok((Reading::of_query(query, goes_back, self.host.router.reserve()), mark))
    }

    /// The same, for one who reads all of it at once.
    pub(super) fn open_rows(
        &mut self,
        planned: &Planned,
        parameters: Arc<[Value]>,
        snapshot: Option<Timestamp>,
    ) -> Result<(OpenQuery, Option<Mark>), SqlError> {
        let statement = Statement { snapshot, ..self.session_statement(planned, parameters) };
        let transaction = self.open.as_mut().map(|open| {
            let mark = open.transaction.set_mark();
            (&open.transaction, mark)
        });
        let query = self.host.router.open_query(&statement, transaction)?;
        Ok((query, transaction.map(|(_, mark)| mark)))
    }

    fn sink(&self) -> Rows {
        Rows { batches: VecDeque::new(), memory: self.host.router.reserve() }
    }

    /// Runs a query to its end in the session's transaction, for a cursor: all rows that it locks
    /// are locked then.
    pub(super) async fn read_whole(
        &mut self,
        planned: &Planned,
        parameters: Arc<[Value]>,
    ) -> Result<Reading, SqlError> {
        let mut kept = self.sink();
        let statement = self.session_statement(planned, parameters);
        let mark = self.last_mark_of_use();
        let transaction = self.open.as_mut().map(|open| {
            open.transaction.keep(mark);
            &mut open.transaction
        });
        self.host.router.run(&statement, transaction, &mut kept).await?;
        Ok(kept.reading(None))
    }

    /// Opens a query that was bound by the protocol and is fetched from by SQL.
    pub(super) async fn open_bound_portal(&mut self, name: &str) -> Result<(), SqlError> {
        let Ok(bound) = self.portals.get(name) else { return Ok(()) };
        let (Kind::Protocol(text), State::Bound) = (&bound.kind, &bound.state) else {
            return Ok(());
        };
        let (text, planned) = (text.clone(), bound.portal.planned.clone());
        if !matches!(planned.kind, PlannedKind::Query(_)) || planned.runs_to_its_end() {
            return Err(SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("portal \"{name}\" is no query that is read bit by bit"),
            ));
        }
        let parameters = bound.parameters.clone();
        let opened = self.open_portal(&text, planned, parameters).await?;
        self.set_reading(name, opened);
        Ok(())
    }

    /// Sends the next rows of a portal that is being read.
    async fn read_portal(
        &mut self,
        name: &str,
        limit: Option<NonZeroU64>,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<Progress, SqlError> {
        let (name, mut bound) = self.portals.take(name)?;
        let State::Reading(reading) = &mut bound.state else {
            return Err(SqlError::internal("a portal without rows is read"));
        };
        let timeout = self.settings.statement_timeout();
        let wanted = limit.map(NonZeroU64::get);
        let sent = reading.forward(wanted, Some(client));
        let rows = guarded(sent, interrupts, &self.presence, timeout).await?;
        let progress = match wanted {
            Some(wanted) if rows == wanted => Progress::Suspended,
            _ => Progress::Complete,
        };
        if progress == Progress::Complete {
            let tag = reading.tag.take().unwrap_or_else(|| bound.portal.planned.tag(rows));
            client.complete(self.standing, rows, &tag, true);
            if matches!(bound.kind, Kind::Protocol(_)) {
                bound.state = State::Done;
            }
        }
        self.portals.insert(name, bound);
        Ok(progress)
    }

    /// The end of a client's request: what was done since the last is committed, unless a block
    /// is open. Portals that are in no block end.
    ///
    /// # Errors
    /// Those of the commit.
    pub async fn sync(&mut self) -> Result<(), SqlError> {
        let committed = match self.standing {
            Standing::Implicit => {
                let committed = self.commit_open().await;
                self.rest();
                committed
            }
            _ => Ok(()),
        };
        if matches!(self.standing, Standing::Idle | Standing::Saga) {
            self.portals.end_unheld();
        }
        committed
    }
}

/// Keeps the rows of a statement for later; the rest goes to the client.
struct Held<'a> {
    client: &'a mut dyn Client,
    kept: Rows,
}

/// Rows that are kept.
struct Rows {
    batches: VecDeque<Batch>,
    memory: Reservation,
}

impl Rows {
    fn reading(self, tag: Option<String>) -> Reading {
        Reading::here(self.batches, tag, self.memory)
    }
}

impl RowSink for Held<'_> {
    fn rows(&mut self, batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        self.kept.rows(batch)
    }
}

impl RowSink for Rows {
    fn rows(&mut self, batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        let kept = self.memory.grow(batch.memory_bytes());
        if kept.is_ok() {
            self.batches.push_back(batch);
        }
        Box::pin(ready(kept))
    }
}

impl Client for Held<'_> {
    fn columns(&mut self, columns: &[OutputColumn], binary: bool) {
        self.client.columns(columns, binary);
    }

    fn notice(&mut self, weight: Weight, standing: Standing, notice: SqlError) {
        self.client.notice(weight, standing, notice);
    }

    fn complete(&mut self, standing: Standing, rows: u64, tag: &str, last: bool) {
        self.client.complete(standing, rows, tag, last);
    }
}

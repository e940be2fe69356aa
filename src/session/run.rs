//! One statement's way through the session.

use super::block::{self, Decision, Standing, Step, Warning};
use super::execute::Executed;
use super::guard::{guarded, within};
use super::planner::{self, LongText};
use super::plans::Key;
use super::prepared::{Name, PreparedText};
use super::schema::stands_by_itself;
use super::{Client, Interrupts, Session, Settings, Weight, explain, sealing};
use crate::router::gates::Pass;
use crate::router::{Snapshot, Statement};
use crate::sql::ddl::DdlStatement;
use crate::sql::{Discard, ParsedStatement, Planned, PlannedKind, SagaPlan, Verb, parse, plan};
use model::batch::Batch;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use model::time::Timestamp;
use model::types::DataType;
use model::value::Value;
use runtime::time;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// Microseconds from 1970 to 2000, where SQL's timestamps count from.
const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;

/// Where a statement comes from, to plan it again.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// The text itself, which is one statement whose plan is kept.
    Text(&'a str),
    /// One of the statements of a text.
    Parsed(&'a ParsedStatement),
    /// A prepared one.
    Prepared(&'a PreparedText),
}

/// A statement that has been carried out.
pub(super) struct Done {
    pub(super) rows: u64,
    pub(super) tag: String,
}

impl Done {
    pub(super) fn tagged(tag: &str) -> Done {
        Done { rows: 0, tag: tag.to_owned() }
    }
}

/// The time, as statements see it.
pub(super) fn now_micros() -> i64 {
    let micros = time::wall_clock().as_nanos() / 1_000;
    i64::try_from(micros).unwrap_or(i64::MAX).saturating_sub(EPOCH_2000_MICROS)
}

/// What a statement is to its block.
pub(super) fn step(kind: &PlannedKind, more: bool) -> Step {
    match kind {
        PlannedKind::Begin(_) => Step::Begin,
        PlannedKind::Saga(SagaPlan::Begin(_)) => Step::BeginSaga,
        PlannedKind::Saga(SagaPlan::Step(_)) => Step::PartOfSaga,
        PlannedKind::Saga(SagaPlan::Skip(..)) => Step::ByItself { name: "SKIP STEP", more },
        PlannedKind::Saga(SagaPlan::Commit(which)) => Step::CommitSaga { named: which.is_some() },
        PlannedKind::Saga(SagaPlan::Rollback(which)) => {
            Step::RollbackSaga { named: which.is_some() }
        }
        PlannedKind::Commit => Step::Commit,
        PlannedKind::Rollback => Step::Rollback,
        PlannedKind::Savepoint(_) => Step::Savepoint("SAVEPOINT"),
        PlannedKind::Release(_) => Step::Savepoint("RELEASE SAVEPOINT"),
        PlannedKind::RollbackTo(_) => Step::RollbackTo,
        PlannedKind::Ddl(change) => {
            Step::SchemaChange { by_itself: stands_by_itself(change), more }
        }
        PlannedKind::TableAs(_) => Step::SchemaChange { by_itself: None, more },
        PlannedKind::Maintenance(maintenance) if maintenance.verb == Verb::Vacuum => {
            Step::ByItself { name: "VACUUM", more }
        }
        PlannedKind::Wish(_) => Step::ByItself { name: "ALTER SYSTEM", more },
        PlannedKind::Discard(Discard::All) => Step::ByItself { name: "DISCARD ALL", more },
        PlannedKind::Declare(declare) if !declare.hold => {
            Step::InTransaction { name: "DECLARE CURSOR", more }
        }
        PlannedKind::LockTables => Step::InTransaction { name: "LOCK TABLE", more },
        // Its rows come in pieces, which are one transaction.
        PlannedKind::CopyIn(_) => Step::Work { more: true },
        _ => Step::Work { more },
    }
}

impl Session {
    /// Runs the statements of a text. The client hears everything but an error, which is
    /// returned; the statements behind it are not run.
    ///
    /// # Errors
    /// The first failure, and what interrupts.
    pub async fn query(
        &mut self,
        text: &str,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<(), SqlError> {
        self.presence.begin(text, now_micros());
        let result = match self.run_text(text, client, interrupts).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error).await),
        };
        self.rest();
        result
    }

    async fn run_text(
        &mut self,
        text: &str,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<(), SqlError> {
        let nothing: Arc<[Value]> = Arc::from([]);
        let kept = self.host.plans.get(self.key(text, &[]), self.catalog_version());
        if let Some(planned) = kept
            && self.standing != Standing::Failed
        {
            return self.run_kept(text, planned, client, interrupts).await;
        }
        self.host.planner.check(text)?;
        let statements = match planner::is_long(text) && self.standing != Standing::Failed {
            false => parse(text)?,
            true => {
                let (host, scope) = (self.host.clone(), self.scope.clone());
                let planning =
                    planner::plan_aside(&host, self.catalog(), text, &scope, self.tables_then());
                let timeout = self.settings.statement_timeout();
                match guarded(planning, interrupts, &self.presence, timeout).await? {
                    LongText::One(mut planned) => {
                        self.complete_plan(&mut planned);
                        return self.run_kept(text, Rc::new(*planned), client, interrupts).await;
                    }
                    LongText::Several(statements) => statements,
                }
            }
        };
        let more = statements.len() > 1;
        for (index, parsed) in statements.iter().enumerate() {
            self.refuse_if_failed(parsed)?;
            let planned = self.plan_parsed(parsed)?;
            if !more {
                self.host.plans.keep(self.key(text, &[]), &planned);
            }
            let source = Source::Parsed(parsed);
            let planned = self.wait_for_schema(source, planned, interrupts).await?;
            self.tell_all(planned.warnings.clone(), client);
            describe(&planned, client);
            let parameters = nothing.clone();
            let done =
                self.statement(source, planned, parameters, more, client, interrupts).await?;
            let last = index + 1 == statements.len();
            if last && self.standing == Standing::Implicit {
                self.commit_open().await?;
            }
            client.complete(self.standing, done.rows, &done.tag, last);
        }
        if statements.is_empty() {
            client.complete(self.standing, 0, "", true);
        }
        Ok(())
    }

    /// Runs a text that is one statement whose plan is there.
    async fn run_kept(
        &mut self,
        text: &str,
        planned: Rc<Planned>,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<(), SqlError> {
        let (source, nothing) = (Source::Text(text), Arc::from([]));
        let planned = self.wait_for_schema(source, planned, interrupts).await?;
        self.tell_all(planned.warnings.clone(), client);
        describe(&planned, client);
        let done = self.statement(source, planned, nothing, false, client, interrupts).await?;
        if self.standing == Standing::Implicit {
            self.commit_open().await?;
        }
        client.complete(self.standing, done.rows, &done.tag, true);
        Ok(())
    }

    /// What the plan of a text is kept under.
    pub(super) fn key<'a>(&'a self, text: &'a str, parameters: &'a [Option<DataType>]) -> Key<'a> {
        let scope = &self.scope;
        let (database, path) = (&*scope.database, scope.path.text());
        Key { database, role: scope.actor.role, path, text, parameters }
    }

    /// In a failed block nothing is planned but what leads out of it: names may be gone with what
    /// was rolled back.
    fn refuse_if_failed(&self, parsed: &ParsedStatement) -> Result<(), SqlError> {
        match self.standing == Standing::Failed && !parsed.leaves_failure() {
            true => Err(self.failed_block()),
            false => Ok(()),
        }
    }

    fn plan_parsed(&self, parsed: &ParsedStatement) -> Result<Rc<Planned>, SqlError> {
        let catalog = self.catalog();
        let mut planned = plan(parsed, &catalog, &self.scope, &self.tables(), &[])?;
        self.complete_plan(&mut planned);
        Ok(Rc::new(planned))
    }

    /// Plans a statement again.
    fn replan(&self, source: Source<'_>) -> Result<Rc<Planned>, SqlError> {
        match source {
            Source::Prepared(text) => self.plan_text(text),
            Source::Parsed(parsed) => self.plan_parsed(parsed),
            Source::Text(text) => match parse(text)?.as_slice() {
                [parsed] => self.plan_parsed(parsed),
                _ => Err(SqlError::internal("a kept plan of several statements")),
            },
        }
    }

    /// Runs one planned statement in its place in the block.
    pub(super) async fn statement(
        &mut self,
        source: Source<'_>,
        planned: Rc<Planned>,
        parameters: Arc<[Value]>,
        more: bool,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<Done, SqlError> {
        let (before, is_begin) = (self.standing, matches!(planned.kind, PlannedKind::Begin(_)));
        let by_itself =
            matches!(&planned.kind, PlannedKind::Ddl(change) if stands_by_itself(change).is_some());
        let done = self.carry_out(source, planned, parameters, more, client, interrupts).await;
        let is_outside = matches!(before, Standing::Idle | Standing::Saga);
        if is_outside && before == self.standing && !is_begin {
            // It was a transaction of its own.
            match &done {
                Ok(_) => self.presence.statistics().committed(),
                Err(_) => self.presence.statistics().rolled_back(),
            }
        }
        if by_itself && done.is_ok() {
            self.commit_open().await?;
        }
        done
    }

    async fn carry_out(
        &mut self,
        source: Source<'_>,
        planned: Rc<Planned>,
        parameters: Arc<[Value]>,
        more: bool,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<Done, SqlError> {
        let executed;
        let (source, planned, parameters) = match &planned.kind {
            PlannedKind::Execute(execute) => {
                executed = self.executed(execute, &parameters)?;
                let Executed { text, planned, parameters } = &executed;
                (Source::Prepared(text), planned.clone(), parameters.clone())
            }
            _ => (source, planned, parameters),
        };
        let decision = block::decide(self.standing, step(&planned.kind, more));
        if !matches!(decision, Decision::Refuse(_)) {
            self.refuse_if_read_only(&planned)?;
            self.refuse_in_saga(&planned)?;
        }
        if let Some(tag) = self.change_standing(decision, &planned, client, interrupts).await? {
            return Ok(Done::tagged(&tag));
        }
        let timeout = self.settings.statement_timeout();
        let presence = self.presence.clone();
        if let PlannedKind::Ddl(change) = &planned.kind {
            let change = self.sealed(change, client).await?;
            let changed = self.change_schema(&change);
            let told = guarded(changed, interrupts, &presence, timeout).await?;
            self.tell_all(told, client);
            return Ok(Done::tagged(&planned.tag(0)));
        }
        if matches!(planned.kind, PlannedKind::TableAs(_)) {
            let alone = self.standing == Standing::Implicit && !more;
            let made = self.make_table(source, planned, parameters, alone, client);
            return guarded(made, interrupts, &presence, timeout).await;
        }
        let work = self.work(source, planned, parameters, client);
        guarded(work, interrupts, &presence, timeout).await
    }

    /// A change without what only this session may know.
    async fn sealed<'d>(
        &self,
        change: &'d DdlStatement,
        client: &mut dyn Client,
    ) -> Result<Cow<'d, DdlStatement>, SqlError> {
        let DdlStatement::Role(statement) = change else { return Ok(Cow::Borrowed(change)) };
        let mut statement = statement.clone();
        if let Some(notice) = sealing::seal(&mut statement).await? {
            let notice = SqlError::new(SqlState::SUCCESSFUL_COMPLETION, notice);
            self.tell(Weight::Notice, notice, client);
        }
        Ok(Cow::Owned(DdlStatement::Role(statement)))
    }

    pub(super) fn warn(&self, warning: Option<Warning>, client: &mut dyn Client) {
        if let Some(warning) = warning {
            self.tell(Weight::Warning, warning.to_notice(), client);
        }
    }

    /// Tells the client what came of a change of the schema.
    pub(super) fn tell_all(&self, told: Vec<SqlError>, client: &mut dyn Client) {
        for told in told {
            let weight = match told.state() == SqlState::SUCCESSFUL_COMPLETION {
                true => Weight::Notice,
                false => Weight::Warning,
            };
            self.tell(weight, told, client);
        }
    }

    /// Tells the client something, unless it wants to hear of graver things only.
    pub(super) fn tell(&self, weight: Weight, notice: SqlError, client: &mut dyn Client) {
        if self.settings.wants(weight) {
            client.notice(weight, self.standing, notice);
        }
    }

    /// Whatever of a statement may be interrupted.
    async fn work(
        &mut self,
        source: Source<'_>,
        planned: Rc<Planned>,
        parameters: Arc<[Value]>,
        client: &mut dyn Client,
    ) -> Result<Done, SqlError> {
        match &planned.kind {
            PlannedKind::Empty => Ok(Done::tagged(&planned.tag(0))),
            PlannedKind::Wish(wish) => {
                self.wish(*wish).await?;
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::Maintenance(maintenance) => {
                for warning in maintenance.warnings() {
                    self.tell(Weight::Warning, warning, client);
                }
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::Set(set) => {
                self.change_setting(set, client)?;
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::SetTransaction(sets) => {
                let is_local = planned.as_of.is_some() || sets.iter().any(|set| set.local);
                if self.open.is_none() && is_local {
                    self.warn(Some(Warning::ModesOutside), client);
                } else {
                    self.set_modes(&planned, client)?;
                    self.read_as_of(&planned).await?;
                }
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::ImportSnapshot(id) => {
                self.import_snapshot(id, client).await?;
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::SetConfig(_) => {
                let (planned, _pass) = self.admit(source, planned).await?;
                let rows = self.set_configs(&planned, parameters, client).await?;
                Ok(Done { rows, tag: planned.tag(rows) })
            }
            // The transaction stays inside the gates of the tables.
            PlannedKind::LockTables => {
                let (planned, _pass) = self.admit(source, planned).await?;
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::Unlisten => Ok(Done::tagged(&planned.tag(0))),
            PlannedKind::Prepare(plan) => {
                self.prepare_planned(plan)?;
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::Declare(_) => {
                let (planned, _pass) = self.admit(source, planned).await?;
                let PlannedKind::Declare(plan) = &planned.kind else {
                    return Err(SqlError::internal("a cursor is planned again as something else"));
                };
                self.declare(plan, parameters).await?;
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::Fetch(plan) => {
                let rows = self.fetch(plan, client).await?;
                Ok(Done { rows, tag: planned.tag(rows) })
            }
            PlannedKind::Close(name) => {
                self.close_cursor(name.as_deref())?;
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::Deallocate(name) => {
                match name {
                    Some(name) => self.deallocate(Name::Text(name))?,
                    None => self.deallocate_named(),
                }
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::Discard(discard) => {
                if matches!(discard, Discard::All | Discard::Sequences) {
                    self.sequences.clear();
                }
                if *discard == Discard::All {
                    self.portals.clear();
                    self.deallocate_named();
                    self.restore_settings(Settings::default());
                }
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::Saga(SagaPlan::Skip(which, step)) => {
                self.skip_compensation(which, *step, client).await?;
                Ok(Done::tagged(&planned.tag(0)))
            }
            PlannedKind::Saga(_) => self.run_step(source, planned, parameters, client).await,
            PlannedKind::Show { name } => self.show(name, &planned, client).await,
            _ => {
                let (planned, _pass) = self.admit(source, planned).await?;
                let then = self.snapshot_as_of(&planned).await?;
                let then = then.as_ref().map(Snapshot::at);
                let rows = self.run(&planned, parameters, then, client).await?;
                Ok(Done { rows, tag: planned.tag(rows) })
            }
        }
    }

    /// Takes the statement through the gates of its tables, with a plan of the catalog that holds
    /// while it is inside. Outside of a block the caller keeps the pass.
    pub(super) async fn admit(
        &mut self,
        source: Source<'_>,
        mut planned: Rc<Planned>,
    ) -> Result<(Rc<Planned>, Pass), SqlError> {
        let router = self.host.router.clone();
        let (holder, lock_timeout) = (self.holder(), self.settings.lock_timeout());
        self.take_snapshot().await?;
        if let Some(changes) = self.open.as_mut().and_then(|open| open.schema.as_mut()) {
            changes.use_ids().await?;
        }
        (self.view, self.cluster) = (None, None);
        if planned.views_node {
            self.view = Some(self.node_view().await?);
        }
        if planned.views_cluster {
            self.cluster = self.look_at_cluster().await;
        }
        if planned.views_node || self.cluster.is_some() {
            planned = self.replan(source)?;
        }
        loop {
            let mut alone = Pass::of(holder);
            let pass = match &mut self.open {
                Some(open) => {
                    open.worked = true;
                    &mut open.pass
                }
                None => &mut alone,
            };
            let gates = router.gates();
            if !gates.try_enter(pass, &planned.tables) {
                within(lock_timeout, gates.enter(pass, &planned.tables)).await?;
            }
            if planned.catalog_version == self.catalog_version() {
                self.refuse_new_schema(&planned)?;
                return Ok((planned, alone));
            }
            let columns = planned.columns.clone();
            planned = self.replan(source)?;
            if planned.columns != columns {
                return Err(SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "the statement's columns changed while it waited for a schema change",
                )
                .hint("Run the statement again."));
            }
        }
    }

    /// Waits while somebody changes one of the statement's tables, before the client is told its
    /// columns: they may be others then.
    async fn wait_for_schema(
        &mut self,
        source: Source<'_>,
        planned: Rc<Planned>,
        interrupts: &dyn Interrupts,
    ) -> Result<Rc<Planned>, SqlError> {
        let gates = self.host.router.gates().clone();
        let mut planned = planned;
        while gates.is_closed(&planned.tables) {
            let (timeout, presence) = (self.settings.statement_timeout(), self.presence.clone());
            let mut alone = Pass::of(self.holder());
            let pass = self.open.as_mut().map_or(&mut alone, |open| &mut open.pass);
            let lock_timeout = self.settings.lock_timeout();
            let entered = within(lock_timeout, gates.enter(pass, &planned.tables));
            guarded(entered, interrupts, &presence, timeout).await?;
            drop(alone);
            if planned.catalog_version == self.catalog_version() {
                break;
            }
            planned = self.replan(source)?;
        }
        Ok(planned)
    }

    /// A statement as the router runs it: in what is open, or outside of any transaction.
    pub(super) fn session_statement<'p>(
        &mut self,
        planned: &'p Planned,
        parameters: Arc<[Value]>,
    ) -> Statement<'p> {
        Statement {
            planned,
            parameters,
            now_micros: self.open.as_ref().map_or_else(now_micros, |open| open.began_micros),
            snapshot: self.snapshot(),
            isolation: self.isolation(),
            lock_timeout: self.settings.lock_timeout(),
            identity: self.identity.clone(),
            sequences: self.sequences.clone(),
            presence: Some(self.presence.clone()),
            backends: self.take_backends(),
            catalog: self.own_catalog(),
        }
    }

    async fn run(
        &mut self,
        planned: &Planned,
        parameters: Arc<[Value]>,
        then: Option<Timestamp>,
        client: &mut dyn Client,
    ) -> Result<u64, SqlError> {
        let host = self.host.clone();
        let commit = self.explained_commit();
        self.presence.set_isolation(self.settings.isolation());
        let mut statement = self.session_statement(planned, parameters);
        let mark = self.last_mark_of_use();
        let transaction = match (&mut self.open, then) {
            (Some(open), None) => {
                open.transaction.keep(mark);
                Some(&mut open.transaction)
            }
            (None, None) => None,
            // What its transaction has changed was not there then.
            (_, Some(then)) => {
                statement.snapshot = Some(then);
                (statement.isolation, statement.now_micros) =
                    (Isolation::RepeatableRead, now_micros());
                None
            }
        };
        match &planned.kind {
            PlannedKind::CopyIn(copy) => self.copy_in(planned, copy, client).await,
            PlannedKind::CopyOut(copy) => {
                let backends = statement.backends.clone();
                self.copy_out(copy, backends, client).await
            }
            PlannedKind::Explain { inner, analyze } => {
                let run = explain::Run { inner, analyze: *analyze, commit };
                explain::run(&host.router, run, statement, transaction, client).await
            }
            _ => match self.ahead.current.take() {
                // Sent out before its turn, and the plan is still the one it was sent with.
                Some(ahead) if std::ptr::eq(&*ahead.planned, planned) => {
                    host.router.answer(ahead.rows, client).await
                }
                _ => host.router.run(&statement, transaction, client).await,
            },
        }
    }

    async fn show(
        &self,
        name: &str,
        planned: &Planned,
        client: &mut dyn Client,
    ) -> Result<Done, SqlError> {
        let rows: Vec<Vec<Value>> = match name {
            "all" => {
                let line = |(name, value, help): (&str, String, &str)| {
                    vec![Value::text(name), Value::text(value.as_str()), Value::text(help)]
                };
                self.settings.show_all().into_iter().map(line).collect()
            }
            name => vec![vec![Value::text(self.shown(name)?.as_str())]],
        };
        let types: Vec<DataType> = planned.columns.iter().map(|column| column.data_type).collect();
        let count = rows.len() as u64;
        client.rows(Batch::from_rows(&types, &rows)).await?;
        Ok(Done { rows: count, tag: planned.tag(count) })
    }
}

/// Tells the client the columns of a statement that has rows.
fn describe(planned: &Planned, client: &mut dyn Client) {
    if planned.has_rows() {
        let binary = matches!(&planned.kind, PlannedKind::Fetch(fetch) if fetch.binary);
        client.columns(&planned.columns, binary);
    }
}

//! The router of one core: takes planned statements, asks the partitions for their part, and sees
//! transactions to their end.
//!
//! ```text
//! Query:   snapshot ─► gather tree (exec) ─► exchanges read from partitions (gather.rs) ─► rows
//! Change:  rows by partition ─► Write to each (write.rs) ─► effects elsewhere (unique keys,
//!          references) ─► checks of referencing rows (references.rs) ─► commit (src/txn)
//! Values of sequences come from the core that counts the sequence (sequences.rs).
//! Schema:  close the tables' gates on every core ─► fill, check ─► the transaction's own catalog ─►
//!          with its commit the catalog's rows ─► publish to every core ─► open (schema.rs)
//! ```
//!
//! A statement outside of a transaction block is a transaction of its own. Where it touches one
//! partition and has no effects elsewhere, it writes and commits in one request. One that loses a
//! race (40001, 40P01) before anything of its result was sent is run again here.
//!
//! What it does not know: sessions, settings, the formats that clients speak.

pub mod cluster;
mod conflicts;
mod copy;
mod deadlocks;
pub mod gates;
mod gather;
pub mod identity;
mod leaders;
#[expect(missing_docs, reason = "the fields of the resolvers that rkyv derives have no docs")]
pub mod lease;
#[expect(missing_docs, reason = "the fields of the resolvers that rkyv derives have no docs")]
pub mod peers;
mod point;
pub mod presence;
mod publication;
mod references;
mod registry;
mod row_locks;
pub mod sagas;
mod schema;
#[expect(missing_docs, reason = "the fields of the resolvers that rkyv derives have no docs")]
pub mod sequences;
mod snapshots;
pub mod statistics;
#[cfg(test)]
mod tests;
pub mod virtual_tables;
pub mod wire;
mod write;

pub use schema::{ChangesMark, Changing, NewStorage, SchemaChanges};
pub use snapshots::{Exported, Snapshot};

use crate::catalog::Catalog;
use crate::sql::{Planned, PlannedKind, SequenceUse};
use crate::txn::{self, Finisher, Reader, Transaction};
use futures::future::LocalBoxFuture;
use gates::Gates;
use gather::PartitionGather;
use model::batch::Batch;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::{CatalogVersion, Mark, Term, TxnId};
use model::plan::Plan;
use model::time::Timestamp;
use model::value::Value;
use peers::{Answer, Call, Peers};
use presence::Presence;
use sagas::{Claims, Keeper, OwnPlans};
use sequences::{Counters, HeldSequences, StatementSequences};
use shards::core::{Engine, HeldSnapshot, Trace};
use shards::exec::backends::{Backends, Signal};
use shards::exec::memory::{MemoryAccount, Reservation};
use shards::exec::sequences::SequenceCalls;
use shards::exec::{self, ExecContext, Operator, SessionIdentity, evaluate};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often a statement that lost a race is run again.
const ATTEMPTS_MAX: u32 = 10;

/// Takes the rows of a statement.
pub trait RowSink {
    /// Takes a batch; waits while the receiver has no room.
    fn rows(&mut self, batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>>;
}

/// Limits of a router. The composition root fills them in.
#[derive(Debug, Clone)]
pub struct RouterOptions {
    /// Memory that all statements of the core may keep, in bytes.
    pub query_memory_bytes: u64,
    /// Memory that one statement may keep, in bytes.
    pub statement_memory_bytes: u64,
    /// How long a schema change waits for statements on its tables.
    pub schema_lock_timeout: Duration,
}

/// A planned statement with what it needs to run.
pub struct Statement<'a> {
    /// The plan.
    pub planned: &'a Planned,
    /// Values of its parameters.
    pub parameters: Arc<[Value]>,
    /// Microseconds since 2000-01-01 00:00 UTC, the same everywhere in the statement.
    pub now_micros: i64,
    /// What it reads; `None`: the state of now.
    pub snapshot: Option<Timestamp>,
    /// How its transaction is kept from others.
    pub isolation: Isolation,
    /// How long it waits for each lock; `None`: as long as the node allows.
    pub lock_timeout: Option<Duration>,
    /// Who runs it.
    pub identity: SessionIdentity,
    /// What its session holds of sequences.
    pub sequences: Rc<HeldSequences>,
    /// How others see its session, where it has one.
    pub presence: Option<Rc<Presence>>,
    /// The node's sessions, where it asks for them.
    pub backends: Option<Rc<dyn Backends>>,
    /// The catalog of its transaction, where that has changed it.
    pub catalog: Option<Arc<Catalog>>,
}

/// The router of one core. Clones share it.
#[derive(Clone)]
pub struct Router {
    inner: Rc<Inner>,
    engine: Engine,
}

struct Inner {
    peers: Peers,
    finisher: Finisher,
    gates: Gates,
    options: RouterOptions,
    memory: MemoryAccount,
    catalog: RefCell<Arc<Catalog>>,
    /// When it became the one.
    catalog_since: Cell<Timestamp>,
    last_row_id: Cell<i64>,
    last_snapshot: Cell<u64>,
    /// Those that this core keeps.
    snapshots: RefCell<HashMap<snapshots::SnapshotNumber, HeldSnapshot>>,
    /// Those of this core, by process.
    sessions: RefCell<HashMap<u32, Rc<Presence>>>,
    counters: Counters,
    lease: lease::Own,
    /// On the keeper.
    register: RefCell<lease::Register>,
    /// Changes of the schema that this core makes.
    changing: RefCell<BTreeSet<TxnId>>,
    /// In which term of the keeper somebody has the turn to change the schema. On the keeper.
    turn_term: Cell<Option<Term>>,
    searching: deadlocks::Searching,
    /// Of sagas, by the sessions of this core.
    claims: Claims,
    keeper: Keeper,
    own_plans: OwnPlans,
    counting: statistics::Counting,
    cluster: cluster::ClusterPart,
    /// The last version of the catalog that a change has given out, seen by others or not. On the keeper.
    schema_version: Cell<CatalogVersion>,
    /// There is no further change of the schema. On the keeper of a node that is alone.
    schema_in_doubt: Cell<bool>,
}

impl Router {
    /// The router over a core's engine. [`Router::load_catalog`] comes before the first statement.
    pub fn new(engine: Engine, peers: Peers, options: RouterOptions) -> Router {
        let finisher = Finisher::start(engine.clone());
        let memory = MemoryAccount::new(options.query_memory_bytes);
        Router {
            engine,
            inner: Rc::new(Inner {
                peers,
                finisher,
                gates: Gates::default(),
                options,
                memory,
                catalog: RefCell::new(Arc::new(Catalog::bootstrap())),
                catalog_since: Cell::default(),
                last_row_id: Cell::new(0),
                last_snapshot: Cell::new(0),
                snapshots: RefCell::default(),
                sessions: RefCell::default(),
                counters: Counters::default(),
                lease: lease::Own::default(),
                register: RefCell::default(),
                changing: RefCell::default(),
                turn_term: Cell::default(),
                searching: deadlocks::Searching::default(),
                claims: Claims::default(),
                keeper: Keeper::default(),
                own_plans: OwnPlans::default(),
                counting: statistics::Counting::default(),
                cluster: cluster::ClusterPart::default(),
                schema_version: Cell::new(CatalogVersion(0)),
                schema_in_doubt: Cell::default(),
            }),
        }
    }

    /// The catalog that statements are planned with now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner.catalog.borrow().clone()
    }

    /// The version of the catalog that statements are planned with now.
    pub fn catalog_version(&self) -> CatalogVersion {
        self.inner.catalog.borrow().version
    }

    /// The tables' gates on this core.
    pub fn gates(&self) -> &Gates {
        &self.inner.gates
    }

    /// The engine under it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same router; what it asks partitions for is told to `trace`, but not what it does behind the
    /// backs of its callers.
    pub fn traced(&self, trace: Rc<Trace>) -> Router {
        Router { inner: self.inner.clone(), engine: self.engine.traced(trace) }
    }

    /// The other cores' routers.
    pub fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    /// Bytes that statements keep now.
    pub fn memory_used(&self) -> u64 {
        self.inner.memory.used_bytes()
    }

    /// Answers another core's router. What must happen in the order of the calls does so before this
    /// returns.
    pub fn handle(&self, call: Call) -> LocalBoxFuture<'static, Result<Answer, SqlError>> {
        if call.is_about_schema() {
            return self.handle_schema_call(call);
        }
        let router = self.clone();
        Box::pin(async move { router.answer_call(call).await })
    }

    async fn answer_call(&self, call: Call) -> Result<Answer, SqlError> {
        match call {
            Call::CancelByKey(key) => {
                self.signal_here(key.process, Some(key), Signal::Cancel);
                Ok(Answer::Done)
            }
            Call::Signal(process, signal) => {
                self.signal_here(process, None, signal);
                Ok(Answer::Done)
            }
            Call::Backends => Ok(Answer::Backends(self.backends_here())),
            Call::Locks => Ok(Answer::Locks(self.engine.locks())),
            Call::GateWaits => Ok(Answer::GateWaits(self.inner.gates.waits())),
            Call::Transactions => Ok(Answer::Transactions(self.engine.transactions())),
            Call::Waits => Ok(Answer::Waits(self.waits_here())),
            Call::SearchDeadlocks => {
                self.want_search();
                Ok(Answer::Done)
            }
            Call::SessionsOf(txns) => Ok(Answer::Backends(self.sessions_of(&txns))),
            Call::Sacrifice(wait, error) => {
                Ok(Answer::Count(u64::from(self.fail_wait(wait, error))))
            }
            Call::HoldSnapshot(number, at) => self.keep_snapshot(number, at).map(|()| Answer::Done),
            Call::ReleaseSnapshot(number) => {
                self.release_snapshot(number);
                Ok(Answer::Done)
            }
            Call::Exported(process) => Ok(Answer::Exported(self.exported_here(process))),
            Call::Statistics => Ok(Answer::Statistics(self.statistics_here())),
            Call::CountSessions => Ok(Answer::Count(self.inner.sessions.borrow().len() as u64)),
            Call::Saga(call) => self.handle_saga_call(call).await,
            Call::Sequence(request) => self.count(request).await,
            Call::Lease(call) => self.handle_lease_call(call).await,
            Call::IsChanging(change) => {
                let is_changing = self.inner.changing.borrow().contains(&change);
                Ok(Answer::Count(u64::from(is_changing)))
            }
            Call::Settle(change) => self.settle_change(change).await,
            Call::Cluster(call) => self.handle_cluster_call(call).await,
            other => self.handle_schema_call(other).await,
        }
    }

    /// What a core's router does besides answering, as long as the core lives: it has its node's lease
    /// renewed, ends circles of waiting transactions, and looks after changes of the schema whose makers
    /// are gone.
    pub async fn attend(&self) {
        futures::join!(self.keep_lease(), self.break_deadlocks(), self.watch_changes());
    }

    /// Starts a transaction.
    pub fn begin(&self) -> Transaction {
        let engine = &self.engine;
        Transaction::new(TxnId { began: engine.now(), node: engine.node(), core: engine.core() })
    }

    /// Commits a transaction. A future that is dropped while it waits does so behind the caller's
    /// back.
    pub async fn commit(&self, transaction: Transaction) -> Result<(), SqlError> {
        if !transaction.participants().is_empty()
            && let Err(error) = self.serve().await
        {
            // What it has written was planned with a catalog that may be replaced by now.
            self.give_up(transaction);
            return Err(error);
        }
        self.commit_own(transaction).await
    }

    /// The same, of what is no session's: whatever catalog it was planned with.
    async fn commit_own(&self, transaction: Transaction) -> Result<(), SqlError> {
        txn::commit(&self.engine, &self.inner.finisher, transaction).await.map(drop)
    }

    /// Rolls a transaction back. A future that is dropped while it waits does so behind the caller's
    /// back.
    pub async fn rollback(&self, transaction: Transaction) {
        let mut unfinished = Unfinished { router: self, transaction: Some(transaction) };
        txn::rollback(&self.engine, &self.inner.finisher, unfinished.transaction()).await;
        unfinished.transaction = None;
    }

    /// Rolls a transaction back behind the caller's back.
    pub fn give_up(&self, transaction: Transaction) {
        self.inner.finisher.give_up(transaction);
    }

    /// Takes back what a transaction has done since a mark. After an error it can only be rolled
    /// back.
    pub async fn roll_back_to(
        &self,
        transaction: &mut Transaction,
        mark: Mark,
    ) -> Result<(), SqlError> {
        txn::roll_back_to(&self.engine, transaction, mark).await
    }

    /// Runs a query or a change: in `transaction`, or as a transaction of its own. Returns how
    /// many rows were returned or changed.
    pub async fn run(
        &self,
        statement: &Statement<'_>,
        transaction: Option<&mut Transaction>,
        out: &mut dyn RowSink,
    ) -> Result<u64, SqlError> {
        if statement.presence.is_some() {
            self.serve().await?;
        }
        statement.planned.check_parameters(statement.parameters.len())?;
        let with_session = self.with_session_values(statement)?;
        let statement = with_session.as_ref().unwrap_or(statement);
        if let (PlannedKind::Query(query), Some(_)) =
            (&statement.planned.kind, &statement.planned.row_locks)
        {
            let locked = match transaction {
                Some(transaction) => self.read_locking(&query.plan, statement, transaction).await,
                None => self.read_locking_alone(&query.plan, statement).await,
            };
            return locked?.answer(out).await;
        }
        if let PlannedKind::Query(query) = &statement.planned.kind {
            let reader = transaction.map(|transaction| transaction.reader());
            if let (Some(point), None, None) = (&query.point, &reader, statement.snapshot)
                && let Some(rows) = self.point_read(point, statement, out).await?
            {
                return Ok(rows);
            }
            return self.query(&query.plan, statement, reader, out).await;
        }
        let (rows, returned) = match transaction {
            Some(transaction) => self.change_inside(statement, transaction).await?,
            None => self.change_alone(statement).await?,
        };
        for batch in returned {
            out.rows(batch).await?;
        }
        Ok(rows)
    }

    /// A change in a transaction that goes on. At READ COMMITTED one whose rows were changed after
    /// its query had read them is taken back and run again with what is there now, of which nothing
    /// was sent yet.
    async fn change_inside(
        &self,
        statement: &Statement<'_>,
        transaction: &mut Transaction,
    ) -> Result<(u64, Vec<Batch>), SqlError> {
        let may_lose = statement.planned.changes_by_query()
            && statement.isolation == Isolation::ReadCommitted
            && statement.snapshot.is_none();
        if !may_lose {
            return self.change(statement, transaction, false).await;
        }
        let kept = transaction.mark();
        let mark = transaction.set_mark();
        transaction.keep(Some(mark));
        let mut attempt = 1;
        let changed = loop {
            let changed = self.change(statement, transaction, false).await;
            let lost = |error: &SqlError| error.state() == SqlState::SERIALIZATION_FAILURE;
            match changed {
                Err(error) if lost(&error) && attempt < ATTEMPTS_MAX => {
                    if self.roll_back_to(transaction, mark).await.is_err() {
                        break Err(error);
                    }
                    self.note_retry(statement, &error);
                    attempt += 1;
                    self.pause_before(attempt).await;
                }
                result => break result,
            }
        };
        transaction.keep(kept);
        changed
    }

    /// A change as a transaction of its own.
    async fn change_alone(&self, statement: &Statement<'_>) -> Result<(u64, Vec<Batch>), SqlError> {
        self.change_with(statement, true, async |_, _| Ok(())).await
    }

    /// A change as a transaction of its own together with `also`, which is told how many rows it
    /// changed. `alone`: `also` changes nothing.
    async fn change_with(
        &self,
        statement: &Statement<'_>,
        alone: bool,
        also: impl AsyncFn(u64, &mut Transaction) -> Result<(), SqlError>,
    ) -> Result<(u64, Vec<Batch>), SqlError> {
        let mut attempt = 1;
        loop {
            let transaction = self.begin();
            if let Some(presence) = &statement.presence {
                presence.enter(transaction.id, statement.now_micros);
            }
            let mut unfinished = Unfinished { router: self, transaction: Some(transaction) };
            let transaction = unfinished.transaction();
            let changed = match self.change(statement, transaction, alone).await {
                Ok(changed) => also(changed.0, transaction).await.map(|()| changed),
                Err(error) => Err(error),
            };
            let Some(transaction) = unfinished.transaction.take() else {
                return Err(SqlError::internal("a statement lost its transaction"));
            };
            let changed = match changed {
                Ok(changed) => {
                    let _held_off = statement.presence.as_deref().map(Presence::enter_commit);
                    let committed = match statement.presence {
                        Some(_) => self.commit(transaction).await,
                        None => self.commit_own(transaction).await,
                    };
                    committed.map(|()| changed)
                }
                Err(error) => {
                    self.rollback(transaction).await;
                    Err(error)
                }
            };
            match changed {
                Err(error) if error.state().is_retryable() && attempt < ATTEMPTS_MAX => {
                    self.note_retry(statement, &error);
                    attempt += 1;
                    self.pause_before(attempt).await;
                }
                result => return result,
            }
        }
    }

    /// Waits before what lost a race is run again.
    async fn pause_before(&self, attempt: u32) {
        let pause = runtime::random::below(u64::from(attempt) * 2_000);
        runtime::time::sleep(Duration::from_micros(pause)).await;
    }

    /// The time, as statements see it.
    fn now_micros(&self) -> i64 {
        let micros = self.engine.now().0 / 1_000;
        micros.saturating_sub(write::EPOCH_2000_MICROS) as i64
    }

    /// Runs a query's plan.
    async fn query(
        &self,
        plan: &Plan,
        statement: &Statement<'_>,
        reader: Option<Reader>,
        out: &mut dyn RowSink,
    ) -> Result<u64, SqlError> {
        let mut query = self.open(plan, statement, reader, None)?;
        let mut rows = 0;
        while let Some(batch) = query.next().await? {
            rows += batch.rows() as u64;
            out.rows(batch).await?;
        }
        Ok(rows)
    }

    /// Opens a query, to be read as its receiver likes: in `transaction`, whose changes so far it
    /// sees, or outside of any. It reads the state of now however long it takes: of its transaction
    /// what was changed before `seen`. The caller stays inside the gates of its tables until it is
    /// dropped.
    ///
    /// # Errors
    /// What of the plan is evaluated before it reads; `XX000` where the statement is no query.
    pub fn open_query(
        &self,
        statement: &Statement<'_>,
        transaction: Option<(&Transaction, Mark)>,
    ) -> Result<OpenQuery, SqlError> {
        statement.planned.check_parameters(statement.parameters.len())?;
        let with_session = self.with_session_values(statement)?;
        let statement = with_session.as_ref().unwrap_or(statement);
        match &statement.planned.kind {
            PlannedKind::Query(_) if statement.planned.row_locks.is_some() => {
                Err(SqlError::unsupported("locking rows of a query that is read bit by bit"))
            }
            PlannedKind::Query(query) => {
                let (reader, seen) = match transaction {
                    Some((transaction, seen)) => (Some(transaction.reader()), Some(seen)),
                    None => (None, None),
                };
                self.open(&query.plan, statement, reader, seen)
            }
            _ => Err(SqlError::internal("only queries are read bit by bit")),
        }
    }

    fn open(
        &self,
        plan: &Plan,
        statement: &Statement<'_>,
        reader: Option<Reader>,
        seen: Option<Mark>,
    ) -> Result<OpenQuery, SqlError> {
        self.may_serve()?;
        let snapshot = self.snapshot_of(statement);
        let context = self.context(statement, snapshot, statement.isolation, reader, seen);
        Ok(OpenQuery { operator: exec::open(plan, &context)? })
    }

    /// Memory of one statement, for rows that its session keeps.
    pub fn reserve(&self) -> Reservation {
        let inner = &*self.inner;
        inner.memory.child(inner.options.statement_memory_bytes).reserve()
    }

    /// The values of expressions without columns.
    ///
    /// # Errors
    /// Those of evaluating them.
    pub fn constants(
        &self,
        expressions: &[Expression],
        parameters: Arc<[Value]>,
        now_micros: i64,
        identity: &SessionIdentity,
    ) -> Result<Vec<Value>, SqlError> {
        let inner = &*self.inner;
        let memory = inner.memory.child(inner.options.statement_memory_bytes);
        let mut context = ExecContext::new(parameters, now_micros, memory);
        context.identity = identity.clone();
        let value = |expression| evaluate::evaluate_constant(expression, &context);
        expressions.iter().map(value).collect()
    }

    /// The statement with what it takes of its session, where it takes something.
    fn with_session_values<'a>(
        &self,
        statement: &Statement<'a>,
    ) -> Result<Option<Statement<'a>>, SqlError> {
        let wanted = &statement.planned.session_values;
        if wanted.is_empty() {
            return Ok(None);
        }
        let held = Rc::clone(&statement.sequences);
        let source = StatementSequences::new(self.clone(), held, statement.catalog.clone());
        let taken = wanted.iter().map(|wanted| source.session_value(*wanted).map(Value::Int));
        let taken: Vec<Value> = taken.collect::<Result<_, SqlError>>()?;
        let parameters = statement.parameters.iter().cloned().chain(taken).collect();
        Ok(Some(Statement {
            planned: statement.planned,
            parameters,
            now_micros: statement.now_micros,
            snapshot: statement.snapshot,
            isolation: statement.isolation,
            lock_timeout: statement.lock_timeout,
            identity: statement.identity.clone(),
            sequences: Rc::clone(&statement.sequences),
            presence: statement.presence.clone(),
            backends: statement.backends.clone(),
            catalog: statement.catalog.clone(),
        }))
    }

    /// The catalog that a statement was planned with.
    fn catalog_of(&self, statement: &Statement<'_>) -> Arc<Catalog> {
        statement.catalog.clone().unwrap_or_else(|| self.catalog())
    }

    /// What a statement reads: the transaction's snapshot, or one of now.
    fn snapshot_of(&self, statement: &Statement<'_>) -> Timestamp {
        statement.snapshot.unwrap_or_else(|| self.engine.now())
    }

    /// What operators of the statement need: all partitions at a snapshot, its own memory.
    fn context(
        &self,
        statement: &Statement<'_>,
        snapshot: Timestamp,
        isolation: Isolation,
        reader: Option<Reader>,
        seen: Option<Mark>,
    ) -> Rc<ExecContext> {
        Rc::new(self.context_with(statement, snapshot, isolation, reader, seen))
    }

    fn context_with(
        &self,
        statement: &Statement<'_>,
        snapshot: Timestamp,
        isolation: Isolation,
        reader: Option<Reader>,
        seen: Option<Mark>,
    ) -> ExecContext {
        let inner = &*self.inner;
        let memory = inner.memory.child(inner.options.statement_memory_bytes);
        let mut context =
            ExecContext::new(statement.parameters.clone(), statement.now_micros, memory);
        context.identity = statement.identity.clone();
        context.backends = statement.backends.clone();
        let (engine, lock_timeout) = (self.engine.clone(), statement.lock_timeout);
        let gather = PartitionGather::new(engine, snapshot, reader, seen, isolation, lock_timeout);
        context.gather = Some(Rc::new(gather));
        if statement.planned.sequences != SequenceUse::None {
            let held = Rc::clone(&statement.sequences);
            let source = StatementSequences::new(self.clone(), held, statement.catalog.clone());
            context.sequences = Some(Rc::new(SequenceCalls::new(Rc::new(source))));
        }
        context
    }
}

/// A query that is being read. Dropping it ends it in the partitions, too.
pub struct OpenQuery {
    operator: Box<dyn Operator>,
}

impl OpenQuery {
    /// The next rows; none at the end.
    ///
    /// # Errors
    /// The query's. It is at its end then.
    pub async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        self.operator.next().await
    }
}

/// A transaction that nobody else holds. Who is dropped where it waits has it rolled back: its locks
/// must not outlive him.
struct Unfinished<'a> {
    router: &'a Router,
    transaction: Option<Transaction>,
}

impl Unfinished<'_> {
    fn transaction(&mut self) -> &mut Transaction {
        self.transaction.get_or_insert_with(|| self.router.begin())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.router.give_up(transaction);
        }
    }
}

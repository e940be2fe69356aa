//! Changes of the schema: part of the transaction that makes them, and at the end of it seen by all.
//!
//! ```text
//! the first change of a transaction ─► the turn (the keeper), kept to the end of the transaction
//! each ─► compute it, on top of those before ─► close the gates of the tables it touches, on every core
//!   of the cluster
//!   ─► fill new indexes, check rows ─► the transaction's own catalog, which its statements see
//! COMMIT ─► the catalog's rows, in the transaction ─► commit ─► publish to every core ─► open the gates
//!   ─► give the turn back
//! ROLLBACK ─► roll back ─► open the gates ─► give the turn back
//! ROLLBACK TO ─► the catalog of then ─► open the gates that were closed since
//! ```
//!
//! A commit runs in a task of its own to its end, whatever becomes of the session. Nobody comes into the
//! tables before all cores have the catalog that the outcome says.
//!
//! Keys of an index, or of a table's new storage, are written in transactions of their own, since there
//! may be more of them than one may hold. They are harmless: nothing reads them before the change is
//! there, and the id is stored as used up before the first of them is written, so that it is given to
//! no other object. What is read to make them is read in the transaction, which sees its own rows.
//!
//! # In a cluster
//!
//! **Who commits** is decided by the row of the catalog's counters: a change reads it in its transaction,
//! with its lock, and writes it only where it has the version that the change began with. So of two changes
//! that began with the same catalog one commits (40001 for the other), whoever had the turn; the turn
//! keeps them from meeting there. Raising that version ends all changes that have not committed: a
//! *fence* ([`cluster`]). The keeper raises it before the first turn of its term, since it does not know who
//! had the turn before, and when the maker of a change is gone.
//!
//! **Who is told**: every core of the nodes that may serve statements ([`super::lease`]). Who cannot be
//! reached is waited for until it may serve no more.

mod changes;
mod checks;
mod cluster;
mod conversion;
mod fill;
mod rows;
mod table_as;

pub use changes::{ChangesMark, Changing, SchemaChanges};
pub(super) use rows::upsert;
pub use table_as::NewStorage;

use super::gates::TURN;
use super::lease::{LEASE, MARGIN};
use super::peers::{Answer, Call};
use super::publication::Publication;
use super::{Router, Unfinished};
use crate::catalog::Catalog;
use crate::catalog::change::difference;
use crate::txn::{Reader, Transaction};
use changes::Ending;
use futures::future::{FutureExt, LocalBoxFuture, ready};
use model::command::{Fragment, Isolation};
use model::error::{SqlError, SqlState};
use model::id::{CatalogVersion, Term, TxnId};
use model::plan::{Access, KeyBounds, Plan, Scan};
use model::schema::Table;
use runtime::sync::oneshot;
use std::sync::Arc;
use std::time::Duration;

/// How long a change that has committed tries to tell a node that may serve.
const PUBLISH_MAX: Duration = LEASE.saturating_add(MARGIN).saturating_add(MARGIN);

/// Whether a change that has failed may be there all the same.
fn is_in_doubt(error: &SqlError) -> bool {
    error.state() == SqlState::STATEMENT_COMPLETION_UNKNOWN
}

impl Router {
    /// Commits a transaction together with what it has changed of the schema, to the end whatever
    /// becomes of the caller.
    ///
    /// # Errors
    /// Those of the commit. Nothing has changed then, unless it is not known (40003).
    pub async fn commit_with_schema(
        &self,
        transaction: Transaction,
        changes: SchemaChanges,
    ) -> Result<(), SqlError> {
        let (sender, receiver) = oneshot::channel();
        let router = self.clone();
        let commit = async move {
            let committed = router.commit_changes(transaction, changes).await;
            // A session that has gone does not want to know.
            let _gone = sender.send(committed);
        };
        runtime::task::spawn("commit of a schema change", commit).detach();
        receiver.await.map_err(|_closed| SqlError::internal("a schema change broke off"))?
    }

    async fn commit_changes(
        &self,
        mut transaction: Transaction,
        changes: SchemaChanges,
    ) -> Result<(), SqlError> {
        let Some(catalog) = changes.committed() else {
            let committed = self.commit(transaction).await;
            changes.end().await;
            return committed;
        };
        if let Err(error) = self.write_changes(&mut transaction, &changes, &catalog).await {
            self.rollback(transaction).await;
            changes.end().await;
            return Err(error);
        }
        if let Err(error) = self.commit(transaction).await {
            let ending = if is_in_doubt(&error) { Ending::InDoubt } else { Ending::Known };
            changes.end_as(ending).await;
            return Err(error);
        }
        let call = Call::Publish(Publication::Catalog(Arc::new(catalog)));
        let published = self.tell_serving(changes.places(), call, PUBLISH_MAX).await;
        changes.end().await;
        match published {
            // It is committed all the same, and who was not told hears of it with its next lease.
            Err(error) if !self.peers().is_alone() => {
                log::warn!("a change of the schema that is committed was not told to all: {error}");
                Ok(())
            }
            published => published.map(drop),
        }
    }

    async fn write_changes(
        &self,
        transaction: &mut Transaction,
        changes: &SchemaChanges,
        catalog: &Catalog,
    ) -> Result<(), SqlError> {
        let stored = difference(changes.base(), catalog)?;
        self.write_catalog(transaction, &stored, changes.base()).await
    }

    /// Writes something in a transaction of its own, which is rolled back where it is broken off.
    async fn in_own_transaction(
        &self,
        write: impl AsyncFnOnce(&mut Transaction) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let transaction = self.begin();
        let mut unfinished = Unfinished { router: self, transaction: Some(transaction) };
        let written = write(unfinished.transaction()).await;
        let Some(transaction) = unfinished.transaction.take() else {
            return Err(SqlError::internal("a change of the schema lost its transaction"));
        };
        match written {
            Ok(()) => self.commit_own(transaction).await,
            Err(error) => {
                self.rollback(transaction).await;
                Err(error)
            }
        }
    }

    /// A read of our own, now, which sees what the reader's transaction has changed.
    fn fragment(&self, scan: Scan, reader: Option<&Reader>) -> Fragment {
        Fragment {
            plan: Arc::new(Plan::Scan(scan)),
            parameters: Arc::from([]),
            snapshot: self.engine().now(),
            txn: reader.map(|reader| reader.id),
            seen: None,
            isolation: Isolation::ReadCommitted,
            now_micros: 0,
            lock_timeout: None,
        }
    }

    /// What another core asks about the schema; places at the gates are taken before this returns.
    pub(super) fn handle_schema_call(
        &self,
        call: Call,
    ) -> LocalBoxFuture<'static, Result<Answer, SqlError>> {
        let inner = &*self.inner;
        match call {
            Call::BeginChange { change, limit } => {
                let Some(term) = self.keeps() else {
                    return ready(Ok(self.not_the_keeper())).boxed_local();
                };
                if !inner.gates.is_closed(&[TURN]) {
                    inner.turn_term.set(Some(term));
                }
                let closing = inner.gates.close(change, None, Arc::from([TURN]));
                let router = self.clone();
                return Box::pin(async move {
                    let closing = within(limit, closing);
                    closing.await.map_err(|error| waited_too_long(error, "the schema"))?;
                    let handed = router.hand_over_turn(change, term).await;
                    if !matches!(handed, Ok(Answer::Turn { .. })) {
                        router.gates().open(change, &[TURN]);
                    }
                    handed
                });
            }
            Call::EndChange { change, version, in_doubt } => {
                inner.schema_version.set(inner.schema_version.get().max(version));
                if !self.peers().is_alone() {
                    return self.clone().end_turn(change).boxed_local();
                }
                if in_doubt {
                    inner.schema_in_doubt.set(true);
                    log::error!(
                        "it is not known what has become of a change of the schema: there is none, \
                         and nobody comes into its tables, until the node is restarted"
                    );
                }
                inner.gates.open(change, &[TURN]);
            }
            Call::CloseGates { change, by, tables, limit } => {
                let closing = inner.gates.close(change, Some(by), tables);
                return within(Some(limit), closing)
                    .map(|closed| match closed {
                        Ok(()) => Ok(Answer::Done),
                        Err(error) => Err(waited_too_long(error, "the tables concerned")),
                    })
                    .boxed_local();
            }
            Call::OpenGates(change, tables) => inner.gates.open(change, &tables),
            Call::Publish(Publication::Catalog(catalog)) => self.adopt(catalog),
            Call::Publish(Publication::Stored(version)) => {
                let router = self.clone();
                return async move { router.publish_stored(version).await }.boxed_local();
            }
            _ => return ready(Err(SqlError::internal("no call about the schema"))).boxed_local(),
        }
        ready(Ok(Answer::Done)).boxed_local()
    }

    async fn hand_over_turn(&self, change: TxnId, term: Term) -> Result<Answer, SqlError> {
        let inner = &*self.inner;
        if !self.peers().is_alone() {
            return self.hand_over_turn_of(change, term).await;
        }
        if !inner.schema_in_doubt.get() {
            let version = inner.schema_version.get();
            return Ok(Answer::Turn { version, serving: Vec::new() });
        }
        Err(SqlError::new(
            SqlState::CANNOT_CONNECT_NOW,
            "it is not known what has become of an earlier change of the schema",
        )
        .hint("The node knows when it has been restarted."))
    }

    /// Another node has changed the schema to this version.
    async fn publish_stored(&self, version: CatalogVersion) -> Result<Answer, SqlError> {
        self.adopt_stored().await?;
        match self.catalog_version() >= version {
            true => Ok(Answer::Done),
            false => Err(SqlError::internal(format!(
                "version {version} of the catalog is published, but an older one is stored"
            ))),
        }
    }

    /// Uses the catalog that is stored from now on.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn adopt_stored(&self) -> Result<(), SqlError> {
        if let Some(catalog) = self.stored_catalog().await? {
            self.adopt(Arc::new(catalog));
        }
        Ok(())
    }

    /// Uses a catalog from now on, unless a later one is in use already: what is read while another is
    /// published may be the older.
    fn adopt(&self, catalog: Arc<Catalog>) {
        let inner = &*self.inner;
        let age = |catalog: &Catalog| (catalog.version, catalog.next_object);
        if age(&catalog) < age(&inner.catalog.borrow()) {
            return;
        }
        let before = inner.catalog.replace(catalog.clone());
        if before.version != catalog.version {
            inner.counters.keep_those_of(&catalog);
            inner.catalog_since.set(self.engine.now());
        }
    }
}

/// Waits no longer than this.
async fn within(
    limit: Option<Duration>,
    closing: impl Future<Output = Result<(), SqlError>>,
) -> Result<(), SqlError> {
    let Some(limit) = limit else { return closing.await };
    match runtime::time::timeout(limit, closing).await {
        Ok(closed) => closed,
        Err(_late) => Err(SqlError::new(
            SqlState::LOCK_NOT_AVAILABLE,
            "canceling statement due to lock timeout",
        )),
    }
}

/// The same, and what it was.
fn waited_too_long(error: SqlError, what: &str) -> SqlError {
    match error.state() == SqlState::LOCK_NOT_AVAILABLE {
        true => error
            .detail(format!("Transactions that use {what} did not end in time."))
            .hint("End the open transactions, then try again."),
        false => error,
    }
}

/// These columns of all rows of a table.
fn scan(table: &Arc<Table>, columns: &[usize]) -> Scan {
    Scan {
        table: Arc::clone(table),
        access: Access::PrimaryKey(KeyBounds::default()),
        columns: columns.to_vec(),
        filter: None,
        reverse: false,
        lock: false,
        limit: None,
    }
}

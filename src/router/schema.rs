//! Changes of the schema: part of the transaction that makes them, and at the end of it seen by all.
//!
//! ```text
//! the first change of a transaction ─► the turn (core 0), kept to the end of the transaction
//! each ─► compute it, on top of those before ─► close the gates of the tables it touches, on every core
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

mod changes;
mod checks;
mod conversion;
mod fill;
mod rows;
mod table_as;

pub use changes::{ChangesMark, Changing, SchemaChanges};
pub(super) use rows::upsert;
pub use table_as::NewStorage;

use super::gates::TURN;
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
use model::id::{CatalogVersion, CoreId, TxnId};
use model::plan::{Access, KeyBounds, Plan, Scan};
use model::schema::Table;
use runtime::sync::oneshot;
use std::sync::Arc;
use std::time::Duration;

/// Core that keeps the turn.
const TURN_CORE: CoreId = CoreId(0);

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
            // What cannot be told is rolled back by the partition itself after a while.
            let _told = self.rollback(transaction).await;
            changes.end().await;
            return Err(error);
        }
        if let Err(error) = self.commit(transaction).await {
            let ending = if is_in_doubt(&error) { Ending::InDoubt } else { Ending::Known };
            changes.end_as(ending).await;
            return Err(error);
        }
        let published =
            self.peers().call_all(Call::Publish(Publication::Catalog(Arc::new(catalog)))).await;
        changes.end().await;
        published.map(drop)
    }

    async fn write_changes(
        &self,
        transaction: &mut Transaction,
        changes: &SchemaChanges,
        catalog: &Catalog,
    ) -> Result<(), SqlError> {
        self.write_catalog(transaction, &difference(changes.base(), catalog)?).await
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
            Ok(()) => self.commit(transaction).await,
            Err(error) => {
                // What cannot be told is rolled back by the partition itself after a while.
                let _told = self.rollback(transaction).await;
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
                let closing = inner.gates.close(change, None, Arc::from([TURN]));
                let router = self.clone();
                return Box::pin(async move {
                    let closing = within(limit, closing);
                    closing.await.map_err(|error| waited_too_long(error, "the schema"))?;
                    router.hand_over_turn(change)
                });
            }
            Call::EndChange { change, version, in_doubt } => {
                inner.schema_version.set(inner.schema_version.get().max(version));
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
            Call::Publish(Publication::Catalog(catalog)) => self.publish(catalog),
            Call::Publish(Publication::Stored(version)) => {
                let router = self.clone();
                return async move { router.publish_stored(version).await }.boxed_local();
            }
            _ => return ready(Err(SqlError::internal("no call about the schema"))).boxed_local(),
        }
        ready(Ok(Answer::Done)).boxed_local()
    }

    fn hand_over_turn(&self, change: TxnId) -> Result<Answer, SqlError> {
        let inner = &*self.inner;
        if !inner.schema_in_doubt.get() {
            return Ok(Answer::Version(inner.schema_version.get()));
        }
        inner.gates.open(change, &[TURN]);
        Err(SqlError::new(
            SqlState::CANNOT_CONNECT_NOW,
            "it is not known what has become of an earlier change of the schema",
        )
        .hint("The node knows when it has been restarted."))
    }

    /// Another node has changed the schema to this version.
    async fn publish_stored(&self, version: CatalogVersion) -> Result<Answer, SqlError> {
        match self.stored_catalog().await? {
            // A later one may have been published meanwhile.
            Some(catalog) if catalog.version >= version.max(self.catalog().version) => {
                self.publish(Arc::new(catalog));
            }
            Some(catalog) if catalog.version >= version => {}
            _ => {
                return Err(SqlError::internal(format!(
                    "version {version} of the catalog is published, but an older one is stored"
                )));
            }
        }
        Ok(Answer::Done)
    }

    fn publish(&self, catalog: Arc<Catalog>) {
        let inner = &*self.inner;
        let before = inner.catalog.replace(catalog.clone());
        if before.version != catalog.version {
            inner.counters.keep_those_of(&catalog);
            inner.catalog_since.set(inner.engine.now());
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

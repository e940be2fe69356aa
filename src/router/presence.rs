//! What the sessions of a cluster show of themselves to each other, and what they take from each other:
//! to be cancelled, to be ended.
//!
//! A session keeps its [`Presence`] up to date as it goes, without looking at anybody else; the
//! router of its core knows it while the session lives, and answers for it when a statement
//! somewhere in the cluster asks for all of them.

use super::Router;
use super::gates::GateReport;
use super::peers::{Answer, Call, CancelKey};
use super::snapshots::Exported;
use super::statistics::Statistics;
use model::archive::Text;
use model::command::Isolation;
use model::error::SqlError;
use model::id::{ObjectId, TxnId};
use rkyv::{Archive, Deserialize, Serialize};
use runtime::sync::{Event, Notify};
use runtime::time::{self, Instant};
use shards::core::{LockReport, TxnReport};
use shards::exec::backends::Signal;
use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a statement's text that are shown, as of PostgreSQL's `track_activity_query_size`.
const QUERY_BYTES_MAX: usize = 1024;

/// What a role sees of sessions of roles that it does not belong to, besides that they are there.
pub const HIDDEN: &str = "<insufficient privilege>";

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Activity {
    /// It waits for its client.
    Idle,
    /// It runs a statement.
    Active,
    /// It waits for its client, with a transaction open.
    InTransaction,
    /// The same, and the transaction has failed.
    Aborted,
}

/// A session as others see it. Times are microseconds since 2000-01-01 00:00 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Backend {
    /// [`super::peers::SessionNumber::process`].
    pub process: u32,
    /// The role that has logged in.
    pub role: ObjectId,
    /// Its name when it did.
    #[rkyv(with = Text)]
    pub user: Arc<str>,
    /// The database.
    #[rkyv(with = Text)]
    pub database: Arc<str>,
    /// `application_name`
    pub application: Box<str>,
    /// Where the client is.
    pub client: SocketAddr,
    /// When the session began.
    pub began_micros: i64,
    /// What it is doing.
    pub activity: Activity,
    /// Since when.
    pub activity_micros: i64,
    /// The statement that runs, or ran last.
    pub query: String,
    /// When that began.
    pub query_micros: Option<i64>,
    /// The transaction that is open, and when it began.
    pub transaction: Option<(TxnId, i64)>,
    /// How that is kept from others, as far as its statements have said.
    pub isolation: Isolation,
}

impl Backend {
    /// Whether it runs the transaction of this id.
    pub fn runs(&self, txn: TxnId) -> bool {
        self.transaction.is_some_and(|(id, _)| id == txn)
    }
}

/// How long a session waits for its client; `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// `idle_session_timeout`
    pub idle: Option<Duration>,
    /// `idle_in_transaction_session_timeout`
    pub in_transaction: Option<Duration>,
}

/// One session's place in the router of its core.
pub struct Presence {
    key: CancelKey,
    cancelled: Notify,
    committing: Cell<bool>,
    ended: Event,
    shown: RefCell<Backend>,
    patience: Cell<Patience>,
    patience_changed: Notify,
    /// Since when it waits for its client; kept while its patience has an end.
    rests_since: Cell<Instant>,
    statistics: Rc<Statistics>,
    /// The snapshot of its transaction that others may read.
    exported: RefCell<Option<Exported>>,
}

impl Presence {
    /// Of a session that begins, as it is shown, and where its transactions are counted.
    pub fn new(key: CancelKey, shown: Backend, statistics: Rc<Statistics>) -> Presence {
        Presence {
            key,
            cancelled: Notify::new(),
            committing: Cell::new(false),
            ended: Event::new(),
            shown: RefCell::new(shown),
            patience: Cell::default(),
            patience_changed: Notify::new(),
            rests_since: Cell::new(time::now()),
            statistics,
            exported: RefCell::default(),
        }
    }

    /// What a client must know to cancel the session from another connection.
    pub fn key(&self) -> CancelKey {
        self.key
    }

    /// Where what becomes of its transactions is counted.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Lets others read the snapshot of its transaction, until that ends.
    pub fn export(&self, exported: Exported) {
        self.exported.replace(Some(exported));
    }

    /// Its transaction has ended, whatever it has let others read.
    pub fn withdraw(&self) {
        self.exported.take();
    }

    /// What others may read of its transaction.
    pub(super) fn exported(&self) -> Option<Exported> {
        let exported = self.exported.borrow().clone();
        exported.filter(|exported| self.transaction() == Some(exported.txn))
    }

    /// Told when somebody cancels what the session does. Reaches the statement that waits now; one
    /// that does not wait is soon done.
    pub fn cancelled(&self) -> &Notify {
        &self.cancelled
    }

    /// Whether its statement commits its own transaction now. What cancels the statement waits
    /// until that is over.
    pub fn is_committing(&self) -> bool {
        self.committing.get()
    }

    /// Its statement commits its own transaction until what is returned is dropped.
    pub(super) fn enter_commit(&self) -> impl Drop + '_ {
        self.committing.set(true);
        InCommit(self)
    }

    /// Set when somebody ends the session.
    pub fn ended(&self) -> &Event {
        &self.ended
    }

    /// A statement begins.
    pub fn begin(&self, text: &str, now_micros: i64) {
        let shown = &mut *self.shown.borrow_mut();
        shown.query.clear();
        shown.query.push_str(&text[..text.floor_char_boundary(QUERY_BYTES_MAX)]);
        shown.query_micros = Some(now_micros);
        shown.activity = Activity::Active;
        shown.activity_micros = now_micros;
    }

    /// A transaction begins in the statement that runs.
    pub fn enter(&self, txn: TxnId, now_micros: i64) {
        self.shown.borrow_mut().transaction = Some((txn, now_micros));
    }

    /// How the transaction of the statement that runs is kept from others.
    pub fn set_isolation(&self, isolation: Isolation) {
        self.shown.borrow_mut().isolation = isolation;
    }

    /// The transaction that is open.
    pub(super) fn transaction(&self) -> Option<TxnId> {
        self.shown.borrow().transaction.map(|(txn, _)| txn)
    }

    /// The session has answered, and waits for its client.
    pub fn rest(&self, activity: Activity, now_micros: i64) {
        let shown = &mut *self.shown.borrow_mut();
        shown.activity = activity;
        shown.activity_micros = now_micros;
        if activity == Activity::Idle {
            shown.transaction = None;
        }
        if self.patience.get() != Patience::default() {
            self.rests_since.set(time::now());
        }
    }

    /// How long the session waits for its client from now on.
    pub fn set_patience(&self, patience: Patience) {
        if self.patience.replace(patience) != patience {
            self.rests_since.set(time::now());
            self.patience_changed.notify_all();
        }
    }

    /// Told when [`Presence::patience_left`] may be shorter than it was, or there again.
    pub fn patience_changed(&self) -> &Notify {
        &self.patience_changed
    }

    /// How long the session may still wait, or run before it is worth while to look again; `None`
    /// while it waits for ever whatever it does.
    pub fn patience_left(&self) -> Option<Duration> {
        let Patience { idle, in_transaction } = self.patience.get();
        let shortest = idle.into_iter().chain(in_transaction).min()?;
        let limit = match self.shown.borrow().activity {
            Activity::Idle => idle,
            Activity::InTransaction | Activity::Aborted => in_transaction,
            Activity::Active => None,
        };
        let waited = self.rests_since.get().elapsed();
        Some(limit.map_or(shortest, |limit| limit.saturating_sub(waited)))
    }

    /// Whether it waits with a transaction open.
    pub fn in_transaction(&self) -> bool {
        matches!(self.shown.borrow().activity, Activity::InTransaction | Activity::Aborted)
    }

    /// The session is called otherwise.
    pub fn set_application(&self, name: &str) {
        let shown = &mut *self.shown.borrow_mut();
        if *shown.application != *name {
            shown.application = name.into();
        }
    }

    fn take(&self, signal: Signal) {
        match signal {
            Signal::Cancel => self.cancelled.notify_all(),
            Signal::Terminate => self.ended.set(),
        }
    }
}

/// A session whose statement commits.
struct InCommit<'a>(&'a Presence);

impl Drop for InCommit<'_> {
    fn drop(&mut self) {
        self.0.committing.set(false);
    }
}

impl Router {
    /// Notes a session until [`Router::unregister`].
    pub fn register(&self, presence: Rc<Presence>) {
        self.inner.sessions.borrow_mut().insert(presence.key.process, presence);
    }

    /// Forgets a session.
    pub fn unregister(&self, presence: &Presence) {
        self.inner.sessions.borrow_mut().remove(&presence.key.process);
    }

    /// Whether a session of this core has this process.
    pub fn has_session(&self, process: u32) -> bool {
        self.inner.sessions.borrow().contains_key(&process)
    }

    /// All sessions of the nodes that can be reached, in the order of their processes.
    ///
    /// # Errors
    /// A core is stopping.
    pub async fn backends(&self) -> Result<Vec<Backend>, SqlError> {
        let answers = self.inner.peers.call_reachable(Call::Backends).await?;
        let mut backends: Vec<Backend> = Vec::new();
        for (_, answer) in answers {
            match answer {
                Answer::Backends(mut those) => backends.append(&mut those),
                other => return Err(unexpected(&other)),
            }
        }
        backends.sort_unstable_by_key(|backend| backend.process);
        Ok(backends)
    }

    /// Who locks what on the nodes that can be reached.
    ///
    /// # Errors
    /// A core is stopping.
    pub async fn locks(&self) -> Result<Vec<LockReport>, SqlError> {
        let answers = self.inner.peers.call_reachable(Call::Locks).await?;
        // A range lies in every partition of its table, which are one to who asks.
        let mut locks: BTreeMap<_, LockReport> = BTreeMap::new();
        for (_, answer) in answers {
            let Answer::Locks(those) = answer else { return Err(unexpected(&answer)) };
            for one in those {
                let key = one.wait.as_ref().map(|wait| (!wait.is_range).then(|| wait.key.clone()));
                match locks.entry((one.txn, one.object, one.mode, key)) {
                    Entry::Vacant(place) => drop(place.insert(one)),
                    Entry::Occupied(mut known) => merge(known.get_mut(), one),
                }
            }
        }
        Ok(locks.into_values().collect())
    }

    /// Who waits at the gates of cores that can be reached.
    ///
    /// # Errors
    /// A core is stopping.
    pub async fn gate_waits(&self) -> Result<Vec<GateReport>, SqlError> {
        let answers = self.inner.peers.call_reachable(Call::GateWaits).await?;
        let mut waits: Vec<GateReport> = Vec::new();
        for (_, answer) in answers {
            match answer {
                Answer::GateWaits(mut those) => waits.append(&mut those),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(waits)
    }

    /// What transactions have in the partitions of the nodes that can be reached; of each core the oldest
    /// transactions.
    ///
    /// # Errors
    /// A core is stopping.
    pub async fn transactions(&self) -> Result<Vec<TxnReport>, SqlError> {
        let answers = self.inner.peers.call_reachable(Call::Transactions).await?;
        let mut transactions: Vec<TxnReport> = Vec::new();
        for (_, answer) in answers {
            match answer {
                Answer::Transactions(mut those) => transactions.append(&mut those),
                other => return Err(unexpected(&other)),
            }
        }
        transactions.sort_by_key(|report| (report.txn, report.partition));
        Ok(transactions)
    }

    pub(super) fn backends_here(&self) -> Vec<Backend> {
        let sessions = self.inner.sessions.borrow();
        sessions.values().map(|presence| presence.shown.borrow().clone()).collect()
    }

    /// The sessions of this core that run some of these transactions.
    pub(super) fn sessions_of(&self, txns: &[TxnId]) -> Vec<Backend> {
        let sessions = self.inner.sessions.borrow();
        let shown = sessions.values().map(|presence| presence.shown.borrow());
        let is_asked_for = |backend: &Ref<'_, Backend>| txns.iter().any(|txn| backend.runs(*txn));
        shown.filter(is_asked_for).map(|backend| backend.clone()).collect()
    }

    /// Reaches a session of this core, if it is still there and `key` is absent or its own.
    pub(super) fn signal_here(&self, process: u32, key: Option<CancelKey>, signal: Signal) {
        let found = self.inner.sessions.borrow().get(&process).cloned();
        if let Some(presence) = found.filter(|found| key.is_none_or(|key| key == found.key)) {
            presence.take(signal);
        }
    }
}

/// Makes one of two reports of one place.
fn merge(known: &mut LockReport, other: LockReport) {
    if let (Some(known), Some(other)) = (&mut known.wait, other.wait) {
        known.waited = known.waited.max(other.waited);
        known.waits_for.extend(other.waits_for);
        known.waits_for.sort_unstable();
        known.waits_for.dedup();
    }
}

fn unexpected(answer: &Answer) -> SqlError {
    SqlError::internal(format!("a router answered a question about sessions with {answer:?}"))
}

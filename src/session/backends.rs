//! The node's sessions as a statement of this one sees them: `pg_stat_activity`, `pg_locks`, and the
//! functions that reach other sessions (`phantom.transactions` is in `transactions.rs`).
//!
//! They live on other cores. So a statement that asks for them is planned twice: the first plan says
//! that it does, the session asks all cores as the statement begins, and the second plan holds their
//! answers.

use super::run::now_micros;
use super::tables::NamedRow;
use super::{Session, Standing};
use crate::catalog::roles::Roles;
use crate::catalog::{Catalog, Relation, oids};
use crate::router::gates::GateReport;
use crate::router::peers::Call;
use crate::router::presence::{Activity, Backend, HIDDEN, Presence};
use crate::router::statistics::Counted;
use crate::router::{Exported, Router};
use model::error::{SqlError, SqlState};
use model::id::{ObjectId, TxnId};
use model::value::Value;
use shards::core::{LockMode, LockReport, TxnReport};
use shards::exec::backends::{Backends, Signal};
use std::rc::Rc;
use std::sync::Arc;

/// The sessions of the node and what they lock, when a statement began.
pub(super) struct NodeView {
    router: Router,
    pub(super) catalog: Arc<Catalog>,
    /// Who asks.
    pub(super) role: ObjectId,
    pub(super) backends: Vec<Backend>,
    pub(super) locks: Vec<LockReport>,
    pub(super) gates: Vec<GateReport>,
    pub(super) transactions: Vec<TxnReport>,
    pub(super) statistics: Vec<Counted>,
    /// The session that asks.
    presence: Rc<Presence>,
    /// What of its transaction others may read.
    exportable: Result<Exported, SqlError>,
}

impl Session {
    /// Asks all cores for their sessions.
    ///
    /// # Errors
    /// A core is stopping.
    pub(super) async fn node_view(&self) -> Result<Rc<NodeView>, SqlError> {
        let router = self.host.router.clone();
        let (backends, locks, gates, transactions, statistics) = futures::try_join!(
            router.backends(),
            router.locks(),
            router.gate_waits(),
            router.transactions(),
            router.statistics(),
        )?;
        let (catalog, role) = (self.catalog(), self.scope.actor.role);
        Ok(Rc::new(NodeView {
            router,
            catalog,
            role,
            backends,
            locks,
            gates,
            transactions,
            statistics,
            presence: self.presence.clone(),
            exportable: self.exportable(),
        }))
    }

    /// The sessions that the statement has asked for.
    pub(super) fn take_backends(&mut self) -> Option<Rc<dyn Backends>> {
        self.view.take().map(|view| view as Rc<dyn Backends>)
    }

    /// Tells others what the session is doing while it waits for its client.
    pub(super) fn rest(&self) {
        let activity = match self.standing {
            Standing::Idle => Activity::Idle,
            Standing::Implicit => Activity::Active,
            Standing::Open | Standing::Saga => Activity::InTransaction,
            Standing::Failed => Activity::Aborted,
        };
        self.presence.set_isolation(self.settings.isolation());
        self.presence.rest(activity, now_micros());
    }
}

impl NodeView {
    fn roles(&self) -> &Roles {
        self.catalog.roles()
    }

    /// Whether the role may know what a session does.
    fn may_see(&self, backend: &Backend) -> bool {
        self.roles().has_privileges_of(self.role, backend.role)
    }

    pub(super) fn holder(&self, txn: TxnId) -> Option<&Backend> {
        let is_its = |backend: &&Backend| backend.transaction.is_some_and(|(id, _)| id == txn);
        self.backends.iter().find(is_its)
    }

    /// What kind of lock a session waits for.
    fn waits(&self, backend: &Backend) -> Option<&'static str> {
        let own = backend.transaction.map(|(id, _)| id);
        let is_its = |lock: &LockReport| Some(lock.txn) == own && lock.wait.is_some();
        match self.locks.iter().any(is_its) {
            true => Some("tuple"),
            false => self.is_at_gate(backend).then_some("relation"),
        }
    }

    /// The rows of `pg_stat_activity`.
    pub(super) fn activity(&self) -> Vec<NamedRow> {
        self.backends.iter().map(|backend| self.activity_of(backend)).collect()
    }

    fn activity_of(&self, backend: &Backend) -> NamedRow {
        let number = |id: u32| Value::Int(i64::from(id));
        let time = |micros: Option<i64>| micros.map_or(Value::Null, Value::Timestamp);
        let database = self.catalog.database(&backend.database);
        let mut row = vec![
            ("datid", database.map_or(Value::Null, |database| number(oids::object(database.id)))),
            ("datname", Value::Text(backend.database.clone())),
            ("pid", number(backend.process)),
            ("usesysid", number(oids::object(backend.role))),
            ("usename", Value::Text(backend.user.clone())),
            ("application_name", Value::text(&*backend.application)),
            ("backend_type", Value::text("client backend")),
        ];
        if !self.may_see(backend) {
            row.push(("query", Value::text(HIDDEN)));
            return row;
        }
        let state = match backend.activity {
            Activity::Idle => "idle",
            Activity::Active => "active",
            Activity::InTransaction => "idle in transaction",
            Activity::Aborted => "idle in transaction (aborted)",
        };
        // A statement is in a transaction, if only in one of its own.
        let transaction = backend.transaction.map(|(_, micros)| micros);
        let alone = backend.query_micros.filter(|_| backend.activity == Activity::Active);
        let (wait_type, wait) = match (backend.activity, self.waits(backend)) {
            (Activity::Active, Some(lock)) => (Value::text("Lock"), Value::text(lock)),
            (Activity::Active, None) => (Value::Null, Value::Null),
            _ => (Value::text("Client"), Value::text("ClientRead")),
        };
        row.extend([
            ("client_addr", Value::from(Some(backend.client.ip().to_canonical().to_string()))),
            ("client_port", Value::Int(i64::from(backend.client.port()))),
            ("backend_start", Value::Timestamp(backend.began_micros)),
            ("xact_start", time(transaction.or(alone))),
            ("query_start", time(backend.query_micros)),
            ("state_change", Value::Timestamp(backend.activity_micros)),
            ("wait_event_type", wait_type),
            ("wait_event", wait),
            ("state", Value::text(state)),
            ("query", Value::text(backend.query.as_str())),
        ]);
        row
    }

    /// The rows of `pg_locks`: the relations in which a transaction locks rows, the rows that
    /// transactions wait for, and the relations that are waited for where a schema changes.
    pub(super) fn lock_rows(&self) -> Vec<NamedRow> {
        let now_micros = now_micros();
        let rows = self.locks.iter().map(|lock| self.lock_row(lock, now_micros));
        rows.chain(self.gate_rows(now_micros)).collect()
    }

    /// The oid of the table or index whose keys carry an object's id.
    fn oid_of(&self, object: ObjectId) -> u32 {
        let replaced = |(_, _, relation): (_, _, &Relation)| match relation {
            Relation::Table(table) if table.storage == object => Some(table.id),
            _ => None,
        };
        // Nearly every table has its rows under its own id.
        match self.catalog.table(object).is_some_and(|table| table.storage == object) {
            true => oids::object(object),
            false => {
                oids::object(self.catalog.all_relations().find_map(replaced).unwrap_or(object))
            }
        }
    }

    fn lock_row(&self, lock: &LockReport, now_micros: i64) -> NamedRow {
        let holder = self.holder(lock.txn);
        let database = holder.and_then(|backend| self.catalog.database(&backend.database));
        let oid = |id: ObjectId| Value::Int(i64::from(oids::object(id)));
        let waits = lock.wait.is_some();
        let mode = match (lock.mode, waits) {
            (LockMode::Exclusive, false) => "RowExclusiveLock",
            (LockMode::Shared, false) => "RowShareLock",
            (LockMode::Exclusive, true) => "ExclusiveLock",
            (LockMode::Shared, true) => "ShareLock",
        };
        let since = lock.wait.as_ref().map(|wait| {
            let waited = i64::try_from(wait.waited.as_micros()).unwrap_or(i64::MAX);
            now_micros.saturating_sub(waited)
        });
        vec![
            ("locktype", Value::text(if waits { "tuple" } else { "relation" })),
            ("database", database.map_or(Value::Null, |database| oid(database.id))),
            ("relation", Value::Int(i64::from(self.oid_of(lock.object)))),
            ("virtualtransaction", Value::from(Some(lock.txn.to_string()))),
            ("pid", holder.map_or(Value::Null, |holder| Value::Int(i64::from(holder.process)))),
            ("mode", Value::text(mode)),
            ("granted", Value::Bool(!waits)),
            ("fastpath", Value::Bool(false)),
            ("waitstart", since.map_or(Value::Null, Value::Timestamp)),
        ]
    }

    /// Whether the role may reach a session, as PostgreSQL has it.
    fn check_signal(&self, backend: &Backend, signal: Signal) -> Result<(), SqlError> {
        let roles = self.roles();
        let refused = |message: &str| {
            Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message.to_owned()))
        };
        if roles.is_superuser(backend.role) && !roles.is_superuser(self.role) {
            return refused(match signal {
                Signal::Cancel => "must be a superuser to cancel superuser query",
                Signal::Terminate => "must be a superuser to terminate superuser process",
            });
        }
        if roles.has_privileges_of(self.role, backend.role) {
            return Ok(());
        }
        refused(match signal {
            Signal::Cancel => "must be a member of the role whose query is being canceled",
            Signal::Terminate => "must be a member of the role whose process is being terminated",
        })
    }

    fn backend(&self, process: i64) -> Option<&Backend> {
        let process = u32::try_from(process).ok()?;
        self.backends.iter().find(|backend| backend.process == process)
    }
}

impl Backends for NodeView {
    fn signal(&self, process: i64, signal: Signal) -> Result<bool, SqlError> {
        let Some(backend) = self.backend(process) else { return Ok(false) };
        self.check_signal(backend, signal)?;
        let (peers, process) = (self.router.peers().clone(), backend.process);
        let Some(place) = peers.place_of(process) else { return Ok(false) };
        let told = async move {
            // A core that is stopping ends its sessions itself.
            let _told = peers.call(place, Call::Signal(process, signal)).await;
        };
        runtime::task::spawn("signal", told).detach();
        Ok(true)
    }

    fn export_snapshot(&self) -> Result<String, SqlError> {
        let exported = self.exportable.clone()?;
        let id = exported.id(self.presence.key().process);
        self.presence.export(exported);
        Ok(id)
    }

    fn blocking(&self, process: i64) -> Vec<u32> {
        let Some(backend) = self.backend(process) else { return Vec::new() };
        let own = backend.transaction.map(|(id, _)| id);
        let waits = self.locks.iter().filter(|lock| Some(lock.txn) == own);
        let blockers = waits.filter_map(|lock| lock.wait.as_ref()).flat_map(|wait| &wait.waits_for);
        // A transaction whose session is gone is none that could be ended.
        let holders = blockers.filter_map(|blocker| self.holder(*blocker));
        let mut processes: Vec<u32> = holders.map(|backend| backend.process).collect();
        processes.extend(self.in_the_way_at_gates(backend));
        processes.sort_unstable();
        processes.dedup();
        processes
    }
}

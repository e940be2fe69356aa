//! A client's session, whatever wire it speaks: settings, prepared statements, transaction block.
//!
//! ```text
//!  native.rs, src/pg ── query / prepare / bind / execute ──────► Session
//!        ▲                                                          │ text
//!        │                            plans.rs, per core  ◄─────────┤ plan, or one kept
//!        │                            block.rs            ◄─────────┤ what to do with it
//!        │                            the router's gates  ◄─────────┤ enter, plan again if needed
//!        └── Client: columns, rows, notices, completion ◄── run.rs ─┘ the router runs it
//! ```
//!
//! **One statement** is planned with the catalog of the moment, enters the gates of its tables,
//! and is planned again where the catalog changed while it waited there. Inside a block it stays
//! inside the gates until the block ends; otherwise until the statement does.
//!
//! **One text with several statements** is one transaction, as in PostgreSQL, unless it says
//! otherwise.
//!
//! **A schema change** ([`schema`]) is part of its transaction, which has a catalog of its own from then
//! on; one outside of a block begins a transaction for itself.
//!
//! **Portals** ([`portals`]) are statements with their parameters, which a client reads bit by bit;
//! they end with their transaction. SQL's [`cursors`] are among them.
//!
//! **Savepoints** ([`savepoints`]) are places in a block that it goes back to; a block that has
//! failed goes on from there.
//!
//! **Sagas** ([`sagas`]) are blocks of another kind: each step in them is a transaction of its own.
//!
//! **`COPY`** ([`copy`]) moves rows between client and router in one transaction. A protocol takes
//! part through the [`Client`]'s functions of that name; the native one does not.
//!
//! **Interruptions**: a cancel, the statement's timeout or the end of the node drop the
//! statement where it waits; its transaction is rolled back. A `COMMIT` that has begun is not
//! interrupted, nor is the commit of a change that is a transaction of its own, except where one
//! request to one partition both makes and commits it: had that commit begun just then, it is
//! carried out although the answer is 57014.
//!
//! **Others** see a session by its [`Presence`], and reach it through that; what it sees of them is
//! asked for as a statement begins ([`backends`]).
//!
//! A session lives on one core. While it is idle it holds its names and what was prepared, and no
//! buffer. What clients can make it keep is bounded here: [`prepared`] statements, [`portals`], and the
//! core's kept [`plans`].
//!
//! What it does not know: frames, sockets, how a statement is carried out.

pub mod admission;
mod ahead;
mod backends;
mod block;
mod cluster;
mod committing;
mod copy;
mod cursors;
mod execute;
mod explain;
mod gate_waits;
mod guard;
mod identity;
mod idle;
pub mod native;
mod opening;
mod planner;
mod plans;
mod portals;
mod prepared;
mod reading;
mod run;
mod sagas;
mod savepoints;
mod schema;
mod scopes;
mod sealing;
mod seats;
mod settings;
mod statistics;
mod table_as;
mod tables;
mod transactions;

pub use block::Standing;
pub use portals::{Portal, Progress};
pub use prepared::read_text;
pub use prepared::{Described, Name};
pub use seats::RoleSeats;
pub use settings::Settings;

use crate::catalog::roles::{Actor, DEFAULT_ROLE};
use crate::router::cluster::ClusterView;
use crate::router::gates::Pass;
pub use crate::router::peers::CancelKey;
use crate::router::peers::{CORE_SESSIONS_MAX, Call, SessionNumber};
use crate::router::presence::{Activity, Backend, Presence};
use crate::router::sagas::SagaClaim;
use crate::router::sequences::HeldSequences;
use crate::router::{Router, RowSink, SchemaChanges};
use crate::sql::{OutputColumn, SessionSettings, VirtualTables};
use crate::txn::Transaction;
use admission::{AdmissionOptions, Admitted, Gate};
use ahead::LookAhead;
use backends::NodeView;
use bytes::Bytes;
use futures::future::{Either, LocalBoxFuture, ready, select};
use identity::Identity;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use model::id::CatalogVersion;
use planner::Planner;
use plans::PlanCache;
use portals::Portals;
use prepared::PreparedStatements;
use runtime::sync::{Event, Notify};
use savepoints::Savepoint;
use scopes::Kept;
use seats::RoleSeat;
use shards::exec::SessionIdentity;
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

/// The user that exists from the start.
pub const DEFAULT_USER: &str = DEFAULT_ROLE;

/// How much a notice weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Probably not what was meant.
    Warning,
    /// Worth knowing.
    Notice,
}

/// Takes the answer to one request.
pub trait Client: RowSink {
    /// The columns of the rows that follow. `binary`: their form is to be binary, in a protocol
    /// that has several.
    fn columns(&mut self, columns: &[OutputColumn], binary: bool);
    /// Something besides the result.
    fn notice(&mut self, weight: Weight, standing: Standing, notice: SqlError);
    /// A statement is done; `last` where it is the request's last one.
    fn complete(&mut self, standing: Standing, rows: u64, tag: &str, last: bool);

    /// Asks for the data of a `COPY` of so many columns. A protocol without `COPY` refuses.
    fn copy_in(&mut self, _binary: bool, _columns: u16) -> Result<(), SqlError> {
        Err(copy::unsupported())
    }

    /// The next piece of that data, of any size; `None` at its end. Giving up is an error (57014).
    fn copy_read(&mut self) -> LocalBoxFuture<'_, Result<Option<Bytes>, SqlError>> {
        Box::pin(ready(Err(copy::unsupported())))
    }

    /// Announces the data of a `COPY` of so many columns. A protocol without `COPY` refuses.
    fn copy_out(&mut self, _binary: bool, _columns: u16) -> Result<(), SqlError> {
        Err(copy::unsupported())
    }

    /// One row of that data, or what stands before or behind the rows; waits while the client has
    /// no room.
    fn copy_data(&mut self, _data: Bytes) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(ready(Err(copy::unsupported())))
    }

    /// That data is complete.
    fn copy_done(&mut self) {}
}

/// Tells when a request is to be given up.
pub trait Interrupts {
    /// Waits until then, for the error to give up with. Called when the statement waits for the
    /// first time: what was answered before may be sent now.
    fn wait(&self) -> LocalBoxFuture<'static, SqlError>;
}

fn terminated() -> SqlError {
    SqlError::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

/// Why sessions end with the node.
pub fn shutting_down() -> SqlError {
    terminated().hint("The node is shutting down; connect again, or to another node.")
}

/// Why a client that is not encrypted is not let in where all must be.
pub fn unencrypted() -> SqlError {
    SqlError::new(
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        "connections without TLS are not let in",
    )
    .hint("Connect with sslmode=require.")
}

/// What the sessions of one core share. One per core.
pub struct Host {
    router: Router,
    tables: Arc<dyn VirtualTables + Send + Sync>,
    plans: PlanCache,
    planner: Planner,
    gate: Gate,
    next_number: Cell<u64>,
    live: Rc<Cell<usize>>,
    /// A session has ended.
    fewer: Notify,
    /// Sessions end as soon as they have no transaction open.
    draining: Event,
    /// Sessions end.
    closing: Event,
}

impl Host {
    /// For the sessions of the router's core. `plan_bytes` bounds the plans that are kept,
    /// `text_bytes_max` the texts that are taken.
    pub fn new(
        router: Router,
        tables: Arc<dyn VirtualTables + Send + Sync>,
        plan_bytes: usize,
        text_bytes_max: usize,
        admission: AdmissionOptions,
    ) -> Rc<Host> {
        Rc::new(Host {
            router,
            tables,
            plans: PlanCache::new(plan_bytes),
            planner: Planner::new(text_bytes_max),
            gate: Gate::new(admission),
            next_number: Cell::new(1),
            live: Rc::default(),
            fewer: Notify::new(),
            draining: Event::new(),
            closing: Event::new(),
        })
    }

    /// Sessions there are.
    pub fn live(&self) -> usize {
        self.live.get()
    }

    /// Asks all sessions to end, and waits until they have.
    pub async fn drain(&self) {
        self.draining.set();
        self.empty().await;
    }

    /// Makes all sessions end where they are, and waits until they have.
    pub async fn close(&self) {
        self.draining.set();
        self.closing.set();
        self.empty().await;
    }

    async fn empty(&self) {
        while self.live.get() > 0 {
            self.fewer.notified().await;
        }
    }

    /// Waits until the sessions are to end as soon as they have no transaction open.
    pub async fn draining(&self) {
        self.draining.wait().await;
    }

    /// Waits until a session is to end where it is, because the node closes its sessions, somebody
    /// ends this one or its client says nothing for too long, for the error it ends with.
    pub fn end_of(&self, session: &Session) -> impl Future<Output = SqlError> + use<'_> {
        let presence = session.presence.clone();
        async move {
            let (closing, ended) = (pin!(self.closing.wait()), pin!(presence.ended().wait()));
            let idle = pin!(idle::too_long(presence.clone()));
            match select(select(closing, ended), idle).await {
                Either::Left((Either::Left(_), _)) => shutting_down(),
                Either::Left((Either::Right(_), _)) => terminated(),
                Either::Right((why, _)) => why,
            }
        }
    }

    /// Stops what the session with this key is doing, on whichever core of the cluster it lives.
    ///
    /// # Errors
    /// The session's core is stopping. That there is no such session is no error.
    pub async fn cancel(&self, key: CancelKey) -> Result<(), SqlError> {
        let peers = self.router.peers();
        let Some(place) = peers.place_of(key.process) else { return Ok(()) };
        peers.call(place, Call::CancelByKey(key)).await.map(drop)
    }

    /// The number of a new session: one whose process is that of no session which is open.
    fn number(&self) -> Result<SessionNumber, SqlError> {
        for _ in 0..CORE_SESSIONS_MAX {
            let count = self.next_number.replace(self.next_number.get() + 1);
            let number = SessionNumber::new(self.router.peers().here(), count);
            if !self.router.has_session(number.process()) {
                return Ok(number);
            }
        }
        Err(SqlError::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
            .detail(format!("A core holds at most {CORE_SESSIONS_MAX} sessions.")))
    }
}

/// A transaction that outlives its statement.
struct Open {
    transaction: Transaction,
    pass: Pass,
    /// What `now()` is in all of its statements.
    began_micros: i64,
    /// The settings before the first `SET` in it, which a rollback takes back.
    settings_before: Option<Settings>,
    /// The settings without what `SET LOCAL` changed; `None` while it has changed nothing.
    settings_after: Option<Settings>,
    /// Its client has said how it is to commit, and is told how it does.
    tells_commit: bool,
    /// A statement has read or written in it.
    worked: bool,
    /// How it is kept from others, from its first statement on.
    kept: Option<Kept>,
    /// What it has changed of the schema.
    schema: Option<Box<SchemaChanges>>,
    /// Places in it to go back to, the last one last.
    savepoints: Vec<Savepoint>,
}

/// One client's session.
pub struct Session {
    host: Rc<Host>,
    number: SessionNumber,
    /// The role that logged in.
    user: Identity,
    identity: SessionIdentity,
    scope: SessionSettings,
    settings: Settings,
    /// How many times they have changed.
    settings_changes: u64,
    standing: Standing,
    /// There when the session stands `Implicit` or `Open`, and when a block has failed that has
    /// savepoints.
    open: Option<Box<Open>>,
    /// There when the session stands in a saga.
    saga: Option<SagaClaim>,
    /// What the block that has failed last has failed with.
    failure: Option<SqlError>,
    /// The block has failed, and its savepoints could not be kept.
    lost_savepoints: bool,
    prepared: PreparedStatements,
    portals: Portals,
    /// How others see and reach it.
    presence: Rc<Presence>,
    /// The sessions of the node, for the statement that asked for them.
    view: Option<Rc<NodeView>>,
    /// The cluster, where the statement looks at it.
    cluster: Option<Rc<ClusterView>>,
    ahead: LookAhead,
    sequences: Rc<HeldSequences>,
    /// Given back with the session.
    _seat: RoleSeat,
}

impl Session {
    /// The session of one who is let in.
    fn new(host: &Rc<Host>, admitted: Admitted) -> Result<Session, SqlError> {
        let Admitted { role, user, database, client, seat } = admitted;
        let user = Identity { id: role, name: user.into() };
        let database_name = Arc::<str>::from(&*database);
        let settings = Settings::default();
        let number = host.number()?;
        let secret = runtime::random::below(1 << 32) as u32;
        let key = CancelKey { process: number.process(), secret };
        let began_micros = run::now_micros();
        let shown = Backend {
            process: number.process(),
            role,
            user: user.name.clone(),
            database: database_name.clone(),
            application: Box::default(),
            client,
            began_micros,
            activity: Activity::Idle,
            activity_micros: began_micros,
            query: String::new(),
            query_micros: None,
            transaction: None,
            isolation: Isolation::default(),
        };
        let statistics = host.router.statistics_of(&database_name);
        let presence = Rc::new(Presence::new(key, shown, statistics));
        host.router.register(presence.clone());
        host.live.set(host.live.get() + 1);
        Ok(Session {
            host: host.clone(),
            number,
            user: user.clone(),
            identity: SessionIdentity {
                user: user.name.clone(),
                session_user: user.name.clone(),
                database: database_name,
                process: number.process(),
            },
            scope: SessionSettings {
                database,
                actor: Actor { role, session: role },
                path: settings.search_path().clone(),
                values: settings.values(),
            },
            settings,
            settings_changes: 0,
            standing: Standing::Idle,
            open: None,
            saga: None,
            failure: None,
            lost_savepoints: false,
            prepared: PreparedStatements::default(),
            portals: Portals::default(),
            presence,
            view: None,
            cluster: None,
            ahead: LookAhead::default(),
            sequences: Rc::default(),
            _seat: seat,
        })
    }

    /// Its number, unique in the cluster until its node restarts.
    pub fn number(&self) -> SessionNumber {
        self.number
    }

    /// What cancels it from another connection.
    pub fn cancel_key(&self) -> CancelKey {
        self.presence.key()
    }

    /// The settings that clients of the PostgreSQL protocol are told of, under the names they
    /// know, always in the same order.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        let mut reported = self.settings.reported();
        reported.push(("is_superuser", self.is_superuser().to_owned()));
        reported.push(("session_authorization", self.identity.session_user.to_string()));
        reported
    }

    /// While this is the same, so is what is [`reported`](Session::reported).
    pub fn reported_version(&self) -> (u64, CatalogVersion) {
        (self.settings_changes, self.catalog_version())
    }

    /// Where it stands between statements.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Sets a setting as `SET` does.
    ///
    /// # Errors
    /// Those of [`Settings::set`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let name = name.to_lowercase();
        let change = self.setting_change(&name, Some(value))?;
        if settings::is_of_transaction(&name) {
            // There is no transaction that it could be of.
            return change.apply(&mut self.settings.clone());
        }
        change.apply(&mut self.settings)?;
        self.settings_changed();
        Ok(())
    }

    /// Ends the session: what is open is rolled back.
    pub async fn end(mut self) {
        if let Some(open) = self.open.take() {
            self.presence.statistics().rolled_back();
            self.host.router.rollback(open.transaction).await;
            if let Some(changes) = open.schema {
                changes.end().await;
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            self.presence.statistics().rolled_back();
            self.host.router.give_up(open.transaction);
        }
        self.host.router.unregister(&self.presence);
        self.host.live.set(self.host.live.get() - 1);
        self.host.fewer.notify_all();
    }
}

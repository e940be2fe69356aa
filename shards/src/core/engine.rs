//! The handle on one core's engine.

use super::background;
use super::dispatch::{self, begun_by};
use super::layout;
use super::leaders::{Leaders, Search};
use super::log_scrub;
use super::mend::{self, MendReport, Mends};
use super::parts::{Parts, log_options};
use super::remote::{Arrived, Remote, Unanswered};
use super::stream::Again;
use super::wire::{self, MessageKind, WireError};
use super::{BatchStream, CoreMessage, EngineOptions, Trace};
use crate::log::LogStats;
use crate::raft::{CoreLog, Nodes};
use crate::storage::{DamageReport, MemoryUse, ScrubUse, StorageError};
use crate::txn::{
    LockReport, Partition, PointLookup, SnapshotGuard, TxnReport, Wait, WaitNumber, transactions,
};
use crate::wal::WalError;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{self, LocalBoxFuture};
use model::command::{Fragment, Outcome, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::id::{CoreId, NodeId, PartitionId, TxnId};
use model::placement::{Place, PlacementMap};
use model::time::Timestamp;
use runtime::mesh::Mesh;
use runtime::sync::Notify;
use runtime::task::{self, Task};
use runtime::time::{self, Instant};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Closing waits so long for requests in progress, then goes on without them.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Why an engine or a data directory could not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file operation failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A tree could not open, or is damaged.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The log could not open, or is damaged.
    #[error("{0}")]
    Log(#[from] WalError),
    /// The partitions' groups could not start, or their logs are damaged.
    #[error("the partitions of core {core} could not start: {source}")]
    Groups {
        /// The core.
        core: CoreId,
        /// Why.
        source: std::io::Error,
    },
    /// Carrying the logs over to another number of cores failed.
    #[error("moving the logs to another number of cores failed: {0}")]
    Reshape(std::io::Error),
    /// Another process has the data directory.
    #[error("another process uses the data directory {0}; stop it, or choose another directory")]
    Locked(PathBuf),
    /// The file that says whose data this is cannot be understood.
    #[error("{file} is not a valid identity file: {what}")]
    Identity {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The directory holds the data of another node, or a form of it that this version does not
    /// know.
    #[error("the data directory does not fit: {0}")]
    Mismatch(String),
}

/// One core's engine. Cloning gives another handle; it never leaves its core.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Rc<Inner>,
    /// Told where the requests of this handle go.
    trace: Option<Rc<Trace>>,
}

impl From<Rc<Inner>> for Engine {
    fn from(inner: Rc<Inner>) -> Engine {
        Engine { inner, trace: None }
    }
}

pub(super) struct Inner {
    pub(super) options: EngineOptions,
    pub(super) placement: Rc<PlacementMap>,
    pub(super) parts: Parts,
    pub(super) remote: Remote,
    pub(super) nodes: Rc<dyn Nodes>,
    pub(super) leaders: Leaders,
    /// Cores of this node.
    pub(super) cores: u16,
    pub(super) closing: Cell<bool>,
    /// Cores of other nodes, and when the last of them was lost; until nothing is left of theirs.
    pub(super) lost: RefCell<BTreeMap<Place, Instant>>,
    /// Requests in progress on this core, of its own routers and of other cores.
    pub(super) in_progress: Cell<usize>,
    pub(super) idle: Notify,
    pub(super) counters: Counters,
    pub(super) mends: Mends,
    tasks: RefCell<Vec<Task<()>>>,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) requests: Cell<u64>,
    pub(super) refused_busy: Cell<u64>,
    pub(super) resolved: Cell<u64>,
    pub(super) expelled: Cell<u64>,
}

/// What a core's engine has done since it was opened, and what it holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineStats {
    /// Requests that were begun here.
    pub requests: u64,
    /// Requests that were refused because too many were in progress.
    pub refused_busy: u64,
    /// Requests in progress.
    pub in_progress: usize,
    /// Messages that had to wait for room at another core.
    pub mesh_stalls: u64,
    /// Transactions that are open in this core's partitions.
    pub transactions: usize,
    /// Those of them that have voted.
    pub prepared: usize,
    /// Decisions that this core's partitions keep for those who may ask.
    pub decisions: usize,
    /// Transactions that were finished although their coordinator had gone.
    pub resolved: u64,
    /// Idle transactions that were rolled back.
    pub expelled: u64,
    /// Requests for locks that wait.
    pub lock_waits: usize,
    /// Requests for locks that waited too long.
    pub lock_timeouts: u64,
    /// Deadlocks that were found.
    pub deadlocks: u64,
    /// Places in table files, and segments of the log, that were found damaged.
    pub damages: u64,
    /// Replicas whose damaged files were replaced by those of another one, and damaged segments of the log
    /// that are not needed any more.
    pub mended: u64,
    /// What the search for damage has done.
    pub scrub: ScrubUse,
    /// The log.
    pub log: LogStats,
}

/// Looks at an engine from outside.
#[derive(Clone)]
pub struct Gauge(Weak<Inner>);

impl Gauge {
    /// [`Engine::stats`]; `None` once the engine is gone.
    pub fn stats(&self) -> Option<EngineStats> {
        Some(self.engine()?.stats())
    }

    pub(super) fn engine(&self) -> Option<Engine> {
        Some(Engine::from(self.0.upgrade()?))
    }
}

/// Counts a request in progress.
pub(super) struct InProgress(Rc<Inner>);

impl Drop for InProgress {
    fn drop(&mut self) {
        let left = self.0.in_progress.get() - 1;
        self.0.in_progress.set(left);
        if left == 0 {
            self.0.idle.notify_all();
        }
    }
}

/// A snapshot that stays readable on one core until this is dropped.
#[derive(Debug)]
pub struct HeldSnapshot {
    _guard: SnapshotGuard,
}

impl Engine {
    /// Takes apart what holds itself: partitions propose to the log, which hands them what is decided. Once
    /// the core has ended: nothing of it may run afterwards.
    pub fn take_apart(&self) {
        self.inner.parts.partitions.clear();
    }

    /// Opens this core's log and trees, recovers what they hold and starts to serve the other
    /// cores. The data directory was prepared by [`super::DataDir::open`].
    ///
    /// # Errors
    /// Damaged or missing files, and whatever the file system refuses.
    pub async fn open(
        options: EngineOptions,
        mesh: Mesh<CoreMessage>,
        nodes: Rc<dyn Nodes>,
    ) -> Result<Engine, OpenError> {
        let identity = layout::read_identity(&options.data_dir).await?;
        let Some(identity) = identity else {
            let path = options.data_dir.display();
            return Err(OpenError::Mismatch(format!("{path} was not prepared for a node")));
        };
        CoreLog::remove_earlier(&log_options(&options, identity.generation).core_log()).await?;
        let parts = Parts::open(&options, &identity, nodes.clone()).await?;
        let inner = Rc::new(Inner {
            placement: Rc::new(options.placement.clone()),
            options,
            parts,
            remote: Remote::new(mesh),
            nodes,
            leaders: Leaders::default(),
            cores: identity.cores,
            closing: Cell::new(false),
            lost: RefCell::default(),
            in_progress: Cell::new(0),
            idle: Notify::new(),
            counters: Counters::default(),
            mends: Mends::default(),
            tasks: RefCell::default(),
        });
        let engine = Engine::from(inner);
        let weak = Rc::downgrade(&engine.inner);
        *engine.inner.tasks.borrow_mut() = vec![
            task::spawn("core-dispatch", dispatch::run(weak.clone())),
            task::spawn("core-post", dispatch::post(weak.clone())),
            task::spawn("core-housekeeping", background::housekeeping(weak.clone())),
            task::spawn("core-resolver", background::resolver(weak.clone())),
            task::spawn("core-mend", mend::run(weak, engine.inner.parts.storage.watch_damage())),
        ];
        if engine.inner.options.scrub_bytes_per_second > 0 {
            let scrub = log_scrub::run(Rc::downgrade(&engine.inner));
            engine.inner.tasks.borrow_mut().push(task::spawn("core-scrub-log", scrub));
        }
        Ok(engine)
    }

    /// A fresh timestamp of this core's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.parts.context.now()
    }

    /// Moves this core's clock past a timestamp that came from elsewhere (a session's last commit).
    ///
    /// # Errors
    /// The timestamp is further ahead than clocks may be apart.
    pub fn observe(&self, seen: Timestamp) -> Result<(), SqlError> {
        self.inner.parts.context.observe(seen)
    }

    /// How long versions stay readable after they were replaced.
    pub fn retention(&self) -> Duration {
        self.inner.options.retention
    }

    /// Keeps what a snapshot sees on this core; from here on nothing commits here before it.
    ///
    /// # Errors
    /// Some of it may be gone.
    pub fn hold_snapshot(&self, at: Timestamp) -> Result<HeldSnapshot, SqlError> {
        Ok(HeldSnapshot { _guard: self.inner.parts.context.enter_snapshot(at)? })
    }

    /// Who locks what on this core.
    pub fn locks(&self) -> Vec<LockReport> {
        self.inner.parts.context.lock_reports()
    }

    /// The transactions that have something in this core's partitions, a line for each partition.
    pub fn transactions(&self) -> Vec<TxnReport> {
        let doubted = time::now() - self.inner.options.resolve_delay;
        transactions(self.inner.parts.partitions.all().iter(), doubted)
    }

    /// Who waits for whom on this core.
    pub fn waits(&self) -> Vec<Wait> {
        self.inner.parts.context.locks.borrow().waits()
    }

    /// Waits until a lock is waited for so long that it may be in a circle. Whoever calls this looks
    /// at the waits of all cores afterwards.
    pub async fn long_wait(&self) {
        self.inner.parts.context.long_wait().await;
    }

    /// Fails a request for a lock with an error, if it still waits. Returns whether it did.
    pub fn sacrifice(&self, wait: WaitNumber, error: SqlError) -> bool {
        self.inner.parts.context.sacrifice(wait, error)
    }

    /// Where the partitions are.
    pub fn placement(&self) -> Rc<PlacementMap> {
        self.inner.placement.clone()
    }

    /// This core.
    pub fn core(&self) -> CoreId {
        self.inner.options.core
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.inner.options.node
    }

    /// A handle that tells `trace` where its requests go.
    #[must_use]
    pub fn traced(&self, trace: Rc<Trace>) -> Engine {
        Engine { inner: self.inner.clone(), trace: Some(trace) }
    }

    fn search(&self, partition: PartitionId) -> Search {
        Search::new(self.inner.clone(), partition, self.trace.clone())
    }

    /// Asks something of a partition, here or on another core, and waits for the answer. Reads
    /// that stream go through [`Engine::read`]. Dropping the future cancels what it waits for; a
    /// commit or decision that is on its way to the log is carried out all the same.
    ///
    /// # Errors
    /// What the partition answered instead ([`Response::Failed`] is never returned as a success).
    pub async fn call(
        &self,
        partition: PartitionId,
        body: RequestBody,
    ) -> Result<Response, SqlError> {
        let mut search = self.search(partition);
        let mut body = body;
        // An attempt may have been carried out.
        let mut lost_one = false;
        loop {
            let place = search.place()?;
            let here = place == self.inner.here();
            // A partition that serves here does not move before the request is begun.
            let settled = here && self.inner.serving_for(partition, begun_by(&body)).is_ok();
            let again = (!settled || may_be_repeated(&body)).then(|| body.clone());
            let answered = match here {
                true => {
                    let _counted = self.inner.enter()?;
                    self.serve(partition, body).await.map_err(Unanswered::Refused)
                }
                false => self.inner.ask(place, partition, body).await,
            };
            match (answered, again) {
                (Ok(Response::Elsewhere(leader)), Some(again)) => {
                    search.moved(leader).await?;
                    body = again;
                }
                // It was begun here, and has met damage.
                (Ok(Response::Elsewhere(_)), None) => return Err(damaged(partition)),
                (Ok(Response::Failed(error)) | Err(Unanswered::Refused(error)), again) => {
                    let Some(again) = again.filter(|again| was_overtaken(again, &error)) else {
                        return Err(error);
                    };
                    lost_one |= error.state() == SqlState::STATEMENT_COMPLETION_UNKNOWN;
                    search.unreached().await?;
                    body = again;
                }
                // Decided, carried out and forgotten before it was asked again, or never decided.
                (Ok(Response::Decided(Outcome::Aborted)), Some(RequestBody::Decide { .. }))
                    if lost_one =>
                {
                    return Err(lost(true));
                }
                (Ok(response), _) => {
                    search.found();
                    return Ok(response);
                }
                (Err(Unanswered::NotSent), Some(again)) => {
                    search.unreached().await?;
                    body = again;
                }
                (Err(_), Some(again)) if may_be_repeated(&again) => {
                    lost_one = true;
                    search.unreached().await?;
                    body = again;
                }
                (Err(_), again) => return Err(lost(again.as_ref().is_some_and(commits))),
            }
        }
    }

    /// Runs a fragment that reads. A remote one starts at once, and at most a few of its batches
    /// are on their way at a time.
    pub fn read(&self, partition: PartitionId, fragment: Fragment) -> BatchStream {
        self.read_at(fragment, self.search(partition))
    }

    pub(super) fn read_at(&self, fragment: Fragment, mut search: Search) -> BatchStream {
        let partition = search.partition();
        let opened = search.place().and_then(|place| {
            if place == self.inner.here()
                && let Ok(here) = self.inner.serving_for(partition, fragment.txn)
            {
                let counted = self.inner.enter()?;
                let read = here.open_read(&fragment)?;
                search.found();
                return Ok(BatchStream::local(read, here, counted));
            }
            // Here, too, where this replica leads no more: it says who does.
            let (batches, request) = self.inner.ask_read(place, partition, fragment.clone());
            Ok(BatchStream::remote(
                batches,
                request,
                Again { engine: self.clone(), fragment, search },
            ))
        });
        opened.unwrap_or_else(BatchStream::failed)
    }

    /// Takes a message of a core of another node.
    pub fn take_message(&self, from: Place, message: Bytes) {
        match wire::decode(&message) {
            Ok(message) => self.inner.arrive(Arrived::Message(from, message)),
            Err(error) => self.inner.misunderstood(from, error),
        }
    }

    /// A core of another node is lost: what is on its way there and from there will not arrive.
    pub fn place_lost(&self, place: Place) {
        self.inner.arrive(Arrived::Lost(place));
    }

    /// A core of another node has ended, and had answered all that it had begun: what it has not answered is
    /// asked elsewhere.
    pub fn place_left(&self, place: Place) {
        self.inner.arrive(Arrived::Left(place));
    }

    /// Answers a replica of another node. What one place asks takes its turn in the order of these calls,
    /// whenever what they give is polled.
    pub fn answer_replica(&self, message: Bytes) -> LocalBoxFuture<'static, Bytes> {
        let log = self.inner.parts.log.clone();
        let mut answering = async move { log.answer_replica(message).await }.boxed_local();
        match answering.as_mut().now_or_never() {
            Some(answer) => future::ready(answer).boxed_local(),
            None => answering,
        }
    }

    /// The row of a key at a snapshot, where that can be told at once: the partition is here, the
    /// row in memory and no transaction in the way. Allocates nothing.
    pub fn point_get(&self, partition: PartitionId, key: &[u8], at: Timestamp) -> PointLookup {
        if self.inner.closing.get() {
            return PointLookup::LongWay;
        }
        let row = match self.inner.parts.partitions.get(partition) {
            Some(partition) if partition.serves() => partition.point_get(key, at),
            _ => PointLookup::LongWay,
        };
        if let (Some(trace), false) = (&self.trace, matches!(row, PointLookup::LongWay)) {
            trace.note(self.inner.here(), partition);
        }
        row
    }

    /// What storage holds in memory on this core.
    pub fn memory(&self) -> MemoryUse {
        self.inner.parts.storage.memory()
    }

    /// What this core has done, and what it holds.
    pub fn stats(&self) -> EngineStats {
        let inner = &*self.inner;
        let context = &inner.parts.context;
        let log_damage = inner.parts.log.damage();
        let all = inner.parts.partitions.all();
        let partitions = || all.iter();
        EngineStats {
            requests: inner.counters.requests.get(),
            refused_busy: inner.counters.refused_busy.get(),
            in_progress: inner.in_progress.get(),
            mesh_stalls: inner.remote.mesh.stalls(),
            transactions: partitions().map(|one| one.states.borrow().len()).sum(),
            prepared: partitions().map(|one| one.states.borrow().prepared_count()).sum(),
            decisions: partitions().map(|one| one.states.borrow().decision_count()).sum(),
            resolved: inner.counters.resolved.get(),
            expelled: inner.counters.expelled.get(),
            lock_waits: context.locks.borrow().waiting(),
            lock_timeouts: context.lock_timeouts.get(),
            deadlocks: context.deadlocks.get(),
            damages: inner.parts.storage.damage_count() + log_damage.found,
            mended: inner.mends.mended() + log_damage.mended,
            scrub: inner.parts.storage.scrubbed(),
            log: inner.parts.log.stats(),
        }
    }

    /// A look at [`Engine::stats`] that does not keep the engine alive.
    pub fn gauge(&self) -> Gauge {
        Gauge(Rc::downgrade(&self.inner))
    }

    /// Waits for damage in this core's table files, whoever meets it: the first report after the
    /// one of number `seen`.
    pub async fn next_damage(&self, seen: u64) -> DamageReport {
        self.inner.parts.storage.next_damage(seen).await
    }

    /// Waits until this core's log cannot be written any more. What its replicas promise from then on they
    /// cannot keep: the node is to stop.
    pub async fn log_failure(&self) -> WalError {
        self.inner.parts.log.failure().await
    }

    /// Waits for what comes of damage: the first report after the one of number `seen`.
    pub async fn next_mend(&self, seen: u64) -> MendReport {
        self.inner.mends.next(seen).await
    }

    /// Reads and checks every block of this core's table files.
    ///
    /// # Errors
    /// The first damage found, with file and offset; or a failure to read.
    pub async fn scrub(&self) -> Result<(), StorageError> {
        for partition in self.inner.parts.partitions.all() {
            partition.tree.verify().await?;
        }
        Ok(())
    }

    /// Takes no more requests, waits for those in progress, and closes the log. With `flush`,
    /// everything is written to table files first, so that the next start has nothing to replay. Returns
    /// whether all that was begun here is answered.
    ///
    /// # Errors
    /// A flush that failed; the log is closed all the same.
    pub async fn shutdown(&self, flush: bool) -> Result<bool, OpenError> {
        self.inner.closing.set(true);
        let idle = async {
            while self.inner.in_progress.get() > 0 {
                self.inner.idle.notified().await;
            }
        };
        // Whoever has not ended by then is told so by a log that is closed.
        let drained = time::timeout(DRAIN_MAX, idle).await;
        let flushed = match flush && drained.is_ok() {
            true => self.inner.parts.flush().await,
            false => Ok(()),
        };
        self.inner.parts.log.close().await;
        self.inner.tasks.borrow_mut().clear();
        flushed.map(|()| drained.is_ok())
    }
}

impl Inner {
    /// Counts a request, unless the core is closing.
    pub(super) fn enter(self: &Rc<Self>) -> Result<InProgress, SqlError> {
        if self.closing.get() {
            return Err(SqlError::new(SqlState::ADMIN_SHUTDOWN, "the node is shutting down"));
        }
        self.counters.requests.set(self.counters.requests.get() + 1);
        self.in_progress.set(self.in_progress.get() + 1);
        Ok(InProgress(self.clone()))
    }

    /// This core.
    pub(super) fn here(&self) -> Place {
        Place { node: self.options.node, core: self.options.core }
    }

    /// Where this node's replica of a partition is, if it has one.
    pub(super) fn here_of(&self, partition: PartitionId) -> Place {
        let core = CoreId((partition.0 % u32::from(self.cores)) as u16);
        Place { node: self.options.node, core }
    }

    /// Where a node's replica of a partition is; `None` for a node that is not known.
    pub(super) fn place(&self, node: NodeId, partition: PartitionId) -> Option<Place> {
        match node == self.options.node {
            true => Some(self.here_of(partition)),
            false => self.nodes.place(node, partition),
        }
    }

    /// Whether a partition is on this core, and may serve now.
    pub(super) fn serves(&self, partition: PartitionId) -> bool {
        self.parts.partitions.get(partition).is_some_and(|partition| partition.serves())
    }

    /// A partition of this core that may serve now; otherwise who leads it, if that is known.
    pub(super) fn serving(&self, partition: PartitionId) -> Result<Rc<Partition>, Option<NodeId>> {
        let Some(here) = self.parts.partitions.get(partition) else { return Err(None) };
        match here.serves() {
            true => Ok(here),
            // One that leads and may not serve yet knows nobody better.
            false => Err(here.led_elsewhere().flatten()),
        }
    }

    /// The same for a request that may be the first here of a transaction.
    pub(super) fn serving_for(
        &self,
        partition: PartitionId,
        begins: Option<TxnId>,
    ) -> Result<Rc<Partition>, Option<NodeId>> {
        let here = self.serving(partition)?;
        match begins.is_none_or(|txn| here.lets_in(txn)) {
            true => Ok(here),
            false => Err(None),
        }
    }

    /// The same, but waits where this core leads the partition and will serve it in a moment: nobody else does
    /// before.
    pub(super) async fn serving_soon(
        &self,
        partition: PartitionId,
        begins: Option<TxnId>,
    ) -> Result<Rc<Partition>, Option<NodeId>> {
        let serving = self.serving_for(partition, begins);
        let here = self.parts.partitions.get(partition).filter(|_| serving.is_err());
        let Some(from) = here.and_then(|here| here.serves_soon()) else { return serving };
        time::sleep_until(from).await;
        self.serving_for(partition, begins)
    }

    /// Something has come from another node.
    pub(super) fn arrive(&self, arrived: Arrived) {
        self.remote.arrived.borrow_mut().push_back(arrived);
        self.remote.arrived_more.notify_one();
    }

    /// A message of another node cannot be read. Who asked is answered, and who waits for an answer waits
    /// for nothing.
    fn misunderstood(&self, from: Place, error: WireError) {
        let about = error.about();
        let failed = Response::Failed(error.into());
        let sent = self.parts.context.now();
        match about {
            Some((MessageKind::Request, id)) => {
                self.post(from, CoreMessage::Response { id, sent, response: failed });
            }
            Some((MessageKind::Response, id)) => self.answered(self.here(), id, sent, failed),
            Some((MessageKind::Credit | MessageKind::Cancel, _)) | None => {}
        }
    }

    /// A partition of this core.
    pub(super) fn partition(&self, partition: PartitionId) -> Result<Rc<Partition>, SqlError> {
        self.parts.partitions.get(partition).ok_or_else(|| not_here(partition))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The log's tasks hold the partitions, which hold the log.
        self.parts.log.stop();
    }
}

/// What may be asked again although it may have been carried out.
fn may_be_repeated(body: &RequestBody) -> bool {
    matches!(
        body,
        RequestBody::Decide { .. }
            | RequestBody::Finish { .. }
            | RequestBody::Rollback { .. }
            | RequestBody::Resolve { .. }
            | RequestBody::Forget { .. }
    )
}

/// Whether a request that may be repeated has failed because another replica leads by now.
fn was_overtaken(body: &RequestBody, error: &SqlError) -> bool {
    let states = [SqlState::SERIALIZATION_FAILURE, SqlState::STATEMENT_COMPLETION_UNKNOWN];
    may_be_repeated(body) && states.contains(&error.state())
}

fn commits(body: &RequestBody) -> bool {
    matches!(body, RequestBody::CommitOnePhase { .. } | RequestBody::Write { commit: true, .. })
}

/// What a request ends with of which nobody knows whether it was carried out.
fn lost(commits: bool) -> SqlError {
    match commits {
        true => SqlError::new(
            SqlState::STATEMENT_COMPLETION_UNKNOWN,
            "the node that was to commit the change was lost before it answered",
        )
        .hint("Look whether the change is there before it is made again."),
        false => SqlError::new(
            SqlState::SERIALIZATION_FAILURE,
            "a node that serves the transaction was lost",
        )
        .hint("Retry the transaction."),
    }
}

/// What a request ends with that has met damage on this core, and may be served elsewhere.
pub(super) fn damaged(partition: PartitionId) -> SqlError {
    let what = format!("the replica of partition {partition} on this node is damaged");
    SqlError::new(SqlState::SERIALIZATION_FAILURE, what).hint("Retry the transaction.")
}

/// A request for a partition that lives elsewhere: its sender's placement map is old.
pub(super) fn not_here(partition: PartitionId) -> SqlError {
    SqlError::new(SqlState::CANNOT_CONNECT_NOW, format!("partition {partition} is not served here"))
        .hint("Retry the statement.")
}

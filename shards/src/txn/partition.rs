//! One partition: its tree, its transactions, and what its log does to them.

use super::context::{CoreContext, timed_out};
use super::locks::{LockMode, LockRange};
use super::naming::Locked;
use super::state::{Decision, Finish, Marked, Refusal, TxnStates, Vote, WriteSet};
use crate::log::LogError;
use crate::raft::{LEASE, LEASE_BY_ANY_CLOCK, Leading};
use crate::storage::{StorageError, Tree};
use bytes::Bytes;
use model::command::{Command, KeyWrite, Outcome};
use model::error::{SqlError, SqlState};
use model::id::{LogIndex, NodeId, PartitionId, Term, TxnId};
use model::key::KeyRange;
use model::schema::Table;
use model::time::{CLOCKS_APART_MAX, Timestamp};
use runtime::sync::Notify;
use runtime::time::Instant;
use runtime::{task, time};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A long change is applied in parts of so many writes, between which other tasks run.
const APPLY_WRITES: usize = 64;

/// How often a partition that is handed over looks whether it is at rest.
const HAND_OVER_LOOK: Duration = Duration::from_millis(2);

/// The writes of a large transaction are dropped so many at a time.
const DROP_WRITES: usize = 1024;

/// One partition on its leader's core.
pub(crate) struct Partition {
    pub(crate) id: PartitionId,
    pub(crate) tree: Tree,
    pub(crate) context: Rc<CoreContext>,
    pub(crate) states: RefCell<TxnStates>,
    /// Who waits for a transaction to end here.
    ended: RefCell<BTreeMap<TxnId, Notify>>,
    /// Who waits for a request of a transaction to end here.
    left: RefCell<BTreeMap<TxnId, Notify>>,
    /// The log has failed for good.
    failure: RefCell<Option<LogError>>,
    /// Who leads, as far as is known.
    leading: Cell<Leading>,
    /// A leader serves from then on.
    serves_from: Cell<Instant>,
    /// Entries after these are kept in the log, for those who will ask for them.
    held: RefCell<Vec<LogIndex>>,
    /// This replica's files are damaged, and another one is to lead.
    gives_up: Cell<bool>,
    /// How many want another replica to lead.
    handing_over: Cell<u32>,
    /// Another replica may lead at any moment.
    gives_way: Cell<bool>,
}

/// While it lasts, a partition that is to be led elsewhere lets no transaction in.
pub(crate) struct HandOver {
    partition: Rc<Partition>,
}

impl Drop for HandOver {
    fn drop(&mut self) {
        let wanted = &self.partition.handing_over;
        wanted.set(wanted.get() - 1);
        if wanted.get() == 0 {
            self.partition.gives_way.set(false);
        }
    }
}

/// While a transaction waits for a lock.
struct Locking<'a> {
    partition: &'a Partition,
    txn: TxnId,
}

impl Locking<'_> {
    fn is_there(&self) -> bool {
        self.partition.states.borrow().get(self.txn).is_some()
    }

    /// Whether the transaction is still there, which has got the lock.
    fn end(self) -> Result<(), SqlError> {
        if !self.is_there() {
            return Err(self.partition.refuse(self.txn, Refusal::Unknown));
        }
        // It has been looked at.
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Locking<'_> {
    /// A transaction that was rolled back meanwhile may have got its lock since, and whoever has asked for that
    /// may not wait any more: nobody else would end the lock.
    fn drop(&mut self) {
        if !self.is_there() {
            self.partition.context.unlock(self.partition.id, self.txn);
        }
    }
}

impl Partition {
    pub(crate) fn new(tree: Tree, context: Rc<CoreContext>) -> Partition {
        let id = tree.partition();
        let states = TxnStates::new(id, context.staged_bytes.clone());
        Partition {
            id,
            tree,
            context,
            states: RefCell::new(states),
            ended: RefCell::default(),
            left: RefCell::default(),
            failure: RefCell::default(),
            leading: Cell::new(Leading::Elsewhere(None)),
            serves_from: Cell::new(time::now()),
            held: RefCell::default(),
            handing_over: Cell::new(0),
            gives_way: Cell::new(false),
            gives_up: Cell::new(false),
        }
    }

    /// Applies the commands of an entry of the log.
    pub(crate) async fn apply(&self, index: LogIndex, commands: Vec<Command>) {
        for command in commands {
            self.apply_command(index, command).await;
            task::yield_if_due().await;
        }
        self.passed(index);
    }

    /// Whether this replica leads, and has applied what earlier ones have left.
    pub(crate) fn leads(&self) -> bool {
        match self.leading.get() {
            Leading::Here { term, .. } => self.states.borrow().led() == Some(term),
            Leading::Elsewhere(_) => false,
        }
    }

    /// Who leads from here on, as far as is known.
    pub(crate) fn led(&self, leading: Leading) {
        let term_of = |leading| match leading {
            Leading::Here { term, .. } => Some(term),
            Leading::Elsewhere(_) => None,
        };
        let before = term_of(self.leading.replace(leading));
        self.context.led.notify_all();
        if before == term_of(leading) {
            return;
        }
        if let Some(term) = before {
            self.step_down(term);
        }
        if let Leading::Here { alone, inherits: true, .. } = leading {
            // Who votes has waited for the end of the lease of who led before; an only voter has asked nobody.
            let lease = if alone { LEASE_BY_ANY_CLOCK } else { Duration::ZERO };
            self.serves_from.set(time::now() + CLOCKS_APART_MAX.max(lease));
            // Those that any clock has given out before somebody else led last.
            let began = Timestamp(self.context.now().0 + CLOCKS_APART_MAX.as_nanos() as u64);
            self.states.borrow_mut().expel_before(began);
        }
    }

    /// Who leads, as far as is known: `None` where it is this replica.
    pub(crate) fn led_elsewhere(&self) -> Option<Option<NodeId>> {
        match self.leading.get() {
            Leading::Here { .. } => None,
            Leading::Elsewhere(leader) => Some(leader),
        }
    }

    /// Whether requests may be served here: this replica leads, nobody else can lead at this moment, and
    /// nobody has read anywhere at a time that is still to come here.
    pub(crate) fn serves(&self) -> bool {
        match self.leading.get() {
            Leading::Elsewhere(_) => false,
            Leading::Here { alone, .. } => {
                let now = time::now();
                let may = || {
                    let until = self.context.log().lease_until(self.id);
                    !self.gives_way.get()
                        && !self.gives_up.get()
                        && until.is_some_and(|until| now < until)
                };
                self.leads() && now >= self.serves_from.get() && (alone || may())
            }
        }
    }

    /// When this replica will serve, which leads and waits for the clocks of others.
    pub(crate) fn serves_soon(&self) -> Option<Instant> {
        let from = self.serves_from.get();
        let leads = matches!(self.leading.get(), Leading::Here { .. });
        let waits = leads && !self.gives_way.get() && !self.gives_up.get();
        (waits && time::now() < from).then_some(from)
    }

    /// Whether other replicas may serve what this one cannot.
    fn has_others(&self) -> bool {
        !matches!(self.leading.get(), Leading::Here { alone: true, .. })
    }

    /// Whether an error says that this replica is damaged, and others may serve what it cannot.
    pub(crate) fn has_whole_others(&self, error: &SqlError) -> bool {
        error.state() == SqlState::DATA_CORRUPTED && self.has_others()
    }

    /// Has this replica serve nothing for the moment, although it leads, or serve again.
    pub(crate) fn give_up(&self, gives_up: bool) {
        self.gives_up.set(gives_up);
    }

    /// Whether a request of a transaction may be served here that may be its first: none is while the
    /// partition is handed over.
    pub(crate) fn lets_in(&self, txn: TxnId) -> bool {
        self.handing_over.get() == 0 || self.states.borrow().get(txn).is_some()
    }

    /// Lets no transaction in any more, and waits until those that are here have ended: what is
    /// active comes to nothing with its leader. Not longer than `within`. For as long as what it gives is held
    /// the partition serves nobody.
    pub(crate) async fn hand_over(self: &Rc<Self>, within: Duration) -> HandOver {
        self.handing_over.set(self.handing_over.get() + 1);
        let handing = HandOver { partition: self.clone() };
        let until = time::now() + within;
        while self.states.borrow().len() > 0 && time::now() < until {
            time::sleep(HAND_OVER_LOOK).await;
        }
        // Who takes over waits for no lease: what this one has promised must be over by then, and it
        // must not serve next to the other.
        self.gives_way.set(true);
        if self.states.borrow().len() > 0 {
            time::sleep(LEASE).await;
        }
        handing
    }

    /// The timestamp up to which nobody else writes in this partition, whoever leads it next: a new leader
    /// waits until every clock is past what this one's clock says at the end of its lease. What is locked
    /// here, and the log does not know, is good for commits no later than that.
    pub(super) fn held_until(&self) -> Timestamp {
        match self.leading.get() {
            Leading::Elsewhere(_) => Timestamp::ZERO,
            Leading::Here { .. } if self.gives_way.get() => Timestamp::ZERO,
            // Nobody else can.
            Leading::Here { alone: true, .. } => Timestamp::MAX,
            Leading::Here { .. } => {
                let until = self.context.log().lease_until(self.id);
                until.map_or(Timestamp::ZERO, |until| self.context.clock.at(until.as_nanos()))
            }
        }
    }

    /// Another replica leads, or will: what is active here comes to nothing. What the log knows of stays
    /// as it is until the next term says what became of it.
    fn step_down(&self, term: Term) {
        let dropped = self.states.borrow_mut().step_down(term);
        for txn in dropped {
            self.end(txn);
        }
    }

    /// The partition's files were replaced: what the log says next is all that is known besides.
    pub(crate) fn replaced(&self) {
        let dropped = self.states.borrow_mut().forget_all();
        for txn in dropped {
            self.end(txn);
        }
    }

    /// An entry of the log is applied, with all its commands.
    pub(crate) fn passed(&self, index: LogIndex) {
        self.tree.apply_at(index, Timestamp::ZERO, &[]);
    }

    async fn apply_command(&self, index: LogIndex, command: Command) {
        match command {
            Command::Stage { txn, first, writes, locks } => {
                let part = (writes, locks);
                self.states.borrow_mut().part_logged(txn, first, index, part, time::now());
            }
            Command::Commit { txn, at, writes, staged: false } => {
                self.apply_writes(index, at, &writes).await;
                self.states.borrow_mut().clear_pending(txn, &writes);
                self.end(txn);
            }
            Command::Commit { txn, at, staged: true, .. } => {
                let writes = self.states.borrow_mut().committed_staged(txn, at, index);
                self.apply_bulk(index, at, writes).await;
                self.end(txn);
            }
            Command::Prepare { txn, at, anchor, writes, locks, staged } => {
                self.prepared(txn, Vote { at, anchor, writes, locks, staged, index }).await;
            }
            Command::Decide { txn, outcome, participants, again } => {
                let decision = Decision { outcome, participants, index, since: time::now() };
                self.states.borrow_mut().decided(txn, decision, again);
            }
            Command::Finish { txn, outcome } => self.finished(index, txn, outcome).await,
            Command::Forget { txn } => self.states.borrow_mut().forgotten(txn),
        }
    }

    async fn prepared(&self, txn: TxnId, vote: Vote) {
        if !self.states.borrow_mut().prepared(txn, vote, time::now()) {
            return;
        }
        // Of another life or leader: what it had locked is locked again, before any request is served.
        let (vote, bulk) = {
            let states = self.states.borrow();
            (states.vote(txn).cloned(), states.bulk(txn))
        };
        let Some(vote) = vote else { return };
        let small = vote.writes.iter().map(|write| (&write.key, LockMode::Exclusive));
        let large = bulk.iter().flat_map(|writes| writes.keys());
        let large = large.map(|key| (key, LockMode::Exclusive));
        let shared = vote.locks.iter().map(|key| (key, LockMode::Shared));
        for (key, mode) in small.chain(large).chain(shared) {
            self.context.locks.borrow_mut().acquire(self.id, txn, key, mode);
            task::yield_if_due().await;
        }
    }

    /// A term begins with the entry at `index`: what was there in part only will never be whole.
    pub(crate) fn term_begins(&self, index: LogIndex, led: Option<Term>) {
        let unfinished = self.states.borrow_mut().begin_term(led);
        if led.is_some() {
            self.states.borrow_mut().expel_before(self.context.born);
        }
        for txn in unfinished {
            self.end(txn);
        }
        self.passed(index);
    }

    async fn finished(&self, index: LogIndex, txn: TxnId, outcome: Outcome) {
        let finish = self.states.borrow_mut().finished(txn, outcome, index);
        match finish {
            Finish::Commit(at, writes) => {
                self.apply_writes(index, at, &writes).await;
                self.states.borrow_mut().clear_pending(txn, &writes);
                self.end(txn);
            }
            Finish::CommitBulk(at, writes) => {
                self.apply_bulk(index, at, Some(writes)).await;
                self.end(txn);
            }
            Finish::Abort => self.end(txn),
            Finish::Nothing => self.wake_waiting(txn),
        }
    }

    /// All writes of a commit. Readers that could see some of them wait for all: they are pending.
    async fn apply_writes(&self, index: LogIndex, at: Timestamp, writes: &[KeyWrite]) {
        let mut parts = writes.chunks(APPLY_WRITES).peekable();
        while let Some(part) = parts.next() {
            self.tree.apply_part(index, at, part);
            if parts.peek().is_some() {
                task::yield_if_due().await;
            }
        }
    }

    /// All writes of a large transaction. What it adds to memory goes to table files meanwhile.
    async fn apply_bulk(&self, index: LogIndex, at: Timestamp, writes: Option<Rc<WriteSet>>) {
        let writes = writes.unwrap_or_default();
        let mut writes = writes.iter();
        let mut part = Vec::with_capacity(APPLY_WRITES);
        loop {
            part.clear();
            let next = writes.by_ref().take(APPLY_WRITES);
            part.extend(
                next.map(|(key, value)| KeyWrite { key: key.clone(), value: value.clone() }),
            );
            self.tree.apply_part(index, at, &part);
            if part.len() < APPLY_WRITES {
                return;
            }
            // A disk that is too full to flush must not hold up an outcome that is decided: its
            // writes are in memory anyway.
            drop(self.tree.make_room().await);
            task::yield_if_due().await;
        }
    }

    /// A command did not get into the log.
    pub(crate) fn refused(&self, command: Command, error: &LogError) {
        if error.is_in_doubt() {
            // It may be in the log: what it wrote stays pending, so that nobody reads past it.
            return;
        }
        match command {
            Command::Commit { txn, writes, .. } | Command::Prepare { txn, writes, .. } => {
                // A vote that was to be written again is still where it was.
                let carried = self.states.borrow().vote(txn).is_some_and(|vote| vote.index.0 > 0);
                if !carried {
                    self.drop_leaning(txn);
                    dispose(self.states.borrow_mut().refused(txn, &writes));
                    self.wake_ended(txn);
                }
            }
            // Whoever writes the parts gives the transaction up.
            Command::Stage { .. } => {}
            Command::Finish { txn, .. } => {
                self.states.borrow_mut().finish_refused(txn);
                self.wake_waiting(txn);
            }
            Command::Decide { .. } | Command::Forget { .. } => {}
        }
    }

    /// A commit did not get into the log: those who have seen what it wrote go with it. Who has
    /// proposed something since then is refused by the log.
    fn drop_leaning(&self, txn: TxnId) {
        let leaning = self.states.borrow().leaning_on(txn);
        for leaning in leaning {
            self.end(leaning);
            self.states.borrow_mut().expel(leaning);
        }
    }

    /// Waits until everything that a transaction has seen here is durable, before anything is told of
    /// it. Refused: it did not get into the log, and the transaction has gone with it.
    pub(super) async fn wait_for_seen(&self, txn: TxnId) -> Result<(), SqlError> {
        loop {
            let awaited = self.states.borrow().leans_on(txn);
            match awaited.map_err(|refusal| self.refuse(txn, refusal))? {
                Some(awaited) => self.wait_ended(awaited)?.await,
                None => return Ok(()),
            }
        }
    }

    /// The log has failed for good: who waits for an outcome is told.
    pub(crate) fn log_failed(&self, error: &LogError) {
        *self.failure.borrow_mut() = Some(error.clone());
        for notify in self.ended.borrow().values() {
            notify.notify_all();
        }
    }

    /// A transaction has ended here: its locks go, and who waits for it goes on.
    pub(super) fn end(&self, txn: TxnId) {
        self.forget_marks(txn);
        dispose(self.states.borrow_mut().end(txn));
        self.wake_ended(txn);
    }

    pub(super) fn wake_ended(&self, txn: TxnId) {
        self.context.unlock(self.id, txn);
        self.wake_waiting(txn);
    }

    /// Who waits for a transaction looks at it again: an outcome that was under way did not come
    /// about, and it is still prepared.
    fn wake_waiting(&self, txn: TxnId) {
        if let Some(notify) = self.ended.borrow_mut().remove(&txn) {
            notify.notify_all();
        }
    }

    /// The transaction does not go back any more.
    pub(super) fn forget_marks(&self, txn: TxnId) {
        let marks = self.states.borrow_mut().take_marks(txn);
        dispose_marks(marks);
    }

    /// A request of a transaction has ended here.
    pub(super) fn left(&self, txn: TxnId) {
        if let Some(notify) = self.left.borrow_mut().remove(&txn) {
            notify.notify_all();
        }
    }

    /// Resolves when a request of a transaction has ended here.
    pub(super) fn wait_left(&self, txn: TxnId) -> impl Future<Output = ()> + use<> {
        self.left.borrow_mut().entry(txn).or_default().notified()
    }

    /// Waits until no transaction is in the way of a snapshot in a range of keys.
    pub(super) async fn wait_for_pending(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        at: Timestamp,
        own: Option<TxnId>,
        read: Locked<'_>,
        lock_timeout: Option<Duration>,
    ) -> Result<(), SqlError> {
        let since = time::now();
        loop {
            let blocker = self.states.borrow().pending_in(start, end, at, own);
            let Some(blocker) = blocker else { return Ok(()) };
            let left = self.context.patience(lock_timeout).saturating_sub(since.elapsed());
            if time::timeout(left, self.wait_ended(blocker)?).await.is_err() {
                let read_here = read.name(start);
                let what = format!(
                    "Transaction {blocker} commits changes of {read_here}, and has no outcome yet"
                );
                return Err(read.attach(timed_out(&what, since.elapsed())));
            }
        }
    }

    /// Resolves when a transaction has ended here, or the log has failed.
    pub(super) fn wait_ended(
        &self,
        txn: TxnId,
    ) -> Result<impl Future<Output = ()> + use<>, SqlError> {
        if let Some(error) = &*self.failure.borrow() {
            return Err(error.clone().into());
        }
        Ok(self.ended.borrow_mut().entry(txn).or_default().notified())
    }

    /// Why a request of a transaction is refused, as the client sees it.
    pub(super) fn refuse(&self, txn: TxnId, refusal: Refusal) -> SqlError {
        match refusal {
            Refusal::Unknown | Refusal::Expelled => SqlError::new(
                SqlState::SERIALIZATION_FAILURE,
                "the transaction was rolled back",
            )
            .detail(format!(
                "Partition {} does not know transaction {txn}: it was idle for too long, the node \
                 restarted, or the log took no commit that it had built on.",
                self.id
            ))
            .hint("Retry the transaction."),
            Refusal::Ending => SqlError::new(
                SqlState::INVALID_TRANSACTION_STATE,
                format!("transaction {txn} is already ending or has a statement in progress"),
            ),
        }
    }

    /// Locks a key for a transaction.
    pub(super) async fn lock(
        &self,
        txn: TxnId,
        key: &Bytes,
        mode: LockMode,
        locked: Locked<'_>,
        lock_timeout: Option<Duration>,
    ) -> Result<(), SqlError> {
        let name = || locked.name(key);
        let locking = Locking { partition: self, txn };
        let granted = self.context.lock(self.id, txn, key, mode, lock_timeout, name).await;
        granted.map_err(|error| locked.attach(error))?;
        locking.end()
    }

    /// Locks a range of keys for a transaction. Returns the time of what is there from then on until
    /// its end, but for what it changes itself.
    pub(super) async fn lock_range(
        &self,
        txn: TxnId,
        range: &KeyRange,
        mode: LockMode,
        table: &Table,
        lock_timeout: Option<Duration>,
    ) -> Result<Timestamp, SqlError> {
        let range = LockRange {
            start: Bytes::copy_from_slice(&range.start),
            end: range.end.as_deref().map(Bytes::copy_from_slice),
        };
        let locked = Locked::RangeIn(table);
        let name = || locked.name(&range.start);
        let locking = Locking { partition: self, txn };
        let granted = self.context.lock_range(self.id, txn, &range, mode, lock_timeout, name).await;
        granted.map_err(|error| locked.attach(error))?;
        locking.end()?;
        Ok(self.context.now())
    }

    /// The last entry that the log may let go, with all before it: table files hold what it says, and
    /// no vote or decision that is needed lies there.
    pub(crate) fn needless_to(&self) -> LogIndex {
        let durable = self.tree.durable_index();
        let oldest = self.states.borrow_mut().oldest_needed(durable);
        let needless =
            oldest.map_or(durable, |oldest| durable.min(LogIndex(oldest.0.saturating_sub(1))));
        self.held.borrow().iter().copied().fold(needless, LogIndex::min)
    }

    /// Keeps the log after an entry until [`Partition::let_go`].
    pub(crate) fn hold_log(&self, after: LogIndex) {
        self.held.borrow_mut().push(after);
    }

    /// See [`Partition::hold_log`].
    pub(crate) fn let_go(&self, after: LogIndex) {
        let mut held = self.held.borrow_mut();
        if let Some(at) = held.iter().position(|held| *held == after) {
            held.swap_remove(at);
        }
    }

    /// What the log must keep of this partition's entries up to `last`.
    pub(crate) fn needs(&self, last: LogIndex) -> Option<Needed> {
        if self.tree.durable_index() < last {
            return Some(Needed::Flush);
        }
        (self.needless_to() < last).then_some(Needed::Carry)
    }
}

/// Why entries of the log are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Their writes are only in memory otherwise.
    Flush,
    /// They are votes or decisions.
    Carry,
}

/// Drops writes; where they are many, in steps and behind the caller's back. Whoever else holds them
/// must let go first.
fn dispose(writes: Option<Rc<WriteSet>>) {
    let Some(Ok(writes)) = writes.map(Rc::try_unwrap) else { return };
    if writes.len() <= DROP_WRITES {
        return;
    }
    let dropping = async move {
        let mut writes = writes.into_iter();
        while writes.len() > 0 {
            writes.by_ref().take(DROP_WRITES).for_each(drop);
            task::yield_now().await;
        }
    };
    task::spawn("drop", dropping).detach();
}

/// Drops what marks hold, as [`dispose`] drops writes.
pub(super) fn dispose_marks(mut marks: Vec<Marked>) {
    if marks.iter().map(Marked::len).sum::<usize>() <= DROP_WRITES {
        return;
    }
    let dropping = async move {
        while let Some(last) = marks.last_mut() {
            last.drop_some(DROP_WRITES);
            if last.len() == 0 {
                marks.pop();
            }
            task::yield_now().await;
        }
    };
    task::spawn("drop", dropping).detach();
}

/// A failure of storage, as the client sees it.
pub(crate) fn storage_error(error: StorageError) -> SqlError {
    let (state, message) = match &error {
        StorageError::OutOfSpace { .. } => (SqlState::DISK_FULL, "no space left on the device"),
        StorageError::Corruption(_) => (SqlState::DATA_CORRUPTED, "stored data is damaged"),
        _ => (SqlState::IO_ERROR, "storage has failed"),
    };
    SqlError::new(state, message).detail(error.to_string())
}

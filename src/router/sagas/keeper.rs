//! The keeper of sagas: on the core that leads the system partition of the cluster, it compensates those that have
//! lost their session or are given to it, and forgets those that ended long ago.
//!
//! ```text
//!  a claim is dropped, ROLLBACK SAGA, an error ──► due now ─┐        ┌─► done: the waiting are told
//!  a look over all sagas, at the start and then and now ───►├─ try ──┤
//!                                         ▲                           └─► failed: they are told, too
//!                                         └──────── after a pause ◄──────────┘
//! ```
//!
//! What the keeper knows it knows from the sagas' rows: one that starts anew looks at them and goes
//! on. A saga whose compensation fails waits for its own next turn and for nobody else's.

use super::{Router, SagaId, Tried};
use crate::router::gates::{Holder, Pass};
use crate::router::{ATTEMPTS_MAX, RowSink, Statement, Unfinished};
use crate::sql::{Planned, plan_compensation};
use crate::txn::Transaction;
use crate::txn::saga::{Action, Compensation, Event};
use futures::future::{LocalBoxFuture, ready, select};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, select_biased};
use model::batch::Batch;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use model::id::Term;
use runtime::sync::{Notify, oneshot};
use runtime::time::{self, Instant};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// Sagas that are compensated at the same time.
const CONCURRENT_MAX: usize = 32;
/// How often the keeper looks at all sagas, in case it was not told of one.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How soon it looks again when it could not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long the end of a saga is remembered.
const REMEMBERED: Duration = Duration::from_secs(3_600);
/// How many ended sagas are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// Ended sagas that are forgotten at the same time.
const FORGOTTEN_AT_ONCE: usize = 32;

/// The sagas that are to be compensated. One per core, in use on the keeper's.
#[derive(Default)]
pub(in crate::router) struct Keeper {
    entries: RefCell<BTreeMap<SagaId, Entry>>,
    changed: Notify,
}

struct Entry {
    /// `None` while an attempt is under way.
    rest: Option<Rest>,
    /// Who wants to know what comes of the next attempt.
    waiting: Vec<oneshot::Sender<Tried>>,
}

/// Between two attempts.
struct Rest {
    until: Instant,
    /// `None` before the first one.
    compensation: Option<Compensation>,
}

impl Keeper {
    /// Sagas that are not compensated yet.
    pub(super) fn waiting(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Has a saga compensated now, however long the pause would be; what the attempt came to.
    pub(super) async fn compensate(&self, id: SagaId) -> Result<Tried, SqlError> {
        let (sender, receiver) = oneshot::channel();
        self.take_on(id, Some(sender));
        receiver.await.map_err(|_closed| {
            SqlError::new(SqlState::CANNOT_CONNECT_NOW, "another node keeps the sagas now")
                .hint("The saga is compensated there.")
        })
    }

    /// What is to be done is another's. Who waits for it asks there.
    fn give_up(&self) {
        self.entries.borrow_mut().clear();
    }

    fn take_on(&self, id: SagaId, waiting: Option<oneshot::Sender<Tried>>) {
        let now = time::now();
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(id).or_insert_with(|| {
            let rest = Some(Rest { until: now, compensation: None });
            Entry { rest, waiting: Vec::new() }
        });
        if let Some(waiting) = waiting {
            entry.waiting.push(waiting);
            if let Some(rest) = &mut entry.rest {
                rest.until = now;
            }
        }
        self.changed.notify_one();
    }

    /// The next saga whose time has come.
    fn next_due(&self) -> Option<(SagaId, Option<Compensation>)> {
        let now = time::now();
        let mut entries = self.entries.borrow_mut();
        let due = |entry: &Entry| entry.rest.as_ref().is_some_and(|rest| rest.until <= now);
        let (&id, entry) = entries.iter_mut().find(|(_, entry)| due(entry))?;
        Some((id, entry.rest.take().and_then(|rest| rest.compensation)))
    }

    /// When the first of those that rest comes next.
    fn next_time(&self) -> Option<Instant> {
        let entries = self.entries.borrow();
        entries.values().filter_map(|entry| entry.rest.as_ref()).map(|rest| rest.until).min()
    }

    /// An attempt is over.
    fn attempted(&self, id: SagaId, attempt: Attempt) {
        let Attempt { compensation, tried, pause } = attempt;
        let mut entries = self.entries.borrow_mut();
        let Some(mut entry) = entries.remove(&id) else { return };
        for waiting in entry.waiting.drain(..) {
            // One who no longer waits need not know.
            let _gone = waiting.send(tried.clone());
        }
        if let Some(pause) = pause {
            let until = time::now() + pause;
            entry.rest = Some(Rest { until, compensation: Some(compensation) });
            entries.insert(id, entry);
        }
    }
}

/// One attempt to compensate a saga, and how it goes on.
struct Attempt {
    compensation: Compensation,
    tried: Tried,
    /// `None`: it does not.
    pause: Option<Duration>,
}

impl Router {
    /// Keeps the sagas while this core is the keeper, as long as it lives.
    pub async fn keep_sagas(&self) {
        loop {
            match self.keeps() {
                Some(term) => {
                    let keep = pin!(self.keep_sagas_now());
                    let ended = pin!(self.end_of_term(term));
                    select(keep, ended).await;
                    // Whoever is the keeper now reads what is to be done.
                    self.inner.keeper.give_up();
                }
                None if self.peers().is_alone() => return,
                None => time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Waits until this core is no more the keeper of that term.
    async fn end_of_term(&self, term: Term) {
        if self.peers().is_alone() {
            return std::future::pending().await;
        }
        while self.keeps() == Some(term) {
            time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn keep_sagas_now(&self) {
        let keeper = &self.inner.keeper;
        let mut look = time::now();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < CONCURRENT_MAX
                && let Some((id, compensation)) = keeper.next_due()
            {
                under_way.push(self.attempt(id, compensation).map(move |attempt| (id, attempt)));
            }
            if time::now() >= look {
                look = time::now() + self.look_at_all().await;
                continue;
            }
            // With all hands full nobody else's time matters.
            let next = keeper.next_time().filter(|_| under_way.len() < CONCURRENT_MAX);
            let until = next.map_or(look, |next| next.min(look));
            select_biased! {
                (id, attempt) = under_way.select_next_some() => keeper.attempted(id, attempt),
                () = keeper.changed.notified().fuse() => {}
                () = time::sleep_until(until).fuse() => {}
            }
        }
    }

    /// Takes on what has lost its session, and forgets what ended long ago. How long that is good
    /// for.
    async fn look_at_all(&self) -> Duration {
        let looked = async {
            self.take_on_lost().await?;
            self.forget_ended().await
        };
        match looked.await {
            Ok(()) => LOOK_EVERY,
            Err(error) => {
                log::warn!("sagas cannot be looked at: {error}");
                LOOK_AGAIN
            }
        }
    }

    async fn take_on_lost(&self) -> Result<(), SqlError> {
        // Who owns what is asked after the rows are read: a saga is owned before it has a row.
        let open = self.open_sagas().await?;
        if open.is_empty() {
            return Ok(());
        }
        let Some(claims) = self.claims_of_serving().await? else { return Ok(()) };
        for saga in open {
            if !saga.running || !claims.contains(&saga.id) {
                self.inner.keeper.take_on(saga.id, None);
            }
        }
        Ok(())
    }

    async fn forget_ended(&self) -> Result<(), SqlError> {
        let ended = self.ended_sagas().await?;
        let since = self.now_micros() - REMEMBERED.as_micros() as i64;
        let old = ended.into_iter().enumerate();
        let old = old.filter(|(at, (_, changed))| *at >= REMEMBERED_MAX || *changed < since);
        let mut forgetting = futures::stream::iter(old)
            .map(|(_, (id, _))| self.forget_saga(id))
            .buffer_unordered(FORGOTTEN_AT_ONCE);
        while let Some(forgotten) = forgetting.next().await {
            forgotten?;
        }
        Ok(())
    }

    /// Compensates a saga until it is done or something fails.
    async fn attempt(&self, id: SagaId, resting: Option<Compensation>) -> Attempt {
        let (mut compensation, mut action) = match resting {
            Some(mut resting) => match resting.step(Event::Rested) {
                Some(action) => (resting, action),
                None => Compensation::start(),
            },
            None => Compensation::start(),
        };
        let before = compensation.undone();
        loop {
            let event = match action {
                Action::Claim => self.claim(id).await.map(Event::Claimed),
                Action::Undo(step) => self.undo(id, step).await.map(|()| Event::Undone),
                Action::End => self.end_compensated(id).await.map(|()| Event::Ended),
                Action::Note(error) => {
                    log::warn!(saga = id.0; "a saga could not be compensated: {error}");
                    self.note_failure(id, &error).await.map(|()| Event::Noted)
                }
                Action::Rest(pause, error) => {
                    let undone = compensation.undone() - before;
                    let tried = Tried { undone, failure: Some(error) };
                    return Attempt { compensation, tried, pause: Some(pause) };
                }
                Action::Done => {
                    let undone = compensation.undone() - before;
                    let tried = Tried { undone, failure: None };
                    return Attempt { compensation, tried, pause: None };
                }
            };
            let event = event.unwrap_or_else(Event::Failed);
            action = compensation.step(event).unwrap_or_else(|| {
                unreachable!("each action has its event: the compensation of saga {id}")
            });
        }
    }

    /// Runs the compensation of a step and deletes its record, in one transaction.
    async fn undo(&self, id: SagaId, step: u32) -> Result<(), SqlError> {
        let mut attempt = 1;
        loop {
            let transaction = self.begin();
            // Given back behind the commit.
            let mut pass = Pass::of(Holder::Transaction(transaction.id));
            let mut unfinished = Unfinished { router: self, transaction: Some(transaction) };
            let undone = self.undo_in(id, step, unfinished.transaction(), &mut pass).await;
            let transaction = unfinished.transaction.take();
            let transaction =
                transaction.ok_or_else(|| SqlError::internal("a saga lost its transaction"))?;
            let undone = match undone {
                Ok(true) => self.commit(transaction).await,
                // Somebody has undone or skipped it.
                Ok(false) => {
                    self.rollback(transaction).await;
                    Ok(())
                }
                Err(error) => {
                    self.rollback(transaction).await;
                    Err(error)
                }
            };
            match undone {
                Err(error) if error.state().is_retryable() && attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    self.pause_before(attempt).await;
                }
                result => return result,
            }
        }
    }

    /// Whether there was something to be undone.
    async fn undo_in(
        &self,
        id: SagaId,
        step: u32,
        transaction: &mut Transaction,
        pass: &mut Pass,
    ) -> Result<bool, SqlError> {
        self.serve().await?;
        let Some(taken) = self.take_step(id, step, transaction).await? else { return Ok(false) };
        let planned: Planned = loop {
            let planned = plan_compensation(&taken.compensation, &self.catalog(), &taken.settings)?;
            self.gates().enter(pass, &planned.tables).await?;
            if planned.catalog_version == self.catalog_version() {
                break planned;
            }
        };
        let statement = Statement {
            planned: &planned,
            parameters: taken.parameters,
            now_micros: self.now_micros(),
            snapshot: None,
            isolation: Isolation::Serializable,
            lock_timeout: None,
            identity: taken.identity,
            sequences: Rc::default(),
            presence: None,
            backends: None,
            catalog: None,
        };
        self.run(&statement, Some(transaction), &mut Nowhere).await.map(|_rows| true)
    }
}

/// Takes the rows of a `RETURNING` that nobody reads.
struct Nowhere;

impl RowSink for Nowhere {
    fn rows(&mut self, _batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(ready(Ok(())))
    }
}

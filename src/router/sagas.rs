//! Sagas: long transactions whose steps commit one by one, and are undone by compensations where the
//! whole does not come to its end (Garcia-Molina and Salem, 1987).
//!
//! ```text
//!  BEGIN SAGA ─► row of phantom.sagas: running
//!  STEP       ─► one transaction: the step's rows
//!                               + the saga's row: one step more   (only while it is running)
//!                               + row of phantom.saga_steps: the compensation
//!  COMMIT SAGA ─► one transaction: committed, compensations gone  (only while it is running)
//!  error, ROLLBACK SAGA, a session that vanishes, a restart
//!             ─► the keeper: compensating ─► of each step, last first, one transaction:
//!                               the compensation + its row gone  ─► compensated
//! ```
//!
//! **A step and its compensation's record are one transaction**, as are a compensation and the end of
//! its record: whatever is killed when, none is lost and none happens twice. Every one of these
//! transactions changes the saga's row under the condition that it says what it must; so the row's
//! lock puts them in one order, and the first change of the keeper, to `compensating`, waits for a
//! step or commit that is under way and keeps out all that come later.
//!
//! **Who owns a saga**: a session, while it holds its [`SagaClaim`]. Claims are in the memory of the
//! session's core alone: a saga that says `running` and that no core claims has lost its session, be
//! it to a crash of the node. Its keeper ([`keeper`]) is the core that leads the system partition.
//!
//! Both tables are spread by the saga's number, so that sagas do not meet in one partition. The rows
//! are read and written by SQL of our own ([`records`]).

mod keeper;
mod records;

pub(super) use keeper::Keeper;
pub(super) use records::OwnPlans;

use super::peers::{Answer, Call, CallError};
use super::{Router, Statement, Unfinished};
use crate::catalog::oids;
use crate::sql::{Compensation, SagaName};
use crate::txn::saga::SagaId;
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use model::id::{ObjectId, PartitionId};
use model::value::Value;
use records::{Ended, Found};
use rkyv::{Archive, Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Steps of one saga.
const STEPS_MAX: u32 = 1_000;
/// Bytes of all compensations of one saga, their parameters among them.
const BYTES_MAX: usize = 1 << 20;
/// Sagas that the sessions of one core have open.
const OPEN_MAX: usize = 1_000;
/// Sagas without a session that wait to be compensated: beyond, none are begun.
const WAITING_MAX: usize = 10_000;

/// What routers ask each other about sagas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum SagaCall {
    /// To the keeper: may one more be begun?
    Admit,
    /// To the keeper: compensate it, and answer when that was tried once.
    Compensate(SagaId),
    /// Which sagas do sessions of your core own?
    Claims,
}

/// What they answer.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum SagaAnswer {
    /// Yes.
    Admitted,
    /// What came of it.
    Tried(Tried),
    /// These.
    Claims(Vec<SagaId>),
}

/// What an attempt to compensate a saga came to.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Tried {
    /// Steps that were undone.
    pub undone: u32,
    /// Why not all were. It is tried again.
    pub failure: Option<SqlError>,
}

/// The sagas that the sessions of a core own. One per core.
#[derive(Default)]
pub(super) struct Claims {
    claimed: RefCell<BTreeSet<SagaId>>,
}

/// What a saga is begun with.
pub struct NewSaga<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// The role that begins it.
    pub role: ObjectId,
    /// The session's database.
    pub database: &'a str,
    /// The session's process.
    pub process: u32,
}

/// A session's ownership of a saga that is not over. Dropping it leaves the saga to be compensated.
pub struct SagaClaim {
    router: Router,
    id: SagaId,
    name: Option<Box<str>>,
    steps: u32,
    bytes: usize,
    /// Nobody needs to be told that there is no owner any more.
    over: bool,
}

impl SagaClaim {
    /// Its number.
    pub fn id(&self) -> SagaId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Drop for SagaClaim {
    fn drop(&mut self) {
        let inner = &*self.router.inner;
        inner.claims.claimed.borrow_mut().remove(&self.id);
        if self.over {
            return;
        }
        let (router, id) = (self.router.clone(), self.id);
        let told = async move {
            // A keeper that cannot be told finds the saga by itself.
            let _told = router.ask_saga_keeper(SagaCall::Compensate(id)).await;
        };
        runtime::task::spawn("saga without session", told).detach();
    }
}

/// What is recorded of a step, in the step's own transaction.
pub struct StepRecord<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// The role that makes it.
    pub role: ObjectId,
    /// Where its names without a schema were sought.
    pub path: &'a str,
    /// What undoes it; its parameters are the step's.
    pub compensation: Option<&'a Compensation>,
}

/// What has become of a saga that is not the session's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is open in another session.
    Open,
    /// It has committed.
    Committed,
    /// It is to be compensated, and is not yet.
    Compensating(SagaId),
    /// It is compensated.
    Compensated,
}

impl Router {
    /// Begins a saga.
    ///
    /// # Errors
    /// 53400 where there are too many; those of writing it down.
    pub async fn begin_saga(&self, new: NewSaga<'_>) -> Result<SagaClaim, SqlError> {
        let open = self.inner.claims.claimed.borrow().len();
        if open >= OPEN_MAX {
            return Err(too_many_open());
        }
        match self.ask_saga_keeper(SagaCall::Admit).await? {
            SagaAnswer::Admitted => {}
            other => return Err(unexpected(&other)),
        }
        let id = SagaId(self.row_id());
        // Claimed before it can be found.
        self.inner.claims.claimed.borrow_mut().insert(id);
        let name = new.name.map(Box::from);
        let mut claim =
            SagaClaim { router: self.clone(), id, name, steps: 0, bytes: 0, over: false };
        let written = self.insert_saga(id, &new).await;
        if let Err(error) = written {
            // Whether the row is there or not, it has no steps.
            claim.over = error.state() != SqlState::STATEMENT_COMPLETION_UNKNOWN;
            return Err(error);
        }
        Ok(claim)
    }

    /// Makes a step: a change, and the record of what undoes it, in one transaction. One that
    /// changes no row needs no compensation, and none is kept.
    ///
    /// # Errors
    /// 54000 at the bounds of a saga, 40000 where it is being compensated, and those of the change.
    pub async fn saga_step(
        &self,
        claim: &mut SagaClaim,
        statement: &Statement<'_>,
        record: &StepRecord<'_>,
    ) -> Result<(u64, Vec<Batch>), SqlError> {
        let step = claim.steps + 1;
        if step > STEPS_MAX {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "the saga has too many steps",
            )
            .detail(format!("At most {STEPS_MAX} steps are allowed in a saga.")));
        }
        let kept = record.compensation.map(|it| records::kept(it, &statement.parameters));
        let bytes = claim.bytes + kept.as_ref().map_or(0, records::Kept::bytes);
        if bytes > BYTES_MAX {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "the compensations of the saga are too large",
            )
            .detail(format!("At most {BYTES_MAX} bytes are kept for a saga.")));
        }
        let id = claim.id;
        let also = async |changed: u64, transaction: &mut _| {
            let kept = kept.as_ref().filter(|_| changed > 0);
            self.record_step(id, step, record, kept, transaction).await
        };
        let changed = self.change_with(statement, false, also).await?;
        (claim.steps, claim.bytes) = (step, bytes);
        Ok(changed)
    }

    /// Commits a saga: its steps stand.
    ///
    /// # Errors
    /// 40000 where it is being compensated; 40003 where it is not known whether it has committed.
    pub async fn commit_saga(&self, claim: &mut SagaClaim) -> Result<(), SqlError> {
        let mut unfinished = Unfinished { router: self, transaction: Some(self.begin()) };
        let ended =
            self.end_running(claim.id, claim.name.is_some(), unfinished.transaction()).await;
        let transaction = unfinished.transaction.take();
        let transaction =
            transaction.ok_or_else(|| SqlError::internal("a saga lost its transaction"))?;
        if let Err(error) = ended {
            self.rollback(transaction).await;
            return Err(error);
        }
        self.commit(transaction).await?;
        claim.over = true;
        Ok(())
    }

    /// Has a session's saga compensated; what came of the first attempt.
    pub async fn compensate_saga(&self, mut claim: SagaClaim) -> Result<Tried, SqlError> {
        let tried = self.compensate(claim.id).await;
        // The keeper knows of it.
        claim.over = tried.is_ok();
        tried
    }

    /// Has a saga compensated that no session owns.
    ///
    /// # Errors
    /// The keeper's core is stopping.
    pub async fn compensate(&self, id: SagaId) -> Result<Tried, SqlError> {
        match self.ask_saga_keeper(SagaCall::Compensate(id)).await? {
            SagaAnswer::Tried(tried) => Ok(tried),
            other => Err(unexpected(&other)),
        }
    }

    /// Leaves the compensation of a step out, for good; which one that was. A saga whose next attempt
    /// is under way is waited for.
    ///
    /// # Errors
    /// 55000 where the saga is not being compensated, 42704 where no compensation of the step is left.
    pub async fn skip_compensation(&self, id: SagaId, step: i64) -> Result<String, SqlError> {
        let mut unfinished = Unfinished { router: self, transaction: Some(self.begin()) };
        let dropped = self.drop_step(id, step, unfinished.transaction()).await;
        let transaction = unfinished.transaction.take();
        let transaction =
            transaction.ok_or_else(|| SqlError::internal("a saga lost its transaction"))?;
        match dropped {
            Ok(compensation) => self.commit(transaction).await.map(|()| compensation),
            Err(error) => {
                self.rollback(transaction).await;
                Err(error)
            }
        }
    }

    /// What has become of the last saga of that name that the role may know of.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn saga_fate(
        &self,
        name: &SagaName,
        role: ObjectId,
    ) -> Result<Option<Fate>, SqlError> {
        let catalog = self.catalog();
        let (roles, mine) = (catalog.roles(), catalog.roles().privileged_as(role));
        let mine: BTreeSet<u32> = mine.into_iter().map(oids::object).collect();
        let may_know = |found: &Found| roles.is_superuser(role) || mine.contains(&found.role);
        let found = self.find_sagas(name).await?;
        let Some(found) = found.into_iter().find(may_know) else { return Ok(None) };
        Ok(Some(match found.ended {
            Some(Ended::Committed) => Fate::Committed,
            Some(Ended::Compensated) => Fate::Compensated,
            None if found.running && self.all_claims().await?.contains(&found.id) => Fate::Open,
            None => Fate::Compensating(found.id),
        }))
    }

    /// The sagas that any session owns.
    async fn all_claims(&self) -> Result<BTreeSet<SagaId>, SqlError> {
        let answers = self.peers().call_reachable(Call::Saga(SagaCall::Claims)).await?;
        claims_of(answers.into_iter().map(|(_, answer)| answer))
    }

    /// The same, of all sessions that there may be: those of nodes that serve no statements any more own
    /// none. `None` where this core is the keeper no more.
    ///
    /// # Errors
    /// 08006 where a node cannot be reached that may serve statements.
    async fn claims_of_serving(&self) -> Result<Option<BTreeSet<SagaId>>, SqlError> {
        let Some(term) = self.keeps() else { return Ok(None) };
        let nodes = match self.peers().is_alone() {
            true => Vec::new(),
            false => match self.lease_holders(term).await? {
                Some(holders) => holders,
                None => return Ok(None),
            },
        };
        let asked =
            self.peers().ask_all(self.places_of(&nodes), Call::Saga(SagaCall::Claims)).await;
        let answers: Result<Vec<Answer>, CallError> =
            asked.into_iter().map(|(_, answer)| answer).collect();
        claims_of(answers?).map(Some)
    }

    /// Answers another router.
    pub(super) async fn handle_saga_call(&self, call: SagaCall) -> Result<Answer, SqlError> {
        if !matches!(call, SagaCall::Claims) && self.keeps().is_none() {
            return Ok(self.not_the_keeper());
        }
        let answer = match call {
            SagaCall::Admit if self.inner.keeper.waiting() >= WAITING_MAX => {
                return Err(too_many_waiting());
            }
            SagaCall::Admit => SagaAnswer::Admitted,
            SagaCall::Compensate(id) => SagaAnswer::Tried(self.inner.keeper.compensate(id).await?),
            SagaCall::Claims => {
                let claimed = self.inner.claims.claimed.borrow();
                SagaAnswer::Claims(claimed.iter().copied().collect())
            }
        };
        Ok(Answer::Saga(answer))
    }

    async fn ask_saga_keeper(&self, call: SagaCall) -> Result<SagaAnswer, SqlError> {
        // Twice is as good as once.
        match self.ask_leader(PartitionId::SYSTEM, Call::Saga(call), true).await? {
            Answer::Saga(answer) => Ok(answer),
            other => Err(SqlError::internal(format!("the keeper of sagas answered {other:?}"))),
        }
    }
}

fn claims_of(answers: impl IntoIterator<Item = Answer>) -> Result<BTreeSet<SagaId>, SqlError> {
    let mut all = BTreeSet::new();
    for answer in answers {
        match answer {
            Answer::Saga(SagaAnswer::Claims(those)) => all.extend(those),
            other => return Err(SqlError::internal(format!("claims of sagas: {other:?}"))),
        }
    }
    Ok(all)
}

/// Strings of a step's parameters are `NULL` where the parameter is.
fn as_texts(values: &[Value], types: &[model::types::DataType]) -> Vec<Option<String>> {
    let text =
        |(value, data_type): (&Value, _)| (!value.is_null()).then(|| value.to_text(data_type));
    values.iter().zip(types.iter().copied()).map(text).collect()
}

fn too_many_open() -> SqlError {
    SqlError::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "there are too many open sagas")
        .detail(format!("At most {OPEN_MAX} are open at once in the sessions of a core."))
        .hint("End sagas, or begin this one on another connection.")
}

fn too_many_waiting() -> SqlError {
    SqlError::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many sagas wait to be compensated")
        .detail(format!("While there are {WAITING_MAX} of them, none is begun."))
        .hint("phantom.sagas says why they cannot be.")
}

fn unexpected(answer: &SagaAnswer) -> SqlError {
    SqlError::internal(format!("a question about sagas was answered with {answer:?}"))
}

//! The session's side of sagas: one at a time, whose steps it makes and whose end it says.
//!
//! Any error inside a saga ends it: it is compensated before the client is answered, and the session
//! stands in a failed block until the client says `ROLLBACK` or `COMMIT`. Only so does a client that
//! sends many statements at once and looks at the answers afterwards commit nothing by halves. Where
//! compensating takes long, or fails, the client is not kept waiting: the keeper goes on with it.

use super::run::{Done, Source};
use super::{Client, Session, Standing, Weight};
use crate::router::sagas::{Fate, NewSaga, SagaClaim, StepRecord, Tried};
use crate::sql::{Planned, PlannedKind, SagaName, SagaPlan};
use model::error::{SqlError, SqlState};
use model::value::Value;
use runtime::time;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for the compensation of its saga.
const WAIT_MAX: Duration = Duration::from_secs(15);

impl Session {
    /// `BEGIN SAGA`
    ///
    /// # Errors
    /// 53400 where there are too many; those of writing it down.
    pub(super) async fn begin_saga(&mut self, planned: &Planned) -> Result<(), SqlError> {
        let PlannedKind::Saga(SagaPlan::Begin(name)) = &planned.kind else {
            return Err(SqlError::internal("no statement that begins a saga"));
        };
        let new = NewSaga {
            name: name.as_deref(),
            role: self.scope.actor.role,
            database: &self.scope.database,
            process: self.number.process(),
        };
        let claim = self.host.router.clone().begin_saga(new).await?;
        self.saga = Some(claim);
        self.standing = Standing::Saga;
        Ok(())
    }

    /// `STEP`
    ///
    /// # Errors
    /// Those of the change and of [`crate::router::Router::saga_step`].
    pub(super) async fn run_step(
        &mut self,
        source: Source<'_>,
        planned: Rc<Planned>,
        parameters: Arc<[Value]>,
        client: &mut dyn Client,
    ) -> Result<Done, SqlError> {
        let (planned, _pass) = self.admit(source, planned).await?;
        let PlannedKind::Saga(SagaPlan::Step(step)) = &planned.kind else {
            return Err(SqlError::internal("a step is planned again as something else"));
        };
        let statement = self.session_statement(&step.inner, parameters);
        let record = StepRecord {
            name: step.name.as_deref(),
            role: self.scope.actor.role,
            path: self.scope.path.text(),
            compensation: step.compensation.as_ref(),
        };
        let Some(claim) = &mut self.saga else {
            return Err(SqlError::internal("a step outside of a saga"));
        };
        let (rows, returned) = self.host.router.saga_step(claim, &statement, &record).await?;
        for batch in returned {
            client.rows(batch).await?;
        }
        Ok(Done { rows, tag: planned.tag(rows) })
    }

    /// `COMMIT SAGA`. Whatever comes of it, the session is outside of the saga afterwards.
    ///
    /// # Errors
    /// 40000 where it is being compensated, 40003 where it is not known what has become of it.
    pub(super) async fn commit_saga(&mut self, planned: &Planned) -> Result<(), SqlError> {
        self.check_named(planned)?;
        let mut claim = self.leave_saga()?;
        let committed = self.host.router.commit_saga(&mut claim).await;
        match committed {
            Ok(()) => Ok(()),
            // The keeper finds out, and compensates what has not committed.
            Err(error) if error.state() == SqlState::STATEMENT_COMPLETION_UNKNOWN => Err(error),
            Err(error) => Err(self.compensated_after(error, claim).await),
        }
    }

    /// `ROLLBACK SAGA`
    pub(super) async fn rollback_saga(
        &mut self,
        planned: &Planned,
        client: &mut dyn Client,
    ) -> Result<(), SqlError> {
        self.check_named(planned)?;
        let claim = self.leave_saga()?;
        let id = claim.id();
        let tried = time::timeout(WAIT_MAX, self.host.router.compensate_saga(claim)).await;
        self.warn_if_not_compensated(id.0, tried.ok(), client);
        Ok(())
    }

    /// `COMMIT SAGA` and `ROLLBACK SAGA` of a saga that is not the session's: so that one who never
    /// heard the answer finds out.
    ///
    /// # Errors
    /// 42704 for an unknown one, 55006 where another session has it, 40000 and 55000 where it has
    /// ended otherwise.
    pub(super) async fn other_saga(
        &mut self,
        planned: &Planned,
        client: &mut dyn Client,
    ) -> Result<(), SqlError> {
        let (name, commits) = match &planned.kind {
            PlannedKind::Saga(SagaPlan::Commit(Some(name))) => (name, true),
            PlannedKind::Saga(SagaPlan::Rollback(Some(name))) => (name, false),
            _ => return Err(SqlError::internal("no statement about another saga")),
        };
        let router = self.host.router.clone();
        let shown = shown(name);
        let error = |state, what: &str| Err(SqlError::new(state, format!("{shown} {what}")));
        match (router.saga_fate(name, self.scope.actor.role).await?, commits) {
            (None, _) => error(SqlState::UNDEFINED_OBJECT, "does not exist").map_err(|error| {
                error.detail(
                    "How a saga with a name has ended is remembered for an hour; of one without, only that it was compensated.",
                )
            }),
            (Some(Fate::Open), _) => error(SqlState::OBJECT_IN_USE, "is open in another session"),
            (Some(Fate::Committed), true) => {
                self.tell(Weight::Notice, notice(format!("{shown} has committed already")), client);
                Ok(())
            }
            (Some(Fate::Committed), false) => {
                error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "has committed")
            }
            (Some(Fate::Compensated), true) => {
                error(SqlState::TRANSACTION_ROLLBACK, "was compensated")
            }
            (Some(Fate::Compensated), false) => {
                self.tell(Weight::Notice, notice(format!("{shown} was compensated already")), client);
                Ok(())
            }
            (Some(Fate::Compensating(_)), true) => {
                error(SqlState::TRANSACTION_ROLLBACK, "is being compensated")
            }
            (Some(Fate::Compensating(id)), false) => {
                let tried = router.compensate(id).await?;
                match tried.failure {
                    None => Ok(()),
                    Some(why) => Err(why),
                }
            }
        }
    }

    /// `ROLLBACK SAGA ... SKIP STEP`: what can never be undone is left out, and the rest gone on with.
    ///
    /// # Errors
    /// 42501 for who is no superuser, 42704 for an unknown saga or step, 55006 where a session has the
    /// saga, 55000 where it is not being compensated.
    pub(super) async fn skip_compensation(
        &self,
        name: &SagaName,
        step: i64,
        client: &mut dyn Client,
    ) -> Result<(), SqlError> {
        let (router, role) = (self.host.router.clone(), self.scope.actor.role);
        if !router.catalog().roles().is_superuser(role) {
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                "must be superuser to skip a compensation",
            ));
        }
        let shown = shown(name);
        let error = |state, what: &str| Err(SqlError::new(state, format!("{shown} {what}")));
        let id = match router.saga_fate(name, role).await? {
            Some(Fate::Compensating(id)) => id,
            Some(Fate::Open) => {
                return error(SqlState::OBJECT_IN_USE, "is open in another session");
            }
            Some(Fate::Committed) => {
                return error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "has committed");
            }
            Some(Fate::Compensated) => {
                return error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "was compensated");
            }
            None => return error(SqlState::UNDEFINED_OBJECT, "does not exist"),
        };
        let skipped = router.skip_compensation(id, step).await?;
        let user = &self.identity.user;
        log::warn!(saga = id.0, step = step; "{user} has skipped a compensation: {skipped}");
        let tried = time::timeout(WAIT_MAX, router.compensate(id)).await;
        self.warn_if_not_compensated(id.0, tried.ok(), client);
        Ok(())
    }

    fn warn_if_not_compensated(
        &self,
        id: i64,
        tried: Option<Result<Tried, SqlError>>,
        client: &mut dyn Client,
    ) {
        if !matches!(&tried, Some(Ok(Tried { failure: None, .. }))) {
            let warning =
                SqlError::new(SqlState::WARNING, format!("saga {id} is not compensated yet"));
            self.tell(Weight::Warning, warning.detail(told(id, tried)), client);
        }
    }

    /// An error inside a saga: it is compensated. What the client is told.
    pub(super) async fn fail_saga(&mut self, error: SqlError) -> SqlError {
        self.standing = Standing::Failed;
        match self.saga.take() {
            Some(claim) => self.compensated_after(error, claim).await,
            None => error,
        }
    }

    /// Refuses what would change something without a compensation, or outlive its statement.
    pub(super) fn refuse_in_saga(&self, planned: &Planned) -> Result<(), SqlError> {
        if self.standing != Standing::Saga {
            return Ok(());
        }
        let name = match &planned.kind {
            PlannedKind::Saga(_) => return Ok(()),
            PlannedKind::CopyIn(_) | PlannedKind::CopyOut(_) => "COPY",
            PlannedKind::Declare(_) => "DECLARE CURSOR",
            PlannedKind::SetTransaction(_) | PlannedKind::ImportSnapshot(_) => "SET TRANSACTION",
            _ => match planned.writes_by() {
                Some(command @ ("INSERT" | "UPDATE" | "DELETE")) => {
                    return Err(SqlError::new(
                        SqlState::ACTIVE_SQL_TRANSACTION,
                        format!("{command} cannot run inside a saga, unless it is a step"),
                    )
                    .hint("Write STEP before it, and behind it COMPENSATE and what undoes it, or COMPENSATE NOTHING."));
                }
                _ => return Ok(()),
            },
        };
        Err(SqlError::new(
            SqlState::ACTIVE_SQL_TRANSACTION,
            format!("{name} cannot run inside a saga"),
        ))
    }

    /// A saga that is named where the session has one must be that one.
    fn check_named(&self, planned: &Planned) -> Result<(), SqlError> {
        let PlannedKind::Saga(SagaPlan::Commit(Some(named)) | SagaPlan::Rollback(Some(named))) =
            &planned.kind
        else {
            return Ok(());
        };
        let is_it = |claim: &SagaClaim| match named {
            SagaName::Name(name) => claim.name() == Some(name),
            SagaName::Number(number) => claim.id().0 == *number,
        };
        match self.saga.as_ref().is_some_and(is_it) {
            true => Ok(()),
            false => Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                format!("{} is not the saga in progress", shown(named)),
            )),
        }
    }

    fn leave_saga(&mut self) -> Result<SagaClaim, SqlError> {
        self.standing = Standing::Idle;
        self.portals.end_unheld();
        self.saga.take().ok_or_else(|| SqlError::internal("no saga to end"))
    }

    /// Has a saga compensated, and adds to the error what came of it.
    async fn compensated_after(&self, error: SqlError, claim: SagaClaim) -> SqlError {
        let id = claim.id().0;
        let tried = time::timeout(WAIT_MAX, self.host.router.compensate_saga(claim)).await;
        let told = told(id, tried.ok());
        let detail = match &error.fields().detail {
            Some(detail) => format!("{detail}\n{told}"),
            None => told,
        };
        error.detail(detail)
    }
}

/// What came of an attempt to compensate a saga.
fn told(id: i64, tried: Option<Result<Tried, SqlError>>) -> String {
    match tried {
        Some(Ok(Tried { undone, failure: None })) => {
            format!("The saga has been compensated; steps undone: {undone}.")
        }
        Some(Ok(Tried { undone, failure: Some(why) })) => format!(
            "Saga {id} could not be compensated yet; steps undone: {undone}. It is tried again: {why}"
        ),
        Some(Err(_)) | None => {
            format!("Saga {id} is being compensated; phantom.sagas shows what comes of it.")
        }
    }
}

fn shown(name: &SagaName) -> String {
    match name {
        SagaName::Name(name) => format!("saga \"{name}\""),
        SagaName::Number(number) => format!("saga {number}"),
    }
}

fn notice(text: String) -> SqlError {
    SqlError::new(SqlState::SUCCESSFUL_COMPLETION, text)
}

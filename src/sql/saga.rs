//! Sagas as statements: `BEGIN SAGA`, `STEP`, `COMMIT SAGA`, `ROLLBACK SAGA`.
//!
//! A step is planned with its compensation, so that what the compensation could never do is refused
//! before the step is made. What is kept of the compensation is its text: it is planned again when
//! it is run, with the catalog of then.

use super::binder::Binder;
use super::parse::parse;
use super::statement::{Planned, PlannedKind, bind_statement, plan};
use super::{NoVirtualTables, OutputColumn, SessionSettings};
use crate::catalog::Catalog;
use crate::catalog::roles::Actor;
use model::error::SqlError;
use model::types::DataType;
use sqlparser::ast::Statement;

/// A parsed statement about a saga.
#[derive(Debug, Clone)]
pub enum SagaStatement {
    /// `BEGIN SAGA`
    Begin(Option<String>),
    /// `STEP`
    Step(Box<WrittenStep>),
    /// `COMMIT SAGA`
    Commit(Option<SagaName>),
    /// `ROLLBACK SAGA`
    Rollback(Option<SagaName>),
    /// `ROLLBACK SAGA ... SKIP STEP`
    Skip(SagaName, i64),
}

impl SagaStatement {
    /// Whether it ends the saga.
    pub fn ends(&self) -> bool {
        matches!(self, SagaStatement::Commit(_) | SagaStatement::Rollback(_))
    }
}

/// A parsed `STEP`.
#[derive(Debug, Clone)]
pub struct WrittenStep {
    pub(super) name: Option<String>,
    pub(super) statement: Statement,
    /// `None`: `COMPENSATE NOTHING`.
    pub(super) compensation: Option<WrittenCompensation>,
}

/// What undoes a step.
#[derive(Debug, Clone)]
pub struct WrittenCompensation {
    pub(super) statement: Statement,
    /// As it was written.
    pub(super) text: String,
}

/// How a statement names a saga that is not the session's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SagaName {
    /// By the name that it was begun with.
    Name(String),
    /// By its number.
    Number(i64),
}

/// What a statement about a saga does.
#[derive(Debug, Clone, PartialEq)]
pub enum SagaPlan {
    /// Begins one, under a name or none.
    Begin(Option<String>),
    /// A step.
    Step(Box<StepPlan>),
    /// Commits the session's saga, or finds out whether another one has committed.
    Commit(Option<SagaName>),
    /// Compensates the session's saga, or one that no session has any more.
    Rollback(Option<SagaName>),
    /// Leaves the compensation of a step out.
    Skip(SagaName, i64),
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPlan {
    /// Its name.
    pub name: Option<String>,
    /// What it does. It has the parameters of the whole statement.
    pub inner: Planned,
    /// What undoes it.
    pub compensation: Option<Compensation>,
}

/// What undoes a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compensation {
    /// Its text, to be planned when it is run.
    pub text: String,
    /// Types of the statement's parameters.
    pub parameters: Vec<DataType>,
}

impl SagaPlan {
    /// The command tag; a step has that of its change.
    pub(super) fn tag(&self, rows: u64) -> String {
        match self {
            SagaPlan::Begin(_) => "BEGIN SAGA".to_owned(),
            SagaPlan::Step(step) => step.inner.tag(rows),
            SagaPlan::Commit(_) => "COMMIT SAGA".to_owned(),
            SagaPlan::Rollback(_) | SagaPlan::Skip(..) => "ROLLBACK SAGA".to_owned(),
        }
    }
}

impl Binder<'_> {
    pub(super) fn bind_saga(
        &self,
        statement: &SagaStatement,
        settings: &SessionSettings,
    ) -> Result<(PlannedKind, Vec<OutputColumn>), SqlError> {
        let (plan, columns) = match statement {
            SagaStatement::Begin(name) => (SagaPlan::Begin(name.clone()), Vec::new()),
            SagaStatement::Commit(which) => (SagaPlan::Commit(which.clone()), Vec::new()),
            SagaStatement::Rollback(which) => (SagaPlan::Rollback(which.clone()), Vec::new()),
            SagaStatement::Skip(which, step) => (SagaPlan::Skip(which.clone(), *step), Vec::new()),
            SagaStatement::Step(step) => {
                let step = self.bind_step(step, settings)?;
                let columns = step.inner.columns.clone();
                (SagaPlan::Step(Box::new(step)), columns)
            }
        };
        Ok((PlannedKind::Saga(plan), columns))
    }

    /// Binds both changes, which share their parameters.
    fn bind_step(
        &self,
        step: &WrittenStep,
        settings: &SessionSettings,
    ) -> Result<StepPlan, SqlError> {
        let (kind, columns) = bind_statement(self, &step.statement, settings)?;
        if let Some(compensation) = &step.compensation {
            let known = self.known_parameters();
            let settings = &of_compensation(settings);
            let binder = Binder::new(self.catalog, settings, &NoVirtualTables, &known);
            binder.lines.replace(self.lines.borrow().clone());
            bind_statement(&binder, &compensation.statement, settings)?;
            binder.check_privileges()?;
            if binder.needs_session.get() {
                return Err(SqlError::unsupported("a function of the session in a compensation")
                    .hint(
                        "It runs without the session: write the value, or give it as a parameter.",
                    ));
            }
            self.adopt_parameters(binder.known_parameters());
        }
        let parameters = self.parameter_types();
        let inner = Planned { parameters: parameters.clone(), ..self.inner(kind, columns) };
        let compensation = step.compensation.as_ref();
        let compensation =
            compensation.map(|it| Compensation { text: it.text.clone(), parameters });
        Ok(StepPlan { name: step.name.clone(), inner, compensation })
    }
}

/// A session's settings without what a compensation, which runs later and elsewhere, has not.
fn of_compensation(settings: &SessionSettings) -> SessionSettings {
    let role = settings.actor.role;
    SessionSettings { actor: Actor { role, session: role }, values: [].into(), ..settings.clone() }
}

/// Plans the compensation of a step when it is to be run.
///
/// # Errors
/// What has become impossible since: a table or column that is gone, a privilege.
pub fn plan_compensation(
    compensation: &Compensation,
    catalog: &Catalog,
    settings: &SessionSettings,
) -> Result<Planned, SqlError> {
    let statements = parse(&compensation.text)?;
    let [statement] = statements.as_slice() else {
        return Err(SqlError::internal("a compensation that is not one statement"));
    };
    let declared: Vec<_> = compensation.parameters.iter().copied().map(Some).collect();
    plan(statement, catalog, settings, &NoVirtualTables, &declared)
}

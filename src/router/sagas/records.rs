//! The rows of sagas, by SQL of our own.

use super::{NewSaga, Router, SagaId, StepRecord, as_texts};
use crate::catalog::roles::Actor;
use crate::catalog::{SearchPath, oids};
use crate::router::{RowSink, Statement};
use crate::sql::{Compensation, Planned, SagaName, SessionSettings, plan_of_system};
use crate::txn::Transaction;
use futures::future::{LocalBoxFuture, ready};
use model::batch::Batch;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use model::types::{DataType, oid};
use model::value::Value;
use shards::exec::SessionIdentity;
use shards::exec::cast::cast;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

const BEGIN: &str = "INSERT INTO phantom.sagas VALUES \
    ($1, $2, 'running', 0, 0, $3, $4, $5, $6, $6, 0, NULL, NULL)";
const STEP: &str = "UPDATE phantom.sagas SET steps = steps + 1, changed = $2 \
    WHERE id = $1 AND state = 'running'";
const RECORD: &str = "INSERT INTO phantom.saga_steps VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const COMMIT: &str = "UPDATE phantom.sagas SET state = 'committed', session = NULL, changed = $2 \
    WHERE id = $1 AND state = 'running'";
const COMMIT_UNNAMED: &str = "DELETE FROM phantom.sagas WHERE id = $1 AND state = 'running'";
const DROP_STEPS: &str = "DELETE FROM phantom.saga_steps WHERE saga = $1";
const CLAIM: &str = "UPDATE phantom.sagas SET state = 'compensating', session = NULL, changed = $2 \
    WHERE id = $1 AND state IN ('running', 'compensating', 'stuck')";
const LEFT: &str = "SELECT step FROM phantom.saga_steps WHERE saga = $1 ORDER BY step DESC";
const UNDO: &str = "UPDATE phantom.sagas SET state = 'compensating', changed = $2, \
    compensated = compensated + 1 WHERE id = $1 AND state IN ('compensating', 'stuck') \
    RETURNING database";
const TAKE: &str = "DELETE FROM phantom.saga_steps WHERE saga = $1 AND step = $2 \
    RETURNING role, path, compensation, types, parameters";
const SKIP: &str = "UPDATE phantom.sagas SET skipped = array_append(skipped, $3), changed = $2 \
    WHERE id = $1 AND state IN ('compensating', 'stuck')";
const DROP_STEP: &str = "DELETE FROM phantom.saga_steps WHERE saga = $1 AND step = $2 \
    RETURNING compensation";
const END: &str = "UPDATE phantom.sagas SET state = 'compensated', changed = $2 \
    WHERE id = $1 AND state IN ('compensating', 'stuck')";
const NOTE: &str = "UPDATE phantom.sagas SET state = 'stuck', failures = failures + 1, \
    last_error = $3, changed = $2 WHERE id = $1 AND state IN ('compensating', 'stuck')";
const OPEN: &str = "SELECT id, state FROM phantom.sagas \
    WHERE state IN ('running', 'compensating', 'stuck')";
const ENDED: &str = "SELECT id, changed FROM phantom.sagas \
    WHERE state IN ('committed', 'compensated') ORDER BY changed DESC";
const FORGET: &str =
    "DELETE FROM phantom.sagas WHERE id = $1 AND state IN ('committed', 'compensated')";
const FIND_NAMED: &str =
    "SELECT id, state, role FROM phantom.sagas WHERE name = $1 ORDER BY began DESC, id DESC";
const FIND_NUMBERED: &str = "SELECT id, state, role FROM phantom.sagas WHERE id = $1";

/// The plans of the statements above. One per core: they depend on no catalog.
#[derive(Default)]
pub(in crate::router) struct OwnPlans {
    plans: RefCell<HashMap<&'static str, Rc<Planned>>>,
}

/// A compensation as it is kept.
pub(super) struct Kept {
    text: String,
    types: Vec<i64>,
    parameters: Vec<Option<String>>,
}

impl Kept {
    /// Bytes that count for the bound.
    pub(super) fn bytes(&self) -> usize {
        let parameters = self.parameters.iter().flatten().map(String::len).sum::<usize>();
        self.text.len() + parameters + self.types.len() * size_of::<i64>()
    }
}

/// A compensation with the values of its parameters.
pub(super) fn kept(compensation: &Compensation, values: &[Value]) -> Kept {
    let types = &compensation.parameters;
    Kept {
        text: compensation.text.clone(),
        types: types.iter().map(|data_type| i64::from(oid::oid(*data_type))).collect(),
        parameters: as_texts(values, types),
    }
}

/// How a saga has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Committed,
    Compensated,
}

/// A saga that was looked for.
pub(super) struct Found {
    pub(super) id: SagaId,
    pub(super) running: bool,
    pub(super) ended: Option<Ended>,
    /// The oid of the role that began it.
    pub(super) role: u32,
}

/// A saga that has not ended.
pub(super) struct OpenSaga {
    pub(super) id: SagaId,
    pub(super) running: bool,
}

/// A step's record that was taken out.
pub(super) struct Taken {
    pub(super) compensation: Compensation,
    pub(super) parameters: Arc<[Value]>,
    pub(super) settings: SessionSettings,
    pub(super) identity: SessionIdentity,
}

impl Router {
    pub(super) async fn insert_saga(&self, id: SagaId, new: &NewSaga<'_>) -> Result<(), SqlError> {
        let parameters = vec![
            Value::Int(id.0),
            new.name.map_or(Value::Null, Value::text),
            Value::Int(i64::from(oids::object(new.role))),
            Value::text(new.database),
            Value::Int(i64::from(new.process)),
            self.now_value(),
        ];
        self.own(BEGIN, parameters, None).await.map(drop)
    }

    /// Writes a step down in its own transaction.
    ///
    /// # Errors
    /// 40000 where the saga is not running any more.
    pub(super) async fn record_step(
        &self,
        id: SagaId,
        step: u32,
        record: &StepRecord<'_>,
        kept: Option<&Kept>,
        transaction: &mut Transaction,
    ) -> Result<(), SqlError> {
        let (saga, now) = (Value::Int(id.0), self.now_value());
        let (changed, _) = self.own(STEP, vec![saga.clone(), now], Some(transaction)).await?;
        if changed == 0 {
            return Err(not_running(id));
        }
        let Some(kept) = kept else { return Ok(()) };
        let texts = kept.parameters.iter().map(|text| Value::from(text.clone()));
        let parameters = vec![
            saga,
            Value::Int(i64::from(step)),
            record.name.map_or(Value::Null, Value::text),
            Value::Int(i64::from(record.role.0)),
            Value::text(record.path),
            Value::text(kept.text.as_str()),
            Value::array(kept.types.iter().copied().map(Value::Int).collect()),
            Value::array(texts.collect()),
        ];
        self.own(RECORD, parameters, Some(transaction)).await.map(drop)
    }

    /// Ends a saga that runs, so that its steps stand. One without a name is forgotten at once.
    ///
    /// # Errors
    /// 40000 where the saga is not running any more.
    pub(super) async fn end_running(
        &self,
        id: SagaId,
        named: bool,
        transaction: &mut Transaction,
    ) -> Result<(), SqlError> {
        let saga = Value::Int(id.0);
        let (text, parameters) = match named {
            true => (COMMIT, vec![saga.clone(), self.now_value()]),
            false => (COMMIT_UNNAMED, vec![saga.clone()]),
        };
        let (changed, _) = self.own(text, parameters, Some(transaction)).await?;
        if changed == 0 {
            return Err(not_running(id));
        }
        self.own(DROP_STEPS, vec![saga], Some(transaction)).await.map(drop)
    }

    /// Keeps all others out of a saga. The steps that are to be undone, the last one first; `None`
    /// where it has ended, or there is none.
    pub(super) async fn claim(&self, id: SagaId) -> Result<Option<Vec<u32>>, SqlError> {
        let saga = Value::Int(id.0);
        let (changed, _) = self.own(CLAIM, vec![saga.clone(), self.now_value()], None).await?;
        if changed == 0 {
            return Ok(None);
        }
        let (_, rows) = self.own(LEFT, vec![saga], None).await?;
        let step = |row: &Vec<Value>| match row.as_slice() {
            [Value::Int(step)] => u32::try_from(*step).map_err(|_negative| corrupted()),
            _ => Err(corrupted()),
        };
        rows.iter().map(step).collect::<Result<_, _>>().map(Some)
    }

    /// Takes the record of a step that is being undone; `None` where somebody has.
    ///
    /// # Errors
    /// 55000 where the saga is not being compensated.
    pub(super) async fn take_step(
        &self,
        id: SagaId,
        step: u32,
        transaction: &mut Transaction,
    ) -> Result<Option<Taken>, SqlError> {
        let saga = Value::Int(id.0);
        let now = vec![saga.clone(), self.now_value()];
        let (_, undone) = self.own(UNDO, now, Some(&mut *transaction)).await?;
        let Some([Value::Text(database)]) = undone.first().map(Vec::as_slice) else {
            return Err(not_compensated(id));
        };
        let key = vec![saga, Value::Int(i64::from(step))];
        let (_, rows) = self.own(TAKE, key, Some(transaction)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        self.taken(database, row).map(Some)
    }

    fn taken(&self, database: &Arc<str>, row: &[Value]) -> Result<Taken, SqlError> {
        let [
            Value::Int(role),
            Value::Text(path),
            Value::Text(text),
            Value::Array(types),
            Value::Array(texts),
        ] = row
        else {
            return Err(corrupted());
        };
        let data_type = |value: &Value| match value {
            Value::Int(number) => {
                u32::try_from(*number).ok().and_then(|number| oid::from_oid(number, -1))
            }
            _ => None,
        };
        let types = types.elements().iter().map(|value| data_type(value).ok_or_else(corrupted));
        let types: Vec<DataType> = types.collect::<Result<_, _>>()?;
        let now = self.now_micros();
        let value = |(text, data_type): (&Value, &DataType)| match text {
            Value::Null => Ok(Value::Null),
            text => cast(text, DataType::Unknown, *data_type, false, now),
        };
        let parameters = texts.elements().iter().zip(&types).map(value);
        let parameters: Arc<[Value]> = parameters.collect::<Result<Vec<_>, _>>()?.into();
        let role = u32::try_from(*role).map(ObjectId).map_err(|_negative| corrupted())?;
        let catalog = self.catalog();
        let Some(known) = catalog.roles().get(role) else {
            return Err(SqlError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("role {} that made the step does not exist", catalog.role_name(role)),
            ));
        };
        let user: Arc<str> = known.name().into();
        Ok(Taken {
            compensation: Compensation { text: text.to_string(), parameters: types },
            parameters,
            settings: SessionSettings {
                database: database.to_string(),
                actor: Actor { role, session: role },
                path: SearchPath::parse(path).ok_or_else(corrupted)?,
                values: [].into(),
            },
            identity: SessionIdentity {
                user: user.clone(),
                session_user: user,
                database: database.clone(),
                process: 0,
            },
        })
    }

    /// Takes out the record of a step that is not to be undone; its compensation.
    ///
    /// # Errors
    /// 55000 where the saga is not being compensated, 42704 where no compensation of the step is left.
    pub(super) async fn drop_step(
        &self,
        id: SagaId,
        step: i64,
        transaction: &mut Transaction,
    ) -> Result<String, SqlError> {
        let (saga, step) = (Value::Int(id.0), Value::Int(step));
        let parameters = vec![saga.clone(), self.now_value(), step.clone()];
        let (changed, _) = self.own(SKIP, parameters, Some(&mut *transaction)).await?;
        if changed == 0 {
            return Err(not_compensated(id));
        }
        let (_, rows) = self.own(DROP_STEP, vec![saga, step.clone()], Some(transaction)).await?;
        match rows.first().map(Vec::as_slice) {
            Some([Value::Text(compensation)]) => Ok(compensation.to_string()),
            Some(_) => Err(corrupted()),
            None => Err(SqlError::new(
                SqlState::UNDEFINED_OBJECT,
                format!(
                    "step {} of saga {id} has no compensation left",
                    step.to_text(DataType::Int8)
                ),
            )
            .hint("phantom.saga_steps has those that are left.")),
        }
    }

    /// Writes that a saga is compensated.
    pub(super) async fn end_compensated(&self, id: SagaId) -> Result<(), SqlError> {
        self.own(END, vec![Value::Int(id.0), self.now_value()], None).await.map(drop)
    }

    /// Writes down why a saga could not be compensated.
    pub(super) async fn note_failure(&self, id: SagaId, error: &SqlError) -> Result<(), SqlError> {
        let why = format!("{}: {}", error.state(), error.fields().message);
        let parameters = vec![Value::Int(id.0), self.now_value(), Value::text(why)];
        self.own(NOTE, parameters, None).await.map(drop)
    }

    /// All sagas that have not ended.
    pub(super) async fn open_sagas(&self) -> Result<Vec<OpenSaga>, SqlError> {
        let (_, rows) = self.own(OPEN, Vec::new(), None).await?;
        let open = |row: &Vec<Value>| match row.as_slice() {
            [Value::Int(id), Value::Text(state)] => {
                Ok(OpenSaga { id: SagaId(*id), running: &**state == "running" })
            }
            _ => Err(corrupted()),
        };
        rows.iter().map(open).collect()
    }

    /// The sagas that have ended, the last one first, and when.
    pub(super) async fn ended_sagas(&self) -> Result<Vec<(SagaId, i64)>, SqlError> {
        let (_, rows) = self.own(ENDED, Vec::new(), None).await?;
        let ended = |row: &Vec<Value>| match row.as_slice() {
            [Value::Int(id), Value::Timestamp(micros)] => Ok((SagaId(*id), *micros)),
            _ => Err(corrupted()),
        };
        rows.iter().map(ended).collect()
    }

    /// Forgets a saga that has ended.
    pub(super) async fn forget_saga(&self, id: SagaId) -> Result<(), SqlError> {
        self.own(FORGET, vec![Value::Int(id.0)], None).await.map(drop)
    }

    /// The sagas of that name, the last one first.
    pub(super) async fn find_sagas(&self, name: &SagaName) -> Result<Vec<Found>, SqlError> {
        let (text, key) = match name {
            SagaName::Name(name) => (FIND_NAMED, Value::text(name.as_str())),
            SagaName::Number(number) => (FIND_NUMBERED, Value::Int(*number)),
        };
        let (_, rows) = self.own(text, vec![key], None).await?;
        let found = |row: &Vec<Value>| match row.as_slice() {
            [Value::Int(id), Value::Text(state), Value::Int(role)] => Ok(Found {
                id: SagaId(*id),
                running: &**state == "running",
                ended: match &**state {
                    "committed" => Some(Ended::Committed),
                    "compensated" => Some(Ended::Compensated),
                    _ => None,
                },
                role: u32::try_from(*role).map_err(|_negative| corrupted())?,
            }),
            _ => Err(corrupted()),
        };
        rows.iter().map(found).collect()
    }

    /// Runs a statement of our own: how many rows it returned or changed, and those that it returned.
    pub(in crate::router) async fn own(
        &self,
        text: &'static str,
        parameters: Vec<Value>,
        transaction: Option<&mut Transaction>,
    ) -> Result<(u64, Vec<Vec<Value>>), SqlError> {
        let planned = self.own_plan(text)?;
        let statement = Statement {
            planned: &planned,
            parameters: parameters.into(),
            now_micros: self.now_micros(),
            snapshot: None,
            isolation: Isolation::ReadCommitted,
            lock_timeout: None,
            identity: SessionIdentity::default(),
            sequences: Rc::default(),
            presence: None,
            backends: None,
            catalog: None,
        };
        let mut rows = Rows::default();
        let count = self.run(&statement, transaction, &mut rows).await?;
        Ok((count, rows.0))
    }

    fn own_plan(&self, text: &'static str) -> Result<Rc<Planned>, SqlError> {
        let mut plans = self.inner.own_plans.plans.borrow_mut();
        if let Some(planned) = plans.get(text) {
            return Ok(Rc::clone(planned));
        }
        let planned = Rc::new(plan_of_system(text, &self.catalog())?);
        plans.insert(text, Rc::clone(&planned));
        Ok(planned)
    }

    fn now_value(&self) -> Value {
        Value::Timestamp(self.now_micros())
    }
}

/// Keeps rows.
#[derive(Default)]
struct Rows(Vec<Vec<Value>>);

impl RowSink for Rows {
    fn rows(&mut self, batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        self.0.extend((0..batch.rows()).map(|row| batch.row(row)));
        Box::pin(ready(Ok(())))
    }
}

fn not_compensated(id: SagaId) -> SqlError {
    SqlError::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("saga {id} is not being compensated"),
    )
}

fn not_running(id: SagaId) -> SqlError {
    SqlError::new(SqlState::TRANSACTION_ROLLBACK, format!("saga {id} is being compensated, or was"))
        .hint("phantom.sagas shows what has become of it.")
}

fn corrupted() -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, "the rows of a saga have an unknown form")
}

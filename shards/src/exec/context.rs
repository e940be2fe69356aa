//! What operators and expressions need to know of the statement they belong to.

use super::backends::Backends;
use super::kept::KeptRows;
use super::lock_rows::RowLocker;
use super::materialize::Materialized;
use super::memory::MemoryAccount;
use super::sequences::SequenceCalls;
use super::store::RowStore;
use futures::future::LocalBoxFuture;
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use model::plan::Exchange;
use model::value::Value;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// A running node of a plan.
pub trait Operator {
    /// The next rows, never an empty batch; `None` at the end, and again whenever asked after it.
    /// After an error the operator is only dropped.
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>>;
}

/// Runs fragments in partitions for the router's plans.
pub trait Gather {
    /// All partitions' batches in the order in which they come.
    fn open(
        &self,
        exchange: &Exchange,
        context: &Rc<ExecContext>,
    ) -> Result<Box<dyn Operator>, SqlError>;

    /// One source a partition, all running: the exchange merges them.
    fn open_each(
        &self,
        exchange: &Exchange,
        context: &Rc<ExecContext>,
    ) -> Result<Vec<Box<dyn Operator>>, SqlError>;
}

/// Who the statement runs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionIdentity {
    /// `current_user`
    pub user: Arc<str>,
    /// `session_user`
    pub session_user: Arc<str>,
    /// `current_database()`
    pub database: Arc<str>,
    /// `pg_backend_pid()`: the session's number as the PostgreSQL protocol has it.
    pub process: u32,
}

impl Default for SessionIdentity {
    fn default() -> SessionIdentity {
        let name: Arc<str> = Arc::from("phantom");
        SessionIdentity {
            user: name.clone(),
            session_user: name.clone(),
            database: name,
            process: 0,
        }
    }
}

/// A statement, as its operators see it. One for each plan or fragment that is opened.
pub struct ExecContext {
    /// Values of `$1` and on.
    pub parameters: Arc<[Value]>,
    /// The statement's time (`now()`): microseconds since 2000-01-01 00:00 UTC.
    pub now_micros: i64,
    /// What operators keep is counted here.
    pub memory: MemoryAccount,
    /// The partition, in a fragment.
    pub rows: Option<Rc<dyn RowStore>>,
    /// The partitions, in the router.
    pub gather: Option<Rc<dyn Gather>>,
    /// What locks rows for the statement's transaction, in the router, where it locks any.
    pub locker: Option<Rc<dyn RowLocker>>,
    /// The statement's calls of sequences, in the router, where it has any.
    pub sequences: Option<Rc<SequenceCalls>>,
    /// The sessions of the node, in the router, where the statement asks for them.
    pub backends: Option<Rc<dyn Backends>>,
    /// Set to stop the statement with 57014.
    pub cancelled: Rc<Cell<bool>>,
    /// Who asks.
    pub identity: SessionIdentity,
    /// Results that are computed once a statement.
    pub materialized: Rc<Materialized>,
    /// What the steps of recursive queries read of them.
    pub working: Option<Rc<Working>>,
    /// The rows of enclosing `Apply` nodes.
    pub outer: Option<Rc<OuterRow>>,
}

/// The row an `Apply` is at, and those of the `Apply` nodes around it.
#[derive(Debug)]
pub struct OuterRow {
    /// The row's columns.
    pub values: Vec<Value>,
    /// The next enclosing one.
    pub enclosing: Option<Rc<OuterRow>>,
}

/// The rows that a recursive query's last run has answered, and those of the queries around it.
pub struct Working {
    /// Which recursive query.
    pub(super) id: usize,
    /// The rows.
    pub(super) rows: KeptRows,
    /// The next enclosing one.
    pub(super) enclosing: Option<Rc<Working>>,
}

impl ExecContext {
    /// A context without storage or partitions: for constants and expressions.
    pub fn new(parameters: Arc<[Value]>, now_micros: i64, memory: MemoryAccount) -> ExecContext {
        ExecContext {
            parameters,
            now_micros,
            memory,
            rows: None,
            gather: None,
            locker: None,
            sequences: None,
            backends: None,
            cancelled: Rc::new(Cell::new(false)),
            identity: SessionIdentity::default(),
            materialized: Rc::default(),
            working: None,
            outer: None,
        }
    }

    /// The same statement with one more enclosing row.
    pub fn with_outer(&self, values: Vec<Value>) -> ExecContext {
        let outer = Some(Rc::new(OuterRow { values, enclosing: self.outer.clone() }));
        ExecContext { outer, ..self.again() }
    }

    /// The same statement inside a run of a recursive query's step.
    pub(super) fn with_working(&self, id: usize, rows: KeptRows) -> ExecContext {
        let working = Some(Rc::new(Working { id, rows, enclosing: self.working.clone() }));
        ExecContext { working, ..self.again() }
    }

    /// The rows of a recursive query that its step reads.
    pub(super) fn working(&self, id: usize) -> Result<Rc<Working>, SqlError> {
        let mut working = self.working.as_ref();
        while let Some(candidate) = working.filter(|candidate| candidate.id != id) {
            working = candidate.enclosing.as_ref();
        }
        let outside = || SqlError::internal("a working table outside of its recursive query");
        working.cloned().ok_or_else(outside)
    }

    fn again(&self) -> ExecContext {
        ExecContext {
            parameters: self.parameters.clone(),
            now_micros: self.now_micros,
            memory: self.memory.clone(),
            rows: self.rows.clone(),
            gather: self.gather.clone(),
            locker: self.locker.clone(),
            sequences: self.sequences.clone(),
            backends: self.backends.clone(),
            cancelled: self.cancelled.clone(),
            identity: self.identity.clone(),
            materialized: self.materialized.clone(),
            working: self.working.clone(),
            outer: self.outer.clone(),
        }
    }

    /// Fails with 57014 where the statement has been cancelled.
    pub fn check_cancelled(&self) -> Result<(), SqlError> {
        if self.cancelled.get() {
            return Err(SqlError::new(
                SqlState::QUERY_CANCELED,
                "canceling statement due to user request",
            ));
        }
        Ok(())
    }

    /// A pause between two slices of work: lets others run where that is due, and fails where the
    /// statement has been cancelled meanwhile.
    pub async fn pause(&self) -> Result<(), SqlError> {
        runtime::task::yield_if_due().await;
        self.check_cancelled()
    }

    /// Column `index` of the enclosing row at `depth`.
    pub fn outer_value(&self, depth: usize, index: usize) -> Result<Value, SqlError> {
        let mut row = self.outer.as_ref();
        for _ in 0..depth {
            row = row.and_then(|row| row.enclosing.as_ref());
        }
        row.and_then(|row| row.values.get(index))
            .cloned()
            .ok_or_else(|| SqlError::internal("a correlated column outside of its Apply"))
    }

    /// Value of parameter `index`, from 0.
    pub fn parameter(&self, index: usize) -> Result<Value, SqlError> {
        self.parameters.get(index).cloned().ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_PARAMETER,
                format!("there is no parameter ${}", index + 1),
            )
        })
    }
}

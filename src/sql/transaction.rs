//! The modes of transactions, as the settings that they are.

use super::saga::SagaPlan;
use super::statement::{PlannedKind, SetStatement};
use model::error::{SqlError, SqlState};

/// A parsed `BEGIN` or `SET TRANSACTION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionStatement {
    /// `BEGIN`
    Begin(Vec<Mode>),
    /// `BEGIN ... WITH (commit = 'saga')`, which is `BEGIN SAGA`. The modes before it make no sense.
    BeginSaga(Vec<Mode>),
    /// `SET TRANSACTION`
    Set(Vec<Mode>),
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION`
    SetSession(Vec<Mode>),
    /// `SET TRANSACTION SNAPSHOT`
    Snapshot(String),
}

/// How a transaction runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `ISOLATION LEVEL`
    Isolation(Isolation),
    /// `READ ONLY`, `READ WRITE`
    ReadOnly(bool),
    /// `[NOT] DEFERRABLE`
    Deferrable(bool),
    /// `WITH (commit = ...)`
    Commit(Commit),
}

/// How a transaction over several partitions commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// In two phases, as long as every participant can be reached: on one node, always.
    Auto,
    /// In two phases.
    TwoPhase,
}

/// The levels of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// The next one, as in PostgreSQL.
    ReadUncommitted,
    /// A snapshot a statement.
    ReadCommitted,
    /// A snapshot for all statements.
    RepeatableRead,
    /// As if one transaction ran after the other, in the order in which they ended.
    Serializable,
}

impl Mode {
    /// The setting that it is; `prefix` names those of the session.
    fn setting(self, prefix: &str, local: bool) -> Result<SetStatement, SqlError> {
        let on = |on: bool| if on { "on" } else { "off" };
        let (name, value) = match self {
            Mode::Isolation(level) => {
                let level = match level {
                    Isolation::ReadUncommitted => "read uncommitted",
                    Isolation::ReadCommitted => "read committed",
                    Isolation::RepeatableRead => "repeatable read",
                    Isolation::Serializable => "serializable",
                };
                ("transaction_isolation", level)
            }
            Mode::ReadOnly(only) => ("transaction_read_only", on(only)),
            Mode::Commit(Commit::Auto) => ("transaction_commit", "auto"),
            Mode::Commit(Commit::TwoPhase) => ("transaction_commit", "two_phase"),
            Mode::Deferrable(deferrable) => ("transaction_deferrable", on(deferrable)),
        };
        Ok(SetStatement { name: format!("{prefix}{name}"), value: Some(value.to_owned()), local })
    }
}

/// What a statement about modes does.
pub(super) fn bind(statement: &TransactionStatement) -> Result<PlannedKind, SqlError> {
    let settings = |modes: &[Mode], prefix: &str, local: bool| {
        modes.iter().map(|mode| mode.setting(prefix, local)).collect::<Result<Vec<_>, _>>()
    };
    Ok(match statement {
        TransactionStatement::Begin(modes) => PlannedKind::Begin(settings(modes, "", true)?),
        TransactionStatement::BeginSaga(modes) if modes.is_empty() => {
            PlannedKind::Saga(SagaPlan::Begin(None))
        }
        TransactionStatement::BeginSaga(_) => {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "a saga has no transaction modes: each of its steps is a transaction",
            ));
        }
        TransactionStatement::Set(modes) => PlannedKind::SetTransaction(settings(modes, "", true)?),
        TransactionStatement::SetSession(modes) => {
            PlannedKind::SetTransaction(settings(modes, "default_", false)?)
        }
        TransactionStatement::Snapshot(id) => PlannedKind::ImportSnapshot(id.clone()),
    })
}

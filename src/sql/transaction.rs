//! The modes of transactions, as the settings that they are.

use super::statement::{PlannedKind, SetStatement};
use model::error::SqlError;

/// A parsed `BEGIN` or `SET TRANSACTION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionStatement {
    /// `BEGIN`
    Begin(Vec<Mode>),
    /// `SET TRANSACTION`
    Set(Vec<Mode>),
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION`
    SetSession(Vec<Mode>),
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
        TransactionStatement::Set(modes) => PlannedKind::SetTransaction(settings(modes, "", true)?),
        TransactionStatement::SetSession(modes) => {
            PlannedKind::SetTransaction(settings(modes, "default_", false)?)
        }
    })
}

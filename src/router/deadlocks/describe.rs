//! What is said of a circle: who waits for what, who is in the way, and by which statements.

use super::graph::{Circle, Link, WaitPlace};
use crate::catalog::Catalog;
use crate::router::presence::{Backend, HIDDEN};
use model::error::{SqlError, SqlState};
use model::id::{ObjectId, TxnId};
use shards::core::{LockMode, Wait};
use std::collections::BTreeMap;

/// Transactions of a circle that are told of.
const TOLD_MAX: usize = 16;

/// Bytes of a statement that are shown.
const STATEMENT_BYTES_MAX: usize = 300;

/// A circle as its victim is told of it: of others' rows and statements what its role may see.
struct Account<'a> {
    waits: &'a BTreeMap<WaitPlace, Wait>,
    sessions: &'a [Backend],
    catalog: &'a Catalog,
    /// The victim's role; `None` sees nothing.
    role: Option<ObjectId>,
}

/// The error that the first of a circle fails with. `sessions` are those of its transactions that
/// were found.
pub(super) fn deadlock(
    circle: &Circle,
    waits: &BTreeMap<WaitPlace, Wait>,
    sessions: &[Backend],
    catalog: &Catalog,
) -> SqlError {
    let mut account = Account { waits, sessions, catalog, role: None };
    account.role = circle.first().and_then(|victim| account.session(victim.txn)).map(|of| of.role);
    let next = circle.iter().cycle().skip(1);
    let told = circle.len().min(TOLD_MAX);
    let waiting = circle.iter().zip(next).take(told).map(|(link, next)| account.wait(link, next));
    let statements = circle.iter().take(told).map(|link| account.statement(link.txn));
    let mut lines: Vec<String> = waiting.chain(statements).collect();
    if told < circle.len() {
        lines.push(format!("{} more transactions are in the circle.", circle.len() - told));
    }
    let error = SqlError::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
        .detail(lines.join("\n"))
        .hint("Retry the transaction; lock rows in the same order everywhere.");
    match circle.first().and_then(|victim| waits.get(&victim.wait)) {
        Some(wait) => match catalog.table_of_key(&wait.key) {
            Some(table) => error.table(&table.schema, &table.name),
            None => error,
        },
        None => error,
    }
}

impl Account<'_> {
    fn session(&self, txn: TxnId) -> Option<&Backend> {
        let is_its = |backend: &&Backend| backend.transaction.is_some_and(|(id, _)| id == txn);
        self.sessions.iter().find(is_its)
    }

    /// As PostgreSQL calls it, where it has a session still.
    fn name(&self, txn: TxnId) -> String {
        match self.session(txn) {
            Some(backend) => format!("process {}", backend.process),
            None => format!("transaction {txn}"),
        }
    }

    fn wait(&self, link: &Link, next: &Link) -> String {
        let (name, next) = (capitalized(self.name(link.txn)), self.name(next.txn));
        let Some(wait) = self.waits.get(&link.wait) else {
            return format!("{name} waits; blocked by {next}.");
        };
        let mode = match wait.mode {
            LockMode::Shared => "ShareLock",
            LockMode::Exclusive => "ExclusiveLock",
        };
        let key = self.catalog.describe_key(&wait.key, wait.is_range, self.role);
        format!("{name} waits for {mode} on {key}; blocked by {next}.")
    }

    fn statement(&self, txn: TxnId) -> String {
        let Some(backend) = self.session(txn) else {
            return format!("Transaction {txn}: its session has ended.");
        };
        let roles = self.catalog.roles();
        let may_see = self.role.is_some_and(|role| roles.has_privileges_of(role, backend.role));
        let query = if may_see { backend.query.as_str() } else { HIDDEN };
        let shown = &query[..query.floor_char_boundary(STATEMENT_BYTES_MAX)];
        let more = if shown.len() < query.len() { "..." } else { "" };
        format!("Process {} (transaction {txn}): {shown}{more}", backend.process)
    }
}

fn capitalized(mut name: String) -> String {
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    name
}

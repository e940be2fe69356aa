//! What is said of a circle: who waits for what, who is in the way, and by which statements.

use super::graph::{Circle, Link, WaitPlace};
use super::waits::{RouterWait, Sought};
use crate::catalog::Catalog;
use crate::router::gates::TURN;
use crate::router::presence::{Backend, HIDDEN};
use model::error::{SqlError, SqlState};
use model::id::{ObjectId, TxnId};
use model::schema::Table;
use shards::core::LockMode;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Transactions of a circle that are told of.
const TOLD_MAX: usize = 16;

/// Bytes of a statement that are shown.
const STATEMENT_BYTES_MAX: usize = 300;

/// A circle as its victim is told of it: of others' rows and statements what its role may see.
struct Account<'a> {
    waits: &'a BTreeMap<WaitPlace, RouterWait>,
    sessions: &'a [Backend],
    catalog: &'a Catalog,
    /// The victim's role; `None` sees nothing.
    role: Option<ObjectId>,
}

/// The error that the first of a circle fails with. `sessions` are those of its transactions that
/// were found.
pub(super) fn deadlock(
    circle: &Circle,
    waits: &BTreeMap<WaitPlace, RouterWait>,
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
    let wait = circle.first().and_then(|victim| waits.get(&victim.wait));
    match wait.and_then(|wait| table(&wait.sought, catalog)) {
        Some(table) => error.table(&table.schema, &table.name),
        None => error,
    }
}

/// The table that is waited for, or the first of them.
fn table<'c>(sought: &Sought, catalog: &'c Catalog) -> Option<&'c Arc<Table>> {
    match sought {
        Sought::Lock { key, .. } => catalog.table_of_key(key),
        Sought::Entry(tables) | Sought::Emptiness(tables) => {
            tables.iter().find_map(|table| catalog.table(*table))
        }
    }
}

impl Account<'_> {
    fn session(&self, txn: TxnId) -> Option<&Backend> {
        self.sessions.iter().find(|backend| backend.runs(txn))
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
        let sought = match &wait.sought {
            Sought::Lock { key, is_range, mode } => {
                let mode = match mode {
                    LockMode::Shared => "ShareLock",
                    LockMode::Exclusive => "ExclusiveLock",
                };
                let key = self.catalog.describe_key(key, *is_range, self.role);
                format!("{mode} on {key}")
            }
            Sought::Entry(tables) => format!("AccessShareLock on {}", self.tables(tables)),
            Sought::Emptiness(tables) => format!("AccessExclusiveLock on {}", self.tables(tables)),
        };
        format!("{name} waits for {sought}; blocked by {next}.")
    }

    fn tables(&self, tables: &[ObjectId]) -> String {
        if tables == [TURN] {
            return "the schema".to_owned();
        }
        let known = tables.iter().filter_map(|table| self.catalog.table(*table));
        let names: Vec<String> = known.map(|table| format!("\"{}\"", table.name)).collect();
        match names.as_slice() {
            [] => "a table that is not there any more".to_owned(),
            [only] => format!("table {only}"),
            several => format!("tables {}", several.join(", ")),
        }
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

//! What the simulated clients do, and what they know.
//!
//! ```text
//!   item      rows of one owner each; a unique code, an index on the grade
//!   account   shared by all clients; their sum never changes
//!   movement  one row for each transfer between accounts, written in the same transaction
//!   purse     of sagas, whose steps are undone where the saga does not come to its end
//!   note      one row for each such step, and one for each that was undone
//!   tally     one row, in which all count at once
//!   side_N    tables that come and go
//! ```
//!
//! A client alone writes its items and movements, so that its [`Oracle`] knows them exactly. It
//! does one thing after the other: a statement of its own, a block of several, a transfer, a read.
//! The accounts are what clients meet on: locks, deadlocks and commits over partitions and cores.

mod block;
mod saga;
mod schema;
mod session;
mod tally;

pub(super) use saga::{PURSES, Told, check as check_sagas};
pub(super) use schema::{SchemaOracle, check as check_schema};
pub(super) use session::session;
pub(super) use tally::{Tally, check as check_tally};

use super::client::{Answer, Client, Failure};
use super::oracle::{Oracle, Writes};
use model::error::SqlState;
use model::value::Value;
use runtime::random;
use runtime::sync::Event;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Accounts of the bank.
pub(super) const ACCOUNTS: i64 = 12;
/// What each account begins with.
pub(super) const BALANCE: i64 = 1_000;
/// Grades of items are below this: few, so that an index entry leads to many rows.
pub(super) const GRADES: i64 = 6;
/// Most items one client owns.
const ITEMS_MAX: i64 = 24;
/// Longest padding of an item, in bytes: all items together must fit one transaction.
const PAD_BYTES_MAX: u64 = 300;
/// Codes over which clients quarrel.
pub(super) const SHARED_CODES: u64 = 12;

/// Statements that make the tables of an empty node.
pub(super) const TABLES: [&str; 7] = [
    "CREATE TABLE item (id bigint PRIMARY KEY, owner bigint NOT NULL, grade bigint NOT NULL, \
     code text NOT NULL UNIQUE, pad text)",
    "CREATE INDEX item_grade ON item (grade)",
    "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)",
    "CREATE TABLE movement (id bigint PRIMARY KEY, owner bigint NOT NULL, source bigint NOT NULL, \
     target bigint NOT NULL, amount bigint NOT NULL)",
    "CREATE TABLE purse (id bigint PRIMARY KEY, balance bigint NOT NULL)",
    "CREATE TABLE note (saga bigint, step bigint, undone bigint, purse bigint NOT NULL, \
     amount bigint NOT NULL, PRIMARY KEY (saga, step, undone))",
    "CREATE TABLE tally (id bigint PRIMARY KEY, n bigint NOT NULL)",
];

/// A row that one client alone writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Item(i64),
    Movement(i64),
}

/// What is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    Item { grade: i64, code: String },
    Movement { source: i64, target: i64, amount: i64 },
}

/// Knows the rows of one client.
pub(super) type RowOracle = Oracle<Key, Row>;
/// The rows that one transaction sets.
pub(super) type RowWrites = Writes<Key, Row>;

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub committed: Cell<u64>,
    pub refused: Cell<u64>,
    pub in_doubt: Cell<u64>,
    pub revived: Cell<u64>,
    pub reads: Cell<u64>,
    pub schema_changes: Cell<u64>,
    pub corruption_refused: Cell<u64>,
}

pub(super) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// What all clients of a run share.
pub(super) struct Shared {
    /// Doors of the nodes; a client takes any.
    pub doors: Vec<SocketAddr>,
    /// Longest pause of a client between two transactions.
    pub pause_max: Duration,
    /// Set when the clients are to finish what they do and end.
    pub stop: Event,
    /// By owner.
    pub oracles: Vec<RefCell<RowOracle>>,
    pub schema: RefCell<SchemaOracle>,
    /// By number.
    pub sagas: RefCell<BTreeMap<i64, Told>>,
    pub tally: Tally,
    pub counters: Counters,
    /// Whether some bits of the disk were changed behind the node's back.
    pub damaged: Cell<bool>,
    /// Broken promises that clients saw, in order.
    violations: RefCell<Vec<String>>,
    next_number: Cell<i64>,
}

impl Shared {
    pub fn new(doors: Vec<SocketAddr>, clients: usize, pause_max: Duration) -> Shared {
        Shared {
            doors,
            pause_max,
            stop: Event::new(),
            oracles: (0..clients).map(|_| RefCell::default()).collect(),
            schema: RefCell::default(),
            sagas: RefCell::default(),
            tally: Tally::default(),
            counters: Counters::default(),
            damaged: Cell::new(false),
            violations: RefCell::default(),
            next_number: Cell::new(0),
        }
    }

    /// A door to connect to.
    pub fn door(&self) -> SocketAddr {
        match self.doors.len() {
            1 => self.doors[0],
            many => self.doors[random::below(many as u64) as usize],
        }
    }

    /// Notes a broken promise.
    pub fn violated(&self, what: impl Into<String>) {
        self.violations.borrow_mut().push(what.into());
    }

    /// The first broken promise.
    pub fn first_violation(&self) -> Option<String> {
        self.violations.borrow().first().cloned()
    }

    /// A number never given before.
    pub fn next_number(&self) -> i64 {
        self.next_number.set(self.next_number.get() + 1);
        self.next_number.get()
    }

    /// Notes a refusal; one that no fault and no other client explains is a broken promise.
    pub fn note_refusal(&self, statement: &str, failure: &Failure) {
        let Some(state) = failure.state() else { return };
        count(&self.counters.refused);
        let in_cluster = self.doors.len() > 1 && EXPLAINED_IN_CLUSTERS.contains(&state);
        let explained = in_cluster || EXPLAINED.contains(&state);
        if state == SqlState::DATA_CORRUPTED && self.damaged.get() {
            count(&self.counters.corruption_refused);
        } else if !explained {
            self.violated(format!("{statement}: {failure}"));
        }
    }
}

/// Refusals that a right statement may meet.
const EXPLAINED: [SqlState; 12] = [
    SqlState::UNIQUE_VIOLATION,
    SqlState::DEADLOCK_DETECTED,
    SqlState::SERIALIZATION_FAILURE,
    SqlState::STATEMENT_COMPLETION_UNKNOWN,
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::DISK_FULL,
    SqlState::OUT_OF_MEMORY,
    SqlState::CONFIGURATION_LIMIT_EXCEEDED,
    SqlState::IO_ERROR,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::QUERY_CANCELED,
];

/// Besides, where there are several nodes: one of them cannot be reached that alone could do what was
/// asked; or a leader was looked for until the snapshot was too old, since versions are not kept for long.
const EXPLAINED_IN_CLUSTERS: [SqlState; 2] =
    [SqlState::CONNECTION_FAILURE, SqlState::SNAPSHOT_TOO_OLD];

/// A statement of a client, and what it does to the client's rows.
pub(super) struct Change {
    pub statement: &'static str,
    pub parameters: Vec<Value>,
    pub writes: RowWrites,
}

/// The integers of a row.
pub(super) fn integers(row: &[Value]) -> Option<Vec<i64>> {
    row.iter()
        .map(|value| match value {
            Value::Int(number) => Some(*number),
            _ => None,
        })
        .collect()
}

pub(super) fn text(word: &str) -> Value {
    Value::Text(word.into())
}

fn coin() -> bool {
    random::below(2) == 0
}

/// A number in `0..below`, as SQL's integers are.
fn draw(below: i64) -> i64 {
    random::below(below.unsigned_abs()) as i64
}

/// Runs a change, as text or prepared.
async fn apply(client: &mut Client, change: &Change) -> Result<Answer, Failure> {
    client.run(change.statement, &change.parameters, coin()).await
}

/// Draws a change of the rows of `owner`, given how its open transaction has left them.
fn draw_change(shared: &Shared, owner: i64, rows: &BTreeMap<Key, Row>) -> Change {
    let items: Vec<(i64, &Row)> = rows
        .iter()
        .filter_map(|(key, row)| match key {
            Key::Item(id) => Some((*id, row)),
            Key::Movement(_) => None,
        })
        .collect();
    let full = items.len() as i64 >= ITEMS_MAX;
    if items.is_empty() || !full && random::below(3) == 0 {
        return insert(shared, owner);
    }
    let (id, row) = items[random::below(items.len() as u64) as usize];
    let Row::Item { grade, code } = row else { unreachable!("an item's key has an item's row") };
    match random::below(if full { 5 } else { 4 }) {
        0 => set_code(shared, id, *grade),
        1 => raise_grades(owner, *grade, &items),
        2 => set_grade(id, code),
        _ => Change {
            statement: "DELETE FROM item WHERE id = $1",
            parameters: vec![Value::Int(id)],
            writes: [(Key::Item(id), None)].into(),
        },
    }
}

fn draw_code(shared: &Shared) -> String {
    match random::below(3) {
        0 => format!("shared{}", random::below(SHARED_CODES)),
        _ => format!("own{}", shared.next_number()),
    }
}

fn insert(shared: &Shared, owner: i64) -> Change {
    let (id, grade, code) = (shared.next_number(), draw(GRADES), draw_code(shared));
    let pad = "p".repeat(random::below(PAD_BYTES_MAX) as usize);
    Change {
        statement: "INSERT INTO item (id, owner, grade, code, pad) VALUES ($1, $2, $3, $4, $5)",
        parameters: vec![
            Value::Int(id),
            Value::Int(owner),
            Value::Int(grade),
            text(&code),
            text(&pad),
        ],
        writes: [(Key::Item(id), Some(Row::Item { grade, code }))].into(),
    }
}

fn set_code(shared: &Shared, id: i64, grade: i64) -> Change {
    let code = draw_code(shared);
    Change {
        statement: "UPDATE item SET code = $1 WHERE id = $2",
        parameters: vec![text(&code), Value::Int(id)],
        writes: [(Key::Item(id), Some(Row::Item { grade, code }))].into(),
    }
}

fn set_grade(id: i64, code: &str) -> Change {
    let grade = draw(GRADES);
    Change {
        statement: "UPDATE item SET grade = $1 WHERE id = $2",
        parameters: vec![Value::Int(grade), Value::Int(id)],
        writes: [(Key::Item(id), Some(Row::Item { grade, code: code.to_owned() }))].into(),
    }
}

/// One statement over many rows, in many partitions.
fn raise_grades(owner: i64, from: i64, items: &[(i64, &Row)]) -> Change {
    let to = draw(GRADES);
    let mut writes = RowWrites::new();
    for (id, row) in items {
        if let Row::Item { grade, code } = row
            && *grade == from
        {
            writes.insert(Key::Item(*id), Some(Row::Item { grade: to, code: code.clone() }));
        }
    }
    Change {
        statement: "UPDATE item SET grade = $1 WHERE owner = $2 AND grade = $3",
        parameters: vec![Value::Int(to), Value::Int(owner), Value::Int(from)],
        writes,
    }
}

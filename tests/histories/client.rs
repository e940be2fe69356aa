//! One client of the workload: runs the micro-operations it is given as one transaction, by access
//! paths that it draws, and says what became of it.
//!
//! ```text
//!   lists, registers (k bigint PRIMARY KEY, tag bigint, code text UNIQUE, n bigint, v text)
//!   by key │ by the unique code │ by an index on (tag, n), which every write moves │ by a range
//! ```
//!
//! A list is its elements with commas between them, a register its last value.

use adya::r#gen::{Kind, Rng, TxnOp};
use adya::run::{Client as Driven, Outcome, parse_list};
use model::error::SqlState;
use model::value::Value;
use phantomdb_client::Error;
use phantomdb_client::blocking::Client;
use std::collections::BTreeMap;

/// Keys that share a tag.
const KEYS_PER_TAG: i64 = 3;
/// How far a range reaches beyond the key that is asked for.
const RANGE: i64 = 2;

/// A level of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    /// As SQL writes it.
    pub fn sql(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "READ COMMITTED",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::Serializable => "SERIALIZABLE",
        }
    }
}

impl std::str::FromStr for Isolation {
    type Err = String;

    fn from_str(text: &str) -> Result<Isolation, String> {
        let levels = [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];
        let name = text.to_uppercase().replace('-', " ");
        let level = levels.into_iter().find(|level| level.sql() == name);
        level.ok_or_else(|| "a level is read-committed, repeatable-read or serializable".to_owned())
    }
}

/// Refusals that a right transaction may meet: conflicts, waits, and a server that goes or comes.
const EXPLAINED: [SqlState; 6] = [
    SqlState::STATEMENT_COMPLETION_UNKNOWN,
    SqlState::SERIALIZATION_FAILURE,
    SqlState::DEADLOCK_DETECTED,
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
];

/// Whether a conflict, a wait or a kill explains a failure.
pub fn is_explained(error: &Error) -> bool {
    match error.state() {
        Some(state) => EXPLAINED.contains(&state),
        None => matches!(error, Error::Lost { .. }),
    }
}

/// Makes the tables, where they are not there.
pub fn create_tables(client: &mut Client) -> Result<(), Error> {
    for table in ["lists", "registers"] {
        client.run(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (k bigint PRIMARY KEY, tag bigint NOT NULL, \
             code text NOT NULL UNIQUE, n bigint NOT NULL, v text NOT NULL)"
        ))?;
        client.run(&format!("CREATE INDEX IF NOT EXISTS {table}_tag ON {table} (tag, n)"))?;
    }
    Ok(())
}

/// A connection, as the checker's runner drives it.
pub struct Session {
    client: Client,
    isolation: Isolation,
    table: &'static str,
    /// What a write makes of the value that is there; `$1` is the new one.
    set: &'static str,
    random: Rng,
    lost: bool,
    on_odd: Box<dyn Fn(String) + Send>,
}

impl Session {
    /// Connects. `on_odd` is told of every refusal that no conflict and no kill explains.
    pub fn connect(
        url: &str,
        kind: Kind,
        isolation: Isolation,
        seed: u64,
        on_odd: Box<dyn Fn(String) + Send>,
    ) -> Result<Session, Error> {
        let mut client = Client::connect(url)?;
        let level = isolation.sql().to_lowercase();
        client.run(&format!("SET default_transaction_isolation = '{level}'"))?;
        let (table, set) = match kind {
            Kind::ListAppend => ("lists", "v || ',' || $1"),
            Kind::RwRegister => ("registers", "$1"),
        };
        let random = Rng::new(seed);
        Ok(Session { client, isolation, table, set, random, lost: false, on_odd })
    }

    fn coin(&mut self) -> bool {
        self.random.below(2) == 0
    }

    fn run(&mut self, sql: &str, parameters: &[Value]) -> Result<phantomdb_client::Outcome, Error> {
        let answer = self.client.outcome(sql, parameters);
        if let Err(error) = &answer {
            self.lost |= error.state().is_none();
            if !is_explained(error) {
                (self.on_odd)(format!("{sql}: {error}"));
            }
        }
        answer
    }

    /// All operations, in order; reads that stand together may go into one statement.
    fn operations(&mut self, ops: &[TxnOp]) -> Result<Vec<Option<Vec<i64>>>, Error> {
        let mut reads = Vec::with_capacity(ops.len());
        let mut rest = ops;
        while let Some(&first) = rest.first() {
            let together = rest.iter().map_while(|op| match *op {
                TxnOp::Read(key) => Some(key),
                _ => None,
            });
            let together: Vec<i64> = together.collect();
            if together.len() > 1 && self.coin() {
                let found = self.read_many(&together)?;
                reads.extend(
                    together.iter().map(|key| Some(found.get(key).cloned().unwrap_or_default())),
                );
                rest = &rest[together.len()..];
                continue;
            }
            reads.push(match first {
                TxnOp::Read(key) => Some(self.read(key)?),
                TxnOp::Append(key, value) | TxnOp::Write(key, value) => {
                    self.write(key, value)?;
                    None
                }
            });
            rest = &rest[1..];
        }
        Ok(reads)
    }

    fn read(&mut self, key: i64) -> Result<Vec<i64>, Error> {
        let table = self.table;
        let (condition, parameters) = match self.random.below(8) {
            0..4 => ("k = $1", vec![Value::Int(key)]),
            4 => ("code = $1", vec![code(key)]),
            5 | 6 => ("tag = $1 AND n > 0", vec![Value::Int(tag(key))]),
            _ => ("k BETWEEN $1 AND $2", vec![Value::Int(key - RANGE), Value::Int(key + RANGE)]),
        };
        let found =
            self.rows(&format!("SELECT k, v FROM {table} WHERE {condition}"), &parameters)?;
        Ok(found.get(&key).cloned().unwrap_or_default())
    }

    fn read_many(&mut self, keys: &[i64]) -> Result<BTreeMap<i64, Vec<i64>>, Error> {
        let table = self.table;
        let (condition, parameters): (String, Vec<Value>) = if self.coin() {
            let places: Vec<String> = (1..=keys.len()).map(|place| format!("${place}")).collect();
            (
                format!("k IN ({})", places.join(", ")),
                keys.iter().map(|key| Value::Int(*key)).collect(),
            )
        } else {
            let ends = [keys.iter().min(), keys.iter().max()];
            (
                "k BETWEEN $1 AND $2".to_owned(),
                ends.into_iter().flatten().map(|key| Value::Int(*key)).collect(),
            )
        };
        self.rows(&format!("SELECT k, v FROM {table} WHERE {condition}"), &parameters)
    }

    fn rows(&mut self, sql: &str, parameters: &[Value]) -> Result<BTreeMap<i64, Vec<i64>>, Error> {
        let mut found = BTreeMap::new();
        for row in self.run(sql, parameters)?.rows {
            let (key, value): (i64, String) = (row.get(0)?, row.get(1)?);
            if found.insert(key, parse_list(Some(&value))).is_some() {
                (self.on_odd)(format!("{sql} returns key {key} twice"));
            }
        }
        Ok(found)
    }

    fn write(&mut self, key: i64, value: i64) -> Result<(), Error> {
        let (table, set) = (self.table, self.set);
        let value = Value::Text(value.to_string().into());
        let condition = match self.random.below(6) {
            0 => Some(("k = $2", vec![value.clone(), Value::Int(key)])),
            1 => Some(("code = $2", vec![value.clone(), code(key)])),
            2 => Some((
                "tag = $2 AND n > 0 AND k = $3",
                vec![value.clone(), Value::Int(tag(key)), Value::Int(key)],
            )),
            _ => None,
        };
        if let Some((condition, parameters)) = condition {
            let update = format!("UPDATE {table} SET v = {set}, n = n + 1 WHERE {condition}");
            match self.run(&update, &parameters)?.affected {
                // The row is not there yet.
                0 => {}
                1 => return Ok(()),
                many => (self.on_odd)(format!("{update} changes {many} rows")),
            }
        }
        let set = set.replace("v ||", &format!("{table}.v ||"));
        let upsert = format!(
            "INSERT INTO {table} (k, tag, code, n, v) VALUES ($2, $3, $4, 1, $1) \
             ON CONFLICT (k) DO UPDATE SET v = {set}, n = {table}.n + 1"
        );
        self.run(&upsert, &[value, Value::Int(key), Value::Int(tag(key)), code(key)]).map(drop)
    }

    /// What is known after a failure of a statement that may have committed.
    fn ended(error: &Error) -> Outcome {
        let definite =
            error.state().is_some_and(|state| state != SqlState::STATEMENT_COMPLETION_UNKNOWN);
        match definite {
            true => Outcome::Fail(error.to_string()),
            false => Outcome::Info(error.to_string()),
        }
    }

    fn block(&mut self, begin: &str, ops: &[TxnOp]) -> Outcome {
        let done = self.run(begin, &[]).and_then(|_| self.operations(ops));
        match done {
            Ok(reads) => match self.run("COMMIT", &[]) {
                Ok(committed) if committed.tag == "COMMIT" => Outcome::Ok(reads),
                Ok(other) => {
                    (self.on_odd)(format!("COMMIT answers {}", other.tag));
                    Outcome::Fail(other.tag)
                }
                Err(error) => Session::ended(&error),
            },
            Err(error) => {
                // Nothing commits without COMMIT; where the connection is gone, so is the block.
                if !self.lost {
                    let _rolled_back_or_lost = self.run("ROLLBACK", &[]);
                }
                Outcome::Fail(error.to_string())
            }
        }
    }
}

impl Driven for Session {
    fn txn(&mut self, ops: &[TxnOp]) -> Outcome {
        let reads_only = ops.iter().all(|op| matches!(op, TxnOp::Read(_)));
        if ops.len() == 1 && self.coin() {
            return match self.operations(ops) {
                Ok(reads) => Outcome::Ok(reads),
                Err(error) => Session::ended(&error),
            };
        }
        let read_only = if reads_only && self.coin() { " READ ONLY" } else { "" };
        self.block(&format!("BEGIN ISOLATION LEVEL {}{read_only}", self.isolation.sql()), ops)
    }

    fn healthy(&mut self) -> bool {
        !self.lost
    }
}

fn tag(key: i64) -> i64 {
    key / KEYS_PER_TAG
}

fn code(key: i64) -> Value {
    Value::Text(format!("c{key}").into())
}

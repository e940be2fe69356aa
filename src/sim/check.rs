//! What must hold whenever the node is quiet, whatever has happened before.

use super::client::{Answer, Client, Failure};
use super::workload::{
    ACCOUNTS, BALANCE, GRADES, Key, Row, Shared, check_sagas, check_schema, check_tally, integers,
    text,
};
use model::error::SqlState;
use model::value::Value;
use runtime::time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Once faults have stopped, the node serves again within this time.
const SERVES_WITHIN: Duration = Duration::from_secs(90);
const RETRY: Duration = Duration::from_millis(100);
/// Codes looked up one by one; the others are seen in one scan.
const LOOKUPS_MAX: usize = 12;
/// The owner of rows that checks put in and take out again.
const PROBE: i64 = -1;

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Problem {
    /// A promise is broken.
    Violation(String),
    /// A statement got no answer.
    Failure { statement: String, failure: Failure },
}

impl Problem {
    /// The SQLSTATE of a refusal.
    pub fn state(&self) -> Option<SqlState> {
        match self {
            Problem::Violation(_) => None,
            Problem::Failure { failure, .. } => failure.state(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Violation(what) => f.write_str(what),
            Problem::Failure { statement, failure } => {
                write!(f, "with all faults ended, {statement}: {failure}")
            }
        }
    }
}

fn violation(what: impl Into<String>) -> Problem {
    Problem::Violation(what.into())
}

/// Everything an item says.
type Items = BTreeMap<i64, (i64, i64, String)>;

/// Waits until the node serves; `None` when it has ended instead.
pub(super) async fn connect(
    shared: &Shared,
    is_running: impl Fn() -> bool,
) -> Result<Option<Client>, Problem> {
    let end = time::now() + SERVES_WITHIN;
    loop {
        if !is_running() {
            return Ok(None);
        }
        match Client::connect(shared.door()).await {
            Ok(client) => return Ok(Some(client)),
            Err(failure) if time::now() >= end => {
                return Err(violation(format!(
                    "the node does not serve {SERVES_WITHIN:?} after all faults ended: {failure}"
                )));
            }
            Err(_not_yet) => time::sleep(RETRY).await,
        }
    }
}

/// Checks all that must hold.
pub(super) async fn check(shared: &Shared, client: &mut Client) -> Result<(), Problem> {
    // A check that was interrupted has left its rows.
    remove_probes(client).await?;
    let items = read_items(client).await?;
    let movements = read_movements(client).await?;
    check_oracles(shared, &items, &movements)?;
    check_accounts(client, &movements).await?;
    let tally = check_tally(shared, client).await;
    tally.map_err(|failure| Problem::Failure { statement: "the tally".to_owned(), failure })?;
    check_indexes(client, &items).await?;
    check_uniqueness(shared, client, &items).await?;
    check_locks(client).await?;
    // Behind what writes everywhere: on a core whose log has failed no saga comes to its end.
    let sagas = check_sagas(shared, client).await;
    let failed = |failure| Problem::Failure { statement: "a look at sagas".to_owned(), failure };
    if let Some(what) = sagas.map_err(failed)? {
        return Err(violation(what));
    }
    check_schema(shared, client)
        .await
        .map_err(|failure| Problem::Failure { statement: "a schema change".to_owned(), failure })
}

async fn ask(
    client: &mut Client,
    statement: &str,
    parameters: &[Value],
) -> Result<Answer, Problem> {
    let answer = client.run(statement, parameters, parameters.len() == 1).await;
    answer.map_err(|failure| Problem::Failure { statement: statement.to_owned(), failure })
}

fn odd(statement: &str, row: &[Value]) -> Problem {
    violation(format!("{statement} returns the row {row:?}"))
}

async fn read_items(client: &mut Client) -> Result<Items, Problem> {
    let statement = "SELECT id, owner, grade, code FROM item";
    let mut items = Items::new();
    for row in ask(client, statement, &[]).await?.rows {
        let [Value::Int(id), Value::Int(owner), Value::Int(grade), Value::Text(code)] = &row[..]
        else {
            return Err(odd(statement, &row));
        };
        if items.insert(*id, (*owner, *grade, code.to_string())).is_some() {
            return Err(violation(format!("item {id} is there twice")));
        }
    }
    Ok(items)
}

/// Movements: owner, source, target and amount, by id.
async fn read_movements(client: &mut Client) -> Result<BTreeMap<i64, [i64; 4]>, Problem> {
    let statement = "SELECT id, owner, source, target, amount FROM movement ORDER BY id";
    let mut movements = BTreeMap::new();
    for row in ask(client, statement, &[]).await?.rows {
        match integers(&row).as_deref() {
            Some(&[id, owner, source, target, amount]) => {
                if movements.insert(id, [owner, source, target, amount]).is_some() {
                    return Err(violation(format!("movement {id} is there twice")));
                }
            }
            _ => return Err(odd(statement, &row)),
        }
    }
    Ok(movements)
}

/// Every client's rows are what it knows of them.
fn check_oracles(
    shared: &Shared,
    items: &Items,
    movements: &BTreeMap<i64, [i64; 4]>,
) -> Result<(), Problem> {
    for (owner, oracle) in shared.oracles.iter().enumerate() {
        let mut found = BTreeMap::new();
        for (id, (of, grade, code)) in items {
            if *of == owner as i64 {
                found.insert(Key::Item(*id), Row::Item { grade: *grade, code: code.clone() });
            }
        }
        for (id, &[of, source, target, amount]) in movements {
            if of == owner as i64 {
                found.insert(Key::Movement(*id), Row::Movement { source, target, amount });
            }
        }
        let checked = oracle.borrow_mut().check(&found);
        checked.map_err(|broken| violation(format!("client {owner}: {broken}")))?;
    }
    Ok(())
}

/// Every account holds what the movements made of it.
async fn check_accounts(
    client: &mut Client,
    movements: &BTreeMap<i64, [i64; 4]>,
) -> Result<(), Problem> {
    let mut expected: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|id| (id, BALANCE)).collect();
    for [_, source, target, amount] in movements.values() {
        *expected.entry(*source).or_default() -= amount;
        *expected.entry(*target).or_default() += amount;
    }
    let statement = "SELECT id, balance FROM account";
    let mut found = BTreeMap::new();
    for row in ask(client, statement, &[]).await?.rows {
        match integers(&row).as_deref() {
            Some(&[id, balance]) => drop(found.insert(id, balance)),
            _ => return Err(odd(statement, &row)),
        }
    }
    match found == expected {
        true => Ok(()),
        false => Err(violation(format!(
            "the accounts hold {found:?}, their movements make {expected:?}"
        ))),
    }
}

/// Indexes lead to exactly the rows of their table.
async fn check_indexes(client: &mut Client, items: &Items) -> Result<(), Problem> {
    for grade in 0..GRADES {
        let statement = "SELECT id FROM item WHERE grade = $1";
        let found = ids(client, statement, Value::Int(grade)).await?;
        let of_grade = items.iter().filter(|(_, (_, is, _))| *is == grade);
        let expected: Vec<i64> = of_grade.map(|(id, _)| *id).collect();
        if found != expected {
            return Err(violation(format!(
                "by the index of grade {grade} there are {found:?}, in the table {expected:?}"
            )));
        }
    }
    let mut codes = BTreeSet::new();
    for (id, (_, _, code)) in items {
        if !codes.insert(code) {
            return Err(violation(format!("code {code} of item {id} is there twice")));
        }
    }
    let step = items.len().div_ceil(LOOKUPS_MAX).max(1);
    for (id, (_, _, code)) in items.iter().step_by(step) {
        let by_code = ids(client, "SELECT id FROM item WHERE code = $1", text(code)).await?;
        let by_id = ids(client, "SELECT id FROM item WHERE id = $1", Value::Int(*id)).await?;
        if by_code != [*id] || by_id != [*id] {
            return Err(violation(format!(
                "item {id} with code {code}: by its code {by_code:?}, by its key {by_id:?}"
            )));
        }
    }
    Ok(())
}

async fn ids(client: &mut Client, statement: &str, of: Value) -> Result<Vec<i64>, Problem> {
    let mut found = Vec::new();
    for row in ask(client, statement, &[of]).await?.rows {
        match row[..] {
            [Value::Int(id)] => found.push(id),
            _ => return Err(odd(statement, &row)),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What is taken is refused, and what is free is not: no index entry was left behind.
async fn check_uniqueness(
    shared: &Shared,
    client: &mut Client,
    items: &Items,
) -> Result<(), Problem> {
    let statement = "INSERT INTO item (id, owner, grade, code) VALUES ($1, $2, 0, $3)";
    if let Some((_, _, code)) = items.values().next() {
        let id = Value::Int(shared.next_number());
        let again = ask(client, statement, &[id, Value::Int(PROBE), text(code)]).await;
        match again {
            Err(problem) if problem.state() == Some(SqlState::UNIQUE_VIOLATION) => {}
            Err(problem) => return Err(problem),
            Ok(_) => return Err(violation(format!("code {code} was given twice"))),
        }
    }
    let taken: BTreeSet<&str> = items.values().map(|(_, _, code)| code.as_str()).collect();
    for shared_code in 0..super::workload::SHARED_CODES {
        let code = format!("shared{shared_code}");
        if taken.contains(code.as_str()) {
            continue;
        }
        let id = Value::Int(shared.next_number());
        ask(client, statement, &[id, Value::Int(PROBE), text(&code)]).await?;
    }
    let removed = remove_probes(client).await?;
    let free = super::workload::SHARED_CODES as usize
        - taken.iter().filter(|code| code.starts_with("shared")).count();
    match removed.tag == format!("DELETE {free}") {
        true => Ok(()),
        false => Err(violation(format!("{} of {free} rows that were put in", removed.tag))),
    }
}

async fn remove_probes(client: &mut Client) -> Result<Answer, Problem> {
    ask(client, "DELETE FROM item WHERE owner = $1", &[Value::Int(PROBE)]).await
}

/// No transaction of the past holds a lock: every row can be written.
async fn check_locks(client: &mut Client) -> Result<(), Problem> {
    for change in [
        "item SET pad = pad",
        "account SET balance = balance",
        "movement SET owner = owner",
        "tally SET n = n",
    ] {
        ask(client, &format!("UPDATE {change}"), &[]).await?;
    }
    Ok(())
}

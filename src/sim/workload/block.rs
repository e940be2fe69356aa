//! Transactions of several statements: changes of a client's own rows, with savepoints among them,
//! and transfers.

use super::{ACCOUNTS, Change, Key, Row, RowWrites, Shared, apply, coin, count, draw, draw_change};
use crate::sim::client::{Client, Failure};
use model::error::SqlState;
use model::value::Value;
use runtime::{random, time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most statements of a block, `BEGIN` and `COMMIT` aside.
const STATEMENTS_MAX: u64 = 4;
/// Most steps of a block with savepoints.
const STEPS_MAX: u64 = 12;
/// One in so many blocks is rolled back in the end.
const ROLLBACKS: u64 = 8;
/// Most that a transfer moves.
const AMOUNT_MAX: i64 = 50;

/// What a client knows after a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Fate {
    /// It was acknowledged or refused, and the connection goes on.
    Known,
    /// It has not committed, and the connection is gone.
    Disconnected,
    /// It may have committed or not. The client's rows are not to be touched before they are read.
    InDoubt,
}

/// A single statement as a transaction of its own.
pub(super) async fn single(shared: &Shared, client: &mut Client, owner: usize) -> Fate {
    let change = {
        let mut oracle = shared.oracles[owner].borrow_mut();
        let change = draw_change(shared, owner as i64, oracle.rows());
        oracle.begin(change.writes.clone());
        change
    };
    let answer = apply(client, &change).await;
    settle(shared, owner, change.statement, answer.map(drop))
}

/// One step of a block. Savepoints have the number of those that are around them.
enum Step {
    Change(Change),
    Savepoint(usize),
    RollBackTo(usize),
    Release(usize),
    /// Reads the client's items, which must be these.
    Check(BTreeMap<Key, Row>),
}

/// A block over the client's own rows.
pub(super) async fn block(shared: &Shared, client: &mut Client, owner: usize) -> Fate {
    let mut rows = shared.oracles[owner].borrow().rows().clone();
    let mut saved = Vec::new();
    let mut steps = Vec::new();
    let with_savepoints = coin();
    for _ in 0..=random::below(if with_savepoints { STEPS_MAX } else { STATEMENTS_MAX }) {
        let around = saved.len();
        match random::below(if with_savepoints { 8 } else { 1 }) {
            1..=2 => {
                saved.push(rows.clone());
                steps.push(Step::Savepoint(around));
            }
            3..=4 if around > 0 => {
                let to = random::below(around as u64) as usize;
                saved.truncate(to + 1);
                rows.clone_from(&saved[to]);
                steps.push(Step::RollBackTo(to));
                if coin() {
                    steps.push(Step::Check(rows.clone()));
                }
            }
            5 if around > 0 => {
                let to = random::below(around as u64) as usize;
                saved.truncate(to);
                steps.push(Step::Release(to));
            }
            _ => {
                let change = draw_change(shared, owner as i64, &rows);
                for (key, content) in &change.writes {
                    match content {
                        Some(row) => rows.insert(*key, row.clone()),
                        None => rows.remove(key),
                    };
                }
                steps.push(Step::Change(change));
            }
        }
    }
    run_block(shared, client, owner, steps, false).await
}

/// Moves money between two accounts, and writes it down.
pub(super) async fn transfer(shared: &Shared, client: &mut Client, owner: usize) -> Fate {
    let source = draw(ACCOUNTS);
    let target = (source + 1 + draw(ACCOUNTS - 1)) % ACCOUNTS;
    let amount = 1 + draw(AMOUNT_MAX);
    let id = shared.next_number();
    let add = |account: i64, amount: i64| Change {
        statement: "UPDATE account SET balance = balance + $1 WHERE id = $2",
        parameters: vec![Value::Int(amount), Value::Int(account)],
        writes: RowWrites::new(),
    };
    let note = Change {
        statement: "INSERT INTO movement (id, owner, source, target, amount) \
                    VALUES ($1, $2, $3, $4, $5)",
        parameters: [id, owner as i64, source, target, amount].map(Value::Int).to_vec(),
        writes: [(Key::Movement(id), Some(Row::Movement { source, target, amount }))].into(),
    };
    let mut changes = vec![add(source, -amount), add(target, amount)];
    // Sometimes in the same order of accounts for everyone, sometimes in one that deadlocks.
    if coin() && source > target {
        changes.swap(0, 1);
    }
    changes.insert(random::below(3) as usize, note);
    let mut steps: Vec<Step> = changes.into_iter().map(Step::Change).collect();
    // Sometimes a transfer that is thought better of stands among it.
    if random::below(3) == 0 {
        let at = random::below(steps.len() as u64 + 1) as usize;
        let other = draw(ACCOUNTS);
        let mistake = [
            Step::Savepoint(0),
            Step::Change(add(other, amount)),
            Step::RollBackTo(0),
            Step::Release(0),
        ];
        steps.splice(at..at, mistake);
    }
    run_block(shared, client, owner, steps, true).await
}

/// Runs the steps of a block. `whole`: all of them are committed, or none.
async fn run_block(
    shared: &Shared,
    client: &mut Client,
    owner: usize,
    steps: Vec<Step>,
    whole: bool,
) -> Fate {
    if let Err(failure) = client.query("BEGIN").await {
        return not_committed(shared, "BEGIN", &failure);
    }
    let mut writes = RowWrites::new();
    let mut saved: Vec<RowWrites> = Vec::new();
    for step in &steps {
        if let Err((statement, failure)) =
            run_step(shared, client, owner, step, &mut writes, &mut saved).await
        {
            let fate = not_committed(shared, &statement, &failure);
            let revived = match fate {
                // Half a transfer must not be committed.
                Fate::Known if whole => Ok(false),
                Fate::Known => revive(shared, client, &mut writes, &saved).await,
                fate => return fate,
            };
            match revived {
                // What comes next was drawn for rows that are not there.
                Ok(true) => break,
                Ok(false) => return roll_back(shared, client).await,
                Err(fate) => return fate,
            }
        }
        if random::below(6) == 0 {
            time::sleep(Duration::from_millis(random::below(30))).await;
        }
    }
    if random::below(ROLLBACKS) == 0 {
        return roll_back(shared, client).await;
    }
    shared.oracles[owner].borrow_mut().begin(writes);
    let answer = client.query("COMMIT").await;
    let answer = answer.map(|answer| {
        if answer.tag != "COMMIT" {
            shared.violated(format!("COMMIT of a block without errors answers {}", answer.tag));
        }
    });
    settle(shared, owner, "COMMIT", answer)
}

/// Runs one step, and keeps in `writes` what the block has written now, and in `saved` what it had
/// at each savepoint.
async fn run_step(
    shared: &Shared,
    client: &mut Client,
    owner: usize,
    step: &Step,
    writes: &mut RowWrites,
    saved: &mut Vec<RowWrites>,
) -> Result<(), (String, Failure)> {
    let statement = match step {
        Step::Change(change) => {
            let applied = apply(client, change).await;
            applied.map_err(|failure| (change.statement.to_owned(), failure))?;
            writes.extend(change.writes.clone());
            return Ok(());
        }
        Step::Check(rows) => {
            let checked = check(shared, client, owner, rows).await;
            return checked.map_err(|failure| ("a read in a block".to_owned(), failure));
        }
        Step::Savepoint(number) => format!("SAVEPOINT s{number}"),
        Step::RollBackTo(number) => format!("ROLLBACK TO s{number}"),
        Step::Release(number) => format!("RELEASE s{number}"),
    };
    if let Err(failure) = client.query(&statement).await {
        return Err((statement, failure));
    }
    match step {
        Step::Savepoint(_) => saved.push(writes.clone()),
        Step::RollBackTo(number) => {
            saved.truncate(number + 1);
            writes.clone_from(&saved[*number]);
        }
        Step::Release(number) => saved.truncate(*number),
        Step::Change(_) | Step::Check(_) => {}
    }
    Ok(())
}

/// A statement was refused: goes back to a savepoint, where there is one and the transaction is
/// still there. Whether the block goes on.
async fn revive(
    shared: &Shared,
    client: &mut Client,
    writes: &mut RowWrites,
    saved: &[RowWrites],
) -> Result<bool, Fate> {
    if saved.is_empty() || coin() {
        return Ok(false);
    }
    let to = random::below(saved.len() as u64) as usize;
    let statement = format!("ROLLBACK TO s{to}");
    match client.query(&statement).await {
        Ok(_) => {
            writes.clone_from(&saved[to]);
            count(&shared.counters.revived);
            Ok(true)
        }
        Err(failure) => match not_committed(shared, &statement, &failure) {
            Fate::Known => Ok(false),
            fate => Err(fate),
        },
    }
}

/// Reads the client's items inside its block.
pub(super) async fn check(
    shared: &Shared,
    client: &mut Client,
    owner: usize,
    rows: &BTreeMap<Key, Row>,
) -> Result<(), Failure> {
    let statement = "SELECT id, grade, code FROM item WHERE owner = $1";
    let answer = client.run(statement, &[Value::Int(owner as i64)], coin()).await?;
    let mut found = BTreeMap::new();
    for row in &answer.rows {
        match row.as_slice() {
            [Value::Int(id), Value::Int(grade), Value::Text(code)] => {
                found.insert(Key::Item(*id), Row::Item { grade: *grade, code: code.to_string() });
            }
            _ => shared.violated(format!("{row:?} among the items")),
        }
    }
    let items = rows.iter().filter(|(key, _)| matches!(key, Key::Item(_)));
    let expected: BTreeMap<Key, Row> = items.map(|(key, row)| (*key, row.clone())).collect();
    if found != expected {
        shared.violated(format!(
            "client {owner} went back in a block to {expected:?} and reads {found:?}"
        ));
    }
    Ok(())
}

pub(super) async fn roll_back(shared: &Shared, client: &mut Client) -> Fate {
    match client.query("ROLLBACK").await {
        Ok(_) => Fate::Known,
        Err(failure) => not_committed(shared, "ROLLBACK", &failure),
    }
}

/// A statement inside a block has failed.
pub(super) fn not_committed(shared: &Shared, statement: &str, failure: &Failure) -> Fate {
    shared.note_refusal(statement, failure);
    match failure {
        Failure::Refused(_) => Fate::Known,
        Failure::Lost(_) => Fate::Disconnected,
    }
}

/// The oracle learns what became of the transaction that was open.
pub(super) fn settle(
    shared: &Shared,
    owner: usize,
    statement: &str,
    answer: Result<(), Failure>,
) -> Fate {
    let mut oracle = shared.oracles[owner].borrow_mut();
    match answer {
        Ok(()) => {
            oracle.committed();
            count(&shared.counters.committed);
            Fate::Known
        }
        Err(failure) => {
            shared.note_refusal(statement, &failure);
            let unknown = failure.state() == Some(SqlState::STATEMENT_COMPLETION_UNKNOWN);
            if unknown || failure.state().is_none() {
                count(&shared.counters.in_doubt);
                return Fate::InDoubt;
            }
            oracle.refused();
            Fate::Known
        }
    }
}

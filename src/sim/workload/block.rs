//! Transactions of several statements: changes of a client's own rows, and transfers.

use super::{ACCOUNTS, Change, Key, Row, RowWrites, Shared, apply, coin, count, draw, draw_change};
use crate::sim::client::{Client, Failure};
use model::error::SqlState;
use model::value::Value;
use runtime::{random, time};
use std::time::Duration;

/// Most statements of a block, `BEGIN` and `COMMIT` aside.
const STATEMENTS_MAX: u64 = 4;
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

/// A block over the client's own rows.
pub(super) async fn block(shared: &Shared, client: &mut Client, owner: usize) -> Fate {
    let mut rows = shared.oracles[owner].borrow().rows().clone();
    let mut changes = Vec::new();
    for _ in 0..=random::below(STATEMENTS_MAX) {
        let change = draw_change(shared, owner as i64, &rows);
        for (key, content) in &change.writes {
            match content {
                Some(row) => rows.insert(*key, row.clone()),
                None => rows.remove(key),
            };
        }
        changes.push(change);
    }
    run_block(shared, client, owner, changes).await
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
    run_block(shared, client, owner, changes).await
}

async fn run_block(
    shared: &Shared,
    client: &mut Client,
    owner: usize,
    changes: Vec<Change>,
) -> Fate {
    if let Err(failure) = client.query("BEGIN").await {
        return not_committed(shared, "BEGIN", &failure);
    }
    let mut writes = RowWrites::new();
    for change in &changes {
        if let Err(failure) = apply(client, change).await {
            let fate = not_committed(shared, change.statement, &failure);
            return match fate {
                Fate::Known => roll_back(shared, client).await,
                fate => fate,
            };
        }
        writes.extend(change.writes.clone());
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

async fn roll_back(shared: &Shared, client: &mut Client) -> Fate {
    match client.query("ROLLBACK").await {
        Ok(_) => Fate::Known,
        Err(failure) => not_committed(shared, "ROLLBACK", &failure),
    }
}

/// A statement inside a block has failed.
fn not_committed(shared: &Shared, statement: &str, failure: &Failure) -> Fate {
    shared.note_refusal(statement, failure);
    match failure {
        Failure::Refused(_) => Fate::Known,
        Failure::Lost(_) => Fate::Disconnected,
    }
}

/// The oracle learns what became of the transaction that was open.
fn settle(shared: &Shared, owner: usize, statement: &str, answer: Result<(), Failure>) -> Fate {
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

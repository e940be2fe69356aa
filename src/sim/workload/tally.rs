//! A row in which all clients count at once: whoever finds its lock handed over builds on what is not
//! durable yet, and nothing is told of that before it is.

use super::block::Fate;
use super::{Shared, coin, count, integers};
use crate::sim::client::{Client, Failure};
use model::error::SqlState;
use runtime::random;
use std::cell::Cell;

/// Most statements that count in a row.
const BURST_MAX: u64 = 8;

const COUNT: &str = "UPDATE tally SET n = n + 1 WHERE id = 0";
const COUNT_AND_TELL: &str = "UPDATE tally SET n = n + 1 WHERE id = 0 RETURNING n";
const READ: &str = "SELECT n FROM tally WHERE id = 0";
const READ_LOCKED: &str = "SELECT n FROM tally WHERE id = 0 FOR UPDATE";

/// What clients know of the row.
#[derive(Debug, Default)]
pub(in crate::sim) struct Tally {
    /// It is at least this: so often it was counted, or so much somebody was shown.
    least: Cell<i64>,
    /// And so often it was counted for sure.
    counted: Cell<i64>,
    /// It is at most this: so often somebody has tried and was not refused.
    most: Cell<i64>,
}

impl Tally {
    /// What an answer must show to whoever asks now.
    fn least(&self) -> i64 {
        self.least.get().max(self.counted.get())
    }

    /// Somebody asked when it was at least `least`, and was shown this.
    fn shown(&self, shared: &Shared, what: &str, least: i64, n: i64) {
        if !(least..=self.most.get()).contains(&n) {
            let most = self.most.get();
            shared.violated(format!("{what} shows a tally of {n}, not of {least} to {most}"));
        }
        self.least.set(self.least.get().max(n));
    }
}

/// Counts, or looks at the count, in one way or another.
pub(super) async fn tally(shared: &Shared, client: &mut Client) -> Fate {
    match random::below(8) {
        0..4 => burst(shared, client).await,
        4..6 => block(shared, client).await,
        6 => look(shared, client, READ).await,
        _ => look_locked(shared, client).await,
    }
}

/// The number in an answer of one row.
fn number(shared: &Shared, what: &str, rows: &[Vec<model::value::Value>]) -> i64 {
    match rows.first().and_then(|row| integers(row)).as_deref() {
        Some(&[n]) if rows.len() == 1 => n,
        _ => {
            shared.violated(format!("{what} answers {rows:?}"));
            0
        }
    }
}

/// Statements of their own.
async fn burst(shared: &Shared, client: &mut Client) -> Fate {
    let tally = &shared.tally;
    for _ in 0..=random::below(BURST_MAX) {
        let statement = if coin() { COUNT } else { COUNT_AND_TELL };
        let least = tally.least();
        tally.most.set(tally.most.get() + 1);
        let answer = client.run(statement, &[], coin()).await;
        match answer {
            Ok(answer) => {
                tally.counted.set(tally.counted.get() + 1);
                count(&shared.counters.committed);
                if statement == COUNT_AND_TELL {
                    let n = number(shared, statement, &answer.rows);
                    tally.shown(shared, statement, least + 1, n);
                }
            }
            Err(failure) => match ended(shared, statement, &failure) {
                Fate::Known => {}
                fate => return fate,
            },
        }
    }
    Fate::Known
}

/// A statement that counts, or the commit of one, has failed.
fn ended(shared: &Shared, statement: &str, failure: &Failure) -> Fate {
    shared.note_refusal(statement, failure);
    let unknown = failure.state() == Some(SqlState::STATEMENT_COMPLETION_UNKNOWN);
    if unknown || failure.state().is_none() {
        count(&shared.counters.in_doubt);
    } else {
        shared.tally.most.set(shared.tally.most.get() - 1);
    }
    match failure {
        Failure::Refused(_) => Fate::Known,
        Failure::Lost(_) => Fate::Disconnected,
    }
}

/// A block that counts. What it was shown was there, whatever becomes of the block.
async fn block(shared: &Shared, client: &mut Client) -> Fate {
    let tally = &shared.tally;
    let level = if coin() { "READ COMMITTED" } else { "SERIALIZABLE" };
    if let Err(failure) = client.query(&format!("BEGIN ISOLATION LEVEL {level}")).await {
        return given_up(shared, client, "BEGIN", &failure).await;
    }
    let statement = if coin() { COUNT } else { COUNT_AND_TELL };
    let least = tally.least();
    match client.run(statement, &[], coin()).await {
        Ok(answer) if statement == COUNT_AND_TELL => {
            let n = number(shared, statement, &answer.rows);
            tally.shown(shared, statement, least, n - 1);
        }
        Ok(_) => {}
        Err(failure) => return given_up(shared, client, statement, &failure).await,
    }
    if random::below(3) == 0 {
        return roll_back(shared, client).await;
    }
    tally.most.set(tally.most.get() + 1);
    match client.query("COMMIT").await {
        Ok(_) => {
            tally.counted.set(tally.counted.get() + 1);
            count(&shared.counters.committed);
            Fate::Known
        }
        Err(failure) => ended(shared, "COMMIT", &failure),
    }
}

async fn look(shared: &Shared, client: &mut Client, statement: &str) -> Fate {
    count(&shared.counters.reads);
    let least = shared.tally.least();
    match client.run(statement, &[], coin()).await {
        Ok(answer) => {
            let n = number(shared, statement, &answer.rows);
            shared.tally.shown(shared, statement, least, n);
            Fate::Known
        }
        Err(failure) => {
            shared.note_refusal(statement, &failure);
            match failure {
                Failure::Refused(_) => Fate::Known,
                Failure::Lost(_) => Fate::Disconnected,
            }
        }
    }
}

/// A look at the row under a lock, in a block that then changes nothing.
async fn look_locked(shared: &Shared, client: &mut Client) -> Fate {
    let level = if coin() { "READ COMMITTED" } else { "SERIALIZABLE" };
    if let Err(failure) = client.query(&format!("BEGIN ISOLATION LEVEL {level}")).await {
        return given_up(shared, client, "BEGIN", &failure).await;
    }
    let statement = if coin() { READ } else { READ_LOCKED };
    match look(shared, client, statement).await {
        Fate::Known => roll_back(shared, client).await,
        fate => fate,
    }
}

/// A block cannot go on.
async fn given_up(shared: &Shared, client: &mut Client, what: &str, failure: &Failure) -> Fate {
    shared.note_refusal(what, failure);
    match failure {
        Failure::Refused(_) => roll_back(shared, client).await,
        Failure::Lost(_) => Fate::Disconnected,
    }
}

async fn roll_back(shared: &Shared, client: &mut Client) -> Fate {
    match client.query("ROLLBACK").await {
        Ok(_) => Fate::Known,
        Err(failure) => {
            shared.note_refusal("ROLLBACK", &failure);
            Fate::Disconnected
        }
    }
}

/// Nothing is lost, nothing is doubled, and nothing that was shown is taken back.
pub(in crate::sim) async fn check(shared: &Shared, client: &mut Client) -> Result<(), Failure> {
    let least = shared.tally.least();
    let n = number(shared, READ, &client.query(READ).await?.rows);
    shared.tally.shown(shared, READ, least, n);
    // What was in doubt is settled: it counts, or it does not.
    shared.tally.counted.set(n);
    shared.tally.most.set(n);
    Ok(())
}

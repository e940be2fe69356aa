//! Sagas that move money between purses and write down each step, and each compensation; and what
//! must be true of them in the end.

use super::block::Fate;
use super::{BALANCE, Shared, coin, count, draw, integers};
use crate::sim::client::{Client, Failure};
use model::error::SqlState;
use model::value::Value;
use runtime::{random, time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Purses that sagas move money between.
pub(in crate::sim) const PURSES: i64 = 8;
/// Most notes of a saga.
const NOTES_MAX: i64 = 3;
/// Most that one step moves.
const AMOUNT_MAX: i64 = 50;
/// Sagas have ended within this time once no fault disturbs: longer than the longest pause between
/// two attempts.
const ENDS_WITHIN: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(100);

const MOVE: &str = "STEP UPDATE purse SET balance = balance + $1 WHERE id = $2 \
    COMPENSATE UPDATE purse SET balance = balance - $1 WHERE id = $2";
const NOTE: &str = "STEP INSERT INTO note (saga, step, undone, purse, amount) \
    VALUES ($1, $2, 0, $3, $4) COMPENSATE INSERT INTO note (saga, step, undone, purse, amount) \
    VALUES ($1, $2, 1, $3, $4)";

/// What a client knows of a saga that it has begun.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Told {
    /// Steps that it writes down.
    notes: i64,
    /// `None`: its end was in doubt.
    committed: Option<bool>,
}

/// Runs one saga to some end.
pub(super) async fn saga(shared: &Shared, client: &mut Client) -> Fate {
    let number = shared.next_number();
    let notes = 1 + draw(NOTES_MAX);
    let tell = |committed| {
        shared.sagas.borrow_mut().insert(number, Told { notes, committed });
    };
    // Until its end is asked for, it has none but to be undone.
    tell(Some(false));
    if let Err(failure) = client.query(&format!("BEGIN SAGA s{number}")).await {
        return refused(shared, client, "BEGIN SAGA", &failure).await;
    }
    for note in 1..=notes {
        let (purse, amount) = (draw(PURSES), draw(2 * AMOUNT_MAX) - AMOUNT_MAX);
        let moved = [amount, purse].map(Value::Int);
        let noted = [number, note, purse, amount].map(Value::Int);
        for (statement, parameters) in [(MOVE, &moved[..]), (NOTE, &noted[..])] {
            if let Err(failure) = client.run(statement, parameters, coin()).await {
                return refused(shared, client, statement, &failure).await;
            }
        }
        if random::below(6) == 0 {
            time::sleep(Duration::from_millis(random::below(30))).await;
        }
    }
    if random::below(4) == 0 {
        let statement = if coin() { "ROLLBACK SAGA" } else { "ROLLBACK" };
        return match client.query(statement).await {
            Ok(_) => Fate::Known,
            Err(failure) => refused(shared, client, statement, &failure).await,
        };
    }
    tell(None);
    let failure = match client.query("COMMIT SAGA").await {
        Ok(answer) => {
            if answer.tag != "COMMIT SAGA" {
                shared.violated(format!("COMMIT SAGA answers {}", answer.tag));
            }
            tell(Some(true));
            count(&shared.counters.committed);
            return Fate::Known;
        }
        Err(failure) => failure,
    };
    shared.note_refusal("COMMIT SAGA", &failure);
    match failure {
        Failure::Lost(_) => Fate::Disconnected,
        Failure::Refused(_) => {
            if failure.state() != Some(SqlState::STATEMENT_COMPLETION_UNKNOWN) {
                tell(Some(false));
            }
            Fate::Known
        }
    }
}

/// A statement of a saga has failed; the session is to leave the failed saga.
async fn refused(shared: &Shared, client: &mut Client, statement: &str, failure: &Failure) -> Fate {
    shared.note_refusal(statement, failure);
    if let Failure::Lost(_) = failure {
        return Fate::Disconnected;
    }
    match client.query("ROLLBACK").await {
        Ok(_) => Fate::Known,
        Err(failure) => {
            shared.note_refusal("ROLLBACK", &failure);
            Fate::Disconnected
        }
    }
}

/// Each saga is wholly there or wholly undone, and the purses hold what the notes say. What is wrong,
/// where something is.
pub(in crate::sim) async fn check(
    shared: &Shared,
    client: &mut Client,
) -> Result<Option<String>, Failure> {
    let end = time::now() + ENDS_WITHIN;
    let open = "SELECT name, state, last_error FROM phantom.sagas \
        WHERE state <> 'committed' AND state <> 'compensated'";
    loop {
        let open = client.query(open).await?.rows;
        if open.is_empty() {
            break;
        }
        // What is damaged is not compensated, and says so.
        let is_damage = |row: &Vec<Value>| matches!(&row[..], [.., Value::Text(why)] if why.starts_with("XX001"));
        if time::now() >= end && shared.damaged.get() && open.iter().all(is_damage) {
            return Ok(None);
        }
        if time::now() >= end {
            return Ok(Some(format!("sagas have not ended after {ENDS_WITHIN:?}: {open:?}")));
        }
        time::sleep(LOOK_EVERY).await;
    }
    let left = client.query("SELECT saga, step FROM phantom.saga_steps").await?.rows;
    if !left.is_empty() {
        return Ok(Some(format!("compensations of no saga: {left:?}")));
    }
    let mut made: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut purses: BTreeMap<i64, i64> = (0..PURSES).map(|id| (id, BALANCE)).collect();
    for row in client.query("SELECT saga, undone, purse, amount FROM note").await?.rows {
        let Some(&[saga, undone, purse, amount]) = integers(&row).as_deref() else {
            return Ok(Some(format!("{row:?} among the notes")));
        };
        let counts = made.entry(saga).or_default();
        let sign = if undone == 0 { 1 } else { -1 };
        *(if undone == 0 { &mut counts.0 } else { &mut counts.1 }) += 1;
        *purses.entry(purse).or_default() += sign * amount;
    }
    for (saga, told) in shared.sagas.borrow().iter() {
        let (done, undone) = made.get(saga).copied().unwrap_or_default();
        let stands = done == told.notes && undone == 0;
        let right = match told.committed {
            Some(true) => stands,
            Some(false) => done == undone,
            None => stands || done == undone,
        };
        if !right {
            return Ok(Some(format!("saga {saga}, {told:?}: {done} steps done, {undone} undone")));
        }
    }
    let mut found = BTreeMap::new();
    for row in client.query("SELECT id, balance FROM purse").await?.rows {
        match integers(&row).as_deref() {
            Some(&[id, balance]) => drop(found.insert(id, balance)),
            _ => return Ok(Some(format!("{row:?} among the purses"))),
        }
    }
    Ok((found != purses).then(|| format!("the purses hold {found:?}, their notes make {purses:?}")))
}

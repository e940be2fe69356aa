//! Schema changes while everyone works, and what is known of them: single ones, and blocks of several,
//! among changes of rows, which commit, are rolled back, or are cut off.

use super::block::{self, Fate, not_committed, roll_back, settle};
use super::{Key, Row, RowWrites, Shared, apply, count, draw_change, integers};
use crate::sim::client::{Client, Failure};
use model::error::SqlState;
use runtime::random;
use std::collections::BTreeMap;

/// What comes and goes: how it is made, how it is removed, how it is refused when it is there and
/// when it is not.
struct Object {
    create: &'static str,
    remove: &'static str,
    /// Counts it.
    look: &'static str,
    is_there: SqlState,
    is_absent: SqlState,
}

const OBJECTS: [Object; 4] = [
    Object {
        create: "CREATE TABLE side_1 (id bigint PRIMARY KEY, note text)",
        remove: "DROP TABLE side_1",
        look: "SELECT count(*) FROM pg_class WHERE relname = 'side_1'",
        is_there: SqlState::DUPLICATE_TABLE,
        is_absent: SqlState::UNDEFINED_TABLE,
    },
    Object {
        create: "CREATE TABLE side_2 (id bigint PRIMARY KEY, note text UNIQUE)",
        remove: "DROP TABLE side_2",
        look: "SELECT count(*) FROM pg_class WHERE relname = 'side_2'",
        is_there: SqlState::DUPLICATE_TABLE,
        is_absent: SqlState::UNDEFINED_TABLE,
    },
    Object {
        create: "CREATE INDEX item_owner ON item (owner, grade)",
        remove: "DROP INDEX item_owner",
        look: "SELECT count(*) FROM pg_class WHERE relname = 'item_owner'",
        is_there: SqlState::DUPLICATE_TABLE,
        is_absent: SqlState::UNDEFINED_OBJECT,
    },
    Object {
        create: "ALTER TABLE item ADD COLUMN extra bigint DEFAULT 7",
        remove: "ALTER TABLE item DROP COLUMN extra",
        look: "SELECT count(*) FROM information_schema.columns \
               WHERE table_name = 'item' AND column_name = 'extra'",
        is_there: SqlState::DUPLICATE_COLUMN,
        is_absent: SqlState::UNDEFINED_COLUMN,
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Presence {
    #[default]
    Absent,
    Present,
    InDoubt,
}

/// What is known of the objects that come and go.
#[derive(Debug, Default)]
pub(in crate::sim) struct SchemaOracle {
    objects: [Presence; OBJECTS.len()],
}

/// Makes or removes one of the objects.
pub(super) async fn change(shared: &Shared, client: &mut Client) -> Fate {
    let index = random::below(OBJECTS.len() as u64) as usize;
    let create = match shared.schema.borrow().objects[index] {
        Presence::Absent => true,
        Presence::Present => false,
        Presence::InDoubt => random::below(2) == 0,
    };
    match turn(shared, client, index, create).await {
        Ok(()) => Fate::Known,
        Err(Failure::Refused(_)) => Fate::Known,
        Err(Failure::Lost(_)) => Fate::Disconnected,
    }
}

/// Steps of a block at most.
const STEPS_MAX: u64 = 10;

/// What a block has made of what was there.
#[derive(Debug, Clone)]
struct Draft {
    present: [bool; OBJECTS.len()],
    writes: RowWrites,
    rows: BTreeMap<Key, Row>,
}

/// How a block ends.
enum Ending {
    Commit,
    RollBack,
    /// The client goes without a word.
    CutOff,
}

/// Changes several of the objects, and rows of the client's own, in one block.
pub(super) async fn block(shared: &Shared, client: &mut Client, owner: usize) -> Fate {
    let objects = shared.schema.borrow().objects;
    if objects.contains(&Presence::InDoubt) {
        return change(shared, client).await;
    }
    let present = objects.map(|object| object == Presence::Present);
    let rows = shared.oracles[owner].borrow().rows().clone();
    let mut draft = Draft { present, writes: RowWrites::new(), rows };
    if let Err((statement, failure)) = run_steps(shared, client, owner, &mut draft).await {
        return match not_committed(shared, &statement, &failure) {
            Fate::Known => roll_back(shared, client).await,
            fate => fate,
        };
    }
    match draw_ending() {
        Ending::RollBack => roll_back(shared, client).await,
        Ending::CutOff => Fate::Disconnected,
        Ending::Commit => commit(shared, client, owner, draft).await,
    }
}

fn draw_ending() -> Ending {
    match random::below(10) {
        0..2 => Ending::RollBack,
        2 => Ending::CutOff,
        _ => Ending::Commit,
    }
}

async fn commit(shared: &Shared, client: &mut Client, owner: usize, draft: Draft) -> Fate {
    let before = shared.schema.borrow().objects;
    let as_drafted = draft.present.map(|present| match present {
        true => Presence::Present,
        false => Presence::Absent,
    });
    let set = |objects| shared.schema.borrow_mut().objects = objects;
    let mut in_doubt = before;
    for (object, drafted) in in_doubt.iter_mut().zip(as_drafted) {
        if *object != drafted {
            *object = Presence::InDoubt;
        }
    }
    set(in_doubt);
    shared.oracles[owner].borrow_mut().begin(draft.writes);
    let answer = client.query("COMMIT").await.map(|answer| {
        if answer.tag != "COMMIT" {
            shared.violated(format!("COMMIT of a block without errors answers {}", answer.tag));
        }
    });
    let is_done = answer.is_ok();
    let fate = settle(shared, owner, "COMMIT of a schema change", answer);
    match fate {
        Fate::Known if is_done => {
            count(&shared.counters.schema_changes);
            set(as_drafted);
        }
        Fate::Known => set(before),
        Fate::Disconnected | Fate::InDoubt => {}
    }
    fate
}

/// Draws and runs the steps of a block. What is drawn depends on what those before have made.
async fn run_steps(
    shared: &Shared,
    client: &mut Client,
    owner: usize,
    draft: &mut Draft,
) -> Result<(), (String, Failure)> {
    let mut saved: Vec<Draft> = Vec::new();
    run(client, "BEGIN").await?;
    for _ in 0..=random::below(STEPS_MAX) {
        let index = random::below(OBJECTS.len() as u64) as usize;
        let object = &OBJECTS[index];
        match random::below(8) {
            0..3 => {
                let there = draft.present[index];
                run(client, if there { object.remove } else { object.create }).await?;
                draft.present[index] = !there;
            }
            3..5 => {
                let change = draw_change(shared, owner as i64, &draft.rows);
                let changed = apply(client, &change).await;
                changed.map_err(|failure| (change.statement.to_owned(), failure))?;
                for (key, content) in &change.writes {
                    match content {
                        Some(row) => draft.rows.insert(*key, row.clone()),
                        None => draft.rows.remove(key),
                    };
                }
                draft.writes.extend(change.writes);
            }
            5 => {
                run(client, &format!("SAVEPOINT s{}", saved.len())).await?;
                saved.push(draft.clone());
            }
            6 if !saved.is_empty() => {
                let to = random::below(saved.len() as u64) as usize;
                run(client, &format!("ROLLBACK TO s{to}")).await?;
                saved.truncate(to + 1);
                draft.clone_from(&saved[to]);
            }
            _ => look(shared, client, owner, draft, index).await?,
        }
    }
    Ok(())
}

/// The block sees what it has made.
async fn look(
    shared: &Shared,
    client: &mut Client,
    owner: usize,
    draft: &Draft,
    index: usize,
) -> Result<(), (String, Failure)> {
    let statement = OBJECTS[index].look;
    let answer = client.query(statement).await;
    let answer = answer.map_err(|failure| (statement.to_owned(), failure))?;
    let found = answer.rows.first().and_then(|row| integers(row));
    let expected = vec![i64::from(draft.present[index])];
    if found != Some(expected) {
        shared.violated(format!("{statement} in a block with {draft:?}: {:?}", answer.rows));
    }
    let checked = block::check(shared, client, owner, &draft.rows).await;
    checked.map_err(|failure| ("a read in a block that changes the schema".to_owned(), failure))
}

async fn run(client: &mut Client, statement: &str) -> Result<(), (String, Failure)> {
    let answer = client.query(statement).await;
    answer.map(drop).map_err(|failure| (statement.to_owned(), failure))
}

/// Every object is as it was acknowledged; settles what was in doubt.
pub(in crate::sim) async fn check(shared: &Shared, client: &mut Client) -> Result<(), Failure> {
    for index in 0..OBJECTS.len() {
        // What is there cannot be made again; what is not can be, and is from here on.
        turn(shared, client, index, true).await?;
    }
    Ok(())
}

async fn turn(
    shared: &Shared,
    client: &mut Client,
    index: usize,
    create: bool,
) -> Result<(), Failure> {
    let object = &OBJECTS[index];
    let (statement, goal, already) = match create {
        true => (object.create, Presence::Present, object.is_there),
        false => (object.remove, Presence::Absent, object.is_absent),
    };
    let before = shared.schema.borrow().objects[index];
    shared.schema.borrow_mut().objects[index] = Presence::InDoubt;
    let answer = client.query(statement).await;
    let after = match &answer {
        Ok(_) => {
            if before == goal {
                shared.violated(format!("{statement} succeeds although it is {before:?}"));
            }
            count(&shared.counters.schema_changes);
            goal
        }
        Err(failure) => match failure.state() {
            Some(state) if state == already => {
                if before != goal && before != Presence::InDoubt {
                    shared.violated(format!("{statement} when {before:?}: {failure}"));
                }
                shared.schema.borrow_mut().objects[index] = goal;
                return Ok(());
            }
            Some(SqlState::STATEMENT_COMPLETION_UNKNOWN) | None => Presence::InDoubt,
            Some(_) => {
                shared.note_refusal(statement, failure);
                before
            }
        },
    };
    shared.schema.borrow_mut().objects[index] = after;
    answer.map(drop)
}

//! Schema changes while everyone works, and what is known of them.

use super::block::Fate;
use super::{Shared, count};
use crate::sim::client::{Client, Failure};
use model::error::SqlState;
use runtime::random;

/// What comes and goes: how it is made, how it is removed, how it is refused when it is there and
/// when it is not.
struct Object {
    create: &'static str,
    remove: &'static str,
    is_there: SqlState,
    is_absent: SqlState,
}

const OBJECTS: [Object; 4] = [
    Object {
        create: "CREATE TABLE side_1 (id bigint PRIMARY KEY, note text)",
        remove: "DROP TABLE side_1",
        is_there: SqlState::DUPLICATE_TABLE,
        is_absent: SqlState::UNDEFINED_TABLE,
    },
    Object {
        create: "CREATE TABLE side_2 (id bigint PRIMARY KEY, note text UNIQUE)",
        remove: "DROP TABLE side_2",
        is_there: SqlState::DUPLICATE_TABLE,
        is_absent: SqlState::UNDEFINED_TABLE,
    },
    Object {
        create: "CREATE INDEX item_owner ON item (owner, grade)",
        remove: "DROP INDEX item_owner",
        is_there: SqlState::DUPLICATE_TABLE,
        is_absent: SqlState::UNDEFINED_OBJECT,
    },
    Object {
        create: "ALTER TABLE item ADD COLUMN extra bigint DEFAULT 7",
        remove: "ALTER TABLE item DROP COLUMN extra",
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

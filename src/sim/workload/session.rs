//! The life of one client: connect, work, connect again.

use super::block::{self, Fate};
use super::{ACCOUNTS, BALANCE, GRADES, Key, Row, Shared, count, draw, integers, text};
use super::{saga, schema, tally};
use crate::sim::client::{Client, Failure};
use model::value::Value;
use runtime::{random, time};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(50);
/// One in so many transactions of client 0 changes the schema.
const SCHEMA_CHANGES: u64 = 8;

/// Works until it is told to stop, or does not know what has become of its rows.
pub(in crate::sim) async fn session(shared: Rc<Shared>, owner: usize) {
    while !shared.stop.is_set() {
        let mut client = match Client::connect(shared.door()).await {
            Ok(client) => client,
            Err(failure) => {
                shared.note_refusal("connecting", &failure);
                time::sleep(RECONNECT).await;
                continue;
            }
        };
        loop {
            if shared.stop.is_set() {
                return;
            }
            match transaction(&shared, &mut client, owner).await {
                Fate::Known => {}
                Fate::Disconnected => break,
                Fate::InDoubt => return,
            }
            let most = shared.pause_max.as_micros() as u64;
            time::sleep(Duration::from_micros(random::below(most))).await;
        }
    }
}

async fn transaction(shared: &Shared, client: &mut Client, owner: usize) -> Fate {
    if owner == 0 && random::below(SCHEMA_CHANGES) == 0 {
        return match random::below(2) {
            0 => schema::change(shared, client).await,
            _ => schema::block(shared, client, owner).await,
        };
    }
    match random::below(13) {
        11.. => tally::tally(shared, client).await,
        10 => saga::saga(shared, client).await,
        0..3 => block::single(shared, client, owner).await,
        3..5 => block::block(shared, client, owner).await,
        5..7 => block::transfer(shared, client, owner).await,
        7 => read(shared, client, owner, Read::Sum).await,
        8 => read(shared, client, owner, Read::ByGrade(draw(GRADES))).await,
        _ => read(shared, client, owner, Read::Own).await,
    }
}

/// A read whose answer is known, although others write.
#[derive(Debug, Clone, Copy)]
enum Read {
    /// The accounts' sum never changes.
    Sum,
    /// By way of the index: the rows of the client's own are known.
    ByGrade(i64),
    /// One of the client's own rows, by its key or its code.
    Own,
}

async fn read(shared: &Shared, client: &mut Client, owner: usize, read: Read) -> Fate {
    count(&shared.counters.reads);
    let result = match read {
        Read::Sum => read_sum(shared, client).await,
        Read::ByGrade(grade) => read_grade(shared, client, owner, grade).await,
        Read::Own => read_own(shared, client, owner).await,
    };
    match result {
        Ok(()) => Fate::Known,
        Err(failure) => {
            shared.note_refusal("a read", &failure);
            match failure {
                Failure::Refused(_) => Fate::Known,
                Failure::Lost(_) => Fate::Disconnected,
            }
        }
    }
}

async fn read_sum(shared: &Shared, client: &mut Client) -> Result<(), Failure> {
    let statement = "SELECT count(*), CAST(sum(balance) AS bigint) FROM account";
    let answer = client.run(statement, &[], random::below(2) == 0).await?;
    let found = answer.rows.first().and_then(|row| integers(row));
    if found != Some(vec![ACCOUNTS, ACCOUNTS * BALANCE]) {
        shared.violated(format!("the bank's accounts and sum are {:?}", answer.rows));
    }
    Ok(())
}

async fn read_grade(
    shared: &Shared,
    client: &mut Client,
    owner: usize,
    grade: i64,
) -> Result<(), Failure> {
    let statement = "SELECT id, owner, grade FROM item WHERE grade = $1";
    let answer = client.run(statement, &[Value::Int(grade)], random::below(2) == 0).await?;
    let mut found = BTreeSet::new();
    for row in &answer.rows {
        match integers(row).as_deref() {
            Some([id, of, graded]) if *graded == grade => {
                if *of == owner as i64 && !found.insert(*id) {
                    shared.violated(format!("item {id} twice under grade {grade}"));
                }
            }
            _ => shared.violated(format!("{row:?} under grade {grade}")),
        }
    }
    let oracle = shared.oracles[owner].borrow();
    let graded = |(key, row): (&Key, &Row)| match (key, row) {
        (Key::Item(id), Row::Item { grade: is, .. }) if *is == grade => Some(*id),
        _ => None,
    };
    let expected: BTreeSet<i64> = oracle.rows().iter().filter_map(graded).collect();
    if found != expected {
        shared.violated(format!(
            "client {owner} finds {found:?} under grade {grade}, it wrote {expected:?}"
        ));
    }
    Ok(())
}

async fn read_own(shared: &Shared, client: &mut Client, owner: usize) -> Result<(), Failure> {
    let drawn = {
        let oracle = shared.oracles[owner].borrow();
        let item = |(key, row): (&Key, &Row)| match (key, row) {
            (Key::Item(id), Row::Item { grade, code }) => Some((*id, *grade, code.clone())),
            _ => None,
        };
        let items: Vec<(i64, i64, String)> = oracle.rows().iter().filter_map(item).collect();
        match items.len() {
            0 => return Ok(()),
            len => items[random::below(len as u64) as usize].clone(),
        }
    };
    let (id, grade, code) = drawn;
    let prepared = random::below(2) == 0;
    let answer = match random::below(2) {
        0 => {
            let statement = "SELECT id, grade, code FROM item WHERE id = $1";
            client.run(statement, &[Value::Int(id)], prepared).await?
        }
        _ => {
            let statement = "SELECT id, grade, code FROM item WHERE code = $1";
            client.run(statement, &[text(&code)], prepared).await?
        }
    };
    let expected = vec![vec![Value::Int(id), Value::Int(grade), text(&code)]];
    if format!("{:?}", answer.rows) != format!("{expected:?}") {
        shared.violated(format!("client {owner} wrote {expected:?} and reads {:?}", answer.rows));
    }
    Ok(())
}

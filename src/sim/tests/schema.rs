//! Commits of changes of the schema that are broken off.

use super::{BALANCES, bank, connect, integers, state_of};
use crate::sim::client::Client;
use crate::sim::machine::{Machine, NODE};
use model::error::SqlState;
use runtime::sim::{Loss, Options, Sim};
use runtime::time;
use std::time::Duration;

/// Changes rows and the schema: `n` is the number of a column that comes with them.
fn block(n: u64) -> Vec<String> {
    vec![
        "BEGIN".to_owned(),
        "UPDATE account SET balance = balance - 1 WHERE id = 1".to_owned(),
        format!("ALTER TABLE account ADD COLUMN w_{n} bigint DEFAULT {n}"),
        format!("CREATE TABLE made_{n} (id bigint PRIMARY KEY)"),
        format!("INSERT INTO made_{n} SELECT id FROM account"),
        format!("CREATE INDEX account_{n} ON account (w_{n})"),
        "UPDATE account SET balance = balance + 1 WHERE id = 2".to_owned(),
    ]
}

/// All that a block has done is there, or nothing: whether it is. The same is so at all cores.
async fn is_done(machine: &Machine<'_>, n: u64, moved: i64) -> bool {
    let mut answers = Vec::new();
    for _core in 0..4 {
        let mut client = connect(machine).await;
        let rows = client.query(BALANCES).await.unwrap().rows;
        let rows: Vec<Option<Vec<i64>>> = rows.iter().map(|row| integers(row)).collect();
        let now = 1000 - rows[0].as_ref().unwrap()[1];
        assert_eq!(rows[1], Some(vec![2, 1000 + now]), "{n}");
        let found = format!("SELECT count(*) FROM account, made_{n} WHERE w_{n} = {n}");
        let found = client.query(&found).await.map(|answer| integers(&answer.rows[0]));
        answers.push(match found {
            Ok(rows) => {
                assert_eq!((rows, now), (Some(vec![9]), moved + 1), "{n}");
                true
            }
            Err(failure) => {
                let absent = Some(SqlState::UNDEFINED_TABLE);
                assert_eq!((failure.state(), now), (absent, moved), "{n}: {failure}");
                let column = format!("SELECT w_{n} FROM account");
                let absent = Some(SqlState::UNDEFINED_COLUMN);
                assert_eq!(state_of(&mut client, &column).await, absent, "{n}");
                false
            }
        });
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{n}: {answers:?}");
    answers[0]
}

/// While a session commits it is ended, sooner or later: all cores have the schema that the outcome
/// says, and others change it.
#[test]
fn one_whose_session_is_ended_comes_to_its_end() {
    let sim = Sim::new(Options::new(19));
    let mut machine = Machine::with_partitions(&sim, 16);
    let ran = sim.run_until(async {
        let mut operator = bank(&mut machine).await;
        let (mut moved, mut kept, mut undone, mut cut_off) = (0, 0, 0, 0);
        for n in 0..100 {
            let mut client = connect(&machine).await;
            let process = client.query("SELECT pg_backend_pid()").await.unwrap();
            let process = integers(&process.rows[0]).unwrap()[0];
            for statement in block(n) {
                client.query(&statement).await.unwrap();
            }
            let committing =
                runtime::task::spawn("commit", async move { client.query("COMMIT").await });
            time::sleep(Duration::from_micros(n * 2)).await;
            let end = format!("SELECT pg_terminate_backend({process})");
            operator.query(&end).await.unwrap();
            let answered = committing.await.unwrap().is_ok();
            time::sleep(Duration::from_secs(1)).await;
            let done = is_done(&machine, n, moved).await;
            assert!(done || !answered, "{n} was acknowledged");
            (moved, kept) = (moved + i64::from(done), kept + u64::from(done));
            (undone, cut_off) = (undone + u64::from(!done), cut_off + u64::from(!answered));
            undo(&mut operator, n, done).await;
        }
        let counts = format!("{kept} kept, {undone} undone, {cut_off} cut off");
        assert!(kept > 10 && undone > 2 && cut_off > undone + 10, "{counts}");
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

/// While a session commits the node dies, after this step and that.
#[test]
fn one_may_be_broken_off_anywhere() {
    for loss in [Loss::Process, Loss::Power] {
        let sim = Sim::new(Options::new(23));
        let mut machine = Machine::with_partitions(&sim, 8);
        let ran = sim.run_until(async {
            drop(bank(&mut machine).await);
            let (mut moved, mut kept, mut undone) = (0, 0, 0);
            for n in 0.. {
                let mut client = connect(&machine).await;
                for statement in block(n) {
                    client.query(&statement).await.unwrap();
                }
                sim.crash_after(NODE, 1 + n * 5, loss, |_| {});
                let answered = client.query("COMMIT").await.is_ok();
                if answered && sim.call_off(NODE).is_some() {
                    break;
                }
                while machine.is_running() {
                    time::sleep(Duration::from_millis(1)).await;
                }
                assert!(machine.last_words().is_empty(), "{n}: {:?}", machine.last_words());
                machine.start(2);
                let done = is_done(&machine, n, moved).await;
                assert!(done || !answered, "{n} was acknowledged");
                (kept, undone) = (kept + u64::from(done), undone + u64::from(!done));
                moved += i64::from(done);
                let mut client = connect(&machine).await;
                undo(&mut client, n, done).await;
            }
            assert!(kept > 3 && undone > 3, "{loss:?}: {kept} kept, {undone} undone");
        });
        ran.unwrap();
        assert!(sim.panics().is_empty(), "{:?}", sim.panics());
    }
}

/// Takes away what a block has made, so that the next one has room.
async fn undo(client: &mut Client, n: u64, done: bool) {
    if done {
        let undo = format!("ALTER TABLE account DROP COLUMN w_{n}; DROP TABLE made_{n}");
        client.query(&undo).await.unwrap();
    }
}

/// Whoever waits while a block has given a table an index writes entries into it.
#[test]
fn who_waits_for_one_goes_on_with_what_it_has_made() {
    const WRITERS: u64 = 4;
    let sim = Sim::new(Options::new(29));
    let mut machine = Machine::with_partitions(&sim, 8);
    let ran = sim.run_until(async {
        let mut client = bank(&mut machine).await;
        client.query("CREATE TABLE item (id bigint PRIMARY KEY, v bigint)").await.unwrap();
        for n in 0..60 {
            client.query("BEGIN").await.unwrap();
            client.query("CREATE INDEX item_v ON item (v)").await.unwrap();
            let mut waiting = Vec::new();
            for writer in 0..WRITERS {
                let mut other = connect(&machine).await;
                let insert = format!("INSERT INTO item VALUES ({}, {n})", n * WRITERS + writer);
                let inserted = async move { other.query(&insert).await.map(drop) };
                waiting.push(runtime::task::spawn("insert", inserted));
            }
            time::sleep(Duration::from_millis(20)).await;
            client.query("COMMIT").await.unwrap();
            for waiting in waiting {
                waiting.await.unwrap().unwrap();
            }
            let count = format!("SELECT count(*) FROM item WHERE v = {n}");
            let by_index = client.query(&count).await.unwrap().rows;
            assert_eq!(integers(&by_index[0]), Some(vec![WRITERS as i64]), "{n}");
            client.query("DROP INDEX item_v").await.unwrap();
        }
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

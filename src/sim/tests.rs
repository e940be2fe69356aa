//! Single faults against one node, exactly placed.

mod schema;

use super::client::{Client, Failure};
use super::machine::{Held, Machine, NODE};
use super::workload::integers;
use model::error::SqlState;
use runtime::sim::{DiskError, DiskFault, Loss, Operations, Options, Sim};
use runtime::time;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

async fn connect(machine: &Machine<'_>) -> Client {
    loop {
        match Client::connect(machine.address()).await {
            Ok(client) => return client,
            Err(_not_yet) => time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn state_of(client: &mut Client, statement: &str) -> Option<SqlState> {
    client.query(statement).await.err().as_ref().and_then(Failure::state)
}

/// The log fails while a change of the schema is being written: what has become of it is not known,
/// so nothing is done by the old schema. The node ends, and reads the stored one when it starts again.
#[test]
fn behind_a_schema_change_in_doubt_there_is_none() {
    let sim = Sim::new(Options::new(7));
    let mut machine = Machine::new(&sim);
    let ran = sim.run_until(async {
        machine.start(1);
        let mut client = connect(&machine).await;
        for statement in [
            "CREATE TABLE t (id bigint PRIMARY KEY, v bigint)",
            "CREATE TABLE apart (id bigint PRIMARY KEY)",
            "INSERT INTO t VALUES (1, 1)",
        ] {
            client.query(statement).await.unwrap();
        }
        let fault = DiskFault::new(Operations::WRITE, DiskError::InputOutput);
        sim.disk(NODE).fail(fault.on_path("wal").once());
        let change = "ALTER TABLE t ADD COLUMN w bigint";
        // It is told, or the node has ended before it could be.
        let failure = client.query(change).await.expect_err("its log has failed");
        let told = failure.state();
        assert!(matches!(told, None | Some(SqlState::STATEMENT_COMPLETION_UNKNOWN)), "{told:?}");
        let ended = async {
            while machine.is_running() {
                time::sleep(Duration::from_millis(50)).await;
            }
        };
        time::timeout(Duration::from_secs(30), ended).await.expect("the node ends");
        machine.start(1);
        let mut client = connect(&machine).await;
        assert_eq!(client.query("SELECT id FROM t").await.unwrap().rows.len(), 1);
        let again = state_of(&mut client, change).await;
        assert!(matches!(again, None | Some(SqlState::DUPLICATE_COLUMN)), "{again:?}");
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

/// While the data is laid out for another number of cores the process dies, after this step and that;
/// the next start finds it whole, with the old number or a new one.
#[test]
fn a_change_of_the_number_of_cores_may_end_anywhere() {
    const APART: u64 = 13;
    let sim = Sim::new(Options::new(11));
    let mut machine = Machine::new(&sim);
    let ran = sim.run_until(async {
        machine.start(2);
        let mut client = connect(&machine).await;
        client.query("CREATE TABLE t (id bigint PRIMARY KEY, v bigint)").await.unwrap();
        client.query("INSERT INTO t SELECT n, n FROM generate_series(1, 100) n").await.unwrap();
        let (mut steps, mut crashes) = (1, 0);
        let mut cores = [3, 2, 1, 2].into_iter().cycle();
        loop {
            sim.crash(NODE, Loss::Process);
            sim.crash_after(NODE, steps, Loss::Process, |_| {});
            machine.start(cores.next().unwrap());
            let came_first = async {
                while machine.is_running() {
                    if Client::connect(machine.address()).await.is_ok() {
                        return true;
                    }
                    time::sleep(Duration::from_millis(1)).await;
                }
                false
            };
            if came_first.await && sim.call_off(NODE).is_some() {
                break;
            }
            assert!(machine.last_words().is_empty(), "{steps}: {:?}", machine.last_words());
            machine.start(cores.next().unwrap());
            let mut client = connect(&machine).await;
            let read = client.query("SELECT count(*), CAST(sum(v) AS bigint) FROM t").await;
            assert_eq!(integers(&read.unwrap().rows[0]), Some(vec![100, 5050]), "{steps}");
            (steps, crashes) = (steps + APART, crashes + 1);
        }
        assert!(crashes > 10, "{crashes} crashes: this shows nothing");
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

/// A node that was stopped, or has crashed, leaves nothing in memory: its parts hold each other while it
/// lives.
#[test]
fn nothing_is_left_of_a_life() {
    let sim = Sim::new(Options::new(3));
    let witness = sim.witness();
    let mut machine = Machine::new(&sim);
    let ran = sim.run_until(async {
        for crashes in [true, false] {
            machine.start(2);
            let mut client = connect(&machine).await;
            for statement in [
                "CREATE TABLE IF NOT EXISTS t (id bigint PRIMARY KEY, v bigint)",
                "INSERT INTO t SELECT n, n FROM generate_series(1, 100) n ON CONFLICT DO NOTHING",
            ] {
                client.query(statement).await.unwrap();
            }
            if crashes {
                sim.crash(NODE, Loss::Process);
            }
        }
        machine.stop();
        while machine.is_running() {
            time::sleep(Duration::from_millis(50)).await;
        }
    });
    ran.unwrap();
    assert!(machine.last_words().is_empty(), "{:?}", machine.last_words());
    drop(machine);
    drop(sim);
    assert_eq!(witness.left(), 0);
}

/// Money from account 1 to account 2, in a block that has read another one.
const TRANSFER: [&str; 4] = [
    "BEGIN",
    "SELECT balance FROM account WHERE id = 3",
    "UPDATE account SET balance = balance - 1 WHERE id = 1",
    "UPDATE account SET balance = balance + 1 WHERE id = 2",
];
const BALANCES: &str = "SELECT id, balance FROM account ORDER BY id";

/// A node with accounts 1, 2 and 3, which lie in several partitions.
async fn bank(machine: &mut Machine<'_>) -> Client {
    machine.start(2);
    let mut client = connect(machine).await;
    for statement in [
        "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)",
        "INSERT INTO account VALUES (1, 1000), (2, 1000), (3, 1000)",
    ] {
        client.query(statement).await.unwrap();
    }
    client
}

async fn balances(client: &mut Client) -> Vec<Option<Vec<i64>>> {
    client.query(BALANCES).await.unwrap().rows.iter().map(|row| integers(row)).collect()
}

/// While a session commits it is ended, sooner or later: the commit comes to its end, wholly or not
/// at all, and nothing of it is held any more soon after.
#[test]
fn a_commit_whose_session_is_ended_comes_to_its_end() {
    let sim = Sim::new(Options::new(13));
    let mut machine = Machine::with_partitions(&sim, 16);
    let ran = sim.run_until(async {
        let mut operator = bank(&mut machine).await;
        let (mut moved, mut answered, mut cut_off, mut in_progress) = (0, 0, 0, 0);
        for delay in 0..120 {
            let mut client = connect(&machine).await;
            let process = client.query("SELECT pg_backend_pid()").await.unwrap();
            let process = integers(&process.rows[0]).unwrap()[0];
            for statement in TRANSFER {
                client.query(statement).await.unwrap();
            }
            let committing =
                runtime::task::spawn("commit", async move { client.query("COMMIT").await });
            time::sleep(Duration::from_micros(delay * 20)).await;
            let end = format!("SELECT pg_terminate_backend({process})");
            operator.query(&end).await.unwrap();
            in_progress += u64::from(machine.gauges().held().transactions > 0);
            match committing.await.unwrap() {
                Ok(_) => answered += 1,
                Err(_) => cut_off += 1,
            }
            time::sleep(Duration::from_secs(1)).await;
            assert_eq!(machine.gauges().held(), Held::default(), "{delay}");
            let [one, two, _] = balances(&mut operator).await.try_into().unwrap();
            let now = 1000 - one.unwrap()[1];
            assert_eq!(two, Some(vec![2, 1000 + now]), "{delay}");
            assert!((moved..=moved + 1).contains(&now), "{delay}");
            moved = now;
        }
        let counts = format!("{answered} answered, {cut_off} cut off, {in_progress} in progress");
        assert!(answered > 10 && cut_off > 5 && in_progress > 5, "{counts}");
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

/// A statement of its own has changed several partitions and commits, when its time is over or
/// somebody cancels it: who is told that it was cancelled can be sure that it has not happened.
#[test]
fn a_statement_that_commits_is_not_cancelled() {
    let sim = Sim::new(Options::new(17));
    let mut machine = Machine::with_partitions(&sim, 16);
    let ran = sim.run_until(async {
        let mut client = bank(&mut machine).await;
        client.query("SET statement_timeout = '50ms'").await.unwrap();
        let (sent, stalled) = (time::now(), Duration::from_secs(2));
        sim.disk(NODE).stall(Operations::WRITE, stalled);
        let change = "UPDATE account SET balance = balance + 1 WHERE id <= 3";
        assert_eq!(client.query(change).await.unwrap().tag, "UPDATE 3");
        assert!(sent.elapsed() >= stalled);
        // The one behind it can be.
        let sleeps = state_of(&mut client, "SELECT pg_sleep(1)").await;
        assert_eq!(sleeps, Some(SqlState::QUERY_CANCELED));
        let rows = balances(&mut client).await;
        assert_eq!(rows, [1, 2, 3].map(|id| Some(vec![id, 1001])));
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

/// What meets a change of all rows whose commit waits for the disk, each in a block or none, and
/// with a row of its own.
const MEETINGS: [(&str, &str); 7] = [
    ("", "SELECT n FROM tally WHERE id = 1"),
    ("BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT n FROM tally WHERE id = 2"),
    ("BEGIN ISOLATION LEVEL READ COMMITTED", "SELECT n FROM tally WHERE id = 3 FOR UPDATE"),
    ("BEGIN ISOLATION LEVEL READ COMMITTED", "UPDATE tally SET n = n + 1 WHERE id = 4 RETURNING n"),
    ("", "UPDATE tally SET n = n + 1 WHERE id = 5"),
    ("BEGIN ISOLATION LEVEL SERIALIZABLE", "UPDATE tally SET n = 1 / (n - 1) WHERE id = 6"),
    ("BEGIN ISOLATION LEVEL READ COMMITTED", "UPDATE tally SET n = n + 1 WHERE id = 7"),
];

/// The last of them is told how many rows it has changed. Nobody else is told anything while a crash
/// could take it back.
#[test]
fn nothing_is_shown_that_a_crash_could_take_back() {
    let sim = Sim::new(Options::new(19));
    let mut machine = Machine::with_one_partition(&sim);
    let ran = sim.run_until(async {
        machine.start(1);
        let mut first = connect(&machine).await;
        for statement in [
            "CREATE TABLE tally (id bigint PRIMARY KEY, n bigint NOT NULL)",
            "INSERT INTO tally SELECT i, 0 FROM generate_series(1, 7) AS i",
        ] {
            first.query(statement).await.unwrap();
        }
        let answered: Rc<RefCell<Vec<&str>>> = Rc::default();
        let mut meeting = Vec::new();
        for (begin, statement) in MEETINGS {
            let mut client = connect(&machine).await;
            if !begin.is_empty() {
                client.query(begin).await.unwrap();
            }
            meeting.push((client, statement));
        }
        sim.disk(NODE).stall(Operations::WRITE, Duration::from_secs(60));
        let ask = |mut client: Client, statement: &'static str| {
            let answered = answered.clone();
            let asking = async move {
                let _answer_or_refusal = client.query(statement).await;
                answered.borrow_mut().push(statement);
            };
            runtime::task::spawn("client", asking)
        };
        let mut asking = vec![ask(first, "UPDATE tally SET n = n + 1")];
        time::sleep(Duration::from_millis(100)).await;
        asking.extend(meeting.into_iter().map(|(client, statement)| ask(client, statement)));
        time::sleep(Duration::from_millis(500)).await;
        assert_eq!(*answered.borrow(), [MEETINGS[6].1]);
        sim.disk(NODE).end_stalls();
        for asking in asking {
            asking.await.unwrap();
        }
        assert_eq!(answered.borrow().len(), MEETINGS.len() + 1);
    });
    ran.unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
}

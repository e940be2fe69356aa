//! Single faults against one node, exactly placed.

use super::client::{Client, Failure};
use super::machine::{Machine, NODE};
use super::workload::integers;
use model::error::SqlState;
use runtime::sim::{DiskError, DiskFault, Loss, Operations, Options, Sim};
use runtime::time;
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
/// so nothing is done by the old schema until the node has read it again.
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
        let unknown = Some(SqlState::STATEMENT_COMPLETION_UNKNOWN);
        assert_eq!(state_of(&mut client, change).await, unknown);
        // Not even that the column is there, or is not, is said.
        for statement in [change, "CREATE TABLE t (id bigint)", "DROP TABLE apart"] {
            let refused = state_of(&mut client, statement).await;
            assert_eq!(refused, Some(SqlState::CANNOT_CONNECT_NOW), "{statement}");
        }
        // What the change does not concern can be read; its own table is closed.
        client.query("SELECT count(*) FROM apart").await.unwrap();
        let read = client.query("SELECT count(*) FROM t");
        assert!(time::timeout(Duration::from_secs(5), read).await.is_err());
        machine.stop();
        while machine.is_running() {
            time::sleep(Duration::from_millis(50)).await;
        }
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

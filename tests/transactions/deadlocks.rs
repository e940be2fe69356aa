//! Deadlocks over two and three cores: one victim, soon, and the others commit.

use crate::place::key_where;
use crate::{is_measured, start};
use model::id::CoreId;
use std::time::Duration;
use test_support::speaker::Speaker;
use test_support::{Stopwatch, slice};

const CORES: u16 = 4;

/// How soon after the circle is closed the victim is told.
const SOON: Duration = Duration::from_millis(100);

/// Where little else runs on the machine. Elsewhere it only must not be a lock's time limit.
const AT_ALL: Duration = Duration::from_secs(5);

/// Each client changes its row and then asks for the next one's. How long the victim, the youngest
/// one, waited after the last had asked; the others have committed.
fn circle(clients: &mut [Speaker], rows: &[i64], level: &str) -> Duration {
    let change = |row: i64| format!("UPDATE item SET v = v + 1 WHERE id = {row}");
    for (client, row) in clients.iter_mut().zip(rows) {
        assert_eq!(client.query(&format!("BEGIN ISOLATION LEVEL {level}")), "");
        assert_eq!(client.query(&change(*row)), "");
    }
    let next = rows.iter().cycle().skip(1);
    for (client, row) in clients.iter_mut().zip(next) {
        client.send('Q', format!("{}\0", change(*row)).as_bytes());
    }
    let closed = Stopwatch::start();
    let (victim, others) = clients.split_last_mut().expect("clients");
    assert_eq!(victim.results(), "40P01;", "{level}: the youngest of {}", rows.len());
    let waited = closed.elapsed();
    // Each has its row when the one behind it has let go.
    for client in others.iter_mut().rev() {
        assert_eq!(client.results(), "", "{level}: one of the others");
        assert_eq!(client.query("COMMIT"), "", "{level}: one of the others");
    }
    assert_eq!(victim.query("ROLLBACK"), "");
    waited
}

fn circles_end(level: &str) {
    let rounds = slice("PHANTOM_DEADLOCKS", 5, 100);
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), CORES);
    let mut control = Speaker::connect(&server);
    control.query("CREATE TABLE item (id int PRIMARY KEY, v int)");
    let rows: Vec<i64> =
        (0..3).map(|core| key_where(1, CORES, |_, of| of == CoreId(core))).collect();
    for row in &rows {
        control.query(&format!("INSERT INTO item VALUES ({row}, 0)"));
    }
    let mut changes = 0;
    for cores in [2, 3] {
        let mut waits = Vec::new();
        for _ in 0..rounds {
            let mut clients: Vec<Speaker> = (0..cores).map(|_| Speaker::connect(&server)).collect();
            waits.push(circle(&mut clients, &rows[..cores], level));
            changes += 2 * (cores - 1);
        }
        waits.sort_unstable();
        let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        println!("{level}, {cores} cores: the victim waits {median:?}, {longest:?} at most");
        let limit = if is_measured() { SOON } else { AT_ALL };
        assert!(longest <= limit, "{level}, {cores} cores: {waits:?}");
    }
    assert_eq!(control.query("SELECT sum(v) FROM item"), format!("{changes};"));
}

#[test]
fn circles_over_cores_end_at_read_committed() {
    circles_end("READ COMMITTED");
}

#[test]
fn circles_over_cores_end_at_serializable() {
    circles_end("SERIALIZABLE");
}

//! What sessions see of each other: `pg_stat_activity`, `pg_locks`, and the functions that reach
//! other sessions.

use crate::speaker::Speaker;
use crate::start;
use std::time::Duration;
use test_support::{Server, sleep};

fn with_server(test: impl FnOnce(&Server)) {
    let data = tempfile::tempdir().expect("a data directory");
    let mut server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut speaker = Speaker::connect(&server);
    speaker.query("CREATE TABLE held (id int PRIMARY KEY, v int); INSERT INTO held VALUES (1, 0)");
    drop(speaker);
    test(&server);
    assert!(server.is_running() && !server.log().contains("panick"), "{}", server.log());
}

#[test]
fn sessions_of_all_cores_are_seen_with_what_they_do() {
    with_server(|server| {
        let mut watcher = Speaker::connect(server);
        let mut others: Vec<Speaker> = (0..8).map(|_| Speaker::connect(server)).collect();
        let all = "SELECT count(*), count(DISTINCT pid) FROM pg_stat_activity";
        watcher.until(all, "9|9;");
        // Eight connections to two cores that share a port are nearly never all on one.
        let processes: Vec<String> = others.iter_mut().map(Speaker::process).collect();
        let of = |at: usize, columns: &str| {
            format!("SELECT {columns} FROM pg_stat_activity WHERE pid = {}", processes[at])
        };
        others[0].query("SET application_name = 'reports'");
        others[1].query("BEGIN; SELECT 'something'");
        others[2].query("BEGIN; SELECT 1/0");
        let idle = watcher.query(&of(0, "application_name, state, xact_start IS NULL, query"));
        assert_eq!(idle, "reports|idle|t|SET application_name = 'reports';");
        let open = watcher.query(&of(1, "state, xact_start <= query_start + interval '1s', query"));
        assert_eq!(open, "idle in transaction|t|BEGIN; SELECT 'something';");
        let failed = watcher.query(&of(2, "state, wait_event_type, wait_event"));
        assert_eq!(failed, "idle in transaction (aborted)|Client|ClientRead;");
        let own = "SELECT state, datname = current_database(), usename = current_user, client_addr, \
                   backend_start <= query_start FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        assert_eq!(watcher.query(own), "active|t|t|127.0.0.1|t;");
        others[1].query("COMMIT");
        assert_eq!(watcher.query(&of(1, "state, xact_start")), "idle|~;");
        // It is a table like others: joined, counted, kept.
        let busy = "WITH busy AS (SELECT pid FROM pg_stat_activity WHERE state <> 'idle') \
                    SELECT count(*) FROM busy JOIN pg_stat_activity USING (pid)";
        assert_eq!(watcher.query(busy), "2;");
        watcher.query("PREPARE seen AS SELECT count(*) FROM pg_stat_activity");
        assert_eq!(watcher.query("EXECUTE seen"), "9;");
        others.pop();
        watcher.until("EXECUTE seen", "8;");
    });
}

#[test]
fn who_waits_for_whom_is_seen_and_can_be_ended() {
    with_server(|server| {
        let (mut holder, mut waiter) = (Speaker::connect(server), Speaker::connect(server));
        let mut watcher = Speaker::connect(server);
        let (held_by, waits) = (holder.process(), waiter.process());
        assert_eq!(holder.query("BEGIN; UPDATE held SET v = 1"), "");
        waiter.send('Q', b"UPDATE held SET v = v + 10\0");
        let blocked = format!("SELECT pg_blocking_pids({waits})");
        watcher.until(&blocked, &format!("{{{held_by}}};"));
        let wait =
            format!("SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = {waits}");
        assert_eq!(watcher.query(&wait), "active|Lock;");
        let locks = "SELECT pid, locktype, mode, granted, waitstart IS NULL FROM pg_locks \
                     WHERE relation = 'held'::regclass ORDER BY granted DESC";
        assert_eq!(
            watcher.query(locks),
            format!("{held_by}|relation|RowExclusiveLock|t|t;{waits}|tuple|ExclusiveLock|f|f;")
        );
        // The one that waits is cancelled, and its session goes on.
        assert_eq!(watcher.query(&format!("SELECT pg_cancel_backend({waits})")), "t;");
        assert_eq!(waiter.results(), "57014;");
        assert_eq!(waiter.query("SELECT 7"), "7;");
        // The one that holds is ended between statements, and what it did is undone.
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE state = 'idle in transaction' AND pid = {held_by}"
        );
        assert_eq!(watcher.query(&end), "t;");
        let farewell = holder.receive().expect("a farewell");
        assert_eq!((farewell.kind, farewell.field('C')), ('E', Some("57P01".to_owned())));
        assert_eq!(holder.receive(), None);
        assert_eq!(waiter.query("UPDATE held SET v = v + 10; SELECT v FROM held"), "10;");
        // What was decided is carried out behind the answer.
        watcher.until("SELECT count(*) FROM pg_locks", "0;");
        // A statement that runs is ended, too; nobody is nobody.
        waiter.send(
            'Q',
            b"SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b\0",
        );
        assert_eq!(watcher.query(&format!("SELECT pg_terminate_backend({waits})")), "t;");
        let mut last = None;
        while let Some(message) = waiter.receive() {
            last = message.field('C').or(last);
        }
        assert_eq!(last.as_deref(), Some("57P01"));
        watcher.until("SELECT count(*) FROM pg_stat_activity", "1;");
        assert_eq!(
            watcher.query("SELECT pg_cancel_backend(1234567), pg_blocking_pids(1)"),
            "f|{};"
        );
        // Where rows are evaluated inside their partitions nobody can be reached.
        assert_eq!(watcher.query("SELECT id FROM held WHERE pg_cancel_backend(id)"), "0A000;");
    });
}

#[test]
fn who_has_no_right_to_it_sees_little_and_ends_nobody() {
    with_server(|server| {
        let mut admin = Speaker::connect(server);
        admin.query("CREATE ROLE clerk LOGIN; CREATE ROLE other LOGIN");
        let mut clerk = Speaker::silent(server);
        clerk.start(&[("user", "clerk"), ("database", "phantom")]);
        let mut other = Speaker::silent(server);
        other.start(&[("user", "other"), ("database", "phantom")]);
        let (admins, others) = (admin.process(), other.process());
        let seen = |pid: &str| {
            format!("SELECT usename, state, query FROM pg_stat_activity WHERE pid = {pid}")
        };
        assert_eq!(clerk.query(&seen(&admins)), "phantom|~|<insufficient privilege>;");
        assert_eq!(clerk.query(&format!("SELECT pg_cancel_backend({admins})")), "42501;");
        assert_eq!(clerk.query(&format!("SELECT pg_terminate_backend({others})")), "42501;");
        admin.query("GRANT other TO clerk");
        assert_eq!(clerk.query(&seen(&others)), "other|idle|SELECT pg_backend_pid();");
        assert_eq!(clerk.query(&format!("SELECT pg_terminate_backend({others})")), "t;");
        assert_eq!(
            other.receive().and_then(|message| message.field('C')),
            Some("57P01".to_owned())
        );
    });
}

/// The error that a session is ended with while it says nothing.
fn farewell(speaker: &mut Speaker) -> Option<String> {
    let state = speaker.receive().and_then(|message| message.field('C'));
    assert_eq!(speaker.receive(), None, "the connection ends with it");
    state
}

#[test]
fn sessions_that_say_nothing_for_too_long_end() {
    with_server(|server| {
        let mut watcher = Speaker::connect(server);
        let mut patient = Speaker::connect(server);
        let mut failed = Speaker::connect(server);
        let mut idle = Speaker::connect(server);
        // It holds a lock, which goes with it; the time begins anew with each statement.
        patient.query("SET idle_in_transaction_session_timeout = '400ms'");
        patient.query("BEGIN; UPDATE held SET v = 5");
        for _ in 0..4 {
            sleep(Duration::from_millis(200));
            assert_eq!(patient.query("SELECT 1"), "1;");
        }
        failed.query("SET idle_in_transaction_session_timeout = 300");
        failed.query("BEGIN; SELECT 1/0");
        idle.query("SET idle_session_timeout = '300ms'");
        assert_eq!(farewell(&mut failed).as_deref(), Some("25P03"));
        assert_eq!(farewell(&mut idle).as_deref(), Some("57P05"));
        assert_eq!(farewell(&mut patient).as_deref(), Some("25P03"));
        assert_eq!(watcher.query("UPDATE held SET v = v + 1; SELECT v FROM held"), "1;");
        // A statement may take longer, and outside of a block, or without a limit, nothing ends.
        watcher.query("SET idle_in_transaction_session_timeout = '200ms'");
        assert_eq!(watcher.query("BEGIN; SELECT 1 FROM pg_sleep(0.6); COMMIT"), "1;");
        sleep(Duration::from_millis(500));
        assert_eq!(watcher.query("RESET idle_in_transaction_session_timeout; BEGIN"), "");
        sleep(Duration::from_millis(500));
        assert_eq!(watcher.query("COMMIT; SHOW idle_session_timeout"), "0;");
    });
}

//! `phantom.transactions`: what is open, what commits, and who waits for whom, on all cores.

use crate::speaker::{Message, Speaker};
use crate::start;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use test_support::{Server, Stopwatch};

fn with_rows(test: impl FnOnce(&Server)) {
    let data = tempfile::tempdir().expect("a data directory");
    let mut server = start(&data.path().join("data"), &["--cores", "4"]);
    let mut speaker = Speaker::connect(&server);
    speaker.query("CREATE TABLE held (id int PRIMARY KEY, v int)");
    speaker.query("INSERT INTO held SELECT i, 0 FROM generate_series(1, 16) AS i");
    test(&server);
    assert!(server.is_running() && !server.log().contains("panick"), "{}", server.log());
}

#[test]
fn open_transactions_and_their_waits_are_shown() {
    with_rows(|server| {
        let (mut holder, mut waiter) = (Speaker::connect(server), Speaker::connect(server));
        let mut watcher = Speaker::connect(server);
        watcher.until("SELECT count(*) FROM phantom.transactions", "0;");
        assert_eq!(holder.query("BEGIN ISOLATION LEVEL REPEATABLE READ"), "");
        let (held_by, waits) = (holder.process(), waiter.process());
        let shown = |columns: &str, pid: &str| {
            format!("SELECT {columns} FROM phantom.transactions WHERE pid = {pid}")
        };
        // It has touched nothing.
        let all = "state, partitions, anchor, locks, staged_bytes, heard, waits_for, blocked_by";
        assert_eq!(watcher.query(&shown(all, &held_by)), "active|{}|~|0|0|~|~|~;");
        assert_eq!(holder.query("UPDATE held SET v = 1"), "");
        let columns = "state, cardinality(partitions) > 1, anchor, locks, staged_bytes > 16 * 13, \
                       began <= heard, core = pid / 65536 % 64, node, isolation";
        assert_eq!(
            watcher.query(&shown(columns, &held_by)),
            "active|t|~|16|t|t|t|1|repeatable read;"
        );
        waiter.send('Q', b"UPDATE held SET v = 2 WHERE id = 7\0");
        let key = r#"table "held", key (id) = (7)"#;
        watcher.until(&shown("waits_for", &waits), &format!("{key};"));
        let id = watcher.query(&shown("id", &held_by));
        let wait =
            "blocked_by[1], cardinality(blocked_by), locks, waitstart BETWEEN began AND now()";
        let id = id.trim_end_matches(';');
        assert_eq!(watcher.query(&shown(wait, &waits)), format!("{id}|1|0|t;"));
        // As PostgreSQL's own tables tell it.
        let event = format!("SELECT wait_event_type FROM pg_stat_activity WHERE pid = {waits}");
        assert_eq!(watcher.query(&event), "Lock;");
        let start = format!(
            "SELECT l.waitstart >= a.query_start FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
             WHERE NOT granted AND pid = {waits}"
        );
        assert_eq!(watcher.query(&start), "t;");
        assert_eq!(holder.query("ROLLBACK"), "");
        assert_eq!(waiter.results(), "");
        watcher.until("SELECT count(*) FROM phantom.transactions", "0;");
    });
}

#[test]
fn who_may_not_read_a_table_sees_no_keys_of_it() {
    with_rows(|server| {
        let (mut holder, mut waiter) = (Speaker::connect(server), Speaker::connect(server));
        holder.query("CREATE ROLE clerk LOGIN");
        let mut clerk = Speaker::silent(server);
        clerk.start(&[("user", "clerk"), ("database", "phantom")]);
        assert_eq!(holder.query("BEGIN; UPDATE held SET v = 1"), "");
        waiter.send('Q', b"UPDATE held SET v = 2 WHERE id = 7\0");
        let shown = "SELECT waits_for FROM phantom.transactions WHERE blocked_by IS NOT NULL";
        clerk.until(shown, "table \"held\";");
        assert_eq!(holder.query("ROLLBACK"), "");
        assert_eq!(waiter.results(), "");
    });
}

#[test]
fn locks_are_the_tables_after_its_rows_were_replaced() {
    with_rows(|server| {
        let (mut holder, mut watcher) = (Speaker::connect(server), Speaker::connect(server));
        holder
            .query("TRUNCATE held; INSERT INTO held VALUES (1, 0); CREATE INDEX by_v ON held (v)");
        assert_eq!(holder.query("BEGIN; UPDATE held SET v = 1"), "");
        let relations = "SELECT DISTINCT relation::regclass FROM pg_locks WHERE relation IN \
                         ('held'::regclass, 'by_v'::regclass) ORDER BY 1";
        assert!(watcher.query(relations).contains("held"), "{}", watcher.query("TABLE pg_locks"));
        assert_eq!(holder.query("ROLLBACK"), "");
    });
}

#[test]
fn commits_are_seen_on_their_way() {
    with_rows(|server| {
        let mut watcher = Speaker::connect(server);
        let mut clients: Vec<Speaker> = (0..4).map(|_| Speaker::connect(server)).collect();
        let over = AtomicBool::new(false);
        let mut seen = BTreeSet::new();
        thread::scope(|scope| {
            for (client, speaker) in clients.iter_mut().enumerate() {
                let over = &over;
                scope.spawn(move || {
                    let rows = (1..=4).map(|at| (client * 4 + at).to_string());
                    let rows = rows.collect::<Vec<_>>().join(", ");
                    let change = format!("UPDATE held SET v = v + 1 WHERE id IN ({rows})");
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(speaker.query(&change), "");
                    }
                });
            }
            let since = Stopwatch::start();
            let states = "SELECT DISTINCT state FROM phantom.transactions \
                          WHERE state = 'active' OR anchor = ANY (partitions)";
            let is_late = |state: &str| matches!(state, "preparing" | "prepared" | "finishing");
            while since.elapsed() < Duration::from_secs(15)
                && !(seen.contains("active") && seen.iter().any(|state: &String| is_late(state)))
            {
                let states = watcher.query(states);
                seen.extend(states.split_terminator(';').map(str::to_owned));
            }
            over.store(true, Ordering::Relaxed);
            assert!(seen.contains("active") && seen.iter().any(|state| is_late(state)), "{seen:?}");
        });
        println!("states that were seen: {seen:?}");
        watcher.until("SELECT count(*) FROM phantom.transactions", "0;");
    });
}

/// The error that a statement ends with.
fn error_of(speaker: &mut Speaker, text: &str) -> Message {
    speaker.send('Q', format!("{text}\0").as_bytes());
    let answer = speaker.answer();
    let error = answer.iter().find(|message| message.kind == 'E');
    error.unwrap_or_else(|| panic!("{text}: {answer:?}")).clone()
}

#[test]
fn errors_name_the_key_the_other_transaction_and_the_wait() {
    with_rows(|server| {
        let (mut holder, mut waiter) = (Speaker::connect(server), Speaker::connect(server));
        holder.query("CREATE TABLE named (id int PRIMARY KEY, name text UNIQUE)");
        holder.query("CREATE TABLE child (id int PRIMARY KEY, held int REFERENCES held)");
        let held_by = holder.process();
        let change =
            "BEGIN; UPDATE held SET v = 1 WHERE id = 7; INSERT INTO named VALUES (1, 'it')";
        assert_eq!(holder.query(change), "");
        assert_eq!(holder.query("DELETE FROM held WHERE id = 9"), "");
        let id = format!("SELECT id FROM phantom.transactions WHERE pid = {held_by}");
        let id = waiter.query(&id).trim_end_matches(';').to_owned();
        waiter.query("SET lock_timeout = '100ms'");
        let of = |waiter: &mut Speaker, text: &str, table: &str, constraint: Option<&str>| {
            let error = error_of(waiter, text);
            let field = |kind| error.field(kind);
            assert_eq!(field('C').as_deref(), Some("55P03"), "{text}");
            assert_eq!(
                (field('s').as_deref(), field('t').as_deref()),
                (Some("public"), Some(table))
            );
            assert_eq!(field('n').as_deref(), constraint, "{text}");
            let detail = field('D').unwrap_or_default();
            let way = format!("Transaction {id} is in the way of a lock on ");
            detail.strip_prefix(&way).unwrap_or_else(|| panic!("{text}: {detail}")).to_owned()
        };
        let row = of(&mut waiter, "UPDATE held SET v = 2 WHERE id = 7", "held", None);
        let waited = row.strip_prefix("table \"held\", key (id) = (7); waited ");
        let waited = waited.and_then(|waited| waited.strip_suffix(" ms.")).expect(&row);
        assert!(waited.parse::<u32>().is_ok_and(|waited| waited >= 100), "{row}");
        let now = "SELECT v FROM held WHERE id = 7 FOR UPDATE NOWAIT";
        assert_eq!(of(&mut waiter, now, "held", None), "table \"held\", key (id) = (7).");
        let insert = "INSERT INTO named VALUES (2, 'it')";
        let key = of(&mut waiter, insert, "named", Some("named_name_key"));
        let expected =
            "constraint \"named_name_key\" of table \"named\", key (name) = (it); waited";
        assert!(key.starts_with(expected), "{key}");
        let insert = "INSERT INTO child VALUES (1, 9)";
        let key = of(&mut waiter, insert, "child", Some("child_held_fkey"));
        let expected =
            "constraint \"child_held_fkey\" of table \"child\", key (held) = (9); waited";
        assert!(key.starts_with(expected), "{key}");
        let count = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM held";
        let range = of(&mut waiter, count, "held", None);
        assert!(range.starts_with("a range of table \"held\"; waited"), "{range}");
        // A snapshot that a change has overtaken.
        assert_eq!(waiter.query("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"), "1;");
        assert_eq!(waiter.query("SELECT v FROM held WHERE id = 7"), "0;");
        assert_eq!(holder.query("COMMIT"), "");
        let error = error_of(&mut waiter, "UPDATE held SET v = 2 WHERE id = 7");
        assert_eq!(error.field('C').as_deref(), Some("40001"));
        assert_eq!(
            error.field('D').as_deref(),
            Some(
                "Another transaction has changed table \"held\", key (id) = (7) after this one's \
                 snapshot was taken."
            )
        );
        assert_eq!(error.field('t').as_deref(), Some("held"));
    });
}

#[test]
fn a_change_by_a_join_names_the_row_that_was_changed_meanwhile() {
    with_rows(|server| {
        let over = AtomicBool::new(false);
        let error = thread::scope(|scope| {
            scope.spawn(|| {
                let mut restless = Speaker::connect(server);
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(restless.query("UPDATE held SET v = v + 1 WHERE id = 7"), "");
                }
            });
            let mut slow = Speaker::connect(server);
            slow.query("SET default_transaction_isolation = 'read committed'");
            // However often it is run again, the row is another one when its query is done.
            let text = "UPDATE held SET v = 0 FROM pg_sleep(0.05) WHERE id = 7";
            let error = error_of(&mut slow, text);
            over.store(true, Ordering::Relaxed);
            error
        });
        assert_eq!(error.field('C').as_deref(), Some("40001"));
        let detail = "Another transaction has changed table \"held\", key (id) = (7) after the \
                      statement had read it.";
        assert_eq!(error.field('D').as_deref(), Some(detail));
        assert_eq!(error.field('t').as_deref(), Some("held"));
    });
}

#[test]
fn a_block_that_has_failed_says_of_what() {
    with_rows(|server| {
        let mut speaker = Speaker::connect(server);
        let detail = |speaker: &mut Speaker, text: &str| {
            let error = error_of(speaker, text);
            assert_eq!(error.field('C').as_deref(), Some("25P02"), "{text}");
            error.field('D').unwrap_or_default()
        };
        assert_eq!(speaker.query("BEGIN"), "");
        assert_eq!(speaker.query("INSERT INTO held VALUES (7, 1)"), "23505;");
        let taken = "The transaction has failed with 23505: duplicate key value violates unique \
                     constraint \"held_pkey\".";
        assert_eq!(detail(&mut speaker, "SELECT 1"), taken);
        // Errors in a block that has failed are not what it has failed of.
        assert_eq!(speaker.query("ROLLBACK TO nowhere"), "3B001;");
        assert_eq!(detail(&mut speaker, "SELECT 1"), taken);
        assert_eq!(speaker.query("ROLLBACK"), "");
        assert_eq!(speaker.query("BEGIN; SAVEPOINT s"), "");
        assert_eq!(speaker.query("SELECT 1 / 0"), "22012;");
        let zero = "The transaction has failed with 22012: division by zero.";
        assert_eq!(detail(&mut speaker, "INSERT INTO held VALUES (0, 1)"), zero);
        assert_eq!(speaker.query("ROLLBACK TO s"), "");
        assert_eq!(speaker.query("SELECT nothing"), "42703;");
        let other = "The transaction has failed with 42703: column \"nothing\" does not exist.";
        assert_eq!(detail(&mut speaker, "SELECT 1"), other);
        speaker.query("ROLLBACK");
    });
}

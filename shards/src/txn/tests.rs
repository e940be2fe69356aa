//! The pure parts, as tables: locks, and what a partition's states answer.

use super::locks::{
    Acquired, LockMode, LockRange, LockReport, LockTable, ReportedWait, Span, Ticket, Wait,
    WaitNumber,
};
use super::state::{
    Decision, Finish, Phase, Refusal, Returned, StateReport, TxnState, TxnStates, Vote,
};
use bytes::Bytes;
use model::command::{Command, KeyWrite, Outcome};
use model::id::{CoreId, LogIndex, Mark, NodeId, ObjectId, PartitionId, Term, TxnId};
use model::time::Timestamp;
use runtime::time::Instant;
use std::rc::Rc;
use std::time::Duration;

use LockMode::{Exclusive, Shared};

const HOME: PartitionId = PartitionId(1);
const NOW: Instant = Instant::from_nanos(1);

fn txn(age: u64) -> TxnId {
    TxnId { began: Timestamp(age), node: NodeId(1), core: CoreId(0) }
}

fn key(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

fn ask(table: &mut LockTable, age: u64, name: &'static str, mode: LockMode) -> Acquired {
    table.acquire(HOME, txn(age), &key(name), mode)
}

fn queued(acquired: Acquired) -> Ticket {
    match acquired {
        Acquired::Queued(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn release(table: &mut LockTable, age: u64) -> Vec<Ticket> {
    let mut granted = Vec::new();
    assert!(table.release(HOME, txn(age), 0, usize::MAX, &mut granted));
    granted
}

#[test]
fn shared_locks_go_together_and_exclusive_ones_alone() {
    let mut table = LockTable::default();
    assert_eq!(ask(&mut table, 1, "a", Shared), Acquired::Granted);
    assert_eq!(ask(&mut table, 2, "a", Shared), Acquired::Granted);
    let third = queued(ask(&mut table, 3, "a", Exclusive));
    // First come, first served: a reader does not overtake the writer that waits.
    let fourth = queued(ask(&mut table, 4, "a", Shared));
    assert_eq!(table.blocker(fourth), Some(txn(3)));
    assert_eq!(release(&mut table, 1), []);
    assert_eq!(release(&mut table, 2), [third]);
    assert_eq!(release(&mut table, 3), [fourth]);
    assert_eq!(table.waiting(), 0);
}

#[test]
fn a_report_says_who_holds_and_who_waits_for_whom() {
    let mut table = LockTable::default();
    let held = |txn, object: &[u8; 4], mode| LockReport {
        txn,
        object: ObjectId(u32::from_be_bytes(*object)),
        mode,
        wait: None,
    };
    let waited = |wait: WaitNumber| Duration::from_secs(wait.0);
    let waits = |txn, mode, waits_for: &[TxnId], seconds| LockReport {
        wait: Some(ReportedWait {
            key: key("tab1 b"),
            is_range: false,
            waits_for: waits_for.to_vec(),
            waited: Duration::from_secs(seconds),
        }),
        ..held(txn, b"tab1", mode)
    };
    for name in ["tab1 a", "tab1 b", "tab2 a"] {
        assert_eq!(ask(&mut table, 1, name, Exclusive), Acquired::Granted);
    }
    assert_eq!(ask(&mut table, 2, "tab3 a", Shared), Acquired::Granted);
    queued(ask(&mut table, 2, "tab1 b", Shared));
    queued(ask(&mut table, 3, "tab1 b", Exclusive));
    assert_eq!(
        table.report(waited),
        [
            held(txn(1), b"tab1", Exclusive),
            held(txn(1), b"tab2", Exclusive),
            held(txn(2), b"tab3", Shared),
            waits(txn(2), Shared, &[txn(1)], 1),
            waits(txn(3), Exclusive, &[txn(1), txn(2)], 2),
        ]
    );
    release(&mut table, 1);
    assert_eq!(table.report(waited).len(), 3);
}

#[test]
fn who_waits_in_a_long_queue_names_those_next_to_it() {
    let mut table = LockTable::default();
    assert_eq!(ask(&mut table, 1, "a", Exclusive), Acquired::Granted);
    let modes = [Exclusive, Exclusive, Shared, Shared, Exclusive];
    for (age, mode) in (2..).zip(modes) {
        queued(ask(&mut table, age, "a", mode));
    }
    let wait = |age: u64, mode, waits_for: &[u64]| Wait {
        number: WaitNumber(age - 1),
        txn: txn(age),
        key: key("a"),
        is_range: false,
        mode,
        waits_for: waits_for.iter().map(|&age| txn(age)).collect(),
    };
    assert_eq!(
        table.waits(),
        [
            wait(2, Exclusive, &[1]),
            wait(3, Exclusive, &[2, 1]),
            wait(4, Shared, &[3, 1]),
            wait(5, Shared, &[3, 1]),
            wait(6, Exclusive, &[5, 4, 3, 1]),
        ]
    );
}

#[test]
fn one_lock_ends_before_the_others_if_it_came_late_enough() {
    let mut table = LockTable::default();
    for name in ["a", "b", "c"] {
        assert_eq!(ask(&mut table, 1, name, Exclusive), Acquired::Granted);
    }
    let second = queued(ask(&mut table, 2, "b", Exclusive));
    let third = queued(ask(&mut table, 3, "b", Shared));
    let mut granted = Vec::new();
    table.release_key(HOME, txn(1), &key("b"), 2, &mut granted);
    assert_eq!(granted, [], "it was held before");
    table.release_key(HOME, txn(1), &key("d"), 0, &mut granted);
    assert_eq!(granted, [], "it is not held");
    table.release_key(HOME, txn(1), &key("b"), 1, &mut granted);
    assert_eq!(granted, [second]);
    assert_eq!(table.held(HOME, txn(1)), [Span::Key(key("a")), Span::Key(key("c"))]);
    assert_eq!(table.held_count(), 3);
    assert_eq!(release(&mut table, 2), [third]);
    release(&mut table, 1);
    release(&mut table, 3);
    assert_eq!((table.held_count(), table.waiting()), (0, 0));
}

#[test]
fn a_lock_is_held_once_however_often_it_is_asked_for() {
    let mut table = LockTable::default();
    for mode in [Shared, Exclusive, Exclusive, Shared] {
        assert_eq!(ask(&mut table, 1, "a", mode), Acquired::Granted);
    }
    assert_eq!(table.held(HOME, txn(1)), [Span::Key(key("a"))]);
    let waiting = queued(ask(&mut table, 2, "a", Shared));
    assert_eq!(release(&mut table, 1), [waiting]);
}

#[test]
fn a_request_taken_back_lets_the_next_one_pass() {
    let mut table = LockTable::default();
    ask(&mut table, 1, "a", Shared);
    let writer = queued(ask(&mut table, 2, "a", Exclusive));
    let reader = queued(ask(&mut table, 3, "a", Shared));
    let mut granted = Vec::new();
    table.cancel(writer, &mut granted);
    assert_eq!(granted, [reader]);
}

fn waits_of(table: &LockTable) -> Vec<(TxnId, Vec<TxnId>)> {
    table.waits().into_iter().map(|wait| (wait.txn, wait.waits_for)).collect()
}

#[test]
fn two_readers_that_both_want_to_write_wait_for_each_other() {
    let mut table = LockTable::default();
    ask(&mut table, 1, "a", Shared);
    ask(&mut table, 2, "a", Shared);
    queued(ask(&mut table, 1, "a", Exclusive));
    // To the front, like the one before it.
    let second = queued(ask(&mut table, 2, "a", Exclusive));
    assert_eq!(waits_of(&table), [(txn(2), vec![txn(1)]), (txn(1), vec![txn(2), txn(2)])]);
    let mut granted = Vec::new();
    table.cancel(second, &mut granted);
    assert_eq!(granted, []);
    assert_eq!(release(&mut table, 2), [WaitNumber(1)]);
}

#[test]
fn the_same_key_of_another_partition_is_another_key() {
    let mut table = LockTable::default();
    ask(&mut table, 1, "a", Exclusive);
    let other = table.acquire(PartitionId(2), txn(2), &key("a"), Exclusive);
    assert_eq!(other, Acquired::Granted);
}

fn staged(states: &mut TxnStates, age: u64, name: &'static str) {
    states.enter(txn(age), NOW).unwrap();
    assert!(states.stage(txn(age), key(name), Some(key("value"))));
    states.leave(txn(age), NOW);
}

fn vote(at: u64, anchor: PartitionId) -> Vote {
    let write = KeyWrite { key: key("k"), value: Some(key("value")) };
    let (writes, locks) = (vec![write], vec![]);
    Vote { at: Timestamp(at), anchor, writes, locks, staged: false, index: LogIndex(4) }
}

fn decision(at: u64) -> Decision {
    Decision {
        outcome: Outcome::Committed(Timestamp(at)),
        participants: vec![HOME],
        index: LogIndex(5),
        since: NOW,
    }
}

#[test]
fn who_builds_on_a_commit_that_is_refused_goes_with_it() {
    let mut states = TxnStates::new(HOME, Rc::default());
    for age in 1..=3 {
        states.enter(txn(age), NOW).unwrap();
        states.leave(txn(age), NOW);
    }
    states.stage(txn(1), key("k"), Some(key("v")));
    assert_eq!(states.take_handed(txn(2), b"k", Timestamp::MAX), Ok(None), "it is only staged");
    let command = states.commit(txn(1), Timestamp(40)).unwrap();
    assert_eq!(states.take_handed(txn(2), b"k", Timestamp(39)), Ok(None));
    let handed = states.take_handed(txn(2), b"k", Timestamp::MAX).unwrap().unwrap();
    assert_eq!((handed.at, handed.value), (Timestamp(40), Some(key("v"))));
    assert_eq!(states.leans_on(txn(2)), Ok(Some(txn(1))));
    assert_eq!(states.leans_on(txn(3)), Ok(None));
    assert_eq!(states.leaning_on(txn(1)), [txn(2)]);
    let unknown = states.take_handed(txn(4), b"k", Timestamp::MAX);
    assert_eq!(unknown, Err(Refusal::Unknown), "who is gone is not shown what was there before");
    states.enter(txn(2), NOW).unwrap();
    states.leave(txn(2), NOW);
    assert_eq!(states.leaning_on(txn(1)), [txn(2)], "another request does not change that");
    let Command::Commit { writes, .. } = command else { panic!("{command:?}") };
    drop(states.refused(txn(1), &writes));
    assert_eq!(states.leans_on(txn(2)), Ok(None), "there is nothing to wait for");
    assert_eq!(states.take_handed(txn(3), b"k", Timestamp::MAX), Ok(None));
}

#[test]
fn a_snapshot_waits_only_for_pending_writes_before_it() {
    let mut states = TxnStates::new(HOME, Rc::default());
    staged(&mut states, 1, "k");
    assert_eq!(states.pending_at(b"k", Timestamp(50)), None, "staged is not pending");
    let command = states.commit(txn(1), Timestamp(40)).unwrap();
    assert!(matches!(command, Command::Commit { writes, .. } if writes.len() == 1));
    assert_eq!(states.pending_at(b"k", Timestamp(40)), Some(txn(1)));
    assert_eq!(states.pending_at(b"k", Timestamp(39)), None);
    assert_eq!(states.pending_in(b"a", Some(b"k"), Timestamp(50), None), None);
    assert_eq!(states.pending_in(b"a", Some(b"l"), Timestamp(50), None), Some(txn(1)));
    assert_eq!(states.pending_in(b"a", None, Timestamp(50), Some(txn(1))), None);
}

#[test]
fn a_report_says_how_far_transactions_have_come() {
    let mut states = TxnStates::new(HOME, Rc::default());
    states.begin_term(Some(Term(1)));
    let told = |states: &TxnStates, doubted| {
        let of = |known: StateReport| (known.state, known.anchor, known.staged_bytes);
        states.report(9, doubted).into_iter().map(of).collect::<Vec<_>>()
    };
    let later = NOW + Duration::from_secs(1);
    staged(&mut states, 1, "k");
    assert_eq!(told(&states, later), [(TxnState::Active, None, Some(6))]);
    states.prepare(txn(1), Timestamp(40), HOME, vec![]).unwrap();
    assert_eq!(told(&states, later), [(TxnState::Preparing, Some(HOME), Some(6))]);
    states.prepared(txn(1), vote(40, HOME), NOW);
    assert_eq!(told(&states, NOW), [(TxnState::Prepared, Some(HOME), Some(6))]);
    assert_eq!(told(&states, later), [(TxnState::InDoubt, Some(HOME), Some(6))]);
    states.decided(txn(1), decision(50), false);
    let decided = (TxnState::Decided, Some(HOME), Some(0));
    assert_eq!(told(&states, NOW), [(TxnState::Prepared, Some(HOME), Some(6)), decided]);
    let outcome = Outcome::Committed(Timestamp(50));
    states.finish(txn(1), outcome).unwrap();
    assert_eq!(told(&states, NOW), [(TxnState::Finishing, Some(HOME), Some(6)), decided]);
    states.finished(txn(1), outcome, LogIndex(7));
    states.end(txn(1));
    assert_eq!(told(&states, NOW), [decided]);
    states.forgotten(txn(1));
    staged(&mut states, 2, "b");
    states.begin_logging(txn(2)).unwrap();
    states.commit_staged(txn(2), Timestamp(60)).unwrap();
    assert_eq!(told(&states, NOW), [(TxnState::Committing, None, None)]);
    staged(&mut states, 3, "c");
    assert_eq!(states.report(1, NOW).len(), 1, "the oldest");
}

#[test]
fn a_transaction_that_is_ending_takes_no_more() {
    let mut states = TxnStates::new(HOME, Rc::default());
    staged(&mut states, 1, "k");
    states.commit(txn(1), Timestamp(40)).unwrap();
    assert_eq!(states.enter(txn(1), NOW), Err(Refusal::Ending));
    assert_eq!(states.commit(txn(1), Timestamp(41)), Err(Refusal::Ending));
}

#[test]
fn who_was_rolled_back_unasked_does_not_begin_anew() {
    let staged_bytes = Rc::default();
    let mut states = TxnStates::new(HOME, Rc::clone(&staged_bytes));
    staged(&mut states, 1, "k");
    assert_eq!(staged_bytes.get(), 6);
    states.end(txn(1));
    states.expel(txn(1));
    assert_eq!(states.enter(txn(1), NOW), Err(Refusal::Expelled));
    assert_eq!(staged_bytes.get(), 0);
    states.pardon(txn(1));
    assert_eq!(states.enter(txn(1), NOW), Ok(()));
}

#[test]
fn the_log_order_decides_between_a_decision_and_an_abort() {
    // Decided first: the abort is overruled and the commit carried out.
    let mut states = TxnStates::new(HOME, Rc::default());
    states.prepared(txn(1), vote(40, HOME), NOW);
    states.decided(txn(1), decision(45), false);
    let abort = states.finished(txn(1), Outcome::Aborted, LogIndex(3));
    assert_eq!(abort, Finish::Nothing);
    assert_eq!(states.get(txn(1)).unwrap().phase, Phase::Prepared);
    let commit = states.finished(txn(1), Outcome::Committed(Timestamp(45)), LogIndex(4));
    assert!(matches!(commit, Finish::Commit(Timestamp(45), writes) if writes.len() == 1));

    // Aborted first: the decision comes too late.
    let mut states = TxnStates::new(HOME, Rc::default());
    states.prepared(txn(1), vote(40, HOME), NOW);
    assert_eq!(states.finished(txn(1), Outcome::Aborted, LogIndex(2)), Finish::Abort);
    states.end(txn(1));
    states.decided(txn(1), decision(45), false);
    assert_eq!(states.decision(txn(1)), None);
    // One that is only written again was in time.
    states.decided(txn(1), decision(45), true);
    assert!(states.decision(txn(1)).is_some());
}

#[test]
fn votes_decisions_and_their_unflushed_ends_keep_the_log() {
    let mut states = TxnStates::new(HOME, Rc::default());
    assert_eq!(states.oldest_needed(LogIndex(0)), None);
    states.prepared(txn(1), vote(40, HOME), NOW);
    states.decided(txn(1), decision(45), false);
    assert_eq!(states.oldest_needed(LogIndex(9)), Some(LogIndex(4)));
    assert_eq!(states.to_carry(LogIndex(3)).len(), 0);
    assert_eq!(states.to_carry(LogIndex(4)).len(), 2, "the decision counts with the vote only");
    states.finished(txn(1), Outcome::Committed(Timestamp(45)), LogIndex(3));
    states.end(txn(1));
    assert_eq!(
        states.oldest_needed(LogIndex(2)),
        Some(LogIndex(4)),
        "the outcome is not in table files yet"
    );
    assert_eq!(
        states.oldest_needed(LogIndex(3)),
        Some(LogIndex(4)),
        "the decision is still needed, and counts with the vote only"
    );
    states.decided(txn(1), Decision { index: LogIndex(8), ..decision(45) }, true);
    assert_eq!(states.oldest_needed(LogIndex(3)), Some(LogIndex(8)), "it was written again");
    states.forgotten(txn(1));
    assert_eq!(states.oldest_needed(LogIndex(3)), None);
}

fn part(names: &[&'static str]) -> (Vec<KeyWrite>, Vec<Bytes>) {
    let writes = names.iter().map(|name| KeyWrite { key: key(name), value: Some(key("value")) });
    (writes.collect(), vec![key("read")])
}

#[test]
fn parts_are_gathered_by_a_replay_and_those_of_a_failed_attempt_forgotten() {
    let mut states = TxnStates::new(HOME, Rc::default());
    states.part_logged(txn(1), true, LogIndex(3), part(&["a", "b"]), NOW);
    states.part_logged(txn(1), true, LogIndex(6), part(&["a"]), NOW);
    states.part_logged(txn(1), false, LogIndex(7), part(&["c"]), NOW);
    let vote = Vote { writes: Vec::new(), staged: true, index: LogIndex(8), ..vote(40, HOME) };
    assert!(states.prepared(txn(1), vote, NOW), "its keys are to be locked");
    let writes = states.bulk(txn(1)).unwrap();
    assert_eq!(writes.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(states.vote(txn(1)).unwrap().locks, [key("read"), key("read")]);
    // The first part is what the log is kept for, until the end is in table files.
    assert_eq!(states.oldest_needed(LogIndex(9)), Some(LogIndex(6)));
    assert!(states.to_carry(LogIndex(100)).is_empty(), "it stays where it is");
    let commit = states.finished(txn(1), Outcome::Committed(Timestamp(45)), LogIndex(10));
    assert!(matches!(commit, Finish::CommitBulk(Timestamp(45), writes) if writes.len() == 2));
    states.end(txn(1));
    assert_eq!(states.oldest_needed(LogIndex(9)), Some(LogIndex(6)));
    assert_eq!(states.oldest_needed(LogIndex(10)), None);
}

#[test]
fn a_transaction_that_was_logged_in_part_ends_with_the_replay() {
    let mut states = TxnStates::new(HOME, Rc::default());
    states.part_logged(txn(1), true, LogIndex(3), part(&["a"]), NOW);
    assert_eq!(states.oldest_needed(LogIndex(9)), Some(LogIndex(3)));
    assert_eq!(states.begin_term(Some(Term(1))), [txn(1)]);
    states.end(txn(1));
    assert_eq!(states.oldest_needed(LogIndex(9)), None);
    // A part that comes behind a rollback begins nothing.
    states.part_logged(txn(2), true, LogIndex(4), part(&["a"]), NOW);
    assert!(states.get(txn(2)).is_none());
}

/// The replica has led in the second term, leads again in the fourth, and hears of both at once.
#[test]
fn what_an_earlier_term_has_left_ends_when_the_next_one_begins_and_what_comes_then_stays() {
    let mut states = TxnStates::new(HOME, Rc::default());
    states.begin_term(Some(Term(2)));
    staged(&mut states, 1, "k");
    assert_eq!(states.begin_term(Some(Term(4))), [txn(1)]);
    states.end(txn(1));
    staged(&mut states, 2, "k");
    assert_eq!(states.step_down(Term(2)), []);
    assert_eq!(states.led(), Some(Term(4)));
    assert_eq!(states.step_down(Term(4)), [txn(2)]);
    assert_eq!(states.led(), None);
}

#[test]
fn a_large_transaction_is_pending_from_its_time_on_and_takes_no_more() {
    let staged_bytes = Rc::default();
    let mut states = TxnStates::new(HOME, Rc::clone(&staged_bytes));
    states.begin_term(Some(Term(1)));
    for name in ["a", "b", "c"] {
        staged(&mut states, 1, name);
    }
    states.begin_logging(txn(1)).unwrap();
    assert_eq!(states.enter(txn(1), NOW), Err(Refusal::Ending));
    let first = states.staged_part(txn(1), None, 7);
    assert_eq!(first.len(), 2, "one more than fits");
    let rest = states.staged_part(txn(1), Some(&first[1].key), 7);
    assert_eq!(rest[0].key, "c");
    states.part_logged(txn(1), true, LogIndex(2), (first, Vec::new()), NOW);
    states.part_logged(txn(1), false, LogIndex(2), (rest, Vec::new()), NOW);
    assert_eq!(states.pending_at(b"a", Timestamp(50)), None, "it has no time yet");
    let commit = states.commit_staged(txn(1), Timestamp(40)).unwrap();
    assert!(matches!(commit, Command::Commit { staged: true, .. }));
    assert_eq!(states.pending_at(b"b", Timestamp(40)), Some(txn(1)));
    assert_eq!(states.pending_at(b"b", Timestamp(39)), None);
    assert_eq!(states.pending_at(b"bb", Timestamp(50)), None);
    assert_eq!(states.pending_in(b"bb", None, Timestamp(50), None), Some(txn(1)));
    assert_eq!(states.pending_in(b"bb", None, Timestamp(50), Some(txn(1))), None);
    assert_eq!(states.pending_in(b"d", None, Timestamp(50), None), None);
    let writes = states.committed_staged(txn(1), Timestamp(40), LogIndex(5)).unwrap();
    assert_eq!(writes.len(), 3);
    assert_eq!(staged_bytes.get(), 18, "they are in memory until they are applied");
    states.end(txn(1));
    assert_eq!(states.pending_at(b"b", Timestamp(50)), None);
    assert_eq!(staged_bytes.get(), 0);
    assert_eq!(states.oldest_needed(LogIndex(4)), Some(LogIndex(2)));
}

/// Stages one write of the first transaction under a mark, as a request does.
fn stage_at(
    states: &mut TxnStates,
    mark: Option<u64>,
    name: &'static str,
    value: Option<&'static str>,
) {
    states.enter(txn(1), NOW).unwrap();
    states.begin_mark(txn(1), mark.map(Mark), 0);
    assert!(states.stage(txn(1), key(name), value.map(key)));
    states.leave(txn(1), NOW);
}

/// Takes back what was staged since a mark, a key at a time.
fn return_to(states: &mut TxnStates, mark: u64) -> Option<usize> {
    let mut locks = None;
    loop {
        if let Returned::To(kept) = states.return_some(txn(1), Mark(mark), 1, &mut locks) {
            return kept;
        }
    }
}

/// What the first transaction sees of its own at a mark, as `key=value` or `key=` of a deletion.
fn seen(states: &TxnStates, mark: Option<u64>) -> String {
    let all = states.staged_range_at(txn(1), b"", None, mark.map(Mark));
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let shown = all.iter().map(|(name, value)| {
        let alone = states.staged_at(txn(1), name, mark.map(Mark));
        assert_eq!(alone.as_ref(), Some(value), "a key alone is what it is in the range");
        format!("{}={}", text(name), value.as_ref().map(text).unwrap_or_default())
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_staged_since_a_mark_is_taken_back() {
    let bytes = Rc::new(std::cell::Cell::new(0));
    let mut states = TxnStates::new(HOME, bytes.clone());
    stage_at(&mut states, None, "a", Some("0"));
    stage_at(&mut states, Some(1), "a", Some("1"));
    stage_at(&mut states, Some(1), "b", Some("1"));
    stage_at(&mut states, Some(3), "a", None);
    stage_at(&mut states, Some(3), "a", Some("3"));
    stage_at(&mut states, Some(3), "c", Some("3"));
    assert_eq!(seen(&states, None), "a=3 b=1 c=3");
    // A reader that stands at a mark sees through what came after it; a mark that nothing was
    // changed at is the next one.
    assert_eq!(seen(&states, Some(4)), "a=3 b=1 c=3");
    assert_eq!(seen(&states, Some(3)), "a=1 b=1");
    assert_eq!(seen(&states, Some(2)), "a=1 b=1");
    assert_eq!(seen(&states, Some(1)), "a=0");
    return_to(&mut states, 3);
    assert_eq!(seen(&states, None), "a=1 b=1");
    // The same mark once more.
    stage_at(&mut states, Some(3), "b", None);
    assert_eq!(seen(&states, None), "a=1 b=");
    return_to(&mut states, 3);
    assert_eq!(return_to(&mut states, 3), None, "there is nothing more");
    assert_eq!(seen(&states, None), "a=1 b=1");
    return_to(&mut states, 1);
    assert_eq!(seen(&states, None), "a=0");
    assert_eq!(bytes.get(), 2, "a key and a value");
    let command = states.commit(txn(1), Timestamp(9)).unwrap();
    let writes = vec![KeyWrite { key: key("a"), value: Some(key("0")) }];
    assert_eq!(command, Command::Commit { txn: txn(1), at: Timestamp(9), writes, staged: false });
}

#[test]
fn marks_that_are_released_become_part_of_the_one_before() {
    let bytes = Rc::new(std::cell::Cell::new(0));
    let mut states = TxnStates::new(HOME, bytes.clone());
    stage_at(&mut states, Some(1), "a", Some("1"));
    stage_at(&mut states, Some(2), "a", Some("2"));
    stage_at(&mut states, Some(2), "b", Some("2"));
    stage_at(&mut states, Some(5), "b", Some("5"));
    stage_at(&mut states, Some(5), "c", Some("5"));
    // 2 and 5 were released.
    stage_at(&mut states, Some(1), "d", Some("1"));
    return_to(&mut states, 1);
    assert_eq!((seen(&states, None), bytes.get()), (String::new(), 0));
    // The first mark was set where nothing had been changed yet.
    stage_at(&mut states, Some(7), "a", Some("7"));
    stage_at(&mut states, Some(6), "a", Some("6"));
    return_to(&mut states, 7);
    assert_eq!(seen(&states, None), "a=6", "7 is not there any more");
    return_to(&mut states, 6);
    assert_eq!(seen(&states, None), "");
    // Without any mark nothing is held to go back.
    stage_at(&mut states, Some(8), "a", Some("8"));
    stage_at(&mut states, None, "a", Some("9"));
    assert_eq!(bytes.get(), 2);
    assert_eq!(return_to(&mut states, 8), None);
    states.end(txn(1));
    assert_eq!(bytes.get(), 0);
}

#[test]
fn marks_know_the_locks_that_were_held() {
    let mut states = TxnStates::new(HOME, Rc::default());
    let mut table = LockTable::default();
    for (mark, name) in [(1, "a"), (2, "b"), (3, "c")] {
        states.enter(txn(1), NOW).unwrap();
        states.begin_mark(txn(1), Some(Mark(mark)), table.held(HOME, txn(1)).len());
        ask(&mut table, 1, name, Exclusive);
        states.leave(txn(1), NOW);
    }
    let waits = queued(ask(&mut table, 2, "b", Shared));
    let kept = return_to(&mut states, 2);
    assert_eq!(kept, Some(1));
    let mut granted = Vec::new();
    assert!(!table.release(HOME, txn(1), 1, 1, &mut granted), "one at a time, the last first");
    assert!(table.release(HOME, txn(1), 1, 1, &mut granted));
    assert_eq!((granted, table.held(HOME, txn(1))), (vec![waits], &[Span::Key(key("a"))][..]));
}

fn range(start: &'static str, end: &'static str) -> LockRange {
    LockRange { start: key(start), end: Some(key(end)) }
}

fn ask_range(table: &mut LockTable, age: u64, range: &LockRange, mode: LockMode) -> Acquired {
    table.acquire_range(HOME, txn(age), range, mode)
}

#[test]
fn a_range_is_in_the_way_of_keys_that_are_not_there() {
    let mut table = LockTable::default();
    let (low, high) = (range("a", "m"), range("m", "z"));
    assert_eq!(ask_range(&mut table, 1, &low, Shared), Acquired::Granted);
    assert_eq!(ask_range(&mut table, 2, &low, Shared), Acquired::Granted, "readers go together");
    assert_eq!(ask_range(&mut table, 3, &high, Exclusive), Acquired::Granted, "it lies beside");
    assert_eq!(ask(&mut table, 3, "m", Exclusive), Acquired::Granted, "the end is not in it");
    assert_eq!(ask(&mut table, 3, "b", Shared), Acquired::Granted);
    let writer = queued(ask(&mut table, 4, "c", Exclusive));
    assert_eq!(table.blocker(writer), Some(txn(1)));
    assert_eq!(release(&mut table, 1), []);
    assert_eq!(release(&mut table, 2), [writer]);
    // And the other way round: what is locked is in the way of a range over it.
    let reader = queued(ask_range(&mut table, 5, &low, Shared));
    assert_eq!(release(&mut table, 4), [reader]);
    let writer = queued(ask_range(&mut table, 6, &low, Exclusive));
    assert_eq!(release(&mut table, 5), []);
    assert_eq!(release(&mut table, 3), [writer]);
    assert_eq!(release(&mut table, 6), []);
    assert_eq!((table.held_count(), table.waiting()), (0, 0));
}

#[test]
fn ranges_and_keys_wait_in_the_order_in_which_they_came() {
    let mut table = LockTable::default();
    let all = range("a", "z");
    assert_eq!(ask(&mut table, 1, "b", Exclusive), Acquired::Granted);
    let reader = queued(ask_range(&mut table, 2, &all, Shared));
    let behind = queued(ask(&mut table, 3, "c", Exclusive));
    assert_eq!(table.blocker(behind), Some(txn(2)), "a reader of all is not starved by writers");
    let last = queued(ask(&mut table, 4, "c", Shared));
    let mut granted = Vec::new();
    table.cancel(reader, &mut granted);
    assert_eq!(granted, [behind]);
    assert_eq!(release(&mut table, 3), [last]);
}

#[test]
fn a_range_of_ones_own_is_a_lock_on_its_keys() {
    let mut table = LockTable::default();
    let all = range("a", "z");
    assert_eq!(ask_range(&mut table, 1, &all, Exclusive), Acquired::Granted);
    assert_eq!(ask_range(&mut table, 1, &range("b", "c"), Shared), Acquired::Granted);
    assert_eq!(ask(&mut table, 1, "b", Exclusive), Acquired::Granted);
    assert_eq!(table.held(HOME, txn(1)).len(), 1, "nothing was added to it");
    assert_eq!(release(&mut table, 1), []);
    // One that is only shared is widened before others who wait.
    assert_eq!(ask_range(&mut table, 1, &all, Shared), Acquired::Granted);
    let other = queued(ask(&mut table, 2, "b", Exclusive));
    assert_eq!(ask(&mut table, 1, "b", Exclusive), Acquired::Granted);
    assert_eq!(release(&mut table, 1), [other]);
}

#[test]
fn readers_of_a_range_who_write_in_it_wait_for_each_other() {
    let mut table = LockTable::default();
    let all = range("a", "z");
    for age in [1, 2] {
        assert_eq!(ask_range(&mut table, age, &all, Shared), Acquired::Granted);
    }
    let first = queued(ask(&mut table, 1, "b", Exclusive));
    queued(ask(&mut table, 2, "c", Exclusive));
    assert_eq!(waits_of(&table), [(txn(1), vec![txn(2)]), (txn(2), vec![txn(1)])]);
    assert_eq!(release(&mut table, 2), [first]);
}

//! Calls between the cores of several nodes, in the simulator, with real engines under them.

use super::{Answer, Call, CallError};
use crate::router::tests::board::{NODES, Work, crash, on, start, three, until};
use model::error::{SqlError, SqlState};
use model::id::{CoreId, NodeId, TxnId};
use model::placement::Place;
use model::time::Timestamp;
use runtime::time;
use std::time::Duration;

fn place(node: u32, core: u16) -> Place {
    Place { node: NodeId(node), core: CoreId(core) }
}

#[test]
fn every_core_asks_every_core() {
    let (sim, board) = three(1, 2);
    let asked = on(&sim, &board, (3, 1), "a question to all", async |router| {
        let places = router.peers().places();
        let before = router.engine().now();
        let mut answers = Vec::new();
        for to in places {
            answers.push((to, router.peers().call(to, Call::CountSessions).await));
        }
        (answers, before, router.engine().now())
    });
    let (answers, before, after) = asked;
    let mut expected: Vec<Place> =
        NODES.into_iter().flat_map(|node| [place(node, 0), place(node, 1)]).collect();
    expected.sort_by_key(|place| (place.node != NodeId(3), *place));
    assert_eq!(answers.iter().map(|(place, _)| *place).collect::<Vec<_>>(), expected);
    assert!(answers.iter().all(|(_, answer)| *answer == Ok(Answer::Count(0))), "{answers:?}");
    assert!(after > before);
}

#[test]
fn an_answer_moves_the_clock_past_that_of_who_answers() {
    let (sim, board) = three(2, 1);
    // Further ahead than any wall clock here, and no further than clocks may be apart.
    let ahead = on(&sim, &board, (2, 0), "a clock that is ahead", async |router| {
        let ahead = Timestamp(router.engine().now().0 + 300_000_000);
        router.engine().observe(ahead).expect("within the bound");
        ahead
    });
    let now = on(&sim, &board, (1, 0), "a call", async |router| {
        router.peers().call(place(2, 0), Call::CountSessions).await.expect("an answer");
        router.engine().now()
    });
    assert!(now > ahead);
}

#[test]
fn a_lost_place_fails_what_is_under_way_and_says_that_it_may_have_happened() {
    let (sim, board) = three(3, 1);
    board.swallows.set(true);
    let asking = Work::begin(&board, (1, 0), async |router| {
        let since = time::now();
        let error = router.peers().ask(place(2, 0), Call::CountSessions).await;
        (error, since.elapsed())
    });
    sim.run_for(Duration::from_millis(500)).expect("it goes on");
    assert!(!asking.is_done());
    board.set_cut(1, 2, true);
    let (error, took) = asking.end(&sim, "a call that fails");
    assert!(took < Duration::from_millis(600), "{took:?}");
    let Err(CallError::Unreached { place: of, why }) = error else { panic!("{error:?}") };
    assert_eq!((of, why.may_have_arrived), (place(2, 0), true));
    // What is not sent at all is told from that.
    board.swallows.set(false);
    let error = on(&sim, &board, (1, 0), "a call over a cut line", async |router| {
        router.peers().call(place(2, 0), Call::CountSessions).await.expect_err("cut")
    });
    assert_eq!(error.state(), SqlState::CONNECTION_FAILURE);
    let detail = error.fields().detail.clone().unwrap_or_default();
    assert_eq!(detail, "What it was to be asked has not been done.");
    board.set_cut(1, 2, false);
    on(&sim, &board, (1, 0), "a call after it was mended", async |router| {
        router.peers().call(place(2, 0), Call::CountSessions).await.expect("an answer")
    });
}

#[test]
fn a_call_that_nobody_answers_ends_at_its_deadline() {
    let (sim, board) = three(4, 1);
    board.swallows.set(true);
    let asked = on(&sim, &board, (1, 0), "a deadline", async |router| {
        let since = time::now();
        let error = router.peers().call(place(3, 0), Call::Locks).await;
        (error, since.elapsed())
    });
    let error = asked.0.expect_err("nobody has heard it");
    assert_eq!(error.state(), SqlState::CONNECTION_FAILURE);
    let detail = error.fields().detail.clone().unwrap_or_default();
    assert!(detail.starts_with("It is not known"), "{detail}");
    assert!((2..3).contains(&asked.1.as_secs()), "{:?}", asked.1);
}

#[test]
fn calls_to_one_place_are_bounded_and_those_behind_wait_their_turn() {
    const CALLS: usize = 3_000;
    let (sim, board) = three(5, 1);
    let asking = Work::begin(&board, (1, 0), async |router| {
        let calls = (0..CALLS).map(|_| router.peers().call(place(2, 0), Call::CountSessions));
        futures::future::join_all(calls).await
    });
    let answers = asking.end(&sim, "many calls");
    let failed: Vec<&SqlError> =
        answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    // A courier takes some time for each: those at the end wait for too long, and are told so.
    assert!(failed.len() < CALLS, "some are answered");
    assert!(
        failed.iter().all(|error| error.state() == SqlState::CONNECTION_FAILURE),
        "{:?}",
        failed.first()
    );
    on(&sim, &board, (1, 0), "one more", async |router| {
        router.peers().call(place(2, 0), Call::CountSessions).await.expect("there is room again")
    });
}

#[test]
fn bytes_that_are_no_message_end_nothing_but_their_call() {
    let (sim, board) = three(6, 1);
    let answered = on(&sim, &board, (1, 0), "damage", async |router| {
        for damaged in [&b""[..], &[1; 3], &[9; 40], &[1, 1, 7, 0, 0, 0, 0, 0, 0, 0, 1]] {
            router.peers().take(place(2, 0), damaged);
        }
        router.peers().call(place(2, 0), Call::CountSessions).await
    });
    assert_eq!(answered, Ok(Answer::Count(0)));
}

#[test]
fn a_node_that_returns_answers_again() {
    let (sim, board) = three(7, 1);
    crash(&sim, &board, 3);
    let change = TxnId { began: Timestamp(1), node: NodeId(1), core: CoreId(0) };
    let error = on(&sim, &board, (1, 0), "a call to a node that is gone", async move |router| {
        router.peers().call(place(3, 0), Call::IsChanging(change)).await.expect_err("gone")
    });
    assert_eq!(error.state(), SqlState::CONNECTION_FAILURE);
    start(&sim, &board, 3);
    until(&sim, "a return", Duration::from_secs(20), || board.is_up(3));
    until(&sim, "an answer", Duration::from_secs(5), || {
        on(&sim, &board, (1, 0), "a call to a node that returns", async move |router| {
            router.peers().call(place(3, 0), Call::IsChanging(change)).await
        }) == Ok(Answer::Count(0))
    });
}

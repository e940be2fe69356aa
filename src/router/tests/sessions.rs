//! What sessions of different nodes are to each other.

use super::board::{on, three, until};
use crate::router::peers::{Call, CancelKey, SessionNumber};
use crate::router::presence::{Activity, Backend, Presence};
use model::command::Isolation;
use model::error::SqlState;
use model::id::ObjectId;
use shards::exec::backends::Signal;
use std::rc::Rc;

fn backend(process: u32) -> Backend {
    Backend {
        process,
        role: ObjectId(10),
        user: "phantom".into(),
        database: "phantom".into(),
        application: "test".into(),
        client: "127.0.0.1:1".parse().expect("an address"),
        began_micros: 0,
        activity: Activity::Idle,
        activity_micros: 0,
        query: String::new(),
        query_micros: None,
        transaction: None,
        isolation: Isolation::ReadCommitted,
    }
}

#[test]
fn a_session_is_seen_and_reached_from_another_node() {
    let (sim, board) = three(1, 2);
    let (process, presence) = on(&sim, &board, (3, 1), "a session", async |router| {
        let process = SessionNumber::new(router.peers().here(), 5).process();
        let key = CancelKey { process, secret: 77 };
        let presence = Presence::new(key, backend(process), router.statistics_of("phantom"));
        let presence = Rc::new(presence);
        router.register(presence.clone());
        (process, presence)
    });
    let seen = on(&sim, &board, (1, 0), "a look", async |router| router.backends().await);
    let seen: Vec<u32> = seen.expect("all answer").iter().map(|one| one.process).collect();
    assert_eq!(seen, [process]);
    on(&sim, &board, (2, 1), "an end that is wished", async move |router| {
        let place = router.peers().place_of(process).expect("its node lives");
        assert_eq!((place.node.0, place.core.0), (3, 1));
        // With another secret it is nobody's.
        let other = CancelKey { process, secret: 78 };
        router.peers().call(place, Call::CancelByKey(other)).await.expect("an answer");
        router.peers().call(place, Call::Signal(process, Signal::Terminate)).await.expect("told");
    });
    assert!(presence.ended().is_set());
    // A node that cannot be reached is left out.
    board.isolate(3, true);
    let seen = on(&sim, &board, (1, 0), "a look", async |router| router.backends().await);
    assert_eq!(seen.expect("the others answer"), []);
}

#[test]
fn a_snapshot_is_held_by_all_and_let_go_when_its_node_is_lost() {
    let (sim, board) = three(2, 1);
    let snapshot = on(&sim, &board, (3, 0), "a snapshot", async |router| {
        router.hold_snapshot().await.expect("all keep it")
    });
    let held = |node| {
        on(&sim, &board, (node, 0), "a look", async |router| router.inner.snapshots.borrow().len())
    };
    assert_eq!([held(1), held(2), held(3)], [1, 1, 1]);
    board.isolate(3, true);
    until(&sim, "they let go", std::time::Duration::from_secs(1), || held(1) + held(2) == 0);
    board.isolate(3, false);
    let process = on(&sim, &board, (3, 0), "who may be asked", async |router| {
        SessionNumber::new(router.peers().here(), 1).process()
    });
    let id = format!("{process:08X}-{:016X}-1", snapshot.at().0);
    let refused = on(&sim, &board, (1, 0), "an import", async move |router| {
        router.import_snapshot(&id).await.map(drop).expect_err("nobody has exported it")
    });
    assert_eq!(refused.state(), SqlState::INVALID_PARAMETER_VALUE);
    on(&sim, &board, (3, 0), "its end", async move |_| drop(snapshot));
}

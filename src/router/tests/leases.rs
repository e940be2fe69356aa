//! Leases: a node that is cut off serves no more before a change of the schema goes on without it.

use super::board::{NODES, Work, on, three, until};
use super::schema::change;
use crate::router::lease::{LEASE, MARGIN};
use model::error::SqlState;
use runtime::time::{self, Instant};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn a_node_that_is_cut_off_stops_to_serve_before_a_change_goes_on() {
    for seed in 0..4 {
        let (sim, board) = three(seed, 2);
        let served: Rc<RefCell<Vec<(Instant, bool)>>> = Rc::default();
        let noted = served.clone();
        let watch = Work::begin(&board, (3, 1), async move |router| {
            for _ in 0..4_000 {
                let serves = router.may_serve().is_ok();
                noted.borrow_mut().push((time::now(), serves));
                time::sleep(Duration::from_millis(5)).await;
            }
        });
        sim.run_for(Duration::from_secs(2)).expect("it goes on");
        board.isolate(3, true);
        let cut = sim.now();
        let changed = on(&sim, &board, (2, 0), "a change", async |router| {
            change(&router, "CREATE TABLE t (id bigint)").await.expect("a majority is there");
            time::now()
        });
        assert!(changed > cut + MARGIN, "seed {seed}: it waits for the lease");
        assert!(
            changed < cut + LEASE + MARGIN + Duration::from_secs(3),
            "seed {seed}: and no longer"
        );
        sim.run_for(Duration::from_secs(4)).expect("it goes on");
        {
            let served = served.borrow();
            let last = served.iter().filter(|(_, serves)| *serves).map(|(at, _)| *at).max();
            let last = last.expect("it served");
            assert!(last > cut, "seed {seed}: it has served for a while");
            assert!(last < changed, "seed {seed}: it serves no more when the change goes on");
        }
        board.isolate(3, false);
        until(&sim, "a return", Duration::from_secs(20), || {
            on(&sim, &board, (3, 1), "a look", async |router| router.may_serve().is_ok())
        });
        let knows = on(&sim, &board, (3, 1), "its catalog", async |router| {
            let catalog = router.catalog();
            catalog.all_relations().any(|(_, _, relation)| relation.name() == "t")
        });
        assert!(knows, "seed {seed}: it serves with the catalog of now");
        watch.end(&sim, "the watch");
    }
}

#[test]
fn statements_and_commits_are_refused_without_a_lease() {
    let (sim, board) = three(5, 1);
    board.isolate(2, true);
    sim.run_for(LEASE + Duration::from_secs(1)).expect("it goes on");
    let error = on(&sim, &board, (2, 0), "a statement", async |router| {
        router.may_serve().expect_err("it is cut off")
    });
    assert_eq!(error.state(), SqlState::CANNOT_CONNECT_NOW);
    let error = on(&sim, &board, (2, 0), "a commit", async |router| {
        let mut transaction = router.begin();
        transaction.touch(model::id::PartitionId(1));
        router.commit(transaction).await.expect_err("it is cut off")
    });
    assert_eq!(error.state(), SqlState::CANNOT_CONNECT_NOW);
    let begun = on(&sim, &board, (2, 0), "a change", async |router| {
        change(&router, "CREATE TABLE t (id bigint)").await.expect_err("it is cut off")
    });
    assert_eq!(begun.state(), SqlState::CANNOT_CONNECT_NOW);
}

#[test]
fn leases_outlive_the_keeper() {
    let (sim, board) = three(6, 1);
    super::board::crash(&sim, &board, 1);
    // The others serve all the time, whoever leads.
    for _ in 0..300 {
        sim.run_for(Duration::from_millis(50)).expect("it goes on");
        for node in NODES.into_iter().skip(1) {
            let serves =
                on(&sim, &board, (node, 0), "a look", async |router| router.may_serve().is_ok());
            assert!(serves, "node {node}");
        }
    }
}

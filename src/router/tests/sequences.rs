//! A sequence that is counted on another node after another.

use super::board::{Work, crash, on, three};
use super::schema::change;
use crate::router::Router;
use crate::router::sequences::{SequenceAnswer, SequenceQuestion};
use model::error::SqlError;
use runtime::time;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// The next value.
async fn next(router: &Router) -> Result<i64, SqlError> {
    let catalog = router.catalog();
    let sequence = catalog.sequences().next().expect("there is one");
    match router.ask_sequence(sequence, SequenceQuestion::Draw(1)).await? {
        SequenceAnswer::Values(runs, false) => Ok(runs[0].first),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_value_is_given_twice_whoever_counts() {
    for seed in 0..3 {
        let (sim, board) = three(seed, 1);
        on(&sim, &board, (1, 0), "a sequence", async |router| {
            change(&router, "CREATE SEQUENCE s").await.expect("a sequence");
        });
        let goes_on = Rc::new(Cell::new(true));
        let drawing: Vec<Work<Vec<i64>>> = [2, 3]
            .into_iter()
            .map(|node| {
                let goes_on = goes_on.clone();
                Work::begin(&board, (node, 0), async move |router| {
                    let mut given = Vec::new();
                    while goes_on.get() {
                        if let Ok(value) = next(&router).await {
                            given.push(value);
                        }
                        time::sleep(Duration::from_millis(2)).await;
                    }
                    given
                })
            })
            .collect();
        sim.run_for(Duration::from_secs(2)).expect("it goes on");
        // All that the first node leads is led by others from now on, and it does not know.
        board.isolate(1, true);
        let old = Work::begin(&board, (1, 0), async |router| {
            let mut given = Vec::new();
            for _ in 0..40 {
                if let Ok(Ok(value)) =
                    time::timeout(Duration::from_millis(100), next(&router)).await
                {
                    given.push(value);
                }
            }
            given
        });
        sim.run_for(Duration::from_secs(8)).expect("it goes on");
        board.isolate(1, false);
        sim.run_for(Duration::from_secs(2)).expect("it goes on");
        crash(&sim, &board, 1);
        sim.run_for(Duration::from_secs(4)).expect("it goes on");
        goes_on.set(false);
        // What the node that has died was given is given, too.
        let mut given: Vec<i64> = Vec::new();
        if old.is_done() {
            given.extend(old.end(&sim, "the values of the first node"));
        }
        for work in drawing {
            let values = work.end(&sim, "the last value");
            assert!(values.len() > 100, "seed {seed}: {} values", values.len());
            given.extend(values);
        }
        let distinct: BTreeSet<i64> = given.iter().copied().collect();
        assert_eq!(distinct.len(), given.len(), "seed {seed}: a value was given twice");
    }
}

//! Transactions of different nodes that wait for each other.

use super::board::{Work, on, three};
use super::schema::change;
use super::statements::run;
use model::error::{SqlError, SqlState};
use runtime::time;
use std::time::Duration;

/// Changes one row and then another; what came of it, and how long the second took.
async fn two(router: crate::router::Router, rows: [i64; 2]) -> (Result<(), SqlError>, Duration) {
    let mut transaction = router.begin();
    let [first, second] = rows.map(|row| format!("UPDATE t SET n = n + 1 WHERE id = {row}"));
    run(&router, &first, Some(&mut transaction)).await.expect("nobody is in the way");
    time::sleep(Duration::from_millis(200)).await;
    let since = time::now();
    let changed = run(&router, &second, Some(&mut transaction)).await;
    let took = since.elapsed();
    let ended = match changed {
        Ok(_rows) => router.commit(transaction).await,
        Err(error) => {
            router.rollback(transaction).await;
            Err(error)
        }
    };
    (ended, took)
}

#[test]
fn a_circle_over_nodes_costs_one_of_them() {
    for (seed, lost) in [(0, None), (1, None), (2, Some(3))] {
        let (sim, board) = three(seed, 2);
        on(&sim, &board, (1, 0), "rows", async |router| {
            change(&router, "CREATE TABLE t (id bigint PRIMARY KEY, n bigint)").await.expect("t");
            let rows = "INSERT INTO t VALUES (1, 0), (2, 0), (3, 0), (4, 0)";
            run(&router, rows, None).await.expect("rows");
        });
        // A node that cannot be reached is left out.
        let makers = match lost {
            Some(node) => {
                board.isolate(node, true);
                sim.run_for(Duration::from_secs(3)).expect("it goes on");
                [(1, 0), (2, 1)]
            }
            None => [(2, 1), (3, 0)],
        };
        let one = Work::begin(&board, makers[0], async |router| two(router, [1, 2]).await);
        let other = Work::begin(&board, makers[1], async |router| two(router, [2, 1]).await);
        let ends = [one.end(&sim, "one"), other.end(&sim, "the other")];
        let deadlock =
            |error: &SqlError| assert_eq!(error.state(), SqlState::DEADLOCK_DETECTED, "{error}");
        let failed = ends.iter().filter_map(|(end, _)| end.as_ref().err()).inspect(|e| deadlock(e));
        assert_eq!(failed.count(), 1, "seed {seed}: {ends:?}");
        let longest = ends.iter().map(|(_, took)| *took).max().expect("there are two");
        assert!(longest < Duration::from_millis(500), "seed {seed}: {longest:?}");
    }
}

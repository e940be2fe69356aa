//! What becomes of a rollback that finds nobody who leads.

use super::board::{Work, on, three};
use super::schema::change;
use super::statements::run;
use runtime::time;
use std::time::Duration;

/// For so long nobody is elected, since no two nodes hear each other.
const APART: Duration = Duration::from_secs(25);

/// The node that leads serves nobody meanwhile, its own coordinator included; and it leads on afterwards, in
/// the same term, so that what was locked stays so until somebody tells it.
#[test]
fn who_led_all_the_time_is_told_of_a_rollback_when_it_can_be() {
    for seed in 0..2 {
        let (sim, board) = three(seed, 1);
        on(&sim, &board, (1, 0), "rows", async |router| {
            change(&router, "CREATE TABLE t (id bigint PRIMARY KEY, n bigint)").await.expect("t");
            run(&router, "INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)", None).await.expect("rows");
        });
        let rolled_back = Work::begin(&board, (1, 0), async |router| {
            let mut transaction = router.begin();
            let changed = run(&router, "UPDATE t SET n = n + 1", Some(&mut transaction)).await;
            changed.expect("nobody is in the way");
            time::sleep(Duration::from_secs(1)).await;
            let since = time::now();
            router.rollback(transaction).await;
            since.elapsed()
        });
        sim.run_for(Duration::from_millis(500)).expect("it goes on");
        let set_apart = |apart| [(1, 2), (1, 3), (2, 3)].map(|(a, b)| board.set_cut(a, b, apart));
        set_apart(true);
        let took = rolled_back.end(&sim, "the rollback");
        assert!(took > Duration::from_secs(5), "{took:?}: all were told, this shows nothing");
        sim.run_for(APART).expect("it goes on");
        set_apart(false);
        sim.run_for(Duration::from_secs(5)).expect("it goes on");
        on(&sim, &board, (2, 0), "the same rows", async |router| {
            router.wait_to_serve().await;
            let changed = run(&router, "UPDATE t SET n = n + 1", None).await;
            changed.expect("nobody is in the way any more");
            let rows = run(&router, "SELECT n FROM t WHERE n <> 1", None).await.expect("rows");
            assert_eq!(rows.len(), 0, "{rows:?}");
        });
    }
}

//! openraft's own suite for runtimes.

use super::SeamRuntime;
use openraft::testing::runtime::Suite;
use runtime::glommio;

#[test]
fn the_suite_for_runtimes_passes_in_the_simulator() {
    Suite::<SeamRuntime>::test_all();
}

/// What of it can be asked for on a core that runs already.
#[test]
fn the_suite_for_runtimes_passes_on_a_core() {
    type Tests = Suite<SeamRuntime>;
    let ran = glommio::run(glommio::Options::default(), |_| {
        Box::pin(async {
            Tests::test_spawn_join_handle().await;
            Tests::test_thread_rng().await;
            Tests::test_sleep().await;
            Tests::test_instant().await;
            Tests::test_instant_sub_instant().await;
            Tests::test_sleep_until().await;
            Tests::test_timeout().await;
            Tests::test_timeout_at().await;
            Tests::test_mpsc_backpressure().await;
            Tests::test_watch_wait_until_ge().await;
            Tests::test_oneshot_send_from_another_task().await;
            Tests::test_mutex_contention().await;
            Tests::test_task_local().await;
        })
    });
    assert_eq!(ran.unwrap().len(), 1);
}

//! Sleeps and timeouts.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use runtime::time::Elapsed;
use runtime::{task, time};

use crate::on_core;

#[test]
fn sleeps_end_in_order_and_not_early() {
    let (order, spent) = on_core(|| async {
        let began = time::now();
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = [30u64, 10, 20, 0]
            .into_iter()
            .map(|ms| {
                let order = order.clone();
                task::spawn("sleeper", async move {
                    time::sleep(Duration::from_millis(ms)).await;
                    order.borrow_mut().push(ms);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        (order.take(), began.elapsed())
    });
    assert_eq!(order, [0, 10, 20, 30]);
    assert!(spent >= Duration::from_millis(30));
}

#[test]
fn a_short_sleep_on_an_idle_core_is_prompt() {
    let worst = on_core(|| async {
        let mut spent = Vec::new();
        for _ in 0..50 {
            // Long enough for the core to take its slow heartbeat.
            time::sleep(Duration::from_millis(60)).await;
            let began = time::now();
            time::sleep(Duration::from_micros(500)).await;
            spent.push(began.elapsed());
        }
        spent.sort();
        spent[25]
    });
    assert!(worst < Duration::from_millis(3), "median {worst:?}");
}

#[test]
fn a_timeout_cuts_and_an_answer_wins() {
    on_core(|| async {
        let cut = time::timeout(Duration::from_millis(5), pending::<()>()).await;
        assert_eq!(cut, Err(Elapsed));
        let answer = time::timeout(Duration::ZERO, async { 7 }).await;
        assert_eq!(answer, Ok(7));
    });
}

#[test]
fn cancelled_timers_leave_nothing_behind() {
    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
    let grown = on_core(|| async {
        let round = || async {
            for _ in 0..50_000 {
                let work = async { task::yield_now().await };
                time::timeout(Duration::from_secs(3600), work).await.unwrap();
            }
        };
        round().await;
        let before = resident_kib();
        for _ in 0..4 {
            round().await;
        }
        resident_kib().saturating_sub(before)
    });
    // 100 bytes each, as the executor's own timers leave, would be 20 MB.
    assert!(grown < 4_000, "{grown} KiB for 200,000 cancelled timers");
}

//! Tasks: panics, cancellation, turns, the watchdog.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use runtime::{task, time, watchdog};

use crate::on_core;

#[test]
fn a_panic_ends_its_task_and_nothing_else() {
    let (panicked, fine, panics) = on_core(|| async {
        let bad = task::spawn("bad", async {
            task::yield_now().await;
            if time::now().as_nanos() > 0 {
                panic!("row {} is broken", 7);
            }
        });
        let good = task::spawn("good", async {
            time::sleep(Duration::from_millis(5)).await;
            1
        });
        (bad.await, good.await, watchdog::report().panics)
    });
    let panicked = panicked.unwrap_err();
    assert_eq!((panicked.name, &*panicked.message), ("bad", "row 7 is broken"));
    assert_eq!(fine.unwrap(), 1);
    assert_eq!(panics, 1);
}

#[test]
fn a_panic_in_a_cancelled_tasks_destructor_is_caught() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("destructor");
        }
    }
    let alive = on_core(|| async {
        let bomb = Bomb;
        let task = task::spawn("bomb", async move {
            time::sleep(Duration::from_secs(60)).await;
            drop(bomb);
        });
        task::yield_now().await;
        drop(task);
        time::sleep(Duration::from_millis(5)).await;
        true
    });
    assert!(alive);
}

#[test]
fn dropping_cancels_and_detaching_does_not() {
    let (cancelled, detached) = on_core(|| async {
        let count = |n: &Rc<Cell<u32>>| {
            let n = n.clone();
            async move {
                time::sleep(Duration::from_millis(5)).await;
                n.set(n.get() + 1);
            }
        };
        let (cancelled, detached) = (Rc::default(), Rc::default());
        drop(task::spawn("cancelled", count(&cancelled)));
        task::spawn("detached", count(&detached)).detach();
        time::sleep(Duration::from_millis(30)).await;
        (cancelled.get(), detached.get())
    });
    assert_eq!((cancelled, detached), (0, 1));
}

#[test]
fn tasks_take_turns() {
    let order = on_core(|| async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let turns = |id: u32| {
            let order = order.clone();
            task::spawn("turns", async move {
                for _ in 0..3 {
                    order.borrow_mut().push(id);
                    task::yield_now().await;
                }
            })
        };
        let (a, b) = (turns(1), turns(2));
        a.await.unwrap();
        b.await.unwrap();
        order.take()
    });
    assert_eq!(order, [1, 2, 1, 2, 1, 2]);
}

#[test]
fn long_work_that_yields_when_due_lets_timers_fire() {
    let ticks = on_core(|| async {
        let ticks = Rc::new(Cell::new(0u32));
        let counted = ticks.clone();
        let ticker = task::spawn("ticker", async move {
            loop {
                time::sleep(Duration::from_millis(2)).await;
                counted.set(counted.get() + 1);
            }
        });
        let worker = task::spawn("worker", async {
            let end = time::now() + Duration::from_millis(100);
            while time::now() < end {
                task::yield_if_due().await;
            }
        });
        worker.await.unwrap();
        drop(ticker);
        ticks.get()
    });
    // One may come every 2 ms; beside other tests the core does not always have the processor.
    assert!(ticks >= 4, "{ticks} ticks in 100 ms");
}

#[test]
fn a_stall_is_counted_and_named() {
    const HOGGED: Duration = Duration::from_millis(100);
    let (report, heard) = on_core(|| async {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let hears = heard.clone();
        watchdog::on_stall(move |stall| hears.borrow_mut().push(stall.task));
        let hog = task::spawn("hog", async {
            let end = time::now() + HOGGED;
            while time::now() < end {
                std::hint::spin_loop();
            }
        });
        hog.await.unwrap();
        (watchdog::report(), heard.take())
    });
    assert!(report.stalls >= 1);
    assert_eq!(report.longest_task, "hog");
    // Beside other tests it does not have the processor all the time.
    assert!(report.longest > watchdog::STALL && report.longest <= HOGGED * 2, "{report:?}");
    assert!(heard.contains(&"hog"), "{heard:?}");
}

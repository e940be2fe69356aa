//! Tasks, time, crashes, determinism.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::super::{CLIENT, Loss, Options, Sim, Step, StuckReason, TaskPanic};
use super::{MS, sim};
use crate::mesh::MeshBuilder;
use crate::sync::{Event, queue};
use crate::{fs, random, task, thread, time, watchdog};

#[test]
fn time_jumps_to_the_next_timer() {
    let sim = sim(1);
    let hour = Duration::from_secs(3_599);
    sim.run_until(time::sleep(hour)).unwrap();
    assert!(sim.now() >= time::Instant::from_nanos(0) + hour);
    assert!(sim.steps() < 10);
    // 2026-01-01 and an hour.
    let wall = sim.run_until(async { time::wall_clock().as_nanos() }).unwrap();
    assert_eq!(wall / 1_000_000_000, 1_767_225_600 + 3_599);
}

#[test]
fn a_timeout_ends_what_takes_too_long() {
    let sim = sim(2);
    sim.run_until(async {
        assert!(time::timeout(MS, time::sleep(2 * MS)).await.is_err());
        assert!(time::timeout(2 * MS, time::sleep(MS)).await.is_ok());
    })
    .unwrap();
}

#[test]
fn nothing_left_to_do_is_stuck() {
    let sim = sim(3);
    let stuck = sim.run_until(std::future::pending::<()>()).unwrap_err();
    assert_eq!(stuck.reason, StuckReason::Idle);
    assert_eq!((stuck.seed, stuck.tasks), (3, vec!["client client".to_owned()]));
}

#[test]
fn limits_end_a_run() {
    let limited = Sim::new(Options { time_limit: 5 * MS, ..Options::new(4) });
    let stuck = limited.run_for(6 * MS).unwrap_err();
    assert_eq!((stuck.reason, stuck.now), (StuckReason::TimeLimit, 5 * MS));
    let limited = Sim::new(Options { step_limit: 1_000, ..Options::new(4) });
    let spin = async {
        loop {
            task::yield_now().await;
        }
    };
    let stuck = limited.run_until::<std::pin::Pin<Box<dyn Future<Output = ()>>>>(Box::pin(spin));
    assert_eq!(stuck.unwrap_err().reason, StuckReason::StepLimit);
}

/// Tasks, timers, randomness, the disk and the mesh of two nodes with two cores each.
fn busy_run(seed: u64) -> (u64, u64) {
    let sim = sim(seed);
    for node in 1..=2 {
        let builder = MeshBuilder::<u64>::new(2, 4);
        sim.start_node(node, 2, move |core| {
            let builder = builder.clone();
            Box::pin(async move {
                let mesh = builder.join(core).await;
                let sender = mesh.clone();
                let sending = task::spawn("send", async move {
                    for number in 0..50 {
                        sender.send(1 - core, number).await.unwrap();
                        if random::below(4) == 0 {
                            time::sleep(Duration::from_micros(random::below(500))).await;
                        }
                        task::yield_if_due().await;
                    }
                });
                let mut got = Vec::new();
                while got.len() < 50 {
                    mesh.recv_many(&mut got, 16).await.unwrap();
                }
                assert!(got.iter().map(|(_, number)| *number).eq(0..50));
                sending.await.unwrap();
                let path = format!("/core-{core}");
                let options = fs::OpenOptions { write: true, create: true, ..Default::default() };
                let file = fs::File::open(path.as_ref(), &options).await.unwrap();
                file.write_at(0, fs::Buffer::zeroed(8192)).await.unwrap();
                file.sync().await.unwrap();
                std::future::pending::<()>().await;
            })
        });
    }
    sim.run_for(100 * MS).unwrap();
    assert_eq!(sim.panics(), []);
    assert_eq!(sim.disk(1).files(), [("/core-0".to_owned(), 8192), ("/core-1".to_owned(), 8192)]);
    sim.crash(1, Loss::Power);
    (sim.trace_hash(), sim.trace_events())
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..20 {
        assert_eq!(busy_run(seed), busy_run(seed), "seed {seed}");
    }
    assert_ne!(busy_run(1), busy_run(2));
}

/// Prints a hash for the test after it, which runs this one in processes of its own.
#[test]
fn hash_for_another_process() {
    println!("trace hash {:?}", busy_run(42));
}

#[test]
fn a_seed_is_one_run_in_every_process() {
    let hash = || {
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sim::tests::scheduler::hash_for_another_process", "--nocapture"])
            .output()
            .unwrap();
        let text = String::from_utf8(run.stdout).unwrap();
        let start = text.find("trace hash").unwrap();
        text[start..].lines().next().unwrap().to_owned()
    };
    let (one, two) = (hash(), hash());
    assert_eq!(one, two);
    assert_eq!(one, format!("trace hash {:?}", busy_run(42)));
}

#[test]
fn seeds_give_other_orders() {
    let order = |seed| {
        let sim = sim(seed);
        let order = Rc::new(RefCell::new(Vec::new()));
        sim.run_until(async {
            let mut tasks = Vec::new();
            for number in 0..6 {
                let order = order.clone();
                tasks.push(task::spawn("note", async move { order.borrow_mut().push(number) }));
            }
            for task in tasks {
                task.await.unwrap();
            }
        })
        .unwrap();
        order.take()
    };
    let orders: std::collections::BTreeSet<Vec<i32>> = (0..200).map(order).collect();
    assert!(orders.len() > 100, "{}", orders.len());
}

#[test]
fn a_panic_ends_its_task_and_is_recorded() {
    let sim = sim(5);
    let heard = Rc::new(RefCell::new(None));
    let hears = heard.clone();
    sim.start_node(9, 1, move |_| {
        let hears = hears.clone();
        Box::pin(async move {
            let broken = task::spawn("broken", async { panic!("as {}", "told") });
            *hears.borrow_mut() = Some(broken.await.unwrap_err().message);
            assert_eq!(watchdog::report().panics, 1);
            std::future::pending::<()>().await;
        })
    });
    sim.run_for(MS).unwrap();
    assert_eq!(heard.take(), Some("as told".to_owned()));
    let panic = TaskPanic { node: 9, core: 0, task: "broken", message: "as told".to_owned() };
    assert_eq!(sim.panics(), [panic]);
    // Figures are a core's own: the client's saw no panic.
    assert_eq!(sim.run_until(async { watchdog::report().panics }).unwrap(), 0);
}

/// Says on which node, by its wall clock, it was dropped, and spawns once more.
struct Last(Rc<Cell<u64>>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.set(time::wall_clock().as_nanos());
        task::spawn("too late", async { panic!("it runs on a dead core") }).detach();
    }
}

#[test]
fn a_crash_drops_everything_with_its_core_current() {
    let sim = sim(6);
    let dropped = Rc::new(Cell::new(0));
    let held = dropped.clone();
    sim.set_wall_clock(3, 1_000_000_000_000, 0);
    sim.start_node(3, 1, move |_| {
        let last = Last(held.clone());
        Box::pin(async move {
            let forever = async move {
                time::sleep(Duration::from_secs(9)).await;
                drop(last);
            };
            task::spawn("holder", forever).detach();
            time::sleep(Duration::from_secs(9)).await;
        })
    });
    sim.run_for(MS).unwrap();
    assert_eq!((dropped.get(), sim.tasks_alive(), sim.is_running(3)), (0, 2, true));
    sim.crash(3, Loss::Process);
    assert_eq!((sim.tasks_alive(), sim.is_running(3)), (0, false));
    let ahead = dropped.get() - sim.run_until(async { time::wall_clock().as_nanos() }).unwrap();
    assert!((999_000_000_000..=1_000_000_000_000).contains(&ahead), "{ahead}");
    assert_eq!(Rc::strong_count(&dropped), 1);
    assert_eq!(sim.panics(), []);
}

#[test]
fn a_node_ends_with_its_last_core_and_starts_again() {
    let sim = sim(7);
    let lives = Rc::new(Cell::new(0));
    for life in 1..=3 {
        let counted = lives.clone();
        sim.start_node(1, 2, move |core| {
            let lives = counted.clone();
            Box::pin(async move {
                task::spawn("left over", std::future::pending::<()>()).detach();
                time::sleep(MS * u32::from(core + 1)).await;
                lives.set(lives.get() + 1);
            })
        });
        sim.run_for(Duration::from_micros(1_500)).unwrap();
        assert!(sim.is_running(1));
        sim.run_for(MS).unwrap();
        assert_eq!((sim.is_running(1), lives.get(), sim.tasks_alive()), (false, life * 2, 0));
    }
}

#[test]
fn a_thousand_simulations_leave_nothing() {
    let held = Rc::new(());
    for seed in 0..1_000 {
        let sim = sim(seed);
        let held = held.clone();
        sim.start_node(1, 2, move |_| {
            let held = held.clone();
            Box::pin(async move {
                let (sender, mut receiver) = queue::bounded::<u64>(4);
                let inner = held.clone();
                let reader = task::spawn("reader", async move {
                    let _inner = inner;
                    while receiver.recv().await.is_ok() {}
                    std::future::pending::<()>().await;
                });
                for number in 0..10 {
                    sender.send(number).await.unwrap();
                }
                reader.await.unwrap();
                drop(held);
            })
        });
        sim.run_for(MS).unwrap();
    }
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn a_dropped_task_is_cancelled_and_its_timer_goes() {
    let sim = sim(8);
    sim.run_until(async {
        let sleeper = task::spawn("sleeper", time::sleep(Duration::from_secs(100)));
        time::sleep(MS).await;
        drop(sleeper);
        task::spawn("detached", time::sleep(MS)).detach();
        time::sleep(2 * MS).await;
    })
    .unwrap();
    let idle = sim.run_until(std::future::pending::<()>()).unwrap_err();
    assert_eq!((idle.reason, idle.now < Duration::from_secs(1)), (StuckReason::Idle, true));
}

#[test]
fn clocks_go_wrong_on_their_own_node() {
    let sim = sim(9);
    sim.set_wall_clock(CLIENT, -5_000, 1_000_000);
    sim.run_for(Duration::from_secs(2)).unwrap();
    let gained = sim.wall_clock_offset(CLIENT) - 2_000_000_000;
    assert!((-5_000..1_000_000).contains(&gained), "{gained}");
    assert_eq!(sim.wall_clock_offset(1), 0);
}

#[test]
fn a_paused_or_slow_node_falls_behind() {
    let sim = sim(10);
    let steps = [Rc::new(Cell::new(0u32)), Rc::new(Cell::new(0u32))];
    for (node, steps) in (1u32..).zip(steps.iter().cloned()) {
        sim.start_node(node, 1, move |_| {
            let steps = steps.clone();
            Box::pin(async move {
                loop {
                    steps.set(steps.get() + 1);
                    task::yield_now().await;
                }
            })
        });
    }
    let taken = || (steps[0].take(), steps[1].take());
    sim.set_slowness(2, 10);
    sim.run_for(10 * MS).unwrap();
    let (quick, slow) = taken();
    assert!((5..20).contains(&(quick / slow)), "{quick} {slow}");
    sim.pause(1);
    sim.run_for(10 * MS).unwrap();
    assert!(matches!(taken(), (0 | 1, 500..)));
    sim.resume(1);
    sim.run_for(MS).unwrap();
    assert!(taken().0 > 100);
}

#[test]
fn there_are_no_foreign_threads() {
    let sim = sim(11);
    let spawned = sim.run_until(async { thread::spawn("http", || ()).map(|_| ()) }).unwrap();
    assert_eq!(spawned.unwrap_err().kind(), std::io::ErrorKind::Unsupported);
}

#[test]
fn events_wake_their_waiters() {
    let sim = sim(12);
    let event = Rc::new(Event::new());
    let waited = sim.run_until(async {
        let waits = event.clone();
        let waiter = task::spawn("waiter", async move { waits.wait().await });
        time::sleep(MS).await;
        event.set();
        waiter.await
    });
    assert!(waited.unwrap().is_ok());
}

#[test]
fn every_await_point_can_be_the_last() {
    let written = |seed: u64, steps: u64| {
        let sim = sim(seed);
        sim.start_node(1, 1, |_| {
            Box::pin(async {
                let file = super::open("/f", true).await;
                for number in 1..=3 {
                    file.write_at(0, super::page(number)).await.unwrap();
                }
            })
        });
        sim.run_steps(steps).unwrap();
        sim.crash(1, Loss::Process);
        sim.disk(1).read("/f").ok().and_then(|bytes| bytes.first().copied())
    };
    let runs = (0..10).flat_map(|seed| (0..12).map(move |steps| (seed, steps)));
    let seen: std::collections::BTreeSet<Option<u8>> =
        runs.map(|(seed, steps)| written(seed, steps)).collect();
    assert!(seen.into_iter().eq([None, Some(1), Some(2), Some(3)]));
}

#[test]
fn the_clients_survive_their_own_crash() {
    let sim = sim(14);
    sim.run_until(async { task::spawn("left", std::future::pending::<()>()).detach() }).unwrap();
    sim.crash(CLIENT, Loss::Power);
    assert_eq!(sim.tasks_alive(), 0);
    sim.run_for(MS).unwrap();
}

#[test]
fn a_node_ends_after_the_step_it_is_to_end_after() {
    for steps in 1..=6 {
        let sim = sim(steps);
        let (taken, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
        let (counting, looking) = (taken.clone(), seen.clone());
        sim.start_node(1, 1, move |_| {
            let taken = counting.clone();
            Box::pin(async move {
                loop {
                    taken.set(taken.get() + 1);
                    task::yield_now().await;
                }
            })
        });
        let at_end = taken.clone();
        let look = move |step: Step| looking.set(Some((step.core, step.task, at_end.get())));
        sim.crash_after(1, steps, Loss::Process, look);
        sim.run_for(MS).unwrap();
        assert!(!sim.is_running(1));
        assert_eq!((taken.get(), seen.get()), (steps, Some((0, "main", steps))));
        assert_eq!(sim.call_off(1), None);
    }
}

#[test]
fn an_end_that_was_called_off_does_not_come() {
    let sim = sim(1);
    sim.start_node(1, 1, |_| Box::pin(time::sleep(Duration::from_secs(5))));
    sim.crash_after(1, 100, Loss::Process, |_| {});
    sim.run_for(MS).unwrap();
    assert!(sim.call_off(1).is_some_and(|left| left < 100));
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert!(sim.is_running(1));
}

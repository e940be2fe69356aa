//! How cores begin and end.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use runtime::glommio::{Options, Placement, run};
use runtime::{BoxLocalFuture, fs, net, task, thread, time};

use crate::{on_core, on_cores};

#[test]
fn results_come_by_core() {
    assert_eq!(on_cores(4, |core| async move { core * 10 }), [0, 10, 20, 30]);
}

#[test]
fn more_cores_than_processors_run() {
    let beats = on_cores(16, |_| async {
        time::sleep(Duration::from_millis(20)).await;
        1
    });
    assert_eq!(beats.len(), 16);
}

#[test]
fn pinned_cores_run() {
    let options = Options { placement: Placement::Pinned, ..Options::default() };
    let slept = run(options, |_| {
        Box::pin(async {
            let began = time::now();
            time::sleep(Duration::from_millis(5)).await;
            began.elapsed()
        }) as BoxLocalFuture<Duration>
    });
    assert!(slept.unwrap()[0] >= Duration::from_millis(5));
}

#[test]
fn senseless_options_are_refused() {
    for cores in [0, 65] {
        let options = Options { cores, ..Options::default() };
        let refused = run(options, |_| Box::pin(async {}) as BoxLocalFuture<()>);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_panicking_core_is_an_error_of_the_run() {
    let options = Options { cores: 2, placement: Placement::Unbound, ..Options::default() };
    let failed = run(options, |core| {
        Box::pin(async move { assert_ne!(core, 1, "core one gives up") }) as BoxLocalFuture<()>
    });
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("core one gives up"), "{message}");
}

#[test]
fn tasks_that_are_left_are_dropped_with_what_they_own() {
    struct Owned(Rc<Cell<u32>>, #[expect(dead_code, reason = "held open")] net::Listener);
    impl Drop for Owned {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let addr = on_core(|| async {
        let dropped = Rc::new(Cell::new(0));
        let listener = net::Listener::bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let addr = listener.local_addr();
        let owned = Owned(dropped, listener);
        task::spawn("keeper", async move {
            time::sleep(Duration::from_secs(3600)).await;
            drop(owned);
        })
        .detach();
        task::yield_now().await;
        addr
    });
    // The port is free again: the listener was closed with its task.
    std::net::TcpListener::bind(addr).unwrap();
}

#[test]
fn a_foreign_thread_wakes_a_sleeping_core() {
    let (sender, receiver) = flume::bounded::<u32>(1);
    let helper = thread::spawn("helper", move || {
        let (_keep, pause) = std::sync::mpsc::channel::<()>();
        assert!(pause.recv_timeout(Duration::from_millis(50)).is_err());
        sender.send(7).unwrap();
    })
    .unwrap();
    let (got, waited) = on_core(move || {
        let receiver = receiver.clone();
        async move {
            let began = time::now();
            (receiver.recv_async().await.unwrap(), began.elapsed())
        }
    });
    helper.join().unwrap();
    assert_eq!(got, 7);
    assert!(waited < Duration::from_millis(500), "{waited:?}");
}

#[test]
fn an_idle_core_costs_little() {
    fn processor_time() -> Duration {
        let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `used` is valid for the call to fill.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut used) };
        assert_eq!(failed, 0);
        Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
    }
    let used = on_core(|| async {
        time::sleep(Duration::from_millis(100)).await;
        let began = processor_time();
        time::sleep(Duration::from_secs(2)).await;
        processor_time() - began
    });
    println!("an idle core used {used:?} in 2 s");
    assert!(used < Duration::from_millis(40), "{used:?} is over 2 %");
}

#[test]
fn plain_threads_are_told_that_they_are_no_core() {
    let panic = std::panic::catch_unwind(|| {
        task::spawn("nowhere", async {}).detach();
    });
    assert!(panic.is_err());
    let there = on_core(|| async { fs::exists(Path::new("/tmp")).await.unwrap() });
    assert!(there);
}

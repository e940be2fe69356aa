//! Measurements, not run by default: `cargo test --release -p phantomdb-net --test links measure
//! -- --ignored --nocapture --test-threads 1`. Both ends share the machine.

use crate::node::SECOND;
use crate::sockets::{Side, between};
use bytes::Bytes;
use net::link::Service;
use runtime::{task, time};
use std::rc::Rc;
use std::time::Duration;

const LENGTH: Duration = Duration::from_secs(2);

async fn settle(side: &Side) {
    let deadline = time::now() + 30 * SECOND;
    side.links.call(side.other, Service::Raft, Bytes::new(), deadline).await.unwrap();
}

/// Posts of `length` bytes as fast as they go.
fn posts(length: usize) -> (f64, f64) {
    between(
        move |side| async move {
            settle(&side).await;
            let padding = Bytes::from(vec![7; length - 8]);
            let (began, mut number) = (time::now(), 0u64);
            while began.elapsed() < LENGTH {
                for _ in 0..256 {
                    number += 1;
                    let head = Bytes::copy_from_slice(&number.to_le_bytes());
                    let post = vec![head, padding.clone()];
                    side.links.send(side.other, Service::Raft, post).await.unwrap();
                }
                task::yield_if_due().await;
            }
            settle(&side).await;
            let seconds = began.elapsed().as_secs_f64();
            (number as f64 / seconds, (number as usize * length) as f64 / seconds / 1e6)
        },
        |side| assert_eq!(side.mirror.disorder.get(), 0),
    )
}

#[test]
#[ignore = "a measurement"]
fn one_way() {
    for length in [100, 4 << 10, 64 << 10, 256 << 10] {
        let (messages, megabytes) = posts(length);
        println!("posts of {length} bytes: {messages:.0} a second, {megabytes:.0} MB/s");
    }
}

/// Calls of 100 bytes, `depth` of them under way.
fn calls(depth: u64) -> f64 {
    between(
        move |side| async move {
            settle(&side).await;
            let began = time::now();
            let callers = (0..depth).map(|_| {
                let side: Rc<Side> = Rc::clone(&side);
                task::spawn("caller", async move {
                    let (body, mut done) = (Bytes::from(vec![7; 100]), 0u64);
                    while began.elapsed() < LENGTH {
                        let deadline = time::now() + SECOND;
                        let call =
                            side.links.call(side.other, Service::Engine, body.clone(), deadline);
                        call.await.unwrap();
                        done += 1;
                    }
                    done
                })
            });
            let callers: Vec<_> = callers.collect();
            let mut done = 0;
            for caller in callers {
                done += caller.await.unwrap();
            }
            done as f64 / began.elapsed().as_secs_f64()
        },
        |_| {},
    )
}

#[test]
#[ignore = "a measurement"]
fn there_and_back() {
    for depth in [1, 16, 256] {
        println!("calls of 100 bytes, {depth} under way: {:.0} a second", calls(depth));
    }
}

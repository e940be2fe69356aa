//! Messages between cores.

use std::time::Duration;

use runtime::mesh::{Closed, MeshBuilder};
use runtime::{task, time};

use crate::{on_core, on_cores};

#[test]
fn all_to_all_in_order_through_small_inboxes() {
    const CORES: u16 = 4;
    const EACH: u64 = 5_000;
    let builder = MeshBuilder::<u64>::new(CORES, 16);
    let stalls = on_cores(CORES, move |me| {
        let builder = builder.clone();
        async move {
            let mesh = builder.join(me).await;
            let sender = mesh.clone();
            let sending = task::spawn("sending", async move {
                for n in 0..EACH {
                    for to in 0..CORES {
                        sender.send(to, n).await.unwrap();
                    }
                }
            });
            let mut next = [0u64; CORES as usize];
            let mut batch = Vec::new();
            while next.iter().any(|&n| n < EACH) {
                mesh.recv_many(&mut batch, 100).await.unwrap();
                assert!(batch.len() <= 100);
                for (from, n) in batch.drain(..) {
                    assert_eq!(next[usize::from(from)], n, "from {from}");
                    next[usize::from(from)] += 1;
                }
            }
            sending.await.unwrap();
            mesh.stalls()
        }
    });
    assert!(stalls.iter().sum::<u64>() > 0, "16 places were enough?");
}

#[test]
fn a_full_inbox_pushes_back_and_is_counted() {
    on_core(|| async {
        let mesh = MeshBuilder::<u32>::new(1, 2).join(0).await;
        mesh.try_send(0, 1).unwrap();
        mesh.try_send(0, 2).unwrap();
        assert_eq!(mesh.try_send(0, 3).unwrap_err().0, 3);
        assert_eq!(mesh.stalls(), 1);
        let waiting = mesh.clone();
        let third = task::spawn("third", async move { waiting.send(0, 3).await });
        task::yield_now().await;
        let mut got = Vec::new();
        mesh.recv_many(&mut got, 1).await.unwrap();
        third.await.unwrap().unwrap();
        mesh.recv_many(&mut got, 10).await.unwrap();
        assert_eq!(got, [(0, 1), (0, 2), (0, 3)]);
    });
}

#[test]
fn waiting_senders_of_one_core_keep_their_order() {
    let got = on_core(|| async {
        let mesh = MeshBuilder::<u32>::new(1, 1).join(0).await;
        let senders: Vec<_> = (0..20)
            .map(|n| {
                let mesh = mesh.clone();
                task::spawn("sender", async move { mesh.send(0, n).await })
            })
            .collect();
        let mut got = Vec::new();
        while got.len() < 20 {
            mesh.recv_many(&mut got, 5).await.unwrap();
        }
        for sender in senders {
            sender.await.unwrap().unwrap();
        }
        got
    });
    assert!(got.iter().map(|(_, n)| *n).eq(0..20), "{got:?}");
}

#[test]
fn those_who_wait_for_a_core_that_leaves_are_told() {
    let builder = MeshBuilder::<u32>::new(2, 1);
    on_cores(2, move |me| {
        let builder = builder.clone();
        async move {
            let mesh = builder.join(me).await;
            if me == 1 {
                time::sleep(Duration::from_millis(20)).await;
                return;
            }
            mesh.send(1, 1).await.unwrap();
            assert_eq!(mesh.send(1, 2).await, Err(Closed));
            assert!(!mesh.is_open(1));
            let mut got = Vec::new();
            assert_eq!(mesh.recv_many(&mut got, 1).await, Err(Closed));
        }
    });
}

#[test]
fn a_sleeping_core_is_woken_every_time() {
    const ROUNDS: u32 = 5_000;
    let builder = MeshBuilder::<u32>::new(2, 4);
    let spent = on_cores(2, move |me| {
        let builder = builder.clone();
        async move {
            let mesh = builder.join(me).await;
            let began = time::now();
            let mut got = Vec::new();
            for n in 0..ROUNDS {
                if me == 0 {
                    mesh.send(1, n).await.unwrap();
                }
                got.clear();
                mesh.recv_many(&mut got, 1).await.unwrap();
                assert_eq!(got, [(1 - me, n)]);
                if me == 1 {
                    mesh.send(0, n).await.unwrap();
                }
            }
            began.elapsed()
        }
    });
    println!("{:?} a round trip", spent[0] / ROUNDS);
    assert!(spent[0] < Duration::from_secs(20), "{spent:?}");
}

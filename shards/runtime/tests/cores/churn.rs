//! Sockets under everything at once, for a while: connections that come and go, floods, slow
//! readers, dropped futures, peers that hang up midway. What arrives is checked byte by byte, and
//! nothing may take longer than a generous timeout: a wake-up that is lost shows here.
//!
//! `CHURN_SECONDS=600 cargo test --release -p phantomdb-runtime --test cores churn` soaks.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use runtime::net::{Listener, ReadHalf, Stream, WriteHalf};
use runtime::random::Rng;
use runtime::time::Instant;
use runtime::{task, time};

use crate::on_cores;

const CLIENTS: u64 = 24;
const PATIENCE: Duration = Duration::from_secs(20);

/// Whatever is awaited, it ends.
async fn ends<T>(what: &str, f: impl Future<Output = T>) -> T {
    time::timeout(PATIENCE, f).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// The byte at a place of a stream, the same on both ends.
fn byte_at(place: usize) -> u8 {
    (place ^ (place >> 8)) as u8
}

#[test]
fn nothing_is_lost_and_nothing_hangs() {
    let seconds = std::env::var("CHURN_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    // A port of its own, known to both cores before they start.
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let done = on_cores(2, move |core| async move {
        if core == 0 {
            serve(addr, Duration::from_secs(seconds)).await
        } else {
            time::sleep(Duration::from_millis(50)).await;
            clients(addr, time::now() + Duration::from_secs(seconds)).await
        }
    });
    println!("{} connections served, {} streams checked", done[0], done[1]);
    assert!(done[1] > CLIENTS, "{done:?}");
}

/// Echoes until the time is over and the clients have had time to end.
async fn serve(addr: SocketAddr, seconds: Duration) -> u64 {
    let listener = Listener::bind(addr, false).await.unwrap();
    let end = time::now() + seconds + Duration::from_secs(1);
    let mut served = 0;
    while let Ok(stream) = time::timeout(end - time::now(), listener.accept()).await {
        served += 1;
        task::spawn("echo", echo(stream.unwrap(), served)).detach();
    }
    served
}

/// Echoes in pieces of odd sizes until either side has had enough. Hang-ups are no error here.
async fn echo(stream: Stream, seed: u64) {
    let mut rng = Rng::seeded(seed);
    let (mut read, mut write) = stream.split();
    loop {
        // A read that is given up must lose nothing.
        if rng.below(4) == 0 {
            let brief = Duration::from_micros(rng.below(100));
            if let Ok(Ok(got)) = time::timeout(brief, read.read()).await
                && !got.is_empty()
                && send(&mut write, &got, &mut rng).await.is_err()
            {
                return;
            }
        }
        match read.read().await {
            Ok(got) if !got.is_empty() => {
                if send(&mut write, &got, &mut rng).await.is_err() {
                    return;
                }
            }
            _ => break,
        }
        if rng.below(50) == 0 {
            time::sleep(Duration::from_millis(rng.below(5))).await;
        }
    }
    write.shutdown().await;
}

/// Sends bytes as a batch of parts of random lengths.
async fn send(write: &mut WriteHalf, bytes: &[u8], rng: &mut Rng) -> std::io::Result<()> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let most = 1u64 << rng.below(17);
        let len = (1 + rng.below(most) as usize).min(rest.len());
        parts.push(rest.split_to(len));
    }
    write.write_all(&mut parts).await
}

async fn clients(addr: SocketAddr, end: Instant) -> u64 {
    let checked = Rc::new(Cell::new(0));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|seed| task::spawn("client", client(addr, end, Rng::seeded(seed), checked.clone())))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    checked.get()
}

async fn client(addr: SocketAddr, end: Instant, mut rng: Rng, checked: Rc<Cell<u64>>) {
    while time::now() < end {
        let stream = ends("connecting", Stream::connect(addr)).await.unwrap();
        let (mut read, mut write) = stream.split();
        let scale = rng.below(22);
        let total = 1 + rng.below(1 << scale) as usize;
        match rng.below(8) {
            // Says nothing, or hangs up while much is under way.
            0 => {}
            1 => {
                let flood = vec![Bytes::from(vec![1; 1 << 20])];
                let writing = async { write.write_all(&mut { flood }).await };
                drop(time::timeout(Duration::from_micros(rng.below(3_000)), writing).await);
            }
            _ => {
                let mut sending_rng = Rng::seeded(rng.next_u64());
                let sending = task::spawn("sending", async move {
                    let data: Vec<u8> = (0..total).map(byte_at).collect();
                    send(&mut write, &data, &mut sending_rng).await.unwrap();
                    write.shutdown().await;
                    write
                });
                ends("reading", check(&mut read, total, &mut rng)).await;
                drop(ends("sending", sending).await.unwrap());
                checked.set(checked.get() + 1);
            }
        }
    }
}

/// Reads the echo of `total` bytes, now and then slowly.
async fn check(read: &mut ReadHalf, total: usize, rng: &mut Rng) {
    let mut place = 0;
    loop {
        let got = read.read().await.unwrap();
        if got.is_empty() {
            break;
        }
        for byte in got.iter() {
            assert_eq!(*byte, byte_at(place), "at {place} of {total}");
            place += 1;
        }
        if rng.below(20) == 0 {
            time::sleep(Duration::from_micros(rng.below(3_000))).await;
        }
    }
    assert_eq!(place, total);
}

//! What a core can echo: a server on one core, clients on another, 64-byte messages.
//!
//! ```text
//! cargo run --release -p phantomdb-runtime --example echo [SECONDS]
//! ```
//!
//! Prints requests a second and the server's processor time a request, for 1, 16, 64 and 128
//! connections with one message in flight each, and for 16 with 32. The sum of all bytes is
//! checked: an echo that loses or invents any fails.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use runtime::glommio::{Options, run};
use runtime::mesh::MeshBuilder;
use runtime::net::{Listener, Stream};
use runtime::{BoxLocalFuture, task, time};

const MESSAGE: usize = 64;
const ROUNDS: [(usize, usize); 6] = [(1, 1), (4, 1), (16, 1), (64, 1), (128, 1), (16, 32)];

/// Says something between the cores: the server's address, or the processor time it used so far.
enum Note {
    Serving(SocketAddr),
    Asked,
    Used(Duration),
}

fn main() -> std::io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(2);
    let mesh = MeshBuilder::<Note>::new(2, 16);
    let options = Options { cores: 2, ..Options::default() };
    run(options, move |core| {
        let mesh = mesh.clone();
        let body = async move {
            let mesh = mesh.join(core).await;
            if core == 0 { serve(mesh).await } else { measure(mesh, seconds).await }
        };
        Box::pin(body) as BoxLocalFuture<()>
    })
    .map(drop)
}

fn processor_time() -> Duration {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `used` is valid for the call to fill.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut used) };
    assert_eq!(failed, 0);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

async fn serve(mesh: runtime::mesh::Mesh<Note>) {
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address"), false)
        .await
        .expect("a free port");
    mesh.send(1, Note::Serving(listener.local_addr())).await.expect("core 1 is there");
    let accepting = task::spawn("accept", async move {
        loop {
            let stream = listener.accept().await.expect("a connection");
            task::spawn("echo", echo(stream)).detach();
        }
    });
    let mut notes = Vec::new();
    while mesh.recv_many(&mut notes, 1).await.is_ok() {
        notes.clear();
        mesh.send(1, Note::Used(processor_time())).await.expect("core 1 is there");
    }
    drop(accepting);
}

async fn echo(stream: Stream) {
    let (mut read, mut write) = stream.split();
    let mut parts = Vec::new();
    loop {
        let got = read.read().await.expect("bytes");
        if got.is_empty() {
            return;
        }
        parts.push(Bytes::copy_from_slice(&got));
        write.write_all(&mut parts).await.expect("a reader");
    }
}

async fn measure(mesh: runtime::mesh::Mesh<Note>, seconds: u64) {
    let mut notes = Vec::new();
    mesh.recv_many(&mut notes, 1).await.expect("core 0 is there");
    let Some((_, Note::Serving(addr))) = notes.pop() else { panic!("no address") };
    for (connections, depth) in ROUNDS {
        let before = used(&mesh).await;
        let began = time::now();
        let end = began + Duration::from_secs(seconds);
        let count = Rc::new(Cell::new(0u64));
        let clients: Vec<_> = (0..connections)
            .map(|_| task::spawn("client", client(addr, depth, end, count.clone())))
            .collect();
        for client in clients {
            client.await.expect("a client that ends");
        }
        let spent = began.elapsed();
        let processor = used(&mesh).await - before;
        println!(
            "{connections:4} connections, {depth:2} in flight: {:9.0} requests/s, {:5.2} us of the server each",
            count.get() as f64 / spent.as_secs_f64(),
            processor.as_secs_f64() * 1e6 / count.get() as f64,
        );
    }
}

async fn used(mesh: &runtime::mesh::Mesh<Note>) -> Duration {
    mesh.send(0, Note::Asked).await.expect("core 0 is there");
    let mut notes = Vec::new();
    mesh.recv_many(&mut notes, 1).await.expect("core 0 is there");
    match notes.pop() {
        Some((_, Note::Used(time))) => time,
        _ => panic!("no answer"),
    }
}

async fn client(addr: SocketAddr, depth: usize, end: time::Instant, count: Rc<Cell<u64>>) {
    let (mut read, mut write) = Stream::connect(addr).await.expect("a server").split();
    let batch = Bytes::from(vec![7u8; depth * MESSAGE]);
    let mut parts = Vec::new();
    while time::now() < end {
        parts.push(batch.clone());
        write.write_all(&mut parts).await.expect("a server");
        let mut got = 0;
        while got < batch.len() {
            let bytes = read.read().await.expect("an echo");
            assert!(!bytes.is_empty() && bytes.iter().all(|b| *b == 7));
            got += bytes.len();
        }
        assert_eq!(got, batch.len());
        count.set(count.get() + depth as u64);
    }
}

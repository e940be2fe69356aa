//! What a commit costs: 4 KiB direct synchronous writes over preallocated blocks, one at a time.
//!
//! ```text
//! cargo run --release -p phantomdb-runtime --example commit [DIRECTORY]
//! ```
//!
//! Prints the median and the 99th percentile of plain `pwrite` on a thread of its own, of a core
//! that runs wherever the kernel likes, and of a pinned one; then the same with 16 sockets' worth
//! of traffic on that core.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use runtime::fs::{Buffer, File, OpenOptions};
use runtime::glommio::{Options, Placement, run};
use runtime::net::Listener;
use runtime::time::Instant;
use runtime::{BoxLocalFuture, task, thread, time};

const BLOCKS: u64 = 1024;
const WRITES: u64 = 2_000;

fn main() -> io::Result<()> {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let path = dir.join(format!("commit-{}", std::process::id()));
    println!("plain thread      {}", plain(&path)?);
    for (name, placement) in [("unbound", Placement::Unbound), ("pinned", Placement::Pinned)] {
        for busy in [false, true] {
            let options = Options { placement, ..Options::default() };
            let path = path.clone();
            let figures = run(options, move |_| {
                let path = path.clone();
                Box::pin(async move { on_core(&path, busy).await })
                    as BoxLocalFuture<io::Result<String>>
            })?;
            for figure in figures {
                println!("{name:8} {}  {}", if busy { "busy net" } else { "idle net" }, figure?);
            }
        }
    }
    fs::remove_file(path)
}

/// The median and the 99th percentile.
fn figures(mut spent: Vec<Duration>) -> String {
    spent.sort();
    format!("p50 {:?}  p99 {:?}", spent[spent.len() / 2], spent[spent.len() * 99 / 100])
}

fn plain(path: &Path) -> io::Result<String> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_DIRECT | libc::O_DSYNC)
        .open(path)?;
    let block = Buffer::zeroed(4096);
    for n in 0..BLOCKS {
        file.write_all_at(&block, n * 4096)?;
    }
    let mut spent = Vec::new();
    for n in 0..WRITES {
        let began = time::now();
        file.write_all_at(&block, n % BLOCKS * 4096)?;
        spent.push(began.elapsed());
    }
    Ok(figures(spent))
}

async fn on_core(path: &Path, busy: bool) -> io::Result<String> {
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).await?;
    let end = time::now() + Duration::from_secs(if busy { 60 } else { 0 });
    let traffic = traffic(listener, end)?;
    let options = OpenOptions { write: true, dsync: true, ..OpenOptions::default() };
    let file = File::open(path, &options).await?;
    let mut block = Buffer::zeroed(4096);
    let mut spent = Vec::new();
    for n in 0..WRITES {
        let began = time::now();
        block = file.write_at(n % BLOCKS * 4096, block).await?;
        spent.push(began.elapsed());
    }
    drop(traffic);
    Ok(figures(spent))
}

/// Sixteen clients that keep the core echoing until `end`, or until the task is dropped.
fn traffic(listener: Listener, end: Instant) -> io::Result<runtime::task::Task<()>> {
    let addr = listener.local_addr();
    if time::now() < end {
        // Its clients end when the core hangs up.
        drop(thread::spawn("clients", move || clients(addr))?);
    }
    Ok(task::spawn("accept", async move {
        let mut echoes = Vec::new();
        while let Ok(stream) = listener.accept().await {
            echoes.push(task::spawn("echo", async move {
                let (mut read, mut write) = stream.split();
                while let Ok(got) = read.read().await {
                    let mut parts = vec![Bytes::copy_from_slice(&got)];
                    if got.is_empty() || write.write_all(&mut parts).await.is_err() {
                        return;
                    }
                }
            }));
        }
    }))
}

fn clients(addr: SocketAddr) -> io::Result<()> {
    let mut streams = (0..16).map(|_| TcpStream::connect(addr)).collect::<io::Result<Vec<_>>>()?;
    let mut answer = [0; 64];
    loop {
        for stream in &mut streams {
            stream.write_all(&[1; 64])?;
        }
        for stream in &mut streams {
            io::Read::read_exact(stream, &mut answer)?;
        }
    }
}

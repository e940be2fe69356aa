//! What connections cost in memory: a process of its own, whose memory no other test changes.

use std::io;

use bytes::Bytes;
use runtime::glommio::{Options, Placement, run};
use runtime::net::{Listener, Stream};
use runtime::{BoxLocalFuture, task};

/// Pairs of connected streams, both ends in this process.
const PAIRS: usize = 1_000;

/// Sends back all that comes until the peer ends its stream.
async fn echo(stream: Stream) -> io::Result<()> {
    let (mut read, mut write) = stream.split();
    loop {
        let got = read.read().await?;
        if got.is_empty() {
            return Ok(());
        }
        write.write_all(&mut vec![Bytes::copy_from_slice(&got)]).await?;
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn many_idle_connections() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
    let address = listener.local_addr();
    let mut clients = Vec::with_capacity(PAIRS);
    let before = resident_kib();
    for _ in 0..PAIRS {
        let connecting = task::spawn("connecting", Stream::connect(address));
        let accepted = listener.accept().await.unwrap();
        task::spawn("echo", echo(accepted)).detach();
        clients.push(connecting.await.unwrap().unwrap().split());
    }
    for (read, write) in &mut clients {
        write.write_all(&mut vec![Bytes::from_static(b"hello")]).await.unwrap();
        assert_eq!(&*read.read().await.unwrap(), b"hello");
    }
    let grown = resident_kib().checked_sub(before).expect("connections take memory");
    let each = grown as f64 / (2 * PAIRS) as f64;
    println!("{each} KiB a connection");
    assert!(each < 4.0, "{each} KiB a connection");
}

#[test]
fn many_idle_connections_are_cheap_and_all_live() {
    let options = Options { placement: Placement::Unbound, ..Options::default() };
    let lived = run(options, |_core| Box::pin(many_idle_connections()) as BoxLocalFuture<()>);
    lived.expect("the core runs");
}

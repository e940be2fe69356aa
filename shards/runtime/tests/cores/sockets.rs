//! Sockets: echoes, slow readers, half-closed and vanished peers.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use runtime::net::{Listener, READ_MAX, Stream};
use runtime::{task, thread, time};

use crate::{on_core, on_cores};

const ANY: &str = "127.0.0.1:0";

async fn listen() -> Listener {
    Listener::bind(ANY.parse().unwrap(), false).await.unwrap()
}

/// Sends back all that comes until the peer ends its stream, then ends ours.
async fn echo(stream: Stream) -> io::Result<usize> {
    let (mut read, mut write) = stream.split();
    let mut total = 0;
    loop {
        let got = read.read().await?;
        assert!(got.len() <= READ_MAX);
        if got.is_empty() {
            write.shutdown().await;
            return Ok(total);
        }
        total += got.len();
        write.write_all(&mut vec![Bytes::copy_from_slice(&got)]).await?;
    }
}

/// A pair of connected streams on one core.
async fn pair() -> (Stream, Stream) {
    let listener = listen().await;
    let addr = listener.local_addr();
    let connecting = task::spawn("connecting", async move { Stream::connect(addr).await });
    let accepted = listener.accept().await.unwrap();
    (connecting.await.unwrap().unwrap(), accepted)
}

#[test]
fn addresses_and_nothing_lost() {
    on_core(|| async {
        let (client, server) = pair().await;
        assert_eq!(client.peer_addr(), server.local_addr());
        assert_eq!(server.peer_addr(), client.local_addr());
        let echoing = task::spawn("echo", echo(server));
        let (mut read, mut write) = client.split();
        let mut got = Vec::new();
        for n in 0..200usize {
            let parts = (0..n).map(|k| Bytes::from(vec![(n ^ k) as u8; k % 50]));
            let mut parts: Vec<Bytes> = parts.collect();
            let expect = parts.concat();
            write.write_all(&mut parts).await.unwrap();
            assert!(parts.is_empty());
            got.clear();
            while got.len() < expect.len() {
                got.extend_from_slice(&read.read().await.unwrap());
            }
            assert!(got == expect, "round {n}");
        }
        write.shutdown().await;
        assert!(read.read().await.unwrap().is_empty());
        assert!(read.read().await.unwrap().is_empty(), "the end stays the end");
        echoing.await.unwrap().unwrap();
    });
}

#[test]
fn large_batches_to_a_slow_reader_arrive_whole() {
    const LEN: usize = 24 << 20;
    on_core(|| async {
        let listener = listen().await;
        let addr = listener.local_addr();
        let reader = thread::spawn("slow reader", move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            let (_keep, pause) = std::sync::mpsc::channel::<()>();
            assert!(pause.recv_timeout(Duration::from_millis(100)).is_err());
            let mut all = Vec::new();
            let mut piece = vec![0; 50_000];
            loop {
                let got = stream.read(&mut piece).unwrap();
                if got == 0 {
                    return all;
                }
                all.extend_from_slice(&piece[..got]);
            }
        })
        .unwrap();
        let (_read, mut write) = listener.accept().await.unwrap().split();
        let data: Vec<u8> = (0..LEN).map(|n| (n / 3) as u8).collect();
        let data = Bytes::from(data);
        // 300 parts of odd sizes, some empty: several system calls, each of them short.
        let cuts: Vec<usize> = (0..=300).map(|n| n * LEN / 300 / 7 * 7).collect();
        let mut parts: Vec<Bytes> = cuts.windows(2).map(|w| data.slice(w[0]..w[1])).collect();
        parts.push(data.slice(cuts[300]..));
        parts.insert(5, Bytes::new());
        write.write_all(&mut parts).await.unwrap();
        write.shutdown().await;
        while !reader.is_finished() {
            time::sleep(Duration::from_millis(1)).await;
        }
        assert!(reader.join().unwrap() == data);
    });
}

#[test]
fn one_slow_reader_does_not_hold_up_the_others() {
    on_core(|| async {
        let (stuck, flooded) = pair().await;
        let (_read, mut write) = flooded.split();
        let flood = task::spawn("flood", async move {
            let mut parts = vec![Bytes::from(vec![1; 64 << 20])];
            write.write_all(&mut parts).await
        });
        time::sleep(Duration::from_millis(20)).await;
        let (client, server) = pair().await;
        let echoing = task::spawn("echo", echo(server));
        let (mut read, mut write) = client.split();
        let began = time::now();
        for _ in 0..100 {
            write.write_all(&mut vec![Bytes::from_static(b"ping")]).await.unwrap();
            assert_eq!(&*read.read().await.unwrap(), b"ping");
        }
        assert!(began.elapsed() < Duration::from_secs(2));
        drop((read, write));
        echoing.await.unwrap().unwrap();
        // The peer goes away: who waits to write is told.
        drop(stuck);
        assert!(flood.await.unwrap().is_err());
    });
}

#[test]
fn a_half_closed_peer_still_reads() {
    on_core(|| async {
        let listener = listen().await;
        let addr = listener.local_addr();
        let client = thread::spawn("client", move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(b"question").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
        .unwrap();
        let (mut read, mut write) = listener.accept().await.unwrap().split();
        let mut question = Vec::new();
        loop {
            let got = read.read().await.unwrap();
            if got.is_empty() {
                break;
            }
            question.extend_from_slice(&got);
        }
        assert_eq!(question, b"question");
        time::sleep(Duration::from_millis(5)).await;
        write.write_all(&mut vec![Bytes::from_static(b"answer")]).await.unwrap();
        drop((read, write));
        while !client.is_finished() {
            time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(client.join().unwrap(), "answer");
    });
}

#[test]
fn dropping_both_halves_with_a_read_armed_ends_the_stream() {
    on_core(|| async {
        let (client, server) = pair().await;
        let (mut read, write) = server.split();
        assert!(time::timeout(Duration::from_millis(5), read.read()).await.is_err());
        drop((read, write));
        let (mut read, _write) = client.split();
        let end = time::timeout(Duration::from_secs(5), read.read()).await;
        assert!(end.expect("the end arrives").unwrap().is_empty());
    });
}

#[test]
fn a_dropped_read_loses_no_byte() {
    on_core(|| async {
        let (client, server) = pair().await;
        let (mut read, _keep) = server.split();
        let (_keep_too, mut write) = client.split();
        let sending = task::spawn("sending", async move {
            for n in 0..2_000u32 {
                let part = Bytes::copy_from_slice(&n.to_le_bytes());
                write.write_all(&mut vec![part]).await.unwrap();
                if n % 3 == 0 {
                    time::sleep(Duration::from_micros(50)).await;
                }
            }
        });
        let mut all = Vec::new();
        while all.len() < 8_000 {
            if let Ok(got) = time::timeout(Duration::from_micros(20), read.read()).await {
                all.extend_from_slice(&got.unwrap());
            }
        }
        sending.await.unwrap();
        let expect: Vec<u8> = (0..2_000u32).flat_map(u32::to_le_bytes).collect();
        assert!(all == expect);
    });
}

#[test]
fn errors_name_the_address() {
    on_core(|| async {
        let listener = listen().await;
        let addr = listener.local_addr();
        let taken = Listener::bind(addr, false).await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert!(taken.to_string().contains(&addr.to_string()), "{taken}");
        drop(listener);
        let refused = Stream::connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(refused.to_string().contains(&addr.to_string()), "{refused}");
    });
}

#[test]
fn a_vanished_peer_is_an_error_or_an_end() {
    on_core(|| async {
        let (client, server) = pair().await;
        let (mut read, mut write) = server.split();
        drop(client);
        let mut rounds = 0;
        loop {
            let sent = write.write_all(&mut vec![Bytes::from(vec![0; 100_000])]).await;
            if sent.is_err() {
                break;
            }
            rounds += 1;
            assert!(rounds < 1_000);
            time::sleep(Duration::from_millis(1)).await;
        }
        if let Ok(got) = read.read().await {
            assert!(got.is_empty());
        }
    });
}

#[test]
fn cores_share_a_port() {
    let addr: SocketAddr = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let served = on_cores(2, move |me| async move {
        let listener = Listener::bind(addr, true).await.unwrap();
        let server = task::spawn("server", async move {
            let mut served = 0;
            loop {
                let next = time::timeout(Duration::from_millis(300), listener.accept()).await;
                let Ok(stream) = next else { return served };
                task::spawn("echo", echo(stream.unwrap())).detach();
                served += 1;
            }
        });
        time::sleep(Duration::from_millis(50)).await;
        if me == 0 {
            for _ in 0..40 {
                let (mut read, mut write) = Stream::connect(addr).await.unwrap().split();
                write.write_all(&mut vec![Bytes::from_static(b"x")]).await.unwrap();
                assert_eq!(&*read.read().await.unwrap(), b"x");
            }
        }
        server.await.unwrap()
    });
    assert_eq!(served.iter().sum::<i32>(), 40);
    assert!(served.iter().all(|&n| n > 0), "{served:?}");
}

//! Measurements, not run by default: `cargo test --release -p phantomdb-net --test connections
//! measure -- --ignored --nocapture --test-threads 1`. Server and client share the machine.

use crate::server::{Node, pause};
use async_io::block_on;
use futures::future::{join_all, try_join_all};
use net::server::Options;
use phantomdb_client::{Client, blocking, params};
use std::collections::VecDeque;
use std::time::Duration;

const LENGTH: Duration = Duration::from_secs(2);

/// Processor time of the calling thread.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn report(what: &str, requests: u64, wall: Duration, busy: Duration) {
    let rate = requests as f64 / wall.as_secs_f64();
    let cost = busy.as_nanos() as f64 / requests as f64;
    println!("{what}: {rate:.0} requests/s, client {cost:.0} ns of processor a request");
}

#[test]
#[ignore = "a measurement"]
fn async_clients_on_one_thread() {
    let node = Node::start(Options::default());
    for (connections, depth) in [(1, 1), (16, 1), (64, 1), (16, 32), (64, 32)] {
        let (began, busy) = (runtime::time::now(), processor_time());
        let requests: u64 = block_on(async {
            let url = node.url();
            let clients = try_join_all((0..connections).map(|_| Client::connect(&url)));
            let one = |client: Client| async move {
                let statement = client.prepare("any").await.unwrap();
                let mut done = 0;
                let mut flying = VecDeque::new();
                while began.elapsed() < LENGTH {
                    while flying.len() < depth {
                        flying.push_back(client.send(&statement, &params![1, 2]).await.unwrap());
                    }
                    for pending in flying.drain(..) {
                        pending.outcome().await.unwrap();
                        done += 1;
                    }
                }
                done
            };
            join_all(clients.await.unwrap().into_iter().map(one)).await.iter().sum()
        });
        let what = format!("async, {connections} connections, {depth} in flight");
        report(&what, requests, began.elapsed(), processor_time() - busy);
    }
}

#[test]
#[ignore = "a measurement"]
fn a_blocking_client() {
    let node = Node::start(Options::default());
    for depth in [1, 32, 256] {
        let mut client = blocking::Client::connect(&node.url()).unwrap();
        let statement = client.prepare("any").unwrap();
        let (began, busy) = (runtime::time::now(), processor_time());
        let mut done = 0;
        while began.elapsed() < LENGTH {
            let tickets: Vec<_> =
                (0..depth).map(|_| client.send(&statement, &params![1, 2]).unwrap()).collect();
            for ticket in tickets {
                client.take(ticket).unwrap();
                done += 1;
            }
        }
        let what = format!("blocking, 1 connection, {depth} in flight");
        report(&what, done, began.elapsed(), processor_time() - busy);
    }
}

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
#[ignore = "a measurement"]
fn idle_connections() {
    let node = Node::start(Options::default());
    let mut greeting = bytes::BytesMut::new();
    let hello = crate::hostile::hello();
    net::message::ClientMessage::Hello(hello).write(&mut greeting, net::frame::CONNECTION);
    let open = |count: usize| -> Vec<std::net::TcpStream> {
        (0..count)
            .map(|_| {
                let mut socket = std::net::TcpStream::connect(node.addr).unwrap();
                std::io::Write::write_all(&mut socket, &greeting).unwrap();
                socket
            })
            .collect()
    };
    let first = open(200);
    node.until("the first", |stats| stats.connections == 200 && stats.bytes_written > 0);
    pause(Duration::from_millis(500));
    let before = resident();
    let more = open(4000);
    node.until("the others", |stats| stats.connections == 4200);
    pause(Duration::from_millis(500));
    let each = (resident() - before) / more.len();
    println!("an idle connection: {each} bytes of the server's memory");
    drop(first);
}

//! Streams over a network that fails.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use bytes::Bytes;

use super::super::{Chance, LinkFaults, address_of};
use super::*;
use crate::net::{Listener, Stream};
use crate::{random, task, time};

const SECOND: Duration = Duration::from_secs(1);
const PORT: u16 = 7430;

fn door(node: u32) -> SocketAddr {
    SocketAddr::new(address_of(node), PORT)
}

fn everywhere() -> SocketAddr {
    SocketAddr::new([0, 0, 0, 0].into(), PORT)
}

/// Starts a node that sends back what it gets, until the peer ends.
fn start_echo(sim: &Sim, node: u32) {
    sim.start_node(node, 1, |_| {
        Box::pin(async {
            let listener = Listener::bind(everywhere(), true).await.unwrap();
            loop {
                let stream = listener.accept().await.unwrap();
                task::spawn("echo", async { drop(echo(stream).await) }).detach();
            }
        })
    });
}

async fn echo(stream: Stream) -> io::Result<()> {
    let (mut reading, mut writing) = stream.split();
    loop {
        let got = reading.read().await?;
        if got.is_empty() {
            return Ok(());
        }
        writing.write_all(&mut vec![Bytes::copy_from_slice(&got)]).await?;
    }
}

/// A client of an echo node: one round trip at a time.
struct Client(crate::net::ReadHalf, crate::net::WriteHalf);

impl Client {
    async fn new(node: u32) -> io::Result<Client> {
        let (reading, writing) = Stream::connect(door(node)).await?.split();
        Ok(Client(reading, writing))
    }

    async fn send(&mut self, text: &'static [u8]) -> io::Result<()> {
        self.1.write_all(&mut vec![Bytes::from_static(text)]).await
    }

    async fn receive(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut got = Vec::new();
        while got.len() < len {
            let part = self.0.read().await?;
            if part.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            got.extend_from_slice(&part);
        }
        Ok(got)
    }

    async fn round_trip(&mut self) -> io::Result<Duration> {
        let began = time::now();
        self.send(b"ping").await?;
        assert_eq!(self.receive(4).await?, b"ping");
        Ok(began.elapsed())
    }
}

#[test]
fn bytes_arrive_in_order_and_in_pieces() {
    let mut all_pieces = 0;
    for seed in 0..30 {
        let sim = sim(seed);
        sim.network().change(|faults| faults.loss = Chance::percent(5));
        start_echo(&sim, 1);
        let pieces = sim.run_until(async {
            let stream = loop {
                match Stream::connect(door(1)).await {
                    Ok(stream) => break stream,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
                }
            };
            assert_eq!(stream.peer_addr(), door(1));
            assert_eq!(stream.local_addr().ip(), address_of(CLIENT));
            let mut sent = vec![0; 300_000];
            random::fill(&mut sent);
            let (mut reading, mut writing) = stream.split();
            let bytes = Bytes::from(sent.clone());
            let writer = task::spawn("write", async move {
                let mut at = 0;
                while at < bytes.len() {
                    let end = (at + 1 + random::below(40_000) as usize).min(bytes.len());
                    writing.write_all(&mut vec![bytes.slice(at..end)]).await.unwrap();
                    at = end;
                }
                writing.shutdown().await;
            });
            let (mut got, mut pieces) = (Vec::new(), 0);
            loop {
                let part = reading.read().await.unwrap();
                if part.is_empty() {
                    break;
                }
                got.extend_from_slice(&part);
                pieces += 1;
            }
            writer.await.unwrap();
            assert!(got == sent, "seed {seed}");
            pieces
        });
        all_pieces += pieces.unwrap();
        sim.run_for(SECOND).unwrap();
        assert_eq!(sim.network().connections(), 0);
    }
    assert!(all_pieces > 180, "{all_pieces}");
}

#[test]
fn nobody_there() {
    let sim = sim(1);
    sim.start_node(1, 1, |_| Box::pin(std::future::pending()));
    sim.run_until(async {
        let refused = Stream::connect(door(1)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let began = time::now();
        let silent = Stream::connect(door(2)).await.unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::TimedOut);
        assert!(began.elapsed() >= 9 * SECOND);
        let nowhere = Stream::connect("192.0.2.1:1".parse().unwrap()).await.unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::NetworkUnreachable);
    })
    .unwrap();
}

#[test]
fn doors_are_shared_or_taken() {
    let sim = sim(2);
    let served = Rc::new(RefCell::new([0; 2]));
    let counts = served.clone();
    sim.start_node(1, 2, move |core| {
        let counts = counts.clone();
        Box::pin(async move {
            let listener = Listener::bind(everywhere(), true).await.unwrap();
            assert_eq!(listener.local_addr(), everywhere());
            loop {
                drop(listener.accept().await.unwrap());
                counts.borrow_mut()[usize::from(core)] += 1;
            }
        })
    });
    sim.run_until(async {
        time::sleep(MS).await;
        for _ in 0..50 {
            let (mut reading, _writing) = Stream::connect(door(1)).await.unwrap().split();
            assert!(reading.read().await.unwrap().is_empty());
        }
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let taken = Listener::bind(first.local_addr(), false).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let alien = Listener::bind(door(1), false).await.unwrap_err();
        assert_eq!(alien.kind(), ErrorKind::AddrNotAvailable);
        let (one, two) = (first.accept(), Stream::connect(first.local_addr()));
        let (one, two) = futures::join!(one, two);
        assert_eq!(one.unwrap().peer_addr(), two.unwrap().local_addr());
    })
    .unwrap();
    assert!(served.borrow().iter().all(|&count| count > 10), "{served:?}");
}

#[test]
fn a_cut_link_delays_until_it_is_mended() {
    let sim = sim(3);
    start_echo(&sim, 1);
    sim.run_until(async {
        time::sleep(MS).await;
        let mut client = Client::new(1).await.unwrap();
        assert!(client.round_trip().await.unwrap() < 2 * MS);
        sim.network().partition(&[&[CLIENT], &[1]]);
        assert!(sim.network().is_cut(1, CLIENT) && sim.network().is_cut(CLIENT, 1));
        let healed = async {
            time::sleep(3 * SECOND).await;
            sim.network().heal();
        };
        let (took, ()) = futures::join!(client.round_trip(), healed);
        assert!((3..9).contains(&took.unwrap().as_secs()));
        // One direction is enough: the question passes, the answer does not.
        sim.network().cut(1, CLIENT);
        assert!(time::timeout(SECOND, client.round_trip()).await.is_err());
        sim.network().mend(1, CLIENT);
        assert_eq!(client.receive(4).await.unwrap(), b"ping");
        sim.network().isolate(1);
        assert!(time::timeout(SECOND, Client::new(1)).await.is_err());
    })
    .unwrap();
}

#[test]
fn a_link_that_stays_cut_ends_whoever_sends() {
    let sim = sim(4);
    start_echo(&sim, 1);
    sim.run_until(async {
        time::sleep(MS).await;
        let mut sender = Client::new(1).await.unwrap();
        let mut waiter = Client::new(1).await.unwrap();
        sim.network().isolate(1);
        sender.send(b"ping").await.unwrap();
        let error = sender.receive(4).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(time::timeout(100 * SECOND, waiter.receive(1)).await.is_err());
    })
    .unwrap();
}

#[test]
fn a_process_that_dies_is_heard_and_one_without_power_is_not() {
    let (mut ends, mut resets) = (0, 0);
    for seed in 0..40 {
        let sim = sim(seed);
        start_echo(&sim, 1);
        sim.run_until(async {
            time::sleep(MS).await;
            let mut client = Client::new(1).await.unwrap();
            client.round_trip().await.unwrap();
            if seed % 2 == 0 {
                client.send(b"lost").await.unwrap();
                time::sleep(Duration::from_micros(random::below(400))).await;
            }
            sim.crash(1, Loss::Process);
            match client.receive(100).await.unwrap_err().kind() {
                ErrorKind::UnexpectedEof => ends += 1,
                ErrorKind::ConnectionReset => resets += 1,
                other => panic!("{other:?}"),
            }
            let refused = Client::new(1).await.err().map(|error| error.kind());
            assert_eq!(refused, Some(ErrorKind::ConnectionRefused));

            start_echo(&sim, 1);
            time::sleep(MS).await;
            let mut client = Client::new(1).await.unwrap();
            sim.crash(1, Loss::Power);
            assert!(time::timeout(100 * SECOND, client.receive(1)).await.is_err());
            start_echo(&sim, 1);
            client.send(b"do you know me").await.unwrap();
            assert_eq!(client.receive(1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            Client::new(1).await.unwrap().round_trip().await.unwrap();
        })
        .unwrap();
    }
    assert!(ends > 5 && resets > 0, "{ends} {resets}");
}

#[test]
fn a_peer_that_does_not_read_stops_the_writer() {
    let sim = sim(6);
    sim.start_node(1, 1, |_| {
        Box::pin(async {
            let listener = Listener::bind(everywhere(), false).await.unwrap();
            let _kept = listener.accept().await.unwrap();
            std::future::pending().await
        })
    });
    let sent = Cell::new(0);
    sim.run_until(async {
        time::sleep(MS).await;
        let mut client = Client::new(1).await.unwrap();
        let endless = async {
            loop {
                client.send(&[0; 10_000]).await.unwrap();
                sent.set(sent.get() + 10_000);
            }
        };
        let never: Result<(), _> = time::timeout(SECOND, endless).await;
        assert!(never.is_err());
    })
    .unwrap();
    assert!((200_000..=262_144).contains(&sent.get()), "{sent:?}");
}

#[test]
fn links_are_slow_lossy_and_dirty_as_told() {
    let sim = sim(7);
    start_echo(&sim, 1);
    sim.run_until(async {
        time::sleep(MS).await;
        let mut client = Client::new(1).await.unwrap();
        let slow = LinkFaults { extra_delay: 50 * MS..60 * MS, loss: Chance::NEVER };
        sim.network().set_link(CLIENT, 1, slow);
        assert!((50..62).contains(&client.round_trip().await.unwrap().as_millis()));
        sim.network().heal();
        sim.network().change(|faults| faults.loss = Chance::percent(30));
        let mut late = 0;
        for _ in 0..100 {
            late += usize::from(client.round_trip().await.unwrap() > 200 * MS);
        }
        assert!((30..80).contains(&late), "{late}");
        // There and back, each at most as long as a sender has patience.
        sim.network().change(|faults| faults.loss = Chance::ALWAYS);
        let worst = client.round_trip().await.unwrap();
        assert!((20 * SECOND..30 * SECOND).contains(&worst), "{worst:?}");
        sim.network().change(|faults| {
            faults.loss = Chance::NEVER;
            faults.corrupt = Chance::percent(50);
        });
        let mut dirty = 0;
        for _ in 0..100 {
            client.send(b"ping").await.unwrap();
            dirty += usize::from(client.receive(4).await.unwrap() != b"ping");
        }
        assert!((50..100).contains(&dirty), "{dirty}");
        sim.network().change(|faults| faults.reset = Chance::ALWAYS);
        assert_eq!(client.send(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn connections_can_be_dropped_under_their_users() {
    let sim = sim(8);
    start_echo(&sim, 1);
    start_echo(&sim, 2);
    sim.run_until(async {
        time::sleep(MS).await;
        let mut one = Client::new(1).await.unwrap();
        let mut two = Client::new(2).await.unwrap();
        assert_eq!(sim.network().connections(), 2);
        assert_eq!(sim.network().drop_connections(1, CLIENT), 1);
        assert_eq!(one.send(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        two.round_trip().await.unwrap();
        drop((one, two));
        time::sleep(SECOND).await;
        assert_eq!(sim.network().connections(), 0);
    })
    .unwrap();
}

#[test]
fn nodes_reach_only_their_own_group() {
    let sim = sim(9);
    let heard = Rc::new(RefCell::new(Vec::new()));
    for node in 1..=4 {
        start_echo(&sim, node);
    }
    sim.network().partition(&[&[1, 2], &[3, 4, 5]]);
    let hears = heard.clone();
    sim.start_node(5, 1, move |_| {
        let hears = hears.clone();
        Box::pin(async move {
            time::sleep(MS).await;
            for node in 1..=4 {
                if let Ok(Ok(_)) = time::timeout(SECOND, Client::new(node)).await {
                    hears.borrow_mut().push(node);
                }
            }
        })
    });
    sim.run_for(5 * SECOND).unwrap();
    assert_eq!(*heard.borrow(), [3, 4]);
    sim.run_until(async { Client::new(1).await.unwrap().round_trip().await.unwrap() }).unwrap();
}

#[test]
fn an_attempt_that_is_dropped_leaves_nothing() {
    let sim = sim(10);
    start_echo(&sim, 1);
    sim.run_until(async {
        time::sleep(MS).await;
        for micros in (0..1_000).step_by(20) {
            let _ = time::timeout(Duration::from_micros(micros), Client::new(1)).await;
        }
        time::sleep(SECOND).await;
    })
    .unwrap();
    assert_eq!(sim.network().connections(), 0);
}

/// Several clients, several servers, crashes of both kinds, cuts: the same twice.
#[test]
fn a_bad_day_is_one_run_a_seed() {
    let day = |seed| {
        let sim = sim(seed);
        sim.network().change(|faults| faults.loss = Chance::percent(3));
        let done = Rc::new(Cell::new(0));
        for node in 1..=3 {
            start_echo(&sim, node);
        }
        for node in 11..=13 {
            let done = done.clone();
            sim.start_node(node, 1, move |_| {
                let done = done.clone();
                Box::pin(async move {
                    loop {
                        time::sleep(Duration::from_micros(random::below(5_000))).await;
                        let wanted = 1 + random::below(3) as u32;
                        let talk = async {
                            let mut client = Client::new(wanted).await?;
                            client.round_trip().await
                        };
                        if let Ok(Ok(_)) = time::timeout(SECOND, talk).await {
                            done.set(done.get() + 1);
                        }
                    }
                })
            });
        }
        for _ in 0..20 {
            sim.run_for(sim.random().duration(MS, 300 * MS)).unwrap();
            let node = 1 + sim.random().below(3) as u32;
            match sim.random().below(4) {
                0 => sim.network().isolate(node),
                1 => sim.network().heal(),
                choice if sim.is_running(node) => {
                    sim.crash(node, if choice == 2 { Loss::Power } else { Loss::Process });
                }
                _ => start_echo(&sim, node),
            }
        }
        assert_eq!(sim.panics(), [], "seed {seed}");
        let result = (sim.trace_hash(), sim.steps(), done.get());
        let world = Rc::downgrade(&sim.0);
        drop(sim);
        assert!(world.upgrade().is_none(), "seed {seed}: something keeps the world alive");
        result
    };
    for seed in 0..20 {
        let (one, two) = (day(seed), day(seed));
        assert_eq!(one, two, "seed {seed}");
        assert!(one.2 > 10, "seed {seed}: {one:?}");
    }
}

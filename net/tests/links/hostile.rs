//! Peers that are none of ours: they say nothing, too much, or what has no place.

use crate::node::{CLUSTER, Cluster, MS, SECOND, Wish, body, door, place};
use bytes::{Bytes, BytesMut};
use hmac::{Hmac, Mac};
use model::placement::Place;
use net::frame::{CONNECTION, Frame, FrameDecoder, FrameError, Kind, StreamId};
use net::link::{Doubt, LinkEnd, LinkError, LinkEvent, LinkOptions, Refusal, Service, Undelivered};
use net::message::{
    NODE_MAGIC, NodeChallenge, NodeHello, NodeMessage, NodeProof, NodeRefused, NodeRelay,
    NodeWelcome, PROOF_BYTES,
};
use runtime::net::{Listener, ReadHalf, Stream, WriteHalf};
use runtime::{task, time};
use sha2::Sha256;

const ONE: Place = Place { node: model::id::NodeId(1), core: model::id::CoreId(0) };
const TWO: Place = Place { node: model::id::NodeId(2), core: model::id::CoreId(0) };
const TOKEN: &[u8] = b"the token of the tests, 32 bytes";

/// The proof as `docs/formats/wire.md` has it, written down a second time.
fn proof(label: &str, hello: &[u8], challenge: &[u8], more: &[u8]) -> [u8; PROOF_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN).unwrap();
    for part in [format!("phantomdb link: {label}").as_bytes(), hello, challenge, more] {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// One end of a connection, by hand.
struct Raw {
    read: ReadHalf,
    write: WriteHalf,
    decoder: FrameDecoder,
}

impl Raw {
    fn new(stream: Stream) -> Raw {
        let (read, write) = stream.split();
        Raw { read, write, decoder: FrameDecoder::new(1 << 20) }
    }

    async fn say(&mut self, message: &NodeMessage, stream: u32) {
        let mut out = BytesMut::new();
        message.write(&mut out, StreamId(stream));
        self.bytes(&out).await;
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        // Who has been turned away has been told in the test's way.
        let _ended = self.write.write_all(&mut vec![Bytes::copy_from_slice(bytes)]).await;
    }

    /// The next frame, or `None` at the end.
    async fn hear(&mut self) -> Option<(NodeMessage, Frame)> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some((NodeMessage::read(&frame).unwrap(), frame));
            }
            let received = self.read.read().await.ok().filter(|bytes| !bytes.is_empty())?;
            self.decoder.feed(Bytes::copy_from_slice(&received));
        }
    }

    /// Dials as node 2 does, with the right token.
    async fn dial() -> Raw {
        let mut raw = Raw::new(Stream::connect(door(ONE)).await.unwrap());
        let hello = hello();
        raw.say(&NodeMessage::Hello(hello.clone()), 0).await;
        let (_, challenge) = raw.hear().await.unwrap();
        assert_eq!(challenge.kind, Kind::NodeChallenge);
        let clock = time::wall_clock().as_nanos();
        let wall = clock.to_le_bytes();
        let proof = proof("dialler", &payload(&hello), &challenge.payload, &wall);
        raw.say(&NodeMessage::Proof(NodeProof { clock, proof }), 0).await;
        let (NodeMessage::Welcome(welcome), _) = raw.hear().await.unwrap() else { panic!() };
        let expected = self::proof("accepter", &payload(&hello), &challenge.payload, &[]);
        assert_eq!(welcome.proof, expected);
        raw
    }
}

fn payload(hello: &NodeHello) -> Vec<u8> {
    let mut out = BytesMut::new();
    NodeMessage::Hello(hello.clone()).encode(&mut out);
    out.to_vec()
}

fn hello() -> NodeHello {
    NodeHello {
        magic: NODE_MAGIC,
        version_min: 1,
        version_max: 1,
        cluster: CLUSTER,
        from: TWO,
        incarnation: 4,
        to: ONE,
        link_before: 0,
        build: "by hand".to_owned(),
        nonce: [9; PROOF_BYTES],
    }
}

/// Node 1 alone; whatever it dials is the test's.
fn alone(seed: u64) -> Cluster {
    let cluster = Cluster::empty(seed, 2, 1, LinkOptions::default());
    cluster.start(1, 1);
    cluster
}

/// Node 2 is a listener that does this with a connection.
fn start<F: Future<Output = ()> + 'static>(cluster: &Cluster, with: fn(Raw) -> F) {
    cluster.sim.start_node(2, 1, move |_| {
        Box::pin(async move {
            let listener = Listener::bind(door(TWO), true).await.unwrap();
            loop {
                let raw = Raw::new(listener.accept().await.unwrap());
                task::spawn("peer", with(raw)).detach();
            }
        })
    });
    cluster.sim.run_for(MS).unwrap();
}

/// Why node 1 got no link with it, and how long that took.
fn unsent(cluster: &Cluster) -> (LinkEnd, std::time::Duration) {
    let (error, took) = cluster.on(ONE, |core| async move {
        let began = time::now();
        (core.echo(TWO, 1, 60 * SECOND).await.unwrap_err(), began.elapsed())
    });
    match error {
        LinkError::NotDelivered(Undelivered::Unsent(reason)) => (reason, took),
        other => panic!("{other}"),
    }
}

#[test]
fn a_peer_that_accepts_and_never_answers() {
    let cluster = alone(1);
    start(&cluster, |raw| async move {
        let _held = raw;
        time::sleep(600 * SECOND).await;
    });
    let (reason, took) = unsent(&cluster);
    assert!(matches!(reason, LinkEnd::Timeout { action: "shake hands", .. }), "{reason}");
    assert!(took < 2 * SECOND + 100 * MS);
}

#[test]
fn a_peer_that_speaks_another_language() {
    let cluster = alone(2);
    start(&cluster, |mut raw| async move {
        raw.bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        time::sleep(SECOND).await;
    });
    let (reason, _) = unsent(&cluster);
    assert!(matches!(reason, LinkEnd::Protocol(FrameError::TooLong { .. })), "{reason}");
}

#[test]
fn an_accepter_without_the_token_is_not_believed() {
    let cluster = alone(3);
    start(&cluster, |mut raw| async move {
        raw.hear().await.unwrap();
        let challenge = NodeChallenge {
            version: 1,
            cluster: CLUSTER,
            from: TWO,
            incarnation: 4,
            link: 77,
            build: "by hand".to_owned(),
            nonce: [8; PROOF_BYTES],
            clock: time::wall_clock().as_nanos(),
        };
        raw.say(&NodeMessage::Challenge(challenge), 0).await;
        raw.hear().await.unwrap();
        raw.say(&NodeMessage::Welcome(NodeWelcome { proof: [0; PROOF_BYTES] }), 0).await;
        time::sleep(SECOND).await;
    });
    let (reason, _) = unsent(&cluster);
    assert!(matches!(reason, LinkEnd::Unwanted(Refusal::Secret)), "{reason}");
}

#[test]
fn a_stranger_cannot_end_a_node_by_saying_that_it_is_superseded() {
    let cluster = alone(4);
    start(&cluster, |mut raw| async move {
        raw.hear().await.unwrap();
        let (code, detail, proof) = (4, u64::MAX, [0; PROOF_BYTES]);
        let refused = NodeRefused { code, detail, proof, text: String::new() };
        raw.say(&NodeMessage::Refused(refused), 0).await;
        time::sleep(SECOND).await;
    });
    let (reason, _) = unsent(&cluster);
    assert!(matches!(reason, LinkEnd::OutOfPlace(_)), "{reason}");
    let superseded = |event: &LinkEvent| matches!(event, LinkEvent::Superseded { .. });
    assert_eq!(cluster.core(ONE).events(superseded), 0);
}

#[test]
fn a_replayed_proof_and_nonsense_are_turned_away() {
    let cluster = alone(5);
    let told = cluster.sim.run_until(async {
        let mut raw = Raw::new(Stream::connect(door(ONE)).await.unwrap());
        raw.say(&NodeMessage::Hello(hello()), 0).await;
        let (_, challenge) = raw.hear().await.unwrap();
        // A proof of another exchange: the nonce was another one.
        let old = proof("dialler", &payload(&hello()), &challenge.payload[1..], &[0; 8]);
        raw.say(&NodeMessage::Proof(NodeProof { clock: 0, proof: old }), 0).await;
        let told = raw.hear().await;
        assert!(raw.hear().await.is_none());

        // A post before the handshake, a cut hello, a hello of another protocol.
        for nonsense in 0..3 {
            let mut raw = Raw::new(Stream::connect(door(ONE)).await.unwrap());
            match nonsense {
                0 => {
                    let post = NodeMessage::Post { service: 3, body: body(1, 1, Wish::Echo, 0) };
                    let mut out = BytesMut::new();
                    post.write(&mut out, CONNECTION);
                    raw.bytes(&out).await;
                    // The door takes it for a client, and answers as to one.
                    while raw.read.read().await.is_ok_and(|bytes| !bytes.is_empty()) {}
                }
                1 => {
                    let mut out = BytesMut::new();
                    NodeMessage::Hello(hello()).write(&mut out, CONNECTION);
                    raw.bytes(&out[..out.len() - 1]).await;
                    raw.write.shutdown().await;
                    assert!(raw.hear().await.is_none());
                }
                _ => {
                    raw.say(&NodeMessage::Hello(NodeHello { magic: 1, ..hello() }), 0).await;
                    let Some((NodeMessage::Refused(refused), _)) = raw.hear().await else {
                        panic!()
                    };
                    assert_eq!((refused.code, refused.detail), (1, 1));
                }
            }
        }
        told
    });
    let Some((NodeMessage::Refused(refused), _)) = told.unwrap() else { panic!() };
    assert_eq!(refused.code, 6);
    let record = cluster.core(ONE).record;
    assert_eq!(record.borrow().posts, 0);
    cluster.check();
}

/// What ends a link that is up, and why.
#[test]
fn what_has_no_place_on_a_link_ends_it() {
    type Act = fn(&mut BytesMut);
    let acts: [(&str, Act); 6] = [
        ("a length of 2 GiB", |out| out.extend_from_slice(&[0, 0, 0, 0x80, 135, 0, 0, 0])),
        ("a frame of a client", |out| {
            net::message::ClientMessage::Ping(1).write(out, CONNECTION);
        }),
        ("a second hello", |out| NodeMessage::Hello(hello()).write(out, CONNECTION)),
        ("a damaged frame", |out| {
            NodeMessage::Ping(7).write(out, CONNECTION);
            out[17] ^= 1;
        }),
        ("a call on stream 0", |out| {
            let call = NodeMessage::Call { service: 1, patience: 9, body: Bytes::new() };
            call.write(out, CONNECTION);
        }),
        ("a message that was passed on twice", |out| {
            let message = Box::new(NodeMessage::Post { service: 1, body: Bytes::new() });
            let (origin, destination) = (place(5, 0), place(6, 0));
            let (incarnation, route, sequence) = (1, 1, 0);
            let relay = NodeRelay { origin, incarnation, destination, route, sequence, message };
            NodeMessage::Relay(relay).write(out, CONNECTION);
        }),
    ];
    for (number, (what, act)) in acts.into_iter().enumerate() {
        let cluster = alone(10 + number as u64);
        let took = cluster.sim.run_until(async {
            let mut raw = Raw::dial().await;
            let mut out = BytesMut::new();
            act(&mut out);
            raw.bytes(&out).await;
            let began = time::now();
            while raw.hear().await.is_some() {}
            began.elapsed()
        });
        assert!(took.unwrap() < 10 * MS, "{what}");
        let broken = |event: &LinkEvent| matches!(event, LinkEvent::Broken { .. });
        assert_eq!(cluster.core(ONE).events(broken), 1, "{what}");
        cluster.check();
    }
}

#[test]
fn an_unknown_service_is_answered_and_the_link_stays() {
    let cluster = alone(20);
    let heard = cluster.sim.run_until(async {
        let mut raw = Raw::dial().await;
        for service in [0, 5, 255] {
            raw.say(&NodeMessage::Post { service, body: Bytes::new() }, 0).await;
            raw.say(&NodeMessage::Call { service, patience: 9, body: Bytes::new() }, 7).await;
            let (fault, frame) = raw.hear().await.unwrap();
            assert_eq!((fault, frame.stream.0, frame.end), (NodeMessage::Fault(1), 7, true));
        }
        // Answers and pongs that nobody waits for.
        raw.say(&NodeMessage::Answer { body: Bytes::new() }, 99).await;
        raw.say(&NodeMessage::Fault(3), 98).await;
        let body = body(4, 1, Wish::Echo, 0);
        raw.say(&NodeMessage::Call { service: 1, patience: 1_000, body: body.clone() }, 8).await;
        (raw.hear().await.unwrap().0, body)
    });
    let (answer, body) = heard.unwrap();
    assert_eq!(answer, NodeMessage::Answer { body });
    assert_eq!(cluster.core(ONE).stats(TWO).unwrap().dropped, 3);
    cluster.check();
}

#[test]
fn a_peer_that_speaks_and_never_reads() {
    let cluster = alone(21);
    let speaking = cluster.sim.run_until(async {
        let mut raw = Raw::dial().await;
        let speaks = async move {
            for number in 0..100 {
                raw.say(&NodeMessage::Ping(number), 0).await;
                time::sleep(SECOND / 2).await;
            }
        };
        (task::spawn("speaks", speaks),)
    });
    let (error, took) = cluster.on(ONE, |core| async move {
        let began = time::now();
        let call = body(1, 1, Wish::Echo, 4 << 20);
        let call = core.links.call(TWO, Service::Engine, call, began + 60 * SECOND);
        (call.await.unwrap_err(), began.elapsed())
    });
    let LinkError::InDoubt(Doubt::Broken(reason)) = &error else { panic!("{error}") };
    assert!(matches!(reason, LinkEnd::Timeout { action: "take a write", .. }), "{error}");
    let limit = LinkOptions::default().write_timeout;
    assert!(took >= limit && took < limit + SECOND, "{took:?}");
    drop(speaking);
    cluster.check();
}

/// What is said on a route of node 3 to node 1, passed on by hand.
fn relayed(route: u64, sequence: u32, message: NodeMessage) -> NodeMessage {
    let (origin, destination) = (place(3, 0), ONE);
    let message = Box::new(message);
    let incarnation = 4;
    NodeMessage::Relay(NodeRelay { origin, incarnation, destination, route, sequence, message })
}

/// What a route is paired with, as `docs/formats/wire.md` has it.
fn pairing(incarnation: u64, route: u64, paired: u8) -> NodeMessage {
    let body = [&incarnation.to_le_bytes()[..], &route.to_le_bytes(), &[paired]].concat();
    NodeMessage::Post { service: 0, body: body.into() }
}

/// The next that node 1 says to node 3, but for pings: the message, its route, and its number there.
async fn hear_relayed(raw: &mut Raw) -> (NodeMessage, u64, u32) {
    loop {
        if let NodeMessage::Relay(relay) = raw.hear().await.unwrap().0 {
            assert_eq!((relay.origin, relay.destination), (ONE, place(3, 0)));
            return (*relay.message, relay.route, relay.sequence);
        }
    }
}

#[test]
fn two_routes_are_a_pair_and_end_together() {
    let cluster = alone(22);
    let heard = cluster.sim.run_until(async {
        let mut raw = Raw::dial().await;
        let call = |number| {
            let body = body(4, number, Wish::Echo, 0);
            NodeMessage::Call { service: 1, patience: 1_000, body }
        };
        // Of a version that says nothing of pairs; then of one that does, and it holds.
        raw.say(&relayed(1, 0, call(1)), 7).await;
        let (said, own, sequence) = hear_relayed(&mut raw).await;
        assert_eq!((said, sequence), (pairing(4, 1, 1), 0));
        assert!(matches!(hear_relayed(&mut raw).await, (NodeMessage::Answer { .. }, 1, 0)));
        raw.say(&relayed(1, 1, pairing(1, own, 1)), 0).await;
        // It is said again and again.
        assert_eq!(hear_relayed(&mut raw).await, (pairing(4, 1, 1), own, 1));
        // A newer route: what was before is over, and that is said to both.
        raw.say(&relayed(2, 0, pairing(1, own, 0)), 0).await;
        let (said, newer, sequence) = hear_relayed(&mut raw).await;
        assert!((said, sequence) == (pairing(4, 2, 1), 0) && newer > own);
        assert_eq!(hear_relayed(&mut raw).await, (NodeMessage::Fault(4), 1, 1));
        // Of before, out of order, and paired with what is over: refused, and the last one ends what is.
        raw.say(&relayed(1, 2, call(2)), 8).await;
        assert_eq!(hear_relayed(&mut raw).await, (NodeMessage::Fault(4), 1, 1));
        raw.say(&relayed(3, 0, pairing(1, own, 1)), 0).await;
        assert_eq!(hear_relayed(&mut raw).await, (NodeMessage::Fault(4), 2, 1));
        assert_eq!(hear_relayed(&mut raw).await, (NodeMessage::Fault(4), 3, 1));
        raw.say(&relayed(4, 1, call(3)), 9).await;
        assert_eq!(hear_relayed(&mut raw).await, (NodeMessage::Fault(4), 4, 1));
        // Too short to say anything of a pair.
        let short = NodeMessage::Post { service: 0, body: Bytes::from_static(b"short") };
        raw.say(&relayed(5, 0, short), 0).await;
        assert_eq!(hear_relayed(&mut raw).await.0, pairing(4, 5, 1));
    });
    heard.unwrap();
    let broken = |event: &LinkEvent| matches!(event, LinkEvent::Broken { .. });
    assert_eq!(cluster.core(ONE).events(broken), 2);
    assert_eq!(cluster.core(ONE).record.borrow().acted.len(), 1);
    cluster.check();
}

//! The layout of datagrams, and that damaged ones are refused.

use super::super::codec::{CodecError, GossipCodec};
use super::super::{Life, Membership, Peer, Refused, Settings};
use super::world::peer;
use foca::{Codec, Header, Member, Message, State};
use model::id::NodeId;
use proptest::prelude::*;
use runtime::random::Rng;
use runtime::time::Instant;

fn header(message: Message<Peer>) -> Header<Peer> {
    Header { src: peer(1, 2), src_incarnation: 3, dst: peer(4, 5), message }
}

fn messages() -> Vec<Message<Peer>> {
    let third = || peer(6, 7);
    vec![
        Message::Ping(9),
        Message::Ack(9),
        Message::PingReq { target: third(), probe_number: 9 },
        Message::IndirectPing { origin: third(), probe_number: 9 },
        Message::IndirectAck { target: third(), probe_number: 9 },
        Message::ForwardedAck { origin: third(), probe_number: 9 },
        Message::Announce,
        Message::Feed,
        Message::Gossip,
        Message::Broadcast,
        Message::TurnUndead,
    ]
}

#[test]
fn the_layout_is_the_documented_one() {
    let mut bytes = Vec::new();
    GossipCodec.encode_header(&header(messages()[2].clone()), &mut bytes).expect("it fits");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = concat!(
        "01",                   // version
        "01000000020000000000", // from: node, start, renewal
        "040a000001",           // its address
        "0400",
        "4c1d4d1d4e1d4f1d",     // its ports
        "0300",                 // its incarnation
        "04000000050000000000", // to
        "03",
        "09",                   // PingReq, the probe
        "06000000070000000000", // the target
    );
    assert_eq!(hex, expected);
    let member = Member::new(peer(1, 2), 3, State::Suspect);
    let mut bytes = Vec::new();
    GossipCodec.encode_member(&member, &mut bytes).expect("it fits");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "01000000020000000000040a00000104004c1d4d1d4e1d4f1d030001");
}

#[test]
fn what_is_written_is_read_alike() {
    for message in messages() {
        let mut bytes = Vec::new();
        GossipCodec.encode_header(&header(message.clone()), &mut bytes).expect("it fits");
        let mut rest = bytes.as_slice();
        let read = GossipCodec.decode_header(&mut rest).expect("it is whole");
        assert_eq!(read, header(message));
        assert_eq!(read.src.ports, peer(1, 2).ports);
        assert!(rest.is_empty());
        for length in 0..bytes.len() {
            let cut = GossipCodec.decode_header(&mut &bytes[..length]);
            assert_eq!(cut, Err(CodecError::TooShort));
        }
    }
    let six = Peer { host: "::1".parse().expect("an address"), ..peer(1, 2) };
    for state in [State::Alive, State::Suspect, State::Down] {
        let member = Member::new(six.clone(), 8, state);
        let mut bytes = Vec::new();
        GossipCodec.encode_member(&member, &mut bytes).expect("it fits");
        let read = GossipCodec.decode_member(&mut bytes.as_slice()).expect("it is whole");
        assert_eq!((read.state(), read.id().host), (state, six.host));
    }
}

#[test]
fn what_does_not_fit_leaves_nothing_behind() {
    let mut buffer = [0u8; 20];
    let mut room = &mut buffer[..];
    let member = Member::new(peer(1, 2), 3, State::Alive);
    assert_eq!(GossipCodec.encode_member(&member, &mut room), Err(CodecError::TooLong));
    assert_eq!(room.len(), 20);
}

fn membership() -> Membership {
    let now = Instant::from_nanos(1);
    Membership::new(peer(4, 5), Settings::default(), Rng::seeded(1), now)
}

#[test]
fn who_says_to_be_another_is_not_heeded() {
    let mut bytes = Vec::new();
    GossipCodec.encode_header(&header(Message::Announce), &mut bytes).expect("it fits");
    let mut membership = membership();
    let now = Instant::from_nanos(2);
    let refused = membership.handle(NodeId(2), &bytes, now).expect_err("a forgery");
    assert_eq!(refused.to_string(), "a datagram from node 2 says that it is from node 1");
    assert_eq!(membership.others().count(), 0);
    membership.handle(NodeId(1), &bytes, now).expect("it is what it says");
    assert_eq!(membership.others().count(), 1);
    bytes[0] = 2;
    let refused = membership.handle(NodeId(1), &bytes, now).expect_err("another version");
    assert!(matches!(refused, Refused::Malformed(CodecError::Version(2))));
}

#[test]
fn a_later_life_wins() {
    use foca::Identity;
    let early = peer(1, 2);
    let renewed = early.renew().expect("another life");
    assert!(renewed.win_addr_conflict(&early) && !early.win_addr_conflict(&renewed));
    assert!(peer(1, 3).win_addr_conflict(&renewed));
    let last = Peer { life: Life { start: 1, renewal: u16::MAX }, ..early };
    assert_eq!(last.renew(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_do_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..200), valid in any::<bool>()) {
        if valid {
            let mut head = Vec::new();
            GossipCodec.encode_header(&header(Message::Gossip), &mut head).expect("it fits");
            head.append(&mut bytes);
            bytes = head;
        }
        let mut membership = membership();
        // Refused or heeded: it lives, and knows no more than there are bytes for.
        let _heeded = membership.handle(NodeId(1), &bytes, Instant::from_nanos(2));
        membership.tick(Instant::from_nanos(3));
        prop_assert!(membership.others().count() < 20);
    }
}

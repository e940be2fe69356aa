//! Members as bytes: `docs/formats/gossip.md`.

use super::load::Report;
use super::peer::{Life, Peer};
use crate::cluster::decide::Load;
use bytes::{Buf, BufMut, TryGetError};
use foca::{Codec, Header, Member, Message, State};
use model::id::NodeId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The version of the layout: the first byte of each datagram.
const VERSION: u8 = 1;
/// The bytes of a peer whose addresses are not told.
const NAMED_BYTES: usize = 10;
/// The bytes of a member beside its peer.
const MEMBER_BYTES: usize = 3;
/// The bytes of a report.
const REPORT_BYTES: usize = 18;

/// Why a datagram cannot be read, or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It ends inside a field.
    #[error("a datagram ends inside a field")]
    TooShort,
    /// Of another version.
    #[error("a datagram has version {0}, this node knows version {VERSION}")]
    Version(u8),
    /// A field has a value that is not defined.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// There is no room for it.
    #[error("it does not fit into a datagram")]
    TooLong,
}

impl From<TryGetError> for CodecError {
    fn from(_: TryGetError) -> CodecError {
        CodecError::TooShort
    }
}

/// See `docs/formats/gossip.md`.
#[derive(Debug, Clone, Copy)]
pub(super) struct GossipCodec;

/// Who sent a datagram.
pub(super) fn sender(mut datagram: &[u8]) -> Result<NodeId, CodecError> {
    version(&mut datagram)?;
    Ok(NodeId(datagram.try_get_u32_le()?))
}

fn version(buf: &mut impl Buf) -> Result<(), CodecError> {
    match buf.try_get_u8()? {
        VERSION => Ok(()),
        other => Err(CodecError::Version(other)),
    }
}

fn room(buf: &impl BufMut, bytes: usize) -> Result<(), CodecError> {
    if buf.remaining_mut() < bytes { Err(CodecError::TooLong) } else { Ok(()) }
}

fn put_named(peer: &Peer, buf: &mut impl BufMut) {
    buf.put_u32_le(peer.node.0);
    buf.put_u32_le(peer.life.start);
    buf.put_u16_le(peer.life.renewal);
}

fn get_named(buf: &mut impl Buf) -> Result<(NodeId, Life), CodecError> {
    let node = NodeId(buf.try_get_u32_le()?);
    let start = buf.try_get_u32_le()?;
    Ok((node, Life { start, renewal: buf.try_get_u16_le()? }))
}

/// A peer of which it is not said where it is reached.
fn named((node, life): (NodeId, Life)) -> Peer {
    Peer { node, life, host: IpAddr::V4(Ipv4Addr::UNSPECIFIED), ports: Arc::default() }
}

fn peer_bytes(peer: &Peer) -> usize {
    let host = if peer.host.is_ipv4() { 4 } else { 16 };
    NAMED_BYTES + 1 + host + 2 + 2 * peer.ports.len()
}

fn put_peer(peer: &Peer, buf: &mut impl BufMut) {
    put_named(peer, buf);
    match peer.host {
        IpAddr::V4(host) => {
            buf.put_u8(4);
            buf.put_slice(&host.octets());
        }
        IpAddr::V6(host) => {
            buf.put_u8(6);
            buf.put_slice(&host.octets());
        }
    }
    // What does not fit into a datagram was refused; a datagram is far shorter than that.
    buf.put_u16_le(peer.ports.len() as u16);
    peer.ports.iter().for_each(|port| buf.put_u16_le(*port));
}

fn get_peer(buf: &mut impl Buf) -> Result<Peer, CodecError> {
    let (node, life) = get_named(buf)?;
    let host = match buf.try_get_u8()? {
        4 => {
            let mut octets = [0; 4];
            buf.try_copy_to_slice(&mut octets)?;
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        6 => {
            let mut octets = [0; 16];
            buf.try_copy_to_slice(&mut octets)?;
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return Err(CodecError::OutOfRange("the kind of an address")),
    };
    let ports = usize::from(buf.try_get_u16_le()?);
    if buf.remaining() < 2 * ports {
        return Err(CodecError::TooShort);
    }
    let ports = (0..ports).map(|_| buf.get_u16_le()).collect();
    Ok(Peer { node, life, host, ports })
}

/// The kind of a message, its probe, and the third one whom it is about.
fn parts(message: &Message<Peer>) -> (u8, Option<u8>, Option<&Peer>) {
    match message {
        Message::Ping(probe) => (1, Some(*probe), None),
        Message::Ack(probe) => (2, Some(*probe), None),
        Message::PingReq { target, probe_number } => (3, Some(*probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (4, Some(*probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (5, Some(*probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (6, Some(*probe_number), Some(origin)),
        Message::Announce => (7, None, None),
        Message::Feed => (8, None, None),
        Message::Gossip => (9, None, None),
        Message::Broadcast => (10, None, None),
        Message::TurnUndead => (11, None, None),
    }
}

fn get_message(buf: &mut impl Buf) -> Result<Message<Peer>, CodecError> {
    let kind = buf.try_get_u8()?;
    let probe_number = if matches!(kind, 1..=6) { buf.try_get_u8()? } else { 0 };
    let mut third = || get_named(buf).map(named);
    Ok(match kind {
        1 => Message::Ping(probe_number),
        2 => Message::Ack(probe_number),
        3 => Message::PingReq { target: third()?, probe_number },
        4 => Message::IndirectPing { origin: third()?, probe_number },
        5 => Message::IndirectAck { target: third()?, probe_number },
        6 => Message::ForwardedAck { origin: third()?, probe_number },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        10 => Message::Broadcast,
        11 => Message::TurnUndead,
        _ => return Err(CodecError::OutOfRange("the kind of a message")),
    })
}

impl Codec<Peer> for GossipCodec {
    type Error = CodecError;

    fn encode_header(
        &mut self,
        header: &Header<Peer>,
        mut buf: impl BufMut,
    ) -> Result<(), CodecError> {
        let (kind, probe, third) = parts(&header.message);
        let about = usize::from(probe.is_some()) + third.map_or(0, |_| NAMED_BYTES);
        room(&buf, 1 + peer_bytes(&header.src) + 2 + NAMED_BYTES + 1 + about)?;
        buf.put_u8(VERSION);
        put_peer(&header.src, &mut buf);
        buf.put_u16_le(header.src_incarnation);
        put_named(&header.dst, &mut buf);
        buf.put_u8(kind);
        if let Some(probe) = probe {
            buf.put_u8(probe);
        }
        if let Some(third) = third {
            put_named(third, &mut buf);
        }
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Peer>, CodecError> {
        version(&mut buf)?;
        Ok(Header {
            src: get_peer(&mut buf)?,
            src_incarnation: buf.try_get_u16_le()?,
            dst: named(get_named(&mut buf)?),
            message: get_message(&mut buf)?,
        })
    }

    fn encode_member(
        &mut self,
        member: &Member<Peer>,
        mut buf: impl BufMut,
    ) -> Result<(), CodecError> {
        room(&buf, peer_bytes(member.id()) + MEMBER_BYTES)?;
        put_peer(member.id(), &mut buf);
        buf.put_u16_le(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Peer>, CodecError> {
        let peer = get_peer(&mut buf)?;
        let incarnation = buf.try_get_u16_le()?;
        let state = match buf.try_get_u8()? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(CodecError::OutOfRange("the state of a member")),
        };
        Ok(Member::new(peer, incarnation, state))
    }
}

/// Whether a datagram of our own tells its receiver that it is taken for dead.
pub(super) fn is_of_death(mut datagram: &[u8]) -> bool {
    let header = GossipCodec.decode_header(&mut datagram);
    header.is_ok_and(|header| header.message == Message::TurnUndead)
}

/// Adds what is known of a member to a datagram of our own that has a list of such, unless that makes
/// it too long.
pub(super) fn add_member(datagram: &mut Vec<u8>, member: &Member<Peer>, bytes_max: usize) {
    let mut rest = datagram.as_slice();
    let Ok(header) = GossipCodec.decode_header(&mut rest) else { return };
    let listless =
        matches!(header.message, Message::Announce | Message::Broadcast | Message::TurnUndead);
    let at = datagram.len() - rest.len();
    let Some(count) = rest.first_chunk().map(|count| u16::from_be_bytes(*count)) else { return };
    let bytes = peer_bytes(member.id()) + MEMBER_BYTES;
    if listless || count == u16::MAX || datagram.len() + bytes > bytes_max {
        return;
    }
    let mut added = Vec::with_capacity(bytes);
    if GossipCodec.encode_member(member, &mut added).is_ok() {
        datagram[at..at + 2].copy_from_slice(&(count + 1).to_be_bytes());
        datagram.splice(at + 2..at + 2, added);
    }
}

/// A report as it travels.
pub(super) fn put_report(report: &Report) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REPORT_BYTES);
    put_named(&named((report.node, report.life)), &mut bytes);
    bytes.put_u32_le(report.sequence);
    bytes.put_u16_le(report.load.busy_permille);
    bytes.put_u16_le(report.load.disk_used_permille);
    bytes
}

/// Reads what [`put_report`] wrote. Later versions may add to it.
pub(super) fn get_report(mut bytes: &[u8]) -> Result<Report, CodecError> {
    let (node, life) = get_named(&mut bytes)?;
    let sequence = bytes.try_get_u32_le()?;
    let busy_permille = bytes.try_get_u16_le()?;
    let disk_used_permille = bytes.try_get_u16_le()?;
    Ok(Report { node, life, sequence, load: Load { busy_permille, disk_used_permille } })
}

//! A question of a node that has no id yet: one connection, one call.

use super::error::{Doubt, Fault, LinkEnd, LinkError, Undelivered};
use super::handshake::{self, Socket};
use super::message::{Payload, Service};
use super::options::{LINK_PAYLOAD_MAX, LinkOptions, LocalPeer, Secret};
use super::shared::{BODY_BYTES_MAX, Outbound};
use super::state::{Counters, Link};
use crate::frame::{CONNECTION, StreamId};
use crate::message::{NodeMessage, NodePong};
use bytes::{Bytes, BytesMut};
use model::id::NodeId;
use model::placement::Place;
use runtime::time::{self, Instant};
use std::net::SocketAddr;
use std::rc::Rc;

/// The stream of the only call.
const STREAM: StreamId = StreamId(1);

/// Calls a service of whatever node is at `addr`, before this one belongs to its cluster: `me` is
/// [`LocalPeer::stranger`]. Returns who has answered, and the answer.
///
/// # Errors
/// As for a call over a link.
pub async fn ask(
    addr: SocketAddr,
    me: &LocalPeer,
    secret: &Secret,
    options: &LinkOptions,
    service: Service,
    payload: impl Into<Payload>,
    deadline: Instant,
) -> Result<(Place, Bytes), LinkError> {
    let payload = payload.into();
    let bytes = payload.len();
    if bytes > BODY_BYTES_MAX {
        return Err(Undelivered::TooLong { bytes, max: BODY_BYTES_MAX }.into());
    }
    let anybody = Place { node: NodeId(0), core: Default::default() };
    let left = || deadline.saturating_since(time::now());
    let meeting = async {
        let mut socket = handshake::connect(addr, options).await?;
        let met = handshake::dial(me, secret, options, anybody, 0, &mut socket).await?;
        Ok((socket, met.place))
    };
    let (mut socket, place) = match time::timeout(left(), meeting).await {
        Ok(Ok(met)) => met,
        Ok(Err(reason)) => {
            return Err(Undelivered::Unreachable { place: anybody, reason }.into());
        }
        Err(_elapsed) => return Err(Undelivered::Deadline.into()),
    };
    socket.decoder.set_payload_max(LINK_PAYLOAD_MAX);
    let call = Outbound::Call { stream: STREAM, deadline };
    let answer = exchange(me, &mut socket, place, call.message(service), &payload);
    match time::timeout(left(), answer).await {
        Ok(Ok(answer)) => Ok((place, answer?)),
        Ok(Err(reason)) => Err(Doubt::Broken(reason).into()),
        Err(_elapsed) => Err(Doubt::Deadline.into()),
    }
}

async fn exchange(
    me: &LocalPeer,
    socket: &mut Socket,
    place: Place,
    (message, stream): (NodeMessage, StreamId),
    payload: &Payload,
) -> Result<Result<Bytes, LinkError>, LinkEnd> {
    let queue = Link::new(0, place, Rc::<Counters>::default());
    queue.append(&message, stream, payload);
    let mut parts = Vec::new();
    while queue.take(&mut parts) > 0 {
        socket.write.write_all(&mut parts).await?;
    }
    loop {
        let (message, frame) = socket.next().await?;
        match message {
            NodeMessage::Answer { body } if frame.stream == STREAM => return Ok(Ok(body)),
            NodeMessage::Fault(code) if frame.stream == STREAM => {
                return Ok(Err(Fault::error_of(code)));
            }
            NodeMessage::Ping(number) => {
                let clock = me.clock().as_nanos();
                let mut out = BytesMut::new();
                NodeMessage::Pong(NodePong { number, clock }).write(&mut out, CONNECTION);
                socket.write.write_all(&mut vec![out.freeze()]).await?;
            }
            NodeMessage::Refused(_) => return Err(LinkEnd::Closed),
            _ => return Err(LinkEnd::OutOfPlace("no answer to a question")),
        }
    }
}

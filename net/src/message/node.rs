//! What nodes say to each other.

use crate::codec::{Malformed, Reader, Wire, decode_all, wire_struct};
use crate::frame::{self, CONNECTION, Frame, FrameError, Kind, StreamId};
use bytes::{Buf, Bytes, BytesMut};
use model::id::{CoreId, NodeId};
use model::placement::Place;

/// What a node's hello begins with: the bytes `PHDN`.
pub const NODE_MAGIC: u32 = u32::from_le_bytes(*b"PHDN");

/// Bytes of a nonce and of a proof.
pub const PROOF_BYTES: usize = 32;

/// Longest name of a build.
pub const BUILD_BYTES_MAX: usize = 128;

impl Wire for Place {
    fn encode(&self, out: &mut BytesMut) {
        self.node.0.encode(out);
        self.core.0.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Place { node: NodeId(u32::decode(input)?), core: CoreId(u16::decode(input)?) })
    }
}

/// A nonce or a proof.
impl Wire for [u8; PROOF_BYTES] {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(self);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        input.array()
    }
}

wire_struct! {
    /// The first word of the node that dials.
    pub struct NodeHello {
        /// [`NODE_MAGIC`].
        pub magic: u32,
        /// Oldest version of the links' protocol it speaks.
        pub version_min: u16,
        /// Newest one.
        pub version_max: u16,
        /// Its cluster; 0 where it does not know one yet.
        pub cluster: u64,
        /// Who dials; node 0 has no id yet.
        pub from: Place,
        /// Which life of its process this is.
        pub incarnation: u64,
        /// Whom it means to reach; node 0 is whoever is there.
        pub to: Place,
        /// The link with that place it had last, 0 for none.
        pub link_before: u64,
        /// Its own version, for display; at most [`BUILD_BYTES_MAX`] bytes.
        pub build: String,
        /// Random.
        pub nonce: [u8; PROOF_BYTES],
    }
}

wire_struct! {
    /// The answer of the node that was dialled.
    pub struct NodeChallenge {
        /// The version both will speak.
        pub version: u16,
        /// Its cluster.
        pub cluster: u64,
        /// Who was reached.
        pub from: Place,
        /// Which life of its process this is.
        pub incarnation: u64,
        /// Names the link.
        pub link: u64,
        /// Its own version, for display; at most [`BUILD_BYTES_MAX`] bytes.
        pub build: String,
        /// Random.
        pub nonce: [u8; PROOF_BYTES],
        /// Its clock, in nanoseconds since the Unix epoch.
        pub clock: u64,
    }
}

wire_struct! {
    /// Shows that the dialling node knows the secret.
    pub struct NodeProof {
        /// Its clock, in nanoseconds since the Unix epoch.
        pub clock: u64,
        /// Of the secret over the exchange so far.
        pub proof: [u8; PROOF_BYTES],
    }
}

wire_struct! {
    /// Shows that the dialled node knows the secret. The link is up.
    pub struct NodeWelcome {
        /// Of the secret over the exchange so far.
        pub proof: [u8; PROOF_BYTES],
    }
}

wire_struct! {
    /// Why there is no link, or none any more; the connection ends behind it.
    pub struct NodeRefused {
        /// The number of the reason.
        pub code: u8,
        /// What belongs to the reason.
        pub detail: u64,
        /// Of the secret, once the other side has proved itself in the handshake; else zeros.
        pub proof: [u8; PROOF_BYTES],
        /// For display; at most [`BUILD_BYTES_MAX`] bytes.
        pub text: String,
    }
}

wire_struct! {
    /// The answer to a ping.
    pub struct NodePong {
        /// Of the ping.
        pub number: u64,
        /// The clock, in nanoseconds since the Unix epoch.
        pub clock: u64,
    }
}

wire_struct! {
    /// What a route through a third node is paired with: the body of a post to service 0 on it.
    #[derive(Default)]
    pub struct NodePairing {
        /// Which life of the destination's process the newest of its routes is of that the origin has taken
        /// anything from; 0 for none.
        pub incarnation: u64,
        /// Its number; 0 for none.
        pub route: u64,
        /// Whether that route and this one are a pair; or it is over.
        pub paired: bool,
    }
}

wire_struct! {
    /// What is said first on a link to where a route has led: the body of a post to service 0 on it.
    #[derive(Default)]
    pub struct NodeRoutesOver {
        /// Of the routes of who says it to the other end, those up to this number are over.
        pub route: u64,
    }
}

/// A message that a third node passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRelay {
    /// Who says it.
    pub origin: Place,
    /// Which life of the origin's process.
    pub incarnation: u64,
    /// For whom it is.
    pub destination: Place,
    /// Counts the routes of the origin's core; an answer carries that of its call.
    pub route: u64,
    /// Counts the posts and calls on the route, from 0; 0 in answers and faults.
    pub sequence: u32,
    /// A post, call, answer or fault.
    pub message: Box<NodeMessage>,
}

/// What a node may receive of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeMessage {
    /// First of all.
    Hello(NodeHello),
    /// Answer to the hello.
    Challenge(NodeChallenge),
    /// Answer to the challenge.
    Proof(NodeProof),
    /// The link is up.
    Welcome(NodeWelcome),
    /// There is no link.
    Refused(NodeRefused),
    /// To be answered with the same number.
    Ping(u64),
    /// The answer to a ping.
    Pong(NodePong),
    /// A message without an answer.
    Post {
        /// Whom it is for.
        service: u8,
        /// What it says.
        body: Bytes,
    },
    /// A message that is answered on its stream.
    Call {
        /// Whom it is for.
        service: u8,
        /// How long its sender waits for the answer, in milliseconds.
        patience: u32,
        /// What it says.
        body: Bytes,
    },
    /// The answer to the call of this stream.
    Answer {
        /// What it says.
        body: Bytes,
    },
    /// There is no answer to the call of this stream: the number of the reason.
    Fault(u8),
    /// A message that goes through a third node.
    Relay(NodeRelay),
}

impl NodeMessage {
    /// The kind of frame that carries it.
    pub fn kind(&self) -> Kind {
        match self {
            NodeMessage::Hello(_) => Kind::NodeHello,
            NodeMessage::Challenge(_) => Kind::NodeChallenge,
            NodeMessage::Proof(_) => Kind::NodeProof,
            NodeMessage::Welcome(_) => Kind::NodeWelcome,
            NodeMessage::Refused(_) => Kind::NodeRefused,
            NodeMessage::Ping(_) => Kind::NodePing,
            NodeMessage::Pong(_) => Kind::NodePong,
            NodeMessage::Post { .. } => Kind::NodePost,
            NodeMessage::Call { .. } => Kind::NodeCall,
            NodeMessage::Answer { .. } => Kind::NodeAnswer,
            NodeMessage::Fault(_) => Kind::NodeFault,
            NodeMessage::Relay(_) => Kind::NodeRelay,
        }
    }

    /// Whether nothing follows on its stream.
    pub fn ends_stream(&self) -> bool {
        match self {
            NodeMessage::Answer { .. } | NodeMessage::Fault(_) => true,
            NodeMessage::Relay(relay) => relay.message.ends_stream(),
            _ => false,
        }
    }

    /// Appends the payload. What is longer than its own body goes on behind it.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            NodeMessage::Hello(message) => message.encode(out),
            NodeMessage::Challenge(message) => message.encode(out),
            NodeMessage::Proof(message) => message.encode(out),
            NodeMessage::Welcome(message) => message.encode(out),
            NodeMessage::Refused(message) => message.encode(out),
            NodeMessage::Ping(number) => number.encode(out),
            NodeMessage::Pong(message) => message.encode(out),
            NodeMessage::Post { service, body } => {
                service.encode(out);
                out.extend_from_slice(body);
            }
            NodeMessage::Call { service, patience, body } => {
                service.encode(out);
                patience.encode(out);
                out.extend_from_slice(body);
            }
            NodeMessage::Answer { body } => out.extend_from_slice(body),
            NodeMessage::Fault(code) => code.encode(out),
            NodeMessage::Relay(relay) => {
                relay.origin.encode(out);
                relay.incarnation.encode(out);
                relay.destination.encode(out);
                relay.route.encode(out);
                relay.sequence.encode(out);
                (relay.message.kind() as u8).encode(out);
                relay.message.encode(out);
            }
        }
    }

    /// Appends the message as a frame of `stream`.
    pub fn write(&self, out: &mut BytesMut, stream: StreamId) {
        frame::write(out, self.kind(), stream, self.ends_stream(), |payload| self.encode(payload));
    }

    /// Reads the message of a frame that a node sent. A body is a slice of the frame's payload.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(frame: &Frame) -> Result<NodeMessage, FrameError> {
        let malformed = |cause| FrameError::Malformed { kind: frame.kind, cause };
        let message = NodeMessage::read_payload(frame.kind, &frame.payload).map_err(malformed)?;
        if !message.belongs_on(frame.stream) || message.ends_stream() != frame.end {
            return Err(malformed(Malformed::WrongStream));
        }
        Ok(message)
    }

    fn read_payload(kind: Kind, payload: &Bytes) -> Result<NodeMessage, Malformed> {
        Ok(match kind {
            Kind::NodeHello => {
                let hello: NodeHello = decode_all(payload)?;
                short(&hello.build)?;
                NodeMessage::Hello(hello)
            }
            Kind::NodeChallenge => {
                let challenge: NodeChallenge = decode_all(payload)?;
                short(&challenge.build)?;
                NodeMessage::Challenge(challenge)
            }
            Kind::NodeProof => NodeMessage::Proof(decode_all(payload)?),
            Kind::NodeWelcome => NodeMessage::Welcome(decode_all(payload)?),
            Kind::NodeRefused => {
                let refused: NodeRefused = decode_all(payload)?;
                short(&refused.text)?;
                NodeMessage::Refused(refused)
            }
            Kind::NodePing => NodeMessage::Ping(decode_all(payload)?),
            Kind::NodePong => NodeMessage::Pong(decode_all(payload)?),
            Kind::NodePost | Kind::NodeCall | Kind::NodeAnswer | Kind::NodeFault => {
                NodeMessage::read_service(kind, payload.clone())?
            }
            Kind::NodeRelay => NodeMessage::Relay(NodeRelay::read(payload)?),
            _ => return Err(Malformed::WrongDirection),
        })
    }

    /// What a service says: alone in a frame, or relayed.
    fn read_service(kind: Kind, mut payload: Bytes) -> Result<NodeMessage, Malformed> {
        let mut input = Reader::new(&payload);
        Ok(match kind {
            Kind::NodePost => {
                let service = u8::decode(&mut input)?;
                payload.advance(1);
                NodeMessage::Post { service, body: payload }
            }
            Kind::NodeCall => {
                let (service, patience) = (u8::decode(&mut input)?, u32::decode(&mut input)?);
                payload.advance(5);
                NodeMessage::Call { service, patience, body: payload }
            }
            Kind::NodeAnswer => NodeMessage::Answer { body: payload },
            Kind::NodeFault => NodeMessage::Fault(decode_all(&payload)?),
            _ => return Err(Malformed::OutOfRange("a relayed kind")),
        })
    }

    fn belongs_on(&self, stream: StreamId) -> bool {
        match self {
            NodeMessage::Call { .. } | NodeMessage::Answer { .. } | NodeMessage::Fault(_) => {
                stream != CONNECTION
            }
            NodeMessage::Relay(relay) => match *relay.message {
                // It tells of a post that was not passed on, which has no stream.
                NodeMessage::Fault(_) => true,
                ref message => message.belongs_on(stream),
            },
            _ => stream == CONNECTION,
        }
    }
}

impl NodeRelay {
    /// What stands in front of the relayed payload.
    const HEAD_BYTES: usize = 6 + 8 + 6 + 8 + 4 + 1;

    fn read(payload: &Bytes) -> Result<NodeRelay, Malformed> {
        let mut input = Reader::new(payload);
        let (origin, incarnation) = (Place::decode(&mut input)?, u64::decode(&mut input)?);
        let destination = Place::decode(&mut input)?;
        let (route, sequence) = (u64::decode(&mut input)?, u32::decode(&mut input)?);
        let kind = u8::decode(&mut input)?;
        let kind = Kind::from_number(kind).ok_or(Malformed::OutOfRange("a relayed kind"))?;
        let message = NodeMessage::read_service(kind, payload.slice(NodeRelay::HEAD_BYTES..))?;
        let message = Box::new(message);
        Ok(NodeRelay { origin, incarnation, destination, route, sequence, message })
    }
}

fn short(text: &str) -> Result<(), Malformed> {
    let fits = text.len() <= BUILD_BYTES_MAX;
    if fits { Ok(()) } else { Err(Malformed::OutOfRange("the length of a text")) }
}

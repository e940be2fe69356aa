//! The beginning of a link: who are you, and do you belong here?
//!
//! ```text
//!   dialled by A                                      accepted by B
//!   Hello: versions, cluster, A, whom it means ──►    compares
//!                     ◄── Challenge: version, B, clock, nonce
//!   Proof: clock, MAC over the exchange ──►           the secret, the clocks, the lives of A
//!                     ◄── Welcome: MAC over the exchange
//! ```
//!
//! Either side may say `Refused` instead. Who dials proves first: a stranger that knocks learns
//! nothing that depends on the secret. The MACs cover all that was said before, each with a label
//! of its own, so that neither can be sent back. What follows is neither encrypted nor signed: that
//! is TLS's part, where the door asks for it.

use super::clock::ClockReading;
use super::error::{LinkEnd, Refusal};
use super::options::{LinkOptions, LocalPeer, Secret};
use crate::frame::{CONNECTION, Frame, FrameDecoder, HANDSHAKE_PAYLOAD_MAX};
use crate::message::{
    BUILD_BYTES_MAX, NODE_MAGIC, NodeChallenge, NodeHello, NodeMessage, NodeProof, NodeRefused,
    NodeWelcome, PROOF_BYTES,
};
use crate::server::{Caller, ReadHalf, WriteHalf, split};
use bytes::{Bytes, BytesMut};
use hmac::{Hmac, Mac};
use model::id::NodeId;
use model::placement::Place;
use runtime::net::Stream;
use runtime::{random, time};
use sha2::Sha256;
use std::net::SocketAddr;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How long the last word may take.
pub(super) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a proof stands for, so that none can be used for another.
const OF_DIALLER: &[u8] = b"phantomdb link: dialler";
const OF_ACCEPTER: &[u8] = b"phantomdb link: accepter";
const OF_REFUSAL: &[u8] = b"phantomdb link: refusal";

/// A connection between two nodes and what has been read of it.
pub(super) struct Socket {
    pub(super) read: ReadHalf,
    pub(super) write: WriteHalf,
    pub(super) decoder: FrameDecoder,
}

/// What the two sides of a new link know of each other.
#[derive(Debug, Clone)]
pub(super) struct Introduced {
    pub(super) place: Place,
    pub(super) incarnation: u64,
    pub(super) build: String,
    pub(super) version: u16,
    pub(super) clock: ClockReading,
    /// Names the link.
    pub(super) link: u64,
    /// The link that the dialler had before.
    pub(super) link_before: u64,
}

/// All that was said, byte for byte.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    hello: Bytes,
    challenge: Bytes,
}

impl Transcript {
    /// The proof of knowing `secret`.
    fn mac(&self, secret: &Secret, label: &[u8], more: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes keys of any length");
        for part in [label, &self.hello, &self.challenge, more] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }

    fn prove(&self, secret: &Secret, label: &[u8], more: &[u8]) -> [u8; PROOF_BYTES] {
        self.mac(secret, label, more).finalize().into_bytes().into()
    }

    fn is_proof(&self, secret: &Secret, label: &[u8], more: &[u8], proof: &[u8]) -> bool {
        self.prove(secret, label, more).ct_eq(proof).into()
    }

    /// What the accepter says at the end.
    pub(super) fn welcome(&self, secret: &Secret) -> NodeMessage {
        NodeMessage::Welcome(NodeWelcome { proof: self.prove(secret, OF_ACCEPTER, &[]) })
    }

    /// What either says instead, once the other has proved itself.
    pub(super) fn refusal(&self, secret: &Secret, refusal: &Refusal) -> NodeMessage {
        let (code, detail) = refusal.to_wire();
        let proof = self.prove(secret, OF_REFUSAL, &refusal_bytes(code, detail));
        refused(refusal, proof)
    }

    /// What a refusal says that came in the handshake. That this process is superseded is believed
    /// only of who knows the secret: anybody else may have answered.
    fn read_refusal(&self, secret: &Secret, message: &NodeRefused) -> LinkEnd {
        let bytes = refusal_bytes(message.code, message.detail);
        let refusal = Refusal::from_wire(message.code, message.detail);
        let proved = self.is_proof(secret, OF_REFUSAL, &bytes, &message.proof);
        if matches!(refusal, Refusal::Superseded { .. }) && !proved {
            return LinkEnd::OutOfPlace("a refusal that is not proved");
        }
        LinkEnd::Refused(refusal)
    }
}

fn refusal_bytes(code: u8, detail: u64) -> Vec<u8> {
    let mut bytes = vec![code];
    bytes.extend_from_slice(&detail.to_le_bytes());
    bytes
}

fn refused(refusal: &Refusal, proof: [u8; PROOF_BYTES]) -> NodeMessage {
    let (code, detail) = refusal.to_wire();
    NodeMessage::Refused(NodeRefused { code, detail, proof, text: shortened(&refusal.to_string()) })
}

/// What a link that is up says at its end.
pub(super) fn farewell(refusal: &Refusal) -> NodeMessage {
    refused(refusal, [0; PROOF_BYTES])
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(BUILD_BYTES_MAX)].to_owned()
}

fn payload_of(message: &NodeMessage) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.freeze()
}

impl Socket {
    /// The next frame.
    pub(super) async fn next(&mut self) -> Result<(NodeMessage, Frame), LinkEnd> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok((NodeMessage::read(&frame)?, frame));
            }
            let received = self.read.read().await?;
            if received.is_empty() {
                return Err(LinkEnd::Closed);
            }
            self.decoder.feed(received.into());
        }
    }

    async fn say(&mut self, message: &NodeMessage) -> Result<(), LinkEnd> {
        let mut out = BytesMut::new();
        message.write(&mut out, CONNECTION);
        Ok(self.write.write_all(&mut vec![out.freeze()]).await?)
    }

    /// Tells the other side why, as far as it listens.
    pub(super) async fn refuse(&mut self, refusal: Refusal, message: NodeMessage) -> LinkEnd {
        // Who does not read, or is gone, learns it from the end of the stream.
        let _told = time::timeout(FAREWELL_TIMEOUT, self.say(&message)).await;
        self.write.shutdown().await;
        LinkEnd::Unwanted(refusal)
    }
}

/// Connects to `addr`, where `to` should be. The caller bounds the time.
pub(super) async fn connect(addr: SocketAddr, options: &LinkOptions) -> Result<Socket, LinkEnd> {
    let limit = options.connect_timeout;
    let connected = time::timeout(limit, Stream::connect(addr)).await;
    let timeout = LinkEnd::Timeout { action: "connect", limit };
    let stream = connected.map_err(|_elapsed| timeout)??;
    // In clear. A link that begins with TLS would turn both halves into encrypted ones here, as
    // `server::tls` does for who accepts: what follows asks the halves only.
    let (read, write) = split(stream);
    Ok(Socket { read, write, decoder: FrameDecoder::new(HANDSHAKE_PAYLOAD_MAX) })
}

/// The dialler's side, at most for the time of a handshake.
pub(super) async fn dial(
    me: &LocalPeer,
    secret: &Secret,
    options: &LinkOptions,
    to: Place,
    link_before: u64,
    socket: &mut Socket,
) -> Result<Introduced, LinkEnd> {
    let limit = options.handshake_timeout;
    let dialler = Dialler { me, secret, options, to };
    let done = time::timeout(limit, dialler.run(link_before, socket)).await;
    done.map_err(|_elapsed| LinkEnd::Timeout { action: "shake hands", limit })?
}

struct Dialler<'a> {
    me: &'a LocalPeer,
    secret: &'a Secret,
    options: &'a LinkOptions,
    to: Place,
}

impl Dialler<'_> {
    async fn run(&self, link_before: u64, socket: &mut Socket) -> Result<Introduced, LinkEnd> {
        let (me, secret) = (self.me, self.secret);
        let mut nonce = [0; PROOF_BYTES];
        random::fill_secret(&mut nonce);
        let hello = NodeMessage::Hello(NodeHello {
            magic: NODE_MAGIC,
            version_min: *me.versions.start(),
            version_max: *me.versions.end(),
            cluster: me.cluster,
            from: me.place,
            incarnation: me.incarnation,
            to: self.to,
            link_before,
            build: shortened(&me.build),
            nonce,
        });
        let mut said = Transcript { hello: payload_of(&hello), challenge: Bytes::new() };
        let asked = time::now();
        socket.say(&hello).await?;
        let challenge = match socket.next().await? {
            (NodeMessage::Challenge(challenge), frame) => {
                said.challenge = frame.payload;
                challenge
            }
            (NodeMessage::Refused(message), _) => return Err(said.read_refusal(secret, &message)),
            _ => return Err(LinkEnd::OutOfPlace("no challenge behind the hello")),
        };
        let reading = ClockReading::new(asked, time::now(), me.clock(), challenge.clock);
        if let Some(refusal) = self.judge(&challenge) {
            let message = refused(&refusal, [0; PROOF_BYTES]);
            return Err(socket.refuse(refusal, message).await);
        }
        let clock = me.clock().as_nanos();
        let proof = said.prove(secret, OF_DIALLER, &clock.to_le_bytes());
        socket.say(&NodeMessage::Proof(NodeProof { clock, proof })).await?;
        match socket.next().await? {
            (NodeMessage::Welcome(welcome), _) => {
                if !said.is_proof(secret, OF_ACCEPTER, &[], &welcome.proof) {
                    return Err(LinkEnd::Unwanted(Refusal::Secret));
                }
            }
            (NodeMessage::Refused(message), _) => return Err(said.read_refusal(secret, &message)),
            _ => return Err(LinkEnd::OutOfPlace("no welcome behind the proof")),
        }
        if reading.exceeds(self.options.clock_offset_max) {
            let refusal = Refusal::Clock { offset_nanos: reading.offset_nanos };
            return Err(socket.refuse(refusal.clone(), said.refusal(secret, &refusal)).await);
        }
        Ok(Introduced {
            place: challenge.from,
            incarnation: challenge.incarnation,
            build: challenge.build,
            version: challenge.version,
            clock: reading,
            link: challenge.link,
            link_before,
        })
    }

    /// What is wrong with who was reached.
    fn judge(&self, challenge: &NodeChallenge) -> Option<Refusal> {
        if !self.me.versions.contains(&challenge.version) {
            return Some(Refusal::Version { newest: *self.me.versions.end() });
        }
        if self.me.cluster != 0 && challenge.cluster != self.me.cluster {
            return Some(Refusal::ForeignCluster);
        }
        if self.to.node != NodeId(0) && challenge.from != self.to {
            return Some(Refusal::WrongPlace);
        }
        None
    }
}

/// The accepter's side up to the dialler's proof, at most for the time of a handshake. Whether it is
/// let in is then to be decided, and said by `Transcript::welcome` or `Transcript::refusal`.
pub(super) async fn receive(
    me: &LocalPeer,
    secret: &Secret,
    options: &LinkOptions,
    hello: &Frame,
    socket: &mut Socket,
) -> Result<(Introduced, Transcript), (Place, LinkEnd)> {
    let nobody = Place { node: NodeId(0), core: Default::default() };
    let message = match NodeMessage::read(hello) {
        Ok(NodeMessage::Hello(message)) => message,
        Ok(_) => return Err((nobody, LinkEnd::OutOfPlace("a link begins with a hello"))),
        Err(error) => return Err((nobody, error.into())),
    };
    let from = message.from;
    let limit = options.handshake_timeout;
    let accepter = Accepter { me, secret, options };
    let done = time::timeout(limit, accepter.run(message, hello, socket)).await;
    let timeout = LinkEnd::Timeout { action: "shake hands", limit };
    done.map_err(|_elapsed| timeout).flatten().map_err(|end| (from, end))
}

/// What a caller's connection consists of.
pub(super) fn socket_of(caller: Caller) -> (Socket, Frame) {
    let Caller { read, write, decoder, hello } = caller;
    (Socket { read, write, decoder }, hello)
}

struct Accepter<'a> {
    me: &'a LocalPeer,
    secret: &'a Secret,
    options: &'a LinkOptions,
}

impl Accepter<'_> {
    async fn run(
        &self,
        hello: NodeHello,
        frame: &Frame,
        socket: &mut Socket,
    ) -> Result<(Introduced, Transcript), LinkEnd> {
        let version = match self.judge(&hello) {
            Ok(version) => version,
            Err(refusal) => {
                let message = refused(&refusal, [0; PROOF_BYTES]);
                return Err(socket.refuse(refusal, message).await);
            }
        };
        let mut nonce = [0; PROOF_BYTES];
        random::fill_secret(&mut nonce);
        let asked = time::now();
        // 0 is no link.
        let link = random::next_u64().max(1);
        let challenge = NodeMessage::Challenge(NodeChallenge {
            version,
            cluster: self.me.cluster,
            from: self.me.place,
            incarnation: self.me.incarnation,
            link,
            build: shortened(&self.me.build),
            nonce,
            clock: self.me.clock().as_nanos(),
        });
        let said = Transcript { hello: frame.payload.clone(), challenge: payload_of(&challenge) };
        socket.say(&challenge).await?;
        let proof = match socket.next().await? {
            (NodeMessage::Proof(proof), _) => proof,
            (NodeMessage::Refused(message), _) => {
                return Err(said.read_refusal(self.secret, &message));
            }
            _ => return Err(LinkEnd::OutOfPlace("no proof behind the challenge")),
        };
        let clock = proof.clock.to_le_bytes();
        if !said.is_proof(self.secret, OF_DIALLER, &clock, &proof.proof) {
            let message = refused(&Refusal::Secret, [0; PROOF_BYTES]);
            return Err(socket.refuse(Refusal::Secret, message).await);
        }
        let clock = ClockReading::new(asked, time::now(), self.me.clock(), proof.clock);
        if clock.exceeds(self.options.clock_offset_max) {
            let refusal = Refusal::Clock { offset_nanos: clock.offset_nanos };
            let message = said.refusal(self.secret, &refusal);
            return Err(socket.refuse(refusal, message).await);
        }
        let NodeHello { from, incarnation, build, link_before, .. } = hello;
        let met = Introduced { place: from, incarnation, build, version, clock, link, link_before };
        Ok((met, said))
    }

    /// The version to speak, or what is wrong with who calls.
    fn judge(&self, hello: &NodeHello) -> Result<u16, Refusal> {
        let ours = &self.me.versions;
        let version = hello.version_max.min(*ours.end());
        let foreign = hello.magic != NODE_MAGIC;
        if foreign || version < hello.version_min || version < *ours.start() {
            return Err(Refusal::Version { newest: *ours.end() });
        }
        // Who has no cluster has no id, and the reverse.
        let stranger = hello.cluster == 0 && hello.from.node == NodeId(0);
        let member = hello.cluster == self.me.cluster && hello.from.node != NodeId(0);
        if !stranger && !member {
            return Err(Refusal::ForeignCluster);
        }
        if hello.to.node != NodeId(0) && hello.to != self.me.place {
            return Err(Refusal::WrongPlace);
        }
        match self.me.waits() {
            Some(refusal) => Err(refusal),
            None => Ok(version),
        }
    }
}

//! The beginning of a connection: TLS where the client begins with it, then the hello.

use super::reader::{FrameReader, farewell};
use super::shared::Shared;
use super::{Ended, ReadHalf, Requests, Responder, Server, WriteHalf, split, tls, writer};
use crate::frame::{CONNECTION, Frame, FrameDecoder, FrameError, HANDSHAKE_PAYLOAD_MAX, Kind};
use crate::message::{
    Authenticate, ClientMessage, Hello, MAGIC, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN,
    Placement, ServerMessage, TransactionStatus, Welcome,
};
use crate::scram::{self, ScramError, ServerAction};
use bytes::Bytes;
use model::error::{SqlError, SqlState};
use runtime::net::Stream;
use runtime::task;
use runtime::time::{self, Instant};
use std::net::SocketAddr;
use std::rc::Rc;

/// A connection whose client has said hello and waits to be let in.
///
/// The session looks at [`Handshake::hello`], lets the client [`Handshake::prove`] itself where it
/// must, and then either [`Handshake::welcome`]s or [`Handshake::refuse`]s.
pub struct Handshake {
    reader: FrameReader,
    shared: Rc<Shared>,
    began: Instant,
    peer: SocketAddr,
    encrypted: bool,
    hello: Hello,
    version: u16,
}

/// Who has come to the door.
pub enum Arrival {
    /// A client that waits to be let in.
    Client(Handshake),
    /// Another node, for [`crate::link::Links::accept`].
    Node(Caller),
}

/// The connection of another node that has said hello.
pub struct Caller {
    pub(crate) read: ReadHalf,
    pub(crate) write: WriteHalf,
    pub(crate) decoder: FrameDecoder,
    pub(crate) hello: Frame,
}

/// Why a client has not proved itself.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unproven {
    /// The connection is over.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The exchange failed.
    #[error(transparent)]
    Failed(#[from] ScramError),
}

/// What a session tells its client about itself.
#[derive(Debug, Clone)]
pub struct SessionInfo<'a> {
    /// The server's version, for display.
    pub server: &'a str,
    /// This node.
    pub node: u32,
    /// This core.
    pub core: u16,
    /// Names the session, until the node restarts.
    pub session: u64,
    /// The placement map.
    pub placement: &'a Placement,
}

impl Server {
    /// Starts a connection on this core and waits for the hello of a client or of another node.
    ///
    /// # Errors
    /// The client spoke something else, was too slow or went away; it has been told why.
    pub async fn handshake(&self, stream: Stream) -> Result<Arrival, Ended> {
        let peer = stream.peer_addr();
        let (mut read_half, mut write_half) = split(stream);
        let shared = Shared::new(self);
        let began = time::now();
        let read = match &self.tls {
            None => Vec::new(),
            Some(acceptor) => {
                let limit = self.options.handshake_timeout;
                // On the heap, and only until it is done: a session has no room for it.
                let begun = Box::pin(encrypt(acceptor, &mut read_half, &mut write_half));
                match time::timeout(limit, begun).await {
                    Ok(Ok(read)) => read,
                    // Without keys, or with wrong ones, there is nothing to tell it by.
                    Ok(Err(reason)) => return Err(shared.lost(reason)),
                    Err(_elapsed) => {
                        let reason = Ended::Timeout { action: "introduce itself", limit };
                        return Err(shared.lost(reason));
                    }
                }
            }
        };
        let encrypted = read_half.is_encrypted();
        let mut reader =
            FrameReader::new(read_half, read, HANDSHAKE_PAYLOAD_MAX, Rc::clone(&shared));
        let first = next_frame(&mut reader, &shared, began).await;
        if let Ok(hello) = &first
            && hello.kind == Kind::NodeHello
        {
            let (read, decoder) = reader.into_parts();
            let hello = hello.clone();
            return Ok(Arrival::Node(Caller { read, write: write_half, decoder, hello }));
        }
        // Whoever it is, it is a client's writer that answers.
        task::spawn("connection writer", writer::run(write_half, Rc::clone(&shared))).detach();
        let greeting = first.and_then(|frame| match client_message(&frame)? {
            ClientMessage::Hello(hello) => {
                let version = negotiate(&hello)?;
                Ok((hello, version))
            }
            _ => Err(Ended::OutOfPlace("a connection begins with a hello")),
        });
        match greeting {
            Ok((hello, version)) => {
                shared.window.set(hello.window);
                let handshake =
                    Handshake { reader, shared, began, peer, encrypted, hello, version };
                Ok(Arrival::Client(handshake))
            }
            Err(reason) => {
                end(&shared, &reason);
                Err(reason)
            }
        }
    }
}

/// Shakes hands by TLS where the client begins with it. Returns what it said in clear otherwise.
async fn encrypt(
    acceptor: &tls::Acceptor,
    read: &mut ReadHalf,
    write: &mut WriteHalf,
) -> Result<Vec<u8>, Ended> {
    let mut received = Vec::new();
    let begins_with_tls = loop {
        let more = read.read().await?;
        if more.is_empty() {
            return Err(if received.is_empty() { Ended::Closed } else { Ended::Truncated });
        }
        received.extend_from_slice(&more);
        if let Some(begins) = tls::is_client_hello(&received) {
            break begins;
        }
    };
    if begins_with_tls {
        acceptor.accept(read, write, std::mem::take(&mut received)).await?;
    }
    Ok(received)
}

/// Tells the client what went wrong, if there is something to tell, and closes.
fn end(shared: &Shared, reason: &Ended) {
    if let Some(error) = farewell(reason) {
        shared.queue_error(CONNECTION, TransactionStatus::Idle, error);
    }
    shared.end(reason.clone());
    shared.outlet.close();
}

fn negotiate(hello: &Hello) -> Result<u16, Ended> {
    if hello.magic != MAGIC {
        return Err(Ended::OutOfPlace("the hello does not carry PhantomDB's mark"));
    }
    let version = hello.version_max.min(PROTOCOL_VERSION_MAX);
    if version < hello.version_min || version < PROTOCOL_VERSION_MIN {
        return Err(Ended::Version { min: hello.version_min, max: hello.version_max });
    }
    if hello.window == 0 {
        return Err(Ended::OutOfPlace("the hello asks for streams without a window"));
    }
    Ok(version)
}

fn client_message(frame: &Frame) -> Result<ClientMessage, Ended> {
    if !matches!(frame.kind, Kind::Hello | Kind::Authentication) {
        return Err(Ended::OutOfPlace("a request before the handshake"));
    }
    ClientMessage::read(frame).map_err(|error: FrameError| error.into())
}

async fn next_message(
    reader: &mut FrameReader,
    shared: &Shared,
    began: Instant,
) -> Result<ClientMessage, Ended> {
    client_message(&next_frame(reader, shared, began).await?)
}

async fn next_frame(
    reader: &mut FrameReader,
    shared: &Shared,
    began: Instant,
) -> Result<Frame, Ended> {
    loop {
        if let Some(frame) = reader.buffered()? {
            return Ok(frame);
        }
        let limit = shared.options.handshake_timeout;
        let left = limit.saturating_sub(began.elapsed());
        match time::timeout(left, reader.fill()).await {
            Ok(read) => read?,
            Err(_) => return Err(Ended::Timeout { action: "introduce itself", limit }),
        }
    }
}

impl Handshake {
    /// What the client said.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Where the client is.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Whether nobody between can read what is said.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Has the client prove to `proof` that it knows the password, in the time that is left of the
    /// handshake.
    ///
    /// # Errors
    /// It did not: [`Unproven::Ended`] where the connection is over, of which it has been told;
    /// otherwise it is to be refused.
    pub async fn prove(&mut self, proof: &mut scram::Server) -> Result<(), Unproven> {
        let first = self.ask(Authenticate::SCRAM_SHA_256, Vec::new()).await?;
        let challenge = match proof.step(&first)? {
            ServerAction::Continue(challenge) => challenge,
            ServerAction::Done(_) => unreachable!("one message proves nothing"),
        };
        let last = self.ask(Authenticate::SCRAM_CONTINUE, challenge).await?;
        match proof.step(&last)? {
            ServerAction::Done(signature) => {
                self.tell(Authenticate::SCRAM_FINAL, signature);
                Ok(())
            }
            ServerAction::Continue(_) => unreachable!("two messages are the whole exchange"),
        }
    }

    fn tell(&self, step: u8, data: Vec<u8>) {
        let message = ServerMessage::Authenticate(Authenticate { step, data: data.into() });
        self.shared.queue(|out| message.write(out, CONNECTION, false));
    }

    async fn ask(&mut self, step: u8, data: Vec<u8>) -> Result<Bytes, Ended> {
        self.tell(step, data);
        self.shared.outlet.flush();
        let answer = match next_message(&mut self.reader, &self.shared, self.began).await {
            Ok(ClientMessage::Authentication(answer)) => return Ok(answer),
            Ok(_) => Ended::OutOfPlace("a second hello"),
            Err(reason) => reason,
        };
        end(&self.shared, &answer);
        Err(answer)
    }

    /// Tells the client why it is not let in, and closes.
    pub fn refuse(self, error: SqlError) {
        self.shared.queue_error(CONNECTION, TransactionStatus::Idle, error);
        self.shared.end(Ended::ByServer);
        self.shared.outlet.close();
    }

    /// Lets the client in. Requests sent behind the hello are already on their way.
    pub fn welcome(self, info: &SessionInfo<'_>) -> (Requests, Responder) {
        let Handshake { mut reader, shared, version, .. } = self;
        let options = &shared.options;
        let welcome = Welcome {
            version,
            server: info.server.to_owned(),
            node: info.node,
            core: info.core,
            session: info.session,
            frame_max: options.frame_max,
            streams_max: options.streams_max,
            request_bytes_max: options.request_bytes_max,
            placement: info.placement.clone(),
        };
        shared.queue(|out| ServerMessage::Welcome(welcome).write(out, CONNECTION, false));
        shared.outlet.flush();
        reader.set_payload_max(options.frame_max);
        let reader = task::spawn("connection reader", reader.run());
        (Requests::new(Rc::clone(&shared), reader), Responder::new(shared))
    }
}

/// The refusal of a version that this build does not speak.
pub(super) fn version_error(min: u16, max: u16) -> SqlError {
    let ours = format!("{PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX}");
    SqlError::new(
        SqlState::PROTOCOL_VIOLATION,
        format!("this server speaks protocol versions {ours}, the client {min} to {max}"),
    )
    .hint("Use a client of the same release as the server.")
}

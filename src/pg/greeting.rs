//! From a connection's first packet to a session.
//!
//! ```text
//!   SSLRequest ──► one byte: yes, and TLS from there on; or no, without a certificate
//!   GSSENCRequest ──► one byte: no
//!   CancelRequest ──► the session is cancelled; closed without a word
//!   StartupMessage ──► who may come in ──► settings ──► session, its parameters and cancel key
//! ```

use super::answer::Ends;
use super::authentication::{self, Claim, Refused};
use super::inlet::{Ended, Inlet, read_packet};
use super::wire::backend::{self, Severity};
use super::wire::startup::{self, Packet, Startup};
use super::{Door, Limits};
use crate::session::{CancelKey, Session, unencrypted};
use bytes::{Bytes, BytesMut};
use model::error::{SqlError, SqlState};
use net::server::{Outlet, ReadHalf, WriteHalf, split};
use runtime::net::Stream;
use runtime::task::{self, Task};
use runtime::time::{self, Instant};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// A client that is let in.
pub(super) struct Greeted {
    pub(super) session: Session,
    pub(super) ends: Ends,
    /// Cancelled with the conversation.
    _reader: Task<()>,
}

/// A connection before its ends have tasks of their own.
struct Raw {
    read: ReadHalf,
    write: WriteHalf,
    buffer: BytesMut,
    peer: SocketAddr,
    began: Instant,
    /// What was asked about encryption: each may be asked once.
    asked: Asked,
}

#[derive(Default)]
struct Asked {
    tls: bool,
    gss: bool,
}

/// Takes a connection to its session; `None` where there is none, which the client has been told.
/// Where the node is `full` (of so many connections), nobody is let in.
pub(super) async fn greet(door: &Rc<Door>, stream: Stream, full: Option<u32>) -> Option<Greeted> {
    let peer = stream.peer_addr();
    let (read, write) = split(stream);
    let asked = Asked::default();
    let mut raw = Raw { read, write, buffer: BytesMut::new(), peer, began: time::now(), asked };
    let startup = match first_packets(door, &mut raw).await {
        Ok(Some(startup)) => startup,
        Ok(None) => return None,
        Err(ended) => {
            if let Some(error) = ended.farewell() {
                refuse(raw.write, &door.limits, error).await;
            }
            return None;
        }
    };
    if let Some(connections_max) = full {
        refuse(raw.write, &door.limits, too_many(connections_max)).await;
        return None;
    }
    let encrypted = raw.read.is_encrypted();
    if door.encrypted_only && !encrypted {
        refuse(raw.write, &door.limits, unencrypted()).await;
        return None;
    }
    let Raw { read, write, buffer, peer, began, .. } = raw;
    let inlet = Rc::new(Inlet::new(door.limits.clone(), door.meter.clone(), buffer));
    let outlet = Rc::new(Outlet::new(door.limits.outgoing_bytes_high));
    let (writing, write_timeout) = (outlet.clone(), door.limits.write_timeout);
    let writer = async move {
        // Whoever waits for room learns from the outlet that the client is gone.
        let _reason = writing.run(write, write_timeout, |_bytes| {}).await;
    };
    task::spawn("postgres writer", writer).detach();
    let reading = inlet.clone();
    let reader = task::spawn("postgres reader", async move { reading.run(read).await });
    let ends = Ends { inlet, outlet };
    let claim = Claim { startup: &startup, peer, encrypted, began };
    let admitted = authentication::admit(door, &claim, &ends).await;
    let session = admitted.and_then(|mut session| {
        settings(&mut session, &startup)?;
        Ok(session)
    });
    match session {
        Ok(session) => {
            ends.inlet.let_in();
            welcome(&ends.outlet, &session, &startup);
            Some(Greeted { session, ends, _reader: reader })
        }
        Err(Refused(Some(error))) => {
            farewell(&ends.outlet, &error);
            None
        }
        Err(Refused(None)) => {
            ends.outlet.close();
            None
        }
    }
}

/// Answers packets up to the start; `None` where the connection was for something else.
async fn first_packets(door: &Door, raw: &mut Raw) -> Result<Option<Startup>, Ended> {
    loop {
        match read_packet(&mut raw.read, &mut raw.buffer, raw.began, &door.limits).await? {
            Packet::EncryptTls if !raw.asked.tls => {
                raw.asked.tls = true;
                if !raw.buffer.is_empty() {
                    return Err(Ended::Unencrypted("SSL"));
                }
                encrypt(door, raw).await?;
            }
            Packet::EncryptGss if !raw.asked.gss => {
                raw.asked.gss = true;
                if !raw.buffer.is_empty() {
                    return Err(Ended::Unencrypted("GSSAPI encryption"));
                }
                send(&mut raw.write, &door.limits, Bytes::from_static(b"N")).await?;
            }
            Packet::EncryptTls => return Err(startup::version_error(startup::ENCRYPT_TLS).into()),
            Packet::EncryptGss => return Err(startup::version_error(startup::ENCRYPT_GSS).into()),
            Packet::Cancel { process, secret } => {
                // Whether there was such a session is nobody's business.
                let _unknown = door.host.cancel(CancelKey { process, secret }).await;
                raw.write.shutdown().await;
                return Ok(None);
            }
            Packet::Startup(startup) => return Ok(Some(startup)),
        }
    }
}

/// Answers whether the connection may be encrypted, and shakes hands where it may.
async fn encrypt(door: &Door, raw: &mut Raw) -> Result<(), Ended> {
    let Some(acceptor) = &door.tls else {
        return Ok(send(&mut raw.write, &door.limits, Bytes::from_static(b"N")).await?);
    };
    send(&mut raw.write, &door.limits, Bytes::from_static(b"S")).await?;
    raw.asked.gss = true;
    let left = door.limits.startup_timeout.saturating_sub(raw.began.elapsed());
    // On the heap, and only until it is done: a session has no room for it.
    let shaken = Box::pin(acceptor.accept(&mut raw.read, &mut raw.write, Vec::new()));
    // Without keys there is nothing to tell a client by: it is an error of the socket.
    match time::timeout(left, shaken).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            log::debug!(peer = raw.peer.ip().to_canonical().to_string(); "a client did not come to TLS: {error}");
            Err(error.into())
        }
        Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

async fn send(write: &mut WriteHalf, limits: &Limits, bytes: Bytes) -> io::Result<()> {
    let mut bytes = vec![bytes];
    match time::timeout(limits.write_timeout, write.write_all(&mut bytes)).await {
        Ok(sent) => sent,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Tells a client that was not let in why, and closes.
async fn refuse(mut write: WriteHalf, limits: &Limits, error: SqlError) {
    let mut out = BytesMut::new();
    backend::report(&mut out, Severity::Fatal, &error);
    if send(&mut write, limits, out.freeze()).await.is_ok() {
        write.shutdown().await;
    }
}

/// Tells the client why the connection ends, and ends it when that has been sent.
pub(super) fn farewell(outlet: &Outlet, error: &SqlError) {
    // One who is gone needs no farewell.
    let _gone = outlet.queue(|out| backend::report(out, Severity::Fatal, error));
    outlet.close();
}

fn too_many(connections_max: u32) -> SqlError {
    SqlError::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
        .detail(format!("The node holds at most {connections_max} connections."))
        .hint("Close connections that are not needed, or raise connections-max.")
}

/// Sets what the start-up packet sets.
fn settings(session: &mut Session, startup: &Startup) -> Result<(), SqlError> {
    for (name, value) in &startup.parameters {
        match &**name {
            "user" | "database" => {}
            "options" => {
                let options = startup::settings(value).map_err(|word| {
                    SqlError::new(
                        SqlState::SYNTAX_ERROR,
                        format!("invalid command-line argument for server process: {word}"),
                    )
                })?;
                for (name, value) in options {
                    session.set(&name, &value)?;
                }
            }
            "replication" if matches!(&**value, "false" | "off" | "no" | "0") => {}
            "replication" => return Err(SqlError::unsupported("the replication protocol")),
            protocol if protocol.starts_with("_pq_.") => {}
            name => session.set(name, value)?,
        }
    }
    Ok(())
}

/// Tells the client that it is in, and what it should know.
fn welcome(outlet: &Outlet, session: &Session, startup: &Startup) {
    let CancelKey { process, secret } = session.cancel_key();
    let _gone = outlet.queue(|out| {
        let unknown: Vec<&str> = startup.protocol_options().collect();
        if startup.minor > 0 || !unknown.is_empty() {
            backend::negotiate_protocol_version(out, unknown.into_iter());
        }
        backend::authentication_ok(out);
        for (name, value) in session.reported() {
            backend::parameter_status(out, name, &value);
        }
        backend::backend_key_data(out, process, secret);
        backend::ready_for_query(out, session.standing());
    });
    outlet.flush();
}

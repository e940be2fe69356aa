//! One encrypted connection, without its socket: records in, plain bytes out, and the reverse.

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use std::io;
use std::sync::Arc;

/// Most that is held of what a client has not completed: the longest record, with its header. A
/// message of the handshake that is longer is no sensible one.
pub(super) const INCOMING_BYTES_MAX: usize = (16 << 10) + 2048 + 5;

/// Plain bytes in a record.
const FRAGMENT_BYTES: usize = 16 << 10;

/// What a record has besides: header, nonce, tag, kind. Where it has more, room is made.
const RECORD_OVERHEAD: usize = 32;

/// Room for the goodbye.
const GOODBYE_BYTES: usize = 64;

/// The state of one connection, shared by its halves. Holds no buffer while nothing is under way.
pub(crate) struct Session {
    engine: UnbufferedServerConnection,
    /// The beginning of a record, or of a message of the handshake.
    incoming: Vec<u8>,
    /// Decrypted and not taken yet.
    plain: Vec<u8>,
    /// What the protocol itself has to say: it leaves before what is sealed next.
    outgoing: Vec<u8>,
    /// The client has said goodbye.
    ended: bool,
    /// Why nothing more can be read or written.
    failed: Option<Arc<str>>,
}

impl Session {
    pub(super) fn new(config: &Arc<ServerConfig>) -> io::Result<Session> {
        let engine =
            UnbufferedServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Session {
            engine,
            incoming: Vec::new(),
            plain: Vec::new(),
            outgoing: Vec::new(),
            ended: false,
            failed: None,
        })
    }

    /// Takes what a read brought, and does what follows from it.
    pub(crate) fn receive(&mut self, bytes: Vec<u8>) {
        if self.incoming.is_empty() {
            self.incoming = bytes;
        } else {
            self.incoming.extend_from_slice(&bytes);
        }
        self.advance();
        if self.incoming.len() > INCOMING_BYTES_MAX {
            self.fail("a message of the handshake is longer than a record");
        }
    }

    /// Whether the handshake is done.
    pub(super) fn is_open(&self) -> bool {
        !self.engine.is_handshaking()
    }

    /// Whether the client has said goodbye.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether a record has begun to arrive.
    pub(crate) fn holds_partial_record(&self) -> bool {
        !self.incoming.is_empty()
    }

    /// What its buffers take.
    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.incoming.capacity() + self.plain.capacity() + self.outgoing.capacity()
    }

    /// What was decrypted.
    pub(crate) fn take_plain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    /// What the protocol itself has to say.
    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Whether the connection is still of use.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn check(&self) -> io::Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(reason) => Err(io::Error::new(io::ErrorKind::InvalidData, reason.to_string())),
        }
    }

    fn fail(&mut self, reason: &str) {
        self.failed.get_or_insert_with(|| reason.into());
    }

    /// Goes through what has arrived, until more has to arrive.
    fn advance(&mut self) {
        let mut done = 0;
        while self.failed.is_none() && self.step(&mut done) {}
        if self.failed.is_some() {
            self.say_what_is_wrong();
            done = self.incoming.len();
        }
        if done == self.incoming.len() {
            self.incoming = Vec::new();
        } else {
            self.incoming.drain(..done);
        }
    }

    /// One step of the engine, behind the first `done` bytes; whether there may be another.
    fn step(&mut self, done: &mut usize) -> bool {
        let rest = &mut self.incoming[*done..];
        let UnbufferedStatus { discard, state } = self.engine.process_tls_records(rest);
        *done += discard;
        let mut failed = None;
        let goes_on = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    self.plain.extend_from_slice(record.payload);
                    *done += record.discard;
                }
                true
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, &mut self.outgoing);
                true
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // It leaves with what is written next; nothing depends on when.
                data.done();
                true
            }
            Ok(ConnectionState::PeerClosed) => {
                self.ended = true;
                true
            }
            Ok(ConnectionState::Closed) => {
                self.ended = true;
                false
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => false,
            Ok(_) => {
                failed = Some("early data was not offered".to_owned());
                false
            }
            Err(error) => {
                failed = Some(error.to_string());
                false
            }
        };
        if let Some(reason) = failed {
            self.fail(&reason);
        }
        goes_on
    }

    /// Takes the alert that tells the client what is wrong. The engine must see no more input.
    fn say_what_is_wrong(&mut self) {
        while self.engine.wants_write() {
            let UnbufferedStatus { state, .. } = self.engine.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { break };
            encode(&mut data, &mut self.outgoing);
        }
    }

    /// Encrypts `parts`, behind what the protocol itself has to say.
    ///
    /// # Errors
    /// The connection has failed, or its keys are worn out.
    pub(crate) fn seal(&mut self, parts: &[Bytes]) -> io::Result<Vec<u8>> {
        self.check()?;
        if self.engine.wants_write() {
            self.advance();
        }
        let mut sealed = self.take_outgoing();
        let room = |plain: usize| plain + (plain / FRAGMENT_BYTES + 1) * RECORD_OVERHEAD;
        sealed.reserve_exact(parts.iter().map(|part| room(part.len())).sum());
        let mut writer = self.writer()?;
        for part in parts {
            let mut size = room(part.len());
            let start = sealed.len();
            loop {
                sealed.resize(start + size, 0);
                // New keys go out with the part: what they take is asked for once more.
                match writer.encrypt(part, &mut sealed[start..]) {
                    Ok(written) => {
                        sealed.truncate(start + written);
                        break;
                    }
                    Err(EncryptError::InsufficientSize(error)) => size = error.required_size,
                    Err(error) => return Err(io::Error::other(error)),
                }
            }
        }
        Ok(sealed)
    }

    /// What tells the client that nothing more comes, behind what the protocol itself has to say.
    pub(crate) fn close(&mut self) -> Vec<u8> {
        if self.failed.is_none() {
            self.advance();
        }
        let mut last = self.take_outgoing();
        if self.failed.is_none()
            && let Ok(mut writer) = self.writer()
        {
            let start = last.len();
            last.resize(start + GOODBYE_BYTES, 0);
            // Keys that are worn out have said goodbye already.
            let written = writer.queue_close_notify(&mut last[start..]).unwrap_or(0);
            last.truncate(start + written);
        }
        last
    }

    /// The engine's way out. What has arrived was gone through when it did, so there is nothing
    /// else for it to do; and it must see the same bytes again, where a message is partly there.
    fn writer(&mut self) -> io::Result<WriteTraffic<'_, rustls::server::ServerConnectionData>> {
        match self.engine.process_tls_records(&mut self.incoming).state {
            Ok(ConnectionState::WriteTraffic(writer)) => Ok(writer),
            Ok(_) => Err(io::ErrorKind::NotConnected.into()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// Appends a message of the handshake.
fn encode(
    data: &mut EncodeTlsData<'_, rustls::server::ServerConnectionData>,
    outgoing: &mut Vec<u8>,
) {
    let start = outgoing.len();
    if let Err(EncodeError::InsufficientSize(error)) = data.encode(&mut []) {
        outgoing.resize(start + error.required_size, 0);
        let written = data.encode(&mut outgoing[start..]);
        let written = written.expect("there is as much room as was asked for");
        outgoing.truncate(start + written);
    }
}

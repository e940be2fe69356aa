//! The protocol without I/O: bytes in, events out; requests in, bytes out.
//!
//! Both faces of the client drive this one state machine. Requests are encoded into one output
//! buffer, so that everything asked since the last write leaves with the next one; what a read
//! brings is cut into frames and each is put with its request, undecoded, so that the work of
//! decoding is done by whoever waits for it.

use crate::url::Options;
use crate::{Columns, Error};
use bytes::{BufMut, Bytes, BytesMut};
use model::types::DataType;
use model::value::Value;
use net::codec::Wire;
use net::frame::{self, CONNECTION, Frame, FrameDecoder, FrameError, Kind, StreamId};
use net::message::{
    Authenticate, ClientMessage, Complete, Hello, MAGIC, PROTOCOL_VERSION_MAX,
    PROTOCOL_VERSION_MIN, Placement, Prepared, Report, ServerMessage, TransactionStatus, Welcome,
};
use net::rows::RowBatch;
use net::scram;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::Waker;

/// Longest payload taken from a server: rows are no longer than its own limit, and this is above
/// any sensible one.
const PAYLOAD_MAX: u32 = 256 << 20;

/// Notices of the connection kept until they are asked for; older ones are dropped.
const NOTICES_MAX: usize = 256;

/// Most parameters of a statement: their count travels in 16 bits.
const PARAMETERS_MAX: usize = u16::MAX as usize;

const UNKNOWN_STEP: Error =
    Error::OutOfPlace("a way to authenticate that this client does not know");

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The columns of the rows that follow.
    Columns(Columns),
    /// Some rows.
    Rows(RowBatch),
    /// A statement is done; others of the same request may follow.
    Complete(Complete),
    /// A statement is prepared.
    Prepared(Prepared),
    /// Something worth telling.
    Notice(Arc<Report>),
}

/// What can be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request<'a> {
    Query(&'a str),
    Prepare { statement: u32, text: &'a str, types: &'a [DataType] },
    Execute { statement: u32, parameters: &'a [Value] },
    CloseStatement(u32),
}

#[derive(Debug, Default)]
struct Slot {
    /// The last frame has not arrived.
    open: bool,
    /// Someone waits for the answer; otherwise it is thrown away.
    held: bool,
    frames: VecDeque<Frame>,
    request_bytes: u64,
    /// Bytes of rows taken since the last credit.
    taken: u32,
    waker: Option<Waker>,
}

/// What the server said of itself and of the session.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// Its node's number.
    pub node: u32,
    /// The core on which the session lives.
    pub core: u16,
    /// Names the session.
    pub session: u64,
}

/// One connection's state.
pub(crate) struct Protocol {
    output: BytesMut,
    decoder: FrameDecoder,
    user: String,
    password: Option<String>,
    /// There once the server has asked for a proof.
    proof: Option<scram::Client>,
    /// The server has shown that it knows the password's verifier.
    server_proved: bool,
    welcomed: bool,
    info: Option<ServerInfo>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    open: usize,
    request_bytes: u64,
    streams_max: usize,
    request_bytes_max: u64,
    frame_max: usize,
    window: u32,
    transaction: TransactionStatus,
    placement: Arc<Placement>,
    notices: VecDeque<Arc<Report>>,
    draining: bool,
    failure: Option<Error>,
    /// Who waits for room for a request.
    room_wakers: Vec<Waker>,
}

impl Protocol {
    /// A connection about to say hello.
    pub(crate) fn new(options: &Options) -> Protocol {
        let mut output = BytesMut::new();
        let window = options.window.max(1);
        let hello = Hello {
            magic: MAGIC,
            version_min: PROTOCOL_VERSION_MIN,
            version_max: PROTOCOL_VERSION_MAX,
            user: options.user.clone(),
            database: options.database.clone(),
            application: options.application.clone(),
            window,
            settings: options.settings.clone(),
        };
        ClientMessage::Hello(hello).write(&mut output, CONNECTION);
        Protocol {
            output,
            decoder: FrameDecoder::new(PAYLOAD_MAX),
            user: options.user.clone(),
            password: options.password.clone(),
            proof: None,
            server_proved: false,
            welcomed: false,
            info: None,
            slots: Vec::new(),
            free: Vec::new(),
            open: 0,
            request_bytes: 0,
            streams_max: 0,
            request_bytes_max: 0,
            frame_max: 0,
            window,
            transaction: TransactionStatus::Idle,
            placement: Arc::default(),
            notices: VecDeque::new(),
            draining: false,
            failure: None,
            room_wakers: Vec::new(),
        }
    }

    /// Whether the handshake is done.
    pub(crate) fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    pub(crate) fn info(&self) -> Option<&ServerInfo> {
        self.info.as_ref()
    }

    pub(crate) fn transaction(&self) -> TransactionStatus {
        self.transaction
    }

    pub(crate) fn placement(&self) -> &Arc<Placement> {
        &self.placement
    }

    /// Whether the server asked for the connection to be given up when convenient.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Requests not answered to their end.
    pub(crate) fn open_streams(&self) -> usize {
        self.open
    }

    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// The notices that belong to no request.
    pub(crate) fn take_notices(&mut self) -> Vec<Arc<Report>> {
        self.notices.drain(..).collect()
    }

    /// Bytes to send.
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Whether the server takes one more request now. What is in flight has to be answered first
    /// otherwise.
    pub(crate) fn has_room(&self) -> bool {
        self.open == 0
            || (self.open < self.streams_max && self.request_bytes < self.request_bytes_max)
    }

    /// Has `waker` called when a request ends or the connection's own state changes.
    pub(crate) fn wait_for_room(&mut self, waker: &Waker) {
        self.room_wakers.push(waker.clone());
    }

    /// Queues a request. [`Protocol::has_room`] should hold, or the server refuses it.
    pub(crate) fn start(&mut self, request: Request<'_>) -> Result<StreamId, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if let Request::Execute { parameters, .. } = request
            && parameters.len() > PARAMETERS_MAX
        {
            return Err(Error::TooManyParameters { count: parameters.len(), max: PARAMETERS_MAX });
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let stream = StreamId(index + 1);
        match self.encode(stream, request) {
            Ok(bytes) => {
                self.request_bytes += bytes as u64;
                let slot = &mut self.slots[index as usize];
                *slot = Slot {
                    open: true,
                    held: true,
                    frames: std::mem::take(&mut slot.frames),
                    request_bytes: bytes as u64,
                    taken: 0,
                    waker: None,
                };
                self.open += 1;
                Ok(stream)
            }
            Err(error) => {
                self.free.push(index);
                Err(error)
            }
        }
    }

    /// Appends the request's frame; returns the bytes of its payload.
    fn encode(&mut self, stream: StreamId, request: Request<'_>) -> Result<usize, Error> {
        let out = &mut self.output;
        let kind = match request {
            Request::Query(_) => Kind::Query,
            Request::Prepare { .. } => Kind::Prepare,
            Request::Execute { .. } => Kind::Execute,
            Request::CloseStatement(_) => Kind::CloseStatement,
        };
        let frame = frame::begin(out, kind, stream);
        match request {
            Request::Query(text) => net::codec::put_bytes(out, text.as_bytes()),
            Request::Prepare { statement, text, types } => {
                statement.encode(out);
                net::codec::put_bytes(out, text.as_bytes());
                put_list(out, types);
            }
            Request::Execute { statement, parameters } => {
                statement.encode(out);
                put_list(out, parameters);
            }
            Request::CloseStatement(statement) => statement.encode(out),
        }
        let bytes = frame.payload_bytes(out);
        if bytes > self.frame_max {
            frame.abandon(out);
            return Err(Error::RequestTooLong { bytes, max: self.frame_max });
        }
        frame.finish(out, false);
        Ok(bytes)
    }

    /// Asks the server to give a request up. Its answer still arrives.
    pub(crate) fn cancel(&mut self, stream: StreamId) {
        if self.slot(stream).is_some_and(|slot| slot.open) {
            ClientMessage::Cancel.write(&mut self.output, stream);
        }
    }

    /// Nobody waits for the answer any more: it is cancelled and thrown away.
    pub(crate) fn abandon(&mut self, stream: StreamId) {
        self.cancel(stream);
        let Some(slot) = self.slot(stream) else { return };
        slot.held = false;
        slot.waker = None;
        slot.frames.clear();
        if !slot.open {
            self.free.push(stream.0 - 1);
        }
    }

    /// Has `waker` called when something arrives for the request.
    pub(crate) fn wait_for_event(&mut self, stream: StreamId, waker: &Waker) {
        if let Some(slot) = self.slot(stream) {
            match &mut slot.waker {
                Some(known) => known.clone_from(waker),
                unset => *unset = Some(waker.clone()),
            }
        }
    }

    fn slot(&mut self, stream: StreamId) -> Option<&mut Slot> {
        self.slots.get_mut((stream.0 as usize).checked_sub(1)?)
    }

    /// The next piece of the answer, and whether it was the last; `None`: not there yet. After the
    /// last one, or an error, the stream must not be asked for again.
    pub(crate) fn next_event(&mut self, stream: StreamId) -> Option<Result<(Event, bool), Error>> {
        let slot = self.slots.get_mut((stream.0 as usize).checked_sub(1)?)?;
        let Some(frame) = slot.frames.pop_front() else {
            // Whoever waits for an answer that cannot come any more learns why.
            let failure = self.failure.clone()?;
            slot.open = false;
            slot.held = false;
            return Some(Err(failure.in_flight()));
        };
        if frame.end {
            slot.held = false;
            slot.waker = None;
            self.free.push(stream.0 - 1);
        } else if frame.kind == Kind::Rows {
            slot.taken = slot.taken.saturating_add(frame.payload.len() as u32);
            if slot.taken >= self.window / 2 && slot.open {
                ClientMessage::Credit(slot.taken).write(&mut self.output, stream);
                slot.taken = 0;
            }
        }
        let event = read_event(&frame);
        if let Err(error) = &event
            && !matches!(error, Error::Server(_))
        {
            self.failure.get_or_insert(error.clone());
        }
        Some(event.map(|event| (event, frame.end)))
    }

    /// Takes what a read brought. Those whose answers grew are appended to `woken`.
    pub(crate) fn receive(&mut self, chunk: Bytes, woken: &mut Vec<Waker>) {
        if self.failure.is_some() {
            return;
        }
        self.decoder.feed(chunk);
        let outcome = loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => {
                    if let Err(error) = self.dispatch(frame, woken) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        if let Err(error) = outcome {
            self.fail(error, woken);
        }
    }

    /// The server closed its end.
    pub(crate) fn receive_end(&mut self, woken: &mut Vec<Waker>) {
        let cause = io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed it");
        self.fail(Error::lost(cause), woken);
    }

    /// The connection is of no use any more. The first reason stays.
    pub(crate) fn fail(&mut self, error: Error, woken: &mut Vec<Waker>) {
        self.failure.get_or_insert(error);
        self.output.clear();
        woken.append(&mut self.room_wakers);
        woken.extend(self.slots.iter_mut().filter_map(|slot| slot.waker.take()));
    }

    fn dispatch(&mut self, frame: Frame, woken: &mut Vec<Waker>) -> Result<(), Error> {
        if frame.stream == CONNECTION {
            woken.append(&mut self.room_wakers);
            return self.dispatch_connection(&frame);
        }
        // The transaction's status comes first in both, but for five bytes and two.
        match (frame.kind, &frame.payload[..]) {
            (Kind::Complete, [status, ..]) => self.note_transaction(*status),
            (Kind::Error, [_, _, _, _, _, _, _, status, ..]) => self.note_transaction(*status),
            _ => {}
        }
        let index = frame.stream.0 as usize - 1;
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.open) else {
            return Err(Error::OutOfPlace("an answer to nothing that was asked"));
        };
        if frame.end {
            slot.open = false;
            self.open -= 1;
            self.request_bytes -= slot.request_bytes;
            woken.append(&mut self.room_wakers);
        }
        if slot.held {
            woken.extend(slot.waker.take());
            slot.frames.push_back(frame);
        } else if frame.end {
            self.free.push(index as u32);
        }
        Ok(())
    }

    fn note_transaction(&mut self, status: u8) {
        self.transaction = match status {
            1 => TransactionStatus::Open,
            2 => TransactionStatus::Failed,
            _ => TransactionStatus::Idle,
        };
    }

    fn dispatch_connection(&mut self, frame: &Frame) -> Result<(), Error> {
        match ServerMessage::read(frame)? {
            // Whoever asks for a proof must give one, too.
            ServerMessage::Welcome(_) if self.proof.is_some() && !self.server_proved => {
                return Err(scram::ScramError::WrongServer.into());
            }
            ServerMessage::Welcome(welcome) if !self.welcomed => self.welcome(welcome),
            ServerMessage::Authenticate(ask) if !self.welcomed => self.authenticate(&ask)?,
            ServerMessage::Error(report) => return Err(Error::Refused(Arc::new(report))),
            ServerMessage::Notice(report) => {
                if self.notices.len() == NOTICES_MAX {
                    self.notices.pop_front();
                }
                self.notices.push_back(Arc::new(report));
            }
            ServerMessage::Draining(_) => self.draining = true,
            ServerMessage::Placement(map) => {
                if map.version > self.placement.version {
                    self.placement = Arc::new(map);
                }
            }
            ServerMessage::Pong(_) => {}
            _ => return Err(Error::OutOfPlace("a second handshake")),
        }
        Ok(())
    }

    fn welcome(&mut self, welcome: Welcome) {
        self.welcomed = true;
        self.streams_max = welcome.streams_max as usize;
        self.request_bytes_max = welcome.request_bytes_max;
        self.frame_max = welcome.frame_max as usize;
        self.placement = Arc::new(welcome.placement);
        self.info = Some(ServerInfo {
            version: welcome.server,
            node: welcome.node,
            core: welcome.core,
            session: welcome.session,
        });
    }

    /// Takes one step of the proof that this client knows its user's password.
    fn authenticate(&mut self, ask: &Authenticate) -> Result<(), Error> {
        let answer = match (ask.step, &mut self.proof) {
            (Authenticate::SCRAM_SHA_256, None) => {
                let password = self.password.take().ok_or_else(|| Error::PasswordNeeded {
                    user: std::mem::take(&mut self.user),
                })?;
                let mut nonce = [0; scram::NONCE_BYTES];
                getrandom::fill(&mut nonce)
                    .map_err(|error| Error::lost(io::Error::other(error)))?;
                self.proof.insert(scram::Client::new(&password, nonce)).first()
            }
            (Authenticate::SCRAM_CONTINUE, Some(proof)) => match proof.step(&ask.data)? {
                scram::ClientAction::Continue(answer) => answer,
                scram::ClientAction::Done => return Err(UNKNOWN_STEP),
            },
            (Authenticate::SCRAM_FINAL, Some(proof)) => match proof.step(&ask.data)? {
                scram::ClientAction::Done => {
                    self.server_proved = true;
                    return Ok(());
                }
                scram::ClientAction::Continue(_) => return Err(UNKNOWN_STEP),
            },
            _ => return Err(UNKNOWN_STEP),
        };
        ClientMessage::Authentication(answer.into()).write(&mut self.output, CONNECTION);
        Ok(())
    }
}

/// A list with a `u16` count; [`Protocol::start`] has refused longer ones.
fn put_list<T: Wire>(out: &mut BytesMut, list: &[T]) {
    out.put_u16_le(list.len() as u16);
    for element in list {
        element.encode(out);
    }
}

fn read_event(frame: &Frame) -> Result<Event, Error> {
    Ok(match ServerMessage::read(frame)? {
        ServerMessage::RowDescription(columns) => Event::Columns(columns.into()),
        ServerMessage::Rows(rows) => Event::Rows(rows),
        ServerMessage::Complete(complete) => Event::Complete(complete),
        ServerMessage::Prepared(prepared) => Event::Prepared(prepared),
        ServerMessage::Notice(report) => Event::Notice(Arc::new(report)),
        ServerMessage::Error(report) => return Err(Error::Server(Arc::new(report))),
        _ => {
            let cause = net::codec::Malformed::WrongStream;
            return Err(FrameError::Malformed { kind: frame.kind, cause }.into());
        }
    })
}

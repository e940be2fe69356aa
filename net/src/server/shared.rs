//! What the reader, the writer and the session of one connection have in common.

use super::outlet::Outlet;
use super::{Ended, Meter, Options, Request, Server, add, subtract};
use crate::frame::{CONNECTION, StreamId};
use crate::message::{Report, ServerMessage, Severity, TransactionStatus};
use bytes::BytesMut;
use model::error::{SqlError, SqlState};
use runtime::sync::Notify;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

/// A request that has not been answered to its end.
#[derive(Debug)]
pub(super) struct OpenStream {
    /// What it counts against the limit of bytes.
    pub(super) request_bytes: u64,
    /// What of its window is left; below 0 after a frame that exceeded it.
    pub(super) window: i64,
    pub(super) cancelled: bool,
}

/// State of one connection, on the one core it lives on.
pub(super) struct Shared {
    pub(super) options: Rc<Options>,
    pub(super) meter: Rc<Meter>,
    /// Initial window of each stream, in bytes.
    pub(super) window: Cell<u32>,
    pub(super) streams: RefCell<HashMap<StreamId, OpenStream, BuildHasherDefault<StreamHasher>>>,
    request_bytes: Cell<u64>,
    pub(super) requests: RefCell<VecDeque<Request>>,
    /// A request arrived, or none will any more.
    pub(super) arrived: Notify,
    /// Its progress tells of all that a session may wait for: window, room, cancel, end.
    pub(super) outlet: Outlet,
    /// No more requests will arrive, and why.
    pub(super) ended: RefCell<Option<Ended>>,
}

impl Shared {
    pub(super) fn new(server: &Server) -> Rc<Shared> {
        add(&server.meter.connections, 1);
        add(&server.meter.accepted, 1);
        Rc::new(Shared {
            options: Rc::clone(&server.options),
            meter: Rc::clone(&server.meter),
            window: Cell::new(1),
            streams: RefCell::default(),
            request_bytes: Cell::new(0),
            requests: RefCell::default(),
            arrived: Notify::new(),
            outlet: Outlet::new(server.options.outgoing_bytes_high),
            ended: RefCell::new(None),
        })
    }

    /// Opens the stream of a request, or says why the request is refused.
    pub(super) fn open(&self, stream: StreamId, bytes: u64) -> Result<Result<(), SqlError>, Ended> {
        add(&self.meter.requests, 1);
        let mut streams = self.streams.borrow_mut();
        if streams.contains_key(&stream) {
            return Err(Ended::OutOfPlace("a request on a stream that is still open"));
        }
        if let Some(refusal) = self.refusal(streams.len(), bytes) {
            add(&self.meter.refused, 1);
            return Ok(Err(refusal));
        }
        self.request_bytes.set(self.request_bytes.get() + bytes);
        add(&self.meter.request_bytes, bytes);
        let window = i64::from(self.window.get());
        streams.insert(stream, OpenStream { request_bytes: bytes, window, cancelled: false });
        Ok(Ok(()))
    }

    fn refusal(&self, open: usize, bytes: u64) -> Option<SqlError> {
        let options = &self.options;
        if open >= options.streams_max as usize {
            let message = format!("more than {} requests are in flight", options.streams_max);
            return Some(
                SqlError::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message)
                    .hint("Read answers before sending more requests."),
            );
        }
        if open > 0 && self.request_bytes.get() + bytes > options.request_bytes_max {
            let limit = options.request_bytes_max;
            let message = format!("more than {limit} bytes of requests are in flight");
            return Some(
                SqlError::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message)
                    .hint("Read answers before sending more requests."),
            );
        }
        if self.meter.request_bytes.get() + bytes > options.core_request_bytes_max {
            let message = "this core holds as many bytes of requests as it may";
            return Some(
                SqlError::new(SqlState::OUT_OF_MEMORY, message)
                    .hint("Send the request again later, or over another core's port."),
            );
        }
        None
    }

    /// Closes a stream with its last frame. A stream that is not open is left alone.
    pub(super) fn close_stream(&self, stream: StreamId) {
        let mut streams = self.streams.borrow_mut();
        let Some(closed) = streams.remove(&stream) else { return };
        self.request_bytes.set(self.request_bytes.get() - closed.request_bytes);
        subtract(&self.meter.request_bytes, closed.request_bytes);
        if streams.is_empty() {
            streams.shrink_to(IDLE_STREAMS);
        }
    }

    /// Appends frames for the client; nothing once it is gone.
    pub(super) fn queue(&self, write: impl FnOnce(&mut BytesMut)) {
        // A client that is gone needs nothing.
        let _gone = self.outlet.queue(write);
    }

    /// Queues an error that closes `stream`; on [`CONNECTION`] it is fatal.
    pub(super) fn queue_error(&self, stream: StreamId, status: TransactionStatus, error: SqlError) {
        let fatal = stream == CONNECTION;
        let severity = if fatal { Severity::Fatal } else { Severity::Error };
        let report = Report::new(severity, status, error);
        self.queue(|out| ServerMessage::Error(report).write(out, stream, !fatal));
    }

    /// The connection ended before anything could be said on it.
    pub(super) fn lost(&self, reason: Ended) -> Ended {
        self.end(reason.clone());
        reason
    }

    /// No request will arrive any more. The first reason stays.
    pub(super) fn end(&self, reason: Ended) {
        let mut ended = self.ended.borrow_mut();
        if ended.is_none() {
            if reason.is_broken() {
                add(&self.meter.broken, 1);
            }
            *ended = Some(reason);
        }
        self.arrived.notify_one();
        self.outlet.progress().notify_all();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        subtract(&self.meter.connections, 1);
        subtract(&self.meter.request_bytes, self.request_bytes.get());
    }
}

/// Room kept for streams when none is open.
const IDLE_STREAMS: usize = 8;

/// Stream numbers are small and dense, and a connection has few: multiplying spreads them enough.
#[derive(Debug, Default)]
pub(super) struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, number: u32) {
        // 2^64 divided by the golden ratio (Knuth, TAOCP 3, 6.4).
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

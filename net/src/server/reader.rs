//! Reading: the bytes of a socket become requests, credits, cancels.

use super::handshake::version_error;
use super::shared::Shared;
use super::{Ended, PARTIAL_FRAME_ALWAYS, ReadHalf, Request, RequestKind, add, subtract};
use crate::frame::{CONNECTION, Frame, FrameDecoder, StreamId};
use crate::message::{ClientMessage, ServerMessage, TransactionStatus};
use bytes::Bytes;
use model::error::{SqlError, SqlState};
use runtime::task;
use runtime::time::{self, Instant};
use std::rc::Rc;
use std::time::Duration;

/// Cuts what a socket brings into frames, within the limits of time and memory.
pub(super) struct FrameReader {
    half: ReadHalf,
    decoder: FrameDecoder,
    shared: Rc<Shared>,
    /// When the frame that is partly there began to arrive, as far as it was noticed.
    begun: Option<Instant>,
    metered: Metered,
}

/// What the meter holds for a partial frame.
struct Metered {
    shared: Rc<Shared>,
    bytes: u64,
}

impl Metered {
    fn set(&mut self, bytes: u64) {
        if bytes != self.bytes {
            let meter = &self.shared.meter.request_bytes;
            subtract(meter, self.bytes);
            add(meter, bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl FrameReader {
    /// For what `half` brings, behind what has been `read` from it before.
    pub(super) fn new(
        half: ReadHalf,
        read: Vec<u8>,
        payload_max: u32,
        shared: Rc<Shared>,
    ) -> FrameReader {
        let mut reader = FrameReader {
            half,
            decoder: FrameDecoder::new(payload_max),
            metered: Metered { shared: Rc::clone(&shared), bytes: 0 },
            shared,
            begun: None,
        };
        reader.feed(&read);
        reader
    }

    fn feed(&mut self, bytes: &[u8]) {
        add(&self.shared.meter.bytes_read, bytes.len() as u64);
        if !bytes.is_empty() {
            self.decoder.feed(Bytes::copy_from_slice(bytes));
        }
    }

    /// For who reads on in a way of its own: the half, and what it has brought so far.
    pub(super) fn into_parts(self) -> (ReadHalf, FrameDecoder) {
        (self.half, self.decoder)
    }

    pub(super) fn set_payload_max(&mut self, payload_max: u32) {
        self.decoder.set_payload_max(payload_max);
    }

    /// The next frame if it has been read already.
    pub(super) fn buffered(&mut self) -> Result<Option<Frame>, Ended> {
        Ok(self.decoder.next_frame()?)
    }

    /// Reads whatever has arrived. To be called when [`FrameReader::buffered`] yields no more.
    pub(super) async fn fill(&mut self) -> Result<(), Ended> {
        self.meter_partial();
        self.check_budget()?;
        let received = match self.patience()? {
            None => self.half.read().await?,
            Some((left, limit)) => time::timeout(left, self.half.read())
                .await
                .map_err(|_| Ended::Timeout { action: "complete a frame", limit })??,
        };
        if received.is_empty() {
            let inside = self.decoder.pending_bytes().is_some();
            return Err(if inside { Ended::Truncated } else { Ended::Closed });
        }
        self.feed(&received);
        Ok(())
    }

    /// How long the next read may take, and the limit it comes from; for ever between frames.
    fn patience(&mut self) -> Result<Option<(Duration, Duration)>, Ended> {
        let Some(length) = self.decoder.pending_bytes() else {
            self.begun = None;
            return Ok(None);
        };
        let options = &self.shared.options;
        let limit = options.frame_timeout
            + Duration::from_secs(length as u64 / u64::from(options.rate_min.max(1)));
        // The length is known only with the header: the limit then grows, the beginning stays.
        let begun = *self.begun.get_or_insert_with(time::now);
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(Ended::Timeout { action: "complete a frame", limit });
        }
        Ok(Some((left, limit)))
    }

    fn meter_partial(&mut self) {
        self.metered.set(self.decoder.held_bytes() as u64);
    }

    fn check_budget(&self) -> Result<(), Ended> {
        let max = self.shared.options.core_request_bytes_max;
        let over = self.shared.meter.request_bytes.get() > max;
        if over && self.metered.bytes > PARTIAL_FRAME_ALWAYS as u64 {
            return Err(Ended::OverBudget { max });
        }
        Ok(())
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self) {
        let reason = loop {
            match self.take_buffered() {
                Ok(answered) => {
                    if answered {
                        // Refusals and pongs must not pile up for a client that never reads.
                        self.shared.outlet.flush();
                        self.shared.outlet.room().await;
                    }
                }
                Err(reason) => break reason,
            }
            // A client that sends without a pause must not keep the core for itself.
            task::yield_if_due().await;
            if let Err(reason) = self.fill().await {
                break reason;
            }
        };
        self.shared.end(reason);
    }

    /// Handles every frame read so far; whether one of them was answered from here.
    fn take_buffered(&mut self) -> Result<bool, Ended> {
        let mut answered = false;
        let mut arrived = false;
        while let Some(frame) = self.decoder.next_frame()? {
            // What was partial counts as a request from here on, and what follows has its own time.
            self.meter_partial();
            self.begun = None;
            let message = ClientMessage::read(&frame)?;
            let bytes = frame.payload.len() as u64;
            let kind = match message {
                ClientMessage::Query(text) => RequestKind::Query { text },
                ClientMessage::Prepare(prepare) => RequestKind::Prepare(prepare),
                ClientMessage::Execute(execute) => RequestKind::Execute(execute),
                ClientMessage::CloseStatement(statement) => {
                    RequestKind::CloseStatement { statement }
                }
                ClientMessage::Cancel => {
                    self.cancel(frame.stream);
                    continue;
                }
                ClientMessage::Credit(bytes) => {
                    self.credit(frame.stream, bytes);
                    continue;
                }
                ClientMessage::Ping(number) => {
                    let pong = ServerMessage::Pong(number);
                    self.shared.queue(|out| pong.write(out, CONNECTION, false));
                    answered = true;
                    continue;
                }
                ClientMessage::Goodbye => return Err(Ended::Closed),
                ClientMessage::Hello(_) | ClientMessage::Authentication(_) => {
                    return Err(Ended::OutOfPlace("a handshake after the handshake"));
                }
            };
            match self.shared.open(frame.stream, bytes)? {
                Ok(()) => {
                    let request = Request { stream: frame.stream, kind };
                    self.shared.requests.borrow_mut().push_back(request);
                    arrived = true;
                }
                Err(refusal) => {
                    self.shared.queue_error(frame.stream, TransactionStatus::Idle, refusal);
                    answered = true;
                }
            }
        }
        if arrived {
            self.shared.arrived.notify_one();
        }
        Ok(answered)
    }

    fn cancel(&self, stream: StreamId) {
        if let Some(open) = self.shared.streams.borrow_mut().get_mut(&stream) {
            open.cancelled = true;
        }
        self.shared.outlet.progress().notify_all();
    }

    fn credit(&self, stream: StreamId, bytes: u32) {
        if let Some(open) = self.shared.streams.borrow_mut().get_mut(&stream) {
            open.window = open.window.saturating_add(i64::from(bytes)).min(WINDOW_MAX);
        }
        self.shared.outlet.progress().notify_all();
    }
}

/// No client needs a wider window than this, whatever it grants.
const WINDOW_MAX: i64 = 1 << 40;

/// What the client is told before a connection ends for its fault.
pub(super) fn farewell(reason: &Ended) -> Option<SqlError> {
    match reason {
        Ended::Protocol(_) | Ended::OutOfPlace(_) => {
            Some(SqlError::new(SqlState::PROTOCOL_VIOLATION, reason.to_string()))
        }
        Ended::Version { min, max } => Some(version_error(*min, *max)),
        Ended::Timeout { .. } => Some(SqlError::new(SqlState::ADMIN_SHUTDOWN, reason.to_string())),
        Ended::OverBudget { .. } => Some(
            SqlError::new(SqlState::OUT_OF_MEMORY, reason.to_string())
                .hint("Send the request again later, or over another core's port."),
        ),
        Ended::Closed | Ended::Truncated | Ended::Io(_) | Ended::ByServer => None,
    }
}

//! What a session answers.

use super::Ended;
use super::shared::Shared;
use crate::frame::{CONNECTION, StreamId};
use crate::message::{
    Column, Complete, Placement, Prepared, Report, ServerMessage, Severity, TransactionStatus,
};
use crate::rows::{EMPTY_ROWS_MAX, RowsWriter};
use bytes::BytesMut;
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use model::value::ValueRef;
use std::rc::Rc;

/// Rows are gathered into frames of about this many bytes.
const ROWS_FRAME_BYTES: usize = 32 << 10;

/// Queues answers. Nothing is sent before [`Responder::flush`] (or a wait of any kind), so that
/// the answers to a whole batch of requests leave together. Cheap to clone; lives on the
/// connection's core.
///
/// Answers to a client that is gone are dropped silently: [`Responder::ready_for`] and
/// [`super::Requests::next_batch`] tell.
#[derive(Clone)]
pub struct Responder {
    shared: Rc<Shared>,
}

/// Why a statement should be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The client cancelled it: answer with 57014.
    #[error("canceling statement due to user request")]
    Cancelled,
    /// The client is gone: no answer reaches it.
    #[error("the client is gone")]
    Gone,
}

impl Interrupted {
    /// The error that answers the statement.
    pub fn to_error(self) -> SqlError {
        let state = match self {
            Interrupted::Cancelled => SqlState::QUERY_CANCELED,
            Interrupted::Gone => SqlState::CONNECTION_FAILURE,
        };
        SqlError::new(state, self.to_string())
    }
}

/// A row that no frame can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of {bytes} bytes is longer than a frame may be ({max})")]
pub struct RowTooLong {
    /// Its encoded length.
    pub bytes: usize,
    /// The limit.
    pub max: u32,
}

impl RowTooLong {
    /// The error that answers the statement.
    pub fn to_error(self) -> SqlError {
        SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, self.to_string())
            .hint("Select fewer or shorter columns.")
    }
}

/// Appends one frame of rows, as many as it holds; its bytes.
fn rows_frame<'v, R>(
    out: &mut BytesMut,
    stream: StreamId,
    columns: u16,
    rows: &mut impl Iterator<Item = R>,
    max: u32,
) -> Result<usize, RowTooLong>
where
    R: IntoIterator<Item = ValueRef<'v>>,
{
    let mut frame = RowsWriter::begin(out, stream, columns);
    while frame.payload_bytes(out) < ROWS_FRAME_BYTES && frame.rows() < EMPTY_ROWS_MAX {
        let Some(row) = rows.next() else { break };
        let before = frame.payload_bytes(out);
        frame.row(out, row.into_iter());
        let after = frame.payload_bytes(out);
        // A frame begun below its usual size passes unless this one row is too long.
        if after > max as usize {
            frame.abandon(out);
            return Err(RowTooLong { bytes: after - before, max });
        }
    }
    Ok(frame.finish(out))
}

impl Responder {
    pub(super) fn new(shared: Rc<Shared>) -> Responder {
        Responder { shared }
    }

    /// Queues the columns of the rows that follow (answers to `Query` only).
    pub fn row_description(&self, stream: StreamId, columns: Vec<Column>) {
        let message = ServerMessage::RowDescription(columns);
        self.shared.queue(|out| message.write(out, stream, false));
    }

    /// Queues rows of `columns` values each, in as many frames as it takes. Call
    /// [`Responder::ready_for`] first: this does not wait, and takes from the stream's window.
    ///
    /// # Errors
    /// A row is longer than a frame may be. The rows before it are queued.
    pub fn rows<'v, R>(
        &self,
        stream: StreamId,
        columns: u16,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<(), RowTooLong>
    where
        R: IntoIterator<Item = ValueRef<'v>>,
    {
        let max = self.shared.options.frame_max;
        let mut rows = rows.into_iter().peekable();
        let mut sent = 0;
        while rows.peek().is_some() {
            let frame = |out: &mut BytesMut| rows_frame(out, stream, columns, &mut rows, max);
            match self.shared.outlet.queue(frame) {
                Some(bytes) => sent += bytes?,
                None => return Ok(()),
            }
        }
        self.take_window(stream, sent);
        Ok(())
    }

    /// Queues the rows of a batch, as [`Responder::rows`] does.
    ///
    /// # Errors
    /// A row is longer than a frame may be.
    pub fn batch(&self, stream: StreamId, batch: &Batch) -> Result<(), RowTooLong> {
        let columns = batch.columns();
        let width = u16::try_from(columns.len()).expect("results have fewer than 65,536 columns");
        let row = |row| columns.iter().map(move |column| column.get(row));
        self.rows(stream, width, (0..batch.rows()).map(row))
    }

    fn take_window(&self, stream: StreamId, bytes: usize) {
        if let Some(open) = self.shared.streams.borrow_mut().get_mut(&stream) {
            open.window -= bytes as i64;
        }
    }

    /// Queues the end of a statement; `end` where it is the last of its request.
    pub fn complete(
        &self,
        stream: StreamId,
        transaction: TransactionStatus,
        rows: u64,
        tag: impl Into<String>,
        end: bool,
    ) {
        let message = ServerMessage::Complete(Complete { transaction, rows, tag: tag.into() });
        self.last(stream, &message, end);
    }

    /// Queues the failure of a request and closes its stream.
    pub fn error(&self, stream: StreamId, transaction: TransactionStatus, error: SqlError) {
        self.shared.close_stream(stream);
        self.shared.queue_error(stream, transaction, error);
    }

    /// Queues a notice, on a stream or on [`CONNECTION`].
    pub fn notice(
        &self,
        stream: StreamId,
        severity: Severity,
        transaction: TransactionStatus,
        notice: SqlError,
    ) {
        let message = ServerMessage::Notice(Report::new(severity, transaction, notice));
        self.shared.queue(|out| message.write(out, stream, false));
    }

    /// Queues the answer to `Prepare` and closes its stream.
    pub fn prepared(&self, stream: StreamId, prepared: Prepared) {
        self.last(stream, &ServerMessage::Prepared(prepared), true);
    }

    /// Tells the client that the node drains: it finishes and connects elsewhere.
    pub fn draining(&self, report: SqlError) {
        let report = Report::new(Severity::Notice, TransactionStatus::Idle, report);
        self.shared.queue(|out| ServerMessage::Draining(report).write(out, CONNECTION, false));
        self.flush();
    }

    /// Tells the client of a newer placement map.
    pub fn placement(&self, placement: &Placement) {
        let message = ServerMessage::Placement(placement.clone());
        self.shared.queue(|out| message.write(out, CONNECTION, false));
    }

    fn last(&self, stream: StreamId, message: &ServerMessage, end: bool) {
        if end {
            self.shared.close_stream(stream);
        }
        self.shared.queue(|out| message.write(out, stream, end));
    }

    /// Lets everything queued leave. Does not wait.
    pub fn flush(&self) {
        self.shared.outlet.flush();
    }

    /// Flushes, and waits until the stream's window and the outgoing queue take more rows.
    ///
    /// # Errors
    /// The request was cancelled or the client is gone.
    pub async fn ready_for(&self, stream: StreamId) -> Result<(), Interrupted> {
        loop {
            self.interruption(stream).map_or(Ok(()), Err)?;
            let open = self.shared.streams.borrow().get(&stream).is_none_or(|s| s.window > 0);
            if open && !self.shared.outlet.is_full() {
                return Ok(());
            }
            self.flush();
            self.shared.outlet.progress().notified().await;
        }
    }

    /// Why the request should be given up, if so. Cheap: ask before each piece of work.
    pub fn interruption(&self, stream: StreamId) -> Option<Interrupted> {
        if self.is_gone() {
            return Some(Interrupted::Gone);
        }
        let cancelled = self.shared.streams.borrow().get(&stream).is_some_and(|s| s.cancelled);
        cancelled.then_some(Interrupted::Cancelled)
    }

    /// Waits until the request is to be given up; for use beside the statement itself.
    pub async fn interrupted(&self, stream: StreamId) -> Interrupted {
        loop {
            if let Some(interrupted) = self.interruption(stream) {
                return interrupted;
            }
            self.shared.outlet.progress().notified().await;
        }
    }

    /// Whether nothing reaches the client any more, or it vanished without a goodbye. (A client
    /// that closed its end properly still reads its answers.)
    pub fn is_gone(&self) -> bool {
        self.shared.outlet.is_gone()
            || matches!(
                &*self.shared.ended.borrow(),
                Some(reason) if !matches!(reason, Ended::Closed | Ended::ByServer)
            )
    }

    /// Tells the client why the connection ends, and ends it when that has been sent.
    pub fn fatal(&self, error: SqlError) {
        self.shared.queue_error(CONNECTION, TransactionStatus::Idle, error);
        self.shared.end(Ended::ByServer);
        self.shared.outlet.close();
    }
}

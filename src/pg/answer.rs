//! What a session answers, on its way to the client.

use super::inlet::{Ended, Inlet};
use super::wire::backend::{self, RowFormat, Severity};
use super::wire::frontend::Message;
use crate::router::RowSink;
use crate::session::{Client, Interrupts, Standing, Weight};
use crate::sql::OutputColumn;
use bytes::Bytes;
use futures::future::{LocalBoxFuture, select};
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use net::server::Outlet;
use std::pin::pin;
use std::rc::Rc;

/// The two ends of a connection.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) inlet: Rc<Inlet>,
    pub(super) outlet: Rc<Outlet>,
}

/// Takes the answer to one message.
pub(super) struct Answer {
    ends: Ends,
    rows: RowFormat,
}

impl Answer {
    /// For the simple protocol: the session says what the columns are.
    pub(super) fn described(ends: &Ends) -> Answer {
        Answer { ends: ends.clone(), rows: RowFormat::default() }
    }

    /// For a portal, whose columns the client knows.
    pub(super) fn bound(ends: &Ends, columns: &[OutputColumn], binary: &[bool]) -> Answer {
        Answer { ends: ends.clone(), rows: RowFormat::new(columns, binary) }
    }

    async fn send(&mut self, batch: &Batch) -> Result<(), SqlError> {
        let outlet = &self.ends.outlet;
        for row in 0..batch.rows() {
            outlet.room().await;
            let queued = outlet.queue(|out| self.rows.row(out, batch, row));
            queued.ok_or_else(gone)?;
        }
        Ok(())
    }

    /// The next piece of a copy's data; `None` at its end.
    async fn read_copy(&self) -> Result<Option<Bytes>, SqlError> {
        self.ends.outlet.flush();
        loop {
            match self.ends.inlet.next().await.map_err(lost)? {
                Message::CopyData(data) => return Ok(Some(data)),
                Message::CopyDone => return Ok(None),
                Message::CopyFail(why) => {
                    let message = format!("COPY from stdin failed: {}", &*why);
                    return Err(SqlError::new(SqlState::QUERY_CANCELED, message));
                }
                // Of a client that sends its request whole, without a look at the answer.
                Message::Sync | Message::Flush => {}
                _ => {
                    return Err(SqlError::new(
                        SqlState::PROTOCOL_VIOLATION,
                        "unexpected message type during COPY from stdin",
                    ));
                }
            }
        }
    }
}

fn lost(ended: Ended) -> SqlError {
    ended.farewell().unwrap_or_else(gone)
}

fn gone() -> SqlError {
    SqlError::new(SqlState::CONNECTION_FAILURE, "the client is gone")
}

impl RowSink for Answer {
    fn rows(&mut self, batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(async move { self.send(&batch).await })
    }
}

impl Client for Answer {
    fn columns(&mut self, columns: &[OutputColumn], binary: bool) {
        let binary = if binary { vec![true; columns.len()] } else { Vec::new() };
        self.rows = RowFormat::new(columns, &binary);
        // A client that is gone needs nothing, here and below.
        let _gone = self.ends.outlet.queue(|out| backend::row_description(out, columns, &binary));
    }

    fn notice(&mut self, weight: Weight, _standing: Standing, notice: SqlError) {
        let severity = match weight {
            Weight::Warning => Severity::Warning,
            Weight::Notice => Severity::Notice,
        };
        let _gone = self.ends.outlet.queue(|out| backend::report(out, severity, &notice));
    }

    fn complete(&mut self, _standing: Standing, _rows: u64, tag: &str, _last: bool) {
        let _gone = self.ends.outlet.queue(|out| backend::complete(out, tag));
    }

    fn copy_in(&mut self, binary: bool, columns: u16) -> Result<(), SqlError> {
        self.ends.outlet.queue(|out| backend::copy_in(out, binary, columns)).ok_or_else(gone)
    }

    fn copy_read(&mut self) -> LocalBoxFuture<'_, Result<Option<Bytes>, SqlError>> {
        Box::pin(self.read_copy())
    }

    fn copy_out(&mut self, binary: bool, columns: u16) -> Result<(), SqlError> {
        self.ends.outlet.queue(|out| backend::copy_out(out, binary, columns)).ok_or_else(gone)
    }

    fn copy_data(&mut self, data: Bytes) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(async move {
            let outlet = &self.ends.outlet;
            outlet.room().await;
            outlet.queue(|out| backend::copy_data(out, &data)).ok_or_else(gone)
        })
    }

    fn copy_done(&mut self) {
        let _gone = self.ends.outlet.queue(backend::copy_done);
    }
}

impl Interrupts for Ends {
    fn wait(&self) -> LocalBoxFuture<'static, SqlError> {
        // What was answered before need not wait for this one.
        self.outlet.flush();
        let Ends { inlet, outlet } = self.clone();
        Box::pin(async move {
            let lost = async {
                while !outlet.is_gone() {
                    outlet.progress().notified().await;
                }
            };
            select(pin!(lost), pin!(inlet.left())).await;
            gone()
        })
    }
}

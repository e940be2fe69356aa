//! `COPY`: rows between the client and the router, in PostgreSQL's three formats.
//!
//! ```text
//!  in:  Client::copy_read ─chunks─► lines.rs ─► fields.rs ─┐
//!                                   binary.rs ─────────────┴► reader.rs ─rows─► Router::copy_in
//!  out: Router::run ─batches─► writer.rs (fields.rs, binary.rs) ─rows─► Client::copy_data
//! ```
//!
//! The formats are state machines that know neither client nor router: chunks of any size go in,
//! whole rows come out. A `COPY` is atomic: it is a transaction of its own, or part of the block
//! it stands in. At no time is more of it in memory than a batch of rows; what the partitions keep
//! of it until the commit is the transaction's.
//!
//! An error says where in the data it is, in its context. What the partitions find wrong (a key
//! that exists, a check) is told of the lines of a batch together.

mod binary;
mod fields;
mod lines;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use super::run::now_micros;
use super::{Client, Session};
use crate::router::Statement;
use crate::sql::{CopyFormat, CopyIn, CopyOut, Planned};
use model::error::{SqlError, SqlState};
use model::value::Value;
use reader::Reader;
use runtime::task;
use shards::exec::backends::Backends;
use std::rc::Rc;
use std::sync::Arc;
use writer::Writer;

/// Rows that go to the router together.
const BATCH_ROWS_MAX: usize = 1_024;
/// Bytes of data whose rows go to the router together, if they are fewer.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Rows that were read and not yet inserted.
#[derive(Default)]
struct Pending {
    rows: Vec<Vec<Value>>,
    bytes: usize,
    /// The line of the first.
    from_line: u64,
}

impl Session {
    /// Inserts the rows that the client sends, in the transaction that is open.
    ///
    /// # Errors
    /// 22P04 for data of another form, those of a value, those of an insert, and what the client
    /// gives up with (57014).
    pub(super) async fn copy_in(
        &mut self,
        planned: &Planned,
        copy: &CopyIn,
        client: &mut dyn Client,
    ) -> Result<u64, SqlError> {
        let is_binary = copy.options.format == CopyFormat::Binary;
        client.copy_in(is_binary, count(copy.targets.len()))?;
        let now = self.open.as_ref().map_or_else(now_micros, |open| open.began_micros);
        let mut reader = Reader::new(copy, now);
        let mut pending = Pending::default();
        let mut inserted = 0;
        loop {
            let chunk = client.copy_read().await?;
            match &chunk {
                Some(chunk) => reader.feed(chunk),
                None => reader.finish(),
            }
            while let Some((row, bytes)) = reader.next()? {
                if pending.rows.is_empty() {
                    pending.from_line = reader.line();
                }
                pending.rows.push(row);
                pending.bytes += bytes;
                if pending.rows.len() >= BATCH_ROWS_MAX || pending.bytes >= BATCH_BYTES_MAX {
                    let batch = std::mem::take(&mut pending);
                    inserted += self.insert_copied(planned, copy, batch, reader.line()).await?;
                }
            }
            task::yield_if_due().await;
            if chunk.is_none() {
                break;
            }
        }
        if !pending.rows.is_empty() {
            inserted += self.insert_copied(planned, copy, pending, reader.line()).await?;
        }
        Ok(inserted)
    }

    async fn insert_copied(
        &mut self,
        planned: &Planned,
        copy: &CopyIn,
        pending: Pending,
        to_line: u64,
    ) -> Result<u64, SqlError> {
        let statement = self.session_statement(planned, Arc::from([]));
        let Some(open) = &mut self.open else {
            return Err(SqlError::internal("COPY outside of a transaction"));
        };
        let router = self.host.router.clone();
        let inserted = router.copy_in(copy, &statement, &mut open.transaction, pending.rows).await;
        inserted.map_err(|error| {
            error.context(|| {
                let (table, from) = (&copy.insert.table.name, pending.from_line);
                match from == to_line {
                    true => format!("COPY {table}, line {to_line}"),
                    false => format!("COPY {table}, lines {from} to {to_line}"),
                }
            })
        })
    }

    /// Sends the rows of a statement in the form that the client asked for.
    ///
    /// # Errors
    /// Those of the statement, and 0A000 of a client that cannot take them.
    pub(super) async fn copy_out(
        &mut self,
        copy: &CopyOut,
        backends: Option<Rc<dyn Backends>>,
        client: &mut dyn Client,
    ) -> Result<u64, SqlError> {
        let is_binary = copy.options.format == CopyFormat::Binary;
        client.copy_out(is_binary, count(copy.inner.columns.len()))?;
        let statement =
            Statement { backends, ..self.session_statement(&copy.inner, Arc::from([])) };
        let transaction = self.open.as_mut().map(|open| &mut open.transaction);
        let mut writer = Writer::new(copy, client);
        writer.begin().await?;
        let rows = self.host.router.run(&statement, transaction, &mut writer).await?;
        writer.end().await?;
        client.copy_done();
        Ok(rows)
    }
}

fn count(columns: usize) -> u16 {
    u16::try_from(columns).unwrap_or(u16::MAX)
}

/// What a client answers that does not copy.
pub(super) fn unsupported() -> SqlError {
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, "COPY is not supported by this protocol")
        .hint("Connect with a PostgreSQL client, or use INSERT and SELECT.")
}

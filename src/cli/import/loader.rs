//! Rows into batches, batches into statements in flight, refused batches into halves.

use std::collections::VecDeque;
use std::path::PathBuf;

use phantomdb_client::blocking::{Client, Ticket};
use phantomdb_client::{Error, Statement, Value};

use super::columns::TableColumns;
use super::rejects::Rejects;
use super::source::Record;
use crate::cli::exit::Failure;
use crate::cli::sql::client::failure;

/// Rows in a statement at most; halving it never gives more than ten different statements.
const BATCH_ROWS_MAX: usize = 512;
/// Bytes of fields in a statement, about.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Statements in flight.
const IN_FLIGHT_MAX: usize = 4;
/// How often a batch is sent again that lost a conflict with somebody else.
const RETRIES_MAX: u32 = 10;

/// What became of the rows.
pub(super) struct Outcome {
    pub inserted: u64,
    pub rejected: u64,
    pub rejects_file: Option<PathBuf>,
}

/// A row on its way.
struct Row {
    line: u64,
    fields: Vec<Option<String>>,
    values: Vec<Value>,
}

/// One import.
pub(super) struct Loader {
    client: Client,
    columns: TableColumns,
    rejects: Rejects,
    batch: Vec<Row>,
    batch_bytes: usize,
    batch_rows_max: usize,
    in_flight: VecDeque<(Ticket, Vec<Row>)>,
    inserted: u64,
}

impl Loader {
    pub fn new(client: Client, columns: TableColumns, rejects: Rejects) -> Self {
        let batch_rows_max = BATCH_ROWS_MAX.min(columns.rows_per_statement_max()).max(1);
        Self {
            client,
            columns,
            rejects,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_rows_max,
            in_flight: VecDeque::new(),
            inserted: 0,
        }
    }

    /// Takes a record; it is inserted with its batch, or rejected.
    ///
    /// # Errors
    /// The import cannot go on.
    pub fn push(&mut self, record: Record) -> Result<(), Failure> {
        let fields = match record.fields {
            Ok(fields) => fields,
            Err((reason, fields)) => {
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                return self.rejects.push(record.line, &reason, &fields);
            }
        };
        match self.columns.values(&fields) {
            Ok(values) => {
                self.batch_bytes +=
                    fields.iter().flatten().map(String::len).sum::<usize>() + fields.len();
                self.batch.push(Row { line: record.line, fields, values });
            }
            Err(reason) => return self.reject(record.line, &reason, &fields),
        }
        if self.batch.len() >= self.batch_rows_max || self.batch_bytes >= BATCH_BYTES_MAX {
            self.send_batch()?;
        }
        Ok(())
    }

    /// Waits for everything sent.
    ///
    /// # Errors
    /// The import cannot go on.
    pub fn finish(mut self) -> Result<Outcome, Failure> {
        self.send_batch()?;
        while !self.in_flight.is_empty() {
            self.settle_oldest()?;
        }
        let (rejected, rejects_file) = self.rejects.finish()?;
        Ok(Outcome { inserted: self.inserted, rejected, rejects_file })
    }

    fn send_batch(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            self.settle_oldest()?;
        }
        let rows = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let ticket = self.send(&rows)?;
        self.client.flush().map_err(|error| failure(&error))?;
        self.in_flight.push_back((ticket, rows));
        Ok(())
    }

    fn send(&mut self, rows: &[Row]) -> Result<Ticket, Failure> {
        let statement: Statement = self
            .client
            .prepare_typed(
                &self.columns.insert_text(rows.len()),
                &self.columns.parameter_types(rows.len()),
            )
            .map_err(|error| failure(&error))?;
        let mut values = Vec::with_capacity(rows.len() * self.columns.width());
        for row in rows {
            values.extend_from_slice(&row.values);
        }
        self.client.send(&statement, &values).map_err(|error| failure(&error))
    }

    /// Waits for the oldest batch; when it was refused its rows are tried in halves.
    fn settle_oldest(&mut self) -> Result<(), Failure> {
        let Some((ticket, rows)) = self.in_flight.pop_front() else { return Ok(()) };
        match self.client.take(ticket) {
            Ok(_) => {
                self.inserted += rows.len() as u64;
                Ok(())
            }
            Err(error) => self.refused(rows, error),
        }
    }

    /// Halves the rows until the ones that are refused are alone. The halves wait on a stack of
    /// at most one a halving.
    fn refused(&mut self, rows: Vec<Row>, error: Error) -> Result<(), Failure> {
        let mut waiting = vec![(rows, error)];
        while let Some((mut rows, error)) = waiting.pop() {
            match verdict(&error) {
                Verdict::Fatal => return Err(failure(&error)),
                Verdict::Row if rows.len() == 1 => {
                    let reason = error.to_string();
                    for row in &rows {
                        self.reject(row.line, &reason, &row.fields)?;
                    }
                    continue;
                }
                Verdict::Row | Verdict::Conflict => {}
            }
            let second = rows.split_off(rows.len() / 2);
            // The second half goes below the first: rejects stay in the order of the file.
            let halves: Vec<Vec<Row>> =
                [rows, second].into_iter().filter(|half| !half.is_empty()).collect();
            let mut refused = Vec::new();
            for half in halves {
                if let Some(error) = self.try_now(&half)? {
                    refused.push((half, error));
                }
            }
            waiting.extend(refused.into_iter().rev());
        }
        Ok(())
    }

    /// Sends the rows by themselves and waits; gives the server's refusal.
    fn try_now(&mut self, rows: &[Row]) -> Result<Option<Error>, Failure> {
        let mut tries = 0;
        loop {
            let ticket = self.send(rows)?;
            match self.client.take(ticket) {
                Ok(_) => {
                    self.inserted += rows.len() as u64;
                    return Ok(None);
                }
                Err(error)
                    if matches!(verdict(&error), Verdict::Conflict) && tries < RETRIES_MAX =>
                {
                    tries += 1
                }
                Err(error) if matches!(verdict(&error), Verdict::Row) => return Ok(Some(error)),
                Err(error) => return Err(failure(&error)),
            }
        }
    }

    fn reject(
        &mut self,
        line: u64,
        reason: &str,
        fields: &[Option<String>],
    ) -> Result<(), Failure> {
        let fields: Vec<&str> = fields.iter().map(|field| field.as_deref().unwrap_or("")).collect();
        self.rejects.push(line, reason, &fields)
    }
}

/// Whose fault an error is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// A row's: its data or a constraint.
    Row,
    /// Nobody's: try again.
    Conflict,
    /// The table's, the server's or the connection's: no row can be inserted.
    Fatal,
}

fn verdict(error: &Error) -> Verdict {
    match error.state() {
        Some(_) if error.is_retryable() => Verdict::Conflict,
        // 21: cardinality, 22: data, 23: constraints, 44: check options, 54: row too large.
        Some(state)
            if ["21", "22", "23", "44", "54"]
                .iter()
                .any(|class| state.as_str().starts_with(class)) =>
        {
            Verdict::Row
        }
        _ => Verdict::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phantomdb_client::{Report, Severity, SqlError, SqlState, TransactionStatus};
    use std::sync::Arc;

    #[test]
    fn only_what_a_row_can_be_blamed_for_is_rejected() {
        for (state, expected) in [
            (SqlState::UNIQUE_VIOLATION, Verdict::Row),
            (SqlState::INVALID_TEXT_REPRESENTATION, Verdict::Row),
            (SqlState::SERIALIZATION_FAILURE, Verdict::Conflict),
            (SqlState::UNDEFINED_TABLE, Verdict::Fatal),
            (SqlState::DISK_FULL, Verdict::Fatal),
        ] {
            let report =
                Report::new(Severity::Error, TransactionStatus::Idle, SqlError::new(state, "no"));
            assert_eq!(verdict(&Error::Server(Arc::new(report))), expected, "{state}");
        }
        assert_eq!(verdict(&Error::OutOfPlace("x")), Verdict::Fatal);
    }
}
